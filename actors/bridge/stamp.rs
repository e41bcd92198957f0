//! Origin and hops of a message: two User Properties of MQTT 5.0 that travel with it from proxy to proxy.

use bytes::Bytes;
use mqtt::{Properties, Property};
use uuid::Uuid;

use super::BridgeOptions;
use crate::Origin;

/// The names of the two properties, and what this proxy writes there.
#[derive(Debug)]
pub struct Stamps {
    pub(super) origin_property: String,
    hops_property: String,
    hops_max: u32,
    pub(super) instance_id: String,
    /// Origin and hops of what this proxy is the first to see, as they stand on the wire.
    first: Properties,
}

/// What a message carries of its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The instance that saw it first.
    pub origin: Option<String>,
    /// How many proxies it has passed.
    pub hops: u32,
}

impl Stamps {
    /// Those of an instance.
    pub fn new(options: &BridgeOptions, instance_id: Uuid) -> Stamps {
        let instance_id = instance_id.to_string();
        let mut stamps = Stamps {
            origin_property: options.origin_property.clone(),
            hops_property: options.hops_property.clone(),
            hops_max: options.hops_max,
            instance_id,
            first: Properties::default(),
        };
        stamps.first = stamps.block(&stamps.instance_id, 1);
        stamps
    }

    fn block(&self, origin: &str, hops: u32) -> Properties {
        Properties::default()
            .with(Property::UserProperty(self.origin_property.as_str().into(), origin.into()))
            .with(Property::UserProperty(self.hops_property.as_str().into(), hops.to_string().into()))
    }

    /// What a message gets that has no properties of its own and comes from no broker.
    pub fn first(&self) -> &Bytes {
        self.first.as_bytes()
    }

    /// About how many bytes a stamp adds to a message at most.
    pub fn bytes_max(&self, properties: &[u8]) -> usize {
        // Another instance's name for itself stands among the properties already; ten digits are the most hops.
        let grown = if properties.is_empty() { 0 } else { 10 };
        self.first.as_bytes().len() + grown
    }

    /// What the properties say of a message's way. Of several the first counts.
    pub fn trace(&self, properties: &Properties) -> Trace {
        let mut trace = Trace::default();
        let mut hops = None;
        for (name, value) in properties.user_properties() {
            if *name == *self.origin_property {
                trace.origin.get_or_insert_with(|| value.to_string());
            } else if *name == *self.hops_property && hops.is_none() {
                hops = Some(value.parse().unwrap_or(0));
            }
        }
        trace.hops = hops.unwrap_or(0);
        trace
    }

    /// Whether the message is one that this instance stamped: it came round.
    pub fn is_ours(&self, properties: &Properties) -> bool {
        !properties.is_empty() && self.trace(properties).origin.as_deref() == Some(self.instance_id.as_str())
    }

    /// Whether a message from a broker gets this instance's name where it is stamped: it carries no other one's.
    pub fn is_first(&self, properties: &Properties) -> bool {
        let origin = self.trace(properties).origin;
        origin.is_none_or(|origin| origin == self.instance_id)
    }

    /// Whether the message has passed as many proxies as it may.
    pub fn is_spent(&self, properties: &Properties) -> bool {
        !properties.is_empty() && self.trace(properties).hops >= self.hops_max
    }

    /// The properties with origin and hops for the way to a broker. What a device says of either is replaced; what
    /// came from a broker keeps its origin and has one hop more.
    pub fn stamped(&self, origin: Origin, properties: &Properties) -> Properties {
        let own = self.without(properties);
        let block = match origin {
            Origin::Upstream(_) => {
                let trace = self.trace(properties);
                let first_seen_by = trace.origin.as_deref().unwrap_or(&self.instance_id);
                self.block(first_seen_by, trace.hops.saturating_add(1))
            }
            _ => self.first.clone(),
        };
        let mut builder = mqtt::property::PropertiesBuilder::from_block(own.as_ref().unwrap_or(properties));
        builder.append(&block);
        builder.build()
    }

    /// The properties without origin and hops; `None` where they have neither.
    pub fn without(&self, properties: &Properties) -> Option<Properties> {
        let is_ours = |name: &str| name == self.origin_property || name == self.hops_property;
        let has_any = properties.user_properties().any(|(name, _)| is_ours(&name));
        has_any.then(|| properties.without_user_properties(is_ours))
    }
}
