//! Whether a record goes to a broker, and how it looks on the wire to that broker.

use bytes::{Bytes, BytesMut};
use mqtt::packet::publish::{self, PublishHeader};
use mqtt::property::PropertyOwner;
use mqtt::{PacketId, Properties, ProtocolVersion, QoS};

use super::connect::Capabilities;
use super::filter::RecordFilter;
use super::status::DropReason;
use crate::message_log::Record;
use crate::timestamp::age;

/// What to do with one record.
#[derive(Clone, Copy)]
pub enum Verdict {
    /// It goes out at this QoS.
    Send(QoS),
    /// It is none of the broker's business.
    Skip,
    /// The broker wanted it and cannot have it.
    Drop(DropReason),
}

/// The connection as far as the outbox needs it.
#[derive(Clone, Copy)]
pub struct Wire {
    /// The version that the broker speaks.
    pub version: ProtocolVersion,
    /// What the broker allows.
    pub capabilities: Capabilities,
}

/// Decides about one record.
pub fn verdict(
    filter: &mut RecordFilter,
    max_qos: QoS,
    record: &Record<'_>,
    wire: &Wire,
    now_micros: u64,
) -> Verdict {
    if !filter.wants(record) {
        return Verdict::Skip;
    }
    if !record.properties.is_empty() && matches!(remaining_expiry(record, now_micros), Some((_, 0))) {
        return Verdict::Drop(DropReason::Expired);
    }
    let qos = record.qos.min(max_qos).min(wire.capabilities.maximum_qos);
    let lengths = (record.topic_name.len(), record.properties.len(), record.payload.len());
    if wire.capabilities.packet_bytes_max < usize::MAX
        && publish::encoded_len_parts(wire.version, qos, lengths.0, lengths.1, lengths.2)
            > wire.capabilities.packet_bytes_max
    {
        return Verdict::Drop(DropReason::TooLarge);
    }
    Verdict::Send(qos)
}

/// The properties and how many seconds the message has left, where it expires at all.
fn remaining_expiry(record: &Record<'_>, now_micros: u64) -> Option<(Properties, u32)> {
    let properties =
        Properties::parse(Bytes::copy_from_slice(record.properties), PropertyOwner::Publish).ok()?;
    let interval = properties.message_expiry_interval()?;
    let waited_secs = age(record.received_at_micros, now_micros).as_secs();
    Some((properties, u32::try_from(waited_secs).map_or(0, |waited| interval.saturating_sub(waited))))
}

/// Appends the PUBLISH. Its fields were checked when the message was received, so it can always be encoded.
pub fn encode(
    output: &mut BytesMut,
    wire: &Wire,
    record: &Record<'_>,
    qos: QoS,
    packet_id: Option<PacketId>,
    dup: bool,
    now_micros: u64,
) {
    let retain = record.retain && wire.capabilities.retain_available;
    let header = PublishHeader { dup, qos, retain, packet_id };
    let Ok(topic_name) = std::str::from_utf8(record.topic_name) else { return };
    let aged = match record.properties.is_empty() || !wire.version.is_v5() {
        true => None,
        // `[MQTT-3.3.2-6]`: the interval that goes on is what is left of it.
        false => remaining_expiry(record, now_micros)
            .map(|(properties, left)| properties.set_message_expiry_interval(left.max(1))),
    };
    let properties = aged.as_ref().map_or(record.properties, |properties| properties.as_bytes());
    let encoded = publish::encode_parts(output, wire.version, header, topic_name, properties, record.payload);
    debug_assert!(encoded.is_ok(), "a record is a checked PUBLISH");
}
