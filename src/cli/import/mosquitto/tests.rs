//! Configurations of mosquitto, and what they come to.

use super::lines::parse;
use super::*;

fn import(text: &str) -> Import {
    translate(&parse("m.conf", text)).unwrap_or_else(|problems| panic!("{problems:?} in {text}"))
}

/// The only definition of a file with one connection `a` and these lines in it.
fn broker_of(lines: &str) -> Value {
    let import = import(&format!("connection a\naddress h\n{lines}\n"));
    assert_eq!(import.brokers.len(), 1, "{lines}");
    Value::Object(import.brokers[0].clone())
}

fn notes_of(lines: &str) -> Vec<String> {
    import(&format!("connection a\naddress h\n{lines}\n")).notes.iter().map(Note::to_string).collect()
}

fn problems_of(text: &str) -> Vec<String> {
    translate(&parse("m.conf", text)).err().unwrap_or_else(|| panic!("was taken: {text}"))
}

/// The fields of the definition besides name, address and port.
#[track_caller]
fn assert_fields(lines: &str, mut wanted: Value) {
    for (field, value) in [("name", json!("a")), ("address", json!("h")), ("port", json!(1883))] {
        wanted[field] = value;
    }
    assert_eq!(broker_of(lines), wanted, "{lines}");
}

#[test]
fn one_way_without_prefixes() {
    assert_fields("topic #", json!({"topics": ["#"], "max_qos": 0}));
    assert_fields(
        "topic a/+ out 1\ntopic b/#\tout 1\ntopic a/+ out 1",
        json!({"topics": ["a/+", "b/#"], "max_qos": 1}),
    );
}

#[test]
fn prefixes_of_whole_levels_are_taken_off_and_put_on() {
    let wanted = json!({
        "topics": ["l/t/#", "l/t/x"], "max_qos": 2, "topic_prefix_strip": "l/t/", "topic_prefix_add": "r/",
    });
    assert_fields("topic # out 2 l/t/ r/\ntopic x out 2 l/t/ r/", wanted);
    let wanted = json!({"topics": ["#"], "max_qos": 1, "topic_prefix_add": "r/"});
    assert_fields("topic # out 1 \"\" r/", wanted);
    let wanted = json!({"topics": ["l/#"], "max_qos": 1, "topic_prefix_strip": "l/"});
    assert_fields("topic # out 1 l/ \"\"", wanted);
}

#[test]
fn what_is_only_subscribed_to_sends_nothing_there() {
    let wanted = json!({
        "exclude_topics": ["#"], "bidirectional": true, "subscription_topics": ["$SYS/broker/clients/total"],
        "subscription_prefix_strip": "$SYS/broker/", "subscription_prefix_add": "test/mosquitto/org/",
        "subscription_rewrite": [], "subscription_qos": 0,
    });
    assert_fields("topic clients/total in 0 test/mosquitto/org/ $SYS/broker/", wanted);
}

#[test]
fn both_ways_are_the_inverse_of_each_other() {
    let wanted = json!({
        "topics": ["l/#"], "topic_prefix_strip": "l/", "topic_prefix_add": "r/", "max_qos": 1,
        "bidirectional": true, "subscription_topics": ["r/#"], "subscription_prefix_strip": "r/",
        "subscription_prefix_add": "l/", "subscription_rewrite": [], "subscription_qos": 1,
    });
    assert_fields("topic # both 1 l/ r/", wanted);
}

#[test]
fn different_prefixes_become_rules_in_their_order() {
    let wanted = json!({
        "topics": ["a/#", "b/+/x/+", "c", "here"], "max_qos": 0,
        "rewrite": [
            {"from": "a/#", "to": "A/{#}"},
            {"from": "b/+/x/+", "to": "{1}/x/{2}"},
            {"from": "here", "to": "there/and"},
        ],
    });
    assert_fields(
        "topic # out 0 a/ A/\ntopic +/x/+ out 0 b/ \"\"\ntopic c\ntopic \"\" out 0 here there/and",
        wanted,
    );
    // A prefix is text: it need not end with a level.
    let wanted = json!({"topics": ["dev1/x"], "max_qos": 0, "rewrite": [{"from": "dev1/x", "to": "r-1/x"}]});
    assert_fields("topic 1/x out 0 dev r-", wanted);
}

#[test]
fn a_line_that_never_has_its_turn_is_noted() {
    let lines = "topic # out 0 a/ A/\ntopic x out 0 a/ B/\ntopic y out 0 b/ B/";
    assert_eq!(
        broker_of(lines)["rewrite"],
        json!([{"from": "a/#", "to": "A/{#}"}, {"from": "b/y", "to": "B/y"}])
    );
    assert!(notes_of(lines).iter().any(|note| note.starts_with("m.conf:4: topic: never has its turn")));
}

#[test]
fn several_qualities_of_service_become_the_highest_with_a_note() {
    assert_eq!(broker_of("topic a out 0\ntopic b out 2\ntopic c in 1")["max_qos"], 2);
    assert_eq!(broker_of("topic a out 0\ntopic b out 2\ntopic c in 1")["subscription_qos"], 1);
    let notes = notes_of("topic a out 0\ntopic b out 2");
    assert!(notes.iter().any(|note| note.starts_with("m.conf:3: topic: QoS 0")), "{notes:?}");
    assert!(!notes.iter().any(|note| note.starts_with("m.conf:4: topic")), "{notes:?}");
}

#[test]
fn options_become_fields() {
    let table = [
        ("bridge_protocol_version mqttv50", json!({"version": "5"})),
        ("bridge_protocol_version mqttv311", json!({"version": "3.1.1"})),
        ("bridge_protocol_version mqttv31", json!({"version": "3.1.1"})),
        ("remote_username u\nremote_password p w", json!({"username": "u", "password": "p w"})),
        ("username u\npassword p", json!({"username": "u", "password": "p"})),
        ("remote_password p", json!({})),
        ("remote_clientid c", json!({"fixed_client_id": "c"})),
        ("clientid c", json!({"fixed_client_id": "c"})),
        ("cleansession true", json!({"clean_session": true})),
        ("keepalive_interval 300", json!({"keep_alive_secs": 300})),
        ("restart_timeout 20", json!({"retry_floor_ms": 20_000, "retry_ceiling_ms": 20_000})),
        ("restart_timeout 10 30", json!({"retry_floor_ms": 10_000, "retry_ceiling_ms": 30_000})),
        ("try_private false", json!({"loop_guard": "credits"})),
        ("try_private true", json!({})),
        ("try_private false\nbridge_protocol_version mqttv50", json!({"version": "5"})),
        ("bridge_max_packet_size 1000", json!({"max_payload_bytes": 1000})),
        ("bridge_max_packet_size 0", json!({})),
        ("bridge_outgoing_retain false", json!({"retain": "clear"})),
        ("bridge_outgoing_retain true", json!({})),
        ("bridge_cafile /ca", json!({"use_tls": true, "ca_cert_path": "/ca"})),
        ("bridge_capath /ca", json!({"use_tls": true})),
        ("bridge_insecure true\nbridge_cafile /c", json!({"use_tls": true, "ca_cert_path": "/c"})),
        (
            "bridge_cafile /ca\nbridge_certfile /c\nbridge_keyfile /k\nbridge_tls_version tlsv1.3\nbridge_alpn mqtt",
            json!({"use_tls": true, "ca_cert_path": "/ca", "client_cert_path": "/c", "client_key_path": "/k",
                "tls_min_version": "1.3", "tls_alpn": ["mqtt"]}),
        ),
        (
            "bridge_identity i\nbridge_psk 0a1b",
            json!({"use_tls": true, "tls_psk_identity": "i", "tls_psk": "0a1b"}),
        ),
        ("bridge_certfile /c\nbridge_keyfile /k\nbridge_alpn x", json!({})),
    ];
    for (lines, mut wanted) in table {
        wanted["topics"] = json!(["#"]);
        wanted["max_qos"] = json!(0);
        assert_fields(&format!("{lines}\ntopic #"), wanted);
    }
}

#[test]
fn what_is_not_translated_is_noted_with_its_line() {
    let table = [
        "bridge_capath /d",
        "bridge_insecure true",
        "bridge_require_ocsp true",
        "bridge_tls_version tlsv1.1",
        "bridge_bind_address 1.2.3.4",
        "bridge_tcp_keepalive 1 2 3",
        "bridge_attempt_unsubscribe true",
        "bridge_protocol_version mqttv31",
        "bridge_certfile /c",
        "bridge_of_tomorrow 1",
        "local_cleansession true",
        "local_clientid x",
        "local_username x",
        "local_password x",
        "idle_timeout 1",
        "threshold 1",
        "start_type lazy",
        "start_type once",
        "notifications true",
        "notifications_local_only true",
        "notification_topic x",
        "round_robin true",
        "remote_password p",
        "remote_clientid c",
        "max_inflight_messages 10",
        "max_queued_messages 10",
        "queue_qos0_messages true",
    ];
    for line in table {
        let option = line.split(' ').next().unwrap();
        let notes = notes_of(&format!("{line}\ntopic #"));
        assert!(notes.iter().any(|note| note.starts_with(&format!("m.conf:3: {option}: "))), "{notes:?}");
    }
    for line in ["bridge_insecure false", "start_type automatic", "notifications false", "round_robin false"]
    {
        let notes = notes_of(&format!("{line}\ntopic #"));
        assert!(!notes.iter().any(|note| note.starts_with("m.conf:3:")), "{notes:?}");
    }
}

#[test]
fn several_addresses_are_a_group_in_the_order_of_preference() {
    let text = "connection hub\naddresses one two:1884 [::1]:1885\naddress 10.0.0.1\ntopic #\n";
    let got: Vec<_> = import(text)
        .brokers
        .into_iter()
        .map(|broker| {
            assert_eq!(broker["group"], "hub");
            let text = |field: &str| broker[field].as_str().unwrap().to_owned();
            (text("name"), text("address"), broker["port"].as_u64(), broker["group_priority"].as_u64())
        })
        .collect();
    let row =
        |name: &str, address: &str, port, priority| (name.into(), address.into(), Some(port), Some(priority));
    let wanted: Vec<(String, String, _, _)> = vec![
        row("hub-1", "one", 1883, 0),
        row("hub-2", "two", 1884, 1),
        row("hub-3", "::1", 1885, 2),
        row("hub-4", "10.0.0.1", 1883, 3),
    ];
    assert_eq!(got, wanted);
    let equal = import("connection hub\naddress one two\nround_robin true\ntopic #\n");
    assert!(equal.brokers.iter().all(|broker| broker["group_priority"] == 0));
}

#[test]
fn other_options_are_named_in_one_note() {
    let text = "listener 1883\nlog_dest stderr\nlistener 1884\nhunter2\nconnection a\naddress h\ntopic #\n\
                persistence true\n";
    let import = import(text);
    let notes: Vec<_> = import.notes.iter().map(Note::to_string).collect();
    assert!(notes.contains(
        &"m.conf:1: other options: 4 lines are not about bridges and were left out: (no option), listener, log_dest"
            .to_owned()
    ));
    assert!(notes.iter().any(|note| note.starts_with("m.conf:8: persistence: ")), "{notes:?}");
    assert!(!notes.iter().any(|note| note.contains("hunter2")), "{notes:?}");
}

#[test]
fn a_file_without_connections_comes_to_nothing() {
    let import = import("listener 1883\n");
    assert!(import.brokers.is_empty());
    assert_eq!(import.notes.len(), 1);
}

#[test]
fn what_mosquitto_refuses_is_refused_with_the_line() {
    let in_connection = |line: &str| format!("connection a\naddress h\n{line}\ntopic #\n");
    let table = [
        ("topic #\nconnection a\naddress h\ntopic #\n".to_owned(), "m.conf:1: topic"),
        ("connection a\ntopic #\n".to_owned(), "m.conf:1: connection: it has no address"),
        ("connection a\naddress h\n".to_owned(), "m.conf:1: connection: it has no topic"),
        ("connection\naddress h\ntopic #\n".to_owned(), "m.conf:1: connection: the name"),
        (
            "connection a\naddress h\ntopic #\nconnection a\naddress h\ntopic #".to_owned(),
            "m.conf:4: connection: another",
        ),
        (in_connection("address h:0"), "m.conf:3: address"),
        (in_connection("address h:x"), "m.conf:3: address"),
        (in_connection("topic # sideways"), "m.conf:3: topic: the direction"),
        (in_connection("topic # out 3"), "m.conf:3: topic: the QoS"),
        (in_connection("topic \"\" out 0 a"), "m.conf:3: topic: an empty pattern"),
        (in_connection("topic # out 0 a"), "m.conf:3: topic"),
        (in_connection("topic # out 0 +/ b/"), "m.conf:3: topic: a prefix"),
        (in_connection("topic x out 0 a/ b/ c"), "m.conf:3: topic"),
        (in_connection("topic"), "m.conf:3: topic: the topic is missing"),
        (in_connection("cleansession maybe"), "m.conf:3: cleansession"),
        (in_connection("keepalive_interval 4"), "m.conf:3: keepalive_interval"),
        (in_connection("restart_timeout 5 4"), "m.conf:3: restart_timeout"),
        (in_connection("start_type manual"), "m.conf:3: start_type"),
        (in_connection("bridge_protocol_version mqttv6"), "m.conf:3: bridge_protocol_version"),
        (in_connection("bridge_tls_version sslv3"), "m.conf:3: bridge_tls_version"),
    ];
    for (text, start) in table {
        let problems = problems_of(&text);
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{problems:?} for {text}");
    }
}

#[test]
fn no_secret_is_in_a_note_or_a_problem() {
    let secrets = "remote_password hunter2\nbridge_psk abcdef\nlocal_password hunter3\n";
    for lines in ["topic #", "topic # sideways", "username u\ntopic #"] {
        let text = format!("connection a\naddress h\n{secrets}{lines}\n");
        let told = match translate(&parse("m.conf", &text)) {
            Ok(import) => import.notes.iter().map(Note::to_string).collect(),
            Err(problems) => problems,
        };
        for secret in ["hunter2", "abcdef", "hunter3"] {
            assert!(!told.iter().any(|line| line.contains(secret)), "{told:?}");
        }
    }
}
