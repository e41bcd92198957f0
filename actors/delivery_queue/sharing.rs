//! What share groups see of a session's queue, and what a session does with the messages of its groups.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mqtt::QoS;

use super::{DeliveryQueue, State, weight};
use crate::messages::Delivery;
use crate::share_group::Standing;

/// How much the client lets us send before it acknowledges.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// What it allows altogether.
    size: usize,
    /// What is left of it.
    room: usize,
    /// When the client last acknowledged something, or connected.
    moved_at: Option<Instant>,
}

impl DeliveryQueue {
    /// What speaks for giving this client the next message of a share group, at this QoS.
    pub fn standing(&self, qos: QoS, now: Instant) -> Standing {
        self.lock().standing(qos, self.claims.load(Ordering::Relaxed), now)
    }

    /// A share group has chosen this client for a message that will need a place in its window.
    pub fn claim(&self) {
        self.claims.fetch_add(1, Ordering::Relaxed);
    }

    /// The message is in the queue now, or will not come.
    pub fn end_claim(&self) {
        self.claims.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    /// Everything that waits, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Delivery> {
        self.entries.iter()
    }

    /// The same, to be changed; QoS and content stay.
    pub fn entries_mut(&mut self) -> impl Iterator<Item = &mut Delivery> {
        self.entries.iter_mut()
    }

    /// Takes out what `wanted` picks, oldest first; the rest keeps its order.
    pub fn extract(&mut self, wanted: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let (taken, left) = std::mem::take(&mut self.entries).into_iter().partition(wanted);
        self.entries = left;
        self.bytes = self.entries.iter().map(weight).sum();
        self.acknowledged_entries =
            self.entries.iter().filter(|delivery| delivery.qos > QoS::AtMostOnce).count();
        taken.into()
    }

    /// Puts back, before everything else, what [`State::extract`] took out.
    pub fn put_back(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries.into_iter().rev() {
            self.bytes += weight(&delivery);
            self.acknowledged_entries += usize::from(delivery.qos > QoS::AtMostOnce);
            self.entries.push_front(delivery);
        }
    }

    /// How much a share group gives to its members before it looks again how they stand, so that no queue overflows.
    pub fn portion_bytes(&self) -> usize {
        (self.limits.bytes_max / 4).max(1)
    }

    /// The session is over: what comes from now on is for nobody.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// How much of its window the client leaves open; `moved_at` where it has acknowledged something.
    pub fn set_window(&mut self, size: usize, room: usize, moved_at: Option<Instant>) {
        self.window = Window { size, room, moved_at: moved_at.or(self.window.moved_at) };
    }

    fn standing(&self, qos: QoS, claims: usize, now: Instant) -> Standing {
        if self.is_closed || (!self.is_connected && qos == QoS::AtMostOnce) {
            return Standing::Gone;
        }
        if !self.is_connected {
            return Standing::Absent { is_full: !self.has_room_for(0) };
        }
        let ahead = self.acknowledged_entries + claims;
        let needed = ahead + usize::from(qos > QoS::AtMostOnce);
        let Window { size, room, moved_at } = self.window;
        let waiting = (self.entries.len() + claims + size.saturating_sub(room)) as u64;
        let silent = match moved_at {
            Some(at) if room == 0 => now.saturating_duration_since(at),
            _ => Duration::ZERO,
        };
        // Who has been silent with a full window will probably be so for as long again.
        let load = waiting * (1_000 + silent.as_millis() as u64) / size.max(1) as u64;
        if self.is_left_alone {
            Standing::Stalled(load)
        } else if self.bytes > self.limits.bytes_max / 2 {
            Standing::Pressed(load)
        } else if needed > room {
            Standing::Busy(load)
        } else {
            Standing::Ready
        }
    }
}
