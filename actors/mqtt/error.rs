//! What can be wrong with bytes from a peer, and which Reason Code says so.

use crate::ReasonCode;

/// Why bytes are not a Control Packet. Each kind decides the Reason Code of the DISCONNECT (or CONNACK) that
/// ends the connection; the text says what was wrong, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes break the wire format (MQTT 5.0 section 1.2, "Malformed Packet").
    Malformed(&'static str),
    /// The packet is well formed but not allowed by the protocol ("Protocol Error").
    Protocol(&'static str),
    /// The packet is longer than the Maximum Packet Size that was agreed.
    PacketTooLarge {
        /// The length of the whole packet, fixed header included.
        packet_bytes: usize,
        /// The most that is accepted.
        packet_bytes_max: usize,
    },
    /// CONNECT names a protocol or a version that is not spoken here.
    UnsupportedProtocolVersion,
    /// A Topic Name is well formed UTF-8 but cannot be accepted.
    TopicNameInvalid(&'static str),
    /// A Topic Alias that cannot be.
    TopicAliasInvalid(&'static str),
    /// A Topic Filter is well formed UTF-8 but not a filter.
    TopicFilterInvalid(&'static str),
    /// The Client Identifier in CONNECT cannot be accepted.
    ClientIdentifierNotValid(&'static str),
}

impl DecodeError {
    /// The Reason Code for the DISCONNECT or CONNACK that answers.
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            DecodeError::Malformed(_) => ReasonCode::MalformedPacket,
            DecodeError::Protocol(_) => ReasonCode::ProtocolError,
            DecodeError::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            DecodeError::UnsupportedProtocolVersion => ReasonCode::UnsupportedProtocolVersion,
            DecodeError::TopicNameInvalid(_) => ReasonCode::TopicNameInvalid,
            DecodeError::TopicAliasInvalid(_) => ReasonCode::TopicAliasInvalid,
            DecodeError::TopicFilterInvalid(_) => ReasonCode::TopicFilterInvalid,
            DecodeError::ClientIdentifierNotValid(_) => ReasonCode::ClientIdentifierNotValid,
        }
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DecodeError::Malformed(what) => write!(formatter, "malformed packet: {what}"),
            DecodeError::Protocol(what) => write!(formatter, "protocol error: {what}"),
            DecodeError::PacketTooLarge { packet_bytes, packet_bytes_max } => {
                write!(formatter, "packet of {packet_bytes} bytes, at most {packet_bytes_max} are accepted")
            }
            DecodeError::UnsupportedProtocolVersion => formatter.write_str("unsupported protocol version"),
            DecodeError::TopicNameInvalid(what) => write!(formatter, "topic name: {what}"),
            DecodeError::TopicAliasInvalid(what) => write!(formatter, "topic alias: {what}"),
            DecodeError::TopicFilterInvalid(what) => write!(formatter, "topic filter: {what}"),
            DecodeError::ClientIdentifierNotValid(what) => write!(formatter, "client identifier: {what}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a packet cannot be put on the wire. The buffer is left as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// A string or binary field is longer than 65,535 bytes.
    FieldTooLong(&'static str),
    /// The packet is longer than the wire format can say (268,435,455 bytes after the fixed header).
    PacketTooLong,
    /// The packet does not exist in this version of the protocol (AUTH in 3.1.1).
    NotInThisVersion(&'static str),
    /// The packet says what no packet may say, such as QoS 1 without a Packet Identifier.
    Inconsistent(&'static str),
}

impl std::fmt::Display for EncodeError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EncodeError::FieldTooLong(field) => write!(formatter, "{field} is longer than 65,535 bytes"),
            EncodeError::PacketTooLong => formatter.write_str("packet is longer than 256 MiB"),
            EncodeError::NotInThisVersion(packet) => {
                write!(formatter, "{packet} does not exist in this version")
            }
            EncodeError::Inconsistent(what) => write!(formatter, "packet against the standard: {what}"),
        }
    }
}

impl std::error::Error for EncodeError {}
