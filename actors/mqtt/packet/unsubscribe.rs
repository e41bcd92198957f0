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
            self.properties.write(buffer)?;
        }
        for filter in &self.topic_filters {
            write_utf8_string(buffer, filter.as_str(), "topic filter")?;
        }
        Ok(())
    }
}
