//! What a client session tells its application.

use super::Granted;
use crate::{Message, Properties, ReasonCode};

/// Names a message that was published, for the event that says what became of it. Ascending in the order of
/// publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishToken(pub(super) u64);

/// Names a SUBSCRIBE or UNSUBSCRIBE, for the event that brings the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken(pub(super) u64);

/// Names a message that arrived and that the application has to acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryToken(pub(super) u64);

/// Something that the application should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server took the connection.
    Connected {
        /// Whether the server went on with the Session. Where it did not, it has no subscription any more, and
        /// messages that were under way are published again as new ones.
        session_present: bool,
        /// What the server allows.
        granted: Box<Granted>,
    },
    /// A message arrived.
    Message(Delivery),
    /// What became of a message at QoS 1 or 2, or of one at any QoS that this server does not accept.
    Published {
        /// As [`ClientSession::publish`](super::ClientSession::publish) answered.
        token: PublishToken,
        /// A failure where the server refused it, or would have.
        reason_code: ReasonCode,
    },
    /// The server answered SUBSCRIBE.
    Subscribed {
        /// As [`ClientSession::subscribe`](super::ClientSession::subscribe) answered.
        token: RequestToken,
        /// One for each Topic Filter, in their order.
        reason_codes: Vec<ReasonCode>,
    },
    /// The server answered UNSUBSCRIBE.
    Unsubscribed {
        /// As [`ClientSession::unsubscribe`](super::ClientSession::unsubscribe) answered.
        token: RequestToken,
        /// One for each Topic Filter, in their order; in 3.1.1 always a success.
        reason_codes: Vec<ReasonCode>,
    },
    /// The connection is over; the transport is to be closed once the output is written. SUBSCRIBE and UNSUBSCRIBE
    /// packets without an answer get none any more.
    Disconnected(Disconnected),
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message. It shares the memory of what was read; [`Message::detached`] is for who keeps it.
    pub message: Message,
    /// Whether the server says that it may have sent it before.
    pub dup: bool,
    /// The Subscription Identifiers of the subscriptions that it came for (5.0).
    pub subscription_identifiers: Vec<u32>,
    /// What the application acknowledges it with; `None` for QoS 0, and where the session does it by itself.
    pub token: Option<DeliveryToken>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnected {
    /// Who ended it.
    pub cause: DisconnectCause,
    /// Why: the server's Reason Code, or the one that says what the server did wrong.
    pub reason_code: ReasonCode,
    /// The properties of the server's CONNACK or DISCONNECT, such as Reason String and Server Reference.
    pub properties: Properties,
}

/// Who ended a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisconnectCause {
    /// The server refused it with CONNACK.
    Refused,
    /// The server ended it with DISCONNECT.
    Server,
    /// The server broke the protocol, in these words; it was told so with DISCONNECT (5.0).
    ProtocolViolation(String),
    /// The server did not answer CONNECT or PINGREQ in time.
    Timeout,
}
