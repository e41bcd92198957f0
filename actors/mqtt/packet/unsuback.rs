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
        self.properties.write(buffer)?;
        for &reason_code in &self.reason_codes {
            check_reason_code(UnsubAck::allows(reason_code))?;
            buffer.put_u8(reason_code.as_u8());
        }
        Ok(())
    }
}
