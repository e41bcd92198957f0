//! Groups of upstream brokers: each is a way like that of a single broker, with several brokers at its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use mqtt::TopicName;

use super::apply::Inheritance;
use super::plan::{self, Way, WayOfGroup};
use super::{Child, Member, Upstreams, forget};
use crate::BrokerId;
use crate::broker::Broker;
use crate::broker_group::SharedGroup;
use crate::health::assess;
use crate::message_log::{Record, Wants};
use crate::messages::{UpstreamSnapshot, UpstreamState};
use crate::snapshots::{GroupMemberSnapshot, GroupSnapshot, PartSnapshot, SwitchSnapshot};
use crate::store::StoredUpstream;
use crate::upstream_broker::{
    Endpoint, GroupStatus, Lineup, Policy, RecordFilter, Regroup, Scope, UpstreamBroker, UpstreamContext,
    UpstreamStatus, rule_wants,
};

/// What a way of a group has besides.
pub struct Grouped {
    /// Which.
    pub group: SharedGroup,
    /// The members in the order of preference.
    pub endpoints: Vec<Endpoint>,
    /// What of the messages goes this way.
    pub scope: Scope,
    /// What the group shows.
    pub status: Arc<GroupStatus>,
}

impl Grouped {
    /// The group as its actor is told about it.
    pub fn lineup(&self, key: BrokerId) -> Lineup {
        let settings = &self.group.settings;
        Lineup {
            key,
            name: self.group.name.clone(),
            endpoints: self.endpoints.clone(),
            policy: Policy { fail_back: settings.fail_back, fail_over_after: settings.fail_over_after },
            scope: self.scope.clone(),
            status: self.status.clone(),
        }
    }

    /// What the store said is told to the first actor only.
    pub fn forget_stored(&mut self) {
        for endpoint in &mut self.endpoints {
            endpoint.stored = StoredUpstream::default();
            endpoint.is_distrusted = false;
        }
    }
}

impl Child {
    /// A way of a group.
    pub(super) fn of_group(
        key: BrokerId,
        grouped: Grouped,
        stored: Option<StoredUpstream>,
        inheritance: Inheritance,
        context: &UpstreamContext,
    ) -> Child {
        let first = &grouped.endpoints[0];
        let (broker, status) = (first.broker.clone(), first.status.clone());
        let mut child = Child { key, broker, status, running: None, grouped: Some(grouped) };
        child.start(stored, inheritance, context);
        if let Some(grouped) = &mut child.grouped {
            grouped.forget_stored();
        }
        child
    }

    /// The same group with other members or settings.
    pub(super) fn regrouped(mut self, way: Way, members: &[Member], context: &UpstreamContext) -> Child {
        let (Some(grouped), Some(group)) = (&mut self.grouped, way.group) else { return self };
        let WayOfGroup { group, members: brokers, scope } = group;
        let same_brokers = grouped.endpoints.iter().map(|endpoint| &endpoint.broker).eq(&brokers);
        if same_brokers && grouped.group == group && grouped.scope == scope {
            return self;
        }
        let mut old = std::mem::take(&mut grouped.endpoints);
        for broker in brokers {
            let known = old.iter().position(|endpoint| endpoint.broker.id == broker.id);
            let endpoint = match known.map(|index| old.swap_remove(index)) {
                Some(endpoint) => Endpoint { broker, ..endpoint },
                None => {
                    let Some(member) = members.iter().find(|member| member.broker.id == broker.id) else {
                        continue;
                    };
                    let status = match scope.is_part() {
                        true => Arc::new(member.status.beside()),
                        false => member.status.clone(),
                    };
                    let session = plan::session_of(self.key, broker.id);
                    let stored = StoredUpstream::default();
                    Endpoint { broker, status, session, stored, is_distrusted: true }
                }
            };
            grouped.endpoints.push(endpoint);
        }
        for gone in old {
            forget(gone.session, context);
        }
        (grouped.group, grouped.scope) = (group, scope);
        let lineup = grouped.lineup(self.key);
        grouped.forget_stored();
        (self.broker, self.status) = (way.broker, lineup.endpoints[0].status.clone());
        if let Some(running) = &self.running {
            running.place.set_wants(self.wanted());
            running.place.set_bound(super::bound(&self.broker));
            // A full mailbox is one of an actor that hangs: the supervision replaces it.
            if running.address.try_send(Regroup(lineup)).is_err() {
                log::error!("group {}: the new definition was not taken", self.broker.name);
            }
        }
        self
    }

    /// Whether the broker is served this way.
    pub(super) fn serves(&self, id: BrokerId) -> bool {
        match &self.grouped {
            None => self.broker.id == id,
            Some(grouped) => grouped.endpoints.iter().any(|endpoint| endpoint.broker.id == id),
        }
    }

    /// The brokers that are served this way.
    pub(super) fn served(&self) -> Vec<BrokerId> {
        match &self.grouped {
            None => vec![self.broker.id],
            Some(grouped) => grouped.endpoints.iter().map(|endpoint| endpoint.broker.id).collect(),
        }
    }

    /// Whether messages on the topic go this way.
    pub(super) fn wants_topic(&self, topic_name: &TopicName) -> bool {
        let scope = self.grouped.as_ref().map(|grouped| &grouped.scope);
        rule_wants(&self.broker.rule, topic_name)
            && scope.is_none_or(|scope| scope.has_topic(topic_name.as_str().as_bytes()))
    }

    /// What counts as lost for it.
    pub(super) fn wanted(&self) -> Option<Wants> {
        let mut filter = RecordFilter::of(&self.broker);
        if let Some(grouped) = &self.grouped {
            filter = filter.within(&grouped.scope);
        }
        let filter = std::cell::RefCell::new(filter);
        Some(Box::new(move |record: &Record<'_>| filter.borrow_mut().wants(record)))
    }

    /// The actor of a group.
    pub(super) fn group_actor(
        &self,
        grouped: &Grouped,
        place: &Arc<crate::message_log::LogPlace>,
        stored: StoredUpstream,
        context: &UpstreamContext,
    ) -> UpstreamBroker {
        UpstreamBroker::of_group(grouped.lineup(self.key), place, stored, context.clone())
    }

    /// What this way is to a broker: its state, and what waits for it.
    pub(super) fn seen_by(&self, id: BrokerId) -> Option<UpstreamSnapshot> {
        let (broker, mut snapshot) = self.connection_to(id)?;
        (snapshot.health, snapshot.health_reasons) = assess(broker, &snapshot, Instant::now());
        Some(snapshot)
    }

    fn connection_to(&self, id: BrokerId) -> Option<(&Broker, UpstreamSnapshot)> {
        let lag = || self.running.as_ref().map(|running| running.place.lag()).unwrap_or_default();
        let Some(grouped) = &self.grouped else {
            let snapshot =
                || UpstreamSnapshot { draining: self.drain_progress(), ..self.status.snapshot(lag()) };
            return (self.broker.id == id).then(|| (&*self.broker, snapshot()));
        };
        let endpoint = grouped.endpoints.iter().find(|endpoint| endpoint.broker.id == id)?;
        let lag = if endpoint.status.is_current() { lag() } else { Default::default() };
        Some((&*endpoint.broker, endpoint.status.snapshot(lag)))
    }

    /// What a broker shows of its connection for this way.
    pub(super) fn status_at(&self, id: BrokerId) -> Option<&Arc<UpstreamStatus>> {
        match &self.grouped {
            None => (self.broker.id == id).then_some(&self.status),
            Some(grouped) => {
                let endpoint = grouped.endpoints.iter().find(|endpoint| endpoint.broker.id == id);
                endpoint.map(|endpoint| &endpoint.status)
            }
        }
    }

    /// Who gets the messages of this way, or is tried.
    pub(super) fn current(&self) -> Option<&Endpoint> {
        self.grouped.as_ref()?.endpoints.iter().find(|endpoint| endpoint.status.is_current())
    }
}

impl Upstreams {
    /// Each broker as it is now.
    pub fn snapshots(&mut self) -> Vec<UpstreamSnapshot> {
        self.children.iter_mut().for_each(Child::count_overflow);
        let seen = |member: &Member| {
            let ways = self.children.iter().filter_map(|child| child.seen_by(member.broker.id));
            ways.reduce(together).unwrap_or_else(|| {
                let mut snapshot = member.status.snapshot(Default::default());
                (snapshot.health, snapshot.health_reasons) =
                    assess(&member.broker, &snapshot, Instant::now());
                snapshot
            })
        };
        self.members.iter().map(seen).collect()
    }

    /// Each group as it is now.
    pub fn group_snapshots(&self) -> Vec<GroupSnapshot> {
        self.groups.iter().map(|known| self.group_snapshot(&known.group, &known.status)).collect()
    }

    fn group_snapshot(&self, group: &SharedGroup, status: &GroupStatus) -> GroupSnapshot {
        let of_group =
            |child: &&Child| child.grouped.as_ref().is_some_and(|grouped| grouped.group.id == group.id);
        let ways: Vec<&Child> = self.children.iter().filter(of_group).collect();
        let is_active = |id: BrokerId| {
            ways.iter()
                .filter_map(|way| way.current())
                .any(|current| current.broker.id == id && current.status.state() == UpstreamState::Connected)
        };
        let of_name = |member: &&Member| member.broker.group.as_ref().is_some_and(|of| of.name == group.name);
        let members = self.members.iter().filter(of_name).map(|member| GroupMemberSnapshot {
            id: member.broker.id,
            name: member.broker.name.clone(),
            priority: member.broker.group.as_ref().map_or(0, |of| of.priority),
            state: match () {
                () if !member.broker.enabled => "disabled",
                () if is_active(member.broker.id) => "active",
                () => self.state_of(&ways, member),
            },
        });
        let parts: Vec<PartSnapshot> = ways.iter().map(|way| way.part()).collect();
        let (switches, last) = status.switches();
        let name_of = |id: BrokerId| {
            let known = self.members.iter().find(|member| member.broker.id == id);
            known.map_or_else(|| id.to_string(), |member| member.broker.name.clone())
        };
        GroupSnapshot {
            group: group.clone(),
            members: members.collect(),
            lag: parts.iter().map(|part| part.lag).max().unwrap_or_default(),
            lag_bytes: parts.iter().map(|part| part.lag_bytes).max().unwrap_or_default(),
            oldest_unsent: parts.iter().filter_map(|part| part.oldest_unsent).max(),
            in_flight: parts.iter().map(|part| part.in_flight).sum(),
            parts,
            switches,
            last_switch: last.map(|switch| SwitchSnapshot {
                from: name_of(switch.from),
                to: name_of(switch.to),
                cause: switch.cause,
                age: switch.at.elapsed(),
            }),
        }
    }

    /// A member that gets nothing at the moment.
    fn state_of(&self, ways: &[&Child], member: &Member) -> &'static str {
        let seen = ways.iter().filter_map(|way| way.seen_by(member.broker.id)).reduce(together);
        match seen.map(|seen| seen.state) {
            Some(UpstreamState::Standby) => "standby",
            Some(UpstreamState::Connected | UpstreamState::Connecting) => "connecting",
            Some(UpstreamState::WaitingToRetry) => "down",
            Some(UpstreamState::Disabled) => "disabled",
            // It is paused while there are others.
            None => "paused",
        }
    }

    /// The actors that serve a broker, or its group.
    pub fn addresses_of(&self, id: BrokerId) -> Vec<Addr<UpstreamBroker>> {
        let serving = self.children.iter().filter(|child| child.serves(id));
        serving.filter_map(|child| child.running.as_ref().map(|running| running.address.clone())).collect()
    }
}

impl Child {
    fn part(&self) -> PartSnapshot {
        let current = self.current();
        let lag = self.running.as_ref().map(|running| running.place.lag()).unwrap_or_default();
        let seen = current.map(|current| current.status.snapshot(lag));
        PartSnapshot {
            member: current.map(|current| self.name_of(current)),
            is_active: seen.as_ref().is_some_and(|seen| seen.state == UpstreamState::Connected),
            lag: lag.messages,
            lag_bytes: lag.bytes,
            oldest_unsent: seen.as_ref().and_then(|seen| seen.oldest_unsent),
            in_flight: seen.map_or(0, |seen| seen.in_flight),
        }
    }

    fn name_of(&self, endpoint: &Endpoint) -> String {
        endpoint.broker.name.clone()
    }
}

/// What two connections to one broker are together. Their counters are the same already.
fn together(one: UpstreamSnapshot, other: UpstreamSnapshot) -> UpstreamSnapshot {
    let rank = |state: UpstreamState| match state {
        UpstreamState::Connected => 0,
        UpstreamState::WaitingToRetry => 1,
        UpstreamState::Connecting => 2,
        UpstreamState::Standby => 3,
        UpstreamState::Disabled => 4,
    };
    let (first, second) = if rank(other.state) < rank(one.state) { (other, one) } else { (one, other) };
    let later = |one: Option<Duration>, other: Option<Duration>| match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    UpstreamSnapshot {
        lag: first.lag.max(second.lag),
        lag_bytes: first.lag_bytes.max(second.lag_bytes),
        oldest_unsent: first.oldest_unsent.max(second.oldest_unsent),
        last_acknowledged: later(first.last_acknowledged, second.last_acknowledged),
        in_flight: first.in_flight + second.in_flight,
        replay: first.replay.or(second.replay),
        ..first
    }
}
