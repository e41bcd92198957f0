//! What anyone may look at: how an upstream broker and the log stand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::BrokerId;
use crate::broker_group::SharedGroup;
use crate::health::Health;
use crate::upstream_broker::{
    CanarySnapshot, CircuitSnapshot, ReplayProgress, SubscriptionFailure, TlsDetails,
};

/// Where an upstream broker's connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamState {
    /// Not enabled: nothing is forwarded and nothing kept for it.
    Disabled,
    /// A connection attempt is under way.
    Connecting,
    /// CONNACK said yes.
    Connected,
    /// The last attempt or connection failed; the next attempt waits for its time.
    WaitingToRetry,
    /// Another member of its group gets the messages; this one could.
    Standby,
}

impl UpstreamState {
    /// The state as the API and the dashboard show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            UpstreamState::Disabled => "disabled",
            UpstreamState::Connecting => "connecting",
            UpstreamState::Connected => "connected",
            UpstreamState::WaitingToRetry => "waiting_to_retry",
            UpstreamState::Standby => "standby",
        }
    }
}

/// What the Router knows about one upstream broker.
#[derive(Clone, Debug)]
pub struct UpstreamSnapshot {
    /// Which broker.
    pub id: BrokerId,
    /// What people call it.
    pub name: String,
    /// Its connection.
    pub state: UpstreamState,
    /// How long the state has lasted.
    pub state_age: Duration,
    /// For how long an enabled broker has not been connected; `None` while it is.
    pub disconnected: Option<Duration>,
    /// Whether attempts to reach it go through, and what failed.
    pub circuit: CircuitSnapshot,
    /// How it is, whatever its connection looks like.
    pub health: Health,
    /// Why it is not well; none at all where it is.
    pub health_reasons: Vec<String>,
    /// What its canary says, where it has one.
    pub canary: Option<CanarySnapshot>,
    /// The text of the last failure, if there was one since the last success.
    pub last_error: Option<String>,
    /// What failed then, in one word: the label of the metric.
    pub last_error_cause: Option<&'static str>,
    /// A more exact word, where there is one.
    pub last_error_detail: Option<&'static str>,
    /// The TLS session of the connection, or of the last one.
    pub tls: Option<Arc<TlsDetails>>,
    /// Messages sent to the broker (QoS 0) or acknowledged by it (QoS 1 and 2).
    pub forwarded: u64,
    /// Messages that the broker will not get, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Messages of the broker that were not taken, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Offsets between the end of the log and the lowest one that the broker has not acknowledged.
    pub lag: u64,
    /// The bytes of the log there, to within a few hundred KiB.
    pub lag_bytes: u64,
    /// How long ago the oldest message was received that the broker has not acknowledged.
    pub oldest_unsent: Option<Duration>,
    /// How long ago the broker acknowledged something.
    pub last_acknowledged: Option<Duration>,
    /// Sent at QoS 1 or 2 and not yet acknowledged.
    pub in_flight: u64,
    /// Messages that the broker could have at a lower QoS only.
    pub downgraded: u64,
    /// Messages that the broker could have without RETAIN only.
    pub retain_stripped: u64,
    /// Messages that the broker can never take; `dropped` has them too.
    pub dead_letters: u64,
    /// Bytes of MQTT that went to the broker.
    pub bytes_sent: u64,
    /// Bytes of MQTT that came from the broker.
    pub bytes_received: u64,
    /// Connections that were made after the first one.
    pub reconnects: u64,
    /// The replay that runs or ran last.
    pub replay: Option<ReplayProgress>,
    /// Topic Filters that the broker does not grant.
    pub subscription_failures: Vec<SubscriptionFailure>,
    /// How far a drain is.
    pub draining: Option<DrainProgress>,
    /// Messages that waited for the broker when it was disabled last, whether its filters wanted them or not.
    pub discarded: u64,
}

/// How far the drain of a broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainProgress {
    /// The drain point.
    pub to_offset: u64,
    /// Messages before it that the broker has not acknowledged; its filters were not asked.
    pub remaining: u64,
}

/// What the Router knows about one group of brokers.
#[derive(Clone, Debug)]
pub struct GroupSnapshot {
    /// Its definition.
    pub group: SharedGroup,
    /// Its members in the order of the ConfigStore.
    pub members: Vec<GroupMemberSnapshot>,
    /// The ways that messages take to it: one, or one for each part of the topics.
    pub parts: Vec<PartSnapshot>,
    /// Offsets between the end of the log and the lowest one that the group has not acknowledged.
    pub lag: u64,
    /// The bytes of the log there, to within a few hundred KiB.
    pub lag_bytes: u64,
    /// How long ago the oldest message was received that the group has not acknowledged.
    pub oldest_unsent: Option<Duration>,
    /// Sent at QoS 1 or 2 and not yet acknowledged.
    pub in_flight: u64,
    /// How often another member took over.
    pub switches: u64,
    /// The last time.
    pub last_switch: Option<SwitchSnapshot>,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub struct GroupMemberSnapshot {
    /// Which broker.
    pub id: BrokerId,
    /// What people call it.
    pub name: String,
    /// Its place in the order; lower is preferred.
    pub priority: u32,
    /// What it is to the group: `active`, `standby`, `connecting`, `down`, `paused` or `disabled`.
    pub state: &'static str,
}

/// One way that messages take to a group.
#[derive(Clone, Debug)]
pub struct PartSnapshot {
    /// Who gets them, or is tried.
    pub member: Option<String>,
    /// Whether it is connected.
    pub is_active: bool,
    /// Offsets between the end of the log and the lowest one that was not acknowledged.
    pub lag: u64,
    /// The bytes of the log there.
    pub lag_bytes: u64,
    /// How long ago the oldest message was received that was not acknowledged.
    pub oldest_unsent: Option<Duration>,
    /// Sent at QoS 1 or 2 and not yet acknowledged.
    pub in_flight: u64,
}

/// One change from a member of a group to another.
#[derive(Clone, Debug)]
pub struct SwitchSnapshot {
    /// Who had the messages before.
    pub from: String,
    /// Who has them since.
    pub to: String,
    /// Why.
    pub cause: String,
    /// How long ago.
    pub age: Duration,
}

/// What the log looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSnapshot {
    /// Bytes in memory.
    pub head_bytes: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// How many files there are.
    pub segments: u64,
    /// The oldest offset that there is.
    pub first_offset: u64,
    /// The offset that the next message gets.
    pub next_offset: u64,
    /// Everything below it that goes to disk survives the death of the process.
    pub stored: u64,
    /// Everything below it that goes to disk survives the loss of power.
    pub synced: u64,
    /// Why the disk takes nothing at the moment.
    pub failure: Option<String>,
    /// The files are as long as they may be, and a broker that may lose nothing has not got them.
    pub is_full: bool,
}
