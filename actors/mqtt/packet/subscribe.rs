//! SUBSCRIBE: the client asks for messages (MQTT 5.0 section 3.8).

use bytes::{BufMut, BytesMut};

use crate::property::PropertyOwner;
use crate::wire::{Reader, write_utf8_string};
use crate::{DecodeError, EncodeError, PacketId, Properties, ProtocolVersion, QoS, TopicFilter};

const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING_SHIFT: u8 = 4;

/// The SUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The Packet Identifier, which SUBACK repeats.
    pub packet_id: PacketId,
    /// The properties; empty in 3.1.1.
    pub properties: Properties,
    /// One Topic Filter or more `[MQTT-3.8.3-2]`, each with what it asks for.
    pub subscriptions: Vec<(TopicFilter, SubscriptionOptions)>,
}

/// Subscription Options (MQTT 5.0 section 3.8.3.1); 3.1.1 has the QoS only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS at which messages shall come.
    pub qos: QoS,
    /// Whether the client's own messages shall not come back.
    pub no_local: bool,
    /// Whether messages shall keep the RETAIN flag that they were published with.
    pub retain_as_published: bool,
    /// Whether retained messages shall come now.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent for a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE; the only way of 3.1.1.
    #[default]
    SendAtSubscribe = 0,
    /// Only when the subscription is new.
    SendAtNewSubscribe = 1,
    /// Never.
    DoNotSend = 2,
}

impl RetainHandling {
    /// The option with this number, or `None` for 3, which the standard reserves.
    pub const fn from_u8(number: u8) -> Option<RetainHandling> {
        match number {
            0 => Some(RetainHandling::SendAtSubscribe),
            1 => Some(RetainHandling::SendAtNewSubscribe),
            2 => Some(RetainHandling::DoNotSend),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }
}

impl SubscriptionOptions {
    /// The options of 3.1.1 with this QoS.
    pub const fn with_qos(qos: QoS) -> SubscriptionOptions {
        SubscriptionOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        }
    }

    /// Reads the options byte. Reserved bits are malformed `[MQTT-3.8.3-5]`, and 3.1.1 reserves all but the
    /// QoS.
    pub const fn from_u8(byte: u8, version: ProtocolVersion) -> Result<SubscriptionOptions, DecodeError> {
        let reserved = match version {
            ProtocolVersion::V5 => 0b1100_0000,
            ProtocolVersion::V311 => 0b1111_1100,
        };
        if byte & reserved != 0 {
            return Err(DecodeError::Malformed("a reserved subscription option is set"));
        }
        let Some(qos) = QoS::from_u8(byte & 0b11) else {
            // 3.1.1 `[MQTT-3-8.3-4]`; in 5.0 section 3.8.3.1.
            return Err(match version {
                ProtocolVersion::V311 => DecodeError::Malformed("the QoS of a subscription is 3"),
                ProtocolVersion::V5 => DecodeError::Protocol("the QoS of a subscription is 3"),
            });
        };
        let Some(retain_handling) = RetainHandling::from_u8(byte >> RETAIN_HANDLING_SHIFT) else {
            return Err(DecodeError::Protocol("retain handling is 3"));
        };
        Ok(SubscriptionOptions {
            qos,
            no_local: byte & NO_LOCAL != 0,
            retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
            retain_handling,
        })
    }

    /// The options byte; 3.1.1 leaves out what it does not know.
    pub const fn as_u8(self, version: ProtocolVersion) -> u8 {
        match version {
            ProtocolVersion::V311 => self.qos.as_u8(),
            ProtocolVersion::V5 => {
                let no_local = if self.no_local { NO_LOCAL } else { 0 };
                let retain_as_published = if self.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 };
                let retain_handling = self.retain_handling.as_u8() << RETAIN_HANDLING_SHIFT;
                self.qos.as_u8() | no_local | retain_as_published | retain_handling
            }
        }
    }
}

impl Subscribe {
    pub(crate) fn decode(
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Subscribe, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = match version {
            ProtocolVersion::V5 => Properties::read(reader, PropertyOwner::Subscribe)?,
            ProtocolVersion::V311 => Properties::default(),
        };
        if reader.is_empty() {
            return Err(DecodeError::Protocol("SUBSCRIBE without a topic filter")); // [MQTT-3.8.3-2]
        }
        let mut subscriptions = Vec::new();
        while !reader.is_empty() {
            let filter = TopicFilter::new(reader.utf8_string()?)
                .map_err(|error| DecodeError::TopicFilterInvalid(error.0))?;
            let options = SubscriptionOptions::from_u8(reader.u8()?, version)?;
            if options.no_local && filter.shared().is_some() {
                return Err(DecodeError::Protocol("No Local on a shared subscription")); // [MQTT-3.8.3-4]
            }
            subscriptions.push((filter, options));
        }
        Ok(Subscribe { packet_id, properties, subscriptions })
    }

    pub(crate) fn body_len(&self, version: ProtocolVersion) -> usize {
        let properties_len = if version.is_v5() { self.properties.prefixed_len() } else { 0 };
        let filters_len: usize =
            self.subscriptions.iter().map(|(filter, _)| 2 + filter.as_str().len() + 1).sum();
        2 + properties_len + filters_len
    }

    pub(crate) fn write_body(
        &self,
        version: ProtocolVersion,
        buffer: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if self.subscriptions.is_empty() {
            return Err(EncodeError::Inconsistent("SUBSCRIBE without a topic filter"));
        }
        buffer.put_u16(self.packet_id.get());
        if version.is_v5() {
            self.properties.write(buffer, PropertyOwner::Subscribe)?;
        }
        for (filter, options) in &self.subscriptions {
            if version.is_v5() && options.no_local && filter.shared().is_some() {
                return Err(EncodeError::Inconsistent("No Local on a shared subscription"));
            }
            write_utf8_string(buffer, filter.as_str(), "topic filter")?;
            buffer.put_u8(options.as_u8(version));
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

    fn filter(text: &'static str) -> TopicFilter {
        TopicFilter::new(text).unwrap()
    }

    fn row(properties: Properties, subscriptions: Vec<(TopicFilter, SubscriptionOptions)>) -> Packet {
        Packet::Subscribe(Subscribe { packet_id: packet_id(10), properties, subscriptions })
    }

    #[test]
    fn good_packets_are_read_and_written() {
        let none = Properties::default;
        let two = vec![
            (filter("a/#"), SubscriptionOptions::with_qos(QoS::AtLeastOnce)),
            (filter("+"), SubscriptionOptions::with_qos(QoS::ExactlyOnce)),
        ];
        good(V311, "two filters", "82: 000A <a/#> 01 <+> 02", &row(none(), two.clone()));
        good(V5, "two filters", "82: 000A 00 <a/#> 01 <+> 02", &row(none(), two.clone()));
        let identifier = properties([Property::SubscriptionIdentifier(128)]);
        good(V5, "identifier", "82: 000A {0B 8001} <a/#> 01 <+> 02", &row(identifier, two));
        let options = SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        };
        good(V5, "all options", "82: 000A 00 <a> 2E", &row(none(), vec![(filter("a"), options)]));
        let shared = vec![(filter("$share/g/a"), SubscriptionOptions::default())];
        good(V5, "shared", "82: 000A 00 <$share/g/a> 00", &row(none(), shared));
    }

    #[test]
    fn bad_packets_are_refused() {
        for (version, block) in [(V311, ""), (V5, "00")] {
            let row = |name: &str, rest: &str, error: DecodeError| {
                bad(version, name, &format!("82: 000A {block} {rest}"), error);
            };
            row("no filter", "", protocol("SUBSCRIBE without a topic filter"));
            row("no options", "<a>", cut());
            row("second filter cut", "<a> 00 0002 'b'", cut());
            let qos_3 = if version == V5 { protocol } else { malformed };
            row("QoS 3", "<a> 03", qos_3("the QoS of a subscription is 3"));
            row("reserved bit 6", "<a> 40", malformed("a reserved subscription option is set"));
            row("reserved bit 7", "<a> 80", malformed("a reserved subscription option is set"));
            row("empty filter", "<> 00", DecodeError::TopicFilterInvalid("must not be empty"));
            let hash = DecodeError::TopicFilterInvalid("# must stand alone in the last level");
            row("# before the end", "<a/#/b> 00", hash);
            row("# not alone", "<a#> 00", hash);
            row(
                "+ not alone",
                "<a+/b> 00",
                DecodeError::TopicFilterInvalid("+ must stand alone in its level"),
            );
            row("U+0000", "0001 00 00", malformed("a string has U+0000"));
            row("not UTF-8", "0001 FF 00", malformed("a string is not UTF-8"));
            bad(version, "empty", "82:", cut());
            let zero = protocol("the packet identifier is 0");
            bad(version, "identifier 0", &format!("82: 0000 {block} <a> 00"), zero);
        }
        for options in ["04", "08", "10", "20"] {
            let reserved = malformed("a reserved subscription option is set");
            bad(V311, "option of 5.0", &format!("82: 000A <a> {options}"), reserved);
        }
        bad(V5, "retain handling 3", "82: 000A 00 <a> 30", protocol("retain handling is 3"));
        let no_local = protocol("No Local on a shared subscription");
        bad(V5, "No Local and shared", "82: 000A 00 <$share/g/a> 04", no_local);
        bad(V5, "two identifiers", "82: 000A {0B 01 0B 02} <a> 00", protocol("a property stands twice"));
        bad(V5, "identifier 0", "82: 000A {0B 00} <a> 00", protocol("Subscription Identifier is 0"));
        bad(V5, "no property length", "82: 000A", cut());
        let foreign = malformed("a property is not allowed in this packet");
        bad(V5, "property of PUBLISH", "82: 000A {01 00} <a> 00", foreign);
    }

    #[test]
    fn what_the_standard_forbids_is_not_written() {
        let empty = row(Properties::default(), Vec::new());
        unwritable(V5, &empty, EncodeError::Inconsistent("SUBSCRIBE without a topic filter"));
        let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
        let shared = row(Properties::default(), vec![(filter("$share/g/a"), options)]);
        unwritable(V5, &shared, EncodeError::Inconsistent("No Local on a shared subscription"));
    }
}
