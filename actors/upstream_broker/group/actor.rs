//! How a group's actor changes from one member to another.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context as Task;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{Failover, Group, Leaving, Lineup, Predecessors, Slot, Step, forget_session, is_set};
use crate::broker::SharedBroker;
use crate::limits;
use crate::message_log::LogPlace;
use crate::messages::UpstreamState;
use crate::store::StoredUpstream;
use crate::upstream_broker::connect::{self, Accepted, Failure, Introduction};
use crate::upstream_broker::elsewhere::connect_elsewhere;
use crate::upstream_broker::steps::Steps;
use crate::upstream_broker::{Phase, UpstreamBroker, UpstreamContext};

/// The members of a group, or what they have in common, have changed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Regroup(pub Lineup);

/// Somebody else goes on in the place of this actor: it finishes what is in flight, says goodbye and ends. Answers
/// whether something stayed unfinished.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct Retire;

impl UpstreamBroker {
    /// An actor for a group that goes on at a place in the log.
    pub fn of_group(
        lineup: Lineup,
        place: &Arc<LogPlace>,
        stored: StoredUpstream,
        context: UpstreamContext,
    ) -> UpstreamBroker {
        let first = lineup.endpoints[0].clone();
        let mut actor = UpstreamBroker::new(first.broker, place, first.status, context);
        actor.outbox.set_group(lineup.key);
        let mut actor = actor.restored(stored);
        actor.group = Some(Box::new(Group::new(lineup)));
        actor.swap_in(0);
        actor.begin_connecting();
        actor
    }

    /// It begins once others are done.
    pub fn after(mut self, predecessors: Predecessors) -> UpstreamBroker {
        let Predecessors { left, place, places } = predecessors;
        self.handover = Some((place, places));
        let (distrust, was_distrusted) = (self.distrust.clone(), is_set(&self.distrust));
        // Until it is known how they left.
        distrust.store(true, Ordering::Relaxed);
        self.before_connecting = Some(Box::pin(async move {
            let is_unfinished = left.await;
            distrust.store(is_unfinished || was_distrusted, Ordering::Relaxed);
            is_unfinished
        }));
        self.begin_connecting();
        self
    }

    /// The Session at the broker is not to be trusted: it is forgotten first.
    pub fn distrusting(mut self) -> UpstreamBroker {
        self.distrust.store(true, Ordering::Relaxed);
        self.begin_connecting();
        self
    }

    /// The way to the current member, with what has to be done before.
    pub(in crate::upstream_broker) fn attempt(
        &mut self,
        introduction: Introduction,
    ) -> impl Future<Output = Result<Accepted, Failure>> + use<> {
        let (broker, packet_bytes_max) = (self.broker.clone(), self.context.packet_bytes_max);
        let (traffic, is_elsewhere) = (Some(self.status.traffic()), self.is_elsewhere);
        let (before, distrust) = (self.before_connecting.take(), self.distrust.clone());
        async move {
            if let Some(before) = before
                && before.await
            {
                distrust.store(true, Ordering::Relaxed);
            }
            if is_set(&distrust) {
                forget_session(&broker, packet_bytes_max).await?;
            }
            if is_elsewhere {
                return connect_elsewhere(&broker, introduction, packet_bytes_max, traffic).await;
            }
            connect::connect(&broker, introduction, packet_bytes_max, traffic, &mut Steps::new()).await
        }
    }

    /// The current member accepted a connection.
    pub(in crate::upstream_broker) fn attached(&mut self, session_present: bool) {
        self.distrust.store(false, Ordering::Relaxed);
        if let Some((place, earlier)) = self.handover.take() {
            self.outbox.follow(&place, &earlier);
        }
        self.outbox.hold(false);
        let Some(group) = &mut self.group else { return };
        let (session, stored) = group.connected(&self.broker.name);
        self.outbox.attach(session, stored, session_present);
    }

    /// One turn of what goes on beside the connection.
    pub(in crate::upstream_broker) fn drive_group(&mut self, task: &mut Task<'_>) {
        let Some(group) = &mut self.group else { return };
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        group.poll_probes(task, self.context.packet_bytes_max);
        let better = group.poll_fail_back(task);
        if let Some(better) = better.filter(|_| self.leaving.is_none() && self.draining.is_none()) {
            let name = &group.slots[better].parked.broker.name;
            log::info!("group {}: broker {name} has been up for long enough and takes over", group.name);
            group.cause = format!("broker {name} is up again");
            self.leaving = Some(Leaving::new(Some(better), limits::UPSTREAM_SETTLE_DEADLINE));
            self.outbox.hold(true);
        }
    }

    /// Whether the connection has served its time, and can end.
    pub(in crate::upstream_broker) fn has_left(&mut self, task: &mut Task<'_>) -> bool {
        let Some(leaving) = &mut self.leaving else { return false };
        let is_overdue = leaving.is_overdue(task);
        let is_flushed = matches!(&self.phase, Phase::Connected(link) if link.is_flushed());
        (self.outbox.is_settled() && is_flushed) || is_overdue
    }

    /// The connection is not needed any more: another member takes over, or the actor ends.
    pub(in crate::upstream_broker) fn leave(&mut self) {
        let leaving = self.leaving.take();
        if let Some(leaving) = &leaving {
            leaving.is_unfinished.store(!self.outbox.is_settled(), Ordering::Relaxed);
        }
        match leaving.and_then(|leaving| leaving.to) {
            Some(to) => self.change_to(to),
            None => self.say_goodbye(),
        }
    }

    /// Ends the connection that there is, politely, and goes on with another member.
    fn change_to(&mut self, to: usize) {
        let link = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Connected(link) => Some(link),
            _ => None,
        };
        self.outbox.disconnected();
        self.status.set_state(UpstreamState::Standby);
        self.swap_in(to);
        let probe = self.group.as_mut().and_then(|group| std::mem::take(&mut group.slots[to].probe).close());
        self.before_connecting = Some(Box::pin(async move {
            if let Some(link) = link {
                link.close().await;
            }
            if let Some(probe) = probe {
                probe.await;
            }
            false
        }));
        self.begin_connecting();
    }

    /// An attempt failed, or the connection is lost. Answers how long to wait; `None` where another member is tried
    /// already.
    pub(in crate::upstream_broker) fn fail_over(
        &mut self,
        failure: &Failure,
        was_a_success: bool,
        wait: Duration,
    ) -> Option<Duration> {
        let Some(group) = &mut self.group else { return Some(wait) };
        self.leaving = None;
        if group.cause.is_empty() || was_a_success {
            group.cause = format!("broker {}: {}", self.broker.name, failure.text);
        }
        let step = group.machine.failed(was_a_success, std::time::Instant::now());
        match step {
            Step::Retry(None) => Some(wait),
            Step::Retry(Some(at_most)) => Some(wait.min(at_most)),
            Step::Take(next) => {
                self.status.set_state(UpstreamState::WaitingToRetry);
                self.swap_in(next);
                log::info!("broker {}: its turn in its group has come", self.name());
                self.drop_probe(next);
                self.begin_connecting();
                None
            }
            Step::Rest(next) => {
                self.status.set_state(UpstreamState::WaitingToRetry);
                self.swap_in(next);
                self.drop_probe(next);
                Some(wait)
            }
        }
    }

    /// The member is reached by a connection of its own now.
    fn drop_probe(&mut self, index: usize) {
        let Some(group) = &mut self.group else { return };
        if let Some(goodbye) = std::mem::take(&mut group.slots[index].probe).close() {
            self.before_connecting = Some(Box::pin(async {
                goodbye.await;
                false
            }));
        }
    }

    /// Makes a member the current one.
    fn swap_in(&mut self, index: usize) {
        let Some(mut group) = self.group.take() else { return };
        if let Some(current) = group.current.replace(index) {
            self.status.set_current(false);
            group.slots[current].parked.swap(self);
        }
        group.slots[index].parked.swap(self);
        group.machine.take(index);
        self.status.set_current(true);
        self.group = Some(group);
        self.apply_rule();
    }

    /// Takes over another definition of the current member; answers whether it needs another connection.
    fn redefine(&mut self, broker: SharedBroker) -> bool {
        let old = std::mem::replace(&mut self.broker, broker);
        self.unsubscribe_from(&old);
        !self.broker.connects_like(&old)
    }
}

impl Handler<Regroup> for UpstreamBroker {
    type Result = ();

    fn handle(&mut self, Regroup(lineup): Regroup, _: &mut Context<Self>) {
        let Some(mut group) = self.group.take() else { return };
        if let Some(current) = group.current.take() {
            group.slots[current].parked.swap(self);
        }
        let current_id = group.slots.get(group.machine.current()).map(|slot| slot.id);
        let mut old: Vec<Slot> = std::mem::take(&mut group.slots);
        let was_connected = group.machine.is_connected();
        let Lineup { endpoints, policy, scope, name, .. } = lineup;
        let mut goodbyes = Vec::new();
        for endpoint in endpoints {
            let Some(index) = old.iter().position(|slot| slot.id == endpoint.broker.id) else {
                group.slots.push(Slot::new(endpoint));
                continue;
            };
            let mut slot = old.swap_remove(index);
            goodbyes.extend(std::mem::take(&mut slot.probe).close());
            if current_id != Some(slot.id) {
                slot.parked.broker = endpoint.broker.clone();
            }
            slot.redefined = Some(endpoint.broker);
            group.slots.push(slot);
        }
        goodbyes.extend(old.into_iter().filter_map(|slot| slot.probe.close()));
        goodbyes.into_iter().for_each(|goodbye| {
            actix::spawn(goodbye);
        });
        let kept = group.slots.iter().position(|slot| Some(slot.id) == current_id);
        (group.name, group.scope) = (name, scope);
        group.machine = Failover::new(group.slots.len(), policy);
        let next = kept.unwrap_or(0);
        let redefined = group.slots[next].redefined.take();
        group.slots.iter_mut().for_each(|slot| slot.redefined = None);
        self.group = Some(group);
        self.leaving = None;
        self.outbox.hold(false);
        self.swap_in(next);
        let needs_another = redefined.is_some_and(|broker| self.redefine(broker));
        self.apply_rule();
        if kept.is_some() && !needs_another {
            if let Some(group) = self.group.as_mut().filter(|_| was_connected) {
                group.machine.connected();
            }
            return;
        }
        if let Some(group) = &mut self.group {
            group.cause = "the group's members have changed".to_owned();
        }
        log::info!("broker {}: definition or group changed, connecting anew", self.name());
        self.try_bridge = true;
        self.change_connection();
    }
}

impl UpstreamBroker {
    /// Ends the connection that there is, politely, and makes another one to the current member.
    fn change_connection(&mut self) {
        if let Phase::Connected(link) = std::mem::replace(&mut self.phase, Phase::Ended) {
            self.outbox.disconnected();
            self.before_connecting = Some(Box::pin(async {
                link.close().await;
                false
            }));
        }
        self.circuit.close();
        self.begin_connecting();
    }
}

impl Handler<Retire> for UpstreamBroker {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, _: Retire, context: &mut Context<Self>) -> Self::Result {
        let (done, left) = oneshot::channel();
        self.draining = Some(done);
        let leaving = Leaving::new(None, limits::UPSTREAM_SETTLE_DEADLINE);
        leaving.is_unfinished.store(!self.outbox.is_settled(), Ordering::Relaxed);
        let is_unfinished = leaving.is_unfinished.clone();
        self.leaving = Some(leaving);
        self.outbox.hold(true);
        // The driver may have had its turn already: this gives it another.
        context.wait(actix::fut::ready(()));
        Box::pin(async move {
            // An actor that is gone has left.
            let _ = left.await;
            is_set(&is_unfinished)
        })
    }
}
