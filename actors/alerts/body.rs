//! An alert as JSON: the body of the webhook, the payload of its topic, and a line of the ledger.

use serde_json::{Value, json};
use uuid::Uuid;

use super::machine::{Alert, AlertState};
use super::rule::AlertMetric;
use crate::BrokerId;
use crate::timestamp::{format_rfc3339, parse_rfc3339};

/// The alert as others see it.
pub fn body_of(alert: &Alert) -> String {
    shown(alert).to_string()
}

fn shown(alert: &Alert) -> Value {
    json!({
        "alert": alert.rule,
        "state": alert.state.as_str(),
        "broker": alert.broker,
        "metric": alert.metric.as_str(),
        "value": alert.value,
        "threshold": alert.threshold,
        "since": format_rfc3339(alert.since_micros),
        "at": format_rfc3339(alert.at_micros),
    })
}

/// The alert with all that must be known of it after a restart.
pub fn stored(alert: &Alert) -> Value {
    let mut stored = shown(alert);
    stored["broker_id"] = json!(alert.broker_id.to_string());
    stored["moot"] = json!(alert.is_moot);
    stored
}

/// The reverse of [`stored`]; `None` for what it did not write.
pub fn read_stored(value: &Value) -> Option<Alert> {
    let text = |name: &str| value.get(name)?.as_str();
    let number = |name: &str| value.get(name)?.as_u64();
    Some(Alert {
        rule: text("alert")?.to_owned(),
        state: match text("state")? {
            "firing" => AlertState::Firing,
            "resolved" => AlertState::Resolved,
            _ => return None,
        },
        broker_id: BrokerId(Uuid::parse_str(text("broker_id")?).ok()?),
        broker: text("broker")?.to_owned(),
        metric: AlertMetric::parse(text("metric")?)?,
        value: number("value")?,
        threshold: number("threshold")?,
        since_micros: parse_rfc3339(text("since")?)?,
        at_micros: parse_rfc3339(text("at")?)?,
        is_moot: value.get("moot")?.as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Alert {
        Alert {
            rule: "late \"one\"".to_owned(),
            state: AlertState::Resolved,
            broker_id: BrokerId(Uuid::from_u128(7)),
            broker: "Zürich".to_owned(),
            metric: AlertMetric::OldestUnsentSecs,
            value: 75,
            threshold: 60,
            since_micros: 1_769_846_400_000_000,
            at_micros: 1_769_846_415_500_000,
            is_moot: true,
        }
    }

    #[test]
    fn the_body_says_what_happened_where_and_since_when() {
        let body: Value = serde_json::from_str(&body_of(&alert())).expect("JSON");
        let wanted = json!({
            "alert": "late \"one\"", "state": "resolved", "broker": "Zürich", "metric": "oldest_unsent_secs",
            "value": 75, "threshold": 60, "since": "2026-01-31T08:00:00Z", "at": "2026-01-31T08:00:15.5Z",
        });
        assert_eq!(body, wanted);
    }

    #[test]
    fn what_is_stored_is_read_as_it_was() {
        assert_eq!(read_stored(&stored(&alert())), Some(alert()));
        for field in ["alert", "state", "broker_id", "metric", "since", "moot"] {
            let mut broken = stored(&alert());
            broken[field] = json!([]);
            assert_eq!(read_stored(&broken), None, "{field}");
        }
    }
}
