//! The Control Packets, one a file.

pub mod acknowledgement;
pub mod auth;
pub mod connack;
pub mod connect;
pub mod disconnect;
mod fit;
pub mod ping;
pub mod publish;
pub mod suback;
pub mod subscribe;
#[cfg(test)]
pub(crate) mod table;
pub mod unsuback;
pub mod unsubscribe;

use crate::fixed_header::PacketType;
use crate::wire::Reader;
use crate::{DecodeError, EncodeError, ReasonCode};

pub use acknowledgement::Acknowledgement;
pub use auth::Auth;
pub use connack::ConnAck;
pub use connect::{Connect, Will};
pub use disconnect::Disconnect;
pub use fit::fit;
pub use publish::{Publish, PublishHeader};
pub use suback::SubAck;
pub use subscribe::{RetainHandling, Subscribe, SubscriptionOptions};
pub use unsuback::UnsubAck;
pub use unsubscribe::Unsubscribe;

/// A Control Packet. Cloning is cheap: strings, properties and payloads are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// CONNECT, boxed because it is large and comes once.
    Connect(Box<Connect>),
    /// CONNACK.
    ConnAck(Box<ConnAck>),
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK, the answer to a QoS 1 PUBLISH.
    PubAck(Acknowledgement),
    /// PUBREC, the first answer to a QoS 2 PUBLISH.
    PubRec(Acknowledgement),
    /// PUBREL, the answer to PUBREC.
    PubRel(Acknowledgement),
    /// PUBCOMP, the answer to PUBREL.
    PubComp(Acknowledgement),
    /// SUBSCRIBE.
    Subscribe(Subscribe),
    /// SUBACK.
    SubAck(SubAck),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe),
    /// UNSUBACK.
    UnsubAck(UnsubAck),
    /// PINGREQ.
    PingReq,
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect(Disconnect),
    /// AUTH, since 5.0.
    Auth(Auth),
}

impl Packet {
    /// The type of the packet.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::ConnAck(_) => PacketType::ConnAck,
            Packet::Publish(_) => PacketType::Publish,
            Packet::PubAck(_) => PacketType::PubAck,
            Packet::PubRec(_) => PacketType::PubRec,
            Packet::PubRel(_) => PacketType::PubRel,
            Packet::PubComp(_) => PacketType::PubComp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::SubAck(_) => PacketType::SubAck,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::UnsubAck(_) => PacketType::UnsubAck,
            Packet::PingReq => PacketType::PingReq,
            Packet::PingResp => PacketType::PingResp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }
}

/// Reads a Reason Code of MQTT 5.0. A number that the packet cannot have is a Protocol Error: the packet
/// can be parsed, but has data that the protocol does not allow (section 1.2).
fn read_reason_code(
    reader: &mut Reader<'_>,
    allows: impl Fn(ReasonCode) -> bool,
) -> Result<ReasonCode, DecodeError> {
    ReasonCode::from_u8(reader.u8()?)
        .filter(|reason_code| allows(*reason_code))
        .ok_or(DecodeError::Protocol("a reason code is not allowed in this packet"))
}

/// The same rule before a Reason Code is sent.
fn check_reason_code(allowed: bool) -> Result<(), EncodeError> {
    if allowed {
        Ok(())
    } else {
        Err(EncodeError::Inconsistent("a reason code is not allowed in this packet"))
    }
}
