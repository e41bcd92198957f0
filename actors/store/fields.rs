//! The fields that stored values consist of: little-endian numbers, texts and lists with their length in front. What
//! is read comes from a disk, so nothing of it is believed.

use bytes::{BufMut, Bytes};
use bytestring::ByteString;
use mqtt::packet::SubscriptionOptions;
use mqtt::property::PropertyOwner;
use mqtt::{ClientId, Message, PacketId, Properties, ProtocolVersion, QoS, TopicFilter, TopicName};
use uuid::Uuid;

use super::change::SessionKey;
use crate::BrokerId;
use crate::message_log::Record;

const FLAG_QOS: u8 = 0b0000_0011;
const FLAG_RETAIN: u8 = 0b0000_0100;

/// What is left to read of a stored value. Each read takes something from the front, or says `None` where that is
/// not there.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of these bytes.
    pub fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields(bytes)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Bytes of a length that is known.
    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn chunk<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_le_bytes)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    /// A byte that is 0 or 1.
    pub fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// A text of at most 65,535 bytes.
    pub fn text(&mut self) -> Option<ByteString> {
        let length = self.u16()?;
        ByteString::try_from(self.bytes(usize::from(length))?).ok()
    }

    /// Whose state.
    pub fn session(&mut self) -> Option<SessionKey> {
        self.chunk().map(u128::from_le_bytes).map(SessionKey)
    }

    /// Which broker.
    pub fn broker(&mut self) -> Option<BrokerId> {
        self.chunk().map(u128::from_le_bytes).map(|id| BrokerId(Uuid::from_u128(id)))
    }

    /// A Client Identifier.
    pub fn client_id(&mut self) -> Option<ClientId> {
        ClientId::new(self.text()?)
    }

    /// A Topic Filter.
    pub fn filter(&mut self) -> Option<TopicFilter> {
        TopicFilter::new(self.text()?).ok()
    }

    /// A Topic Name.
    pub fn topic_name(&mut self) -> Option<TopicName> {
        TopicName::new(self.text()?).ok()
    }

    /// A Packet Identifier.
    pub fn packet_id(&mut self) -> Option<PacketId> {
        PacketId::new(self.u16()?)
    }

    /// The options of a subscription.
    pub fn subscription_options(&mut self) -> Option<SubscriptionOptions> {
        SubscriptionOptions::from_u8(self.u8()?, ProtocolVersion::V5).ok()
    }

    /// QoS and RETAIN flag.
    pub fn delivery_flags(&mut self) -> Option<(QoS, bool)> {
        let flags = self.u8()?;
        if flags & !(FLAG_QOS | FLAG_RETAIN) != 0 {
            return None;
        }
        Some((QoS::from_u8(flags & FLAG_QOS)?, flags & FLAG_RETAIN != 0))
    }

    /// A list that was written by [`put_list`]. The count is only believed as far as there are bytes.
    pub fn list<T>(&mut self, read: impl Fn(&mut Fields<'a>) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u32()? as usize;
        let mut list = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            list.push(read(self)?);
        }
        Some(list)
    }

    /// A message that takes all that is left. Its parts share one piece of memory.
    pub fn message(&mut self) -> Option<Message> {
        let (qos, retain) = self.delivery_flags()?;
        let topic_bytes = usize::from(self.u16()?);
        let properties_bytes = self.u32()? as usize;
        let mut content = Bytes::copy_from_slice(self.rest());
        if topic_bytes.checked_add(properties_bytes)? > content.len() {
            return None;
        }
        let topic_name = ByteString::try_from(content.split_to(topic_bytes)).ok()?;
        let properties = content.split_to(properties_bytes);
        Some(Message {
            topic_name: TopicName::new(topic_name).ok()?,
            qos,
            retain,
            properties: Properties::parse(properties, PropertyOwner::Publish).ok()?,
            payload: content,
        })
    }
}

/// Appends a text that is known to have at most 65,535 bytes.
pub fn put_text(buffer: &mut impl BufMut, text: &str) {
    buffer.put_u16_le(text.len() as u16);
    buffer.put_slice(text.as_bytes());
}

/// Appends whose state it is.
pub fn put_session(buffer: &mut impl BufMut, session: SessionKey) {
    buffer.put_u128_le(session.0);
}

/// Appends which broker it is.
pub fn put_broker(buffer: &mut impl BufMut, broker: BrokerId) {
    buffer.put_u128_le(broker.0.as_u128());
}

/// QoS and RETAIN flag in one byte.
pub fn delivery_flags(qos: QoS, retain: bool) -> u8 {
    qos.as_u8() | if retain { FLAG_RETAIN } else { 0 }
}

/// Appends a list: how many, and each of them.
pub fn put_list<B: BufMut, T>(buffer: &mut B, list: &[T], put: impl Fn(&mut B, &T)) {
    buffer.put_u32_le(list.len() as u32);
    for element in list {
        put(buffer, element);
    }
}

/// The parts of a message as they are written, wherever they lie.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    flags: u8,
    topic_name: &'a [u8],
    properties: &'a [u8],
    payload: &'a [u8],
}

impl<'a> MessageParts<'a> {
    /// Bytes that [`MessageParts::put`] appends.
    pub fn encoded_len(&self) -> usize {
        7 + self.topic_name.len() + self.properties.len() + self.payload.len()
    }

    /// Appends the message. Nothing may follow it.
    pub fn put(&self, buffer: &mut impl BufMut) {
        buffer.put_u8(self.flags);
        buffer.put_u16_le(self.topic_name.len() as u16);
        buffer.put_u32_le(self.properties.len() as u32);
        buffer.put_slice(self.topic_name);
        buffer.put_slice(self.properties);
        buffer.put_slice(self.payload);
    }
}

impl<'a> From<&Record<'a>> for MessageParts<'a> {
    fn from(record: &Record<'a>) -> MessageParts<'a> {
        MessageParts {
            flags: delivery_flags(record.qos, record.retain),
            topic_name: record.topic_name,
            properties: record.properties,
            payload: record.payload,
        }
    }
}

impl<'a> From<&'a Message> for MessageParts<'a> {
    fn from(message: &'a Message) -> MessageParts<'a> {
        MessageParts {
            flags: delivery_flags(message.qos, message.retain),
            topic_name: message.topic_name.as_str().as_bytes(),
            properties: message.properties.as_bytes(),
            payload: &message.payload,
        }
    }
}
