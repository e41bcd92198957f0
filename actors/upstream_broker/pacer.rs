//! Holds a backlog to a rate, so that a broker that comes back is not flooded. Pure: the time is an input.

use std::time::{Duration, Instant};

/// How much may go out at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// A rate in messages and in bytes, each of which may be absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second.
    pub messages: Option<u32>,
    /// Bytes of topics and payloads a second.
    pub bytes: Option<u64>,
}

/// Says when the next message may go out. What a message costs is time: each moves the moment on at which the next one
/// is due, and what was not used for longer than a burst is lost.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    rate: Rate,
    due_at: Instant,
}

impl Pacer {
    /// A full burst may go out at once.
    pub fn new(rate: Rate, now: Instant) -> Pacer {
        Pacer { rate, due_at: now }
    }

    /// The rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// When the next message may go out, if that is not now.
    pub fn wait_until(&self, now: Instant) -> Option<Instant> {
        let allowed_at = self.due_at.checked_sub(BURST).unwrap_or(now);
        (self.rate != Rate::default() && allowed_at > now).then_some(allowed_at)
    }

    /// A message of so many bytes goes out.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        let for_message = self.rate.messages.map_or(0.0, |messages| 1.0 / f64::from(messages.max(1)));
        let for_bytes = self.rate.bytes.map_or(0.0, |rate| bytes as f64 / rate.max(1) as f64);
        let cost = Duration::from_secs_f64(for_message.max(for_bytes));
        self.due_at = self.due_at.max(now) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many messages of `bytes` go out within `span`, looked at every millisecond.
    fn sent_within(rate: Rate, bytes: usize, span: Duration) -> u32 {
        let start = Instant::now();
        let (mut pacer, mut now, mut sent) = (Pacer::new(rate, start), start, 0);
        while now < start + span {
            while pacer.wait_until(now).is_none() && sent < 100_000 {
                pacer.sent(bytes, now);
                sent += 1;
            }
            now += Duration::from_millis(1);
        }
        sent
    }

    #[test]
    fn messages_and_bytes_are_held_to_their_rates() {
        let ten_seconds = Duration::from_secs(10);
        let by_messages = sent_within(Rate { messages: Some(100), bytes: None }, 1_000_000, ten_seconds);
        assert!((1_000..=1_012).contains(&by_messages), "{by_messages}");
        let by_bytes = sent_within(Rate { messages: None, bytes: Some(5_000) }, 50, ten_seconds);
        assert!((1_000..=1_012).contains(&by_bytes), "{by_bytes}");
        let by_both = sent_within(Rate { messages: Some(1_000), bytes: Some(5_000) }, 50, ten_seconds);
        assert!((1_000..=1_012).contains(&by_both), "the slower one counts: {by_both}");
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        assert_eq!(sent_within(Rate::default(), 1_000, Duration::from_millis(1)), 100_000);
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Rate { messages: Some(10), bytes: None }, start);
        let later = start + Duration::from_secs(3_600);
        let mut burst = 0;
        while pacer.wait_until(later).is_none() {
            pacer.sent(1, later);
            burst += 1;
        }
        assert!(burst <= 2, "{burst}");
    }

    #[test]
    fn one_large_message_passes_and_is_paid_for_afterwards() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Rate { messages: None, bytes: Some(1_000) }, start);
        assert_eq!(pacer.wait_until(start), None);
        pacer.sent(5_000, start);
        assert!(pacer.wait_until(start).is_some_and(|at| at > start + Duration::from_secs(4)));
    }
}
