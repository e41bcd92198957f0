//! Recognises our own messages when a broker sends them back. MQTT 5.0 has No Local and mosquitto the bridge bit;
//! this is for the rest. Pure: the time is an input.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use crate::bridge::{Digest, digest};
use crate::limits;

/// A credit that ends unused weighs as much as so many that are used.
const DOUBT_PER_UNUSED: u32 = 4;

/// Echo credits: each message that goes out and that the broker will send back gives one credit, each copy that
/// comes in uses one up. So a message that others publish again is delivered again, however alike it is.
pub struct LoopGuard {
    /// When the unused credits of each message were given, oldest first.
    credits: HashMap<Digest, VecDeque<Instant>, RandomState>,
    /// All credits in the order in which they expire, used or not.
    given: VecDeque<(Instant, Digest)>,
    patience: Duration,
    credits_max: usize,
    doubt: u32,
}

impl LoopGuard {
    /// No credits yet; each lasts for `patience`, and there are at most `credits_max`.
    pub fn new(patience: Duration, credits_max: usize) -> LoopGuard {
        let (credits, given) = (HashMap::default(), VecDeque::new());
        LoopGuard { credits, given, patience, credits_max, doubt: 0 }
    }

    /// Whether the broker seems to send nothing back: of late, more than one credit in five ended unused.
    pub fn is_in_doubt(&self) -> bool {
        self.doubt >= limits::ECHO_TRIAL_MAX * DOUBT_PER_UNUSED
    }

    /// A message goes out that the broker will send back.
    pub fn sent(&mut self, topic_name: &[u8], payload: &[u8], now: Instant) {
        self.expire(now);
        if self.given.len() >= self.credits_max {
            self.forget_oldest();
        }
        let digest = digest(topic_name, payload);
        self.given.push_back((now, digest));
        self.credits.entry(digest).or_default().push_back(now);
    }

    /// A message comes in: whether it is one of ours.
    pub fn is_echo(&mut self, topic_name: &[u8], payload: &[u8], now: Instant) -> bool {
        self.expire(now);
        let is_echo = !self.credits.is_empty() && self.take(&digest(topic_name, payload));
        if is_echo {
            self.doubt = self.doubt.saturating_sub(1);
        }
        is_echo
    }

    fn expire(&mut self, now: Instant) {
        let patience = self.patience;
        let is_over = |at: Instant| now.saturating_duration_since(at) >= patience;
        while self.given.front().is_some_and(|(at, _)| is_over(*at)) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at, digest)) = self.given.pop_front() else { return };
        // One that was used up is not there any more; a later one of the same message stays.
        if self.credits.get(&digest).is_some_and(|unused| unused.front() == Some(&at)) {
            self.take(&digest);
            self.doubt = self.doubt.saturating_add(DOUBT_PER_UNUSED);
        }
    }

    fn take(&mut self, digest: &Digest) -> bool {
        let Some(unused) = self.credits.get_mut(digest) else { return false };
        let taken = unused.pop_front().is_some();
        if unused.is_empty() {
            self.credits.remove(digest);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn each_credit_is_used_once_and_a_legitimate_repeat_passes() {
        let (mut guard, now) = (LoopGuard::new(PATIENCE, 100), Instant::now());
        guard.sent(b"t", b"21.5", now);
        guard.sent(b"t", b"21.5", now);
        assert!(guard.is_echo(b"t", b"21.5", now));
        assert!(guard.is_echo(b"t", b"21.5", now));
        assert!(!guard.is_echo(b"t", b"21.5", now), "the third one somebody else sent");
    }

    #[test]
    fn topic_and_payload_both_count() {
        let (mut guard, now) = (LoopGuard::new(PATIENCE, 100), Instant::now());
        guard.sent(b"ab", b"c", now);
        assert!(!guard.is_echo(b"a", b"bc", now));
        assert!(!guard.is_echo(b"ab", b"d", now));
        assert!(guard.is_echo(b"ab", b"c", now));
    }

    #[test]
    fn credits_expire() {
        let (mut guard, now) = (LoopGuard::new(PATIENCE, 100), Instant::now());
        guard.sent(b"t", b"1", now);
        assert!(!guard.is_echo(b"t", b"1", now + PATIENCE));
    }

    #[test]
    fn a_used_credit_does_not_take_a_later_one_along_when_it_expires() {
        let (mut guard, now) = (LoopGuard::new(PATIENCE, 100), Instant::now());
        guard.sent(b"t", b"1", now);
        assert!(guard.is_echo(b"t", b"1", now));
        guard.sent(b"t", b"1", now + PATIENCE / 2);
        assert!(guard.is_echo(b"t", b"1", now + PATIENCE));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_credit_goes_first() {
        let (mut guard, now) = (LoopGuard::new(PATIENCE, 2), Instant::now());
        for payload in [b"1", b"2", b"3"] {
            guard.sent(b"t", payload, now);
        }
        assert_eq!(guard.given.len(), 2);
        assert!(!guard.is_echo(b"t", b"1", now));
        assert!(guard.is_echo(b"t", b"2", now) && guard.is_echo(b"t", b"3", now));
    }
}
