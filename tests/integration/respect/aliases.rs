//! Topic Aliases towards an MQTT 5.0 broker that accepts some.

use std::collections::HashMap;

use super::*;
use crate::support::packets::{find, kind};
use crate::support::scripted::Link;

const LONG: [&str; 3] =
    ["plant/north/line/1/temperature", "plant/north/line/2/temperature", "plant/north/line/3/temperature"];

/// The next message with its topic as the broker understands it.
fn resolved(link: &mut Link, known: &mut HashMap<u16, String>, maximum: u16) -> (String, Publish) {
    let message = link.publish();
    let topic = match find(&message.properties, property::TOPIC_ALIAS) {
        None => message.topic.clone(),
        Some(Value::Two(alias)) => {
            assert!((1..=maximum).contains(alias), "alias {alias}");
            if !message.topic.is_empty() {
                known.insert(*alias, message.topic.clone());
            }
            known.get(alias).unwrap_or_else(|| panic!("alias {alias} was never set")).clone()
        }
        other => panic!("an alias has two bytes: {other:?}"),
    };
    (topic, message)
}

fn granting(maximum: u16) -> Vec<(u8, Value)> {
    vec![(property::TOPIC_ALIAS_MAXIMUM, Value::Two(maximum))]
}

#[test]
fn frequent_long_topics_are_sent_once_and_mean_the_same() {
    let mut scene = Scene::plain(Version::V5);
    let mut link = scene.upstream.welcome_with(false, &granting(2));
    let mut known = HashMap::new();
    let mut without_topic = 0;
    for round in 0..20 {
        for (number, topic) in LONG.iter().enumerate() {
            let qos = (number % 3) as u8;
            scene.device.publish(Publish::new(topic, format!("{round}")).qos(qos));
            let (got, message) = resolved(&mut link, &mut known, 2);
            assert_eq!((got.as_str(), message.text()), (*topic, format!("{round}")));
            without_topic += usize::from(message.topic.is_empty());
            match qos {
                0 => {}
                1 => link.ack(kind::PUBACK, message.id),
                _ => {
                    link.ack(kind::PUBREC, message.id);
                    let id = link.expect(kind::PUBREL);
                    link.ack(kind::PUBCOMP, id);
                }
            }
        }
    }
    assert!(without_topic >= 20, "{without_topic} of 60 messages went without their topics");
    assert!(known.len() <= 2);
}

#[test]
fn what_is_sent_again_names_its_topic_and_a_new_connection_begins_without_aliases() {
    for has_session in [true, false] {
        let mut scene = Scene::plain(Version::V5);
        let mut link = scene.upstream.welcome_with(false, &granting(5));
        let mut known = HashMap::new();
        for number in 0..10 {
            scene.device.publish(Publish::new(LONG[0], format!("{number}")).qos(1));
            assert_eq!(resolved(&mut link, &mut known, 5).0, LONG[0]);
        }
        assert!(!known.is_empty(), "an alias was set");
        link.cut();
        let mut link = scene.upstream.welcome_with(has_session, &granting(5));
        for number in 0..10 {
            let message = link.publish();
            assert_eq!((message.topic.as_str(), message.text()), (LONG[0], format!("{number}")));
            assert_eq!(find(&message.properties, property::TOPIC_ALIAS), None);
            link.ack(kind::PUBACK, message.id);
        }
        let mut known = HashMap::new();
        scene.device.publish(Publish::new(LONG[0], "new").qos(1));
        assert_eq!(
            resolved(&mut link, &mut known, 5).0,
            LONG[0],
            "nothing of the old connection is relied on"
        );
    }
}

#[test]
fn a_broker_that_accepts_none_and_short_topics_get_none() {
    for (granted, topic) in [(Vec::new(), LONG[0]), (granting(0), LONG[0]), (granting(10), "a/b")] {
        let mut scene = Scene::plain(Version::V5);
        let mut link = scene.upstream.welcome_with(false, &granted);
        for _ in 0..10 {
            scene.device.publish(Publish::new(topic, "x").qos(1));
            let message = link.take();
            assert_eq!(message.topic, topic);
            assert_eq!(find(&message.properties, property::TOPIC_ALIAS), None);
        }
    }
}
