//! What is legal in a definition and dangerous all the same.

use mqtt::QoS;

use super::FieldError;
use crate::broker::{Broker, LoopGuardChoice, OnFull, SharedBroker};

/// What whoever is about to store this definition should know. `before` is the one in force, if any; `brokers` are all
/// that there are, and `packet_bytes_max` is the longest packet of a device.
pub fn of(
    broker: &Broker,
    before: Option<&Broker>,
    brokers: &[SharedBroker],
    packet_bytes_max: usize,
) -> Vec<FieldError> {
    let mut warnings = Vec::new();
    let mut warn = |field: &str, text: String| warnings.push(FieldError::new(field, text));
    of_connection(broker, &mut warn);
    of_forwarding(broker, packet_bytes_max, &mut warn);
    let others = brokers.iter().filter(|other| other.id != broker.id);
    for other in others {
        beside(broker, other, &mut warn);
    }
    if let Some(before) = before {
        of_change(broker, before, &mut warn);
    }
    warnings
}

fn of_connection(broker: &Broker, warn: &mut impl FnMut(&str, String)) {
    if broker.tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify) {
        let text = "anyone on the way can pose as the broker, read everything and take the password";
        warn("insecure_skip_verify", text.to_owned());
    }
    if broker.password.is_some() && broker.tls.is_none() {
        warn("password", "goes over the network in the clear without TLS".to_owned());
    }
    if broker.keep_alive_secs == 0 {
        warn("keep_alive_secs", "0: a connection that hangs is never given up".to_owned());
    }
    if broker.clean_session {
        let text = "the broker forgets us at each connect: QoS 2 messages in flight may come twice";
        let lost = if broker.subscription.is_some() { ", and what it has for us is lost" } else { "" };
        warn("clean_session", format!("{text}{lost}"));
    }
    if broker.subscription.is_some() && broker.loop_guard == LoopGuardChoice::Off {
        warn("loop_guard", "off: what the broker sends back goes round for ever".to_owned());
    }
}

fn of_forwarding(broker: &Broker, packet_bytes_max: usize, warn: &mut impl FnMut(&str, String)) {
    match broker.rule.max_qos {
        Some(QoS::AtMostOnce) => {
            warn("max_qos", "0: nothing is acknowledged, so what is in flight when a connection breaks is lost, and QoS 2 is not kept".to_owned());
        }
        Some(QoS::AtLeastOnce) => {
            warn("max_qos", "1: QoS 2 messages may come twice at this broker".to_owned());
        }
        _ => {}
    }
    if let Some(bytes) = broker.backlog.queue_bytes_max.filter(|bytes| *bytes < packet_bytes_max as u64) {
        let text = format!(
            "{bytes} is less than one packet may have ({packet_bytes_max} bytes): a long one does not fit"
        );
        warn("queue_bytes_max", text);
    }
    if broker.backlog.on_full == OnFull::Reject {
        let text = "reject: while this broker is too far behind, publishers are refused for all brokers";
        warn("on_full", text.to_owned());
    }
    if broker.paused {
        warn("paused", "nothing is forwarded until the broker is resumed; what waits is bounded".to_owned());
    }
}

/// What is dangerous together with another broker.
fn beside(broker: &Broker, other: &Broker, warn: &mut impl FnMut(&str, String)) {
    let takes_all = |broker: &Broker| {
        let subscription = broker.subscription.as_ref();
        subscription
            .is_some_and(|subscription| subscription.topics.iter().any(|filter| filter.as_str() == "#"))
    };
    if takes_all(broker) && takes_all(other) {
        let name = &other.name;
        let text = format!(
            "\"#\" is taken from {name:?} too: everything goes from each of the two to the other, and round again where \
             they are connected elsewhere"
        );
        warn("subscription_topics", text);
    }
    if broker.has_session_of(other) {
        let text = format!("{:?} has the same one at the same server: each throws the other out", other.name);
        warn("fixed_client_id", text);
    }
}

/// What a change of a stored definition does at once.
fn of_change(broker: &Broker, before: &Broker, warn: &mut impl FnMut(&str, String)) {
    if before.enabled && !broker.enabled {
        warn(
            "enabled",
            "a disabled broker is forgotten: what waits for it is dropped; pause it to keep that".to_owned(),
        );
    }
    if !broker.has_session_of(before) {
        let text = "what is in flight goes out again: QoS 2 messages among it may come twice";
        warn("address", text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::broker::{BrokerId, BrokerSource};
    use crate::definition::BrokerChanges;

    fn broker(changes: BrokerChanges) -> SharedBroker {
        let named = |name| changes.get(name).is_some();
        let (has_name, has_address) = (named("name"), named("address"));
        let changes = if has_name { changes } else { changes.with("name", "a") };
        let changes = if has_address { changes } else { changes.with("address", "h") };
        changes.create(BrokerId(Uuid::new_v4()), BrokerSource::Stored).unwrap().into()
    }

    fn fields(changes: BrokerChanges, others: &[SharedBroker]) -> Vec<String> {
        of(&broker(changes), None, others, 1_000_000).into_iter().map(|warning| warning.field).collect()
    }

    #[test]
    fn what_is_usual_is_no_danger() {
        assert_eq!(fields(BrokerChanges::new(), &[]), [] as [&str; 0]);
        let careful = BrokerChanges::new()
            .with("use_tls", true)
            .with("username", "u")
            .with("password", "p")
            .with("queue_bytes_max", 1_000_000)
            .with("max_qos", 2)
            .with("bidirectional", true)
            .with("subscription_topics", vec!["#"]);
        let beside = BrokerChanges::new().with("name", "b").with("bidirectional", true);
        let beside = beside.with("subscription_topics", vec!["b/#"]);
        assert_eq!(fields(careful, &[broker(beside)]), [] as [&str; 0]);
    }

    #[test]
    fn each_danger_is_named_with_its_field() {
        for (changes, field) in [
            (json!({"use_tls": true, "insecure_skip_verify": true}), "insecure_skip_verify"),
            (json!({"username": "u", "password": "p"}), "password"),
            (json!({"keep_alive_secs": 0}), "keep_alive_secs"),
            (json!({"clean_session": true}), "clean_session"),
            (json!({"max_qos": 1}), "max_qos"),
            (json!({"max_qos": 0}), "max_qos"),
            (json!({"queue_bytes_max": 999_999}), "queue_bytes_max"),
            (json!({"on_full": "reject"}), "on_full"),
            (json!({"paused": true}), "paused"),
            (json!({"bidirectional": true, "subscription_topics": ["#"]}), "subscription_topics"),
            (json!({"fixed_client_id": "me"}), "fixed_client_id"),
        ] {
            let mut given = BrokerChanges::new();
            for (name, value) in changes.as_object().unwrap() {
                given.set(name, value.clone()).unwrap();
            }
            let other = BrokerChanges::new().with("name", "b").with("fixed_client_id", "me");
            let other = other.with("bidirectional", true).with("subscription_topics", vec!["#"]);
            assert_eq!(fields(given, &[broker(other.with("address", "h"))]), [field], "{changes}");
        }
    }

    #[test]
    fn a_change_that_drops_or_repeats_is_named() {
        let before = broker(BrokerChanges::new());
        for (change, field) in [(("enabled", json!(false)), "enabled"), (("port", json!(99)), "address")] {
            let after = BrokerChanges::new().with(change.0, change.1).apply(&before).unwrap();
            let warnings = of(&after, Some(&before), std::slice::from_ref(&before), 1_000);
            let named: Vec<_> = warnings.iter().map(|warning| warning.field.as_str()).collect();
            assert_eq!(named, [field]);
        }
    }
}
