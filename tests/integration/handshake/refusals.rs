//! Who is not let in, and what it is told: a bad CONNECT, a Will that nobody may publish, and no room.

use super::{connack, reason_string, refusal, text};
use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{Connack, Connect, Value, find, frame, kind, property, put_text};
use crate::support::proxy::{Proxy, Setup};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const NOT_AUTHORIZED: u8 = 0x87;
const SERVER_BUSY: u8 = 0x89;
const SERVER_SHUTTING_DOWN: u8 = 0x8B;
const TOPIC_NAME_INVALID: u8 = 0x90;
const PACKET_TOO_LARGE: u8 = 0x95;
const USE_ANOTHER_SERVER: u8 = 0x9C;

/// A CONNECT with these flags, and these properties and fields behind the Keep Alive. A `{}` in the fields is where Will
/// Properties stand in 5.0.
fn raw_connect(version: Version, flags: u8, properties: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, "MQTT");
    body.extend_from_slice(&[if version.is_v5() { 5 } else { 4 }, flags, 0, 60]);
    if version.is_v5() {
        body.push(u8::try_from(properties.len()).expect("short"));
        body.extend_from_slice(properties);
    }
    for field in fields {
        match *field {
            WILL_PROPERTIES if version.is_v5() => body.push(0),
            WILL_PROPERTIES => {}
            field => body.extend_from_slice(field),
        }
    }
    frame(0x10, &body)
}

const WILL_PROPERTIES: &[u8] = b"{}";
const ID: &[u8] = &[0, 1, b'd'];
const EMPTY: &[u8] = &[0, 0];

in_both_versions! {
    fn a_bad_connect_is_told_what_is_wrong_where_the_version_can(version: Version) {
        let proxy = Proxy::start();
        let (w, wild, p): (&[u8], &[u8], &[u8]) = (&[0, 1, b'w'], &[0, 3, b'w', b'/', b'#'], WILL_PROPERTIES);
        let table: &[(&str, u8, &[&[u8]], u8)] = &[
            ("reserved flag", 0x03, &[ID], MALFORMED),
            ("Will QoS 3", 0x1E, &[ID, p, w, EMPTY], MALFORMED),
            ("Will QoS without Will", 0x0A, &[ID], MALFORMED),
            ("Will Retain without Will", 0x22, &[ID], MALFORMED),
            ("a wildcard in the Will Topic", 0x06, &[ID, p, wild, EMPTY], TOPIC_NAME_INVALID),
            ("an empty Will Topic", 0x06, &[ID, p, EMPTY, EMPTY], TOPIC_NAME_INVALID),
            ("no Client Identifier", 0x02, &[], MALFORMED),
            ("no Will Topic", 0x06, &[ID, p], MALFORMED),
            ("no User Name", 0x82, &[ID], MALFORMED),
            ("no Password", 0xC2, &[ID, w], MALFORMED),
            ("U+0000 in the Client Identifier", 0x02, &[&[0, 2, b'a', 0]], MALFORMED),
            ("a User Name that is no UTF-8", 0x82, &[ID, &[0, 1, 0xFF]], MALFORMED),
            ("bytes behind the last field", 0x02, &[ID, &[0]], MALFORMED),
        ];
        for (name, flags, fields, reason) in table {
            let packets = refusal(proxy.mqtt(), &raw_connect(version, *flags, &[], fields));
            if version.is_v5() {
                let connack = Connack::decode(&packets[0], version);
                assert_eq!((packets.len(), connack.code), (1, *reason), "{name}");
                assert!(reason_string(&connack.properties).is_some(), "{name}");
            } else {
                assert_eq!(packets, [], "{name}: 3.1.1 has no code for it");
            }
        }
        // Allowed in 5.0 only.
        let packets = refusal(proxy.mqtt(), &[raw_connect(version, 0x42, &[], &[ID, EMPTY]), vec![0xE0, 0]].concat());
        assert_eq!(packets.len(), if version.is_v5() { 1 } else { 0 }, "a password without a user name");
        assert!(packets.iter().all(|packet| packet.body[1] == 0));
    }

    fn nobody_may_have_a_will_below_sys(version: Version) {
        let proxy = Proxy::start();
        let (mut wire, told) = connack(proxy.mqtt(), &Connect::new(version, "d").will("$SYS/broker/uptime", "0"));
        assert_eq!(told.code, if version.is_v5() { NOT_AUTHORIZED } else { 5 });
        wire.expect_close();
        Device::connect_with(proxy.mqtt(), &Connect::new(version, "d").will("$SYSTEM", "x")).ping();
    }

    fn a_connect_that_is_too_long_is_refused_from_its_header(version: Version) {
        let proxy = Setup::new().settings("[limits]\npacket_bytes_max = 1000").start();
        let long = Connect::new(version, "d").credentials("u", &"x".repeat(1_000)).encode();
        let packets = refusal(proxy.mqtt(), &long[..20]);
        if version.is_v5() {
            assert_eq!(Connack::decode(&packets[0], version).code, PACKET_TOO_LARGE);
        } else {
            assert_eq!(packets, []);
        }
    }

    fn a_device_that_finds_no_room_is_told_where_there_is_some(version: Version) {
        for (settings, reason) in [("", SERVER_BUSY), ("[server]\nserver_reference = \"b:1883\"\n", USE_ANOTHER_SERVER)] {
            let proxy = Setup::new().settings(&format!("{settings}[limits]\nconnections_max = 1")).start();
            let first = Device::connect(proxy.mqtt(), version, "first");
            let (mut wire, told) = connack(proxy.mqtt(), &Connect::new(version, "second"));
            assert_eq!(told.code, if version.is_v5() { reason } else { 3 });
            let reference = (version.is_v5() && reason == USE_ANOTHER_SERVER).then_some("b:1883");
            assert_eq!(text(&told.properties, property::SERVER_REFERENCE), reference);
            wire.expect_close();
            first.disconnect();
            Device::connect(proxy.mqtt(), version, "second").ping();
        }
    }

    fn a_device_whose_old_connection_is_still_there_finds_room(version: Version) {
        let proxy = Setup::new().settings("[limits]\nconnections_max = 1").start();
        for connect in [Connect::new(version, "d"), Connect::new(version, "d").persistent()] {
            let mut first = Device::connect_with(proxy.mqtt(), &connect);
            for _ in 0..3 {
                let mut second = Device::connect_with(proxy.mqtt(), &connect);
                first.wait_closed();
                second.ping();
                first = second;
            }
            let (mut wire, told) = connack(proxy.mqtt(), &Connect::new(version, "other"));
            assert_eq!(told.code, if version.is_v5() { SERVER_BUSY } else { 3 });
            wire.expect_close();
            assert_eq!(proxy.rest().status()["connected_clients"], 1);
            first.disconnect();
        }
    }

    fn a_stopping_proxy_says_where_to_go(version: Version) {
        for (settings, reason, reference) in [
            ("", SERVER_SHUTTING_DOWN, None),
            ("[server]\nserver_reference = \"b.example.org 192.0.2.7:1883\"", USE_ANOTHER_SERVER, Some("b.example.org 192.0.2.7:1883")),
        ] {
            let mut proxy = Setup::new().settings(settings).start();
            let mut device = Device::connect(proxy.mqtt(), version, "device");
            proxy.stop();
            let packets = device.wire.until_close();
            if !version.is_v5() {
                assert_eq!(packets, [], "servers have no DISCONNECT in 3.1.1");
                continue;
            }
            assert_eq!((packets.len(), packets[0].kind()), (1, kind::DISCONNECT));
            let (told, properties) = packets[0].reason_and_properties();
            assert_eq!((told, text(&properties, property::SERVER_REFERENCE)), (reason, reference));
        }
    }
}

#[test]
fn bad_properties_of_connect_are_told_by_their_reason_code() {
    let proxy = Proxy::start();
    let table: &[(&str, &[u8], u8)] = &[
        ("Receive Maximum 0", &[0x21, 0, 0], PROTOCOL_ERROR),
        ("Maximum Packet Size 0", &[0x27, 0, 0, 0, 0], PROTOCOL_ERROR),
        ("Request Problem Information 2", &[0x17, 2], PROTOCOL_ERROR),
        ("Request Response Information 2", &[0x19, 2], PROTOCOL_ERROR),
        ("Session Expiry twice", &[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1], PROTOCOL_ERROR),
        ("Authentication Data without Method", &[0x16, 0, 1, 0], PROTOCOL_ERROR),
        ("a property of PUBLISH", &[0x23, 0, 1], MALFORMED),
        ("Will Delay outside of the Will", &[0x18, 0, 0, 0, 1], MALFORMED),
        ("an unknown property", &[0x7E], MALFORMED),
        ("a property that is cut off", &[0x21, 0], MALFORMED),
    ];
    for (name, properties, reason) in table {
        let packets = refusal(proxy.mqtt(), &raw_connect(Version::V5, 2, properties, &[ID]));
        assert_eq!(packets.len(), 1, "{name}");
        assert_eq!(Connack::decode(&packets[0], Version::V5).code, *reason, "{name}");
    }
    let mut wrong_flags = raw_connect(Version::V5, 2, &[], &[ID]);
    wrong_flags[0] = 0x12;
    let packets = refusal(proxy.mqtt(), &wrong_flags);
    assert_eq!(Connack::decode(&packets[0], Version::V5).code, MALFORMED, "flags of the fixed header");
    let refused = proxy.rest().metric("mqtt_connections_refused_total", &["reason=\"bad_connect\""]);
    assert_eq!(refused, 11.0);
}

#[test]
fn reasons_in_words_are_for_who_wants_them() {
    let proxy = Proxy::start();
    let connect = |wants| {
        Connect::new(Version::V5, "d")
            .will("$SYS/x", "")
            .property(property::REQUEST_PROBLEM_INFORMATION, Value::Byte(wants))
    };
    let (_wire, told) = connack(proxy.mqtt(), &connect(1));
    assert_eq!(reason_string(&told.properties), Some("the will topic is below $SYS"));
    let (_wire, told) = connack(proxy.mqtt(), &connect(0));
    assert_eq!(find(&told.properties, property::REASON_STRING), None);
}
