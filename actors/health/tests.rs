//! The thresholds one by one.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::broker::BrokerSource;
use crate::message_log::Lag;
use crate::upstream_broker::{CanarySnapshot, UpstreamStatus};
use crate::{BrokerChanges, BrokerId, Metrics};

const SECOND: Duration = Duration::from_secs(1);

fn broker(changes: &[(&str, serde_json::Value)]) -> Broker {
    let mut all = BrokerChanges::new().with("name", "b").with("address", "h");
    for (field, value) in changes {
        all = all.with(field, value.clone());
    }
    all.create(BrokerId(Uuid::from_u128(1)), BrokerSource::Stored).expect("a good definition")
}

fn seen(state: UpstreamState) -> UpstreamSnapshot {
    let metrics = Metrics::new().expect("the names differ");
    let status = UpstreamStatus::new(BrokerId(Uuid::from_u128(1)), "b", &metrics, Arc::default());
    status.set_state(state);
    status.snapshot(Lag::default())
}

fn well() -> UpstreamSnapshot {
    seen(UpstreamState::Connected)
}

fn told(broker: &Broker, seen: &UpstreamSnapshot, now: Instant) -> (Health, String) {
    let (health, reasons) = assess(broker, seen, now);
    (health, reasons.join("; "))
}

#[test]
fn each_threshold_makes_a_broker_degraded_and_says_so() {
    let now = Instant::now();
    let strict = broker(&[("degraded_unsent_secs", 60.into()), ("degraded_lag", 10.into())]);
    assert_eq!(told(&strict, &well(), now), (Health::Ok, String::new()));
    let at_the_bounds = UpstreamSnapshot { oldest_unsent: Some(60 * SECOND), lag: 10, ..well() };
    assert_eq!(told(&strict, &at_the_bounds, now).0, Health::Ok);
    let above = UpstreamSnapshot { oldest_unsent: Some(61 * SECOND), lag: 11, ..well() };
    let wanted = "oldest_unsent_secs: 61, above 60; lag: 11, above 10";
    assert_eq!(told(&strict, &above, now), (Health::Degraded, wanted.to_owned()));
    assert_eq!(told(&broker(&[]), &above, now).0, Health::Ok, "nobody set a threshold");
}

#[test]
fn a_canary_has_three_intervals_to_be_acknowledged() {
    let start = Instant::now();
    let watched = broker(&[("canary_interval_secs", 10.into())]);
    let waiting = CanarySnapshot { waits_since: Some(start), ..CanarySnapshot::default() };
    let forwarding = UpstreamSnapshot { canary: Some(waiting), ..well() };
    assert_eq!(told(&watched, &forwarding, start + 29 * SECOND).0, Health::Ok);
    let late = told(&watched, &forwarding, start + 30 * SECOND);
    assert_eq!(late, (Health::Degraded, "canary: not acknowledged for 30 s".to_owned()));
    let refused =
        CanarySnapshot { refused: Some(mqtt::ReasonCode::NotAuthorized), ..CanarySnapshot::default() };
    let forwarding = UpstreamSnapshot { canary: Some(refused), ..well() };
    let wanted = (Health::Degraded, "canary: refused: not authorized (0x87)".to_owned());
    assert_eq!(told(&watched, &forwarding, start), wanted);
}

#[test]
fn who_shall_get_nothing_is_not_unwell() {
    let now = Instant::now();
    let strict = |more| broker(&[("degraded_lag", 1.into()), more]);
    let away = UpstreamSnapshot {
        last_error: Some("refused".to_owned()),
        lag: 5,
        ..seen(UpstreamState::WaitingToRetry)
    };
    assert_eq!(told(&strict(("paused", true.into())), &away, now), (Health::Paused, String::new()));
    assert_eq!(told(&strict(("enabled", false.into())), &away, now), (Health::Disabled, String::new()));
    let wanted = (Health::Disconnected, "state: refused".to_owned());
    assert_eq!(told(&strict(("paused", false.into())), &away, now), wanted);
    let connecting = seen(UpstreamState::Connecting);
    let wanted = (Health::Disconnected, "state: not connected yet".to_owned());
    assert_eq!(told(&strict(("paused", false.into())), &connecting, now), wanted);
}
