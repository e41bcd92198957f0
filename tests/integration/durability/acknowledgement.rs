//! What an acknowledgement waits for: each policy, its rules by topic, the deadline, and what MQTT 5.0 devices are
//! told where nobody gets a message.

use serde_json::json;

use super::{add_keeper, device, publish};
use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::packets::{self, Packet, Publish, kind};
use crate::support::proxy::{Proxy, Setup};
use crate::support::scripted::{Link, Scripted};
use crate::support::wire::Seen;
use crate::support::{DEADLINE, SILENCE, Version, assert_same, numbered, wait_until};

/// A proxy with this policy and scripted upstreams, all connected.
fn scene(settings: &str, upstreams: usize) -> (Proxy, Vec<Link>) {
    let proxy = Setup::new().settings(&format!("[acknowledgement]\n{settings}")).start();
    let links = (0..upstreams)
        .map(|number| {
            let upstream = Scripted::listen();
            proxy.rest().add_local(&format!("upstream {number}"), upstream.port(), Version::BOTH[number % 2]);
            upstream.welcome(false)
        })
        .collect();
    (proxy, links)
}

/// Sends a message under this identifier and waits for nothing.
fn send(device: &mut Device, version: Version, topic: &str, qos: u8, id: u16) {
    let message = Publish { id, ..Publish::new(topic, "m").qos(qos) };
    device.wire.send(&message.encode(version));
}

fn expect_nothing_yet(device: &mut Device, why: &str) {
    assert_eq!(device.wire.look(SILENCE), Seen::Silence, "{why}");
}

/// The acknowledgement of this kind, which must come now.
fn expect_ack(device: &mut Device, kind_of: u8, id: u16) -> Packet {
    let packet = device.wire.packet();
    assert_eq!((packet.kind(), packet.id()), (kind_of, id), "{packet:?}");
    packet
}

/// The link gets the message and acknowledges it at once.
fn acknowledge(link: &mut Link) {
    assert_eq!(link.take().text(), "m");
}

in_both_versions! {
    fn each_policy_waits_for_so_many_upstream_brokers(version: Version) {
        for (policy, needed) in [("any", 1), ("quorum", 2), ("all", 3)] {
            let (proxy, mut links) = scene(&format!("policy = \"{policy}\"\ndeadline_ms = 3600000"), 3);
            let mut sender = device(&proxy, version);
            for (qos, answer) in [(1, kind::PUBACK), (2, kind::PUBREC)] {
                send(&mut sender, version, "t", qos, 5);
                for link in &mut links[..needed - 1] {
                    acknowledge(link);
                }
                expect_nothing_yet(&mut sender, &format!("{policy} waits for {needed} of three"));
                acknowledge(&mut links[needed - 1]);
                let packet = expect_ack(&mut sender, answer, 5);
                assert_eq!(packet.ack_reason(), 0, "{policy}");
                for link in &mut links[needed..] {
                    acknowledge(link);
                }
                if qos == 2 {
                    sender.wire.send(&packets::ack(kind::PUBREL, 5));
                    expect_ack(&mut sender, kind::PUBCOMP, 5);
                }
            }
        }
    }

    fn only_brokers_that_want_a_message_count(version: Version) {
        let (proxy, mut links) = scene("policy = \"all\"\ndeadline_ms = 3600000", 1);
        add_keeper(&proxy, "elsewhere", &Keeper::away(), version, &json!({"topics": ["other/#"]}));
        let mut sender = device(&proxy, version);
        send(&mut sender, version, "t", 1, 1);
        acknowledge(&mut links[0]);
        expect_ack(&mut sender, kind::PUBACK, 1);
    }

    fn at_the_deadline_the_device_is_answered_and_the_message_still_arrives(version: Version) {
        for policy in ["any", "quorum", "all"] {
            let keeper = Keeper::away();
            let settings = format!("policy = \"{policy}\"\ndeadline_ms = 200\non_deadline = \"acknowledge\"");
            let (mut proxy, mut links) = scene(&settings, 1);
            add_keeper(&proxy, "keeper", &keeper, version, &json!({}));
            let mut sender = device(&proxy, version);
            send(&mut sender, version, "t", 1, 1);
            assert_eq!(links[0].publish().text(), "m", "it is not acknowledged");
            expect_ack(&mut sender, kind::PUBACK, 1);
            proxy.kill_and_restart();
            keeper.set_mood(Mood::Prompt);
            keeper.wait_text("m");
        }
    }

    fn past_the_deadline_it_can_be_withheld_until_the_brokers_have_it(version: Version) {
        let (proxy, mut links) = scene("policy = \"all\"\ndeadline_ms = 50\non_deadline = \"withhold\"", 2);
        let mut sender = device(&proxy, version);
        send(&mut sender, version, "t", 1, 1);
        acknowledge(&mut links[0]);
        expect_nothing_yet(&mut sender, "one of two brokers does not have it");
        acknowledge(&mut links[1]);
        expect_ack(&mut sender, kind::PUBACK, 1);
    }

    fn rules_set_another_policy_by_topic_and_the_first_one_holds(version: Version) {
        let rules = r#"rules = ["slow/fast/# = memory", "slow/# = all"]"#;
        let (proxy, mut links) = scene(&format!("policy = \"stored\"\ndeadline_ms = 3600000\n{rules}"), 1);
        let mut quick = Device::connect(proxy.mqtt(), version, "quick");
        let mut slow = Device::connect(proxy.mqtt(), version, "slow");
        send(&mut slow, version, "slow/t", 1, 1);
        let held = links[0].publish();
        for (id, topic) in [(1, "slow/fast/t"), (2, "t")] {
            send(&mut quick, version, topic, 1, id);
            expect_ack(&mut quick, kind::PUBACK, id);
            links[0].publish();
        }
        expect_nothing_yet(&mut slow, "the broker has not acknowledged it");
        links[0].ack(kind::PUBACK, held.id);
        expect_ack(&mut slow, kind::PUBACK, 1);
    }

    fn messages_are_acknowledged_under_every_local_policy(version: Version) {
        for policy in ["memory", "stored", "synced"] {
            let keeper = Keeper::away();
            let (mut proxy, _) = scene(&format!("policy = \"{policy}\""), 0);
            add_keeper(&proxy, "keeper", &keeper, version, &json!({}));
            let texts = numbered("m", 300);
            for qos in [1, 2] {
                publish(&mut device(&proxy, version), &format!("qos/{qos}"), &texts, qos);
            }
            if policy != "memory" {
                proxy.kill_and_restart();
            }
            keeper.set_mood(Mood::Prompt);
            keeper.wait_count(600);
            for qos in [1, 2] {
                assert_same(&keeper.texts_on(&format!("qos/{qos}")), &texts, policy);
            }
        }
    }
}

#[test]
fn a_device_of_mqtt_5_is_told_where_nobody_gets_its_message() {
    let keeper = Keeper::away();
    let proxy = Proxy::start();
    add_keeper(&proxy, "keeper", &keeper, Version::V4, &json!({"topics": ["wanted"]}));
    for (version, reason) in [(Version::V4, 0), (Version::V5, 0x10)] {
        let mut sender = device(&proxy, version);
        for (qos, answer) in [(1, kind::PUBACK), (2, kind::PUBREC)] {
            send(&mut sender, version, "unwanted", qos, 3);
            assert_eq!(expect_ack(&mut sender, answer, 3).ack_reason(), reason, "nobody wants it");
            if qos == 2 {
                sender.wire.send(&packets::ack(kind::PUBREL, 3));
                expect_ack(&mut sender, kind::PUBCOMP, 3);
            }
            send(&mut sender, version, "wanted", qos, 4);
            assert_eq!(expect_ack(&mut sender, answer, 4).ack_reason(), 0, "a broker that is away wants it");
        }
    }
    let mut subscriber = Device::connect(proxy.mqtt(), Version::V5, "subscriber");
    subscriber.subscribe("unwanted", 0);
    let mut sender = device(&proxy, Version::V5);
    send(&mut sender, Version::V5, "unwanted", 1, 3);
    assert_eq!(expect_ack(&mut sender, kind::PUBACK, 3).ack_reason(), 0, "a subscriber gets it");
}

/// Publishes with QoS 1 until a message is refused; the number of those that were accepted.
fn publish_until_refused(sender: &mut Device) -> u16 {
    for number in 0..2_000 {
        let message = Publish { id: number + 1, ..Publish::new("t", format!("{number:01000}")).qos(1) };
        sender.wire.send(&message.encode(Version::V5));
        match expect_ack(sender, kind::PUBACK, number + 1).ack_reason() {
            0 => {}
            0x97 => return number,
            other => panic!("reason {other:#x}"),
        }
    }
    panic!("2 MB were accepted where less is allowed");
}

#[test]
fn a_full_broker_that_may_lose_nothing_makes_mqtt_5_refuse_and_mqtt_3_1_1_wait() {
    let (bounded, steady) = (Keeper::away(), Keeper::start());
    let proxy = Setup::new().settings("[log]\nsegment_bytes = 65536").start();
    let fields = json!({"queue_bytes_max": 65536, "on_full": "reject"});
    let id = add_keeper(&proxy, "bounded", &bounded, Version::V4, &fields);
    let steady_id = super::connect_keeper(&proxy, "steady", &steady, Version::V4);
    let mut newer = Device::connect(proxy.mqtt(), Version::V5, "newer");
    let accepted = publish_until_refused(&mut newer);
    assert!(accepted >= 20, "at least some of 65,536 bytes could be used; {accepted} messages were accepted");
    // QoS 2 is refused in its first answer.
    send(&mut newer, Version::V5, "t", 2, 60_000);
    assert_eq!(expect_ack(&mut newer, kind::PUBREC, 60_000).ack_reason(), 0x97);
    let mut older = Device::connect(proxy.mqtt(), Version::V4, "older");
    send(&mut older, Version::V4, "late", 1, 1);
    expect_nothing_yet(&mut older, "MQTT 3.1.1 has no word for it, so it waits");
    assert_eq!(super::dropped(&proxy, &id), 0, "what was acknowledged is kept");

    wait_until("the log says so", || {
        proxy.log().contains("broker bounded: it is as far behind as queue_bytes_max")
    });

    bounded.set_mood(Mood::Prompt);
    assert!(
        matches!(older.wire.look(DEADLINE), Seen::Packet(packet) if packet.kind() == kind::PUBACK),
        "there is room again"
    );
    let wanted: Vec<String> = (0..accepted).map(|number| format!("{number:01000}")).collect();
    bounded.wait_count(wanted.len() + 1);
    assert_same(&bounded.texts_on("t"), &wanted, "what was accepted, and nothing that was refused");
    wait_until("the late one is there", || bounded.texts_on("late") == ["m"]);
    send(&mut newer, Version::V5, "t", 1, 60_001);
    assert_eq!(expect_ack(&mut newer, kind::PUBACK, 60_001).ack_reason(), 0, "it is accepted again");
    wait_until("the log says that too", || proxy.log().contains("broker bounded: messages are taken again"));
    proxy.rest().wait_caught_up(&steady_id);
    let first = &steady.texts_on("t")[..wanted.len()];
    assert_same(first, &wanted, "the broker that was not full");
}

#[test]
fn the_quota_of_the_whole_log_is_a_bound_for_publishers_where_a_broker_may_lose_nothing() {
    let keeper = Keeper::away();
    let settings = "[log]\nsegment_bytes = 65536\nretention_bytes_max = 1048576\nhead_bytes_max = 1048576";
    let mut proxy = Setup::new().settings(settings).start();
    let id = add_keeper(&proxy, "keeper", &keeper, Version::V5, &json!({"on_full": "reject"}));
    let mut newer = Device::connect(proxy.mqtt(), Version::V5, "newer");
    let accepted = publish_until_refused(&mut newer);
    assert!(accepted >= 500, "a good part of 1 MiB could be used; {accepted} messages were accepted");
    proxy.kill_and_restart();
    keeper.set_mood(Mood::Prompt);
    let wanted: Vec<String> = (0..accepted).map(|number| format!("{number:01000}")).collect();
    keeper.wait_count(wanted.len());
    proxy.rest().wait_caught_up(&id);
    assert_same(&keeper.texts_on("t"), &wanted, "what was accepted, and nothing that was refused");
    let mut newer = Device::connect(proxy.mqtt(), Version::V5, "newer");
    let mut number = 0;
    // The files that nobody needs go soon after.
    wait_until("there is room again", || {
        number += 1;
        send(&mut newer, Version::V5, "t", 1, number);
        expect_ack(&mut newer, kind::PUBACK, number).ack_reason() == 0
    });
}
