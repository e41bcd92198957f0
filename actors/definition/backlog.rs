//! Fields: what the log keeps for the broker.

use serde_json::Value;

use super::field::{Field, Kind, put};
use super::given;
use crate::broker::{Broker, OnFull};
use crate::limits;
use crate::start_position::StartPosition;

/// The table.
pub const FIELDS: &[Field] = &[
    Field {
        name: "start_at",
        kind: Kind::TextOrNumber,
        set: set_start_at,
        get: |broker| broker.backlog.start_at.to_string().into(),
    },
    Field {
        name: "queue_bytes_max",
        kind: Kind::Number,
        set: |broker, value| {
            let (bytes, min) = (given::optional_number(value, 0..=u64::MAX)?, limits::BROKER_QUEUE_BYTES_MIN);
            if bytes.is_some_and(|bytes| bytes < min) {
                return Err(format!("must be {min} or more"));
            }
            broker.backlog.queue_bytes_max = bytes;
            Ok(())
        },
        get: |broker| broker.backlog.queue_bytes_max.into(),
    },
    Field {
        name: "on_full",
        kind: Kind::Text,
        set: |broker, value| {
            broker.backlog.on_full = match given::optional_text(value)? {
                None => OnFull::default(),
                Some(text) => given::choice(text.into(), OnFull::parse, "\"drop_oldest\" or \"reject\"")?,
            };
            Ok(())
        },
        get: |broker| broker.backlog.on_full.as_str().into(),
    },
    Field {
        name: "max_rate_messages",
        kind: Kind::Number,
        set: |broker, value| {
            let rate = given::optional_number(value, 1..=u32::MAX.into())?;
            broker.backlog.max_rate_messages = rate.map(|rate| rate as u32);
            Ok(())
        },
        get: |broker| broker.backlog.max_rate_messages.into(),
    },
    Field {
        name: "max_rate_bytes",
        kind: Kind::Number,
        set: |broker, value| {
            let rate = given::optional_number(value, 0..=u64::MAX)?;
            if rate == Some(0) {
                return Err("must be 1 or more".to_owned());
            }
            broker.backlog.max_rate_bytes = rate;
            Ok(())
        },
        get: |broker| broker.backlog.max_rate_bytes.into(),
    },
    Field {
        name: "live_first",
        kind: Kind::Boolean,
        set: |broker, value| put(&mut broker.backlog.live_first, given::boolean(value)?),
        get: |broker| broker.backlog.live_first.into(),
    },
];

fn set_start_at(broker: &mut Broker, value: Value) -> Result<(), String> {
    let text = given::text_or_number(value)?;
    broker.backlog.start_at = match text.as_str() {
        "" => StartPosition::default(),
        text => {
            StartPosition::parse(text).ok_or_else(|| format!("{text:?} is not {}", StartPosition::ALLOWED))?
        }
    };
    Ok(())
}
