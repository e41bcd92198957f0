//! Tests of definitions as a whole: what is set, kept and cleared, and what each mistake is called.

use mqtt::{ProtocolVersion, QoS};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::broker::{OnFull, PemSource};
use crate::start_position::StartPosition;

fn named() -> BrokerChanges {
    BrokerChanges::new().with("name", "a").with("address", "h")
}

fn broker() -> Broker {
    named().create(BrokerId(Uuid::nil()), BrokerSource::Stored).unwrap()
}

/// Changes from a JSON object.
fn changes(object: Value) -> BrokerChanges {
    let mut changes = BrokerChanges::new();
    for (name, value) in object.as_object().expect("an object") {
        changes.set(name, value.clone()).unwrap();
    }
    changes
}

/// A value other than the default for every field.
fn everything() -> Value {
    let text = r#"{
        "name": "all", "address": "all.example", "port": 99, "version": "5", "transport": "ws", "ws_path": "/x",
        "profile": "aws_iot", "client_id_prefix": "p", "fixed_client_id": "me", "username": "u", "password": "w",
        "enabled": false, "paused": true, "keep_alive_secs": 7, "clean_session": true, "use_tls": true,
        "insecure_skip_verify": true, "ca_cert_path": null, "ca_cert_pem": "-----BEGIN CERTIFICATE-----\n", "client_cert_path": "/c.pem",
        "client_cert_pem": null, "client_key_path": null, "client_key_pem": "env:KEY",
        "client_key_password": "kp", "tls_server_name": "n.example", "tls_alpn": ["mqtt"],
        "tls_min_version": "1.3", "tls_psk_identity": "id", "tls_psk": "00ff", "topics": ["a/#"],
        "exclude_topics": ["a/x"], "topic_prefix_strip": "a/", "topic_prefix_add": "b/",
        "rewrite": [{"from": "x/+", "to": "y/{1}"}], "max_qos": 1, "retain": "clear",
        "user_properties": {"site": "7"}, "max_payload_bytes": 1000, "start_at": "earliest",
        "queue_bytes_max": 65536, "on_full": "reject", "max_rate_messages": 5, "max_rate_bytes": 6,
        "live_first": true, "bidirectional": true, "subscription_topics": ["down/#"],
        "subscription_exclude_topics": ["down/x"], "subscription_qos": 2, "subscription_prefix_strip": "c/",
        "subscription_prefix_add": "", "subscription_rewrite": [], "subscription_retain": "set",
        "subscription_user_properties": {"from": "there"}, "subscription_max_payload_bytes": 9,
        "loop_guard": "credits", "stamp_origin": false, "retry_floor_ms": 20, "retry_ceiling_ms": 30,
        "retry_denied_ms": 40, "stable_secs": 3, "group": "g", "group_priority": 2, "canary_interval_secs": 5,
        "canary_topic": "canary", "degraded_unsent_secs": 8, "degraded_lag": 9
    }"#;
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn every_field_is_set_shown_and_cleared() {
    let all = everything();
    let whole = changes(all.clone()).create(BrokerId(Uuid::nil()), BrokerSource::Stored).unwrap();
    let plain = broker();
    for field in fields() {
        let given = all.get(field.name).unwrap_or_else(|| panic!("{} is not tested", field.name));
        assert_eq!(&(field.get)(&whole), given, "{}", field.name);
        if !given.is_null() {
            assert_ne!((field.get)(&whole), (field.get)(&plain), "{}: another value is needed", field.name);
        }
    }
    let nothing: Vec<_> =
        fields().filter(|field| !["name", "address", "use_tls"].contains(&field.name)).collect();
    let cleared = nothing.iter().fold(named(), |changes, field| changes.with(field.name, Value::Null));
    let mut cleared = cleared.with("use_tls", false).apply(&whole).unwrap();
    assert_eq!(cleared.port, 1883);
    cleared.port = plain.port;
    assert_eq!(cleared, plain);
}

#[test]
fn what_is_shown_can_be_given_again() {
    for broker in
        [broker(), changes(everything()).create(BrokerId(Uuid::nil()), BrokerSource::Stored).unwrap()]
    {
        let shown = fields()
            .fold(BrokerChanges::new(), |changes, field| changes.with(field.name, (field.get)(&broker)));
        assert_eq!(shown.clone().apply(&broker).unwrap(), broker);
        assert_eq!(shown.create(broker.id, BrokerSource::Stored).unwrap(), broker);
    }
}

#[test]
fn what_is_not_given_stays() {
    let whole = changes(everything()).create(BrokerId(Uuid::nil()), BrokerSource::Stored).unwrap();
    let moved = BrokerChanges::new().with("port", 2).apply(&whole).unwrap();
    assert_eq!(moved, Broker { port: 2, ..whole });
}

#[test]
fn a_backlog_is_set_kept_and_cleared() {
    let given = json!({"start_at": 17, "queue_bytes_max": 65_536, "on_full": "reject"});
    let changed = changes(given).apply(&broker()).unwrap();
    let wanted = Backlog {
        start_at: StartPosition::Offset(17),
        queue_bytes_max: Some(65_536),
        on_full: OnFull::Reject,
        ..Backlog::default()
    };
    assert_eq!(changed.backlog, wanted);
    let cleared = json!({"start_at": "", "queue_bytes_max": null, "on_full": ""});
    assert_eq!(changes(cleared).apply(&changed).unwrap(), broker());
}

#[test]
fn the_port_follows_the_kind_of_connection_where_none_is_given() {
    for (given, port) in [
        (json!({}), 1883),
        (json!({"use_tls": true}), 8883),
        (json!({"transport": "ws"}), 80),
        (json!({"transport": "ws", "use_tls": true, "port": null}), 443),
        (json!({"use_tls": true, "port": 5}), 5),
    ] {
        let mut changes = changes(given.clone());
        for (name, value) in [("name", "a"), ("address", "h")] {
            changes = changes.with(name, value);
        }
        assert_eq!(
            changes.create(BrokerId(Uuid::nil()), BrokerSource::Stored).unwrap().port,
            port,
            "{given}"
        );
    }
}

#[test]
fn the_way_back_is_the_inverse_of_the_way_there_unless_it_is_given() {
    let there = json!({"bidirectional": true, "topic_prefix_strip": "local/", "topic_prefix_add": "remote/",
        "rewrite": [{"from": "a/+/#", "to": "b/{#}/{1}"}]});
    let problem = changes(there).apply(&broker()).unwrap_err().to_string();
    assert!(
        problem.starts_with("subscription_rewrite: must be given, because rewrite has no inverse"),
        "{problem}"
    );
    let there = json!({"bidirectional": true, "topic_prefix_strip": "local/", "topic_prefix_add": "remote/",
        "rewrite": [{"from": "a/+/#", "to": "b/{1}/{#}"}]});
    let changed = changes(there).apply(&broker()).unwrap();
    let mapping = &changed.subscription.as_ref().unwrap().mapping;
    assert_eq!(mapping.map("remote/b/x/y/z").unwrap(), "local/a/x/y/z");
    let given = json!({"subscription_prefix_strip": "", "subscription_prefix_add": "new/", "subscription_rewrite": []});
    let given = changes(given).apply(&changed).unwrap();
    assert_eq!(given.subscription.unwrap().mapping.map("remote/b/x").unwrap(), "new/remote/b/x");
}

#[test]
fn a_path_and_the_text_itself_take_each_others_place() {
    let secured = changes(json!({"use_tls": true, "ca_cert_path": "/ca.pem"})).apply(&broker()).unwrap();
    let inline = changes(json!({"ca_cert_pem": "-----BEGIN CERTIFICATE-----"})).apply(&secured).unwrap();
    let of = |broker: &Broker| broker.tls.clone().unwrap().ca_cert;
    assert_eq!(of(&inline), Some(PemSource::Inline("-----BEGIN CERTIFICATE-----".to_owned())));
    let back = changes(json!({"ca_cert_path": "/ca.pem", "ca_cert_pem": null})).apply(&inline).unwrap();
    assert_eq!(of(&back), Some(PemSource::Path("/ca.pem".into())));
    assert_eq!(of(&changes(json!({"ca_cert_path": null})).apply(&back).unwrap()), None);
}

#[test]
fn each_mistake_names_its_field() {
    let cases = [
        (json!({"name": ""}), "name: must have 1 to 128 characters"),
        (json!({"address": "mqtt://h"}), "address: \"mqtt://h\" is not a host name or an IP address"),
        (json!({"port": 70_000}), "port: 70000 is not within 1 to 65535"),
        (json!({"port": "1883"}), "port: must be a number, not a text"),
        (json!({"version": 6}), "version: \"6\" is not \"3.1.1\" or \"5\""),
        (json!({"transport": "udp"}), "transport: \"udp\" is not \"tcp\" or \"ws\""),
        (json!({"ws_path": "/x"}), "ws_path: has a meaning with transport \"ws\" only"),
        (json!({"transport": "ws", "ws_path": "x"}), "ws_path: \"x\" is not a path"),
        (json!({"profile": "aws"}), "profile: \"aws\" is not \"aws_iot\""),
        (json!({"password": "x"}), "username: must be given with a password in MQTT 3.1.1"),
        (json!({"ca_cert_path": "/x"}), "ca_cert_path: has a meaning with use_tls only"),
        (json!({"tls_alpn": ["x"]}), "tls_alpn: has a meaning with use_tls only"),
        (json!({"use_tls": true, "ca_cert_pem": "nonsense"}), "ca_cert_pem: must be PEM"),
        (
            json!({"use_tls": true, "ca_cert_path": "/x", "ca_cert_pem": "env:X"}),
            "ca_cert_pem: ca_cert_path is given too; give one of them",
        ),
        (json!({"use_tls": true, "client_cert_path": "/x"}), "client_key_path: must be given with a client"),
        (json!({"use_tls": true, "client_key_path": "/x"}), "client_cert_path: must be given with a key"),
        (
            json!({"use_tls": true, "tls_min_version": "1.1"}),
            "tls_min_version: \"1.1\" is not \"1.2\" or \"1.3\"",
        ),
        (json!({"use_tls": true, "tls_psk_identity": "x"}), "tls_psk: must be given with tls_psk_identity"),
        (json!({"use_tls": true, "tls_psk_identity": "x", "tls_psk": "xyz"}), "tls_psk: must be hexadecimal"),
        (json!({"topics": ["a/#/b"]}), "topics: \"a/#/b\""),
        (json!({"exclude_topics": ["$share/g/a"]}), "exclude_topics: \"$share/g/a\": a shared subscription"),
        (json!({"rewrite": [{"from": "a/+"}]}), "rewrite: rule 1: to: must be given"),
        (json!({"rewrite": [{"from": "a/+", "to": "b/{2}"}]}), "rewrite: "),
        (
            json!({"rewrite": [{"from": "a", "to": "b", "qos": 1}]}),
            "rewrite: rule 1: qos: is not a field of a rule",
        ),
        (json!({"max_qos": 3}), "max_qos: 3 is not 0, 1 or 2"),
        (json!({"retain": "drop"}), "retain: \"drop\" is not \"keep\", \"clear\" or \"set\""),
        (json!({"user_properties": {"a": 1}}), "user_properties: \"a\": must be a text, not a number"),
        (json!({"max_payload_bytes": 0}), "max_payload_bytes: 0 is not within 1 to 4294967295"),
        (
            json!({"start_at": "later"}),
            "start_at: \"later\" is not \"now\", \"earliest\", an offset or a time such",
        ),
        (json!({"queue_bytes_max": 65_535}), "queue_bytes_max: must be 65536 or more"),
        (json!({"on_full": "drop"}), "on_full: \"drop\" is not \"drop_oldest\" or \"reject\""),
        (json!({"max_rate_messages": 0}), "max_rate_messages: 0 is not within 1 to 4294967295"),
        (json!({"max_rate_bytes": 0}), "max_rate_bytes: must be 1 or more"),
        (json!({"subscription_topics": ["a"]}), "subscription_topics: has a meaning with bidirectional only"),
        (json!({"bidirectional": true, "subscription_qos": 3}), "subscription_qos: 3 is not 0, 1 or 2"),
        (json!({"loop_guard": "x"}), "loop_guard: \"x\" is not \"auto\", \"credits\", \"bridge\" or \"off\""),
        (json!({"retry_floor_ms": 9}), "retry_floor_ms: 9 is not within 10 to 86400000"),
        (json!({"retry_ceiling_ms": 50}), "retry_ceiling_ms: must not be less than retry_floor_ms"),
        (json!({"group_priority": 1}), "group_priority: has a meaning with group only"),
        (json!({"canary_topic": "a/#"}), "canary_topic: \"a/#\""),
    ];
    for (given, expected) in cases {
        let problem = changes(given.clone()).apply(&broker()).unwrap_err().to_string();
        assert!(problem.starts_with(expected), "{given}: {problem}");
    }
}

#[test]
fn unknown_and_doubled_fields_are_refused_and_values_stay_hidden() {
    let mut changes = BrokerChanges::new();
    assert_eq!(changes.set("adress", "h").unwrap_err().to_string(), "adress: is not a field of a broker");
    changes.set("password", "top secret").unwrap();
    assert_eq!(changes.set("password", "x").unwrap_err().to_string(), "password: is given twice");
    assert_eq!(format!("{changes:?}"), "[\"password\"]");
    let missing = BrokerChanges::new().with("name", "a").create(BrokerId(Uuid::nil()), BrokerSource::Stored);
    assert_eq!(missing.unwrap_err().to_string(), "address: must be given");
}

#[test]
fn another_backlog_needs_no_other_connection() {
    let plain = broker();
    let same = json!({"queue_bytes_max": 65_536, "topics": ["a"], "paused": true, "retry_floor_ms": 50});
    assert!(plain.connects_like(&changes(same).apply(&plain).unwrap()));
    assert!(!plain.connects_like(&changes(json!({"port": 2})).apply(&plain).unwrap()));
    assert_eq!((plain.version, plain.rule.max_qos), (ProtocolVersion::V311, None::<QoS>));
}
