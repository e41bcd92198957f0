//! What all sessions share, and what clients may ask of them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use actix::prelude::Recipient;

use super::ServerOptions;
use crate::Metrics;
use crate::acknowledgement::Acknowledgements;
use crate::authenticator::Methods;
use crate::bridge::Bridge;
use crate::delivery_queue::QueueLimits;
use crate::message_log::MessageLog;
use crate::messages::{CollectRetained, Route, Subscribe, Unsubscribe};
use crate::quota::TopicLimits;

/// What clients may ask for.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// The longest packet that is accepted.
    pub packet_bytes_max: usize,
    /// The longest topics, and those with the most levels.
    pub topics: TopicLimits,
    /// How many QoS 1 and 2 messages a client may have unacknowledged.
    pub receive_maximum: u16,
    /// How many QoS 1 and 2 messages are on their way to a client, where it does not ask for fewer.
    pub in_flight_max: u16,
    /// How many Topic Aliases a client may set.
    pub topic_alias_maximum: u16,
    /// How many subscriptions a client may have.
    pub subscriptions_max: usize,
    /// How many clients may be connected.
    pub connections_max: usize,
    /// How many sessions there may be, connected or not.
    pub sessions_max: usize,
    /// How long a session may outlive its connection, in seconds.
    pub session_expiry_secs_max: u32,
    /// What waits for a client, and what happens to messages beyond that.
    pub queue: QueueLimits,
    /// How many messages a client may publish in a second; 0 is no bound.
    pub messages_per_second_max: u32,
    /// What happens beyond that.
    pub on_message_rate: OnMessageRate,
    /// How long the Will of a client waits that was connected when the process died, whether the client comes back.
    pub restart_will_grace: Duration,
    /// The longest Keep Alive in seconds; 0 leaves it to the client.
    pub keep_alive_secs_max: u16,
}

/// What happens to a client that publishes faster than it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMessageRate {
    /// Its packets wait until they are due; meanwhile nothing is read from it, and nothing is lost.
    #[default]
    Wait,
    /// It is disconnected with Message rate too high.
    Disconnect,
}

impl OnMessageRate {
    /// Every choice as users write it.
    pub const NAMES: [&'static str; 2] = [OnMessageRate::Wait.as_str(), OnMessageRate::Disconnect.as_str()];

    /// The choice as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            OnMessageRate::Wait => "wait",
            OnMessageRate::Disconnect => "disconnect",
        }
    }

    /// The choice that users write like this.
    pub fn parse(text: &str) -> Option<OnMessageRate> {
        [OnMessageRate::Wait, OnMessageRate::Disconnect].into_iter().find(|choice| choice.as_str() == text)
    }
}

/// What all sessions share.
pub struct SessionContext {
    /// Where messages go.
    pub router: Recipient<Route>,
    /// Where subscriptions go.
    pub subscribe: Recipient<Subscribe>,
    /// Where retained messages are.
    pub collect_retained: Recipient<CollectRetained>,
    /// Where subscriptions end.
    pub unsubscribe: Recipient<Unsubscribe>,
    /// The log, for back pressure.
    pub log: Arc<MessageLog>,
    /// What keeps messages from going round.
    pub bridge: Arc<Bridge>,
    /// What acknowledgements wait for.
    pub acknowledgements: Arc<Acknowledgements>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// How many sessions have a connection.
    pub connected: AtomicUsize,
    /// What clients may ask for.
    pub limits: SessionLimits,
    /// What clients are told.
    pub server: ServerOptions,
    /// How clients may authenticate once more.
    pub methods: Methods,
}
