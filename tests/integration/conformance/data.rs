//! Chapters 1.5, 2.1 and 2.2.1: text, numbers and binary data, the flags of the fixed header, Packet Identifiers.

use std::collections::HashSet;

use super::named;
use crate::support::device::Device;
use crate::support::packets::{self, Connect, Publish, Value, frame, kind, property};
use crate::support::proxy::Setup;
use crate::support::refusals::{
    connect_bytes, expect_end_of, field, property_block, reason, refused_connect,
};
use crate::support::shared;
use crate::support::{Version, numbered};

/// Bytes that no text may have.
const ILL_FORMED: &[(&str, &[u8])] = &[
    ("a lone continuation byte", &[0x80]),
    ("a sequence that is cut off", b"a\xE2\x82"),
    ("a sequence that is broken off", b"\xC3(a"),
    ("an overlong slash", &[0xC0, 0xAF]),
    ("an overlong U+0000", &[0xC0, 0x80]),
    ("an overlong euro sign", &[0xF0, 0x82, 0x82, 0xAC]),
    ("the surrogate U+D800", &[0xED, 0xA0, 0x80]),
    ("the surrogate U+DFFF", &[0xED, 0xBF, 0xBF]),
    ("a pair of surrogates", &[0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80]),
    ("a code point above U+10FFFF", &[0xF4, 0x90, 0x80, 0x80]),
    ("a sequence of five bytes", &[0xF8, 0x88, 0x80, 0x80, 0x80]),
    ("the byte FF", &[0xFF]),
];

/// U+0000 in all places that it may have in a text.
const WITH_NUL: &[(&str, &[u8])] =
    &[("U+0000 alone", b"\0"), ("U+0000 first", b"\0a"), ("U+0000 within", b"a\0b"), ("U+0000 last", b"a\0")];

/// Packets of a connected client that have this text, each in another place.
fn packets_with(version: Version, text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let text = field(text);
    let none = property_block(version, &[]);
    let id = [0, 7];
    let mut packets = vec![
        ("a Topic Name", frame(0x30, &[&text[..], &none].concat())),
        ("a Topic Filter to subscribe to", frame(0x82, &[&id, &none[..], &text, &[0]].concat())),
        ("a Topic Filter to unsubscribe from", frame(0xA2, &[&id, &none[..], &text].concat())),
    ];
    if version.is_v5() {
        let publish =
            |properties: &[u8]| frame(0x30, &[field(b"t"), property_block(version, properties)].concat());
        let ok = field(b"a");
        packets.extend([
            ("a Response Topic", publish(&[&[property::RESPONSE_TOPIC], &text[..]].concat())),
            ("a Content Type", publish(&[&[property::CONTENT_TYPE], &text[..]].concat())),
            ("a User Property's name", publish(&[&[property::USER], &text[..], &ok].concat())),
            ("a User Property's value", publish(&[&[property::USER], &ok[..], &text].concat())),
            ("a Reason String", {
                let properties = property_block(version, &[&[property::REASON_STRING], &text[..]].concat());
                frame(0xE0, &[&[0], &properties[..]].concat())
            }),
        ]);
    }
    packets
}

/// CONNECTs that have this text, each in another place.
fn connects_with(version: Version, text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let text = field(text);
    let none = property_block(version, &[]);
    let (id, topic, payload) = (field(b"never-taken"), field(b"will"), field(b"payload"));
    let mut connects = vec![
        ("a Client Identifier", connect_bytes(version, 0x02, &[], &[&text])),
        ("a Will Topic", connect_bytes(version, 0x06, &[], &[&id, &none, &text, &payload])),
        ("a User Name", connect_bytes(version, 0x82, &[], &[&id, &text])),
    ];
    if version.is_v5() {
        let with = |property: u8| [&[property], &text[..]].concat();
        let will = |property: u8| {
            let block = property_block(version, &with(property));
            connect_bytes(version, 0x06, &[], &[&id, &block, &topic, &payload])
        };
        connects.extend([
            ("a Will's Content Type", will(property::CONTENT_TYPE)),
            ("a Will's Response Topic", will(property::RESPONSE_TOPIC)),
            (
                "an Authentication Method",
                connect_bytes(version, 2, &with(property::AUTHENTICATION_METHOD), &[&id]),
            ),
        ]);
    }
    connects
}

fn refuse_everywhere(version: Version, client: &str, texts: &[(&str, &[u8])], reasons: &[u8]) {
    let proxy = shared::proxy();
    let client = named(version, client);
    for (what, text) in texts {
        for (place, bytes) in packets_with(version, text) {
            expect_end_of(proxy.mqtt(), version, &client, &format!("{what} in {place}"), &bytes, reasons);
        }
        for (place, bytes) in connects_with(version, text) {
            refused_connect(proxy.mqtt(), version, &format!("{what} in {place}"), &bytes);
        }
    }
}

/// The bytes after type and flags of the next packet up to the end of the Remaining Length.
fn remaining_length(device: &mut Device) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        bytes.extend(device.wire.bytes(1));
        if bytes[bytes.len() - 1] & 0x80 == 0 {
            return bytes;
        }
    }
}

in_both_versions! {
    fn ill_formed_text_ends_the_connection(version: Version) {
        refuse_everywhere(version, "ill-formed", ILL_FORMED, &[reason::MALFORMED]);
    }

    fn u_0000_ends_the_connection(version: Version) {
        refuse_everywhere(version, "nul", WITH_NUL, &[reason::MALFORMED]);
    }

    fn a_byte_order_mark_is_a_character_like_others(version: Version) {
        let proxy = shared::proxy();
        let mut listener = Device::connect(proxy.mqtt(), version, &named(version, "bom"));
        // Another client, because the identifier has one character more.
        let mut other = Device::connect(proxy.mqtt(), version, &named(version, "\u{FEFF}bom"));
        let topic = named(version, "bom");
        listener.subscribe(&format!("\u{FEFF}{topic}"), 1);
        listener.subscribe(&format!("{topic}\u{FEFF}/+"), 1);
        listener.subscribe(&named(version, "bom/end"), 1);
        other.say(&topic, "no mark", 1);
        other.say(&format!("{topic}/a"), "no mark", 1);
        other.say(&format!("\u{FEFF}{topic}"), "in front", 1);
        other.say(&format!("{topic}\u{FEFF}/a"), "within", 1);
        other.say(&named(version, "bom/end"), "end", 1);
        let arrived: Vec<(String, String)> =
            listener.receive_before("end").iter().map(|message| (message.topic.clone(), message.text())).collect();
        let wanted = [(format!("\u{FEFF}{topic}"), "in front"), (format!("{topic}\u{FEFF}/a"), "within")];
        assert_eq!(arrived, wanted.map(|(topic, text)| (topic, text.to_owned())));
    }

    fn a_remaining_length_takes_as_few_bytes_as_it_can(version: Version) {
        let proxy = Setup::new().settings("[limits]\npacket_bytes_max = 4000000").start();
        let mut listener = Device::connect(proxy.mqtt(), version, "listener");
        listener.subscribe("t", 0);
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        let table: &[(usize, &[u8])] = &[
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
        ];
        let header = if version.is_v5() { 4 } else { 3 };
        for (length, wanted) in table {
            speaker.publish(Publish::new("t", vec![b'x'; length - header]));
            assert_eq!(listener.wire.bytes(1), [0x30]);
            assert_eq!(remaining_length(&mut listener), *wanted, "{length}");
            listener.wire.bytes(*length);
        }
        let subscriber = Device::connect(proxy.mqtt(), version, "again");
        assert!(!subscriber.connack.session_present);
    }

    fn a_length_of_more_than_four_bytes_ends_the_connection(version: Version) {
        let proxy = shared::proxy();
        let client = named(version, "five-bytes");
        for bytes in [[0xC0, 0x80, 0x80, 0x80, 0x80, 0x00], [0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]] {
            expect_end_of(proxy.mqtt(), version, &client, "five bytes", &bytes, &[reason::MALFORMED]);
        }
    }

    fn reserved_flags_end_the_connection(version: Version) {
        let proxy = shared::proxy();
        let client = named(version, "flags");
        let filter = [&[0, 9], &property_block(version, &[])[..], &field(b"flags")].concat();
        let subscribe = [&filter[..], &[0]].concat();
        let kinds: &[(u8, u8, &[u8])] = &[
            (kind::PUBACK, 0, &[0, 9]),
            (kind::PUBREC, 0, &[0, 9]),
            (kind::PUBREL, 2, &[0, 9]),
            (kind::PUBCOMP, 0, &[0, 9]),
            (kind::SUBSCRIBE, 2, &subscribe),
            (kind::UNSUBSCRIBE, 2, &filter),
            (kind::PINGREQ, 0, &[]),
            (kind::DISCONNECT, 0, &[]),
        ];
        for (kind, right, body) in kinds {
            for flags in (0..16).filter(|flags| flags != right) {
                let what = format!("packet type {kind} with flags {flags}");
                let bytes = frame(kind << 4 | flags, body);
                expect_end_of(proxy.mqtt(), version, &client, &what, &bytes, &[reason::MALFORMED]);
            }
        }
        let good = Connect::new(version, &client).encode();
        for flags in 1..16 {
            let bytes = [&[0x10 | flags], &good[1..]].concat();
            refused_connect(proxy.mqtt(), version, &format!("CONNECT with flags {flags}"), &bytes);
        }
    }

    fn packet_types_that_are_not_for_the_server_end_the_connection(version: Version) {
        let proxy = shared::proxy();
        let client = named(version, "types");
        let none = property_block(version, &[]);
        let suback = [&[0, 1], &none[..], &[0]].concat();
        let table: &[(&str, Vec<u8>)] = &[
            ("type 0", vec![0x00, 0]),
            ("CONNACK", frame(0x20, &[&[0, 0], &none[..]].concat())),
            ("SUBACK", frame(0x90, &suback)),
            ("UNSUBACK", frame(0xB0, &suback)),
            ("PINGRESP", vec![0xD0, 0]),
            ("type 15, where no authentication was agreed", vec![0xF0, 0]),
        ];
        for (what, bytes) in table {
            expect_end_of(proxy.mqtt(), version, &client, what, bytes, reason::BROKEN);
        }
    }

    fn a_packet_identifier_of_0_ends_the_connection(version: Version) {
        let proxy = shared::proxy();
        let client = named(version, "id-0");
        let publish = |qos| Publish::new("t", "m").qos(qos).encode(version);
        let table = [
            ("PUBLISH at QoS 1", publish(1)),
            ("PUBLISH at QoS 2", publish(2)),
            ("SUBSCRIBE", packets::subscribe(version, 0, &Vec::new(), &[("t", 0)])),
            ("UNSUBSCRIBE", packets::unsubscribe(version, 0, &["t"])),
        ];
        for (what, bytes) in table {
            expect_end_of(proxy.mqtt(), version, &client, what, &bytes, reason::BROKEN);
        }
    }

    fn every_packet_identifier_comes_back_in_the_answer(version: Version) {
        let proxy = shared::proxy();
        let mut device = Device::connect(proxy.mqtt(), version, &named(version, "ids"));
        let mut expect = |bytes: &[u8], kind_of: u8, id: u16| {
            device.wire.send(bytes);
            let answer = device.wire.packet();
            assert_eq!((answer.kind(), answer.id()), (kind_of, id));
        };
        let topic = named(version, "ids");
        for id in [1, 2, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF] {
            let publish = |qos| Publish { id, ..Publish::new(&topic, "m").qos(qos) }.encode(version);
            expect(&publish(1), kind::PUBACK, id);
            expect(&publish(2), kind::PUBREC, id);
            expect(&packets::ack(kind::PUBREL, id), kind::PUBCOMP, id);
            expect(&packets::subscribe(version, id, &Vec::new(), &[("ids/none", 0)]), kind::SUBACK, id);
            expect(&packets::unsubscribe(version, id, &["ids/none"]), kind::UNSUBACK, id);
        }
    }

    fn a_qos_0_message_has_no_packet_identifier(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "no-id");
        let mut device = Device::connect(proxy.mqtt(), version, &topic);
        device.subscribe(&topic, 2);
        device.wire.send(&Publish::new(&topic, "m").encode(version));
        device.wire.expect(&frame(0x30, &[&field(topic.as_bytes()), &property_block(version, &[])[..], b"m"].concat()));
    }

    fn the_proxys_own_packet_identifiers_are_free_ones(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "own-ids");
        let mut listener = Device::connect(proxy.mqtt(), version, &topic);
        listener.subscribe(&topic, 2);
        let mut speaker = Device::connect(proxy.mqtt(), version, &named(version, "own-ids-speaker"));
        let texts = numbered("m", 60);
        speaker.publish_all(texts.iter().zip([1, 2].into_iter().cycle()).map(|(text, qos)| Publish::new(&topic, text).qos(qos)));
        // Ten stay open all the time; whatever comes then must not have their identifiers.
        let mut open: Vec<Publish> = Vec::new();
        for _ in &texts {
            let message = Publish::decode(&listener.wire.packet(), version);
            assert!(message.id != 0 && open.iter().all(|other| other.id != message.id), "{message:?} among {open:?}");
            open.push(message);
            if open.len() > 10 {
                let done = open.remove(5);
                if done.qos == 1 {
                    listener.wire.send(&packets::ack(kind::PUBACK, done.id));
                } else {
                    listener.wire.send(&packets::ack(kind::PUBREC, done.id));
                    listener.wire.expect_among(&packets::ack(kind::PUBREL, done.id));
                    listener.wire.send(&packets::ack(kind::PUBCOMP, done.id));
                }
            }
        }
        let ids: HashSet<u16> = open.iter().map(|message| message.id).collect();
        assert_eq!(ids.len(), 10);
    }

    fn both_sides_number_their_packets_on_their_own(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "same-id");
        let mut device = Device::connect(proxy.mqtt(), version, &topic);
        device.subscribe(&topic, 2);
        Device::connect(proxy.mqtt(), version, &named(version, "same-id-speaker")).say(&topic, "m", 2);
        let theirs = Publish::decode(&device.wire.packet(), version);
        let ours = Publish { id: theirs.id, ..Publish::new(&named(version, "same-id-2"), "m").qos(2) };
        device.wire.send(&ours.encode(version));
        device.wire.expect_ack(kind::PUBREC, ours.id);
        device.wire.send(&packets::ack(kind::PUBREC, theirs.id));
        device.wire.expect(&packets::ack(kind::PUBREL, theirs.id));
        device.wire.send(&packets::ack(kind::PUBREL, ours.id));
        device.wire.expect_ack(kind::PUBCOMP, ours.id);
        device.wire.send(&packets::ack(kind::PUBCOMP, theirs.id));
        device.ping();
    }
}

#[test]
fn a_number_in_more_bytes_than_it_needs_is_malformed() {
    let proxy = shared::proxy();
    let table: &[(&str, Vec<u8>)] = &[
        ("a Remaining Length", vec![0xC0, 0x80, 0x00]),
        ("a Remaining Length of four bytes", vec![0xC0, 0x80, 0x80, 0x80, 0x00]),
        ("a Property Length", frame(0x30, &[&field(b"t")[..], &[0x80, 0x00]].concat())),
        ("a Subscription Identifier", frame(0x82, &[0, 1, 3, 0x0B, 0x81, 0x00, 0, 1, b't', 0])),
    ];
    for (what, bytes) in table {
        expect_end_of(proxy.mqtt(), Version::V5, "long-numbers", what, bytes, &[reason::MALFORMED]);
    }
}

#[test]
fn binary_data_passes_as_it_is() {
    let proxy = shared::proxy();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "binary");
    device.subscribe("binary/+", 1);
    let all: Vec<u8> = (0..=255).collect();
    for data in [Vec::new(), vec![0], b"\xFF\xFE".to_vec(), all.clone(), all.repeat(256)[..65_535].to_vec()] {
        let correlation = (property::CORRELATION_DATA, Value::Binary(data.clone()));
        let message =
            Publish { properties: vec![correlation.clone()], ..Publish::new("binary/data", &data).qos(1) };
        device.publish(message);
        let arrived = device.receive();
        assert!(arrived.properties == [correlation], "Correlation Data of {} bytes", data.len());
        assert!(arrived.payload == data, "a payload of {} bytes", data.len());
    }
    // A password may be anything too.
    let mut connect = Connect::new(Version::V5, "binary-password");
    connect.username = Some(String::new());
    connect.password = Some(all);
    Device::connect_with(proxy.mqtt(), &connect).ping();
}

#[test]
fn string_pairs_pass_as_they_are() {
    let proxy = shared::proxy();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "pairs");
    device.subscribe("pairs", 1);
    let long = "ü".repeat(32_767);
    let pairs: Vec<(u8, Value)> = [
        ("", ""),
        ("a", ""),
        ("", "b"),
        ("b", "2"),
        ("a", "1"),
        ("b", "2"),
        ("\u{FEFF}", "😀"),
        ("long", &long),
    ]
    .map(|(name, value)| (property::USER, Value::Pair(name.to_owned(), value.to_owned())))
    .to_vec();
    device.publish(Publish { properties: pairs.clone(), ..Publish::new("pairs", "m").qos(1) });
    assert!(device.receive().properties == pairs, "other pairs than were sent, or in another order");
}
