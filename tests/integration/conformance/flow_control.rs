//! Chapter 4.9: Receive Maximum in both directions.

use super::scene::{Scene, reason};
use crate::support::packets::{self, Connect, Publish, Value, kind, number, property};
use crate::support::proxy::{Proxy, Setup};
use crate::support::talker::Talker;
use crate::support::{Version, numbered};

fn window(connect: Connect, size: u16) -> Connect {
    connect.property(property::RECEIVE_MAXIMUM, Value::Two(size))
}

/// A client with a window of this size that is subscribed to the topic at QoS 2.
fn subscriber(scene: &Scene, size: u16, topic: &str) -> Talker {
    let mut device = scene.talker_with(&window(scene.connect("device"), size));
    assert_eq!(device.subscribe(1, &[(topic, 2)]), [2]);
    device
}

#[test]
fn a_client_with_a_window_of_one_gets_message_after_message() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = subscriber(&scene, 1, &topic);
    let mut speaker = scene.device("speaker");
    let texts = numbered("m", 40);
    speaker.publish_all(
        texts.iter().zip([1, 2].iter().cycle()).map(|(text, qos)| Publish::new(&topic, text).qos(*qos)),
    );
    for text in &texts {
        let message = device.message();
        assert_eq!(&message.text(), text);
        device.ping();
        if message.qos == 1 {
            device.ack(kind::PUBACK, message.id);
        } else {
            device.ack(kind::PUBREC, message.id);
            assert_eq!(device.answer(kind::PUBREL, message.id), 0);
            // A PUBREC that says success does not open the window, only PUBCOMP does.
            device.ping();
            device.ack(kind::PUBCOMP, message.id);
        }
    }
    device.ping();
}

#[test]
fn a_refusing_pubrec_opens_the_window() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = subscriber(&scene, 1, &topic);
    let mut speaker = scene.device("speaker");
    speaker.say(&topic, "refused", 2);
    speaker.say(&topic, "next", 2);
    let refused = device.message();
    device.ping();
    device.ack_with(kind::PUBREC, refused.id, reason::UNSPECIFIED_ERROR);
    assert_eq!(device.message().text(), "next");
}

#[test]
fn as_many_messages_as_the_window_holds_come_at_once() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = subscriber(&scene, 7, &topic);
    let mut speaker = scene.device("speaker");
    speaker.publish_all(numbered("m", 20).iter().map(|text| Publish::new(&topic, text).qos(1)));
    let mut open = device.messages(7);
    device.ping();
    while open.len() < 20 {
        let place = open.len() - 7;
        device.ack(kind::PUBACK, open[place].id);
        open.push(device.message());
        device.ping();
    }
    assert_eq!(open.iter().map(Publish::text).collect::<Vec<_>>(), numbered("m", 20));
}

#[test]
fn acknowledgements_of_nothing_do_not_widen_the_window() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = subscriber(&scene, 2, &topic);
    let mut speaker = scene.device("speaker");
    for number in 0..4 {
        speaker.say(&topic, "m", 1 + number % 2);
    }
    let sent = device.messages(2);
    for id in 40_000..40_010 {
        device.ack(kind::PUBACK, id);
        device.ack(kind::PUBCOMP, id);
    }
    device.ping();
    device.ack(kind::PUBACK, sent[0].id);
    device.message();
    device.ping();
}

#[test]
fn qos_0_passes_a_full_window() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = subscriber(&scene, 1, &topic);
    let mut speaker = scene.device("speaker");
    speaker.say(&topic, "open", 1);
    let open = device.message();
    for text in numbered("zero", 20) {
        speaker.say(&topic, &text, 0);
        assert_eq!(device.message().text(), text);
    }
    device.ack(kind::PUBACK, open.id);
    device.ping();
}

#[test]
fn all_other_packets_pass_a_full_window() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = subscriber(&scene, 1, &topic);
    let mut speaker = scene.device("speaker");
    speaker.say(&topic, "open", 2);
    speaker.say(&topic, "waiting", 1);
    let open = device.message();
    device.ping();
    assert_eq!(device.subscribe(2, &[(&scene.topic("other"), 1)]), [1]);
    assert_eq!(device.unsubscribe(3, &[&scene.topic("other")]), [0]);
    device.publish(&Publish { id: 4, ..Publish::new(&scene.topic("mine"), "m").qos(1) });
    device.answer(kind::PUBACK, 4);
    device.publish(&Publish { id: 5, ..Publish::new(&scene.topic("mine"), "m").qos(2) });
    device.answer(kind::PUBREC, 5);
    device.ack(kind::PUBREL, 5);
    assert_eq!(device.answer(kind::PUBCOMP, 5), 0);
    device.ack(kind::PUBREC, open.id);
    assert_eq!(device.answer(kind::PUBREL, open.id), 0);
    device.ack(kind::PUBCOMP, open.id);
    assert_eq!(device.message().text(), "waiting");
}

#[test]
fn a_retained_message_waits_for_the_window_too() {
    let scene = Scene::new(Version::V5);
    let mut speaker = scene.device("speaker");
    for rest in ["r/1", "r/2", "r/3"] {
        speaker.publish(Publish::new(&scene.topic(rest), rest).qos(1).retained());
    }
    let mut device = scene.talker_with(&window(scene.connect("device"), 1));
    device.wire.send(&packets::subscribe(Version::V5, 1, &Vec::new(), &[(&scene.topic("r/#"), 1)]));
    let (mut texts, mut granted) = (Vec::new(), false);
    while texts.len() < 3 {
        let packet = device.wire.packet();
        if packet.kind() == kind::SUBACK {
            granted = true;
            continue;
        }
        let message = Publish::decode(&packet, Version::V5);
        if granted {
            device.ping();
        }
        device.ack(kind::PUBACK, message.id);
        texts.push(message.text());
    }
    texts.sort();
    assert_eq!(texts, ["r/1", "r/2", "r/3"]);
}

#[test]
fn the_window_holds_for_one_connection_only() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.talker_with(&window(scene.lasting("device"), 5));
    assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
    let mut speaker = scene.device("speaker");
    speaker.publish_all(numbered("m", 8).iter().map(|text| Publish::new(&topic, text).qos(1)));
    let sent = device.messages(5);
    device.ping();
    device.cut();
    // Smaller than what is open: the repeats go one by one.
    let mut device = scene.talker_with(&window(scene.lasting("device"), 1));
    for wanted in &sent[..2] {
        let again = device.message();
        assert_eq!((again.id, again.dup), (wanted.id, true));
        device.ping();
        device.ack(kind::PUBACK, again.id);
    }
    // The third repeat tells that the second acknowledgement has arrived.
    assert_eq!(device.message().id, sent[2].id);
    device.cut();
    // None told: 65,535.
    let mut device = scene.talker_with(&scene.lasting("device"));
    let rest: Vec<String> = device.messages(6).iter().map(Publish::text).collect();
    assert_eq!(rest, numbered("m", 8)[2..]);
}

#[test]
fn a_full_window_does_not_delay_the_pubrels_of_a_resumed_session() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.talker_with(&window(scene.lasting("device"), 5));
    assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
    let mut speaker = scene.device("speaker");
    speaker.say(&topic, "open", 1);
    speaker.say(&topic, "released", 2);
    let sent = device.messages(2);
    device.ack(kind::PUBREC, sent[1].id);
    device.answer(kind::PUBREL, sent[1].id);
    device.cut();
    let mut device = scene.talker_with(&window(scene.lasting("device"), 1));
    // Nothing is acknowledged in between: only PUBLISH packets wait for the window.
    let mut kinds = [device.wire.packet().kind(), device.wire.packet().kind()];
    kinds.sort_unstable();
    assert_eq!(kinds, [kind::PUBLISH, kind::PUBREL]);
}

/// A proxy that takes three messages at a time.
fn strict() -> Proxy {
    Setup::new().settings("[limits]\nreceive_maximum = 3").start()
}

fn publish(device: &mut Talker, id: u16, qos: u8) {
    device.publish(&Publish { id, ..Publish::new("t", "m").qos(qos) });
}

#[test]
fn a_client_may_use_our_whole_window_again_and_again() {
    let proxy = strict();
    let mut device = Talker::connect(proxy.mqtt(), &Connect::new(Version::V5, "device"));
    assert_eq!(number(&device.connack.properties, property::RECEIVE_MAXIMUM), Some(3));
    for round in 0..5 {
        for id in 1..=3 {
            publish(&mut device, id, 2);
            device.answer(kind::PUBREC, id);
        }
        // Repeats of open messages, QoS 0 and other packets take no further place.
        device.publish(&Publish { id: 2, dup: true, ..Publish::new("t", "m").qos(2) });
        device.answer(kind::PUBREC, 2);
        for _ in 0..10 {
            publish(&mut device, 0, 0);
        }
        device.ping();
        assert_eq!(device.subscribe(4, &[("other", 0)]), [0]);
        for id in 1..=3 {
            device.ack(kind::PUBREL, id);
            assert_eq!(device.answer(kind::PUBCOMP, id), 0, "round {round}");
        }
        for id in 1..=30 {
            publish(&mut device, id, 1);
            device.answer(kind::PUBACK, id);
        }
    }
}

#[test]
fn a_client_that_exceeds_our_window_is_disconnected() {
    let proxy = strict();
    let mut device = Talker::connect(proxy.mqtt(), &Connect::new(Version::V5, "device"));
    for id in 1..=3 {
        publish(&mut device, id, 2);
        device.answer(kind::PUBREC, id);
    }
    publish(&mut device, 4, 2);
    device.expect_refusal("a fourth open message", &[reason::RECEIVE_MAXIMUM_EXCEEDED]);
    let mut device = Talker::connect(proxy.mqtt(), &Connect::new(Version::V5, "device"));
    for id in 1..=3 {
        publish(&mut device, id, 2);
        device.answer(kind::PUBREC, id);
    }
    publish(&mut device, 4, 1);
    device.expect_refusal("QoS 1 beyond three of QoS 2", &[reason::RECEIVE_MAXIMUM_EXCEEDED]);
}

#[test]
fn a_client_of_3_1_1_knows_no_window() {
    let proxy = strict();
    let mut device = Talker::connect(proxy.mqtt(), &Connect::new(Version::V4, "device"));
    for id in 1..=20 {
        publish(&mut device, id, 2);
        device.answer(kind::PUBREC, id);
    }
    for id in 1..=20 {
        device.ack(kind::PUBREL, id);
        device.answer(kind::PUBCOMP, id);
    }
}
