//! Several rules at a time, as they meet in the field: takeovers, windows, retained messages, shares, expiry, aliases.

use std::collections::{HashMap, HashSet};

use super::scene::{Scene, option, reason};
use crate::support::device::Device;
use crate::support::packets::{Connect, Publish, Value, kind, number, property};
use crate::support::proxy::Proxy;
use crate::support::random::Random;
use crate::support::talker::Talker;
use crate::support::{Version, assert_same, numbered};

fn window(connect: Connect, size: u16) -> Connect {
    connect.property(property::RECEIVE_MAXIMUM, Value::Two(size))
}

/// Two open QoS 2 messages, one of them released, and one of QoS 1; the session is taken over by a connection with a
/// window of one, while what is retained on the topic was replaced. The repeats go one at a time, in order, and
/// only then comes what is new.
#[test]
fn a_takeover_with_a_window_of_one_meets_open_flows_and_a_replaced_retained_message() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let mut first = scene.talker_with(&window(scene.lasting("device"), 10));
    let mut speaker = scene.device("speaker");
    speaker.publish(Publish::new(&topic, "retained 1").qos(2).retained());
    let codes = first.subscribe(1, &[(&topic, 2)]);
    assert_eq!(codes, [2]);
    let retained = first.message();
    assert!(retained.retain && retained.qos == 2);
    speaker.say(&topic, "live 2", 2);
    speaker.say(&topic, "live 1", 1);
    let live = first.messages(2);
    first.ack(kind::PUBREC, live[0].id);
    first.answer(kind::PUBREL, live[0].id);
    speaker.publish(Publish::new(&topic, "retained 2").qos(1).retained());
    let replaced = first.message();
    assert!(!replaced.retain);

    let mut second = scene.talker_with(&window(scene.lasting("device"), 1));
    assert!(second.connack.session_present);
    first.expect_refusal("taken over", &[0x8E]);
    // PUBREL is not a PUBLISH: no window holds it back. The PUBLISH packets keep their order, one open at a time.
    let mut open = vec![retained.clone(), live[1].clone(), replaced.clone()].into_iter();
    let mut released = false;
    let mut again = Vec::new();
    speaker.say(&topic, "new", 1);
    while again.len() < 4 {
        let packet = second.wire.packet();
        if packet.kind() == kind::PUBREL && packet.id() == live[0].id {
            released = true;
            second.ack(kind::PUBCOMP, live[0].id);
            continue;
        }
        let message = Publish::decode(&packet, Version::V5);
        if let Some(wanted) = open.next() {
            assert_eq!(message, Publish { dup: true, ..wanted });
        }
        again.push(message.text());
        if message.qos == 1 {
            second.ack(kind::PUBACK, message.id);
        } else {
            second.ack(kind::PUBREC, message.id);
            // The other flow's PUBREL may come first.
            loop {
                let packet = second.wire.packet();
                assert_eq!(packet.kind(), kind::PUBREL, "the window of one is full: {packet:?}");
                second.ack(kind::PUBCOMP, packet.id());
                if packet.id() == message.id {
                    break;
                }
                released = true;
            }
        }
    }
    assert!(released, "the PUBREL of the first connection came again");
    assert_eq!(again, ["retained 1", "live 1", "retained 2", "new"]);
    second.ping();
    // A new subscription sees the last retained message only.
    let mut late = scene.device("late");
    late.subscribe(&topic, 2);
    assert_eq!(late.receive().text(), "retained 2");
}

/// A group and an ordinary subscription over the same messages, some of which expire while everybody is away.
#[test]
fn shares_and_ordinary_subscriptions_with_messages_that_expire_meanwhile() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("t");
    let shared = format!("$share/g/{topic}");
    let connects = ["a", "b", "c"].map(|name| scene.lasting(name));
    for (connect, filter) in connects.iter().zip([&shared, &shared, &topic]) {
        let mut member = scene.device_with(connect);
        member.subscribe(filter, 2);
        member.subscribe(&scene.topic("end"), 2);
        member.disconnect();
    }
    let mut speaker = scene.device("speaker");
    for (place, text) in numbered("m", 40).iter().enumerate() {
        let message = Publish::new(&topic, text).qos(1 + u8::from(place % 3 == 0));
        let secs = if place % 2 == 0 { 1 } else { 1_000 };
        speaker.publish(message.property(property::MESSAGE_EXPIRY, Value::Four(secs)));
    }
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    let mut devices = connects.map(|connect| scene.device_with(&connect));
    speaker.say(&scene.topic("end"), "end", 2);
    let wanted: Vec<String> = numbered("m", 40).into_iter().skip(1).step_by(2).collect();
    let mut arrived = Vec::new();
    for device in &mut devices {
        let messages = device.receive_before("end");
        for message in &messages {
            let left = number(&message.properties, property::MESSAGE_EXPIRY).expect("it is told");
            assert!((900..1_000).contains(&left), "{left} s are left");
        }
        arrived.push(messages.iter().map(Publish::text).collect::<Vec<_>>());
    }
    let mut of_the_group = [arrived[0].clone(), arrived[1].clone()].concat();
    of_the_group.sort();
    assert_eq!(of_the_group, wanted, "each exactly once in the group");
    assert_eq!(arrived[2], wanted, "all of them for the ordinary subscriber");
}

/// Aliases in both directions at once, with the same numbers for different topics, over three connections of both
/// sessions, in the middle of open flows.
#[test]
fn aliases_of_both_directions_over_reconnects_in_the_middle_of_flows() {
    let scene = Scene::new(Version::V5);
    let connect = scene.lasting("device").property(property::TOPIC_ALIAS_MAXIMUM, Value::Two(2));
    let mut echo = scene.device("echo");
    echo.subscribe(&scene.topic("up/#"), 2);
    let mut open: Vec<Publish> = Vec::new();
    for round in 0..3_u16 {
        let mut device = scene.talker_with(&connect);
        if round == 0 {
            assert_eq!(device.subscribe(1, &[(&scene.topic("down/#"), 1)]), [1]);
        }
        let mut known: HashMap<u32, String> = HashMap::new();
        let mut take = |message: Publish| {
            let Some(alias) = number(&message.properties, property::TOPIC_ALIAS) else {
                return message.topic;
            };
            assert!((1..=2).contains(&alias), "alias {alias}");
            if !message.topic.is_empty() {
                known.insert(alias, message.topic);
            }
            known.get(&alias).cloned().expect("an alias of this connection")
        };
        for wanted in std::mem::take(&mut open) {
            let again = device.message();
            assert_eq!((again.id, again.dup, again.text()), (wanted.id, true, wanted.text()));
            assert_eq!(take(again.clone()), again.text(), "the payload tells the topic");
            device.ack(kind::PUBACK, again.id);
        }
        // Alias 1 means another topic in each round, set by a QoS 2 message that stays open.
        let up = scene.topic(&format!("up/{round}"));
        let alias = (property::TOPIC_ALIAS, Value::Two(1));
        let id = 100 + round;
        device.publish(&Publish { id, properties: vec![alias.clone()], ..Publish::new(&up, "set").qos(2) });
        device.answer(kind::PUBREC, id);
        device.publish(&Publish { properties: vec![alias], ..Publish::new("", "use") });
        for text in ["set", "use"] {
            let heard = echo.receive();
            assert_eq!((heard.topic, heard.payload), (up.clone(), text.as_bytes().to_vec()));
        }
        for number in 0..6 {
            let down = scene.topic(&format!("down/{}", number % 3));
            echo.say(&down, &down, 1);
            let message = device.message();
            assert_eq!(take(message.clone()), down);
            open.push(message);
        }
        // The PUBREL of the round before ends a flow that began on another connection.
        if round > 0 {
            device.ack(kind::PUBREL, id - 1);
            assert_eq!(device.answer(kind::PUBCOMP, id - 1), 0);
        }
        device.cut();
    }
}

/// Overlapping subscriptions with different options are replaced, and one goes, while the client is away and comes
/// back; each message comes once, with the flags and identifiers of what matched when it was published.
#[test]
fn overlapping_subscriptions_change_while_messages_wait() {
    let scene = Scene::new(Version::V5);
    let topic = scene.topic("a/b");
    let identifier = |id: u32| vec![(property::SUBSCRIPTION_ID, Value::Variable(id))];
    let connect = window(scene.lasting("device"), 1);
    let mut device = scene.talker_with(&connect);
    assert_eq!(device.subscribe_with(1, &identifier(1), &[(&topic, 2 | option::RETAIN_AS_PUBLISHED)]), [2]);
    assert_eq!(
        device.subscribe_with(2, &identifier(2), &[(&scene.topic("#"), 1 | option::RETAIN_AS_PUBLISHED)]),
        [1]
    );
    let mut speaker = scene.device("speaker");
    speaker.publish(Publish::new(&topic, "both").qos(2).retained());
    let both = device.message();
    speaker.say(&topic, "behind the window", 2);
    device.ping();
    assert_eq!(device.unsubscribe(3, &[&topic]), [0]);
    speaker.say(&topic, "one", 2);
    device.cut();
    let mut device = scene.device_with(&connect);
    let mut arrived = Vec::new();
    for _ in 0..3 {
        let message = device.receive();
        let mut ids: Vec<u32> = Vec::new();
        for (_, value) in message.properties.iter().filter(|(id, _)| *id == property::SUBSCRIPTION_ID) {
            let Value::Variable(id) = value else { panic!("{value:?}") };
            ids.push(*id);
        }
        ids.sort_unstable();
        arrived.push((message.text(), message.qos, message.retain, message.dup, ids));
    }
    assert!(!both.dup);
    assert_eq!(
        arrived,
        [
            ("both".to_owned(), 2, true, true, vec![1, 2]),
            ("behind the window".to_owned(), 2, false, false, vec![1, 2]),
            ("one".to_owned(), 1, false, false, vec![2]),
        ]
    );
    speaker.publish(Publish::new(&topic, "").retained());
}

/// A QoS 2 message that was retained comes again before its PUBREL, when another client has replaced or deleted what is
/// retained: the repeat must not bring the old message back.
#[test]
fn a_repeated_qos_2_publish_brings_no_replaced_retained_message_back() {
    for version in Version::BOTH {
        let scene = Scene::new(version);
        let connect = scene.lasting("first");
        let mut first = scene.talker_with(&connect);
        let mut second = scene.device("second");
        let messages: Vec<Publish> = ["replaced", "deleted"]
            .iter()
            .zip(1..)
            .map(|(rest, id)| Publish { id, ..Publish::new(&scene.topic(rest), "old").qos(2).retained() })
            .collect();
        for message in &messages {
            first.publish(message);
            first.answer(kind::PUBREC, message.id);
        }
        second.publish(Publish::new(&scene.topic("replaced"), "new").qos(1).retained());
        second.publish(Publish::new(&scene.topic("deleted"), "").qos(1).retained());
        for message in &messages {
            first.publish(&Publish { dup: true, ..message.clone() });
            assert_eq!(first.answer(kind::PUBREC, message.id), 0);
        }
        first.cut();
        let mut first = scene.talker_with(&connect);
        for message in &messages {
            first.publish(&Publish { dup: true, ..message.clone() });
            assert_eq!(first.answer(kind::PUBREC, message.id), 0);
            first.ack(kind::PUBREL, message.id);
            assert_eq!(first.answer(kind::PUBCOMP, message.id), 0);
        }
        let mut late = scene.device("late");
        late.subscribe(&scene.topic("#"), 2);
        late.say(&scene.topic("end"), "end", 1);
        assert_eq!(late.texts_before("end"), ["new"]);
    }
}

/// A session goes from MQTT 5.0 to 3.1.1 and back, with open flows and messages that wait each time.
#[test]
fn a_session_changes_the_version_of_mqtt_in_the_middle_of_flows() {
    let new = Scene::new(Version::V5);
    let old = new.in_version(Version::V4);
    let topic = new.topic("t");
    let identifier = (property::SUBSCRIPTION_ID, Value::Variable(9));
    let content = (property::CONTENT_TYPE, Value::Text("a/b".into()));
    let mut speaker = new.device("speaker");
    let mut say = |text: &str, qos| {
        speaker
            .publish(Publish::new(&topic, text).qos(qos).property(content.0, content.1.clone()).retained());
    };
    let mut first = new.talker_with(&new.lasting("device"));
    let options = 2 | option::RETAIN_AS_PUBLISHED;
    assert_eq!(first.subscribe_with(1, &vec![identifier.clone()], &[(&topic, options)]), [2]);
    say("one", 1);
    say("two", 2);
    say("released", 2);
    let sent = first.messages(3);
    first.ack(kind::PUBREC, sent[2].id);
    first.answer(kind::PUBREL, sent[2].id);
    first.cut();
    say("waits", 2);

    let mut second = old.talker_with(&old.lasting("device"));
    assert!(second.connack.session_present);
    let mut again = second.messages(2);
    assert_eq!(second.answer(kind::PUBREL, sent[2].id), 0);
    again.push(second.message());
    let seen: Vec<_> = again.iter().map(|message| (message.text(), message.qos, message.dup)).collect();
    let wanted = [("one", 1, true), ("two", 2, true), ("waits", 2, false)];
    assert_eq!(seen, wanted.map(|(text, qos, dup)| (text.to_owned(), qos, dup)));
    second.ack(kind::PUBACK, again[0].id);
    second.ack(kind::PUBREC, again[1].id);
    assert_eq!(second.answer(kind::PUBREL, again[1].id), 0);
    second.ping();
    second.cut();
    say("waits again", 1);

    let mut third = new.talker_with(&new.lasting("device"));
    let mut released = Vec::new();
    let mut messages: Vec<Publish> = Vec::new();
    while released.len() + messages.len() < 4 {
        let packet = third.wire.packet();
        match packet.kind() {
            kind::PUBREL => released.push(packet.id()),
            _ => messages.push(Publish::decode(&packet, Version::V5)),
        }
    }
    assert_eq!(released, [again[1].id, sent[2].id], "in the order of the PUBLISH packets");
    for (message, text) in messages.iter().zip(["waits", "waits again"]) {
        assert_eq!((message.text().as_str(), message.retain), (text, true));
        for wanted in [&identifier, &content] {
            assert!(message.properties.contains(wanted), "{message:?} lost {wanted:?}");
        }
    }
    third.ping();
    speaker.publish(Publish::new(&topic, "").retained());
}

/// A client that floods itself through a window of one: its acknowledgements come behind its own messages on the same
/// connection, and yet neither side waits for the other for ever.
#[test]
fn a_client_with_a_narrow_window_may_flood_itself() {
    let scene = Scene::new(Version::V5);
    for size in [1, 20] {
        let topic = scene.topic(&size.to_string());
        let mut device = scene.device_with(&window(scene.connect("device"), size));
        device.subscribe(&topic, 2);
        let wanted = numbered("m", 2_500);
        device.publish_all(wanted.iter().map(|text| Publish::new(&topic, text).qos(1)));
        device.say(&topic, "end", 1);
        assert_same(&device.texts_before("end"), &wanted, "what the client sent to itself");
    }
    // As many as the proxy takes at a time, in one write, and only then the first acknowledgement.
    let topic = scene.topic("at once");
    let mut talker = scene.talker_with(&window(scene.connect("talker"), 1));
    assert_eq!(talker.subscribe(1, &[(&topic, 1)]), [1]);
    let wanted = numbered("m", 990);
    let message = |(text, id)| Publish { id, ..Publish::new(&topic, text).qos(1) }.encode(Version::V5);
    talker.wire.send(&wanted.iter().zip(1..).map(message).collect::<Vec<_>>().concat());
    let (mut heard, mut acknowledged) = (Vec::new(), 0);
    while heard.len() < wanted.len() || acknowledged < wanted.len() {
        let packet = talker.wire.packet();
        if packet.kind() == kind::PUBACK {
            acknowledged += 1;
            continue;
        }
        let message = Publish::decode(&packet, Version::V5);
        talker.ack(kind::PUBACK, message.id);
        heard.push(message.text());
    }
    assert_same(&heard, &wanted, "through a window of one");
    talker.ping();
}

/// A subscriber that loses its connection at any point of any flow, hundreds of times, with windows of every size:
/// QoS 2 arrives exactly once, QoS 1 at least once, both in order.
fn survive_reconnects(version: Version, seed: u64) {
    let scene = Scene::new(version);
    let topic = scene.topic("t");
    let mut random = Random::seeded(seed);
    let connect = |size: u16| {
        let connect = scene.lasting("device");
        if version.is_v5() { window(connect, size) } else { connect }
    };
    let mut device = scene.talker_with(&connect(3));
    assert_eq!(device.subscribe(1, &[(&topic, 2)]), [2]);
    let texts = numbered("m", 120);
    let mut speaker = scene.device("speaker");
    speaker.publish_all(
        texts.iter().enumerate().map(|(place, text)| {
            Publish::new(&topic, text).qos(1 + u8::try_from(place % 2).expect("0 or 1"))
        }),
    );
    speaker.say(&topic, "end", 2);
    let (mut once, mut at_least_once): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut unreleased: HashSet<u16> = HashSet::new();
    let mut finished = false;
    while !finished {
        let packets = random.below(12);
        for _ in 0..packets {
            let packet = device.wire.packet();
            if packet.kind() == kind::PUBREL {
                unreleased.remove(&packet.id());
                device.ack(kind::PUBCOMP, packet.id());
                continue;
            }
            let message = Publish::decode(&packet, version);
            if message.qos == 1 {
                at_least_once.push(message.text());
                device.ack(kind::PUBACK, message.id);
            } else if unreleased.insert(message.id) {
                finished |= message.text() == "end";
                once.push(message.text());
                device.ack(kind::PUBREC, message.id);
            } else {
                assert!(message.dup, "an identifier in use can only come again: {message:?}");
                device.ack(kind::PUBREC, message.id);
            }
            if finished {
                break;
            }
        }
        let again = connect(1 + u16::try_from(random.below(6)).expect("small"));
        if random.one_in(3) {
            // The old connection is still there: it is taken over.
            let taken_over = std::mem::replace(&mut device, scene.talker_with(&again));
            taken_over.cut();
        } else {
            device.cut();
            device = scene.talker_with(&again);
        }
        assert!(device.connack.session_present);
    }
    let (one, mut two): (Vec<&String>, Vec<&String>) = texts.iter().partition(|text| {
        let number: usize = text.rsplit('-').next().and_then(|digits| digits.parse().ok()).expect("a number");
        number.is_multiple_of(2)
    });
    let end = "end".to_owned();
    two.push(&end);
    assert_eq!(once.iter().collect::<Vec<_>>(), two, "QoS 2: exactly once, in order");
    let mut seen: HashSet<&String> = HashSet::new();
    let firsts: Vec<&String> = at_least_once.iter().filter(|text| seen.insert(text)).collect();
    assert_eq!(firsts, one, "QoS 1: at least once, first seen in order");
}

#[test]
fn flows_survive_reconnects_at_any_point() {
    for seed in 1..=3 {
        survive_reconnects(Version::V5, seed);
        survive_reconnects(Version::V4, seed);
    }
}

/// A publisher that loses its connection at any point and sends everything again that it has no answer for: QoS 2
/// arrives exactly once, QoS 1 at least once, both in order.
fn publish_over_reconnects(version: Version, seed: u64) {
    let scene = Scene::new(version);
    let topic = scene.topic("t");
    let mut random = Random::seeded(seed);
    let mut listener = scene.device("listener");
    listener.subscribe(&topic, 2);
    let connect = scene.lasting("speaker");
    let mut speaker = scene.talker_with(&connect);
    let texts = numbered("m", 80);
    // What has no final answer yet: message, and whether PUBREC has come.
    let mut open: Vec<(Publish, bool)> = Vec::new();
    let mut next = 0;
    while next < texts.len() || !open.is_empty() {
        for _ in 0..random.below(8) {
            let id = u16::try_from(next % 20 + 1).expect("small");
            if next < texts.len() && open.iter().all(|(message, _)| message.id != id) {
                let qos = 1 + u8::try_from(next % 2).expect("0 or 1");
                let message = Publish { id, ..Publish::new(&topic, &texts[next]).qos(qos) };
                speaker.publish(&message);
                open.push((message, false));
                next += 1;
            }
        }
        for _ in 0..random.below(open.len() + 1) {
            let packet = speaker.wire.packet();
            // A PUBREL that comes again for what is over is no error in recovery.
            let is_over =
                packet.kind() == kind::PUBCOMP && packet.ack_reason() == reason::PACKET_ID_NOT_FOUND;
            assert!(packet.ack_reason() < 0x80 || is_over, "{packet:?}");
            let place = open.iter().position(|(message, _)| message.id == packet.id()).expect("it is open");
            if packet.kind() == kind::PUBREC {
                open[place].1 = true;
                speaker.ack(kind::PUBREL, packet.id());
            } else {
                assert_eq!(packet.kind() == kind::PUBCOMP, open[place].1, "{packet:?}");
                open.remove(place);
            }
        }
        if random.one_in(2) {
            speaker.cut();
            speaker = scene.talker_with(&connect);
            assert!(speaker.connack.session_present);
            for (message, is_received) in &open {
                if *is_received {
                    speaker.ack(kind::PUBREL, message.id);
                } else {
                    speaker.publish(&Publish { dup: true, ..message.clone() });
                }
            }
        }
    }
    listener.say(&topic, "end", 2);
    let arrived = listener.receive_before("end");
    let of = |qos: u8| arrived.iter().filter(move |message| message.qos == qos).map(Publish::text);
    let wanted = |rest: usize| texts.iter().skip(rest).step_by(2).cloned().collect::<Vec<_>>();
    assert_eq!(of(2).collect::<Vec<_>>(), wanted(1), "QoS 2: exactly once, in order");
    let mut seen: HashSet<String> = HashSet::new();
    let firsts: Vec<String> = of(1).filter(|text| seen.insert(text.clone())).collect();
    assert_eq!(firsts, wanted(0), "QoS 1: at least once, first seen in order");
}

#[test]
fn publishers_may_reconnect_at_any_point() {
    for seed in 1..=4 {
        publish_over_reconnects(Version::V5, seed);
        publish_over_reconnects(Version::V4, seed);
    }
}

/// The proxy dies in the middle of everything: options and identifiers of subscriptions, open flows of both directions,
/// messages that wait and what is retained are there again.
#[test]
fn a_session_is_what_it_was_after_the_proxy_has_died() {
    let mut proxy = Proxy::start();
    let lasting = |id: &str| Connect::new(Version::V5, id).persistent();
    let mut device = Talker::connect(proxy.mqtt(), &lasting("device"));
    let identifier = |id: u32| (property::SUBSCRIPTION_ID, Value::Variable(id));
    let options = 2 | option::RETAIN_AS_PUBLISHED | option::NO_LOCAL;
    assert_eq!(device.subscribe_with(1, &vec![identifier(1)], &[("a/b", options)]), [2]);
    assert_eq!(device.subscribe_with(2, &vec![identifier(2)], &[("a/#", 1)]), [1]);
    let mut speaker = Device::connect(proxy.mqtt(), Version::V5, "speaker");
    let content = (property::CONTENT_TYPE, Value::Text("a/b".into()));
    let say = |text: &str, qos| Publish::new("a/b", text).qos(qos).property(content.0, content.1.clone());
    for (text, qos) in [("one", 1), ("two", 2), ("released", 2)] {
        speaker.publish(say(text, qos));
    }
    let sent = device.messages(3);
    device.ack(kind::PUBREC, sent[2].id);
    assert_eq!(device.answer(kind::PUBREL, sent[2].id), 0);
    let inbound = Publish { id: 50, ..Publish::new("up", "once").qos(2) };
    let mut witness = Device::connect_with(proxy.mqtt(), &lasting("witness"));
    witness.subscribe("up", 2);
    device.publish(&inbound);
    assert_eq!(device.answer(kind::PUBREC, 50), 0);
    assert_eq!(witness.receive().text(), "once");
    witness.disconnect();
    device.cut();
    let expiring = say("waits", 2).retained().property(property::MESSAGE_EXPIRY, Value::Four(1_000));
    speaker.publish(expiring.clone());
    proxy.kill_and_restart();

    let mut device = Talker::connect(proxy.mqtt(), &lasting("device"));
    assert!(device.connack.session_present);
    for wanted in &sent[..2] {
        let again = device.message();
        assert_eq!(
            (again.id, again.qos, again.text(), again.dup),
            (wanted.id, wanted.qos, wanted.text(), true)
        );
        assert_same_properties(&again, wanted);
    }
    assert_eq!(device.answer(kind::PUBREL, sent[2].id), 0);
    let waits = device.message();
    assert_eq!((waits.text().as_str(), waits.qos, waits.retain, waits.dup), ("waits", 2, true, false));
    let left = number(&waits.properties, property::MESSAGE_EXPIRY).expect("it is kept");
    assert!((900..=1_000).contains(&left), "{left} s are left");
    let known = [&content, &identifier(1), &identifier(2)];
    assert!(known.iter().all(|known| waits.properties.contains(known)), "{waits:?}");
    device.publish(&Publish { dup: true, ..inbound });
    assert_eq!(device.answer(kind::PUBREC, 50), 0);
    device.ack(kind::PUBREL, 50);
    assert_eq!(device.answer(kind::PUBCOMP, 50), 0);
    let mut speaker = Device::connect(proxy.mqtt(), Version::V5, "speaker");
    speaker.publish(Publish::new("up", "end").qos(2));
    let mut witness = Device::connect_with(proxy.mqtt(), &lasting("witness"));
    assert!(witness.connack.session_present);
    assert_eq!(witness.texts_before("end"), Vec::<String>::new(), "the repeat was known");
    let mut late = Device::connect(proxy.mqtt(), Version::V5, "late");
    late.subscribe("a/+", 2);
    let retained = late.receive();
    assert_eq!((retained.text().as_str(), retained.qos, retained.retain), ("waits", 2, true));
    assert!(retained.properties.contains(&content), "{retained:?}");
}

/// That two copies of a message have the same properties; the identifiers of subscriptions have no order.
fn assert_same_properties(left: &Publish, right: &Publish) {
    let sorted = |message: &Publish| {
        let mut properties: Vec<String> = message.properties.iter().map(|one| format!("{one:?}")).collect();
        properties.sort();
        properties
    };
    assert_eq!(sorted(left), sorted(right));
}
