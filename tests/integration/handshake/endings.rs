//! How the proxy ends a connection of MQTT 5.0: each fault of the device has the Reason Code that the standard gives it;
//! 3.1.1 has no words for any. And how the device ends it.

use super::reason_string;
use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{
    self, Connect, DISCONNECT, Packet, Publish, Value, frame, kind, property, put_text, with_reason,
};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wire::Wire;

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const TOPIC_FILTER_INVALID: u8 = 0x8F;
const TOPIC_NAME_INVALID: u8 = 0x90;
const TOPIC_ALIAS_INVALID: u8 = 0x94;

type Row = (&'static str, u8, Vec<u8>);

/// PUBLISH of this first byte with a Topic Name, an identifier if there is one, and properties.
fn publish(first: u8, topic: &str, id: Option<u16>, properties: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, topic);
    body.extend(id.map(u16::to_be_bytes).into_iter().flatten());
    body.push(u8::try_from(properties.len()).expect("short"));
    body.extend_from_slice(properties);
    frame(first, &body)
}

fn subscribe(id: u16, properties: &[u8], filter: &str, options: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.push(u8::try_from(properties.len()).expect("short"));
    body.extend_from_slice(properties);
    put_text(&mut body, filter);
    body.push(options);
    frame(0x82, &body)
}

fn publishes() -> Vec<Row> {
    let with = |properties: &[u8]| publish(0x30, "t", None, properties);
    vec![
        ("QoS 3", MALFORMED, publish(0x36, "t", Some(1), &[])),
        ("DUP at QoS 0", MALFORMED, publish(0x38, "t", None, &[])),
        ("U+0000 in a Topic Name", MALFORMED, publish(0x30, "a\0", None, &[])),
        ("Packet Identifier 0", PROTOCOL_ERROR, publish(0x32, "t", Some(0), &[])),
        ("neither topic nor alias", PROTOCOL_ERROR, publish(0x30, "", None, &[])),
        ("an alias that was never set", PROTOCOL_ERROR, publish(0x30, "", None, &[0x23, 0, 1])),
        ("#", TOPIC_NAME_INVALID, publish(0x30, "a/#", None, &[])),
        ("+", TOPIC_NAME_INVALID, publish(0x30, "+/a", None, &[])),
        ("alias 0", TOPIC_ALIAS_INVALID, with(&[0x23, 0, 0])),
        ("an alias above the maximum", TOPIC_ALIAS_INVALID, with(&[0x23, 0, 65])),
        ("a Subscription Identifier", PROTOCOL_ERROR, with(&[0x0B, 1])),
        ("Subscription Identifier 0", PROTOCOL_ERROR, with(&[0x0B, 0])),
        ("Payload Format Indicator 2", PROTOCOL_ERROR, with(&[0x01, 2])),
        ("Message Expiry twice", PROTOCOL_ERROR, with(&[0x02, 0, 0, 0, 1, 0x02, 0, 0, 0, 1])),
        ("a wildcard in the Response Topic", PROTOCOL_ERROR, with(&[0x08, 0, 1, b'#'])),
        ("an unknown property", MALFORMED, with(&[0x7F])),
        ("a property of CONNECT", MALFORMED, with(&[0x21, 0, 5])),
        ("a property that is cut off", MALFORMED, with(&[0x02, 0, 0])),
    ]
}

fn subscribes() -> Vec<Row> {
    let filter = |filter: &str| subscribe(1, &[], filter, 0);
    let unsubscribe = |id: u16, filter: &str| packets::unsubscribe(Version::V5, id, &[filter]);
    vec![
        ("SUBSCRIBE without filters", PROTOCOL_ERROR, frame(0x82, &[0, 1, 0])),
        ("SUBSCRIBE with identifier 0", PROTOCOL_ERROR, subscribe(0, &[], "t", 0)),
        ("SUBSCRIBE with wrong flags", MALFORMED, frame(0x80, &[0, 1, 0, 0, 1, b't', 0])),
        ("QoS 3", PROTOCOL_ERROR, subscribe(1, &[], "t", 3)),
        ("Retain Handling 3", PROTOCOL_ERROR, subscribe(1, &[], "t", 0x30)),
        ("reserved option bits", MALFORMED, subscribe(1, &[], "t", 0x40)),
        ("No Local on a shared subscription", PROTOCOL_ERROR, subscribe(1, &[], "$share/g/t", 4)),
        ("Subscription Identifier 0", PROTOCOL_ERROR, subscribe(1, &[0x0B, 0], "t", 0)),
        ("two Subscription Identifiers", PROTOCOL_ERROR, subscribe(1, &[0x0B, 1, 0x0B, 2], "t", 0)),
        ("an empty filter", TOPIC_FILTER_INVALID, filter("")),
        ("# before the end", TOPIC_FILTER_INVALID, filter("a/#/b")),
        ("+ not alone", TOPIC_FILTER_INVALID, filter("a+")),
        ("U+0000 in a filter", MALFORMED, filter("a\0")),
        ("UNSUBSCRIBE without filters", PROTOCOL_ERROR, frame(0xA2, &[0, 1, 0])),
        ("UNSUBSCRIBE with identifier 0", PROTOCOL_ERROR, unsubscribe(0, "t")),
        ("UNSUBSCRIBE from no filter", TOPIC_FILTER_INVALID, unsubscribe(1, "a#")),
    ]
}

fn others() -> Vec<Row> {
    let raise = with_reason(kind::DISCONNECT, 0, &vec![(property::SESSION_EXPIRY, Value::Four(9))]);
    vec![
        ("packet type 0", MALFORMED, vec![0, 0]),
        ("a Remaining Length of five bytes", MALFORMED, vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
        ("a second CONNECT", PROTOCOL_ERROR, Connect::new(Version::V5, "bad").encode()),
        (
            "a second CONNECT of MQTT 3.1",
            PROTOCOL_ERROR,
            frame(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x3C\x00\x01a"),
        ),
        (
            "a second CONNECT that 3.1.1 refuses",
            PROTOCOL_ERROR,
            frame(0x10, b"\x00\x04MQTT\x04\x00\x00\x3C\x00\x00"),
        ),
        ("CONNACK", PROTOCOL_ERROR, frame(0x20, &[0, 0, 0])),
        ("SUBACK", PROTOCOL_ERROR, frame(0x90, &[0, 1, 0, 0])),
        ("UNSUBACK", PROTOCOL_ERROR, frame(0xB0, &[0, 1, 0, 0])),
        ("PINGRESP", PROTOCOL_ERROR, packets::PINGRESP.to_vec()),
        ("PINGREQ with flags", MALFORMED, vec![0xC1, 0]),
        ("PINGREQ with a body", MALFORMED, vec![0xC0, 1, 0]),
        ("PUBREL with wrong flags", MALFORMED, vec![0x60, 2, 0, 1]),
        ("PUBACK with identifier 0", PROTOCOL_ERROR, packets::ack(kind::PUBACK, 0)),
        ("AUTH without a method", PROTOCOL_ERROR, vec![0xF0, 0]),
        ("DISCONNECT with flags", MALFORMED, vec![0xE1, 0]),
        ("DISCONNECT with an unknown Reason Code", PROTOCOL_ERROR, vec![0xE0, 1, 3]),
        ("DISCONNECT that raises the Session Expiry Interval", PROTOCOL_ERROR, raise),
    ]
}

fn expect_codes(table: &[Row]) {
    let proxy = Proxy::start();
    for (name, reason, bytes) in table {
        let mut device = Device::connect(proxy.mqtt(), Version::V5, "bad");
        device.wire.send(bytes);
        let packets = device.wire.until_close();
        assert_eq!(packets.len(), 1, "{name}: {packets:?}");
        assert_eq!(packets[0].kind(), kind::DISCONNECT, "{name}: {packets:?}");
        let (told, properties) = packets[0].reason_and_properties();
        assert_eq!(told, *reason, "{name}: {:?}", reason_string(&properties));
        assert!(reason_string(&properties).is_some(), "{name}");
    }
}

#[test]
fn a_bad_publish_has_its_reason_code() {
    expect_codes(&publishes());
}

#[test]
fn a_bad_subscribe_or_unsubscribe_has_its_reason_code() {
    expect_codes(&subscribes());
}

#[test]
fn any_other_bad_packet_has_its_reason_code() {
    expect_codes(&others());
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_is_a_protocol_error() {
    let proxy = Proxy::start();
    for (qos, wrong) in [(1, kind::PUBREC), (1, kind::PUBCOMP), (2, kind::PUBACK)] {
        let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
        device.subscribe("t", qos);
        Device::connect(proxy.mqtt(), Version::V5, "speaker").say("t", "m", 2);
        let message = device.wire.packet();
        let id = Publish::decode(&message, Version::V5).id;
        device.wire.send(&packets::ack(wrong, id));
        assert_eq!(device.disconnect_reason(), PROTOCOL_ERROR, "{wrong} at QoS {qos}");
    }
}

#[test]
fn reasons_are_in_words_only_for_who_wants_them_and_has_room() {
    let proxy = Proxy::start();
    let told = |id, value| {
        let connect = Connect::new(Version::V5, "device").property(id, value);
        let mut device = Device::connect_with(proxy.mqtt(), &connect);
        device.wire.send(&[0, 0]);
        let packets = device.wire.until_close();
        assert_eq!(packets.len(), 1, "{packets:?}");
        let (reason, properties) = packets[0].reason_and_properties();
        assert_eq!(reason, MALFORMED);
        reason_string(&properties).map(str::to_owned)
    };
    assert!(told(property::REQUEST_PROBLEM_INFORMATION, Value::Byte(1)).is_some());
    assert_eq!(told(property::REQUEST_PROBLEM_INFORMATION, Value::Byte(0)), None);
    assert!(told(property::MAXIMUM_PACKET_SIZE, Value::Four(100)).is_some());
    assert_eq!(told(property::MAXIMUM_PACKET_SIZE, Value::Four(20)), None);
}

#[test]
fn messages_before_a_bad_packet_count_and_those_behind_it_do_not() {
    let proxy = Setup::new().settings("[limits]\ntopic_alias_maximum = 5").start();
    let mut witness = Device::connect(proxy.mqtt(), Version::V5, "witness");
    witness.subscribe("#", 0);
    for bad in [publish(0x30, "bad", None, &[0x23, 0, 6]), vec![0, 0], frame(0x20, &[0, 0, 0])] {
        let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
        let before = Publish::new("t", "before").encode(Version::V5);
        let behind = Publish::new("t", "behind").encode(Version::V5);
        device.wire.send(&[before.clone(), before, bad, behind].concat());
        device.wait_closed();
        witness.say("t", "end", 1);
        assert_eq!(witness.texts_before("end"), ["before", "before"]);
    }
}

in_both_versions! {
    fn messages_between_connect_and_a_bad_packet_in_one_write_count(version: Version) {
        let proxy = Proxy::start();
        let mut witness = Device::connect(proxy.mqtt(), version, "witness");
        witness.subscribe("t", 0);
        let mut wire = Wire::open(proxy.mqtt());
        let connect = Connect::new(version, "eager").encode();
        wire.send(&[connect, Publish::new("t", "eager").encode(version), vec![0, 0]].concat());
        let kinds: Vec<u8> = wire.until_close().iter().map(Packet::kind).collect();
        let wanted: &[u8] = if version.is_v5() { &[kind::CONNACK, kind::DISCONNECT] } else { &[kind::CONNACK] };
        assert_eq!(kinds, wanted);
        assert_eq!(witness.receive().text(), "eager");
    }

    fn nothing_is_read_behind_disconnect(version: Version) {
        let proxy = Proxy::start();
        let mut witness = Device::connect(proxy.mqtt(), version, "witness");
        witness.subscribe("#", 0);
        let mut device = Device::connect_with(proxy.mqtt(), &Connect::new(version, "device").will("will", "w"));
        let message = |text: &str| Publish::new("t", text).encode(version);
        device.wire.send(&[message("before"), DISCONNECT.to_vec(), message("behind"), vec![0, 0]].concat());
        assert_eq!(device.wire.until_close(), []);
        witness.say("t", "end", 1);
        assert_eq!(witness.texts_before("end"), ["before"], "and the Will is forgotten");
    }
}

#[test]
fn disconnect_with_an_error_publishes_the_will_and_is_not_answered() {
    let proxy = Proxy::start();
    let mut witness = Device::connect(proxy.mqtt(), Version::V5, "witness");
    witness.subscribe("will", 1);
    for reason in [0x04, 0x80, 0x81, 0x93, 0x98] {
        let connect = Connect::new(Version::V5, "device").will("will", &format!("{reason:#x}"));
        let mut device = Device::connect_with(proxy.mqtt(), &connect);
        device.wire.send(&with_reason(kind::DISCONNECT, reason, &Vec::new()));
        assert_eq!(device.wire.until_close(), []);
        assert_eq!(witness.receive().text(), format!("{reason:#x}"));
    }
}

#[test]
fn a_session_expiry_that_the_proxy_cut_to_nothing_may_be_named_at_disconnect() {
    let proxy = Setup::new().settings("[limits]\nsession_expiry_secs_max = 0").start();
    let expiry = |secs| vec![(property::SESSION_EXPIRY, Value::Four(secs))];
    let connect = Connect { properties: expiry(60), ..Connect::new(Version::V5, "device") };
    let mut device = Device::connect_with(proxy.mqtt(), &connect);
    device.wire.send(&with_reason(kind::DISCONNECT, 0, &expiry(30)));
    assert_eq!(device.wire.until_close(), []);
}
