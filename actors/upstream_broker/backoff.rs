//! How long to wait before the next attempt: exponential with full jitter. Pure: chance is an input.

use std::time::Duration;

/// The attempts since the last success.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    floor: Duration,
    ceiling: Duration,
    failures: u32,
}

impl Backoff {
    /// The wait is drawn from `floor` up to a limit that starts at twice `floor`, doubles with each failure
    /// and stays below `ceiling`.
    pub const fn new(floor: Duration, ceiling: Duration) -> Backoff {
        Backoff { floor, ceiling, failures: 0 }
    }

    /// One more failure; how long to wait now. `chance` is evenly distributed in 0.0 to 1.0.
    pub fn failed(&mut self, chance: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doubled = 2_u32.checked_pow(self.failures).and_then(|factor| self.floor.checked_mul(factor));
        let limit = doubled.unwrap_or(self.ceiling).min(self.ceiling);
        self.floor + limit.saturating_sub(self.floor).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// A success that lasted: the next failure starts over.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// An evenly distributed number in 0.0 to 1.0.
pub fn chance() -> f64 {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    // The version bits of the identifier stand in the low 16 bits of this half: the upper 32 are random.
    (random >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn waits_double_up_to_the_ceiling_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(MS(100), MS(1_000));
        let longest: Vec<_> = (0..6).map(|_| backoff.failed(1.0)).collect();
        assert_eq!(longest, [MS(200), MS(400), MS(800), MS(1_000), MS(1_000), MS(1_000)]);
        backoff.succeeded();
        assert_eq!(backoff.failed(1.0), MS(200));
    }

    #[test]
    fn jitter_spreads_from_the_floor() {
        let mut backoff = Backoff::new(MS(100), MS(60_000));
        assert_eq!(backoff.failed(0.0), MS(100));
        assert_eq!(backoff.failed(0.5), MS(250));
        for _ in 0..100 {
            backoff.failed(0.5);
        }
        assert_eq!(backoff.failed(0.0), MS(100), "no overflow after many failures");
    }

    #[test]
    fn chance_stays_within_its_range() {
        let drawn: Vec<f64> = (0..1_000).map(|_| chance()).collect();
        assert!(drawn.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(drawn.iter().any(|value| *value < 0.2) && drawn.iter().any(|value| *value > 0.8));
    }
}
