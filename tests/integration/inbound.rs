//! Bidirectional upstream brokers: what is published there reaches local subscribers and the other brokers
//! once, and never goes back to where it came from.

use serde_json::{Value as Json, json};

use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Properties, Publish, Value, kind, property, suback, subscriptions};
use crate::support::peers::{Peer, mosquitto_pub};
use crate::support::proxy::{Proxy, Setup};
use crate::support::rest::local_broker;
use crate::support::scripted::{Link, Scripted};
use crate::support::{Version, assert_same, numbered, wait_until};

/// A broker that the proxy also subscribes at, at QoS 2.
fn bidirectional(name: &str, port: u16, version: Version, topics: &[&str]) -> Json {
    let mut definition = local_broker(name, port, version);
    definition["bidirectional"] = json!(true);
    definition["subscription_topics"] = json!(topics);
    definition["subscription_qos"] = json!(2);
    definition
}

/// A proxy with one scripted bidirectional upstream that is connected and subscribed at.
fn scripted(version: Version, connack: &Properties) -> (Proxy, Scripted, Link) {
    let upstream = Scripted::listen();
    let proxy = Proxy::start();
    proxy.rest().add(&bidirectional("scripted", upstream.port(), version, &["in/#"]));
    let mut link = upstream.welcome_with(false, connack);
    let filters = link.grant();
    assert_eq!((filters[0].0.as_str(), filters[0].1 & 3), ("in/#", 2));
    (proxy, upstream, link)
}

in_both_versions! {
    fn what_is_published_at_a_broker_reaches_subscribers_and_the_other_broker_once(version: Version) {
        let origin = Mosquitto::start();
        let other = Mosquitto::start();
        let proxy = Proxy::start();
        let rest = proxy.rest();
        for (name, broker) in [("origin", &origin), ("other", &other)] {
            let id = rest.add(&bidirectional(name, broker.port(), version, &["#"]));
            rest.wait_connected(&id);
        }
        wait_until("the proxy is subscribed at both", || {
            probe(&proxy, &origin, "origin") && probe(&proxy, &other, "other")
        });

        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("t/#", 2);
        let mut at_origin = Device::connect(origin.address(), Version::V4, "watcher");
        at_origin.subscribe("t/#", 2);
        let mut at_other = Device::connect(other.address(), Version::V4, "watcher");
        at_other.subscribe("t/#", 2);
        let mut author = Device::connect(origin.address(), version, "author");
        for qos in 0..3 {
            let (topic, end) = (format!("t/{qos}"), format!("end {qos}"));
            let wanted = numbered("m", 100);
            for few in wanted.chunks(20) {
                author.publish_all(few.iter().map(|text| Publish::new(&topic, text).qos(qos)));
            }
            author.say(&topic, &end, qos);
            assert_same(&local.texts_before(&end), &wanted, "the local subscriber");
            assert_same(&at_other.texts_before(&end), &wanted, "the other broker");
            assert_same(&at_origin.texts_before(&end), &wanted, "the origin, which has it from the author");
        }
        // A later message of somebody else comes behind anything that went round.
        Device::connect(proxy.mqtt(), version, "late").say("t/late", "late", 2);
        for (name, watcher) in [("local", &mut local), ("origin", &mut at_origin), ("other", &mut at_other)] {
            assert_eq!(watcher.texts_before("late"), Vec::<String>::new(), "{name}: something came twice");
        }
    }

    fn a_devices_message_does_not_come_back_from_a_bidirectional_broker(version: Version) {
        let brokers = [Mosquitto::start(), Mosquitto::start()];
        let proxy = Proxy::start();
        for (name, broker) in ["a", "b"].iter().zip(&brokers) {
            let id = proxy.rest().add(&bidirectional(name, broker.port(), version, &["#"]));
            proxy.rest().wait_connected(&id);
            wait_until("the proxy is subscribed", || probe(&proxy, broker, name));
        }
        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("t", 1);
        let peers = [0, 1].map(|n| Peer::subscriber(brokers[n].address(), Version::V4, "peer", "t", 1));
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        for round in 0..5 {
            device.publish_all((0..20).map(|_| Publish::new("t", "the same").qos(1)));
            device.say("t", &format!("end {round}"), 1);
        }
        for round in 0..5 {
            assert_eq!(local.texts_before(&format!("end {round}")).len(), 20, "locally, round {round}");
        }
        for peer in peers {
            assert_eq!(peer.before("end 4").len(), 5 * 20 + 4, "at a broker");
        }
        // Two brokers that hand everything to each other would never be done.
        let rest = proxy.rest();
        for name in ["a", "b"] {
            rest.wait_caught_up(&rest.id_of(name));
        }
        assert_eq!(local.inbox_after_ping(), Vec::<String>::new());
    }

    fn a_qos_2_message_that_is_sent_again_before_pubrel_is_delivered_once(version: Version) {
        let (proxy, upstream, mut link) = scripted(version, &Vec::new());
        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("in/#", 2);
        let message = Publish { id: 9, ..Publish::new("in/a", "once").qos(2) };
        link.send(&message);
        assert_eq!(link.expect(kind::PUBREC), 9);
        let again = Publish { dup: true, ..message.clone() };
        link.send(&again);
        assert_eq!(link.expect(kind::PUBREC), 9);
        link.cut();

        let mut link = upstream.welcome(true);
        link.send(&again);
        skip_subscribe_until(&mut link, kind::PUBREC, 9);
        link.ack(kind::PUBREL, 9);
        skip_subscribe_until(&mut link, kind::PUBCOMP, 9);
        link.send(&Publish { payload: b"second".to_vec(), ..message });
        skip_subscribe_until(&mut link, kind::PUBREC, 9);
        link.ack(kind::PUBREL, 9);
        assert_eq!(local.texts_before("second"), ["once"]);
    }

    fn what_a_broker_sends_right_before_it_goes_counts_once(version: Version) {
        let upstream = Scripted::listen();
        let proxy = Proxy::start();
        let mut definition = bidirectional("scripted", upstream.port(), version, &["in/#"]);
        definition["retry_floor_ms"] = json!(10);
        definition["retry_ceiling_ms"] = json!(50);
        proxy.rest().add(&definition);
        let mut link = upstream.welcome(false);
        link.grant();
        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("in/#", 2);
        for round in 0..20 {
            let message = |qos: u8| {
                let text = format!("{round} at {qos}");
                Publish { id: u16::from(qos), ..Publish::new("in/a", text).qos(qos) }
            };
            let all: Vec<u8> = (0..3).flat_map(|qos| message(qos).encode(version)).collect();
            link.wire.send(&all);
            link.cut();
            link = upstream.welcome(true);
            link.send(&Publish { dup: true, ..message(2) });
            skip_subscribe_until(&mut link, kind::PUBREC, 2);
            link.ack(kind::PUBREL, 2);
            skip_subscribe_until(&mut link, kind::PUBCOMP, 2);
            let end = format!("end {round}");
            link.send(&Publish { id: 9, ..Publish::new("in/a", &end).qos(1) });
            skip_subscribe_until(&mut link, kind::PUBACK, 9);
            let heard = local.texts_before(&end);
            assert_same(&heard, &[0, 1, 2].map(|qos| format!("{round} at {qos}")), "each of them");
        }
    }

    fn a_pubrel_of_nothing_is_answered(version: Version) {
        let (proxy, upstream, mut link) = scripted(version, &Vec::new());
        link.ack(kind::PUBREL, 77);
        assert_eq!(link.expect(kind::PUBCOMP), 77);
        link.cut();
        let mut link = upstream.welcome(true);
        link.ack(kind::PUBREL, 78);
        skip_subscribe_until(&mut link, kind::PUBCOMP, 78);
        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("in/#", 1);
        link.send(&Publish { id: 1, ..Publish::new("in/a", "alive").qos(1) });
        assert_eq!(local.receive().text(), "alive");
    }

    fn large_messages_from_a_broker_pass(version: Version) {
        let origin = Mosquitto::start();
        let proxy = Proxy::start();
        let id = proxy.rest().add(&bidirectional("origin", origin.port(), version, &["#"]));
        proxy.rest().wait_connected(&id);
        wait_until("the proxy is subscribed", || probe(&proxy, &origin, "origin"));
        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("t", 1);
        let author = Peer::connect(origin.address(), Version::V4, "author");
        for length in [20_000, 500_000] {
            let payload: Vec<u8> = (0..length).map(|n: u32| (n % 241) as u8).collect();
            author.publish_all(&[Publish::new("t", &payload).qos(1)]);
            assert!(local.receive().payload == payload, "{length} bytes changed on their way");
        }
    }

    fn the_subscriptions_are_made_again_where_the_broker_forgot_the_session(version: Version) {
        let (proxy, upstream, link) = scripted(version, &Vec::new());
        link.cut();
        let mut link = upstream.welcome(false);
        assert_eq!(link.grant()[0].0, "in/#");
        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("in/#", 1);
        link.send(&Publish::new("in/a", "back"));
        assert_eq!(local.receive().text(), "back");
    }

    fn messages_from_a_broker_are_acknowledged_while_the_window_towards_it_is_full(version: Version) {
        let limit = vec![(property::RECEIVE_MAXIMUM, Value::Two(1))];
        let none = Vec::new();
        let (proxy, _upstream, mut link) = scripted(version, if version.is_v5() { &limit } else { &none });
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.publish_all((0..3_000).map(|_| Publish::new("out", "m").qos(1)));
        link.publish();
        for id in 1..=5 {
            link.send(&Publish { id, ..Publish::new("in/a", "m").qos(1) });
        }
        let mut acknowledged = 0;
        while acknowledged < 5 {
            let packet = link.packet();
            if packet.kind() == kind::PUBACK {
                acknowledged += 1;
                assert_eq!(packet.id(), acknowledged);
            }
        }
    }

    fn a_retained_message_of_a_broker_is_there_for_later_local_subscribers(version: Version) {
        let (proxy, _upstream, mut link) = scripted(version, &Vec::new());
        link.send(&Publish { id: 5, ..Publish::new("in/kept", "kept").qos(1).retained() });
        assert_eq!(link.expect(kind::PUBACK), 5);
        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("in/#", 1);
        let message = local.receive();
        assert_eq!((message.text().as_str(), message.retain), ("kept", true));
    }
}

/// Reads until this acknowledgement comes; the proxy may subscribe once more on a resumed session.
fn skip_subscribe_until(link: &mut Link, wanted: u8, id: u16) {
    loop {
        let packet = link.packet();
        if packet.kind() != kind::SUBSCRIBE {
            assert_eq!((packet.kind(), packet.id()), (wanted, id));
            return;
        }
        let codes = vec![2; subscriptions(&packet, link.version()).len()];
        let granted = suback(link.version(), packet.id(), &codes);
        link.wire.send(&granted);
    }
}

/// Whether a message from this broker already comes through to the proxy's own subscribers.
fn probe(proxy: &Proxy, broker: &Mosquitto, name: &str) -> bool {
    let label = format!("broker=\"{name}\"");
    let received = || proxy.rest().metric("mqtt_broker_messages_received_total", &[&label]);
    let before = received();
    let done = mosquitto_pub(broker.address(), &["-t", "probe", "-m", "probe", "-q", "1"]);
    assert_eq!(done.code, Some(0), "{}", done.output);
    (0..20).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        received() > before
    })
}

#[test]
fn subscription_identifiers_of_a_5_0_broker_do_not_spoil_the_payload() {
    let (proxy, _upstream, mut link) = scripted(Version::V5, &Vec::new());
    let mut local = Device::connect(proxy.mqtt(), Version::V5, "local");
    local.subscribe("in/#", 1);
    let mut message = Publish { id: 3, ..Publish::new("in/a", "PAYLOAD").qos(1) };
    for id in [1, 300, 70_000] {
        message = message.property(property::SUBSCRIPTION_ID, Value::Variable(id));
    }
    link.send(&message);
    let arrived = local.receive();
    assert_eq!(arrived.text(), "PAYLOAD");
    let of_the_broker = arrived.properties.iter().any(|(id, _)| *id == property::SUBSCRIPTION_ID);
    assert!(!of_the_broker, "the broker's Subscription Identifiers are not the local subscriber's");
}

#[test]
fn properties_of_a_5_0_brokers_message_are_kept() {
    let (proxy, _upstream, mut link) = scripted(Version::V5, &Vec::new());
    let mut local = Device::connect(proxy.mqtt(), Version::V5, "local");
    local.subscribe("in/#", 1);
    let message = Publish::new("in/a", "x")
        .property(property::CONTENT_TYPE, Value::Text("a/b".into()))
        .property(property::USER, Value::Pair("z".into(), "1".into()))
        .property(property::USER, Value::Pair("a".into(), "2".into()));
    link.send(&message);
    assert_eq!(local.receive().properties, message.properties);
}

#[test]
fn a_bidirectional_upstream_on_the_command_line_subscribes_to_everything() {
    let upstream = Scripted::listen();
    let url = format!("mqtt://127.0.0.1:{}?name=two-way&bidirectional=true", upstream.port());
    let proxy = Setup::new().upstream(&url).start();
    let mut link = upstream.welcome(false);
    assert_eq!(link.grant(), [("#".to_owned(), 1)]);
    assert_eq!(proxy.rest().broker(&proxy.rest().id_of("two-way"))["bidirectional"], true);
}

#[test]
fn a_3_1_1_broker_that_knows_no_bridges_is_spoken_to_as_the_standard_says() {
    let upstream = Scripted::listen();
    let proxy = Proxy::start();
    let id = proxy.rest().add(&bidirectional("plain", upstream.port(), Version::V4, &["in/#"]));
    let mut link = upstream.accept();
    if link.connect.bridge {
        // Unacceptable protocol version.
        link.answer_connect(false, 1, &Vec::new());
        link = upstream.accept();
    }
    assert!(!link.connect.bridge);
    link.answer_connect(false, 0, &Vec::new());
    assert_eq!(link.grant()[0].0, "in/#");
    // Such a broker sends back what it gets; local subscribers and other brokers have it already.
    let mut local = Device::connect(proxy.mqtt(), Version::V4, "local");
    local.subscribe("in/#", 1);
    for text in ["echoed", "echoed", "not echoed", "echoed"] {
        local.say("in/a", text, 1);
        let message = link.take();
        if text == "echoed" {
            link.send(&Publish { id: 1, retain: false, ..message });
            assert_eq!(link.expect(kind::PUBACK), 1);
        }
    }
    link.send(&Publish { id: 2, ..Publish::new("in/a", "of the broker").qos(1) });
    assert_eq!(local.texts_before("of the broker"), ["echoed", "echoed", "not echoed", "echoed"]);
    assert_eq!(proxy.rest().broker(&id)["connected"], true);
}

#[test]
fn a_message_does_not_circle_between_two_brokers_that_send_back_what_they_get() {
    let upstreams = [Scripted::listen(), Scripted::listen()];
    let proxy = Proxy::start();
    let mut links = ["a", "b"].into_iter().zip(&upstreams).map(|(name, upstream)| {
        proxy.rest().add(&bidirectional(name, upstream.port(), Version::V4, &["#"]));
        let mut link = upstream.accept();
        if link.connect.bridge {
            link.answer_connect(false, 1, &Vec::new());
            link = upstream.accept();
        }
        link.answer_connect(false, 0, &Vec::new());
        link.grant();
        link
    });
    let mut links = [links.next().expect("two"), links.next().expect("two")];
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    device.say("t", "round and round", 1);
    for link in &mut links {
        let message = link.take();
        link.send(&Publish { id: 1, ..message });
    }
    for link in &mut links {
        let packet = link.packet();
        assert_eq!(packet.kind(), kind::PUBACK, "the message came once more: {packet:?}");
        link.expect_silence();
    }
}
