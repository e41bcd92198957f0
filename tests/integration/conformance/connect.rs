//! Chapter 3.1: CONNECT, which is the first packet and the only one, and what is good and bad in it.

use std::collections::HashSet;

use super::named;
use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{self, Connack, Connect, Publish, Value, frame, kind, property};
use crate::support::proxy::Setup;
use crate::support::refusals::{connect_bytes, expect_end, field, property_block, reason, refused_connect};
use crate::support::shared;
use crate::support::wire::Wire;

/// Sends a CONNECT and waits for the answer.
fn answer(address: std::net::SocketAddr, bytes: &[u8]) -> (Wire, packets::Packet) {
    let mut wire = Wire::open(address);
    wire.send(bytes);
    let answer = wire.packet();
    (wire, answer)
}

in_both_versions! {
    fn anything_but_connect_first_ends_the_connection_without_an_answer(version: Version) {
        let proxy = shared::proxy();
        let table: &[(&str, Vec<u8>)] = &[
            ("CONNACK", packets::Connack { session_present: false, code: 0, properties: Vec::new() }.encode(version)),
            ("PUBLISH", Publish::new("first", "m").encode(version)),
            ("PUBACK", packets::ack(kind::PUBACK, 1)),
            ("PUBREC", packets::ack(kind::PUBREC, 1)),
            ("PUBREL", packets::ack(kind::PUBREL, 1)),
            ("PUBCOMP", packets::ack(kind::PUBCOMP, 1)),
            ("SUBSCRIBE", packets::subscribe(version, 1, &Vec::new(), &[("first", 0)])),
            ("SUBACK", packets::suback(version, 1, &[0])),
            ("UNSUBSCRIBE", packets::unsubscribe(version, 1, &["first"])),
            ("PINGREQ", packets::PINGREQ.to_vec()),
            ("PINGRESP", packets::PINGRESP.to_vec()),
            ("DISCONNECT", packets::DISCONNECT.to_vec()),
            ("AUTH", vec![0xF0, 0]),
            ("type 0", vec![0x00, 0]),
        ];
        for (what, bytes) in table {
            let mut wire = Wire::open(proxy.mqtt());
            wire.send(bytes);
            assert_eq!(wire.until_close(), [], "{what}");
        }
    }

    fn a_second_connect_ends_the_connection(version: Version) {
        let proxy = shared::proxy();
        let mut witness = Device::connect(proxy.mqtt(), version, &named(version, "twice-witness"));
        let topic = named(version, "twice");
        witness.subscribe(&topic, 1);
        for bytes in [Connect::new(version, &topic).encode(), Connect::new(version, "somebody else").encode()] {
            let connect = Connect::new(version, &topic).will(&topic, "ended");
            let mut device = Device::connect_with(proxy.mqtt(), &connect);
            expect_end(&mut device, version, "a second CONNECT", &bytes, &[reason::PROTOCOL_ERROR]);
            assert_eq!(witness.receive().text(), "ended");
        }
    }

    fn the_reserved_connect_flag_has_to_be_0(version: Version) {
        let proxy = shared::proxy();
        for flags in [0x01, 0x03] {
            let bytes = connect_bytes(version, flags, &[], &[&field(b"reserved-flag")]);
            let code = refused_connect(proxy.mqtt(), version, "the reserved flag", &bytes);
            assert!(code.is_none_or(|code| code == reason::MALFORMED), "{code:?}");
        }
    }

    fn the_will_flags_have_to_fit_each_other(version: Version) {
        let proxy = shared::proxy();
        let id = field(b"will-flags");
        for flags in [0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38] {
            let bytes = connect_bytes(version, flags | 2, &[], &[&id]);
            refused_connect(proxy.mqtt(), version, &format!("flags {flags:#x} without Will"), &bytes);
        }
        let none = property_block(version, &[]);
        let will = [&none[..], &field(b"t"), &field(b"m")].concat();
        for flags in [0x1C, 0x3C] {
            let bytes = connect_bytes(version, flags | 2, &[], &[&id, &will]);
            refused_connect(proxy.mqtt(), version, "a Will at QoS 3", &bytes);
        }
    }

    fn every_field_whose_flag_is_set_has_to_be_there(version: Version) {
        let proxy = shared::proxy();
        let (id, none) = (field(b"fields"), property_block(version, &[]));
        let (topic, message, user) = (field(b"fields"), field(b"m"), field(b"u"));
        let table: &[(&str, u8, &[&[u8]])] = &[
            ("no Client Identifier", 0x02, &[]),
            ("half a Client Identifier's length", 0x02, &[&[0]]),
            ("a Client Identifier that is cut off", 0x02, &[&[0, 9, b'a']]),
            ("no Will", 0x06, &[&id]),
            ("no Will Topic", 0x06, &[&id, &none]),
            ("no Will Message", 0x06, &[&id, &none, &topic]),
            ("a Will Message that is cut off", 0x06, &[&id, &none, &topic, &[0, 5, b'm']]),
            ("no User Name", 0x82, &[&id]),
            ("no Password", 0xC2, &[&id, &user]),
            ("a Password that is cut off", 0xC2, &[&id, &user, &[0, 2, b'p']]),
            ("no User Name after a Will", 0x86, &[&id, &none, &topic, &message]),
        ];
        for (what, flags, payload) in table {
            refused_connect(proxy.mqtt(), version, what, &connect_bytes(version, *flags, &[], payload));
        }
    }

    fn no_field_may_be_there_without_its_flag(version: Version) {
        let proxy = shared::proxy();
        let (id, none) = (field(b"too-much"), property_block(version, &[]));
        let (topic, message, user) = (field(b"too-much"), field(b"m"), field(b"u"));
        let table: &[(&str, u8, &[&[u8]])] = &[
            ("a byte too many", 0x02, &[&id, &[0]]),
            ("a Will", 0x02, &[&id, &none, &topic, &message]),
            ("a User Name", 0x02, &[&id, &user]),
            ("a Password", 0x82, &[&id, &user, &user]),
            ("a User Name after a Will", 0x06, &[&id, &none, &topic, &message, &user]),
        ];
        for (what, flags, payload) in table {
            refused_connect(proxy.mqtt(), version, what, &connect_bytes(version, *flags, &[], payload));
        }
    }

    fn all_fields_of_a_connect_are_read_in_their_order(version: Version) {
        let settings = "[auth]\nrequire_auth = true\nusername = \"ann\"\npassword = \"s3cret\"";
        let proxy = Setup::new().settings(settings).start();
        let witness = Connect::new(version, "witness").credentials("ann", "s3cret");
        let mut witness = Device::connect_with(proxy.mqtt(), &witness);
        witness.subscribe("will/#", 2);
        let mut connect = Connect::new(version, "all-fields").credentials("ann", "s3cret").will("will/ann", "bye");
        connect.will.as_mut().expect("there is a Will").qos = 2;
        if version.is_v5() {
            connect = connect.property(property::USER, Value::Pair("a".into(), "b".into()));
            connect = connect.will_property(property::CONTENT_TYPE, Value::Text("text".into()));
        }
        Device::connect_with(proxy.mqtt(), &connect).cut();
        let will = witness.receive();
        assert_eq!((will.topic.as_str(), will.text().as_str(), will.qos), ("will/ann", "bye", 2));
        // The same fields the other way round: the password as the user's name.
        let turned = Connect::new(version, "turned").credentials("s3cret", "ann");
        assert_ne!(Device::try_connect(proxy.mqtt(), &turned).connack.code, 0);
    }

    fn client_identifiers_of_1_to_23_letters_and_digits_are_taken(version: Version) {
        let proxy = shared::proxy();
        let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut ids: Vec<String> = letters.chars().map(|letter| letter.to_string()).collect();
        ids.extend((0..=39).map(|start| letters[start..start + 23].to_owned()));
        ids.extend((2..23).map(|length| letters[10..10 + length].to_owned()));
        for id in ids {
            let (_wire, connack) = answer(proxy.mqtt(), &Connect::new(version, &id).encode());
            assert_eq!(Connack::decode(&connack, version).code, 0, "{id}");
        }
    }

    fn whatever_is_text_may_be_an_identifier(version: Version) {
        let proxy = shared::proxy();
        let longest = named(version, &"i".repeat(60_000));
        for id in ["../../etc/passwd", "a/b", "#", "+/+", "$SYS", " ", "\u{1}", "😀", "a\r\nb", "%00", "\"';--", &longest] {
            let id = named(version, id);
            let connect = Connect::new(version, &id).persistent();
            let mut device = Device::connect_with(proxy.mqtt(), &connect);
            assert!(!device.connack.session_present, "{id}");
            device.subscribe("whatever/nothing", 1);
            device.cut();
            let mut device = Device::connect_with(proxy.mqtt(), &connect);
            assert!(device.connack.session_present, "{id}");
            device.ping();
        }
    }

    fn identifiers_that_differ_in_one_letter_are_two_clients(version: Version) {
        let proxy = shared::proxy();
        let base = named(version, "differ");
        let ids = [base.clone(), base.to_uppercase(), format!("{base} "), format!("{base}é"), format!("{base}e\u{301}")];
        let mut devices: Vec<Device> =
            ids.iter().map(|id| Device::connect_with(proxy.mqtt(), &Connect::new(version, id).persistent())).collect();
        for device in &mut devices {
            assert!(!device.connack.session_present);
            device.ping();
        }
    }

    fn clients_without_identifier_do_not_share_one(version: Version) {
        let proxy = shared::proxy();
        let mut devices: Vec<Device> = (0..5).map(|_| Device::connect(proxy.mqtt(), version, "")).collect();
        for device in &mut devices {
            assert!(!device.connack.session_present);
            device.ping();
        }
    }

    fn a_good_connect_is_answered_by_a_connack(version: Version) {
        let proxy = shared::proxy();
        let id = named(version, "good");
        let bytes = connect_bytes(version, 0x02, &[], &[&field(id.as_bytes())]);
        let (mut wire, connack) = answer(proxy.mqtt(), &bytes);
        assert_eq!((connack.first, &connack.body[..2]), (0x20, &[0, 0][..]));
        assert_eq!(connack.body.len() == 2, !version.is_v5(), "only MQTT 5.0 has properties");
        wire.send(&packets::PINGREQ);
        wire.expect(&packets::PINGRESP);
    }

    fn what_follows_connect_at_once_is_done_after_the_connack(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "eager");
        let mut bytes = Connect::new(version, &topic).encode();
        bytes.extend(packets::subscribe(version, 1, &Vec::new(), &[(&topic, 0)]));
        bytes.extend(Publish::new(&topic, "m").encode(version));
        bytes.extend(packets::PINGREQ);
        let (mut wire, connack) = answer(proxy.mqtt(), &bytes);
        assert_eq!(connack.kind(), kind::CONNACK);
        assert_eq!(wire.packet().kind(), kind::SUBACK);
        let rest = [wire.packet().kind(), wire.packet().kind()];
        assert!(rest.contains(&kind::PUBLISH) && rest.contains(&kind::PINGRESP), "{rest:?}");
    }

    fn nothing_is_done_after_a_connect_that_is_refused(version: Version) {
        let settings = "[auth]\nrequire_auth = true\nusername = \"ann\"\npassword = \"s3cret\"";
        let proxy = Setup::new().settings(settings).start();
        let good = |id: &str| Connect::new(version, id).credentials("ann", "s3cret");
        let mut witness = Device::connect_with(proxy.mqtt(), &good("witness"));
        witness.subscribe("#", 1);
        for bad in [Connect::new(version, "bad"), Connect::new(version, "bad").credentials("ann", "wrong")] {
            let bad = bad.will("bad/will", "a Will");
            let mut wire = Wire::open(proxy.mqtt());
            let publish = Publish { retain: true, ..Publish::new("bad/message", "a message") }.encode(version);
            wire.send(&[bad.encode(), publish, packets::PINGREQ.to_vec()].concat());
            let packets = wire.until_close();
            assert_eq!(packets.len(), 1, "a CONNACK and nothing else: {packets:?}");
            assert_ne!(Connack::decode(&packets[0], version).code, 0);
        }
        Device::connect_with(proxy.mqtt(), &good("speaker")).say("end", "end", 1);
        assert_eq!(witness.texts_before("end"), Vec::<String>::new());
    }
}

/// CONNECTs that are good but for the protocol's name.
fn named_otherwise(version: Version) -> Vec<(&'static str, Vec<u8>)> {
    let good = Connect::new(version, "named otherwise").encode();
    let rest = &good[8..];
    ["MQTX", "mqtt", "Mqtt", "MQT", "MQTTX", "", "MQTT\u{FEFF}"]
        .map(|name| (name, frame(0x10, &[&field(name.as_bytes()), rest].concat())))
        .to_vec()
}

#[test]
fn another_protocols_name_gets_no_answer_in_3_1_1() {
    let proxy = shared::proxy();
    for (name, bytes) in named_otherwise(Version::V4) {
        assert_eq!(refused_connect(proxy.mqtt(), Version::V4, name, &bytes), None);
    }
}

#[test]
fn another_protocols_name_gets_no_answer_of_another_version_in_5_0() {
    let proxy = shared::proxy();
    for (name, bytes) in named_otherwise(Version::V5) {
        let code = refused_connect(proxy.mqtt(), Version::V5, name, &bytes);
        assert!(code.is_none_or(|code| code == reason::UNSUPPORTED_VERSION), "{name}: {code:x?}");
    }
}

#[test]
fn another_protocols_name_is_never_taken() {
    let proxy = shared::proxy();
    for version in Version::BOTH {
        for (name, bytes) in named_otherwise(version) {
            let mut wire = Wire::open(proxy.mqtt());
            wire.send(&bytes);
            let packets = wire.until_close();
            assert!(
                packets.iter().all(|packet| packet.first == 0x20 && packet.body[1] != 0),
                "{name}: {packets:?}"
            );
        }
    }
}

#[test]
fn mqtt_3_1_is_told_that_its_level_is_not_taken() {
    let proxy = shared::proxy();
    let body = [&field(b"MQIsdp")[..], &[3, 2, 0, 60], &field(b"old")].concat();
    let mut wire = Wire::open(proxy.mqtt());
    wire.send(&frame(0x10, &body));
    wire.expect(&[0x20, 2, 0, 1]);
    wire.expect_close();
}

#[test]
fn a_level_that_is_not_supported_is_answered_as_3_1_1_says() {
    let proxy = shared::proxy();
    for level in [0, 1, 2, 3] {
        let mut bytes = Connect::new(Version::V4, "level").encode();
        bytes[8] = level;
        let (mut wire, connack) = answer(proxy.mqtt(), &bytes);
        assert_eq!((connack.first, &connack.body[..]), (0x20, &[0, 1][..]), "level {level}");
        wire.expect_close();
    }
}

#[test]
fn a_version_above_5_is_not_taken() {
    let proxy = shared::proxy();
    for level in [6, 7, 0x7F, 0xFF] {
        let mut bytes = Connect::new(Version::V5, "version").encode();
        bytes[8] = level;
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(&bytes);
        let packets = wire.until_close();
        let codes: Vec<&[u8]> = packets.iter().map(|packet| &packet.body[..2]).collect();
        assert!(packets.iter().all(|packet| packet.first == 0x20) && packets.len() <= 1, "{packets:?}");
        assert!(
            codes.iter().all(|code| [[0, 1], [0, 0x84]].contains(&[code[0], code[1]])),
            "{level}: {packets:?}"
        );
    }
}

#[test]
fn a_password_without_a_user_name_is_bad_in_3_1_1_and_good_in_5_0() {
    let proxy = shared::proxy();
    let payload: [&[u8]; 2] = [&field(b"password-only"), &field(b"p")];
    let bytes = connect_bytes(Version::V4, 0x42, &[], &payload);
    assert_eq!(refused_connect(proxy.mqtt(), Version::V4, "a Password alone", &bytes), None);
    let (_wire, connack) = answer(proxy.mqtt(), &connect_bytes(Version::V5, 0x42, &[], &payload));
    assert_eq!(connack.body[1], 0);
}

#[test]
fn no_identifier_without_clean_session_is_rejected_in_3_1_1() {
    let proxy = shared::proxy();
    let (mut wire, connack) = answer(proxy.mqtt(), &connect_bytes(Version::V4, 0, &[], &[&field(b"")]));
    assert_eq!((connack.first, &connack.body[..]), (0x20, &[0, 2][..]));
    wire.expect_close();
}

#[test]
fn a_5_0_client_without_identifier_is_told_the_one_it_gets() {
    let proxy = shared::proxy();
    let mut assigned = HashSet::new();
    for clean in [true, false] {
        for _ in 0..3 {
            let connect = Connect { clean, ..Connect::new(Version::V5, "").persistent() };
            let mut device = Device::connect_with(proxy.mqtt(), &connect);
            assert!(!device.connack.session_present);
            let id = packets::find(&device.connack.properties, property::ASSIGNED_CLIENT_ID).cloned();
            let Some(Value::Text(id)) = id else {
                panic!("an identifier was to be assigned: {:?}", device.connack)
            };
            assert!(!id.is_empty() && assigned.insert(id.clone()), "{id:?} was assigned twice");
            device.subscribe(&format!("assigned/{id}"), 1);
            device.cut();
            // It is the Client's own from now on.
            let again = Connect { clean: false, ..Connect::new(Version::V5, &id).persistent() };
            let mut device = Device::connect_with(proxy.mqtt(), &again);
            assert!(device.connack.session_present, "the Session of {id}");
            assert_eq!(packets::find(&device.connack.properties, property::ASSIGNED_CLIENT_ID), None);
            device.say(&format!("assigned/{id}"), "still subscribed", 1);
            assert_eq!(device.receive().text(), "still subscribed");
        }
    }
}

#[test]
fn aliases_come_only_to_who_allows_them_and_as_many_as_are_allowed() {
    let proxy = shared::proxy();
    for allowed in [None, Some(0), Some(1), Some(2), Some(65_535)] {
        let topic = format!("aliases/{allowed:?}");
        let mut connect = Connect::new(Version::V5, &topic);
        if let Some(allowed) = allowed {
            connect = connect.property(property::TOPIC_ALIAS_MAXIMUM, Value::Two(allowed));
        }
        let mut listener = Device::connect_with(proxy.mqtt(), &connect);
        listener.subscribe(&format!("{topic}/+"), 1);
        let mut speaker = Device::connect(proxy.mqtt(), Version::V5, &format!("{topic} speaker"));
        let wanted: Vec<String> = (0..20).map(|number| format!("{topic}/{}", number % 5)).collect();
        speaker.publish_all(wanted.iter().map(|topic| Publish::new(topic, "m").qos(1)));
        let arrived = listener.receive_all(wanted.len());
        for message in &arrived {
            let alias = packets::number(&message.properties, property::TOPIC_ALIAS);
            assert!(
                alias.is_none_or(|alias| (1..=u32::from(allowed.unwrap_or(0))).contains(&alias)),
                "{message:?}"
            );
        }
        assert_eq!(arrived.into_iter().map(|message| message.topic).collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn who_asks_for_no_problem_information_gets_none_where_it_is_forbidden() {
    let proxy = shared::proxy();
    let connect = Connect::new(Version::V5, "no-problems")
        .property(property::REQUEST_PROBLEM_INFORMATION, Value::Byte(0));
    let mut device = Device::connect_with(proxy.mqtt(), &connect);
    let topic = "no-problems/nobody";
    let requests = [
        Publish { id: 1, ..Publish::new(topic, "m").qos(1) }.encode(Version::V5),
        Publish { id: 2, ..Publish::new(topic, "m").qos(2) }.encode(Version::V5),
        packets::ack(kind::PUBREL, 2),
        // Nothing is known of these two.
        packets::ack(kind::PUBREL, 3),
        packets::ack(kind::PUBREC, 4),
        packets::unsubscribe(Version::V5, 5, &[topic]),
        packets::subscribe(Version::V5, 6, &Vec::new(), &[("no-problems/good", 1)]),
        // A subscription that cannot be granted.
        packets::subscribe(Version::V5, 7, &Vec::new(), &[("no#problems", 1)]),
    ];
    for request in requests {
        device.wire.send(&request);
        let answer = device.wire.packet();
        if answer.kind() == kind::DISCONNECT {
            continue;
        }
        let properties = answer.properties();
        let told = properties.iter().any(|(id, _)| [property::REASON_STRING, property::USER].contains(id));
        assert!(!told, "{answer:?} says {properties:?}");
    }
}
