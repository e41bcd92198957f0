//! The Sessions at the members of a group. One log is read for all of them, and each remembers Packet Identifiers of its
//! own: what was in flight at one member goes out at another as new, and what the first one may have kept is released
//! there when it is back, so that no identifier hides a later message.

use std::sync::Arc;

use mqtt::session::Outflow;
use mqtt::{PacketId, QoS};

use super::{InFlight, Journal, Lane, Outbox};
use crate::message_log::LogPlace;
use crate::{BrokerId, limits};

/// What was in flight in a Session before a restart: Packet Identifier, offset, and whether PUBREC came.
pub type StoredFlow = Vec<(PacketId, u64, bool)>;

/// Nothing in flight. The first Packet Identifier is any: the broker may remember some of an earlier life.
pub fn fresh() -> Outflow<InFlight> {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    let first = PacketId::new((random >> 48) as u16).unwrap_or(PacketId::FIRST);
    Outflow::starting_at(first, limits::UPSTREAM_IN_FLIGHT_MAX).count_released()
}

impl Outbox {
    /// The place in the log belongs to a group with this identity.
    pub fn set_group(&mut self, group: BrokerId) {
        self.journal = Journal::new(group, self.lanes.reader.log().clone());
    }

    /// What the broker has not acknowledged goes out once more, before anything newer.
    pub(super) fn send_anew(&mut self, in_flight: Vec<InFlight>) {
        for in_flight in in_flight.into_iter().rev().filter(|in_flight| !in_flight.is_elsewhere) {
            self.anew.push_front((in_flight.lane, in_flight.offset));
        }
    }

    /// A member of the group accepted a connection: what follows goes out in the Session there. `stored` is what was in
    /// flight in it before a restart, given once. [`Outbox::connected`] has to follow.
    pub fn attach(&mut self, session: BrokerId, stored: Option<StoredFlow>, session_present: bool) {
        if session != self.journal.session() {
            let resting = self.resting.iter().position(|(id, _)| *id == session);
            let flow = resting.map_or_else(fresh, |index| self.resting.swap_remove(index).1);
            let mut old = std::mem::replace(&mut self.outflow, flow);
            let unfinished = old.rest(|in_flight| InFlight { is_elsewhere: true, ..*in_flight });
            self.send_anew(unfinished);
            if old.in_flight() > 0 {
                self.resting.push((self.journal.session(), old));
            }
            let finished = self.finished_above_cursor();
            self.journal.attach(session, self.cursor(), finished);
        }
        if let Some(stored) = stored.filter(|stored| session_present && !stored.is_empty()) {
            self.adopt(stored);
        }
    }

    /// Takes over what a Session had in flight before a restart. It goes on there where this is the first connection;
    /// else the messages have gone another way, or will, and the Session only releases what it kept.
    fn adopt(&mut self, stored: StoredFlow) {
        let (is_first, position) = (self.journal.is_first(), self.lanes.reader.position());
        let live_from = self.lanes.live_from().unwrap_or(u64::MAX);
        let is_elsewhere = |offset: u64| {
            let is_passed = offset < position && offset < live_from;
            !is_first || is_passed || self.journal.is_finished(offset)
        };
        let entries = stored.iter().map(|(packet_id, offset, is_received)| {
            let is_elsewhere = is_elsewhere(*offset);
            let lane = if *offset < live_from { Lane::Main } else { Lane::Live };
            let qos = QoS::ExactlyOnce;
            let in_flight = InFlight { lane, offset: *offset, qos, received_at_micros: 0, is_elsewhere };
            (*packet_id, qos, *is_received || is_elsewhere, in_flight)
        });
        let entries: Vec<_> = entries.collect();
        let goes_on: StoredFlow =
            stored.iter().copied().filter(|(_, offset, _)| !is_elsewhere(*offset)).collect();
        self.is_mixed |= !goes_on.is_empty();
        self.journal.adopt(&goes_on);
        self.outflow.restore(entries);
    }

    /// Nothing new goes out any more, or it does again; what is in flight is finished in any case.
    pub fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Whether the broker has acknowledged all that it was sent.
    pub fn is_settled(&self) -> bool {
        self.outflow.in_flight() == 0
    }

    /// Who went on before at other places is done: reads on where the slowest of them stopped.
    pub fn follow(&mut self, place: &Arc<LogPlace>, earlier: &[Arc<LogPlace>]) {
        if let Some(cursor) = earlier.iter().map(|place| place.cursor()).min() {
            place.advance_to(cursor);
            self.lanes.reader = place.reader();
        }
    }
}
