//! What is worth an alert: rules as the settings say them, checked.

use std::time::Duration;

use crate::limits;

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertMetric {
    /// The age of the oldest message that the broker has not acknowledged, in seconds.
    OldestUnsentSecs,
    /// How many messages the broker is behind.
    Lag,
    /// For how many seconds an enabled broker is not connected.
    DisconnectedSecs,
    /// How many messages for the broker were dropped in the last minute.
    DroppedPerMinute,
}

impl AlertMetric {
    /// All of them as users write them.
    pub const NAMES: [&'static str; 4] =
        ["oldest_unsent_secs", "lag", "disconnected_secs", "dropped_per_minute"];

    const ALL: [AlertMetric; 4] = [
        AlertMetric::OldestUnsentSecs,
        AlertMetric::Lag,
        AlertMetric::DisconnectedSecs,
        AlertMetric::DroppedPerMinute,
    ];

    /// The metric as users write it.
    pub const fn as_str(self) -> &'static str {
        AlertMetric::NAMES[self as usize]
    }

    /// The metric that users write like this.
    pub fn parse(text: &str) -> Option<AlertMetric> {
        AlertMetric::ALL.into_iter().find(|metric| metric.as_str() == text)
    }
}

/// A checked rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRule {
    /// The name of its alerts; no two rules have the same.
    pub name: String,
    /// The name of the only broker that it is about; `None` for each broker by itself.
    pub broker: Option<String>,
    /// What it looks at.
    pub metric: AlertMetric,
    /// The alert fires where the metric is above this.
    pub above: u64,
    /// For so long without a break.
    pub lasting: Duration,
    /// The alert clears where the metric is below this; `None`: where it is not above [`AlertRule::above`] any more.
    pub clear_below: Option<u64>,
}

impl AlertRule {
    /// Whether the rule is about this broker.
    pub fn applies_to(&self, broker_name: &str) -> bool {
        self.broker.as_ref().is_none_or(|name| name == broker_name)
    }

    /// What is wrong with the rule, beginning with the name of the field.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), String> {
        let chars = self.name.chars().count();
        if chars == 0 || chars > limits::ALERT_NAME_CHARS_MAX || self.name.contains(char::is_control) {
            let most = limits::ALERT_NAME_CHARS_MAX;
            return Err(format!("name must have 1 to {most} characters, and no control characters"));
        }
        if self.broker.as_ref().is_some_and(String::is_empty) {
            return Err("broker must be the name of a broker, or \"*\" for each of them".to_owned());
        }
        match self.clear_below {
            Some(_) if self.metric == AlertMetric::DisconnectedSecs => {
                Err("clear_below cannot be given with disconnected_secs, which clears with the connection"
                    .to_owned())
            }
            Some(0) => Err("clear_below must be 1 or more: nothing is below 0".to_owned()),
            Some(below) if below > self.above => Err(format!(
                "clear_below is {below}; it must not be more than above, which is {}",
                self.above
            )),
            _ => Ok(()),
        }
    }
}

/// Checks rules together.
///
/// # Errors
/// The first thing that is wrong: which rule, and what.
pub fn check_rules(rules: &[AlertRule]) -> Result<(), String> {
    if rules.len() > limits::ALERT_RULES_MAX {
        return Err(format!(
            "there are {} rules; at most {} are allowed",
            rules.len(),
            limits::ALERT_RULES_MAX
        ));
    }
    for (index, rule) in rules.iter().enumerate() {
        rule.check().map_err(|problem| format!("rule {} ({}): {problem}", index + 1, rule.name))?;
        if rules[..index].iter().any(|earlier| earlier.name == rule.name) {
            return Err(format!("rule {}: the name {} is in use by an earlier rule", index + 1, rule.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(metric: AlertMetric, above: u64, clear_below: Option<u64>) -> AlertRule {
        AlertRule { name: "a".to_owned(), broker: None, metric, above, lasting: Duration::ZERO, clear_below }
    }

    #[test]
    fn metrics_are_written_as_they_are_read() {
        for (name, metric) in AlertMetric::NAMES.into_iter().zip(AlertMetric::ALL) {
            assert_eq!((AlertMetric::parse(name), metric.as_str()), (Some(metric), name));
        }
        assert_eq!(AlertMetric::parse("Lag"), None);
    }

    #[test]
    fn a_rule_that_could_never_clear_is_refused() {
        assert_eq!(rule(AlertMetric::Lag, 5, Some(5)).check(), Ok(()));
        for (rule, start) in [
            (rule(AlertMetric::Lag, 5, Some(6)), "clear_below is 6; it must not be more than above"),
            (rule(AlertMetric::Lag, 5, Some(0)), "clear_below must be 1 or more"),
            (rule(AlertMetric::DisconnectedSecs, 5, Some(1)), "clear_below cannot be given"),
            (AlertRule { name: String::new(), ..rule(AlertMetric::Lag, 5, None) }, "name must have"),
            (AlertRule { broker: Some(String::new()), ..rule(AlertMetric::Lag, 5, None) }, "broker must be"),
        ] {
            let problem = rule.check().unwrap_err();
            assert!(problem.starts_with(start), "{problem}");
        }
    }

    #[test]
    fn two_rules_of_one_name_are_refused() {
        let rules = [rule(AlertMetric::Lag, 1, None), rule(AlertMetric::DisconnectedSecs, 1, None)];
        assert_eq!(check_rules(&rules), Err("rule 2: the name a is in use by an earlier rule".to_owned()));
        assert_eq!(check_rules(&rules[..1]), Ok(()));
        let wrong = [rule(AlertMetric::Lag, 1, Some(2))];
        assert!(check_rules(&wrong).unwrap_err().starts_with("rule 1 (a): clear_below"));
    }
}
