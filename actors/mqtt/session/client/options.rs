//! What a client asks of a server, and what it bears itself.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use crate::packet::{Connect, Will};
use crate::{EncodeError, Properties, Property, ProtocolVersion};

/// The settings of a [`ClientSession`](super::ClientSession). Start from [`Options::new`] and change what differs.
#[derive(Clone)]
pub struct Options {
    /// The version of the protocol.
    pub version: ProtocolVersion,
    /// The Client Identifier; empty asks the server to assign one, which later connections then use.
    pub client_id: ByteString,
    /// Whether the first connection discards a Session that the server still has. Later connections of the same
    /// [`ClientSession`](super::ClientSession) go on with their Session where it outlives the connection; in 3.1.1
    /// a Session that was started clean never does.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 turns it off. The server may set another one.
    pub keep_alive_secs: u16,
    /// How long the server shall keep the Session after a connection, in seconds (5.0).
    pub session_expiry_interval_secs: u32,
    /// The Will of every connection.
    pub will: Option<Will>,
    /// User Name.
    pub user_name: Option<ByteString>,
    /// Password: any bytes. Never shown by `Debug`.
    pub password: Option<Bytes>,
    /// How many messages at QoS 1 and 2 the server may send before the first is acknowledged to the end, 1 or
    /// more (5.0; in 3.1.1 it cannot be told).
    pub receive_maximum: u16,
    /// The longest packet that is accepted, in bytes, 1 or more. In 5.0 the server is told.
    pub packet_bytes_max: u32,
    /// How many Topic Aliases the server may set (5.0).
    pub topic_alias_maximum: u16,
    /// How many Topic Aliases this side sets at most, if the server accepts as many (5.0); 0 sets none.
    pub outbound_topic_aliases_max: u16,
    /// How many messages at QoS 1 and 2 are under way at a time, 1 or more; a lower Receive Maximum of the server
    /// counts. 3.1.1 servers have limits that they cannot announce, so the default is low.
    pub in_flight_max: u16,
    /// How many messages may wait in all: those under way, those that no connection has seen yet, and outcomes
    /// that were not fetched. Beyond it, publishing answers [`ClientError::Full`](super::ClientError::Full).
    pub unacknowledged_max: usize,
    /// Who acknowledges a message from the server.
    pub acknowledgement: AcknowledgementMode,
    /// How long to wait for CONNACK, and for the answer to PINGREQ, before the server is given up.
    pub response_timeout: Duration,
    /// The Packet Identifier to begin with, 1 where it is `None`. Who goes on with a Session on the server after
    /// having lost its own half should begin elsewhere, as the server may still hold identifiers of old messages.
    pub first_packet_id: Option<crate::PacketId>,
    /// More properties for CONNECT, such as User Properties (5.0); not those that have a field above.
    pub properties: Properties,
}

/// Who acknowledges a message from the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcknowledgementMode {
    /// The session, once it has handed the message out: the acknowledgement stands in the next output.
    #[default]
    Automatic,
    /// The application, with [`ClientSession::acknowledge`](super::ClientSession::acknowledge).
    Manual,
}

impl Options {
    /// A client of this version and Client Identifier that starts clean: a Keep Alive of 60 s, packets of up to
    /// 1 MiB, at most 20 messages towards it and 10 from it under way, and 1,000 that wait.
    pub fn new(version: ProtocolVersion, client_id: impl Into<ByteString>) -> Options {
        Options {
            version,
            client_id: client_id.into(),
            clean_start: true,
            keep_alive_secs: 60,
            session_expiry_interval_secs: 0,
            will: None,
            user_name: None,
            password: None,
            receive_maximum: 20,
            packet_bytes_max: 1 << 20,
            topic_alias_maximum: 0,
            outbound_topic_aliases_max: 0,
            in_flight_max: 10,
            unacknowledged_max: 1_000,
            acknowledgement: AcknowledgementMode::Automatic,
            response_timeout: Duration::from_secs(10),
            first_packet_id: None,
            properties: Properties::default(),
        }
    }

    /// Whether the Session outlives its connections.
    pub(super) fn is_durable(&self) -> bool {
        match self.version {
            ProtocolVersion::V5 => self.session_expiry_interval_secs > 0,
            ProtocolVersion::V311 => !self.clean_start,
        }
    }

    /// The Receive Maximum that the server has to keep.
    pub(super) fn receive_maximum_in_force(&self) -> u16 {
        if self.version.is_v5() { self.receive_maximum.max(1) } else { u16::MAX }
    }

    /// The CONNECT packet of the next connection.
    pub(super) fn connect(&self, client_id: ByteString, clean_start: bool) -> Result<Connect, EncodeError> {
        Ok(Connect {
            protocol_version: self.version,
            clean_start,
            keep_alive_secs: self.keep_alive_secs,
            client_id,
            will: self.will.clone(),
            user_name: self.user_name.clone(),
            password: self.password.clone(),
            properties: self.connect_properties()?,
            bridge: false,
        })
    }

    fn connect_properties(&self) -> Result<Properties, EncodeError> {
        if !self.version.is_v5() {
            return Ok(Properties::default());
        }
        let mut builder = Properties::builder();
        if self.session_expiry_interval_secs > 0 {
            builder.push(&Property::SessionExpiryInterval(self.session_expiry_interval_secs))?;
        }
        builder.push(&Property::ReceiveMaximum(self.receive_maximum.max(1)))?;
        builder.push(&Property::MaximumPacketSize(self.packet_bytes_max.max(1)))?;
        if self.topic_alias_maximum > 0 {
            builder.push(&Property::TopicAliasMaximum(self.topic_alias_maximum))?;
        }
        for property in self.properties.iter() {
            builder.push(&property)?;
        }
        Ok(builder.build())
    }
}

impl std::fmt::Debug for Options {
    /// Shows everything but the password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Options")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_secs", &self.keep_alive_secs)
            .field("session_expiry_interval_secs", &self.session_expiry_interval_secs)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| format_args!("..")))
            .field("receive_maximum", &self.receive_maximum)
            .field("packet_bytes_max", &self.packet_bytes_max)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("outbound_topic_aliases_max", &self.outbound_topic_aliases_max)
            .field("in_flight_max", &self.in_flight_max)
            .field("unacknowledged_max", &self.unacknowledged_max)
            .field("acknowledgement", &self.acknowledgement)
            .field("response_timeout", &self.response_timeout)
            .field("first_packet_id", &self.first_packet_id)
            .field("properties", &self.properties)
            .finish()
    }
}
