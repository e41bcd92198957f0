//! How much there is in a minute, as moving averages over 1, 5 and 15 minutes. Time is an input.

use std::time::Duration;

/// The averages of one counter: each look moves them towards the rate since the last look, the more the longer that
/// is ago, as exp(-t/T) has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// What the counter was at the last look.
    counted: u64,
    /// Per minute, over the periods of [`PERIODS`].
    averages: [f64; PERIODS.len()],
}

/// The last level of the topics, and the period in minutes.
pub const PERIODS: [(&str, f64); 3] = [("1min", 1.0), ("5min", 5.0), ("15min", 15.0)];

impl Load {
    /// The counter is so high now, this long after the last look. A counter that went down started anew.
    pub fn look(&mut self, counter: u64, elapsed: Duration) {
        let minutes = elapsed.as_secs_f64() / 60.0;
        if minutes <= 0.0 {
            return;
        }
        let rate = counter.saturating_sub(self.counted) as f64 / minutes;
        self.counted = counter;
        for (average, (_, period_minutes)) in self.averages.iter_mut().zip(PERIODS) {
            *average = rate + (*average - rate) * (-minutes / period_minutes).exp();
        }
    }

    /// The averages with the names of their periods.
    pub fn averages(&self) -> impl Iterator<Item = (&'static str, f64)> {
        PERIODS.into_iter().zip(self.averages).map(|((name, _), average)| (name, average))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_at(looks: &[(u64, u64)]) -> [String; 3] {
        let mut load = Load::default();
        for (counter, elapsed_secs) in looks {
            load.look(*counter, Duration::from_secs(*elapsed_secs));
        }
        load.averages.map(|average| format!("{average:.2}"))
    }

    #[test]
    fn the_first_look_begins_at_nothing() {
        // 10 in 10 s are 60 in a minute: 60 * (1 - exp(-10 / 60 / T)).
        assert_eq!(looked_at(&[(10, 10)]), ["9.21", "1.97", "0.66"]);
    }

    #[test]
    fn a_steady_rate_is_where_the_averages_end() {
        let steady: Vec<_> = (1..=1_000).map(|look| (look * 7, 10)).collect();
        assert_eq!(looked_at(&steady[..]), ["42.00", "42.00", "42.00"].map(str::to_owned));
    }

    #[test]
    fn silence_halves_each_average_in_its_own_half_life() {
        let mut looks: Vec<_> = (1..=1_000).map(|look| (look * 10, 10)).collect();
        // ln 2 minutes are 41.6 s.
        looks.push((10_000, 42));
        let [one, five, fifteen] = looked_at(&looks);
        assert_eq!([one, five, fifteen], ["29.80", "52.16", "57.26"]);
    }

    #[test]
    fn many_short_looks_come_to_the_same_as_one_long_one_where_the_rate_is_the_same() {
        let short: Vec<_> = (1..=60).map(|look| (look, 1)).collect();
        assert_eq!(looked_at(&short), looked_at(&[(60, 60)]));
    }

    #[test]
    fn no_time_changes_nothing_and_a_counter_that_began_anew_counts_for_nothing() {
        let mut load = Load::default();
        load.look(100, Duration::ZERO);
        assert_eq!(load, Load::default());
        load.look(100, Duration::from_secs(60));
        let before = load.averages;
        load.look(5, Duration::from_secs(60));
        assert!(load.averages.iter().zip(before).all(|(after, before)| *after < before && after.is_finite()));
    }

    #[test]
    fn averages_carry_the_names_of_their_periods() {
        let names: Vec<_> = Load::default().averages().map(|(name, _)| name).collect();
        assert_eq!(names, ["1min", "5min", "15min"]);
    }
}
