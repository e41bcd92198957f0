//! What would become of a message: which broker gets it and under which topic, and if not, why not.

use std::time::Duration;

use actix::prelude::*;
use mqtt::{QoS, TopicName};

use crate::BrokerId;
use crate::broker::SharedBroker;

/// A message that nobody publishes.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its topic, where it is published.
    pub topic_name: TopicName,
    /// The length of its payload.
    pub payload_bytes: usize,
    /// The QoS of the publisher.
    pub qos: QoS,
    /// The RETAIN flag of the publisher.
    pub retain: bool,
    /// Its Message Expiry Interval in seconds, where it has one.
    pub message_expiry_interval: Option<u32>,
    /// How long it has waited here.
    pub waited: Duration,
}

/// What would become of a message? Nothing is sent, and nothing is counted.
#[derive(Debug, Message)]
#[rtype(result = "PreviewAnswer")]
pub struct Preview {
    /// The message.
    pub sample: Sample,
    /// The broker that it comes from; `None` for one of a device.
    pub from: Option<BrokerId>,
    /// A definition that is not stored: it counts in the place of the broker with the same identity, or besides all others.
    pub draft: Option<SharedBroker>,
}

/// The answer to [`Preview`].
#[derive(Debug, MessageResponse)]
pub struct PreviewAnswer {
    /// How it comes in, where it comes from a broker.
    pub arrival: Option<Outcome>,
    /// What becomes of it here.
    pub local: LocalOutcome,
    /// What each broker gets, in the order of the ConfigStore; a new one comes last.
    pub brokers: Vec<Outcome>,
}

/// What becomes of a message on its way to or from one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which broker.
    pub id: BrokerId,
    /// What people call it.
    pub name: String,
    /// Whether this goes by a definition that is not stored.
    pub is_draft: bool,
    /// Why it does not pass; `None` where it does.
    pub obstacle: Option<Obstacle>,
    /// The same in words.
    pub detail: String,
    /// The topic on the other side, as far as there is one.
    pub topic: Option<String>,
    /// The QoS on the other side.
    pub qos: QoS,
    /// The RETAIN flag on the other side.
    pub retain: bool,
}

/// What becomes of a message here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalOutcome {
    /// Its topic here; `None` where it does not come in.
    pub topic: Option<String>,
    /// Why it is not taken.
    pub obstacle: Option<Obstacle>,
    /// How many sessions get it by ordinary subscriptions.
    pub sessions: usize,
    /// How many share groups get it.
    pub share_groups: usize,
    /// Whether it is kept for later subscribers.
    pub is_retained: bool,
}

/// Why a message does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No filter matches.
    Filter,
    /// A filter matches that excludes.
    Excluded,
    /// It came from the broker.
    Origin,
    /// Another member of the broker's group gets it.
    OtherMember,
    /// It is older than what the broker was defined to get.
    TooOld,
    /// Its payload, or the whole packet, is too long.
    TooLarge,
    /// There is no topic for it on the other side.
    Unmappable,
    /// Its Message Expiry Interval has passed.
    Expired,
    /// The broker is disabled.
    Disabled,
    /// The broker is paused; the message waits in the log.
    Paused,
    /// What waits is as much as there may be, so it is refused.
    QueueFull,
    /// `$SYS` is the proxy's own.
    Reserved,
    /// The broker only receives.
    NotBidirectional,
    /// It does not come in at all.
    NotReceived,
}

impl Obstacle {
    /// The reason as the API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Obstacle::Filter => "filter",
            Obstacle::Excluded => "excluded",
            Obstacle::Origin => "origin",
            Obstacle::OtherMember => "other_member",
            Obstacle::TooOld => "too_old",
            Obstacle::TooLarge => "too_large",
            Obstacle::Unmappable => "unmappable",
            Obstacle::Expired => "expired",
            Obstacle::Disabled => "disabled",
            Obstacle::Paused => "paused",
            Obstacle::QueueFull => "queue_full",
            Obstacle::Reserved => "reserved",
            Obstacle::NotBidirectional => "not_bidirectional",
            Obstacle::NotReceived => "not_received",
        }
    }
}
