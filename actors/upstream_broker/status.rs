//! What an upstream broker's actor shows to others: its state, its counters, its last error. It outlives the
//! actor, so that a replaced one goes on counting.

mod orders;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mqtt::TopicFilter;
use tokio::sync::Notify;

use super::canary::CanarySnapshot;
use super::circuit::Circuit;
use super::connect::{Capabilities, Cause, Failure};
use super::drop_reason::DropReason;
use super::events::Events;
use super::incoming::LeftOut;
use super::lanes::ReplayProgress;
use super::meters::Meters;
use super::subscribing::SubscriptionFailure;
use super::tls::TlsDetails;
use crate::broker::Retry;
use crate::health::Health;
use crate::message_log::Lag;
use crate::messages::{UpstreamSnapshot, UpstreamState};
use crate::metrics::Traffic;
use crate::timestamp::{age, unix_micros};
use crate::{BrokerId, Metrics};

/// The shared status of one upstream broker.
pub struct UpstreamStatus {
    id: BrokerId,
    visible: Mutex<Visible>,
    /// Shared by all connections to the broker.
    meters: Arc<Mutex<Meters>>,
    /// Whether messages go this way, or would as soon as there is a connection.
    is_current: AtomicBool,
    in_flight: AtomicU64,
    /// The drain point up to which the broker has everything; 0 where none was reached.
    drained_to: AtomicU64,
    /// Messages that waited for the broker when it was disabled last.
    discarded: AtomicU64,
    /// When the oldest message was received that the broker does not have; 0 where there is none.
    oldest_unsent_micros: AtomicU64,
    /// When the broker acknowledged last; 0 for never.
    acknowledged_at_micros: AtomicU64,
    /// Told whenever the state changes.
    state_changes: Arc<Notify>,
}

struct Visible {
    state: UpstreamState,
    since: Instant,
    /// When the connection was lost, or is waited for since; `None` while there is one, or shall be none.
    disconnected_since: Option<Instant>,
    circuit: Circuit,
    canary: Option<CanarySnapshot>,
    last_error: Option<String>,
    last_error_cause: Option<Cause>,
    last_error_detail: Option<&'static str>,
    tls: Option<Arc<TlsDetails>>,
    connections: u64,
    events: Events,
    replay: Option<ReplayProgress>,
    capabilities: Option<Capabilities>,
    subscription_failures: Vec<SubscriptionFailure>,
}

impl Visible {
    fn new() -> Visible {
        let now = Instant::now();
        Visible {
            state: UpstreamState::Connecting,
            since: now,
            disconnected_since: Some(now),
            circuit: Circuit::new(Retry::default()),
            canary: None,
            last_error: None,
            last_error_cause: None,
            last_error_detail: None,
            tls: None,
            connections: 0,
            events: Events::default(),
            replay: None,
            capabilities: None,
            subscription_failures: Vec::new(),
        }
    }
}

impl UpstreamStatus {
    /// A broker that nobody connected to yet.
    pub fn new(id: BrokerId, name: &str, metrics: &Metrics, state_changes: Arc<Notify>) -> UpstreamStatus {
        UpstreamStatus {
            id,
            visible: Mutex::new(Visible::new()),
            meters: Arc::new(Mutex::new(Meters::new(name, metrics))),
            is_current: AtomicBool::new(true),
            in_flight: AtomicU64::new(0),
            drained_to: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            oldest_unsent_micros: AtomicU64::new(0),
            acknowledged_at_micros: AtomicU64::new(0),
            state_changes,
        }
    }

    /// The status of another connection to the same broker, with the same counters.
    #[must_use]
    pub fn beside(&self) -> UpstreamStatus {
        UpstreamStatus {
            id: self.id,
            visible: Mutex::new(Visible::new()),
            meters: self.meters.clone(),
            is_current: AtomicBool::new(false),
            in_flight: AtomicU64::new(0),
            drained_to: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            oldest_unsent_micros: AtomicU64::new(0),
            acknowledged_at_micros: AtomicU64::new(0),
            state_changes: self.state_changes.clone(),
        }
    }

    /// Whether messages go this way, or would as soon as there is a connection.
    pub fn is_current(&self) -> bool {
        self.is_current.load(Ordering::Relaxed)
    }

    /// Messages go this way from now on, or not any more: then nothing waits here.
    pub fn set_current(&self, is_current: bool) {
        self.is_current.store(is_current, Ordering::Relaxed);
        if !is_current {
            self.set_in_flight(0);
            self.set_oldest_unsent(0);
        }
    }

    /// Messages that wait for the broker's acknowledgement.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
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
            let cause = visible.last_error.clone().filter(|_| state == UpstreamState::WaitingToRetry);
            visible.events.push(state.as_str(), cause);
            visible.disconnected_since = match state {
                UpstreamState::Connected | UpstreamState::Disabled => None,
                _ => visible.disconnected_since.or(Some(visible.since)),
            };
            self.state_changes.notify_one();
        }
        if state == UpstreamState::Disabled {
            (visible.circuit, visible.canary) = (Circuit::new(Retry::default()), None);
        }
        if state == UpstreamState::Connected {
            (visible.last_error, visible.last_error_cause, visible.last_error_detail) = (None, None, None);
            visible.connections += 1;
            if visible.connections > 1 {
                self.meters().reconnects.inc();
            }
        }
        self.meters().connected.set((state == UpstreamState::Connected).into());
    }

    /// When the next attempt is due, and why so.
    pub fn set_circuit(&self, circuit: Circuit) {
        self.visible().circuit = circuit;
    }

    /// What the canary says; `None` where there is none.
    pub fn set_canary(&self, canary: Option<CanarySnapshot>) {
        self.visible().canary = canary;
    }

    /// Something failed that does not end the connection; the text is shown until the next success.
    pub fn set_error(&self, error: String) {
        let mut visible = self.visible();
        (visible.last_error, visible.last_error_cause, visible.last_error_detail) = (Some(error), None, None);
    }

    /// The broker can be reached again, though nothing goes there.
    pub fn clear_error(&self) {
        let mut visible = self.visible();
        (visible.last_error, visible.last_error_cause, visible.last_error_detail) = (None, None, None);
    }

    /// An attempt or a connection failed; that is shown until the next success.
    pub fn set_failure(&self, failure: &Failure) {
        let mut visible = self.visible();
        visible.last_error = Some(failure.text.clone());
        (visible.last_error_cause, visible.last_error_detail) = (Some(failure.cause), failure.detail);
    }

    /// The TLS session of the connection, or of the last one; `None` for one without TLS.
    pub fn set_tls(&self, details: Option<Arc<TlsDetails>>) {
        self.visible().tls = details;
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

    /// Messages that the broker could not have as they were; see [`WireMeters`].
    pub fn count_changed(&self, downgraded: u64, retain_stripped: u64) {
        let meters = self.meters();
        meters.wire.downgraded.inc_by(downgraded);
        meters.wire.retain_stripped.inc_by(retain_stripped);
    }

    /// A message that came from the broker and is not taken.
    pub fn count_left_out(&self, reason: LeftOut) {
        self.meters().left_out[reason.index()].inc();
    }

    /// What the broker lets us do, as its last CONNACK said.
    pub fn set_capabilities(&self, capabilities: Capabilities) {
        self.visible().capabilities = Some(capabilities);
    }

    /// What the broker let us do when it was last connected.
    pub fn capabilities(&self) -> Option<Capabilities> {
        self.visible().capabilities
    }

    /// Where the connection stands.
    pub fn state(&self) -> UpstreamState {
        self.visible().state
    }

    /// Where a connection to the broker counts its bytes.
    pub fn traffic(&self) -> Arc<Traffic> {
        self.meters().wire.traffic.clone()
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

    /// A subscription was refused; answers whether that is news.
    pub fn subscription_refused(&self, failure: SubscriptionFailure) -> bool {
        let failures = &mut self.visible().subscription_failures;
        match failures.iter_mut().find(|known| known.filter == failure.filter) {
            Some(known) => std::mem::replace(known, failure.clone()) != failure,
            None => {
                failures.push(failure);
                true
            }
        }
    }

    /// A subscription was granted.
    pub fn subscription_granted(&self, filter: &TopicFilter) {
        self.visible().subscription_failures.retain(|known| known.filter != *filter);
    }

    /// The broker is asked for other things.
    pub fn forget_subscriptions(&self) {
        self.visible().subscription_failures.clear();
    }

    /// The broker acknowledged something at this time, in microseconds since the Unix epoch.
    pub fn set_acknowledged(&self, at_micros: u64) {
        self.acknowledged_at_micros.store(at_micros, Ordering::Relaxed);
    }

    /// All of it, as it is now; how far the broker is behind only the log knows, and what makes it unwell its
    /// definition says.
    pub fn snapshot(&self, lag: Lag) -> UpstreamSnapshot {
        let visible = self.visible();
        let meters = self.meters();
        let dropped: BTreeMap<_, _> = DropReason::ALL
            .into_iter()
            .map(|reason| (reason.as_str(), meters.dropped[reason as usize].get()))
            .filter(|(_, count)| *count > 0)
            .collect();
        let left_out =
            LeftOut::LABELS.into_iter().zip(meters.left_out.iter().map(prometheus::IntCounter::get));
        let now = Instant::now();
        UpstreamSnapshot {
            id: self.id,
            name: meters.name.clone(),
            state: visible.state,
            state_age: visible.since.elapsed(),
            disconnected: visible.disconnected_since.map(|since| since.elapsed()),
            circuit: visible.circuit.snapshot(now),
            health: Health::default(),
            health_reasons: Vec::new(),
            canary: visible.canary,
            last_error: visible.last_error.clone(),
            last_error_cause: visible.last_error_cause.map(Cause::as_str),
            last_error_detail: visible.last_error_detail,
            tls: visible.tls.clone(),
            forwarded: meters.forwarded.get(),
            dropped,
            left_out: left_out.filter(|(_, count)| *count > 0).collect(),
            lag: lag.messages,
            lag_bytes: lag.bytes,
            oldest_unsent: age_of(&self.oldest_unsent_micros),
            last_acknowledged: age_of(&self.acknowledged_at_micros),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            downgraded: meters.wire.downgraded.get(),
            retain_stripped: meters.wire.retain_stripped.get(),
            dead_letters: DropReason::ALL
                .into_iter()
                .filter(|reason| reason.is_final())
                .map(|reason| meters.dropped[reason as usize].get())
                .sum(),
            bytes_sent: meters.wire.traffic.bytes_sent.get(),
            bytes_received: meters.wire.traffic.bytes_received.get(),
            reconnects: meters.reconnects.get(),
            replay: visible.replay,
            subscription_failures: visible.subscription_failures.clone(),
            draining: None,
            discarded: self.discarded.load(Ordering::Relaxed),
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
