//! A copy that goes round in one direction only looks like somebody who says the same again and again: no broker ever
//! has it more often than the one that it comes from. What tells them apart is a pause: while nothing goes on to the next
//! broker, a copy that circles waits here, and none comes; somebody who repeats himself goes on with it.

use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use super::{Copies, Digest};
use crate::{BrokerId, Origin};

/// Copies of one message belong together that come no further apart than this: a lap is shorter.
const LAP_MAX: Duration = Duration::from_secs(1);
/// So many of them are worth a pause, where a ring is known, and so many times as many are worth another one.
const SUSPECT_MIN: u32 = 40;
const SUSPECT_AGAIN: u32 = 8;
/// So many of them circle, where a pause that was made for another message shows it.
const CIRCLE_MIN: u32 = 20;
/// So many laps must have been seen of each copy that waits at the end of a pause.
const LAPS_MIN: u32 = 8;
/// A pause is as long as this, and up to as much again: proxies that pause at once must not take each other's silence for
/// proof every time.
const PAUSE: Duration = Duration::from_secs(3);

/// What becomes of a message on its way to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onward {
    /// It goes there.
    Send,
    /// The broker has it already.
    Spare,
    /// Nothing goes there before this time.
    Wait(Instant),
}

/// Nothing goes to a broker.
#[derive(Clone, Copy)]
pub(super) struct Pause {
    since: Instant,
    until: Instant,
}

/// The last copies of a message that came from a broker close together.
#[derive(Clone, Copy, Default)]
pub(super) struct Burst {
    count: u32,
    last: Option<Instant>,
}

impl Burst {
    /// One more came.
    pub fn add(&mut self, now: Instant) {
        let is_close = self.is_fresh(now);
        self.count = if is_close { self.count.saturating_add(1) } else { 1 };
        self.last = Some(now);
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) <= LAP_MAX)
    }
}

impl Copies {
    /// Whether a message goes to a broker: not in a pause, and not where it has gone round.
    pub(super) fn passes(
        &mut self,
        broker: BrokerId,
        origin: Origin,
        digest: &Digest,
        now: Instant,
    ) -> Onward {
        if let Some(pause) = self.pauses.get(&broker).copied() {
            if now < pause.until {
                return Onward::Wait(pause.until);
            }
            self.pauses.remove(&broker);
            self.absorb_circles(broker, pause);
        }
        let (Origin::Upstream(from), Some(number)) = (origin, self.numbers.get(digest)) else {
            return Onward::Send;
        };
        let is_ring_known = self.watches.values().any(|watch| watch.is_ring);
        let entry = &mut self.entries[(number - self.first) as usize];
        let burst = entry.at(from).map(|place| place.burst).unwrap_or_default();
        let place = entry.place(broker);
        if place.absorbs > 0 {
            place.absorbs -= 1;
            place.spared += 1;
            return Onward::Spare;
        }
        let is_suspect = burst.count >= SUSPECT_MIN && burst.is_fresh(now);
        if !is_suspect || !is_ring_known || burst.count < place.tried_again_at {
            return Onward::Send;
        }
        place.tried_again_at = burst.count.saturating_mul(SUSPECT_AGAIN);
        // The hasher's seed is another one in each proxy.
        let chance = self.numbers.hasher().hash_one(digest);
        let until = now + PAUSE + PAUSE.mul_f64(chance as f64 / u64::MAX as f64);
        self.pauses.insert(broker, Pause { since: now, until });
        Onward::Wait(until)
    }

    /// A pause is over: what came in quick succession until it began, and no more towards its end, circles, and goes no
    /// further. There are as many copies of it as wait for the broker; where those are many, somebody said it until just
    /// now.
    fn absorb_circles(&mut self, broker: BrokerId, pause: Pause) {
        for entry in &mut self.entries {
            let sources = || entry.places.iter().filter(|place| place.broker != broker);
            let Some(last) = sources().filter_map(|place| place.burst.last).max() else { continue };
            let has_ended = last + LAP_MAX >= pause.since && last + LAP_MAX <= pause.until;
            let count = sources().map(|place| place.burst.count).max().unwrap_or(0);
            let taken: u32 = sources().map(|place| place.taken).sum();
            let place = entry.place(broker);
            let waiting = taken.saturating_sub(place.sent - place.sent_of_ours + place.spared);
            let has_circled = count >= CIRCLE_MIN && (count - waiting.min(count)) / LAPS_MIN >= waiting;
            if has_ended && has_circled {
                place.absorbs = waiting;
            }
        }
    }
}
