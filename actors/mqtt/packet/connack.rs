//! CONNACK: the server answers CONNECT (MQTT 5.0 section 3.2).

use bytes::{BufMut, BytesMut};

use super::{check_reason_code, read_reason_code};
use crate::property::PropertyOwner;
use crate::wire::Reader;
use crate::{DecodeError, EncodeError, Properties, ProtocolVersion, ReasonCode};

/// The CONNACK packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server goes on with a Session that it had; never with a failure `[MQTT-3.2.2-6]`.
    pub session_present: bool,
    /// The outcome. In 3.1.1 it becomes a Connect Return code, and only what has one can be sent.
    pub reason_code: ReasonCode,
    /// The properties; empty in 3.1.1.
    pub properties: Properties,
}

impl ConnAck {
    /// Whether CONNACK of 5.0 may have this Reason Code (MQTT 5.0 table 3-1).
    pub const fn allows(reason_code: ReasonCode) -> bool {
        matches!(
            reason_code,
            ReasonCode::Success
                | ReasonCode::UnspecifiedError
                | ReasonCode::MalformedPacket
                | ReasonCode::ProtocolError
                | ReasonCode::ImplementationSpecificError
                | ReasonCode::UnsupportedProtocolVersion
                | ReasonCode::ClientIdentifierNotValid
                | ReasonCode::BadUserNameOrPassword
                | ReasonCode::NotAuthorized
                | ReasonCode::ServerUnavailable
                | ReasonCode::ServerBusy
                | ReasonCode::Banned
                | ReasonCode::BadAuthenticationMethod
                | ReasonCode::TopicNameInvalid
                | ReasonCode::PacketTooLarge
                | ReasonCode::QuotaExceeded
                | ReasonCode::PayloadFormatInvalid
                | ReasonCode::RetainNotSupported
                | ReasonCode::QoSNotSupported
                | ReasonCode::UseAnotherServer
                | ReasonCode::ServerMoved
                | ReasonCode::ConnectionRateExceeded
        )
    }

    pub(crate) fn decode(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<ConnAck, DecodeError> {
        let flags = reader.u8()?;
        if flags > 1 {
            return Err(DecodeError::Malformed("a reserved connect acknowledge flag is set")); // [MQTT-3.2.2-1]
        }
        let session_present = flags == 1;
        let (reason_code, properties) = match version {
            ProtocolVersion::V5 => {
                let reason_code = read_reason_code(reader, ConnAck::allows)?;
                (reason_code, Properties::read(reader, PropertyOwner::ConnAck)?)
            }
            ProtocolVersion::V311 => {
                let reason_code = ReasonCode::from_connect_return_code(reader.u8()?)
                    .ok_or(DecodeError::Protocol("the connect return code is reserved"))?;
                (reason_code, Properties::default())
            }
        };
        reader.finish()?;
        if session_present && reason_code != ReasonCode::Success {
            return Err(DecodeError::Protocol("a session is present in a refusal")); // [MQTT-3.2.2-6]
        }
        Ok(ConnAck { session_present, reason_code, properties })
    }

    pub(crate) fn body_len(&self, version: ProtocolVersion) -> usize {
        2 + if version.is_v5() { self.properties.prefixed_len() } else { 0 }
    }

    pub(crate) fn write_body(
        &self,
        version: ProtocolVersion,
        buffer: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if self.session_present && self.reason_code != ReasonCode::Success {
            return Err(EncodeError::Inconsistent("a session is present in a refusal"));
        }
        buffer.put_u8(u8::from(self.session_present));
        match version {
            ProtocolVersion::V5 => {
                check_reason_code(ConnAck::allows(self.reason_code))?;
                buffer.put_u8(self.reason_code.as_u8());
                self.properties.write(buffer)
            }
            ProtocolVersion::V311 => {
                let code = self.reason_code.connect_return_code();
                buffer.put_u8(code.ok_or(EncodeError::NotInThisVersion("the reason code of CONNACK"))?);
                Ok(())
            }
        }
    }
}
