//! Alerts on their way to the webhook: those of one rule and broker in their order, and never more than a bound. Pure.

use std::collections::{HashMap, VecDeque};

use super::machine::Alert;
use crate::limits;

/// What waits to be delivered.
#[derive(Default)]
pub struct Mail {
    /// By rule and broker, oldest first; never empty.
    waiting: HashMap<Key, VecDeque<Alert>>,
    /// Whose turn it is.
    turns: VecDeque<Key>,
    /// Whether the first one of the first turn is on its way.
    is_under_way: bool,
}

type Key = (String, String);

impl Mail {
    /// Takes an alert. Where a firing and a resolved one wait already and nobody has heard of either, the new one
    /// says all there is to say. Answers with an alert that there is no room for any more.
    pub fn push(&mut self, alert: Alert) -> Option<Alert> {
        let key = (alert.rule.clone(), alert.broker.clone());
        let is_first = self.turns.front() == Some(&key);
        let under_way = usize::from(is_first && self.is_under_way);
        let Some(alerts) = self.waiting.get_mut(&key) else {
            self.turns.push_back(key.clone());
            self.waiting.insert(key, VecDeque::from([alert]));
            return self.overflow();
        };
        if alerts.len() - under_way >= 2 {
            alerts.truncate(under_way);
        }
        alerts.push_back(alert);
        None
    }

    /// Lets go of the one that waits longest.
    fn overflow(&mut self) -> Option<Alert> {
        if self.turns.len() <= limits::ALERTS_WAITING_MAX {
            return None;
        }
        // What is on its way is not waiting any more.
        let key = self.turns.remove(usize::from(self.is_under_way))?;
        self.waiting.remove(&key)?.pop_back()
    }

    /// The next alert; it is under way until [`Mail::delivered`] or [`Mail::failed`].
    pub fn send(&mut self) -> Option<Alert> {
        let alert = self.waiting.get(self.turns.front()?)?.front()?.clone();
        self.is_under_way = true;
        Some(alert)
    }

    /// What was under way has arrived.
    pub fn delivered(&mut self) {
        self.is_under_way = false;
        let Some(key) = self.turns.pop_front() else { return };
        let Some(alerts) = self.waiting.get_mut(&key) else { return };
        alerts.pop_front();
        match alerts.is_empty() {
            true => drop(self.waiting.remove(&key)),
            false => self.turns.push_back(key),
        }
    }

    /// What was under way has not arrived: the others have their turn first, in case it is the alert's own fault.
    pub fn failed(&mut self) {
        self.is_under_way = false;
        self.turns.rotate_left(usize::from(!self.turns.is_empty()));
    }

    /// Everything that waits, in an order in which it can be pushed again.
    pub fn all(&self) -> Vec<Alert> {
        self.turns.iter().flat_map(|key| self.waiting.get(key)).flatten().cloned().collect()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::machine::AlertState;
    use super::super::rule::AlertMetric;
    use super::*;
    use crate::BrokerId;

    fn alert(rule: &str, number: u64) -> Alert {
        Alert {
            rule: rule.to_owned(),
            state: if number.is_multiple_of(2) { AlertState::Firing } else { AlertState::Resolved },
            broker_id: BrokerId(Uuid::from_u128(1)),
            broker: "b".to_owned(),
            metric: AlertMetric::Lag,
            value: number,
            threshold: 1,
            since_micros: 0,
            at_micros: number,
            is_moot: false,
        }
    }

    fn values(mail: &Mail) -> Vec<u64> {
        mail.all().iter().map(|alert| alert.value).collect()
    }

    #[test]
    fn alerts_of_one_kind_arrive_in_their_order() {
        let mut mail = Mail::default();
        mail.push(alert("a", 0));
        mail.push(alert("a", 1));
        mail.push(alert("b", 10));
        for value in [0, 10, 1] {
            assert_eq!(mail.send().map(|alert| alert.value), Some(value));
            mail.delivered();
        }
        assert!(mail.is_empty() && mail.send().is_none());
    }

    #[test]
    fn one_that_nobody_takes_does_not_stop_the_others() {
        let mut mail = Mail::default();
        mail.push(alert("a", 0));
        mail.push(alert("b", 10));
        assert_eq!(mail.send().map(|alert| alert.value), Some(0));
        mail.failed();
        assert_eq!(mail.send().map(|alert| alert.value), Some(10));
        mail.delivered();
        assert_eq!(mail.send().map(|alert| alert.value), Some(0));
    }

    #[test]
    fn what_nobody_has_heard_of_is_replaced_by_what_is_new() {
        let mut mail = Mail::default();
        for number in 0..=2 {
            mail.push(alert("a", number));
        }
        assert_eq!(values(&mail), [2]);
        mail.send();
        for number in 3..=5 {
            mail.push(alert("a", number));
        }
        assert_eq!(values(&mail), [2, 5], "what is under way stays");
        mail.delivered();
        assert_eq!(values(&mail), [5]);
    }

    #[test]
    fn the_oldest_goes_where_there_are_too_many() {
        let mut mail = Mail::default();
        let push = |mail: &mut Mail, number: usize| mail.push(alert(&number.to_string(), number as u64));
        for number in 0..limits::ALERTS_WAITING_MAX {
            assert_eq!(push(&mut mail, number), None);
        }
        mail.send();
        let lost = push(&mut mail, limits::ALERTS_WAITING_MAX).expect("one too many");
        assert_eq!(lost.value, 1, "the very first one is under way");
        mail.delivered();
        assert_eq!(mail.all().len(), limits::ALERTS_WAITING_MAX - 1);
    }

    proptest! {
        #[test]
        fn the_last_word_always_arrives_and_never_before_an_earlier_one(
            steps in proptest::collection::vec((0_u8..4, any::<bool>()), 1..200),
        ) {
            let (mut mail, mut pushed, mut arrived) = (Mail::default(), [0_u64; 3], [0_u64; 3]);
            let take = |mail: &mut Mail, works: bool, arrived: &mut [u64; 3]| {
                let Some(alert) = mail.send() else { return };
                let index: usize = alert.rule.parse().expect("a number");
                if works {
                    mail.delivered();
                    assert!(alert.value > arrived[index], "in order");
                    arrived[index] = alert.value;
                } else {
                    mail.failed();
                }
            };
            for (step, works) in steps {
                match usize::from(step) {
                    3 => take(&mut mail, works, &mut arrived),
                    index => {
                        pushed[index] += 1;
                        mail.push(alert(&index.to_string(), pushed[index]));
                    }
                }
                prop_assert!(mail.all().len() <= 9);
            }
            while !mail.is_empty() {
                take(&mut mail, true, &mut arrived);
            }
            prop_assert_eq!(arrived, pushed);
        }
    }
}
