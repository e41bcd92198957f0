//! Connected is not well: thresholds and canaries tell a broker that takes messages from one that only looks so.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Publish, Value as Property, kind, property};
use crate::support::proxy::Proxy;
use crate::support::rest::{Rest, local_broker};
use crate::support::scripted::{Link, Scripted};
use crate::support::{Version, wait_for, wait_until};

fn broker(name: &str, port: u16, version: Version, more: Value) -> Value {
    let mut broker = local_broker(name, port, version);
    broker.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    broker
}

/// The broker once its health is this.
fn wait_health(rest: &Rest, id: &str, health: &str) -> Value {
    wait_for(&format!("the broker is {health}"), || {
        let broker = rest.broker(id);
        (broker["health"] == health).then_some(broker)
    })
}

/// The next PUBLISH to this topic that is no canary; canaries are left without an answer.
fn next_message(link: &mut Link) -> Publish {
    loop {
        let message = link.publish();
        if !message.text().starts_with("mqtt-proxy canary ") {
            return message;
        }
    }
}

in_both_versions! {
    fn a_broker_that_keeps_its_connection_and_acknowledges_nothing_is_degraded(version: Version) {
        let (upstream, proxy) = (Scripted::listen(), Proxy::start());
        let rest = proxy.rest();
        let id = rest.add(&broker("b", upstream.port(), version, json!({"degraded_unsent_secs": 1, "degraded_lag": 2})));
        let mut link = upstream.welcome(false);
        wait_health(&rest, &id, "ok");
        let mut watch = Device::connect(proxy.mqtt(), Version::V4, "watch");
        watch.subscribe("$SYS/broker/connection/b/health", 0);
        assert_eq!(watch.receive().text(), "ok");
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        for text in ["1", "2", "3"] {
            device.say("t", text, 1);
        }
        let messages = link.publishes(3);
        let shown = wait_for("both thresholds are passed", || {
            let broker = rest.broker(&id);
            (broker["health_reasons"].as_array().is_some_and(|reasons| reasons.len() == 2)).then_some(broker)
        });
        assert_eq!((&shown["health"], &shown["connected"]), (&"degraded".into(), &true.into()));
        let reasons = shown["health_reasons"].to_string();
        assert!(reasons.contains("oldest_unsent_secs: ") && reasons.contains("lag: 3, above 2"), "{reasons}");
        assert_eq!(rest.metric("mqtt_broker_degraded", &["broker=\"b\""]), 1.0);
        assert_eq!(watch.receive().text(), "degraded");
        wait_until("the log says so", || proxy.log().contains("broker b: degraded: "));

        for message in messages {
            link.ack(kind::PUBACK, message.id);
        }
        let shown = wait_health(&rest, &id, "ok");
        assert_eq!(shown["health_reasons"], json!([]));
        assert_eq!(watch.receive().text(), "ok");
        wait_until("the log says so", || proxy.log().contains("broker b: not degraded any more"));
        link.cut();
        // It comes back by itself; until then there is no connection.
        let shown = wait_health(&rest, &id, "disconnected");
        assert!(shown["health_reasons"][0].as_str().is_some_and(|reason| reason.starts_with("state: ")), "{shown}");
    }

    fn a_canary_tells_how_long_the_way_is(version: Version) {
        let (upstream, proxy) = (Mosquitto::start(), Proxy::start());
        let rest = proxy.rest();
        let mut witness = Device::connect(upstream.address(), Version::V4, "witness");
        witness.subscribe("#", 1);
        let id = rest.add(&broker("b", upstream.port(), version, json!({"canary_interval_secs": 1})));
        let canary = wait_for("the canary is acknowledged", || {
            let canary = rest.broker(&id)["canary"].clone();
            canary["round_trip_ms"].is_number().then_some(canary)
        });
        assert_eq!((&canary["waiting_secs"], &canary["refused"]), (&Value::Null, &Value::Null));
        assert_eq!(canary["end_to_end_ms"], Value::Null, "nothing comes back from there");
        assert_eq!(rest.broker(&id)["health"], "ok");
        assert!(rest.metric("mqtt_broker_canary_round_trip_seconds", &["broker=\"b\""]) > 0.0);
        let client_id = rest.broker(&id)["client_id"].as_str().expect("a text").to_owned();
        let (first, second) = (witness.receive(), witness.receive());
        assert_eq!((first.topic, first.retain), (format!("mqtt-proxy/canary/{client_id}"), false));
        assert_ne!(first.payload, second.payload);
        // A canary is none of the log's messages.
        let shown = rest.broker(&id);
        assert_eq!((&shown["forwarded"], &shown["lag"]), (&0.into(), &0.into()));
    }

    fn a_canary_that_nobody_acknowledges_makes_a_broker_degraded(version: Version) {
        let (upstream, proxy) = (Scripted::listen(), Proxy::start());
        let rest = proxy.rest();
        let id = rest.add(&broker("b", upstream.port(), version, json!({"canary_interval_secs": 1, "canary_topic": "probe"})));
        let mut link = upstream.welcome(false);
        let canary = link.publish();
        assert_eq!((canary.topic.as_str(), canary.qos), ("probe", 1));
        let shown = wait_health(&rest, &id, "degraded");
        let reason = shown["health_reasons"][0].as_str().expect("a text");
        assert!(reason.starts_with("canary: not acknowledged for "), "{reason}");

        // Messages of devices go on, under identifiers of their own.
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.say("t", "m", 1);
        let message = next_message(&mut link);
        assert_ne!(message.id, canary.id);
        link.ack(kind::PUBACK, message.id);
        rest.wait_caught_up(&id);
        assert_eq!(rest.broker(&id)["forwarded"], 1);

        link.ack(kind::PUBACK, canary.id);
        let shown = wait_health(&rest, &id, "ok");
        assert!(shown["canary"]["round_trip_ms"].as_f64() >= Some(3_000.0), "{shown}");
        assert_eq!(link.publish().topic, "probe", "the next one follows");
    }
}

#[test]
fn a_canary_comes_back_from_a_bidirectional_broker_and_goes_no_further() {
    let (upstream, proxy) = (Mosquitto::start(), Proxy::start());
    let rest = proxy.rest();
    let mut listener = Device::connect(proxy.mqtt(), Version::V5, "listener");
    listener.subscribe("#", 1);
    let more = json!({"canary_interval_secs": 1, "bidirectional": true, "subscription_topics": ["#"]});
    let id = rest.add(&broker("b", upstream.port(), Version::V5, more));
    wait_until("the canary was seen again", || rest.broker(&id)["canary"]["end_to_end_ms"].is_number());
    // What others publish there arrives, and what we send there does not come back.
    let mut other = Device::connect(upstream.address(), Version::V4, "other");
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.say("ours", "1", 1);
    rest.wait_caught_up(&id);
    other.say("theirs", "end", 1);
    assert_eq!(listener.texts_before("end"), ["1"]);

    // Without canaries, nothing of them is left.
    let reply = rest.put(&format!("/api/brokers/{id}"), &json!({"canary_interval_secs": 0}));
    assert_eq!(reply.status, 200, "{}", reply.body);
    wait_until("there is no canary", || {
        let broker = rest.broker(&id);
        broker["canary"].is_null() && broker["connected"] == true
    });
}

#[test]
fn a_broker_that_refuses_canaries_is_degraded_and_says_why() {
    let (upstream, proxy) = (Scripted::listen(), Proxy::start());
    let rest = proxy.rest();
    let id = rest.add(&broker("b", upstream.port(), Version::V5, json!({"canary_interval_secs": 1})));
    let mut link = upstream.welcome(false);
    let canary = link.publish();
    let mut refusal = vec![0x40, 3];
    refusal.extend(canary.id.to_be_bytes());
    refusal.push(0x87);
    link.wire.send(&refusal);
    let shown = wait_health(&rest, &id, "degraded");
    assert_eq!(shown["health_reasons"], json!(["canary: refused: not authorized (0x87)"]));
    assert_eq!((&shown["canary"]["refused"], &shown["dropped"]), (&0x87.into(), &json!({})));
}

#[test]
fn a_canary_keeps_within_the_brokers_receive_maximum() {
    let (upstream, proxy) = (Scripted::listen(), Proxy::start());
    let rest = proxy.rest();
    let id = rest.add(&broker("b", upstream.port(), Version::V5, json!({"canary_interval_secs": 1})));
    let mut link = upstream.welcome_with(false, &vec![(property::RECEIVE_MAXIMUM, Property::Two(3))]);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    for number in 0..5 {
        device.say("t", &number.to_string(), 1);
    }
    // Two of devices and the canary are all that may be unacknowledged.
    let first = link.publishes(3);
    let canaries = first.iter().filter(|message| message.topic.starts_with("mqtt-proxy/")).count();
    assert_eq!(canaries, 1, "{first:?}");
    link.expect_silence();
    for message in first {
        link.ack(kind::PUBACK, message.id);
    }
    let mut texts = Vec::new();
    while texts.len() < 3 {
        let message = link.take();
        texts.extend((message.topic == "t").then(|| message.text()));
    }
    assert_eq!(texts, ["2", "3", "4"]);
    rest.wait_caught_up(&id);
}
