//! Chapter 3.14: DISCONNECT from either side.

use super::named;
use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{self, Connect, Publish, frame, kind, property};
use crate::support::refusals::{expect_end, expect_end_of, reason};
use crate::support::shared;

/// The Reason Codes that a server's DISCONNECT may have.
const OF_A_SERVER: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97,
    0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];

in_both_versions! {
    fn reserved_bits_end_the_connection_and_delete_no_will(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "reserved-bits");
        let mut witness = Device::connect(proxy.mqtt(), version, &format!("{topic} witness"));
        witness.subscribe(&topic, 1);
        for flags in 1..16 {
            let text = format!("flags {flags}");
            let mut device = Device::connect_with(proxy.mqtt(), &Connect::new(version, &topic).will(&topic, &text));
            expect_end(&mut device, version, &text, &[0xE0 | flags, 0], &[reason::MALFORMED]);
            assert_eq!(witness.receive().text(), text);
        }
    }

    fn it_is_answered_by_the_end_of_the_connection_alone(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "goodbye");
        let mut device = Device::connect(proxy.mqtt(), version, &topic);
        device.wire.send(&packets::DISCONNECT);
        device.wire.expect_close();
        // What was said before is heard, what is said after is not.
        let mut witness = Device::connect(proxy.mqtt(), version, &format!("{topic} witness"));
        witness.subscribe(&topic, 1);
        let mut device = Device::connect(proxy.mqtt(), version, &topic);
        let (before, after) = (Publish::new(&topic, "before").encode(version), Publish::new(&topic, "after").encode(version));
        device.wire.send(&[before, packets::DISCONNECT.to_vec(), after].concat());
        device.wire.expect_close();
        Device::connect(proxy.mqtt(), version, &topic).say(&topic, "end", 1);
        assert_eq!(witness.texts_before("end"), ["before"]);
    }
}

#[test]
fn every_reason_that_a_client_may_have_is_taken() {
    let proxy = shared::proxy();
    for code in [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99] {
        let mut device = Device::connect(proxy.mqtt(), Version::V5, "client-reasons");
        device.wire.send(&frame(0xE0, &[code, 0]));
        assert_eq!(device.wire.until_close(), [], "reason {code:#x}");
    }
}

#[test]
fn a_reason_that_is_in_no_table_ends_the_connection() {
    let proxy = shared::proxy();
    for code in [0x01, 0x02, 0x03, 0x05, 0x10, 0x18, 0x7F, 0x84, 0x91, 0xA3, 0xFF] {
        let what = format!("reason {code:#x}");
        expect_end_of(proxy.mqtt(), Version::V5, "no-reason", &what, &[0xE0, 1, code], reason::BROKEN);
    }
}

#[test]
fn the_proxys_own_disconnect_is_as_the_standard_says_and_the_last_packet() {
    let proxy = shared::proxy();
    let lasting = Connect::new(Version::V5, "own-goodbye").persistent();
    let causes: &[(&str, Vec<u8>)] = &[
        ("a broken packet", vec![0x36, 3, 0, 1, b't']),
        ("a Protocol Error", lasting.encode()),
        (
            "a Topic Alias of 0",
            Publish::new("t", "m")
                .property(property::TOPIC_ALIAS, packets::Value::Two(0))
                .encode(Version::V5),
        ),
        ("a wildcard in a Topic Name", Publish::new("t/#", "m").encode(Version::V5)),
        ("a length of five bytes", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
    ];
    for (what, bytes) in causes {
        let mut device = Device::connect_with(proxy.mqtt(), &lasting);
        // Whatever follows is not answered any more.
        device.wire.send(&[&bytes[..], &packets::PINGREQ].concat());
        let packets = device.wire.until_close();
        assert_eq!(packets.len(), 1, "{what}: {packets:?}");
        let goodbye = &packets[0];
        assert_eq!(goodbye.first, 0xE0, "{what}: {packets:?}");
        assert!(OF_A_SERVER[1..].contains(&goodbye.disconnect_reason()), "{what}: {packets:?}");
        let properties = goodbye.properties();
        let allowed = [property::REASON_STRING, property::USER, property::SERVER_REFERENCE];
        assert!(properties.iter().all(|(id, _)| allowed.contains(id)), "{what}: {properties:?}");
    }
    // One that another connection of the same Client causes, and one that SIGTERM causes, are no different.
    let mut first = Device::connect_with(proxy.mqtt(), &lasting);
    let _second = Device::connect_with(proxy.mqtt(), &lasting);
    let goodbye = first.wire.until_close();
    assert_eq!((goodbye.len(), goodbye[0].kind()), (1, kind::DISCONNECT));
    assert!(goodbye[0].properties().iter().all(|(id, _)| *id != property::SESSION_EXPIRY));
}
