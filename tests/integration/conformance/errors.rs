//! Errors (chapter 4.13 of MQTT 5.0, 4.8 of 3.1.1) and the connection that they end (4.2): one client's errors are
//! nobody else's business.

use super::named;
use crate::support::device::Device;
use crate::support::packets::{self, Connect, Publish, frame, kind};
use crate::support::refusals::{expect_end, field, property_block, reason};
use crate::support::shared;
use crate::support::wire::Wire;
use crate::support::{Version, numbered};

/// Packets of a connected client that break the standard, each in a way of its own.
fn broken(version: Version) -> Vec<(&'static str, Vec<u8>)> {
    let none = property_block(version, &[]);
    let topic = field(b"broken");
    vec![
        ("PUBLISH at QoS 3", frame(0x36, &[&topic[..], &[0, 1], &none].concat())),
        ("PUBLISH without its topic", frame(0x30, &[0])),
        ("a topic that is longer than the packet", frame(0x30, &[0, 9, b't'])),
        ("PUBLISH at QoS 1 without identifier", frame(0x32, &topic)),
        ("SUBSCRIBE without filters", frame(0x82, &[&[0, 1], &none[..]].concat())),
        ("SUBSCRIBE without options", frame(0x82, &[&[0, 1], &none[..], &topic].concat())),
        ("UNSUBSCRIBE without filters", frame(0xA2, &[&[0, 1], &none[..]].concat())),
        ("a PUBACK of one byte", frame(0x40, &[0])),
        ("a PUBREL of nothing", frame(0x62, &[])),
        ("PINGREQ with something in it", frame(0xC0, &[0])),
        ("a second CONNECT", Connect::new(version, "broken").encode()),
        ("CONNACK from a client", frame(0x20, &[&[0, 0], &none[..]].concat())),
    ]
}

in_both_versions! {
    fn whoever_breaks_the_standard_is_disconnected_and_nobody_else(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "bystander");
        let mut bystander = Device::connect(proxy.mqtt(), version, &topic);
        bystander.subscribe(&topic, 2);
        let lasting = Connect::new(version, &named(version, "offender")).persistent();
        let mut before = Device::connect_with(proxy.mqtt(), &lasting);
        before.subscribe(&named(version, "offender"), 1);
        before.cut();
        for (what, bytes) in broken(version) {
            let mut device = Device::connect_with(proxy.mqtt(), &lasting);
            // Not even its own Session suffers.
            assert!(device.connack.session_present, "{what}");
            expect_end(&mut device, version, what, &bytes, reason::BROKEN);
            bystander.say(&topic, what, 2);
            assert_eq!(bystander.receive().text(), what);
        }
        let mut after = Device::connect_with(proxy.mqtt(), &lasting);
        bystander.say(&named(version, "offender"), "still subscribed", 1);
        assert_eq!(after.receive().text(), "still subscribed");
    }

    fn packets_before_the_broken_one_count(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "before-broken");
        let mut witness = Device::connect(proxy.mqtt(), version, &format!("{topic} witness"));
        witness.subscribe(&topic, 1);
        let mut device = Device::connect(proxy.mqtt(), version, &topic);
        let good = Publish { id: 5, ..Publish::new(&topic, "good").qos(1) }.encode(version);
        let late = Publish::new(&topic, "too late").encode(version);
        device.wire.send(&[good, vec![0x00, 0x00], late].concat());
        device.wait_closed();
        Device::connect(proxy.mqtt(), version, &topic).say(&topic, "end", 1);
        assert_eq!(witness.texts_before("end"), ["good"]);
    }

    fn what_was_sent_before_the_end_of_the_stream_counts(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "half-closed");
        let mut witness = Device::connect(proxy.mqtt(), version, &format!("{topic} witness"));
        witness.subscribe(&topic, 1);
        let mut wire = Wire::open(proxy.mqtt());
        let mut bytes = Connect::new(version, &topic).will(&topic, "the Will").encode();
        for text in numbered("m", 50) {
            bytes.extend(Publish::new(&topic, &text).encode(version));
        }
        wire.send(&bytes);
        wire.finish();
        wire.until_close();
        assert_eq!(witness.texts_before("the Will"), numbered("m", 50));
    }

    fn the_stream_of_bytes_may_be_cut_anywhere(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "any-cut");
        let mut bytes = Connect::new(version, &topic).encode();
        bytes.extend(packets::subscribe(version, 1, &Vec::new(), &[(&topic, 1)]));
        bytes.extend(Publish { id: 2, ..Publish::new(&topic, vec![b'x'; 300]).qos(2) }.encode(version));
        bytes.extend(packets::ack(kind::PUBREL, 2));
        bytes.extend(packets::PINGREQ);
        for size in [1, 2, 3, 7, bytes.len()] {
            let mut wire = Wire::open(proxy.mqtt());
            for part in bytes.chunks(size) {
                wire.send(part);
            }
            let mut kinds: Vec<u8> = (0..6).map(|_| wire.packet().kind()).collect();
            assert_eq!(kinds[0], kind::CONNACK);
            kinds.sort_unstable();
            let wanted =
                [kind::CONNACK, kind::PUBLISH, kind::PUBREC, kind::PUBCOMP, kind::SUBACK, kind::PINGRESP];
            assert_eq!(kinds, wanted, "pieces of {size}");
            wire.send(&packets::DISCONNECT);
            wire.until_close();
        }
    }

    fn nothing_is_lost_or_turned_round_on_the_way(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "stream");
        let mut listener = Device::connect(proxy.mqtt(), version, &topic);
        listener.subscribe(&topic, 2);
        let mut speaker = Device::connect(proxy.mqtt(), version, &format!("{topic} speaker"));
        let wanted = numbered("m", 500);
        speaker.publish_all(wanted.iter().map(|text| Publish::new(&topic, text).qos(1)));
        speaker.say(&topic, "end", 1);
        assert_eq!(listener.texts_before("end"), wanted);
    }
}
