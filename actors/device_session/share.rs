//! The part of one session in a gauge of all of them, which ends with the session.

use prometheus::IntGauge;

/// What a session adds to a gauge.
pub struct GaugeShare {
    gauge: IntGauge,
    share: i64,
}

impl GaugeShare {
    /// Nothing yet.
    pub fn new(gauge: IntGauge) -> GaugeShare {
        GaugeShare { gauge, share: 0 }
    }

    /// The session has so many now.
    pub fn set(&mut self, count: usize) {
        let share = i64::try_from(count).unwrap_or(i64::MAX);
        if share != self.share {
            self.gauge.add(share - self.share);
            self.share = share;
        }
    }
}

impl Drop for GaugeShare {
    fn drop(&mut self) {
        self.gauge.sub(self.share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_the_sum_of_its_shares_and_a_session_that_is_gone_has_none() {
        let gauge = IntGauge::new("g", "a gauge").unwrap();
        let (mut first, mut second) = (GaugeShare::new(gauge.clone()), GaugeShare::new(gauge.clone()));
        first.set(5);
        second.set(2);
        first.set(3);
        assert_eq!(gauge.get(), 5);
        drop(second);
        assert_eq!(gauge.get(), 3);
        drop(first);
        assert_eq!(gauge.get(), 0);
    }
}
