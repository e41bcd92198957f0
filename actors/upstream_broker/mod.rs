//! The actor of one upstream broker: it connects, forwards what the log has for the broker, routes what the
//! broker publishes, and comes back after every failure. The network's failures are handled here; only a panic
//! ends the actor, and the Router then puts another one in its place.

mod canary;
mod circuit;
mod connect;
mod dead_letters;
mod drop_reason;
mod echoes;
mod elsewhere;
mod encoding;
mod events;
mod filter;
mod forwarding;
mod group;
mod inbox;
mod incoming;
mod intake;
mod introducing;
mod journal;
mod lanes;
mod leaving;
mod link;
mod loop_guard;
mod loop_watch;
mod meters;
mod outbox;
mod pacer;
mod pinging;
mod portions;
pub mod preview;
mod reach;
mod reconfiguring;
mod replay;
mod retrying;
mod scope;
mod service;
mod status;
mod steps;
mod subscribing;
mod suspects;
mod tls;
mod topic_aliases;
mod websocket;
mod wire_meters;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context as Task, Poll};
use std::time::Instant;

use actix::prelude::*;
use mqtt::TopicFilter;
use tokio::sync::{Notify, oneshot};
use tokio::time::Sleep;

pub use canary::CanarySnapshot;
pub use circuit::{Circuit, CircuitSnapshot, CircuitState, chance};
pub use connect::{Cause, Failure, Introduction, connect};
pub use drop_reason::DropReason;
pub use elsewhere::ConnectAnew;
pub use events::UpstreamEvent;
pub use filter::{RecordFilter, rule_wants, rule_wants_all};
pub use group::{Endpoint, GroupStatus, Lineup, Policy, Predecessors, Regroup, Retire, Switch};
use introducing::may_be_bridge;
pub use lanes::{ReplayOrder, ReplayProgress};
pub use scope::hash as topic_hash;
pub use scope::{Part, Scope};
pub use status::UpstreamStatus;
pub use steps::{Step, Steps, Timed};
pub use subscribing::SubscriptionFailure;
pub use tls::{CertificateDetails, TlsDetails};

pub use leaving::Withdraw;

use crate::bridge::Bridge;
use crate::broker::SharedBroker;
use crate::message_log::{LogPlace, MessageLog};
use crate::messages::{Route, UpstreamState, Wake};
use crate::store::{SessionKey, StoredUpstream};
use crate::{Metrics, limits};
use connect::Accepted;
use forwarding::Forwarding;
use group::{Group, Leaving};
use inbox::Inbox;
use incoming::Incoming;
use link::Link;
use loop_watch::LoopWatch;
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
    /// What keeps messages from going round.
    pub bridge: Arc<Bridge>,
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
    circuit: Circuit,
    phase: Phase,
    /// Whether the bridge bit is worth a try: brokers other than mosquitto may refuse it.
    try_bridge: bool,
    /// The definition leads to another server than before, and no connection was made there yet.
    is_elsewhere: bool,
    /// The connection stays until then at the latest, so that what is in flight there finishes.
    leaving_by: Option<Instant>,
    /// Filters of an earlier configuration that the broker's Session may still have.
    unsubscribe: Vec<TopicFilter>,
    /// Set by the Router's [`Drain`]; told when the broker has everything, or when the connection is gone.
    draining: Option<oneshot::Sender<()>>,
    /// The text of the last failure in the log, so that it is not repeated.
    last_failure_logged: Option<String>,
    /// The Router has dead letters and has not answered yet.
    is_burying: bool,
    /// The other members, where there is a group.
    group: Option<Box<Group>>,
    /// The connection is about to be given up.
    leaving: Option<Leaving>,
    /// The next attempt begins when this is done; whether the Session is distrusted then.
    before_connecting: Option<Pin<Box<dyn Future<Output = bool>>>>,
    /// The place of this actor, and those of the ones before it.
    handover: Option<(Arc<LogPlace>, Vec<Arc<LogPlace>>)>,
    /// The Session at the broker is to be forgotten before anything goes out.
    distrust: Arc<AtomicBool>,
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
        let try_bridge = may_be_bridge(&broker);
        let outbox = Outbox::new(place.reader(), Forwarding::of(&broker), broker.rule.max_qos);
        let inbox = Inbox::new(durable_key(&broker));
        let circuit = Circuit::new(broker.retry);
        let mut actor = UpstreamBroker {
            broker,
            context,
            status,
            outbox,
            inbox,
            circuit,
            phase: Phase::Ended,
            try_bridge,
            is_elsewhere: false,
            leaving_by: None,
            unsubscribe: Vec::new(),
            draining: None,
            last_failure_logged: None,
            is_burying: false,
            group: None,
            leaving: None,
            before_connecting: None,
            handover: None,
            distrust: Arc::default(),
        };
        actor.apply_rule();
        actor.begin_connecting();
        actor
    }

    /// What goes to the broker, and how fast, and what comes from it.
    fn apply_rule(&mut self) {
        let mut forwarding = Forwarding::of(&self.broker);
        if let Some(group) = &self.group {
            forwarding = forwarding.within(group.scope());
        }
        self.outbox.set_rule(forwarding, &self.broker.rule, &self.broker.backlog);
        self.inbox.set_rule(self.broker.subscription.as_ref().map(Incoming::new));
        self.outbox.set_broker_name(&self.broker.name);
        self.apply_hold();
    }

    /// Goes on where the broker was before a restart.
    pub fn restored(mut self, mut stored: StoredUpstream) -> UpstreamBroker {
        let awaiting_release = std::mem::take(&mut stored.awaiting_release);
        self.inbox.restore(awaiting_release);
        self.outbox.restore(stored);
        self
    }

    fn name(&self) -> &str {
        &self.broker.name
    }

    fn begin_connecting(&mut self) {
        self.moved_on();
        self.circuit.attempt();
        self.status.set_circuit(self.circuit);
        self.status.set_state(UpstreamState::Connecting);
        let introduction = self.introduction();
        self.phase = Phase::Connecting(Box::pin(self.attempt(introduction)));
    }

    fn accepted(&mut self, accepted: Accepted) {
        let Accepted { connection, session_present, mut capabilities, tls, announced } = accepted;
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
        self.circuit.connected(Instant::now());
        self.status.set_circuit(self.circuit);
        self.status.set_tls(tls);
        self.status.set_state(UpstreamState::Connected);
        let (session_present, unknown) = self.of_this_server(session_present);
        self.status.set_capabilities(capabilities);
        let canary = self.canary(&mut capabilities);
        self.attached(session_present);
        self.outbox.connected(session_present, &capabilities);
        self.inbox.connected(session_present, self.broker.version);
        let as_bridge = self.asks_as_bridge();
        let loops = self.outbox.loops();
        *loops = LoopWatch::over(&self.broker, as_bridge, loops.take(), &self.context.bridge);
        let stamper = self.stamper();
        let proxy = stamper.proxy_of(&announced);
        let mut link =
            Link::new(self.broker.id, connection, capabilities, (stamper, proxy), canary, Instant::now());
        link.is_bridge = as_bridge;
        link.release(&unknown);
        let unsubscribe = std::mem::take(&mut self.unsubscribe);
        if let Some(text) = link.subscribe(&self.broker, &mut self.outbox, unsubscribe) {
            log::warn!("broker {}: {text}", self.name());
            self.status.set_error(text);
        }
        self.phase = Phase::Connected(Box::new(link));
    }

    /// One turn of everything.
    fn drive(&mut self, context: &mut Context<Self>, task: &mut Task<'_>) -> Poll<()> {
        self.drive_group(task);
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
                    Poll::Pending if self.may_leave() => self.connect_anew(),
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => self.leave(),
                    Poll::Ready(Err(failure)) => self.failed(&failure),
                },
            }
        }
    }

    /// There is no connection; what waits for one is shown.
    fn wait(&mut self) -> Poll<()> {
        if self.outbox.is_draining() || !self.status.has_oldest_unsent() {
            self.outbox.publish_progress(&self.status);
        }
        Poll::Pending
    }

    /// One turn of a connection; `Ready(Ok)` when a drain is complete.
    fn drive_link(&mut self, context: &mut Context<Self>, task: &mut Task<'_>) -> Poll<Result<(), Failure>> {
        let Phase::Connected(link) = &mut self.phase else { return Poll::Pending };
        if let Some(failure) = link.ending.take() {
            return Poll::Ready(Err(failure));
        }
        let turn = link.turn(task, &self.broker, &mut self.outbox, &mut self.inbox, &self.status);
        if let Poll::Ready(failure) = turn {
            return self.ending(failure, context);
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
        if self.has_left(task) { Poll::Ready(Ok(())) } else { Poll::Pending }
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
        let driven = actor.drive(context, task);
        actor.publish_dead_letters(context);
        driven
    }
}

impl Handler<Wake> for UpstreamBroker {
    type Result = ();

    /// The driver has its turn after the mailbox.
    fn handle(&mut self, _: Wake, _: &mut Context<Self>) {}
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
