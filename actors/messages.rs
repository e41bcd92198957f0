//! Every message between actors, in one table of types. A command is an imperative, an announcement a past
//! event; what is `Result`-less cannot fail.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::prelude::*;

use crate::broker::{BrokerChanges, BrokerId, FieldError, SharedBroker};

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
