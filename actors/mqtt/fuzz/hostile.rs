//! A client session against a server that says anything at any time: nothing panics, nothing grows beyond its
//! limit, all that is written is what a client may write, and errors are Reason Codes.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mqtt::codec::{DecodeLimits, decode, encode};
use mqtt::packet::{
    Acknowledgement, Auth, ConnAck, Disconnect, Publish, SubAck, SubscriptionOptions, UnsubAck,
};
use mqtt::session::client::{
    AcknowledgementMode, ClientSession, DeliveryToken, DisconnectCause, Event, Granted, Options, PublishToken,
};
use mqtt::{
    Message, Packet, PacketId, Properties, Property, ProtocolVersion, QoS, ReasonCode, TopicFilter, TopicName,
};

use crate::script::Script;

const TOPICS: [&str; 3] = ["a", "a/b", "c"];

/// Plays a script and checks the above after every step.
pub fn check(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut play = Play::new(&mut script);
    while !script.is_over() {
        play.step(&mut script);
        play.check_limits();
    }
}

struct Play {
    client: ClientSession,
    options: Options,
    read: BytesMut,
    now: Instant,
    granted: Option<Granted>,
    /// Whether the next bytes of the client must begin with CONNECT.
    is_new: bool,
    /// Messages whose outcome has not been told.
    open: HashSet<PublishToken>,
    deliveries: Vec<DeliveryToken>,
}

impl Play {
    #[allow(clippy::disallowed_methods, reason = "a script needs some instant to count from")]
    fn new(script: &mut Script<'_>) -> Play {
        let version = if script.flag() { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
        let manual = script.flag();
        let options = Options {
            clean_start: script.flag(),
            session_expiry_interval_secs: u32::from(script.byte()),
            receive_maximum: 1 + script.below(8) as u16,
            packet_bytes_max: 200,
            topic_alias_maximum: script.below(3) as u16,
            outbound_topic_aliases_max: script.below(3) as u16,
            in_flight_max: 1 + script.below(8) as u16,
            unacknowledged_max: 1 + script.below(20),
            acknowledgement: if manual {
                AcknowledgementMode::Manual
            } else {
                AcknowledgementMode::Automatic
            },
            first_packet_id: PacketId::new(if script.flag() { 65_530 } else { 1 }),
            ..Options::new(version, "client")
        };
        Play {
            client: ClientSession::new(options.clone()),
            options,
            read: BytesMut::new(),
            now: Instant::now(),
            granted: None,
            is_new: false,
            open: HashSet::new(),
            deliveries: Vec::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(16) {
            0 => self.connect(),
            1 => {
                self.client.connection_lost();
                self.read.clear();
            }
            2 | 3 => self.publish(script),
            4 => self.request(script),
            5 => drop(self.client.disconnect(Disconnect::normal())),
            6 => {
                self.now += Duration::from_secs(script.byte().into());
                let event = self.client.tick(self.now);
                self.take_in(event);
            }
            7 => self.take_output(),
            8 => self.acknowledge(script),
            9 => self.read.extend_from_slice(script.bytes(8)),
            _ => {
                let packet = packet(script, self.options.version);
                // What the standard forbids outright cannot be written, and comes as bytes instead.
                let _ = encode(&packet, self.options.version, &mut self.read);
                self.receive();
            }
        }
    }

    fn connect(&mut self) {
        if self.client.connect(self.now).is_ok() {
            self.read.clear();
            self.is_new = true;
            self.granted = None;
        }
    }

    fn publish(&mut self, script: &mut Script<'_>) {
        let message = Message {
            topic_name: TopicName::new(TOPICS[script.below(3)]).expect("a topic name"),
            qos: qos(script),
            retain: script.flag(),
            properties: Properties::default(),
            payload: Bytes::from(vec![b'x'; script.below(64)]),
        };
        let qos = message.qos;
        match self.client.publish(message) {
            Ok(token) if qos > QoS::AtMostOnce => assert!(self.open.insert(token), "a token of its own"),
            Ok(_) => {}
            Err(error) => assert!(error.reason_code().is_error(), "{error}"),
        }
    }

    fn request(&mut self, script: &mut Script<'_>) {
        let filter = || TopicFilter::new("a/#").expect("a topic filter");
        let filters = script.below(3);
        let result = if script.flag() {
            let options = SubscriptionOptions::with_qos(qos(script));
            self.client.subscribe((0..filters).map(|_| (filter(), options)), Properties::default())
        } else {
            self.client.unsubscribe((0..filters).map(|_| filter()), Properties::default())
        };
        if let Err(error) = result {
            assert!(error.reason_code().is_error(), "{error}");
        }
    }

    fn acknowledge(&mut self, script: &mut Script<'_>) {
        if self.deliveries.is_empty() {
            return;
        }
        let token = self.deliveries.swap_remove(script.below(self.deliveries.len().min(256)));
        let result = match script.flag() {
            true => self.client.acknowledge(token),
            false => self.client.refuse(token, ReasonCode::QuotaExceeded),
        };
        if let Err(error) = result {
            assert!(error.reason_code().is_error(), "{error}");
        }
    }

    fn receive(&mut self) {
        while let Some(event) = self.client.receive(&mut self.read, self.now) {
            self.take_in(Some(event));
        }
    }

    fn take_in(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Connected { granted, .. }) => self.granted = Some(*granted),
            Some(Event::Published { token, reason_code }) => {
                let was_open = self.open.remove(&token);
                assert!(was_open || reason_code.is_error(), "an outcome is told once");
            }
            Some(Event::Message(delivery)) => {
                let is_manual = self.options.acknowledgement == AcknowledgementMode::Manual;
                let waits = is_manual && delivery.message.qos > QoS::AtMostOnce;
                assert_eq!(delivery.token.is_some(), waits);
                self.deliveries.extend(delivery.token);
            }
            Some(Event::Disconnected(end)) => {
                assert!(!self.client.is_connected());
                assert!(end.cause == DisconnectCause::Server || end.reason_code.is_error(), "{end:?}");
                self.take_output();
                self.read.clear();
            }
            Some(Event::Subscribed { .. } | Event::Unsubscribed { .. }) | None => {}
        }
    }

    fn take_output(&mut self) {
        let mut written = BytesMut::new();
        loop {
            let bytes = self.client.take_output(self.now);
            if bytes.is_empty() {
                break;
            }
            written.extend_from_slice(&bytes);
        }
        let limits = DecodeLimits::default();
        while let Some(packet) = decode(&mut written, self.options.version, &limits).expect("valid packets") {
            let is_connect = matches!(packet, Packet::Connect(_));
            assert_eq!(is_connect, std::mem::take(&mut self.is_new), "CONNECT comes first and once");
            self.check_written(&packet);
        }
        assert!(written.is_empty(), "whole packets are written");
    }

    fn check_written(&self, packet: &Packet) {
        match packet {
            Packet::Publish(publish) => {
                let granted = self.granted.as_ref().expect("messages go out after CONNACK");
                assert!(publish.qos <= granted.maximum_qos);
                assert!(!publish.retain || granted.retain_available);
                let length = mqtt::codec::encoded_len(packet, self.options.version);
                assert!(length <= granted.packet_bytes_max);
                let alias = publish.properties.topic_alias().unwrap_or(0);
                assert!(alias <= granted.topic_alias_maximum.min(self.options.outbound_topic_aliases_max));
            }
            Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp
            | Packet::Auth(_) => {
                panic!("a client does not send {packet:?}");
            }
            _ => {}
        }
    }

    fn check_limits(&self) {
        let (client, options) = (&self.client, &self.options);
        assert!(client.unacknowledged() <= options.unacknowledged_max);
        assert!(client.in_flight() <= client.unacknowledged());
        assert!(client.waiting_requests() <= 1_000);
        if options.version.is_v5() {
            assert!(client.held_deliveries() <= usize::from(options.receive_maximum));
        }
        if !client.is_connected() {
            assert_eq!(client.waiting_requests(), 0);
        } else {
            assert_eq!(client.next_deadline().is_some(), self.has_keep_alive());
        }
    }

    fn has_keep_alive(&self) -> bool {
        self.granted.as_ref().is_none_or(|granted| granted.keep_alive_secs > 0)
    }
}

fn qos(script: &mut Script<'_>) -> QoS {
    QoS::from_u8(script.below(3) as u8).expect("0 to 2")
}

/// A Packet Identifier: one of few, so that they meet.
fn packet_id(script: &mut Script<'_>) -> PacketId {
    let number = script.below(12) as u16 + 1;
    PacketId::new(if script.flag() { number } else { 65_523 + number }).unwrap_or(PacketId::FIRST)
}

fn reason_code(script: &mut Script<'_>) -> ReasonCode {
    if script.flag() {
        ReasonCode::Success
    } else {
        ReasonCode::from_u8(script.byte()).unwrap_or(ReasonCode::QuotaExceeded)
    }
}

fn reason_codes(script: &mut Script<'_>) -> Vec<ReasonCode> {
    (0..script.below(4)).map(|_| reason_code(script)).collect()
}

fn properties(possible: Vec<Property>) -> Properties {
    possible.into_iter().fold(Properties::default(), |properties, property| properties.with(property))
}

fn acknowledgement(script: &mut Script<'_>) -> Acknowledgement {
    Acknowledgement {
        packet_id: packet_id(script),
        reason_code: reason_code(script),
        properties: Properties::default(),
    }
}

/// Any packet, be it one that a server sends or not.
fn packet(script: &mut Script<'_>, version: ProtocolVersion) -> Packet {
    match script.below(16) {
        0 | 1 => connack(script, version),
        2..=4 => publish(script, version),
        5 => Packet::PubAck(acknowledgement(script)),
        6 | 7 => Packet::PubRec(acknowledgement(script)),
        8 | 9 => Packet::PubRel(acknowledgement(script)),
        10 => Packet::PubComp(acknowledgement(script)),
        11 => Packet::SubAck(SubAck {
            packet_id: packet_id(script),
            properties: Properties::default(),
            reason_codes: reason_codes(script),
        }),
        12 => Packet::UnsubAck(UnsubAck {
            packet_id: packet_id(script),
            properties: Properties::default(),
            reason_codes: reason_codes(script),
        }),
        13 => Packet::PingResp,
        14 => Packet::Disconnect(Disconnect {
            reason_code: reason_code(script),
            properties: Properties::default(),
        }),
        _ if script.flag() => Packet::PingReq,
        _ => Packet::Auth(Auth { reason_code: ReasonCode::Success, properties: Properties::default() }),
    }
}

fn connack(script: &mut Script<'_>, version: ProtocolVersion) -> Packet {
    let reason_code = if script.below(4) == 0 { reason_code(script) } else { ReasonCode::Success };
    let mut possible = Vec::new();
    if version.is_v5() {
        possible.extend(script.flag().then(|| Property::ReceiveMaximum(1 + script.below(4) as u16)));
        possible.extend((script.below(4) == 0).then_some(Property::MaximumQoS(QoS::AtLeastOnce)));
        possible.extend((script.below(4) == 0).then_some(Property::RetainAvailable(false)));
        possible.extend((script.below(4) == 0).then_some(Property::MaximumPacketSize(30)));
        possible.extend(script.flag().then_some(Property::TopicAliasMaximum(2)));
        possible.extend((script.below(4) == 0).then(|| Property::ServerKeepAlive(script.byte().into())));
    }
    let session_present = reason_code == ReasonCode::Success && script.flag();
    Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties: properties(possible) }))
}

fn publish(script: &mut Script<'_>, version: ProtocolVersion) -> Packet {
    let qos = qos(script);
    let alias = (version.is_v5() && script.below(4) == 0).then(|| 1 + script.below(3) as u16);
    let is_named = alias.is_none() || script.flag();
    Packet::Publish(Publish {
        dup: qos != QoS::AtMostOnce && script.flag(),
        qos,
        retain: script.flag(),
        topic_name: is_named.then(|| TopicName::new(TOPICS[script.below(3)]).expect("a topic name")),
        packet_id: (qos != QoS::AtMostOnce).then(|| packet_id(script)),
        properties: properties(alias.map(Property::TopicAlias).into_iter().collect()),
        payload: Bytes::from(vec![b'y'; script.below(250)]),
    })
}
