//! DISCONNECT: the last packet of a Network Connection (MQTT 5.0 section 3.14).

use bytes::{BufMut, BytesMut};

use super::{check_reason_code, read_reason_code};
use crate::property::PropertyOwner;
use crate::wire::Reader;
use crate::{DecodeError, EncodeError, Properties, ProtocolVersion, ReasonCode};

/// The DISCONNECT packet. In 3.1.1 only the client sends it, and it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why; 0x00 is the normal disconnection.
    pub reason_code: ReasonCode,
    /// The properties; empty in 3.1.1.
    pub properties: Properties,
}

impl Disconnect {
    /// The normal disconnection.
    pub fn normal() -> Disconnect {
        Disconnect { reason_code: ReasonCode::Success, properties: Properties::default() }
    }

    /// Whether DISCONNECT may have this Reason Code (MQTT 5.0 table 3-10).
    pub const fn allows(reason_code: ReasonCode) -> bool {
        matches!(
            reason_code,
            ReasonCode::Success
                | ReasonCode::DisconnectWithWill
                | ReasonCode::UnspecifiedError
                | ReasonCode::MalformedPacket
                | ReasonCode::ProtocolError
                | ReasonCode::ImplementationSpecificError
                | ReasonCode::NotAuthorized
                | ReasonCode::ServerBusy
                | ReasonCode::ServerShuttingDown
                | ReasonCode::KeepAliveTimeout
                | ReasonCode::SessionTakenOver
                | ReasonCode::TopicFilterInvalid
                | ReasonCode::TopicNameInvalid
                | ReasonCode::ReceiveMaximumExceeded
                | ReasonCode::TopicAliasInvalid
                | ReasonCode::PacketTooLarge
                | ReasonCode::MessageRateTooHigh
                | ReasonCode::QuotaExceeded
                | ReasonCode::AdministrativeAction
                | ReasonCode::PayloadFormatInvalid
                | ReasonCode::RetainNotSupported
                | ReasonCode::QoSNotSupported
                | ReasonCode::UseAnotherServer
                | ReasonCode::ServerMoved
                | ReasonCode::SharedSubscriptionsNotSupported
                | ReasonCode::ConnectionRateExceeded
                | ReasonCode::MaximumConnectTime
                | ReasonCode::SubscriptionIdentifiersNotSupported
                | ReasonCode::WildcardSubscriptionsNotSupported
        )
    }

    pub(crate) fn decode(
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Disconnect, DecodeError> {
        if !version.is_v5() {
            reader.finish()?;
            return Ok(Disconnect::normal());
        }
        // Both fields may go without saying (sections 3.14.2.1 and 3.14.2.2.1).
        if reader.is_empty() {
            return Ok(Disconnect::normal());
        }
        let reason_code = read_reason_code(reader, Disconnect::allows)?;
        let properties = match reader.is_empty() {
            true => Properties::default(),
            false => Properties::read(reader, PropertyOwner::Disconnect)?,
        };
        reader.finish()?;
        Ok(Disconnect { reason_code, properties })
    }

    fn is_short(&self, version: ProtocolVersion) -> bool {
        !version.is_v5() || (self.reason_code == ReasonCode::Success && self.properties.is_empty())
    }

    pub(crate) fn body_len(&self, version: ProtocolVersion) -> usize {
        if self.is_short(version) { 0 } else { 1 + self.properties.prefixed_len() }
    }

    pub(crate) fn write_body(
        &self,
        version: ProtocolVersion,
        buffer: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if self.is_short(version) {
            return Ok(());
        }
        check_reason_code(Disconnect::allows(self.reason_code))?;
        buffer.put_u8(self.reason_code.as_u8());
        // The Property Length could be left out when it is 0, but there are clients that wait for it.
        self.properties.write(buffer)
    }
}
