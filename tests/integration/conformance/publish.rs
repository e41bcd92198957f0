//! Chapter 3.3: PUBLISH, its flags, Topic Name and payload.

use super::scene::{Scene, essence, reason};
use crate::support::Version;
use crate::support::packets::{DISCONNECT, Publish, frame, kind, put_text};

/// A PUBLISH body at QoS 0 with the bytes of this Topic Name.
fn body(version: Version, topic: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).expect("short").to_be_bytes().to_vec();
    body.extend_from_slice(topic);
    if version.is_v5() {
        body.push(0);
    }
    body.push(b'm');
    body
}

in_both_versions! {
    fn every_qos_and_retain_flag_arrives_as_the_subscription_allows(version: Version) {
        let scene = Scene::new(version);
        let mut speaker = scene.device("speaker");
        for granted in 0..3 {
            let mut listener = scene.device(&format!("listener{granted}"));
            let topic = scene.topic(&format!("{granted}"));
            listener.subscribe(&topic, granted);
            for qos in 0..3 {
                for retain in [false, true] {
                    let text = format!("{qos} {retain}");
                    speaker.publish(Publish { retain, ..Publish::new(&topic, &text).qos(qos) });
                    let wanted = (topic.clone(), text, qos.min(granted), false, false);
                    assert_eq!(essence(&listener.receive()), wanted);
                }
            }
        }
    }

    fn the_dup_flag_of_a_publisher_is_not_passed_on(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.device("listener");
        listener.subscribe(&topic, 2);
        let mut speaker = scene.device("speaker");
        for qos in [1, 2] {
            speaker.publish(Publish { dup: true, ..Publish::new(&topic, "m").qos(qos) });
            assert_eq!(essence(&listener.receive()), (topic.clone(), "m".into(), qos, false, false));
        }
    }

    fn dup_is_clear_at_qos_0_even_for_who_subscribed_at_qos_2(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.talker("listener");
        assert_eq!(listener.subscribe(1, &[(&topic, 2)]), [2]);
        scene.device("speaker").say(&topic, "m", 0);
        let packet = listener.wire.packet();
        assert_eq!(packet.first, 0x30, "QoS 0, DUP 0, RETAIN 0");
        assert_eq!(Publish::decode(&packet, version).text(), "m");
    }

    fn dup_at_qos_0_is_not_taken(version: Version) {
        let scene = Scene::new(version);
        let mut speaker = scene.talker("speaker");
        speaker.wire.send(&frame(0x38, &body(version, scene.topic("t").as_bytes())));
        speaker.expect_refusal("DUP at QoS 0", &[reason::MALFORMED, reason::PROTOCOL_ERROR]);
    }

    fn qos_3_is_malformed(version: Version) {
        let scene = Scene::new(version);
        for first in [0x36, 0x37, 0x3E, 0x3F] {
            let mut speaker = scene.talker("speaker");
            let topic = scene.topic("t");
            let mut packet = Publish { id: 1, ..Publish::new(&topic, "m").qos(1) }.encode(version);
            packet[0] = first;
            speaker.wire.send(&packet);
            speaker.expect_refusal("QoS 3", &[reason::MALFORMED]);
        }
    }

    fn the_answer_follows_the_qos(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut speaker = scene.talker("speaker");
        speaker.publish(&Publish::new(&topic, "m"));
        speaker.ping();
        speaker.publish(&Publish { id: 11, ..Publish::new(&topic, "m").qos(1) });
        assert!([0, reason::NO_MATCHING_SUBSCRIBERS].contains(&speaker.answer(kind::PUBACK, 11)));
        speaker.publish(&Publish { id: 12, ..Publish::new(&topic, "m").qos(2) });
        assert!([0, reason::NO_MATCHING_SUBSCRIBERS].contains(&speaker.answer(kind::PUBREC, 12)));
        speaker.ack(kind::PUBREL, 12);
        assert_eq!(speaker.answer(kind::PUBCOMP, 12), 0);
        speaker.ping();
    }

    fn a_bad_topic_name_ends_the_connection(version: Version) {
        let scene = Scene::new(version);
        let bad: [&[u8]; 10] = [
            b"#", b"+", b"a/#", b"a/+/b", b"a+", b"", b"a\0b",
            &[0xC3, 0x28], &[0xED, 0xA0, 0x80], &[0xF5, 0x80, 0x80, 0x80],
        ];
        for topic in bad {
            let mut speaker = scene.talker("speaker");
            speaker.wire.send(&frame(0x30, &body(version, topic)));
            let allowed = [reason::MALFORMED, reason::PROTOCOL_ERROR, reason::TOPIC_NAME_INVALID];
            speaker.expect_refusal(&format!("{topic:?}"), &allowed);
        }
    }

    fn a_topic_name_is_delivered_as_it_came(version: Version) {
        let scene = Scene::new(version);
        let mut listener = scene.device("listener");
        listener.subscribe(&scene.topic("#"), 1);
        let mut speaker = scene.device("speaker");
        let long = "x".repeat(2_000);
        let odd = ["", "/", "//a//", " ", "a b", "A", "a", "\u{FEFF}", "é", "e\u{301}", "𝛀/漢字", "$SYS", "a\\\"'", &long];
        for rest in odd {
            let topic = scene.topic(rest);
            speaker.say(&topic, "m", 1);
            assert_eq!(listener.receive().topic, topic);
        }
    }

    fn payloads_of_any_bytes_and_any_length_arrive_whole(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.device("listener");
        listener.subscribe(&topic, 2);
        let mut speaker = scene.device("speaker");
        let all_bytes: Vec<u8> = (0..=255).collect();
        // Around the steps of the Remaining Length, and close to the largest packet that is accepted by default.
        let around = |edge: usize| edge - 20..edge + 5;
        let lengths = [0..3, around(128), around(16_384), 1_000_000..1_000_001];
        for (number, length) in lengths.into_iter().flatten().enumerate() {
            let payload: Vec<u8> = all_bytes.iter().copied().cycle().take(length).collect();
            let qos = u8::try_from(number % 3).expect("below 3");
            speaker.publish(Publish::new(&topic, &payload).qos(qos));
            let message = listener.receive();
            assert!(message.payload == payload && message.qos == qos, "{length} bytes at QoS {qos}");
        }
    }

    fn a_message_of_a_megabyte_reaches_a_resumed_session(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("sleeper");
        let mut sleeper = scene.device_with(&connect);
        sleeper.subscribe(&topic, 2);
        sleeper.disconnect();
        let payload: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        scene.device("speaker").publish(Publish::new(&topic, &payload).qos(2));
        let message = scene.device_with(&connect).receive();
        assert!(message.payload == payload && message.qos == 2);
    }

    fn what_comes_before_a_disconnect_or_a_bad_packet_counts(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.device("listener");
        listener.subscribe(&topic, 2);
        for (end, bytes) in [("DISCONNECT", DISCONNECT.to_vec()), ("a bad packet", vec![0x00, 0x00])] {
            for qos in 0..3 {
                let mut speaker = scene.talker("speaker");
                let id = if qos == 0 { 0 } else { 1 };
                let message = Publish { id, ..Publish::new(&topic, format!("{end} {qos}")).qos(qos) };
                speaker.wire.send(&[message.encode(version), bytes.clone()].concat());
                assert_eq!(listener.receive().text(), message.text());
                speaker.wire.until_close();
            }
        }
    }

    fn what_clients_may_not_publish_is_answered_and_goes_nowhere(version: Version) {
        let scene = Scene::new(version);
        let forbidden = format!("$SYS/{}", scene.topic("t"));
        let mut listener = scene.device("listener");
        listener.subscribe(&forbidden, 2);
        listener.subscribe(&scene.topic("end"), 2);
        let mut speaker = scene.talker("speaker");
        let refused = if version.is_v5() { reason::NOT_AUTHORIZED } else { 0 };
        for retain in [false, true] {
            speaker.publish(&Publish { retain, ..Publish::new(&forbidden, "m") });
            speaker.publish(&Publish { id: 1, retain, ..Publish::new(&forbidden, "m").qos(1) });
            assert_eq!(speaker.answer(kind::PUBACK, 1), refused);
            speaker.publish(&Publish { id: 2, retain, ..Publish::new(&forbidden, "m").qos(2) });
            assert_eq!(speaker.answer(kind::PUBREC, 2), refused);
            speaker.ack(kind::PUBREL, 2);
            // MQTT 5.0 has ended the flow with its PUBREC.
            let code = speaker.answer(kind::PUBCOMP, 2);
            assert_eq!(code, if version.is_v5() { reason::PACKET_ID_NOT_FOUND } else { 0 });
        }
        listener.subscribe(&forbidden, 1);
        listener.say(&scene.topic("end"), "end", 2);
        assert_eq!(listener.texts_before("end"), Vec::<String>::new());
    }

    fn a_message_reaches_its_publisher_too(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.device("device");
        device.subscribe(&topic, 2);
        for qos in 0..3 {
            device.say(&topic, "m", qos);
            assert_eq!(device.receive().qos, qos);
        }
    }
}

#[test]
fn a_publish_with_a_property_length_beyond_its_end_is_malformed() {
    let scene = Scene::new(Version::V5);
    let mut body = Vec::new();
    put_text(&mut body, &scene.topic("t"));
    body.push(200);
    let mut speaker = scene.talker("speaker");
    speaker.wire.send(&frame(0x30, &body));
    speaker.expect_refusal("a property length of 200", &[reason::MALFORMED]);
}
