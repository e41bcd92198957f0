//! What an upstream broker's actor shows to others: its state, its counters, its last error. It outlives the
//! actor, so that a replaced one goes on counting.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus::{IntCounter, IntGauge};

use crate::messages::{UpstreamSnapshot, UpstreamState};
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
    name: String,
    visible: Mutex<Visible>,
    forwarded: IntCounter,
    received: IntCounter,
    dropped: [IntCounter; DropReason::ALL.len()],
    reconnects: IntCounter,
    connected: IntGauge,
    lag: AtomicU64,
    in_flight: AtomicU64,
}

struct Visible {
    state: UpstreamState,
    since: Instant,
    last_error: Option<String>,
    connections: u64,
}

impl UpstreamStatus {
    /// A broker that nobody connected to yet. Counters go on from `earlier`, under the new name.
    pub fn new(
        id: BrokerId,
        name: &str,
        metrics: &Metrics,
        earlier: Option<&UpstreamStatus>,
    ) -> UpstreamStatus {
        let label = [name];
        let status = UpstreamStatus {
            id,
            name: name.to_owned(),
            visible: Mutex::new(Visible {
                state: UpstreamState::Connecting,
                since: Instant::now(),
                last_error: None,
                connections: 0,
            }),
            forwarded: metrics.messages_forwarded.with_label_values(&label),
            received: metrics.broker_messages_received.with_label_values(&label),
            dropped: DropReason::ALL
                .map(|reason| metrics.messages_dropped.with_label_values(&[name, reason.as_str()])),
            reconnects: metrics.broker_reconnects.with_label_values(&label),
            connected: metrics.broker_connection_status.with_label_values(&label),
            lag: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        };
        status.connected.set(0);
        if let Some(earlier) = earlier {
            let pairs = [
                (&status.forwarded, &earlier.forwarded),
                (&status.received, &earlier.received),
                (&status.reconnects, &earlier.reconnects),
            ];
            for (new, old) in pairs.into_iter().chain(status.dropped.iter().zip(&earlier.dropped)) {
                new.inc_by(old.get());
            }
            status.visible().connections = earlier.visible().connections;
        }
        status
    }

    /// Takes the broker out of the metrics, once it is gone or has another name.
    pub fn forget(&self, metrics: &Metrics) {
        let label = [self.name.as_str()];
        // A label that is not there is no harm: the metric may never have been used.
        let _ = metrics.messages_forwarded.remove_label_values(&label);
        let _ = metrics.broker_messages_received.remove_label_values(&label);
        let _ = metrics.broker_reconnects.remove_label_values(&label);
        let _ = metrics.broker_connection_status.remove_label_values(&label);
        let _ = metrics.broker_lag.remove_label_values(&label);
        let _ = metrics.broker_in_flight.remove_label_values(&label);
        for reason in DropReason::ALL {
            let _ = metrics.messages_dropped.remove_label_values(&[label[0], reason.as_str()]);
        }
    }

    /// The connection went into another state.
    pub fn set_state(&self, state: UpstreamState) {
        let mut visible = self.visible();
        if visible.state != state {
            visible.state = state;
            visible.since = Instant::now();
        }
        if state == UpstreamState::Connected {
            visible.last_error = None;
            visible.connections += 1;
            if visible.connections > 1 {
                self.reconnects.inc();
            }
        }
        self.connected.set((state == UpstreamState::Connected).into());
    }

    /// Something failed; the text is shown until the next success.
    pub fn set_error(&self, error: String) {
        self.visible().last_error = Some(error);
    }

    /// Messages that the broker has got.
    pub fn count_forwarded(&self, messages: u64) {
        self.forwarded.inc_by(messages);
    }

    /// Messages that came from the broker.
    pub fn count_received(&self, messages: u64) {
        self.received.inc_by(messages);
    }

    /// Messages that the broker will not get.
    pub fn count_dropped(&self, reason: DropReason, messages: u64) {
        self.dropped[reason as usize].inc_by(messages);
    }

    /// How far the broker is behind.
    pub fn set_progress(&self, lag: u64, in_flight: u64) {
        self.lag.store(lag, Ordering::Relaxed);
        self.in_flight.store(in_flight, Ordering::Relaxed);
    }

    /// All of it, as it is now.
    pub fn snapshot(&self) -> UpstreamSnapshot {
        let visible = self.visible();
        let dropped: BTreeMap<_, _> = DropReason::ALL
            .into_iter()
            .map(|reason| (reason.as_str(), self.dropped[reason as usize].get()))
            .filter(|(_, count)| *count > 0)
            .collect();
        UpstreamSnapshot {
            id: self.id,
            state: visible.state,
            state_age: visible.since.elapsed(),
            last_error: visible.last_error.clone(),
            forwarded: self.forwarded.get(),
            dropped,
            lag: self.lag.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            reconnects: self.reconnects.get(),
        }
    }

    fn visible(&self) -> MutexGuard<'_, Visible> {
        self.visible.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
