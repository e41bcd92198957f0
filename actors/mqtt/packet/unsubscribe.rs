//! UNSUBSCRIBE: the client wants no more (MQTT 5.0 section 3.10).

use bytes::{BufMut, BytesMut};

use crate::property::PropertyOwner;
use crate::wire::{Reader, write_utf8_string};
use crate::{DecodeError, EncodeError, PacketId, Properties, ProtocolVersion, TopicFilter};

/// The UNSUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The Packet Identifier, which UNSUBACK repeats.
    pub packet_id: PacketId,
    /// The properties; empty in 3.1.1.
    pub properties: Properties,
    /// One Topic Filter or more `[MQTT-3.10.3-2]`.
    pub topic_filters: Vec<TopicFilter>,
}

impl Unsubscribe {
    pub(crate) fn decode(
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Unsubscribe, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = match version {
            ProtocolVersion::V5 => Properties::read(reader, PropertyOwner::Unsubscribe)?,
            ProtocolVersion::V311 => Properties::default(),
        };
        if reader.is_empty() {
            return Err(DecodeError::Protocol("UNSUBSCRIBE without a topic filter")); // [MQTT-3.10.3-2]
        }
        let mut topic_filters = Vec::new();
        while !reader.is_empty() {
            let filter = TopicFilter::new(reader.utf8_string()?)
                .map_err(|error| DecodeError::TopicFilterInvalid(error.0))?;
            topic_filters.push(filter);
        }
        Ok(Unsubscribe { packet_id, properties, topic_filters })
    }

    pub(crate) fn body_len(&self, version: ProtocolVersion) -> usize {
        let properties_len = if version.is_v5() { self.properties.prefixed_len() } else { 0 };
        let filters_len: usize = self.topic_filters.iter().map(|filter| 2 + filter.as_str().len()).sum();
        2 + properties_len + filters_len
    }

    pub(crate) fn write_body(
        &self,
        version: ProtocolVersion,
        buffer: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if self.topic_filters.is_empty() {
            return Err(EncodeError::Inconsistent("UNSUBSCRIBE without a topic filter"));
        }
        buffer.put_u16(self.packet_id.get());
        if version.is_v5() {
            self.properties.write(buffer, PropertyOwner::Unsubscribe)?;
        }
        for filter in &self.topic_filters {
            write_utf8_string(buffer, filter.as_str(), "topic filter")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Property;
    use crate::packet::Packet;
    use crate::packet::table::{
        V5, V311, bad, cut, good, malformed, packet_id, properties, protocol, unwritable,
    };

    fn row(properties: Properties, filters: &[&'static str]) -> Packet {
        let topic_filters = filters.iter().map(|text| TopicFilter::new(*text).unwrap()).collect();
        Packet::Unsubscribe(Unsubscribe { packet_id: packet_id(10), properties, topic_filters })
    }

    #[test]
    fn good_packets_are_read_and_written() {
        good(V311, "two", "A2: 000A <a/#> <b>", &row(Properties::default(), &["a/#", "b"]));
        good(V5, "two", "A2: 000A 00 <a/#> <b>", &row(Properties::default(), &["a/#", "b"]));
        let user = properties([Property::UserProperty("k".into(), "".into())]);
        good(V5, "a user property", "A2: 000A {26 <k> <>} <a>", &row(user, &["a"]));
    }

    #[test]
    fn bad_packets_are_refused() {
        for (version, block) in [(V311, ""), (V5, "00")] {
            let row = |name: &str, rest: &str, error: DecodeError| {
                bad(version, name, &format!("A2: 000A {block} {rest}"), error);
            };
            row("no filter", "", protocol("UNSUBSCRIBE without a topic filter"));
            row("filter cut", "<a> 0003 'b'", cut());
            row("empty filter", "<>", DecodeError::TopicFilterInvalid("must not be empty"));
            row("+ not alone", "<+a>", DecodeError::TopicFilterInvalid("+ must stand alone in its level"));
            row("not UTF-8", "0001 C0", malformed("a string is not UTF-8"));
            bad(version, "empty", "A2:", cut());
            let zero = protocol("the packet identifier is 0");
            bad(version, "identifier 0", &format!("A2: 0000 {block} <a>"), zero);
        }
        let foreign = malformed("a property is not allowed in this packet");
        bad(V5, "property of SUBSCRIBE", "A2: 000A {0B 01} <a>", foreign);
    }

    #[test]
    fn what_the_standard_forbids_is_not_written() {
        let empty = row(Properties::default(), &[]);
        unwritable(V5, &empty, EncodeError::Inconsistent("UNSUBSCRIBE without a topic filter"));
    }
}
