//! SUBACK: the server answers SUBSCRIBE (MQTT 5.0 section 3.9).

use bytes::{BufMut, BytesMut};

use super::{check_reason_code, read_reason_code};
use crate::property::PropertyOwner;
use crate::wire::Reader;
use crate::{DecodeError, EncodeError, PacketId, Properties, ProtocolVersion, ReasonCode};

/// The SUBACK packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// The Packet Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// The properties; empty in 3.1.1.
    pub properties: Properties,
    /// One Reason Code a Topic Filter, in their order `[MQTT-3.8.4-6]`. 3.1.1 sends every failure as 0x80.
    pub reason_codes: Vec<ReasonCode>,
}

impl SubAck {
    /// Whether SUBACK of this version may have this Reason Code (MQTT 5.0 table 3-8, 3.1.1 section 3.9.3).
    pub const fn allows(reason_code: ReasonCode, version: ProtocolVersion) -> bool {
        match reason_code {
            ReasonCode::Success | ReasonCode::GrantedQoS1 | ReasonCode::GrantedQoS2 => true,
            ReasonCode::UnspecifiedError => true,
            ReasonCode::ImplementationSpecificError
            | ReasonCode::NotAuthorized
            | ReasonCode::TopicFilterInvalid
            | ReasonCode::PacketIdentifierInUse
            | ReasonCode::QuotaExceeded
            | ReasonCode::SharedSubscriptionsNotSupported
            | ReasonCode::SubscriptionIdentifiersNotSupported
            | ReasonCode::WildcardSubscriptionsNotSupported => version.is_v5(),
            _ => false,
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<SubAck, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = match version {
            ProtocolVersion::V5 => Properties::read(reader, PropertyOwner::SubAck)?,
            ProtocolVersion::V311 => Properties::default(),
        };
        if reader.is_empty() {
            return Err(DecodeError::Protocol("SUBACK without a reason code"));
        }
        let mut reason_codes = Vec::with_capacity(reader.remaining());
        while !reader.is_empty() {
            reason_codes.push(read_reason_code(reader, |reason_code| SubAck::allows(reason_code, version))?);
        }
        Ok(SubAck { packet_id, properties, reason_codes })
    }

    pub(crate) fn body_len(&self, version: ProtocolVersion) -> usize {
        let properties_len = if version.is_v5() { self.properties.prefixed_len() } else { 0 };
        2 + properties_len + self.reason_codes.len()
    }

    pub(crate) fn write_body(
        &self,
        version: ProtocolVersion,
        buffer: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if self.reason_codes.is_empty() {
            return Err(EncodeError::Inconsistent("SUBACK without a reason code"));
        }
        buffer.put_u16(self.packet_id.get());
        if version.is_v5() {
            self.properties.write(buffer, PropertyOwner::SubAck)?;
        }
        for &reason_code in &self.reason_codes {
            check_reason_code(SubAck::allows(reason_code, ProtocolVersion::V5))?;
            let known = SubAck::allows(reason_code, version);
            buffer.put_u8(if known { reason_code } else { ReasonCode::UnspecifiedError }.as_u8());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Property;
    use crate::packet::Packet;
    use crate::packet::table::{V5, V311, bad, cut, good, packet_id, properties, protocol, unwritable};

    fn row(properties: Properties, reason_codes: Vec<ReasonCode>) -> Packet {
        Packet::SubAck(SubAck { packet_id: packet_id(10), properties, reason_codes })
    }

    #[test]
    fn good_packets_are_read_and_written() {
        let codes = vec![
            ReasonCode::Success,
            ReasonCode::GrantedQoS1,
            ReasonCode::GrantedQoS2,
            ReasonCode::UnspecifiedError,
        ];
        good(V311, "all four", "90: 000A 00 01 02 80", &row(Properties::default(), codes.clone()));
        good(V5, "four", "90: 000A 00 00 01 02 80", &row(Properties::default(), codes));
        let user = properties([Property::UserProperty("k".into(), "v".into())]);
        let refused = vec![ReasonCode::NotAuthorized];
        good(V5, "a user property", "90: 000A {26 <k> <v>} 87", &row(user, refused));
    }

    #[test]
    fn every_failure_is_0x80_in_3_1_1() {
        let refused = row(Properties::default(), vec![ReasonCode::NotAuthorized, ReasonCode::QuotaExceeded]);
        let mut buffer = BytesMut::new();
        crate::codec::encode(&refused, V311, &mut buffer).unwrap();
        assert_eq!(&buffer[..], [0x90, 4, 0, 10, 0x80, 0x80]);
    }

    #[test]
    fn bad_packets_are_refused() {
        let code = protocol("a reason code is not allowed in this packet");
        for (version, block) in [(V311, ""), (V5, "00")] {
            bad(version, "empty", "90:", cut());
            let nothing = protocol("SUBACK without a reason code");
            bad(version, "no reason code", &format!("90: 000A {block}"), nothing);
            bad(version, "code 3", &format!("90: 000A {block} 03"), code);
            let zero = protocol("the packet identifier is 0");
            bad(version, "identifier 0", &format!("90: 0000 {block} 00"), zero);
        }
        bad(V311, "code of 5.0", "90: 000A 87", code);
        bad(V5, "code of UNSUBACK", "90: 000A 00 11", code);
        bad(V5, "no property length", "90: 000A", cut());
    }

    #[test]
    fn what_the_standard_forbids_is_not_written() {
        let empty = row(Properties::default(), Vec::new());
        unwritable(V5, &empty, EncodeError::Inconsistent("SUBACK without a reason code"));
        let wrong = row(Properties::default(), vec![ReasonCode::ServerBusy]);
        for version in [V311, V5] {
            let error = EncodeError::Inconsistent("a reason code is not allowed in this packet");
            unwritable(version, &wrong, error);
        }
    }
}
