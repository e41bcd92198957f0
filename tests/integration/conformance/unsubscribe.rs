//! Chapters 3.10 and 3.11: UNSUBSCRIBE and UNSUBACK.

use super::scene::{Scene, reason};
use crate::support::packets::{self, Publish, frame, kind, put_text};
use crate::support::wire::Seen;
use crate::support::{DEADLINE, Version};

/// The Reason Codes where the version has them.
fn codes(version: Version, codes: &[u8]) -> Vec<u8> {
    if version.is_v5() { codes.to_vec() } else { Vec::new() }
}

const GONE: u8 = reason::NO_SUBSCRIPTION_EXISTED;

in_both_versions! {
    fn unsuback_has_the_packet_identifier_even_where_nothing_is_deleted(version: Version) {
        let scene = Scene::new(version);
        let mut device = scene.talker("device");
        for id in [1, 0x00FF, 0x0100, 0xCAFE, 65_535] {
            assert_eq!(device.unsubscribe(id, &[&scene.topic("never")]), codes(version, &[GONE]));
        }
    }

    fn several_filters_are_deleted_as_by_several_packets(version: Version) {
        let scene = Scene::new(version);
        let mut device = scene.talker("device");
        let names = ["a", "b/+", "c/#", "d"].map(|rest| scene.topic(rest));
        let [a, b, c, d] = names.each_ref().map(String::as_str);
        assert_eq!(device.subscribe(1, &[(a, 0), (b, 0), (c, 0), (d, 0)]), [0; 4]);
        let never = scene.topic("never");
        let answer = device.unsubscribe(2, &[never.as_str(), a, c, a, &never, b]);
        assert_eq!(answer, codes(version, &[GONE, 0, 0, GONE, GONE, 0]));
        let mut speaker = scene.device("speaker");
        for rest in ["a", "b/1", "c", "c/1", "d"] {
            speaker.say(&scene.topic(rest), rest, 1);
        }
        assert_eq!(device.message().text(), "d", "only d is left");
        device.ping();
    }

    fn a_filter_is_compared_character_by_character(version: Version) {
        let scene = Scene::new(version);
        let mut device = scene.talker("device");
        let kept = ["a/b", "a/+", "a/#", "é"].map(|rest| scene.topic(rest));
        for filter in &kept {
            assert_eq!(device.subscribe(1, &[(filter, 1)]), [1]);
        }
        for rest in ["+/b", "#", "a/B", "a/b/", "/a/b", "a", "+/+", "a/c", "e\u{301}", "A/#"] {
            assert_eq!(device.unsubscribe(2, &[&scene.topic(rest)]), codes(version, &[GONE]), "{rest}");
        }
        for filter in &kept {
            assert_eq!(device.unsubscribe(3, &[filter]), codes(version, &[0]), "{filter} was still there");
            assert_eq!(device.unsubscribe(4, &[filter]), codes(version, &[GONE]), "{filter} is gone now");
        }
    }

    fn nothing_new_comes_after_unsubscribing(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.device("device");
        device.subscribe(&scene.topic("end"), 2);
        let mut speaker = scene.device("speaker");
        for qos in 0..3 {
            device.subscribe(&topic, qos);
            speaker.say(&topic, "heard", qos);
            assert_eq!(device.receive().text(), "heard");
            device.unsubscribe(&topic);
            speaker.say(&topic, "unheard", qos);
            speaker.publish(Publish::new(&topic, "").qos(qos).retained());
            speaker.say(&scene.topic("end"), "end", 2);
            assert_eq!(device.texts_before("end"), Vec::<String>::new());
        }
    }

    fn one_of_several_overlapping_subscriptions_can_go(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("a/b");
        let mut device = scene.device("device");
        device.subscribe(&topic, 2);
        device.subscribe(&scene.topic("a/#"), 1);
        device.unsubscribe(&topic);
        device.say(&topic, "m", 2);
        device.say(&topic, "end", 2);
        let arrived = device.receive_before("end");
        assert_eq!(arrived.iter().map(|message| message.qos).collect::<Vec<_>>(), [1]);
    }

    fn an_open_delivery_is_completed_after_unsubscribing(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        for (text, qos) in [("one", 1), ("two", 2), ("released", 2)] {
            speaker.say(&topic, text, qos);
        }
        let sent = device.messages(3);
        device.ack(kind::PUBREC, sent[2].id);
        device.answer(kind::PUBREL, sent[2].id);
        assert_eq!(device.unsubscribe(2, &[&topic]), codes(version, &[0]));
        device.cut();
        let mut device = scene.talker_with(&connect);
        for wanted in &sent[..2] {
            let again = device.message();
            assert_eq!((again.id, again.text(), again.dup), (wanted.id, wanted.text(), true));
        }
        assert_eq!(device.answer(kind::PUBREL, sent[2].id), 0);
        device.ack(kind::PUBACK, sent[0].id);
        device.ack(kind::PUBREC, sent[1].id);
        assert_eq!(device.answer(kind::PUBREL, sent[1].id), 0);
        device.ack(kind::PUBCOMP, sent[2].id);
        device.ack(kind::PUBCOMP, sent[1].id);
        device.ping();
    }

    fn subscriptions_of_a_resumed_session_can_be_deleted(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        device.disconnect();
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.unsubscribe(1, &[&topic]), codes(version, &[0]));
        device.disconnect();
        scene.device("speaker").say(&topic, "unheard", 2);
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.unsubscribe(1, &[&topic]), codes(version, &[GONE]));
        device.ping();
    }

    fn a_filter_that_could_never_be_subscribed_to_is_no_subscription(version: Version) {
        let scene = Scene::new(version);
        for filter in ["a/#/b", "a+", "$share/g", "$share//t", "$share/g/never"] {
            let mut device = scene.talker("device");
            device.wire.send(&packets::unsubscribe(version, 3, &[filter]));
            let Seen::Packet(packet) = device.wire.look(DEADLINE) else {
                assert!(!version.is_v5(), "{filter}: a device of MQTT 5.0 is told why");
                continue;
            };
            if packet.kind() == kind::DISCONNECT {
                let allowed = [reason::MALFORMED, reason::PROTOCOL_ERROR, reason::TOPIC_FILTER_INVALID];
                assert!(allowed.contains(&packet.disconnect_reason()), "{filter}: {packet:?}");
                continue;
            }
            assert_eq!((packet.kind(), packet.id()), (kind::UNSUBACK, 3), "{filter}");
            let told = packet.codes(version);
            let allowed = [GONE, reason::TOPIC_FILTER_INVALID];
            assert!(told.iter().all(|code| allowed.contains(code)), "{filter}: {packet:?}");
        }
    }

    fn a_malformed_unsubscribe_ends_the_connection(version: Version) {
        let scene = Scene::new(version);
        let body = |id: u16, payload: &[u8]| {
            let mut body = id.to_be_bytes().to_vec();
            if version.is_v5() {
                body.push(0);
            }
            body.extend_from_slice(payload);
            body
        };
        let mut good = Vec::new();
        put_text(&mut good, &scene.topic("t"));
        let either: &[u8] = &[reason::MALFORMED, reason::PROTOCOL_ERROR];
        let bad: Vec<(&str, Vec<u8>, &[u8])> = vec![
            ("flags 0", frame(0xA0, &body(1, &good)), &[reason::MALFORMED]),
            ("flags 1", frame(0xA1, &body(1, &good)), &[reason::MALFORMED]),
            ("flags 10", frame(0xAA, &body(1, &good)), &[reason::MALFORMED]),
            ("no filter", frame(0xA2, &body(1, &[])), either),
            ("Packet Identifier 0", frame(0xA2, &body(0, &good)), either),
            ("a filter that is no UTF-8", frame(0xA2, &body(1, &[0, 2, 0xC3, 0x28])), either),
            ("a filter that is cut off", frame(0xA2, &body(1, &[0, 9, b'a'])), either),
            ("a lone length byte", frame(0xA2, &body(1, &[0])), either),
        ];
        for (what, bytes, reasons) in bad {
            let mut device = scene.talker("device");
            device.wire.send(&bytes);
            let before = device.expect_refusal(what, reasons);
            assert_eq!(before, [], "{what}: no UNSUBACK");
        }
    }
}

#[test]
fn unsuback_of_3_1_1_is_four_bytes_long() {
    let scene = Scene::new(Version::V4);
    let mut device = scene.talker("device");
    device.wire.send(&packets::unsubscribe(Version::V4, 0x1234, &["a", "b"]));
    device.wire.expect(&[0xB0, 2, 0x12, 0x34]);
}
