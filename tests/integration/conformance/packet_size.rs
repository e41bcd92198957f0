//! Chapter 3.1.2.11.4: a packet above the client's Maximum Packet Size is not sent, and the rest goes on as if it had
//! been.

use super::scene::Scene;
use crate::support::Version;
use crate::support::packets::{Connect, Publish, Value, frame, kind, property};

const SIZE: u32 = 200;

fn small(connect: Connect) -> Connect {
    connect.property(property::MAXIMUM_PACKET_SIZE, Value::Four(SIZE))
}

/// A QoS 1 message whose PUBLISH packet has exactly this size in MQTT 5.0.
fn of_size(topic: &str, size: usize) -> Publish {
    let bare = Publish { id: 1, ..Publish::new(topic, "").qos(1) }.encode(Version::V5).len();
    // From 128 bytes on, the Remaining Length takes a second byte.
    let payload = size - bare - usize::from(size > 129);
    let message = Publish::new(topic, vec![b'x'; payload]).qos(1);
    assert_eq!(Publish { id: 1, ..message.clone() }.encode(Version::V5).len(), size);
    message
}

#[test]
fn a_message_of_exactly_the_size_comes_and_a_byte_more_does_not() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.talker_with(&small(scene.connect("device")));
    assert_eq!(device.subscribe(1, &[(&topic, 1)]), [1]);
    let mut other = scene.device("other");
    other.subscribe(&topic, 1);
    let mut speaker = scene.device("speaker");
    for size in [SIZE, SIZE + 1, SIZE] {
        let message = of_size(&topic, size as usize);
        speaker.publish(message.clone());
        assert_eq!(other.receive().payload, message.payload, "others get what is too large for one");
    }
    for _ in 0..2 {
        let packet = device.wire.packet();
        assert_eq!(frame(packet.first, &packet.body).len(), SIZE as usize);
        device.ack(kind::PUBACK, Publish::decode(&packet, Version::V5).id);
    }
    device.ping();
}

#[test]
fn what_is_too_large_takes_no_place_in_the_window() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let connect = small(scene.connect("device")).property(property::RECEIVE_MAXIMUM, Value::Two(1));
    let mut device = scene.talker_with(&connect);
    assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
    let mut speaker = scene.device("speaker");
    for qos in [1, 2, 1, 2] {
        speaker.publish(Publish::new(&topic, vec![b'x'; 5_000]).qos(qos));
    }
    speaker.say(&topic, "first", 1);
    speaker.publish(Publish::new(&topic, vec![b'x'; 5_000]).qos(2));
    speaker.say(&topic, "second", 1);
    for text in ["first", "second"] {
        let message = device.message();
        assert_eq!(message.text(), text);
        device.ack(kind::PUBACK, message.id);
    }
    device.ping();
}

#[test]
fn the_size_counts_for_properties_retained_messages_and_those_that_waited() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let connect = small(scene.lasting("device"));
    let mut device = scene.talker_with(&connect);
    assert_eq!(device.subscribe(1, &[(&topic, 1)]), [1]);
    device.cut();
    let mut speaker = scene.device("speaker");
    let user = |length: usize| (property::USER, Value::Pair("k".into(), "v".repeat(length)));
    speaker.publish(Publish { properties: vec![user(300)], ..Publish::new(&topic, "large").qos(1) });
    speaker.publish(Publish { properties: vec![user(30)], ..Publish::new(&topic, "fits").qos(1) });
    speaker.publish(Publish::new(&scene.topic("r"), vec![b'x'; 300]).qos(1).retained());
    let mut device = scene.talker_with(&connect);
    let message = device.message();
    assert_eq!(message.text(), "fits");
    device.ack(kind::PUBACK, message.id);
    assert_eq!(device.subscribe(2, &[(&scene.topic("r"), 1)]), [1]);
    device.ping();
    speaker.publish(Publish::new(&scene.topic("r"), "").retained());
}

#[test]
fn subscription_identifiers_count_for_the_size() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.talker_with(&small(scene.connect("device")));
    let identifier = vec![(property::SUBSCRIPTION_ID, Value::Variable(268_435_455))];
    assert_eq!(device.subscribe_with(1, &identifier, &[(&topic, 1)]), [1]);
    let mut speaker = scene.device("speaker");
    // Without the five bytes of the identifier it would fit.
    speaker.publish(of_size(&topic, SIZE as usize));
    speaker.publish(of_size(&topic, SIZE as usize - 5));
    let packet = device.wire.packet();
    assert_eq!(frame(packet.first, &packet.body).len(), SIZE as usize);
    device.ping();
}

#[test]
fn an_open_message_that_is_too_large_for_the_next_connection_is_not_sent_again() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.talker_with(&scene.lasting("device"));
    assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
    let mut speaker = scene.device("speaker");
    for qos in [1, 2] {
        speaker.publish(Publish::new(&topic, vec![b'x'; 5_000]).qos(qos));
    }
    device.messages(2);
    device.cut();
    let narrow = small(scene.lasting("device")).property(property::RECEIVE_MAXIMUM, Value::Two(1));
    let mut device = scene.talker_with(&narrow);
    for text in ["first", "second"] {
        speaker.say(&topic, text, 1);
        let message = device.message();
        assert_eq!((message.text().as_str(), message.dup), (text, false));
        device.ack(kind::PUBACK, message.id);
    }
    device.ping();
}

#[test]
fn a_short_subscription_identifier_counts_as_what_it_is() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.talker_with(&small(scene.connect("device")));
    let identifier = vec![(property::SUBSCRIPTION_ID, Value::Variable(1))];
    assert_eq!(device.subscribe_with(1, &identifier, &[(&topic, 1)]), [1]);
    let mut speaker = scene.device("speaker");
    // Two bytes for the identifier: the packet is as large as it may be.
    speaker.publish(of_size(&topic, SIZE as usize - 2));
    speaker.say(&topic, "end", 1);
    let packet = device.wire.packet();
    assert_eq!(frame(packet.first, &packet.body).len(), SIZE as usize);
}

#[test]
fn a_larger_size_on_the_next_connection_lets_later_messages_through() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.talker_with(&small(scene.lasting("device")));
    assert_eq!(device.subscribe(1, &[(&topic, 1)]), [1]);
    device.cut();
    let mut device = scene.talker_with(&scene.lasting("device"));
    scene.device("speaker").publish(Publish::new(&topic, vec![b'x'; 5_000]).qos(1));
    assert_eq!(device.message().payload.len(), 5_000);
}
