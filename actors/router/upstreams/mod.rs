//! The actors of the upstream brokers: who there is, and that there is one for each enabled broker.

mod apply;
mod groups;
mod health;
mod lifecycle;
mod overflow;
mod plan;
mod preview;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use actix::prelude::*;
use foldhash::fast::RandomState;
use mqtt::TopicName;

use crate::BrokerId;
use crate::broker::{OnFull, SharedBroker};
use crate::health::Health;
use crate::limits;
use crate::message_log::{Bound, LogPlace};
use crate::messages::{Drain, RetryNow, UpstreamState, Wake};
use crate::start_position::StartPosition;
use crate::store::{Change, StoredUpstream};
use crate::timestamp::unix_micros;
use crate::upstream_broker::{
    Cause, Circuit, UpstreamBroker, UpstreamContext, UpstreamStatus, chance, rule_wants, rule_wants_all,
};
use apply::{Inheritance, KnownGroup};
use groups::Grouped;
use plan::Way;

/// All upstream brokers.
#[derive(Default)]
pub struct Upstreams {
    /// Each way that messages take.
    children: Vec<Child>,
    members: Vec<Member>,
    groups: Vec<KnownGroup>,
    /// What there was before a restart, until the definitions are known.
    stored: HashMap<BrokerId, StoredUpstream>,
    /// Whether some enabled broker would rather have new messages refused than lose old ones.
    may_reject: bool,
    /// The cursors of the brokers that want a topic, for topics that were asked before.
    cursors: HashMap<TopicName, Arc<[Arc<AtomicU64>]>, RandomState>,
    /// Whether some enabled broker takes every topic.
    all_topics: bool,
    /// Whether any broker wants a topic, for topics that were asked before.
    wanted: HashMap<TopicName, bool, RandomState>,
}

/// A broker, in the order of the ConfigStore.
struct Member {
    broker: SharedBroker,
    status: Arc<UpstreamStatus>,
}

/// One way that messages take: to a broker, or to a group of them.
struct Child {
    /// The identity of its place in the log.
    key: BrokerId,
    /// The broker, or the preferred member.
    broker: SharedBroker,
    status: Arc<UpstreamStatus>,
    running: Option<Running>,
    grouped: Option<Grouped>,
}

/// The actor of an enabled broker.
struct Running {
    address: Addr<UpstreamBroker>,
    /// Outlives the actor, so that a replaced one goes on where it was.
    place: Arc<LogPlace>,
    /// Opens when the actor ends unexpectedly.
    circuit: Circuit,
    /// When to replace an actor that is gone.
    replace_at: Option<Instant>,
    /// Whether the actor's mailbox had no room for the definition that is in force.
    is_outdated: bool,
    /// How the broker was at the last look.
    health: Health,
    /// Whether messages for the broker fell out of the log since the last look, and whether that was said.
    overflowed_of_late: bool,
    overflowing: bool,
    full: bool,
}

impl Upstreams {
    /// None yet; those of before a restart go on where they were.
    pub fn restored(stored: HashMap<BrokerId, StoredUpstream>) -> Upstreams {
        Upstreams { stored, ..Upstreams::default() }
    }

    /// Whether some enabled broker would rather have new messages refused than lose old ones.
    pub fn may_reject(&self) -> bool {
        self.may_reject
    }

    /// Whether a broker that wants the topic may not fall behind further.
    pub fn is_full_for(&self, topic_name: &TopicName) -> bool {
        self.children.iter().any(|child| child.is_full() && child.wants_topic(topic_name))
    }

    /// The cursors of the enabled brokers that want the topic.
    pub fn cursors_for(&mut self, topic_name: &TopicName) -> Arc<[Arc<AtomicU64>]> {
        if let Some(cursors) = self.cursors.get(topic_name) {
            return cursors.clone();
        }
        let wanting = self.children.iter().filter(|child| child.wants_topic(topic_name));
        let running = wanting.filter_map(|child| child.running.as_ref());
        let cursors: Arc<[_]> = running.map(|running| running.place.shared_cursor()).collect();
        if self.cursors.len() >= limits::ROUTE_CACHE_ENTRIES {
            self.cursors.clear();
        }
        self.cursors.insert(topic_name.detached(), cursors.clone());
        cursors
    }

    /// Whether a broker gets messages of the topic, all of them and unchanged.
    pub fn take_as_it_is(&self, id: BrokerId, topic_name: &TopicName) -> bool {
        let child = self.children.iter().find(|child| child.broker.id == id && child.running.is_some());
        child.is_some_and(|child| {
            let rule = &child.broker.rule;
            rule.changes_nothing() && rule_wants(rule, topic_name)
        })
    }

    /// Tries to reach an enabled broker now; empty where there is no such broker.
    pub fn retry_now(&mut self, retry: RetryNow) -> Vec<Request<UpstreamBroker, RetryNow>> {
        let serving = self.children.iter_mut().filter(|child| child.serves(retry.0));
        serving.filter_map(|child| child.retry_now(retry)).collect()
    }

    /// Whether there is no enabled broker.
    pub fn is_empty(&self) -> bool {
        self.children.iter().all(|child| child.running.is_none())
    }

    /// Whether some broker takes every topic that does not start with `$`.
    pub fn want_all_topics(&self) -> bool {
        self.all_topics
    }

    /// Whether any enabled broker wants the topic.
    pub fn want(&mut self, topic_name: &TopicName) -> bool {
        if self.all_topics && !topic_name.is_dollar() {
            return true;
        }
        if let Some(answer) = self.wanted.get(topic_name) {
            return *answer;
        }
        let enabled = self.children.iter().filter(|child| child.running.is_some());
        let answer = enabled.into_iter().any(|child| child.wants_topic(topic_name));
        if self.wanted.len() >= limits::ROUTE_CACHE_ENTRIES {
            self.wanted.clear();
        }
        self.wanted.insert(topic_name.detached(), answer);
        answer
    }

    /// Tells every actor that the log has more.
    pub fn wake(&self) {
        for running in self.children.iter().filter_map(|child| child.running.as_ref()) {
            // A full mailbox has a Wake in it already.
            let _ = running.address.try_send(Wake);
        }
    }

    /// What was found out for earlier definitions holds no longer.
    fn refresh(&mut self) {
        self.wanted.clear();
        self.cursors.clear();
        self.may_reject = self.children.iter().any(|child| child.may_reject());
        let takes_all = |child: &Child| child.running.is_some() && rule_wants_all(&child.broker.rule);
        self.all_topics = self.children.iter().any(takes_all);
    }

    /// Counts what fell out of the log, and replaces actors that are gone, each after its own back-off.
    pub fn supervise(&mut self, context: &UpstreamContext, now: Instant) {
        for child in &mut self.children {
            child.count_overflow();
            child.log_overflow();
            child.log_full();
            child.catch_up();
            child.watch_health(context);
            child.supervise(context, now);
        }
    }

    /// Lets every actor send what it has and say goodbye; done when all have.
    pub fn drain(&mut self) -> impl Future<Output = ()> + use<> {
        let running = self.children.iter_mut().filter_map(|child| child.running.take());
        let drained: Vec<_> = running.map(|running| (running.address.send(Drain), running.place)).collect();
        async move {
            for (drained, _place) in drained {
                // An actor that is gone has nothing left to drain.
                let _ = drained.await;
            }
        }
    }
}

#[cfg(test)]
impl Upstreams {
    /// The actor of the first enabled broker.
    pub fn first_address_for_test(&self) -> Option<&Addr<UpstreamBroker>> {
        self.children.iter().find_map(|child| child.running.as_ref()).map(|running| &running.address)
    }
}

impl Child {
    fn new(
        broker: SharedBroker,
        status: Arc<UpstreamStatus>,
        stored: Option<StoredUpstream>,
        inheritance: Inheritance,
        context: &UpstreamContext,
    ) -> Child {
        let mut child = Child { key: broker.id, broker, status, running: None, grouped: None };
        match (child.broker.enabled, stored) {
            (true, stored) => child.start(stored, inheritance, context),
            (false, stored) => {
                child.status.set_state(UpstreamState::Disabled);
                if stored.is_some() {
                    forget(child.key, context);
                }
            }
        }
        child
    }

    /// Goes on where the broker was, or begins where it shall.
    fn start(
        &mut self,
        stored: Option<StoredUpstream>,
        mut inheritance: Inheritance,
        context: &UpstreamContext,
    ) {
        let log = &context.log;
        let stored = stored.unwrap_or_default();
        let cursor = stored.cursor.or(inheritance.cursor);
        let cursor = cursor.unwrap_or_else(|| match self.broker.backlog.start_at {
            StartPosition::Now => log.next_offset(),
            // With a time, the broker's filter leaves out what is older.
            StartPosition::Earliest | StartPosition::Time(_) => log.first_offset(),
            StartPosition::Offset(offset) => offset.max(log.first_offset()),
        });
        if stored.cursor.is_none() {
            // Before any message that is to reach the broker.
            let begun = Change::Cursor { broker: self.key, cursor, live: None };
            log.append_changes(&[begun], unix_micros());
        }
        let place = log.place_of(self.key, cursor, stored.live, self.wanted());
        place.set_bound(bound(&self.broker));
        let mut actor = self.actor(&place, stored, context);
        if inheritance.is_distrusting && self.grouped.is_none() {
            actor = actor.distrusting();
        }
        if let Some(predecessors) = inheritance.predecessors(&place) {
            actor = actor.after(predecessors);
        }
        let address = actor.start();
        self.running = Some(Running {
            address,
            place,
            circuit: started(&self.broker, Instant::now()),
            replace_at: None,
            is_outdated: false,
            health: Health::Disconnected,
            overflowed_of_late: false,
            overflowing: false,
            full: false,
        });
    }

    fn actor(
        &self,
        place: &Arc<LogPlace>,
        stored: StoredUpstream,
        context: &UpstreamContext,
    ) -> UpstreamBroker {
        match &self.grouped {
            Some(grouped) => self.group_actor(grouped, place, stored, context),
            None => UpstreamBroker::new(self.broker.clone(), place, self.status.clone(), context.clone())
                .restored(stored),
        }
    }

    fn may_reject(&self) -> bool {
        self.running.is_some() && self.broker.backlog.on_full == OnFull::Reject
    }

    /// Whether the broker is as far behind as it may be, and wants no more.
    fn is_full(&self) -> bool {
        let bound = self.broker.backlog.queue_bytes_max.unwrap_or(u64::MAX);
        self.may_reject()
            && bound < u64::MAX
            && self.running.as_ref().is_some_and(|running| running.place.lag().bytes >= bound)
    }

    /// The same broker with another definition.
    fn changed(mut self, way: Way, members: &[Member], context: &UpstreamContext) -> Child {
        if self.grouped.is_some() {
            return self.regrouped(way, members, context);
        }
        let broker = way.broker;
        if *self.broker == *broker {
            return self;
        }
        let old = std::mem::replace(&mut self.broker, broker);
        self.log_hold(&old);
        let wanted = self.wanted();
        match (self.broker.enabled, &mut self.running) {
            (true, Some(running)) => {
                running.circuit.set_retry(self.broker.retry);
                running.place.set_wants(wanted);
                running.place.set_bound(bound(&self.broker));
                self.reconfigure();
            }
            (true, None) => {
                log::info!("broker {}: enabled", self.broker.name);
                self.status.set_state(UpstreamState::Connecting);
                self.start(None, Inheritance::default(), context);
            }
            (false, None) => {}
            (false, Some(_)) => {
                let waiting = self.waiting();
                log::info!(
                    "broker {}: disabled, {waiting} messages that waited are not kept",
                    self.broker.name
                );
                self.status.set_discarded(waiting);
                self.withdraw();
                self.forget(context);
                self.running = None;
                self.status.set_state(UpstreamState::Disabled);
            }
        }
        self
    }

    fn supervise(&mut self, context: &UpstreamContext, now: Instant) {
        let Some(running) = &mut self.running else { return };
        if running.address.connected() {
            return;
        }
        match running.replace_at {
            None => {
                running.replace_at = Some(now + running.circuit.failed(now, Cause::Panic, None, chance()));
                self.status.set_circuit(running.circuit);
                let cause = Cause::Panic.as_str();
                context.metrics.broker_failures.with_label_values(&[self.broker.name.as_str(), cause]).inc();
                log::error!("broker {}: its actor ended unexpectedly and will be replaced", self.broker.name);
                self.status.set_error("its actor ended unexpectedly".to_owned());
                self.status.set_state(UpstreamState::WaitingToRetry);
            }
            Some(at) if now >= at => {
                let place = running.place.clone();
                // What its predecessor had in flight is sent as new.
                let endpoints = self.grouped.iter().flat_map(|grouped| &grouped.endpoints);
                let sessions = endpoints.map(|endpoint| endpoint.session).chain([self.key]);
                let lost: Vec<_> = sessions.map(|broker| Change::UpstreamSessionLost { broker }).collect();
                context.log.append_changes(&lost, unix_micros());
                let address = self.actor(&place, StoredUpstream::default(), context).start();
                if let Some(running) = &mut self.running {
                    running.address = address;
                    running.circuit.connected(now);
                    running.replace_at = None;
                }
            }
            Some(_) => {}
        }
    }
}

/// The circuit of an actor that has just begun.
fn started(broker: &SharedBroker, now: Instant) -> Circuit {
    let mut circuit = Circuit::new(broker.retry);
    circuit.connected(now);
    circuit
}

/// How far the log may keep messages for a broker, and whether it may drop any.
fn bound(broker: &SharedBroker) -> Bound {
    Bound {
        bytes_max: broker.backlog.queue_bytes_max,
        may_lose: broker.backlog.on_full == OnFull::DropOldest,
    }
}

/// Nothing is kept for the broker any more.
fn forget(broker: BrokerId, context: &UpstreamContext) {
    context.log.append_changes(&[Change::BrokerForgotten { broker }], unix_micros());
}
