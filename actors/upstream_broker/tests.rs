//! The outbox as a pure machine over a log: a model of a broker acknowledges, forgets and disconnects at will.

mod hold;
mod members;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use mqtt::codec::{DecodeLimits, decode_all};
use mqtt::packet::{Acknowledgement, Packet, Publish};
use mqtt::{Message, PacketId, Properties, Property, ProtocolVersion, QoS, ReasonCode, TopicName};
use proptest::prelude::*;
use uuid::Uuid;

use super::connect::Capabilities;
use super::encoding::Wire;
use super::outbox::Outbox;
use super::*;
use crate::broker::{ForwardRule, RetainPolicy};
use crate::message_log::Lag;
use crate::{BrokerId, Origin};

const SECOND: u64 = 1_000_000;

struct Scene {
    log: Arc<MessageLog>,
    outbox: Outbox,
    status: UpstreamStatus,
    wire: Wire,
    place: Arc<LogPlace>,
}

impl Scene {
    fn new(version: ProtocolVersion, receive_maximum: u16, max_qos: Option<QoS>) -> Scene {
        let log = MessageLog::new(1 << 24);
        let place = log.place(None);
        let id = BrokerId(Uuid::from_u128(1));
        let outbox = Outbox::new(place.reader(), Forwarding::new(id, &ForwardRule::default()), max_qos);
        let metrics = Metrics::new().expect("the names differ");
        let capabilities = Capabilities {
            receive_maximum,
            qos_2_maximum: 3,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            packet_bytes_max: usize::MAX,
            keep_alive_secs: 0,
            topic_alias_maximum: 0,
            wildcards_available: true,
            service: None,
        };
        let status = UpstreamStatus::new(id, "b", &metrics, Arc::default());
        Scene { log, outbox, status, wire: Wire { version, capabilities, stamper: None, proxy: None }, place }
    }

    fn connect(&mut self, session_present: bool) {
        self.outbox.connected(session_present, &self.wire.capabilities);
    }

    fn append(&self, message: &Message) {
        self.log.append_plain(std::iter::once(message), Origin::Device, SECOND);
    }

    /// What goes out now.
    fn sent_at(&mut self, now_micros: u64) -> Vec<Packet> {
        let mut output = BytesMut::new();
        self.outbox.fill(&mut output, &self.wire, &self.status, now_micros);
        let mut packets = Vec::new();
        decode_all(&mut output, self.wire.version, &DecodeLimits::default(), &mut packets)
            .expect("good packets");
        packets
    }

    fn sent(&mut self) -> Vec<Packet> {
        self.sent_at(SECOND)
    }

    fn published(&mut self) -> Vec<Publish> {
        let publish = |packet| match packet {
            Packet::Publish(publish) => publish,
            other => panic!("PUBLISH expected, not {other:?}"),
        };
        self.sent().into_iter().map(publish).collect()
    }
}

fn message(text: &str, qos: QoS) -> Message {
    Message {
        topic_name: TopicName::new("t").expect("a topic name"),
        qos,
        retain: false,
        properties: Properties::default(),
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn texts(published: &[Publish]) -> Vec<String> {
    published.iter().map(|publish| String::from_utf8_lossy(&publish.payload).into_owned()).collect()
}

#[test]
fn what_was_sent_before_a_restart_and_is_gone_from_the_log_does_not_fill_the_window() {
    let mut scene = Scene::new(ProtocolVersion::V311, 10, None);
    for text in ["gone", "gone too", "gone as well", "new"] {
        scene.append(&message(text, QoS::ExactlyOnce));
    }
    // Three are all that the window of QoS 2 has room for here.
    let in_flight = (0..3).map(|offset| (PacketId::new(offset + 7).expect("not 0"), offset.into(), false));
    let stored = crate::store::StoredUpstream { in_flight: in_flight.collect(), ..Default::default() };
    scene.outbox.restore(stored);
    scene.place.advance_to(3);
    scene.connect(true);
    assert_eq!(texts(&scene.published()), ["new"]);
    assert_eq!(scene.outbox.in_flight(), 1);
    assert_eq!(scene.status.snapshot(Lag::default()).dropped.get("overflow"), Some(&3));
}

#[test]
fn max_qos_caps_what_goes_out_and_qos_0_is_done_at_once() {
    let mut scene = Scene::new(ProtocolVersion::V311, 10, Some(QoS::AtMostOnce));
    scene.connect(false);
    scene.append(&message("a", QoS::ExactlyOnce));
    let published = scene.published();
    assert_eq!((published[0].qos, published[0].packet_id), (QoS::AtMostOnce, None));
    assert!(scene.outbox.is_drained());
    assert_eq!(scene.status.snapshot(Lag::default()).forwarded, 1);
}

#[test]
fn an_expired_message_is_dropped_and_the_others_carry_what_is_left() {
    let mut scene = Scene::new(ProtocolVersion::V5, 10, None);
    scene.connect(false);
    for (text, secs) in [("short", 5), ("long", 60)] {
        let mut message = message(text, QoS::AtMostOnce);
        message.properties = Properties::default().with(Property::MessageExpiryInterval(secs));
        scene.append(&message);
    }
    let sent = scene.sent_at(11 * SECOND);
    let [Packet::Publish(publish)] = &sent[..] else { panic!("one PUBLISH expected, not {sent:?}") };
    assert_eq!(&publish.payload[..], b"long");
    assert_eq!(publish.properties.message_expiry_interval(), Some(50));
    assert_eq!(scene.status.snapshot(Lag::default()).dropped.get("expired"), Some(&1));
}

#[test]
fn a_message_larger_than_the_brokers_maximum_is_dropped_and_counted() {
    let mut scene = Scene::new(ProtocolVersion::V5, 10, None);
    scene.wire.capabilities.packet_bytes_max = 50;
    scene.connect(false);
    scene.append(&message(&"x".repeat(100), QoS::AtLeastOnce));
    scene.append(&message("fits", QoS::AtLeastOnce));
    assert_eq!(texts(&scene.published()), ["fits"]);
    assert_eq!(scene.status.snapshot(Lag::default()).dropped.get("too_large"), Some(&1));
}

#[test]
fn a_refused_message_is_counted_and_not_sent_again() {
    let mut scene = Scene::new(ProtocolVersion::V5, 10, None);
    scene.connect(false);
    scene.append(&message("a", QoS::AtLeastOnce));
    let packet_id = scene.published()[0].packet_id.expect("QoS 1");
    let refused = Acknowledgement {
        packet_id,
        reason_code: ReasonCode::NotAuthorized,
        properties: Properties::default(),
    };
    assert_eq!(scene.outbox.puback(&refused, &scene.status), Ok(0));
    assert_eq!(scene.status.snapshot(Lag::default()).dropped.get("refused"), Some(&1));
    assert!(scene.outbox.is_drained());
}

#[test]
fn the_cursor_waits_for_the_oldest_unacknowledged_message() {
    let mut scene = Scene::new(ProtocolVersion::V311, 10, None);
    scene.connect(false);
    for text in ["0", "1", "2"] {
        scene.append(&message(text, QoS::AtLeastOnce));
    }
    let ids: Vec<PacketId> = scene.published().iter().filter_map(|publish| publish.packet_id).collect();
    let mut acknowledge = |index: usize| {
        let packet = Acknowledgement::success(ids[index]);
        assert_eq!(scene.outbox.puback(&packet, &scene.status), Ok(1));
        scene.outbox.cursor().0
    };
    assert_eq!((acknowledge(1), acknowledge(0), acknowledge(2)), (0, 2, 3));
}

/// What a test does to the outbox.
#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<u8>),
    Send,
    /// Answers the message in flight that is so far from the oldest (modulo their number).
    Answer(usize),
    Reconnect {
        session_present: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => proptest::collection::vec(0u8..=2, 1..6).prop_map(Step::Publish),
        4 => Just(Step::Send),
        8 => any::<usize>().prop_map(Step::Answer),
        1 => any::<bool>().prop_map(|session_present| Step::Reconnect { session_present }),
    ];
    proptest::collection::vec(step, 1..120)
}

/// A broker that keeps its promises, as far as it is asked to.
#[derive(Default)]
struct Model {
    /// Packet Identifiers in use, with the text, the QoS and whether PUBREC was sent.
    in_flight: BTreeMap<PacketId, (u32, QoS, bool)>,
    /// PUBRELs that wait for PUBCOMP.
    released: Vec<PacketId>,
    /// Each message in the order in which it came for the first time.
    first_seen: Vec<u32>,
    seen: std::collections::BTreeSet<u32>,
}

impl Model {
    fn take(&mut self, packets: Vec<Packet>) {
        for packet in packets {
            match packet {
                Packet::Publish(publish) => self.publish(&publish),
                Packet::PubRel(packet) => self.released.push(packet.packet_id),
                other => panic!("not for a broker: {other:?}"),
            }
        }
    }

    fn publish(&mut self, publish: &Publish) {
        let number: u32 = String::from_utf8_lossy(&publish.payload).parse().expect("a number");
        if let Some(packet_id) = publish.packet_id {
            match self.in_flight.get(&packet_id) {
                Some((known, ..)) => {
                    assert_eq!((*known, publish.dup), (number, true), "an identifier in use")
                }
                None => assert!(!publish.dup, "{number} is new here"),
            }
            self.in_flight.entry(packet_id).or_insert((number, publish.qos, false));
        }
        if self.seen.insert(number) {
            self.first_seen.push(number);
        }
    }

    fn answer(&mut self, which: usize, scene: &mut Scene) {
        if self.in_flight.is_empty() {
            return;
        }
        let index = which % self.in_flight.len();
        let Some((packet_id, (number, qos, received))) =
            self.in_flight.iter().nth(index).map(|(id, flight)| (*id, *flight))
        else {
            return;
        };
        let packet = Acknowledgement::success(packet_id);
        let (outbox, status) = (&mut scene.outbox, &scene.status);
        match (qos, received) {
            (QoS::AtLeastOnce, _) => {
                self.in_flight.remove(&packet_id);
                outbox.puback(&packet, status).expect("it was sent at QoS 1");
            }
            (_, false) => {
                self.in_flight.insert(packet_id, (number, qos, true));
                let mut output = BytesMut::new();
                outbox.pubrec(&packet, &mut output, status).expect("it was sent at QoS 2");
                let mut packets = Vec::new();
                decode_all(&mut output, scene.wire.version, &DecodeLimits::default(), &mut packets)
                    .expect("PUBREL");
                self.take(packets);
            }
            (_, true) if self.released.contains(&packet_id) => {
                self.released.retain(|released| *released != packet_id);
                self.in_flight.remove(&packet_id);
                outbox.pubcomp(&packet).expect("it was released");
            }
            (_, true) => {}
        }
    }

    fn check(&self, scene: &Scene) {
        let window = usize::from(scene.wire.capabilities.receive_maximum);
        assert!(self.in_flight.len() <= window, "more unacknowledged than the Receive Maximum");
        let at_qos_2 = self.in_flight.values().filter(|(_, qos, _)| *qos == QoS::ExactlyOnce).count();
        assert!(at_qos_2 <= usize::from(scene.wire.capabilities.qos_2_maximum));
        if let Some(oldest) = self.in_flight.values().map(|(number, ..)| *number).min() {
            assert!(scene.outbox.cursor().0 <= oldest.into(), "the cursor passed a message in flight");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_message_arrives_and_for_the_first_time_in_order(steps in steps(), window in 1u16..8, v5: bool) {
        let version = if v5 { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
        let (mut scene, mut model) = (Scene::new(version, window, None), Model::default());
        scene.connect(false);
        let mut published = 0_u32;
        for step in steps {
            match step {
                Step::Publish(levels) => {
                    for level in levels {
                        scene.append(&message(&published.to_string(), QoS::from_u8(level).expect("0 to 2")));
                        published += 1;
                    }
                }
                Step::Send => {
                    let packets = scene.sent();
                    model.take(packets);
                }
                Step::Answer(which) => model.answer(which, &mut scene),
                Step::Reconnect { session_present } => {
                    scene.outbox.disconnected();
                    model.released.clear();
                    if !session_present {
                        model.in_flight.clear();
                    }
                    scene.connect(session_present);
                }
            }
            model.check(&scene);
        }
        for _ in 0..100_000 {
            let packets = scene.sent();
            model.take(packets);
            model.answer(0, &mut scene);
            if scene.outbox.is_drained() {
                break;
            }
        }
        prop_assert!(scene.outbox.is_drained(), "nothing is stuck");
        prop_assert_eq!(scene.outbox.cursor().0, u64::from(published));
        prop_assert_eq!(model.first_seen, (0..published).collect::<Vec<_>>());
    }
}

/// The rule of one broker for all that follows.
fn with_rule(scene: &mut Scene, change: impl FnOnce(&mut ForwardRule)) -> ForwardRule {
    let mut rule = ForwardRule::default();
    change(&mut rule);
    let forwarding = Forwarding::new(BrokerId(Uuid::from_u128(1)), &rule);
    scene.outbox.set_rule(forwarding, &rule, &crate::broker::Backlog::default());
    rule
}

#[test]
fn what_goes_out_is_changed_as_the_rule_says() {
    for version in [ProtocolVersion::V311, ProtocolVersion::V5] {
        let mut scene = Scene::new(version, 10, None);
        with_rule(&mut scene, |rule| {
            rule.mapping.add = Some("site/".to_owned());
            rule.retain = RetainPolicy::Set;
            rule.user_properties = vec![("via".to_owned(), "proxy".to_owned())];
            rule.max_payload_bytes = Some(5);
        });
        scene.connect(false);
        let mut with_properties = message("12345", QoS::AtLeastOnce);
        with_properties.properties = Properties::default()
            .with(Property::MessageExpiryInterval(60))
            .with(Property::ContentType("x".into()));
        for message in
            [&message("1", QoS::AtMostOnce), &with_properties, &message("123456", QoS::AtLeastOnce)]
        {
            scene.append(message);
        }
        let published = scene.published();
        assert_eq!(texts(&published), ["1", "12345"]);
        for publish in &published {
            assert!(publish.retain);
            assert_eq!(publish.topic_name.as_ref().map(TopicName::as_str), Some("site/t"));
            let added: Vec<_> = publish.properties.user_properties().collect();
            let wanted = version.is_v5().then(|| ("via".into(), "proxy".into()));
            assert_eq!(added, wanted.into_iter().collect::<Vec<_>>());
        }
        if version.is_v5() {
            assert_eq!(published[1].properties.message_expiry_interval(), Some(60));
            assert_eq!(published[1].properties.content_type().as_deref(), Some("x"));
        }
        let dropped = scene.status.snapshot(Lag::default()).dropped;
        assert_eq!(dropped.get("payload_too_large"), Some(&1));
    }
}

#[test]
fn an_answer_finds_its_way_back_to_the_mapped_response_topic() {
    let mut scene = Scene::new(ProtocolVersion::V5, 10, None);
    with_rule(&mut scene, |rule| rule.mapping.add = Some("site/".to_owned()));
    scene.connect(false);
    for expiry in [None, Some(60)] {
        let mut request = message("m", QoS::AtMostOnce);
        request.properties = Properties::default()
            .with(Property::ResponseTopic("answers".into()))
            .with(Property::ContentType("x".into()));
        if let Some(secs) = expiry {
            request.properties = request.properties.with(Property::MessageExpiryInterval(secs));
        }
        scene.append(&request);
        let published = scene.published();
        let properties = &published[0].properties;
        assert_eq!(properties.response_topic().as_deref(), Some("site/answers"));
        assert_eq!(properties.content_type().as_deref(), Some("x"));
        assert_eq!(properties.message_expiry_interval(), expiry);
    }
    // It counts for the broker's Maximum Packet Size at its new length: 27 bytes here, and 22 as it came.
    for (packet_bytes_max, count) in [(27, 1), (26, 0)] {
        scene.wire.capabilities.packet_bytes_max = packet_bytes_max;
        let mut request = message("m", QoS::AtMostOnce);
        request.properties = Properties::default().with(Property::ResponseTopic("answers".into()));
        scene.append(&request);
        let mut output = BytesMut::new();
        scene.outbox.fill(&mut output, &scene.wire, &scene.status, SECOND);
        assert_eq!(output.len(), 27 * count);
    }
}

#[test]
fn a_message_without_a_topic_at_the_broker_is_dropped_and_counted() {
    let mut scene = Scene::new(ProtocolVersion::V311, 10, None);
    with_rule(&mut scene, |rule| rule.mapping.strip = Some("t".to_owned()));
    scene.connect(false);
    scene.append(&message("nowhere", QoS::AtLeastOnce));
    assert_eq!(texts(&scene.published()), Vec::<String>::new());
    assert!(scene.outbox.is_drained());
    assert_eq!(scene.status.snapshot(Lag::default()).dropped.get("unmappable"), Some(&1));
}

#[test]
fn the_added_properties_and_the_mapped_topic_count_for_the_brokers_maximum() {
    let mut scene = Scene::new(ProtocolVersion::V5, 10, None);
    // A PUBLISH of QoS 0 to `t` with the payload `m` has 7 bytes.
    scene.wire.capabilities.packet_bytes_max = 10;
    scene.connect(false);
    scene.append(&message("m", QoS::AtMostOnce));
    assert_eq!(texts(&scene.published()), ["m"]);
    for change in [
        (|rule: &mut ForwardRule| rule.mapping.add = Some("site/".to_owned())) as fn(&mut ForwardRule),
        |rule| rule.user_properties = vec![("a".to_owned(), "b".to_owned())],
    ] {
        with_rule(&mut scene, change);
        scene.append(&message("m", QoS::AtMostOnce));
        assert_eq!(texts(&scene.published()), Vec::<String>::new());
    }
    assert_eq!(scene.status.snapshot(Lag::default()).dropped.get("too_large"), Some(&2));
}

#[test]
fn what_is_in_flight_goes_out_again_under_the_topic_that_it_has_by_now() {
    let mut scene = Scene::new(ProtocolVersion::V311, 10, None);
    scene.connect(false);
    for text in ["a", "b"] {
        scene.append(&message(text, QoS::ExactlyOnce));
    }
    assert_eq!(scene.published().len(), 2);
    with_rule(&mut scene, |rule| rule.mapping.add = Some("new/".to_owned()));
    scene.outbox.disconnected();
    scene.connect(true);
    for publish in scene.published() {
        let topic = publish.topic_name.expect("3.1.1 knows no aliases");
        assert_eq!((topic.as_str(), publish.dup), ("new/t", true));
    }
    // Without a topic it goes nowhere, and leaves room for others.
    with_rule(&mut scene, |rule| rule.mapping.strip = Some("t".to_owned()));
    scene.outbox.disconnected();
    scene.connect(true);
    assert_eq!(texts(&scene.published()), Vec::<String>::new());
    assert!(scene.outbox.is_drained());
    assert_eq!(scene.status.snapshot(Lag::default()).dropped.get("unmappable"), Some(&2));
}

#[test]
fn an_echo_is_known_by_what_was_on_the_wire() {
    let mut scene = Scene::new(ProtocolVersion::V311, 10, None);
    with_rule(&mut scene, |rule| rule.mapping.add = Some("site/".to_owned()));
    let definition = crate::BrokerChanges::new().with("name", "a").with("address", "b");
    let definition = definition.with("bidirectional", true).with("version", "3.1.1");
    let source = crate::broker::BrokerSource::Stored;
    let broker = definition.create(BrokerId(Uuid::from_u128(1)), source).expect("a definition");
    let bridge = Arc::new(Bridge::new(&crate::bridge::BridgeOptions::default(), Uuid::nil()));
    *scene.outbox.loops() = LoopWatch::over(&broker, false, None, &bridge);
    scene.connect(false);
    scene.append(&message("m", QoS::AtMostOnce));
    assert_eq!(scene.published().len(), 1);
    let loops = scene.outbox.loops().as_mut().expect("the broker is bidirectional");
    assert!(!loops.is_echo(b"t", b"m", &Properties::default()));
    assert!(loops.is_echo(b"site/t", b"m", &Properties::default()));
}

#[test]
fn a_replay_excludes_and_maps_as_the_rule_says() {
    let mut scene = Scene::new(ProtocolVersion::V311, 10, None);
    let rule = with_rule(&mut scene, |rule| {
        rule.exclude = vec![TopicFilter::new("secret").expect("a filter")];
        rule.mapping.add = Some("site/".to_owned());
    });
    scene.connect(false);
    for topic in ["t", "secret"] {
        let topic_name = TopicName::new(topic).expect("a topic name");
        scene.append(&Message { topic_name, ..message("m", QoS::AtMostOnce) });
    }
    assert_eq!(scene.published().len(), 1);
    for topics in [vec![], vec![TopicFilter::new("#").expect("a filter")]] {
        let order = ReplayOrder { from: 0, to: 2, topics, max_rate_messages: None };
        scene.outbox.begin_replay(order, &rule);
        let published = scene.published();
        let topics: Vec<_> = published
            .iter()
            .filter_map(|publish| publish.topic_name.as_ref())
            .map(TopicName::as_str)
            .collect();
        assert_eq!(topics, ["site/t"]);
    }
}
