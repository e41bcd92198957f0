//! A small MQTT client for `pub`, `sub` and `demo`: the only file of the command line that names rumqttc. It
//! connects once and does not reconnect, because rumqttc then loses, reorders and repeats messages.

use std::time::Duration;

use bytes::Bytes;
use mqtt::{ProtocolVersion, QoS, TopicFilter, TopicName};
use rumqttc::{ConnectReturnCode, Outgoing, StateError, v5};

use super::Failure;
pub use super::connect_arguments::{ConnectArguments, parse_qos, parse_version};

/// The most QoS 1 and 2 messages in flight, if the broker does not ask for fewer.
const IN_FLIGHT_MAX: u16 = 100;
/// How many requests wait in rumqttc; the sender of the next one waits.
const REQUESTS_MAX: usize = 100;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const CONNECT_SECS_MAX: u64 = 10;
/// The largest packet that MQTT has; without it rumqttc refuses what is larger than 10 KiB.
const PACKET_BYTES_MAX: u32 = 268_435_455;
/// How long the broker may take to close the connection after DISCONNECT.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// What happened on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// CONNACK said yes; no more than this many QoS 1 and 2 messages may be in flight.
    Connected(u16),
    /// A message left with this Packet Identifier, which is 0 at QoS 0.
    Sent(u16),
    /// The broker has the message with this Packet Identifier (PUBACK or PUBCOMP).
    Acknowledged(u16),
    /// The broker did not take a message.
    Refused(String),
    /// SUBACK: for each filter nothing, or why the broker refused it.
    Subscribed(Vec<Option<String>>),
    /// A message arrived.
    Received {
        /// Its Topic Name.
        topic: Bytes,
        /// Its payload.
        payload: Bytes,
    },
    /// DISCONNECT left.
    Disconnecting,
    /// Nothing that matters here.
    Other,
}

/// The half that sends. It needs someone who polls [`Events`].
#[derive(Clone)]
pub enum Sender {
    /// Of an MQTT 3.1.1 connection.
    V311(rumqttc::AsyncClient),
    /// Of an MQTT 5.0 connection.
    V5(v5::AsyncClient),
}

/// The half that does the work: poll it with [`Events::next`].
pub struct Events {
    event_loop: EventLoop,
    address: String,
    connected: bool,
    failure: Option<Failure>,
}

enum EventLoop {
    V311(Box<rumqttc::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// The runtime that one client needs.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::work(format!("no asynchronous runtime: {error}")))
}

/// A client that connects when its events are polled.
pub fn open(arguments: &ConnectArguments, role: &str) -> (Sender, Events) {
    let random = || format!("mqtt-proxy-{role}-{}", uuid::Uuid::new_v4().simple());
    let client_id = arguments.client_id.clone().unwrap_or_else(random);
    let host = arguments.host_in_brackets();
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_SECS_MAX);
    let password = arguments.password.clone().unwrap_or_default();
    let (sender, event_loop) = match arguments.version {
        ProtocolVersion::V311 => {
            let mut options = rumqttc::MqttOptions::new(client_id, host, arguments.port);
            let bytes_max = PACKET_BYTES_MAX as usize;
            options.set_keep_alive(KEEP_ALIVE).set_inflight(IN_FLIGHT_MAX);
            options.set_max_packet_size(bytes_max, bytes_max);
            if let Some(username) = &arguments.username {
                options.set_credentials(username, password);
            }
            let (client, mut event_loop) = rumqttc::AsyncClient::new(options, REQUESTS_MAX);
            event_loop.set_network_options(network);
            (Sender::V311(client), EventLoop::V311(Box::new(event_loop)))
        }
        ProtocolVersion::V5 => {
            let mut options = v5::MqttOptions::new(client_id, host, arguments.port);
            options.set_keep_alive(KEEP_ALIVE).set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX);
            options.set_max_packet_size(Some(PACKET_BYTES_MAX));
            options.set_connection_timeout(CONNECT_SECS_MAX).set_network_options(network);
            if let Some(username) = &arguments.username {
                options.set_credentials(username, password);
            }
            let (client, event_loop) = v5::AsyncClient::new(options, REQUESTS_MAX);
            (Sender::V5(client), EventLoop::V5(Box::new(event_loop)))
        }
    };
    let events = Events { event_loop, address: arguments.address(), connected: false, failure: None };
    (sender, events)
}

impl Sender {
    /// Hands over a message, and waits while too many wait already.
    pub async fn publish(
        &self,
        topic: &TopicName,
        qos: QoS,
        retain: bool,
        payload: Bytes,
    ) -> Result<(), Failure> {
        let topic = topic.as_str();
        match self {
            Sender::V311(client) => {
                client.publish_bytes(topic, qos_v311(qos), retain, payload).await.map_err(gone)
            }
            Sender::V5(client) => {
                client.publish_bytes(topic, qos_v5(qos), retain, payload).await.map_err(gone)
            }
        }
    }

    /// Asks for all messages that one of the filters matches.
    pub async fn subscribe(&self, filters: &[TopicFilter], qos: QoS) -> Result<(), Failure> {
        let texts = filters.iter().map(|filter| filter.as_str().to_owned());
        match self {
            Sender::V311(client) => {
                let filters = texts.map(|text| rumqttc::SubscribeFilter::new(text, qos_v311(qos)));
                client.subscribe_many(filters).await.map_err(gone)
            }
            Sender::V5(client) => {
                let filters = texts.map(|text| v5::mqttbytes::v5::Filter::new(text, qos_v5(qos)));
                client.subscribe_many(filters).await.map_err(gone)
            }
        }
    }

    /// Says goodbye, after everything that was handed over before.
    pub async fn disconnect(&self) -> Result<(), Failure> {
        match self {
            Sender::V311(client) => client.disconnect().await.map_err(gone),
            Sender::V5(client) => client.disconnect().await.map_err(gone),
        }
    }
}

impl Events {
    /// The next event. An error is final: the connection was refused or is lost.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        let polled = match &mut self.event_loop {
            // What arrived before the failure comes first.
            _ if self.failure.is_some() => Ok(self.buffered()),
            EventLoop::V311(event_loop) => {
                event_loop.poll().await.map(|event| Some(event_of_v311(event))).map_err(text_of_v311)
            }
            EventLoop::V5(event_loop) => {
                event_loop.poll().await.map(|event| Some(event_of_v5(event))).map_err(text_of_v5)
            }
        };
        let event = match polled {
            Ok(event) => event,
            Err(text) => {
                let address = &self.address;
                self.failure = Some(Failure::work(if self.connected {
                    format!("the connection to {address} was lost: {text}")
                } else {
                    format!("cannot connect to {address}: {text}")
                }));
                self.buffered()
            }
        };
        self.connected |= matches!(event, Some(Event::Connected(_)));
        match event {
            Some(event) => Ok(event),
            None => Err(self.failure.take().unwrap_or_else(|| gone("the connection is closed"))),
        }
    }

    /// Waits until the connection stands, and says how many messages may be in flight.
    pub async fn connected(&mut self) -> Result<u16, Failure> {
        loop {
            if let Event::Connected(in_flight_max) = self.next().await? {
                return Ok(in_flight_max);
            }
        }
    }

    /// After DISCONNECT: waits until the broker has closed the connection, and so has read everything.
    pub async fn closed(mut self) {
        let end = async { while self.next().await.is_ok() {} };
        // A broker that does not close has no claim on our time.
        let _ = tokio::time::timeout(CLOSE_DEADLINE, end).await;
    }

    fn buffered(&mut self) -> Option<Event> {
        match &mut self.event_loop {
            EventLoop::V311(event_loop) => event_loop.state.events.pop_front().map(event_of_v311),
            EventLoop::V5(event_loop) => event_loop.state.events.pop_front().map(event_of_v5),
        }
    }
}

/// A request could not be handed to the event loop.
fn gone(error: impl std::fmt::Display) -> Failure {
    Failure::work(format!("the client has stopped: {error}"))
}

fn qos_v311(qos: QoS) -> rumqttc::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::QoS::AtMostOnce,
        QoS::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
        QoS::ExactlyOnce => rumqttc::QoS::ExactlyOnce,
    }
}

fn qos_v5(qos: QoS) -> v5::mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => v5::mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => v5::mqttbytes::QoS::AtLeastOnce,
        QoS::ExactlyOnce => v5::mqttbytes::QoS::ExactlyOnce,
    }
}

fn event_of_v311(event: rumqttc::Event) -> Event {
    use rumqttc::{Packet, SubscribeReasonCode};
    match event {
        rumqttc::Event::Outgoing(outgoing) => event_of_outgoing(&outgoing),
        rumqttc::Event::Incoming(packet) => match packet {
            Packet::ConnAck(_) => Event::Connected(IN_FLIGHT_MAX),
            Packet::PubAck(ack) => Event::Acknowledged(ack.pkid),
            Packet::PubComp(ack) => Event::Acknowledged(ack.pkid),
            Packet::SubAck(ack) => {
                let refusal = |code| match code {
                    SubscribeReasonCode::Success(_) => None,
                    SubscribeReasonCode::Failure => Some("failure".to_owned()),
                };
                Event::Subscribed(ack.return_codes.into_iter().map(refusal).collect())
            }
            Packet::Publish(publish) => {
                Event::Received { topic: Bytes::from(publish.topic), payload: publish.payload }
            }
            _ => Event::Other,
        },
    }
}

fn event_of_v5(event: v5::Event) -> Event {
    use v5::mqttbytes::v5::{Packet, PubAckReason, PubCompReason, PubRecReason, SubscribeReasonCode};
    let packet = match event {
        v5::Event::Outgoing(outgoing) => return event_of_outgoing(&outgoing),
        v5::Event::Incoming(packet) => packet,
    };
    match packet {
        Packet::ConnAck(ack) => {
            let receive_maximum = ack.properties.and_then(|properties| properties.receive_max);
            Event::Connected(receive_maximum.unwrap_or(u16::MAX).min(IN_FLIGHT_MAX))
        }
        Packet::PubAck(ack) => match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Event::Acknowledged(ack.pkid),
            reason => Event::Refused(in_words(&reason)),
        },
        Packet::PubRec(ack) => match ack.reason {
            PubRecReason::Success | PubRecReason::NoMatchingSubscribers => Event::Other,
            reason => Event::Refused(in_words(&reason)),
        },
        Packet::PubComp(ack) => match ack.reason {
            PubCompReason::Success => Event::Acknowledged(ack.pkid),
            reason => Event::Refused(in_words(&reason)),
        },
        Packet::SubAck(ack) => {
            let refusal = |code| match code {
                SubscribeReasonCode::Success(_) => None,
                code => Some(in_words(&code)),
            };
            Event::Subscribed(ack.return_codes.into_iter().map(refusal).collect())
        }
        Packet::Publish(publish) => Event::Received { topic: publish.topic, payload: publish.payload },
        _ => Event::Other,
    }
}

fn event_of_outgoing(outgoing: &Outgoing) -> Event {
    match outgoing {
        Outgoing::Publish(packet_id) => Event::Sent(*packet_id),
        Outgoing::Disconnect => Event::Disconnecting,
        _ => Event::Other,
    }
}

/// `NotAuthorized` becomes `not authorized`.
fn in_words(reason: &impl std::fmt::Debug) -> String {
    let mut words = String::new();
    for letter in format!("{reason:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn text_of_v311(error: rumqttc::ConnectionError) -> String {
    use rumqttc::ConnectionError;
    match error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::RefusedProtocolVersion) => {
            "the broker does not speak MQTT 3.1.1; try --version 5".to_owned()
        }
        ConnectionError::ConnectionRefused(code) => format!("the broker refused it: {}", in_words(&code)),
        ConnectionError::Io(error) => error.to_string(),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => "no answer in time".to_owned(),
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the broker closed it".to_owned(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker no longer answers".to_owned(),
        ConnectionError::MqttState(StateError::Deserialization(rumqttc::mqttbytes::Error::Io(error))) => {
            error.to_string()
        }
        error => error.to_string(),
    }
}

fn text_of_v5(error: v5::ConnectionError) -> String {
    use v5::mqttbytes::v5::ConnectReturnCode;
    use v5::{ConnectionError, StateError};
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::UnsupportedProtocolVersion,
        ) => "the broker does not speak MQTT 5; try --version 3.1.1".to_owned(),
        ConnectionError::ConnectionRefused(code)
        | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => {
            format!("the broker refused it: {}", in_words(&code))
        }
        ConnectionError::Io(error) => error.to_string(),
        ConnectionError::Timeout(_) => "no answer in time".to_owned(),
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the broker closed it".to_owned(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker no longer answers".to_owned(),
        ConnectionError::MqttState(StateError::Deserialization(v5::mqttbytes::Error::Io(error))) => {
            error.to_string()
        }
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            let explained = reason_string.map(|text| format!(" ({text})")).unwrap_or_default();
            format!("the broker said: {}{explained}", in_words(&reason_code))
        }
        error => error.to_string(),
    }
}
