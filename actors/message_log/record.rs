//! One Application Message as bytes of the log.

use bytes::{BufMut, BytesMut};
use mqtt::{Message, QoS};
use uuid::Uuid;

use crate::{BrokerId, Origin};

/// Bytes before the origin, topic, properties and payload of a record, little-endian:
/// length u32 (of the whole record), flags u8, origin u8, topic length u16, properties length u32,
/// time of receipt u64.
const HEADER_BYTES: usize = 20;
/// Bytes of the broker's identity, where a broker is the origin.
const BROKER_BYTES: usize = 16;

const FLAG_QOS: u8 = 0b0011;
const FLAG_RETAIN: u8 = 0b0100;

const ORIGIN_DEVICE: u8 = 0;
const ORIGIN_WILL: u8 = 1;
const ORIGIN_UPSTREAM: u8 = 2;

/// A record, seen in the bytes of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The QoS of the publisher.
    pub qos: QoS,
    /// The RETAIN flag of the publisher.
    pub retain: bool,
    /// Where the message came from.
    pub origin: Origin,
    /// When it was received, in microseconds since the Unix epoch.
    pub received_at_micros: u64,
    /// The Topic Name: UTF-8, checked when the message was received.
    pub topic_name: &'a [u8],
    /// The encoded MQTT 5.0 properties without their length.
    pub properties: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// Bytes that a message takes in the log.
pub fn encoded_len(message: &Message, origin: Origin) -> usize {
    let broker_bytes = if matches!(origin, Origin::Upstream(_)) { BROKER_BYTES } else { 0 };
    let content =
        message.topic_name.as_str().len() + message.properties.as_bytes().len() + message.payload.len();
    HEADER_BYTES + broker_bytes + content
}

/// Appends a message. Lengths fit by the rules of MQTT: a topic has at most 65,535 bytes and a packet less
/// than 256 MiB.
pub fn encode(message: &Message, origin: Origin, received_at_micros: u64, buffer: &mut BytesMut) {
    let topic_name = message.topic_name.as_str().as_bytes();
    let properties = message.properties.as_bytes();
    buffer.put_u32_le(encoded_len(message, origin) as u32);
    buffer.put_u8(message.qos.as_u8() | if message.retain { FLAG_RETAIN } else { 0 });
    buffer.put_u8(match origin {
        Origin::Device => ORIGIN_DEVICE,
        Origin::Will => ORIGIN_WILL,
        Origin::Upstream(_) => ORIGIN_UPSTREAM,
    });
    buffer.put_u16_le(topic_name.len() as u16);
    buffer.put_u32_le(properties.len() as u32);
    buffer.put_u64_le(received_at_micros);
    if let Origin::Upstream(BrokerId(id)) = origin {
        buffer.extend_from_slice(id.as_bytes());
    }
    buffer.extend_from_slice(topic_name);
    buffer.extend_from_slice(properties);
    buffer.extend_from_slice(&message.payload);
}

/// The record at the start of `bytes` and its length; `None` where the bytes do not hold a whole record.
pub fn decode(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let (header, _) = bytes.split_at_checked(HEADER_BYTES)?;
    let record_bytes = u32::from_le_bytes(header[0..4].try_into().ok()?) as usize;
    let topic_bytes = usize::from(u16::from_le_bytes(header[6..8].try_into().ok()?));
    let properties_bytes = u32::from_le_bytes(header[8..12].try_into().ok()?) as usize;
    let received_at_micros = u64::from_le_bytes(header[12..20].try_into().ok()?);
    let content = bytes.get(HEADER_BYTES..record_bytes)?;
    let (origin, content) = match header[5] {
        ORIGIN_DEVICE => (Origin::Device, content),
        ORIGIN_WILL => (Origin::Will, content),
        ORIGIN_UPSTREAM => {
            let (id, rest) = content.split_at_checked(BROKER_BYTES)?;
            (Origin::Upstream(BrokerId(Uuid::from_slice(id).ok()?)), rest)
        }
        _ => return None,
    };
    let (topic_name, content) = content.split_at_checked(topic_bytes)?;
    let (properties, payload) = content.split_at_checked(properties_bytes)?;
    let record = Record {
        qos: QoS::from_u8(header[4] & FLAG_QOS)?,
        retain: header[4] & FLAG_RETAIN != 0,
        origin,
        received_at_micros,
        topic_name,
        properties,
        payload,
    };
    Some((record, record_bytes))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mqtt::{Properties, TopicName};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(
            topic in "[a-zé/]{1,40}", payload in proptest::collection::vec(any::<u8>(), 0..300),
            qos in 0u8..=2, retain: bool, upstream: bool, time: u64,
        ) {
            let message = Message {
                topic_name: TopicName::new(topic.clone()).unwrap(),
                qos: QoS::from_u8(qos).unwrap(),
                retain,
                properties: Properties::default(),
                payload: Bytes::from(payload.clone()),
            };
            let origin = if upstream { Origin::Upstream(BrokerId(Uuid::from_u128(7))) } else { Origin::Device };
            let mut buffer = BytesMut::new();
            encode(&message, origin, time, &mut buffer);
            prop_assert_eq!(buffer.len(), encoded_len(&message, origin));
            let (record, length) = decode(&buffer).unwrap();
            prop_assert_eq!(length, buffer.len());
            prop_assert_eq!((record.qos, record.retain, record.origin), (message.qos, retain, origin));
            prop_assert_eq!(record.received_at_micros, time);
            prop_assert_eq!((record.topic_name, record.payload), (topic.as_bytes(), &payload[..]));
            prop_assert_eq!(decode(&buffer[..buffer.len() - 1]), None);
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some((_, length)) = decode(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
