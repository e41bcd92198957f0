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
                self.properties.write(buffer, PropertyOwner::ConnAck)
            }
            ProtocolVersion::V311 => {
                let code = self.reason_code.connect_return_code();
                buffer.put_u8(code.ok_or(EncodeError::NotInThisVersion("the reason code of CONNACK"))?);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;
    use crate::packet::table::{V5, V311, bad, cut, good, malformed, properties, protocol, unwritable};
    use crate::{Property, QoS};

    fn row(session_present: bool, reason_code: ReasonCode, properties: Properties) -> Packet {
        Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties }))
    }

    #[test]
    fn good_packets_are_read_and_written() {
        let none = Properties::default;
        good(V311, "new session", "20: 00 00", &row(false, ReasonCode::Success, none()));
        good(V311, "old session", "20: 01 00", &row(true, ReasonCode::Success, none()));
        good(V311, "wrong version", "20: 00 01", &row(false, ReasonCode::UnsupportedProtocolVersion, none()));
        good(V311, "not authorized", "20: 00 05", &row(false, ReasonCode::NotAuthorized, none()));
        good(V5, "new session", "20: 00 00 00", &row(false, ReasonCode::Success, none()));
        good(V5, "old session", "20: 01 00 00", &row(true, ReasonCode::Success, none()));
        let three = properties([
            Property::MaximumQoS(QoS::AtLeastOnce),
            Property::AssignedClientIdentifier("id".into()),
            Property::ServerKeepAlive(30),
        ]);
        good(V5, "properties", "20: 00 00 {24 01 12 <id> 13 001E}", &row(false, ReasonCode::Success, three));
        for number in 0..=u8::MAX {
            if let Some(code) = ReasonCode::from_u8(number).filter(|code| ConnAck::allows(*code)) {
                good(V5, "reason code", &format!("20: 00 {number:02X} 00"), &row(false, code, none()));
            }
        }
    }

    #[test]
    fn bad_packets_are_refused() {
        let reserved = malformed("a reserved connect acknowledge flag is set");
        for version in [V311, V5] {
            bad(version, "empty", "20:", cut());
            bad(version, "flags only", "20: 00", cut());
            bad(version, "reserved flag", "20: 02 00 00", reserved);
            bad(version, "reserved flag with session present", "20: 81 00 00", reserved);
        }
        let present = protocol("a session is present in a refusal");
        bad(V311, "session present in a refusal", "20: 01 05", present);
        bad(V311, "reserved return code", "20: 00 06", protocol("the connect return code is reserved"));
        bad(V311, "too long", "20: 00 00 00", malformed("bytes behind the last field"));
        bad(V5, "session present in a refusal", "20: 01 87 00", present);
        bad(V5, "no property length", "20: 00 00", cut());
        bad(V5, "too long", "20: 00 00 00 00", malformed("bytes behind the last field"));
        let code = protocol("a reason code is not allowed in this packet");
        bad(V5, "reason code of 3.1.1", "20: 00 05 00", code);
        bad(V5, "reason code of DISCONNECT", "20: 00 8E 00", code);
        bad(V5, "Maximum QoS 2", "20: 00 00 {24 02}", protocol("a property is not 0 or 1"));
        bad(
            V5,
            "property of PUBLISH",
            "20: 00 00 {23 0001}",
            malformed("a property is not allowed in this packet"),
        );
    }

    #[test]
    fn what_the_standard_forbids_is_not_written() {
        let refusal = row(true, ReasonCode::NotAuthorized, Properties::default());
        unwritable(V5, &refusal, EncodeError::Inconsistent("a session is present in a refusal"));
        let quota = row(false, ReasonCode::MalformedPacket, Properties::default());
        unwritable(V311, &quota, EncodeError::NotInThisVersion("the reason code of CONNACK"));
        let taken_over = row(false, ReasonCode::SessionTakenOver, Properties::default());
        let error = EncodeError::Inconsistent("a reason code is not allowed in this packet");
        unwritable(V5, &taken_over, error);
    }
}
