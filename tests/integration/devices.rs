//! What a device may expect of the proxy as its broker: connections, sessions, Wills, retained messages and
//! subscriptions, in both versions of MQTT.

use std::collections::HashSet;

use crate::support::device::Device;
use crate::support::packets::{self, Connack, Connect, Publish, Value, kind, number, property};
use crate::support::peers::{Peer, mosquitto_pub, mosquitto_sub};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wire::Wire;
use crate::support::{Version, assert_same, numbered, wait_until};

/// Subscription option bits of MQTT 5.0.
mod option {
    pub const NO_LOCAL: u8 = 0x04;
    pub const RETAIN_AS_PUBLISHED: u8 = 0x08;
    pub const SEND_RETAINED_IF_NEW: u8 = 0x10;
    pub const SEND_NO_RETAINED: u8 = 0x20;
}

/// Reason Codes that DISCONNECT carries here.
mod reason {
    pub const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;
    pub const SESSION_TAKEN_OVER: u8 = 0x8E;
}

fn expiry(secs: u32) -> (u8, Value) {
    (property::SESSION_EXPIRY, Value::Four(secs))
}

in_both_versions! {
    fn devices_talk_to_each_other_at_every_qos(version: Version) {
        let proxy = Proxy::start();
        for (publish_qos, subscribe_qos) in [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)] {
            let topic = format!("t/{publish_qos}/{subscribe_qos}");
            let mut listener = Device::connect(proxy.mqtt(), version, "listener");
            listener.subscribe(&topic, subscribe_qos);
            let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
            let wanted = numbered("m", 200);
            speaker.publish_all(wanted.iter().map(|text| Publish::new(&topic, text).qos(publish_qos)));
            speaker.say(&topic, "end", publish_qos);
            let arrived = listener.receive_before("end");
            assert_same(&arrived.iter().map(Publish::text).collect::<Vec<_>>(), &wanted, &topic);
            let qos = publish_qos.min(subscribe_qos);
            assert!(arrived.iter().all(|message| message.qos == qos && !message.retain && !message.dup), "{topic}");
        }
    }

    fn foreign_clients_talk_through_the_proxy(version: Version) {
        let proxy = Proxy::start();
        for qos in 0..3 {
            let topic = format!("f/{qos}");
            let listener = Peer::subscriber(proxy.mqtt(), version, "listener", &topic, qos);
            let speaker = Peer::connect(proxy.mqtt(), version, "speaker");
            let wanted = numbered("m", 500);
            let messages: Vec<Publish> =
                wanted.iter().map(|text| Publish::new(&topic, text).qos(qos)).collect();
            speaker.publish_all(&messages);
            speaker.publish_all(&[Publish::new(&topic, "end").qos(qos)]);
            assert_same(&listener.texts_before("end"), &wanted, &topic);
        }
    }

    fn the_commands_of_mosquitto_work(version: Version) {
        let proxy = Proxy::start();
        let protocol = if version.is_v5() { "mqttv5" } else { "mqttv311" };
        let listener = mosquitto_sub(proxy.mqtt(), &["-V", protocol, "-t", "a/#", "-q", "2"]);
        for qos in ["0", "1", "2"] {
            let arguments = ["-V", protocol, "-t", "a/b", "-m", &format!("hello{qos}"), "-q", qos];
            let done = mosquitto_pub(proxy.mqtt(), &arguments);
            assert_eq!(done.code, Some(0), "{}", done.output);
            let line = format!("a/b {qos} 0 hello{qos}");
            wait_until("the message is printed", || listener.output().contains(&line));
        }
    }

    fn a_ping_is_answered(version: Version) {
        let proxy = Proxy::start();
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.wire.send(&packets::PINGREQ);
        device.wire.expect(&packets::PINGRESP);
    }

    fn a_silent_device_is_disconnected_after_its_keep_alive(version: Version) {
        let proxy = Proxy::start();
        let mut witness = Device::connect(proxy.mqtt(), version, "witness");
        witness.subscribe("gone", 1);
        let connect = Connect::new(version, "silent").keep_alive(1).will("gone", "silent");
        let mut silent = Device::connect_with(proxy.mqtt(), &connect);
        if version.is_v5() {
            assert_eq!(silent.disconnect_reason(), reason::KEEP_ALIVE_TIMEOUT);
        } else {
            silent.wire.expect_close();
        }
        assert_eq!(witness.receive().text(), "silent");
    }

    fn a_device_that_pings_stays(version: Version) {
        let proxy = Proxy::start();
        let mut device = Device::connect_with(proxy.mqtt(), &Connect::new(version, "d").keep_alive(1));
        let start = std::time::Instant::now();
        while start.elapsed() < std::time::Duration::from_millis(2_500) {
            std::thread::sleep(std::time::Duration::from_millis(400));
            device.ping();
        }
    }

    fn a_second_connection_takes_the_session_over(version: Version) {
        let proxy = Proxy::start();
        let connect = Connect::new(version, "twin").persistent();
        let mut first = Device::connect_with(proxy.mqtt(), &connect);
        first.subscribe("t", 1);
        let mut second = Device::connect_with(proxy.mqtt(), &connect);
        assert!(second.connack.session_present);
        if version.is_v5() {
            assert_eq!(first.disconnect_reason(), reason::SESSION_TAKEN_OVER);
        } else {
            first.wire.expect_close();
        }
        second.say("t", "mine now", 1);
        assert_eq!(second.receive().text(), "mine now");
        assert_eq!(proxy.rest().status()["connected_clients"], 1);
    }

    fn many_take_overs_in_a_row_leave_one_session(version: Version) {
        let proxy = Proxy::start();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let mut wire = Wire::open(proxy.mqtt());
                        wire.send(&Connect::new(version, "twin").persistent().encode());
                        wire.packet();
                        wire.cut();
                    }
                });
            }
        });
        let mut last = Device::connect_with(proxy.mqtt(), &Connect::new(version, "twin").persistent());
        assert!(last.connack.session_present);
        last.subscribe("t", 1);
        last.say("t", "alone", 1);
        assert_eq!(last.receive().text(), "alone");
        let rest = proxy.rest();
        wait_until("one session is left", || {
            let status = rest.status();
            status["sessions"] == 1 && status["connected_clients"] == 1
        });
    }

    fn a_device_without_an_identifier_gets_one(version: Version) {
        let proxy = Proxy::start();
        let mut assigned = HashSet::new();
        for _ in 0..3 {
            let mut device = Device::connect(proxy.mqtt(), version, "");
            device.ping();
            if version.is_v5() {
                let id = packets::find(&device.connack.properties, property::ASSIGNED_CLIENT_ID).cloned();
                let Some(Value::Text(id)) = id else { panic!("an identifier was to be assigned") };
                assert!(assigned.insert(id.clone()), "{id} was assigned twice");
                let mut again = Device::connect(proxy.mqtt(), version, &id);
                again.ping();
            }
        }
    }

    fn messages_for_an_absent_persistent_session_wait_in_order(version: Version) {
        let proxy = Proxy::start();
        let connect = Connect::new(version, "sleeper").persistent();
        let mut sleeper = Device::connect_with(proxy.mqtt(), &connect);
        assert!(!sleeper.connack.session_present);
        sleeper.subscribe("t/#", 2);
        sleeper.disconnect();
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        let wanted = numbered("m", 300);
        for (qos, half) in [1, 2].into_iter().zip(wanted.chunks(150)) {
            speaker.publish_all(half.iter().map(|text| Publish::new("t/x", text).qos(qos)));
        }
        let mut sleeper = Device::connect_with(proxy.mqtt(), &connect);
        assert!(sleeper.connack.session_present);
        speaker.say("t/x", "end", 2);
        assert_same(&sleeper.texts_before("end"), &wanted, "what waited");
    }

    fn unacknowledged_messages_come_again_as_duplicates_after_a_reconnect(version: Version) {
        let proxy = Proxy::start();
        let connect = Connect::new(version, "forgetful").persistent();
        let mut first = Device::connect_with(proxy.mqtt(), &connect);
        first.subscribe("t", 2);
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        speaker.say("t", "one", 1);
        speaker.say("t", "two", 2);
        let sent: Vec<Publish> = (0..2).map(|_| Publish::decode(&first.wire.packet(), version)).collect();
        first.cut();

        let mut second = Device::connect_with(proxy.mqtt(), &connect);
        assert!(second.connack.session_present);
        let again: Vec<Publish> = (0..2).map(|_| Publish::decode(&second.wire.packet(), version)).collect();
        let wanted: Vec<Publish> = sent.iter().map(|m| Publish { dup: true, ..m.clone() }).collect();
        assert_eq!(again, wanted);
        second.wire.send(&packets::ack(kind::PUBREC, sent[1].id));
        second.wire.expect(&packets::ack(kind::PUBREL, sent[1].id));
        second.cut();

        let mut third = Device::connect_with(proxy.mqtt(), &connect);
        let packets = [third.wire.packet(), third.wire.packet()];
        assert_eq!(packets.each_ref().map(|p| (p.kind(), p.first & 0x0F)), [(kind::PUBLISH, 0x0A), (kind::PUBREL, 2)]);
        assert_eq!(packets[1].id(), sent[1].id);
    }

    fn a_qos_2_message_that_a_device_sends_twice_is_routed_once(version: Version) {
        let proxy = Proxy::start();
        let mut listener = Device::connect(proxy.mqtt(), version, "listener");
        listener.subscribe("t", 2);
        let connect = Connect::new(version, "speaker").persistent();
        let mut speaker = Device::connect_with(proxy.mqtt(), &connect);
        let message = Publish { id: 7, ..Publish::new("t", "once").qos(2) };
        speaker.wire.send(&message.encode(version));
        assert_eq!(speaker.wire.packet().id(), 7);
        speaker.cut();
        let mut speaker = Device::connect_with(proxy.mqtt(), &connect);
        speaker.wire.send(&Publish { dup: true, ..message.clone() }.encode(version));
        let pubrec = speaker.wire.packet();
        assert_eq!((pubrec.kind(), pubrec.id()), (kind::PUBREC, 7));
        for _ in 0..2 {
            speaker.wire.send(&packets::ack(kind::PUBREL, 7));
            let pubcomp = speaker.wire.packet();
            assert_eq!((pubcomp.kind(), pubcomp.id()), (kind::PUBCOMP, 7));
        }
        speaker.wire.send(&Publish { payload: b"twice".to_vec(), ..message }.encode(version));
        assert_eq!(speaker.wire.packet().kind(), kind::PUBREC);
        speaker.wire.send(&packets::ack(kind::PUBREL, 7));
        assert_eq!(listener.texts_before("twice"), ["once"]);
    }

    fn a_clean_start_forgets_the_session(version: Version) {
        let proxy = Proxy::start();
        let persistent = Connect::new(version, "d").persistent();
        let mut device = Device::connect_with(proxy.mqtt(), &persistent);
        device.subscribe("t", 1);
        device.disconnect();
        let device = Device::connect(proxy.mqtt(), version, "d");
        assert!(!device.connack.session_present);
        device.disconnect();
        let mut device = Device::connect_with(proxy.mqtt(), &persistent);
        assert!(!device.connack.session_present, "a clean session ends with its connection");
        device.say("t", "nobody listens", 1);
        device.subscribe("t", 1);
        device.say("t", "now", 1);
        assert_eq!(device.receive().text(), "now");
    }

    fn the_will_is_published_when_the_connection_breaks(version: Version) {
        let proxy = Proxy::start();
        let mut witness = Device::connect(proxy.mqtt(), version, "witness");
        witness.subscribe("will/#", 2);
        Device::connect_with(proxy.mqtt(), &Connect::new(version, "d").will("will/d", "broken")).cut();
        let will = witness.receive();
        assert_eq!((will.topic.as_str(), will.text().as_str(), will.qos), ("will/d", "broken", 1));
    }

    fn the_will_is_not_published_after_disconnect(version: Version) {
        let proxy = Proxy::start();
        let mut witness = Device::connect(proxy.mqtt(), version, "witness");
        witness.subscribe("will/#", 1);
        Device::connect_with(proxy.mqtt(), &Connect::new(version, "d").will("will/d", "never")).disconnect();
        Device::connect_with(proxy.mqtt(), &Connect::new(version, "e").will("will/e", "broken")).cut();
        assert_eq!(witness.texts_before("broken"), Vec::<String>::new());
    }

    fn the_will_is_published_on_takeover_and_on_a_malformed_packet(version: Version) {
        let proxy = Proxy::start();
        let mut witness = Device::connect(proxy.mqtt(), version, "witness");
        witness.subscribe("will/#", 1);
        let _first = Device::connect_with(proxy.mqtt(), &Connect::new(version, "d").will("will/d", "taken over"));
        let _second = Device::connect(proxy.mqtt(), version, "d");
        assert_eq!(witness.receive().text(), "taken over");
        let mut third = Device::connect_with(proxy.mqtt(), &Connect::new(version, "e").will("will/e", "malformed"));
        third.wire.send(&[0xF7, 0x00]);
        assert_eq!(witness.receive().text(), "malformed");
    }

    fn a_session_that_ends_with_its_connection_is_not_resumed_by_a_takeover(version: Version) {
        let proxy = Proxy::start();
        let mut first = Device::connect(proxy.mqtt(), version, "d");
        first.subscribe("t", 1);
        let mut second = Device::connect_with(proxy.mqtt(), &Connect::new(version, "d").persistent());
        assert!(!second.connack.session_present);
        first.wait_closed();
        second.say("t", "nobody subscribed", 1);
        second.ping();
        assert_eq!(second.inbox_after_ping(), Vec::<String>::new());
    }

    fn a_client_that_comes_back_at_once_always_gets_an_answer(version: Version) {
        let proxy = Proxy::start();
        // In 5.0 the session ends with each connection, and its end meets the next CONNECT half-way.
        let mut connect = Connect::new(version, "hasty");
        connect.clean = false;
        for round in 0..200 {
            let device = Device::connect_with(proxy.mqtt(), &connect);
            if round % 2 == 0 { device.disconnect() } else { device.cut() }
        }
        Device::connect(proxy.mqtt(), version, "hasty").ping();
    }

    fn a_retained_will_is_retained(version: Version) {
        let proxy = Proxy::start();
        let mut connect = Connect::new(version, "d").will("will/d", "broken");
        connect.will.as_mut().expect("there is a Will").retain = true;
        Device::connect_with(proxy.mqtt(), &connect).cut();
        wait_until("the Will is retained", || proxy.rest().status()["retained"] == 1);
        let mut late = Device::connect(proxy.mqtt(), version, "late");
        late.subscribe("will/#", 1);
        let will = late.receive();
        assert_eq!((will.text().as_str(), will.retain), ("broken", true));
    }

    fn a_retained_message_is_set_replaced_and_deleted(version: Version) {
        let proxy = Proxy::start();
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.publish(Publish::new("r/1", "old").qos(1).retained());
        device.publish(Publish::new("r/1", "new").qos(2).retained());
        device.publish(Publish::new("r/2", "other").qos(0).retained());
        device.publish(Publish::new("r/2", "not retained").qos(1));
        device.ping();
        let mut late = Device::connect(proxy.mqtt(), version, "late");
        late.subscribe("r/#", 1);
        let mut found = [late.receive(), late.receive()].map(|m| (m.text(), m.qos, m.retain));
        found.sort();
        assert_eq!(found, [("new".to_owned(), 1, true), ("other".to_owned(), 0, true)]);

        device.publish(Publish::new("r/1", "").qos(1).retained());
        let gone = late.receive();
        assert_eq!((gone.payload.len(), gone.retain), (0, false), "live subscribers see the deletion as a message");
        let mut later = Device::connect(proxy.mqtt(), version, "later");
        later.subscribe("r/#", 1);
        device.say("r/end", "end", 1);
        assert_eq!(later.texts_before("end"), ["other"]);
        assert_eq!(proxy.rest().status()["retained"], 1);
    }

    fn wildcards_match_as_the_standard_says(version: Version) {
        let proxy = Proxy::start();
        let topics = ["a", "/a", "a/", "a/b", "a/b/c", "a//c", "b/b", "é/ü", "$x/b", "A/b"];
        let table: &[(&str, &[&str])] = &[
            ("#", &["a", "/a", "a/", "a/b", "a/b/c", "a//c", "b/b", "é/ü", "A/b"]),
            ("+", &["a"]),
            ("+/+", &["/a", "a/", "a/b", "b/b", "é/ü", "A/b"]),
            ("/+", &["/a"]),
            ("a/#", &["a", "a/", "a/b", "a/b/c", "a//c"]),
            ("a/+", &["a/", "a/b"]),
            ("a/+/c", &["a/b/c", "a//c"]),
            ("+/b", &["a/b", "b/b", "A/b"]),
            ("+/b/#", &["a/b", "a/b/c", "b/b", "A/b"]),
            ("é/+", &["é/ü"]),
            ("a/b", &["a/b"]),
        ];
        let mut listeners: Vec<Device> = Vec::new();
        for (number, (filter, _)) in table.iter().enumerate() {
            let mut listener = Device::connect(proxy.mqtt(), version, &format!("listener-{number}"));
            listener.subscribe(filter, 1);
            listener.subscribe("the/very/last/end", 1);
            listeners.push(listener);
        }
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        speaker.publish_all(topics.iter().map(|topic| Publish::new(topic, topic).qos(1)));
        speaker.say("the/very/last/end", "end", 1);
        for ((filter, wanted), listener) in table.iter().zip(&mut listeners) {
            assert_eq!(listener.texts_before("end"), *wanted, "{filter}");
        }
    }

    fn dollar_topics_are_seen_by_who_asks_for_them(version: Version) {
        let proxy = Proxy::start();
        let mut listener = Device::connect(proxy.mqtt(), version, "listener");
        listener.subscribe("$x/#", 1);
        listener.say("$x/b", "hello", 1);
        assert_eq!(listener.receive().text(), "hello");
    }

    fn overlapping_subscriptions_deliver_at_the_highest_qos(version: Version) {
        let proxy = Proxy::start();
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.subscribe("t/#", 0);
        device.subscribe("t/+", 2);
        device.subscribe("t/x", 1);
        device.say("t/x", "m", 2);
        device.say("t/x", "end", 2);
        // One copy for all subscriptions or one for each: both are allowed, but one has the highest QoS.
        let arrived = device.receive_before("end");
        assert!(arrived.iter().any(|message| message.qos == 2 && message.text() == "m"), "{arrived:?}");
    }

    fn subscribing_again_replaces_the_subscription(version: Version) {
        let proxy = Proxy::start();
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.publish(Publish::new("t", "kept").qos(1).retained());
        device.subscribe("t", 0);
        assert_eq!(device.receive().text(), "kept");
        device.subscribe("t", 1);
        let again = device.receive();
        assert_eq!((again.text().as_str(), again.qos, again.retain), ("kept", 1, true));
        device.say("t", "live", 1);
        assert_eq!(device.receive().qos, 1);
        assert_eq!(proxy.rest().status()["subscriptions"], 1);
        device.unsubscribe("t");
        device.say("t", "unheard", 1);
        device.subscribe("end", 1);
        device.say("end", "end", 1);
        assert_eq!(device.texts_before("end"), Vec::<String>::new());
    }

    fn one_subscribe_may_hold_many_filters_and_a_bad_one_spoils_only_itself(version: Version) {
        let proxy = Proxy::start();
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        let codes = device.subscribe_with(&Vec::new(), &[("a", 0), ("b/+", 1), ("c/#", 2)]);
        assert_eq!(codes, [0, 1, 2]);
        for topic in ["a", "b/1", "c/1/2"] {
            device.say(topic, topic, 2);
        }
        let arrived = [device.receive(), device.receive(), device.receive()];
        assert_eq!(arrived.map(|m| (m.text(), m.qos)), [("a", 0), ("b/1", 1), ("c/1/2", 2)].map(|(t, q)| (t.into(), q)));
    }

    fn credentials_are_asked_for_where_the_settings_say_so(version: Version) {
        let settings = "[auth]\nrequire_auth = true\nusername = \"ann\"\npassword = \"s3cret\"";
        let proxy = Setup::new().settings(settings).start();
        let bad = [
            Connect::new(version, "d"),
            Connect::new(version, "d").credentials("ann", "wrong"),
            Connect::new(version, "d").credentials("bob", "s3cret"),
            Connect::new(version, "d").credentials("ann", ""),
        ];
        for connect in bad {
            let mut refused = Device::try_connect(proxy.mqtt(), &connect);
            let allowed: &[u8] = if version.is_v5() { &[0x86, 0x87] } else { &[4, 5] };
            assert!(allowed.contains(&refused.connack.code), "{:?} for {connect:?}", refused.connack);
            assert!(!refused.connack.session_present);
            refused.wire.expect_close();
        }
        let good = Connect::new(version, "d").credentials("ann", "s3cret");
        Device::connect_with(proxy.mqtt(), &good).ping();
        assert!(!proxy.log().contains("s3cret"), "a password is in the log");
    }
}

#[test]
fn a_connection_that_sends_no_connect_is_closed() {
    let proxy = Setup::new().settings("[server]\nconnect_timeout_secs = 1").start();
    let mut silent = Wire::open(proxy.mqtt());
    let mut slow = Wire::open(proxy.mqtt());
    slow.send(&Connect::new(Version::V4, "slow").encode()[..7]);
    silent.expect_close();
    slow.expect_close();
    Device::connect(proxy.mqtt(), Version::V4, "normal").ping();
}

#[test]
fn a_connect_that_comes_byte_by_byte_is_taken() {
    let proxy = Proxy::start();
    let mut wire = Wire::open(proxy.mqtt());
    for byte in Connect::new(Version::V4, "slow").encode() {
        wire.send(&[byte]);
    }
    wire.expect(&[0x20, 0x02, 0x00, 0x00]);
}

#[test]
fn a_3_1_1_device_without_an_identifier_needs_a_clean_session() {
    let proxy = Proxy::start();
    let mut connect = Connect::new(Version::V4, "");
    connect.clean = false;
    let mut device = Device::try_connect(proxy.mqtt(), &connect);
    assert_eq!(device.connack.code, 2, "identifier rejected");
    device.wire.expect_close();
}

#[test]
fn an_unknown_protocol_level_is_refused_with_its_code() {
    let proxy = Proxy::start();
    for level in [2, 6, 255] {
        let mut bytes = Connect::new(Version::V4, "d").encode();
        bytes[8] = level;
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(&bytes);
        let packets = wire.until_close();
        assert_eq!(packets.len(), 1, "a CONNACK and the end: {packets:?}");
        assert!([1, 0x84].contains(&packets[0].body[1]), "level {level}: {packets:?}");
    }
}

#[test]
fn packets_that_follow_connect_in_one_write_are_taken() {
    let proxy = Proxy::start();
    let mut wire = Wire::open(proxy.mqtt());
    let mut bytes = Connect::new(Version::V4, "eager").encode();
    bytes.extend(packets::subscribe(Version::V4, 1, &Vec::new(), &[("t", 0)]));
    bytes.extend(Publish::new("t", "m").encode(Version::V4));
    bytes.extend(packets::PINGREQ);
    wire.send(&bytes);
    wire.expect(&[0x20, 2, 0, 0]);
    wire.expect(&[0x90, 3, 0, 1, 0]);
    let rest = [wire.packet().kind(), wire.packet().kind()];
    assert!(rest.contains(&kind::PUBLISH) && rest.contains(&kind::PINGRESP), "{rest:?}");
}

#[test]
fn a_session_ends_when_its_expiry_is_over() {
    let proxy = Proxy::start();
    let brief = Connect::new(Version::V5, "brief").property(expiry(1).0, expiry(1).1);
    let mut device = Device::connect_with(proxy.mqtt(), &Connect { clean: false, ..brief.clone() });
    device.subscribe("t", 1);
    device.cut();
    let rest = proxy.rest();
    wait_until("the session is gone", || rest.status()["sessions"] == 0);
    let device = Device::connect_with(proxy.mqtt(), &Connect { clean: false, ..brief });
    assert!(!device.connack.session_present);
}

#[test]
fn a_session_without_expiry_interval_ends_with_its_connection() {
    let proxy = Proxy::start();
    let connect = Connect { clean: false, ..Connect::new(Version::V5, "d") };
    let mut device = Device::connect_with(proxy.mqtt(), &connect);
    device.subscribe("t", 1);
    device.disconnect();
    assert!(!Device::connect_with(proxy.mqtt(), &connect).connack.session_present);
}

#[test]
fn disconnect_may_change_the_session_expiry() {
    let proxy = Proxy::start();
    let lasting = Connect::new(Version::V5, "d").persistent();
    let mut device = Device::connect_with(proxy.mqtt(), &lasting);
    // DISCONNECT: normal, Session Expiry Interval 0.
    device.wire.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]);
    device.wire.expect_close();
    assert!(!Device::connect_with(proxy.mqtt(), &lasting).connack.session_present);

    let ending = Connect { clean: false, ..Connect::new(Version::V5, "e") };
    let mut device = Device::connect_with(proxy.mqtt(), &ending);
    // A Session Expiry Interval other than 0 after one of 0 is a Protocol Error.
    device.wire.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9]);
    assert_eq!(device.disconnect_reason(), 0x82);
}

#[test]
fn disconnect_with_will_publishes_the_will() {
    let proxy = Proxy::start();
    let mut witness = Device::connect(proxy.mqtt(), Version::V5, "witness");
    witness.subscribe("will/#", 1);
    let mut device =
        Device::connect_with(proxy.mqtt(), &Connect::new(Version::V5, "d").will("will/d", "wanted"));
    device.wire.send(&[0xE0, 1, 0x04]);
    device.wire.expect_close();
    assert_eq!(witness.receive().text(), "wanted");
}

#[test]
fn a_delayed_will_waits_and_is_not_sent_where_the_device_is_back() {
    let proxy = Proxy::start();
    let mut witness = Device::connect(proxy.mqtt(), Version::V5, "witness");
    witness.subscribe("will/#", 1);
    let delayed = |id: &str, secs: u32| {
        let connect = Connect::new(Version::V5, id).persistent().will(&format!("will/{id}"), id);
        connect.will_property(property::WILL_DELAY, Value::Four(secs))
    };
    let back = delayed("back", 2);
    Device::connect_with(proxy.mqtt(), &back).cut();
    let mut device = Device::connect_with(proxy.mqtt(), &back);
    assert!(device.connack.session_present);
    Device::connect_with(proxy.mqtt(), &delayed("gone", 1)).cut();
    Device::connect_with(proxy.mqtt(), &delayed("at once", 0)).cut();
    Device::connect_with(proxy.mqtt(), &delayed("much later", 3)).cut();
    let wills = [(); 3].map(|()| witness.receive().text());
    assert_eq!(wills, ["at once", "gone", "much later"]);
    device.ping();
}

#[test]
fn a_delayed_will_is_sent_when_its_session_ends_before() {
    let proxy = Proxy::start();
    let mut witness = Device::connect(proxy.mqtt(), Version::V5, "witness");
    witness.subscribe("will/#", 1);
    let connect = Connect::new(Version::V5, "d").will("will/d", "over");
    // Session Expiry Interval 0, so the session ends with the connection.
    Device::connect_with(proxy.mqtt(), &connect.will_property(property::WILL_DELAY, Value::Four(600))).cut();
    assert_eq!(witness.receive().text(), "over");
}

#[test]
fn properties_of_will_and_message_reach_local_subscribers() {
    let proxy = Proxy::start();
    let mut witness = Device::connect(proxy.mqtt(), Version::V5, "witness");
    witness.subscribe("#", 1);
    let user = |text: &str| (property::USER, Value::Pair("k".into(), text.into()));
    let content = (property::CONTENT_TYPE, Value::Text("a/b".into()));
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    let message = Publish::new("t", "m").qos(1).property(content.0, content.1.clone());
    let message = message.property(user("2").0, user("2").1).property(user("1").0, user("1").1);
    device.publish(message.clone());
    assert_eq!(witness.receive().properties, message.properties);
    let connect = Connect::new(Version::V5, "d").will("will", "w").will_property(user("w").0, user("w").1);
    Device::connect_with(proxy.mqtt(), &connect).cut();
    assert_eq!(witness.receive().properties, [user("w")]);
}

#[test]
fn retain_handling_and_retain_as_published_are_obeyed() {
    let proxy = Proxy::start();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.publish(Publish::new("r", "kept").qos(1).retained());
    let none = Vec::new();
    device.subscribe_with(&none, &[("r", 1 | option::SEND_NO_RETAINED)]);
    device.subscribe_with(&none, &[("r", 1 | option::SEND_RETAINED_IF_NEW)]);
    device.publish(Publish::new("r", "live").qos(1).retained());
    let live = device.receive();
    assert_eq!((live.text().as_str(), live.retain), ("live", false));
    device.unsubscribe("r");
    device.subscribe_with(&none, &[("r", 1 | option::SEND_RETAINED_IF_NEW | option::RETAIN_AS_PUBLISHED)]);
    let kept = device.receive();
    assert_eq!((kept.text().as_str(), kept.retain), ("live", true));
    device.publish(Publish::new("r", "published as retained").qos(1).retained());
    assert!(device.receive().retain);
    device.say("r", "published as normal", 1);
    assert!(!device.receive().retain);
}

#[test]
fn no_local_keeps_a_devices_own_messages_away() {
    let proxy = Proxy::start();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.subscribe_with(&Vec::new(), &[("t", 1 | option::NO_LOCAL)]);
    device.say("t", "mine", 1);
    Device::connect(proxy.mqtt(), Version::V5, "other").say("t", "theirs", 1);
    assert_eq!(device.receive().text(), "theirs");
}

#[test]
fn subscription_identifiers_tell_which_subscription_matched() {
    let proxy = Proxy::start();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    for (filter, id) in [("t/#", 1), ("t/+", 268_435_455), ("other", 3)] {
        let identifier = vec![(property::SUBSCRIPTION_ID, Value::Variable(id))];
        assert_eq!(device.subscribe_with(&identifier, &[(filter, 1)]), [1]);
    }
    device.say("t/x", "both", 1);
    device.say("other", "end", 1);
    let identifiers: HashSet<Value> = device
        .receive_before("end")
        .into_iter()
        .flat_map(|message| message.properties)
        .filter(|(id, _)| *id == property::SUBSCRIPTION_ID)
        .map(|(_, value)| value)
        .collect();
    assert_eq!(identifiers, HashSet::from([Value::Variable(1), Value::Variable(268_435_455)]));
}

#[test]
fn a_topic_alias_beyond_the_maximum_ends_the_connection() {
    let proxy = Setup::new().settings("[limits]\ntopic_alias_maximum = 3").start();
    for alias in [0, 4] {
        let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
        assert_eq!(number(&device.connack.properties, property::TOPIC_ALIAS_MAXIMUM), Some(3));
        let message = Publish::new("t", "m").property(property::TOPIC_ALIAS, Value::Two(alias));
        device.wire.send(&message.encode(Version::V5));
        let reason = device.disconnect_reason();
        // Alias 0 is a Protocol Error, one above the maximum is Topic Alias invalid.
        assert!(reason == 0x94 || (alias == 0 && reason == 0x82), "the reason was {reason:#x}");
    }
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    let unknown = Publish::new("", "m").property(property::TOPIC_ALIAS, Value::Two(2));
    device.wire.send(&unknown.encode(Version::V5));
    assert!([0x82, 0x94].contains(&device.disconnect_reason()), "an alias that was never introduced");
}

#[test]
fn a_device_never_has_more_open_messages_than_its_receive_maximum() {
    let proxy = Proxy::start();
    let connect = Connect::new(Version::V5, "small").property(property::RECEIVE_MAXIMUM, Value::Two(2));
    let mut small = Device::connect_with(proxy.mqtt(), &connect);
    small.subscribe("t", 1);
    let mut speaker = Device::connect(proxy.mqtt(), Version::V5, "speaker");
    speaker.publish_all(numbered("m", 6).iter().map(|text| Publish::new("t", text).qos(1)));
    let mut open: Vec<Publish> = Vec::new();
    for _ in 0..2 {
        open.push(Publish::decode(&small.wire.packet(), Version::V5));
    }
    for number in 2..6 {
        small.wire.send(&packets::PINGREQ);
        small.wire.expect(&packets::PINGRESP);
        small.wire.send(&packets::ack(kind::PUBACK, open.remove(0).id));
        open.push(Publish::decode(&small.wire.packet(), Version::V5));
        assert_eq!(open[1].text(), format!("m-{number:05}"));
    }
}

#[test]
fn a_device_that_exceeds_the_proxys_receive_maximum_is_disconnected() {
    let proxy = Setup::new().settings("[limits]\nreceive_maximum = 3").start();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    assert_eq!(number(&device.connack.properties, property::RECEIVE_MAXIMUM), Some(3));
    for id in 1..=3 {
        device.wire.send(&Publish { id, ..Publish::new("t", "m").qos(2) }.encode(Version::V5));
        assert_eq!(device.wire.packet().id(), id);
    }
    device.wire.send(&Publish { id: 4, ..Publish::new("t", "m").qos(2) }.encode(Version::V5));
    assert_eq!(device.disconnect_reason(), 0x93, "receive maximum exceeded");
}

#[test]
fn a_message_too_large_for_a_device_is_not_sent_to_it() {
    let proxy = Proxy::start();
    let connect =
        Connect::new(Version::V5, "small").property(property::MAXIMUM_PACKET_SIZE, Value::Four(200));
    let mut small = Device::connect_with(proxy.mqtt(), &connect);
    small.subscribe("t", 1);
    let mut speaker = Device::connect(proxy.mqtt(), Version::V5, "speaker");
    speaker.say("t", &"x".repeat(500), 1);
    speaker.say("t", "fits", 1);
    assert_eq!(small.receive().text(), "fits");
}

#[test]
fn the_message_expiry_that_is_left_is_told_and_kept() {
    let proxy = Proxy::start();
    let connect = Connect::new(Version::V5, "sleeper").persistent();
    let mut sleeper = Device::connect_with(proxy.mqtt(), &connect);
    sleeper.subscribe("t", 1);
    sleeper.disconnect();
    let mut speaker = Device::connect(proxy.mqtt(), Version::V5, "speaker");
    let lasting = |text: &str, secs| {
        Publish::new("t", text).qos(1).property(property::MESSAGE_EXPIRY, Value::Four(secs))
    };
    speaker.publish(lasting("short", 1));
    speaker.publish(lasting("long", 1_000));
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    let mut sleeper = Device::connect_with(proxy.mqtt(), &connect);
    let message = sleeper.receive();
    assert_eq!(message.text(), "long", "the other one has expired");
    let left = number(&message.properties, property::MESSAGE_EXPIRY).expect("the expiry is kept");
    assert!((1..1_000).contains(&left), "{left} s are left of 1,000 s after more than one");
}

#[test]
fn the_connack_of_5_0_tells_the_limits() {
    let settings = "[limits]\npacket_bytes_max = 5000\nreceive_maximum = 77\ntopic_alias_maximum = 9";
    let proxy = Setup::new().settings(settings).start();
    let mut wire = Wire::open(proxy.mqtt());
    wire.send(&Connect::new(Version::V5, "d").encode());
    let connack = Connack::decode(&wire.packet(), Version::V5);
    let told = |id| number(&connack.properties, id);
    assert_eq!(told(property::MAXIMUM_PACKET_SIZE), Some(5_000));
    assert_eq!(told(property::RECEIVE_MAXIMUM), Some(77));
    assert_eq!(told(property::TOPIC_ALIAS_MAXIMUM), Some(9));
}

#[test]
fn the_oldest_version_and_the_newest_share_sessions_and_messages() {
    let proxy = Proxy::start();
    let mut old = Device::connect(proxy.mqtt(), Version::V4, "old");
    let mut new = Device::connect(proxy.mqtt(), Version::V5, "new");
    old.subscribe("t", 2);
    new.subscribe("t", 2);
    new.publish(
        Publish::new("t", "from new").qos(2).property(property::CONTENT_TYPE, Value::Text("x".into())),
    );
    assert_eq!([old.receive().text(), new.receive().text()], ["from new", "from new"]);
    old.say("t", "from old", 2);
    assert_eq!([old.receive().text(), new.receive().text()], ["from old", "from old"]);
}
