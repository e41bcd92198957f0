//! Holds something to so many times a second, with as many at once after a pause. Pure: the time is an input.

use std::time::{Duration, Instant};

/// A bucket of tokens. A token is a piece of time: each use moves on the moment at which the bucket would be full again,
/// and that lies at most a second ahead.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    cost: Duration,
    full_at: Instant,
}

/// How much time a full bucket holds.
const CAPACITY: Duration = Duration::from_secs(1);

impl TokenBucket {
    /// A full bucket for `per_second` uses a second; `None` where that is 0, which is no bound.
    pub fn new(per_second: u32, now: Instant) -> Option<TokenBucket> {
        // Nanoseconds are fine enough for any rate that a client can reach.
        let cost = CAPACITY.checked_div(per_second)?.max(Duration::from_nanos(1));
        Some(TokenBucket { cost, full_at: now })
    }

    /// Takes a token.
    ///
    /// # Errors
    /// Where there is none: when there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let full_at = self.full_at.max(now) + self.cost;
        if full_at > now + CAPACITY {
            return Err(full_at.checked_sub(CAPACITY).unwrap_or(now));
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(bucket: &mut TokenBucket, now: Instant) -> u32 {
        let mut count = 0;
        while bucket.take(now).is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn a_full_bucket_holds_a_second_and_no_more_after_a_long_pause() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, start).expect("a bound");
        assert_eq!(taken(&mut bucket, start), 10);
        assert_eq!(bucket.take(start), Err(start + Duration::from_millis(100)));
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(300)), 3);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3_600)), 10);
    }

    #[test]
    fn no_bound_needs_no_bucket() {
        assert!(TokenBucket::new(0, Instant::now()).is_none());
    }

    proptest! {
        #[test]
        fn in_any_time_pass_no_more_than_the_rate_and_one_burst(
            per_second in 1u32..5_000, pauses in prop::collection::vec(0u64..400, 1..60),
        ) {
            let start = Instant::now();
            let mut bucket = TokenBucket::new(per_second, start).expect("a bound");
            let (mut now, mut count) = (start, 0);
            for pause in pauses {
                now += Duration::from_millis(pause);
                count += taken(&mut bucket, now);
                let next = bucket.take(now).expect_err("all are taken");
                prop_assert!(next > now && next <= now + CAPACITY);
                let mut later = bucket;
                prop_assert!(later.take(next).is_ok());
            }
            let allowed = f64::from(per_second) * ((now - start).as_secs_f64() + 1.0);
            // The cost of one is rounded down to nanoseconds.
            prop_assert!(f64::from(count) <= allowed * 1.000_01 + 1.0);
        }
    }
}
