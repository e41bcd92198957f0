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
        self.properties.write(buffer, PropertyOwner::Disconnect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Property;
    use crate::packet::Packet;
    use crate::packet::table::{
        V5, V311, bad, cut, good, malformed, properties, protocol, reads, unwritable,
    };

    #[test]
    fn good_packets_are_read_and_written() {
        let normal = Packet::Disconnect(Disconnect::normal());
        good(V311, "normal", "E0:", &normal);
        good(V5, "normal", "E0:", &normal);
        reads(V5, "normal, said", "E0: 00", &normal);
        reads(V5, "normal with a property length", "E0: 00 00", &normal);
        for number in 1..=u8::MAX {
            let Some(reason_code) = ReasonCode::from_u8(number).filter(|code| Disconnect::allows(*code))
            else {
                let code = protocol("a reason code is not allowed in this packet");
                bad(V5, "reason code", &format!("E0: {number:02X}"), code);
                continue;
            };
            let packet = Packet::Disconnect(Disconnect { reason_code, properties: Properties::default() });
            good(V5, "reason code", &format!("E0: {number:02X} 00"), &packet);
            reads(V5, "reason code alone", &format!("E0: {number:02X}"), &packet);
        }
        let expiry = Disconnect {
            properties: properties([Property::SessionExpiryInterval(1)]),
            ..Disconnect::normal()
        };
        good(V5, "session expiry", "E0: 00 {11 00000001}", &Packet::Disconnect(expiry));
    }

    #[test]
    fn bad_packets_are_refused() {
        bad(V311, "with a body", "E0: 00", malformed("bytes behind the last field"));
        bad(V5, "too long", "E0: 00 00 00", malformed("bytes behind the last field"));
        bad(V5, "property length beyond the end", "E0: 00 01", cut());
        let foreign = malformed("a property is not allowed in this packet");
        bad(V5, "property of CONNECT", "E0: 00 {21 0001}", foreign);
        bad(V5, "flags", "E1:", malformed("the flags of the fixed header are reserved"));
    }

    #[test]
    fn what_the_standard_forbids_is_not_written() {
        let reason_code = ReasonCode::BadUserNameOrPassword;
        let wrong = Packet::Disconnect(Disconnect { reason_code, ..Disconnect::normal() });
        unwritable(V5, &wrong, EncodeError::Inconsistent("a reason code is not allowed in this packet"));
    }
}
