//! Shared subscriptions: each message of a group goes to one member, and what a member does not deliver goes to another one.

use std::collections::BTreeMap;

use crate::support::device::Device;
use crate::support::packets::{self, Connect, Properties, Publish, Value, kind, number, property};
use crate::support::peers::mosquitto_sub;
use crate::support::proxy::{Proxy, Setup};
use crate::support::{Version, assert_same, numbered, wait_until};

const GROUP: &str = "$share/g/t/#";
const SUCCESS: u8 = 0;
const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;

fn member(proxy: &Proxy, version: Version, name: &str, qos: u8) -> Device {
    member_with(proxy, &Connect::new(version, name), qos)
}

fn member_with(proxy: &Proxy, connect: &Connect, qos: u8) -> Device {
    let mut device = Device::connect_with(proxy.mqtt(), connect);
    device.subscribe(GROUP, qos);
    device
}

fn lasting(version: Version, name: &str) -> Connect {
    Connect::new(version, name).persistent()
}

/// A member that is gone again, and whose session stays.
fn absent_member(proxy: &Proxy, version: Version, name: &str, qos: u8) {
    member_with(proxy, &lasting(version, name), qos).disconnect();
    let rest = proxy.rest();
    wait_until("its connection is over", || rest.status()["connected_clients"] == 0);
}

fn resume(proxy: &Proxy, version: Version, name: &str) -> Device {
    let device = Device::connect_with(proxy.mqtt(), &lasting(version, name));
    assert!(device.connack.session_present, "{name}'s session is there");
    device
}

fn publish(proxy: &Proxy, texts: &[String], qos: u8) {
    let mut publisher = Device::connect(proxy.mqtt(), Version::V5, "publisher");
    publisher.publish_all(texts.iter().map(|text| Publish::new("t/x", text).qos(qos)));
    publisher.disconnect();
}

/// Messages as they come, not acknowledged.
fn unacknowledged(device: &mut Device, version: Version, count: usize) -> Vec<Publish> {
    (0..count).map(|_| Publish::decode(&device.wire.packet(), version)).collect()
}

fn texts(messages: &[Publish]) -> Vec<String> {
    messages.iter().map(Publish::text).collect()
}

/// How often each text came.
fn counts(parts: &[Vec<String>]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for text in parts.iter().flatten() {
        *counts.entry(text.clone()).or_default() += 1;
    }
    counts
}

/// Everything came once and nothing else came.
fn assert_each_once(parts: &[Vec<String>], wanted: &[String]) {
    let counts = counts(parts);
    let all: Vec<String> = counts.keys().cloned().collect();
    assert_same(&all, wanted, "all members together");
    let repeated: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).collect();
    assert!(repeated.is_empty(), "more than once: {repeated:?}");
}

fn assert_in_order(part: &[String]) {
    assert!(part.is_sorted(), "out of order: {part:?}");
}

fn has_ended(proxy: &Proxy, connected: u64) {
    let rest = proxy.rest();
    wait_until("the proxy has seen the end", || rest.status()["connected_clients"] == connected);
}

in_both_versions! {
    fn members_take_turns_and_each_message_comes_once(version: Version) {
        for qos in 0..3 {
            let proxy = Proxy::start();
            let mut members = ["a", "b", "c"].map(|name| member(&proxy, version, name, qos));
            let wanted = numbered("m", 90);
            publish(&proxy, &wanted, qos);
            let parts = members.each_mut().map(|member| texts(&member.receive_all(30)));
            parts.iter().for_each(|part| assert_in_order(part));
            assert_each_once(&parts, &wanted);
            for member in &mut members {
                assert_eq!(member.inbox_after_ping(), Vec::<String>::new(), "nothing else came");
            }
        }
    }

    fn every_group_and_every_ordinary_subscription_gets_a_copy(version: Version) {
        let proxy = Proxy::start();
        let mut both = Device::connect(proxy.mqtt(), version, "both");
        let filters = [("$share/g/t", 1), ("$share/h/+", 1), ("$share/g/+", 1), ("t", 1), ("#", 2)];
        assert_eq!(both.subscribe_with(&Vec::new(), &filters), [1, 1, 1, 1, 2]);
        assert_eq!(proxy.rest().status()["subscriptions"], 5);
        assert_eq!(proxy.rest().metric("mqtt_shared_subscriptions", &[]), 3.0);
        let mut publisher = Device::connect(proxy.mqtt(), version, "publisher");
        publisher.say("t", "one", 2);
        let arrived = both.receive_all(4);
        assert!(arrived.iter().all(|message| message.text() == "one"));
        let mut granted: Vec<u8> = arrived.iter().map(|message| message.qos).collect();
        granted.sort_unstable();
        assert_eq!(granted, [1, 1, 1, 2], "three groups, and the ordinary ones at the highest QoS");
        for filter in ["$share/g/t", "$share/h/+", "#"] {
            both.unsubscribe(filter);
        }
        publisher.say("t", "two", 2);
        assert_eq!(texts(&both.receive_all(2)), ["two", "two"]);
        assert_eq!(both.inbox_after_ping(), Vec::<String>::new());
        assert_eq!(proxy.rest().metric("mqtt_shared_subscriptions", &[]), 1.0);
    }

    fn retained_messages_are_not_sent_to_a_group(version: Version) {
        let proxy = Proxy::start();
        let mut setter = Device::connect(proxy.mqtt(), version, "setter");
        setter.publish(Publish::new("t/x", "kept").qos(1).retained());
        let mut taker = member(&proxy, version, "taker", 1);
        assert_eq!(taker.inbox_after_ping(), Vec::<String>::new());
        setter.publish(Publish::new("t/x", "live").qos(1).retained());
        let live = taker.receive();
        assert_eq!((live.text().as_str(), live.retain), ("live", false));
    }

    fn what_a_member_did_not_acknowledge_goes_to_others_when_it_is_cut_off(version: Version) {
        let proxy = Proxy::start();
        let mut silent = member(&proxy, version, "silent", 1);
        let mut taker = member(&proxy, version, "taker", 1);
        let wanted = numbered("m", 100);
        publish(&proxy, &wanted, 1);
        let seen = unacknowledged(&mut silent, version, 50);
        silent.wire.send(&packets::ack(kind::PUBACK, seen[0].id));
        silent.ping();
        let own = texts(&taker.receive_all(50));
        silent.cut();
        let taken_over = taker.receive_all(49);
        assert!(taken_over.iter().all(|message| !message.dup && message.qos == 1), "they are new to it");
        let taken_over = texts(&taken_over);
        assert_same(&taken_over, &texts(&seen[1..]), "in their order, without the acknowledged one");
        assert_each_once(&[own, taken_over, texts(&seen[..1])], &wanted);
        assert_eq!(taker.inbox_after_ping(), Vec::<String>::new());
    }

    fn what_was_sent_at_qos_2_stays_with_its_session(version: Version) {
        let proxy = Proxy::start();
        let mut silent = member_with(&proxy, &lasting(version, "silent"), 2);
        let mut taker = member(&proxy, version, "taker", 2);
        let wanted = numbered("m", 10);
        publish(&proxy, &wanted, 2);
        let seen = unacknowledged(&mut silent, version, 5);
        silent.cut();
        let own = texts(&taker.receive_all(5));
        has_ended(&proxy, 1);
        assert_eq!(taker.inbox_after_ping(), Vec::<String>::new(), "nobody else may have them");
        let mut silent = resume(&proxy, version, "silent");
        let again = silent.receive_all(5);
        assert!(again.iter().zip(&seen).all(|(again, first)| again.dup && again.id == first.id));
        assert_each_once(&[own, texts(&again)], &wanted);
    }

    fn what_was_sent_at_qos_2_ends_with_its_session(version: Version) {
        let proxy = Proxy::start();
        let mut silent = member(&proxy, version, "silent", 2);
        let mut taker = member(&proxy, version, "taker", 2);
        publish(&proxy, &numbered("m", 4), 2);
        unacknowledged(&mut silent, version, 2);
        silent.cut();
        has_ended(&proxy, 1);
        taker.receive_all(2);
        assert_eq!(taker.inbox_after_ping(), Vec::<String>::new());
    }

    fn only_qos_1_and_2_wait_for_absent_members_in_turn(version: Version) {
        let proxy = Proxy::start();
        for name in ["a", "b"] {
            absent_member(&proxy, version, name, 1);
        }
        publish(&proxy, &numbered("lost", 10), 0);
        let wanted = numbered("m", 20);
        publish(&proxy, &wanted, 1);
        // Who connects later gets what is new; what waits for the absent stays with them.
        let mut late = member(&proxy, version, "late", 1);
        publish(&proxy, &numbered("new", 5), 1);
        assert_same(&texts(&late.receive_all(5)), &numbered("new", 5), "the one who is there");
        assert_eq!(late.inbox_after_ping(), Vec::<String>::new());
        let parts = ["a", "b"].map(|name| texts(&resume(&proxy, version, name).receive_all(10)));
        assert_each_once(&parts, &wanted);
    }

    fn what_waits_without_another_member_stays_and_comes_as_it_was(version: Version) {
        let proxy = Proxy::start();
        let mut alone = member_with(&proxy, &lasting(version, "alone"), 1);
        publish(&proxy, &numbered("m", 3), 1);
        let seen = unacknowledged(&mut alone, version, 3);
        alone.cut();
        has_ended(&proxy, 0);
        let mut alone = resume(&proxy, version, "alone");
        for message in &seen {
            let again = alone.receive();
            assert_eq!(again, Publish { dup: true, ..message.clone() });
        }
    }

    fn leaving_a_group_hands_over_what_was_not_sent(version: Version) {
        let proxy = Proxy::start();
        let full = Connect::new(version, "leaver");
        let full = if version.is_v5() { full.property(property::RECEIVE_MAXIMUM, Value::Two(1)) } else { full };
        let mut leaver = member_with(&proxy, &full, 1);
        publish(&proxy, &numbered("m", 10), 1);
        let window = if version.is_v5() { 1 } else { 10 };
        let first = unacknowledged(&mut leaver, version, window);
        let mut taker = member(&proxy, version, "taker", 1);
        leaver.wire.send(&packets::unsubscribe(version, 9, &[GROUP]));
        let unsuback = leaver.wire.packet();
        assert_eq!((unsuback.kind(), unsuback.id()), (kind::UNSUBACK, 9));
        assert_same(&texts(&taker.receive_all(10 - window)), &numbered("m", 10)[window..], "the rest");
        for message in &first {
            leaver.wire.send(&packets::ack(kind::PUBACK, message.id));
        }
        assert_eq!(leaver.inbox_after_ping(), Vec::<String>::new());
        leaver.cut();
        has_ended(&proxy, 1);
        assert_eq!(taker.inbox_after_ping(), Vec::<String>::new(), "what was sent was acknowledged");
    }

    fn what_is_queued_for_durable_members_survives_the_proxy(version: Version) {
        let mut proxy = Proxy::start();
        for name in ["a", "b"] {
            absent_member(&proxy, version, name, 2);
        }
        let wanted = numbered("m", 40);
        publish(&proxy, &wanted[..20], 1);
        proxy.kill_and_restart();
        publish(&proxy, &wanted[20..], 2);
        proxy.kill_and_restart();
        assert_eq!(proxy.rest().metric("mqtt_shared_subscriptions", &[]), 2.0);
        let parts = ["a", "b"].map(|name| texts(&resume(&proxy, version, name).receive_all(20)));
        parts.iter().for_each(|part| assert_in_order(part));
        assert_each_once(&parts, &wanted);
    }

    fn what_was_handed_over_survives_the_proxy_with_its_new_owner(version: Version) {
        let mut proxy = Proxy::start();
        let mut silent = member_with(&proxy, &lasting(version, "silent"), 1);
        let wanted = numbered("m", 20);
        publish(&proxy, &wanted, 1);
        unacknowledged(&mut silent, version, 20);
        let mut taker = member_with(&proxy, &lasting(version, "taker"), 1);
        silent.cut();
        has_ended(&proxy, 1);
        let first = unacknowledged(&mut taker, version, 20);
        assert!(first.iter().all(|message| !message.dup));
        proxy.rest().wait_stored();
        proxy.kill_and_restart();
        let mut silent = resume(&proxy, version, "silent");
        assert_eq!(silent.inbox_after_ping(), Vec::<String>::new(), "it has none of them any more");
        let mut taker = resume(&proxy, version, "taker");
        let again = taker.receive_all(20);
        assert!(again.iter().all(|message| message.dup), "they were sent before");
        assert_same(&texts(&again), &wanted, "all of them");
    }

    fn messages_of_before_a_restart_are_handed_over_after_it(version: Version) {
        let mut proxy = Proxy::start();
        absent_member(&proxy, version, "old", 1);
        let wanted = numbered("m", 10);
        publish(&proxy, &wanted, 1);
        proxy.kill_and_restart();
        let mut old = resume(&proxy, version, "old");
        unacknowledged(&mut old, version, 10);
        let mut taker = member(&proxy, version, "taker", 1);
        old.cut();
        assert_same(&texts(&taker.receive_all(10)), &wanted, "the one who is there");
    }

    fn a_durable_session_gets_its_two_copies_also_after_a_restart(version: Version) {
        let mut proxy = Proxy::start();
        let mut both = Device::connect_with(proxy.mqtt(), &lasting(version, "both"));
        both.subscribe(GROUP, 1);
        both.subscribe("$share/h/t/+", 2);
        both.subscribe("t/x", 2);
        both.disconnect();
        has_ended(&proxy, 0);
        let wanted = numbered("m", 10);
        publish(&proxy, &wanted, 2);
        proxy.kill_and_restart();
        let mut both = resume(&proxy, version, "both");
        let mut arrived = both.receive_all(30);
        assert_eq!(both.inbox_after_ping(), Vec::<String>::new());
        for qos in [1, 2, 2] {
            let mut part = Vec::new();
            for text in &wanted {
                let place = arrived.iter().position(|message| message.qos == qos && message.text() == *text);
                part.push(arrived.remove(place.expect("the copy came")).text());
            }
            assert_same(&part, &wanted, "one copy of each");
        }
    }

    fn a_member_that_is_killed_in_the_stream_loses_nothing(version: Version) {
        let proxy = Proxy::start();
        let mut taker = member(&proxy, version, "taker", 1);
        let mut victim = member(&proxy, version, "victim", 1);
        let wanted = numbered("m", 2_000);
        let mqtt = proxy.mqtt();
        let (taken, victims) = std::thread::scope(|scope| {
            let sent = &wanted;
            scope.spawn(move || {
                let mut publisher = Device::connect(mqtt, version, "publisher");
                publisher.publish_all(sent.iter().map(|text| Publish::new("t/x", text).qos(1)));
                publisher.disconnect();
            });
            let victim = scope.spawn(move || {
                let mut seen = texts(&victim.receive_all(300));
                let unanswered = unacknowledged(&mut victim, version, 20);
                victim.cut();
                seen.extend(texts(&unanswered));
                seen
            });
            let mut taken = Vec::new();
            let victims = victim.join().expect("the victim did its part");
            while counts(&[taken.clone(), victims.clone()]).len() < wanted.len() {
                taken.extend(texts(&taker.receive_all(1)));
            }
            (taken, victims)
        });
        let counts = counts(&[taken, victims.clone()]);
        assert_same(&counts.keys().cloned().collect::<Vec<_>>(), &wanted, "nothing is lost");
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.iter().all(|(text, count)| **count == 2 && victims.contains(text)), "{twice:?}");
    }
}

#[test]
fn a_member_gets_messages_by_its_own_subscription() {
    let proxy = Proxy::start();
    let mut low = Device::connect(proxy.mqtt(), Version::V5, "low");
    let mut high = Device::connect(proxy.mqtt(), Version::V5, "high");
    let identified =
        |identifier| -> Properties { vec![(property::SUBSCRIPTION_ID, Value::Variable(identifier))] };
    assert_eq!(low.subscribe_with(&identified(7), &[(GROUP, 0)]), [0]);
    // Retain As Published.
    assert_eq!(high.subscribe_with(&identified(8), &[(GROUP, 0x08 | 2)]), [2]);
    let mut publisher = Device::connect(proxy.mqtt(), Version::V5, "publisher");
    publisher.publish_all((0..2).map(|_| Publish::new("t/x", "m").qos(2).retained()));
    for (device, qos, retain, identifier) in [(&mut low, 0, false, 7), (&mut high, 2, true, 8)] {
        let message = device.receive();
        assert_eq!((message.qos, message.retain), (qos, retain));
        assert_eq!(number(&message.properties, property::SUBSCRIPTION_ID), Some(identifier));
    }
}

#[test]
fn connack_offers_shared_subscriptions_and_unsuback_tells_whether_there_was_one() {
    let proxy = Proxy::start();
    let mut device = member(&proxy, Version::V5, "device", 1);
    let offered = number(&device.connack.properties, property::SHARED_AVAILABLE);
    assert_eq!(offered.unwrap_or(1), 1);
    for reason in [SUCCESS, NO_SUBSCRIPTION_EXISTED] {
        device.wire.send(&packets::unsubscribe(Version::V5, 5, &[GROUP]));
        assert_eq!(device.wire.packet().codes(Version::V5), [reason]);
    }
}

#[test]
fn a_group_needs_a_name_without_wildcards_and_a_filter() {
    const TOPIC_FILTER_INVALID: u8 = 0x8F;
    let proxy = Proxy::start();
    for filter in
        ["$share/", "$share/g", "$share/g/", "$share//t", "$share/+/t", "$share/g#/t", "$share/g/#/t"]
    {
        let subscribe = |version| packets::subscribe(version, 1, &Vec::new(), &[(filter, 1)]);
        let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
        device.wire.send(&subscribe(Version::V5));
        assert_eq!(device.disconnect_reason(), TOPIC_FILTER_INVALID, "{filter}");
        let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
        device.wire.send(&subscribe(Version::V4));
        device.wire.expect_close();
    }
    // No group at all, but a filter like any other.
    Device::connect(proxy.mqtt(), Version::V5, "device").subscribe("$shared/g/t", 1);
}

#[test]
fn a_member_that_never_acknowledges_holds_up_nobody() {
    let proxy = Proxy::start();
    let connect = Connect::new(Version::V5, "stuck").property(property::RECEIVE_MAXIMUM, Value::Two(1));
    let mut stuck = member_with(&proxy, &connect, 1);
    let mut taker = member(&proxy, Version::V4, "taker", 1);
    let wanted = numbered("m", 500);
    publish(&proxy, &wanted, 1);
    let held = unacknowledged(&mut stuck, Version::V5, 1);
    let taken = texts(&taker.receive_all(499));
    assert_in_order(&taken);
    assert_each_once(&[texts(&held), taken], &wanted);
    stuck.cut();
    assert_eq!(taker.receive().text(), held[0].text(), "the one that it held");
}

#[test]
fn members_with_small_windows_share_with_members_with_large_ones() {
    let proxy = Proxy::start();
    let windows = [1, 3, 10, 1_000];
    let mut members = windows.map(|window| {
        let name = format!("window-{window}");
        let connect =
            Connect::new(Version::V5, &name).property(property::RECEIVE_MAXIMUM, Value::Two(window));
        member_with(&proxy, &connect, 2)
    });
    let wanted = numbered("m", 400);
    publish(&proxy, &wanted, 2);
    let mut parts = members.each_mut().map(|_| Vec::new());
    wait_until("all came", || {
        for (member, part) in members.iter_mut().zip(&mut parts) {
            part.extend(member.inbox_after_ping());
        }
        parts.iter().map(Vec::len).sum::<usize>() >= wanted.len()
    });
    parts.iter().for_each(|part| assert_in_order(part));
    assert!(parts.iter().all(|part| !part.is_empty()), "each has its part");
    assert_each_once(&parts, &wanted);
}

#[test]
fn mosquitto_clients_are_members_too() {
    let proxy = Proxy::start();
    let members = ["3", "5"].map(|version| {
        let version = if version == "5" { "mqttv5" } else { "mqttv311" };
        mosquitto_sub(proxy.mqtt(), &["-V", version, "-q", "1", "-t", "$share/g/t/#"])
    });
    let wanted = numbered("m", 40);
    publish(&proxy, &wanted, 1);
    let printed = |output: String| -> Vec<String> {
        let payload = |line: &str| line.strip_prefix("t/x 1 0 ").map(str::to_owned);
        output.lines().filter_map(payload).collect()
    };
    wait_until("both have printed their half", || {
        members.iter().all(|member| printed(member.output()).len() == 20)
    });
    assert_each_once(&members.each_ref().map(|member| printed(member.output())), &wanted);
}

#[test]
fn a_session_that_ends_leaves_its_backlog_to_an_absent_member() {
    let mut proxy = Proxy::start();
    absent_member(&proxy, Version::V5, "absent", 1);
    let mut silent = member(&proxy, Version::V5, "silent", 1);
    let wanted = numbered("m", 10);
    publish(&proxy, &wanted, 1);
    unacknowledged(&mut silent, Version::V5, 10);
    silent.cut();
    has_ended(&proxy, 0);
    proxy.rest().wait_stored();
    proxy.kill_and_restart();
    let arrived = resume(&proxy, Version::V5, "absent").receive_all(10);
    assert_same(&texts(&arrived), &wanted, "all of them, also after a kill");
}

#[test]
fn a_session_that_ends_with_the_proxy_leaves_its_backlog_to_one_that_does_not() {
    let mut proxy = Proxy::start();
    absent_member(&proxy, Version::V5, "absent", 1);
    let mut passing = ["a", "b"].map(|name| member(&proxy, Version::V4, name, 1));
    let wanted = numbered("m", 10);
    publish(&proxy, &wanted, 1);
    for member in &mut passing {
        unacknowledged(member, Version::V4, 5);
    }
    proxy.stop_and_restart();
    let arrived = texts(&resume(&proxy, Version::V5, "absent").receive_all(10));
    assert_each_once(&[arrived], &wanted);
}

#[test]
fn what_the_others_have_no_room_for_stays() {
    let proxy = Setup::new().settings("limits.queued_bytes_max = 80000").start();
    let narrow = |name: &str| lasting(Version::V5, name).property(property::RECEIVE_MAXIMUM, Value::Two(1));
    let mut leaver = member_with(&proxy, &narrow("leaver"), 1);
    let wanted: Vec<String> =
        numbered("m", 60).iter().map(|text| text.clone() + &"x".repeat(1_000)).collect();
    // The queue is more than half full and so nobody is to wait for it long.
    publish(&proxy, &wanted[..50], 1);
    let mut other = member_with(&proxy, &narrow("other"), 1);
    publish(&proxy, &wanted[50..], 1);
    unacknowledged(&mut leaver, Version::V5, 1);
    let first = unacknowledged(&mut other, Version::V5, 1);
    leaver.cut();
    has_ended(&proxy, 1);
    assert_eq!(proxy.rest().metric("mqtt_deliveries_dropped_total", &[]), 0.0);
    let mut leaver = Device::connect_with(proxy.mqtt(), &narrow("leaver"));
    other.wire.send(&packets::ack(kind::PUBACK, first[0].id));
    let mut parts = [Vec::new(), texts(&first)];
    wait_until("all came", || {
        parts[0].extend(leaver.inbox_after_ping());
        parts[1].extend(other.inbox_after_ping());
        parts.iter().map(Vec::len).sum::<usize>() >= wanted.len()
    });
    assert!(
        parts[0].len() > 5 && parts[1].len() > 25,
        "both had a part: {} and {}",
        parts[0].len(),
        parts[1].len()
    );
    assert_each_once(&parts, &wanted);
}

#[test]
fn what_nobody_is_left_for_is_counted() {
    let proxy = Proxy::start();
    let mut last = member(&proxy, Version::V5, "last", 1);
    publish(&proxy, &numbered("m", 3), 1);
    unacknowledged(&mut last, Version::V5, 3);
    last.cut();
    let rest = proxy.rest();
    let dropped = || rest.metric("mqtt_deliveries_dropped_total", &["reason=\"no_member\""]);
    wait_until("three are dropped", || dropped() == 3.0);
}

#[test]
fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    let proxy = Proxy::start();
    let mut refuser = member(&proxy, Version::V5, "refuser", 2);
    let mut publisher = Device::connect(proxy.mqtt(), Version::V5, "publisher");
    publisher.say("t/x", "one", 1);
    publisher.say("t/x", "two", 2);
    let messages = unacknowledged(&mut refuser, Version::V5, 2);
    let mut taker = member(&proxy, Version::V5, "taker", 2);
    for (message, kind_of) in messages.iter().zip([kind::PUBACK, kind::PUBREC]) {
        let [high, low] = message.id.to_be_bytes();
        refuser.wire.send(&packets::frame(kind_of << 4, &[high, low, 0x83]));
    }
    refuser.ping();
    refuser.cut();
    has_ended(&proxy, 2);
    assert_eq!(taker.inbox_after_ping(), Vec::<String>::new());
}
