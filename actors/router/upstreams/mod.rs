//! The actors of the upstream brokers: who there is, and that there is one for each enabled broker.

mod overflow;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use actix::prelude::*;
use foldhash::fast::RandomState;
use mqtt::TopicName;

use crate::BrokerId;
use crate::broker::{OnFull, SharedBroker};
use crate::limits;
use crate::message_log::{Bound, LogPlace, Record, Wants};
use crate::messages::{Drain, Reconfigure, UpstreamSnapshot, UpstreamState, Wake};
use crate::start_position::StartPosition;
use crate::store::{Change, StoredUpstream};
use crate::timestamp::unix_micros;
use crate::upstream_broker::{
    Backoff, Cause, RecordFilter, UpstreamBroker, UpstreamContext, UpstreamStatus, Withdraw, chance,
    rule_wants,
};

/// All upstream brokers, in the order of the ConfigStore.
#[derive(Default)]
pub struct Upstreams {
    children: Vec<Child>,
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

struct Child {
    broker: SharedBroker,
    status: Arc<UpstreamStatus>,
    running: Option<Running>,
}

/// The actor of an enabled broker.
struct Running {
    address: Addr<UpstreamBroker>,
    /// Outlives the actor, so that a replaced one goes on where it was.
    place: Arc<LogPlace>,
    backoff: Backoff,
    started_at: Instant,
    /// When to replace an actor that is gone.
    replace_at: Option<Instant>,
    /// Whether messages for the broker fell out of the log since the last look, and whether that was said.
    overflowed_of_late: bool,
    overflowing: bool,
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
        self.children.iter().any(|child| child.is_full() && rule_wants(&child.broker.rule, topic_name))
    }

    /// The cursors of the enabled brokers that want the topic.
    pub fn cursors_for(&mut self, topic_name: &TopicName) -> Arc<[Arc<AtomicU64>]> {
        if let Some(cursors) = self.cursors.get(topic_name) {
            return cursors.clone();
        }
        let wanting = self.children.iter().filter(|child| rule_wants(&child.broker.rule, topic_name));
        let running = wanting.filter_map(|child| child.running.as_ref());
        let cursors: Arc<[_]> = running.map(|running| running.place.shared_cursor()).collect();
        if self.cursors.len() >= limits::ROUTE_CACHE_ENTRIES {
            self.cursors.clear();
        }
        self.cursors.insert(topic_name.detached(), cursors.clone());
        cursors
    }

    /// The actor of an enabled broker.
    pub fn address_of(&self, id: BrokerId) -> Option<&Addr<UpstreamBroker>> {
        let child = self.children.iter().find(|child| child.broker.id == id)?;
        child.running.as_ref().map(|running| &running.address)
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
        let answer = enabled.into_iter().any(|child| rule_wants(&child.broker.rule, topic_name));
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

    /// Makes the actors fit the definitions. A broker whose definition did not change is not touched.
    pub fn apply(&mut self, brokers: Vec<SharedBroker>, context: &UpstreamContext) {
        let mut old: HashMap<BrokerId, Child> =
            std::mem::take(&mut self.children).into_iter().map(|child| (child.broker.id, child)).collect();
        for broker in brokers {
            let child = match old.remove(&broker.id) {
                Some(child) => child.changed(broker, context),
                None => {
                    let stored = self.stored.remove(&broker.id);
                    Child::new(broker, stored, context)
                }
            };
            self.children.push(child);
        }
        for (_, child) in old {
            log::info!("broker {}: removed", child.broker.name);
            child.withdraw();
            child.forget(context);
            child.status.forget(&context.metrics);
        }
        for (id, _) in std::mem::take(&mut self.stored) {
            log::info!("a broker that is not defined any more is forgotten ({id})");
            forget(id, context);
        }
        context.log.begin_retention();
        // Who there is, and under which name.
        context.state_changes.notify_one();
        self.wanted.clear();
        self.cursors.clear();
        self.may_reject = self.children.iter().any(|child| child.may_reject());
        self.all_topics =
            self.children.iter().any(|child| child.running.is_some() && child.broker.rule.topics.is_empty());
    }

    /// Counts what fell out of the log, and replaces actors that are gone, each after its own back-off.
    pub fn supervise(&mut self, context: &UpstreamContext, now: Instant) {
        for child in &mut self.children {
            child.count_overflow();
            child.log_overflow();
            child.supervise(context, now);
        }
    }

    /// Each broker as it is now.
    pub fn snapshots(&mut self) -> Vec<UpstreamSnapshot> {
        let snapshot = |child: &mut Child| {
            child.count_overflow();
            child.snapshot()
        };
        self.children.iter_mut().map(snapshot).collect()
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
    fn new(broker: SharedBroker, stored: Option<StoredUpstream>, context: &UpstreamContext) -> Child {
        let state_changes = context.state_changes.clone();
        let status = UpstreamStatus::new(broker.id, &broker.name, &context.metrics, state_changes);
        let status = Arc::new(status);
        let mut child = Child { broker, status, running: None };
        match (child.broker.enabled, stored) {
            (true, stored) => child.start(stored, context),
            (false, stored) => {
                child.status.set_state(UpstreamState::Disabled);
                if stored.is_some() {
                    forget(child.broker.id, context);
                }
            }
        }
        child
    }

    /// Goes on where the broker was, or begins where it shall.
    fn start(&mut self, stored: Option<StoredUpstream>, context: &UpstreamContext) {
        let log = &context.log;
        let stored = stored.unwrap_or_default();
        let cursor = stored.cursor.unwrap_or_else(|| match self.broker.backlog.start_at {
            StartPosition::Now => log.next_offset(),
            // With a time, the broker's filter leaves out what is older.
            StartPosition::Earliest | StartPosition::Time(_) => log.first_offset(),
            StartPosition::Offset(offset) => offset.max(log.first_offset()),
        });
        if stored.cursor.is_none() {
            // Before any message that is to reach the broker.
            let begun = Change::Cursor { broker: self.broker.id, cursor, live: None };
            log.append_changes(&[begun], unix_micros());
        }
        let place = log.place_of(self.broker.id, cursor, stored.live, wants(&self.broker));
        place.set_bound(bound(&self.broker));
        let address = self.actor(&place, stored, context);
        self.running = Some(Running {
            address,
            place,
            backoff: Backoff::new(limits::UPSTREAM_RETRY_FLOOR, limits::UPSTREAM_RETRY_CEILING),
            started_at: Instant::now(),
            replace_at: None,
            overflowed_of_late: false,
            overflowing: false,
        });
    }

    fn actor(
        &self,
        place: &Arc<LogPlace>,
        stored: StoredUpstream,
        context: &UpstreamContext,
    ) -> Addr<UpstreamBroker> {
        UpstreamBroker::new(self.broker.clone(), place, self.status.clone(), context.clone())
            .restored(stored)
            .start()
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
    fn changed(mut self, broker: SharedBroker, context: &UpstreamContext) -> Child {
        if *self.broker == *broker {
            return self;
        }
        let old = std::mem::replace(&mut self.broker, broker);
        if old.name != self.broker.name {
            self.status.rename(&self.broker.name, &context.metrics);
        }
        match (self.broker.enabled, &self.running) {
            (true, Some(running)) => {
                running.place.set_wants(wants(&self.broker));
                running.place.set_bound(bound(&self.broker));
                // A full mailbox is one of an actor that hangs: the supervision replaces it.
                if running.address.try_send(Reconfigure(self.broker.clone())).is_err() {
                    log::error!("broker {}: the new definition was not taken", self.broker.name);
                }
            }
            (true, None) => {
                log::info!("broker {}: enabled", self.broker.name);
                self.status.set_state(UpstreamState::Connecting);
                self.start(None, context);
            }
            (false, _) => {
                log::info!("broker {}: disabled", self.broker.name);
                self.withdraw();
                self.forget(context);
                self.running = None;
                self.status.set_state(UpstreamState::Disabled);
            }
        }
        self
    }

    /// Keeps nothing for the broker any more.
    fn forget(&self, context: &UpstreamContext) {
        if let Some(running) = &self.running {
            running.place.forget_broker();
        }
        forget(self.broker.id, context);
    }

    /// Tells the actor to leave.
    fn withdraw(&self) {
        if let Some(running) = &self.running {
            // One that is gone already has left.
            let _ = running.address.try_send(Withdraw);
        }
    }

    fn snapshot(&self) -> UpstreamSnapshot {
        let lag = self.running.as_ref().map(|running| running.place.lag()).unwrap_or_default();
        self.status.snapshot(lag)
    }

    fn supervise(&mut self, context: &UpstreamContext, now: Instant) {
        let Some(running) = &mut self.running else { return };
        if running.address.connected() {
            return;
        }
        match running.replace_at {
            None => {
                if now.duration_since(running.started_at) >= limits::UPSTREAM_STABLE {
                    running.backoff.succeeded();
                }
                running.replace_at = Some(now + running.backoff.failed(chance()));
                let cause = Cause::Panic.as_str();
                context.metrics.broker_failures.with_label_values(&[self.broker.name.as_str(), cause]).inc();
                log::error!("broker {}: its actor ended unexpectedly and will be replaced", self.broker.name);
                self.status.set_error("its actor ended unexpectedly".to_owned());
                self.status.set_state(UpstreamState::WaitingToRetry);
            }
            Some(at) if now >= at => {
                let place = running.place.clone();
                // What its predecessor had in flight is sent as new.
                let lost = Change::UpstreamSessionLost { broker: self.broker.id };
                context.log.append_changes(&[lost], unix_micros());
                let address = self.actor(&place, StoredUpstream::default(), context);
                if let Some(running) = &mut self.running {
                    running.address = address;
                    running.started_at = now;
                    running.replace_at = None;
                }
            }
            Some(_) => {}
        }
    }
}

/// What counts as lost for a broker.
fn wants(broker: &SharedBroker) -> Option<Wants> {
    let filter = std::cell::RefCell::new(RecordFilter::of(broker));
    Some(Box::new(move |record: &Record<'_>| filter.borrow_mut().wants(record)))
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
