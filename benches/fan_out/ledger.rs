//! What one upstream has received of the current run: how much, in which order, how late.

use crate::histogram::Histogram;
use crate::stamp::Stamp;

pub struct Ledger {
    run: u32,
    messages: u64,
    /// What is to come next of each publisher, which take turns with the messages.
    next: Vec<u64>,
    seen: Vec<u64>,
    latency: Option<Histogram>,
    pub tally: Tally,
}

/// The sums of a run at one upstream.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// Different messages of this run.
    pub received: u64,
    pub repeated: u64,
    /// Messages that came after one that was sent later.
    pub reordered: u64,
    /// Messages of an earlier run, and probes.
    pub strays: u64,
    pub bytes: u64,
    /// 0 where nothing arrived.
    pub first_arrival_nanos: u64,
    pub last_arrival_nanos: u64,
}

impl Tally {
    /// Adds another upstream's sums; the first arrival is the earlier one, the last one the later.
    pub fn add(&mut self, other: &Tally) {
        self.received += other.received;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.strays += other.strays;
        self.bytes += other.bytes;
        self.first_arrival_nanos = match (self.first_arrival_nanos, other.first_arrival_nanos) {
            (0, first) | (first, 0) => first,
            (one, another) => one.min(another),
        };
        self.last_arrival_nanos = self.last_arrival_nanos.max(other.last_arrival_nanos);
    }
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger {
            run: 0,
            messages: 0,
            next: vec![0],
            seen: Vec::new(),
            latency: None,
            tally: Tally::default(),
        }
    }

    /// Forgets everything and expects the messages 0 .. `messages` of run `run`.
    pub fn begin(&mut self, run: u32, messages: u64, publishers: u64, with_latency: bool) {
        let words = messages.div_ceil(64) as usize;
        let next = vec![0; publishers as usize];
        *self = Ledger { run, messages, next, seen: vec![0; words], ..Ledger::new() };
        self.latency = with_latency.then(Histogram::new);
    }

    pub fn arrived(&mut self, stamp: Stamp, payload_bytes: usize, now: u64) {
        if stamp.run != self.run || stamp.sequence >= self.messages {
            self.tally.strays += 1;
            return;
        }
        let word = &mut self.seen[(stamp.sequence / 64) as usize];
        let bit = 1 << (stamp.sequence % 64);
        if *word & bit != 0 {
            self.tally.repeated += 1;
            return;
        }
        *word |= bit;
        let publishers = self.next.len() as u64;
        let next = &mut self.next[(stamp.sequence % publishers) as usize];
        if stamp.sequence < *next {
            self.tally.reordered += 1;
        } else {
            *next = stamp.sequence + 1;
        }
        if self.tally.received == 0 {
            self.tally.first_arrival_nanos = now;
        }
        self.tally.received += 1;
        self.tally.bytes += payload_bytes as u64;
        self.tally.last_arrival_nanos = now;
        if let Some(latency) = &mut self.latency {
            latency.record(now.saturating_sub(stamp.sent_nanos));
        }
    }

    pub fn is_complete(&self) -> bool {
        self.tally.received == self.messages
    }

    pub fn lost(&self) -> u64 {
        self.messages - self.tally.received
    }

    pub fn latency(&self) -> Option<&Histogram> {
        self.latency.as_ref()
    }
}
