//! What changes in the state that must survive the process, one value a change. Each goes into the log as a record,
//! in order with the messages; the store keeps the sum of them.

use mqtt::packet::SubscriptionOptions;
use mqtt::{ClientId, Message, PacketId, QoS, TopicFilter, TopicName};

use crate::BrokerId;

/// Whose state it is: a client's session, told by its Client Identifier alone, or the session of a bidirectional
/// upstream broker towards us. Two sessions of one client one after the other have the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(pub u128);

impl SessionKey {
    /// The key of a client's session.
    pub fn of_client(client_id: &ClientId) -> SessionKey {
        let digest = blake3::hash(client_id.as_byte_string().as_bytes());
        let (half, _) = digest.as_bytes().split_at(16);
        SessionKey(half.iter().fold(0, |key, byte| key << 8 | u128::from(*byte)))
    }

    /// The key of what comes from an upstream broker.
    pub fn of_broker(broker: BrokerId) -> SessionKey {
        SessionKey(broker.0.as_u128())
    }
}

/// Where a broker stands whose backlog waits while live messages go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveCursor {
    /// Where the live messages began: the backlog ends there.
    pub from: u64,
    /// The lowest live offset that the broker has not acknowledged.
    pub cursor: u64,
}

/// A change of durable state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A client connected. A new session replaces all that was there; the Will of an earlier connection does not count
    /// any more.
    SessionConnected {
        /// Whose.
        session: SessionKey,
        /// The Client Identifier.
        client_id: ClientId,
        /// Whether the session begins here, so that nothing of an earlier one counts.
        is_new: bool,
        /// Session Expiry Interval in seconds; `u32::MAX` is for ever.
        expiry_secs: u32,
    },
    /// The connection ended and the session goes on.
    SessionDisconnected {
        /// Whose.
        session: SessionKey,
        /// Session Expiry Interval in seconds, which DISCONNECT may have changed.
        expiry_secs: u32,
        /// When, in microseconds since the Unix epoch.
        at_micros: u64,
    },
    /// The connection has a Will, or has none any more.
    Will {
        /// Whose.
        session: SessionKey,
        /// Will Delay Interval in seconds, and the message.
        will: Option<(u32, Message)>,
    },
    /// The session is over.
    SessionEnded {
        /// Whose.
        session: SessionKey,
    },
    /// A subscription was made or replaced.
    Subscribed {
        /// Whose.
        session: SessionKey,
        /// For which topics.
        filter: TopicFilter,
        /// How.
        options: SubscriptionOptions,
        /// Subscription Identifier.
        identifier: Option<u32>,
    },
    /// A subscription ended.
    Unsubscribed {
        /// Whose.
        session: SessionKey,
        /// For which topics.
        filter: TopicFilter,
    },
    /// A message waits for the client that did not come through the log just now, such as a retained one. The
    /// offset of this very record is its identity in the changes that follow.
    Queued {
        /// Whose.
        session: SessionKey,
        /// QoS of the delivery.
        qos: QoS,
        /// RETAIN flag of the delivery.
        retain: bool,
        /// Subscription Identifiers of the delivery.
        subscription_identifiers: Vec<u32>,
        /// When the message was received, in microseconds since the Unix epoch.
        received_at_micros: u64,
        /// The message as it was published.
        message: Message,
    },
    /// Deliveries went out to the client, or are about to, under these Packet Identifiers.
    DeliverySent {
        /// Whose.
        session: SessionKey,
        /// Packet Identifier and the offset of the message.
        deliveries: Vec<(PacketId, u64)>,
    },
    /// PUBREC came for these.
    DeliveryReceived {
        /// Whose.
        session: SessionKey,
        /// Which deliveries in flight.
        packet_ids: Vec<PacketId>,
    },
    /// Deliveries need nothing more: acknowledged to the end, expired or dropped.
    DeliveryDone {
        /// Whose.
        session: SessionKey,
        /// The offsets of the messages.
        offsets: Vec<u64>,
    },
    /// PUBREL came for messages that we received at QoS 2: their identifiers are free.
    Released {
        /// From whom.
        session: SessionKey,
        /// Which.
        packet_ids: Vec<PacketId>,
    },
    /// How far an upstream broker is. What the broker finished below its cursor is forgotten.
    Cursor {
        /// Which.
        broker: BrokerId,
        /// The lowest offset that it has not acknowledged.
        cursor: u64,
        /// While a backlog is drained behind live messages.
        live: Option<LiveCursor>,
    },
    /// QoS 2 messages are about to go to an upstream broker under these Packet Identifiers.
    UpstreamSent {
        /// Which.
        broker: BrokerId,
        /// Packet Identifier and the offset of the message.
        messages: Vec<(PacketId, u64)>,
    },
    /// PUBREC came for these.
    UpstreamReceived {
        /// From which broker.
        broker: BrokerId,
        /// Which messages in flight.
        packet_ids: Vec<PacketId>,
    },
    /// The broker needs nothing more of these QoS 2 messages; they must not go to it again.
    UpstreamDone {
        /// Which.
        broker: BrokerId,
        /// The offsets of the messages.
        offsets: Vec<u64>,
    },
    /// The broker forgot our session: what was in flight there is as if it had never been sent.
    UpstreamSessionLost {
        /// Which.
        broker: BrokerId,
    },
    /// These topics have no retained message any more: it has expired, or there was no room for it.
    RetainedForgotten {
        /// Which.
        topic_names: Vec<TopicName>,
    },
    /// The broker was removed or disabled: nothing is kept for it.
    BrokerForgotten {
        /// Which.
        broker: BrokerId,
    },
}
