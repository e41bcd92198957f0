//! Where each message of a batch goes, and what its acknowledgement has to wait for.

use std::sync::Arc;
use std::time::Instant;

use mqtt::{Message as ApplicationMessage, PacketId, QoS, ReasonCode};

use super::Router;
use super::subscriptions::{Receivers, Source};
use crate::acknowledgement::Policy;
use crate::bridge::ForProxies;
use crate::message_log::Entry;
use crate::messages::{ExactlyOnce, Outcome, Route, Routed, SessionId, WaitFor};
use crate::promise::{Promise, UpstreamPromise};
use crate::share_group::Chosen;
use crate::store::{Annex, Change};
use crate::timestamp::unix_micros;
use crate::{Origin, Quota};

/// What is to become of one message.
#[derive(Default)]
struct Plan {
    /// Whether it goes into the log.
    is_logged: bool,
    /// Whether some broker or subscriber gets it.
    is_matched: bool,
    /// Why nobody gets it.
    refusal: Option<ReasonCode>,
    annex: Vec<u8>,
    receivers: Option<Arc<Receivers>>,
    /// Of each share group the member that gets the message.
    chosen: Vec<Chosen>,
    /// Where the log has it.
    offset: Option<u64>,
    /// How it goes to clients that are proxies, where there are any.
    proxies: Option<Box<ForProxies>>,
}

impl Plan {
    fn refused(reason_code: ReasonCode) -> Plan {
        Plan { refusal: Some(reason_code), ..Plan::default() }
    }
}

impl Router {
    /// Routes a batch, as far as subscribers keep up who drain their queues; publishers that can wait do so.
    pub(super) fn route_with_patience(&mut self, mut route: Route) -> Routed {
        let can_wait = matches!(route.origin, Origin::Device | Origin::Upstream(_));
        let Some((first, queue)) = can_wait.then(|| self.subscriptions.held_up(&route.batch)).flatten()
        else {
            return self.route(route);
        };
        let mut later = route.batch.split_off(first);
        let mut routed = if route.batch.is_empty() { Routed::default() } else { self.route(route) };
        routed.returned.append(&mut later);
        routed.wait_for.get_or_insert(WaitFor::Subscriber(queue));
        routed
    }

    fn route(&mut self, route: Route) -> Routed {
        if self.goes_as_a_whole(&route) { self.route_whole(route) } else { self.route_each(route) }
    }

    /// Whether every message of the batch goes to the log for the upstream brokers and needs nothing else there: the
    /// common case, in which messages are not looked at one by one.
    fn goes_as_a_whole(&self, route: &Route) -> bool {
        let is_plain = |message: &ApplicationMessage| !message.retain && !message.topic_name.is_dollar();
        self.upstreams.want_all_topics()
            && !self.upstreams.may_reject()
            && !self.log.is_full()
            && !self.subscriptions.has_durable()
            && !self.acknowledgements.depend_on_messages()
            && route.exactly_once.is_none()
            && route.batch.iter().all(is_plain)
    }

    fn route_whole(&mut self, route: Route) -> Routed {
        let Route { origin, publisher, batch, .. } = route;
        let appended = self.log.append_plain(batch.iter(), origin, unix_micros());
        self.upstreams.wake();
        if !self.subscriptions.is_empty() {
            let received_at = Instant::now();
            for mut message in batch {
                let proxies = self.for_proxies(&message, origin);
                self.strip_for_devices(&mut message, origin);
                let receivers = self.subscriptions.receivers_of(&message.topic_name);
                let source = Source { publisher, proxies: proxies.as_deref() };
                self.subscriptions.deliver(message, &receivers, source, received_at, None, None);
            }
        }
        let promise = plain_promise(self.acknowledgements.policy, appended.durable_end);
        let wait_for = appended.wait_for.map(WaitFor::Log);
        Routed { promise, wait_for, ..Routed::default() }
    }

    fn route_each(&mut self, route: Route) -> Routed {
        let Route { origin, publisher, mut batch, exactly_once, may_refuse } = route;
        let mut plans = Vec::with_capacity(batch.len());
        let (received_at, mut not_retained) = (Instant::now(), 0);
        for (index, message) in batch.iter().enumerate() {
            let packet_id = exactly_once.as_ref().and_then(|once| once.packet_id_of(index));
            let mut plan = self.plan(message, origin, publisher);
            if plan.is_logged && message.qos > QoS::AtMostOnce && self.has_no_room_for(message) {
                if !may_refuse {
                    break;
                }
                plan = Plan::refused(ReasonCode::QuotaExceeded);
            }
            if message.retain && plan.refusal.is_none() {
                let can_be_told = may_refuse && publisher.is_some() && message.qos > QoS::AtMostOnce;
                if can_be_told && !self.retained.has_room_for(message, received_at) {
                    plan = Plan::refused(ReasonCode::QuotaExceeded);
                }
                not_retained +=
                    u64::from(plan.refusal.is_some() || !self.retain(message, origin, received_at));
            }
            if plan.is_logged {
                self.annex(&mut plan, message, publisher, exactly_once.as_ref().zip(packet_id));
            }
            plans.push(plan);
        }
        let returned = batch.split_off(plans.len());
        let logged = batch.iter().zip(&plans).filter(|(_, plan)| plan.is_logged);
        let entries = logged.map(|(message, plan)| Entry { message, annex: &plan.annex });
        let appended = self.log.append(entries, origin, unix_micros());
        let mut next_offset = appended.first_offset;
        for plan in plans.iter_mut().filter(|plan| plan.is_logged) {
            plan.offset = Some(next_offset);
            next_offset += 1;
        }
        if next_offset > appended.first_offset {
            self.upstreams.wake();
        }
        let durable_end = self.record_shared(&batch, &mut plans).unwrap_or(appended.durable_end);
        let outcomes = self.outcomes(&batch, &plans, durable_end);
        self.deliver(batch, plans, (origin, publisher), received_at);
        self.record_forgotten();
        if not_retained > 0 {
            self.metrics.exceeded_by(Quota::Retained, not_retained);
        }
        let promise = plain_promise(self.acknowledgements.policy, durable_end);
        Routed { promise, outcomes, returned, not_retained, wait_for: appended.wait_for.map(WaitFor::Log) }
    }

    /// How a message goes to clients that are proxies; `None` where there are none.
    fn for_proxies(&self, message: &ApplicationMessage, origin: Origin) -> Option<Box<ForProxies>> {
        if !self.bridge.has_announced() {
            return None;
        }
        let goes_to = |broker| self.upstreams.take_as_it_is(broker, &message.topic_name);
        Some(Box::new(self.bridge.for_proxies(origin, message, goes_to)))
    }

    /// Devices need not see which way a message came.
    fn strip_for_devices(&self, message: &mut ApplicationMessage, origin: Origin) {
        if let Some(properties) = self.bridge.for_devices(origin, &message.properties) {
            message.properties = properties;
        }
    }

    /// Keeps a message as devices get it; answers whether there was room.
    fn retain(&mut self, message: &ApplicationMessage, origin: Origin, received_at: Instant) -> bool {
        match self.bridge.for_devices(origin, &message.properties) {
            None => self.retained.set(message, received_at),
            Some(properties) => {
                self.retained.set(&ApplicationMessage { properties, ..message.clone() }, received_at)
            }
        }
    }

    fn plan(&mut self, message: &ApplicationMessage, origin: Origin, publisher: Option<SessionId>) -> Plan {
        let is_ours = origin == Origin::System;
        if message.topic_name.is_sys() && !is_ours {
            // `$SYS` is ours to write, also where a Will or an upstream broker has something for it.
            return Plan::refused(ReasonCode::NotAuthorized);
        }
        let is_wanted = !self.upstreams.is_empty() && self.upstreams.want(&message.topic_name);
        let receivers = (!self.subscriptions.is_empty())
            .then(|| self.subscriptions.receivers_of(&message.topic_name))
            .filter(|receivers| !receivers.is_empty());
        let chosen: Vec<Chosen> = match &receivers {
            Some(receivers) if !receivers.groups.is_empty() => {
                let now = Instant::now();
                let groups = receivers.groups.iter();
                groups.filter_map(|group| group.choose(message, None, now)).collect()
            }
            _ => Vec::new(),
        };
        let proxies = receivers.as_ref().and_then(|_| self.for_proxies(message, origin));
        let source = Source { publisher, proxies: proxies.as_deref() };
        let is_for_durable = || {
            let mut sessions = receivers.iter().flat_map(|receivers| &receivers.sessions);
            sessions.any(|receiver| receiver.recipient(message, source).is_some())
                || chosen.iter().any(|chosen| chosen.recipient().is_some())
        };
        let is_state = self.log.is_durable() && ((message.retain && !is_ours) || is_for_durable());
        Plan {
            is_logged: is_wanted || is_state,
            is_matched: is_wanted || receivers.is_some(),
            receivers,
            chosen,
            proxies,
            ..Plan::default()
        }
    }

    /// What durable sessions have to know about the message after a restart.
    fn annex(
        &self,
        plan: &mut Plan,
        message: &ApplicationMessage,
        publisher: Option<SessionId>,
        inbound: Option<(&ExactlyOnce, PacketId)>,
    ) {
        if !self.log.is_durable() {
            return;
        }
        let source = Source { publisher, proxies: plan.proxies.as_deref() };
        let sessions = plan.receivers.iter().flat_map(|receivers| &receivers.sessions);
        let mut recipients: Vec<_> =
            sessions.filter_map(|receiver| receiver.recipient(message, source)).collect();
        for chosen in &mut plan.chosen {
            let Some(recipient) = chosen.recipient() else { continue };
            if recipients.iter().any(|known| known.session == recipient.session) {
                chosen.needs_own_record();
            } else {
                recipients.push(recipient);
            }
        }
        let inbound = inbound.map(|(once, packet_id)| (once.session, packet_id));
        let annex = Annex { inbound, recipients };
        if !annex.is_empty() {
            annex.encode(&mut plan.annex);
        }
    }

    /// Records the second copy of a message for a durable session that gets it by a share group too. Answers with the end of
    /// the log, if there was any.
    fn record_shared(&self, batch: &[ApplicationMessage], plans: &mut [Plan]) -> Option<u64> {
        let mut changes: Vec<Change> = Vec::new();
        let mut copies = Vec::new();
        let received_at = Instant::now();
        for (message, plan) in batch.iter().zip(plans) {
            for chosen in plan.chosen.iter_mut().filter(|chosen| chosen.is_without_record()) {
                changes.extend(chosen.queued(message, received_at));
                copies.push(chosen);
            }
        }
        if changes.is_empty() {
            return None;
        }
        let end = self.log.append_changes(&changes, unix_micros());
        for (offset, chosen) in (end - changes.len() as u64..end).zip(copies) {
            chosen.set_own_offset(offset);
        }
        Some(end)
    }

    /// Whether the log, or an upstream broker that would rather have no message than lose one, is full.
    pub(super) fn has_no_room_for(&mut self, message: &ApplicationMessage) -> bool {
        self.log.is_full() || (self.upstreams.may_reject() && self.upstreams.is_full_for(&message.topic_name))
    }

    /// What becomes of each message, or nothing where all are alike.
    fn outcomes(&mut self, batch: &[ApplicationMessage], plans: &[Plan], durable_end: u64) -> Vec<Outcome> {
        let is_ordinary = |(message, plan): (&ApplicationMessage, &Plan)| {
            message.qos == QoS::AtMostOnce || (plan.is_matched && plan.refusal.is_none())
        };
        if batch.iter().zip(plans).all(is_ordinary) && !self.acknowledgements.depend_on_messages() {
            return Vec::new();
        }
        let outcome = |(message, plan): (&ApplicationMessage, &Plan)| {
            let reason_code = match plan {
                Plan { refusal: Some(reason_code), .. } => *reason_code,
                Plan { is_matched: false, .. } => ReasonCode::NoMatchingSubscribers,
                _ => ReasonCode::Success,
            };
            Outcome { reason_code, promise: self.promise(message, plan, durable_end) }
        };
        batch.iter().zip(plans).map(outcome).collect()
    }

    fn promise(&mut self, message: &ApplicationMessage, plan: &Plan, durable_end: u64) -> Promise {
        let Some(offset) = plan.offset.filter(|_| message.qos > QoS::AtMostOnce) else {
            return Promise::Nothing;
        };
        let policy = self.acknowledgements.policy_for(&message.topic_name);
        if matches!(policy, Policy::Memory | Policy::Stored | Policy::Synced) {
            return plain_promise(policy, durable_end);
        }
        let cursors = self.upstreams.cursors_for(&message.topic_name);
        if cursors.is_empty() {
            return plain_promise(Policy::Stored, durable_end);
        }
        let needed = match policy {
            Policy::Any => 1,
            Policy::Quorum => cursors.len() / 2 + 1,
            _ => cursors.len(),
        };
        let deadline = Instant::now() + self.acknowledgements.deadline;
        Promise::Upstreams(Arc::new(UpstreamPromise { offset, cursors, needed, deadline }))
    }

    fn deliver(
        &mut self,
        batch: Vec<ApplicationMessage>,
        plans: Vec<Plan>,
        (origin, publisher): (Origin, Option<SessionId>),
        received_at: Instant,
    ) {
        for (mut message, plan) in batch.into_iter().zip(plans) {
            if plan.refusal.is_some() {
                continue;
            }
            if let Some(receivers) = plan.receivers {
                let chosen = Some(plan.chosen);
                self.strip_for_devices(&mut message, origin);
                let source = Source { publisher, proxies: plan.proxies.as_deref() };
                self.subscriptions.deliver(message, &receivers, source, received_at, plan.offset, chosen);
            }
        }
    }
}

impl ExactlyOnce {
    fn packet_id_of(&self, index: usize) -> Option<PacketId> {
        let found = self.packet_ids.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        Some(self.packet_ids[found].1)
    }
}

/// What a policy that asks no upstream broker promises; nothing for what does not go to disk.
fn plain_promise(policy: Policy, durable_end: u64) -> Promise {
    match policy {
        Policy::Memory => Promise::Nothing,
        _ if durable_end == 0 => Promise::Nothing,
        Policy::Synced => Promise::Synced(durable_end),
        _ => Promise::Stored(durable_end),
    }
}
