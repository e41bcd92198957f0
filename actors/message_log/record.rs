//! One record of the log: an Application Message, or a change of durable state. In memory and in the log's files
//! the bytes are the same, so that writing copies nothing and reading checks everything.

use bytes::{BufMut, BytesMut};
use mqtt::{Message, QoS};
use uuid::Uuid;

use crate::{BrokerId, Origin};

/// Bytes before the broker's identity, annex, topic, properties and payload of a record. Little-endian:
///
/// ```text
///  0  checksum u32     CRC-32C of everything behind it; 0 for a record that never goes to disk
///  4  length u32       of the whole record, this header included
///  8  offset u64
/// 16  time u64         of receipt, microseconds since the Unix epoch
/// 24  flags u8         bits 0-1 QoS, 2 RETAIN, 3 state, 4 annex, 5 durable
/// 25  origin u8        0 device, 1 Will, 2 upstream broker (its 16 bytes of identity follow the header),
///                     3 the proxy itself, in memory only
/// 26  topic length u16
/// 28  properties length u32
/// ```
///
/// With the flag `annex`, a u32 with its length and the annex itself stand before the topic.
pub const HEADER_BYTES: usize = 32;
/// Bytes of the broker's identity, where a broker is the origin.
const BROKER_BYTES: usize = 16;
/// Bytes of the annex's length, where there is an annex.
const ANNEX_LENGTH_BYTES: usize = 4;

const FLAG_QOS: u8 = 0b0000_0011;
const FLAG_RETAIN: u8 = 0b0000_0100;
const FLAG_STATE: u8 = 0b0000_1000;
const FLAG_ANNEX: u8 = 0b0001_0000;
const FLAG_DURABLE: u8 = 0b0010_0000;
const FLAGS_KNOWN: u8 = FLAG_QOS | FLAG_RETAIN | FLAG_STATE | FLAG_ANNEX | FLAG_DURABLE;

const ORIGIN_DEVICE: u8 = 0;
const ORIGIN_WILL: u8 = 1;
const ORIGIN_UPSTREAM: u8 = 2;
const ORIGIN_SYSTEM: u8 = 3;

/// A record, seen in the bytes of its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the log.
    pub offset: u64,
    /// A change of durable state (in the payload), not a message: nothing that goes to a broker.
    pub is_state: bool,
    /// The QoS of the publisher.
    pub qos: QoS,
    /// The RETAIN flag of the publisher.
    pub retain: bool,
    /// Where the message came from.
    pub origin: Origin,
    /// When it was received, in microseconds since the Unix epoch.
    pub received_at_micros: u64,
    /// What durable sessions need to know about the message; empty for most.
    pub annex: &'a [u8],
    /// The Topic Name: UTF-8, checked when the message was received.
    pub topic_name: &'a [u8],
    /// The encoded MQTT 5.0 properties without their length.
    pub properties: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// Bytes that a message with an annex of `annex_bytes` takes in the log.
pub fn encoded_len(message: &Message, origin: Origin, annex_bytes: usize) -> usize {
    let broker_bytes = if matches!(origin, Origin::Upstream(_)) { BROKER_BYTES } else { 0 };
    let annex_bytes = if annex_bytes > 0 { ANNEX_LENGTH_BYTES + annex_bytes } else { 0 };
    let content =
        message.topic_name.as_str().len() + message.properties.as_bytes().len() + message.payload.len();
    HEADER_BYTES + broker_bytes + annex_bytes + content
}

/// Bytes that a change of state takes in the log.
pub fn state_encoded_len(change: &[u8]) -> usize {
    HEADER_BYTES + change.len()
}

/// What stands in a record besides the message itself.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The place in the log.
    pub offset: u64,
    /// Where the message came from.
    pub origin: Origin,
    /// When it was received, in microseconds since the Unix epoch.
    pub received_at_micros: u64,
    /// What durable sessions need to know.
    pub annex: &'a [u8],
    /// Whether the record goes to disk, and so needs its checksum.
    pub durable: bool,
}

/// Appends a message. Lengths fit by the rules of MQTT: a topic has at most 65,535 bytes and a packet less
/// than 256 MiB.
pub fn encode(message: &Message, envelope: &Envelope<'_>, buffer: &mut BytesMut) {
    let start = buffer.len();
    let topic_name = message.topic_name.as_str().as_bytes();
    let properties = message.properties.as_bytes();
    let annex = envelope.annex;
    let retain = if message.retain { FLAG_RETAIN } else { 0 };
    let annexed = if annex.is_empty() { 0 } else { FLAG_ANNEX };
    put_header(
        buffer,
        encoded_len(message, envelope.origin, annex.len()),
        envelope,
        message.qos.as_u8() | retain | annexed,
        (topic_name.len(), properties.len()),
    );
    if let Origin::Upstream(BrokerId(id)) = envelope.origin {
        buffer.extend_from_slice(id.as_bytes());
    }
    if !annex.is_empty() {
        buffer.put_u32_le(annex.len() as u32);
        buffer.extend_from_slice(annex);
    }
    buffer.extend_from_slice(topic_name);
    buffer.extend_from_slice(properties);
    buffer.extend_from_slice(&message.payload);
    if envelope.durable {
        sign(&mut buffer[start..]);
    }
}

/// Appends a change of state, which always goes to disk.
pub fn encode_state(change: &[u8], offset: u64, at_micros: u64, buffer: &mut BytesMut) {
    let start = buffer.len();
    let envelope =
        Envelope { offset, origin: Origin::Device, received_at_micros: at_micros, annex: &[], durable: true };
    put_header(buffer, state_encoded_len(change), &envelope, FLAG_STATE, (0, 0));
    buffer.extend_from_slice(change);
    sign(&mut buffer[start..]);
}

fn put_header(
    buffer: &mut BytesMut,
    record_bytes: usize,
    envelope: &Envelope<'_>,
    flags: u8,
    (topic_bytes, properties_bytes): (usize, usize),
) {
    buffer.put_u32_le(0);
    buffer.put_u32_le(record_bytes as u32);
    buffer.put_u64_le(envelope.offset);
    buffer.put_u64_le(envelope.received_at_micros);
    buffer.put_u8(flags | if envelope.durable { FLAG_DURABLE } else { 0 });
    buffer.put_u8(match envelope.origin {
        Origin::Device => ORIGIN_DEVICE,
        Origin::Will => ORIGIN_WILL,
        Origin::Upstream(_) => ORIGIN_UPSTREAM,
        Origin::System => ORIGIN_SYSTEM,
    });
    buffer.put_u16_le(topic_bytes as u16);
    buffer.put_u32_le(properties_bytes as u32);
}

fn sign(record: &mut [u8]) {
    let checksum = crc32c::crc32c(&record[4..]);
    record[..4].copy_from_slice(&checksum.to_le_bytes());
}

/// The length that the record at the start of `bytes` claims, if a whole header is there; nothing else is checked.
pub fn claimed_len(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..HEADER_BYTES)?;
    Some(u32::from_le_bytes(header[4..8].try_into().ok()?) as usize)
}

/// The offset that the record at the start of `bytes` claims, if a whole header is there; nothing else is checked.
pub fn claimed_offset(bytes: &[u8]) -> Option<u64> {
    let header = bytes.get(..HEADER_BYTES)?;
    Some(u64::from_le_bytes(header[8..16].try_into().ok()?))
}

/// Whether the record at the start of `bytes` is one that goes to disk; nothing else is checked.
pub fn is_durable(bytes: &[u8]) -> bool {
    bytes.get(24).is_some_and(|flags| flags & FLAG_DURABLE != 0)
}

/// Whether the record at the start of `bytes` is a change of state; nothing else is checked.
pub fn is_state(bytes: &[u8]) -> bool {
    bytes.get(24).is_some_and(|flags| flags & FLAG_STATE != 0)
}

/// Whether `record`, which is exactly one record, has the checksum that it carries.
pub fn is_intact(record: &[u8]) -> bool {
    let Some((checksum, rest)) = record.split_first_chunk::<4>() else { return false };
    u32::from_le_bytes(*checksum) == crc32c::crc32c(rest)
}

/// The record at the start of `bytes` and its length; `None` where the bytes do not hold a whole record. The
/// checksum is not looked at: that is for bytes that come from a disk, see [`is_intact`].
pub fn decode(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let (header, _) = bytes.split_at_checked(HEADER_BYTES)?;
    let record_bytes = u32::from_le_bytes(header[4..8].try_into().ok()?) as usize;
    let offset = u64::from_le_bytes(header[8..16].try_into().ok()?);
    let received_at_micros = u64::from_le_bytes(header[16..24].try_into().ok()?);
    let flags = header[24];
    let topic_bytes = usize::from(u16::from_le_bytes(header[26..28].try_into().ok()?));
    let properties_bytes = u32::from_le_bytes(header[28..32].try_into().ok()?) as usize;
    let content = bytes.get(HEADER_BYTES..record_bytes)?;
    if flags & !FLAGS_KNOWN != 0 {
        return None;
    }
    let (origin, content) = match header[25] {
        ORIGIN_DEVICE => (Origin::Device, content),
        ORIGIN_WILL => (Origin::Will, content),
        ORIGIN_SYSTEM => (Origin::System, content),
        ORIGIN_UPSTREAM => {
            let (id, rest) = content.split_at_checked(BROKER_BYTES)?;
            (Origin::Upstream(BrokerId(Uuid::from_slice(id).ok()?)), rest)
        }
        _ => return None,
    };
    let (annex, content) = match flags & FLAG_ANNEX != 0 {
        false => (&[][..], content),
        true => {
            let (length, rest) = content.split_first_chunk::<ANNEX_LENGTH_BYTES>()?;
            rest.split_at_checked(u32::from_le_bytes(*length) as usize)?
        }
    };
    let (topic_name, content) = content.split_at_checked(topic_bytes)?;
    let (properties, payload) = content.split_at_checked(properties_bytes)?;
    let record = Record {
        offset,
        is_state: flags & FLAG_STATE != 0,
        qos: QoS::from_u8(flags & FLAG_QOS)?,
        retain: flags & FLAG_RETAIN != 0,
        origin,
        received_at_micros,
        annex,
        topic_name,
        properties,
        payload,
    };
    Some((record, record_bytes))
}

/// The records of `bytes`, one after the other.
pub fn each(mut bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (record, record_bytes) = decode(bytes)?;
        bytes = &bytes[record_bytes..];
        Some(record)
    })
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
            annex in proptest::collection::vec(any::<u8>(), 0..20),
            qos in 0u8..=2, retain: bool, source in 0..4, durable: bool, time: u64, offset: u64,
        ) {
            let message = Message {
                topic_name: TopicName::new(topic.clone()).unwrap(),
                qos: QoS::from_u8(qos).unwrap(),
                retain,
                properties: Properties::default(),
                payload: Bytes::from(payload.clone()),
            };
            let origin = match source {
                0 => Origin::Upstream(BrokerId(Uuid::from_u128(7))),
                1 => Origin::Will,
                2 => Origin::System,
                _ => Origin::Device,
            };
            let mut buffer = BytesMut::new();
            let envelope = Envelope { offset, origin, received_at_micros: time, annex: &annex, durable };
            encode(&message, &envelope, &mut buffer);
            prop_assert_eq!(buffer.len(), encoded_len(&message, origin, annex.len()));
            let (record, length) = decode(&buffer).unwrap();
            prop_assert_eq!(length, buffer.len());
            prop_assert_eq!(claimed_len(&buffer), Some(length));
            prop_assert_eq!(claimed_offset(&buffer), Some(offset));
            prop_assert_eq!(is_intact(&buffer), durable);
            prop_assert_eq!(is_durable(&buffer), durable);
            prop_assert_eq!((record.qos, record.retain, record.origin), (message.qos, retain, origin));
            prop_assert_eq!((record.offset, record.received_at_micros, record.annex), (offset, time, &annex[..]));
            prop_assert_eq!((record.topic_name, record.payload), (topic.as_bytes(), &payload[..]));
            prop_assert!(!record.is_state);
            prop_assert_eq!(decode(&buffer[..buffer.len() - 1]), None);
        }

        #[test]
        fn a_change_of_state_comes_back_as_it_was(change in proptest::collection::vec(any::<u8>(), 0..50)) {
            let mut buffer = BytesMut::new();
            encode_state(&change, 9, 8, &mut buffer);
            let (record, length) = decode(&buffer).unwrap();
            prop_assert_eq!(length, state_encoded_len(&change));
            prop_assert!(record.is_state && is_intact(&buffer));
            prop_assert_eq!((record.offset, record.received_at_micros, record.payload), (9, 8, &change[..]));
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Some((_, length)) = decode(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
