//! PUBLISH: an Application Message on its way (MQTT 5.0 section 3.3).

use std::ops::Range;

use bytes::{Bytes, BytesMut};

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
    pub(crate) fn decode(
        flags: u8,
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Publish, DecodeError> {
        Ok(PublishLayout::read(flags, reader, version)?.build(reader.bytes()))
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

/// Where the parts of a PUBLISH lie, all checked.
///
/// Reading is in two steps, so that the second cannot fail: then the packet is built where it stays, and the
/// hottest path of all copies no half-built packet from one place to the next.
#[derive(Clone, Debug)]
pub(crate) struct PublishLayout {
    dup: bool,
    qos: QoS,
    retain: bool,
    packet_id: Option<PacketId>,
    topic_name: Range<usize>,
    properties: Range<usize>,
    payload: Range<usize>,
}

impl PublishLayout {
    #[inline(always)]
    pub(crate) fn read(
        flags: u8,
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<PublishLayout, DecodeError> {
        let dup = flags & DUP != 0;
        let Some(qos) = QoS::from_u8((flags >> 1) & 0b11) else {
            return Err(DecodeError::Malformed("the QoS is 3")); // [MQTT-3.3.1-4]
        };
        if dup && qos == QoS::AtMostOnce {
            return Err(DecodeError::Malformed("DUP with QoS 0")); // [MQTT-3.3.1-2]
        }
        let topic_name = reader.binary_range()?;
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(reader.packet_id()?),
        };
        let properties = match version {
            ProtocolVersion::V5 => Properties::read_range(reader, PropertyOwner::Publish)?,
            ProtocolVersion::V311 => 0..0,
        };
        if topic_name.is_empty() && version.is_v5() {
            let properties = Properties::from_checked(reader.bytes().slice(properties.clone()));
            if properties.topic_alias().is_none() {
                return Err(DecodeError::Protocol("neither a topic name nor a topic alias"));
            }
        } else {
            check_topic_name(&reader.bytes()[topic_name.clone()])?;
        }
        let payload = reader.rest_range();
        Ok(PublishLayout {
            dup,
            qos,
            retain: flags & RETAIN != 0,
            packet_id,
            topic_name,
            properties,
            payload,
        })
    }

    /// The packet, of the bytes that the layout was read from.
    #[inline(always)]
    pub(crate) fn build(self, bytes: &Bytes) -> Publish {
        Publish {
            payload: bytes.slice(self.payload),
            properties: Properties::from_checked(bytes.slice(self.properties)),
            topic_name: TopicName::from_checked(bytes.slice(self.topic_name)),
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            packet_id: self.packet_id,
        }
    }
}

/// A Topic Name has no wildcards `[MQTT-3.3.2-2]`; U+0000 and what is not UTF-8 are malformed
/// `[MQTT-1.5.4-1]` `[MQTT-1.5.4-2]`.
#[inline]
fn check_topic_name(name: &[u8]) -> Result<(), DecodeError> {
    if TopicName::is_plain(name) {
        return Ok(());
    }
    let Ok(text) = std::str::from_utf8(name) else {
        return Err(DecodeError::Malformed("a string is not UTF-8"));
    };
    TopicName::check(text).map_err(|error| match name.contains(&0) {
        true => DecodeError::Malformed("a string has U+0000"),
        false => DecodeError::TopicNameInvalid(error.0),
    })
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
    // Copies of a length that the compiler knows become plain stores, and most packets are short.
    if remaining_length < 0x80 {
        buffer.extend_from_slice(&[first_byte, remaining_length as u8, topic_high, topic_low]);
    } else {
        FixedHeader::write(buffer, first_byte, remaining_length)?;
        buffer.extend_from_slice(&[topic_high, topic_low]);
    }
    buffer.extend_from_slice(topic_name.as_bytes());
    if let Some(packet_id) = header.packet_id {
        buffer.extend_from_slice(&packet_id.get().to_be_bytes());
    }
    match version {
        ProtocolVersion::V5 if properties.is_empty() => buffer.extend_from_slice(&[0]),
        ProtocolVersion::V5 => {
            write_variable_byte_integer(buffer, properties.len());
            buffer.extend_from_slice(properties);
        }
        ProtocolVersion::V311 => {}
    }
    buffer.extend_from_slice(payload);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Property;
    use crate::packet::Packet;
    use crate::packet::table::{
        V5, V311, bad, bytes, cut, good, malformed, packet_id, properties, protocol, unwritable,
    };

    fn publish(topic_name: &'static str, qos: QoS, payload: &'static [u8]) -> Publish {
        Publish {
            dup: false,
            qos,
            retain: false,
            topic_name: Some(TopicName::new(topic_name).unwrap()),
            packet_id: (qos != QoS::AtMostOnce).then(|| packet_id(10)),
            properties: Properties::default(),
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn good_packets_are_read_and_written() {
        let qos_0 = publish("a/b", QoS::AtMostOnce, b"hi");
        let qos_1 = publish("a/b", QoS::AtLeastOnce, b"hi");
        let qos_2 = publish("ä/😀", QoS::ExactlyOnce, b"");
        let retained = Publish { retain: true, ..qos_0.clone() };
        let again = Publish { dup: true, retain: true, ..qos_1.clone() };
        good(V311, "QoS 0", "30: <a/b> 'hi'", &Packet::Publish(qos_0.clone()));
        good(V311, "QoS 1", "32: <a/b> 000A 'hi'", &Packet::Publish(qos_1.clone()));
        good(V311, "QoS 2, empty", "34: <ä/😀> 000A", &Packet::Publish(qos_2.clone()));
        good(V311, "retained", "31: <a/b> 'hi'", &Packet::Publish(retained.clone()));
        good(V311, "again", "3B: <a/b> 000A 'hi'", &Packet::Publish(again.clone()));
        good(V5, "QoS 0", "30: <a/b> 00 'hi'", &Packet::Publish(qos_0.clone()));
        good(V5, "QoS 1", "32: <a/b> 000A 00 'hi'", &Packet::Publish(qos_1));
        good(V5, "QoS 2, empty", "34: <ä/😀> 000A 00", &Packet::Publish(qos_2));
        good(V5, "retained", "31: <a/b> 00 'hi'", &Packet::Publish(retained));
        good(V5, "again", "3B: <a/b> 000A 00 'hi'", &Packet::Publish(again));
        let alias = properties([Property::TopicAlias(7), Property::MessageExpiryInterval(9)]);
        let aliased = Publish { properties: alias, ..qos_0 };
        let row = "30: <a/b> {23 0007 02 00000009} 'hi'";
        good(V5, "topic and alias", row, &Packet::Publish(aliased.clone()));
        let alone = Publish { topic_name: None, ..aliased };
        good(V5, "alias alone", "30: <> {23 0007 02 00000009} 'hi'", &Packet::Publish(alone));
    }

    #[test]
    fn three_subscription_identifiers_stay_out_of_the_payload() {
        let identifiers = [1, 200, 268_435_455].map(Property::SubscriptionIdentifier);
        let matched =
            Publish { properties: properties(identifiers), ..publish("a", QoS::AtMostOnce, b"payload") };
        let row = "30: <a> {0B 01 0B C801 0B FFFFFF7F} 'payload'";
        good(V5, "three identifiers", row, &Packet::Publish(matched));
    }

    #[test]
    fn bad_packets_are_refused() {
        for (version, block) in [(V311, ""), (V5, "00")] {
            let row = |name: &str, first: &str, body: &str, error: DecodeError| {
                bad(version, name, &format!("{first}: {body} {block} 'hi'"), error);
            };
            row("QoS 3", "36", "<a> 000A", malformed("the QoS is 3"));
            row("QoS 3 and DUP", "3E", "<a> 000A", malformed("the QoS is 3"));
            row("DUP with QoS 0", "38", "<a>", malformed("DUP with QoS 0"));
            row("packet identifier 0", "32", "<a> 0000", protocol("the packet identifier is 0"));
            let wildcard = DecodeError::TopicNameInvalid("must not have wildcards");
            row("#", "30", "<a/#>", wildcard);
            row("+", "30", "<+/a>", wildcard);
            row("U+0000", "30", "0003 'a' 00 'b'", malformed("a string has U+0000"));
            row("a surrogate", "30", "0003 EDA080", malformed("a string is not UTF-8"));
            row("an overlong slash", "30", "0002 C0AF", malformed("a string is not UTF-8"));
            bad(version, "empty", "30:", cut());
            bad(version, "half a length", "30: 00", cut());
            bad(version, "topic cut", "30: 0005 'abcd'", cut());
            bad(version, "packet identifier cut", "32: <a> 00", cut());
        }
        bad(V311, "no topic", "30: <> 'hi'", DecodeError::TopicNameInvalid("must not be empty"));
        bad(V5, "no topic", "30: <> 00 'hi'", protocol("neither a topic name nor a topic alias"));
        bad(V5, "no property length", "30: <a>", cut());
        bad(V5, "property length beyond the end", "30: <a> 03 0100", cut());
        let overlong = malformed("a variable byte integer is longer than 4 bytes");
        bad(V5, "property length of five bytes", "30: <a> 8080808001 'hi'", overlong);
        bad(V5, "topic alias 0", "30: <a> {23 0000}", DecodeError::TopicAliasInvalid("must not be 0"));
        bad(V5, "subscription identifier 0", "30: <a> {0B 00}", protocol("Subscription Identifier is 0"));
    }

    #[test]
    fn what_the_standard_forbids_is_not_written() {
        let plain = publish("a", QoS::AtMostOnce, b"");
        let identifier = EncodeError::Inconsistent("a packet identifier goes with QoS 1 and 2 only");
        let no_topic = EncodeError::Inconsistent("neither a topic name nor a topic alias");
        let rows = [
            (Publish { packet_id: Some(packet_id(1)), ..plain.clone() }, identifier),
            (Publish { qos: QoS::AtLeastOnce, ..plain.clone() }, identifier),
            (
                Publish { dup: true, ..plain.clone() },
                EncodeError::Inconsistent("DUP goes with QoS 1 and 2 only"),
            ),
            (Publish { topic_name: None, ..plain }, no_topic),
        ];
        for (publish, error) in rows {
            unwritable(V311, &Packet::Publish(publish.clone()), error);
            unwritable(V5, &Packet::Publish(publish), error);
        }
        let alias = properties([Property::TopicAlias(1)]);
        let aliased = Publish { topic_name: None, properties: alias, ..publish("a", QoS::AtMostOnce, b"") };
        unwritable(V311, &Packet::Publish(aliased), no_topic);
        let header = PublishHeader { dup: false, qos: QoS::AtMostOnce, retain: false, packet_id: None };
        let long = "t".repeat(65_536);
        let mut buffer = BytesMut::new();
        let written = encode_parts(&mut buffer, V5, header, &long, &[], &[]);
        assert_eq!(written, Err(EncodeError::FieldTooLong("topic name")));
        assert!(buffer.is_empty());
    }

    #[test]
    fn every_length_of_the_remaining_length_is_written_as_it_is_read() {
        let header =
            PublishHeader { dup: false, qos: QoS::AtLeastOnce, retain: false, packet_id: Some(packet_id(1)) };
        for payload_len in [0, 100, 122, 123, 124, 16_378, 16_379, 16_380, 2_097_200] {
            let payload = vec![7; payload_len];
            for version in [V311, V5] {
                let mut buffer = BytesMut::new();
                encode_parts(&mut buffer, version, header, "t", &[], &payload).unwrap();
                assert_eq!(buffer.len(), encoded_len_parts(version, header.qos, 1, 0, payload_len));
                let decoded = crate::codec::decode(&mut buffer, version, &Default::default());
                match decoded {
                    Ok(Some(Packet::Publish(publish))) => assert_eq!(publish.payload, payload),
                    other => panic!("{payload_len}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn topic_and_payload_are_slices_of_what_was_read() {
        let encoded = Bytes::from(bytes("30: <topic> 'payload'"));
        let mut reader = Reader::of_range(&encoded, 2..encoded.len());
        let publish = Publish::decode(0, &mut reader, V311).unwrap();
        let range = encoded.as_ptr_range();
        let topic = publish.topic_name.unwrap();
        assert!(range.contains(&topic.as_str().as_ptr()) && range.contains(&publish.payload.as_ptr()));
    }

    #[test]
    fn plain_names_are_the_topic_names_of_ascii() {
        for len in 0..=40 {
            for position in 0..len {
                for byte in 0..=u8::MAX {
                    let mut name = vec![b'a'; len];
                    name[position] = byte;
                    let plain = byte.is_ascii() && !matches!(byte, 0 | b'+' | b'#');
                    assert_eq!(TopicName::is_plain(&name), plain, "{byte:#04x} at {position} of {len}");
                    let text = std::str::from_utf8(&name).ok();
                    assert!(!plain || text.is_some_and(|text| TopicName::check(text).is_ok()));
                }
            }
        }
        assert!(!TopicName::is_plain(b""));
        assert!(TopicName::is_plain(&[b'a'; 65_535]));
        assert!(!TopicName::is_plain(&[b'a'; 65_536]));
    }
}
