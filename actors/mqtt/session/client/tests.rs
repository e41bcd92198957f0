//! Dialogues of a client session with a server that is played by hand.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::{
    AcknowledgementMode, ClientError, ClientSession, Delivery, DisconnectCause, Disconnected, Event, Options,
    REQUESTS_MAX,
};
use crate::codec::{DecodeLimits, decode, encode};
use crate::packet::table::{V5, V311, packet_id, properties};
use crate::packet::{Acknowledgement, ConnAck, Disconnect, Publish, SubAck, SubscriptionOptions, UnsubAck};
use crate::{
    Message, Packet, Properties, Property, ProtocolVersion, QoS, ReasonCode, TopicFilter, TopicName,
};

const BOTH: [ProtocolVersion; 2] = [V311, V5];
const SECOND: Duration = Duration::from_secs(1);

/// A client, what it wrote, and the time.
struct Dialogue {
    client: ClientSession,
    version: ProtocolVersion,
    read: BytesMut,
    now: Instant,
}

impl Dialogue {
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn new(options: Options) -> Dialogue {
        let version = options.version;
        Dialogue { client: ClientSession::new(options), version, read: BytesMut::new(), now: Instant::now() }
    }

    /// One that is connected, with this CONNACK.
    fn online(options: Options, granted: Vec<Property>) -> Dialogue {
        let mut dialogue = Dialogue::new(options);
        dialogue.connect(false, granted);
        dialogue
    }

    fn connect(&mut self, session_present: bool, granted: Vec<Property>) {
        self.client.connect(self.now).unwrap();
        assert!(matches!(self.sent()[..], [Packet::Connect(_)]));
        let events = self.answer(connack(session_present, granted));
        assert!(matches!(events[0], Event::Connected { session_present: is, .. } if is == session_present));
    }

    /// The transport breaks, and a new one is there.
    fn reconnect(&mut self, session_present: bool) {
        self.client.connection_lost();
        self.read.clear();
        self.connect(session_present, Vec::new());
    }

    /// What the client wrote.
    fn sent(&mut self) -> Vec<Packet> {
        let mut written = BytesMut::new();
        loop {
            let bytes = self.client.take_output(self.now);
            if bytes.is_empty() {
                break;
            }
            written.extend_from_slice(&bytes);
        }
        let mut packets = Vec::new();
        while let Some(packet) = decode(&mut written, self.version, &DecodeLimits::default()).unwrap() {
            packets.push(packet);
        }
        assert!(written.is_empty(), "whole packets are written");
        packets
    }

    /// The server says this; the events that it brings.
    fn answer(&mut self, packet: Packet) -> Vec<Event> {
        encode(&packet, self.version, &mut self.read).unwrap();
        let mut events = Vec::new();
        while let Some(event) = self.client.receive(&mut self.read, self.now) {
            events.push(event);
        }
        events
    }

    /// The server says this and the client hangs up.
    fn violation(&mut self, packet: Packet) -> ReasonCode {
        match self.answer(packet).pop() {
            Some(Event::Disconnected(Disconnected { cause, reason_code, .. })) => {
                assert!(matches!(cause, DisconnectCause::ProtocolViolation(_)), "{cause:?}");
                let told = Packet::Disconnect(Disconnect { reason_code, properties: Properties::default() });
                let wanted = if self.version.is_v5() { vec![told] } else { Vec::new() };
                assert_eq!(self.sent(), wanted);
                assert_eq!(self.client.next_deadline(), None);
                reason_code
            }
            other => panic!("{other:?}"),
        }
    }

    fn publish(&mut self, qos: QoS, text: &str) -> super::PublishToken {
        self.client.publish(message(qos, text)).unwrap()
    }

    /// Texts, identifiers and DUP of the PUBLISH packets that were written, which must be all.
    fn published(&mut self) -> Vec<(String, u16, bool)> {
        let sent = self.sent().into_iter();
        sent.map(|packet| match packet {
            Packet::Publish(publish) => {
                let text = String::from_utf8(publish.payload.to_vec()).unwrap();
                (text, publish.packet_id.map_or(0, |id| id.get()), publish.dup)
            }
            other => panic!("{other:?}"),
        })
        .collect()
    }
}

fn options(version: ProtocolVersion) -> Options {
    Options {
        session_expiry_interval_secs: 60,
        clean_start: version.is_v5(),
        ..Options::new(version, "client")
    }
}

fn message(qos: QoS, text: &str) -> Message {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    let topic_name = TopicName::new("a/b").unwrap();
    Message { topic_name, qos, retain: false, properties: Properties::default(), payload }
}

fn connack(session_present: bool, granted: Vec<Property>) -> Packet {
    let mut builder = Properties::builder();
    for property in &granted {
        builder.push(property).unwrap();
    }
    let properties = builder.build();
    Packet::ConnAck(Box::new(ConnAck { session_present, reason_code: ReasonCode::Success, properties }))
}

fn ack(number: u16) -> Acknowledgement {
    Acknowledgement::success(packet_id(number))
}

fn from_server(qos: QoS, number: u16, text: &str) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic_name: Some(TopicName::new("a/b").unwrap()),
        packet_id: (qos != QoS::AtMostOnce).then(|| packet_id(number)),
        properties: Properties::default(),
        payload: Bytes::copy_from_slice(text.as_bytes()),
    })
}

fn filter(text: &'static str) -> (TopicFilter, SubscriptionOptions) {
    (TopicFilter::new(text).unwrap(), SubscriptionOptions::with_qos(QoS::AtLeastOnce))
}

fn text_of(event: &Event) -> String {
    match event {
        Event::Message(Delivery { message, .. }) => String::from_utf8(message.payload.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn published(token: super::PublishToken, reason_code: ReasonCode) -> Vec<Event> {
    vec![Event::Published { token, reason_code }]
}

#[test]
fn a_message_of_each_qos_goes_out_and_its_flow_ends() {
    for version in BOTH {
        let mut dialogue = Dialogue::online(options(version), Vec::new());
        dialogue.publish(QoS::AtMostOnce, "0");
        let at_least = dialogue.publish(QoS::AtLeastOnce, "1");
        let exactly = dialogue.publish(QoS::ExactlyOnce, "2");
        let wanted = [("0".into(), 0, false), ("1".into(), 1, false), ("2".into(), 2, false)];
        assert_eq!(dialogue.published(), wanted);
        assert_eq!(dialogue.answer(Packet::PubAck(ack(1))), published(at_least, ReasonCode::Success));
        assert_eq!(dialogue.answer(Packet::PubRec(ack(2))), []);
        assert_eq!(dialogue.sent(), [Packet::PubRel(ack(2))]);
        assert_eq!(dialogue.client.unacknowledged(), 1);
        assert_eq!(dialogue.answer(Packet::PubComp(ack(2))), published(exactly, ReasonCode::Success));
        assert_eq!(dialogue.client.unacknowledged(), 0);
    }
}

#[test]
fn a_refusal_is_told_and_ends_the_flow() {
    let mut dialogue = Dialogue::online(options(V5), Vec::new());
    let at_least = dialogue.publish(QoS::AtLeastOnce, "1");
    let exactly = dialogue.publish(QoS::ExactlyOnce, "2");
    let quota = ReasonCode::QuotaExceeded;
    let no = |number| Acknowledgement { reason_code: quota, ..ack(number) };
    dialogue.sent();
    assert_eq!(dialogue.answer(Packet::PubAck(no(1))), published(at_least, quota));
    assert_eq!(dialogue.answer(Packet::PubRec(no(2))), published(exactly, quota));
    assert_eq!(dialogue.sent(), [], "no PUBREL");
}

#[test]
fn a_resumed_session_sends_again_with_dup_and_in_order() {
    for version in BOTH {
        let mut dialogue = Dialogue::online(options(version), Vec::new());
        for (qos, text) in [(QoS::ExactlyOnce, "a"), (QoS::AtLeastOnce, "b"), (QoS::ExactlyOnce, "c")] {
            dialogue.publish(qos, text);
        }
        dialogue.sent();
        dialogue.answer(Packet::PubRec(ack(1)));
        dialogue.client.connection_lost();
        dialogue.publish(QoS::AtLeastOnce, "d");
        dialogue.reconnect(true);
        let sent = dialogue.sent();
        assert_eq!(sent[0], Packet::PubRel(ack(1)));
        let rest = sent[1..].iter().map(|packet| match packet {
            Packet::Publish(publish) => (publish.packet_id.map(|id| id.get()), publish.dup),
            other => panic!("{other:?}"),
        });
        assert_eq!(rest.collect::<Vec<_>>(), [(Some(2), true), (Some(3), true), (Some(4), false)]);
    }
}

#[test]
fn a_lost_session_gets_what_the_server_had_not_received_as_new() {
    for version in BOTH {
        let mut dialogue = Dialogue::online(options(version), Vec::new());
        let received = dialogue.publish(QoS::ExactlyOnce, "a");
        dialogue.publish(QoS::ExactlyOnce, "b");
        dialogue.publish(QoS::AtLeastOnce, "c");
        dialogue.sent();
        dialogue.answer(Packet::PubRec(ack(1)));
        dialogue.client.connection_lost();
        dialogue.read.clear();
        dialogue.client.connect(dialogue.now).unwrap();
        dialogue.sent();
        let events = dialogue.answer(connack(false, Vec::new()));
        assert_eq!(events[1..], published(received, ReasonCode::Success));
        assert_eq!(dialogue.published(), [("b".into(), 4, false), ("c".into(), 5, false)]);
    }
}

#[test]
fn only_the_first_connection_of_a_lasting_session_starts_clean() {
    for (version, durable, wanted) in
        [(V5, true, [true, false]), (V5, false, [true, true]), (V311, false, [true, true])]
    {
        let expiry = if durable { 60 } else { 0 };
        let options = Options { session_expiry_interval_secs: expiry, ..Options::new(version, "client") };
        let mut dialogue = Dialogue::new(options);
        for clean_start in wanted {
            dialogue.client.connect(dialogue.now).unwrap();
            let sent = dialogue.sent();
            assert!(matches!(&sent[..], [Packet::Connect(connect)] if connect.clean_start == clean_start));
            dialogue.answer(connack(false, Vec::new()));
            dialogue.client.connection_lost();
        }
    }
}

#[test]
fn the_window_is_the_smaller_one_of_both_sides() {
    for (mine, granted, wanted) in [(2, 5, 2), (5, 2, 2)] {
        let options = Options { in_flight_max: mine, ..options(V5) };
        let mut dialogue = Dialogue::online(options, vec![Property::ReceiveMaximum(granted)]);
        for text in ["a", "b", "c", "d"] {
            dialogue.publish(QoS::AtLeastOnce, text);
        }
        assert_eq!(dialogue.published().len(), wanted);
        assert_eq!((dialogue.client.in_flight(), dialogue.client.unacknowledged()), (wanted, 4));
        dialogue.answer(Packet::PubAck(ack(1)));
        assert_eq!(dialogue.published(), [("c".into(), 3, false)]);
    }
}

#[test]
fn what_is_full_says_so_and_has_room_again_later() {
    let options = Options { unacknowledged_max: 2, ..options(V311) };
    let mut dialogue = Dialogue::new(options);
    dialogue.publish(QoS::AtMostOnce, "a");
    dialogue.publish(QoS::AtLeastOnce, "b");
    let refused = dialogue.client.publish(message(QoS::AtMostOnce, "c"));
    assert_eq!(refused, Err(ClientError::Full { limit: 2 }));
    dialogue.connect(false, Vec::new());
    assert_eq!(dialogue.published().len(), 2);
    dialogue.publish(QoS::AtLeastOnce, "c");
    dialogue.answer(Packet::PubAck(ack(1)));
    dialogue.publish(QoS::AtLeastOnce, "d");
    assert_eq!(dialogue.client.unacknowledged(), 2);
}

#[test]
fn what_the_server_does_not_accept_is_not_sent() {
    let granted = || {
        vec![
            Property::MaximumQoS(QoS::AtLeastOnce),
            Property::RetainAvailable(false),
            Property::MaximumPacketSize(40),
            Property::WildcardSubscriptionAvailable(false),
            Property::SharedSubscriptionAvailable(false),
            Property::SubscriptionIdentifiersAvailable(false),
        ]
    };
    let large = "x".repeat(40);
    let retained = Message { retain: true, ..message(QoS::AtMostOnce, "r") };
    let mut dialogue = Dialogue::new(options(V5));
    let queued = [message(QoS::ExactlyOnce, "2"), retained.clone(), message(QoS::AtLeastOnce, &large)];
    let tokens = queued.clone().map(|message| dialogue.client.publish(message).unwrap());
    dialogue.client.connect(dialogue.now).unwrap();
    dialogue.sent();
    let events = dialogue.answer(connack(false, granted()));
    let reasons = [ReasonCode::QoSNotSupported, ReasonCode::RetainNotSupported, ReasonCode::PacketTooLarge];
    for (index, reason_code) in reasons.into_iter().enumerate() {
        assert_eq!(events[index + 1..index + 2], published(tokens[index], reason_code));
        let refused = dialogue.client.publish(queued[index].clone());
        assert_eq!(refused, Err(ClientError::NotAccepted(reason_code)));
    }
    let none = Properties::default;
    let identifier = properties([Property::SubscriptionIdentifier(1)]);
    for (text, properties, reason_code) in [
        ("a/#", none(), ReasonCode::WildcardSubscriptionsNotSupported),
        ("$share/g/a", none(), ReasonCode::SharedSubscriptionsNotSupported),
        ("a", identifier, ReasonCode::SubscriptionIdentifiersNotSupported),
        ("a/long/filter/that/is/longer/than/the/packet", none(), ReasonCode::PacketTooLarge),
    ] {
        let refused = dialogue.client.subscribe([filter(text)], properties);
        assert_eq!(refused, Err(ClientError::NotAccepted(reason_code)), "{text}");
    }
    assert_eq!(dialogue.sent(), []);
    assert_eq!((dialogue.client.unacknowledged(), dialogue.client.in_flight()), (0, 0));
}

#[test]
fn a_server_that_accepts_less_after_a_reconnect_does_not_get_what_was_under_way() {
    let mut dialogue = Dialogue::online(options(V5), Vec::new());
    let too_much = dialogue.publish(QoS::ExactlyOnce, "a");
    dialogue.publish(QoS::AtLeastOnce, "b");
    dialogue.sent();
    dialogue.client.connection_lost();
    dialogue.client.connect(dialogue.now).unwrap();
    dialogue.sent();
    let events = dialogue.answer(connack(true, vec![Property::MaximumQoS(QoS::AtLeastOnce)]));
    assert_eq!(events[1..], published(too_much, ReasonCode::QoSNotSupported));
    assert_eq!(dialogue.published(), [("b".into(), 2, true)]);
}

#[test]
fn messages_that_no_server_may_be_sent_are_refused() {
    let mut dialogue = Dialogue::online(options(V5), Vec::new());
    for property in
        [Property::TopicAlias(1), Property::SubscriptionIdentifier(1), Property::ReceiveMaximum(1)]
    {
        let wrong = Message { properties: properties([property]), ..message(QoS::AtMostOnce, "a") };
        assert!(matches!(dialogue.client.publish(wrong), Err(ClientError::Encode(_))));
    }
}

#[test]
fn subscriptions_are_answered_by_token() {
    for version in BOTH {
        let mut dialogue = Dialogue::online(options(version), Vec::new());
        let none = Properties::default;
        let both = dialogue.client.subscribe([filter("a"), filter("b/#")], none()).unwrap();
        let gone = dialogue.client.unsubscribe([filter("a").0], none()).unwrap();
        assert_eq!(dialogue.sent().len(), 2);
        let codes = vec![ReasonCode::GrantedQoS1, ReasonCode::UnspecifiedError];
        let suback = SubAck { packet_id: packet_id(1), properties: none(), reason_codes: codes.clone() };
        let unsuback =
            UnsubAck { packet_id: packet_id(2), properties: none(), reason_codes: vec![ReasonCode::Success] };
        let events = dialogue.answer(Packet::UnsubAck(unsuback));
        assert_eq!(events, [Event::Unsubscribed { token: gone, reason_codes: vec![ReasonCode::Success] }]);
        let events = dialogue.answer(Packet::SubAck(suback.clone()));
        assert_eq!(events, [Event::Subscribed { token: both, reason_codes: codes }]);
        assert_eq!(dialogue.client.waiting_requests(), 0);
        assert_eq!(dialogue.violation(Packet::SubAck(suback)), ReasonCode::ProtocolError);
    }
}

#[test]
fn requests_need_a_connection_and_have_a_limit() {
    let mut dialogue = Dialogue::new(options(V5));
    let none = Properties::default;
    assert_eq!(dialogue.client.subscribe([filter("a")], none()), Err(ClientError::NotConnected));
    assert_eq!(dialogue.client.disconnect(Disconnect::normal()), Err(ClientError::NotConnected));
    dialogue.connect(false, Vec::new());
    assert_eq!(dialogue.client.connect(dialogue.now), Err(ClientError::AlreadyConnected));
    assert!(matches!(dialogue.client.subscribe([], none()), Err(ClientError::Encode(_))));
    for _ in 0..REQUESTS_MAX {
        dialogue.client.subscribe([filter("a")], none()).unwrap();
    }
    let full = Err(ClientError::Full { limit: REQUESTS_MAX });
    assert_eq!(dialogue.client.subscribe([filter("a")], none()), full);
}

#[test]
fn messages_are_acknowledged_once_they_are_handed_out() {
    for version in BOTH {
        let mut dialogue = Dialogue::online(options(version), Vec::new());
        for (qos, answer) in [
            (QoS::AtMostOnce, None),
            (QoS::AtLeastOnce, Some(Packet::PubAck(ack(7)))),
            (QoS::ExactlyOnce, Some(Packet::PubRec(ack(7)))),
        ] {
            let events = dialogue.answer(from_server(qos, 7, "hello"));
            assert_eq!(text_of(&events[0]), "hello");
            assert_eq!(dialogue.sent(), Vec::from_iter(answer));
        }
        assert_eq!(dialogue.answer(from_server(QoS::ExactlyOnce, 7, "hello")), [], "it came before");
        assert_eq!(dialogue.sent(), [Packet::PubRec(ack(7))]);
        dialogue.reconnect(true);
        assert_eq!(dialogue.answer(from_server(QoS::ExactlyOnce, 7, "hello")), [], "over a reconnect too");
        dialogue.sent();
        assert_eq!(dialogue.answer(Packet::PubRel(ack(7))), []);
        assert_eq!(dialogue.sent(), [Packet::PubComp(ack(7))]);
        assert_eq!(dialogue.answer(from_server(QoS::ExactlyOnce, 7, "again")).len(), 1);
    }
}

#[test]
fn an_application_that_acknowledges_itself_does_so_in_any_order() {
    let options = Options { acknowledgement: AcknowledgementMode::Manual, ..options(V5) };
    let mut dialogue = Dialogue::online(options, Vec::new());
    let arrive =
        |dialogue: &mut Dialogue, qos, number| match &dialogue.answer(from_server(qos, number, "m"))[..] {
            [Event::Message(Delivery { token: Some(token), .. })] => Some(*token),
            [] => None,
            other => panic!("{other:?}"),
        };
    let first = arrive(&mut dialogue, QoS::AtLeastOnce, 1).unwrap();
    let second = arrive(&mut dialogue, QoS::ExactlyOnce, 2).unwrap();
    let third = arrive(&mut dialogue, QoS::AtLeastOnce, 3).unwrap();
    dialogue.client.acknowledge(second).unwrap();
    assert_eq!(dialogue.sent(), [], "the first comes first");
    dialogue.client.refuse(first, ReasonCode::QuotaExceeded).unwrap();
    let refused = Acknowledgement { reason_code: ReasonCode::QuotaExceeded, ..ack(1) };
    assert_eq!(dialogue.sent(), [Packet::PubAck(refused), Packet::PubRec(ack(2))]);
    assert_eq!(dialogue.client.acknowledge(first), Err(ClientError::UnknownDelivery));
    assert!(dialogue.client.refuse(third, ReasonCode::ServerBusy).is_err(), "not a code of PUBACK");
    let fourth = arrive(&mut dialogue, QoS::ExactlyOnce, 4).unwrap();
    let fifth = arrive(&mut dialogue, QoS::ExactlyOnce, 5).unwrap();
    dialogue.reconnect(true);
    assert_eq!(dialogue.client.acknowledge(third), Err(ClientError::UnknownDelivery), "it comes again");
    dialogue.client.acknowledge(fourth).unwrap();
    assert_eq!(dialogue.sent(), [], "nobody waits for it yet");
    assert_eq!(arrive(&mut dialogue, QoS::ExactlyOnce, 4), None, "the application has it");
    assert_eq!(dialogue.sent(), [Packet::PubRec(ack(4))]);
    assert_eq!(arrive(&mut dialogue, QoS::ExactlyOnce, 5), None);
    dialogue.client.acknowledge(fifth).unwrap();
    assert_eq!(dialogue.sent(), [Packet::PubRec(ack(5))]);
    assert_eq!(dialogue.client.held_deliveries(), 0);
}

#[test]
fn topic_aliases_work_in_both_directions() {
    let options = Options { topic_alias_maximum: 1, outbound_topic_aliases_max: 5, ..options(V5) };
    let mut dialogue = Dialogue::online(options, vec![Property::TopicAliasMaximum(1)]);
    dialogue.publish(QoS::AtMostOnce, "a");
    dialogue.publish(QoS::AtMostOnce, "b");
    let sent = dialogue.sent();
    let topics = sent.iter().map(|packet| match packet {
        Packet::Publish(publish) => (publish.topic_name.is_some(), publish.properties.topic_alias()),
        other => panic!("{other:?}"),
    });
    assert_eq!(topics.collect::<Vec<_>>(), [(true, Some(1)), (false, Some(1))]);
    let identifiers = [Property::TopicAlias(1), Property::SubscriptionIdentifier(9)];
    let with_alias = |topic_name: Option<&'static str>| {
        Packet::Publish(Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic_name: topic_name.map(|name| TopicName::new(name).unwrap()),
            packet_id: None,
            properties: properties(identifiers.clone()),
            payload: Bytes::new(),
        })
    };
    dialogue.answer(with_alias(Some("long/topic")));
    match &dialogue.answer(with_alias(None))[..] {
        [Event::Message(delivery)] => {
            assert_eq!(delivery.message.topic_name.as_str(), "long/topic");
            assert!(delivery.message.properties.is_empty());
            assert_eq!(delivery.subscription_identifiers, [9]);
        }
        other => panic!("{other:?}"),
    }
    dialogue.reconnect(true);
    assert_eq!(
        dialogue.violation(with_alias(None)),
        ReasonCode::ProtocolError,
        "aliases end with a connection"
    );
}

#[test]
fn the_server_decides_about_keep_alive_and_client_identifier() {
    let mut dialogue = Dialogue::online(
        Options { client_id: "".into(), ..options(V5) },
        vec![Property::ServerKeepAlive(5), Property::AssignedClientIdentifier("given".into())],
    );
    assert_eq!(dialogue.client.client_id(), "given");
    assert_eq!(dialogue.client.next_deadline(), Some(dialogue.now + 5 * SECOND));
    dialogue.client.connection_lost();
    dialogue.client.connect(dialogue.now).unwrap();
    assert!(matches!(&dialogue.sent()[..], [Packet::Connect(connect)] if &*connect.client_id == "given"));
}

#[test]
fn a_silent_server_is_asked_and_then_given_up() {
    for version in BOTH {
        let mut dialogue = Dialogue::online(options(version), Vec::new());
        let start = dialogue.now;
        dialogue.now = start + 59 * SECOND;
        assert_eq!(dialogue.client.tick(dialogue.now), None);
        dialogue.publish(QoS::AtMostOnce, "a");
        assert_eq!(dialogue.published().len(), 1);
        assert_eq!(dialogue.client.next_deadline(), Some(start + 60 * SECOND), "it said nothing yet");
        dialogue.now = start + 60 * SECOND;
        assert_eq!(dialogue.client.tick(dialogue.now), None);
        assert_eq!(dialogue.sent(), [Packet::PingReq]);
        assert_eq!(dialogue.answer(Packet::PingResp), []);
        dialogue.now = start + 120 * SECOND;
        assert_eq!(dialogue.client.tick(dialogue.now), None);
        assert_eq!(dialogue.sent(), [Packet::PingReq]);
        assert_eq!(dialogue.client.tick(dialogue.now + 9 * SECOND), None);
        let event = dialogue.client.tick(dialogue.now + 10 * SECOND);
        let cause = DisconnectCause::Timeout;
        assert!(matches!(event, Some(Event::Disconnected(end)) if end.cause == cause), "{version}");
        assert!(!dialogue.client.is_connected());
    }
}

#[test]
fn a_server_that_does_not_answer_connect_is_given_up() {
    let mut dialogue = Dialogue::new(options(V5));
    dialogue.client.connect(dialogue.now).unwrap();
    let end = dialogue.client.next_deadline().unwrap();
    assert_eq!(end, dialogue.now + 10 * SECOND);
    assert!(matches!(dialogue.client.tick(end), Some(Event::Disconnected(_))));
    assert_eq!(dialogue.client.connect(end), Ok(()));
}

#[test]
fn refusals_and_goodbyes_of_the_server_are_told() {
    let refusal = |reason_code| {
        let properties = Properties::default();
        Packet::ConnAck(Box::new(ConnAck { session_present: false, reason_code, properties }))
    };
    for version in BOTH {
        let mut dialogue = Dialogue::new(options(version));
        dialogue.client.connect(dialogue.now).unwrap();
        let events = dialogue.answer(refusal(ReasonCode::NotAuthorized));
        let end = Disconnected {
            cause: DisconnectCause::Refused,
            reason_code: ReasonCode::NotAuthorized,
            properties: Properties::default(),
        };
        assert_eq!(events, [Event::Disconnected(end)]);
    }
    let goodbye = Packet::Disconnect(Disconnect {
        reason_code: ReasonCode::SessionTakenOver,
        properties: Properties::default(),
    });
    let mut dialogue = Dialogue::online(options(V5), Vec::new());
    let events = dialogue.answer(goodbye);
    assert!(matches!(&events[..], [Event::Disconnected(end)] if end.cause == DisconnectCause::Server));
    assert_eq!(dialogue.sent(), []);
}

#[test]
fn a_server_that_breaks_the_protocol_is_told_so() {
    let wrong_alias = Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic_name: Some(TopicName::new("a").unwrap()),
        packet_id: None,
        properties: properties([Property::TopicAlias(1)]),
        payload: Bytes::new(),
    });
    for (packet, reason_code) in [
        (Packet::PingReq, ReasonCode::ProtocolError),
        (connack(false, Vec::new()), ReasonCode::ProtocolError),
        (Packet::PubComp(ack(1)), ReasonCode::ProtocolError),
        (Packet::PubRec(ack(1)), ReasonCode::ProtocolError),
        (wrong_alias, ReasonCode::TopicAliasInvalid),
        (from_server(QoS::AtMostOnce, 0, &"x".repeat(1_000)), ReasonCode::PacketTooLarge),
    ] {
        let mut dialogue = Dialogue::online(Options { packet_bytes_max: 500, ..options(V5) }, Vec::new());
        dialogue.publish(QoS::AtLeastOnce, "a");
        dialogue.sent();
        assert_eq!(dialogue.violation(packet), reason_code);
    }
    let options = Options { receive_maximum: 1, acknowledgement: AcknowledgementMode::Manual, ..options(V5) };
    let mut dialogue = Dialogue::online(options, Vec::new());
    dialogue.answer(from_server(QoS::AtLeastOnce, 1, "a"));
    let second = from_server(QoS::AtLeastOnce, 2, "b");
    assert_eq!(dialogue.violation(second), ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn nothing_is_taken_before_connack_nor_a_session_after_a_clean_start() {
    for packet in [from_server(QoS::AtMostOnce, 0, "a"), connack(true, Vec::new())] {
        let mut dialogue = Dialogue::new(options(V5));
        dialogue.client.connect(dialogue.now).unwrap();
        dialogue.sent();
        let events = dialogue.answer(packet);
        assert!(matches!(&events[..], [Event::Disconnected(_)]), "{events:?}");
        assert_eq!(dialogue.sent(), [], "there is no connection to end yet");
    }
}

#[test]
fn late_acknowledgements_are_harmless() {
    for version in BOTH {
        let mut dialogue = Dialogue::online(options(version), Vec::new());
        assert_eq!(dialogue.answer(Packet::PubAck(ack(9))), []);
        assert_eq!(dialogue.answer(Packet::PubComp(ack(9))), []);
        assert_eq!(dialogue.answer(Packet::PubRec(ack(9))), []);
        assert_eq!(dialogue.answer(Packet::PubRel(ack(9))), []);
        let code = if version.is_v5() { ReasonCode::PacketIdentifierNotFound } else { ReasonCode::Success };
        let not_found = Acknowledgement { reason_code: code, ..ack(9) };
        assert_eq!(dialogue.sent(), [Packet::PubRel(not_found.clone()), Packet::PubComp(not_found)]);
    }
}

#[test]
fn goodbye_is_written_and_may_not_raise_the_expiry() {
    for version in BOTH {
        let mut dialogue =
            Dialogue::online(Options { session_expiry_interval_secs: 0, ..options(version) }, Vec::new());
        let raised = properties([Property::SessionExpiryInterval(1)]);
        let raised = Disconnect { reason_code: ReasonCode::Success, properties: raised };
        assert!(matches!(dialogue.client.disconnect(raised), Err(ClientError::Encode(_))));
        dialogue.client.disconnect(Disconnect::normal()).unwrap();
        assert_eq!(dialogue.sent(), [Packet::Disconnect(Disconnect::normal())]);
        assert!(!dialogue.client.is_connected());
    }
}

#[test]
fn output_that_nobody_takes_holds_messages_back() {
    let mut dialogue = Dialogue::online(options(V311), Vec::new());
    let large = "x".repeat(10_000);
    for _ in 0..20 {
        dialogue.publish(QoS::AtMostOnce, &large);
    }
    let waiting = dialogue.client.unacknowledged();
    assert!((1..20).contains(&waiting), "{waiting}");
    assert_eq!(dialogue.published().len(), 20);
    assert_eq!(dialogue.client.unacknowledged(), 0);
}
