//! UNSUBACK: the server answers UNSUBSCRIBE (MQTT 5.0 section 3.11).

use bytes::{BufMut, BytesMut};

use super::{check_reason_code, read_reason_code};
use crate::property::PropertyOwner;
use crate::wire::Reader;
use crate::{DecodeError, EncodeError, PacketId, Properties, ProtocolVersion, ReasonCode};

/// The UNSUBACK packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    /// The Packet Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// The properties; empty in 3.1.1.
    pub properties: Properties,
    /// One Reason Code a Topic Filter, in their order `[MQTT-3.11.3-1]`; 3.1.1 sends none.
    pub reason_codes: Vec<ReasonCode>,
}

impl UnsubAck {
    /// Whether UNSUBACK of 5.0 may have this Reason Code (MQTT 5.0 table 3-9).
    pub const fn allows(reason_code: ReasonCode) -> bool {
        matches!(
            reason_code,
            ReasonCode::Success
                | ReasonCode::NoSubscriptionExisted
                | ReasonCode::UnspecifiedError
                | ReasonCode::ImplementationSpecificError
                | ReasonCode::NotAuthorized
                | ReasonCode::TopicFilterInvalid
                | ReasonCode::PacketIdentifierInUse
        )
    }

    pub(crate) fn decode(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<UnsubAck, DecodeError> {
        let packet_id = reader.packet_id()?;
        if !version.is_v5() {
            reader.finish()?;
            return Ok(UnsubAck { packet_id, properties: Properties::default(), reason_codes: Vec::new() });
        }
        let properties = Properties::read(reader, PropertyOwner::UnsubAck)?;
        if reader.is_empty() {
            return Err(DecodeError::Protocol("UNSUBACK without a reason code"));
        }
        let mut reason_codes = Vec::with_capacity(reader.remaining());
        while !reader.is_empty() {
            reason_codes.push(read_reason_code(reader, UnsubAck::allows)?);
        }
        Ok(UnsubAck { packet_id, properties, reason_codes })
    }

    pub(crate) fn body_len(&self, version: ProtocolVersion) -> usize {
        match version {
            ProtocolVersion::V5 => 2 + self.properties.prefixed_len() + self.reason_codes.len(),
            ProtocolVersion::V311 => 2,
        }
    }

    pub(crate) fn write_body(
        &self,
        version: ProtocolVersion,
        buffer: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        buffer.put_u16(self.packet_id.get());
        if !version.is_v5() {
            return Ok(());
        }
        if self.reason_codes.is_empty() {
            return Err(EncodeError::Inconsistent("UNSUBACK without a reason code"));
        }
        self.properties.write(buffer, PropertyOwner::UnsubAck)?;
        for &reason_code in &self.reason_codes {
            check_reason_code(UnsubAck::allows(reason_code))?;
            buffer.put_u8(reason_code.as_u8());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Property;
    use crate::packet::Packet;
    use crate::packet::table::{
        V5, V311, bad, cut, good, malformed, packet_id, properties, protocol, unwritable,
    };

    fn row(properties: Properties, reason_codes: Vec<ReasonCode>) -> Packet {
        Packet::UnsubAck(UnsubAck { packet_id: packet_id(10), properties, reason_codes })
    }

    #[test]
    fn good_packets_are_read_and_written() {
        good(V311, "no codes", "B0: 000A", &row(Properties::default(), Vec::new()));
        let codes = vec![ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
        good(V5, "two codes", "B0: 000A 00 00 11", &row(Properties::default(), codes));
        let why = properties([Property::ReasonString("w".into())]);
        good(V5, "a reason", "B0: 000A {1F <w>} 87", &row(why, vec![ReasonCode::NotAuthorized]));
    }

    #[test]
    fn bad_packets_are_refused() {
        for version in [V311, V5] {
            bad(version, "empty", "B0:", cut());
            bad(version, "identifier 0", "B0: 0000 00 00", protocol("the packet identifier is 0"));
        }
        bad(V311, "codes", "B0: 000A 00", malformed("bytes behind the last field"));
        bad(V5, "no property length", "B0: 000A", cut());
        bad(V5, "no code", "B0: 000A 00", protocol("UNSUBACK without a reason code"));
        let code = protocol("a reason code is not allowed in this packet");
        bad(V5, "code of SUBACK", "B0: 000A 00 01", code);
    }

    #[test]
    fn what_the_standard_forbids_is_not_written() {
        let empty = row(Properties::default(), Vec::new());
        unwritable(V5, &empty, EncodeError::Inconsistent("UNSUBACK without a reason code"));
    }
}
