//! Chapter 3.3.2.3.3: the Message Expiry Interval is counted down, and what has expired is not sent.

use std::time::Duration;

use super::scene::Scene;
use crate::support::packets::{Publish, Value, kind, number, property};
use crate::support::talker::Talker;
use crate::support::{Version, wait_until};

/// A QoS 1 message that is worth something for this long.
fn perishable(topic: &str, text: &str, secs: u32) -> Publish {
    Publish::new(topic, text).qos(1).property(property::MESSAGE_EXPIRY, Value::Four(secs))
}

fn left(message: &Publish) -> u32 {
    number(&message.properties, property::MESSAGE_EXPIRY).expect("the Message Expiry Interval is sent")
}

/// Lets time pass, which is what these tests are about: a little more than a second.
fn let_a_second_pass() {
    std::thread::sleep(Duration::from_millis(1_100));
}

#[test]
fn a_live_message_keeps_its_expiry_interval() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut device = scene.device("device");
    device.subscribe(&topic, 2);
    for secs in [60, u32::MAX] {
        device.publish(perishable(&topic, "m", secs));
        let left = left(&device.receive());
        assert!((secs - 10..=secs).contains(&left), "{left} of {secs} s are left at once");
    }
    device.say(&topic, "m", 1);
    let without = device.receive().properties;
    assert_eq!(number(&without, property::MESSAGE_EXPIRY), None, "a message without it does not expire");
}

#[test]
fn a_message_that_waited_is_sent_with_what_is_left() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let connect = scene.lasting("sleeper");
    let mut sleeper = scene.device_with(&connect);
    sleeper.subscribe(&topic, 1);
    sleeper.disconnect();
    let mut speaker = scene.device("speaker");
    speaker.publish(perishable(&topic, "short", 1));
    speaker.publish(perishable(&topic, "long", 1_000));
    speaker.say(&topic, "eternal", 1);
    let_a_second_pass();
    let mut sleeper = scene.device_with(&connect);
    let long = sleeper.receive();
    assert_eq!(long.text(), "long", "the one before has expired");
    assert!((900..1_000).contains(&left(&long)), "{} of 1,000 s are left", left(&long));
    assert_eq!(sleeper.receive().text(), "eternal");
}

#[test]
fn a_retained_message_is_sent_with_what_is_left_and_then_no_more() {
    let scene = Scene::new(Version::V5);
    let mut speaker = scene.device("speaker");
    speaker.publish(perishable(&scene.topic("short"), "short", 1).retained());
    speaker.publish(perishable(&scene.topic("long"), "long", 1_000).retained());
    let_a_second_pass();
    let mut late = scene.device("late");
    late.subscribe(&scene.topic("#"), 1);
    let long = late.receive();
    assert_eq!((long.text().as_str(), long.retain), ("long", true), "the other one has expired");
    assert!((900..1_000).contains(&left(&long)), "{} of 1,000 s are left", left(&long));
    late.say(&scene.topic("end"), "end", 1);
    assert_eq!(late.texts_before("end"), Vec::<String>::new());
    // MQTT 3.1.1 knows no expiry, and yet gets nothing that has expired.
    let mut old = scene.in_version(Version::V4).device("old");
    old.subscribe(&scene.topic("#"), 1);
    old.say(&scene.topic("end"), "end", 1);
    assert_eq!(old.texts_before("end"), ["long"]);
}

#[test]
fn a_message_that_expires_behind_a_full_window_is_not_sent() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let connect = scene.connect("slow").property(property::RECEIVE_MAXIMUM, Value::Two(1));
    let mut slow = scene.talker_with(&connect);
    assert_eq!(slow.subscribe(1, &[(&topic, 1)]), [1]);
    let mut speaker = scene.device("speaker");
    speaker.say(&topic, "first", 1);
    speaker.publish(perishable(&topic, "short", 1));
    speaker.publish(perishable(&topic, "long", 1_000));
    let first = slow.message();
    assert_eq!(first.text(), "first");
    let_a_second_pass();
    slow.ack(kind::PUBACK, first.id);
    let long = slow.message();
    assert_eq!(long.text(), "long", "what expired in the queue is gone");
    assert!((900..1_000).contains(&left(&long)));
}

/// The next packet after a reconnect, and that it is this one again.
fn expect_again(talker: &mut Talker, sent: &Publish) {
    let again = talker.message();
    assert!(again.dup, "{again:?}");
    assert_eq!((again.id, again.qos, again.text()), (sent.id, sent.qos, sent.text()));
    assert!(left(&again) <= left(sent), "{} s are left of {}", left(&again), left(sent));
}

#[test]
fn what_was_sent_once_does_not_expire_any_more() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let connect = scene.lasting("device");
    let mut device = scene.talker_with(&connect);
    assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
    scene.device("speaker").publish(perishable(&topic, "m", 2).qos(2));
    let sent = device.message();
    device.cut();
    let_a_second_pass();
    let_a_second_pass();
    let mut device = scene.talker_with(&connect);
    expect_again(&mut device, &sent);
    device.ack(kind::PUBREC, sent.id);
    assert_eq!(device.answer(kind::PUBREL, sent.id), 0);
    device.ack(kind::PUBCOMP, sent.id);
    device.ping();
}

#[test]
fn a_message_that_expires_at_once_is_no_eternal_one() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let connect = scene.lasting("sleeper");
    let mut sleeper = scene.device_with(&connect);
    sleeper.subscribe(&topic, 1);
    sleeper.disconnect();
    let mut speaker = scene.device("speaker");
    speaker.publish(perishable(&topic, "gone", 0).retained());
    speaker.say(&topic, "end", 1);
    let_a_second_pass();
    let mut sleeper = scene.device_with(&connect);
    assert_eq!(sleeper.texts_before("end"), Vec::<String>::new());
    sleeper.subscribe(&topic, 1);
    sleeper.say(&topic, "end", 1);
    assert_eq!(sleeper.texts_before("end"), Vec::<String>::new(), "nothing is retained");
}

#[test]
fn the_qos_2_flow_of_a_publisher_goes_on_after_the_message_has_expired() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut speaker = scene.talker("speaker");
    let message = Publish { id: 9, ..perishable(&topic, "m", 1).qos(2) };
    speaker.publish(&message);
    speaker.answer(kind::PUBREC, 9);
    let_a_second_pass();
    speaker.publish(&Publish { dup: true, ..message });
    speaker.answer(kind::PUBREC, 9);
    speaker.ack(kind::PUBREL, 9);
    assert_eq!(speaker.answer(kind::PUBCOMP, 9), 0);
}

#[test]
fn an_expired_retained_message_is_gone_for_good() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("r");
    scene.device("speaker").publish(perishable(&topic, "m", 1).retained());
    let mut round = 0;
    wait_until("the retained message has expired", || {
        round += 1;
        let mut late = scene.device(&format!("late{round}"));
        late.subscribe(&topic, 1);
        late.say(&topic, "end", 1);
        late.texts_before("end").is_empty()
    });
    let mut late = scene.device("late");
    late.subscribe(&topic, 1);
    late.say(&topic, "end", 1);
    assert_eq!(late.texts_before("end"), Vec::<String>::new());
}
