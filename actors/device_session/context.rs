//! What all sessions share, and what clients may ask of them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use actix::prelude::Recipient;

use super::ServerOptions;
use crate::Metrics;
use crate::acknowledgement::Acknowledgements;
use crate::authenticator::Methods;
use crate::delivery_queue::{AbsentSubscriber, QueueLimits, SlowSubscriber};
use crate::message_log::MessageLog;
use crate::messages::{Route, Subscribe, Unsubscribe};

/// What clients may ask for.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// The longest packet that is accepted.
    pub packet_bytes_max: usize,
    /// How many QoS 1 and 2 messages a client may have unacknowledged.
    pub receive_maximum: u16,
    /// How many Topic Aliases a client may set.
    pub topic_alias_maximum: u16,
    /// How many clients may be connected.
    pub connections_max: usize,
    /// How long a session may outlive its connection, in seconds.
    pub session_expiry_secs_max: u32,
    /// How many messages wait for an absent client.
    pub queued_messages_max: usize,
    /// How many bytes wait for a client.
    pub queued_bytes_max: usize,
    /// What happens to messages beyond that for a connected client.
    pub slow_subscriber: SlowSubscriber,
    /// What happens to messages beyond that for an absent client.
    pub absent_subscriber: AbsentSubscriber,
    /// How long the Will of a client waits that was connected when the process died, whether the client comes back.
    pub restart_will_grace: Duration,
    /// The longest Keep Alive in seconds; 0 leaves it to the client.
    pub keep_alive_secs_max: u16,
}

impl SessionLimits {
    pub(super) fn queue_limits(&self) -> QueueLimits {
        QueueLimits {
            messages_max: self.queued_messages_max,
            bytes_max: self.queued_bytes_max,
            slow: self.slow_subscriber,
            absent: self.absent_subscriber,
        }
    }
}

/// What all sessions share.
pub struct SessionContext {
    /// Where messages go.
    pub router: Recipient<Route>,
    /// Where subscriptions go.
    pub subscribe: Recipient<Subscribe>,
    /// Where subscriptions end.
    pub unsubscribe: Recipient<Unsubscribe>,
    /// The log, for back pressure.
    pub log: Arc<MessageLog>,
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
