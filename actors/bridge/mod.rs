//! What keeps messages from going round between several proxies and brokers: the origin and the hops that they carry
//! (MQTT 5.0), and the count of copies where nothing can be carried (3.1.1). One for all brokers of a proxy.

mod copies;
mod neighbours;
mod stamp;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mqtt::Properties;
use uuid::Uuid;

pub use copies::{Copies, Digest, News, Onward, digest};
pub use neighbours::{Announcement, ForProxies, Neighbour};
pub use stamp::{Stamps, Trace};

use crate::Origin;
use crate::broker::{Broker, LoopGuardChoice, UpstreamSubscription};
use crate::upstream_broker::Introduction;

/// `[bridge]`: what messages carry between proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeOptions {
    /// The name of the User Property with the instance that saw a message first.
    pub origin_property: String,
    /// The name of the User Property that counts the proxies on the way.
    pub hops_property: String,
    /// What has this many hops goes to no further broker.
    pub hops_max: u32,
    /// Whether devices get messages without the two.
    pub strip_for_devices: bool,
}

impl Default for BridgeOptions {
    fn default() -> BridgeOptions {
        BridgeOptions {
            origin_property: "mqtt-proxy-origin".to_owned(),
            hops_property: "mqtt-proxy-hops".to_owned(),
            hops_max: 8,
            strip_for_devices: true,
        }
    }
}

/// What the messages to one broker carry.
#[derive(Clone)]
pub struct Stamper {
    /// What all brokers share.
    pub bridge: Arc<Bridge>,
    /// The choice of the broker's definition.
    pub choice: Option<bool>,
}

impl Stamper {
    /// Who we say that we are in CONNECT, and how we take what we subscribe to. The definition can forbid it together with
    /// the stamps.
    pub fn introduction(&self, subscription: Option<&UpstreamSubscription>) -> Introduction {
        match self.choice {
            Some(false) => Introduction::None,
            _ => Introduction::Proxy(self.bridge.stamps.announcement(has_terms(subscription))),
        }
    }

    /// Which proxy the broker is, by the properties of its CONNACK.
    pub fn proxy_of(&self, properties: &Properties) -> Option<Uuid> {
        Announcement::of(properties, &self.bridge.stamps).map(|announcement| announcement.instance)
    }

    /// The stamps, where messages to the broker carry any.
    pub fn stamps(&self) -> Option<&Stamps> {
        self.bridge.stamps_for(self.choice).then_some(&self.bridge.stamps)
    }
}

/// Whether we change what we subscribe to or leave some out.
pub fn has_terms(subscription: Option<&UpstreamSubscription>) -> bool {
    subscription.is_some_and(|subscription| *subscription != subscription.as_asked_for())
}

/// What all upstream brokers of a proxy share against loops.
pub struct Bridge {
    stamps: Stamps,
    strip_for_devices: bool,
    /// Enabled bidirectional brokers.
    bidirectional: AtomicUsize,
    /// Those of them towards which a message carries no origin.
    unmarked: AtomicUsize,
    copies: Mutex<Copies>,
    /// Sessions of clients that have said which proxy they are, and of bridges of MQTT 3.1.1, which cannot.
    announced: AtomicUsize,
    plain_bridges: AtomicUsize,
    neighbours: Mutex<neighbours::Neighbours>,
}

impl Bridge {
    /// Without brokers.
    pub fn new(options: &BridgeOptions, instance_id: Uuid) -> Bridge {
        Bridge {
            stamps: Stamps::new(options, instance_id),
            strip_for_devices: options.strip_for_devices,
            bidirectional: AtomicUsize::new(0),
            unmarked: AtomicUsize::new(0),
            copies: Mutex::new(Copies::default()),
            announced: AtomicUsize::new(0),
            plain_bridges: AtomicUsize::new(0),
            neighbours: Mutex::default(),
        }
    }

    /// What messages carry.
    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// The brokers as they are now.
    pub fn set_brokers<'a>(&self, brokers: impl Iterator<Item = &'a Broker>) {
        let (mut bidirectional, mut unmarked) = (0, 0);
        for broker in brokers.filter(|broker: &&Broker| broker.enabled && broker.subscription.is_some()) {
            bidirectional += 1;
            unmarked += usize::from(!broker.version.is_v5() || broker.stamp_origin == Some(false));
        }
        self.bidirectional.store(bidirectional, Ordering::Relaxed);
        self.unmarked.store(unmarked, Ordering::Relaxed);
    }

    /// Whether messages to a broker with this choice carry where they came from.
    pub fn stamps_for(&self, choice: Option<bool>) -> bool {
        choice.unwrap_or_else(|| self.bidirectional.load(Ordering::Relaxed) > 0 || self.has_announced())
    }

    /// Whether more than one broker, proxy or bridge can send messages: only then may other proxies bring copies of them.
    pub fn has_several_sources(&self) -> bool {
        let sources = [&self.bidirectional, &self.announced, &self.plain_bridges];
        sources.iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>() > 1
    }

    /// Whether messages come or go that carry no origin.
    fn has_unmarked(&self) -> bool {
        self.unmarked.load(Ordering::Relaxed) > 0 || self.has_plain_bridges()
    }

    /// The count of copies for a broker that is looked after in this way, where there is a need for one.
    pub fn copies_for(&self, choice: LoopGuardChoice) -> Option<MutexGuard<'_, Copies>> {
        let is_chosen = matches!(choice, LoopGuardChoice::Auto | LoopGuardChoice::Credits);
        let is_needed = self.has_several_sources() && self.has_unmarked();
        (is_chosen && is_needed).then(|| self.copies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was taken for copies is something else, or comes in another way from now on: all that was learned is void.
    pub fn forget_copies(&self) {
        *self.copies.lock().unwrap_or_else(PoisonError::into_inner) = Copies::default();
    }

    /// The properties of a message as devices get them; `None` where they stay as they are. What a device said of
    /// itself goes to other devices unaltered `[MQTT-3.3.2-17]`.
    pub fn for_devices(&self, origin: Origin, properties: &Properties) -> Option<Properties> {
        let may_carry =
            self.strip_for_devices && matches!(origin, Origin::Upstream(_)) && !properties.is_empty();
        may_carry.then(|| self.stamps.without(properties)).flatten()
    }

    /// The properties of a message of unknown origin, of before a restart.
    pub fn restored_for_devices(&self, properties: &Properties) -> Option<Properties> {
        let may_carry = self.strip_for_devices && !properties.is_empty();
        may_carry.then(|| self.stamps.without(properties)).flatten()
    }
}
