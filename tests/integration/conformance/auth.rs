//! AUTH and enhanced authentication (chapters 3.15 and 4.12 of MQTT 5.0), by the mechanism PLAIN of RFC 4616.

use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{
    Connack, Connect, Packet, Properties, Publish, Value, find, frame, kind, property, put_properties,
};
use crate::support::proxy::{Proxy, Setup};
use crate::support::refusals::{expect_end_of, reason, refused_connect};
use crate::support::shared;
use crate::support::wire::Wire;

const V5: Version = Version::V5;
const SUCCESS: u8 = 0x00;
const CONTINUE: u8 = 0x18;
const AGAIN: u8 = 0x19;

const GOOD: &[u8] = b"\0ann\0s3cret";
const BAD: &[u8] = b"\0ann\0wrong";

/// A proxy that takes PLAIN with Ann's password.
fn guarded() -> Proxy {
    let settings = "[auth]\nrequire_auth = true\nusername = \"ann\"\npassword = \"s3cret\"";
    Setup::new().settings(settings).start()
}

fn method(name: &str) -> (u8, Value) {
    (property::AUTHENTICATION_METHOD, Value::Text(name.into()))
}

fn data(bytes: &[u8]) -> (u8, Value) {
    (property::AUTHENTICATION_DATA, Value::Binary(bytes.to_vec()))
}

/// A CONNECT that asks for a mechanism, with the first data or without.
fn connect(client_id: &str, mechanism: &str, first: Option<&[u8]>) -> Connect {
    let mut connect = Connect::new(V5, client_id);
    connect.properties.push(method(mechanism));
    connect.properties.extend(first.map(data));
    connect
}

fn auth(code: u8, properties: &Properties) -> Vec<u8> {
    let mut body = vec![code];
    put_properties(&mut body, properties);
    frame(0xF0, &body)
}

fn assert_method(properties: &Properties, wanted: &str) {
    assert_eq!(
        find(properties, property::AUTHENTICATION_METHOD),
        Some(&Value::Text(wanted.into())),
        "{properties:?}"
    );
}

/// An AUTH with this Reason Code that names the method.
fn expect_auth(packet: &Packet, code: u8) {
    assert_eq!((packet.first, packet.disconnect_reason()), (0xF0, code), "{packet:?}");
    assert_method(&packet.properties(), "PLAIN");
}

/// Connects and sends the data when it is asked for.
fn join(proxy: &Proxy, client_id: &str) -> Wire {
    let mut wire = Wire::open(proxy.mqtt());
    wire.send(&connect(client_id, "PLAIN", None).encode());
    expect_auth(&wire.packet(), CONTINUE);
    wire.send(&auth(CONTINUE, &vec![method("PLAIN"), data(GOOD)]));
    let connack = Connack::decode(&wire.packet(), V5);
    assert_eq!(connack.code, 0, "{connack:?}");
    assert_method(&connack.properties, "PLAIN");
    wire
}

/// The end of a handshake: a CONNACK that refuses, or nothing, and the end of the connection.
fn expect_refusal(wire: &mut Wire, what: &str) {
    for packet in wire.until_close() {
        let connack = Connack::decode(&packet, V5);
        assert!(connack.code >= 0x80 && !connack.session_present, "{what}: {connack:?}");
    }
}

#[test]
fn a_method_that_is_not_known_is_refused() {
    let proxy = shared::proxy();
    for mechanism in ["", "plain", "UNHEARD-OF", "SCRAM-SHA-512-PLUS"] {
        for first in [None, Some(GOOD)] {
            let bytes = connect("unknown-method", mechanism, first).encode();
            let code = refused_connect(proxy.mqtt(), V5, mechanism, &bytes);
            let allowed = [reason::BAD_AUTHENTICATION_METHOD, reason::NOT_AUTHORIZED];
            assert!(code.is_none_or(|code| allowed.contains(&code)), "{mechanism:?}: {code:x?}");
        }
    }
}

#[test]
fn without_a_method_there_is_no_auth_from_either_side() {
    let proxy = shared::proxy();
    let mut device = Device::connect(proxy.mqtt(), V5, "no-method");
    assert_eq!(find(&device.connack.properties, property::AUTHENTICATION_METHOD), None);
    assert_eq!(find(&device.connack.properties, property::AUTHENTICATION_DATA), None);
    device.ping();
    for (what, bytes) in [
        ("the shortest AUTH", vec![0xF0, 0]),
        ("AUTH with 0x18", auth(CONTINUE, &vec![method("PLAIN")])),
        ("AUTH with 0x19", auth(AGAIN, &vec![method("PLAIN"), data(GOOD)])),
    ] {
        expect_end_of(proxy.mqtt(), V5, "no-method", what, &bytes, reason::BROKEN);
    }
}

#[test]
fn a_refusal_without_a_method_names_none() {
    let proxy = guarded();
    let device = Device::try_connect(proxy.mqtt(), &Connect::new(V5, "d").credentials("ann", "wrong"));
    assert!(device.connack.code >= 0x80);
    assert_eq!(find(&device.connack.properties, property::AUTHENTICATION_METHOD), None);
}

#[test]
fn auth_with_reserved_flags_is_malformed() {
    let proxy = shared::proxy();
    for flags in 1..16 {
        let bytes = [&[0xF0 | flags], &auth(CONTINUE, &vec![method("PLAIN")])[1..]].concat();
        let what = format!("AUTH with flags {flags}");
        expect_end_of(proxy.mqtt(), V5, "auth-flags", &what, &bytes, &[reason::MALFORMED]);
    }
}

#[test]
fn auth_has_no_place_in_3_1_1() {
    let proxy = shared::proxy();
    for bytes in [vec![0xF0, 0], auth(CONTINUE, &vec![method("PLAIN")])] {
        expect_end_of(proxy.mqtt(), Version::V4, "auth-3.1.1", "AUTH", &bytes, &[]);
    }
}

#[test]
fn the_client_is_asked_for_its_data_and_let_in() {
    let proxy = guarded();
    let mut wire = join(&proxy, "asked");
    wire.send(&[0xC0, 0]);
    wire.expect(&[0xD0, 0]);
}

#[test]
fn data_in_the_connect_needs_no_question() {
    let proxy = guarded();
    let mut wire = Wire::open(proxy.mqtt());
    wire.send(&connect("with-data", "PLAIN", Some(GOOD)).encode());
    let connack = Connack::decode(&wire.packet(), V5);
    assert_eq!(connack.code, 0);
    assert_method(&connack.properties, "PLAIN");
}

#[test]
fn wrong_data_is_refused_and_the_connection_ends() {
    let proxy = guarded();
    for wrong in
        [BAD, b"", b"ann\0s3cret", b"\0ann\0", b"\0ann\0s3cret\0", b"\0\xFF\0s3cret", b"bob\0ann\0s3cret"]
    {
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(&connect("wrong", "PLAIN", Some(wrong)).encode());
        expect_refusal(&mut wire, "in CONNECT");
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(&connect("wrong", "PLAIN", None).encode());
        expect_auth(&wire.packet(), CONTINUE);
        wire.send(&auth(CONTINUE, &vec![method("PLAIN"), data(wrong)]));
        expect_refusal(&mut wire, "in AUTH");
    }
}

#[test]
fn an_answer_that_does_not_fit_ends_the_handshake() {
    let proxy = guarded();
    let answers: &[(&str, Vec<u8>)] = &[
        ("another method", auth(CONTINUE, &vec![method("OTHER"), data(GOOD)])),
        ("no method", auth(CONTINUE, &vec![data(GOOD)])),
        ("no properties", vec![0xF0, 0]),
        ("0x00 from a client", auth(SUCCESS, &vec![method("PLAIN"), data(GOOD)])),
        ("0x19 before the CONNACK", auth(AGAIN, &vec![method("PLAIN"), data(GOOD)])),
        ("a Reason Code of no table", auth(0x01, &vec![method("PLAIN"), data(GOOD)])),
        ("reserved flags", [&[0xF1], &auth(CONTINUE, &vec![method("PLAIN"), data(GOOD)])[1..]].concat()),
        ("PUBLISH instead", Publish::new("t", "m").encode(V5)),
        ("PINGREQ instead", vec![0xC0, 0]),
        ("CONNECT instead", connect("misfit", "PLAIN", Some(GOOD)).encode()),
    ];
    for (what, bytes) in answers {
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(&connect("misfit", "PLAIN", None).encode());
        expect_auth(&wire.packet(), CONTINUE);
        wire.send(bytes);
        expect_refusal(&mut wire, what);
    }
    // A client may also give up.
    let mut wire = Wire::open(proxy.mqtt());
    wire.send(&connect("gives-up", "PLAIN", None).encode());
    expect_auth(&wire.packet(), CONTINUE);
    wire.send(&[0xE0, 0]);
    assert_eq!(wire.until_close(), []);
}

#[test]
fn a_client_may_authenticate_again() {
    let proxy = guarded();
    let mut wire = join(&proxy, "again");
    for _ in 0..3 {
        wire.send(&auth(AGAIN, &vec![method("PLAIN"), data(GOOD)]));
        expect_auth(&wire.packet(), SUCCESS);
        // The connection goes on all the time.
        wire.send(&[0xC0, 0]);
        wire.expect(&[0xD0, 0]);
    }
}

#[test]
fn a_second_authentication_that_fails_ends_the_connection() {
    let proxy = guarded();
    let attempts: &[(&str, Vec<u8>, &[u8])] = &[
        (
            "wrong data",
            auth(AGAIN, &vec![method("PLAIN"), data(BAD)]),
            &[reason::NOT_AUTHORIZED, reason::BAD_CREDENTIALS],
        ),
        (
            "another method",
            auth(AGAIN, &vec![method("OTHER"), data(GOOD)]),
            &[reason::PROTOCOL_ERROR, reason::BAD_AUTHENTICATION_METHOD],
        ),
        (
            "no method",
            auth(AGAIN, &vec![data(GOOD)]),
            &[reason::PROTOCOL_ERROR, reason::BAD_AUTHENTICATION_METHOD],
        ),
        (
            "0x18 that nobody asked for",
            auth(CONTINUE, &vec![method("PLAIN"), data(GOOD)]),
            &[reason::PROTOCOL_ERROR],
        ),
        ("0x00 from a client", auth(SUCCESS, &vec![method("PLAIN")]), reason::BROKEN),
    ];
    for (what, bytes, reasons) in attempts {
        let mut wire = join(&proxy, "again-bad");
        wire.send(bytes);
        let packets = wire.until_close();
        let last = packets.last().unwrap_or_else(|| panic!("{what}: MQTT 5.0 is to be told why"));
        assert_eq!(last.kind(), kind::DISCONNECT, "{what}: {packets:?}");
        assert!(reasons.contains(&last.disconnect_reason()), "{what}: {packets:?}");
    }
}
