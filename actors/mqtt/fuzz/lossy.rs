//! A client session and a server over a link that is cut at any byte: QoS 1 arrives at least once, QoS 2 exactly
//! once, QoS 0 at most once, all in order and in both directions. The server is a model of its own.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mqtt::codec::{DecodeLimits, decode, encode};
use mqtt::packet::{Acknowledgement, ConnAck, Publish};
use mqtt::session::client::{
    AcknowledgementMode, ClientSession, DeliveryToken, Event, Options, PublishToken,
};
use mqtt::{Message, Packet, PacketId, Properties, Property, ProtocolVersion, QoS, ReasonCode, TopicName};

use crate::script::Script;

/// Steps after the script in which the link holds; each moves all that waits.
const SETTLING_STEPS: usize = 10_000;

/// Messages in each direction at most.
const MESSAGES_MAX: usize = 200;

/// Plays a script, lets things settle, and checks the above.
pub fn check(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut play = Play::new(&mut script);
    while !script.is_over() {
        play.step(&mut script);
    }
    play.settle();
    play.check();
}

/// What one side sent, in order: the text, which is different for each message, and the QoS.
type Sent = Vec<(String, QoS)>;

struct Play {
    client: ClientSession,
    server: Server,
    /// Whether the server may forget the Session between connections.
    forgets: bool,
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    read: BytesMut,
    is_up: bool,
    now: Instant,
    sent: Sent,
    tokens: HashMap<PublishToken, usize>,
    received: Vec<String>,
    unacknowledged: Vec<DeliveryToken>,
}

impl Play {
    #[allow(clippy::disallowed_methods, reason = "a script needs some instant to count from")]
    fn new(script: &mut Script<'_>) -> Play {
        let version = if script.flag() { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
        let manual = script.flag();
        let options = Options {
            clean_start: version.is_v5(),
            session_expiry_interval_secs: 3_600,
            receive_maximum: 1 + script.below(6) as u16,
            outbound_topic_aliases_max: 2,
            in_flight_max: 1 + script.below(6) as u16,
            unacknowledged_max: 50,
            acknowledgement: if manual {
                AcknowledgementMode::Manual
            } else {
                AcknowledgementMode::Automatic
            },
            first_packet_id: PacketId::new(65_500),
            ..Options::new(version, "client")
        };
        Play {
            server: Server::new(version, options.receive_maximum, 1 + script.below(6) as u16),
            client: ClientSession::new(options),
            forgets: script.below(4) == 0,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            read: BytesMut::new(),
            is_up: false,
            now: Instant::now(),
            sent: Vec::new(),
            tokens: HashMap::new(),
            received: Vec::new(),
            unacknowledged: Vec::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(16) {
            0 => self.cut(),
            1 => self.connect(),
            2..=4 => self.publish(script),
            5..=7 => self.server.publish(script),
            8..=10 => {
                self.write();
                self.move_to_server(script.below(64));
            }
            11..=13 => self.move_to_client(script.below(64)),
            14 => self.acknowledge(script),
            _ if self.forgets && !self.is_up && script.below(4) == 0 => self.server.forget(),
            _ => {
                self.write();
                self.move_to_server(usize::MAX);
                self.move_to_client(usize::MAX);
            }
        }
    }

    /// All bytes on their way are lost.
    fn cut(&mut self) {
        self.client.connection_lost();
        self.server.hang_up();
        self.to_server.clear();
        self.to_client.clear();
        self.read.clear();
        self.is_up = false;
    }

    fn connect(&mut self) {
        if !self.is_up {
            self.client.connect(self.now).expect("the connection is new");
            self.server.accept();
            self.is_up = true;
        }
    }

    fn publish(&mut self, script: &mut Script<'_>) {
        if self.sent.len() >= MESSAGES_MAX {
            return;
        }
        let (topic, qos) = topic_and_qos(script);
        let text = format!("{topic} {}", self.sent.len());
        let message = Message {
            topic_name: TopicName::new(topic).expect("a topic name"),
            qos,
            retain: false,
            properties: Properties::default(),
            payload: Bytes::from(text.clone()),
        };
        if let Ok(token) = self.client.publish(message) {
            if qos > QoS::AtMostOnce {
                self.tokens.insert(token, 0);
            }
            self.sent.push((text, qos));
        }
    }

    /// The transport takes what the client wrote.
    fn write(&mut self) {
        if self.is_up {
            let bytes = self.client.take_output(self.now);
            self.to_server.extend(&bytes[..]);
        }
    }

    fn move_to_server(&mut self, count: usize) {
        let count = count.min(self.to_server.len());
        let bytes: Vec<u8> = self.to_server.drain(..count).collect();
        if self.is_up {
            self.server.receive(&bytes);
        }
        self.to_client.extend(self.server.output.split());
    }

    fn move_to_client(&mut self, count: usize) {
        self.server.pump();
        self.to_client.extend(self.server.output.split());
        let count = count.min(self.to_client.len());
        self.read.extend(self.to_client.drain(..count));
        while let Some(event) = self.client.receive(&mut self.read, self.now) {
            self.take_in(event);
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Message(delivery) => {
                let text = String::from_utf8(delivery.message.payload.to_vec()).expect("a text");
                assert!(text.starts_with(&format!("{} ", delivery.message.topic_name)), "{text}");
                self.received.push(text);
                self.unacknowledged.extend(delivery.token);
            }
            Event::Published { token, reason_code } => {
                assert_eq!(reason_code, ReasonCode::Success);
                *self.tokens.get_mut(&token).expect("it was published") += 1;
            }
            // A server that forgets and whose CONNACK is lost would pass its new Session off as the old one.
            Event::Connected { .. } => self.server.has_session = true,
            other => panic!("an honest server, and {other:?}"),
        }
    }

    /// The application is done with one of its messages.
    fn acknowledge(&mut self, script: &mut Script<'_>) {
        if !self.unacknowledged.is_empty() {
            let token = self.unacknowledged.swap_remove(script.below(self.unacknowledged.len().min(256)));
            // One from an earlier connection may have no meaning any more.
            let _ = self.client.acknowledge(token);
        }
    }

    /// The link holds until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..SETTLING_STEPS {
            self.connect();
            self.write();
            self.move_to_server(usize::MAX);
            self.move_to_client(usize::MAX);
            for token in std::mem::take(&mut self.unacknowledged) {
                let _ = self.client.acknowledge(token);
            }
            let is_client_done = self.client.is_connected() && self.client.unacknowledged() == 0;
            self.write();
            if is_client_done
                && self.server.is_done()
                && self.to_server.is_empty()
                && self.to_client.is_empty()
            {
                return;
            }
        }
        panic!(
            "{} of the client and {} of the server are left",
            self.client.unacknowledged(),
            self.server.left()
        );
    }

    fn check(&self) {
        for (token, outcomes) in &self.tokens {
            assert_eq!(*outcomes, 1, "the outcome of {token:?} is told once");
        }
        check_arrivals(&self.sent, &self.server.received, !self.forgets);
        if !self.forgets {
            check_arrivals(&self.server.sent, &self.received, true);
        }
    }
}

/// Holds what arrived against what was sent.
fn check_arrivals(sent: &Sent, arrived: &[String], keeps_session: bool) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut first = Vec::new();
    for text in arrived {
        let count = counts.entry(text).or_default();
        *count += 1;
        if *count == 1 {
            first.push(text.as_str());
        }
    }
    for (text, qos) in sent {
        let count = counts.get(text.as_str()).copied().unwrap_or(0);
        let is_kept = match qos {
            QoS::AtMostOnce => count <= 1,
            QoS::ExactlyOnce if keeps_session => count == 1,
            QoS::AtLeastOnce | QoS::ExactlyOnce => count >= 1,
        };
        assert!(is_kept, "{text} at {qos:?} arrived {count} times");
    }
    let wanted: Vec<&str> =
        sent.iter().map(|(text, _)| text.as_str()).filter(|text| counts.contains_key(text)).collect();
    assert_eq!(first, wanted, "in order, and nothing else");
}

fn topic_and_qos(script: &mut Script<'_>) -> (&'static str, QoS) {
    let topic = ["a", "b/c", "d"][script.below(3)];
    (topic, QoS::from_u8(script.below(3) as u8).expect("0 to 2"))
}

/// A message of the server that is under way.
struct UnderWay {
    id: u16,
    qos: QoS,
    text: String,
    is_received: bool,
    is_sent: bool,
}

/// A server with one Session, as short as the standard allows.
struct Server {
    version: ProtocolVersion,
    /// What the client bears, and what this side does.
    window: usize,
    receive_maximum: u16,
    has_session: bool,
    read: BytesMut,
    output: BytesMut,
    /// Whether the CONNECT of this connection has come.
    is_open: bool,
    aliases: HashMap<u16, TopicName>,
    unreleased: HashSet<PacketId>,
    /// QoS 1 and 2 messages that no answer has come for; the client's view is checked with them.
    received: Vec<String>,
    next_id: u16,
    queue: VecDeque<(String, QoS)>,
    under_way: VecDeque<UnderWay>,
    sent: Sent,
}

impl Server {
    fn new(version: ProtocolVersion, client_receive_maximum: u16, receive_maximum: u16) -> Server {
        Server {
            version,
            window: client_receive_maximum.into(),
            receive_maximum,
            has_session: false,
            read: BytesMut::new(),
            output: BytesMut::new(),
            is_open: false,
            aliases: HashMap::new(),
            unreleased: HashSet::new(),
            received: Vec::new(),
            next_id: 0,
            queue: VecDeque::new(),
            under_way: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    fn hang_up(&mut self) {
        self.read.clear();
        self.output.clear();
        self.is_open = false;
    }

    fn accept(&mut self) {
        self.hang_up();
        self.aliases.clear();
        for message in &mut self.under_way {
            message.is_sent = false;
        }
    }

    /// The Session is gone, and with it what was under way.
    fn forget(&mut self) {
        self.has_session = false;
        self.unreleased.clear();
        self.under_way.clear();
    }

    fn publish(&mut self, script: &mut Script<'_>) {
        if self.sent.len() < MESSAGES_MAX {
            let (topic, qos) = topic_and_qos(script);
            let text = format!("{topic} {}", self.sent.len());
            self.sent.push((text.clone(), qos));
            self.queue.push_back((text, qos));
        }
    }

    fn is_done(&self) -> bool {
        self.left() == 0
    }

    fn left(&self) -> usize {
        self.queue.len() + self.under_way.len()
    }

    /// Sends again what the connection has not seen, then new messages.
    fn pump(&mut self) {
        if !self.is_open {
            return;
        }
        let mut out = Vec::new();
        for message in self.under_way.iter_mut().filter(|message| !message.is_sent) {
            message.is_sent = true;
            let packet_id = PacketId::new(message.id).expect("not 0");
            out.push(match message.is_received {
                true => Packet::PubRel(Acknowledgement::success(packet_id)),
                false => publish_packet(&message.text, message.qos, Some(packet_id), true),
            });
        }
        while self.under_way.len() < self.window {
            let Some((text, qos)) = self.queue.pop_front() else { break };
            if qos == QoS::AtMostOnce {
                out.push(publish_packet(&text, qos, None, false));
                continue;
            }
            self.next_id = self.next_id % 1_000 + 1;
            let id = self.next_id;
            out.push(publish_packet(&text, qos, PacketId::new(id), false));
            self.under_way.push_back(UnderWay { id, qos, text, is_received: false, is_sent: true });
        }
        for packet in out {
            self.say(&packet);
        }
    }

    fn say(&mut self, packet: &Packet) {
        encode(packet, self.version, &mut self.output).expect("a valid packet");
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.read.extend_from_slice(bytes);
        let limits = DecodeLimits::default();
        while let Some(packet) = decode(&mut self.read, self.version, &limits).expect("a valid packet") {
            self.handle(packet);
        }
    }

    fn handle(&mut self, packet: Packet) {
        match packet {
            Packet::Connect(connect) => self.connect(connect.clean_start),
            Packet::Publish(publish) => self.take_in(publish),
            Packet::PubRel(packet) => {
                self.unreleased.remove(&packet.packet_id);
                self.say(&Packet::PubComp(Acknowledgement::success(packet.packet_id)));
            }
            Packet::PubAck(packet) => self.finish(packet.packet_id, QoS::AtLeastOnce),
            Packet::PubComp(packet) => self.finish(packet.packet_id, QoS::ExactlyOnce),
            Packet::PubRec(packet) => {
                let id = packet.packet_id.get();
                let message = self.under_way.iter_mut().find(|message| message.id == id);
                message.expect("only what was sent is acknowledged").is_received = true;
                self.say(&Packet::PubRel(Acknowledgement::success(packet.packet_id)));
            }
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn connect(&mut self, clean_start: bool) {
        assert!(!(clean_start && self.has_session), "only the first connection starts clean");
        if !self.has_session {
            // The client never saw the CONNACK before, and so no message either: they are as good as new.
            let under_way = std::mem::take(&mut self.under_way);
            for message in under_way.into_iter().rev() {
                self.queue.push_front((message.text, message.qos));
            }
            self.forget();
        }
        let mut properties = Properties::default();
        if self.version.is_v5() {
            properties = properties.with(Property::ReceiveMaximum(self.receive_maximum));
            properties = properties.with(Property::TopicAliasMaximum(2));
        }
        let session_present = self.has_session;
        let reason_code = ReasonCode::Success;
        self.say(&Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties })));
        self.is_open = true;
    }

    fn take_in(&mut self, publish: Publish) {
        let topic_name = match (publish.topic_name, publish.properties.topic_alias()) {
            (Some(name), Some(alias)) => {
                self.aliases.insert(alias, name.clone());
                name
            }
            (Some(name), None) => name,
            (None, alias) => self.aliases[&alias.expect("an alias instead of a name")].clone(),
        };
        let text = String::from_utf8(publish.payload.to_vec()).expect("a text");
        assert!(text.starts_with(&format!("{topic_name} ")), "{text} on {topic_name}");
        let Some(packet_id) = publish.packet_id else {
            self.received.push(text);
            return;
        };
        if publish.qos == QoS::AtLeastOnce {
            self.received.push(text);
            self.say(&Packet::PubAck(Acknowledgement::success(packet_id)));
            return;
        }
        if self.unreleased.insert(packet_id) {
            self.received.push(text);
        } else {
            assert!(publish.dup, "an identifier that is taken comes with DUP");
        }
        let is_kept = !self.version.is_v5() || self.unreleased.len() <= self.receive_maximum.into();
        assert!(is_kept, "the receive maximum is kept");
        self.say(&Packet::PubRec(Acknowledgement::success(packet_id)));
    }

    fn finish(&mut self, packet_id: PacketId, qos: QoS) {
        let found = |message: &UnderWay| message.id == packet_id.get() && message.qos == qos;
        let place = self.under_way.iter().position(found).expect("only what was sent is acknowledged");
        self.under_way.remove(place);
    }
}

fn publish_packet(text: &str, qos: QoS, packet_id: Option<PacketId>, dup: bool) -> Packet {
    let topic = text.split(' ').next().unwrap_or_default();
    Packet::Publish(Publish {
        dup,
        qos,
        retain: false,
        topic_name: Some(TopicName::new(topic.to_owned()).expect("a topic name")),
        packet_id,
        properties: Properties::default(),
        payload: Bytes::copy_from_slice(text.as_bytes()),
    })
}
