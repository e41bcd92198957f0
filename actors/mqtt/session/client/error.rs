//! What an application cannot ask of a client session.

use crate::{EncodeError, ReasonCode};

/// Why a call was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// There is a connection already: disconnect, or report it as lost.
    AlreadyConnected,
    /// There is no connection that the server has taken.
    NotConnected,
    /// As many messages or requests wait as may.
    Full {
        /// The limit that was reached.
        limit: usize,
    },
    /// The server said with CONNACK that it does not accept this.
    NotAccepted(ReasonCode),
    /// No message that waits for an acknowledgement has this token.
    UnknownDelivery,
    /// The packet cannot be written, whoever the server is.
    Encode(EncodeError),
}

impl ClientError {
    /// The Reason Code that comes nearest.
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            ClientError::AlreadyConnected => ReasonCode::ProtocolError,
            ClientError::NotConnected => ReasonCode::ServerUnavailable,
            ClientError::Full { .. } => ReasonCode::QuotaExceeded,
            ClientError::NotAccepted(reason_code) => *reason_code,
            ClientError::UnknownDelivery => ReasonCode::PacketIdentifierNotFound,
            ClientError::Encode(EncodeError::PacketTooLong) => ReasonCode::PacketTooLarge,
            ClientError::Encode(_) => ReasonCode::ProtocolError,
        }
    }
}

impl From<EncodeError> for ClientError {
    fn from(error: EncodeError) -> ClientError {
        ClientError::Encode(error)
    }
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ClientError::AlreadyConnected => formatter
                .write_str("there is a connection: disconnect, or report it as lost, before the next"),
            ClientError::NotConnected => formatter.write_str("there is no connection: connect first"),
            ClientError::Full { limit } => {
                write!(formatter, "{limit} wait already: try again when one of them is done")
            }
            ClientError::NotAccepted(reason_code) => {
                write!(formatter, "the server does not accept it: {reason_code}")
            }
            ClientError::UnknownDelivery => {
                formatter.write_str("no message waits for this acknowledgement: acknowledge each one once")
            }
            ClientError::Encode(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for ClientError {}

/// What a server did that no server may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) reason_code: ReasonCode,
    pub(super) text: String,
}

impl Violation {
    pub(super) fn new(reason_code: ReasonCode, text: impl Into<String>) -> Violation {
        Violation { reason_code, text: text.into() }
    }

    pub(super) fn protocol(text: impl Into<String>) -> Violation {
        Violation::new(ReasonCode::ProtocolError, text)
    }
}
