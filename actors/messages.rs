//! Every message between actors, in one table of types. A command is an imperative, an announcement a past
//! event; what is `Result`-less cannot fail.

mod lifecycle;

use std::sync::{Arc, Mutex};

use actix::prelude::*;
use mqtt::packet::{Connect, SubscriptionOptions};
use mqtt::{ClientId, Message as ApplicationMessage, PacketId, QoS, ReasonCode, TopicFilter};

pub use self::lifecycle::{
    AtRevision, ChangeForwarding, Forwarding, GetBrokerEvents, GetDrained, Reconnect, ReconnectError,
    RetryNow, ToggleBroker, ValidateBroker, Validation,
};
use crate::Origin;
use crate::authenticator::Authenticated;
use crate::broker::{BrokerId, SharedBroker};
pub use crate::config_store::{BrokersChanged, ConfigError, ListGroups, UpdateGroup};
use crate::connection::Connection;
pub use crate::connection_tester::{ConnectionTest, TestConnection, TooManyTests};
use crate::definition::BrokerChanges;
use crate::delivery_queue::DeliveryQueue;
use crate::message_log::{Laggard, MessageLog};
use crate::promise::Promise;
use crate::share_group::ShareGroup;
pub use crate::snapshots::{GroupSnapshot, LogSnapshot, UpstreamSnapshot, UpstreamState};
use crate::start_position::{LogPoint, StartPosition};
use crate::store::SessionKey;

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
    /// How the client has proved who it is, where CONNECT names a method for that.
    pub authenticated: Option<Authenticated>,
}

/// No Session: CONNACK with this Reason Code goes back on the connection, which then ends.
pub struct Refused {
    /// Why.
    pub reason_code: ReasonCode,
    /// For the log, and the Reason String; empty where the Reason Code says it all.
    pub text: &'static str,
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
    /// What must be known of them after a restart, so that a repeat is recognised.
    pub exactly_once: Option<ExactlyOnce>,
    /// Whether the source can be told that a message was refused. If not, what cannot be taken comes back.
    pub may_refuse: bool,
}

impl Route {
    /// Messages of a source that is no session and that keeps nothing.
    pub fn new(origin: Origin, batch: Vec<ApplicationMessage>) -> Route {
        Route { origin, publisher: None, batch, exactly_once: None, may_refuse: true }
    }
}

/// The QoS 2 messages of a batch that came from a durable session.
#[derive(Clone, Debug)]
pub struct ExactlyOnce {
    /// Whose.
    pub session: SessionKey,
    /// Which message of the batch came under which Packet Identifier, in order.
    pub packet_ids: Vec<(usize, PacketId)>,
}

/// What became of a batch.
#[derive(Default, MessageResponse)]
pub struct Routed {
    /// What the acknowledgements of the batch wait for, where no outcomes say otherwise.
    pub promise: Promise,
    /// One for each message that was routed, or none at all where all are alike and were taken.
    pub outcomes: Vec<Outcome>,
    /// The rest of the batch, from the first message on that there is no room for now.
    pub returned: Vec<ApplicationMessage>,
    /// How many messages with RETAIN set were not kept, because there is no room for more.
    pub not_retained: u64,
    /// Somebody is far behind: wait before the next batch, or before what was returned comes again.
    pub wait_for: Option<WaitFor>,
}

/// Whom a publisher waits for.
pub enum WaitFor {
    /// Upstream brokers or the disk.
    Log(Laggard),
    /// A connected local subscriber.
    Subscriber(Arc<DeliveryQueue>),
}

impl WaitFor {
    /// Done when there is room, or when there was patience enough.
    pub async fn room(self, log: &MessageLog) {
        match self {
            WaitFor::Log(laggard) => log.room(laggard).await,
            WaitFor::Subscriber(queue) => queue.room().await,
        }
    }
}

/// What became of one message.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What its publisher is told.
    pub reason_code: ReasonCode,
    /// When.
    pub promise: Promise,
}

/// New or changed subscriptions of a session.
#[derive(Message)]
#[rtype(result = "Subscribed")]
pub struct Subscribe {
    /// Whose.
    pub session_id: SessionId,
    /// Where its messages go.
    pub queue: Arc<DeliveryQueue>,
    /// What for.
    pub subscriptions: Vec<(TopicFilter, SubscriptionOptions)>,
    /// The Subscription Identifier of all of them.
    pub subscription_identifier: Option<u32>,
    /// The key of a session that survives the process.
    pub durable: Option<SessionKey>,
    /// Which retained messages the answer is to bring.
    pub retained: RetainedWish,
}

/// What a session can do with retained messages now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainedWish {
    /// None at all: the subscriptions are those of before a restart, and they were sent then.
    None,
    /// It has others to send first, and asks for them later.
    Later,
    /// A first batch.
    Now,
}

/// The subscriptions are in force.
#[derive(Debug, Default, MessageResponse)]
pub struct Subscribed {
    /// Retained messages that they ask for.
    pub retained: Vec<Delivery>,
    /// Where to look for the rest of them.
    pub searches: Vec<RetainedSearch>,
    /// The groups of the shared ones among them, in their order.
    pub groups: Vec<Arc<ShareGroup>>,
}

/// A look for the retained messages of one subscription, as they were when it was made: what is left of it.
#[derive(Clone, Debug)]
pub struct RetainedSearch {
    /// Which topics.
    pub filter: TopicFilter,
    /// The QoS of the subscription.
    pub qos: QoS,
    /// Its Subscription Identifier.
    pub identifier: Option<u32>,
    /// What was kept before this is found already; 0 where nothing was looked at.
    pub from: u64,
    /// What was kept from here on came after the subscription.
    pub to: u64,
}

/// Brings another batch of retained messages.
#[derive(Message)]
#[rtype(result = "Collected")]
pub struct CollectRetained(pub RetainedSearch);

/// The answer to [`CollectRetained`].
#[derive(Debug, MessageResponse)]
pub struct Collected {
    /// The messages.
    pub retained: Vec<Delivery>,
    /// Where to go on.
    pub rest: Option<RetainedSearch>,
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
    /// Where the log has it, in the queue of a durable session.
    pub offset: Option<u64>,
    /// The group that it was shared out in, and that gets it back if the session does not deliver it.
    pub share: Option<Arc<ShareGroup>>,
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

// ---- the web to the Router ------------------------------------------------------------------------------

/// Sends a part of the log to a broker once more, beside what goes there anyway. A replay that runs gives way.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), ReplayError>")]
pub struct Replay {
    /// To whom.
    pub broker: BrokerId,
    /// From where; never [`StartPosition::Now`].
    pub from: StartPosition,
    /// What lies before this place; `None` is the end of the log as it is now.
    pub to: Option<LogPoint>,
    /// Messages that one of these matches; none at all means what the broker's own filters want.
    pub topics: Vec<TopicFilter>,
    /// How many messages go out in a second at most.
    pub max_rate_messages: Option<u32>,
}

/// Ends a broker's replay; answers whether one ran.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<bool, ReplayError>")]
pub struct StopReplay(pub BrokerId);

/// Why a replay cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// No enabled broker has this identity.
    NotRunning,
    /// The log cannot be read; the text says why.
    Storage(String),
}

// ---- what anyone may look at ----------------------------------------------------------------------------

/// What the Router looks like.
#[derive(Message)]
#[rtype(result = "RouterSnapshot")]
pub struct GetRouterSnapshot;

/// The answer to [`GetRouterSnapshot`].
#[derive(Clone, Debug, Default, MessageResponse)]
pub struct RouterSnapshot {
    /// Whether the ConfigStore has said who there is.
    pub are_brokers_known: bool,
    /// Each upstream broker, in the order of the ConfigStore.
    pub upstreams: Vec<UpstreamSnapshot>,
    /// Each group of upstream brokers.
    pub groups: Vec<GroupSnapshot>,
    /// Messages received from devices since the start.
    pub received: u64,
    /// Messages delivered to local subscribers since the start.
    pub delivered: u64,
    /// Retained messages.
    pub retained: u64,
    /// Bytes of their topics, properties and payloads.
    pub retained_bytes: u64,
    /// Subscriptions of all sessions, the shared ones among them.
    pub subscriptions: u64,
    /// How many of them are shared ones.
    pub shared_subscriptions: u64,
    /// How the log stands.
    pub log: LogSnapshot,
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
