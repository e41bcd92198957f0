//! Messages that are too long or refused: they are counted, shown to local subscribers, and in nobody's way.

use super::*;
use crate::support::packets::{ack_with_reason, kind};
use crate::support::wait_until;

#[test]
fn what_is_longer_than_the_maximum_packet_size_becomes_a_dead_letter_and_the_rest_arrives() {
    let mut scene = Scene::plain(Version::V5);
    let mut link =
        scene.upstream.welcome_with(false, &vec![(property::MAXIMUM_PACKET_SIZE, Value::Four(200))]);
    let long = "x".repeat(300);
    for qos in [0, 1, 2] {
        scene.say(&["before"], qos);
        assert_eq!(link.take().text(), "before");
        scene.say(&[&long, "after"], qos);
        assert_eq!(link.take().text(), "after");
        let letter = scene.mourner.receive();
        assert_eq!((letter.topic.as_str(), letter.text()), ("$SYS/broker/dead/up%2F1/t", long.clone()));
        assert_eq!(reason(&letter), "reason=too_large broker=up/1");
    }
    scene.proxy.rest().wait_caught_up(&scene.id);
    assert_eq!(scene.shown("dropped"), json!({"too_large": 3}));
    assert_eq!(scene.shown("dead_letters"), 3);
    assert_eq!(scene.metric("mqtt_messages_dropped_total", &["reason=\"too_large\""]), 3);
}

#[test]
fn what_the_broker_acknowledges_with_an_error_becomes_a_dead_letter() {
    let mut scene = Scene::plain(Version::V5);
    let mut link = scene.upstream.welcome(false);
    scene.device.publish(
        Publish::new("t/1", "one").qos(1).property(property::CONTENT_TYPE, Value::Text("text/x".to_owned())),
    );
    let one = link.publish();
    link.wire.send(&ack_with_reason(kind::PUBACK, one.id, 0x97));
    let letter = scene.mourner.receive();
    assert_eq!(letter.topic, "$SYS/broker/dead/up%2F1/t/1");
    assert_eq!(reason(&letter), "reason=refused: quota exceeded (0x97) broker=up/1");
    assert!(letter.properties.contains(&(property::CONTENT_TYPE, Value::Text("text/x".to_owned()))));

    scene.say(&["two", "three"], 2);
    let (two, three) = (link.publish(), link.publish());
    link.wire.send(&ack_with_reason(kind::PUBREC, two.id, 0x99));
    link.ack(kind::PUBREC, three.id);
    assert_eq!(link.expect(kind::PUBREL), three.id, "a refused message gets no PUBREL");
    link.ack(kind::PUBCOMP, three.id);
    let letter = scene.mourner.receive();
    assert_eq!(letter.text(), "two");
    assert_eq!(reason(&letter), "reason=refused: payload format invalid (0x99) broker=up/1");
    scene.proxy.rest().wait_caught_up(&scene.id);
    assert_eq!((scene.shown("dead_letters"), scene.shown("forwarded")), (json!(2), json!(1)));

    // After a restart nothing of it is sent again, and the broker is where it was.
    scene.proxy.stop_and_restart();
    let mut link = scene.upstream.welcome(true);
    scene.device = Device::connect(scene.proxy.mqtt(), Version::V5, "device");
    scene.say(&["four"], 1);
    assert_eq!(link.take().text(), "four");
    scene.proxy.rest().wait_caught_up(&scene.id);
}

#[test]
fn without_a_local_subscriber_dead_letters_are_counted_all_the_same() {
    let mut scene = Scene::plain(Version::V5);
    scene.mourner.unsubscribe("$SYS/broker/dead/#");
    let small = vec![(property::MAXIMUM_PACKET_SIZE, Value::Four(200))];
    let mut link = scene.upstream.welcome_with(false, &small);
    let long = "x".repeat(300);
    let mut texts = vec![long.as_str(); 2_000];
    texts.push("last");
    scene.say(&texts, 1);
    assert_eq!(link.take().text(), "last");
    scene.proxy.rest().wait_caught_up(&scene.id);
    assert_eq!(scene.shown("dead_letters"), 2_000);
}

#[test]
fn a_broker_that_is_sent_dead_letters_and_cannot_take_them_makes_no_more_of_them() {
    let mut scene = Scene::new(Version::V5, &json!({"topics": ["t", "$SYS/broker/dead/#"]}));
    let small = vec![(property::MAXIMUM_PACKET_SIZE, Value::Four(200))];
    let mut link = scene.upstream.welcome_with(false, &small);
    scene.say(&[&"x".repeat(300), "after"], 1);
    assert_eq!(link.take().text(), "after");
    let letter = scene.mourner.receive();
    assert_eq!(letter.topic, "$SYS/broker/dead/up%2F1/t");
    wait_until("the dead letter was refused too", || scene.shown("dead_letters") == 2);
    scene.say(&["again"], 1);
    assert_eq!(link.take().text(), "again");
    assert_eq!(scene.shown("dead_letters"), 2);
    assert_eq!(scene.mourner.inbox_after_ping(), Vec::<String>::new());
}
