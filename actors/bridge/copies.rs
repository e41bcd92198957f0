//! Counts the copies of each message that are at each broker, as far as this proxy can see them, so that what other
//! proxies bring round is told from what somebody publishes once more. For MQTT 3.1.1, where a message can carry no
//! origin. Pure: the time is an input.
//!
//! A message that came from a broker `a` times goes on to another one only while there are fewer than `a` copies there
//! (sent by us, or come from there), and is taken at all only if fewer than `a` were taken before. So a circle comes to
//! rest: each broker ends up with as many copies as there were messages, or a few more where two proxies were too
//! quick for each other. Where nothing goes round, equal messages of different people are not to be taken for copies:
//! so the rule holds only while there is evidence of a ring.

mod laps;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

pub use laps::Onward;
use laps::{Burst, Pause};

use crate::{BrokerId, Origin, limits};

/// What a message is recognised by: a hash of topic and payload that nobody can forge a twin of.
pub type Digest = blake3::Hash;

/// How many messages around one are looked at to tell whether a copy of it is a coincidence.
const NEIGHBOURS: usize = 20;
/// So many neighbours are needed for a judgement.
const NEIGHBOURS_MIN: usize = 8;
/// A message is old enough to be a neighbour when its copies would have been here, on most ways.
const SETTLED: Duration = Duration::from_millis(250);
/// One message in so many has to have come round, or it is coincidence.
const RING_SHARE: usize = 4;
/// How often one message may seem to come round before it is held to circle: where there is a ring through another broker,
/// while little is known, and when its neighbours say that there is no ring.
const LAPS_IN_A_RING: u32 = 1;
const LAPS_AT_FIRST: u32 = 5;
const LAPS_AGAINST_EVIDENCE: u32 = 200;
/// The rule is lifted after so many messages, and this long, without a copy.
const CLEAN_MIN: u32 = 20;

/// The hash of a message's topic and payload.
pub fn digest(topic_name: &[u8], payload: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    // The length keeps topic and payload apart.
    hasher.update(&(topic_name.len() as u32).to_le_bytes());
    hasher.update(topic_name);
    hasher.update(payload);
    hasher.finalize()
}

/// What was learned of a broker that is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Messages come round through it.
    Ring,
    /// They do so no more.
    NoRing,
}

/// What a copy that came in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether the message is taken.
    pub is_taken: bool,
    /// What was learned from it.
    pub news: Option<News>,
}

/// All counts of a proxy.
#[derive(Default)]
pub struct Copies {
    /// In the order in which they were first seen.
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    numbers: HashMap<Digest, u64, RandomState>,
    watches: HashMap<BrokerId, Watch, RandomState>,
    /// Brokers to which nothing goes for a moment, so that it shows what circles.
    pauses: HashMap<BrokerId, Pause, RandomState>,
}

/// One message.
struct Entry {
    digest: Digest,
    since: Instant,
    /// It goes round, whatever the other messages do.
    is_circling: bool,
    places: Vec<Place>,
}

/// What is known of one message at one broker.
#[derive(Clone, Copy, Default)]
struct Place {
    broker: BrokerId,
    /// How often it came from there, and how often it was sent there.
    arrived: u32,
    sent: u32,
    /// How many of those sent were published here.
    sent_of_ours: u32,
    /// How many of those that came were taken, and how many messages were not sent there because of those.
    taken: u32,
    spared: u32,
    /// How many of those that came were elsewhere already.
    surplus: u32,
    /// Those that came last.
    burst: Burst,
    /// A pause was made for it, and is made again when so many have come; and so many that wait for the broker circle.
    tried_again_at: u32,
    absorbs: u32,
}

/// What the copies that come from one broker look like.
#[derive(Default)]
struct Watch {
    is_ring: bool,
    last_surplus: Option<Instant>,
    /// Messages without a copy since then.
    clean: u32,
}

impl Entry {
    fn place(&mut self, broker: BrokerId) -> &mut Place {
        let index = self.places.iter().position(|place| place.broker == broker).unwrap_or_else(|| {
            let none = Place { broker, ..Place::default() };
            self.places.push(none);
            self.places.len() - 1
        });
        &mut self.places[index]
    }

    fn at(&self, broker: BrokerId) -> Option<&Place> {
        self.places.iter().find(|place| place.broker == broker)
    }

    /// How often it was handed on to everybody here.
    fn here(&self) -> u32 {
        let of_ours = self.places.iter().map(|place| place.sent_of_ours).max();
        let taken: u32 = self.places.iter().map(|place| place.taken).sum();
        taken + of_ours.unwrap_or(0)
    }

    /// Whether everybody here and at each other broker has what came from one as often, or will when all that was taken
    /// is sent.
    fn is_everywhere(&self, broker: BrokerId) -> bool {
        let Some(source) = self.at(broker) else { return false };
        let here = self.here();
        let others = self.places.iter().filter(|place| place.broker != broker);
        let mut in_the_end =
            others.map(|place| place.arrived + here.saturating_sub(place.taken + place.spared));
        // Who sent there may have been spared because of a copy of ours, which was one of the same messages.
        let published_elsewhere = source.copies() - source.sent_of_ours;
        here >= published_elsewhere && in_the_end.all(|copies| copies >= source.arrived)
    }

    fn has_surplus(&self, broker: BrokerId) -> bool {
        self.at(broker).is_some_and(|place| place.surplus > 0)
    }
}

impl Place {
    fn copies(&self) -> u32 {
        self.arrived + self.sent
    }
}

impl Copies {
    /// A message came from a broker: whether it is taken, or is a copy of what was.
    pub fn arrived(&mut self, broker: BrokerId, digest: Digest, now: Instant) -> Judgement {
        let news = self.expire(now, broker);
        let number = self.number_of(digest, now);
        let entry = &mut self.entries[(number - self.first) as usize];
        let place = entry.place(broker);
        place.arrived += 1;
        place.burst.add(now);
        let arrived = place.arrived;
        let is_elsewhere = |place: &Place| place.broker != broker && place.copies() >= arrived;
        if entry.here() < arrived && !entry.places.iter().any(is_elsewhere) {
            entry.place(broker).taken += 1;
            return Judgement { is_taken: true, news };
        }
        entry.place(broker).surplus += 1;
        let learned = self.learn(broker, number, now);
        let is_ring = self.is_ring(broker);
        let entry = &mut self.entries[(number - self.first) as usize];
        let is_taken = !(is_ring || entry.is_circling) || !entry.is_everywhere(broker);
        entry.place(broker).taken += u32::from(is_taken);
        Judgement { is_taken, news: learned.or(news) }
    }

    /// What becomes of a message on its way to a broker: one of another broker is not sent where it is already, from
    /// another proxy.
    pub fn onward(&mut self, broker: BrokerId, origin: Origin, digest: &Digest, now: Instant) -> Onward {
        match self.passes(broker, origin, digest, now) {
            Onward::Send if self.spares(broker, origin, digest) => Onward::Spare,
            onward => onward,
        }
    }

    fn spares(&mut self, broker: BrokerId, origin: Origin, digest: &Digest) -> bool {
        let (Origin::Upstream(from), Some(number)) = (origin, self.numbers.get(digest)) else { return false };
        let is_ring = self.is_ring(from);
        let entry = &mut self.entries[(number - self.first) as usize];
        // Not only those of the broker that this one came from: another one of the same may have been left to it.
        let others = entry.places.iter().filter(|place| place.broker != broker);
        let arrived = others.map(|place| place.arrived).max().unwrap_or(0).max(1);
        let is_there = entry.at(broker).is_some_and(|place| place.copies() >= arrived);
        let is_spared = is_there && (is_ring || entry.is_circling);
        if is_spared {
            entry.place(broker).spared += 1;
        }
        is_spared
    }

    /// A message goes out to a broker.
    pub fn sent(&mut self, broker: BrokerId, origin: Origin, digest: Digest, now: Instant) {
        let number = self.number_of(digest, now);
        let entry = &mut self.entries[(number - self.first) as usize];
        let place = entry.place(broker);
        place.sent += 1;
        match origin {
            Origin::Upstream(from) => {
                let source = entry.place(from);
                if source.copies() == 0 {
                    // It came long ago: nothing is known of that by now, but that it was there.
                    (source.arrived, source.taken) = (1, 1);
                }
            }
            _ => place.sent_of_ours += 1,
        }
    }

    /// Whether messages that come from the broker are held to go round.
    pub fn is_ring(&self, broker: BrokerId) -> bool {
        self.watches.get(&broker).is_some_and(|watch| watch.is_ring)
    }

    /// The message was elsewhere already when it came: is that a ring, or did two people say the same?
    fn learn(&mut self, broker: BrokerId, number: u64, now: Instant) -> Option<News> {
        let (known, round) = self.neighbours(broker, number, now);
        let is_share = known >= NEIGHBOURS_MIN && round * RING_SHARE >= known;
        let patience = match self.watches.values().any(|watch| watch.is_ring) {
            // A ring has two ends at this proxy.
            true => LAPS_IN_A_RING,
            false if known >= NEIGHBOURS && !is_share => LAPS_AGAINST_EVIDENCE,
            false => LAPS_AT_FIRST,
        };
        let entry = &mut self.entries[(number - self.first) as usize];
        entry.is_circling |= entry.at(broker).is_some_and(|place| place.surplus > patience);
        let is_share = is_share || (entry.is_circling && self.another_circles(broker, number));
        let watch = self.watches.entry(broker).or_default();
        watch.last_surplus = Some(now);
        watch.clean = 0;
        let is_new = is_share && !watch.is_ring;
        watch.is_ring |= is_share;
        is_new.then_some(News::Ring)
    }

    /// How many messages from about the same time are known, and how many of them came round through the broker.
    fn neighbours(&self, broker: BrokerId, number: u64, now: Instant) -> (usize, usize) {
        let index = (number - self.first) as usize;
        let before = self.entries.range(index.saturating_sub(NEIGHBOURS)..index);
        let is_settled = |entry: &&Entry| now.saturating_duration_since(entry.since) >= SETTLED;
        // Where many are gone already, those behind have to do.
        let behind = self.entries.range(index + 1..).take_while(is_settled).take(NEIGHBOURS);
        before
            .chain(behind)
            .fold((0, 0), |(known, round), entry| (known + 1, round + usize::from(entry.has_surplus(broker))))
    }

    /// Whether another message from about the same time circles through the broker too.
    fn another_circles(&self, broker: BrokerId, number: u64) -> bool {
        let index = (number - self.first) as usize;
        let around = self.entries.range(index.saturating_sub(NEIGHBOURS)..).take(2 * NEIGHBOURS);
        around.filter(|entry| entry.is_circling && entry.has_surplus(broker)).count() > 1
    }

    fn number_of(&mut self, digest: Digest, now: Instant) -> u64 {
        if let Some(number) = self.numbers.get(&digest) {
            return *number;
        }
        if self.entries.len() >= limits::COPIES_MAX {
            self.forget_oldest();
        }
        let number = self.first + self.entries.len() as u64;
        self.numbers.insert(digest, number);
        let places = Vec::with_capacity(2);
        self.entries.push_back(Entry { digest, since: now, is_circling: false, places });
        number
    }

    /// Forgets what is too old to come round, and with enough of that, what was believed of this broker.
    fn expire(&mut self, now: Instant, broker: BrokerId) -> Option<News> {
        let is_over = |entry: &Entry| now.saturating_duration_since(entry.since) >= limits::ECHO_PATIENCE;
        while self.entries.front().is_some_and(is_over) {
            self.forget_oldest();
        }
        let watch = self.watches.get_mut(&broker).filter(|watch| watch.is_ring)?;
        let quiet_since = watch.last_surplus?;
        let is_quiet = now.saturating_duration_since(quiet_since) >= limits::ECHO_PATIENCE;
        if !is_quiet || watch.clean < CLEAN_MIN {
            return None;
        }
        watch.is_ring = false;
        Some(News::NoRing)
    }

    fn forget_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.first += 1;
        self.numbers.remove(&entry.digest);
        for (broker, watch) in &mut self.watches {
            watch.clean += u32::from(!entry.has_surplus(*broker));
        }
    }

    /// How many messages are known.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.entries.len()
    }
}
