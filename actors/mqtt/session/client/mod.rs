//! A whole MQTT client without its socket: bytes of the server and `now` in, bytes for the server and events out.
//! It is for programs that bring their own transport, be it a socket, a serial line or a test.
//!
//! A [`ClientSession`] lives longer than its connections. For each one:
//!
//! 1. open the transport, call [`ClientSession::connect`] and write what [`ClientSession::take_output`] has;
//! 2. append what was read to a buffer and call [`ClientSession::receive`] until it has no more events; handle each
//!    [`Event`], then write the output: it has the acknowledgements of the messages that were handed out;
//! 3. call [`ClientSession::tick`] at [`ClientSession::next_deadline`];
//! 4. write the output after every call, and again until there is none;
//! 5. at the end of the transport call [`ClientSession::connection_lost`], and begin again with an empty buffer.
//!
//! Messages at QoS 1 and 2 are kept until the server has them, over any number of connections, and are sent again
//! in their order. Everything that can grow has a limit in [`Options`].
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use bytes::{Bytes, BytesMut};
//! use mqtt::session::client::{ClientSession, Event, Options};
//! use mqtt::{Message, Properties, ProtocolVersion, QoS, ReasonCode, TopicName};
//!
//! # #[allow(clippy::disallowed_methods)]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = ClientSession::new(Options::new(ProtocolVersion::V311, "kettle"));
//! let now = Instant::now();
//! client.connect(now)?;
//! let connect = client.take_output(now);
//! assert_eq!(connect[0], 0x10, "the bytes of CONNECT, to be written to the server");
//!
//! // The server answers with CONNACK.
//! let mut read = BytesMut::from(&[0x20, 2, 0, 0][..]);
//! assert!(matches!(client.receive(&mut read, now), Some(Event::Connected { session_present: false, .. })));
//!
//! let message = Message {
//!     topic_name: TopicName::new("kitchen/kettle")?,
//!     qos: QoS::AtLeastOnce,
//!     retain: false,
//!     properties: Properties::default(),
//!     payload: Bytes::from_static(b"100"),
//! };
//! let token = client.publish(message)?;
//! assert_eq!(client.take_output(now)[0], 0x32, "PUBLISH at QoS 1");
//!
//! // The server answers with PUBACK.
//! read.extend_from_slice(&[0x40, 2, 0, 1]);
//! let published = Event::Published { token, reason_code: ReasonCode::Success };
//! assert_eq!(client.receive(&mut read, now), Some(published));
//!
//! // Nothing happens for a minute: PINGREQ is due.
//! assert_eq!(client.next_deadline(), Some(now + Duration::from_secs(60)));
//! assert_eq!(client.tick(now + Duration::from_secs(60)), None);
//! assert_eq!(&client.take_output(now)[..], [0xC0, 0]);
//! # Ok(())
//! # }
//! ```

mod error;
mod event;
mod granted;
mod incoming;
mod liveness;
mod options;
mod outgoing;
mod receive;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use self::incoming::Incoming;
use self::liveness::{Due, Liveness};
use self::outgoing::{Outgoing, check_message, packet_bytes};
use self::requests::{REQUESTS_MAX, RequestKind, Requests};
use crate::codec::{encode, encoded_len};
use crate::packet::acknowledgement::AcknowledgementKind;
use crate::packet::{ConnAck, Connect, Disconnect, Subscribe, SubscriptionOptions, Unsubscribe, ping};
use crate::{EncodeError, Message, Packet, Properties, ProtocolVersion, ReasonCode, TopicFilter};

pub use error::ClientError;
pub use event::{Delivery, DeliveryToken, DisconnectCause, Disconnected, Event, PublishToken, RequestToken};
pub use granted::Granted;
pub use options::{AcknowledgementMode, Options};

/// Where a connection stands.
///
/// ```text
/// Offline ── connect ──> Connecting ── CONNACK ──> Online
///    ^                       │ refused, too late      │ DISCONNECT either way, too late,
///    └───────────────────────┴────────────────────────┘ lost, or the server broke the protocol
/// ```
#[derive(Debug)]
enum Phase {
    Offline,
    Connecting { since: Instant, clean_start: bool },
    Online(Liveness),
}

/// An MQTT client: its Session State, and the connection that it has or has not. See the [module](self).
#[derive(Debug)]
pub struct ClientSession {
    options: Options,
    client_id: ByteString,
    phase: Phase,
    /// What the server of the last connection allowed.
    granted: Granted,
    /// Whether a server has had this Session.
    was_online: bool,
    outgoing: Outgoing,
    incoming: Incoming,
    requests: Requests,
    output: BytesMut,
    events: VecDeque<Event>,
}

impl ClientSession {
    /// A Session without a connection.
    pub fn new(options: Options) -> ClientSession {
        let nothing = ConnAck {
            session_present: false,
            reason_code: ReasonCode::Success,
            properties: Properties::default(),
        };
        ClientSession {
            client_id: options.client_id.clone(),
            phase: Phase::Offline,
            granted: Granted::from_connack(&nothing, options.version, options.keep_alive_secs),
            was_online: false,
            outgoing: Outgoing::new(&options),
            incoming: Incoming::new(&options),
            requests: Requests::default(),
            output: BytesMut::new(),
            events: VecDeque::new(),
            options,
        }
    }

    /// Begins a connection over a transport that is open: CONNECT is the first output. Messages may be published
    /// at any time; they go out once the server has answered.
    ///
    /// # Errors
    /// Where there is a connection, or where the options make no CONNECT packet.
    pub fn connect(&mut self, now: Instant) -> Result<(), ClientError> {
        if !matches!(self.phase, Phase::Offline) {
            return Err(ClientError::AlreadyConnected);
        }
        // A Session that outlives its connections starts clean once.
        let clean_start = self.options.clean_start && !(self.was_online && self.options.is_durable());
        let connect: Connect = self.options.connect(self.client_id.clone(), clean_start)?;
        self.output.clear();
        encode(&Packet::Connect(Box::new(connect)), self.options.version, &mut self.output)?;
        self.phase = Phase::Connecting { since: now, clean_start };
        Ok(())
    }

    /// Publishes a message. It waits where there is no connection, or where as many are under way as may be;
    /// messages go out in the order of the calls. At QoS 1 and 2 an [`Event::Published`] tells the outcome.
    ///
    /// # Errors
    /// Where as many messages wait as may, where the server has said that it does not accept such a message, or
    /// where it cannot be written.
    pub fn publish(&mut self, message: Message) -> Result<PublishToken, ClientError> {
        let limit = self.options.unacknowledged_max;
        if self.outgoing.len() + self.events.len() >= limit {
            return Err(ClientError::Full { limit });
        }
        check_message(&message)?;
        if matches!(self.phase, Phase::Online(_)) {
            let packet_bytes = packet_bytes(self.options.version, &message);
            if let Some(reason_code) = self.granted.refusal(message.qos, message.retain, packet_bytes) {
                return Err(ClientError::NotAccepted(reason_code));
            }
        }
        let token = self.outgoing.queue(message);
        self.pump();
        Ok(token)
    }

    /// Asks for messages. `properties` may have a Subscription Identifier and User Properties (5.0).
    ///
    /// # Errors
    /// Without a connection, where too many requests wait for an answer, where the server has said that it does
    /// not accept such a filter, or where the packet cannot be written.
    pub fn subscribe(
        &mut self,
        subscriptions: impl IntoIterator<Item = (TopicFilter, SubscriptionOptions)>,
        properties: Properties,
    ) -> Result<RequestToken, ClientError> {
        let subscriptions: Vec<_> = subscriptions.into_iter().collect();
        let refused = subscriptions.iter().find_map(|(filter, _)| self.granted.refusal_of_filter(filter));
        let has_identifier = properties.subscription_identifiers().next().is_some();
        let no_identifiers = has_identifier && !self.granted.subscription_identifiers_available;
        let refused = refused.or(no_identifiers.then_some(ReasonCode::SubscriptionIdentifiersNotSupported));
        if let Some(reason_code) = refused.filter(|_| self.is_connected()) {
            return Err(ClientError::NotAccepted(reason_code));
        }
        let count = subscriptions.len();
        self.request(RequestKind::Subscribe, count, |packet_id| {
            Packet::Subscribe(Subscribe { packet_id, properties, subscriptions })
        })
    }

    /// Asks for no more messages. `properties` may have User Properties (5.0).
    ///
    /// # Errors
    /// As [`ClientSession::subscribe`].
    pub fn unsubscribe(
        &mut self,
        topic_filters: impl IntoIterator<Item = TopicFilter>,
        properties: Properties,
    ) -> Result<RequestToken, ClientError> {
        let topic_filters: Vec<_> = topic_filters.into_iter().collect();
        let count = topic_filters.len();
        self.request(RequestKind::Unsubscribe, count, |packet_id| {
            Packet::Unsubscribe(Unsubscribe { packet_id, properties, topic_filters })
        })
    }

    fn request(
        &mut self,
        kind: RequestKind,
        filters: usize,
        packet: impl FnOnce(crate::PacketId) -> Packet,
    ) -> Result<RequestToken, ClientError> {
        if !self.is_connected() {
            return Err(ClientError::NotConnected);
        }
        let full = ClientError::Full { limit: REQUESTS_MAX };
        if self.requests.is_full() {
            return Err(full);
        }
        let packet_id = self.outgoing.reserve().ok_or(full)?;
        let packet = packet(packet_id);
        let is_too_large = encoded_len(&packet, self.options.version) > self.granted.packet_bytes_max;
        let written = match is_too_large {
            true => Err(ClientError::NotAccepted(ReasonCode::PacketTooLarge)),
            false => encode(&packet, self.options.version, &mut self.output).map_err(ClientError::Encode),
        };
        if let Err(error) = written {
            self.outgoing.release(packet_id);
            return Err(error);
        }
        Ok(self.requests.add(kind, packet_id, filters))
    }

    /// Acknowledges a message, where [`AcknowledgementMode::Manual`] is chosen. Acknowledgements leave in the order
    /// of arrival, so one may wait for an earlier one.
    ///
    /// # Errors
    /// Where no message waits for it: it was acknowledged, came at QoS 1 over an earlier connection (and will come
    /// again), or went with the Session.
    pub fn acknowledge(&mut self, token: DeliveryToken) -> Result<(), ClientError> {
        self.incoming.acknowledge(token, ReasonCode::Success, &mut self.output)
    }

    /// As [`ClientSession::acknowledge`], with a Reason Code that PUBACK and PUBREC can have. 3.1.1 has none, so
    /// there it is an acknowledgement like any other.
    ///
    /// # Errors
    /// As [`ClientSession::acknowledge`], and where the Reason Code is not one of these.
    pub fn refuse(&mut self, token: DeliveryToken, reason_code: ReasonCode) -> Result<(), ClientError> {
        if !AcknowledgementKind::PubAck.allows(reason_code) {
            return Err(EncodeError::Inconsistent("a reason code is not allowed in this packet").into());
        }
        self.incoming.acknowledge(token, reason_code, &mut self.output)
    }

    /// Ends the connection with this packet, as a rule [`Disconnect::normal`]: write the output, then close the
    /// transport. There is no event. The Session stays where it outlives the connection.
    ///
    /// # Errors
    /// Without a connection, or where the packet cannot be written.
    pub fn disconnect(&mut self, packet: Disconnect) -> Result<(), ClientError> {
        if !self.is_connected() {
            return Err(ClientError::NotConnected);
        }
        let raised = packet.properties.session_expiry_interval().is_some_and(|secs| secs > 0);
        if raised && self.options.session_expiry_interval_secs == 0 {
            // Section 3.14.2.2.2.
            return Err(EncodeError::Inconsistent("a session expiry interval that was 0 is raised").into());
        }
        encode(&Packet::Disconnect(packet), self.options.version, &mut self.output)?;
        self.go_offline();
        Ok(())
    }

    /// The transport is gone. There is no event; output that was not taken is dropped, and messages that need it
    /// go out again over the next connection.
    pub fn connection_lost(&mut self) {
        self.output.clear();
        self.go_offline();
    }

    fn go_offline(&mut self) {
        self.phase = Phase::Offline;
        self.requests.clear();
        self.incoming.suspend();
    }

    /// The bytes to write to the server next. Nothing more is made while these wait, so call it again once they are
    /// written, until there are none.
    pub fn take_output(&mut self, now: Instant) -> Bytes {
        self.pump();
        if let Phase::Online(liveness) = &mut self.phase
            && !self.output.is_empty()
        {
            liveness.sent(now);
        }
        self.output.split().freeze()
    }

    /// Writes the messages whose turn it is.
    fn pump(&mut self) {
        if matches!(self.phase, Phase::Online(_)) {
            self.outgoing.pump(&self.granted, &mut self.output, &mut self.events);
        }
    }

    /// When [`ClientSession::tick`] has to be called next, unless something else happens before; `None` where there
    /// is nothing to wait for.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Offline => None,
            Phase::Connecting { since, .. } => Some(*since + self.options.response_timeout),
            Phase::Online(liveness) => liveness.next_deadline(),
        }
    }

    /// Does what is due: PINGREQ, or the end of a connection whose server does not answer.
    pub fn tick(&mut self, now: Instant) -> Option<Event> {
        let due = match &self.phase {
            Phase::Offline => Due::Nothing,
            Phase::Connecting { since, .. } if now >= *since + self.options.response_timeout => Due::Dead,
            Phase::Connecting { .. } => Due::Nothing,
            Phase::Online(liveness) => liveness.due(now),
        };
        match (due, &mut self.phase) {
            (Due::Ping, Phase::Online(liveness)) => {
                liveness.ping_sent(now);
                ping::encode_request(&mut self.output);
                None
            }
            (Due::Dead, _) => {
                self.connection_lost();
                Some(Event::Disconnected(Disconnected {
                    cause: DisconnectCause::Timeout,
                    reason_code: ReasonCode::KeepAliveTimeout,
                    properties: Properties::default(),
                }))
            }
            _ => None,
        }
    }

    /// Whether the server has taken the connection.
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Online(_))
    }

    /// The Client Identifier: the server's where it assigned one.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The version of the protocol.
    pub fn version(&self) -> ProtocolVersion {
        self.options.version
    }

    /// How many messages of the application are not done with: those under way, and those that wait.
    pub fn unacknowledged(&self) -> usize {
        self.outgoing.len()
    }

    /// How many messages at QoS 1 and 2 are under way to the server.
    pub fn in_flight(&self) -> usize {
        self.outgoing.in_flight()
    }

    /// How many messages the application has to acknowledge, or has acknowledged before their turn.
    pub fn held_deliveries(&self) -> usize {
        self.incoming.held()
    }

    /// How many SUBSCRIBE and UNSUBSCRIBE packets wait for their answers.
    pub fn waiting_requests(&self) -> usize {
        self.requests.len()
    }
}
