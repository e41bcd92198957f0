//! Chapters 3.4 to 3.7: PUBACK, PUBREC, PUBREL and PUBCOMP in every form, for identifiers that are known and unknown.

use super::scene::{Scene, reason};
use crate::support::Version;
use crate::support::packets::{
    self, Properties, Publish, Value, ack, ack_with_properties, ack_with_reason, frame, kind, property,
};
use crate::support::talker::Talker;

/// Property Reason String (text).
const REASON_STRING: u8 = 0x1F;

/// A client whose window is one message wide, so that the next message tells that the one before is over.
fn narrow(scene: &Scene, topic: &str, qos: u8) -> Talker {
    let connect = scene.connect("narrow").property(property::RECEIVE_MAXIMUM, Value::Two(1));
    let mut narrow = scene.talker_with(&connect);
    assert_eq!(narrow.subscribe(1, &[(topic, qos)]), [qos]);
    narrow
}

fn explanation() -> Properties {
    vec![
        (REASON_STRING, Value::Text("as asked".into())),
        (property::USER, Value::Pair("k".into(), "1".into())),
        (property::USER, Value::Pair("k".into(), "2".into())),
    ]
}

/// The forms that an acknowledgement that says success may have: Remaining Length 2, 3, 4 and more.
fn forms(kind_of: u8, id: u16) -> [Vec<u8>; 4] {
    [
        ack(kind_of, id),
        ack_with_reason(kind_of, id, 0),
        ack_with_properties(kind_of, id, 0, &Vec::new()),
        ack_with_properties(kind_of, id, 0, &explanation()),
    ]
}

#[test]
fn puback_is_understood_in_all_its_forms() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut narrow = narrow(&scene, &topic, 1);
    let mut speaker = scene.device("speaker");
    for number in 0..5 {
        speaker.say(&topic, &number.to_string(), 1);
    }
    for number in 0..4 {
        let message = narrow.message();
        assert_eq!(message.text(), number.to_string());
        narrow.ping();
        narrow.wire.send(&forms(kind::PUBACK, message.id)[number]);
    }
    assert_eq!(narrow.message().text(), "4");
}

#[test]
fn pubrec_and_pubcomp_are_understood_in_all_their_forms() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut narrow = narrow(&scene, &topic, 2);
    let mut speaker = scene.device("speaker");
    for number in 0..5 {
        speaker.say(&topic, &number.to_string(), 2);
    }
    for number in 0..4 {
        let message = narrow.message();
        assert_eq!(message.text(), number.to_string());
        narrow.wire.send(&forms(kind::PUBREC, message.id)[number]);
        assert_eq!(narrow.answer(kind::PUBREL, message.id), 0);
        narrow.ping();
        narrow.wire.send(&forms(kind::PUBCOMP, message.id)[number]);
    }
    assert_eq!(narrow.message().text(), "4");
}

#[test]
fn pubrel_is_understood_in_all_its_forms() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut speaker = scene.talker("speaker");
    for number in 0..4_u16 {
        let id = number + 1;
        speaker.publish(&Publish { id, ..Publish::new(&topic, "m").qos(2) });
        speaker.answer(kind::PUBREC, id);
        speaker.wire.send(&forms(kind::PUBREL, id)[usize::from(number)]);
        assert_eq!(speaker.answer(kind::PUBCOMP, id), 0);
    }
}

in_both_versions! {
    fn a_pubrel_for_an_unknown_identifier_is_answered(version: Version) {
        let scene = Scene::new(version);
        let mut speaker = scene.talker("speaker");
        speaker.ack(kind::PUBREL, 77);
        let code = speaker.answer(kind::PUBCOMP, 77);
        assert_eq!(code, if version.is_v5() { reason::PACKET_ID_NOT_FOUND } else { 0 });
        speaker.ping();
    }

    fn a_repeated_pubrel_is_answered_again(version: Version) {
        let scene = Scene::new(version);
        let mut speaker = scene.talker("speaker");
        speaker.publish(&Publish { id: 5, ..Publish::new(&scene.topic("t"), "m").qos(2) });
        speaker.answer(kind::PUBREC, 5);
        for round in 0..3 {
            speaker.ack(kind::PUBREL, 5);
            let code = speaker.answer(kind::PUBCOMP, 5);
            let again = if version.is_v5() { reason::PACKET_ID_NOT_FOUND } else { 0 };
            assert_eq!(code, if round == 0 { 0 } else { again }, "round {round}");
        }
    }

    fn a_pubrec_for_an_unknown_identifier_is_answered(version: Version) {
        let scene = Scene::new(version);
        let mut device = scene.talker("device");
        device.ack(kind::PUBREC, 77);
        let code = device.answer(kind::PUBREL, 77);
        assert_eq!(code, if version.is_v5() { reason::PACKET_ID_NOT_FOUND } else { 0 });
        device.ack(kind::PUBCOMP, 77);
        device.ping();
    }

    fn a_repeated_pubrec_is_answered_again(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.talker("device");
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        scene.device("speaker").say(&topic, "m", 2);
        let message = device.message();
        for _ in 0..3 {
            device.ack(kind::PUBREC, message.id);
            assert_eq!(device.answer(kind::PUBREL, message.id), 0, "the flow is still open");
        }
        device.ack(kind::PUBCOMP, message.id);
        device.ping();
    }

    fn acknowledgements_of_nothing_harm_nobody(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.talker("device");
        assert_eq!(device.subscribe(1, &[(&topic, 1)]), [1]);
        for id in [1, 2, 999, 65_535] {
            device.ack(kind::PUBACK, id);
            device.ack(kind::PUBCOMP, id);
        }
        device.ping();
        scene.device("speaker").say(&topic, "m", 1);
        let message = device.message();
        for _ in 0..3 {
            device.ack(kind::PUBACK, message.id);
        }
        device.ping();
    }

    fn an_acknowledgement_of_another_kind_does_not_end_a_flow(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        speaker.say(&topic, "two", 2);
        let two = device.message();
        device.wire.send(&ack(kind::PUBACK, two.id));
        device.wire.try_send(&ack(kind::PUBCOMP, two.id));
        // Whether the server goes on or ends the connection, the message is not acknowledged.
        device.cut();
        let mut device = scene.talker_with(&connect);
        assert!(device.connack.session_present);
        let again = device.message();
        assert_eq!((again.id, again.text(), again.dup), (two.id, "two".to_owned(), true));
    }

    fn the_flags_of_pubrel_must_be_right(version: Version) {
        let scene = Scene::new(version);
        for flags in [0x00, 0x01, 0x03, 0x06, 0x0A] {
            let mut speaker = scene.talker("speaker");
            speaker.publish(&Publish { id: 5, ..Publish::new(&scene.topic("t"), "m").qos(2) });
            speaker.answer(kind::PUBREC, 5);
            speaker.wire.send(&frame(0x60 | flags, &[0, 5]));
            speaker.expect_refusal(&format!("PUBREL with flags {flags:#x}"), &[reason::MALFORMED]);
        }
    }

    fn acknowledgements_of_3_1_1_have_two_bytes_and_of_5_0_no_more_than_they_need(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.talker("device");
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut lengths = Vec::new();
        device.publish(&Publish { id: 21, ..Publish::new(&topic, "m").qos(2) });
        let mut open = 2;
        while open > 0 {
            let packet = device.wire.packet();
            match packet.kind() {
                kind::PUBLISH => device.ack(kind::PUBREC, Publish::decode(&packet, version).id),
                kind::PUBREC => device.ack(kind::PUBREL, packet.id()),
                kind::PUBREL => {
                    device.ack(kind::PUBCOMP, packet.id());
                    open -= 1;
                }
                kind::PUBCOMP => open -= 1,
                _ => panic!("unexpected {packet:?}"),
            }
            if packet.kind() != kind::PUBLISH {
                lengths.push(packet.body.len());
                assert_eq!(packet.ack_reason(), 0, "{packet:?}");
            }
        }
        device.publish(&Publish { id: 22, ..Publish::new(&scene.topic("other"), "m").qos(1) });
        let puback = device.wire.packet();
        assert_eq!((puback.first, puback.id()), (0x40, 22));
        lengths.push(puback.body.len());
        let allowed = if version.is_v5() { 2..=3 } else { 2..=2 };
        assert!(lengths.iter().all(|length| allowed.contains(length)), "{lengths:?}");
    }
}

#[test]
fn our_reason_codes_are_those_of_the_tables() {
    let scene = Scene::new(Version::V5);
    let mut device = scene.talker("device");
    let success = [0, reason::NO_MATCHING_SUBSCRIBERS];
    for (round, heard) in [false, true].into_iter().enumerate() {
        let topic = scene.topic(&round.to_string());
        let mut listener = scene.device("listener");
        if heard {
            listener.subscribe(&topic, 2);
        }
        device.publish(&Publish { id: 1, ..Publish::new(&topic, "m").qos(1) });
        let puback = device.answer(kind::PUBACK, 1);
        device.publish(&Publish { id: 2, ..Publish::new(&topic, "m").qos(2) });
        let pubrec = device.answer(kind::PUBREC, 2);
        assert!(success.contains(&puback) && success.contains(&pubrec), "{puback:#x}, {pubrec:#x}");
        assert!(!heard || (puback, pubrec) == (0, 0), "somebody listens: {puback:#x}, {pubrec:#x}");
        device.ack(kind::PUBREL, 2);
        assert_eq!(device.answer(kind::PUBCOMP, 2), 0);
    }
}

#[test]
fn a_puback_that_says_failure_ends_the_flow() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut narrow = narrow(&scene, &topic, 1);
    let mut speaker = scene.device("speaker");
    let codes = [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    for code in codes {
        speaker.say(&topic, &code.to_string(), 1);
    }
    for code in codes {
        let message = narrow.message();
        assert_eq!((message.text(), message.dup), (code.to_string(), false));
        narrow.ack_with(kind::PUBACK, message.id, code);
    }
    narrow.ping();
}

#[test]
fn a_pubrec_that_says_failure_ends_the_flow_without_pubrel() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut narrow = narrow(&scene, &topic, 2);
    let mut speaker = scene.device("speaker");
    let codes = [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    for code in codes {
        speaker.say(&topic, &code.to_string(), 2);
    }
    for code in codes {
        // `message` fails where a PUBREL comes.
        let message = narrow.message();
        assert_eq!((message.text(), message.dup), (code.to_string(), false));
        narrow.wire.send(&ack_with_properties(kind::PUBREC, message.id, code, &explanation()));
    }
    narrow.ping();
}

#[test]
fn a_failing_pubrec_for_an_unknown_identifier_brings_no_pubrel() {
    let scene = Scene::new(Version::V5);
    let mut device = scene.talker("device");
    // PUBREL answers a PUBREC below 0x80; one that fails has ended the flow on the client's side.
    device.ack_with(kind::PUBREC, 77, reason::UNSPECIFIED_ERROR);
    device.ping();
}

#[test]
fn what_was_refused_is_not_sent_again() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let connect = scene.lasting("device");
    let mut device = scene.talker_with(&connect);
    assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
    let mut speaker = scene.device("speaker");
    speaker.say(&topic, "one", 1);
    speaker.say(&topic, "two", 2);
    speaker.say(&topic, "open", 1);
    let sent = device.messages(3);
    device.ack_with(kind::PUBACK, sent[0].id, reason::UNSPECIFIED_ERROR);
    device.ack_with(kind::PUBREC, sent[1].id, reason::UNSPECIFIED_ERROR);
    device.ping();
    device.cut();
    let mut device = scene.talker_with(&connect);
    let again = device.message();
    assert_eq!((again.text(), again.dup, again.id), ("open".to_owned(), true, sent[2].id));
    device.ping();
}

#[test]
fn success_codes_of_acknowledgements_below_0x80_go_on() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut narrow = narrow(&scene, &topic, 2);
    let mut speaker = scene.device("speaker");
    for qos in [1, 2, 1] {
        speaker.say(&topic, "m", qos);
    }
    let message = narrow.message();
    narrow.ack_with(kind::PUBACK, message.id, reason::NO_MATCHING_SUBSCRIBERS);
    let message = narrow.message();
    narrow.ack_with(kind::PUBREC, message.id, reason::NO_MATCHING_SUBSCRIBERS);
    assert_eq!(narrow.answer(kind::PUBREL, message.id), 0);
    narrow.ack_with(kind::PUBCOMP, message.id, reason::PACKET_ID_NOT_FOUND);
    assert_eq!(narrow.message().qos, 1, "the flow ended");
}

#[test]
fn an_acknowledgement_with_a_property_of_another_packet_ends_the_connection() {
    let scene = Scene::new(Version::V5);
    let stranger = vec![(property::SESSION_EXPIRY, Value::Four(1))];
    let twice = vec![explanation()[0].clone(), explanation()[0].clone()];
    for kind_of in [kind::PUBACK, kind::PUBREC, kind::PUBREL, kind::PUBCOMP] {
        for (what, properties) in [("a stranger", &stranger), ("Reason String twice", &twice)] {
            let mut device = scene.talker("device");
            device.wire.send(&ack_with_properties(kind_of, 1, 0, properties));
            let allowed = [reason::PROTOCOL_ERROR, reason::MALFORMED];
            device.expect_refusal(&format!("{what} in packet type {kind_of}"), &allowed);
        }
    }
}

#[test]
fn acknowledgements_fit_a_small_maximum_packet_size() {
    let scene = Scene::new(Version::V5);
    let size = 60;
    let connect = scene.connect("small").property(property::MAXIMUM_PACKET_SIZE, Value::Four(size));
    let mut small = scene.talker_with(&connect);
    let mut fits = |bytes: &[u8]| {
        small.wire.send(bytes);
        let packet = small.wire.packet();
        assert!(frame(packet.first, &packet.body).len() <= size as usize, "{packet:?}");
        packet.kind()
    };
    let topic = scene.topic("t");
    let long_user = vec![(property::USER, Value::Pair("k".repeat(200), "v".repeat(200)))];
    let publish =
        |qos| Publish { properties: long_user.clone(), id: 1, ..Publish::new(&topic, "m").qos(qos) };
    assert_eq!(fits(&publish(1).encode(Version::V5)), kind::PUBACK);
    assert_eq!(fits(&publish(2).encode(Version::V5)), kind::PUBREC);
    assert_eq!(fits(&ack_with_properties(kind::PUBREL, 1, 0, &long_user)), kind::PUBCOMP);
    assert_eq!(fits(&ack_with_properties(kind::PUBREL, 9, 0, &long_user)), kind::PUBCOMP);
    assert_eq!(fits(&ack_with_properties(kind::PUBREC, 9, 0, &long_user)), kind::PUBREL);
    let subscribe = packets::subscribe(Version::V5, 3, &long_user, &[(&topic, 0)]);
    assert_eq!(fits(&subscribe), kind::SUBACK);
    assert_eq!(fits(&packets::unsubscribe(Version::V5, 4, &["never"])), kind::UNSUBACK);
}
