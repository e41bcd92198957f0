//! Why somebody who connected is not let in: how that is counted and logged, and what is answered.

use std::fmt;
use std::time::Duration;

use actors::Quota;
use actors::connection::Connection;
use actors::device_session::packet_bytes_max;
use bytestring::ByteString;
use log::Level;
use mqtt::packet::{ConnAck, Connect, Packet, fit};
use mqtt::{DecodeError, EncodeError, Properties, Property, ProtocolVersion, ReasonCode};

use super::sniff::Opening;

/// What was read of a CONNECT that counts for a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    id: ByteString,
    version: ProtocolVersion,
    /// Whether Reason Strings are wanted (Request Problem Information).
    problem_information: bool,
    packet_bytes_max: usize,
}

impl Client {
    /// The client of a good CONNECT.
    pub fn of(connect: &Connect) -> Client {
        Client {
            id: connect.client_id.clone(),
            version: connect.protocol_version,
            problem_information: connect.properties.request_problem_information() != Some(false),
            packet_bytes_max: packet_bytes_max(connect),
        }
    }

    /// The client of a CONNECT that could not be read. A Reason String may go into CONNACK whatever it asked for
    /// `[MQTT-3.1.2-29]`.
    fn unread(version: ProtocolVersion) -> Client {
        Client { id: "".into(), version, problem_information: true, packet_bytes_max: usize::MAX }
    }

    /// The Client Identifier as it was asked for.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The longest packet that it accepts, in bytes.
    pub fn packet_bytes_max(&self) -> usize {
        self.packet_bytes_max
    }

    /// A client that is not let in; `text` says what the Reason Code does not, or nothing.
    pub fn refused(&self, reason_code: ReasonCode, text: &str) -> Refusal {
        let label = match reason_code {
            ReasonCode::BadUserNameOrPassword
            | ReasonCode::NotAuthorized
            | ReasonCode::BadAuthenticationMethod => "authentication",
            _ => "refused",
        };
        let log = match text.is_empty() {
            true => format!("client {:?} refused: {reason_code}", self.id),
            false => format!("client {:?} refused: {text} ({reason_code})", self.id),
        };
        Refusal { label, quota: None, level: Level::Info, log, answer: self.connack(reason_code, text) }
    }

    /// A client of which more has arrived in part than there is memory for.
    pub fn unfinished(&self) -> Refusal {
        let text = "an unfinished packet, and no memory for more of it";
        Refusal { quota: Some(Quota::ReceivingBytes), ..self.refused(ReasonCode::QuotaExceeded, text) }
    }

    /// A client that broke the protocol after a good CONNECT.
    pub fn broke(&self, text: &str) -> Refusal {
        Refusal { label: "bad_connect", ..self.refused(ReasonCode::ProtocolError, text) }
    }

    fn connack(&self, reason_code: ReasonCode, text: &str) -> Answer {
        Answer::ConnAck { client: self.clone(), reason_code, text: text.to_owned() }
    }
}

/// Why somebody is not let in.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    label: &'static str,
    /// What there is not enough of, where that is it and nobody has counted it yet.
    quota: Option<Quota>,
    level: Level,
    log: String,
    answer: Answer,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    ConnAck {
        client: Client,
        reason_code: ReasonCode,
        text: String,
    },
    /// For who does not speak MQTT.
    Bytes(&'static [u8]),
}

/// A fatal alert of TLS: `protocol_version`.
const TLS_ALERT: &[u8] = &[0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46];

const HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 46\r\n\
    Connection: close\r\n\
    \r\n\
    This port speaks MQTT. HTTP has another port.\n";

impl Refusal {
    /// A connection that is closed without an answer.
    pub fn silent(label: &'static str, log: String) -> Refusal {
        Refusal { label, quota: None, level: Level::Info, log, answer: Answer::Nothing }
    }

    /// The other side went away, or the network did. Port scanners and health checks connect and leave.
    pub fn gone(error: &dyn fmt::Display) -> Refusal {
        Refusal::silent("closed", format!("{error} before CONNECT was answered")).logged(Level::Debug)
    }

    /// The time for everything up to CONNACK is over.
    pub fn late(connect_timeout: Duration) -> Refusal {
        let secs = connect_timeout.as_secs_f32();
        Refusal::silent("timeout", format!("not connected within {secs} s"))
    }

    /// The same, for this level of the log.
    pub fn logged(self, level: Level) -> Refusal {
        Refusal { level, ..self }
    }

    /// What is not even the beginning of a CONNECT that could be read.
    pub fn of_opening(opening: Opening) -> Refusal {
        let old_form = |code| Client::unread(ProtocolVersion::V311).connack(code, "");
        let version = ReasonCode::UnsupportedProtocolVersion;
        let (label, log, answer) = match opening {
            Opening::Tls => ("tls", "tls on a plain mqtt port".to_owned(), Answer::Bytes(TLS_ALERT)),
            Opening::Http => ("http", "http on an mqtt port".to_owned(), Answer::Bytes(HTTP_ANSWER)),
            // `[MQTT-3.1.2-2]`: what follows MQTT 5.0 reads its CONNACK, everything else that of 3.1.1.
            Opening::Newer(level) => {
                let text = format!("protocol version {level} is not spoken here");
                (
                    "unsupported_version",
                    text.clone(),
                    Client::unread(ProtocolVersion::V5).connack(version, &text),
                )
            }
            Opening::Mqtt31 => ("mqtt_3_1", "MQTT 3.1 is not spoken here".to_owned(), old_form(version)),
            Opening::Unsupported => {
                ("unsupported_version", "a version before MQTT 3.1.1".to_owned(), old_form(version))
            }
            // `[MQTT-3.1.2-1]`: nobody knows how it reads.
            Opening::Foreign => {
                ("unsupported_version", "CONNECT of another protocol".to_owned(), Answer::Nothing)
            }
            Opening::Other | Opening::Illegible | Opening::Connect(_) => {
                ("not_connect", "the first packet is not CONNECT".to_owned(), Answer::Nothing)
            }
        };
        Refusal { label, quota: None, level: Level::Info, log, answer }
    }

    /// A CONNECT that breaks the rules of its version.
    pub fn bad_connect(version: ProtocolVersion, error: &DecodeError) -> Refusal {
        let text = error.to_string();
        let answer = Client::unread(version).connack(error.reason_code(), &text);
        let quota = matches!(error, DecodeError::PacketTooLarge { .. }).then_some(Quota::PacketBytes);
        let log = format!("bad CONNECT: {text}");
        Refusal { label: "bad_connect", quota, level: Level::Info, log, answer }
    }

    /// As [`Client::unfinished`], where it is CONNECT that has arrived in part.
    pub fn unfinished(version: ProtocolVersion) -> Refusal {
        Client::unread(version).unfinished()
    }

    /// The `reason` of `mqtt_connections_refused_total`.
    pub fn label(&self) -> &'static str {
        self.label
    }

    /// The quota that this is to be counted for.
    pub fn quota(&self) -> Option<Quota> {
        self.quota
    }

    /// How much it is worth in the log.
    pub fn log_level(&self) -> Level {
        self.level
    }

    /// Queues the answer, where there is one that the other side understands.
    ///
    /// # Errors
    /// Where CONNACK cannot say this.
    pub fn answer(
        &self,
        connection: &mut Connection,
        server_reference: Option<&ByteString>,
    ) -> Result<(), EncodeError> {
        match &self.answer {
            Answer::Nothing => Ok(()),
            Answer::Bytes(bytes) => {
                connection.output().extend_from_slice(bytes);
                Ok(())
            }
            Answer::ConnAck { client, reason_code, text } => {
                connection.set_version(client.version);
                let connack = connack(client, *reason_code, text, server_reference);
                connack.map_or(Ok(()), |packet| connection.queue(&packet))
            }
        }
    }
}

/// The refusing CONNACK; `None` where 3.1.1 has no code for it, or the client accepts no packet of its length.
fn connack(
    client: &Client,
    reason_code: ReasonCode,
    text: &str,
    server_reference: Option<&ByteString>,
) -> Option<Packet> {
    let mut properties = Properties::default();
    match client.version {
        ProtocolVersion::V311 => drop(reason_code.connect_return_code()?),
        ProtocolVersion::V5 => {
            if client.problem_information && !text.is_empty() {
                properties = properties.with(Property::ReasonString(text.into()));
            }
            if let (ReasonCode::UseAnotherServer, Some(other)) = (reason_code, server_reference) {
                properties = properties.with(Property::ServerReference(other.clone()));
            }
        }
    }
    let connack = ConnAck { session_present: false, reason_code, properties };
    fit(Packet::ConnAck(Box::new(connack)), client.version, client.packet_bytes_max)
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V5: ProtocolVersion = ProtocolVersion::V5;
    const V311: ProtocolVersion = ProtocolVersion::V311;

    fn properties_of(packet: Option<Packet>) -> Vec<Property> {
        match packet {
            Some(Packet::ConnAck(connack)) => connack.properties.iter().collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_http_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(HTTP_ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }

    #[test]
    fn an_unfinished_packet_is_refused_with_quota_exceeded_and_counted() {
        let Refusal { label, quota, answer, .. } = Refusal::unfinished(V5);
        assert_eq!((label, quota), ("refused", Some(Quota::ReceivingBytes)));
        assert!(
            matches!(answer, Answer::ConnAck { reason_code: ReasonCode::QuotaExceeded, .. }),
            "{answer:?}"
        );
        let too_long = DecodeError::PacketTooLarge { packet_bytes: 2, packet_bytes_max: 1 };
        assert_eq!(Refusal::bad_connect(V5, &too_long).quota(), Some(Quota::PacketBytes));
        assert_eq!(Refusal::bad_connect(V5, &DecodeError::Malformed("text")).quota(), None);
    }

    #[test]
    fn a_refusal_in_3_1_1_is_a_code_or_nothing() {
        let client = Client::unread(V311);
        assert_eq!(connack(&client, ReasonCode::MalformedPacket, "text", None), None);
        let other = "b".into();
        for reason_code in [ReasonCode::NotAuthorized, ReasonCode::UseAnotherServer, ReasonCode::ServerBusy] {
            assert_eq!(properties_of(connack(&client, reason_code, "text", Some(&other))), []);
        }
    }

    #[test]
    fn a_refusal_in_5_0_says_what_is_wanted_and_fits() {
        let (busy, elsewhere) = (ReasonCode::ServerBusy, ReasonCode::UseAnotherServer);
        let other = ByteString::from("b");
        let reference = || Property::ServerReference(other.clone());
        let reason = || Property::ReasonString("full".into());
        let curious = Client::unread(V5);
        assert_eq!(properties_of(connack(&curious, busy, "full", Some(&other))), [reason()]);
        assert_eq!(properties_of(connack(&curious, busy, "", None)), []);
        assert_eq!(
            properties_of(connack(&curious, elsewhere, "full", Some(&other))),
            [reason(), reference()]
        );
        let reserved = Client { problem_information: false, ..curious.clone() };
        assert_eq!(properties_of(connack(&reserved, elsewhere, "full", Some(&other))), [reference()]);
        let small = Client { packet_bytes_max: 9, ..curious.clone() };
        assert_eq!(properties_of(connack(&small, elsewhere, "full", Some(&other))), [reference()]);
        let smaller = Client { packet_bytes_max: 5, ..curious.clone() };
        assert_eq!(properties_of(connack(&smaller, elsewhere, "full", Some(&other))), []);
        let smallest = Client { packet_bytes_max: 4, ..curious };
        assert_eq!(connack(&smallest, elsewhere, "full", Some(&other)), None);
    }
}
