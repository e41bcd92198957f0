//! Chapters 4.5 and 4.6: every matching session gets a message, and in the order in which each publisher sent it.

use std::collections::HashMap;

use super::scene::Scene;
use crate::support::packets::{self, Publish, Value, kind, property};
use crate::support::{Version, assert_same, numbered};

/// How many messages each publisher sends.
const EACH: usize = 150;

/// Payloads by publisher and QoS, each of the form `publisher/qos/m-number`.
fn by_source(messages: &[Publish]) -> HashMap<String, Vec<String>> {
    let mut sources: HashMap<String, Vec<String>> = HashMap::new();
    for message in messages {
        let text = message.text();
        let (source, number) = text.rsplit_once('/').expect("a payload names its source");
        sources.entry(source.to_owned()).or_default().push(number.to_owned());
    }
    sources
}

in_both_versions! {
    fn each_subscriber_gets_each_publishers_messages_in_their_order(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let connect = scene.lasting("sleeper");
        let mut sleeper = scene.device_with(&connect);
        sleeper.subscribe(&scene.topic("#"), 2);
        sleeper.disconnect();
        let mut listeners: Vec<_> = (0..3)
            .map(|qos| {
                let mut listener = scene.device(&format!("listener{qos}"));
                listener.subscribe(&topic, qos);
                listener
            })
            .collect();
        std::thread::scope(|scope| {
            for publisher in 0..3 {
                let (scene, topic) = (&scene, &topic);
                scope.spawn(move || {
                    let mut speaker = scene.device(&format!("speaker{publisher}"));
                    let texts = numbered("m", EACH);
                    speaker.publish_all(texts.iter().enumerate().map(|(place, text)| {
                        let qos = u8::try_from(place % 3).expect("below 3");
                        Publish::new(topic, format!("{publisher}/{qos}/{text}")).qos(qos)
                    }));
                });
            }
        });
        scene.device("last").say(&topic, "end", 2);
        let mut sleeper = scene.device_with(&connect);
        let waited = by_source(&sleeper.receive_before("end"));
        for listener in &mut listeners {
            let arrived = by_source(&listener.receive_before("end"));
            assert_eq!(arrived.len(), 9, "three publishers at three QoS");
            for (source, numbers) in &arrived {
                assert_eq!(numbers.len(), EACH / 3, "{source}");
                assert!(numbers.is_sorted(), "{source}: {numbers:?}");
            }
        }
        for (source, numbers) in &waited {
            assert!(numbers.is_sorted(), "{source}: {numbers:?}");
            let is_kept = !source.ends_with("/0");
            assert!(!is_kept || numbers.len() == EACH / 3, "{source}: {} of {}", numbers.len(), EACH / 3);
        }
        assert!(waited.len() >= 6, "QoS 1 and 2 of three publishers wait");
    }

    fn one_publishers_messages_keep_their_order_over_many_topics(version: Version) {
        let scene = Scene::new(version);
        let mut listener = scene.device("listener");
        listener.subscribe(&scene.topic("#"), 2);
        let wanted = numbered("m", 300);
        let mut speaker = scene.device("speaker");
        speaker.publish_all(wanted.iter().enumerate().map(|(place, text)| {
            Publish::new(&scene.topic(&format!("{}", place % 7)), text).qos(1)
        }));
        speaker.say(&scene.topic("end"), "end", 1);
        assert_same(&listener.texts_before("end"), &wanted, "over seven topics");
    }

    fn a_live_message_does_not_overtake_the_retained_one_before_it(version: Version) {
        let scene = Scene::new(version);
        for round in 0..50 {
            let topic = scene.topic(&round.to_string());
            let mut device = scene.talker_with(&scene.lasting("device"));
            // One after the other, from one client on one topic at one QoS: the old value never comes last.
            let say = |id, text: &str| Publish { id, ..Publish::new(&topic, text).qos(1).retained() }.encode(version);
            let subscribe = packets::subscribe(version, 2, &Vec::new(), &[(&topic, 1)]);
            device.wire.send(&[say(1, "old"), subscribe, say(3, "new")].concat());
            let mut heard = Vec::new();
            while heard.len() < 2 {
                let packet = device.wire.packet();
                if packet.kind() == kind::PUBLISH {
                    let message = Publish::decode(&packet, version);
                    device.ack(kind::PUBACK, message.id);
                    heard.push(message.text());
                }
            }
            assert_eq!(heard, ["old", "new"], "round {round}");
            device.disconnect();
        }
    }

    fn acknowledgements_come_in_the_order_of_the_messages(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut speaker = scene.talker("speaker");
        let qos = |id: u16| 1 + u8::from(id.is_multiple_of(3));
        let mut bytes = Vec::new();
        for id in 1..=200 {
            bytes.extend(Publish { id, ..Publish::new(&topic, "m").qos(qos(id)) }.encode(version));
        }
        speaker.wire.send(&bytes);
        let mut acknowledged = [Vec::new(), Vec::new()];
        for _ in 1..=200 {
            let packet = speaker.wire.packet();
            let second = match packet.kind() {
                kind::PUBACK => 0,
                kind::PUBREC => 1,
                _ => panic!("unexpected {packet:?}"),
            };
            acknowledged[second].push(packet.id());
        }
        let (puback, pubrec): (Vec<u16>, Vec<u16>) = (1..=200).partition(|id| qos(*id) == 1);
        assert_eq!(acknowledged, [puback, pubrec]);
    }

    fn pubrels_come_in_the_order_of_the_pubrecs(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut device = scene.talker("device");
        assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
        let mut speaker = scene.device("speaker");
        speaker.publish_all(numbered("m", 10).iter().map(|text| Publish::new(&topic, text).qos(2)));
        let sent: Vec<u16> = device.messages(10).iter().map(|message| message.id).collect();
        for id in &sent {
            device.ack(kind::PUBREC, *id);
        }
        for id in &sent {
            device.answer(kind::PUBREL, *id);
        }
    }

    fn a_message_is_owed_to_every_matching_session_present_or_not(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("a/b");
        let filters = ["a/b", "a/+", "#", "+/b", "a/b/#", "a/c"];
        let connects: Vec<_> = (0..filters.len()).map(|number| scene.lasting(&number.to_string())).collect();
        for (connect, filter) in connects.iter().zip(filters) {
            let mut device = scene.device_with(connect);
            device.subscribe(&scene.topic(filter), 2);
            device.subscribe(&scene.topic("end"), 2);
            device.disconnect();
        }
        let mut speaker = scene.device("speaker");
        for qos in [1, 2] {
            speaker.say(&topic, &qos.to_string(), qos);
        }
        speaker.say(&scene.topic("end"), "end", 2);
        for (connect, filter) in connects.iter().zip(filters) {
            let mut device = scene.device_with(connect);
            assert!(device.connack.session_present);
            let wanted: &[&str] = if filter == "a/c" { &[] } else { &["1", "2"] };
            assert_eq!(device.texts_before("end"), wanted, "{filter}");
        }
    }
}

#[test]
fn a_window_of_one_keeps_the_order() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let connect = scene.connect("narrow").property(property::RECEIVE_MAXIMUM, Value::Two(1));
    let mut narrow = scene.device_with(&connect);
    narrow.subscribe(&topic, 2);
    let wanted = numbered("m", 200);
    let mut speaker = scene.device("speaker");
    let flows = wanted.iter().zip([1, 2, 2].iter().cycle());
    speaker.publish_all(flows.map(|(text, qos)| Publish::new(&topic, text).qos(*qos)));
    speaker.say(&topic, "end", 1);
    assert_same(&narrow.texts_before("end"), &wanted, "one at a time");
}
