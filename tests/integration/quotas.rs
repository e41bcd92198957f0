//! Every quota, one step beyond it: what the client is told in both versions of MQTT, what is counted, and what goes on
//! as if nothing had happened.

use crate::support::device::Device;
use crate::support::packets::{self, Connect, Packet, Publish, Value, kind, property};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wire::{Seen, Wire};
use crate::support::{SILENCE, Version, assert_same, numbered, wait_until};

/// Reason Codes of MQTT 5.0.
mod reason {
    pub const SERVER_BUSY: u8 = 0x89;
    pub const TOPIC_FILTER_INVALID: u8 = 0x8F;
    pub const TOPIC_NAME_INVALID: u8 = 0x90;
    pub const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
    pub const PACKET_TOO_LARGE: u8 = 0x95;
    pub const MESSAGE_RATE_TOO_HIGH: u8 = 0x96;
    pub const QUOTA_EXCEEDED: u8 = 0x97;
}

/// What MQTT 3.1.1 says instead.
mod code {
    pub const SERVER_UNAVAILABLE: u8 = 3;
    pub const SUBSCRIPTION_FAILED: u8 = 0x80;
}

/// A proxy with these lines in `[limits]`.
fn limited(lines: &str) -> Proxy {
    Setup::new().settings(&format!("[limits]\n{lines}")).start()
}

fn exceeded(proxy: &Proxy, quota: &str) -> u64 {
    proxy.rest().metric("mqtt_quota_exceeded_total", &[&format!("quota=\"{quota}\"")]) as u64
}

/// The counter of the quota says so many, and so many lines of the log speak of it.
fn assert_exceeded(proxy: &Proxy, quota: &str, count: u64, lines: usize) {
    assert_eq!(exceeded(proxy, quota), count, "{quota}");
    let sign = format!("quota {quota}:");
    let logged = || proxy.log().lines().filter(|line| line.contains(&sign)).count();
    wait_until("the log says it", || logged() >= lines);
    assert_eq!(logged(), lines, "the log says it once a connection");
}

fn either(version: Version, in_5: u8, in_3_1_1: u8) -> u8 {
    if version.is_v5() { in_5 } else { in_3_1_1 }
}

/// The connection ends; in MQTT 5.0 with this reason.
fn assert_ended(device: &mut Device, version: Version, reason: u8) {
    if version.is_v5() {
        assert_eq!(device.disconnect_reason(), reason);
    } else {
        device.wait_closed();
    }
}

/// Sends a message and returns its PUBACK or PUBREC.
fn acknowledged(device: &mut Device, version: Version, message: Publish) -> Packet {
    device.wire.send(&message.encode(version));
    device.wire.packet()
}

in_both_versions! {
    fn a_connection_beyond_all_is_refused_until_another_one_goes(version: Version) {
        let proxy = limited("connections_max = 2");
        let first = Device::connect(proxy.mqtt(), version, "first");
        let _second = Device::connect(proxy.mqtt(), version, "second");
        let mut third = Device::try_connect(proxy.mqtt(), &Connect::new(version, "third"));
        assert_eq!(third.connack.code, either(version, reason::SERVER_BUSY, code::SERVER_UNAVAILABLE));
        third.wire.expect_close();
        assert_eq!(exceeded(&proxy, "connections"), 1);
        first.disconnect();
        Device::connect(proxy.mqtt(), version, "third");
    }

    fn a_connection_beyond_those_of_its_address_is_refused_until_another_one_goes(version: Version) {
        let proxy = limited("connections_per_address_max = 2");
        let first = Device::connect(proxy.mqtt(), version, "first");
        // One that has said nothing yet counts too.
        let _silent = Wire::open(proxy.mqtt());
        for _ in 0..2 {
            let mut third = Device::try_connect(proxy.mqtt(), &Connect::new(version, "third"));
            assert_eq!(third.connack.code, either(version, reason::QUOTA_EXCEEDED, code::SERVER_UNAVAILABLE));
            third.wire.expect_close();
        }
        assert_exceeded(&proxy, "connections_per_address", 2, 1);
        first.disconnect();
        wait_until("there is room again", || {
            Device::try_connect(proxy.mqtt(), &Connect::new(version, "third")).connack.code == 0
        });
    }

    fn a_session_beyond_all_is_refused_and_those_there_are_can_be_resumed(version: Version) {
        let proxy = limited("sessions_max = 2");
        let kept = Connect::new(version, "kept").persistent();
        Device::connect_with(proxy.mqtt(), &kept).disconnect();
        let second = Device::connect(proxy.mqtt(), version, "second");
        let mut third = Device::try_connect(proxy.mqtt(), &Connect::new(version, "third"));
        assert_eq!(third.connack.code, either(version, reason::QUOTA_EXCEEDED, code::SERVER_UNAVAILABLE));
        third.wire.expect_close();
        assert_eq!(exceeded(&proxy, "sessions"), 1);
        assert!(Device::connect_with(proxy.mqtt(), &kept).connack.session_present);
        second.disconnect();
        wait_until("the place is free", || {
            Device::try_connect(proxy.mqtt(), &Connect::new(version, "third")).connack.code == 0
        });
    }

    fn a_packet_that_is_too_long_ends_the_connection(version: Version) {
        let proxy = limited("packet_bytes_max = 200");
        let mut device = Device::connect(proxy.mqtt(), version, "d");
        device.say("t", &"x".repeat(150), 1);
        // The header alone says it.
        device.wire.send(&[0x30, 0xC8, 0x01]);
        assert_ended(&mut device, version, reason::PACKET_TOO_LARGE);
        assert_exceeded(&proxy, "packet_bytes", 1, 1);
    }

    fn a_connect_that_is_too_long_is_refused(version: Version) {
        let proxy = limited("packet_bytes_max = 200");
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(&Connect::new(version, &"x".repeat(200)).encode());
        if version.is_v5() {
            let answer = wire.packet();
            assert_eq!((answer.kind(), answer.body[1]), (kind::CONNACK, reason::PACKET_TOO_LARGE));
        }
        wire.expect_close();
        assert_eq!(exceeded(&proxy, "packet_bytes"), 1);
    }

    fn packets_other_than_publish_are_not_as_long_as_messages_may_be(version: Version) {
        let proxy = limited("packet_bytes_max = 8000000");
        let mut device = Device::connect(proxy.mqtt(), version, "d");
        device.publish(Publish::new("t", vec![b'x'; 2_000_000]).qos(1));
        let filters: Vec<String> = (0..150_000).map(|number| format!("f/{number}")).collect();
        let filters: Vec<(&str, u8)> = filters.iter().map(|filter| (filter.as_str(), 0)).collect();
        device.wire.try_send(&packets::subscribe(version, 9, &Vec::new(), &filters));
        assert_ended(&mut device, version, reason::PACKET_TOO_LARGE);
        assert_eq!(exceeded(&proxy, "packet_bytes"), 1);
    }

    fn topic_names_that_are_too_long_or_too_deep_are_refused(version: Version) {
        let proxy = limited("topic_bytes_max = 20\ntopic_levels_max = 4");
        let mut listener = Device::connect(proxy.mqtt(), version, "listener");
        listener.subscribe("#", 1);
        for topic in ["123456789012345678901", "a/b/c/d/e"] {
            for (qos, kind) in [(0, kind::DISCONNECT), (1, kind::PUBACK), (2, kind::PUBREC)] {
                let mut device = Device::connect(proxy.mqtt(), version, "d");
                device.say("a/b/c/d", "good", 1);
                let message = Publish { id: 7, ..Publish::new(topic, "bad").qos(qos) };
                device.wire.send(&message.encode(version));
                if !version.is_v5() {
                    device.wire.expect_close();
                } else if qos == 0 {
                    assert_eq!(device.disconnect_reason(), reason::TOPIC_NAME_INVALID);
                } else {
                    let answer = device.wire.packet();
                    assert_eq!((answer.kind(), answer.id()), (kind, 7));
                    assert_eq!(answer.ack_reason(), reason::TOPIC_NAME_INVALID);
                    device.say("12345678901234567890", "good", qos);
                }
            }
        }
        assert_exceeded(&proxy, "topic", 6, 6);
        listener.say("end", "end", 1);
        let heard = listener.texts_before("end");
        assert!(heard.iter().all(|text| text == "good"), "{heard:?}");
        assert_eq!(heard.len(), if version.is_v5() { 10 } else { 6 });
    }

    fn topic_filters_that_are_too_long_or_too_deep_are_refused_one_by_one(version: Version) {
        let proxy = limited("topic_bytes_max = 20\ntopic_levels_max = 4");
        let mut device = Device::connect(proxy.mqtt(), version, "d");
        let refused = either(version, reason::TOPIC_FILTER_INVALID, code::SUBSCRIPTION_FAILED);
        let filters = [("+/+/+/#", 1), ("+/+/+/+/#", 1), ("12345678901234567890", 0), ("123456789012345678901", 0)];
        assert_eq!(device.subscribe_with(&Vec::new(), &filters), [1, refused, 0, refused]);
        assert_exceeded(&proxy, "topic", 2, 1);
        device.say("a/b/c/d", "heard", 1);
        assert_eq!(device.receive().text(), "heard");
    }

    fn a_will_for_a_topic_that_is_too_deep_refuses_the_connection(version: Version) {
        let proxy = limited("topic_levels_max = 4");
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(&Connect::new(version, "d").will("a/b/c/d/e", "gone").encode());
        if version.is_v5() {
            let answer = wire.packet();
            assert_eq!((answer.kind(), answer.body[1]), (kind::CONNACK, reason::TOPIC_NAME_INVALID));
        }
        wire.expect_close();
        assert_eq!(exceeded(&proxy, "topic"), 1);
        Device::connect_with(proxy.mqtt(), &Connect::new(version, "d").will("a/b/c/d", "gone"));
    }

    fn the_longest_topic_of_few_levels_is_no_problem_by_default(version: Version) {
        let proxy = Proxy::start();
        let mut device = Device::connect(proxy.mqtt(), version, "d");
        let topic = format!("a/{}", "x".repeat(65_533));
        device.subscribe("a/+", 1);
        device.say(&topic, "here", 1);
        assert_eq!(device.receive().topic, topic);
        device.subscribe(&"/".repeat(199), 1);
        assert_eq!(exceeded(&proxy, "topic"), 0);
    }

    fn subscriptions_beyond_those_of_a_client_are_refused_one_by_one(version: Version) {
        let proxy = limited("subscriptions_per_client_max = 2");
        let mut device = Device::connect(proxy.mqtt(), version, "d");
        let refused = either(version, reason::QUOTA_EXCEEDED, code::SUBSCRIPTION_FAILED);
        assert_eq!(device.subscribe_with(&Vec::new(), &[("a", 0), ("b", 0), ("c", 0)]), [0, 0, refused]);
        assert_eq!(device.subscribe_with(&Vec::new(), &[("b", 1), ("d", 1)]), [1, refused], "b is replaced");
        assert_exceeded(&proxy, "subscriptions", 2, 1);
        device.unsubscribe("a");
        device.subscribe("c", 2);
        Device::connect(proxy.mqtt(), version, "other").subscribe("c", 0);
        device.say("c", "heard", 1);
        assert_eq!(device.receive().text(), "heard");
    }

    fn no_more_messages_are_in_flight_towards_a_client_than_the_settings_say(version: Version) {
        let proxy = limited("inflight_messages_max = 3");
        let mut listener = Device::connect(proxy.mqtt(), version, "listener");
        listener.subscribe("t", 1);
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        speaker.publish_all(numbered("m", 10).iter().map(|text| Publish::new("t", text).qos(1)));
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(Publish::decode(&listener.wire.packet(), version).id);
        }
        assert_eq!(listener.wire.look(SILENCE), Seen::Silence);
        for _ in 3..10 {
            listener.wire.send(&packets::ack(kind::PUBACK, ids.remove(0)));
            ids.push(Publish::decode(&listener.wire.packet(), version).id);
        }
    }

    fn a_client_that_publishes_too_fast_is_slowed_down_and_loses_nothing(version: Version) {
        let proxy = limited("messages_per_second_max = 100");
        let mut listener = Device::connect(proxy.mqtt(), version, "listener");
        listener.subscribe("t", 1);
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        let wanted = numbered("m", 150);
        let start = std::time::Instant::now();
        speaker.publish_all(wanted.iter().map(|text| Publish::new("t", text).qos(1)));
        speaker.say("t", "end", 1);
        assert!(start.elapsed().as_millis() >= 500, "51 messages came without waiting");
        assert_same(&listener.texts_before("end"), &wanted, "all of them in order");
        let waits = exceeded(&proxy, "message_rate");
        assert!(waits >= 1);
        assert_exceeded(&proxy, "message_rate", waits, 1);
        assert!(proxy.log().contains("client speaker: quota message_rate"));
    }

    fn a_client_that_publishes_too_fast_is_disconnected_where_the_settings_say_so(version: Version) {
        let proxy = limited("messages_per_second_max = 10\non_message_rate = 'disconnect'");
        let mut listener = Device::connect(proxy.mqtt(), version, "listener");
        listener.subscribe("t", 0);
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        let messages = numbered("m", 30);
        let bytes: Vec<u8> = messages.iter().flat_map(|text| Publish::new("t", text).encode(version)).collect();
        speaker.wire.send(&bytes);
        assert_ended(&mut speaker, version, reason::MESSAGE_RATE_TOO_HIGH);
        assert_exceeded(&proxy, "message_rate", 1, 1);
        listener.say("t", "end", 1);
        assert_same(&listener.texts_before("end"), &messages[..10], "what was within the rate");
    }

    fn retained_messages_beyond_all_are_refused_where_that_can_be_said(version: Version) {
        let proxy = limited("retained_messages_max = 2");
        let mut listener = Device::connect(proxy.mqtt(), version, "listener");
        listener.subscribe("#", 1);
        let mut device = Device::connect(proxy.mqtt(), version, "d");
        let set = |topic: &str, text: &str, qos| Publish { id: 7, ..Publish::new(topic, text).qos(qos).retained() };
        device.publish_all([set("a", "1", 1), set("b", "1", 2)]);
        let answer = acknowledged(&mut device, version, set("c", "1", 1));
        assert_eq!(answer.ack_reason(), either(version, reason::QUOTA_EXCEEDED, 0));
        let answer = acknowledged(&mut device, version, set("c", "2", 2));
        assert_eq!((answer.kind(), answer.ack_reason()), (kind::PUBREC, either(version, reason::QUOTA_EXCEEDED, 0)));
        if !version.is_v5() {
            device.wire.send(&packets::ack(kind::PUBREL, 7));
            assert_eq!(device.wire.packet().kind(), kind::PUBCOMP);
        }
        device.publish_all([set("c", "3", 0), set("a", "2", 1)]);
        assert_exceeded(&proxy, "retained", 3, 1);
        let mut fresh = Device::connect(proxy.mqtt(), version, "fresh");
        fresh.subscribe("#", 1);
        device.say("end", "end", 1);
        let mut kept: Vec<_> = fresh.receive_before("end").into_iter().map(|m| (m.topic.clone(), m.text())).collect();
        kept.sort_unstable();
        assert_eq!(kept, [("a", "2"), ("b", "1")].map(|(topic, text)| (topic.to_owned(), text.to_owned())));
        // What was refused went nowhere; what could not be refused went to everybody who is there.
        let heard = listener.receive_before("end").iter().filter(|message| message.topic == "c").map(Publish::text).collect::<Vec<_>>();
        assert_eq!(heard, if version.is_v5() { vec!["3"] } else { vec!["1", "2", "3"] });
        device.publish_all([set("a", "", 1), set("c", "4", 1)]);
    }

    fn the_bytes_of_retained_messages_are_bounded_too(version: Version) {
        let proxy = limited("retained_bytes_max = 1000");
        let mut device = Device::connect(proxy.mqtt(), version, "d");
        let set = |topic: &str, bytes: usize| Publish { id: 7, ..Publish::new(topic, vec![b'x'; bytes]).qos(1).retained() };
        device.publish_all([set("a", 499), set("b", 499)]);
        assert_eq!(proxy.rest().metric("mqtt_retained_bytes", &[]), 1_000.0);
        let refused = either(version, reason::QUOTA_EXCEEDED, 0);
        assert_eq!(acknowledged(&mut device, version, set("c", 1)).ack_reason(), refused);
        device.publish_all([set("b", 497), set("c", 1)]);
        assert_eq!(acknowledged(&mut device, version, set("b", 498)).ack_reason(), refused, "it does not fit either");
        assert_eq!(exceeded(&proxy, "retained"), 2);
        let (messages, bytes) = if version.is_v5() { (3.0, 1_000.0) } else { (2.0, 502.0) };
        assert_eq!(proxy.rest().metric("mqtt_retained_messages", &[]), messages);
        assert_eq!(proxy.rest().metric("mqtt_retained_bytes", &[]), bytes);
    }

    fn unfinished_packets_take_no_more_than_their_memory(version: Version) {
        let proxy = limited("receiving_bytes_max = 1048576");
        let start = {
            let message = Publish::new("t", vec![b'x'; 500_000]).encode(version);
            message[..400_000].to_vec()
        };
        let mut honest = Device::connect(proxy.mqtt(), version, "honest");
        let mut devices: Vec<Device> =
            (0..5).map(|number| Device::connect(proxy.mqtt(), version, &format!("d{number}"))).collect();
        for device in &mut devices {
            device.wire.try_send(&start);
        }
        wait_until("somebody had to go", || exceeded(&proxy, "receiving_bytes") >= 3);
        // Whoever sends small packets notices nothing.
        honest.say("t", "small", 2);
        assert_eq!(exceeded(&proxy, "receiving_bytes"), 3);
        let mut ended = 0;
        for device in &mut devices {
            match device.wire.look(SILENCE) {
                Seen::Silence => {}
                Seen::Packet(packet) => {
                    assert_eq!((packet.kind(), packet.disconnect_reason()), (kind::DISCONNECT, reason::QUOTA_EXCEEDED));
                    ended += 1;
                }
                Seen::Closed => ended += 1,
            }
        }
        assert_eq!(ended, 3);
        drop(devices);
        let mut late = Device::connect(proxy.mqtt(), version, "late");
        late.publish(Publish::new("t", vec![b'x'; 900_000]).qos(1));
    }

    fn a_client_that_takes_no_answers_is_not_listened_to_for_ever(version: Version) {
        let proxy = Proxy::start();
        let mut device = Device::connect_with(proxy.mqtt(), &Connect::new(version, "d").keep_alive(1));
        let before = proxy.rest().metric("process_resident_memory_bytes", &[]);
        // Until the sockets of both sides are full, and the proxy does not read any more.
        let pings = packets::PINGREQ.repeat(64 * 1024);
        let mut sent = 0;
        while sent < 2_000 && device.wire.send_within(&pings, SILENCE) {
            sent += 1;
        }
        assert!(sent < 2_000, "256 MB of pings were taken");
        let grown = proxy.rest().metric("process_resident_memory_bytes", &[]) - before;
        assert!(grown < 50e6, "{grown} bytes for one client that does not read");
        wait_until("its keep alive is over", || {
            proxy.log().contains("client d: disconnected by us: keep alive timeout")
        });
    }

    fn very_many_small_packets_at_once_are_all_answered(version: Version) {
        let proxy = Proxy::start();
        let mut device = Device::connect(proxy.mqtt(), version, "d");
        device.subscribe("t", 1);
        let mut bytes = packets::PINGREQ.repeat(30_000);
        bytes.extend(Publish::new("t", "last").encode(version));
        device.wire.send(&bytes);
        for _ in 0..30_000 {
            device.wire.expect(&packets::PINGRESP);
        }
        assert_eq!(device.receive().text(), "last");

        // Also those that do not wait for CONNACK.
        let mut eager = Wire::open(proxy.mqtt());
        eager.send(&[Connect::new(version, "eager").encode(), packets::PINGREQ.repeat(30_000)].concat());
        assert_eq!(eager.packet().kind(), kind::CONNACK);
        for _ in 0..30_000 {
            eager.expect(&packets::PINGRESP);
        }
    }

    fn connections_that_come_too_fast_wait_and_none_is_refused(version: Version) {
        let proxy = limited("accepts_per_second_max = 10");
        let start = std::time::Instant::now();
        let devices: Vec<Device> =
            (0..20).map(|number| Device::connect(proxy.mqtt(), version, &format!("d{number}"))).collect();
        assert_eq!(devices.len(), 20);
        assert!(start.elapsed().as_millis() >= 800, "ten connections came without waiting");
        assert!(exceeded(&proxy, "accepts") >= 1);
        wait_until("the log says it", || proxy.log().contains("quota accepts: new connections wait"));
    }
}

#[test]
fn more_than_the_receive_maximum_is_counted() {
    let proxy = limited("receive_maximum = 2");
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "d");
    for id in 1..=3 {
        let message = Publish { id, ..Publish::new("t", "x").qos(2) };
        device.wire.send(&message.encode(Version::V5));
    }
    let packets = device.wire.until_close();
    let last = packets.last().expect("it is told");
    assert_eq!((last.kind(), last.disconnect_reason()), (kind::DISCONNECT, reason::RECEIVE_MAXIMUM_EXCEEDED));
    assert_exceeded(&proxy, "receive_maximum", 1, 1);
}

#[test]
fn retained_messages_that_expire_free_their_memory_though_nobody_asks_and_do_not_come_back() {
    let mut proxy = limited("retained_messages_max = 3000");
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "d");
    let expiring = |number| {
        Publish::new(&format!("t/{number}"), "x")
            .qos(1)
            .retained()
            .property(property::MESSAGE_EXPIRY, Value::Four(1))
    };
    device.publish_all((0..2_500).map(expiring));
    device.publish(Publish::new("stays", "x").qos(1).retained());
    let kept = |proxy: &Proxy| {
        let rest = proxy.rest();
        (rest.metric("mqtt_retained_messages", &[]), rest.metric("mqtt_retained_bytes", &[]))
    };
    wait_until("all have expired", || kept(&proxy) == (1.0, 6.0));
    proxy.kill_and_restart();
    assert_eq!(kept(&proxy), (1.0, 6.0));
}

#[test]
fn a_retained_message_that_was_not_kept_does_not_come_back_after_a_restart() {
    let mut proxy = limited("retained_messages_max = 1");
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "d");
    // Whoever keeps a session makes the proxy write all of this down.
    Device::connect_with(proxy.mqtt(), &Connect::new(Version::V4, "kept").persistent()).subscribe("#", 1);
    device.publish_all(["a", "b", "c"].map(|topic| Publish::new(topic, "x").qos(1).retained()));
    proxy.stop_and_restart();
    let mut fresh = Device::connect(proxy.mqtt(), Version::V4, "fresh");
    fresh.subscribe("#", 1);
    fresh.say("end", "end", 1);
    let topics: Vec<String> = fresh.receive_before("end").into_iter().map(|message| message.topic).collect();
    assert_eq!(topics, ["a"]);
}
