//! The canary's rounds, with a clock that the test moves.

use mqtt::codec::{DecodeLimits, decode_all};
use mqtt::packet::{Packet, Publish};
use uuid::Uuid;

use super::*;
use crate::broker::BrokerSource;
use crate::{BrokerChanges, BrokerId};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(10);

fn broker(version: &str, topics: &[&str]) -> Broker {
    BrokerChanges::new()
        .with("name", "b")
        .with("address", "h")
        .with("version", version)
        .with("canary_interval_secs", 10)
        .with("canary_topic", "probe/a")
        .with("bidirectional", !topics.is_empty())
        .with("subscription_topics", serde_json::json!(topics))
        .create(BrokerId(Uuid::from_u128(1)), BrokerSource::Stored)
        .expect("a good definition")
}

fn capabilities() -> Capabilities {
    Capabilities { receive_maximum: 10, qos_2_maximum: 10, ..Capabilities::unlimited(0) }
}

fn wire(packet_bytes_max: usize) -> Wire {
    let capabilities = Capabilities { packet_bytes_max, ..capabilities() };
    Wire { version: ProtocolVersion::V5, capabilities, stamper: None, proxy: None }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not 0")
}

/// A canary, and the PUBLISH that it sends at `now`.
fn sent(canary: &mut Canary, number: u16, now: Instant) -> Publish {
    let mut output = BytesMut::new();
    assert!(canary.is_due(INTERVAL, now));
    assert!(canary.send(&mut output, &wire(usize::MAX), id(number), INTERVAL, now));
    let mut packets = Vec::new();
    decode_all(&mut output, ProtocolVersion::V5, &DecodeLimits::default(), &mut packets)
        .expect("a good packet");
    match packets.pop() {
        Some(Packet::Publish(publish)) => publish,
        other => panic!("PUBLISH expected, not {other:?}"),
    }
}

fn canary() -> Canary {
    Canary::of(&broker("5", &[]), &mut capabilities(), 7).expect("it may").expect("it shall")
}

#[test]
fn a_canary_is_timed_there_and_back() {
    let (mut canary, start) = (canary(), Instant::now());
    let publish = sent(&mut canary, 3, start);
    assert_eq!((publish.qos, publish.retain, publish.packet_id), (QoS::AtLeastOnce, false, Some(id(3))));
    assert_eq!(publish.properties.message_expiry_interval(), Some(30));
    assert_eq!(canary.snapshot().waits_since, Some(start));
    assert!(!canary.is_due(INTERVAL, start + 20 * SECOND), "the first one is not answered");

    assert!(canary.is_under_way(id(3)) && !canary.is_under_way(id(4)));
    canary.acknowledged(ReasonCode::Success, start + SECOND);
    assert!(!canary.is_under_way(id(3)), "the identifier is free again");
    let topic = publish.topic_name.expect("a topic");
    assert!(canary.is_canary(&topic, &publish.payload));
    canary.came_back(&publish.payload, start + 2 * SECOND);
    canary.came_back(&publish.payload, start + 9 * SECOND);
    let wanted = CanarySnapshot {
        round_trip: Some(SECOND),
        end_to_end: Some(2 * SECOND),
        answered_at: Some(start + SECOND),
        waits_since: None,
        refused: None,
    };
    assert_eq!(canary.snapshot(), wanted);
    assert!(!canary.is_due(INTERVAL, start + 9 * SECOND));
    assert_ne!(sent(&mut canary, 3, start + INTERVAL).payload, publish.payload);
}

#[test]
fn what_is_no_canary_passes() {
    let (mut canary, now) = (canary(), Instant::now());
    let publish = sent(&mut canary, 1, now);
    let topic = |name: &str| TopicName::new(name.to_owned()).expect("a topic");
    assert!(!canary.is_canary(&topic("probe/b"), &publish.payload));
    assert!(!canary.is_canary(&topic("probe/a"), b"21.5"));
    let of_another = Bytes::from_static(b"mqtt-proxy canary 0000000000000001 1");
    assert!(canary.is_canary(&topic("probe/a"), &of_another), "a canary, though not ours");
    canary.came_back(&of_another, now);
    assert_eq!(canary.snapshot().end_to_end, None);
}

#[test]
fn one_that_cannot_go_out_is_waited_for_all_the_same() {
    let (mut canary, start) = (canary(), Instant::now());
    for secs in 0..40 {
        assert!(canary.is_due(INTERVAL, start + secs * SECOND), "no Packet Identifier was free");
    }
    let seen = canary.snapshot();
    assert_eq!(seen.unanswered_for(INTERVAL, start + 29 * SECOND), None);
    assert_eq!(seen.unanswered_for(INTERVAL, start + 30 * SECOND), Some(30 * SECOND));
}

#[test]
fn a_broker_that_says_no_has_answered() {
    let (mut canary, start) = (canary(), Instant::now());
    sent(&mut canary, 1, start);
    canary.acknowledged(ReasonCode::NotAuthorized, start);
    let seen = canary.snapshot();
    assert_eq!((seen.refused, seen.waits_since), (Some(ReasonCode::NotAuthorized), None));
    sent(&mut canary, 2, start + INTERVAL);
    canary.acknowledged(ReasonCode::NoMatchingSubscribers, start + INTERVAL);
    assert_eq!(canary.snapshot().refused, None);
}

#[test]
fn a_canary_keeps_to_what_the_broker_allows() {
    let broker_5 = broker("5", &[]);
    let mut roomy = capabilities();
    assert!(Canary::of(&broker_5, &mut roomy, 1).is_ok_and(|canary| canary.is_some()));
    assert_eq!(roomy.receive_maximum, 9, "the canary has a place of its own");
    let mut narrow = Capabilities { receive_maximum: 1, ..capabilities() };
    assert!(Canary::of(&broker_5, &mut narrow, 1).is_err());
    assert_eq!(narrow.receive_maximum, 1);
    let mut simple = Capabilities { maximum_qos: QoS::AtMostOnce, ..capabilities() };
    assert!(Canary::of(&broker_5, &mut simple, 1).is_err());

    let (mut canary, mut output, now) = (canary(), BytesMut::new(), Instant::now());
    assert!(canary.is_due(INTERVAL, now));
    assert!(!canary.send(&mut output, &wire(20), id(1), INTERVAL, now));
    assert!(output.is_empty());
    assert_eq!(canary.snapshot().refused, Some(ReasonCode::PacketTooLarge));
    assert!(!canary.is_due(INTERVAL, now + SECOND) && canary.is_due(INTERVAL, now + INTERVAL));
}

#[test]
fn canaries_are_asked_for_where_their_topic_is_asked_for_anyway() {
    let asked = |broker: &Broker| subscription(broker).map(|filter| filter.to_string());
    assert_eq!(asked(&broker("5", &["a", "probe/#"])), Some("probe/a".to_owned()));
    assert_eq!(asked(&broker("5", &["#"])), Some("probe/a".to_owned()));
    assert_eq!(asked(&broker("5", &["a/#"])), None);
    assert_eq!(asked(&broker("5", &["probe/a"])), None, "it would replace the other one");
    assert_eq!(asked(&broker("3.1.1", &["#"])), None, "there is no No Local");
    assert_eq!(asked(&broker("5", &[])), None);
}
