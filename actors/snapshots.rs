//! What anyone may look at: how an upstream broker and the log stand.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::BrokerId;
use crate::upstream_broker::ReplayProgress;

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
}

impl UpstreamState {
    /// The state as the API and the dashboard show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            UpstreamState::Disabled => "disabled",
            UpstreamState::Connecting => "connecting",
            UpstreamState::Connected => "connected",
            UpstreamState::WaitingToRetry => "waiting_to_retry",
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
    /// The text of the last failure, if there was one since the last success.
    pub last_error: Option<String>,
    /// Messages sent to the broker (QoS 0) or acknowledged by it (QoS 1 and 2).
    pub forwarded: u64,
    /// Messages that the broker will not get, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
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
    /// Connections that were made after the first one.
    pub reconnects: u64,
    /// The replay that runs or ran last.
    pub replay: Option<ReplayProgress>,
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
