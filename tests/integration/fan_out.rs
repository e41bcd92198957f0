//! One device connection, N upstream brokers: what a device publishes arrives at every one of them, once, in
//! order and unchanged.

use serde_json::json;

use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Publish, Value, number, property};
use crate::support::peers::{Peer, mosquitto_pub, mosquitto_sub};
use crate::support::proxy::{Proxy, Setup};
use crate::support::rest::local_broker;
use crate::support::{Version, assert_same, numbered, wait_until};

/// Retain As Published, so that a subscriber sees the flag that the broker got.
const RETAIN_AS_PUBLISHED: u8 = 0x08;

/// 1,200 messages over four topics, from a foreign device to an upstream of each version.
fn all_arrive_everywhere(device_version: Version, qos: u8) {
    let old = Mosquitto::start();
    let new = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("old", old.port(), Version::V4), ("new", new.port(), Version::V5)]);
    let at_old = Peer::subscriber(old.address(), Version::V4, "at-old", "fan/#", 2);
    let at_new = Peer::subscriber(new.address(), Version::V5, "at-new", "fan/#", 2);

    let wanted = numbered("m", 1_200);
    let device = Peer::connect(proxy.mqtt(), device_version, "device");
    let messages: Vec<Publish> = (0..).zip(&wanted).map(|(n, text)| on_one_of_four(n, text, qos)).collect();
    device.publish_all(&messages);
    device.publish_all(&[Publish::new("fan/0", "end").qos(qos)]);

    for (name, peer) in [("the 3.1.1 upstream", &at_old), ("the 5.0 upstream", &at_new)] {
        let arrived = peer.before("end");
        assert_same(&arrived.iter().map(Publish::text).collect::<Vec<_>>(), &wanted, name);
        assert!(arrived.iter().all(|message| message.qos == qos), "{name}: QoS {qos} was to be kept");
        let topics: Vec<String> = arrived.iter().map(|message| message.topic.clone()).collect();
        let sent: Vec<String> = messages.iter().map(|message| message.topic.clone()).collect();
        assert_same(&topics, &sent, name);
    }
    let rest = proxy.rest();
    wait_until("both brokers count 1,201 forwarded messages", || {
        rest.brokers().iter().all(|b| b["forwarded"] == 1_201)
    });
    assert_eq!(rest.status()["received"], 1_201);
}

fn on_one_of_four(n: usize, text: &str, qos: u8) -> Publish {
    Publish::new(&format!("fan/{}", n % 4), text).qos(qos)
}

#[test]
fn qos_0_from_a_3_1_1_device_arrives_everywhere() {
    all_arrive_everywhere(Version::V4, 0);
}

#[test]
fn qos_1_from_a_3_1_1_device_arrives_everywhere() {
    all_arrive_everywhere(Version::V4, 1);
}

#[test]
fn qos_2_from_a_3_1_1_device_arrives_everywhere() {
    all_arrive_everywhere(Version::V4, 2);
}

#[test]
fn qos_0_from_a_5_0_device_arrives_everywhere() {
    all_arrive_everywhere(Version::V5, 0);
}

#[test]
fn qos_1_from_a_5_0_device_arrives_everywhere() {
    all_arrive_everywhere(Version::V5, 1);
}

#[test]
fn qos_2_from_a_5_0_device_arrives_everywhere() {
    all_arrive_everywhere(Version::V5, 2);
}

#[test]
fn mixed_qos_on_one_topic_arrives_in_order_where_the_standard_promises_it() {
    let broker = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("one", broker.port(), Version::V5)]);
    let peer = Peer::subscriber(broker.address(), Version::V5, "peer", "t", 2);
    let wanted = numbered("m", 300);
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    device.publish_all(
        [0, 1, 2].iter().cycle().zip(&wanted).map(|(qos, text)| Publish::new("t", text).qos(*qos)),
    );
    device.say("t", "end", 2);
    wait_until("everything arrived", || peer.messages().len() == 301);
    for qos in 0..3 {
        let arrived =
            peer.messages().into_iter().filter(|message| message.qos == qos && message.text() != "end");
        let arrived: Vec<String> = arrived.map(|message| message.text()).collect();
        let sent: Vec<String> = wanted.iter().skip(usize::from(qos)).step_by(3).cloned().collect();
        assert_same(&arrived, &sent, &format!("QoS {qos}"));
    }
}

#[test]
fn identical_messages_in_a_row_are_all_forwarded() {
    let broker = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("one", broker.port(), Version::V4)]);
    let peer = Peer::subscriber(broker.address(), Version::V4, "peer", "t", 1);
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    device.publish_all((0..200).map(|_| Publish::new("t", "the same").qos(1)));
    device.say("t", "end", 1);
    assert_eq!(peer.before("end").len(), 200);
}

#[test]
fn each_of_many_devices_keeps_its_order_at_every_broker() {
    let brokers = [Mosquitto::start(), Mosquitto::start()];
    let proxy =
        Proxy::with_brokers(&[("a", brokers[0].port(), Version::V4), ("b", brokers[1].port(), Version::V5)]);
    let peers = [0, 1].map(|n| Peer::subscriber(brokers[n].address(), Version::V4, "peer", "d/#", 1));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let mqtt = proxy.mqtt();
            scope.spawn(move || {
                let version = Version::BOTH[number % 2];
                let mut device = Device::connect(mqtt, version, &format!("device-{number}"));
                let topic = format!("d/{number}");
                device.publish_all(numbered("m", 200).iter().map(|text| Publish::new(&topic, text).qos(1)));
            });
        }
    });
    Device::connect(proxy.mqtt(), Version::V4, "last").say("d/end", "end", 1);
    for peer in peers {
        let arrived = peer.before("end");
        for number in 0..8 {
            let topic = format!("d/{number}");
            let of_one = arrived.iter().filter(|message| message.topic == topic);
            assert_same(&of_one.map(Publish::text).collect::<Vec<_>>(), &numbered("m", 200), &topic);
        }
    }
}

#[test]
fn the_retain_flag_is_kept_at_both_versions() {
    let brokers = [Mosquitto::start(), Mosquitto::start()];
    let proxy =
        Proxy::with_brokers(&[("a", brokers[0].port(), Version::V4), ("b", brokers[1].port(), Version::V5)]);
    let mut watchers = [0, 1].map(|n| Device::connect(brokers[n].address(), Version::V5, "watcher"));
    for watcher in &mut watchers {
        watcher.subscribe_with(&Vec::new(), &[("#", 1 | RETAIN_AS_PUBLISHED)]);
    }
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    device.publish(Publish::new("kept", "yes").qos(1).retained());
    device.publish(Publish::new("passing", "no").qos(1));
    device.publish(Publish::new("kept", "").qos(1).retained());
    device.publish(Publish::new("kept/2", "still there").qos(1).retained());
    for (watcher, broker) in watchers.iter_mut().zip(&brokers) {
        let flags = [(); 4].map(|()| watcher.receive().retain);
        assert_eq!(flags, [true, false, true, true]);
        let late = Peer::subscriber(broker.address(), Version::V4, "late", "#", 1);
        wait_until("the retained message is there", || late.messages().len() == 1);
        assert_eq!((late.messages()[0].text().as_str(), late.messages()[0].retain), ("still there", true));
    }
}

#[test]
fn properties_reach_a_5_0_upstream_and_payloads_a_3_1_1_one() {
    let old = Mosquitto::start();
    let new = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("old", old.port(), Version::V4), ("new", new.port(), Version::V5)]);
    let at_old = Peer::subscriber(old.address(), Version::V5, "peer", "#", 1);
    let at_new = Peer::subscriber(new.address(), Version::V5, "peer", "#", 1);

    let pair = |name: &str, text: &str| Value::Pair(name.into(), text.into());
    let message = Publish::new("t", "payload")
        .qos(1)
        .property(property::PAYLOAD_FORMAT, Value::Byte(1))
        .property(property::MESSAGE_EXPIRY, Value::Four(500))
        .property(property::CONTENT_TYPE, Value::Text("text/plain; charset=utf-8".into()))
        .property(property::RESPONSE_TOPIC, Value::Text("answers/here".into()))
        .property(property::CORRELATION_DATA, Value::Binary(vec![0, 255, 7]))
        .property(property::USER, pair("b", "first"))
        .property(property::USER, pair("a", "second"))
        .property(property::USER, pair("b", "third"))
        .property(property::USER, pair("", ""));
    let device = Peer::connect(proxy.mqtt(), Version::V5, "device");
    device.publish_all(&[message.clone(), Publish::new("t", "end").qos(1)]);

    let arrived = at_new.before("end").remove(0);
    let without_expiry = |message: &Publish| {
        let kept = message.properties.iter().filter(|(id, _)| *id != property::MESSAGE_EXPIRY);
        kept.cloned().collect::<Vec<_>>()
    };
    assert_eq!(without_expiry(&arrived), without_expiry(&message));
    let expiry = number(&arrived.properties, property::MESSAGE_EXPIRY).expect("the expiry is kept");
    assert!((1..=500).contains(&expiry), "a message expiry of {expiry} s from one of 500 s");

    let arrived = at_old.before("end").remove(0);
    assert_eq!((arrived.text().as_str(), arrived.properties), ("payload", Vec::new()));
}

#[test]
fn a_topic_alias_of_the_device_becomes_the_topic() {
    let broker = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("one", broker.port(), Version::V5)]);
    let peer = Peer::subscriber(broker.address(), Version::V5, "peer", "#", 1);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    let with_alias = |topic: &str, text: &str, alias| {
        Publish::new(topic, text).qos(1).property(property::TOPIC_ALIAS, Value::Two(alias))
    };
    device.publish(with_alias("long/topic/one", "1", 1));
    device.publish(with_alias("long/topic/two", "2", 2));
    device.publish(with_alias("", "3", 1));
    device.publish(with_alias("long/topic/three", "4", 2));
    device.publish(with_alias("", "5", 2));
    device.say("end", "end", 1);
    let topics: Vec<String> = peer.before("end").into_iter().map(|message| message.topic).collect();
    let (one, two, three) = ("long/topic/one", "long/topic/two", "long/topic/three");
    assert_eq!(topics, [one, two, one, three, three]);
}

#[test]
fn a_broker_gets_only_what_its_topics_match() {
    let all = Mosquitto::start();
    let some = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("all", all.port(), Version::V4)]);
    let mut broker = local_broker("some", some.port(), Version::V5);
    broker["topics"] = json!(["plant/+/temperature", "alarm/#", "é/+"]);
    let id = proxy.rest().add(&broker);
    proxy.rest().wait_connected(&id);
    let at_all = Peer::subscriber(all.address(), Version::V4, "peer", "#", 1);
    let at_some = Peer::subscriber(some.address(), Version::V4, "peer", "#", 1);

    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    let topics =
        ["plant/1/temperature", "plant/1/humidity", "alarm", "alarm/fire/2", "plant/temperature", "é/x"];
    for topic in topics {
        device.say(topic, topic, 1);
    }
    device.say("alarm/end", "end", 1);
    assert_eq!(at_all.texts_before("end"), topics);
    assert_eq!(at_some.texts_before("end"), ["plant/1/temperature", "alarm", "alarm/fire/2", "é/x"]);

    let reply = proxy.rest().put(&format!("/api/brokers/{id}"), &json!({"topics": []}));
    assert_eq!(reply.status, 200, "{}", reply.body);
    device.say("anything", "now everything", 1);
    wait_until("no filter means everything", || {
        at_some.messages().iter().any(|message| message.text() == "now everything")
    });
}

#[test]
fn max_qos_caps_what_a_broker_gets() {
    for (cap, wanted) in [(0, [0, 0, 0]), (1, [0, 1, 1]), (2, [0, 1, 2])] {
        let broker = Mosquitto::start();
        let url = format!("mqtt://127.0.0.1:{}?name=capped&max_qos={cap}&version=5", broker.port());
        let proxy = Setup::new().upstream(&url).start();
        proxy.rest().wait_connected(&proxy.rest().id_of("capped"));
        let mut peer = Device::connect(broker.address(), Version::V4, "peer");
        peer.subscribe("#", 2);
        let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
        for qos in 0..3 {
            device.say(&format!("t/{qos}"), "m", qos);
        }
        let mut arrived = [(); 3].map(|()| peer.receive());
        arrived.sort_by(|left, right| left.topic.cmp(&right.topic));
        assert_eq!(arrived.map(|message| message.qos), wanted, "with max_qos = {cap}");
    }
}

#[test]
fn an_upstream_on_the_command_line_is_all_that_the_main_job_needs() {
    let brokers = [Mosquitto::start_with_user("ann", "s3cret"), Mosquitto::start()];
    let proxy = Setup::new()
        .upstream(&format!(
            "mqtt://ann:s3cret@127.0.0.1:{}?name=guarded&topics=a/%23,b/%2B",
            brokers[0].port()
        ))
        .upstream(&format!("mqtt://127.0.0.1:{}", brokers[1].port()))
        .start();
    let guarded = proxy.rest().id_of("guarded");
    proxy.rest().wait_connected(&guarded);
    let shown = proxy.rest().broker(&guarded);
    assert_eq!((&shown["topics"], &shown["read_only"]), (&json!(["a/#", "b/+"]), &json!(true)));

    let mut at_guarded = Device::connect_with(
        brokers[0].address(),
        &crate::support::packets::Connect::new(Version::V4, "peer").credentials("ann", "s3cret"),
    );
    at_guarded.subscribe("#", 1);
    let open = mosquitto_sub(brokers[1].address(), &["-t", "#", "-q", "1"]);
    let done = mosquitto_pub(proxy.mqtt(), &["-t", "a/1", "-m", "through", "-q", "1"]);
    assert_eq!(done.code, Some(0), "{}", done.output);
    assert_eq!(at_guarded.receive().text(), "through");
    wait_until("the other broker has it too", || open.output().contains("a/1 1 0 through"));
}

#[test]
fn large_empty_and_binary_payloads_pass_unchanged() {
    let broker = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("one", broker.port(), Version::V4)]);
    let peer = Peer::subscriber(broker.address(), Version::V4, "peer", "#", 2);
    let large: Vec<u8> = (0..500_000u32).map(|n| (n % 251) as u8).collect();
    let payloads = [Vec::new(), vec![0, 159, 146, 150, 255], large];
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    for qos in 0..3 {
        for payload in &payloads {
            device.publish(Publish::new("t/é", payload).qos(qos));
        }
        device.say("end", &format!("end {qos}"), qos);
        let end = format!("end {qos}");
        wait_until("all arrived", || peer.messages().iter().any(|message| message.text() == end));
        let arrived =
            peer.messages().into_iter().filter(|message| message.topic == "t/é" && message.qos == qos);
        let arrived: Vec<Vec<u8>> = arrived.map(|message| message.payload).collect();
        assert!(arrived == payloads, "QoS {qos}: the payloads changed");
    }
}
