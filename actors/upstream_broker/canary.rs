//! A message of our own that goes to a broker at intervals, so that somebody knows whether it still takes any: how long
//! the way there takes, and, where the broker sends it back, the way round. Pure: the time is an input.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mqtt::packet::publish::{self, PublishHeader};
use mqtt::{PacketId, Properties, Property, ProtocolVersion, QoS, ReasonCode, TopicFilter, TopicName};

use super::connect::Capabilities;
use super::encoding::Wire;
use crate::Broker;

/// What the payload of every canary begins with, whoever sent it.
const MARK: &str = "mqtt-proxy canary ";

/// After so many intervals without an answer, none is expected any more.
const PATIENCE_INTERVALS: u32 = 3;

/// What anyone may see of a canary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CanarySnapshot {
    /// From PUBLISH to PUBACK, the last time.
    pub round_trip: Option<Duration>,
    /// From PUBLISH until the broker sent the message back to us, the last time.
    pub end_to_end: Option<Duration>,
    /// When the broker answered last.
    pub answered_at: Option<Instant>,
    /// Since when an answer is waited for.
    pub waits_since: Option<Instant>,
    /// The broker does not take canaries, and says why.
    pub refused: Option<ReasonCode>,
}

impl CanarySnapshot {
    /// For how long the broker has owed an answer, where that is longer than anybody should wait.
    pub fn unanswered_for(&self, interval: Duration, now: Instant) -> Option<Duration> {
        let waited = now.saturating_duration_since(self.waits_since?);
        (waited >= interval.saturating_mul(PATIENCE_INTERVALS)).then_some(waited)
    }
}

/// The canary of one connection.
pub struct Canary {
    topic: TopicName,
    /// Tells the canaries of this connection from those of others.
    token: u64,
    serial: u64,
    /// When the last one went out.
    sent_at: Option<Instant>,
    /// The one that has no PUBACK yet.
    under_way: Option<PacketId>,
    /// Whether the last one has come back.
    is_back: bool,
    seen: CanarySnapshot,
}

impl Canary {
    /// The canary of a connection with these capabilities, which have one place less in the window then; `None` where
    /// the definition wants none. `token` is any number.
    ///
    /// # Errors
    /// Where the broker allows none; the text says why.
    pub fn of(
        broker: &Broker,
        capabilities: &mut Capabilities,
        token: u64,
    ) -> Result<Option<Canary>, &'static str> {
        if broker.health.canary_interval.is_none() {
            return Ok(None);
        }
        let topic = TopicName::new(broker.canary_topic()).map_err(|_| "its topic is no Topic Name")?;
        if capabilities.maximum_qos < QoS::AtLeastOnce {
            return Err("the broker takes QoS 0 only, and answers nothing then");
        }
        if capabilities.receive_maximum < 2 {
            return Err("the broker takes one message at a time, which are for those of devices");
        }
        capabilities.receive_maximum -= 1;
        let seen = CanarySnapshot::default();
        Ok(Some(Canary { topic, token, serial: 0, sent_at: None, under_way: None, is_back: true, seen }))
    }

    /// Whether one has to go out. While an earlier one is not answered, none is.
    pub fn is_due(&mut self, interval: Duration, now: Instant) -> bool {
        let is_due = self.under_way.is_none()
            && self.sent_at.is_none_or(|at| now.saturating_duration_since(at) >= interval);
        if is_due {
            // Also where it cannot go out because all Packet Identifiers are taken.
            self.seen.waits_since.get_or_insert(now);
        }
        is_due
    }

    /// Encodes one; answers whether the broker takes packets of its length.
    pub fn send(
        &mut self,
        output: &mut BytesMut,
        wire: &Wire,
        packet_id: PacketId,
        interval: Duration,
        now: Instant,
    ) -> bool {
        self.serial += 1;
        let payload = self.payload();
        // One that nobody takes is of no use later.
        let lifetime_secs = interval.saturating_mul(PATIENCE_INTERVALS).as_secs().max(1);
        let lifetime_secs = u32::try_from(lifetime_secs).unwrap_or(u32::MAX);
        let properties = match wire.version {
            ProtocolVersion::V5 => Properties::default().with(Property::MessageExpiryInterval(lifetime_secs)),
            ProtocolVersion::V311 => Properties::default(),
        };
        let header =
            PublishHeader { dup: false, qos: QoS::AtLeastOnce, retain: false, packet_id: Some(packet_id) };
        let topic = self.topic.as_str();
        let lengths = (topic.len(), properties.as_bytes().len(), payload.len());
        let len = publish::encoded_len_parts(wire.version, QoS::AtLeastOnce, lengths.0, lengths.1, lengths.2);
        self.sent_at = Some(now);
        if len > wire.capabilities.packet_bytes_max {
            self.seen.refused = Some(ReasonCode::PacketTooLarge);
            self.seen.waits_since = None;
            return false;
        }
        let encoded =
            publish::encode_parts(output, wire.version, header, topic, properties.as_bytes(), &payload);
        debug_assert!(encoded.is_ok(), "a checked topic and a short payload");
        self.under_way = Some(packet_id);
        self.is_back = false;
        true
    }

    fn payload(&self) -> Bytes {
        Bytes::from(format!("{MARK}{:016x} {}", self.token, self.serial))
    }

    /// Whether a canary waits for its PUBACK under this identifier.
    pub fn is_under_way(&self, packet_id: PacketId) -> bool {
        self.under_way == Some(packet_id)
    }

    /// The PUBACK arrived that the canary waits for.
    pub fn acknowledged(&mut self, reason_code: ReasonCode, now: Instant) {
        self.under_way = None;
        self.seen.waits_since = None;
        self.seen.answered_at = Some(now);
        self.seen.round_trip = self.sent_at.map(|at| now.saturating_duration_since(at));
        self.seen.refused = Some(reason_code).filter(|code| code.is_error());
    }

    /// Whether a PUBLISH that arrived is a canary, of this connection or another. It is for nobody else.
    pub fn is_canary(&self, topic: &TopicName, payload: &[u8]) -> bool {
        *topic == self.topic && payload.starts_with(MARK.as_bytes())
    }

    /// A canary arrived, which may be the last one of this connection.
    pub fn came_back(&mut self, payload: &[u8], now: Instant) {
        if !self.is_back && payload == self.payload() {
            self.is_back = true;
            self.seen.end_to_end = self.sent_at.map(|at| now.saturating_duration_since(at));
        }
    }

    /// What there is to see.
    pub fn snapshot(&self) -> CanarySnapshot {
        self.seen
    }
}

/// What to subscribe to so that canaries come back although No Local keeps our own messages away: their topic, where the
/// broker is to send us what is published there anyway. A 3.1.1 broker that knows the bridge bit sends nothing back.
pub fn subscription(broker: &Broker) -> Option<TopicFilter> {
    broker.health.canary_interval?;
    let subscription = broker.subscription.as_ref().filter(|_| broker.version.is_v5())?;
    let topic = TopicName::new(broker.canary_topic()).ok()?;
    let is_asked_for = subscription.topics.iter().any(|filter| filter.matches(&topic));
    let filter = TopicFilter::new(topic.as_str().to_owned()).ok()?;
    (is_asked_for && filter.shared().is_none() && !subscription.topics.contains(&filter)).then_some(filter)
}

#[cfg(test)]
mod tests;
