//! Chapter 3.3.2.3.4: Topic Aliases in both directions.

use std::collections::HashMap;

use super::scene::{Scene, reason};
use crate::support::packets::{Publish, Value, kind, number, property};
use crate::support::{Version, numbered};

fn alias(message: Publish, alias: u16) -> Publish {
    message.property(property::TOPIC_ALIAS, Value::Two(alias))
}

fn alias_of(message: &Publish) -> Option<u32> {
    number(&message.properties, property::TOPIC_ALIAS)
}

#[test]
fn an_alias_stands_for_the_topic_it_was_last_given_with() {
    let scene = Scene::new(Version::V5);
    let (one, two) = (scene.topic("one"), scene.topic("two"));
    let mut listener = scene.device("listener");
    listener.subscribe(&scene.topic("#"), 2);
    let mut speaker = scene.device("speaker");
    let highest = number(&speaker.connack.properties, property::TOPIC_ALIAS_MAXIMUM).unwrap_or(0);
    let highest = u16::try_from(highest).expect("two bytes");
    assert!(highest >= 2, "the default settings allow aliases");
    for qos in 0..3 {
        let dialogue = [
            (alias(Publish::new(&one, "set 1"), 1), &one),
            (alias(Publish::new("", "use 1"), 1), &one),
            (alias(Publish::new(&two, "set the highest"), highest), &two),
            (alias(Publish::new("", "use 1 again"), 1), &one),
            (alias(Publish::new("", "use the highest"), highest), &two),
            (alias(Publish::new(&two, "change 1"), 1), &two),
            (alias(Publish::new("", "use 1 changed"), 1), &two),
            (Publish::new(&one, "no alias"), &one),
            (alias(Publish::new("", "still changed"), 1), &two),
        ];
        for (message, topic) in dialogue {
            let text = message.text();
            speaker.publish(message.qos(qos));
            let arrived = listener.receive();
            assert_eq!((&arrived.topic, arrived.text()), (topic, text));
            assert_eq!(alias_of(&arrived), None, "the publisher's alias is its own business");
        }
    }
}

#[test]
fn every_alias_up_to_the_maximum_is_accepted() {
    let scene = Scene::new(Version::V5);
    let mut listener = scene.device("listener");
    listener.subscribe(&scene.topic("#"), 1);
    let mut speaker = scene.device("speaker");
    let highest = number(&speaker.connack.properties, property::TOPIC_ALIAS_MAXIMUM).expect("it is told");
    let all = 1..=u16::try_from(highest).expect("two bytes");
    let introduced =
        all.clone().map(|each| alias(Publish::new(&scene.topic(&each.to_string()), "a").qos(1), each));
    speaker.publish_all(introduced);
    speaker.publish_all(all.clone().map(|each| alias(Publish::new("", "b").qos(1), each)));
    for text in ["a", "b"] {
        for each in all.clone() {
            let message = listener.receive();
            assert_eq!(
                (message.topic, message.payload),
                (scene.topic(&each.to_string()), text.as_bytes().to_vec())
            );
        }
    }
}

#[test]
fn an_alias_of_0_or_above_the_maximum_ends_the_connection() {
    let scene = Scene::new(Version::V5);
    let highest = number(&scene.talker("asks").connack.properties, property::TOPIC_ALIAS_MAXIMUM);
    let highest = u16::try_from(highest.unwrap_or(0)).expect("two bytes");
    for bad in [0, highest + 1, u16::MAX] {
        let mut speaker = scene.talker("speaker");
        speaker.publish(&alias(Publish::new(&scene.topic("t"), "m"), bad));
        speaker.expect_refusal(&format!("alias {bad}"), &[reason::TOPIC_ALIAS_INVALID]);
    }
}

#[test]
fn an_unknown_alias_and_an_empty_topic_without_one_are_protocol_errors() {
    let scene = Scene::new(Version::V5);
    for message in [alias(Publish::new("", "m"), 1), Publish::new("", "m")] {
        let mut speaker = scene.talker("speaker");
        speaker.publish(&message);
        speaker.expect_refusal(&format!("{message:?}"), &[reason::PROTOCOL_ERROR]);
    }
}

#[test]
fn an_alias_ends_with_its_connection() {
    let scene = Scene::new(Version::V5);
    let connect = scene.lasting("speaker");
    let mut speaker = scene.device_with(&connect);
    speaker.publish(alias(Publish::new(&scene.topic("t"), "m").qos(1), 1));
    speaker.cut();
    let mut speaker = scene.talker_with(&connect);
    assert!(speaker.connack.session_present);
    speaker.publish(&alias(Publish::new("", "m"), 1));
    speaker.expect_refusal("an alias of the connection before", &[reason::PROTOCOL_ERROR]);
}

#[test]
fn aliases_of_two_publishers_do_not_mix() {
    let scene = Scene::new(Version::V5);
    let mut listener = scene.device("listener");
    listener.subscribe(&scene.topic("#"), 1);
    let mut speakers = [scene.device("a"), scene.device("b")];
    for (number, speaker) in speakers.iter_mut().enumerate() {
        speaker.publish(alias(Publish::new(&scene.topic(&number.to_string()), "set").qos(1), 1));
        listener.receive();
    }
    for (number, speaker) in speakers.iter_mut().enumerate() {
        speaker.publish(alias(Publish::new("", "use").qos(1), 1));
        assert_eq!(listener.receive().topic, scene.topic(&number.to_string()));
    }
}

#[test]
fn a_client_that_wants_no_aliases_gets_none() {
    let scene = Scene::new(Version::V5);
    let zero = scene.connect("zero").property(property::TOPIC_ALIAS_MAXIMUM, Value::Two(0));
    for connect in [scene.connect("silent"), zero] {
        let mut listener = scene.talker_with(&connect);
        let topic = scene.topic(&connect.client_id);
        assert_eq!(listener.subscribe(1, &[(&topic, 0)]), [0]);
        let mut speaker = scene.device("speaker");
        for _ in 0..20 {
            speaker.publish(alias(Publish::new(&topic, "m").qos(1), 1));
        }
        for message in listener.messages(20) {
            assert_eq!((&message.topic, alias_of(&message)), (&topic, None));
        }
    }
}

#[test]
fn a_client_gets_no_alias_above_its_maximum_and_each_means_one_topic() {
    let scene = Scene::new(Version::V5);
    let connect = scene.lasting("listener").property(property::TOPIC_ALIAS_MAXIMUM, Value::Two(3));
    let mut speaker = scene.device("speaker");
    // The second connection starts without any alias of the first one.
    for round in 0..2 {
        let mut listener = scene.talker_with(&connect);
        assert_eq!(listener.subscribe(1, &[(&scene.topic("#"), 0)]), [0]);
        let wanted: Vec<String> =
            numbered("t", 6).iter().map(|rest| scene.topic(rest)).cycle().take(60).collect();
        speaker.publish_all(wanted.iter().map(|topic| Publish::new(topic, topic).qos(1)));
        let mut known: HashMap<u32, String> = HashMap::new();
        for (message, topic) in listener.messages(60).into_iter().zip(&wanted) {
            match alias_of(&message) {
                None => assert_eq!(&message.topic, topic, "round {round}"),
                Some(alias) => {
                    assert!((1..=3).contains(&alias), "alias {alias} where 3 is the maximum");
                    if !message.topic.is_empty() {
                        known.insert(alias, message.topic.clone());
                    }
                    assert_eq!(known.get(&alias), Some(topic), "alias {alias} in round {round}");
                }
            }
            assert_eq!(&message.text(), topic, "the payload tells the topic");
        }
        listener.cut();
    }
}

#[test]
fn a_message_that_is_not_sent_introduces_no_alias() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("a/topic/that/is/long/enough/to/be/worth/an/alias");
    let connect = scene.connect("listener").property(property::TOPIC_ALIAS_MAXIMUM, Value::Two(10));
    let connect = connect.property(property::MAXIMUM_PACKET_SIZE, Value::Four(200));
    let mut listener = scene.talker_with(&connect);
    assert_eq!(listener.subscribe(1, &[(&topic, 1)]), [1]);
    let mut speaker = scene.device("speaker");
    for qos in 0..2 {
        speaker.publish(Publish::new(&topic, vec![b'x'; 500]).qos(qos));
        speaker.say(&topic, "fits", qos);
    }
    let first = listener.message();
    assert_eq!((first.topic, first.payload), (topic, b"fits".to_vec()));
    assert_eq!(listener.message().text(), "fits");
}

#[test]
fn what_is_sent_again_names_its_topic() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("a/topic/that/is/long/enough/to/be/worth/an/alias");
    let connect = scene.lasting("listener").property(property::TOPIC_ALIAS_MAXIMUM, Value::Two(10));
    let mut listener = scene.talker_with(&connect);
    assert_eq!(listener.subscribe(1, &[(&topic, 1)]), [1]);
    let mut speaker = scene.device("speaker");
    for _ in 0..5 {
        speaker.say(&topic, "m", 1);
    }
    let sent = listener.messages(5);
    listener.ack(kind::PUBACK, sent[0].id);
    listener.ping();
    listener.cut();
    let mut listener = scene.talker_with(&connect);
    let mut known: HashMap<u32, String> = HashMap::new();
    for message in listener.messages(4) {
        if let Some(alias) = alias_of(&message).filter(|_| !message.topic.is_empty()) {
            known.insert(alias, message.topic.clone());
        }
        let named = if message.topic.is_empty() {
            known.get(&alias_of(&message).expect("an empty topic has an alias"))
        } else {
            Some(&message.topic)
        };
        assert_eq!((named, message.dup), (Some(&topic), true));
    }
}

#[test]
fn an_alias_set_by_a_repeated_publish_counts() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut listener = scene.device("listener");
    listener.subscribe(&topic, 2);
    let mut speaker = scene.talker("speaker");
    let message = alias(Publish { id: 3, ..Publish::new(&topic, "once").qos(2) }, 1);
    for dup in [false, true] {
        speaker.publish(&Publish { dup, ..message.clone() });
        assert_eq!(speaker.answer(kind::PUBREC, 3), 0);
    }
    speaker.ack(kind::PUBREL, 3);
    assert_eq!(speaker.answer(kind::PUBCOMP, 3), 0);
    speaker.publish(&Publish { id: 4, ..alias(Publish::new("", "by alias").qos(1), 1) });
    assert_eq!(speaker.answer(kind::PUBACK, 4), 0);
    assert_eq!([listener.receive().text(), listener.receive().text()], ["once", "by alias"]);
}

#[test]
fn a_client_that_accepts_aliases_gets_the_topic_once_and_then_its_alias() {
    let scene = Scene::new(Version::V5);
    let topics = [scene.topic("one"), scene.topic("two"), scene.topic("three")];
    let connect = scene.connect("listener").property(property::TOPIC_ALIAS_MAXIMUM, Value::Two(2));
    let mut listener = scene.talker_with(&connect);
    assert_eq!(listener.subscribe(1, &[(&scene.topic("#"), 1)]), [1]);
    let mut speaker = scene.device("speaker");
    let mut known: HashMap<u32, String> = HashMap::new();
    for (number, index) in [0, 0, 1, 0, 1, 2, 2].into_iter().enumerate() {
        speaker.say(&topics[index], &number.to_string(), 1);
        let message = listener.message();
        listener.ack(kind::PUBACK, message.id);
        let alias = alias_of(&message).expect("there is an alias for it");
        assert!((1..=2).contains(&alias), "{alias}");
        if message.topic.is_empty() {
            assert_eq!(known.get(&alias), Some(&topics[index]), "message {number}");
        } else {
            assert!(number != 1 && number != 4 && number != 6, "the topic is known");
            assert_eq!(message.topic, topics[index]);
            known.insert(alias, message.topic);
        }
        assert_eq!(message.payload, number.to_string().into_bytes());
    }
}
