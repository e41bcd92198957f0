//! QoS 1 and 2 flows of devices that are open when the proxy dies: they go on where they were, in both directions.

use serde_json::json;

use super::{add_keeper, connect_keeper, device};
use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::packets::{self, Connect, Packet, Publish, kind};
use crate::support::proxy::Proxy;
use crate::support::scripted::Scripted;
use crate::support::{Version, wait_until};

fn connect(proxy: &Proxy, version: Version, is_known: bool) -> Device {
    let device = Device::connect_with(proxy.mqtt(), &Connect::new(version, "lasting").persistent());
    assert_eq!(device.connack.session_present, is_known, "Session Present");
    device
}

/// Connects, subscribes to everything at QoS 2, and does not take the messages that another device publishes.
fn with_unanswered(proxy: &Proxy, version: Version, qos: u8, texts: &[&str]) -> (Device, Vec<Publish>) {
    let mut lasting = connect(proxy, version, false);
    lasting.subscribe("#", 2);
    let mut publisher = device(proxy, version);
    for text in texts {
        publisher.say("t", text, qos);
    }
    let messages = texts.iter().map(|_| Publish::decode(&lasting.wire.packet(), version)).collect();
    (lasting, messages)
}

fn expect(packet: &Packet, kind_of: u8, id: u16) {
    assert_eq!((packet.kind(), packet.id()), (kind_of, id), "{packet:?}");
}

/// Sends a packet and gets the answer of this kind for the same identifier.
fn exchange(device: &mut Device, bytes: &[u8], answer: u8, id: u16) {
    device.wire.send(bytes);
    expect(&device.wire.packet(), answer, id);
}

in_both_versions! {
    fn messages_to_a_device_that_were_not_acknowledged_come_again_as_duplicates(version: Version) {
        for qos in [1, 2] {
            let mut proxy = Proxy::start();
            let (_, first) = with_unanswered(&proxy, version, qos, &["a", "b", "c"]);
            proxy.kill_and_restart();
            let mut lasting = connect(&proxy, version, true);
            for message in &first {
                let again = Publish::decode(&lasting.wire.packet(), version);
                assert_eq!(again, Publish { dup: true, ..message.clone() }, "apart from DUP it is the same");
            }
        }
    }

    fn a_qos_2_message_that_a_device_has_received_goes_on_with_pubrel(version: Version) {
        let mut proxy = Proxy::start();
        let (mut lasting, first) = with_unanswered(&proxy, version, 2, &["a", "b"]);
        // The first one is received and released, and PUBCOMP is missing; the second one was only sent.
        exchange(&mut lasting, &packets::ack(kind::PUBREC, first[0].id), kind::PUBREL, first[0].id);
        proxy.kill_and_restart();

        let mut lasting = connect(&proxy, version, true);
        let two = [lasting.wire.packet(), lasting.wire.packet()];
        let release = two.iter().find(|packet| packet.kind() == kind::PUBREL).expect("a PUBREL");
        assert_eq!(release.id(), first[0].id, "the PUBREL is for the first one");
        let again = two.iter().find(|packet| packet.kind() == kind::PUBLISH).expect("a PUBLISH");
        assert_eq!(Publish::decode(again, version), Publish { dup: true, ..first[1].clone() });
        lasting.wire.send(&packets::ack(kind::PUBCOMP, first[0].id));
        exchange(&mut lasting, &packets::ack(kind::PUBREC, first[1].id), kind::PUBREL, first[1].id);
        lasting.wire.send(&packets::ack(kind::PUBCOMP, first[1].id));
        device(&proxy, version).say("t", "end", 1);
        assert_eq!(lasting.receive().text(), "end", "nothing of it comes again");
    }

    fn a_qos_2_message_of_a_device_that_is_sent_again_is_not_routed_twice(version: Version) {
        let keeper = Keeper::away();
        let mut proxy = Proxy::start();
        add_keeper(&proxy, "keeper", &keeper, version, &json!({}));
        let mut sender = connect(&proxy, version, false);
        let message = Publish { id: 7, ..Publish::new("t", "once").qos(2) };
        exchange(&mut sender, &message.encode(version), kind::PUBREC, 7);
        for _ in 0..2 {
            proxy.kill_and_restart();
            let mut sender = connect(&proxy, version, true);
            let again = Publish { dup: true, ..message.clone() };
            exchange(&mut sender, &again.encode(version), kind::PUBREC, 7);
        }
        proxy.kill_and_restart();
        let mut sender = connect(&proxy, version, true);
        exchange(&mut sender, &packets::ack(kind::PUBREL, 7), kind::PUBCOMP, 7);
        sender.cut();
        proxy.kill_and_restart();

        // Released before the last death: now the identifier stands for another message.
        let mut sender = connect(&proxy, version, true);
        let other = Publish { id: 7, ..Publish::new("t", "another").qos(2) };
        exchange(&mut sender, &other.encode(version), kind::PUBREC, 7);
        exchange(&mut sender, &packets::ack(kind::PUBREL, 7), kind::PUBCOMP, 7);
        keeper.set_mood(Mood::Prompt);
        device(&proxy, version).say("t", "end", 2);
        keeper.wait_text("end");
        assert_eq!(keeper.texts_on("t"), ["once", "another", "end"]);
    }

    fn a_pubcomp_that_was_lost_with_the_proxy_is_sent_for_the_pubrel_that_comes_again(version: Version) {
        let keeper = Keeper::start();
        let mut proxy = Proxy::start();
        let id = connect_keeper(&proxy, "keeper", &keeper, version);
        let mut sender = connect(&proxy, version, false);
        let message = Publish { id: 9, ..Publish::new("t", "once").qos(2) };
        exchange(&mut sender, &message.encode(version), kind::PUBREC, 9);
        exchange(&mut sender, &packets::ack(kind::PUBREL, 9), kind::PUBCOMP, 9);
        keeper.wait_text("once");
        proxy.rest().wait_caught_up(&id);
        proxy.kill_and_restart();
        // The device did not see the PUBCOMP.
        let mut sender = connect(&proxy, version, true);
        exchange(&mut sender, &packets::ack(kind::PUBREL, 9), kind::PUBCOMP, 9);
        sender.say("t", "end", 2);
        keeper.wait_text("end");
        assert_eq!(keeper.texts_on("t"), ["once", "end"]);
    }

    fn flows_towards_an_upstream_broker_go_on_under_their_identifiers(version: Version) {
        let upstream = Scripted::listen();
        let mut proxy = Proxy::start();
        let id = proxy.rest().add_local("scripted", upstream.port(), version);
        let mut link = upstream.welcome(false);
        let mut publisher = device(&proxy, version);
        for (text, qos) in [("one", 1), ("sent", 2), ("received", 2), ("done", 2)] {
            publisher.say("t", text, qos);
        }
        let first = link.publishes(4);
        for message in &first[2..] {
            link.ack(kind::PUBREC, message.id);
            assert_eq!(link.expect(kind::PUBREL), message.id);
        }
        link.ack(kind::PUBCOMP, first[3].id);
        wait_until("the last one is over", || proxy.rest().broker(&id)["in_flight"] == 3);
        proxy.rest().wait_stored();
        proxy.kill_and_restart();

        let mut link = upstream.accept();
        assert!(!link.connect.clean, "it asks for its session");
        link.answer_connect(true, 0, &Vec::new());
        let (again, released) = link.gather(2, 1);
        // QoS 1 is at least once, under whatever identifier; for exactly once, QoS 2 has to keep its own.
        assert_eq!((again[0].text().as_str(), again[0].qos), ("one", 1));
        assert_eq!(again[1], Publish { dup: true, ..first[1].clone() }, "what was not received comes again");
        assert_eq!(released, [first[2].id], "what was received is released, and nothing of what is over");
        assert!(!first[1..3].iter().any(|message| message.id == again[0].id), "identifiers are used once");
        link.ack(kind::PUBACK, again[0].id);
        link.ack(kind::PUBREC, first[1].id);
        assert_eq!(link.expect(kind::PUBREL), first[1].id);
        link.ack(kind::PUBCOMP, first[1].id);
        link.ack(kind::PUBCOMP, first[2].id);
        proxy.rest().wait_caught_up(&id);
        device(&proxy, version).say("t", "new", 1);
        let new = link.publish();
        assert_eq!((new.text().as_str(), new.dup), ("new", false));
    }
}
