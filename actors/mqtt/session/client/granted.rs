//! What a server grants with CONNACK (MQTT 5.0 section 3.2.2.3).

use crate::packet::ConnAck;
use crate::{Properties, ProtocolVersion, QoS, ReasonCode, TopicFilter};

/// What the server of one connection allows. Where it says nothing, and in 3.1.1, the standard's defaults stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// How many messages at QoS 1 and 2 may be under way to the server.
    pub receive_maximum: u16,
    /// The highest QoS that the server accepts.
    pub maximum_qos: QoS,
    /// Whether the server accepts retained messages.
    pub retain_available: bool,
    /// The longest packet that the server accepts, in bytes.
    pub packet_bytes_max: usize,
    /// How many Topic Aliases the server accepts.
    pub topic_alias_maximum: u16,
    /// The Keep Alive in force, in seconds: the server's where it set one `[MQTT-3.1.2-21]`.
    pub keep_alive_secs: u16,
    /// How long the server keeps the Session after the connection, in seconds; `None` where that is what was asked.
    pub session_expiry_interval_secs: Option<u32>,
    /// Whether the server accepts wildcards in Topic Filters.
    pub wildcard_subscription_available: bool,
    /// Whether the server accepts Subscription Identifiers.
    pub subscription_identifiers_available: bool,
    /// Whether the server accepts Shared Subscriptions.
    pub shared_subscription_available: bool,
    /// All properties of CONNACK, among them the Assigned Client Identifier and the Response Information.
    pub properties: Properties,
}

impl Granted {
    /// What a CONNACK says to a client that asked for this Keep Alive.
    pub(super) fn from_connack(connack: &ConnAck, version: ProtocolVersion, keep_alive_secs: u16) -> Granted {
        let properties = &connack.properties;
        let packet_bytes_max = properties.maximum_packet_size();
        Granted {
            receive_maximum: properties.receive_maximum().unwrap_or(u16::MAX),
            maximum_qos: properties.maximum_qos().unwrap_or(QoS::ExactlyOnce),
            retain_available: properties.retain_available().unwrap_or(true),
            packet_bytes_max: packet_bytes_max.map_or(usize::MAX, |bytes| bytes as usize),
            topic_alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
            keep_alive_secs: properties.server_keep_alive().unwrap_or(keep_alive_secs),
            session_expiry_interval_secs: properties.session_expiry_interval(),
            wildcard_subscription_available: properties.wildcard_subscription_available().unwrap_or(true),
            subscription_identifiers_available: properties
                .subscription_identifiers_available()
                .unwrap_or(version.is_v5()),
            shared_subscription_available: properties.shared_subscription_available().unwrap_or(true),
            properties: properties.detached(),
        }
    }

    /// Why this server takes no PUBLISH of this kind and length; `None` where it does.
    pub(super) fn refusal(&self, qos: QoS, retain: bool, packet_bytes: usize) -> Option<ReasonCode> {
        if qos > self.maximum_qos {
            return Some(ReasonCode::QoSNotSupported); // [MQTT-3.2.2-11]
        }
        if retain && !self.retain_available {
            return Some(ReasonCode::RetainNotSupported); // [MQTT-3.2.2-14]
        }
        (packet_bytes > self.packet_bytes_max).then_some(ReasonCode::PacketTooLarge) // [MQTT-3.2.2-15]
    }

    /// Why this server takes no SUBSCRIBE for this filter; `None` where it does.
    pub(super) fn refusal_of_filter(&self, filter: &TopicFilter) -> Option<ReasonCode> {
        if filter.shared().is_some() && !self.shared_subscription_available {
            return Some(ReasonCode::SharedSubscriptionsNotSupported);
        }
        let is_refused = filter.has_wildcard() && !self.wildcard_subscription_available;
        is_refused.then_some(ReasonCode::WildcardSubscriptionsNotSupported)
    }
}
