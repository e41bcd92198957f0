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

    #[inline(always)]
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
        let start = buffer.len();
        FixedHeader::write(buffer, kind.packet_type().first_byte(), body_len)?;
        let [high, low] = self.packet_id.get().to_be_bytes();
        buffer.extend_from_slice(&[high, low, self.reason_code.as_u8()]);
        if body_len == 3 {
            return Ok(());
        }
        let written = self.properties.write(buffer, kind.property_owner());
        if written.is_err() {
            buffer.truncate(start);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Property;
    use crate::packet::Packet;
    use crate::packet::table::{
        V5, V311, bad, cut, good, malformed, packet_id, properties, protocol, reads, unwritable,
    };

    type Row = (AcknowledgementKind, &'static str, fn(Acknowledgement) -> Packet);

    const ROWS: [Row; 4] = [
        (AcknowledgementKind::PubAck, "40", Packet::PubAck),
        (AcknowledgementKind::PubRec, "50", Packet::PubRec),
        (AcknowledgementKind::PubRel, "62", Packet::PubRel),
        (AcknowledgementKind::PubComp, "70", Packet::PubComp),
    ];

    #[test]
    fn good_packets_are_read_and_written() {
        for (kind, first, packet) in ROWS {
            let success = Acknowledgement::success(packet_id(0x1234));
            let row = |text: &str| format!("{first}: {text}");
            good(V311, "success", &row("1234"), &packet(success.clone()));
            good(V5, "success", &row("1234"), &packet(success.clone()));
            reads(V5, "success, said", &row("1234 00"), &packet(success.clone()));
            reads(V5, "success with a property length", &row("1234 00 00"), &packet(success.clone()));
            let why = properties([Property::ReasonString("why".into())]);
            let explained = Acknowledgement { properties: why, ..success.clone() };
            good(V5, "success with a property", &row("1234 00 {1F <why>}"), &packet(explained));
            for number in 1..=u8::MAX {
                let Some(reason_code) = ReasonCode::from_u8(number).filter(|code| kind.allows(*code)) else {
                    let code = protocol("a reason code is not allowed in this packet");
                    bad(V5, "reason code", &row(&format!("1234 {number:02X}")), code);
                    continue;
                };
                let failure = Acknowledgement { reason_code, ..success.clone() };
                good(V5, "reason code", &row(&format!("1234 {number:02X}")), &packet(failure.clone()));
                reads(V5, "with a length", &row(&format!("1234 {number:02X} 00")), &packet(failure));
            }
        }
    }

    #[test]
    fn bad_packets_are_refused() {
        for (_, first, _) in ROWS {
            let row = |text: &str| format!("{first}: {text}");
            for version in [V311, V5] {
                bad(version, "empty", &row(""), cut());
                bad(version, "half an identifier", &row("00"), cut());
                bad(version, "identifier 0", &row("0000"), protocol("the packet identifier is 0"));
            }
            let behind = malformed("bytes behind the last field");
            bad(V311, "too long", &row("1234 00"), behind);
            bad(V5, "too long", &row("1234 00 00 00"), behind);
            bad(V5, "property length beyond the end", &row("1234 00 05"), cut());
            let not_allowed = malformed("a property is not allowed in this packet");
            bad(V5, "property of PUBLISH", &row("1234 00 {23 0001}"), not_allowed);
            let twice = protocol("a property stands twice");
            bad(V5, "two reason strings", &row("1234 00 {1F <a> 1F <b>}"), twice);
        }
    }

    #[test]
    fn what_the_standard_forbids_is_not_written() {
        let success = Acknowledgement::success(packet_id(1));
        let wrong = Acknowledgement { reason_code: ReasonCode::ServerBusy, ..success.clone() };
        let foreign = Acknowledgement { properties: properties([Property::TopicAlias(1)]), ..success };
        for (_, _, packet) in ROWS {
            let code = EncodeError::Inconsistent("a reason code is not allowed in this packet");
            unwritable(V5, &packet(wrong.clone()), code);
            let property = EncodeError::Inconsistent("a property is not allowed in this packet");
            unwritable(V5, &packet(foreign.clone()), property);
        }
    }
}
