//! Chapter 4.3: the protocol flows of QoS 0, 1 and 2, the proxy as their receiver and as their sender.

use std::collections::HashSet;

use super::scene::{Scene, essence, reason};
use crate::support::device::Device;
use crate::support::packets::{self, Connect, Publish, kind};
use crate::support::proxy::Setup;
use crate::support::rest::local_broker;
use crate::support::talker::Talker;
use crate::support::wire::Seen;
use crate::support::{DEADLINE, Version, numbered, wait_until};

in_both_versions! {
    fn a_qos_0_message_is_sent_once_and_wants_no_answer(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.talker("speaker");
        speaker.publish(&Publish::new(&topic, "m"));
        assert_eq!(essence(&device.message()), (topic, "m".into(), 0, false, false));
        speaker.ping();
        device.cut();
        scene.talker_with(&connect).ping();
    }

    fn a_qos_1_publish_is_acknowledged_with_its_identifier(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.device("listener");
        listener.subscribe(&topic, 0);
        let mut speaker = scene.talker("speaker");
        for id in [1, 0x0100, 65_535, 3] {
            speaker.publish(&Publish { id, ..Publish::new(&topic, "m").qos(1) });
            assert_eq!(speaker.answer(kind::PUBACK, id), 0);
        }
    }

    fn after_puback_the_same_identifier_is_a_new_message_whatever_dup_says(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.device("listener");
        listener.subscribe(&topic, 2);
        let mut speaker = scene.talker("speaker");
        for (text, dup) in [("a", false), ("b", false), ("c", true), ("c", true)] {
            speaker.publish(&Publish { id: 7, dup, ..Publish::new(&topic, text).qos(1) });
            assert_eq!(speaker.answer(kind::PUBACK, 7), 0);
            assert_eq!(listener.receive().text(), text);
        }
    }

    fn messages_that_are_open_have_identifiers_of_their_own(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.talker("device");
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        let mut open: HashSet<u16> = HashSet::new();
        for round in 0..10_u8 {
            speaker.publish_all((0..6).map(|number| Publish::new(&topic, "m").qos(1 + number % 2)));
            let sent = device.messages(6);
            for message in &sent {
                assert!(!message.dup && message.id != 0);
                assert!(open.insert(message.id), "{} is in use", message.id);
            }
            // Each round leaves two messages without PUBACK and PUBREC, and one that waits for PUBCOMP.
            for message in &sent[usize::from(round % 2)..4] {
                if message.qos == 1 {
                    device.ack(kind::PUBACK, message.id);
                    open.remove(&message.id);
                } else {
                    device.ack(kind::PUBREC, message.id);
                    assert_eq!(device.answer(kind::PUBREL, message.id), 0);
                }
            }
        }
        device.ping();
    }

    fn acknowledgements_may_come_in_any_order(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        let texts = numbered("m", 8);
        let flows = texts.iter().zip([1, 2].iter().cycle());
        speaker.publish_all(flows.map(|(text, qos)| Publish::new(&topic, text).qos(*qos)));
        let sent = device.messages(8);
        for place in [6, 0, 4, 2] {
            device.ack(kind::PUBACK, sent[place].id);
        }
        for place in [5, 1, 7, 3] {
            device.ack(kind::PUBREC, sent[place].id);
            assert_eq!(device.answer(kind::PUBREL, sent[place].id), 0);
        }
        for place in [3, 7, 5, 1] {
            device.ack(kind::PUBCOMP, sent[place].id);
        }
        device.ping();
        device.cut();
        scene.talker_with(&connect).ping();
    }

    fn a_qos_2_publish_goes_through_pubrec_pubrel_and_pubcomp(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.device("listener");
        listener.subscribe(&topic, 2);
        let mut speaker = scene.talker("speaker");
        for id in [1, 0x0100, 65_535] {
            speaker.publish(&Publish { id, ..Publish::new(&topic, id.to_string()).qos(2) });
            assert_eq!(speaker.answer(kind::PUBREC, id), 0);
            speaker.ack(kind::PUBREL, id);
            assert_eq!(speaker.answer(kind::PUBCOMP, id), 0);
            assert_eq!(listener.receive().text(), id.to_string());
        }
    }

    fn a_qos_2_publish_that_comes_again_before_its_pubrel_is_delivered_once(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.device("listener");
        listener.subscribe(&topic, 2);
        let mut speaker = scene.talker("speaker");
        let message = |id, text: &str, dup| Publish { id, dup, ..Publish::new(&topic, text).qos(2) };
        for (id, text) in [(7, "a"), (8, "b")] {
            // The repeat's DUP flag is not asked: the identifier says that it is a repeat.
            for dup in [false, true, false] {
                speaker.publish(&message(id, text, dup));
                assert_eq!(speaker.answer(kind::PUBREC, id), 0);
            }
        }
        for id in [7, 8] {
            speaker.ack(kind::PUBREL, id);
            assert_eq!(speaker.answer(kind::PUBCOMP, id), 0);
        }
        // After PUBCOMP the identifier means a new message, whatever DUP says.
        speaker.publish(&message(7, "c", true));
        assert_eq!(speaker.answer(kind::PUBREC, 7), 0);
        speaker.ack(kind::PUBREL, 7);
        assert_eq!(speaker.answer(kind::PUBCOMP, 7), 0);
        speaker.publish(&message(7, "end", false));
        speaker.answer(kind::PUBREC, 7);
        speaker.ack(kind::PUBREL, 7);
        assert_eq!(listener.texts_before("end"), ["a", "b", "c"]);
    }

    fn a_pubrel_that_comes_with_its_publish_releases_only_its_own(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.device("listener");
        listener.subscribe(&topic, 2);
        let mut speaker = scene.talker("speaker");
        // All of it in one write: the flow does not wait for PUBREC, and the second message comes twice.
        let first = Publish { id: 1, ..Publish::new(&topic, "first").qos(2) };
        let second = Publish { id: 2, ..Publish::new(&topic, "second").qos(2) };
        let third = Publish { id: 1, ..Publish::new(&topic, "end").qos(2) };
        let bytes = [
            first.encode(version),
            second.encode(version),
            packets::ack(kind::PUBREL, 1),
            Publish { dup: true, ..second }.encode(version),
            third.encode(version),
            packets::ack(kind::PUBREL, 2),
            packets::ack(kind::PUBREL, 1),
        ];
        speaker.wire.send(&bytes.concat());
        let mut pubrecs = Vec::new();
        let mut pubcomps = Vec::new();
        for _ in 0..7 {
            let packet = speaker.wire.packet();
            assert_eq!(packet.ack_reason(), 0, "{packet:?}");
            if packet.kind() == kind::PUBREC { pubrecs.push(packet.id()) } else { pubcomps.push(packet.id()) }
        }
        assert_eq!((pubrecs, pubcomps), (vec![1, 2, 2, 1], vec![1, 2, 1]));
        assert_eq!(listener.texts_before("end"), ["first", "second"]);
    }

    fn a_pubrec_is_answered_with_pubrel_and_the_publish_is_not_sent_again(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("device");
        let mut device = scene.talker_with(&connect);
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        scene.device("speaker").say(&topic, "m", 2);
        let sent = device.message();
        assert_eq!(essence(&sent), (topic, "m".into(), 2, false, false));
        device.ack(kind::PUBREC, sent.id);
        assert_eq!(device.answer(kind::PUBREL, sent.id), 0);
        // The PUBREL is open until PUBCOMP comes, and it comes alone.
        for _ in 0..2 {
            device.cut();
            device = scene.talker_with(&connect);
            assert_eq!(device.answer(kind::PUBREL, sent.id), 0);
            device.ping();
        }
        device.ack(kind::PUBCOMP, sent.id);
        device.ping();
        device.cut();
        scene.talker_with(&connect).ping();
    }

    fn the_receiver_remembers_identifiers_over_a_reconnect(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.device("listener");
        listener.subscribe(&topic, 2);
        let connect = scene.lasting("speaker");
        let mut speaker = scene.talker_with(&connect);
        let message = Publish { id: 9, ..Publish::new(&topic, "once").qos(2) };
        speaker.publish(&message);
        assert_eq!(speaker.answer(kind::PUBREC, 9), 0);
        speaker.cut();
        let mut speaker = scene.talker_with(&connect);
        assert!(speaker.connack.session_present);
        speaker.publish(&Publish { dup: true, ..message });
        assert_eq!(speaker.answer(kind::PUBREC, 9), 0);
        speaker.ack(kind::PUBREL, 9);
        assert_eq!(speaker.answer(kind::PUBCOMP, 9), 0);
        speaker.cut();
        // A PUBREL whose PUBCOMP got lost comes again, too.
        let mut speaker = scene.device_with(&connect);
        speaker.wire.send(&packets::ack(kind::PUBREL, 9));
        assert_eq!(speaker.wire.packet().kind(), kind::PUBCOMP);
        speaker.say(&topic, "end", 2);
        assert_eq!(listener.texts_before("end"), ["once"]);
    }

    fn a_new_session_of_a_publisher_knows_no_identifiers(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut listener = scene.device("listener");
        listener.subscribe(&topic, 2);
        let mut speaker = scene.talker_with(&scene.lasting("speaker"));
        speaker.publish(&Publish { id: 9, ..Publish::new(&topic, "old").qos(2) });
        assert_eq!(speaker.answer(kind::PUBREC, 9), 0);
        speaker.cut();
        let mut speaker = scene.talker("speaker");
        assert!(!speaker.connack.session_present);
        speaker.publish(&Publish { id: 9, ..Publish::new(&topic, "new").qos(2) });
        assert_eq!(speaker.answer(kind::PUBREC, 9), 0);
        speaker.ack(kind::PUBREL, 9);
        assert_eq!(speaker.answer(kind::PUBCOMP, 9), 0);
        // The old message is delivered with its PUBREC or, by another method, never.
        let before = listener.texts_before("new");
        assert!(before == ["old"] || before.is_empty(), "{before:?}");
    }

    fn identifiers_wrap_around_those_that_are_in_use(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.talker("device");
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        speaker.say(&topic, "held", 1);
        speaker.say(&topic, "released", 2);
        let held = device.messages(2);
        device.ack(kind::PUBREC, held[1].id);
        device.answer(kind::PUBREL, held[1].id);
        // More messages than there are identifiers, in groups that fit every queue.
        for round in 0..132 {
            speaker.publish_all((0..500).map(|_| Publish::new(&topic, "m").qos(1)));
            let mut acks = Vec::new();
            for number in 0..500 {
                let Seen::Packet(packet) = device.wire.look(DEADLINE) else {
                    panic!("message {} never came; {held:?} are open", round * 500 + number);
                };
                let id = Publish::decode(&packet, version).id;
                assert!(held.iter().all(|open| open.id != id), "{id} is in use");
                acks.extend(packets::ack(kind::PUBACK, id));
            }
            device.wire.send(&acks);
        }
        device.ping();
    }
}

#[test]
fn a_refused_qos_2_message_leaves_its_identifier_to_a_new_one() {
    let limits = "[log]\nsegment_bytes = 65536\n[limits]\nreceive_maximum = 5";
    let proxy = Setup::new().settings(limits).start();
    // A broker that is never there and may lose nothing: soon there is no room for more.
    let mut away = local_broker("away", 9, Version::V4);
    away["queue_bytes_max"] = 65_536.into();
    away["on_full"] = "reject".into();
    let away = proxy.rest().add(&away);
    let mut listener = Device::connect(proxy.mqtt(), Version::V5, "listener");
    listener.subscribe("t", 2);
    let mut speaker = Talker::connect(proxy.mqtt(), &Connect::new(Version::V5, "speaker").persistent());
    let fill = Publish { id: 1, ..Publish::new("fill", vec![b'x'; 1_000]).qos(1) };
    let refused = (0..500).any(|_| {
        speaker.publish(&fill);
        speaker.answer(kind::PUBACK, 1) == reason::QUOTA_EXCEEDED
    });
    assert!(refused, "500 kB were taken where 64 KiB are allowed");
    let message = |id, text| Publish { id, ..Publish::new("t", text).qos(2) };
    // More than the window holds, so a refused message takes no place in it either.
    for id in [7, 7, 8, 9, 10, 11, 12, 7] {
        speaker.publish(&message(id, "refused"));
        assert_eq!(speaker.answer(kind::PUBREC, id), reason::QUOTA_EXCEEDED);
    }
    speaker.ack(kind::PUBREL, 8);
    assert_eq!(speaker.answer(kind::PUBCOMP, 8), reason::PACKET_ID_NOT_FOUND);
    proxy.rest().toggle(&away);
    wait_until("there is room again", || {
        speaker.publish(&fill);
        speaker.answer(kind::PUBACK, 1) != reason::QUOTA_EXCEEDED
    });
    for id in [7, 8] {
        speaker.publish(&message(id, "taken"));
        assert_eq!(speaker.answer(kind::PUBREC, id), 0);
        speaker.ack(kind::PUBREL, id);
        assert_eq!(speaker.answer(kind::PUBCOMP, id), 0);
    }
    listener.say("t", "end", 2);
    assert_eq!(listener.texts_before("end"), ["taken", "taken"]);
}
