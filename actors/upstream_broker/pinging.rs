//! When an upstream broker is asked whether it is still there, and when it is given up. Pure: time is an input.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use mqtt::packet::ping;
use mqtt::session::KeepAlive;

use super::connect::{Cause, Failure};

/// The Client's side of the Keep Alive of one connection `[MQTT-3.1.2-20]`.
pub struct Pinging {
    keep_alive: KeepAlive,
    /// `None` where Keep Alive is off.
    interval: Option<Duration>,
    last_received: Instant,
    ping_sent: Option<Instant>,
}

impl Pinging {
    /// A connection that began at `now`, with the interval that holds for it; 0 seconds turn the mechanism off.
    pub fn new(keep_alive_secs: u16, now: Instant) -> Pinging {
        Pinging {
            keep_alive: KeepAlive::new(keep_alive_secs, now),
            interval: (keep_alive_secs > 0).then(|| Duration::from_secs(keep_alive_secs.into())),
            last_received: now,
            ping_sent: None,
        }
    }

    /// Packets arrived.
    pub fn received(&mut self, now: Instant) {
        self.last_received = now;
        self.ping_sent = None;
    }

    /// Everything that was to be sent is sent.
    pub fn sent(&mut self, now: Instant) {
        self.keep_alive.sent(now);
    }

    /// Asks the broker where that is due; to be called more often than the interval is long.
    ///
    /// # Errors
    /// Where the broker has not answered in time.
    pub fn tick(&mut self, now: Instant, output: &mut BytesMut) -> Result<(), Failure> {
        let Some(interval) = self.interval else { return Ok(()) };
        // A broker that takes our messages but says nothing may hang: asking is cheap.
        let is_silent = now.duration_since(self.last_received) >= interval;
        let is_due = is_silent || self.keep_alive.ping_due_at().is_some_and(|at| now >= at);
        match self.ping_sent {
            Some(sent) if now.duration_since(sent) >= interval => {
                let text = format!("no answer to PINGREQ within {} s", interval.as_secs());
                Err(Failure::new(Cause::Timeout, text))
            }
            None if is_due => {
                ping::encode_request(output);
                self.keep_alive.sent(now);
                self.ping_sent = Some(now);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one tick sends at this many seconds after `start`; `None` where the broker is given up.
    fn tick(pinging: &mut Pinging, start: Instant, secs: u64) -> Option<usize> {
        let mut output = BytesMut::new();
        pinging.tick(start + Duration::from_secs(secs), &mut output).ok().map(|()| output.len())
    }

    #[test]
    fn a_broker_that_says_nothing_is_asked_once_and_given_up_an_interval_later() {
        let start = Instant::now();
        let mut pinging = Pinging::new(10, start);
        assert_eq!(tick(&mut pinging, start, 1), Some(0));
        assert_eq!(tick(&mut pinging, start, 10), Some(2), "PINGREQ");
        assert_eq!(tick(&mut pinging, start, 19), Some(0), "asked already");
        assert_eq!(tick(&mut pinging, start, 20), None);
    }

    #[test]
    fn an_answer_begins_anew() {
        let start = Instant::now();
        let mut pinging = Pinging::new(10, start);
        assert_eq!(tick(&mut pinging, start, 10), Some(2));
        pinging.received(start + Duration::from_secs(11));
        assert_eq!(tick(&mut pinging, start, 12), Some(0));
        assert_eq!(tick(&mut pinging, start, 21), Some(2));
    }

    #[test]
    fn a_broker_that_is_silent_is_asked_although_messages_go_out() {
        let start = Instant::now();
        let mut pinging = Pinging::new(10, start);
        pinging.sent(start + Duration::from_secs(9));
        assert_eq!(tick(&mut pinging, start, 10), Some(2));
    }

    #[test]
    fn without_keep_alive_nobody_is_asked() {
        let start = Instant::now();
        let mut pinging = Pinging::new(0, start);
        assert_eq!(tick(&mut pinging, start, 100_000), Some(0));
    }
}
