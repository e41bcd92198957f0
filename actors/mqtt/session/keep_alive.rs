//! Keep Alive: how long a connection may be silent.

use std::time::{Duration, Instant};

/// The Keep Alive of one Network Connection, with the time as an input.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    interval: Duration,
    last_received: Instant,
    last_sent: Instant,
}

impl KeepAlive {
    /// A connection that began at `now`; 0 seconds turn the mechanism off.
    pub fn new(keep_alive_secs: u16, now: Instant) -> KeepAlive {
        KeepAlive {
            interval: Duration::from_secs(keep_alive_secs.into()),
            last_received: now,
            last_sent: now,
        }
    }

    /// A Control Packet arrived.
    pub fn received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// A Control Packet was sent.
    pub fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// When the Server gives the Client up: after one and a half times the interval without a packet
    /// `[MQTT-3.1.2-22]`. `None` where Keep Alive is off.
    pub fn expires_at(&self) -> Option<Instant> {
        (!self.interval.is_zero()).then(|| self.last_received + self.interval.mul_f32(1.5))
    }

    /// Whether the Server gives the Client up now.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at().is_some_and(|at| now >= at)
    }

    /// When the Client has to send PINGREQ, if it sends nothing else `[MQTT-3.1.2-20]`. `None` where Keep
    /// Alive is off.
    pub fn ping_due_at(&self) -> Option<Instant> {
        (!self.interval.is_zero()).then(|| self.last_sent + self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_client_is_given_up_after_one_and_a_half_intervals() {
        let start = Instant::now_for_tests();
        let mut keep_alive = KeepAlive::new(10, start);
        assert!(!keep_alive.is_expired(start + 14 * SECOND));
        assert!(keep_alive.is_expired(start + 15 * SECOND));
        keep_alive.received(start + 14 * SECOND);
        assert!(!keep_alive.is_expired(start + 28 * SECOND));
        assert!(keep_alive.is_expired(start + 29 * SECOND));
    }

    #[test]
    fn zero_turns_it_off() {
        let start = Instant::now_for_tests();
        let keep_alive = KeepAlive::new(0, start);
        assert_eq!((keep_alive.expires_at(), keep_alive.ping_due_at()), (None, None));
        assert!(!keep_alive.is_expired(start + 1_000_000 * SECOND));
    }

    #[test]
    fn a_ping_is_due_one_interval_after_the_last_packet_sent() {
        let start = Instant::now_for_tests();
        let mut keep_alive = KeepAlive::new(10, start);
        keep_alive.sent(start + 4 * SECOND);
        assert_eq!(keep_alive.ping_due_at(), Some(start + 14 * SECOND));
    }

    /// A starting point for tests of time: any instant does, since only differences count.
    trait ForTests {
        fn now_for_tests() -> Instant;
    }

    impl ForTests for Instant {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        fn now_for_tests() -> Instant {
            Instant::now()
        }
    }
}
