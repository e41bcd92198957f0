//! What a message's record says besides the message: under which Packet Identifier it came at QoS 2, and which
//! durable sessions it is for.

use mqtt::{PacketId, QoS};

use super::change::SessionKey;

/// The annex of a message's record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annex {
    /// Who sent the message at QoS 2 and under which identifier, until it is released.
    pub inbound: Option<(SessionKey, PacketId)>,
    /// The durable sessions that get the message at QoS 1 or 2.
    pub recipients: Vec<Recipient>,
}

/// A durable session that gets a message. The offset of the record is the delivery's identity from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Whose.
    pub session: SessionKey,
    /// QoS of the delivery: 1 or 2.
    pub qos: QoS,
    /// RETAIN flag of the delivery.
    pub retain: bool,
    /// Subscription Identifiers of the delivery.
    pub subscription_identifiers: Vec<u32>,
}
