//! Chapters 3.8 and 3.9: SUBSCRIBE, SUBACK, and what a subscription brings from then on.

use super::scene::{Scene, option, reason};
use crate::support::device::Device;
use crate::support::packets::{self, Properties, Publish, Value, frame, kind, property, put_text};
use crate::support::wire::Seen;
use crate::support::{DEADLINE, Version, assert_same, numbered};

/// A SUBSCRIBE body without its fixed header.
fn body(version: Version, id: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version.is_v5() {
        body.push(u8::try_from(properties.len()).expect("short"));
        body.extend_from_slice(properties);
    }
    body.extend_from_slice(payload);
    body
}

fn filter(topic: &str, options: u8) -> Vec<u8> {
    let mut payload = Vec::new();
    put_text(&mut payload, topic);
    payload.push(options);
    payload
}

fn identifier(id: u32) -> Properties {
    vec![(property::SUBSCRIPTION_ID, Value::Variable(id))]
}

/// The Subscription Identifiers of a message, in ascending order.
fn identifiers(message: &Publish) -> Vec<u32> {
    let of_subscriptions = message.properties.iter().filter(|(id, _)| *id == property::SUBSCRIPTION_ID);
    let mut found: Vec<u32> = of_subscriptions
        .map(|(_, value)| match value {
            Value::Variable(number) => *number,
            other => panic!("a Subscription Identifier is a variable byte integer, not {other:?}"),
        })
        .collect();
    found.sort_unstable();
    found
}

in_both_versions! {
    fn suback_has_the_packet_identifier_of_its_subscribe(version: Version) {
        let scene = Scene::new(version);
        let mut device = scene.talker("device");
        for id in [1, 2, 0x00FF, 0x0100, 0xCAFE, 65_535, 1] {
            assert_eq!(device.subscribe(id, &[(&scene.topic("t"), 0)]), [0]);
        }
    }

    fn suback_has_a_code_for_each_filter_in_their_order(version: Version) {
        let scene = Scene::new(version);
        let mut device = scene.talker("device");
        let names: Vec<String> = (0..60).map(|number| scene.topic(&number.to_string())).collect();
        let options: Vec<u8> = (0..60).map(|number| [2, 0, 1, 1, 0, 2, 2][number % 7]).collect();
        let filters: Vec<(&str, u8)> = names.iter().map(String::as_str).zip(options.iter().copied()).collect();
        assert_eq!(device.subscribe(9, &filters), options);
        let mut speaker = scene.device("speaker");
        for (name, qos) in &filters[..7] {
            speaker.say(name, "m", 2);
            assert_eq!(device.message().qos, *qos, "{name}");
        }
    }

    fn a_message_comes_at_the_lower_of_its_own_and_the_granted_qos(version: Version) {
        let scene = Scene::new(version);
        let mut device = scene.device("device");
        for granted in 0..3 {
            let topic = scene.topic(&granted.to_string());
            assert_eq!(device.subscribe_with(&Vec::new(), &[(&topic, granted)]), [granted]);
            for qos in 0..3 {
                device.say(&topic, "m", qos);
                assert_eq!(device.receive().qos, qos.min(granted));
            }
        }
    }

    fn a_bad_filter_does_not_pass(version: Version) {
        let scene = Scene::new(version);
        for bad in ["a/#/b", "a#", "#a", "a+", "+a", "a/+b", "a/b+/c", "##", "++", ""] {
            let mut device = scene.talker("device");
            let good = scene.topic("t");
            device.wire.send(&packets::subscribe(version, 5, &Vec::new(), &[(&good, 1), (bad, 1), (&good, 2)]));
            let Seen::Packet(packet) = device.wire.look(DEADLINE) else {
                assert!(!version.is_v5(), "{bad:?}: a device of MQTT 5.0 is told why");
                continue;
            };
            if packet.kind() == kind::DISCONNECT {
                let allowed = [reason::MALFORMED, reason::PROTOCOL_ERROR, reason::TOPIC_FILTER_INVALID];
                assert!(allowed.contains(&packet.disconnect_reason()), "{bad:?}: {packet:?}");
                continue;
            }
            assert_eq!(packet.kind(), kind::SUBACK, "{bad:?}: {packet:?}");
            let failure = if version.is_v5() { reason::TOPIC_FILTER_INVALID } else { 0x80 };
            assert_eq!(packet.codes(version), [1, failure, 2], "{bad:?}");
            device.ping();
        }
    }

    fn subscribing_again_replaces_the_subscription(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("a/b");
        let mut device = scene.device("device");
        let mut speaker = scene.device("speaker");
        for filter in [&topic, &scene.topic("a/+"), &scene.topic("#")] {
            for granted in [0, 2, 1] {
                device.subscribe(filter, granted);
                speaker.say(&topic, "m", 2);
                speaker.say(&topic, "end", 2);
                let arrived = device.receive_before("end");
                assert_eq!(arrived.iter().map(|message| message.qos).collect::<Vec<_>>(), [granted], "{filter}");
            }
            device.unsubscribe(filter);
        }
    }

    fn of_equal_filters_in_one_subscribe_the_last_one_holds(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.device("device");
        let codes = device.subscribe_with(&Vec::new(), &[(&topic, 2), (&topic, 0), (&topic, 1)]);
        assert_eq!(codes, [2, 0, 1], "as for three SUBSCRIBE packets");
        device.say(&topic, "m", 2);
        device.say(&topic, "end", 2);
        let arrived = device.receive_before("end");
        assert_eq!(arrived.iter().map(|message| message.qos).collect::<Vec<_>>(), [1]);
    }

    fn replacing_a_subscription_loses_and_doubles_nothing(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.device("device");
        device.subscribe(&topic, 1);
        let wanted = numbered("m", 600);
        let mut speaker = scene.device("speaker");
        let arrived = std::thread::scope(|scope| {
            scope.spawn(|| {
                speaker.publish_all(wanted.iter().map(|text| Publish::new(&topic, text).qos(1)));
                speaker.say(&topic, "end", 1);
            });
            let mut arrived = Vec::new();
            loop {
                // Replaced by another QoS and back, in the middle of the stream.
                device.subscribe(&topic, if arrived.len() % 2 == 0 { 2 } else { 1 });
                let text = device.receive().text();
                if text == "end" {
                    return arrived;
                }
                arrived.push(text);
            }
        });
        assert_same(&arrived, &wanted, "a stream over replaced subscriptions");
    }

    fn overlapping_subscriptions_bring_one_copy_at_the_highest_qos(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("a/b");
        let mut device = scene.device("device");
        for (rest, granted) in [("a/#", 0), ("+/b", 2), ("a/b", 1), ("#", 1)] {
            device.subscribe(&scene.topic(rest), granted);
        }
        for qos in 0..3 {
            device.say(&topic, "m", qos);
            device.say(&topic, "end", qos);
            let arrived = device.receive_before("end");
            assert_eq!(arrived.iter().map(|message| message.qos).collect::<Vec<_>>(), [qos]);
        }
    }

    fn packet_identifiers_of_both_directions_are_independent(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.talker("device");
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        scene.device("speaker").say(&topic, "theirs", 2);
        let theirs = device.message();
        let id = theirs.id;
        // The same identifier in a SUBSCRIBE, a PUBLISH and an UNSUBSCRIBE while the server's flow is open.
        assert_eq!(device.subscribe(id, &[(&scene.topic("other"), 0)]), [0]);
        device.publish(&Publish { id, ..Publish::new(&scene.topic("mine"), "m").qos(2) });
        device.answer(kind::PUBREC, id);
        device.unsubscribe(id, &[&scene.topic("other")]);
        device.ack(kind::PUBREC, id);
        assert_eq!(device.answer(kind::PUBREL, id), 0);
        device.ack(kind::PUBREL, id);
        assert_eq!(device.answer(kind::PUBCOMP, id), 0);
        device.ack(kind::PUBCOMP, id);
        device.ping();
    }

    fn packets_of_one_write_take_effect_in_their_order(version: Version) {
        let scene = Scene::new(version);
        for qos in 0..3 {
            let topic = scene.topic(&qos.to_string());
            let say = |id, text: &str, retain| {
                let id = if qos == 0 { 0 } else { id };
                Publish { id, retain, ..Publish::new(&topic, text).qos(qos) }.encode(version)
            };
            let mut device = scene.talker("device");
            let bytes = [
                say(1, "too early", false),
                say(2, "retained", true),
                packets::subscribe(version, 3, &Vec::new(), &[(&topic, 0)]),
                say(4, "live", false),
                packets::unsubscribe(version, 5, &[&topic]),
                say(6, "too late", true),
                packets::subscribe(version, 7, &Vec::new(), &[(&topic, 0)]),
                packets::PINGREQ.to_vec(),
            ];
            device.wire.send(&bytes.concat());
            let mut heard = Vec::new();
            while heard.len() < 3 {
                let packet = device.wire.packet();
                if packet.kind() == kind::PUBLISH {
                    let message = Publish::decode(&packet, version);
                    heard.push((message.text(), message.retain));
                }
            }
            heard.sort();
            let wanted = [("live", false), ("retained", true), ("too late", true)];
            assert_eq!(heard, wanted.map(|(text, retain)| (text.to_owned(), retain)), "QoS {qos}");
        }
    }

    fn a_malformed_subscribe_ends_the_connection(version: Version) {
        let scene = Scene::new(version);
        let good = filter(&scene.topic("t"), 0);
        let either: &[u8] = &[reason::MALFORMED, reason::PROTOCOL_ERROR];
        let with_options = |options| frame(0x82, &body(version, 1, &[], &filter(&scene.topic("t"), options)));
        let not_utf_8 = [&[0_u8, 2, 0xC3, 0x28][..], &[0]].concat();
        let bad: Vec<(&str, Vec<u8>, &[u8])> = vec![
            ("flags 0", frame(0x80, &body(version, 1, &[], &good)), &[reason::MALFORMED]),
            ("flags 1", frame(0x81, &body(version, 1, &[], &good)), &[reason::MALFORMED]),
            ("flags 6", frame(0x86, &body(version, 1, &[], &good)), &[reason::MALFORMED]),
            ("flags 10", frame(0x8A, &body(version, 1, &[], &good)), &[reason::MALFORMED]),
            ("no filter", frame(0x82, &body(version, 1, &[], &[])), either),
            ("no options", frame(0x82, &body(version, 1, &[], &good[..good.len() - 1])), either),
            ("Packet Identifier 0", frame(0x82, &body(version, 0, &[], &good)), either),
            ("a filter that is no UTF-8", frame(0x82, &body(version, 1, &[], &not_utf_8)), either),
            ("QoS 3", with_options(3), either),
            ("reserved bit 6", with_options(0x40), &[reason::MALFORMED]),
            ("reserved bit 7", with_options(0x80), &[reason::MALFORMED]),
        ];
        for (what, bytes, reasons) in bad {
            let mut device = scene.talker("device");
            device.wire.send(&bytes);
            let before = device.expect_refusal(what, reasons);
            assert_eq!(before, [], "{what}: no SUBACK");
        }
    }

    fn a_subscription_brings_nothing_that_was_published_before_it(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut speaker = scene.device("speaker");
        speaker.say(&topic, "too early", 2);
        let mut device = scene.device("device");
        device.subscribe(&topic, 2);
        speaker.say(&topic, "in time", 2);
        assert_eq!(device.receive().text(), "in time");
    }
}

#[test]
fn subscribe_options_of_5_0_are_reserved_bits_of_3_1_1() {
    let scene = Scene::new(Version::V4);
    for options in [
        option::NO_LOCAL,
        option::RETAIN_AS_PUBLISHED,
        option::SEND_RETAINED_IF_NEW,
        option::SEND_NO_RETAINED,
    ] {
        let mut device = scene.talker("device");
        device.wire.send(&packets::subscribe(Version::V4, 1, &Vec::new(), &[(&scene.topic("t"), options)]));
        assert_eq!(device.expect_refusal(&format!("options {options:#x}"), &[]), []);
    }
}

#[test]
fn suback_of_3_1_1_has_no_properties() {
    let scene = Scene::new(Version::V4);
    let mut device = scene.talker("device");
    let (a, b) = (scene.topic("a"), scene.topic("b"));
    device.wire.send(&packets::subscribe(Version::V4, 0x1234, &Vec::new(), &[(&a, 1), (&b, 0)]));
    device.wire.expect(&[0x90, 4, 0x12, 0x34, 1, 0]);
}

#[test]
fn retain_handling_3_and_a_bad_subscription_identifier_are_protocol_errors() {
    let scene = Scene::new(Version::V5);
    let good = filter(&scene.topic("t"), 0);
    let handling = filter(&scene.topic("t"), 0x30);
    let bad: [(&str, &[u8], &[u8]); 5] = [
        ("Retain Handling 3", &[], &handling),
        ("Subscription Identifier 0", &[0x0B, 0], &good),
        ("Subscription Identifier twice", &[0x0B, 1, 0x0B, 2], &good),
        ("Subscription Identifier of five bytes", &[0x0B, 0x80, 0x80, 0x80, 0x80, 1], &good),
        ("a property of PUBLISH", &[0x01, 1], &good),
    ];
    for (what, properties, payload) in bad {
        let mut device = scene.talker("device");
        device.wire.send(&frame(0x82, &body(Version::V5, 1, properties, payload)));
        device.expect_refusal(what, &[reason::PROTOCOL_ERROR, reason::MALFORMED]);
    }
}

#[test]
fn user_properties_of_subscribe_and_unsubscribe_are_taken() {
    let scene = Scene::new(Version::V5);
    let user = (property::USER, Value::Pair("why".into(), "because".into()));
    let mut device = scene.talker("device");
    let codes = device.subscribe_with(7, &vec![user.clone(), user], &[(&scene.topic("t"), 1)]);
    assert_eq!(codes, [1]);
    let mut body = vec![0, 8, 8, 0x26, 0, 1, b'a', 0, 2, b'b', b'c'];
    put_text(&mut body, &scene.topic("t"));
    device.wire.send(&frame(0xA2, &body));
    let unsuback = device.wire.packet();
    assert_eq!((unsuback.kind(), unsuback.id(), unsuback.codes(Version::V5)), (kind::UNSUBACK, 8, vec![0]));
}

#[test]
fn no_local_keeps_the_messages_of_the_same_client_away_and_no_others() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let connect = scene.lasting("device");
    let mut device = scene.device_with(&connect);
    assert_eq!(device.subscribe_with(&Vec::new(), &[(&topic, 2 | option::NO_LOCAL)]), [2]);
    let mut other = scene.device("other");
    for qos in 0..3 {
        device.say(&topic, "mine", qos);
        device.publish(Publish::new(&topic, "mine, retained").qos(qos).retained());
        other.say(&topic, "theirs", qos);
        assert_eq!(device.receive().text(), "theirs", "QoS {qos}");
    }
    other.publish(Publish::new(&topic, "").qos(1).retained());
    assert_eq!(device.receive().payload.len(), 0);
    device.ping();
    // The Client Identifier counts, not the connection.
    device.cut();
    let mut device = scene.device_with(&connect);
    assert!(device.connack.session_present);
    device.say(&topic, "mine", 2);
    other.say(&topic, "theirs", 2);
    assert_eq!(device.receive().text(), "theirs");
}

#[test]
fn no_local_concerns_its_own_subscription_only() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("a/b");
    let mut device = scene.device("device");
    assert_eq!(device.subscribe_with(&identifier(1), &[(&topic, 2 | option::NO_LOCAL)]), [2]);
    assert_eq!(device.subscribe_with(&identifier(2), &[(&scene.topic("a/+"), 1)]), [1]);
    device.say(&topic, "mine", 2);
    let mine = device.receive();
    assert_eq!((mine.qos, identifiers(&mine)), (1, vec![2]), "only the second subscription matches");
    scene.device("other").say(&topic, "theirs", 2);
    let theirs = device.receive();
    assert_eq!((theirs.qos, identifiers(&theirs)), (2, vec![1, 2]));
}

#[test]
fn no_local_keeps_the_clients_own_will_away() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("will");
    let connect = scene.lasting("device");
    let mut device = scene.device_with(&connect.clone().will(&topic, "mine"));
    assert_eq!(device.subscribe_with(&Vec::new(), &[(&topic, 1 | option::NO_LOCAL)]), [1]);
    let mut witness = scene.device("witness");
    witness.subscribe(&topic, 1);
    device.cut();
    assert_eq!(witness.receive().text(), "mine");
    let mut device = scene.device_with(&connect);
    assert!(device.connack.session_present);
    witness.say(&topic, "theirs", 1);
    assert_eq!(device.receive().text(), "theirs");
}

#[test]
fn no_local_is_replaced_with_the_rest_of_the_subscription() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.device("device");
    for (options, heard) in [(option::NO_LOCAL, false), (0, true), (option::NO_LOCAL, false)] {
        assert_eq!(device.subscribe_with(&Vec::new(), &[(&topic, 1 | options)]), [1]);
        device.say(&topic, "mine", 1);
        scene.device("other").say(&topic, "theirs", 1);
        assert_eq!(device.texts_before("theirs").len(), usize::from(heard));
    }
}

#[test]
fn one_copy_carries_the_identifiers_of_all_matching_subscriptions() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("a/b");
    let mut device = scene.device("device");
    let subscriptions = [("a/b", 1, 0), ("a/#", 268_435_455, 2), ("+/b", 128, 1), ("#", 128, 0), ("x", 5, 2)];
    for (rest, id, qos) in subscriptions {
        assert_eq!(device.subscribe_with(&identifier(id), &[(&scene.topic(rest), qos)]), [qos]);
    }
    device.subscribe(&scene.topic("a/+"), 1);
    for qos in 0..3 {
        device.say(&topic, "m", qos);
        let message = device.receive();
        // Two subscriptions have the same identifier, one has none, one does not match.
        assert_eq!((message.qos, identifiers(&message)), (qos, vec![1, 128, 128, 268_435_455]));
    }
}

#[test]
fn an_identifier_belongs_to_all_filters_of_its_subscribe_and_is_replaced_with_them() {
    let scene = Scene::new(Version::V5);
    let (a, b) = (scene.topic("a"), scene.topic("b"));
    let mut device = scene.device("device");
    let told = |device: &mut Device, topic: &str| {
        device.say(topic, "m", 1);
        identifiers(&device.receive())
    };
    assert_eq!(device.subscribe_with(&identifier(3), &[(&a, 1), (&b, 1)]), [1, 1]);
    assert_eq!((told(&mut device, &a), told(&mut device, &b)), (vec![3], vec![3]));
    assert_eq!(device.subscribe_with(&identifier(4), &[(&b, 1)]), [1]);
    assert_eq!((told(&mut device, &a), told(&mut device, &b)), (vec![3], vec![4]));
    device.subscribe(&a, 1);
    assert_eq!((told(&mut device, &a), told(&mut device, &b)), (vec![], vec![4]));
}

#[test]
fn identifiers_are_kept_for_messages_that_wait() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("a/b");
    let connect = scene.lasting("sleeper");
    let mut sleeper = scene.device_with(&connect);
    assert_eq!(sleeper.subscribe_with(&identifier(1), &[(&topic, 1)]), [1]);
    assert_eq!(sleeper.subscribe_with(&identifier(2), &[(&scene.topic("a/#"), 2)]), [2]);
    sleeper.disconnect();
    scene.device("speaker").say(&topic, "m", 2);
    let message = scene.device_with(&connect).receive();
    assert_eq!((message.qos, identifiers(&message)), (2, vec![1, 2]));
}
