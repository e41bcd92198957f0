//! Origin and hops: what a message carries from proxy to proxy over MQTT 5.0, and that nobody can abuse it.

use serde_json::json;

use super::places::{Place, both_ways, everybody_hears_everything, join, warm_up};
use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Connect, Publish, Value, kind, property};
use crate::support::proxy::{Proxy, Setup};
use crate::support::rest::local_broker;
use crate::support::scripted::Scripted;
use crate::support::{Version, wait_until};

/// A User Property.
fn user(name: &str, value: &str) -> (u8, Value) {
    (property::USER, Value::Pair(name.to_owned(), value.to_owned()))
}

/// All User Properties of a message.
fn users(message: &Publish) -> Vec<(String, String)> {
    let pair = |(_, value): &(u8, Value)| match value {
        Value::Pair(name, value) => Some((name.clone(), value.clone())),
        _ => None,
    };
    message.properties.iter().filter_map(pair).collect()
}

/// Who the proxy says it is.
fn instance_id(proxy: &Proxy) -> String {
    let file =
        std::fs::read_to_string(proxy.data().join("brokers.json")).expect("the definitions are stored");
    let file: serde_json::Value = serde_json::from_str(&file).expect("they are JSON");
    file["instance_id"].as_str().expect("the installation has a name").to_owned()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_first_proxy_stamps_and_what_devices_say_of_it_is_replaced() {
    let upstream = Scripted::listen();
    let proxy = Proxy::start();
    proxy.rest().add(&both_ways("up", upstream.port(), Version::V5));
    let mut link = upstream.welcome(false);
    link.grant();
    let own = instance_id(&proxy);
    let stamp = [("mqtt-proxy-origin", own.as_str()), ("mqtt-proxy-hops", "1")];
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.say("t/a", "plain", 1);
    assert_eq!(users(&link.take()), pairs(&stamp));
    // A rogue that names another installation, or has come far.
    let mut message = Publish::new("t/a", "forged").qos(1);
    message.properties = vec![
        user("mqtt-proxy-origin", "somebody"),
        user("a", "1"),
        user("mqtt-proxy-hops", "200"),
        user("mqtt-proxy-origin", &own),
    ];
    device.publish(message);
    assert_eq!(users(&link.take()), pairs(&[("a", "1"), stamp[0], stamp[1]]));
}

#[test]
fn a_message_that_comes_round_is_acknowledged_and_dropped_and_others_are_counted_on() {
    let (origin, other) = (Scripted::listen(), Scripted::listen());
    let proxy = Proxy::start();
    let id = proxy.rest().add(&both_ways("origin", origin.port(), Version::V5));
    proxy.rest().add(&local_broker("other", other.port(), Version::V5));
    let mut at_origin = origin.welcome(false);
    at_origin.grant();
    let mut at_other = other.welcome(false);
    let mut local = Device::connect(proxy.mqtt(), Version::V5, "local");
    local.subscribe("t/#", 1);
    let own = instance_id(&proxy);
    let mut send = |number: u16, origin: &str, hops: &str| {
        let mut message = Publish { id: number, ..Publish::new("t/a", format!("m{number}")).qos(1) };
        message.properties =
            vec![user("mqtt-proxy-origin", origin), user("b", "2"), user("mqtt-proxy-hops", hops)];
        at_origin.send(&message);
        assert_eq!(at_origin.expect(kind::PUBACK), number);
    };
    send(1, &own, "2");
    send(2, "another", "7");
    // This one has come as far as it may.
    send(3, "another", "8");
    send(4, "another", "nonsense");
    send(5, "another", "1");
    for (text, hops) in [("m2", "8"), ("m4", "1"), ("m5", "2")] {
        let message = at_other.take();
        assert_eq!(message.text(), text);
        let wanted = [("b", "2"), ("mqtt-proxy-origin", "another"), ("mqtt-proxy-hops", hops)];
        assert_eq!(users(&message), pairs(&wanted));
    }
    for text in ["m2", "m3", "m4", "m5"] {
        let message = local.receive();
        assert_eq!((message.text().as_str(), users(&message)), (text, pairs(&[("b", "2")])));
    }
    let shown = proxy.rest().broker(&id);
    assert_eq!(shown["left_out"], json!({"loop": 1}));
    let others = proxy.rest().broker(&proxy.rest().id_of("other"));
    assert_eq!(others["dropped"], json!({"hops": 1}));
}

#[test]
fn retained_and_queued_messages_reach_devices_without_stamps_also_after_a_restart() {
    let origin = Scripted::listen();
    let mut proxy = Proxy::start();
    proxy.rest().add(&both_ways("origin", origin.port(), Version::V5));
    let mut link = origin.welcome(false);
    link.grant();
    let kept = Connect::new(Version::V5, "kept").persistent();
    let mut device = Device::connect_with(proxy.mqtt(), &kept);
    device.subscribe("t/#", 1);
    device.cut();
    let mut message = Publish { id: 1, ..Publish::new("t/a", "m").qos(1).retained() };
    message.properties =
        vec![user("mqtt-proxy-origin", "another"), user("c", "3"), user("mqtt-proxy-hops", "1")];
    link.send(&message);
    assert_eq!(link.expect(kind::PUBACK), 1);
    for is_restarted in [false, true] {
        if is_restarted {
            proxy.kill_and_restart();
            let mut device = Device::connect_with(proxy.mqtt(), &kept);
            assert_eq!(users(&device.receive()), pairs(&[("c", "3")]), "queued");
            device.cut();
        }
        let mut later = Device::connect(proxy.mqtt(), Version::V5, "later");
        later.subscribe("t/#", 1);
        assert_eq!(users(&later.receive()), pairs(&[("c", "3")]), "retained, restarted: {is_restarted}");
    }
}

#[test]
fn names_limit_and_stripping_are_settings() {
    let (origin, other) = (Scripted::listen(), Scripted::listen());
    let settings =
        "[bridge]\norigin_property = 'o'\nhops_property = 'h'\nhops_max = 2\nstrip_for_devices = false\n";
    let proxy = Setup::new().settings(settings).start();
    proxy.rest().add(&both_ways("origin", origin.port(), Version::V5));
    proxy.rest().add(&local_broker("other", other.port(), Version::V5));
    let mut at_origin = origin.welcome(false);
    at_origin.grant();
    let mut at_other = other.welcome(false);
    let mut local = Device::connect(proxy.mqtt(), Version::V5, "local");
    local.subscribe("t/#", 1);
    for (number, hops) in [(1, "1"), (2, "2")] {
        let mut message = Publish { id: number, ..Publish::new("t/a", format!("m{number}")).qos(1) };
        message.properties = vec![user("o", "another"), user("h", hops)];
        at_origin.send(&message);
        assert_eq!(at_origin.expect(kind::PUBACK), number);
        assert_eq!(users(&local.receive()), pairs(&[("o", "another"), ("h", hops)]));
    }
    let message = at_other.take();
    assert_eq!((message.text().as_str(), users(&message)), ("m1", pairs(&[("o", "another"), ("h", "2")])));
    at_other.expect_silence();
}

#[test]
fn who_only_forwards_sends_messages_as_they_are_unless_told_otherwise() {
    let upstream = Scripted::listen();
    let proxy = Proxy::start();
    let id = proxy.rest().add(&local_broker("up", upstream.port(), Version::V5));
    let mut link = upstream.welcome(false);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    let mut message = Publish::new("t/a", "m").qos(1);
    message.properties = vec![user("mqtt-proxy-hops", "3")];
    device.publish(message.clone());
    assert_eq!(users(&link.take()), pairs(&[("mqtt-proxy-hops", "3")]));
    device.say("t/a", "plain", 1);
    assert_eq!(link.take().properties, Vec::new());
    let changed = proxy.rest().put(&format!("/api/brokers/{id}"), &json!({"stamp_origin": true}));
    assert_eq!(changed.status, 200, "{changed:?}");
    let mut link = upstream.welcome(true);
    device.say("t/a", "stamped", 1);
    assert_eq!(users(&link.take())[1], ("mqtt-proxy-hops".to_owned(), "1".to_owned()));
    // Another broker that is bidirectional: now they are stamped towards this one too, where nobody says anything.
    let changed = proxy.rest().put(&format!("/api/brokers/{id}"), &json!({"stamp_origin": null}));
    assert_eq!(changed.status, 200, "{changed:?}");
    let mut link = upstream.welcome(true);
    let second = Scripted::listen();
    proxy.rest().add(&both_ways("second", second.port(), Version::V4));
    wait_until("it is stamped", || {
        device.say("t/a", "again", 1);
        !link.take().properties.is_empty()
    });
}

#[test]
fn one_way_rings_of_5_0_brokers_stop() {
    let brokers = [Mosquitto::start(), Mosquitto::start(), Mosquitto::start()];
    let proxies = [Proxy::start(), Proxy::start(), Proxy::start()];
    let mut places = Vec::new();
    for (index, proxy) in proxies.iter().enumerate() {
        let mut from = both_ways("from", brokers[index].port(), Version::V5);
        // Nothing goes back.
        from["topics"] = json!(["nothing"]);
        join(proxy, &from);
        let mut to = local_broker("to", brokers[(index + 1) % 3].port(), Version::V5);
        to["topics"] = json!(["t/#"]);
        join(proxy, &to);
        places.push(Place::at(&format!("broker-{index}"), brokers[index].address()));
    }
    everybody_hears_everything(&mut places, 20, 2, 100);
}

#[test]
fn a_client_that_copies_user_properties_harms_its_own_messages_alone() {
    let brokers = [Mosquitto::start(), Mosquitto::start()];
    let proxy = Proxy::start();
    let mut places = vec![Place::at("proxy", proxy.mqtt())];
    for (name, broker) in ["a", "b"].iter().zip(&brokers) {
        join(&proxy, &both_ways(name, broker.port(), Version::V5));
        places.push(Place::at(name, broker.address()));
    }
    warm_up(&mut places);
    let mut rogue = Device::connect(brokers[0].address(), Version::V5, "rogue");
    rogue.subscribe("t/request", 1);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.subscribe("t/answer", 1);
    device.say("t/request", "what is new", 1);
    let request = rogue.receive();
    let mut answer = Publish::new("t/answer", "nothing").qos(1);
    answer.properties = request.properties.clone();
    rogue.publish(answer);
    // The mark says that the message is the proxy's own; what carries none is taken.
    rogue.say("t/answer", "nothing", 1);
    rogue.say("t/answer", "end", 1);
    assert_eq!(device.texts_before("end"), ["nothing"]);
    // A device that is told of a message by the proxy has no mark to copy.
    let mut other = Device::connect(proxy.mqtt(), Version::V5, "other");
    other.subscribe("t/notice", 1);
    rogue.say("t/notice", "hear", 1);
    assert_eq!(users(&other.receive()), pairs(&[]));
}
