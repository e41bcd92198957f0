//! Changes in bytes: a tag byte and the fields in the order of their declaration. A tag is never used again for
//! something else, since the log may hold what an earlier version wrote.

use bytes::{BufMut, BytesMut};
use mqtt::PacketId;

use super::change::{Change, LiveCursor};
use super::fields::{Fields, MessageParts, delivery_flags, put_broker, put_list, put_session, put_text};

const SESSION_CONNECTED: u8 = 1;
const SESSION_DISCONNECTED: u8 = 2;
const SESSION_ENDED: u8 = 3;
const SUBSCRIBED: u8 = 4;
const UNSUBSCRIBED: u8 = 5;
const QUEUED: u8 = 6;
const DELIVERY_SENT: u8 = 7;
const DELIVERY_RECEIVED: u8 = 8;
const DELIVERY_DONE: u8 = 9;
const RELEASED: u8 = 10;
const CURSOR: u8 = 11;
const UPSTREAM_SENT: u8 = 12;
const UPSTREAM_RECEIVED: u8 = 13;
const UPSTREAM_DONE: u8 = 14;
const UPSTREAM_SESSION_LOST: u8 = 15;
const BROKER_FORGOTTEN: u8 = 16;
const WILL: u8 = 17;
const RETAINED_FORGOTTEN: u8 = 18;

impl Change {
    /// Appends the change.
    pub fn encode(&self, buffer: &mut BytesMut) {
        buffer.put_u8(self.tag());
        match self {
            Change::SessionConnected { session, .. }
            | Change::SessionDisconnected { session, .. }
            | Change::SessionEnded { session }
            | Change::Will { session, .. }
            | Change::Subscribed { session, .. }
            | Change::Unsubscribed { session, .. }
            | Change::Queued { session, .. }
            | Change::DeliverySent { session, .. }
            | Change::DeliveryReceived { session, .. }
            | Change::DeliveryDone { session, .. }
            | Change::Released { session, .. } => {
                put_session(buffer, *session);
                self.encode_of_session(buffer);
            }
            Change::Cursor { broker, .. }
            | Change::UpstreamSent { broker, .. }
            | Change::UpstreamReceived { broker, .. }
            | Change::UpstreamDone { broker, .. }
            | Change::UpstreamSessionLost { broker }
            | Change::BrokerForgotten { broker } => {
                put_broker(buffer, *broker);
                self.encode_of_broker(buffer);
            }
            Change::RetainedForgotten { topic_names } => {
                put_list(buffer, topic_names, |buffer, name| put_text(buffer, name.as_str()));
            }
        }
    }

    /// The change of these bytes; `None` where they are not exactly one, as far as this version knows them.
    pub fn decode(bytes: &[u8]) -> Option<Change> {
        let mut fields = Fields::new(bytes);
        let tag = fields.u8()?;
        let change = match tag {
            CURSOR..=BROKER_FORGOTTEN => decode_of_broker(tag, &mut fields)?,
            RETAINED_FORGOTTEN => {
                Change::RetainedForgotten { topic_names: fields.list(|fields| fields.topic_name())? }
            }
            _ => decode_of_session(tag, &mut fields)?,
        };
        fields.is_empty().then_some(change)
    }

    fn tag(&self) -> u8 {
        match self {
            Change::SessionConnected { .. } => SESSION_CONNECTED,
            Change::SessionDisconnected { .. } => SESSION_DISCONNECTED,
            Change::SessionEnded { .. } => SESSION_ENDED,
            Change::Will { .. } => WILL,
            Change::Subscribed { .. } => SUBSCRIBED,
            Change::Unsubscribed { .. } => UNSUBSCRIBED,
            Change::Queued { .. } => QUEUED,
            Change::DeliverySent { .. } => DELIVERY_SENT,
            Change::DeliveryReceived { .. } => DELIVERY_RECEIVED,
            Change::DeliveryDone { .. } => DELIVERY_DONE,
            Change::Released { .. } => RELEASED,
            Change::Cursor { .. } => CURSOR,
            Change::UpstreamSent { .. } => UPSTREAM_SENT,
            Change::UpstreamReceived { .. } => UPSTREAM_RECEIVED,
            Change::UpstreamDone { .. } => UPSTREAM_DONE,
            Change::UpstreamSessionLost { .. } => UPSTREAM_SESSION_LOST,
            Change::BrokerForgotten { .. } => BROKER_FORGOTTEN,
            Change::RetainedForgotten { .. } => RETAINED_FORGOTTEN,
        }
    }

    fn encode_of_session(&self, buffer: &mut BytesMut) {
        match self {
            Change::SessionConnected { client_id, is_new, expiry_secs, .. } => {
                put_text(buffer, client_id.as_str());
                buffer.put_u8(u8::from(*is_new));
                buffer.put_u32_le(*expiry_secs);
            }
            Change::SessionDisconnected { expiry_secs, at_micros, .. } => {
                buffer.put_u32_le(*expiry_secs);
                buffer.put_u64_le(*at_micros);
            }
            Change::Will { will, .. } => {
                buffer.put_u8(u8::from(will.is_some()));
                if let Some((delay_secs, message)) = will {
                    buffer.put_u32_le(*delay_secs);
                    MessageParts::from(message).put(buffer);
                }
            }
            Change::Subscribed { filter, options, identifier, .. } => {
                put_text(buffer, filter.as_str());
                buffer.put_u8(options.as_u8(mqtt::ProtocolVersion::V5));
                buffer.put_u8(u8::from(identifier.is_some()));
                if let Some(identifier) = identifier {
                    buffer.put_u32_le(*identifier);
                }
            }
            Change::Unsubscribed { filter, .. } => put_text(buffer, filter.as_str()),
            Change::Queued { qos, retain, subscription_identifiers, received_at_micros, message, .. } => {
                buffer.put_u8(delivery_flags(*qos, *retain));
                put_list(buffer, subscription_identifiers, |buffer, identifier| {
                    buffer.put_u32_le(*identifier);
                });
                buffer.put_u64_le(*received_at_micros);
                MessageParts::from(message).put(buffer);
            }
            Change::DeliverySent { deliveries, .. } => put_list(buffer, deliveries, put_in_flight),
            Change::DeliveryReceived { packet_ids, .. } | Change::Released { packet_ids, .. } => {
                put_list(buffer, packet_ids, put_packet_id);
            }
            Change::DeliveryDone { offsets, .. } => put_list(buffer, offsets, put_offset),
            // The session alone says everything.
            _ => {}
        }
    }

    fn encode_of_broker(&self, buffer: &mut BytesMut) {
        match self {
            Change::Cursor { cursor, live, .. } => {
                buffer.put_u64_le(*cursor);
                buffer.put_u8(u8::from(live.is_some()));
                if let Some(live) = live {
                    buffer.put_u64_le(live.from);
                    buffer.put_u64_le(live.cursor);
                }
            }
            Change::UpstreamSent { messages, .. } => put_list(buffer, messages, put_in_flight),
            Change::UpstreamReceived { packet_ids, .. } => put_list(buffer, packet_ids, put_packet_id),
            Change::UpstreamDone { offsets, .. } => put_list(buffer, offsets, put_offset),
            // The broker alone says everything.
            _ => {}
        }
    }
}

fn put_in_flight(buffer: &mut BytesMut, in_flight: &(PacketId, u64)) {
    put_packet_id(buffer, &in_flight.0);
    put_offset(buffer, &in_flight.1);
}

fn put_packet_id(buffer: &mut BytesMut, packet_id: &PacketId) {
    buffer.put_u16_le(packet_id.get());
}

fn put_offset(buffer: &mut BytesMut, offset: &u64) {
    buffer.put_u64_le(*offset);
}

fn in_flight(fields: &mut Fields<'_>) -> Option<(PacketId, u64)> {
    Some((fields.packet_id()?, fields.u64()?))
}

fn decode_of_session(tag: u8, fields: &mut Fields<'_>) -> Option<Change> {
    let session = fields.session()?;
    Some(match tag {
        SESSION_CONNECTED => {
            let client_id = fields.client_id()?;
            let is_new = fields.flag()?;
            Change::SessionConnected { session, client_id, is_new, expiry_secs: fields.u32()? }
        }
        SESSION_DISCONNECTED => {
            let expiry_secs = fields.u32()?;
            Change::SessionDisconnected { session, expiry_secs, at_micros: fields.u64()? }
        }
        SESSION_ENDED => Change::SessionEnded { session },
        WILL => {
            let will = if fields.flag()? { Some((fields.u32()?, fields.message()?)) } else { None };
            Change::Will { session, will }
        }
        SUBSCRIBED => {
            let filter = fields.filter()?;
            let options = fields.subscription_options()?;
            let identifier = if fields.flag()? { Some(fields.u32()?) } else { None };
            Change::Subscribed { session, filter, options, identifier }
        }
        UNSUBSCRIBED => Change::Unsubscribed { session, filter: fields.filter()? },
        QUEUED => {
            let (qos, retain) = fields.delivery_flags()?;
            Change::Queued {
                session,
                qos,
                retain,
                subscription_identifiers: fields.list(|fields| fields.u32())?,
                received_at_micros: fields.u64()?,
                message: fields.message()?,
            }
        }
        DELIVERY_SENT => Change::DeliverySent { session, deliveries: fields.list(in_flight)? },
        DELIVERY_RECEIVED => {
            Change::DeliveryReceived { session, packet_ids: fields.list(|fields| fields.packet_id())? }
        }
        DELIVERY_DONE => Change::DeliveryDone { session, offsets: fields.list(|fields| fields.u64())? },
        RELEASED => Change::Released { session, packet_ids: fields.list(|fields| fields.packet_id())? },
        _ => return None,
    })
}

fn decode_of_broker(tag: u8, fields: &mut Fields<'_>) -> Option<Change> {
    let broker = fields.broker()?;
    Some(match tag {
        CURSOR => {
            let cursor = fields.u64()?;
            let live = match fields.flag()? {
                true => Some(LiveCursor { from: fields.u64()?, cursor: fields.u64()? }),
                false => None,
            };
            Change::Cursor { broker, cursor, live }
        }
        UPSTREAM_SENT => Change::UpstreamSent { broker, messages: fields.list(in_flight)? },
        UPSTREAM_RECEIVED => {
            Change::UpstreamReceived { broker, packet_ids: fields.list(|fields| fields.packet_id())? }
        }
        UPSTREAM_DONE => Change::UpstreamDone { broker, offsets: fields.list(|fields| fields.u64())? },
        UPSTREAM_SESSION_LOST => Change::UpstreamSessionLost { broker },
        BROKER_FORGOTTEN => Change::BrokerForgotten { broker },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::samples;

    fn encoded(change: &Change) -> BytesMut {
        let mut buffer = BytesMut::new();
        change.encode(&mut buffer);
        buffer
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn a_change_comes_back_as_it_was(change in samples::any_change()) {
            let bytes = encoded(&change);
            prop_assert_eq!(Change::decode(&bytes), Some(change.clone()));
            // Bytes behind a message would be part of its payload.
            if !matches!(change, Change::Queued { .. } | Change::Will { will: Some(_), .. }) {
                prop_assert_eq!(Change::decode(&[&bytes[..], &[0]].concat()), None);
                prop_assert_eq!(Change::decode(&bytes[..bytes.len() - 1]), None);
            }
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(
            tag in 0u8..20, bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut bytes = bytes;
            bytes.insert(0, tag);
            if let Some(change) = Change::decode(&bytes) {
                prop_assert_eq!(&encoded(&change)[..], &bytes[..]);
            }
        }

        #[test]
        fn what_was_damaged_is_refused_without_a_panic(
            change in samples::any_change(), place: prop::sample::Index, bits in 1u8..,
        ) {
            let mut bytes = encoded(&change);
            let place = place.index(bytes.len());
            bytes[place] ^= bits;
            if let Some(change) = Change::decode(&bytes) {
                prop_assert_eq!(encoded(&change), bytes);
            }
        }
    }

    #[test]
    fn an_unknown_tag_is_refused() {
        let bytes = encoded(&Change::SessionEnded { session: crate::store::SessionKey(1) });
        assert!(Change::decode(&bytes).is_some());
        for tag in [0, 19, 255] {
            assert_eq!(Change::decode(&[&[tag], &bytes[1..]].concat()), None);
        }
    }
}
