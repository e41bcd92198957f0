//! Session expiry: how long a Session outlives its Network Connection.

use std::time::{Duration, Instant};

/// The Session Expiry Interval in force (MQTT 5.0 section 3.1.2.11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpiry {
    interval_secs: u32,
    /// Whether CONNECT asked for 0, which DISCONNECT must not raise, rather than got no more than 0.
    asked_for_none: bool,
}

/// A Client that connected with 0 must not ask for more at DISCONNECT: a Protocol Error (section 3.14.2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryCannotBeRaised;

impl SessionExpiry {
    /// This value never ends.
    pub const NEVER: u32 = u32::MAX;

    /// For MQTT 5.0: the interval of CONNECT (absent means 0), at most `interval_secs_max`.
    pub fn from_connect(interval_secs: Option<u32>, interval_secs_max: u32) -> SessionExpiry {
        let asked_secs = interval_secs.unwrap_or(0);
        SessionExpiry { interval_secs: asked_secs.min(interval_secs_max), asked_for_none: asked_secs == 0 }
    }

    /// For MQTT 3.1.1: Clean Session 1 ends with the connection, Clean Session 0 lasts as long as the
    /// Server keeps sessions at all.
    pub fn from_clean_session(clean_session: bool, interval_secs_max: u32) -> SessionExpiry {
        let interval_secs = if clean_session { 0 } else { interval_secs_max };
        SessionExpiry { interval_secs, asked_for_none: clean_session }
    }

    /// DISCONNECT carried a new interval.
    ///
    /// # Errors
    /// Where CONNECT asked for 0 and this is more.
    pub fn change_at_disconnect(
        &mut self,
        interval_secs: u32,
        interval_secs_max: u32,
    ) -> Result<(), ExpiryCannotBeRaised> {
        if self.asked_for_none && interval_secs != 0 {
            return Err(ExpiryCannotBeRaised);
        }
        self.interval_secs = interval_secs.min(interval_secs_max);
        Ok(())
    }

    /// The interval in seconds.
    pub fn interval_secs(self) -> u32 {
        self.interval_secs
    }

    /// Whether the Session ends with its connection.
    pub fn ends_with_connection(self) -> bool {
        self.interval_secs == 0
    }

    /// When a Session without connection since `disconnected_at` ends; `None` for never.
    pub fn ends_at(self, disconnected_at: Instant) -> Option<Instant> {
        let lasting =
            (self.interval_secs != Self::NEVER).then(|| Duration::from_secs(self.interval_secs.into()));
        disconnected_at.checked_add(lasting?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_shortens_what_is_longer_than_it_keeps_sessions() {
        assert_eq!(SessionExpiry::from_connect(Some(SessionExpiry::NEVER), 3_600).interval_secs(), 3_600);
        assert_eq!(SessionExpiry::from_connect(Some(60), 3_600).interval_secs(), 60);
        assert!(SessionExpiry::from_connect(None, 3_600).ends_with_connection());
        assert!(SessionExpiry::from_clean_session(true, 3_600).ends_with_connection());
        assert_eq!(SessionExpiry::from_clean_session(false, 3_600).interval_secs(), 3_600);
    }

    #[test]
    fn disconnect_may_change_the_interval_unless_it_was_zero() {
        let mut expiry = SessionExpiry::from_connect(Some(60), 3_600);
        assert_eq!(expiry.change_at_disconnect(7_200, 3_600), Ok(()));
        assert_eq!(expiry.interval_secs(), 3_600);
        assert_eq!(expiry.change_at_disconnect(0, 3_600), Ok(()));
        assert!(expiry.ends_with_connection());
        let mut none = SessionExpiry::from_connect(None, 3_600);
        assert_eq!(none.change_at_disconnect(0, 3_600), Ok(()));
        assert_eq!(none.change_at_disconnect(1, 3_600), Err(ExpiryCannotBeRaised));
        let mut shortened = SessionExpiry::from_connect(Some(60), 0);
        assert_eq!(shortened.change_at_disconnect(1, 0), Ok(()), "CONNECT did not ask for 0");
        assert!(shortened.ends_with_connection());
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn a_session_ends_after_its_interval_or_never() {
        let now = Instant::now();
        assert_eq!(SessionExpiry::from_connect(Some(5), 10).ends_at(now), Some(now + Duration::from_secs(5)));
        assert_eq!(SessionExpiry::from_connect(Some(SessionExpiry::NEVER), u32::MAX).ends_at(now), None);
    }
}
