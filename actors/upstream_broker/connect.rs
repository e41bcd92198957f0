//! The way to an upstream broker: name look-up, TCP, TLS, CONNECT and its answer.

use bytes::Bytes;
use mqtt::packet::{ConnAck, Connect, Packet};
use mqtt::{Properties, Property, ProtocolVersion, QoS, ReasonCode};
use tokio::net::TcpStream;

use super::tls;
use crate::connection::{Connection, Transport};
use crate::{Broker, limits};

/// What failed on the way. The text is the label in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host name has no address.
    Dns,
    /// No TCP connection.
    Tcp,
    /// No TLS session.
    Tls,
    /// CONNACK said no.
    Refused,
    /// The other side does not speak MQTT as it should.
    Protocol,
    /// Nothing came within the deadline.
    Timeout,
    /// A connection that was up is lost.
    Lost,
    /// The actor panicked and was replaced.
    Panic,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 8] = [
        Cause::Dns,
        Cause::Tcp,
        Cause::Tls,
        Cause::Refused,
        Cause::Protocol,
        Cause::Timeout,
        Cause::Lost,
        Cause::Panic,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Dns => "dns",
            Cause::Tcp => "tcp",
            Cause::Tls => "tls",
            Cause::Refused => "refused",
            Cause::Protocol => "protocol",
            Cause::Timeout => "timeout",
            Cause::Lost => "lost",
            Cause::Panic => "panic",
        }
    }
}

/// A failure on the way or afterwards.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which step.
    pub cause: Cause,
    /// What exactly, for the log and the API.
    pub text: String,
    /// The broker's answer, where it was one.
    pub reason_code: Option<ReasonCode>,
}

impl Failure {
    /// A failure without an answer of the broker.
    pub fn new(cause: Cause, text: impl Into<String>) -> Failure {
        Failure { cause, text: text.into(), reason_code: None }
    }
}

/// A connection that the broker accepted.
pub struct Accepted {
    /// The connection, ready for packets.
    pub connection: Connection,
    /// Whether the broker still has the Session.
    pub session_present: bool,
    /// What the broker lets us do.
    pub capabilities: Capabilities,
}

/// What CONNACK allows (MQTT 5.0 section 3.2.2.3); 3.1.1 has no such limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// How many QoS 1 and 2 messages may be unacknowledged.
    pub receive_maximum: u16,
    /// How many of them may be at QoS 2.
    pub qos_2_maximum: u16,
    /// The highest QoS that may be sent.
    pub maximum_qos: QoS,
    /// Whether RETAIN may be set.
    pub retain_available: bool,
    /// The longest packet.
    pub packet_bytes_max: usize,
    /// The Keep Alive that counts.
    pub keep_alive_secs: u16,
}

/// Connects, within [`limits::UPSTREAM_CONNECT_DEADLINE`].
///
/// # Errors
/// The first step that failed.
pub async fn connect(broker: &Broker, bridge: bool, packet_bytes_max: usize) -> Result<Accepted, Failure> {
    let attempt = async {
        let transport = open(broker).await?;
        let peer = format!("broker {}", broker.name);
        let mut connection = Connection::new(transport, packet_bytes_max, peer, None);
        connection.set_version(broker.version);
        let packet = Packet::Connect(Box::new(connect_packet(broker, bridge, packet_bytes_max)));
        connection
            .queue(&packet)
            .map_err(|error| Failure::new(Cause::Protocol, format!("CONNECT: {error}")))?;
        let lost =
            |error: &dyn std::fmt::Display| Failure::new(Cause::Lost, format!("after CONNECT: {error}"));
        connection.flush().await.map_err(|error| lost(&error))?;
        match connection.receive_one().await.map_err(|error| lost(&error))? {
            Packet::ConnAck(connack) => accepted(broker, connection, &connack),
            _ => Err(Failure::new(Cause::Protocol, "the answer to CONNECT was not CONNACK")),
        }
    };
    let deadline = limits::UPSTREAM_CONNECT_DEADLINE;
    tokio::time::timeout(deadline, attempt).await.unwrap_or_else(|_| {
        let text = format!("no CONNACK within {} s", deadline.as_secs());
        Err(Failure::new(Cause::Timeout, text))
    })
}

async fn open(broker: &Broker) -> Result<Box<dyn Transport>, Failure> {
    let target = (broker.address.as_str(), broker.port);
    let addresses: Vec<_> = tokio::net::lookup_host(target)
        .await
        .map_err(|error| Failure::new(Cause::Dns, format!("{}: {error}", broker.address)))?
        .collect();
    if addresses.is_empty() {
        return Err(Failure::new(Cause::Dns, format!("{}: no address", broker.address)));
    }
    let socket = TcpStream::connect(&addresses[..])
        .await
        .map_err(|error| Failure::new(Cause::Tcp, format!("{}:{}: {error}", broker.address, broker.port)))?;
    // Without this, small packets wait for the acknowledgement of earlier ones.
    socket.set_nodelay(true).map_err(|error| Failure::new(Cause::Tcp, error.to_string()))?;
    match &broker.tls {
        None => Ok(Box::new(socket)),
        Some(options) => match tls::connect(options, &broker.address, socket).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(text) => Err(Failure::new(Cause::Tls, text)),
        },
    }
}

fn connect_packet(broker: &Broker, bridge: bool, packet_bytes_max: usize) -> Connect {
    let mut properties = Properties::default();
    if broker.version == ProtocolVersion::V5 {
        if !broker.clean_session {
            properties =
                properties.with(Property::SessionExpiryInterval(limits::UPSTREAM_SESSION_EXPIRY_SECS));
        }
        properties = properties.with(Property::ReceiveMaximum(limits::UPSTREAM_RECEIVE_MAXIMUM));
        properties =
            properties.with(Property::MaximumPacketSize(u32::try_from(packet_bytes_max).unwrap_or(u32::MAX)));
    }
    Connect {
        protocol_version: broker.version,
        clean_start: broker.clean_session,
        keep_alive_secs: broker.keep_alive_secs,
        client_id: broker.client_id().into(),
        will: None,
        user_name: broker.username.as_deref().map(Into::into),
        password: broker
            .password
            .as_ref()
            .map(|password| Bytes::copy_from_slice(password.reveal().as_bytes())),
        properties,
        bridge,
    }
}

fn accepted(broker: &Broker, connection: Connection, connack: &ConnAck) -> Result<Accepted, Failure> {
    if connack.reason_code.is_error() {
        let explanation =
            connack.properties.reason_string().map(|text| format!(": {text}")).unwrap_or_default();
        let text = format!("connection refused: {}{explanation}", connack.reason_code);
        return Err(Failure { cause: Cause::Refused, text, reason_code: Some(connack.reason_code) });
    }
    let properties = &connack.properties;
    let window = limits::UPSTREAM_IN_FLIGHT_MAX;
    let capabilities = Capabilities {
        receive_maximum: properties.receive_maximum().map_or(window, |maximum| maximum.min(window)),
        qos_2_maximum: match broker.version {
            ProtocolVersion::V5 => u16::MAX,
            ProtocolVersion::V311 => limits::UPSTREAM_QOS_2_IN_FLIGHT_MAX,
        },
        maximum_qos: properties.maximum_qos().unwrap_or(QoS::ExactlyOnce),
        retain_available: properties.retain_available().unwrap_or(true),
        packet_bytes_max: properties.maximum_packet_size().map_or(usize::MAX, |bytes| bytes as usize),
        keep_alive_secs: properties.server_keep_alive().unwrap_or(broker.keep_alive_secs),
    };
    Ok(Accepted { connection, session_present: connack.session_present, capabilities })
}
