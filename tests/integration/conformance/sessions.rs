//! Session State (chapters 3.1.2.4, 3.1.2.11.2, 3.2.2.1.1 and 4.1): what it holds, how long, and who is told of it.

use super::named;
use crate::support::device::Device;
use crate::support::packets::{self, Connect, Publish, Value, kind, property};
use crate::support::proxy::Proxy;
use crate::support::shared;
use crate::support::{Version, numbered, wait_until};

fn expiry(secs: u32) -> (u8, Value) {
    (property::SESSION_EXPIRY, Value::Four(secs))
}

/// A 5.0 CONNECT that goes on with a Session and keeps it for so long.
fn lasting(client_id: &str, secs: u32) -> Connect {
    Connect { clean: false, properties: vec![expiry(secs)], ..Connect::new(Version::V5, client_id) }
}

in_both_versions! {
    fn session_present_says_whether_there_was_one(version: Version) {
        let proxy = shared::proxy();
        let keep = Connect::new(version, &named(version, "present")).persistent();
        let clean = Connect { clean: true, ..keep.clone() };
        let brief = Connect { clean: true, properties: Vec::new(), ..keep.clone() };
        // Each connection, and whether a Session is there for it.
        let rounds = [
            (&keep, false),
            (&keep, true),
            (&keep, true),
            (&clean, false),
            // In MQTT 3.1.1 a clean Session ends with its connection; in 5.0 the expiry decides.
            (&keep, version.is_v5()),
            (&keep, true),
            (&brief, false),
            (&keep, false),
        ];
        for (number, (connect, present)) in rounds.into_iter().enumerate() {
            let device = Device::connect_with(proxy.mqtt(), connect);
            assert_eq!((device.connack.code, device.connack.session_present), (0, present), "connection {number}");
            if number % 2 == 0 { device.disconnect() } else { device.cut() }
        }
    }

    fn it_holds_subscriptions_and_what_waits_and_what_is_open(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "holds");
        let connect = Connect::new(version, &topic).persistent();
        let mut device = Device::connect_with(proxy.mqtt(), &connect);
        device.subscribe(&format!("{topic}/+"), 2);
        device.subscribe(&format!("{topic}/gone"), 1);
        device.unsubscribe(&format!("{topic}/gone"));
        let mut speaker = Device::connect(proxy.mqtt(), version, &format!("{topic} speaker"));
        speaker.say(&format!("{topic}/a"), "open at 1", 1);
        speaker.say(&format!("{topic}/a"), "open at 2", 2);
        speaker.say(&format!("{topic}/a"), "released", 2);
        let open: Vec<Publish> = (0..3).map(|_| Publish::decode(&device.wire.packet(), version)).collect();
        device.wire.send(&packets::ack(kind::PUBREC, open[2].id));
        device.wire.expect(&packets::ack(kind::PUBREL, open[2].id));
        let own = Publish { id: 9, ..Publish::new(&format!("{topic}/b/c"), "own").qos(2) };
        device.wire.send(&own.encode(version));
        device.wire.expect_ack(kind::PUBREC, 9);
        device.cut();
        speaker.publish_all(numbered("m", 3).iter().map(|text| Publish::new(&format!("{topic}/b"), text).qos(2)));

        let mut device = Device::connect_with(proxy.mqtt(), &connect);
        assert!(device.connack.session_present);
        // What was open, in its order, under its identifiers, with DUP; then what waited.
        let packets: Vec<packets::Packet> = (0..6).map(|_| device.wire.packet()).collect();
        let (released, messages): (Vec<_>, Vec<_>) = packets.iter().partition(|packet| packet.kind() == kind::PUBREL);
        assert_eq!(released.iter().map(|packet| packet.id()).collect::<Vec<_>>(), [open[2].id]);
        let messages: Vec<Publish> = messages.iter().map(|packet| Publish::decode(packet, version)).collect();
        let open_again: Vec<Publish> = open[..2].iter().map(|m| Publish { dup: true, ..m.clone() }).collect();
        assert_eq!(messages[..2], open_again);
        assert_eq!(messages[2..].iter().map(Publish::text).collect::<Vec<_>>(), numbered("m", 3));
        assert!(messages[2..].iter().all(|message| !message.dup && message.id != open[2].id));
        // A repeat of the own message is recognised.
        device.wire.send(&Publish { dup: true, ..own }.encode(version));
        device.wire.expect_ack(kind::PUBREC, 9);
        device.wire.send(&packets::ack(kind::PUBREL, 9));
        device.wire.expect_ack(kind::PUBCOMP, 9);
    }

    fn a_clean_start_leaves_nothing_of_the_old_one(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "nothing-left");
        let connect = Connect::new(version, &topic).persistent();
        let mut device = Device::connect_with(proxy.mqtt(), &connect);
        device.subscribe(&topic, 2);
        let mut speaker = Device::connect(proxy.mqtt(), version, &format!("{topic} speaker"));
        speaker.say(&topic, "open", 2);
        Publish::decode(&device.wire.packet(), version);
        let own = Publish { id: 3, ..Publish::new(&format!("{topic}/own"), "one").qos(2) };
        device.wire.send(&own.encode(version));
        device.wire.expect_ack(kind::PUBREC, 3);
        device.cut();
        speaker.say(&topic, "waiting", 1);
        speaker.subscribe(&format!("{topic}/own"), 2);

        let mut device = Device::connect_with(proxy.mqtt(), &Connect { clean: true, ..connect });
        assert!(!device.connack.session_present);
        speaker.say(&topic, "nobody is subscribed", 1);
        assert_eq!(device.inbox_after_ping(), Vec::<String>::new());
        // The identifier of the forgotten message is free for another.
        device.wire.send(&Publish { payload: b"two".to_vec(), ..own }.encode(version));
        device.wire.expect_ack(kind::PUBREC, 3);
        device.wire.send(&packets::ack(kind::PUBREL, 3));
        device.wire.expect_ack(kind::PUBCOMP, 3);
        assert_eq!(speaker.receive().text(), "two");
    }

    fn retained_messages_outlive_the_session(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "outlive");
        let mut device = Device::connect(proxy.mqtt(), version, &topic);
        device.publish(Publish::new(&topic, "kept").qos(1).retained());
        device.disconnect();
        let mut device = Device::connect(proxy.mqtt(), version, &topic);
        device.subscribe(&topic, 1);
        assert_eq!(device.receive().text(), "kept");
    }

    fn messages_at_qos_1_and_2_are_kept_for_who_is_away(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "away");
        let connect = Connect::new(version, &topic).persistent();
        let mut device = Device::connect_with(proxy.mqtt(), &connect);
        device.subscribe(&topic, 2);
        device.disconnect();
        let mut speaker = Device::connect(proxy.mqtt(), version, &format!("{topic} speaker"));
        speaker.publish_all(numbered("m", 40).iter().zip([1, 2].into_iter().cycle()).map(|(text, qos)| Publish::new(&topic, text).qos(qos)));
        let mut device = Device::connect_with(proxy.mqtt(), &connect);
        let arrived = device.receive_all(40);
        assert_eq!(arrived.iter().map(Publish::text).collect::<Vec<_>>(), numbered("m", 40));
        assert!(arrived.iter().zip([1, 2].into_iter().cycle()).all(|(message, qos)| message.qos == qos && !message.dup));
    }

    fn it_survives_a_restart_of_the_proxy(version: Version) {
        let mut proxy = Proxy::start();
        let connect = Connect::new(version, "survivor").persistent();
        let mut device = Device::connect_with(proxy.mqtt(), &connect);
        device.subscribe("t", 2);
        device.cut();
        proxy.stop_and_restart();
        let mut device = Device::connect_with(proxy.mqtt(), &connect);
        assert!(device.connack.session_present);
        device.say("t", "still subscribed", 2);
        assert_eq!(device.receive().text(), "still subscribed");
    }
}

#[test]
fn a_5_0_session_without_expiry_ends_with_its_connection() {
    let proxy = shared::proxy();
    for properties in [Vec::new(), vec![expiry(0)]] {
        let connect = Connect { clean: false, properties, ..Connect::new(Version::V5, "ends-at-once") };
        for cut in [true, false] {
            let mut device = Device::connect_with(proxy.mqtt(), &connect);
            assert!(!device.connack.session_present, "{connect:?}");
            device.subscribe("ends-at-once", 1);
            if cut { device.cut() } else { device.disconnect() }
        }
    }
}

#[test]
fn a_5_0_session_ends_when_its_expiry_is_over_and_not_before() {
    let proxy = shared::proxy();
    // Two clients whose interval is long over while they are connected, and one whose interval starts with its end.
    let connect = lasting("expires", 1);
    let mut device = Device::connect_with(proxy.mqtt(), &connect);
    device.subscribe("expires", 1);
    let start = std::time::Instant::now();
    wait_until("the interval would be over if it had begun", || {
        device.ping();
        start.elapsed().as_millis() > 2_200
    });
    device.say("expires", "the Session is there while the connection is", 1);
    device.receive();
    device.cut();
    let mut device = Device::connect_with(proxy.mqtt(), &connect);
    assert!(device.connack.session_present, "it began with the end of the connection");
    device.ping();
    device.disconnect();
    let forever = Device::connect_with(proxy.mqtt(), &lasting("expires-never", u32::MAX));
    forever.cut();
    // Looking in from time to time would keep it: each look is a connection. So one look, after twice the time.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    assert!(!Device::connect_with(proxy.mqtt(), &connect).connack.session_present);
    assert!(Device::connect_with(proxy.mqtt(), &lasting("expires-never", u32::MAX)).connack.session_present);
}

#[test]
fn a_5_0_clean_start_begins_a_session_that_may_last() {
    let proxy = shared::proxy();
    let connect = Connect { clean: true, ..lasting("clean-lasting", 600) };
    let mut device = Device::connect_with(proxy.mqtt(), &connect);
    device.subscribe("clean-lasting", 1);
    device.cut();
    Device::connect(proxy.mqtt(), Version::V5, "clean-lasting speaker").say("clean-lasting", "kept", 1);
    let mut device = Device::connect_with(proxy.mqtt(), &lasting("clean-lasting", 600));
    assert!(device.connack.session_present);
    assert_eq!(device.receive().text(), "kept");
}

/// A Session whose subscriptions have options and identifiers, and whether they hold.
fn assert_options_hold(proxy: &Proxy, connect: &Connect) {
    let mut device = Device::connect_with(proxy.mqtt(), connect);
    assert!(device.connack.session_present);
    let mut speaker = Device::connect(proxy.mqtt(), Version::V5, "options speaker");
    device.say("options/own", "not for myself", 1);
    speaker.publish(Publish::new("options/retained", "kept").qos(2).retained());
    speaker.publish(Publish::new("options/own", "from another").qos(1).retained());
    let retained = device.receive();
    let of = |message: &Publish| packets::number(&message.properties, property::SUBSCRIPTION_ID);
    assert_eq!(
        (retained.text().as_str(), retained.qos, retained.retain, of(&retained)),
        ("kept", 2, true, Some(268_435_455))
    );
    let other = device.receive();
    assert_eq!(
        (other.text().as_str(), other.qos, other.retain, of(&other)),
        ("from another", 1, false, Some(7))
    );
    device.cut();
}

#[test]
fn options_and_identifiers_of_subscriptions_belong_to_it() {
    let mut proxy = Proxy::start();
    let connect = lasting("options", 600);
    let mut device = Device::connect_with(proxy.mqtt(), &connect);
    let identifier = |id| vec![(property::SUBSCRIPTION_ID, Value::Variable(id))];
    // No Local is bit 2, Retain As Published bit 3, "no retained messages" bit 5.
    assert_eq!(device.subscribe_with(&identifier(7), &[("options/own", 1 | 0x04 | 0x20)]), [1]);
    assert_eq!(
        device.subscribe_with(&identifier(268_435_455), &[("options/retained", 2 | 0x08 | 0x20)]),
        [2]
    );
    device.cut();
    assert_options_hold(&proxy, &connect);
    proxy.stop_and_restart();
    assert_options_hold(&proxy, &connect);
    proxy.kill_and_restart();
    assert_options_hold(&proxy, &connect);
}

#[test]
fn what_waits_keeps_its_properties() {
    let mut proxy = Proxy::start();
    let connect = lasting("waits", 600);
    let mut device = Device::connect_with(proxy.mqtt(), &connect);
    device.subscribe("waits", 2);
    device.cut();
    let user = |name: &str, value: &str| (property::USER, Value::Pair(name.into(), value.into()));
    let properties = vec![
        (property::PAYLOAD_FORMAT, Value::Byte(1)),
        (property::CONTENT_TYPE, Value::Text("text/plain".into())),
        (property::RESPONSE_TOPIC, Value::Text("answers".into())),
        (property::CORRELATION_DATA, Value::Binary(vec![0, 0xFF])),
        user("b", "1"),
        user("a", "2"),
        user("b", "1"),
    ];
    let mut speaker = Device::connect(proxy.mqtt(), Version::V5, "speaker");
    for qos in [1, 2] {
        speaker.publish(Publish { properties: properties.clone(), ..Publish::new("waits", "m").qos(qos) });
    }
    for _ in 0..2 {
        let mut device = Device::connect_with(proxy.mqtt(), &connect);
        for qos in [1, 2] {
            let message = Publish::decode(&device.wire.packet(), Version::V5);
            assert_eq!((message.qos, message.properties), (qos, properties.clone()));
        }
        // Nothing was acknowledged, so both come again.
        device.cut();
        proxy.kill_and_restart();
    }
}

#[test]
fn each_5_0_connection_sets_the_expiry_anew() {
    let proxy = shared::proxy();
    let present = |secs: u32| {
        let device = Device::connect_with(proxy.mqtt(), &lasting("anew", secs));
        let present = device.connack.session_present;
        device.disconnect();
        present
    };
    assert!(!present(600));
    assert!(present(600));
    assert!(present(0), "this one goes on and ends with its connection");
    assert!(!present(600));
    assert!(present(600));
}

#[test]
fn disconnect_may_change_the_expiry_but_not_start_one() {
    let proxy = shared::proxy();
    let goodbye = |secs: u32| [&[0xE0, 7, 0, 5, property::SESSION_EXPIRY], &secs.to_be_bytes()[..]].concat();
    let leave = |connect: &Connect, secs: u32| {
        let mut device = Device::connect_with(proxy.mqtt(), connect);
        device.wire.send(&goodbye(secs));
        let packets = device.wire.until_close();
        (device.connack.session_present, packets.first().map(packets::Packet::disconnect_reason))
    };
    let keep = lasting("changes", 600);
    assert_eq!(leave(&keep, 0), (false, None));
    assert_eq!(leave(&keep, 1_000), (false, None), "it ended with 0");
    assert_eq!(leave(&keep, 0), (true, None), "it was prolonged");
    // From 0 to something else is a Protocol Error.
    assert_eq!(leave(&lasting("changes", 0), 600), (false, Some(0x82)));
    assert_eq!(leave(&Connect::new(Version::V5, "changes"), 600), (false, Some(0x82)));
    assert_eq!(leave(&lasting("changes", 0), 0), (false, None));
    assert_eq!(leave(&keep, 0), (false, None));
}
