//! What becomes of a share group's messages that this session does not deliver: they go to other members. What it sent at
//! QoS 2 stays with it, and so does everything while no other member is connected who has room, as long as the session goes on.

use std::sync::Arc;
use std::time::Instant;

use mqtt::QoS;

use super::DeviceSession;
use super::outbound::Outbound;
use crate::delivery_queue::weight;
use crate::messages::Delivery;
use crate::share_group::{Chosen, ShareGroup};
use crate::store::Change;

impl DeviceSession {
    /// The connection ended and the session goes on: members who are connected take over what was not sent, and what was
    /// sent at QoS 1 and not acknowledged, as far as their queues have room.
    pub(super) fn hand_over_to_connected(&mut self) {
        let groups = self.outbound.share_groups();
        if groups.is_empty() {
            return;
        }
        let portion_bytes = self.outbound.queue().lock().portion_bytes();
        loop {
            let groups = self.with_room(groups.clone());
            let portion = self.outbound.take_unacknowledged(&groups, portion_bytes);
            if portion.is_empty() {
                break;
            }
            self.hand_over(portion);
        }
        self.hand_over_queued(groups);
    }

    /// The session has left some groups: members who are connected take over what was not sent. What was sent is this client's
    /// to acknowledge `[MQTT-3.10.4-3]`.
    pub(super) fn hand_over_unsubscribed(&mut self) {
        let mut groups = self.outbound.share_groups();
        groups.retain(|group| !self.subscriptions.contains(group.filter()));
        self.hand_over_queued(groups);
    }

    /// What was not sent goes to others as long as they have room; the rest stays.
    fn hand_over_queued(&mut self, groups: Vec<Arc<ShareGroup>>) {
        let groups = self.with_room(groups);
        let portion_bytes = self.outbound.queue().lock().portion_bytes();
        let mut left = self.outbound.take_queued(&groups).into_iter().peekable();
        let mut kept = Vec::new();
        while left.peek().is_some() {
            let groups = self.with_room(groups.clone());
            let (mut portion, mut bytes) = (Vec::new(), 0);
            while bytes < portion_bytes
                && let Some(delivery) = left.next()
            {
                bytes += weight(&delivery);
                let place = if is_of(&delivery, &groups) { &mut portion } else { &mut kept };
                place.push(delivery);
            }
            self.hand_over(portion);
        }
        self.outbound.put_back(kept);
    }

    /// The session is over: other members take over what they may, connected or not. What was sent at QoS 2 goes to nobody
    /// `[MQTT-4.8.2-5]`.
    pub(super) fn hand_over_everything(&mut self) {
        self.outbound.queue().lock().close();
        let groups = self.outbound.share_groups();
        let mut deliveries = self.outbound.take_unacknowledged(&groups, usize::MAX);
        deliveries.extend(self.outbound.take_queued(&groups));
        self.hand_over(deliveries);
    }

    fn with_room(&self, mut groups: Vec<Arc<ShareGroup>>) -> Vec<Arc<ShareGroup>> {
        let now = Instant::now();
        groups.retain(|group| group.has_room_beside(self.id, now));
        groups
    }

    /// Gives each delivery to another member of its group, in order. The log says who has it before it says that this session
    /// does not, so that a crash loses none.
    fn hand_over(&mut self, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut changes = Vec::new();
        let mut taken: Vec<(Delivery, Chosen)> = Vec::with_capacity(deliveries.len());
        let mut done = Vec::new();
        let (mut lost, mut recorded) = (0, Vec::new());
        for delivery in deliveries {
            done.extend(delivery.offset);
            let chosen =
                delivery.share.as_ref().and_then(|group| group.choose(&delivery.message, Some(self.id), now));
            let Some(chosen) = chosen else {
                lost += u64::from(delivery.qos > QoS::AtMostOnce);
                continue;
            };
            if let Some(queued) = chosen.queued(&delivery.message, delivery.received_at) {
                changes.push(queued);
                recorded.push(taken.len());
            }
            taken.push((delivery, chosen));
        }
        if let Some(session) = self.durable
            && !done.is_empty()
            && !self.superseded
        {
            changes.push(Change::DeliveryDone { session, offsets: done });
        }
        if !changes.is_empty() {
            let first = self.record_for(&changes) - changes.len() as u64;
            for (offset, index) in (first..).zip(recorded) {
                taken[index].1.set_own_offset(offset);
            }
        }
        for (mut delivery, chosen) in taken {
            if chosen.queue().is_behind() && Arc::strong_count(&delivery.message) == 1 {
                // Where it waits again, it does not keep a whole read buffer.
                delivery.message = Arc::new(delivery.message.detached());
            }
            chosen.deliver(delivery.message, delivery.received_at, None);
        }
        if lost > 0 {
            self.shared.metrics.deliveries_dropped.with_label_values(&["no_member"]).inc_by(lost);
        }
    }

    /// Recognises what waited before a restart for groups that the session is a member of again: the store does not say
    /// which subscription a message came by.
    pub(super) fn recognise_shared(&mut self, groups: &[Arc<ShareGroup>], identifier: Option<u32>) {
        for group in groups {
            let is_of_group = |delivery: &Delivery| {
                let topic_name = &delivery.message.topic_name;
                let mut ordinary = self.subscriptions.iter().filter(|filter| filter.shared().is_none());
                delivery.share.is_none()
                    && delivery.subscription_identifiers.iter().copied().eq(identifier)
                    && group.filter().matches(topic_name)
                    && !ordinary.any(|filter| filter.matches(topic_name))
            };
            self.outbound.mark_shared(group, is_of_group);
        }
    }
}

impl Outbound {
    /// The groups of everything that waits or was sent at QoS 1 and not acknowledged.
    fn share_groups(&mut self) -> Vec<Arc<ShareGroup>> {
        let mut groups: Vec<Arc<ShareGroup>> = Vec::new();
        let mut note = |delivery: &Delivery| {
            if let Some(group) = &delivery.share
                && !contains(&groups, group)
            {
                groups.push(group.clone());
            }
        };
        self.outflow.unacknowledged_mut().for_each(|delivery| note(delivery));
        self.queue.lock().entries().for_each(note);
        groups
    }

    /// Takes out about so many bytes of what was sent at QoS 1 for these groups and not acknowledged.
    fn take_unacknowledged(&mut self, groups: &[Arc<ShareGroup>], bytes_max: usize) -> Vec<Delivery> {
        if groups.is_empty() {
            return Vec::new();
        }
        let mut bytes = 0;
        self.outflow.take_unacknowledged(|delivery| {
            let is_taken = bytes < bytes_max && is_of(delivery, groups);
            bytes += if is_taken { weight(delivery) } else { 0 };
            is_taken
        })
    }

    fn take_queued(&mut self, groups: &[Arc<ShareGroup>]) -> Vec<Delivery> {
        if groups.is_empty() {
            return Vec::new();
        }
        self.queue.lock().extract(|delivery| is_of(delivery, groups))
    }

    fn put_back(&mut self, deliveries: Vec<Delivery>) {
        let mut queue = self.queue.lock();
        queue.put_back(deliveries);
        self.queue.note_taken(&mut queue);
    }

    fn mark_shared(&mut self, group: &Arc<ShareGroup>, is_of_group: impl Fn(&Delivery) -> bool) {
        let mark = |delivery: &mut Delivery| {
            if is_of_group(delivery) {
                delivery.share = Some(group.clone());
            }
        };
        self.outflow.unacknowledged_mut().for_each(mark);
        self.queue.lock().entries_mut().for_each(mark);
    }
}

fn is_of(delivery: &Delivery, groups: &[Arc<ShareGroup>]) -> bool {
    delivery.share.as_ref().is_some_and(|group| contains(groups, group))
}

fn contains(groups: &[Arc<ShareGroup>], group: &Arc<ShareGroup>) -> bool {
    groups.iter().any(|known| Arc::ptr_eq(known, group))
}
