//! The way to an upstream broker: what it takes is read, the transport is opened, CONNECT goes out and its answer is
//! judged. Each step says what it brought.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt::packet::{ConnAck, Connect, Packet};
use mqtt::{Properties, Property, ProtocolVersion, QoS, ReasonCode};

use super::reach;
use super::service::{self, ServiceLimits};
use super::steps::{Step, Steps};
use super::tls::{self, TlsDetails, TlsFault};
use crate::broker::is_reference;
use crate::connection::{Connection, ConnectionError};
use crate::metrics::Traffic;
use crate::{Broker, limits, secret_source};

/// What failed on the way. The text is the label in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host name has no address.
    Dns,
    /// No TCP connection.
    Tcp,
    /// No TLS session.
    Tls,
    /// The broker's certificate is not accepted.
    Certificate,
    /// The broker does not accept our certificate, or misses one.
    ClientCertificate,
    /// No WebSocket.
    WebSocket,
    /// Something that the definition names cannot be used: a file, a secret, a key.
    Configuration,
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
    pub const ALL: [Cause; 12] = [
        Cause::Dns,
        Cause::Tcp,
        Cause::Tls,
        Cause::Certificate,
        Cause::ClientCertificate,
        Cause::WebSocket,
        Cause::Configuration,
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
            Cause::Certificate => "certificate",
            Cause::ClientCertificate => "client_certificate",
            Cause::WebSocket => "websocket",
            Cause::Configuration => "configuration",
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
    /// One word that is more exact than the cause, for machines: what is wrong with TLS.
    pub detail: Option<&'static str>,
    /// The broker's answer, where it was one.
    pub reason_code: Option<ReasonCode>,
}

impl Failure {
    /// A failure without an answer of the broker.
    pub fn new(cause: Cause, text: impl Into<String>) -> Failure {
        Failure { cause, text: text.into(), detail: None, reason_code: None }
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
    /// The TLS session, where there is one.
    pub tls: Option<Arc<TlsDetails>>,
    /// The properties of CONNACK, in which another proxy says who it is.
    pub announced: Properties,
}

/// What we say of ourselves in CONNECT.
#[derive(Clone, Debug)]
pub enum Introduction {
    /// Nothing: we come as any client.
    None,
    /// That we are a bridge, by a mark of the Protocol Level (3.1.1).
    Bridge,
    /// Which proxy we are, in a User Property (5.0).
    Proxy(Property),
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
    /// How many Topic Aliases may be set.
    pub topic_alias_maximum: u16,
    /// Whether Topic Filters may have wildcards.
    pub wildcards_available: bool,
    /// What is known of the service besides.
    pub service: Option<&'static ServiceLimits>,
}

impl Capabilities {
    /// Whether RETAIN may be set with a payload of this length.
    pub fn takes_retain(&self, payload_bytes: usize) -> bool {
        self.retain_available
            && self.service.is_none_or(|service| payload_bytes <= service.retained_bytes_max)
    }
}

impl Capabilities {
    /// Those of a broker that nobody has asked yet.
    pub const fn unlimited(keep_alive_secs: u16) -> Capabilities {
        Capabilities {
            receive_maximum: limits::UPSTREAM_IN_FLIGHT_MAX,
            qos_2_maximum: u16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            packet_bytes_max: usize::MAX,
            keep_alive_secs,
            topic_alias_maximum: 0,
            wildcards_available: true,
            service: None,
        }
    }
}

/// Connects, within [`limits::UPSTREAM_CONNECT_DEADLINE`]. `steps` has what was reached, also where it fails.
///
/// # Errors
/// The first step that failed.
pub async fn connect(
    broker: &Broker,
    introduction: Introduction,
    packet_bytes_max: usize,
    traffic: Option<Arc<Traffic>>,
    steps: &mut Steps,
) -> Result<Accepted, Failure> {
    let deadline = limits::UPSTREAM_CONNECT_DEADLINE;
    let attempt = attempt(broker, introduction, packet_bytes_max, traffic, steps);
    match tokio::time::timeout(deadline, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let text = format!("no {} within {} s", steps.current.awaited(), deadline.as_secs());
            Err(Failure::new(Cause::Timeout, text))
        }
    }
}

async fn attempt(
    broker: &Broker,
    introduction: Introduction,
    packet_bytes_max: usize,
    traffic: Option<Arc<Traffic>>,
    steps: &mut Steps,
) -> Result<Accepted, Failure> {
    steps.begin(Step::Configuration);
    let credentials = Credentials::of(broker).await?;
    let prepared = match &broker.tls {
        Some(options) => Some(tls::prepare(options).await?),
        None => None,
    };
    let transport = reach::open(broker, prepared.as_ref(), packet_bytes_max, steps).await?;
    steps.begin(Step::ConnAck);
    let peer = format!("broker {}", broker.name);
    let mut connection = Connection::new(transport, packet_bytes_max, peer, None);
    if let Some(traffic) = traffic {
        connection.count_in(traffic);
    }
    connection.set_version(broker.version);
    let connect = connect_packet(broker, credentials, introduction, packet_bytes_max);
    let packet = Packet::Connect(Box::new(connect));
    connection.queue(&packet).map_err(|error| Failure::new(Cause::Protocol, format!("CONNECT: {error}")))?;
    let connack = exchange(broker, &mut connection).await?;
    steps.connack = steps.timed(connack.clone());
    let mut accepted = accepted(broker, connection, &connack)?;
    accepted.tls = steps.tls.as_ref().map(|tls| Arc::new(tls.value.clone()));
    Ok(accepted)
}

/// Sends CONNECT and waits for its answer.
async fn exchange(broker: &Broker, connection: &mut Connection) -> Result<ConnAck, Failure> {
    let lost = |error: &ConnectionError| {
        let alert = match error {
            ConnectionError::Io(error) => reach::late_alert(error, broker),
            _ => None,
        };
        alert.unwrap_or_else(|| Failure::new(Cause::Lost, format!("after CONNECT: {error}")))
    };
    let sent = connection.flush().await;
    // Where the broker closed before it read ours, it may have said why.
    let answer = match &sent {
        Ok(()) => connection.receive_one().await,
        Err(_) => match tokio::time::timeout(LAST_WORDS, connection.receive_one()).await {
            Ok(answer) => answer,
            Err(_) => Err(ConnectionError::Closed),
        },
    };
    match (answer, sent) {
        (Ok(Packet::ConnAck(connack)), _) => Ok(*connack),
        (Ok(_), _) => Err(Failure::new(Cause::Protocol, "the answer to CONNECT was not CONNACK")),
        (Err(ConnectionError::Decode(error)), _) => {
            let text = format!("the answer to CONNECT is not MQTT: {error}");
            Err(Failure::new(Cause::Protocol, text))
        }
        (Err(ConnectionError::Closed), Err(error)) => Err(lost(&ConnectionError::Io(error))),
        (Err(error), _) => Err(lost(&error)),
    }
}

/// How long we wait for what a broker said before it closed the connection.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// User Name and Password as they go out.
struct Credentials {
    username: Option<String>,
    password: Option<Bytes>,
}

impl Credentials {
    /// Looks them up, on a thread that may wait where a file has to be read.
    async fn of(broker: &Broker) -> Result<Credentials, Failure> {
        let (username, password) = (broker.username.clone(), broker.password.clone());
        let look_up = move || {
            let find =
                |field, text: Option<&str>| text.map(|text| secret_source::resolve(field, text)).transpose();
            let username = find("username", username.as_deref())?;
            let password = find("password", password.as_ref().map(|password| password.reveal()))?;
            Ok(Credentials {
                username: username.map(|text| text.reveal().to_owned()),
                password: password.map(|text| Bytes::copy_from_slice(text.reveal().as_bytes())),
            })
        };
        let stands_there = |text: Option<&str>| !text.is_some_and(is_reference);
        let password = broker.password.as_ref().map(|password| password.reveal());
        let found = if stands_there(broker.username.as_deref()) && stands_there(password) {
            look_up()
        } else {
            tokio::task::spawn_blocking(look_up).await.unwrap_or_else(|error| Err(error.to_string()))
        };
        found.map_err(|text: String| Failure {
            detail: Some(TlsFault::SecretMissing.as_str()),
            ..Failure::new(Cause::Configuration, text)
        })
    }
}

fn connect_packet(
    broker: &Broker,
    credentials: Credentials,
    introduction: Introduction,
    packet_bytes_max: usize,
) -> Connect {
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
    let bridge = matches!(introduction, Introduction::Bridge);
    if let Introduction::Proxy(announcement) = introduction {
        properties = properties.with(announcement);
    }
    Connect {
        protocol_version: broker.version,
        clean_start: broker.clean_session,
        keep_alive_secs: service::keep_alive_secs(broker),
        client_id: broker.client_id().into(),
        will: None,
        user_name: credentials.username.map(Into::into),
        password: credentials.password,
        properties,
        bridge,
    }
}

/// What a broker adds to its Reason Code: words, and another server where it names one (MQTT 5.0 section 4.11).
pub fn explained(properties: &Properties) -> String {
    let reason = properties.reason_string().map(|text| format!(": {text}"));
    let reference = properties.server_reference().map(|text| format!("; it names another server: {text}"));
    [reason, reference].into_iter().flatten().collect()
}

fn accepted(broker: &Broker, connection: Connection, connack: &ConnAck) -> Result<Accepted, Failure> {
    if connack.reason_code.is_error() {
        let explanation = explained(&connack.properties);
        let text = format!("connection refused: {}{explanation}", connack.reason_code);
        return Err(Failure { reason_code: Some(connack.reason_code), ..Failure::new(Cause::Refused, text) });
    }
    let properties = &connack.properties;
    let window = limits::UPSTREAM_IN_FLIGHT_MAX;
    let service = ServiceLimits::of(broker);
    let known = |limit: fn(&ServiceLimits) -> usize| service.map_or(usize::MAX, limit);
    let highest = service.map_or(QoS::ExactlyOnce, |service| service.maximum_qos);
    let capabilities = Capabilities {
        receive_maximum: properties
            .receive_maximum()
            .or(service.map(|service| service.receive_maximum))
            .map_or(window, |maximum| maximum.min(window)),
        qos_2_maximum: match broker.version {
            ProtocolVersion::V5 => u16::MAX,
            ProtocolVersion::V311 => limits::UPSTREAM_QOS_2_IN_FLIGHT_MAX,
        },
        maximum_qos: properties.maximum_qos().unwrap_or(QoS::ExactlyOnce).min(highest),
        retain_available: properties.retain_available().unwrap_or(true),
        packet_bytes_max: properties
            .maximum_packet_size()
            .map_or_else(|| known(|service| service.packet_bytes_max), |bytes| bytes as usize),
        keep_alive_secs: properties.server_keep_alive().unwrap_or_else(|| service::keep_alive_secs(broker)),
        topic_alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
        wildcards_available: properties.wildcard_subscription_available().unwrap_or(true),
        service,
    };
    let announced = properties.clone();
    let session_present = connack.session_present;
    Ok(Accepted { connection, session_present, capabilities, tls: None, announced })
}
