//! PUBLISH: an Application Message on its way (MQTT 5.0 section 3.3).

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::fixed_header::{FixedHeader, PacketType};
use crate::property::PropertyOwner;
use crate::wire::{
    Reader, VARIABLE_BYTE_INTEGER_MAX, variable_byte_integer_len, write_variable_byte_integer,
};
use crate::{DecodeError, EncodeError, PacketId, Properties, ProtocolVersion, QoS, TopicName};

const DUP: u8 = 0b1000;
const RETAIN: u8 = 0b0001;

/// The PUBLISH packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Whether it may have been sent before; never with QoS 0 `[MQTT-3.3.1-2]`.
    pub dup: bool,
    /// The Quality of Service of this hop.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Where the message is published; `None` where the Topic Alias in the properties stands for it (5.0).
    pub topic_name: Option<TopicName>,
    /// The Packet Identifier, with QoS 1 and 2 only `[MQTT-2.2.1-2]`.
    pub packet_id: Option<PacketId>,
    /// The properties; empty in 3.1.1.
    pub properties: Properties,
    /// The payload, a slice of what was read.
    pub payload: Bytes,
}

/// What distinguishes one PUBLISH of a message from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishHeader {
    /// Whether it may have been sent before; never with QoS 0.
    pub dup: bool,
    /// The Quality of Service of this hop.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// The Packet Identifier, with QoS 1 and 2 only.
    pub packet_id: Option<PacketId>,
}

impl PublishHeader {
    /// The rules that no PUBLISH breaks, whatever it carries.
    fn first_byte(self) -> Result<u8, EncodeError> {
        if (self.qos == QoS::AtMostOnce) == self.packet_id.is_some() {
            return Err(EncodeError::Inconsistent("a packet identifier goes with QoS 1 and 2 only"));
        }
        if self.dup && self.qos == QoS::AtMostOnce {
            return Err(EncodeError::Inconsistent("DUP goes with QoS 1 and 2 only"));
        }
        let dup = if self.dup { DUP } else { 0 };
        Ok(PacketType::Publish.first_byte() | dup | self.qos.as_u8() << 1 | u8::from(self.retain))
    }
}

impl Publish {
    #[inline]
    pub(crate) fn decode(
        flags: u8,
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Publish, DecodeError> {
        let dup = flags & DUP != 0;
        let Some(qos) = QoS::from_u8((flags >> 1) & 0b11) else {
            return Err(DecodeError::Malformed("the QoS is 3")); // [MQTT-3.3.1-4]
        };
        if dup && qos == QoS::AtMostOnce {
            return Err(DecodeError::Malformed("DUP with QoS 0")); // [MQTT-3.3.1-2]
        }
        let topic = reader.binary()?;
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(reader.packet_id()?),
        };
        let properties = match version {
            ProtocolVersion::V5 => Properties::read(reader, PropertyOwner::Publish)?,
            ProtocolVersion::V311 => Properties::default(),
        };
        let topic_name = match topic.is_empty() && version.is_v5() {
            false => Some(read_topic_name(topic)?),
            true if properties.topic_alias().is_some() => None,
            true => return Err(DecodeError::Protocol("neither a topic name nor a topic alias")),
        };
        let payload = reader.rest();
        Ok(Publish { dup, qos, retain: flags & RETAIN != 0, topic_name, packet_id, properties, payload })
    }

    pub(crate) fn encoded_len(&self, version: ProtocolVersion) -> usize {
        let topic_len = self.topic_name.as_ref().map_or(0, |topic_name| topic_name.as_str().len());
        let properties_len = self.properties.as_bytes().len();
        encoded_len_parts(version, self.qos, topic_len, properties_len, self.payload.len())
    }

    pub(crate) fn encode(&self, version: ProtocolVersion, buffer: &mut BytesMut) -> Result<(), EncodeError> {
        if self.topic_name.is_none() && self.properties.topic_alias().is_none() {
            return Err(EncodeError::Inconsistent("neither a topic name nor a topic alias"));
        }
        let header =
            PublishHeader { dup: self.dup, qos: self.qos, retain: self.retain, packet_id: self.packet_id };
        let topic_name = self.topic_name.as_ref().map_or("", TopicName::as_str);
        encode_parts(buffer, version, header, topic_name, self.properties.as_bytes(), &self.payload)
    }
}

/// A Topic Name without wildcards `[MQTT-3.3.2-2]`. U+0000 and what is not UTF-8 are malformed
/// `[MQTT-1.5.4-1]` `[MQTT-1.5.4-2]`.
#[inline]
fn read_topic_name(topic: Bytes) -> Result<TopicName, DecodeError> {
    let Ok(text) = ByteString::try_from(topic) else {
        return Err(DecodeError::Malformed("a string is not UTF-8"));
    };
    if text.as_bytes().contains(&0) {
        return Err(DecodeError::Malformed("a string has U+0000"));
    }
    TopicName::new(text).map_err(|error| DecodeError::TopicNameInvalid(error.0))
}

/// The length of the whole PUBLISH packet that [`encode_parts`] writes.
pub const fn encoded_len_parts(
    version: ProtocolVersion,
    qos: QoS,
    topic_len: usize,
    properties_len: usize,
    payload_len: usize,
) -> usize {
    let remaining_length = remaining_length_parts(version, qos, topic_len, properties_len, payload_len);
    1 + variable_byte_integer_len(remaining_length) + remaining_length
}

const fn remaining_length_parts(
    version: ProtocolVersion,
    qos: QoS,
    topic_len: usize,
    properties_len: usize,
    payload_len: usize,
) -> usize {
    let packet_id_len = if matches!(qos, QoS::AtMostOnce) { 0 } else { 2 };
    let properties_len = match version {
        ProtocolVersion::V5 => variable_byte_integer_len(properties_len) + properties_len,
        ProtocolVersion::V311 => 0,
    };
    2 + topic_len + packet_id_len + properties_len + payload_len
}

/// Appends a PUBLISH packet made of its parts: the way of every message that is forwarded or delivered.
///
/// `topic_name` must be a Topic Name that was checked before, or empty where a Topic Alias in `properties`
/// stands for it. `properties` is a checked block without its length prefix; 3.1.1 ignores it. The buffer is
/// left as it was on an error.
#[inline]
pub fn encode_parts(
    buffer: &mut BytesMut,
    version: ProtocolVersion,
    header: PublishHeader,
    topic_name: &str,
    properties: &[u8],
    payload: &[u8],
) -> Result<(), EncodeError> {
    let first_byte = header.first_byte()?;
    if topic_name.is_empty() && (properties.is_empty() || !version.is_v5()) {
        return Err(EncodeError::Inconsistent("neither a topic name nor a topic alias"));
    }
    let Ok(topic_len) = u16::try_from(topic_name.len()) else {
        return Err(EncodeError::FieldTooLong("topic name"));
    };
    let remaining_length =
        remaining_length_parts(version, header.qos, topic_name.len(), properties.len(), payload.len());
    if remaining_length > VARIABLE_BYTE_INTEGER_MAX {
        return Err(EncodeError::PacketTooLong);
    }
    buffer.reserve(5 + remaining_length);
    let [topic_high, topic_low] = topic_len.to_be_bytes();
    if remaining_length < 0x80 {
        // Copies of a known length become plain stores, and most packets are short.
        buffer.extend_from_slice(&[first_byte, remaining_length as u8, topic_high, topic_low]);
    } else {
        FixedHeader::write(buffer, first_byte, remaining_length)?;
        buffer.extend_from_slice(&[topic_high, topic_low]);
    }
    buffer.extend_from_slice(topic_name.as_bytes());
    if let Some(packet_id) = header.packet_id {
        buffer.extend_from_slice(&packet_id.get().to_be_bytes());
    }
    if version.is_v5() {
        write_variable_byte_integer(buffer, properties.len());
        buffer.extend_from_slice(properties);
    }
    buffer.extend_from_slice(payload);
    Ok(())
}
