//! The Application Message: what a publisher sends and a subscriber receives.

use bytes::Bytes;

use crate::{Properties, QoS, TopicName};

/// An Application Message with the properties that travel with it (MQTT 5.0 section 3.3.2.3), free of all
/// that belongs to one Network Connection: no Packet Identifier, no DUP, no Topic Alias, no Subscription
/// Identifier. Cloning is cheap: all parts are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where the message was published.
    pub topic_name: TopicName,
    /// The Quality of Service that the publisher chose.
    pub qos: QoS,
    /// The RETAIN flag as the publisher set it.
    pub retain: bool,
    /// The properties to hand on; empty for a 3.1.1 publisher.
    pub properties: Properties,
    /// The payload, which nobody here looks into.
    pub payload: Bytes,
}

impl Message {
    /// The same message with memory of its own. What was read from a connection shares the whole read buffer,
    /// so whatever is kept for long should be detached from it.
    pub fn detached(&self) -> Message {
        Message {
            topic_name: self.topic_name.detached(),
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.detached(),
            payload: Bytes::copy_from_slice(&self.payload),
        }
    }
}

/// Whether a payload is UTF-8 where its Payload Format Indicator says so.
pub fn payload_format_fits(properties: &Properties, payload: &[u8]) -> bool {
    properties.payload_format_indicator() != Some(true) || std::str::from_utf8(payload).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Property;

    #[test]
    fn only_a_payload_that_is_said_to_be_text_has_to_be() {
        let says = |is_text| Properties::default().with(Property::PayloadFormatIndicator(is_text));
        for (properties, payload, fits) in [
            (Properties::default(), &[0xFF][..], true),
            (says(false), &[0xFF], true),
            (says(true), &[0xFF], false),
            (says(true), "ä".as_bytes(), true),
            (says(true), &[], true),
        ] {
            assert_eq!(payload_format_fits(&properties, payload), fits, "{properties:?} {payload:?}");
        }
    }
}
