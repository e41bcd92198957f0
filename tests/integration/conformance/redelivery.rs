//! Chapter 4.4: what is open is sent again when its session is resumed, in order and with DUP, and at no other time.

use super::scene::{Scene, essence};
use crate::support::packets::{self, Publish, kind};
use crate::support::talker::Talker;
use crate::support::{Version, numbered};

/// That these messages come again, as they were sent, in their order and marked as repeats.
fn expect_again(device: &mut Talker, sent: &[Publish]) {
    for wanted in sent {
        let again = device.message();
        assert_eq!(again, Publish { dup: true, ..wanted.clone() });
    }
}

in_both_versions! {
    fn open_messages_and_pubrels_come_again_with_their_identifiers(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        let all = numbered("m", 9);
        let flows = all.iter().zip([1, 2, 2].iter().cycle());
        speaker.publish_all(flows.map(|(text, qos)| Publish::new(&topic, text).qos(*qos)));
        let sent = device.messages(9);
        // The first three are done, the next is open, then one is released, and so on.
        device.ack(kind::PUBACK, sent[0].id);
        for place in [1, 2, 4, 8] {
            device.ack(kind::PUBREC, sent[place].id);
            device.answer(kind::PUBREL, sent[place].id);
        }
        device.ack(kind::PUBCOMP, sent[1].id);
        device.ack(kind::PUBCOMP, sent[2].id);
        device.ping();
        device.cut();
        for _ in 0..2 {
            let mut device = scene.talker_with(&connect);
            assert!(device.connack.session_present);
            let mut messages = Vec::new();
            let mut released = Vec::new();
            for _ in 0..6 {
                let packet = device.wire.packet();
                match packet.kind() {
                    kind::PUBLISH => messages.push(Publish::decode(&packet, version)),
                    kind::PUBREL => released.push(packet.id()),
                    _ => panic!("unexpected {packet:?}"),
                }
            }
            let open = [3, 5, 6, 7].map(|place: usize| Publish { dup: true, ..sent[place].clone() });
            assert_eq!(messages, open);
            assert_eq!(released, [sent[4].id, sent[8].id]);
            device.ping();
            device.cut();
        }
    }

    fn nothing_is_sent_again_while_the_connection_stays(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.talker_with(&scene.lasting("device"));
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        speaker.say(&topic, "one", 1);
        speaker.say(&topic, "two", 2);
        speaker.say(&topic, "released", 2);
        let sent = device.messages(3);
        device.ack(kind::PUBREC, sent[2].id);
        device.answer(kind::PUBREL, sent[2].id);
        device.expect_silence();
        speaker.say(&topic, "new", 1);
        assert_eq!(device.message().text(), "new");
        device.ping();
    }

    fn a_new_session_gets_nothing_of_the_one_before(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.talker_with(&scene.lasting("device"));
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        speaker.say(&topic, "open", 1);
        speaker.say(&topic, "open", 2);
        device.messages(2);
        device.cut();
        speaker.say(&topic, "waiting", 2);
        let mut device = scene.talker("device");
        assert!(!device.connack.session_present);
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        speaker.say(&topic, "new", 1);
        assert_eq!(device.message().text(), "new");
    }

    fn what_is_open_comes_before_what_waited_and_that_before_what_is_new(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        let all = numbered("m", 30);
        let mut say = |range: std::ops::Range<usize>| {
            for (place, text) in all[range].iter().enumerate() {
                speaker.say(&topic, text, if place % 2 == 0 { 2 } else { 1 });
            }
        };
        say(0..10);
        let sent = device.messages(10);
        device.cut();
        say(10..20);
        let mut device = scene.talker_with(&connect);
        say(20..30);
        expect_again(&mut device, &sent);
        for text in &all[10..] {
            let message = device.message();
            assert_eq!((&message.text(), message.dup), (text, false));
            assert!(sent.iter().all(|open| open.id != message.id), "{} is in use", message.id);
        }
    }

    fn a_message_that_waited_has_no_dup_until_it_was_sent(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        device.disconnect();
        let mut speaker = scene.device("speaker");
        speaker.say(&topic, "m", 1);
        let mut device = scene.talker_with(&connect);
        let first = device.message();
        assert_eq!(essence(&first), (topic, "m".into(), 1, false, false));
        device.cut();
        let mut device = scene.talker_with(&connect);
        expect_again(&mut device, &[first]);
    }

    fn an_orderly_disconnect_acknowledges_nothing(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        speaker.say(&topic, "one", 1);
        speaker.say(&topic, "two", 2);
        let sent = device.messages(2);
        device.disconnect();
        let mut device = scene.talker_with(&connect);
        expect_again(&mut device, &sent);
    }

    fn a_takeover_brings_the_open_messages_to_the_new_connection(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut first = scene.talker_with(&connect);
        assert_eq!(first.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        speaker.say(&topic, "one", 1);
        speaker.say(&topic, "two", 2);
        let sent = first.messages(2);
        let mut second = scene.talker_with(&connect);
        assert!(second.connack.session_present);
        first.expect_refusal("taken over", &[0x8E]);
        expect_again(&mut second, &sent);
        second.ack(kind::PUBACK, sent[0].id);
        second.ack(kind::PUBREC, sent[1].id);
        second.answer(kind::PUBREL, sent[1].id);
        second.ack(kind::PUBCOMP, sent[1].id);
        second.ping();
    }

    fn answers_to_the_old_connection_do_not_reach_the_new_one(version: Version) {
        let scene = Scene::new(version);
        let mut old = scene.talker("device");
        for round in 0..30 {
            let mut bytes = Vec::new();
            for id in 1..=40 {
                let qos = if id % 2 == 0 { 1 } else { 2 };
                bytes.extend(Publish { id, ..Publish::new(&scene.topic("t"), "m").qos(qos) }.encode(version));
            }
            old.wire.send(&bytes);
            // Taken over while the answers are on their way, with a session that goes on and with a new one: a PUBACK
            // now would acknowledge another message that the client sends under the same identifier.
            let connect = if round % 2 == 0 { scene.lasting("device") } else { scene.connect("device") };
            let mut new = scene.talker_with(&connect);
            new.ping();
            new.publish(&Publish { id: 2, ..Publish::new(&scene.topic("t"), "m").qos(1) });
            new.answer(kind::PUBACK, 2);
            new.ping();
            old = new;
        }
    }

    fn a_client_may_send_again_what_it_has_no_answer_for(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.device("listener");
        listener.subscribe(&topic, 2);
        let connect = scene.lasting("speaker");
        let mut speaker = scene.talker_with(&connect);
        let one = Publish { id: 1, ..Publish::new(&topic, "one").qos(1) };
        let two = Publish { id: 2, ..Publish::new(&topic, "two").qos(2) };
        speaker.wire.send(&[one.encode(version), two.encode(version)].concat());
        speaker.cut();
        let mut speaker = scene.talker_with(&connect);
        speaker.publish(&Publish { dup: true, ..one });
        speaker.publish(&Publish { dup: true, ..two });
        assert_eq!(speaker.answer(kind::PUBACK, 1), 0);
        assert_eq!(speaker.answer(kind::PUBREC, 2), 0);
        speaker.ack(kind::PUBREL, 2);
        assert_eq!(speaker.answer(kind::PUBCOMP, 2), 0);
        speaker.publish(&Publish { id: 3, ..Publish::new(&topic, "end").qos(1) });
        let mut arrived = listener.texts_before("end");
        // QoS 1 may come twice, QoS 2 must not.
        arrived.dedup();
        assert!(arrived == ["one", "two"] || arrived == ["one", "two", "one"], "{arrived:?}");
    }

    fn messages_of_qos_0_do_not_come_again(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.subscribe(1, &[(&topic, 0)]), [0]);
        let mut speaker = scene.device("speaker");
        speaker.say(&topic, "m", 2);
        assert_eq!(device.message().qos, 0);
        device.cut();
        let mut device = scene.talker_with(&connect);
        device.wire.send(&packets::PINGREQ);
        device.wire.expect(&packets::PINGRESP);
    }
}
