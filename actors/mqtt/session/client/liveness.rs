//! Whether the server of a connection is still there.

use std::time::{Duration, Instant};

use crate::session::KeepAlive;

/// Keep Alive as the client has it: PINGREQ when nothing was sent, or nothing heard, for the interval, and the end
/// where no answer comes.
#[derive(Debug)]
pub(super) struct Liveness {
    keep_alive: KeepAlive,
    interval: Duration,
    response_timeout: Duration,
    last_received: Instant,
    ping_sent: Option<Instant>,
}

/// What time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    Dead,
}

impl Liveness {
    pub(super) fn new(keep_alive_secs: u16, response_timeout: Duration, now: Instant) -> Liveness {
        Liveness {
            keep_alive: KeepAlive::new(keep_alive_secs, now),
            interval: Duration::from_secs(keep_alive_secs.into()),
            response_timeout,
            last_received: now,
            ping_sent: None,
        }
    }

    /// Any packet of the server tells that it lives.
    pub(super) fn received(&mut self, now: Instant) {
        self.keep_alive.received(now);
        self.last_received = now;
        self.ping_sent = None;
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.keep_alive.sent(now);
    }

    pub(super) fn ping_sent(&mut self, now: Instant) {
        self.keep_alive.sent(now);
        self.ping_sent = Some(now);
    }

    /// When [`Liveness::due`] has to be asked next; `None` where Keep Alive is off.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if let Some(sent) = self.ping_sent {
            return Some(sent + self.response_timeout);
        }
        // Who only sends would never learn that the server is gone.
        let silence_ends = self.last_received + self.interval;
        self.keep_alive.ping_due_at().map(|at| at.min(silence_ends))
    }

    pub(super) fn due(&self, now: Instant) -> Due {
        match self.next_deadline() {
            Some(at) if now >= at && self.ping_sent.is_some() => Due::Dead,
            Some(at) if now >= at => Due::Ping,
            _ => Due::Nothing,
        }
    }
}
