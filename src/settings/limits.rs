//! `[limits]`: what one device or all of them together may use, as it stands in a file and as it is once checked.

use actors::delivery_queue::{AbsentSubscriber, SlowSubscriber};
use actors::device_session::OnMessageRate;
use serde::{Deserialize, Serialize};

/// The quotas. What is beyond one of them is answered with the standard's Reason Code and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest MQTT Control Packet that is accepted.
    pub packet_bytes_max: usize,
    /// The most bytes of packets, of all connections together, that have arrived in part only.
    pub receiving_bytes_max: usize,
    /// The longest Topic Name or Topic Filter.
    pub topic_bytes_max: usize,
    /// The most levels of a Topic Name or Topic Filter.
    pub topic_levels_max: usize,
    /// How many QoS 1 and 2 messages a device may have in flight towards the proxy.
    pub receive_maximum: u16,
    /// How many QoS 1 and 2 messages may be in flight towards a device.
    pub inflight_messages_max: u16,
    /// How many Topic Aliases a device may use; 0 turns them off.
    pub topic_alias_maximum: u16,
    /// The most subscriptions of one client.
    pub subscriptions_per_client_max: usize,
    /// The most Network Connections of devices at a time.
    pub connections_max: usize,
    /// The most Network Connections at a time from one IPv4 address or IPv6 network of 64 bits; 0 is no bound.
    pub connections_per_address_max: usize,
    /// How many Network Connections a listener accepts in a second; 0 is no bound.
    pub accepts_per_second_max: u32,
    /// The most sessions, with or without a Network Connection.
    pub sessions_max: usize,
    /// The longest that a session is kept without a Network Connection, whatever its device asks for, and
    /// how long one of MQTT 3.1.1 with Clean Session 0 is kept.
    pub session_expiry_secs_max: u32,
    /// The most messages that wait for one absent session.
    pub queued_messages_max: usize,
    /// The most bytes of messages that wait for one absent or slow session.
    pub queued_bytes_max: usize,
    /// What happens beyond that to messages for a connected device.
    pub slow_subscriber: SlowSubscriber,
    /// How long a connected device may take nothing before it is slow enough to be disconnected.
    pub slow_subscriber_secs: u64,
    /// What happens beyond that to messages for an absent device.
    pub absent_subscriber: AbsentSubscriber,
    /// How many messages a device may publish in a second; 0 is no bound.
    pub messages_per_second_max: u32,
    /// What happens to a device that publishes more.
    pub on_message_rate: OnMessageRate,
    /// The most retained messages.
    pub retained_messages_max: usize,
    /// The most bytes of retained messages.
    pub retained_bytes_max: usize,
    /// The longest Keep Alive; 0 leaves the choice to the device.
    pub keep_alive_secs_max: u16,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            packet_bytes_max: PACKET_BYTES_MAX,
            receiving_bytes_max: 256 * 1024 * 1024,
            topic_bytes_max: 65_535,
            topic_levels_max: 65_536,
            receive_maximum: 1_000,
            inflight_messages_max: 1_000,
            topic_alias_maximum: 64,
            subscriptions_per_client_max: 1_000,
            connections_max: 15_000,
            connections_per_address_max: 0,
            accepts_per_second_max: 0,
            sessions_max: 100_000,
            session_expiry_secs_max: 7 * 24 * 60 * 60,
            queued_messages_max: 1_000,
            queued_bytes_max: 8 * 1024 * 1024,
            slow_subscriber: SlowSubscriber::default(),
            slow_subscriber_secs: 10,
            absent_subscriber: AbsentSubscriber::default(),
            messages_per_second_max: 0,
            on_message_rate: OnMessageRate::default(),
            retained_messages_max: 100_000,
            retained_bytes_max: 256 * 1024 * 1024,
            keep_alive_secs_max: 0,
        }
    }
}

/// The section of a file.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub packet_bytes_max: usize,
    pub receiving_bytes_max: usize,
    pub topic_bytes_max: usize,
    pub topic_levels_max: usize,
    pub receive_maximum: u16,
    pub inflight_messages_max: u16,
    pub topic_alias_maximum: u16,
    pub subscriptions_per_client_max: usize,
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub accepts_per_second_max: u32,
    pub sessions_max: usize,
    pub session_expiry_secs_max: u32,
    pub queued_messages_max: usize,
    pub queued_bytes_max: usize,
    pub slow_subscriber: String,
    pub slow_subscriber_secs: u64,
    pub absent_subscriber: String,
    pub messages_per_second_max: u32,
    pub on_message_rate: String,
    pub retained_messages_max: usize,
    pub retained_bytes_max: usize,
    pub keep_alive_secs_max: u16,
}

/// The default of `limits.packet_bytes_max`.
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;

impl RawLimits {
    /// Lets the default for packets give way to what the log's memory and unfinished packets may take. Whoever chose
    /// another value has to see to it that they fit.
    pub fn fit_into(&mut self, head_bytes_max: usize) {
        if self.packet_bytes_max == PACKET_BYTES_MAX {
            self.packet_bytes_max = PACKET_BYTES_MAX.min(head_bytes_max).min(self.receiving_bytes_max);
        }
    }

    /// Every value was checked in its layer already; this says so where a choice was not.
    pub fn check(self) -> Result<Limits, String> {
        let wrong = |key: &str, text: &str| format!("limits.{key}: '{text}' is not known");
        Ok(Limits {
            packet_bytes_max: self.packet_bytes_max,
            receiving_bytes_max: self.receiving_bytes_max,
            topic_bytes_max: self.topic_bytes_max,
            topic_levels_max: self.topic_levels_max,
            receive_maximum: self.receive_maximum,
            inflight_messages_max: self.inflight_messages_max,
            topic_alias_maximum: self.topic_alias_maximum,
            subscriptions_per_client_max: self.subscriptions_per_client_max,
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            accepts_per_second_max: self.accepts_per_second_max,
            sessions_max: self.sessions_max,
            session_expiry_secs_max: self.session_expiry_secs_max,
            queued_messages_max: self.queued_messages_max,
            queued_bytes_max: self.queued_bytes_max,
            slow_subscriber: SlowSubscriber::parse(&self.slow_subscriber)
                .ok_or_else(|| wrong("slow_subscriber", &self.slow_subscriber))?,
            slow_subscriber_secs: self.slow_subscriber_secs,
            absent_subscriber: AbsentSubscriber::parse(&self.absent_subscriber)
                .ok_or_else(|| wrong("absent_subscriber", &self.absent_subscriber))?,
            messages_per_second_max: self.messages_per_second_max,
            on_message_rate: OnMessageRate::parse(&self.on_message_rate)
                .ok_or_else(|| wrong("on_message_rate", &self.on_message_rate))?,
            retained_messages_max: self.retained_messages_max,
            retained_bytes_max: self.retained_bytes_max,
            keep_alive_secs_max: self.keep_alive_secs_max,
        })
    }

    /// The checked values as a file would say them.
    pub fn shown(limits: &Limits) -> RawLimits {
        RawLimits {
            packet_bytes_max: limits.packet_bytes_max,
            receiving_bytes_max: limits.receiving_bytes_max,
            topic_bytes_max: limits.topic_bytes_max,
            topic_levels_max: limits.topic_levels_max,
            receive_maximum: limits.receive_maximum,
            inflight_messages_max: limits.inflight_messages_max,
            topic_alias_maximum: limits.topic_alias_maximum,
            subscriptions_per_client_max: limits.subscriptions_per_client_max,
            connections_max: limits.connections_max,
            connections_per_address_max: limits.connections_per_address_max,
            accepts_per_second_max: limits.accepts_per_second_max,
            sessions_max: limits.sessions_max,
            session_expiry_secs_max: limits.session_expiry_secs_max,
            queued_messages_max: limits.queued_messages_max,
            queued_bytes_max: limits.queued_bytes_max,
            slow_subscriber: limits.slow_subscriber.as_str().to_owned(),
            slow_subscriber_secs: limits.slow_subscriber_secs,
            absent_subscriber: limits.absent_subscriber.as_str().to_owned(),
            messages_per_second_max: limits.messages_per_second_max,
            on_message_rate: limits.on_message_rate.as_str().to_owned(),
            retained_messages_max: limits.retained_messages_max,
            retained_bytes_max: limits.retained_bytes_max,
            keep_alive_secs_max: limits.keep_alive_secs_max,
        }
    }
}
