//! Chapter 3.3.1.3: the RETAIN flag, and what subscriptions make of it.

use std::collections::HashSet;

use super::scene::{Scene, essence, option};
use crate::support::packets::{Publish, Value, kind, property, subscribe, unsubscribe};
use crate::support::wire::Seen;
use crate::support::{DEADLINE, Version, numbered};

/// The retained messages that a new subscription brings, each with its QoS; they come before the end marker.
fn retained(scene: &Scene, who: &str, filter: &str, qos: u8) -> Vec<(String, u8)> {
    let mut late = scene.device(who);
    let end = scene.topic("end");
    late.subscribe(filter, qos);
    late.subscribe(&end, 2);
    late.say(&end, "end", 2);
    let mut found: Vec<(String, u8)> = Vec::new();
    for message in late.receive_before("end") {
        assert!(message.retain && !message.dup, "{message:?}");
        found.push((message.text(), message.qos));
    }
    found.sort();
    found
}

fn wanted(list: &[(&str, u8)]) -> Vec<(String, u8)> {
    list.iter().map(|(text, qos)| ((*text).to_owned(), *qos)).collect()
}

in_both_versions! {
    fn the_last_retained_message_of_each_topic_goes_to_new_subscriptions(version: Version) {
        let scene = Scene::new(version);
        let mut speaker = scene.device("speaker");
        let published = [("r/1", "old", 2), ("r/2", "other", 1), ("r/1", "new", 1), ("x/1", "not asked for", 1)];
        for (topic, text, qos) in published {
            speaker.publish(Publish::new(&scene.topic(topic), text).qos(qos).retained());
        }
        assert_eq!(retained(&scene, "late", &scene.topic("r/+"), 2), wanted(&[("new", 1), ("other", 1)]));
        assert_eq!(retained(&scene, "later", &scene.topic("r/1"), 2), wanted(&[("new", 1)]));
        assert_eq!(retained(&scene, "latest", &scene.topic("r"), 2), wanted(&[]));
    }

    fn a_retained_message_comes_at_the_lower_of_both_qos(version: Version) {
        let scene = Scene::new(version);
        let mut speaker = scene.device("speaker");
        for qos in 0..3 {
            let topic = scene.topic(&format!("r/{qos}"));
            speaker.publish(Publish::new(&topic, format!("{qos}")).qos(qos).retained());
        }
        speaker.ping();
        for granted in 0..3 {
            let list = [("0", 0), ("1", 1.min(granted)), ("2", granted)];
            let found = retained(&scene, &format!("late{granted}"), &scene.topic("r/#"), granted);
            assert_eq!(found, wanted(&list), "subscribed at QoS {granted}");
        }
    }

    fn a_retained_message_of_qos_0_replaces_one_of_qos_1(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("r");
        let mut speaker = scene.device("speaker");
        speaker.publish(Publish::new(&topic, "one").qos(1).retained());
        speaker.publish(Publish::new(&topic, "zero").retained());
        speaker.ping();
        let found = retained(&scene, "late", &topic, 2);
        // The server may throw a QoS 0 message away at any time, but never keeps the one before it.
        assert!(found == wanted(&[("zero", 0)]) || found.is_empty(), "{found:?}");
    }

    fn an_empty_payload_deletes_the_retained_message_and_is_delivered(version: Version) {
        let scene = Scene::new(version);
        let mut speaker = scene.device("speaker");
        let mut watcher = scene.device("watcher");
        watcher.subscribe(&scene.topic("r/#"), 2);
        for qos in 0..3 {
            let topic = scene.topic(&format!("r/{qos}"));
            speaker.publish(Publish::new(&topic, "kept").qos(2).retained());
            assert_eq!(watcher.receive().text(), "kept");
            speaker.publish(Publish::new(&topic, "").qos(qos).retained());
            assert_eq!(essence(&watcher.receive()), (topic.clone(), String::new(), qos, false, false));
            assert_eq!(retained(&scene, &format!("late{qos}"), &topic, 2), wanted(&[]));
            // Once more, where nothing is left to delete.
            speaker.publish(Publish::new(&topic, "").qos(qos).retained());
            assert_eq!(watcher.receive().payload.len(), 0);
            assert_eq!(retained(&scene, &format!("later{qos}"), &topic, 2), wanted(&[]));
        }
    }

    fn a_message_without_retain_neither_replaces_nor_deletes(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("r");
        let mut speaker = scene.device("speaker");
        speaker.publish(Publish::new(&topic, "kept").qos(1).retained());
        for qos in 0..3 {
            speaker.say(&topic, "live", qos);
            speaker.say(&topic, "", qos);
            speaker.say(&scene.topic("never"), "live", qos);
        }
        speaker.ping();
        assert_eq!(retained(&scene, "late", &topic, 2), wanted(&[("kept", 1)]));
        assert_eq!(retained(&scene, "later", &scene.topic("never"), 2), wanted(&[]));
    }

    fn subscribing_again_brings_the_retained_message_again(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("r");
        let mut device = scene.device("device");
        device.publish(Publish::new(&topic, "kept").qos(1).retained());
        for qos in [0, 1, 1, 2] {
            device.subscribe(&topic, qos);
            assert_eq!(essence(&device.receive()), (topic.clone(), "kept".into(), qos.min(1), true, false));
        }
    }

    fn each_filter_of_one_subscribe_brings_its_retained_messages(version: Version) {
        let scene = Scene::new(version);
        let mut device = scene.device("device");
        for name in ["a", "b"] {
            device.publish(Publish::new(&scene.topic(name), name).qos(1).retained());
        }
        let filters = [scene.topic("a"), scene.topic("b"), scene.topic("+"), scene.topic("end")];
        let list: Vec<(&str, u8)> = filters.iter().map(|filter| (filter.as_str(), 1)).collect();
        assert_eq!(device.subscribe_with(&Vec::new(), &list), [1; 4]);
        device.say(&filters[3], "end", 1);
        let mut texts = device.texts_before("end");
        texts.sort();
        assert_eq!(texts, ["a", "a", "b", "b"], "as after three SUBSCRIBE packets");
    }

    fn retained_messages_of_dollar_topics_hide_from_leading_wildcards(version: Version) {
        let scene = Scene::new(version);
        let hidden = format!("${}", scene.topic("r"));
        scene.device("speaker").publish(Publish::new(&hidden, "hidden").qos(1).retained());
        for filter in ["#", "+/r", "+/#"] {
            let mut late = scene.talker("late");
            let mut bytes = subscribe(version, 1, &Vec::new(), &[(filter, 0)]);
            bytes.extend(unsubscribe(version, 2, &[filter]));
            bytes.extend(subscribe(version, 3, &Vec::new(), &[(&hidden, 0)]));
            late.wire.send(&bytes);
            // What other tests retain matches these filters too.
            let mut subscribed = false;
            loop {
                let packet = late.wire.packet();
                subscribed |= packet.kind() == kind::SUBACK && packet.id() == 3;
                if packet.kind() == kind::PUBLISH && Publish::decode(&packet, version).topic == hidden {
                    break;
                }
            }
            assert!(subscribed, "{filter} matched {hidden}");
        }
        scene.device("speaker").publish(Publish::new(&hidden, "").qos(1).retained());
    }

    fn all_retained_messages_come_however_many_they_are(version: Version) {
        let scene = Scene::new(version);
        let mut speaker = scene.device("speaker");
        let names = numbered("r", 2_500);
        speaker.publish_all(names.iter().map(|name| Publish::new(&scene.topic(name), name).qos(1).retained()));
        let mut late = scene.talker("late");
        late.wire.send(&subscribe(version, 1, &Vec::new(), &[(&scene.topic("#"), 1)]));
        let mut found: HashSet<String> = HashSet::new();
        while found.len() < names.len() {
            let Seen::Packet(packet) = late.wire.look(DEADLINE) else {
                panic!("{} of {} retained messages came", found.len(), names.len());
            };
            if packet.kind() == kind::SUBACK {
                continue;
            }
            let message = Publish::decode(&packet, version);
            late.ack(kind::PUBACK, message.id);
            assert!(found.insert(message.text()), "{message:?} came twice");
        }
        speaker.publish_all(names.iter().map(|name| Publish::new(&scene.topic(name), "").qos(1).retained()));
    }

    fn a_retained_message_outlives_its_publisher(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("r");
        let mut speaker = scene.device("speaker");
        speaker.publish(Publish::new(&topic, "kept").qos(1).retained());
        speaker.disconnect();
        scene.device("speaker").disconnect();
        assert_eq!(retained(&scene, "late", &topic, 1), wanted(&[("kept", 1)]));
    }

    fn an_absent_session_gets_changes_of_a_retained_message_as_live_messages(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("r");
        let connect = scene.lasting("sleeper");
        let mut sleeper = scene.device_with(&connect);
        sleeper.subscribe(&topic, 1);
        sleeper.disconnect();
        let mut speaker = scene.device("speaker");
        speaker.publish(Publish::new(&topic, "set").qos(1).retained());
        speaker.publish(Publish::new(&topic, "").qos(1).retained());
        let mut sleeper = scene.device_with(&connect);
        for text in ["set", ""] {
            assert_eq!(essence(&sleeper.receive()), (topic.clone(), text.into(), 1, false, false));
        }
    }
}

#[test]
fn retain_handling_decides_what_a_subscription_brings() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("r");
    let end = scene.topic("end");
    let mut device = scene.device("device");
    device.publish(Publish::new(&topic, "kept").qos(1).retained());
    device.subscribe(&end, 1);
    let mut brings = |options: u8, is_new: bool| {
        if is_new {
            device.unsubscribe(&topic);
        }
        assert_eq!(device.subscribe_with(&Vec::new(), &[(&topic, 1 | options)]), [1]);
        device.say(&end, "end", 1);
        device.texts_before("end").len()
    };
    assert_eq!(brings(0, true), 1, "Retain Handling 0, new");
    assert_eq!(brings(0, false), 1, "Retain Handling 0, there already");
    assert_eq!(brings(option::SEND_RETAINED_IF_NEW, false), 0, "Retain Handling 1, there already");
    assert_eq!(brings(option::SEND_RETAINED_IF_NEW, true), 1, "Retain Handling 1, new");
    assert_eq!(brings(option::SEND_NO_RETAINED, false), 0, "Retain Handling 2, there already");
    assert_eq!(brings(option::SEND_NO_RETAINED, true), 0, "Retain Handling 2, new");
    assert_eq!(brings(option::SEND_RETAINED_IF_NEW, false), 0, "Retain Handling 1 after 2");
    assert_eq!(brings(0, false), 1, "Retain Handling 0 after 2");
}

#[test]
fn of_equal_filters_in_one_subscribe_only_the_first_is_new() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("r");
    let mut device = scene.device("device");
    device.publish(Publish::new(&topic, "kept").qos(1).retained());
    let options = 1 | option::SEND_RETAINED_IF_NEW;
    assert_eq!(device.subscribe_with(&Vec::new(), &[(&topic, options), (&topic, options)]), [1, 1]);
    device.say(&topic, "end", 1);
    assert_eq!(device.texts_before("end"), ["kept"]);
}

#[test]
fn a_subscription_of_a_resumed_session_is_not_new() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("r");
    scene.device("speaker").publish(Publish::new(&topic, "kept").qos(1).retained());
    let connect = scene.lasting("device");
    let options = 1 | option::SEND_RETAINED_IF_NEW;
    let mut device = scene.device_with(&connect);
    assert_eq!(device.subscribe_with(&Vec::new(), &[(&topic, options)]), [1]);
    assert_eq!(device.receive().text(), "kept");
    device.disconnect();
    let mut device = scene.device_with(&connect);
    assert!(device.connack.session_present);
    assert_eq!(device.subscribe_with(&Vec::new(), &[(&topic, options)]), [1]);
    device.say(&topic, "end", 1);
    assert_eq!(device.texts_before("end"), Vec::<String>::new());
}

#[test]
fn retain_as_published_keeps_the_flag_and_its_absence_clears_it() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("r");
    let mut speaker = scene.device("speaker");
    let mut keeps = scene.device("keeps");
    let mut clears = scene.device("clears");
    assert_eq!(keeps.subscribe_with(&Vec::new(), &[(&topic, 2 | option::RETAIN_AS_PUBLISHED)]), [2]);
    clears.subscribe(&topic, 2);
    for qos in 0..3 {
        for retain in [false, true] {
            speaker.publish(Publish { retain, ..Publish::new(&topic, "m").qos(qos) });
            assert_eq!(keeps.receive().retain, retain, "QoS {qos}");
            assert!(!clears.receive().retain, "QoS {qos}");
        }
    }
    speaker.publish(Publish::new(&topic, "").qos(1).retained());
    assert!(keeps.receive().retain, "the deletion was published with RETAIN too");
    assert!(!clears.receive().retain);
}

#[test]
fn retain_as_published_holds_for_messages_that_waited() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("r");
    let connect = scene.lasting("sleeper");
    let mut sleeper = scene.device_with(&connect);
    assert_eq!(sleeper.subscribe_with(&Vec::new(), &[(&topic, 1 | option::RETAIN_AS_PUBLISHED)]), [1]);
    sleeper.disconnect();
    let mut speaker = scene.device("speaker");
    speaker.publish(Publish::new(&topic, "retained").qos(1).retained());
    speaker.publish(Publish::new(&topic, "live").qos(1));
    let mut sleeper = scene.device_with(&connect);
    assert_eq!(
        [sleeper.receive(), sleeper.receive()].map(|m| (m.text(), m.retain)),
        [("retained".into(), true), ("live".into(), false)]
    );
}

#[test]
fn a_retained_message_comes_with_its_properties_and_the_subscriptions_identifier() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("r");
    let user = |text: &str| (property::USER, Value::Pair("k".into(), text.into()));
    let message = Publish::new(&topic, "kept").qos(1).retained();
    let message = message.property(property::CONTENT_TYPE, Value::Text("text/plain".into()));
    let message = message.property(user("2").0, user("2").1).property(user("1").0, user("1").1);
    scene.device("speaker").publish(message.clone());
    let mut late = scene.device("late");
    let identifier = (property::SUBSCRIPTION_ID, Value::Variable(7));
    assert_eq!(late.subscribe_with(&vec![identifier.clone()], &[(&topic, 1)]), [1]);
    let mut properties = late.receive().properties;
    let place = properties.iter().position(|found| *found == identifier).expect("the identifier is told");
    properties.remove(place);
    assert_eq!(properties, message.properties);
    // A subscriber of MQTT 3.1.1 gets the same message without them.
    let mut old = scene.in_version(Version::V4).device("old");
    old.subscribe(&topic, 1);
    assert_eq!(essence(&old.receive()), (topic, "kept".into(), 1, true, false));
}
