//! Packets that break the standard: the connection ends, MQTT 5.0 devices are told why, and nobody else
//! notices.

use crate::support::device::Device;
use crate::support::packets::{Connect, Packet, Publish, frame, kind, put_text};
use crate::support::peers::Peer;
use crate::support::proxy::{Proxy, Setup};
use crate::support::wire::Wire;
use crate::support::{Version, wait_until};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const TOPIC_NAME_INVALID: u8 = 0x90;
const TOPIC_FILTER_INVALID: u8 = 0x8F;
const PACKET_TOO_LARGE: u8 = 0x95;

/// A packet that no server may take, and the Reason Codes that MQTT 5.0 has for it; none where the packet is
/// allowed in MQTT 5.0.
struct Bad {
    name: &'static str,
    v4: Vec<u8>,
    v5: Vec<u8>,
    reasons: &'static [u8],
}

/// A packet whose two versions differ by empty properties at this place in the body.
fn bad(
    name: &'static str,
    first: u8,
    body: &[u8],
    properties_at: Option<usize>,
    reasons: &'static [u8],
) -> Bad {
    let mut v5 = body.to_vec();
    if let Some(place) = properties_at {
        v5.insert(place, 0);
    }
    Bad { name, v4: frame(first, body), v5: frame(first, &v5), reasons }
}

/// The same bytes in both versions, whatever they are.
fn raw(name: &'static str, bytes: &[u8], reasons: &'static [u8]) -> Bad {
    Bad { name, v4: bytes.to_vec(), v5: bytes.to_vec(), reasons }
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_text(&mut bytes, text);
    bytes
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

const EITHER: &[u8] = &[MALFORMED, PROTOCOL_ERROR];

fn publishes() -> Vec<Bad> {
    let topic = text("t");
    let id = [0, 1];
    let in_topic = |name, topic: &[u8]| {
        bad(name, 0x30, topic, Some(topic.len()), &[MALFORMED, PROTOCOL_ERROR, TOPIC_NAME_INVALID])
    };
    vec![
        bad("QoS 3", 0x36, &joined(&[&topic, &id]), Some(5), EITHER),
        bad("DUP at QoS 0", 0x38, &topic, Some(3), EITHER),
        bad("Packet Identifier 0", 0x32, &joined(&[&topic, &[0, 0]]), Some(5), EITHER),
        in_topic("a wildcard + in a Topic Name", &text("a/+")),
        in_topic("a wildcard # in a Topic Name", &text("a/#")),
        in_topic("U+0000 in a Topic Name", &text("a\0b")),
        in_topic("a Topic Name that is no UTF-8", &[0, 2, 0xC3, 0x28]),
        in_topic("a surrogate in a Topic Name", &[0, 3, 0xED, 0xA0, 0x80]),
        in_topic("an empty Topic Name", &[0, 0]),
        raw("a Topic Name longer than the packet", &[0x30, 4, 0, 9, b't', b't'], EITHER),
        raw("a PUBLISH that ends within its Topic Name's length", &[0x30, 1, 0], EITHER),
        raw("a QoS 1 PUBLISH without Packet Identifier", &[0x32, 3, 0, 1, b't'], EITHER),
    ]
}

fn subscribes() -> Vec<Bad> {
    let filter = |filter: &str, options: u8| joined(&[&[0, 1], &text(filter), &[options]]);
    let in_filter = |name, bytes: &[u8]| {
        bad(name, 0x82, bytes, Some(2), &[MALFORMED, PROTOCOL_ERROR, TOPIC_FILTER_INVALID])
    };
    vec![
        bad("SUBSCRIBE with wrong flags", 0x80, &filter("t", 0), Some(2), EITHER),
        bad(
            "SUBSCRIBE with Packet Identifier 0",
            0x82,
            &joined(&[&[0, 0], &text("t"), &[0]]),
            Some(2),
            EITHER,
        ),
        bad("SUBSCRIBE without filters", 0x82, &[0, 1], Some(2), EITHER),
        bad("SUBSCRIBE at QoS 3", 0x82, &filter("t", 3), Some(2), EITHER),
        bad("SUBSCRIBE with reserved option bits", 0x82, &filter("t", 0xC0), Some(2), EITHER),
        bad("SUBSCRIBE without options", 0x82, &joined(&[&[0, 1], &text("t")]), Some(2), EITHER),
        in_filter("U+0000 in a Topic Filter", &filter("a\0", 0)),
        bad("UNSUBSCRIBE with wrong flags", 0xA0, &joined(&[&[0, 1], &text("t")]), Some(2), EITHER),
        bad("UNSUBSCRIBE without filters", 0xA2, &[0, 1], Some(2), EITHER),
        bad("UNSUBSCRIBE with Packet Identifier 0", 0xA2, &joined(&[&[0, 0], &text("t")]), Some(2), EITHER),
    ]
}

fn others() -> Vec<Bad> {
    vec![
        raw("packet type 0", &[0x00, 0x00], EITHER),
        raw("a CONNACK from a device", &[0x20, 2, 0, 0], EITHER),
        raw("a SUBACK from a device", &[0x90, 3, 0, 1, 0], EITHER),
        raw("an UNSUBACK from a device", &[0xB0, 2, 0, 1], EITHER),
        raw("a PINGRESP from a device", &[0xD0, 0], EITHER),
        raw("PINGREQ with wrong flags", &[0xC1, 0], EITHER),
        raw("PINGREQ with a body", &[0xC0, 1, 0], EITHER),
        raw("PUBACK with wrong flags", &[0x42, 2, 0, 1], EITHER),
        raw("PUBACK with Packet Identifier 0", &[0x40, 2, 0, 0], EITHER),
        raw("PUBREL with wrong flags", &[0x60, 2, 0, 1], EITHER),
        raw("a PUBREL of one byte", &[0x62, 1, 0], EITHER),
        raw("DISCONNECT with wrong flags", &[0xE2, 0], EITHER),
        raw("a Remaining Length of five bytes", &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], EITHER),
        raw("AUTH where none was agreed", &[0xF0, 0], EITHER),
    ]
}

/// Packets that only MQTT 5.0 can get wrong.
fn properties() -> Vec<Bad> {
    let publish = |name, properties: &[u8], reasons| {
        let length = u8::try_from(properties.len()).expect("short");
        let body = joined(&[&text("t"), &[length], properties]);
        Bad { name, v4: Vec::new(), v5: frame(0x30, &body), reasons }
    };
    let only = |name, bytes: &[u8], reasons| Bad { name, v4: Vec::new(), v5: bytes.to_vec(), reasons };
    vec![
        publish("an unknown property", &[0x7F, 0], EITHER),
        publish("a property of another packet", &[0x21, 0, 5], EITHER),
        publish("Payload Format Indicator 2", &[0x01, 2], EITHER),
        publish("a property twice", &[0x02, 0, 0, 0, 1, 0x02, 0, 0, 0, 1], EITHER),
        publish("a property that is cut off", &[0x02, 0, 0], EITHER),
        publish("a Subscription Identifier from a device", &[0x0B, 1], EITHER),
        publish(
            "a wildcard in the Response Topic",
            &[0x08, 0, 1, b'#'],
            &[MALFORMED, PROTOCOL_ERROR, TOPIC_NAME_INVALID],
        ),
        only("a property length beyond the packet", &[0x30, 4, 0, 1, b't', 9], EITHER),
        only("Subscription Identifier 0", &frame(0x82, &[0, 1, 2, 0x0B, 0, 0, 1, b't', 0]), EITHER),
        only("Retain Handling 3", &frame(0x82, &[0, 1, 0, 0, 1, b't', 0x30]), EITHER),
        only(
            "No Local on a shared subscription",
            &frame(0x82, &joined(&[&[0, 1, 0], &text("$share/g/t"), &[4]])),
            EITHER,
        ),
        only("DISCONNECT with an unknown Reason Code", &[0xE0, 1, 0x03], EITHER),
    ]
}

fn expect_disconnect(packets: &[Packet], bad: &Bad) {
    let Some(last) = packets.last() else {
        panic!("{}: MQTT 5.0 devices are to be told why", bad.name);
    };
    assert_eq!(last.kind(), kind::DISCONNECT, "{}: {packets:?}", bad.name);
    let reason = last.disconnect_reason();
    assert!(bad.reasons.contains(&reason), "{}: the reason was {reason:#x}", bad.name);
}

/// Sends each to a connection of its own, while a bystander's messages keep coming through.
fn refuse_all(version: Version, table: &[Bad]) {
    let mut proxy = Proxy::start();
    let mut bystander = Device::connect(proxy.mqtt(), version, "bystander");
    bystander.subscribe("alive", 1);
    for bad in table {
        let bytes = if version.is_v5() { &bad.v5 } else { &bad.v4 };
        if bytes.is_empty() {
            continue;
        }
        eprintln!("{version:?}: {}", bad.name);
        let mut device = Device::connect(proxy.mqtt(), version, "bad");
        device.wire.send(bytes);
        let packets = device.wire.until_close();
        if version.is_v5() {
            expect_disconnect(&packets, bad);
        } else {
            assert_eq!(packets, [], "{}: MQTT 3.1.1 knows no answer", bad.name);
        }
        bystander.say("alive", bad.name, 1);
        assert_eq!(bystander.receive().text(), bad.name);
    }
    assert!(proxy.is_running());
    assert!(!proxy.log().contains("panicked"), "something panicked");
}

in_both_versions! {
    fn a_bad_publish_ends_the_connection(version: Version) {
        refuse_all(version, &publishes());
    }

    fn a_bad_subscribe_or_unsubscribe_ends_the_connection(version: Version) {
        refuse_all(version, &subscribes());
    }

    fn any_other_bad_packet_ends_the_connection(version: Version) {
        refuse_all(version, &others());
    }

    fn a_second_connect_ends_the_connection(version: Version) {
        let bytes = Connect::new(version, "bad").encode();
        refuse_all(version, &[raw("a second CONNECT", &bytes, &[PROTOCOL_ERROR])]);
    }

    fn an_oversized_packet_is_refused_from_its_header(version: Version) {
        let proxy = Setup::new().settings("[limits]\npacket_bytes_max = 10000").start();
        let mut device = Device::connect(proxy.mqtt(), version, "bad");
        device.publish(Publish::new("t", vec![b'x'; 9_900]).qos(1));
        // Type, flags and a Remaining Length of 268,435,455: nothing of the body is sent.
        device.wire.send(&[0x32, 0xFF, 0xFF, 0xFF, 0x7F]);
        let packets = device.wire.until_close();
        let bad = raw("256 MB announced", &[], &[PACKET_TOO_LARGE]);
        if version.is_v5() {
            expect_disconnect(&packets, &bad);
        }
        let mut device = Device::connect(proxy.mqtt(), version, "bad");
        // The limit counts the whole packet: 10,001 bytes with the three of the fixed header.
        device.wire.try_send(&Publish::new("t", vec![b'x'; if version.is_v5() { 9_994 } else { 9_995 }]).encode(version));
        let packets = device.wire.until_close();
        if version.is_v5() {
            expect_disconnect(&packets, &bad);
        }
        Device::connect(proxy.mqtt(), version, "good").ping();
    }

    fn arbitrary_bytes_harm_nobody(version: Version) {
        let mut proxy = Proxy::start();
        let bystander = Peer::subscriber(proxy.mqtt(), version, "bystander", "alive", 1);
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()
        };
        for round in 0..100 {
            let mut wire = Wire::open(proxy.mqtt());
            if round % 2 == 0 {
                wire.send(&Connect::new(version, "noise").encode());
            }
            for _ in 0..8 {
                wire.try_send(&random());
            }
            wire.cut();
        }
        Device::connect(proxy.mqtt(), version, "good").say("alive", "yes", 1);
        wait_until("the bystander hears", || bystander.messages().iter().any(|message| message.text() == "yes"));
        assert!(proxy.is_running());
        assert!(!proxy.log().contains("panicked"), "something panicked");
    }
}

#[test]
fn bad_properties_end_the_connection() {
    refuse_all(Version::V5, &properties());
}

/// CONNECT as a 3.1.1 body, to be spoilt.
fn connect_body(flags: u8, rest: &[&[u8]]) -> Vec<u8> {
    frame(0x10, &joined(&[&text("MQTT"), &[4, flags, 0, 60], &rest.concat()]))
}

#[test]
fn a_bad_connect_is_not_taken() {
    let proxy = Proxy::start();
    let id = text("id");
    let mut another_name = Connect::new(Version::V4, "id").encode();
    another_name[4] = b'X';
    let will = joined(&[&text("a/#"), &text("payload")]);
    let table: &[(&str, Vec<u8>)] = &[
        ("something else than CONNECT first", vec![0xC0, 0]),
        ("a PUBLISH first", Publish::new("t", "m").encode(Version::V4)),
        ("another protocol's name", another_name),
        ("reserved CONNECT flag", connect_body(0x03, &[&id])),
        ("wrong fixed header flags", [&[0x11], &Connect::new(Version::V4, "id").encode()[1..]].concat()),
        ("Will QoS without Will", connect_body(0x0A, &[&id])),
        ("Will Retain without Will", connect_body(0x22, &[&id])),
        ("Will QoS 3", connect_body(0x1E, &[&id, &text("w"), &text("p")])),
        ("a wildcard in the Will Topic", connect_body(0x06, &[&id, &will])),
        ("a password without a user name", connect_body(0x42, &[&id, &text("p")])),
        ("a user name flag without one", connect_body(0x82, &[&id])),
        ("bytes after the last field", connect_body(0x02, &[&id, &[0]])),
        ("a Client Identifier that is no UTF-8", connect_body(0x02, &[&[0, 1, 0xFF]])),
        ("U+0000 in the Client Identifier", connect_body(0x02, &[&text("a\0")])),
        ("a CONNECT of nothing", vec![0x10, 0]),
        ("256 MB announced", vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("a Remaining Length of five bytes", vec![0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
    ];
    for (name, bytes) in table {
        eprintln!("{name}");
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(bytes);
        for packet in wire.until_close() {
            let refusal = packet.kind() == kind::CONNACK && packet.body[1] != 0;
            assert!(refusal || packet.kind() == kind::DISCONNECT, "{name}: {packet:?}");
        }
    }
    Device::connect(proxy.mqtt(), Version::V4, "good").ping();
    assert!(!proxy.log().contains("panicked"), "something panicked");
}

#[test]
fn bad_properties_of_a_5_0_connect_are_refused() {
    let proxy = Proxy::start();
    let table: &[(&str, &[u8])] = &[
        ("Receive Maximum 0", &[0x21, 0, 0]),
        ("Maximum Packet Size 0", &[0x27, 0, 0, 0, 0]),
        ("Request Problem Information 2", &[0x17, 2]),
        ("Authentication Data without a Method", &[0x16, 0, 1, 0]),
        ("Session Expiry twice", &[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1]),
        ("a property of PUBLISH", &[0x23, 0, 1]),
        ("an unknown property", &[0x7E]),
    ];
    for (name, properties) in table {
        eprintln!("{name}");
        let length = u8::try_from(properties.len()).expect("short");
        let head = [4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, length];
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(&frame(0x10, &joined(&[&[0], &head, properties, &text("id")])));
        for packet in wire.until_close() {
            assert!(packet.kind() == kind::CONNACK && packet.body[1] >= 0x80, "{name}: {packet:?}");
        }
    }
    // An authentication method that the proxy does not know: Bad authentication method.
    let mut wire = Wire::open(proxy.mqtt());
    let body = joined(&[&[0, 4], b"MQTT", &[5, 2, 0, 60, 7, 0x15, 0, 4], b"XTRA", &text("id")]);
    wire.send(&frame(0x10, &body));
    let packets = wire.until_close();
    assert_eq!(packets[0].body[1], 0x8C, "{packets:?}");
}
