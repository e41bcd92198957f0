//! Enhanced authentication of MQTT 5.0: AUTH before CONNACK, and again later.

use super::{CREDENTIALS, connack, refusal};
use crate::support::device::Device;
use crate::support::packets::{
    self, Connack, Connect, DISCONNECT, Packet, Properties, Publish, Value, kind, property, with_reason,
};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wire::Seen;
use crate::support::wire::Wire;
use crate::support::{SILENCE, Version};

const RIGHT: &[u8] = b"\0ann\0s3cret";
const WRONG: &[u8] = b"\0ann\0wrong";

mod reason {
    pub const SUCCESS: u8 = 0x00;
    pub const CONTINUE: u8 = 0x18;
    pub const RE_AUTHENTICATE: u8 = 0x19;
    pub const PROTOCOL_ERROR: u8 = 0x82;
    pub const NOT_AUTHORIZED: u8 = 0x87;
    pub const BAD_METHOD: u8 = 0x8C;
    pub const PACKET_TOO_LARGE: u8 = 0x95;
}

fn strict() -> Proxy {
    Setup::new().settings(CREDENTIALS).start()
}

fn said(method: &str, data: Option<&[u8]>) -> Properties {
    let mut properties = vec![(property::AUTHENTICATION_METHOD, Value::Text(method.to_owned()))];
    properties.extend(data.map(|data| (property::AUTHENTICATION_DATA, Value::Binary(data.to_vec()))));
    properties
}

fn connect(method: &str, data: Option<&[u8]>) -> Connect {
    let mut connect = Connect::new(Version::V5, "device");
    connect.properties = said(method, data);
    connect
}

fn auth(reason: u8, method: &str, data: Option<&[u8]>) -> Vec<u8> {
    with_reason(kind::AUTH, reason, &said(method, data))
}

/// An AUTH of the proxy that names PLAIN and has no data.
fn expect_auth(packet: &Packet, reason: u8) {
    assert_eq!(packet.kind(), kind::AUTH, "{packet:?}");
    assert_eq!(packet.reason_and_properties(), (reason, said("PLAIN", None)));
}

/// A connection that waits for the answer to the proxy's question.
fn asked(proxy: &Proxy) -> Wire {
    let mut wire = Wire::open(proxy.mqtt());
    wire.send(&connect("PLAIN", None).encode());
    expect_auth(&wire.packet(), reason::CONTINUE);
    wire
}

/// Only a CONNACK with this Reason Code, and the end.
fn expect_refusal(packets: &[Packet], wanted: u8, context: &str) {
    assert_eq!(packets.len(), 1, "{context}: {packets:?}");
    let connack = Connack::decode(&packets[0], Version::V5);
    assert_eq!((connack.code, connack.session_present), (wanted, false), "{context}");
}

fn let_in(proxy: &Proxy) -> Device {
    Device::connect_with(proxy.mqtt(), &connect("PLAIN", Some(RIGHT)))
}

#[test]
fn a_method_with_its_data_lets_a_device_in_without_user_name() {
    let proxy = strict();
    let mut device = let_in(&proxy);
    let method = packets::find(&device.connack.properties, property::AUTHENTICATION_METHOD);
    assert_eq!(method, Some(&Value::Text("PLAIN".into())));
    assert_eq!(packets::find(&device.connack.properties, property::AUTHENTICATION_DATA), None);
    device.subscribe("t", 1);
    device.say("t", "in", 1);
    assert_eq!(device.receive().text(), "in");
    assert!(!proxy.log().contains("s3cret"), "a password is in the log");
}

#[test]
fn a_method_without_data_is_asked_for_them() {
    let proxy = strict();
    let mut wire = asked(&proxy);
    wire.send(&auth(reason::CONTINUE, "PLAIN", Some(RIGHT)));
    let connack = Connack::decode(&wire.packet(), Version::V5);
    assert_eq!(connack.code, 0);
    let method = packets::find(&connack.properties, property::AUTHENTICATION_METHOD);
    assert_eq!(method, Some(&Value::Text("PLAIN".into())));
    wire.send(&packets::PINGREQ);
    wire.expect(&packets::PINGRESP);
}

#[test]
fn who_fails_to_authenticate_is_not_let_in() {
    let proxy = strict();
    for data in [WRONG, b"\0bob\0s3cret", b"bob\0ann\0s3cret", b"", b"ann\0s3cret"] {
        let packets = refusal(proxy.mqtt(), &connect("PLAIN", Some(data)).encode());
        expect_refusal(&packets, reason::NOT_AUTHORIZED, "in CONNECT");
        let mut wire = asked(&proxy);
        wire.send(&auth(reason::CONTINUE, "PLAIN", Some(data)));
        expect_refusal(&wire.until_close(), reason::NOT_AUTHORIZED, "in AUTH");
    }
    let mut wire = asked(&proxy);
    wire.send(&auth(reason::CONTINUE, "PLAIN", None));
    expect_refusal(&wire.until_close(), reason::NOT_AUTHORIZED, "no data again");
    // User Name and Password do not stand in for the method that CONNECT names.
    let both = connect("PLAIN", Some(WRONG)).credentials("ann", "s3cret");
    expect_refusal(&refusal(proxy.mqtt(), &both.encode()), reason::NOT_AUTHORIZED, "with a password");
    let refused = proxy.rest().metric("mqtt_connections_refused_total", &["reason=\"authentication\""]);
    assert_eq!(refused, 12.0);
}

#[test]
fn an_unknown_method_is_refused_and_so_is_every_method_where_nobody_has_to_prove_anything() {
    let proxy = strict();
    for method in ["SCRAM-SHA-1", "plain", ""] {
        let packets = refusal(proxy.mqtt(), &connect(method, Some(RIGHT)).encode());
        expect_refusal(&packets, reason::BAD_METHOD, method);
    }
    let open = Proxy::start();
    let packets = refusal(open.mqtt(), &connect("PLAIN", Some(RIGHT)).encode());
    expect_refusal(&packets, reason::BAD_METHOD, "PLAIN");
}

#[test]
fn nothing_but_auth_and_disconnect_may_come_before_connack() {
    let proxy = strict();
    let wrong = [
        ("PINGREQ", packets::PINGREQ.to_vec()),
        ("PUBLISH", Publish::new("t", "m").encode(Version::V5)),
        ("SUBSCRIBE", packets::subscribe(Version::V5, 1, &Vec::new(), &[("t", 0)])),
        ("CONNECT", connect("PLAIN", Some(RIGHT)).encode()),
        ("AUTH with another method", auth(reason::CONTINUE, "OTHER", Some(RIGHT))),
        ("AUTH that begins anew", auth(reason::RE_AUTHENTICATE, "PLAIN", Some(RIGHT))),
        ("AUTH that says success", auth(reason::SUCCESS, "PLAIN", Some(RIGHT))),
        ("AUTH without a method", vec![0xF0, 0]),
    ];
    for (name, bytes) in &wrong {
        let mut wire = asked(&proxy);
        wire.send(bytes);
        expect_refusal(&wire.until_close(), reason::PROTOCOL_ERROR, name);
        if name.starts_with("AUTH") {
            continue;
        }
        // Behind a CONNECT that would be taken, in the same write.
        let eager = [connect("PLAIN", Some(RIGHT)).encode(), bytes.clone()].concat();
        expect_refusal(&refusal(proxy.mqtt(), &eager), reason::PROTOCOL_ERROR, name);
    }
    let mut wire = asked(&proxy);
    wire.send(&[0xF0, 2, 0x7F, 0]);
    expect_refusal(&wire.until_close(), reason::PROTOCOL_ERROR, "an unknown reason code");
    let mut wire = asked(&proxy);
    wire.send(&DISCONNECT);
    assert_eq!(wire.until_close(), [], "who gives up gets no answer");
    let eager = [connect("PLAIN", Some(RIGHT)).encode(), DISCONNECT.to_vec()].concat();
    expect_refusal(&refusal(proxy.mqtt(), &eager), reason::SUCCESS, "who is let in may leave at once");
}

#[test]
fn authentication_data_need_a_method() {
    let proxy = strict();
    let mut connect = Connect::new(Version::V5, "device").credentials("ann", "s3cret");
    connect.properties.push((property::AUTHENTICATION_DATA, Value::Binary(RIGHT.to_vec())));
    expect_refusal(&refusal(proxy.mqtt(), &connect.encode()), reason::PROTOCOL_ERROR, "data alone");
}

#[test]
fn the_time_for_connect_is_the_time_for_authentication_too() {
    let settings = format!("[server]\nconnect_timeout_secs = 1\n{CREDENTIALS}");
    let proxy = Setup::new().settings(&settings).start();
    let mut wire = asked(&proxy);
    assert_eq!(wire.until_close(), []);
    let_in(&proxy).ping();
}

#[test]
fn a_device_that_accepts_no_auth_of_our_length_is_not_sent_one() {
    let proxy = strict();
    let small = connect("PLAIN", None).property(property::MAXIMUM_PACKET_SIZE, Value::Four(11));
    expect_refusal(&refusal(proxy.mqtt(), &small.encode()), reason::PACKET_TOO_LARGE, "11 bytes");
    let fitting = connect("PLAIN", None).property(property::MAXIMUM_PACKET_SIZE, Value::Four(12));
    let mut wire = Wire::open(proxy.mqtt());
    wire.send(&fitting.encode());
    expect_auth(&wire.packet(), reason::CONTINUE);
}

#[test]
fn a_user_name_and_a_password_still_let_in_and_name_no_method() {
    let proxy = strict();
    let connect = Connect::new(Version::V5, "device").credentials("ann", "s3cret");
    let device = Device::connect_with(proxy.mqtt(), &connect);
    assert_eq!(packets::find(&device.connack.properties, property::AUTHENTICATION_METHOD), None);
}

#[test]
fn a_device_authenticates_once_more_while_messages_flow() {
    let proxy = strict();
    let mut device = let_in(&proxy);
    device.subscribe("t", 1);
    for round in 0..3 {
        // With the data at once.
        device.wire.send(&auth(reason::RE_AUTHENTICATE, "PLAIN", Some(RIGHT)));
        expect_auth(&device.wire.packet(), reason::SUCCESS);
        // With a question, and other packets while the answer is due.
        device.wire.send(&auth(reason::RE_AUTHENTICATE, "PLAIN", None));
        expect_auth(&device.wire.packet(), reason::CONTINUE);
        device.say("t", &format!("meanwhile {round}"), 2);
        assert_eq!(device.receive().text(), format!("meanwhile {round}"));
        device.wire.send(&auth(reason::CONTINUE, "PLAIN", Some(RIGHT)));
        expect_auth(&device.wire.packet(), reason::SUCCESS);
    }
    // One that is begun anew takes the place of the one before.
    for _ in 0..20 {
        device.wire.send(&auth(reason::RE_AUTHENTICATE, "PLAIN", None));
        expect_auth(&device.wire.packet(), reason::CONTINUE);
    }
    device.wire.send(&auth(reason::CONTINUE, "PLAIN", Some(RIGHT)));
    expect_auth(&device.wire.packet(), reason::SUCCESS);
    device.ping();
}

#[test]
fn a_device_that_fails_to_authenticate_once_more_is_disconnected() {
    let proxy = strict();
    let mut device = let_in(&proxy);
    device.wire.send(&auth(reason::RE_AUTHENTICATE, "PLAIN", Some(WRONG)));
    assert_eq!(device.disconnect_reason(), reason::NOT_AUTHORIZED);
    let mut device = let_in(&proxy);
    device.wire.send(&auth(reason::RE_AUTHENTICATE, "PLAIN", None));
    expect_auth(&device.wire.packet(), reason::CONTINUE);
    device.wire.send(&auth(reason::CONTINUE, "PLAIN", Some(WRONG)));
    assert_eq!(device.disconnect_reason(), reason::NOT_AUTHORIZED);
}

#[test]
fn auth_out_of_turn_is_a_protocol_error() {
    let proxy = strict();
    for (name, bytes) in [
        ("another method", auth(reason::RE_AUTHENTICATE, "OTHER", Some(RIGHT))),
        ("an answer to no question", auth(reason::CONTINUE, "PLAIN", Some(RIGHT))),
        ("success", auth(reason::SUCCESS, "PLAIN", None)),
        ("nothing", vec![0xF0, 0]),
    ] {
        let mut device = let_in(&proxy);
        device.wire.send(&bytes);
        assert_eq!(device.disconnect_reason(), reason::PROTOCOL_ERROR, "{name}");
    }
    let without = Connect::new(Version::V5, "device").credentials("ann", "s3cret");
    let mut device = Device::connect_with(proxy.mqtt(), &without);
    device.wire.send(&auth(reason::RE_AUTHENTICATE, "PLAIN", Some(RIGHT)));
    assert_eq!(device.disconnect_reason(), reason::PROTOCOL_ERROR, "CONNECT named no method");
}

#[test]
fn a_resumed_session_has_the_method_of_its_last_connect() {
    let proxy = strict();
    let lasting = (property::SESSION_EXPIRY, Value::Four(60));
    let mut by_method = connect("PLAIN", Some(RIGHT)).property(lasting.0, lasting.1.clone());
    by_method.clean = false;
    let mut by_password =
        Connect::new(Version::V5, "device").credentials("ann", "s3cret").property(lasting.0, lasting.1);
    by_password.clean = false;
    Device::connect_with(proxy.mqtt(), &by_password).disconnect();
    let mut device = Device::connect_with(proxy.mqtt(), &by_method);
    assert!(device.connack.session_present);
    device.wire.send(&auth(reason::RE_AUTHENTICATE, "PLAIN", Some(RIGHT)));
    expect_auth(&device.wire.packet(), reason::SUCCESS);
    device.disconnect();
    let (mut wire, connack) = connack(proxy.mqtt(), &by_password);
    assert!(connack.session_present);
    assert_eq!(wire.look(SILENCE), Seen::Silence);
    wire.send(&auth(reason::RE_AUTHENTICATE, "PLAIN", Some(RIGHT)));
    assert_eq!(wire.until_close()[0].disconnect_reason(), reason::PROTOCOL_ERROR);
}
