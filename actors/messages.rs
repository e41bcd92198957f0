//! Every message between actors, in one table of types. A command is an imperative, an announcement a past
//! event; what is `Result`-less cannot fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use mqtt::packet::{Connect, SubscriptionOptions};
use mqtt::{ClientId, Message as ApplicationMessage, QoS, ReasonCode, TopicFilter};

use crate::Origin;
use crate::broker::{BrokerId, SharedBroker};
use crate::broker_changes::{BrokerChanges, FieldError};
use crate::connection::Connection;

// ---- adapters to SessionRegistry to DeviceSession -------------------------------------------------------

/// One Session of one Client Identifier, told apart from any earlier one of the same identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// A client said CONNECT: give it a Session, or say why not.
#[derive(Message)]
#[rtype(result = "Result<(), Refused>")]
pub struct Attach {
    /// The packet.
    pub connect: Box<Connect>,
    /// The connection that it came on; the session answers there with CONNACK.
    pub connection: Connection,
}

/// No Session: CONNACK with this Reason Code goes back on the connection, which then ends.
pub struct Refused {
    /// Why.
    pub reason_code: ReasonCode,
    /// The connection, for the answer.
    pub connection: Box<Connection>,
}

/// A CONNECT that a Session may take. One that is just ending leaves it where it is, for a new Session.
pub type Offer = Arc<Mutex<Option<Attach>>>;

/// A Session that exists is offered a new Network Connection; an old one is taken over.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Resume(pub Offer);

/// The Session ends now: its connection gets DISCONNECT with this Reason Code.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Retire(pub ReasonCode);

/// A Session is no more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SessionEnded {
    /// Whose it was.
    pub client_id: ClientId,
    /// Which one.
    pub session_id: SessionId,
}

/// Is this client who it says?
#[derive(Message)]
#[rtype(result = "Result<(), ReasonCode>")]
pub struct Authenticate {
    /// User Name.
    pub user_name: Option<bytestring::ByteString>,
    /// Password.
    pub password: Option<bytes::Bytes>,
}

// ---- DeviceSession and UpstreamBroker to Router, and back -----------------------------------------------

/// Messages of one source in their order: to the log for the upstream brokers, to local subscribers, and to
/// the retained messages.
#[derive(Message)]
#[rtype(result = "Routed")]
pub struct Route {
    /// Where they came from.
    pub origin: Origin,
    /// The session that published them, for No Local.
    pub publisher: Option<SessionId>,
    /// The messages.
    pub batch: Vec<ApplicationMessage>,
}

/// The batch is in the log: it may be acknowledged.
#[derive(Clone, Copy, Debug, MessageResponse)]
pub struct Routed {
    /// An upstream broker is far behind: wait for the log's room before the next batch.
    pub wait_for_room: bool,
}

/// New or changed subscriptions of a session.
#[derive(Message)]
#[rtype(result = "Subscribed")]
pub struct Subscribe {
    /// Whose.
    pub session_id: SessionId,
    /// Where its messages go.
    pub deliver: Recipient<Deliver>,
    /// What for.
    pub subscriptions: Vec<(TopicFilter, SubscriptionOptions)>,
    /// The Subscription Identifier of all of them.
    pub subscription_identifier: Option<u32>,
}

/// The subscriptions are in force.
#[derive(Debug, MessageResponse)]
pub struct Subscribed {
    /// The retained messages that they ask for.
    pub retained: Vec<Delivery>,
}

/// Ends subscriptions of a session; answers for each filter whether there was one.
#[derive(Message)]
#[rtype(result = "Vec<bool>")]
pub struct Unsubscribe {
    /// Whose.
    pub session_id: SessionId,
    /// Which.
    pub topic_filters: Vec<TopicFilter>,
}

/// Messages for a local subscriber, in order.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Deliver {
    /// The messages.
    pub batch: Vec<Delivery>,
}

/// One message on its way to one local subscriber.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message as it was published.
    pub message: Arc<ApplicationMessage>,
    /// The QoS of this delivery.
    pub qos: QoS,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// The identifiers of all subscriptions that match `[MQTT-3.3.4-3]`.
    pub subscription_identifiers: Vec<u32>,
    /// When the message was received, for its expiry.
    pub received_at: std::time::Instant,
}

/// There is something to read in the log.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Wake;

/// An upstream broker's definition has changed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconfigure(pub SharedBroker);

// ---- the web and the start-up to the ConfigStore --------------------------------------------------------

/// All upstream brokers in the order in which they were added; those of the command line come first.
#[derive(Message)]
#[rtype(result = "Vec<SharedBroker>")]
pub struct ListBrokers;

/// One upstream broker.
#[derive(Message)]
#[rtype(result = "Option<SharedBroker>")]
pub struct GetBroker(pub BrokerId);

/// Adds an upstream broker and stores it.
#[derive(Message)]
#[rtype(result = "Result<SharedBroker, ConfigError>")]
pub struct AddBroker(pub BrokerChanges);

/// Changes an upstream broker and stores it.
#[derive(Message)]
#[rtype(result = "Result<SharedBroker, ConfigError>")]
pub struct UpdateBroker(pub BrokerId, pub BrokerChanges);

/// Removes an upstream broker for good.
#[derive(Message)]
#[rtype(result = "Result<(), ConfigError>")]
pub struct RemoveBroker(pub BrokerId);

/// Enables a disabled upstream broker and the reverse.
#[derive(Message)]
#[rtype(result = "Result<SharedBroker, ConfigError>")]
pub struct ToggleBroker(pub BrokerId);

/// Why the ConfigStore did not do what it was asked. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A field of the definition is wrong.
    Field(FieldError),
    /// No broker has this identity.
    NotFound(BrokerId),
    /// Another broker has this name.
    NameInUse(String),
    /// The broker was given on the command line and cannot be changed here.
    ReadOnly(String),
    /// There are as many brokers as there may be.
    TooMany(usize),
    /// The file could not be written; the text says why.
    Storage(String),
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigError::Field(error) => error.fmt(formatter),
            ConfigError::NotFound(id) => write!(formatter, "no broker has the id {id}"),
            ConfigError::NameInUse(name) => write!(formatter, "name: {name:?} is in use by another broker"),
            ConfigError::ReadOnly(name) => {
                write!(formatter, "broker {name:?} was given by --upstream and cannot be changed here")
            }
            ConfigError::TooMany(max) => {
                write!(formatter, "there are {max} brokers already, the most there may be")
            }
            ConfigError::Storage(problem) => write!(formatter, "the brokers could not be stored: {problem}"),
        }
    }
}

impl std::error::Error for ConfigError {}

// ---- ConfigStore to Router ------------------------------------------------------------------------------

/// The upstream brokers as they are now; answers with the revision that the Router holds afterwards.
#[derive(Clone, Message)]
#[rtype(result = "u64")]
pub struct BrokersChanged {
    /// Counts the changes; a lower one than the Router holds is stale.
    pub revision: u64,
    /// All brokers, enabled or not.
    pub brokers: Vec<SharedBroker>,
}

// ---- what anyone may look at ----------------------------------------------------------------------------

/// Where an upstream broker's connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamState {
    /// Not enabled: nothing is forwarded and nothing kept for it.
    Disabled,
    /// A connection attempt is under way.
    Connecting,
    /// CONNACK said yes.
    Connected,
    /// The last attempt or connection failed; the next attempt waits for its time.
    WaitingToRetry,
}

impl UpstreamState {
    /// The state as the API and the dashboard show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            UpstreamState::Disabled => "disabled",
            UpstreamState::Connecting => "connecting",
            UpstreamState::Connected => "connected",
            UpstreamState::WaitingToRetry => "waiting_to_retry",
        }
    }
}

/// What the Router knows about one upstream broker.
#[derive(Clone, Debug)]
pub struct UpstreamSnapshot {
    /// Which broker.
    pub id: BrokerId,
    /// Its connection.
    pub state: UpstreamState,
    /// How long the state has lasted.
    pub state_age: Duration,
    /// The text of the last failure, if there was one since the last success.
    pub last_error: Option<String>,
    /// Messages sent to the broker (QoS 0) or acknowledged by it (QoS 1 and 2).
    pub forwarded: u64,
    /// Messages that the broker will not get, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Offsets between the end of the log and the lowest one that the broker has not acknowledged.
    pub lag: u64,
    /// Sent at QoS 1 or 2 and not yet acknowledged.
    pub in_flight: u64,
    /// Connections that were made after the first one.
    pub reconnects: u64,
}

/// What the Router looks like.
#[derive(Message)]
#[rtype(result = "RouterSnapshot")]
pub struct GetRouterSnapshot;

/// The answer to [`GetRouterSnapshot`].
#[derive(Clone, Debug, Default, MessageResponse)]
pub struct RouterSnapshot {
    /// Each upstream broker, in the order of the ConfigStore.
    pub upstreams: Vec<UpstreamSnapshot>,
    /// Messages received from devices since the start.
    pub received: u64,
    /// Messages delivered to local subscribers since the start.
    pub delivered: u64,
    /// Retained messages.
    pub retained: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: u64,
    /// Bytes in the memory of the log.
    pub log_head_bytes: u64,
    /// The offset that the next message gets.
    pub next_offset: u64,
}

/// What the SessionRegistry looks like.
#[derive(Message)]
#[rtype(result = "SessionsSnapshot")]
pub struct GetSessionsSnapshot;

/// The answer to [`GetSessionsSnapshot`].
#[derive(Clone, Copy, Debug, Default, MessageResponse)]
pub struct SessionsSnapshot {
    /// Sessions with or without a Network Connection.
    pub sessions: u64,
    /// Sessions that have a Network Connection now.
    pub connected: u64,
}

// ---- shutdown -------------------------------------------------------------------------------------------

/// Finish what is in flight, say goodbye to the other side, and answer when done.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;
