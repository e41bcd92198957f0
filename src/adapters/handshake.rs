//! The opening of a dialogue: CONNECT within a deadline, then the session takes over.

use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use actors::Metrics;
use actors::connection::{Connection, ConnectionError};
use actors::messages::{Attach, Refused};
use mqtt::packet::{ConnAck, Packet};
use mqtt::{DecodeError, Properties, ProtocolVersion, ReasonCode};

/// What every handshake needs.
#[derive(Clone)]
pub struct Handshake {
    /// Gives sessions to clients.
    pub attach: Recipient<Attach>,
    /// How long CONNECT may take `[MQTT-3.1.4-1]`.
    pub connect_timeout: Duration,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl Handshake {
    /// Waits for CONNECT and hands the connection to a session; ends it where that cannot be.
    pub async fn perform(&self, mut connection: Connection) {
        connection.count_in(self.metrics.device_traffic.clone());
        let connect = match tokio::time::timeout(self.connect_timeout, connection.receive_one()).await {
            Ok(Ok(Packet::Connect(connect))) => connect,
            Ok(Ok(other)) => {
                let first = other.packet_type();
                log::info!("{}: the first packet is {first:?}, not CONNECT", connection.peer());
                self.count_refused("not_connect");
                return;
            }
            Ok(Err(ConnectionError::Decode(error))) => {
                return self.answer_bad_connect(connection, error).await;
            }
            Ok(Err(error)) => {
                // Port scanners and health checks connect and leave.
                log::debug!("{}: {error} before CONNECT", connection.peer());
                self.count_refused("closed");
                return;
            }
            Err(_) => {
                let secs = self.connect_timeout.as_secs_f32();
                log::info!("{}: no CONNECT within {secs} s", connection.peer());
                self.count_refused("timeout");
                return;
            }
        };
        self.metrics.connects_received.inc();
        connection.set_version(connect.protocol_version);
        let client_id = connect.client_id.clone();
        match self.attach.send(Attach { connect, connection }).await {
            Ok(Ok(())) => {}
            Ok(Err(Refused { reason_code, connection })) => {
                log::info!("client {client_id:?} from {}: refused: {reason_code}", connection.peer());
                self.count_refused("refused");
                refuse(*connection, reason_code).await;
            }
            Err(error) => log::error!("client {client_id:?}: the session registry is gone: {error}"),
        }
    }

    /// Bytes that are no CONNECT: where a client could understand why, it is told.
    async fn answer_bad_connect(&self, connection: Connection, error: DecodeError) {
        log::info!("{}: bad CONNECT: {error}", connection.peer());
        self.count_refused("bad_connect");
        match error {
            // Both answers have the form of 3.1.1: the first is for clients that speak neither version
            // `[MQTT-3.1.2-2]`, and only 3.1.1 refuses identifiers while reading `[MQTT-3.1.3-8]`.
            DecodeError::UnsupportedProtocolVersion | DecodeError::ClientIdentifierNotValid(_) => {
                refuse(connection, error.reason_code()).await;
            }
            _ => connection.close().await,
        }
    }

    fn count_refused(&self, reason: &str) {
        self.metrics.connections_refused.with_label_values(&[reason]).inc();
    }
}

/// CONNACK with the reason, where the version has words for it, and the end of the connection.
async fn refuse(mut connection: Connection, reason_code: ReasonCode) {
    let has_words =
        connection.version() == ProtocolVersion::V5 || reason_code.connect_return_code().is_some();
    if has_words {
        let connack = ConnAck { session_present: false, reason_code, properties: Properties::default() };
        if let Err(error) = connection.queue(&Packet::ConnAck(Box::new(connack))) {
            log::error!("{}: CONNACK: {error}", connection.peer());
        }
    }
    connection.close().await;
}
