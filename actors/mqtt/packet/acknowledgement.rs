//! PUBACK, PUBREC, PUBREL and PUBCOMP: four packets of one shape (MQTT 5.0 sections 3.4 to 3.7).

use bytes::BytesMut;

use super::{check_reason_code, read_reason_code};
use crate::fixed_header::{FixedHeader, PacketType};
use crate::property::PropertyOwner;
use crate::wire::{Reader, variable_byte_integer_len};
use crate::{DecodeError, EncodeError, PacketId, Properties, ProtocolVersion, ReasonCode};

/// What PUBACK, PUBREC, PUBREL and PUBCOMP carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The Packet Identifier of the PUBLISH that is acknowledged.
    pub packet_id: PacketId,
    /// The outcome; 3.1.1 knows success only and does not send it.
    pub reason_code: ReasonCode,
    /// The properties; empty in 3.1.1.
    pub properties: Properties,
}

/// Which of the four packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AcknowledgementKind {
    /// PUBACK.
    PubAck,
    /// PUBREC.
    PubRec,
    /// PUBREL.
    PubRel,
    /// PUBCOMP.
    PubComp,
}

impl AcknowledgementKind {
    /// The type of the packet.
    pub const fn packet_type(self) -> PacketType {
        match self {
            AcknowledgementKind::PubAck => PacketType::PubAck,
            AcknowledgementKind::PubRec => PacketType::PubRec,
            AcknowledgementKind::PubRel => PacketType::PubRel,
            AcknowledgementKind::PubComp => PacketType::PubComp,
        }
    }

    /// Whether the packet may have this Reason Code (MQTT 5.0 sections 3.4.2.1 to 3.7.2.1).
    pub const fn allows(self, reason_code: ReasonCode) -> bool {
        match self {
            AcknowledgementKind::PubAck | AcknowledgementKind::PubRec => matches!(
                reason_code,
                ReasonCode::Success
                    | ReasonCode::NoMatchingSubscribers
                    | ReasonCode::UnspecifiedError
                    | ReasonCode::ImplementationSpecificError
                    | ReasonCode::NotAuthorized
                    | ReasonCode::TopicNameInvalid
                    | ReasonCode::PacketIdentifierInUse
                    | ReasonCode::QuotaExceeded
                    | ReasonCode::PayloadFormatInvalid
            ),
            AcknowledgementKind::PubRel | AcknowledgementKind::PubComp => {
                matches!(reason_code, ReasonCode::Success | ReasonCode::PacketIdentifierNotFound)
            }
        }
    }

    const fn property_owner(self) -> PropertyOwner {
        match self {
            AcknowledgementKind::PubAck => PropertyOwner::PubAck,
            AcknowledgementKind::PubRec => PropertyOwner::PubRec,
            AcknowledgementKind::PubRel => PropertyOwner::PubRel,
            AcknowledgementKind::PubComp => PropertyOwner::PubComp,
        }
    }
}

/// Appends the four bytes of an acknowledgement that says success, which both versions write alike.
#[inline]
pub fn encode_success(buffer: &mut BytesMut, kind: AcknowledgementKind, packet_id: PacketId) {
    let [high, low] = packet_id.get().to_be_bytes();
    buffer.extend_from_slice(&[kind.packet_type().first_byte(), 2, high, low]);
}

impl Acknowledgement {
    /// The acknowledgement that says success and nothing else.
    pub fn success(packet_id: PacketId) -> Acknowledgement {
        Acknowledgement { packet_id, reason_code: ReasonCode::Success, properties: Properties::default() }
    }

    #[inline]
    pub(crate) fn decode(
        kind: AcknowledgementKind,
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Acknowledgement, DecodeError> {
        let packet_id = reader.packet_id()?;
        // Success may go without saying (MQTT 5.0 section 3.4.2.1).
        if reader.is_empty() {
            return Ok(Acknowledgement::success(packet_id));
        }
        if !version.is_v5() {
            return Err(DecodeError::Malformed("bytes behind the last field"));
        }
        let reason_code = read_reason_code(reader, |reason_code| kind.allows(reason_code))?;
        let properties = match reader.is_empty() {
            true => Properties::default(),
            false => Properties::read(reader, kind.property_owner())?,
        };
        reader.finish()?;
        Ok(Acknowledgement { packet_id, reason_code, properties })
    }

    fn body_len(&self, version: ProtocolVersion) -> usize {
        match (version, self.reason_code, self.properties.is_empty()) {
            (ProtocolVersion::V311, ..) | (_, ReasonCode::Success, true) => 2,
            (_, _, true) => 3,
            (_, _, false) => 3 + self.properties.prefixed_len(),
        }
    }

    pub(crate) fn encoded_len(&self, version: ProtocolVersion) -> usize {
        let body_len = self.body_len(version);
        1 + variable_byte_integer_len(body_len) + body_len
    }

    /// Appends the packet in its shortest form. The buffer is left as it was on an error.
    #[inline]
    pub fn encode(
        &self,
        kind: AcknowledgementKind,
        version: ProtocolVersion,
        buffer: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let body_len = self.body_len(version);
        if body_len == 2 {
            encode_success(buffer, kind, self.packet_id);
            return Ok(());
        }
        check_reason_code(kind.allows(self.reason_code))?;
        FixedHeader::write(buffer, kind.packet_type().first_byte(), body_len)?;
        let [high, low] = self.packet_id.get().to_be_bytes();
        buffer.extend_from_slice(&[high, low, self.reason_code.as_u8()]);
        if body_len > 3 {
            self.properties.write(buffer)?;
        }
        Ok(())
    }
}
