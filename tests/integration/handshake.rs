//! How a connection begins and ends: what opens it, who is let in and how that is proved, what CONNACK says, and what
//! MQTT 5.0 devices are told when the proxy ends it.

mod authentication;
mod connack;
mod endings;
mod opening;
mod payload_format;
mod refusals;

use crate::support::packets::{Connack, Connect, Packet, Properties, Value, find, property};
use crate::support::wait_until;
use crate::support::wire::Wire;

const CREDENTIALS: &str = "[auth]\nrequire_auth = true\nusername = \"ann\"\npassword = \"s3cret\"";

/// What answers a CONNECT of these bytes before the connection is closed, which it must be.
fn refusal(address: std::net::SocketAddr, bytes: &[u8]) -> Vec<Packet> {
    let mut wire = Wire::open(address);
    wire.send(bytes);
    wire.until_close()
}

/// The CONNACK that answers this CONNECT.
fn connack(address: std::net::SocketAddr, connect: &Connect) -> (Wire, Connack) {
    let mut wire = Wire::open(address);
    wire.send(&connect.encode());
    let connack = Connack::decode(&wire.packet(), connect.version);
    (wire, connack)
}

/// The text of a property, if it is there.
fn text(properties: &Properties, id: u8) -> Option<&str> {
    find(properties, id).map(|value| match value {
        Value::Text(text) => text.as_str(),
        other => panic!("property {id:#x} is {other:?}"),
    })
}

fn reason_string(properties: &Properties) -> Option<&str> {
    text(properties, property::REASON_STRING)
}
