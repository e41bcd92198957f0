//! What an upstream broker's actor shows to others: its state, its counters, its last error. It outlives the
//! actor, so that a replaced one goes on counting.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};
use tokio::sync::Notify;

use super::connect::Cause;
use super::lanes::ReplayProgress;
use crate::message_log::Lag;
use crate::messages::{UpstreamSnapshot, UpstreamState};
use crate::timestamp::{age, unix_micros};
use crate::{BrokerId, Metrics};

/// Why a message does not reach a broker. The text is the label in metrics and the key in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// It fell out of the log's memory before the broker could take it.
    Overflow,
    /// Its Message Expiry Interval had passed.
    Expired,
    /// It is longer than the broker's Maximum Packet Size.
    TooLarge,
    /// The broker answered with a failure.
    Refused,
}

impl DropReason {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            DropReason::Overflow => "overflow",
            DropReason::Expired => "expired",
            DropReason::TooLarge => "too_large",
            DropReason::Refused => "refused",
        }
    }

    const ALL: [DropReason; 4] =
        [DropReason::Overflow, DropReason::Expired, DropReason::TooLarge, DropReason::Refused];
}

/// The shared status of one upstream broker.
pub struct UpstreamStatus {
    id: BrokerId,
    visible: Mutex<Visible>,
    meters: Mutex<Meters>,
    in_flight: AtomicU64,
    /// When the oldest message was received that the broker does not have; 0 where there is none.
    oldest_unsent_micros: AtomicU64,
    /// When the broker acknowledged last; 0 for never.
    acknowledged_at_micros: AtomicU64,
    /// Told whenever the state changes.
    state_changes: Arc<Notify>,
}

/// The broker's own lines in the metrics, under its name.
struct Meters {
    name: String,
    forwarded: IntCounter,
    received: IntCounter,
    dropped: [IntCounter; DropReason::ALL.len()],
    reconnects: IntCounter,
    connected: IntGauge,
}

struct Visible {
    state: UpstreamState,
    since: Instant,
    last_error: Option<String>,
    connections: u64,
    replay: Option<ReplayProgress>,
}

impl Meters {
    fn new(name: &str, metrics: &Metrics) -> Meters {
        let label = [name];
        let dropped =
            |reason: DropReason| metrics.messages_dropped.with_label_values(&[name, reason.as_str()]);
        Meters {
            name: name.to_owned(),
            forwarded: metrics.messages_forwarded.with_label_values(&label),
            received: metrics.broker_messages_received.with_label_values(&label),
            dropped: DropReason::ALL.map(dropped),
            reconnects: metrics.broker_reconnects.with_label_values(&label),
            connected: metrics.broker_connection_status.with_label_values(&label),
        }
    }

    /// Goes on where other meters stopped.
    fn continue_from(&self, earlier: &Meters) {
        self.forwarded.inc_by(earlier.forwarded.get());
        self.received.inc_by(earlier.received.get());
        self.reconnects.inc_by(earlier.reconnects.get());
        self.connected.set(earlier.connected.get());
        for (new, old) in self.dropped.iter().zip(&earlier.dropped) {
            new.inc_by(old.get());
        }
    }

    fn forget(&self, metrics: &Metrics) {
        let label = [self.name.as_str()];
        // A label that is not there is no harm: the metric may never have been used.
        let _ = metrics.messages_forwarded.remove_label_values(&label);
        let _ = metrics.broker_messages_received.remove_label_values(&label);
        let _ = metrics.broker_reconnects.remove_label_values(&label);
        let _ = metrics.broker_connection_status.remove_label_values(&label);
        let _ = metrics.broker_lag.remove_label_values(&label);
        let _ = metrics.broker_in_flight.remove_label_values(&label);
        let _ = metrics.broker_lag_bytes.remove_label_values(&label);
        let _ = metrics.broker_oldest_unsent.remove_label_values(&label);
        for cause in Cause::ALL {
            let _ = metrics.broker_failures.remove_label_values(&[label[0], cause.as_str()]);
        }
        for reason in DropReason::ALL {
            let _ = metrics.messages_dropped.remove_label_values(&[label[0], reason.as_str()]);
        }
    }
}

impl UpstreamStatus {
    /// A broker that nobody connected to yet.
    pub fn new(id: BrokerId, name: &str, metrics: &Metrics, state_changes: Arc<Notify>) -> UpstreamStatus {
        let visible = Visible {
            state: UpstreamState::Connecting,
            since: Instant::now(),
            last_error: None,
            connections: 0,
            replay: None,
        };
        UpstreamStatus {
            id,
            visible: Mutex::new(visible),
            meters: Mutex::new(Meters::new(name, metrics)),
            in_flight: AtomicU64::new(0),
            oldest_unsent_micros: AtomicU64::new(0),
            acknowledged_at_micros: AtomicU64::new(0),
            state_changes,
        }
    }

    /// The broker has another name: its counters go on under that.
    pub fn rename(&self, name: &str, metrics: &Metrics) {
        let mut meters = self.meters();
        if meters.name != name {
            let renamed = Meters::new(name, metrics);
            renamed.continue_from(&meters);
            meters.forget(metrics);
            *meters = renamed;
        }
    }

    /// Takes the broker out of the metrics, once it is gone.
    pub fn forget(&self, metrics: &Metrics) {
        self.meters().forget(metrics);
    }

    /// The connection went into another state.
    pub fn set_state(&self, state: UpstreamState) {
        let mut visible = self.visible();
        if visible.state != state {
            visible.state = state;
            visible.since = Instant::now();
            self.state_changes.notify_one();
        }
        if state == UpstreamState::Connected {
            visible.last_error = None;
            visible.connections += 1;
            if visible.connections > 1 {
                self.meters().reconnects.inc();
            }
        }
        self.meters().connected.set((state == UpstreamState::Connected).into());
    }

    /// Something failed; the text is shown until the next success.
    pub fn set_error(&self, error: String) {
        self.visible().last_error = Some(error);
    }

    /// Messages that the broker has got.
    pub fn count_forwarded(&self, messages: u64) {
        self.meters().forwarded.inc_by(messages);
    }

    /// Messages that came from the broker.
    pub fn count_received(&self, messages: u64) {
        self.meters().received.inc_by(messages);
    }

    /// Messages that the broker will not get.
    pub fn count_dropped(&self, reason: DropReason, messages: u64) {
        self.meters().dropped[reason as usize].inc_by(messages);
    }

    /// Messages that wait for the broker's acknowledgement.
    pub fn set_in_flight(&self, in_flight: u64) {
        self.in_flight.store(in_flight, Ordering::Relaxed);
    }

    /// When the oldest message was received that the broker does not have, in microseconds since the Unix epoch; 0
    /// where there is none.
    pub fn set_oldest_unsent(&self, received_at_micros: u64) {
        self.oldest_unsent_micros.store(received_at_micros, Ordering::Relaxed);
    }

    /// Whether something is known to wait.
    pub fn has_oldest_unsent(&self) -> bool {
        self.oldest_unsent_micros.load(Ordering::Relaxed) > 0
    }

    /// How far a replay is.
    pub fn set_replay(&self, progress: ReplayProgress) {
        self.visible().replay = Some(progress);
    }

    /// The broker acknowledged something at this time, in microseconds since the Unix epoch.
    pub fn set_acknowledged(&self, at_micros: u64) {
        self.acknowledged_at_micros.store(at_micros, Ordering::Relaxed);
    }

    /// All of it, as it is now; how far the broker is behind, only the log knows.
    pub fn snapshot(&self, lag: Lag) -> UpstreamSnapshot {
        let visible = self.visible();
        let meters = self.meters();
        let dropped: BTreeMap<_, _> = DropReason::ALL
            .into_iter()
            .map(|reason| (reason.as_str(), meters.dropped[reason as usize].get()))
            .filter(|(_, count)| *count > 0)
            .collect();
        UpstreamSnapshot {
            id: self.id,
            name: meters.name.clone(),
            state: visible.state,
            state_age: visible.since.elapsed(),
            last_error: visible.last_error.clone(),
            forwarded: meters.forwarded.get(),
            dropped,
            lag: lag.messages,
            lag_bytes: lag.bytes,
            oldest_unsent: age_of(&self.oldest_unsent_micros),
            last_acknowledged: age_of(&self.acknowledged_at_micros),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            reconnects: meters.reconnects.get(),
            replay: visible.replay,
        }
    }

    fn visible(&self) -> MutexGuard<'_, Visible> {
        self.visible.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meters(&self) -> MutexGuard<'_, Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long ago that was; `None` for never.
fn age_of(at_micros: &AtomicU64) -> Option<Duration> {
    let at_micros = at_micros.load(Ordering::Relaxed);
    (at_micros > 0).then(|| age(at_micros, unix_micros()))
}
