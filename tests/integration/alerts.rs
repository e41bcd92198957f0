//! Alerts: each fires once and clears once, in the log, in its topic and at the webhook, which need not be there.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::mosquitto::{Mosquitto, reserve_port};
use crate::support::packets::Publish;
use crate::support::proxy::{Proxy, Setup};
use crate::support::scripted::Scripted;
use crate::support::webhook_receiver::Webhook;
use crate::support::{Version, wait_until};

const SECRET: &str = "not for everybody";

/// One rule: a broker away for more than a second.
const AWAY: &str = "[[alerts.rules]]\nname = 'away'\nmetric = 'disconnected_secs'\nabove = 1\n";

fn setup(webhook: &Webhook, rules: &str) -> Setup {
    Setup::new()
        .settings(&format!("[alerts]\nwebhook_url = '{}'\n{rules}", webhook.url()))
        .environment("MQTT_PROXY__ALERTS__WEBHOOK_SECRET", SECRET)
}

/// A device that has subscribed to all alerts.
fn watch(proxy: &Proxy) -> Device {
    let mut watch = Device::connect(proxy.mqtt(), Version::V4, "watch");
    watch.subscribe("$SYS/broker/alerts/#", 0);
    watch
}

/// State and value of an alert in its topic.
fn state_of(message: &Publish) -> String {
    let alert: Value = serde_json::from_str(&message.text()).expect("JSON");
    alert["state"].as_str().expect("a text").to_owned()
}

#[test]
fn an_alert_fires_once_and_clears_once_and_the_webhook_gets_both_signed() {
    let (webhook, port) = (Webhook::refusing(2), reserve_port());
    let proxy = setup(&webhook, AWAY).start();
    let (rest, mut watch) = (proxy.rest(), watch(&proxy));
    let id = rest.add_local("site/1", port, Version::V4);
    let posts = webhook.wait_count(1);
    let fired = posts[0].json();
    let since = fired["since"].as_str().expect("a text");
    let at = fired["at"].as_str().expect("a text");
    assert!(since <= at && at.ends_with('Z') && since.len() > 18, "{fired}");
    let wanted = json!({
        "alert": "away", "state": "firing", "broker": "site/1", "metric": "disconnected_secs",
        "value": fired["value"], "threshold": 1, "since": since, "at": at,
    });
    assert_eq!(fired, wanted);
    assert!(fired["value"].as_u64() >= Some(2));
    assert_eq!(posts[0].header("Content-Type"), Some("application/json; charset=utf-8"));
    assert!(posts[0].head.starts_with("POST /hook?from=proxy HTTP/1.1"), "{}", posts[0].head);
    let refused = webhook.refused();
    assert_eq!(refused.len(), 2);
    for post in refused.iter().chain(&posts) {
        assert!(post.is_signed_with(SECRET) && !post.is_signed_with("another"), "{post:?}");
        assert_eq!(post.body, posts[0].body, "the same one again");
    }
    let message = watch.receive();
    assert_eq!(message.topic, "$SYS/broker/alerts/away/site%2F1");
    assert_eq!(message.text(), posts[0].body);
    assert_eq!(rest.metric("mqtt_alerts_firing", &["alert=\"away\"", "broker=\"site/1\""]), 1.0);
    // Who comes later finds it retained.
    let mut later = Device::connect(proxy.mqtt(), Version::V5, "later");
    later.subscribe("$SYS/broker/alerts/#", 0);
    let message = later.receive();
    assert_eq!((message.retain, state_of(&message).as_str()), (true, "firing"));

    let upstream = Scripted::listen_on(port);
    let _link = upstream.welcome(false);
    rest.wait_connected(&id);
    webhook.wait_count(2);
    assert_eq!(webhook.events(), ["away firing site/1", "away resolved site/1"]);
    assert_eq!(state_of(&watch.receive()), "resolved");
    assert_eq!(rest.metric("mqtt_alerts_firing", &[]), 0.0);
    let log = proxy.log();
    for line in [
        "alert away fires: broker site/1: disconnected_secs is ",
        "alert away is over: broker site/1",
        "alerts: the webhook does not take them: it answered 503 Service Unavailable; retrying",
        "alerts: the webhook takes them again",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
    assert!(!log.contains(SECRET));
}

#[test]
fn a_restart_neither_repeats_nor_forgets_an_alert() {
    let (webhook, mut upstream) = (Webhook::refusing(0), Mosquitto::start());
    let mut proxy = setup(&webhook, AWAY).start();
    let gone = proxy.rest().add_local("gone", reserve_port(), Version::V4);
    let back = proxy.rest().add_local("back", upstream.port(), Version::V4);
    proxy.rest().wait_connected(&back);
    upstream.stop();
    let posts = webhook.wait_count(2);
    assert!(posts.iter().all(|post| post.event().contains("firing")), "{posts:?}");
    wait_until("it is written down", || {
        std::fs::read_to_string(proxy.data().join("alerts.json"))
            .is_ok_and(|text| text.matches("\"firing\"").count() == 3 && text.contains("\"waiting\":[]"))
    });

    proxy.kill();
    upstream.resume_process();
    proxy.start_again();
    let mut watch = watch(&proxy);
    assert_eq!(state_of(&watch.receive()), "firing", "what fires is retained again");
    proxy.rest().wait_connected(&back);
    webhook.wait_count(3);
    assert_eq!(proxy.rest().delete(&format!("/api/brokers/{gone}")).status, 204);
    webhook.wait_count(4);
    assert_eq!(webhook.events()[2..], ["away resolved back", "away resolved gone"]);
}

#[test]
fn a_renamed_or_removed_broker_takes_its_alerts_along() {
    let webhook = Webhook::refusing(0);
    let proxy = setup(&webhook, AWAY).start();
    let rest = proxy.rest();
    let id = rest.add_local("a", reserve_port(), Version::V4);
    webhook.wait_count(1);
    let mut watch = watch(&proxy);
    assert_eq!(state_of(&watch.receive()), "firing");
    rest.put(&format!("/api/brokers/{id}"), &json!({"name": "b"}));
    webhook.wait_count(3);
    rest.put(&format!("/api/brokers/{id}"), &json!({"enabled": false}));
    webhook.wait_count(4);
    let wanted = ["away firing a", "away resolved a", "away firing b", "away resolved b"];
    assert_eq!(webhook.events(), wanted);
    let said: Vec<_> = watch
        .receive_all(5)
        .iter()
        .map(|message| (message.topic.clone(), message.payload.is_empty()))
        .collect();
    let topic = |name: &str, is_empty| (format!("$SYS/broker/alerts/away/{name}"), is_empty);
    let wanted =
        [topic("a", false), topic("a", true), topic("b", false), topic("b", false), topic("b", true)];
    assert_eq!(said, wanted);
    let mut later = Device::connect(proxy.mqtt(), Version::V4, "later");
    later.subscribe("$SYS/broker/alerts/#", 0);
    assert_eq!(later.inbox_after_ping(), Vec::<String>::new(), "nothing is retained");
}

#[test]
fn a_webhook_that_never_answers_disturbs_nobody() {
    let webhook = Webhook::refusing(0);
    webhook.fall_silent();
    let upstream = Mosquitto::start();
    let rules = format!(
        "{AWAY}[[alerts.rules]]\nname = 'behind'\nbroker = 'there'\nmetric = 'lag'\nabove = 0\nfor_secs = 3600\n"
    );
    let proxy = setup(&webhook, &rules).start();
    let rest = proxy.rest();
    rest.add_local("away", reserve_port(), Version::V4);
    let there = rest.add_local("there", upstream.port(), Version::V4);
    rest.wait_connected(&there);
    wait_until("the alert fires", || proxy.log().contains("alert away fires: broker away"));
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    let texts = (0..2_000).map(|number| Publish::new("t", number.to_string()).qos(1));
    device.publish_all(texts);
    rest.wait_caught_up(&there);
    assert_eq!(rest.broker(&there)["forwarded"], 2_000);
    let mut proxy = proxy;
    proxy.stop();
}

#[test]
fn a_webhook_has_to_be_trusted_by_the_system() {
    let directory = tempfile::tempdir().expect("a directory");
    let certificate_file = directory.path().join("webhook.pem");
    let webhook = Webhook::secured(&certificate_file);
    let suspicious = setup(&webhook, AWAY).start();
    suspicious.rest().add_local("b", reserve_port(), Version::V4);
    wait_until("it is not trusted", || {
        let log = suspicious.log();
        log.contains("alerts: the webhook does not take them") && log.contains("certificate verify failed")
    });
    assert_eq!(webhook.events(), Vec::<String>::new());

    let file = certificate_file.to_string_lossy().into_owned();
    let trusting = setup(&webhook, AWAY).environment("SSL_CERT_FILE", &file).start();
    trusting.rest().add_local("c", reserve_port(), Version::V4);
    assert!(webhook.wait_count(1)[0].is_signed_with(SECRET));
    assert_eq!(webhook.events(), ["away firing c"]);
}

#[test]
fn what_lags_and_what_is_dropped_is_told_too() {
    let (webhook, upstream) = (Webhook::refusing(0), Scripted::listen());
    let rules = "[[alerts.rules]]\nname = 'late'\nmetric = 'oldest_unsent_secs'\nabove = 0\nfor_secs = 1\n\
                 [[alerts.rules]]\nname = 'behind'\nbroker = 'b'\nmetric = 'lag'\nabove = 9\nclear_below = 5\n\
                 [[alerts.rules]]\nname = 'lossy'\nmetric = 'dropped_per_minute'\nabove = 3\n\
                 [[alerts.rules]]\nname = 'other'\nbroker = 'c'\nmetric = 'lag'\nabove = 0\n";
    let proxy = setup(&webhook, rules).start();
    let rest = proxy.rest();
    let id = rest.add_local("b", upstream.port(), Version::V5);
    let mut link = upstream.welcome(false);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    for number in 0..10 {
        device.say("t", &number.to_string(), 1);
    }
    let messages = link.publishes(10);
    webhook.wait_count(2);
    // Four are refused by the broker, so they are dropped; the rest is taken.
    for (index, message) in messages.iter().enumerate() {
        let mut answer = vec![0x40, 3];
        answer.extend(message.id.to_be_bytes());
        answer.push(if index < 4 { 0x87 } else { 0 });
        link.wire.send(&answer);
    }
    rest.wait_caught_up(&id);
    webhook.wait_count(5);
    let mut events = webhook.events();
    events.sort();
    let wanted =
        ["behind firing b", "behind resolved b", "late firing b", "late resolved b", "lossy firing b"];
    assert_eq!(events, wanted);
}

#[test]
fn rules_and_webhook_are_checked_before_the_start() {
    let check = |settings: &str, variables: &[(&str, &str)]| {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("site.toml");
        std::fs::write(&file, settings).expect("it can be written");
        let mut command: Command = crate::support::proxy::command(home.path());
        command.arg("check").arg("--config").arg(&file).envs(variables.iter().copied());
        let output = command.output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let one = "[{name = 'late', metric = 'lag', above = 5, for_secs = 3}]";
    let variables = [("MQTT_PROXY__ALERTS__RULES", one), ("MQTT_PROXY__ALERTS__WEBHOOK_SECRET", SECRET)];
    let (code, text) = check("[alerts]\nwebhook_url = 'https://example.org/hook'", &variables);
    assert_eq!(code, Some(0), "{text}");
    for part in ["[[alerts.rules]]", "name = \"late\"", "for_secs = 3", "webhook_secret = \"***\""] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    for (settings, problem) in [
        ("[alerts]\nwebhook_url = 'example.org'", "alerts.webhook_url: ''example.org'' must be a URL"),
        ("[alerts]\ntopic = 'a/#'", "alerts.topic: ''a/#'' must be what topics begin with"),
        (
            "[[alerts.rules]]\nname = 'x'\nmetric = 'lagg'\nabove = 1",
            "alerts.rules: rule 1: metric must be one of",
        ),
        ("[[alerts.rules]]\nname = 'x'\nmetric = 'lag'", "alerts.rules: rule 1: above must be given"),
    ] {
        let (code, text) = check(settings, &[]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(problem), "{problem} is not in {text}");
    }
}
