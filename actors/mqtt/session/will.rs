//! The Will: whether and when it is published once the connection has ended.

use std::time::{Duration, Instant};

use super::SessionExpiry;

/// How a Network Connection ended, as far as the Will is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// DISCONNECT with Reason Code 0x00: the Will is deleted `[MQTT-3.14.4-3]`.
    Normal,
    /// Anything else: the network, a Protocol Error, Keep Alive, takeover, "Disconnect with Will Message".
    Abnormal,
}

/// What becomes of a Will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WillMoment {
    /// It is deleted unpublished.
    Never,
    /// It is published now.
    Now,
    /// It is published then, unless the Session is resumed before.
    At(Instant),
}

/// Decides a Will: after the Will Delay Interval or when the Session ends, whichever comes first
/// `[MQTT-3.1.3-9]`, `[MQTT-3.1.2-8]`.
pub fn will_moment(
    end: SessionEnd,
    will_delay_interval_secs: u32,
    expiry: SessionExpiry,
    disconnected_at: Instant,
) -> WillMoment {
    if end == SessionEnd::Normal {
        return WillMoment::Never;
    }
    let delay_secs = will_delay_interval_secs.min(expiry.interval_secs());
    if delay_secs == 0 {
        return WillMoment::Now;
    }
    match disconnected_at.checked_add(Duration::from_secs(delay_secs.into())) {
        Some(at) => WillMoment::At(at),
        None => WillMoment::Never,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    #[test]
    fn a_normal_disconnect_deletes_the_will() {
        let expiry = SessionExpiry::from_connect(Some(60), 60);
        assert_eq!(will_moment(SessionEnd::Normal, 0, expiry, Instant::now()), WillMoment::Never);
    }

    #[test]
    fn the_will_waits_for_its_delay_but_not_past_the_session() {
        let now = Instant::now();
        let short = SessionExpiry::from_connect(Some(5), 60);
        let none = SessionExpiry::from_connect(None, 60);
        assert_eq!(will_moment(SessionEnd::Abnormal, 0, short, now), WillMoment::Now);
        assert_eq!(
            will_moment(SessionEnd::Abnormal, 3, short, now),
            WillMoment::At(now + Duration::from_secs(3))
        );
        assert_eq!(
            will_moment(SessionEnd::Abnormal, 30, short, now),
            WillMoment::At(now + Duration::from_secs(5))
        );
        assert_eq!(will_moment(SessionEnd::Abnormal, 30, none, now), WillMoment::Now);
    }
}
