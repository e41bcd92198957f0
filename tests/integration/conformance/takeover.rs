//! A second connection of a client that is connected (chapter 3.1.4): the first one ends, the Session goes on.

use super::named;
use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{self, Connect, Publish, kind};
use crate::support::refusals::reason;
use crate::support::shared;

/// Waits for the end of a connection that another one has replaced.
fn expect_taken_over(device: &mut Device, version: Version) {
    if version.is_v5() {
        assert_eq!(device.disconnect_reason(), reason::SESSION_TAKEN_OVER);
    } else {
        device.wire.expect_close();
    }
}

in_both_versions! {
    fn the_first_connection_is_ended(version: Version) {
        let proxy = shared::proxy();
        for clean in [true, false] {
            let name = named(version, &format!("ended-{clean}"));
            let connect = Connect { clean, ..Connect::new(version, &name) };
            let mut devices = vec![Device::connect_with(proxy.mqtt(), &connect)];
            for _ in 0..3 {
                let next = Device::connect_with(proxy.mqtt(), &connect);
                let mut last = devices.pop().expect("one is connected");
                expect_taken_over(&mut last, version);
                devices.push(next);
            }
            devices[0].ping();
        }
    }

    fn the_session_goes_on_with_all_that_is_open(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "goes-on");
        let connect = Connect::new(version, &topic).persistent();
        let mut first = Device::connect_with(proxy.mqtt(), &connect);
        first.subscribe(&topic, 2);
        let mut speaker = Device::connect(proxy.mqtt(), version, &named(version, "goes-on-speaker"));
        for (text, qos) in [("one", 1), ("two", 2), ("three", 1)] {
            speaker.say(&topic, text, qos);
        }
        let sent: Vec<Publish> = (0..3).map(|_| Publish::decode(&first.wire.packet(), version)).collect();
        // The first connection acknowledges one and has a message of its own half done.
        first.wire.send(&packets::ack(kind::PUBACK, sent[0].id));
        let own = Publish { id: 77, ..Publish::new(&topic, "own").qos(2) };
        first.wire.send(&own.encode(version));
        first.wire.expect_among(&packets::ack(kind::PUBREC, own.id));
        let mut second = Device::connect_with(proxy.mqtt(), &connect);
        assert!(second.connack.session_present);
        first.wait_closed();
        let again: Vec<Publish> = (0..3).map(|_| Publish::decode(&second.wire.packet(), version)).collect();
        assert_eq!(again.iter().map(Publish::text).collect::<Vec<_>>(), ["two", "three", "own"]);
        assert_eq!(again[..2], [&sent[1], &sent[2]].map(|message| Publish { dup: true, ..message.clone() }));
        // The half done one is finished on this connection and comes to nobody twice.
        second.wire.send(&Publish { dup: true, ..own.clone() }.encode(version));
        second.wire.expect_ack(kind::PUBREC, own.id);
        second.wire.send(&packets::ack(kind::PUBREL, own.id));
        second.wire.expect_ack(kind::PUBCOMP, own.id);
        second.wire.send(&packets::PINGREQ);
        second.wire.expect(&packets::PINGRESP);
    }

    fn a_clean_second_connection_inherits_nothing(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "inherits");
        let lasting = Connect::new(version, &topic).persistent();
        let mut first = Device::connect_with(proxy.mqtt(), &lasting);
        first.subscribe(&topic, 1);
        let mut speaker = Device::connect(proxy.mqtt(), version, &named(version, "inherits-speaker"));
        speaker.say(&topic, "for the first", 1);
        assert_eq!(Publish::decode(&first.wire.packet(), version).text(), "for the first");
        let mut second = Device::connect_with(proxy.mqtt(), &Connect { clean: true, ..lasting });
        assert!(!second.connack.session_present);
        expect_taken_over(&mut first, version);
        speaker.say(&topic, "for nobody", 1);
        assert_eq!(second.inbox_after_ping(), Vec::<String>::new());
    }

    fn a_first_connection_that_does_not_read_is_no_obstacle(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "deaf");
        let mut deaf = Device::connect(proxy.mqtt(), version, &topic);
        deaf.subscribe(&topic, 0);
        let mut speaker = Device::connect(proxy.mqtt(), version, &format!("{topic} speaker"));
        // More than the buffers of both sides hold.
        speaker.publish_all((0..200).map(|_| Publish::new(&topic, vec![b'x'; 100_000])));
        speaker.ping();
        let mut next = Device::connect(proxy.mqtt(), version, &topic);
        next.ping();
        deaf.wait_closed();
    }

    fn what_the_first_connection_still_says_is_not_heard(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "ghost");
        let mut witness = Device::connect(proxy.mqtt(), version, &named(version, "ghost-witness"));
        witness.subscribe(&topic, 1);
        let mut first = Device::connect(proxy.mqtt(), version, &topic);
        let mut second = Device::connect(proxy.mqtt(), version, &topic);
        first.wire.try_send(&Publish { id: 1, ..Publish::new(&topic, "a ghost").qos(1) }.encode(version));
        let answers = first.wire.until_close();
        assert!(answers.iter().all(|packet| packet.kind() == kind::DISCONNECT), "{answers:?}");
        second.say(&topic, "end", 1);
        assert_eq!(witness.texts_before("end"), Vec::<String>::new());
    }
}

#[test]
fn a_client_may_come_back_in_the_other_version() {
    let proxy = shared::proxy();
    for (before, after) in [(Version::V4, Version::V5), (Version::V5, Version::V4)] {
        let topic = named(before, "other-version");
        let mut device = Device::connect_with(proxy.mqtt(), &Connect::new(before, &topic).persistent());
        device.subscribe(&topic, 2);
        let mut next = Device::connect_with(proxy.mqtt(), &Connect::new(after, &topic).persistent());
        assert!(next.connack.session_present, "{before:?} to {after:?}");
        expect_taken_over(&mut device, before);
        next.say(&topic, "still subscribed", 2);
        assert_eq!(next.receive().text(), "still subscribed");
        next.cut();
        Device::connect(proxy.mqtt(), before, &format!("{topic} speaker")).say(&topic, "queued", 1);
        let mut back = Device::connect_with(proxy.mqtt(), &Connect::new(before, &topic).persistent());
        assert!(back.connack.session_present, "{after:?} to {before:?}");
        assert_eq!(back.receive().text(), "queued");
    }
}
