//! A delivery as the PUBLISH that one client gets: with what is left of its expiry, its Subscription Identifiers, and a
//! Topic Alias where the client accepts some.

use std::time::Instant;

use bytes::BytesMut;
use mqtt::packet::publish::{self, PublishHeader};
use mqtt::topic::alias::OutboundAliases;
use mqtt::wire::variable_byte_integer_len;
use mqtt::{PacketId, Properties, Property};

use super::outbound::ClientLimits;
use crate::messages::Delivery;

/// What a Topic Alias adds to a packet.
const ALIAS_BYTES: usize = 3;

/// The seconds that a message has left, where it expires at all.
pub fn remaining_expiry(delivery: &Delivery, now: Instant) -> Option<u32> {
    if delivery.message.properties.is_empty() {
        return None;
    }
    let interval = delivery.message.properties.message_expiry_interval()?;
    let waited_secs = now.saturating_duration_since(delivery.received_at).as_secs();
    Some(u32::try_from(waited_secs).map_or(0, |waited| interval.saturating_sub(waited)))
}

/// The length of the PUBLISH, in bytes, with its Topic Name.
pub fn encoded_len(client: &ClientLimits, delivery: &Delivery) -> usize {
    let message = &delivery.message;
    let identifiers = delivery.subscription_identifiers.iter();
    let identifiers: usize = identifiers.map(|id| 1 + variable_byte_integer_len(*id as usize)).sum();
    let properties = message.properties.as_bytes().len() + identifiers;
    let topic = message.topic_name.as_str().len();
    publish::encoded_len_parts(client.version, delivery.qos, topic, properties, message.payload.len())
}

/// The properties as this client gets them: what is left of the expiry `[MQTT-3.3.2-6]`, and the identifiers
/// of its subscriptions. `None` where they go out as they are.
fn properties_for(client: &ClientLimits, delivery: &Delivery, now: Instant) -> Option<Properties> {
    if !client.version.is_v5() {
        return None;
    }
    let left = remaining_expiry(delivery, now);
    if left.is_none() && delivery.subscription_identifiers.is_empty() {
        return None;
    }
    let mut properties = delivery.message.properties.clone();
    if let Some(left) = left {
        properties = properties.set_message_expiry_interval(left.max(1));
    }
    for identifier in &delivery.subscription_identifiers {
        properties = properties.with(Property::SubscriptionIdentifier(*identifier));
    }
    Some(properties)
}

/// Appends the PUBLISH. Of a topic with an alias, only the first one on a connection has the Topic Name.
pub fn publish(
    output: &mut BytesMut,
    client: &ClientLimits,
    delivery: &Delivery,
    packet_id: Option<PacketId>,
    aliases: Option<&mut OutboundAliases>,
    now: Instant,
) {
    let header = PublishHeader { dup: false, qos: delivery.qos, retain: delivery.retain, packet_id };
    let own = properties_for(client, delivery, now);
    let topic_name = &delivery.message.topic_name;
    let fits =
        |_: &&mut OutboundAliases| encoded_len(client, delivery) + ALIAS_BYTES <= client.packet_bytes_max;
    let Some(named) = aliases.filter(fits).and_then(|aliases| aliases.assign(topic_name)) else {
        return append(output, client, header, delivery, topic_name.as_str(), own.as_ref());
    };
    let properties = own.unwrap_or_else(|| delivery.message.properties.clone());
    let properties = properties.with(Property::TopicAlias(named.alias));
    let topic_name = if named.send_topic { topic_name.as_str() } else { "" };
    append(output, client, header, delivery, topic_name, Some(&properties));
}

/// Appends the PUBLISH once more, after the connection that saw it first.
pub fn publish_again(
    output: &mut BytesMut,
    client: &ClientLimits,
    delivery: &Delivery,
    packet_id: PacketId,
    now: Instant,
) {
    let (qos, retain) = (delivery.qos, delivery.retain);
    let header = PublishHeader { dup: true, qos, retain, packet_id: Some(packet_id) };
    let own = properties_for(client, delivery, now);
    append(output, client, header, delivery, delivery.message.topic_name.as_str(), own.as_ref());
}

/// The fields were checked when the message was received, so it can always be encoded.
fn append(
    output: &mut BytesMut,
    client: &ClientLimits,
    header: PublishHeader,
    delivery: &Delivery,
    topic_name: &str,
    own: Option<&Properties>,
) {
    let message = &delivery.message;
    let properties = own.unwrap_or(&message.properties).as_bytes();
    let encoded =
        publish::encode_parts(output, client.version, header, topic_name, properties, &message.payload);
    debug_assert!(encoded.is_ok(), "a delivery is a checked PUBLISH");
}
