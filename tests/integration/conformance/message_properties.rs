//! Chapter 3.3.2.3: what the properties of a PUBLISH come to on its way through the proxy.

use super::scene::{Scene, reason};
use crate::support::Version;
use crate::support::packets::{Properties, Publish, Value, frame, kind, property, put_properties, put_text};

/// Property Reason String (text).
const REASON_STRING: u8 = 0x1F;

fn text(id: u8, text: &str) -> (u8, Value) {
    (id, Value::Text(text.to_owned()))
}

fn user(name: &str, value: &str) -> (u8, Value) {
    (property::USER, Value::Pair(name.to_owned(), value.to_owned()))
}

/// Properties with one identifier, in the order of the packet.
fn those(properties: &Properties, id: u8) -> Properties {
    properties.iter().filter(|(found, _)| *found == id).cloned().collect()
}

/// That a delivered message has exactly these properties; only User Properties have an order.
fn assert_unaltered(got: &Publish, wanted: &Properties, context: &str) {
    assert_eq!(got.properties.len(), wanted.len(), "{context}: {:?}", got.properties);
    for (id, _) in wanted {
        assert_eq!(those(&got.properties, *id), those(wanted, *id), "{context}: property {id:#x}");
    }
}

/// Everything that must be handed on.
fn everything() -> Properties {
    vec![
        user("b", "1"),
        (property::PAYLOAD_FORMAT, Value::Byte(1)),
        text(property::CONTENT_TYPE, "application/json; charset=utf-8"),
        user("a", "2"),
        text(property::RESPONSE_TOPIC, "answers/é/1"),
        user("b", "1"),
        (property::CORRELATION_DATA, Value::Binary((0..=255).collect())),
        user("", ""),
        user("b", "0"),
    ]
}

#[test]
fn every_property_of_a_message_reaches_every_subscriber_unaltered() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut listeners: Vec<_> = (0..3)
        .map(|qos| {
            let mut listener = scene.device(&format!("listener{qos}"));
            listener.subscribe(&topic, qos);
            listener
        })
        .collect();
    let connect = scene.lasting("sleeper");
    let mut sleeper = scene.device_with(&connect);
    sleeper.subscribe(&topic, 2);
    sleeper.disconnect();
    let mut speaker = scene.device("speaker");
    for qos in 0..3 {
        speaker.publish(Publish { properties: everything(), ..Publish::new(&topic, "m").qos(qos) });
        for (granted, listener) in listeners.iter_mut().enumerate() {
            let context = format!("published at QoS {qos}, subscribed at QoS {granted}");
            assert_unaltered(&listener.receive(), &everything(), &context);
        }
    }
    let mut sleeper = scene.device_with(&connect);
    speaker.say(&topic, "end", 2);
    let waited = sleeper.receive_before("end");
    assert!(waited.len() >= 2, "QoS 1 and 2 wait for a session");
    for message in waited {
        assert_unaltered(&message, &everything(), "after waiting");
    }
}

#[test]
fn properties_at_their_limits_are_unaltered() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.device("device");
    device.subscribe(&topic, 1);
    let long = "x".repeat(65_535);
    let many: Properties = (0..500).map(|number| user("k", &number.to_string())).collect();
    let cases: Vec<Properties> = vec![
        vec![(property::PAYLOAD_FORMAT, Value::Byte(0))],
        vec![text(property::CONTENT_TYPE, "")],
        vec![text(property::CONTENT_TYPE, &long)],
        vec![text(property::RESPONSE_TOPIC, &long)],
        vec![(property::CORRELATION_DATA, Value::Binary(Vec::new()))],
        vec![(property::CORRELATION_DATA, Value::Binary(vec![0; 65_535]))],
        vec![user(&long, &long)],
        vec![user("\u{FEFF}", "𝛀")],
        many,
    ];
    for (number, properties) in cases.into_iter().enumerate() {
        device.publish(Publish { properties: properties.clone(), ..Publish::new(&topic, "m").qos(1) });
        assert_unaltered(&device.receive(), &properties, &format!("case {number}"));
    }
}

#[test]
fn a_message_without_properties_gets_none() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.device("device");
    device.subscribe(&topic, 2);
    for qos in 0..3 {
        device.say(&topic, "m", qos);
        assert_eq!(device.receive().properties, Vec::new());
    }
}

#[test]
fn properties_are_dropped_for_3_1_1_and_what_comes_from_there_has_none() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut new = scene.device("new");
    let mut old = scene.in_version(Version::V4).device("old");
    new.subscribe(&topic, 2);
    old.subscribe(&topic, 2);
    for qos in 0..3 {
        new.publish(Publish { properties: everything(), ..Publish::new(&topic, "new").qos(qos) });
        let arrived = old.receive();
        assert_eq!((arrived.text(), arrived.qos), ("new".to_owned(), qos));
        assert_unaltered(&new.receive(), &everything(), "5.0 to 5.0");
        old.say(&topic, "old", qos);
        assert_eq!((new.receive().properties, old.receive().text()), (Vec::new(), "old".to_owned()));
    }
}

/// A QoS 0 PUBLISH with properties that may be wrong, byte by byte.
fn raw(topic: &str, properties: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, topic);
    body.push(u8::try_from(properties.len()).expect("short"));
    body.extend_from_slice(properties);
    frame(0x30, &body)
}

#[test]
fn a_property_that_may_stand_once_ends_the_connection_when_it_stands_twice() {
    let scene = Scene::new(Version::V5);
    let once = [
        (property::PAYLOAD_FORMAT, Value::Byte(1)),
        (property::MESSAGE_EXPIRY, Value::Four(60)),
        (property::TOPIC_ALIAS, Value::Two(1)),
        text(property::RESPONSE_TOPIC, "r"),
        (property::CORRELATION_DATA, Value::Binary(vec![1])),
        text(property::CONTENT_TYPE, "c"),
    ];
    for property in once {
        let mut speaker = scene.talker("speaker");
        let twice = vec![property.clone(), property.clone()];
        speaker.publish(&Publish { properties: twice, ..Publish::new(&scene.topic("t"), "m") });
        speaker.expect_refusal(&format!("{property:?} twice"), &[reason::PROTOCOL_ERROR]);
    }
}

#[test]
fn a_subscription_identifier_from_a_client_is_a_protocol_error() {
    let scene = Scene::new(Version::V5);
    let mut speaker = scene.talker("speaker");
    let message =
        Publish::new(&scene.topic("t"), "m").property(property::SUBSCRIPTION_ID, Value::Variable(1));
    speaker.publish(&message);
    speaker.expect_refusal("a Subscription Identifier", &[reason::PROTOCOL_ERROR]);
}

#[test]
fn properties_that_are_no_utf_8_or_have_wildcards_end_the_connection() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let malformed = &[reason::MALFORMED, reason::PROTOCOL_ERROR];
    let wildcard = &[reason::MALFORMED, reason::PROTOCOL_ERROR, reason::TOPIC_NAME_INVALID];
    let bad: [(&str, &[u8], &[u8]); 9] = [
        ("Response Topic is no UTF-8", &[0x08, 0, 2, 0xC3, 0x28], malformed),
        ("Response Topic has U+0000", &[0x08, 0, 1, 0], malformed),
        ("Response Topic has #", &[0x08, 0, 3, b'a', b'/', b'#'], wildcard),
        ("Response Topic has +", &[0x08, 0, 3, b'+', b'/', b'a'], wildcard),
        ("Content Type is no UTF-8", &[0x03, 0, 2, 0xC3, 0x28], malformed),
        ("Content Type has a surrogate", &[0x03, 0, 3, 0xED, 0xA0, 0x80], malformed),
        ("User Property with a bad name", &[0x26, 0, 1, 0xFF, 0, 0], malformed),
        ("User Property with a bad value", &[0x26, 0, 0, 0, 1, 0xFF], malformed),
        ("Payload Format Indicator 2", &[0x01, 2], malformed),
    ];
    for (what, properties, reasons) in bad {
        let mut speaker = scene.talker("speaker");
        speaker.wire.send(&raw(&topic, properties));
        speaker.expect_refusal(what, reasons);
    }
}

#[test]
fn a_property_of_another_packet_in_publish_is_a_protocol_error() {
    let scene = Scene::new(Version::V5);
    let strangers = [
        (property::SESSION_EXPIRY, Value::Four(1)),
        (property::RECEIVE_MAXIMUM, Value::Two(1)),
        (REASON_STRING, Value::Text("why".into())),
        (property::WILL_DELAY, Value::Four(1)),
    ];
    for stranger in strangers {
        let mut speaker = scene.talker("speaker");
        let mut properties = Vec::new();
        put_properties(&mut properties, &vec![stranger.clone()]);
        speaker.wire.send(&raw(&scene.topic("t"), &properties[1..]));
        let allowed = [reason::PROTOCOL_ERROR, reason::MALFORMED];
        speaker.expect_refusal(&format!("{stranger:?}"), &allowed);
    }
}

#[test]
fn a_payload_that_is_not_what_its_indicator_says_is_delivered_or_refused_whole() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.device("device");
    device.subscribe(&topic, 1);
    let mut speaker = scene.talker("speaker");
    let message = Publish { id: 5, ..Publish::new(&topic, [0xFF, 0xFE]).qos(1) };
    speaker.publish(&message.property(property::PAYLOAD_FORMAT, Value::Byte(1)));
    let code = speaker.answer(kind::PUBACK, 5);
    device.say(&topic, "end", 1);
    let arrived = device.receive_before("end");
    // A server may check the payload (0x99), and does not have to.
    assert_eq!(arrived.len(), usize::from(code == 0), "PUBACK said {code:#x}");
    assert!([0, 0x99].contains(&code), "PUBACK said {code:#x}");
}
