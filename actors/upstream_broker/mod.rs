//! The actor of one upstream broker: it connects, forwards what the log has for the broker, routes what the
//! broker publishes, and comes back after every failure. The network's failures are handled here; only a panic
//! ends the actor, and the Router then puts another one in its place.

mod backoff;
mod connect;
mod encoding;
mod filter;
mod inbox;
mod intake;
mod journal;
mod lanes;
mod leaving;
mod link;
mod loop_guard;
mod outbox;
mod pacer;
mod replay;
mod status;
mod tls;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Instant;

use actix::prelude::*;
use mqtt::{ReasonCode, TopicFilter};
use tokio::sync::{Notify, oneshot};
use tokio::time::Sleep;

pub use backoff::{Backoff, chance};
pub use connect::{Cause, Failure};
pub use filter::{RecordFilter, rule_wants};
pub use lanes::{ReplayOrder, ReplayProgress};
pub use status::{DropReason, UpstreamStatus};

pub use leaving::Withdraw;

use crate::broker::SharedBroker;
use crate::message_log::{LogPlace, MessageLog};
use crate::messages::{Reconfigure, Route, UpstreamState, Wake};
use crate::store::{SessionKey, StoredUpstream};
use crate::{Metrics, limits};
use connect::Accepted;
use inbox::Inbox;
use link::Link;
use outbox::Outbox;

/// What an upstream broker's actor needs from others.
#[derive(Clone)]
pub struct UpstreamContext {
    /// Where the broker's own messages go.
    pub router: Recipient<Route>,
    /// The log, for publishers' back pressure.
    pub log: Arc<MessageLog>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The longest packet that is accepted from a broker.
    pub packet_bytes_max: usize,
    /// Told whenever the state of a connection changes.
    pub state_changes: Arc<Notify>,
}

/// The actor.
pub struct UpstreamBroker {
    broker: SharedBroker,
    context: UpstreamContext,
    status: Arc<UpstreamStatus>,
    outbox: Outbox,
    inbox: Inbox,
    backoff: Backoff,
    phase: Phase,
    /// Whether the bridge bit is worth a try: brokers other than mosquitto may refuse it.
    try_bridge: bool,
    /// Filters of an earlier configuration that the broker's Session may still have.
    unsubscribe: Vec<TopicFilter>,
    /// Set by the Router's [`Drain`]; told when the broker has everything, or when the connection is gone.
    draining: Option<oneshot::Sender<()>>,
    /// The text of the last failure in the log, so that it is not repeated.
    last_failure_logged: Option<String>,
}

/// Where the connection stands.
///
/// ```text
///            ┌────────── the wait is over ──────────┐
///            v                                      │
///  Connecting ── CONNACK yes ──> Connected ── lost ──> Waiting
///            └────────────── failed ────────────────────^
///  any ── Drain ──> Ended
/// ```
enum Phase {
    Connecting(Pin<Box<dyn Future<Output = Result<Accepted, Failure>>>>),
    Connected(Box<Link>),
    Waiting(Pin<Box<Sleep>>),
    Ended,
}

impl UpstreamBroker {
    /// An actor for a broker that goes on at a place in the log.
    pub fn new(
        broker: SharedBroker,
        place: &Arc<LogPlace>,
        status: Arc<UpstreamStatus>,
        context: UpstreamContext,
    ) -> UpstreamBroker {
        let filter = RecordFilter::of(&broker);
        let outbox = Outbox::new(place.reader(), filter, broker.rule.max_qos);
        let inbox = Inbox::new(durable_key(&broker), Vec::new());
        let mut actor = UpstreamBroker {
            broker,
            context,
            status,
            outbox,
            inbox,
            backoff: Backoff::new(limits::UPSTREAM_RETRY_FLOOR, limits::UPSTREAM_RETRY_CEILING),
            phase: Phase::Ended,
            try_bridge: true,
            unsubscribe: Vec::new(),
            draining: None,
            last_failure_logged: None,
        };
        actor.apply_rule();
        actor.begin_connecting();
        actor
    }

    /// What goes to the broker, and how fast.
    fn apply_rule(&mut self) {
        let filter = RecordFilter::of(&self.broker);
        self.outbox.set_rule(filter, self.broker.rule.max_qos, &self.broker.backlog);
    }

    /// Goes on where the broker was before a restart.
    pub fn restored(mut self, mut stored: StoredUpstream) -> UpstreamBroker {
        let awaiting_release = std::mem::take(&mut stored.awaiting_release);
        self.inbox = Inbox::new(durable_key(&self.broker), awaiting_release);
        self.outbox.restore(stored);
        self
    }

    fn name(&self) -> &str {
        &self.broker.name
    }

    /// Whether the broker would send our own messages back, if nothing were done: 5.0 has No Local against it,
    /// and with 3.1.1 the bridge bit asks for the same where the broker knows it.
    fn may_echo(&self) -> bool {
        self.broker.subscription.is_some() && !self.broker.version.is_v5()
    }

    fn begin_connecting(&mut self) {
        self.status.set_state(UpstreamState::Connecting);
        let (broker, packet_bytes_max) = (self.broker.clone(), self.context.packet_bytes_max);
        let bridge = self.try_bridge && self.may_echo();
        self.phase =
            Phase::Connecting(Box::pin(
                async move { connect::connect(&broker, bridge, packet_bytes_max).await },
            ));
    }

    fn accepted(&mut self, accepted: Accepted) {
        let Accepted { connection, session_present, capabilities } = accepted;
        log::info!(
            "broker {}: connected to {}:{}{}",
            self.name(),
            self.broker.address,
            self.broker.port,
            if session_present { ", session resumed" } else { "" }
        );
        if self.broker.tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify) {
            log::warn!("broker {}: its certificate is not verified (insecure_skip_verify)", self.name());
        }
        self.last_failure_logged = None;
        self.status.set_state(UpstreamState::Connected);
        self.outbox.connected(session_present, &capabilities);
        self.inbox.connected(session_present, self.broker.version);
        let echoing = self.broker.subscription.as_ref().filter(|_| self.may_echo() && !self.try_bridge);
        let subscribed =
            echoing.map(|subscription| RecordFilter::of_subscription(self.broker.id, subscription));
        self.outbox.expect_echoes(subscribed);
        let mut link = Link::new(connection, capabilities, Instant::now());
        link.subscribe(&self.broker, &mut self.outbox, std::mem::take(&mut self.unsubscribe));
        self.phase = Phase::Connected(Box::new(link));
    }

    /// Something failed: says so and waits for its time.
    fn failed(&mut self, failure: &Failure) {
        if matches!(&self.phase, Phase::Connected(link) if link.was_a_success()) {
            self.backoff.succeeded();
        }
        if failure.reason_code == Some(ReasonCode::UnsupportedProtocolVersion) {
            self.try_bridge = false;
        }
        let wait = self.backoff.failed(chance());
        self.context.metrics.broker_failures.with_label_values(&[self.name(), failure.cause.as_str()]).inc();
        // The same failure again and again is one event worth knowing.
        if self.last_failure_logged.as_ref() != Some(&failure.text) {
            log::warn!("broker {}: {}; retrying", self.name(), failure.text);
            self.last_failure_logged = Some(failure.text.clone());
        } else {
            log::debug!("broker {}: {}; retrying in {} ms", self.name(), failure.text, wait.as_millis());
        }
        self.status.set_error(failure.text.clone());
        self.outbox.disconnected();
        if self.draining.is_some() {
            self.end();
            return;
        }
        self.status.set_state(UpstreamState::WaitingToRetry);
        self.phase = Phase::Waiting(Box::pin(tokio::time::sleep(wait)));
    }

    /// One turn of everything.
    fn drive(&mut self, context: &mut Context<Self>, task: &mut Task<'_>) -> Poll<()> {
        loop {
            match &mut self.phase {
                Phase::Ended => {
                    context.stop();
                    return Poll::Ready(());
                }
                Phase::Waiting(sleep) => match sleep.as_mut().poll(task) {
                    Poll::Pending if self.draining.is_some() => self.end(),
                    Poll::Pending => return self.wait(),
                    Poll::Ready(()) => self.begin_connecting(),
                },
                Phase::Connecting(attempt) => match attempt.as_mut().poll(task) {
                    Poll::Pending if self.draining.is_some() => self.end(),
                    Poll::Pending => return self.wait(),
                    Poll::Ready(Ok(accepted)) => self.accepted(accepted),
                    Poll::Ready(Err(failure)) => self.failed(&failure),
                },
                Phase::Connected(_) => match self.drive_link(context, task) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => self.say_goodbye(),
                    Poll::Ready(Err(failure)) => self.failed(&failure),
                },
            }
        }
    }

    /// There is no connection; what waits for one is shown.
    fn wait(&mut self) -> Poll<()> {
        if !self.status.has_oldest_unsent() {
            self.outbox.publish_progress(&self.status);
        }
        Poll::Pending
    }

    /// One turn of a connection; `Ready(Ok)` when a drain is complete.
    fn drive_link(&mut self, context: &mut Context<Self>, task: &mut Task<'_>) -> Poll<Result<(), Failure>> {
        let Phase::Connected(link) = &mut self.phase else { return Poll::Pending };
        let turn = link.turn(task, &self.broker, &mut self.outbox, &mut self.inbox, &self.status);
        if let Poll::Ready(failure) = turn {
            return Poll::Ready(Err(failure));
        }
        link.observe_latency(&self.context.metrics);
        if !link.is_reading_paused()
            && let Some(route) = self.inbox.take_route(self.broker.id)
        {
            self.route(route, context);
            return Poll::Pending;
        }
        self.inbox.acknowledge(link.output(), &self.context.log, task);
        if self.outbox.may_send(task)
            && let Err(failure) = link.flush(task)
        {
            return Poll::Ready(Err(failure));
        }
        if self.draining.is_some() && self.outbox.is_drained() && link.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

/// The key of what comes from a broker whose Session outlives its connection.
fn durable_key(broker: &SharedBroker) -> Option<SessionKey> {
    (!broker.clean_session).then(|| SessionKey::of_broker(broker.id))
}

impl Actor for UpstreamBroker {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.set_mailbox_capacity(limits::MAILBOX_MESSAGES);
        context.spawn(Driver);
    }
}

/// Polls the actor's connection whenever the actor has something to do.
struct Driver;

impl ActorFuture<UpstreamBroker> for Driver {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut UpstreamBroker,
        context: &mut Context<UpstreamBroker>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        actor.drive(context, task)
    }
}

impl Handler<Wake> for UpstreamBroker {
    type Result = ();

    /// The driver has its turn after the mailbox.
    fn handle(&mut self, _: Wake, _: &mut Context<Self>) {}
}

impl Handler<Reconfigure> for UpstreamBroker {
    type Result = ();

    fn handle(&mut self, Reconfigure(broker): Reconfigure, _: &mut Context<Self>) {
        let old = std::mem::replace(&mut self.broker, broker);
        self.apply_rule();
        if self.broker.connects_like(&old) {
            return;
        }
        let kept: &[TopicFilter] =
            self.broker.subscription.as_ref().map_or(&[], |subscription| &subscription.topics);
        let asked = old.subscription.as_ref().map_or(&[][..], |subscription| &subscription.topics);
        self.unsubscribe.extend(asked.iter().filter(|filter| !kept.contains(filter)).cloned());
        log::info!("broker {}: definition changed, connecting anew", self.name());
        if let Phase::Connected(link) = std::mem::replace(&mut self.phase, Phase::Ended) {
            self.outbox.disconnected();
            actix::spawn(link.close());
        }
        self.try_bridge = true;
        self.backoff.succeeded();
        self.begin_connecting();
    }
}

/// What a bug would do.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub struct PanicForTest;

#[cfg(test)]
impl Handler<PanicForTest> for UpstreamBroker {
    type Result = ();

    fn handle(&mut self, _: PanicForTest, _: &mut Context<Self>) {
        panic!("a test asked for it");
    }
}

#[cfg(test)]
mod tests;
