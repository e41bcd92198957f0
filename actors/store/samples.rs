//! Values for tests: any annex and any change, out of a small world in which things meet each other.

use bytes::Bytes;
use mqtt::packet::SubscriptionOptions;
use mqtt::packet::subscribe::RetainHandling;
use mqtt::property::Property;
use mqtt::{ClientId, Message, PacketId, Properties, QoS, TopicFilter, TopicName};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::{Annex, Change, LiveCursor, Recipient, SessionKey};
use crate::BrokerId;

/// Lowest of the keys that are brokers' as well.
const FIRST_BROKER: u128 = 1 << 100;

pub fn client_id(number: u8) -> ClientId {
    ClientId::new(format!("client-{number}")).unwrap()
}

pub fn session(number: u8) -> SessionKey {
    SessionKey::of_client(&client_id(number))
}

pub fn broker(number: u8) -> BrokerId {
    BrokerId(Uuid::from_u128(FIRST_BROKER + u128::from(number)))
}

pub fn packet_id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text.to_owned()).unwrap()
}

pub fn message(topic: &str, payload: &[u8]) -> Message {
    Message {
        topic_name: TopicName::new(topic.to_owned()).unwrap(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Properties::default(),
        payload: Bytes::copy_from_slice(payload),
    }
}

pub fn any_session() -> impl Strategy<Value = SessionKey> {
    (0u8..4).prop_map(session)
}

pub fn any_broker() -> impl Strategy<Value = BrokerId> {
    (0u8..2).prop_map(broker)
}

pub fn any_packet_id() -> impl Strategy<Value = PacketId> {
    prop_oneof![8 => 1u16..8, 1 => Just(u16::MAX)].prop_map(packet_id)
}

/// An offset that records of a short log have.
pub fn any_offset() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0u64..60, 1 => any::<u64>()]
}

pub fn any_qos() -> impl Strategy<Value = QoS> {
    (0u8..=2).prop_map(|level| QoS::from_u8(level).unwrap())
}

fn any_identifiers() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![3 => Just(Vec::new()), 1 => vec(any::<u32>(), 0..3)]
}

pub fn any_message() -> impl Strategy<Value = Message> {
    let topic = prop::sample::select(vec!["a", "a/b", "é", "$x"]);
    let payload =
        prop_oneof![1 => Just(Vec::new()), 4 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 5_000)];
    (topic, payload, any_qos(), any::<bool>(), prop::option::of("[a-z]{0,5}")).prop_map(
        |(topic, payload, qos, retain, name)| {
            let user = name.map(|name| Property::UserProperty(name.into(), "value".into()));
            let properties = Properties::from_properties(user).unwrap();
            Message { qos, retain, properties, ..message(topic, &payload) }
        },
    )
}

fn any_options() -> impl Strategy<Value = SubscriptionOptions> {
    (any_qos(), any::<bool>(), any::<bool>(), 0u8..=2).prop_map(
        |(qos, no_local, retain_as_published, handling)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling: RetainHandling::from_u8(handling).unwrap(),
        },
    )
}

fn any_filter() -> impl Strategy<Value = TopicFilter> {
    prop::sample::select(vec!["a", "a/#", "+/é", "$share/group/a"]).prop_map(filter)
}

pub fn any_annex() -> impl Strategy<Value = Annex> {
    let sender = prop_oneof![any_session(), any_broker().prop_map(SessionKey::of_broker)];
    let recipient = (any_session(), any_qos(), any::<bool>(), any_identifiers()).prop_map(
        |(session, qos, retain, subscription_identifiers)| Recipient {
            session,
            qos,
            retain,
            subscription_identifiers,
        },
    );
    let inbound = prop::option::of((sender, any_packet_id()));
    (inbound, vec(recipient, 0..4)).prop_map(|(inbound, recipients)| Annex { inbound, recipients })
}

fn any_in_flight() -> impl Strategy<Value = Vec<(PacketId, u64)>> {
    vec((any_packet_id(), any_offset()), 0..4)
}

fn any_packet_ids() -> impl Strategy<Value = Vec<PacketId>> {
    vec(any_packet_id(), 0..3)
}

fn any_change_of_session() -> impl Strategy<Value = Change> {
    let number = || 0u8..4;
    prop_oneof![
        3 => (number(), any::<bool>(), any::<u32>()).prop_map(|(number, is_new, expiry_secs)| {
            let (session, client_id) = (session(number), client_id(number));
            Change::SessionConnected { session, client_id, is_new, expiry_secs }
        }),
        2 => (any_session(), any::<u32>(), any::<u64>()).prop_map(|(session, expiry_secs, at_micros)| {
            Change::SessionDisconnected { session, expiry_secs, at_micros }
        }),
        1 => any_session().prop_map(|session| Change::SessionEnded { session }),
        2 => (any_session(), prop::option::of((any::<u32>(), any_message())))
            .prop_map(|(session, will)| Change::Will { session, will }),
        3 => (any_session(), any_filter(), any_options(), any::<Option<u32>>()).prop_map(
            |(session, filter, options, identifier)| {
                Change::Subscribed { session, filter, options, identifier }
            },
        ),
        1 => (any_session(), any_filter())
            .prop_map(|(session, filter)| Change::Unsubscribed { session, filter }),
        3 => (any_session(), any_qos(), any::<bool>(), any_identifiers(), any::<u64>(), any_message())
            .prop_map(|(session, qos, retain, subscription_identifiers, received_at_micros, message)| {
                Change::Queued { session, qos, retain, subscription_identifiers, received_at_micros, message }
            }),
        6 => (any_session(), any_in_flight())
            .prop_map(|(session, deliveries)| Change::DeliverySent { session, deliveries }),
        3 => (any_session(), any_packet_ids())
            .prop_map(|(session, packet_ids)| Change::DeliveryReceived { session, packet_ids }),
        4 => (any_session(), vec(any_offset(), 0..4))
            .prop_map(|(session, offsets)| Change::DeliveryDone { session, offsets }),
        2 => (prop_oneof![any_session(), any_broker().prop_map(SessionKey::of_broker)], any_packet_ids())
            .prop_map(|(session, packet_ids)| Change::Released { session, packet_ids }),
    ]
}

fn any_change_of_broker() -> impl Strategy<Value = Change> {
    let live = (any_offset(), any_offset()).prop_map(|(from, cursor)| LiveCursor { from, cursor });
    prop_oneof![
        3 => (any_broker(), any_offset(), prop::option::of(live))
            .prop_map(|(broker, cursor, live)| Change::Cursor { broker, cursor, live }),
        5 => (any_broker(), any_in_flight())
            .prop_map(|(broker, messages)| Change::UpstreamSent { broker, messages }),
        2 => (any_broker(), any_packet_ids())
            .prop_map(|(broker, packet_ids)| Change::UpstreamReceived { broker, packet_ids }),
        3 => (any_broker(), vec(any_offset(), 0..4))
            .prop_map(|(broker, offsets)| Change::UpstreamDone { broker, offsets }),
        1 => any_broker().prop_map(|broker| Change::UpstreamSessionLost { broker }),
        1 => any_broker().prop_map(|broker| Change::BrokerForgotten { broker }),
    ]
}

fn any_change_of_retained() -> impl Strategy<Value = Change> {
    vec(any_message(), 0..3).prop_map(|messages| Change::RetainedForgotten {
        topic_names: messages.into_iter().map(|message| message.topic_name).collect(),
    })
}

pub fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![20 => any_change_of_session(), 10 => any_change_of_broker(), 1 => any_change_of_retained()]
}
