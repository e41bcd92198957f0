//! Which alerts fire and clear: each once. Pure: readings and the time come in, alerts go out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::rule::{AlertMetric, AlertRule};
use crate::{BrokerId, limits};

/// The time in which drops are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Which way an alert went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
}

impl AlertState {
    /// The state as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            AlertState::Firing => "firing",
            AlertState::Resolved => "resolved",
        }
    }
}

/// An alert that fires or clears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The rule's name.
    pub rule: String,
    /// Which way it went.
    pub state: AlertState,
    /// Which broker.
    pub broker_id: BrokerId,
    /// The broker's name at the time when the alert fired.
    pub broker: String,
    /// What the rule looks at.
    pub metric: AlertMetric,
    /// The metric now; 0 where there is no such broker any more.
    pub value: u64,
    /// The rule's bound.
    pub threshold: u64,
    /// When the metric went above the bound, in microseconds since the Unix epoch.
    pub since_micros: u64,
    /// When the alert fired or cleared, in microseconds since the Unix epoch.
    pub at_micros: u64,
    /// It clears because the broker is removed, disabled or renamed, or the rule is no more.
    pub is_moot: bool,
}

/// How one enabled broker is at the moment.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Which broker.
    pub id: BrokerId,
    /// Its name.
    pub name: String,
    /// The age of the oldest message that it has not acknowledged; zero where there is none.
    pub oldest_unsent: Duration,
    /// How many messages it is behind.
    pub lag: u64,
    /// For how long it has not been connected; `None` while it is.
    pub disconnected: Option<Duration>,
    /// Messages for it that were dropped since the start.
    pub dropped: u64,
}

/// The machine.
pub struct AlertMachine {
    rules: Vec<AlertRule>,
    /// Those above their bound, but not for long enough.
    pending: HashMap<Key, Pending>,
    firing: HashMap<Key, Firing>,
    drops: HashMap<BrokerId, Drops>,
    /// Whether there was a look before.
    has_looked: bool,
}

/// An alert: which rule, and which broker under which name.
type Key = (String, BrokerId, String);

#[derive(Clone, Copy)]
struct Pending {
    since: Instant,
    since_micros: u64,
}

struct Firing {
    alert: Alert,
    /// One of before a restart does not clear until there was time for everything to be known again.
    held_until: Option<Instant>,
}

/// What was dropped for a broker, as it was seen within the last minute.
struct Drops {
    seen: VecDeque<(Instant, u64)>,
}

impl AlertMachine {
    /// Nothing fires yet.
    pub fn new(rules: Vec<AlertRule>) -> AlertMachine {
        AlertMachine {
            rules,
            pending: HashMap::new(),
            firing: HashMap::new(),
            drops: HashMap::new(),
            has_looked: false,
        }
    }

    /// What fired before a restart still does, and clears when it is over.
    pub fn restored(mut self, firing: Vec<Alert>, now: Instant) -> AlertMachine {
        for alert in firing {
            let held_until = Some(now + limits::ALERT_RESTORE_PAUSE);
            self.firing.insert(key_of(&alert), Firing { alert, held_until });
        }
        self
    }

    /// What fires, in the order of time.
    pub fn firing(&self) -> Vec<Alert> {
        let mut firing: Vec<Alert> = self.firing.values().map(|firing| firing.alert.clone()).collect();
        firing.sort_by(|left, right| {
            (left.at_micros, &left.rule, &left.broker).cmp(&(right.at_micros, &right.rule, &right.broker))
        });
        firing
    }

    /// A look at all enabled brokers; answers with what fires or clears now. `now_micros` is the time since the Unix
    /// epoch.
    pub fn look(&mut self, now: Instant, now_micros: u64, readings: &[Reading]) -> Vec<Alert> {
        let mut alerts = self.clear_moot(now_micros, readings);
        // What was dropped before the very first look was dropped since the start of the process, so just now.
        let count_all = !std::mem::replace(&mut self.has_looked, true);
        for reading in readings {
            let first = if count_all { 0 } else { reading.dropped };
            let drops = self.drops.entry(reading.id).or_insert_with(|| Drops::counting_from(now, first));
            drops.see(now, reading.dropped);
        }
        self.drops.retain(|id, _| readings.iter().any(|reading| reading.id == *id));
        for rule in &self.rules {
            for reading in readings.iter().filter(|reading| rule.applies_to(&reading.name)) {
                let dropped = self.drops.get(&reading.id).map_or(0, Drops::of_last_minute);
                let value = value_of(rule.metric, reading, dropped);
                let key = (rule.name.clone(), reading.id, reading.name.clone());
                if let Some(firing) = self.firing.get(&key) {
                    if firing.held_until.is_none_or(|until| now >= until) && is_over(rule, reading, value) {
                        alerts.push(resolved(&firing.alert, value, now_micros, false));
                        self.firing.remove(&key);
                    }
                } else if value <= rule.above {
                    self.pending.remove(&key);
                } else {
                    let pending = Pending { since: now, since_micros: now_micros };
                    let pending = *self.pending.entry(key.clone()).or_insert(pending);
                    if now.saturating_duration_since(pending.since) >= rule.lasting {
                        self.pending.remove(&key);
                        let alert = fired(rule, reading, value, pending.since_micros, now_micros);
                        alerts.push(alert.clone());
                        self.firing.insert(key, Firing { alert, held_until: None });
                    }
                }
            }
        }
        alerts
    }

    /// Ends what no rule or broker stands behind any more.
    fn clear_moot(&mut self, now_micros: u64, readings: &[Reading]) -> Vec<Alert> {
        let brokers: HashSet<(BrokerId, &str)> =
            readings.iter().map(|reading| (reading.id, reading.name.as_str())).collect();
        let rules = &self.rules;
        let stands = |(rule_name, id, name): &Key| {
            let is_rule = |rule: &AlertRule| rule.name == *rule_name && rule.applies_to(name);
            brokers.contains(&(*id, name.as_str())) && rules.iter().any(is_rule)
        };
        self.pending.retain(|key, _| stands(key));
        let moot = self.firing.extract_if(|key, _| !stands(key));
        let mut alerts: Vec<Alert> =
            moot.map(|(_, firing)| resolved(&firing.alert, 0, now_micros, true)).collect();
        alerts.sort_by(|left, right| (&left.rule, &left.broker).cmp(&(&right.rule, &right.broker)));
        alerts
    }
}

fn key_of(alert: &Alert) -> Key {
    (alert.rule.clone(), alert.broker_id, alert.broker.clone())
}

fn value_of(metric: AlertMetric, reading: &Reading, dropped_of_last_minute: u64) -> u64 {
    match metric {
        AlertMetric::OldestUnsentSecs => reading.oldest_unsent.as_secs(),
        AlertMetric::Lag => reading.lag,
        AlertMetric::DisconnectedSecs => reading.disconnected.map_or(0, |since| since.as_secs()),
        AlertMetric::DroppedPerMinute => dropped_of_last_minute,
    }
}

/// Whether an alert that fires is over.
fn is_over(rule: &AlertRule, reading: &Reading, value: u64) -> bool {
    match (rule.metric, rule.clear_below) {
        // After a restart the time begins anew, but that is no connection.
        (AlertMetric::DisconnectedSecs, _) => reading.disconnected.is_none(),
        (_, Some(below)) => value < below,
        (_, None) => value <= rule.above,
    }
}

fn fired(rule: &AlertRule, reading: &Reading, value: u64, since_micros: u64, at_micros: u64) -> Alert {
    Alert {
        rule: rule.name.clone(),
        state: AlertState::Firing,
        broker_id: reading.id,
        broker: reading.name.clone(),
        metric: rule.metric,
        value,
        threshold: rule.above,
        since_micros,
        at_micros,
        is_moot: false,
    }
}

fn resolved(alert: &Alert, value: u64, at_micros: u64, is_moot: bool) -> Alert {
    Alert { state: AlertState::Resolved, value, at_micros, is_moot, ..alert.clone() }
}

impl Drops {
    fn counting_from(now: Instant, total: u64) -> Drops {
        Drops { seen: VecDeque::from([(now, total)]) }
    }

    fn see(&mut self, now: Instant, total: u64) {
        self.seen.push_back((now, total));
        // One that is a minute old stays: it is what the minute is counted from.
        while self.seen.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= MINUTE)
            || self.seen.len() > limits::ALERT_DROP_LOOKS_MAX
        {
            self.seen.pop_front();
        }
    }

    fn of_last_minute(&self) -> u64 {
        match (self.seen.front(), self.seen.back()) {
            (Some((_, first)), Some((_, last))) => last.saturating_sub(*first),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests;
