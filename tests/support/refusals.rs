//! Packets with something wrong in them, written byte by byte, and how the other side has to take them.

use std::net::SocketAddr;

use super::Version;
use super::device::Device;
use super::packets::{Connack, Connect, frame, kind, put_variable};
use super::wire::Wire;

/// Reason Codes of MQTT 5.0.
pub mod reason {
    /// Malformed Packet.
    pub const MALFORMED: u8 = 0x81;
    /// Protocol Error.
    pub const PROTOCOL_ERROR: u8 = 0x82;
    /// Unsupported Protocol Version.
    pub const UNSUPPORTED_VERSION: u8 = 0x84;
    /// Bad User Name or Password.
    pub const BAD_CREDENTIALS: u8 = 0x86;
    /// Not authorized.
    pub const NOT_AUTHORIZED: u8 = 0x87;
    /// Bad authentication method.
    pub const BAD_AUTHENTICATION_METHOD: u8 = 0x8C;
    /// Keep Alive timeout.
    pub const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;
    /// Session taken over.
    pub const SESSION_TAKEN_OVER: u8 = 0x8E;
    /// Topic Filter invalid.
    pub const TOPIC_FILTER_INVALID: u8 = 0x8F;
    /// Topic Name invalid.
    pub const TOPIC_NAME_INVALID: u8 = 0x90;
    /// What a packet that breaks the standard may be called: the standard often leaves it open which.
    pub const BROKEN: &[u8] = &[MALFORMED, PROTOCOL_ERROR];
}

/// The Reason Codes with which a CONNACK may refuse `[MQTT-3.2.2-8]`.
const OF_A_REFUSAL: &[u8] = &[
    0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A,
    0x9B, 0x9C, 0x9D, 0x9F,
];

/// Bytes with their length before them, as text and binary data stand in packets.
pub fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    [&length.to_be_bytes(), bytes].concat()
}

/// Encoded properties with their length before them; nothing in MQTT 3.1.1.
pub fn property_block(version: Version, properties: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if version.is_v5() {
        put_variable(&mut bytes, u32::try_from(properties.len()).expect("short"));
        bytes.extend_from_slice(properties);
    }
    bytes
}

/// CONNECT with these flags, encoded properties and payload, whether they fit each other or not.
pub fn connect_bytes(version: Version, flags: u8, properties: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    let level = if version.is_v5() { 5 } else { 4 };
    let head = [&field(b"MQTT")[..], &[level, flags, 0, 60]].concat();
    frame(0x10, &[head, property_block(version, properties), payload.concat()].concat())
}

/// Sends a CONNECT that must not be taken and waits for the end. MQTT 3.1.1 gets no answer
/// `[MQTT-3.1.4-1]`; MQTT 5.0 may get one that refuses, whose Reason Code is returned.
pub fn refused_connect(address: SocketAddr, version: Version, what: &str, bytes: &[u8]) -> Option<u8> {
    let mut wire = Wire::open(address);
    wire.send(bytes);
    let packets = wire.until_close();
    if packets.is_empty() {
        return None;
    }
    assert!(version.is_v5() && packets.len() == 1, "{what}: too much came: {packets:?}");
    let connack = Connack::decode(&packets[0], version);
    assert!(OF_A_REFUSAL.contains(&connack.code) && !connack.session_present, "{what}: {connack:?}");
    Some(connack.code)
}

/// Sends bytes that end the connection. MQTT 3.1.1 knows no answer; MQTT 5.0 says one of these reasons.
pub fn expect_end(device: &mut Device, version: Version, what: &str, bytes: &[u8], reasons: &[u8]) {
    device.wire.send(bytes);
    let packets = device.wire.until_close();
    if version.is_v5() {
        let Some(last) = packets.last() else { panic!("{what}: MQTT 5.0 is to be told why") };
        assert_eq!(last.kind(), kind::DISCONNECT, "{what}: {packets:?}");
        let said = last.disconnect_reason();
        assert!(reasons.contains(&said), "{what}: the reason was {said:#x}, not one of {reasons:x?}");
    } else {
        assert!(packets.is_empty(), "{what}: MQTT 3.1.1 knows no answer, but {packets:?} came");
    }
}

/// The same over a connection of its own.
pub fn expect_end_of(
    address: SocketAddr,
    version: Version,
    client_id: &str,
    what: &str,
    bytes: &[u8],
    reasons: &[u8],
) {
    let mut device = Device::connect_with(address, &Connect::new(version, client_id));
    expect_end(&mut device, version, what, bytes, reasons);
}
