//! The opening of a dialogue: CONNECT, and the authentication that it asks for, within a deadline; then the session takes
//! over. Who is not let in is told why, in words that it understands.

use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use actors::authenticator::{Authenticated, Exchange, Methods, Step, auth_packet};
use actors::connection::{Connection, ConnectionError};
use actors::messages::{Attach, Refused};
use actors::{Metrics, Quota};
use bytestring::ByteString;
use mqtt::packet::{Connect, Packet, fit};
use mqtt::{ProtocolVersion, ReasonCode};
use tokio::time::Instant;

use super::refusal::{Client, Refusal};
use super::sniff::{self, Opening};

/// How much of a method's name that nobody knows goes into the log and the Reason String.
const METHOD_CHARS_SHOWN: usize = 40;

/// What every handshake needs.
#[derive(Clone)]
pub struct Handshake {
    /// Gives sessions to clients.
    pub attach: Recipient<Attach>,
    /// How clients may authenticate beside User Name and Password.
    pub methods: Methods,
    /// Where clients are to go that are told to use another server.
    pub server_reference: Option<ByteString>,
    /// How long everything up to CONNACK may take, that of TLS included `[MQTT-3.1.4-1]`.
    pub connect_timeout: Duration,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl Handshake {
    /// Waits for CONNECT until the deadline and hands the connection to a session; ends it where that cannot be, or where a quota of its address
    /// speaks against it from the start.
    pub async fn perform(&self, mut connection: Connection, exceeded: Option<Quota>, deadline: Instant) {
        connection.count_in(self.metrics.device_traffic.clone());
        match tokio::time::timeout_at(deadline, self.open(&mut connection, exceeded)).await {
            Ok(Ok((connect, authenticated))) => self.attach(connect, connection, authenticated).await,
            Ok(Err(refusal)) => self.refuse(connection, refusal).await,
            Err(_) => self.refuse(connection, Refusal::late(self.connect_timeout)).await,
        }
    }

    async fn open(
        &self,
        connection: &mut Connection,
        exceeded: Option<Quota>,
    ) -> Result<(Box<Connect>, Option<Authenticated>), Refusal> {
        let connect = receive_connect(connection).await?;
        self.metrics.connects_received.inc();
        if exceeded.is_some() {
            let text = "too many connections from this address";
            return Err(Client::of(&connect).refused(ReasonCode::QuotaExceeded, text));
        }
        let Some(method) = connect.properties.authentication_method() else { return Ok((connect, None)) };
        let client = Client::of(&connect);
        let Some(exchange) = self.methods.begin(method.clone()) else {
            // `[MQTT-4.12.0-1]`
            let shown: String = method.chars().take(METHOD_CHARS_SHOWN).collect();
            let text = format!("the authentication method {shown:?} is not offered");
            return Err(client.refused(ReasonCode::BadAuthenticationMethod, &text));
        };
        let authenticated = authenticate(connection, &connect, &client, exchange).await?;
        Ok((connect, Some(authenticated)))
    }

    async fn attach(
        &self,
        connect: Box<Connect>,
        connection: Connection,
        authenticated: Option<Authenticated>,
    ) {
        let client = Client::of(&connect);
        match self.attach.send(Attach { connect, connection, authenticated }).await {
            Ok(Ok(())) => {}
            Ok(Err(Refused { reason_code, text, connection })) => {
                self.refuse(*connection, client.refused(reason_code, text)).await;
            }
            Err(error) => log::error!("client {:?}: the session registry is gone: {error}", client.id()),
        }
    }

    /// Counts, logs, answers and closes.
    pub async fn refuse(&self, mut connection: Connection, refusal: Refusal) {
        self.metrics.connections_refused.with_label_values(&[refusal.label()]).inc();
        if let Some(quota) = refusal.quota() {
            self.metrics.exceeded(quota);
        }
        log::log!(refusal.log_level(), "{}: {refusal}", connection.peer());
        if let Err(error) = refusal.answer(&mut connection, self.server_reference.as_ref()) {
            log::error!("{}: CONNACK: {error}", connection.peer());
        }
        connection.close().await;
    }
}

/// Waits until the first bytes say what they are, and then for the whole CONNECT.
async fn receive_connect(connection: &mut Connection) -> Result<Box<Connect>, Refusal> {
    let opening = loop {
        if let Some(opening) = sniff::opening(connection.received(), connection.packet_bytes_max()) {
            break opening;
        }
        connection.receive_more().await.map_err(|error| Refusal::gone(&error))?;
    };
    let version = match opening {
        Opening::Connect(version) => version,
        // Of the older version, in which nothing but a few codes can be said.
        Opening::Illegible => ProtocolVersion::V311,
        other => return Err(Refusal::of_opening(other)),
    };
    connection.set_version(version);
    match connection.receive_one().await {
        Ok(Packet::Connect(connect)) => Ok(connect),
        Ok(other) => {
            Err(Refusal::silent("not_connect", format!("{:?} instead of CONNECT", other.packet_type())))
        }
        Err(ConnectionError::Decode(error)) => Err(Refusal::bad_connect(version, &error)),
        Err(ConnectionError::TooMuchUnfinished) => Err(Refusal::unfinished(version)),
        Err(error) => Err(Refusal::gone(&error)),
    }
}

/// The exchange that CONNECT began, up to its end `[MQTT-4.12.0-2]`.
async fn authenticate(
    connection: &mut Connection,
    connect: &Connect,
    client: &Client,
    mut exchange: Exchange,
) -> Result<Authenticated, Refusal> {
    let mut step = exchange.step(connect.properties.authentication_data().as_deref());
    loop {
        let question = match step {
            Step::Continue(data) => data,
            Step::Failed => return Err(client.refused(ReasonCode::NotAuthorized, "authentication failed")), // [MQTT-4.12.0-4]
            Step::Done(data) => {
                let is_silent = connection.received().first().is_none_or(|first| *first == DISCONNECT);
                let authenticated = Authenticated { method: exchange.method().clone(), data };
                return if is_silent {
                    Ok(authenticated)
                } else {
                    Err(client.broke("packets before CONNACK"))
                };
            }
        };
        let auth = auth_packet(ReasonCode::ContinueAuthentication, exchange.method().clone(), question);
        let Some(auth) = fit(auth, connection.version(), client.packet_bytes_max()) else {
            let text = "its maximum packet size leaves no room for AUTH";
            return Err(client.refused(ReasonCode::PacketTooLarge, text));
        };
        connection.queue(&auth).map_err(|error| Refusal::silent("closed", format!("AUTH: {error}")))?;
        connection.flush().await.map_err(|error| Refusal::gone(&ConnectionError::Io(error)))?;
        step = match connection.receive_one().await {
            Ok(Packet::Auth(auth)) => exchange.answer(&auth).map_err(|text| client.broke(text))?,
            Ok(Packet::Disconnect(_)) => {
                return Err(Refusal::silent("closed", "gave up authentication".to_owned()));
            }
            // `[MQTT-3.1.2-30]`
            Ok(other) => return Err(client.broke(&format!("{:?} before CONNACK", other.packet_type()))),
            Err(ConnectionError::Decode(error)) => {
                return Err(client.refused(error.reason_code(), &error.to_string()));
            }
            Err(ConnectionError::TooMuchUnfinished) => return Err(client.unfinished()),
            Err(error) => return Err(Refusal::gone(&error)),
        };
    }
}

/// The first byte of the one packet that may follow CONNECT before its answer when no answer of the client is due.
const DISCONNECT: u8 = 0xE0;
