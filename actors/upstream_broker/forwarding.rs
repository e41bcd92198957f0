//! A broker's rule ready for use: which messages go there, and what is changed about them on the way.

use bytes::Bytes;
use mqtt::property::PropertyId;
use mqtt::{Properties, Property};

use super::encoding::Wire;
use super::filter::RecordFilter;
use super::scope::Scope;
use crate::BrokerId;
use crate::broker::{Broker, ForwardRule, RetainPolicy};
use crate::message_log::Record;
use crate::topic_mapping::TopicMapping;

/// What the outbox needs to know of a broker's rule.
pub struct Forwarding {
    /// Which messages, and under which topics.
    pub filter: RecordFilter,
    retain: RetainPolicy,
    /// The User Properties that each message gets.
    added: Properties,
    /// For Response Topics; `None` where topics stay as they are.
    mapping: Option<TopicMapping>,
    payload_bytes_max: usize,
}

impl Forwarding {
    /// As the definition of the broker says.
    pub fn of(broker: &Broker) -> Forwarding {
        Forwarding { filter: RecordFilter::of(broker), ..Forwarding::new(broker.id, &broker.rule) }
    }

    /// As a rule says.
    pub fn new(id: BrokerId, rule: &ForwardRule) -> Forwarding {
        Forwarding {
            filter: RecordFilter::new(id, rule),
            retain: rule.retain,
            added: user_properties(&rule.user_properties),
            mapping: (!rule.mapping.is_identity()).then(|| rule.mapping.clone()),
            payload_bytes_max: payload_bytes_max(rule.max_payload_bytes),
        }
    }

    /// The same for a member of a group.
    #[must_use]
    pub fn within(self, scope: &Scope) -> Forwarding {
        Forwarding { filter: self.filter.within(scope), ..self }
    }

    /// Whether the payload is longer than the rule allows.
    pub fn is_too_long(&self, payload: &[u8]) -> bool {
        payload.len() > self.payload_bytes_max
    }

    /// The RETAIN flag towards the broker.
    pub fn retain(&self, record: &Record<'_>, wire: &Wire) -> bool {
        self.wants_retain(record) && wire.capabilities.takes_retain(record.payload.len())
    }

    /// The RETAIN flag that the definition asks for.
    pub fn wants_retain(&self, record: &Record<'_>) -> bool {
        self.retain.apply(record.retain)
    }

    /// How Response Topics change; `None` where they do not.
    pub fn mapping(&self) -> Option<&TopicMapping> {
        self.mapping.as_ref()
    }

    /// What each message gets besides its own properties, as it stands on the wire of MQTT 5.0.
    pub fn added(&self) -> &Bytes {
        self.added.as_bytes()
    }
}

/// User Properties as they stand on the wire. A name or value that cannot stand there was refused with the definition.
pub fn user_properties(pairs: &[(String, String)]) -> Properties {
    let mut builder = Properties::builder();
    for (name, value) in pairs {
        let property = Property::UserProperty(name.as_str().into(), value.as_str().into());
        if let Err(error) = builder.push(&property) {
            log::error!("user property {name:?}: {error}");
        }
    }
    builder.build()
}

/// The properties with the Response Topic on the other side, so that an answer finds its way back. One for which there is
/// none there stays.
pub fn with_mapped_response_topic(properties: Properties, mapping: &TopicMapping) -> Properties {
    let Some(response_topic) = properties.response_topic() else { return properties };
    match mapping.map(&response_topic) {
        Ok(mapped) if *mapped != *response_topic => properties
            .without(|id| id == PropertyId::ResponseTopic)
            .with(Property::ResponseTopic(mapped.into_owned().into())),
        _ => properties,
    }
}

/// A limit as a length; none is the longest payload that there can be.
pub fn payload_bytes_max(limit: Option<u32>) -> usize {
    limit.map_or(usize::MAX, |bytes| bytes as usize)
}
