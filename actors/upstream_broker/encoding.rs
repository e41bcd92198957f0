//! Whether a record goes to a broker, and how it looks on the wire to that broker.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mqtt::packet::publish::{self, PublishHeader};
use mqtt::property::PropertyOwner;
use mqtt::{PacketId, Properties, ProtocolVersion, QoS};

use super::connect::Capabilities;
use super::drop_reason::DropReason;
use super::filter::{Answer, Unwanted};
use super::forwarding::{Forwarding, with_mapped_response_topic};
use super::topic_aliases::{ALIAS_BYTES_MAX, TopicAliases};
use crate::bridge::{Stamper, Stamps};
use crate::message_log::Record;
use crate::timestamp::age;
use crate::{BrokerId, Origin};

/// What to do with one record.
#[derive(Clone)]
pub enum Verdict {
    /// It goes out.
    Send {
        /// At this QoS.
        qos: QoS,
        /// Under this topic, where the broker knows it by another one.
        topic_there: Option<Arc<str>>,
    },
    /// It is none of the broker's business.
    Skip(Unwanted),
    /// The broker wanted it and cannot have it.
    Drop(DropReason),
}

/// The connection as far as the outbox needs it.
#[derive(Clone)]
pub struct Wire {
    /// The version that the broker speaks.
    pub version: ProtocolVersion,
    /// What the broker allows.
    pub capabilities: Capabilities,
    /// What messages carry of their way.
    pub stamper: Option<Stamper>,
    /// The proxy that the broker is, where it has said that it is one.
    pub proxy: Option<BrokerId>,
}

impl Wire {
    fn stamps(&self) -> Option<&Stamps> {
        self.stamper.as_ref().filter(|_| self.version.is_v5()).and_then(Stamper::stamps)
    }

    /// Whether the message came from a broker and has passed as many proxies as it may.
    fn is_spent(&self, record: &Record<'_>) -> bool {
        let (Origin::Upstream(_), Some(stamper)) = (record.origin, &self.stamper) else { return false };
        !record.properties.is_empty()
            && properties_of(record).is_some_and(|properties| stamper.bridge.stamps().is_spent(&properties))
    }
}

/// Decides about one record.
pub fn verdict(
    forwarding: &mut Forwarding,
    max_qos: QoS,
    record: &Record<'_>,
    wire: &Wire,
    now_micros: u64,
) -> Verdict {
    let topic_there = match forwarding.filter.answer(record) {
        Answer::Wanted(topic_there) => topic_there,
        Answer::Unwanted(why) => return Verdict::Skip(why),
        Answer::Unmappable(_) => return Verdict::Drop(DropReason::Unmappable),
    };
    if wire.proxy.is_some_and(|proxy| record.origin == Origin::Upstream(proxy)) {
        // As a client of ours it is the same proxy.
        return Verdict::Skip(Unwanted::Origin);
    }
    if !record.properties.is_empty() && matches!(remaining_expiry(record, now_micros), Some((_, 0))) {
        return Verdict::Drop(DropReason::Expired);
    }
    if wire.is_spent(record) {
        return Verdict::Drop(DropReason::Hops);
    }
    if forwarding.is_too_long(record.payload) {
        return Verdict::Drop(DropReason::PayloadTooLarge);
    }
    let topic = topic_there.as_deref().map_or(record.topic_name, str::as_bytes);
    if let Some(service) = wire.capabilities.service
        && !service.takes_topic(topic)
    {
        return Verdict::Drop(DropReason::Topic);
    }
    let qos = record.qos.min(max_qos).min(wire.capabilities.maximum_qos);
    if !fits(record, forwarding, (qos, topic_there.as_deref()), wire, now_micros) {
        return Verdict::Drop(DropReason::TooLarge);
    }
    Verdict::Send { qos, topic_there }
}

/// Whether the packet is as short as the broker wants it `[MQTT-3.2.2-15]`.
pub fn fits(
    record: &Record<'_>,
    forwarding: &Forwarding,
    sending: (QoS, Option<&str>),
    wire: &Wire,
    now_micros: u64,
) -> bool {
    if wire.capabilities.service.is_some_and(|service| record.payload.len() > service.payload_bytes_max) {
        return false;
    }
    has_room(record, forwarding, sending, wire, 0, now_micros)
}

/// Whether the broker takes the packet with so many bytes more.
fn has_room(
    record: &Record<'_>,
    forwarding: &Forwarding,
    (qos, topic_there): (QoS, Option<&str>),
    wire: &Wire,
    more_bytes: usize,
    now_micros: u64,
) -> bool {
    let bytes_max = wire.capabilities.packet_bytes_max;
    if bytes_max == usize::MAX {
        return true;
    }
    let topic_len = topic_there.map_or(record.topic_name.len(), str::len);
    let stamps = wire.stamps();
    let properties_len = match forwarding.mapping() {
        Some(_) if wire.version.is_v5() => properties_there(record, stamps, forwarding, now_micros).len(),
        _ => {
            let stamp_len = stamps.map_or(0, |stamps| stamps.bytes_max(record.properties));
            record.properties.len() + forwarding.added().len() + stamp_len
        }
    };
    let payload_len = record.payload.len();
    let length = publish::encoded_len_parts(wire.version, qos, topic_len, properties_len, payload_len);
    length + more_bytes <= bytes_max
}

/// The properties and how many seconds the message has left, where it expires at all.
fn remaining_expiry(record: &Record<'_>, now_micros: u64) -> Option<(Properties, u32)> {
    let properties = properties_of(record)?;
    let left_secs = left_of_expiry(&properties, record, now_micros)?;
    Some((properties, left_secs))
}

/// How many seconds a message with these properties has left.
fn left_of_expiry(properties: &Properties, record: &Record<'_>, now_micros: u64) -> Option<u32> {
    let interval = properties.message_expiry_interval()?;
    let waited_secs = age(record.received_at_micros, now_micros).as_secs();
    Some(u32::try_from(waited_secs).map_or(0, |waited| interval.saturating_sub(waited)))
}

/// The properties of a record; they were checked when it was received.
pub fn properties_of(record: &Record<'_>) -> Option<Properties> {
    Properties::parse(Bytes::copy_from_slice(record.properties), PropertyOwner::Publish).ok()
}

/// How one PUBLISH of a record differs from another.
#[derive(Clone, Copy)]
pub struct Sending<'a> {
    /// The QoS.
    pub qos: QoS,
    /// The Packet Identifier, with QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Whether it may have been sent before.
    pub dup: bool,
    /// The topic, where the broker knows it by another one.
    pub topic_there: Option<&'a str>,
}

/// Whether the broker gets the message at a lower QoS, and whether without RETAIN, because it takes no more.
pub fn compromises(forwarding: &Forwarding, record: &Record<'_>, max_qos: QoS, wire: &Wire) -> (bool, bool) {
    let is_downgraded = record.qos.min(max_qos) > wire.capabilities.maximum_qos;
    (is_downgraded, forwarding.wants_retain(record) && !wire.capabilities.takes_retain(record.payload.len()))
}

/// Appends a PUBLISH that goes out for the first time; its topic may go as an alias.
pub fn encode_first(
    output: &mut BytesMut,
    aliases: &mut Option<TopicAliases>,
    wire: &Wire,
    forwarding: &Forwarding,
    record: &Record<'_>,
    sending: Sending<'_>,
    now_micros: u64,
) {
    let Sending { qos, packet_id, topic_there, .. } = sending;
    if let Some(aliases) = aliases
        && let Ok(topic_name) = topic_there.map_or_else(|| std::str::from_utf8(record.topic_name), Ok)
        && has_room(record, forwarding, (qos, topic_there), wire, ALIAS_BYTES_MAX, now_micros)
        && let Some(chosen) = aliases.choose(topic_name)
    {
        let header = PublishHeader { dup: false, qos, retain: forwarding.retain(record, wire), packet_id };
        let properties = properties_there(record, wire.stamps(), forwarding, now_micros);
        aliases.encode(output, header, (topic_name, chosen), &properties, record.payload);
        return;
    }
    encode(output, wire, forwarding, record, sending, now_micros);
}

/// Appends the PUBLISH. Its fields were checked when the message was received, so it can always be encoded.
pub fn encode(
    output: &mut BytesMut,
    wire: &Wire,
    forwarding: &Forwarding,
    record: &Record<'_>,
    sending: Sending<'_>,
    now_micros: u64,
) {
    let Sending { qos, packet_id, dup, topic_there } = sending;
    let header = PublishHeader { dup, qos, retain: forwarding.retain(record, wire), packet_id };
    let topic_name = topic_there.map_or_else(|| std::str::from_utf8(record.topic_name), Ok);
    let Ok(topic_name) = topic_name else { return };
    let properties = match wire.version.is_v5() {
        true => properties_there(record, wire.stamps(), forwarding, now_micros),
        false => Cow::Borrowed(&[][..]),
    };
    let encoded =
        publish::encode_parts(output, wire.version, header, topic_name, &properties, record.payload);
    debug_assert!(encoded.is_ok(), "a record is a checked PUBLISH");
}

/// The properties of a record as they are when it goes out, with what the broker's definition changes and adds, and with
/// where the message came from.
fn properties_there<'a>(
    record: &Record<'a>,
    stamps: Option<&'a Stamps>,
    forwarding: &'a Forwarding,
    now_micros: u64,
) -> Cow<'a, [u8]> {
    let added = forwarding.added();
    if record.properties.is_empty() {
        return match stamps {
            None => Cow::Borrowed(added),
            Some(stamps) if added.is_empty() => Cow::Borrowed(stamps.first()),
            Some(stamps) => Cow::Owned([&added[..], stamps.first()].concat()),
        };
    }
    // A record is a checked PUBLISH.
    let Some(mut properties) = properties_of(record) else { return Cow::Borrowed(record.properties) };
    // `[MQTT-3.3.2-6]`: the interval that goes on is what is left of it.
    let left = left_of_expiry(&properties, record, now_micros);
    if left.is_none() && stamps.is_none() && forwarding.mapping().is_none() {
        return match added.is_empty() {
            true => Cow::Borrowed(record.properties),
            false => Cow::Owned([record.properties, added].concat()),
        };
    }
    if let Some(left) = left {
        properties = properties.set_message_expiry_interval(left.max(1));
    }
    if let Some(mapping) = forwarding.mapping() {
        properties = with_mapped_response_topic(properties, mapping);
    }
    if let Some(stamps) = stamps {
        properties = stamps.stamped(record.origin, &properties);
    }
    Cow::Owned([properties.as_bytes(), &added[..]].concat())
}
