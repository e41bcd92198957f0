//! Fields: how the connection is looked after.

use std::time::Duration;

use mqtt::TopicName;
use serde_json::Value;

use super::field::{Field, Kind, put};
use super::given;
use crate::broker::{Broker, GroupMembership, LoopGuardChoice, Retry};
use crate::limits;

/// A day: nobody waits longer on purpose.
const DAY_MS: u64 = 24 * 3_600 * 1_000;
const DAY_SECS: u64 = 24 * 3_600;

/// The table.
pub const FIELDS: &[Field] = &[
    Field {
        name: "loop_guard",
        kind: Kind::Text,
        set: |broker, value| {
            let allowed = "\"auto\", \"credits\", \"bridge\" or \"off\"";
            broker.loop_guard = given::choice(value, LoopGuardChoice::parse, allowed)?;
            Ok(())
        },
        get: |broker| broker.loop_guard.as_str().into(),
    },
    Field {
        name: "stamp_origin",
        kind: Kind::Boolean,
        set: |broker, value| put(&mut broker.stamp_origin, given::optional_boolean(value)?),
        get: |broker| broker.stamp_origin.into(),
    },
    Field {
        name: "retry_floor_ms",
        kind: Kind::Number,
        set: |broker, value| put(&mut broker.retry.floor, millis(value)?),
        get: |broker| millis_shown(broker.retry.floor),
    },
    Field {
        name: "retry_ceiling_ms",
        kind: Kind::Number,
        set: |broker, value| put(&mut broker.retry.ceiling, millis(value)?),
        get: |broker| millis_shown(broker.retry.ceiling),
    },
    Field {
        name: "retry_denied_ms",
        kind: Kind::Number,
        set: |broker, value| put(&mut broker.retry.denied, millis(value)?),
        get: |broker| millis_shown(broker.retry.denied),
    },
    Field {
        name: "stable_secs",
        kind: Kind::Number,
        set: |broker, value| {
            broker.retry.stable = Duration::from_secs(given::number(value, 0..=DAY_SECS)?);
            Ok(())
        },
        get: |broker: &Broker| {
            let Retry { stable, .. } = broker.retry;
            stable.as_secs().into()
        },
    },
    Field {
        name: "group",
        kind: Kind::Text,
        set: set_group,
        get: |broker| broker.group.as_ref().map(|group| group.name.clone()).into(),
    },
    Field {
        name: "group_priority",
        kind: Kind::Number,
        set: |broker, value| {
            let priority = given::number(value, 0..=u32::MAX.into())? as u32;
            match &mut broker.group {
                Some(group) => put(&mut group.priority, priority),
                None => Err("has a meaning with group only".to_owned()),
            }
        },
        get: |broker| broker.group.as_ref().map_or(0, |group| group.priority).into(),
    },
    Field {
        name: "canary_interval_secs",
        kind: Kind::Number,
        set: |broker, value| {
            let secs = given::number(value, 0..=DAY_SECS)?;
            broker.health.canary_interval = (secs > 0).then(|| Duration::from_secs(secs));
            Ok(())
        },
        get: |broker| broker.health.canary_interval.map_or(0, |interval| interval.as_secs()).into(),
    },
    Field {
        name: "canary_topic",
        kind: Kind::Text,
        set: set_canary_topic,
        get: |broker| broker.health.canary_topic.clone().into(),
    },
    Field {
        name: "degraded_unsent_secs",
        kind: Kind::Number,
        set: |broker, value| {
            let secs = given::optional_number(value, 1..=u32::MAX.into())?;
            broker.health.degraded_unsent = secs.map(Duration::from_secs);
            Ok(())
        },
        get: |broker| broker.health.degraded_unsent.map(|age| age.as_secs()).into(),
    },
    Field {
        name: "degraded_lag",
        kind: Kind::Number,
        set: |broker, value| {
            put(&mut broker.health.degraded_lag, given::optional_number(value, 1..=u64::MAX)?)
        },
        get: |broker| broker.health.degraded_lag.into(),
    },
];

fn millis(value: Value) -> Result<Duration, String> {
    given::number(value, 10..=DAY_MS).map(Duration::from_millis)
}

fn millis_shown(duration: Duration) -> Value {
    (duration.as_millis() as u64).into()
}

fn set_group(broker: &mut Broker, value: Value) -> Result<(), String> {
    let Some(name) = given::optional_text(value)? else {
        broker.group = None;
        return Ok(());
    };
    let name = name.trim();
    let max = limits::BROKER_NAME_CHARS_MAX;
    if name.is_empty() || name.chars().count() > max || name.chars().any(char::is_control) {
        return Err(format!("must have 1 to {max} characters without control characters"));
    }
    let priority = broker.group.as_ref().map_or(0, |group| group.priority);
    broker.group = Some(GroupMembership { name: name.to_owned(), priority });
    Ok(())
}

fn set_canary_topic(broker: &mut Broker, value: Value) -> Result<(), String> {
    let topic = given::optional_text(value)?;
    if let Some(topic) = &topic
        && let Err(error) = TopicName::new(topic.as_str())
    {
        return Err(format!("{topic:?}: {error}"));
    }
    broker.health.canary_topic = topic;
    Ok(())
}
