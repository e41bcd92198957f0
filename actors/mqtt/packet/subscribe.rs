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
            return Err(DecodeError::Malformed("the QoS of a subscription is 3"));
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
            self.properties.write(buffer)?;
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
