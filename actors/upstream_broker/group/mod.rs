//! The members of a group, all served from one place in the log: one of them gets the messages, the better ones are
//! probed so that they can take over again.

mod actor;
mod failover;
mod probe;
mod status;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant};

use mqtt::TopicFilter;
use tokio::time::Sleep;

pub use actor::{Regroup, Retire};
pub use failover::Policy;
use failover::{Failover, Step};
use probe::{Probe, ProbeEvent};
pub use status::{GroupStatus, Switch};

use super::circuit::{Circuit, chance};
use super::connect::Introduction;
use super::inbox::Inbox;
use super::outbox::StoredFlow;
use super::scope::Scope;
use super::status::UpstreamStatus;
use super::steps::Steps;
use super::{UpstreamBroker, connect};
use crate::BrokerId;
use crate::broker::SharedBroker;
use crate::messages::UpstreamState;
use crate::store::{SessionKey, StoredUpstream};

/// A member as a group's actor is told about it.
#[derive(Clone)]
pub struct Endpoint {
    /// How to reach it.
    pub broker: SharedBroker,
    /// What it shows.
    pub status: Arc<UpstreamStatus>,
    /// Under which identity the store knows the Session there.
    pub session: BrokerId,
    /// What the store knows of that Session.
    pub stored: StoredUpstream,
    /// The Session there may hold what nobody remembers: it is to be forgotten before anything goes out.
    pub is_distrusted: bool,
}

/// The members of a group in the order of preference, and what they have in common.
#[derive(Clone)]
pub struct Lineup {
    /// The identity of the place in the log.
    pub key: BrokerId,
    /// The group's name, for the log.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// How it changes over.
    pub policy: Policy,
    /// What of the messages goes this way.
    pub scope: Scope,
    /// What the group shows.
    pub status: Arc<GroupStatus>,
}

/// The group, as its actor has it. The fields of the actor itself are those of the current member.
pub struct Group {
    name: String,
    machine: Failover,
    /// The member whose fields the actor has; `None` while it has none.
    current: Option<usize>,
    slots: Vec<Slot>,
    scope: Scope,
    status: Arc<GroupStatus>,
    /// Who had the last connection, and why that ended.
    last_connected: Option<BrokerId>,
    cause: String,
    /// When a better member takes over.
    timer: Option<Pin<Box<Sleep>>>,
}

/// One member.
struct Slot {
    id: BrokerId,
    session: BrokerId,
    stored: Option<StoredFlow>,
    /// Of the current member it is in the actor, and here is what that had before.
    parked: Parked,
    probe: Probe,
    /// Another definition, while the group is changed.
    redefined: Option<SharedBroker>,
}

/// What the actor has for each member.
struct Parked {
    broker: SharedBroker,
    status: Arc<UpstreamStatus>,
    inbox: Inbox,
    circuit: Circuit,
    try_bridge: bool,
    unsubscribe: Vec<TopicFilter>,
    last_failure_logged: Option<String>,
    distrust: Arc<AtomicBool>,
}

impl Slot {
    fn new(endpoint: Endpoint) -> Slot {
        let Endpoint { broker, status, session, stored, is_distrusted } = endpoint;
        status.set_current(false);
        status.set_state(UpstreamState::Standby);
        Slot {
            id: broker.id,
            session,
            stored: Some(stored.in_flight),
            parked: Parked::new(broker, status, session, stored.awaiting_release, is_distrusted),
            probe: Probe::Off,
            redefined: None,
        }
    }
}

impl Parked {
    fn new(
        broker: SharedBroker,
        status: Arc<UpstreamStatus>,
        session: BrokerId,
        awaiting_release: Vec<mqtt::PacketId>,
        is_distrusted: bool,
    ) -> Parked {
        let durable = (!broker.clean_session).then(|| SessionKey::of_broker(session));
        let mut inbox = Inbox::new(durable);
        inbox.restore(awaiting_release);
        Parked {
            inbox,
            circuit: Circuit::new(broker.retry),
            try_bridge: true,
            unsubscribe: Vec::new(),
            last_failure_logged: None,
            distrust: Arc::new(AtomicBool::new(is_distrusted)),
            broker,
            status,
        }
    }

    /// Changes places with what the actor has.
    fn swap(&mut self, actor: &mut UpstreamBroker) {
        std::mem::swap(&mut self.broker, &mut actor.broker);
        std::mem::swap(&mut self.status, &mut actor.status);
        std::mem::swap(&mut self.inbox, &mut actor.inbox);
        std::mem::swap(&mut self.circuit, &mut actor.circuit);
        std::mem::swap(&mut self.try_bridge, &mut actor.try_bridge);
        std::mem::swap(&mut self.unsubscribe, &mut actor.unsubscribe);
        std::mem::swap(&mut self.last_failure_logged, &mut actor.last_failure_logged);
        std::mem::swap(&mut self.distrust, &mut actor.distrust);
    }
}

impl Group {
    fn new(lineup: Lineup) -> Group {
        let Lineup { name, endpoints, policy, scope, status, .. } = lineup;
        Group {
            name,
            machine: Failover::new(endpoints.len(), policy),
            current: None,
            slots: endpoints.into_iter().map(Slot::new).collect(),
            scope,
            status,
            last_connected: None,
            cause: String::new(),
            timer: None,
        }
    }

    /// What of the messages goes this way.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The current member accepted a connection. Answers with its Session, and what was in flight there before a restart.
    fn connected(&mut self, name: &str) -> (BrokerId, Option<StoredFlow>) {
        self.machine.connected();
        let current = self.machine.current();
        let id = self.slots[current].id;
        if let Some(from) = self.last_connected.replace(id).filter(|from| *from != id) {
            let cause = std::mem::take(&mut self.cause);
            log::info!("group {}: broker {name} gets the messages now; {cause}", self.name);
            self.status.switched(Switch { from, to: id, cause, at: Instant::now() });
        }
        for slot in &self.slots[current + 1..] {
            // Nobody asks how they are; they are tried when it is their turn.
            slot.parked.status.set_state(UpstreamState::Standby);
        }
        let slot = &mut self.slots[current];
        (slot.session, slot.stored.take())
    }

    /// One turn of the probes.
    fn poll_probes(&mut self, task: &mut Task<'_>, packet_bytes_max: usize) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if !self.machine.is_probed(index) {
                if let Some(goodbye) = std::mem::take(&mut slot.probe).close() {
                    actix::spawn(goodbye);
                }
                continue;
            }
            if matches!(slot.probe, Probe::Off) {
                // It has just failed, or another one was taken while it was not asked.
                let wait = slot.parked.broker.retry.floor;
                slot.probe = Probe::Waiting(Box::pin(tokio::time::sleep(wait)));
            }
            while let Poll::Ready(event) = slot.probe.poll(task) {
                slot.probed(event, packet_bytes_max);
                match slot.probe {
                    Probe::Up(_) => self.machine.probe_up(index, Instant::now()),
                    _ => self.machine.probe_down(index),
                }
            }
        }
    }

    /// The better member that takes over now, if one does; else the task is woken when one may.
    fn poll_fail_back(&mut self, task: &mut Task<'_>) -> Option<usize> {
        let better = self.machine.fail_back(Instant::now());
        let Some(at) = self.machine.fail_back_at().filter(|_| better.is_none()) else { return better };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into())));
        if timer.deadline() != at.into() {
            timer.as_mut().reset(at.into());
        }
        if timer.as_mut().poll(task).is_ready() {
            task.waker().wake_by_ref();
        }
        None
    }
}

impl Slot {
    fn probed(&mut self, event: ProbeEvent, packet_bytes_max: usize) {
        let parked = &mut self.parked;
        match event {
            ProbeEvent::Due => {
                parked.circuit.attempt();
                let as_bridge = parked.try_bridge && may_echo(&parked.broker);
                let introduction = if as_bridge { Introduction::Bridge } else { Introduction::None };
                let broker = parked.broker.clone();
                self.probe = Probe::Connecting(Box::pin(async move {
                    connect::connect(&broker, introduction, packet_bytes_max, None, &mut Steps::new()).await
                }));
            }
            ProbeEvent::Up => {
                log::info!("broker {}: is up again and stands by", parked.broker.name);
                parked.circuit.connected(Instant::now());
                parked.last_failure_logged = None;
                parked.status.clear_error();
                parked.status.set_state(UpstreamState::Standby);
            }
            ProbeEvent::Down(failure) => {
                if failure.reason_code == Some(mqtt::ReasonCode::UnsupportedProtocolVersion) {
                    parked.try_bridge = false;
                }
                if parked.last_failure_logged.as_ref() != Some(&failure.text) {
                    log::warn!(
                        "broker {}: stands by and cannot be reached: {}",
                        parked.broker.name,
                        failure.text
                    );
                    parked.last_failure_logged = Some(failure.text.clone());
                }
                parked.status.set_failure(&failure);
                parked.status.set_state(UpstreamState::WaitingToRetry);
                let wait =
                    parked.circuit.failed(Instant::now(), failure.cause, failure.reason_code, chance());
                parked.status.set_circuit(parked.circuit);
                self.probe = Probe::Waiting(Box::pin(tokio::time::sleep(wait)));
            }
        }
    }
}

/// See [`UpstreamBroker::may_echo`].
fn may_echo(broker: &SharedBroker) -> bool {
    broker.subscription.is_some() && !broker.version.is_v5()
}

/// How a connection that works is given up.
pub struct Leaving {
    /// The member that takes over; `None` where nobody does.
    to: Option<usize>,
    /// What is in flight has until then.
    deadline: Pin<Box<Sleep>>,
    is_overdue: bool,
    /// Whether something in flight is left behind.
    is_unfinished: Arc<AtomicBool>,
}

impl Leaving {
    fn new(to: Option<usize>, within: Duration) -> Leaving {
        Leaving {
            to,
            deadline: Box::pin(tokio::time::sleep(within)),
            is_overdue: false,
            is_unfinished: Arc::default(),
        }
    }

    /// Whether the time for what is in flight is over.
    pub fn is_overdue(&mut self, task: &mut Task<'_>) -> bool {
        self.is_overdue |= self.deadline.as_mut().poll(task).is_ready();
        self.is_overdue
    }
}

/// Whoever had the messages before has to be done first.
pub struct Predecessors {
    /// Done when all of them have left; answers whether one left something unfinished.
    pub left: Pin<Box<dyn Future<Output = bool>>>,
    /// Where the new one reads.
    pub place: Arc<crate::message_log::LogPlace>,
    /// Where they read.
    pub places: Vec<Arc<crate::message_log::LogPlace>>,
}

/// Lets the broker forget our Session: what it may hold there is known to nobody any more.
pub async fn forget_session(broker: &SharedBroker, packet_bytes_max: usize) -> Result<(), connect::Failure> {
    let clean = crate::Broker { clean_session: true, ..crate::Broker::clone(broker) };
    let accepted =
        connect::connect(&clean, Introduction::None, packet_bytes_max, None, &mut Steps::new()).await?;
    let mut connection = accepted.connection;
    if let Err(error) =
        connection.queue(&mqtt::packet::Packet::Disconnect(mqtt::packet::Disconnect::normal()))
    {
        log::error!("{}: {error}", connection.peer());
    }
    connection.close().await;
    Ok(())
}

/// A shared flag that is set.
pub fn is_set(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}
