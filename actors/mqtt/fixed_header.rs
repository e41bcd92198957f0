//! The fixed header: packet type, flags and Remaining Length (MQTT 5.0 section 2.1).

use bytes::BytesMut;

use crate::wire::{
    VARIABLE_BYTE_INTEGER_MAX, parse_variable_byte_integer, variable_byte_integer_bytes,
    variable_byte_integer_len,
};
use crate::{DecodeError, EncodeError};

/// The type of a Control Packet (MQTT 5.0 table 2-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// Connection request.
    Connect = 1,
    /// Connect acknowledgment.
    ConnAck = 2,
    /// Publish message.
    Publish = 3,
    /// Publish acknowledgment (QoS 1).
    PubAck = 4,
    /// Publish received (QoS 2 delivery part 1).
    PubRec = 5,
    /// Publish release (QoS 2 delivery part 2).
    PubRel = 6,
    /// Publish complete (QoS 2 delivery part 3).
    PubComp = 7,
    /// Subscribe request.
    Subscribe = 8,
    /// Subscribe acknowledgment.
    SubAck = 9,
    /// Unsubscribe request.
    Unsubscribe = 10,
    /// Unsubscribe acknowledgment.
    UnsubAck = 11,
    /// PING request.
    PingReq = 12,
    /// PING response.
    PingResp = 13,
    /// Disconnect notification.
    Disconnect = 14,
    /// Authentication exchange, since 5.0.
    Auth = 15,
}

impl PacketType {
    /// The type with this number, or `None` for 0, which is reserved, and for what does not fit into 4 bits.
    pub const fn from_u8(number: u8) -> Option<PacketType> {
        Some(match number {
            1 => PacketType::Connect,
            2 => PacketType::ConnAck,
            3 => PacketType::Publish,
            4 => PacketType::PubAck,
            5 => PacketType::PubRec,
            6 => PacketType::PubRel,
            7 => PacketType::PubComp,
            8 => PacketType::Subscribe,
            9 => PacketType::SubAck,
            10 => PacketType::Unsubscribe,
            11 => PacketType::UnsubAck,
            12 => PacketType::PingReq,
            13 => PacketType::PingResp,
            14 => PacketType::Disconnect,
            15 => PacketType::Auth,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The flags that every packet of this type has (MQTT 5.0 table 2-2); `None` for PUBLISH, whose flags
    /// carry DUP, QoS and RETAIN.
    pub const fn reserved_flags(self) -> Option<u8> {
        match self {
            PacketType::Publish => None,
            PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => Some(0b0010),
            _ => Some(0),
        }
    }

    /// The first byte of a packet of this type; for PUBLISH the flags are still to be added.
    pub const fn first_byte(self) -> u8 {
        let flags = match self.reserved_flags() {
            Some(flags) => flags,
            None => 0,
        };
        self.as_u8() << 4 | flags
    }
}

/// What every Control Packet starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedHeader {
    /// The type of the packet.
    pub packet_type: PacketType,
    /// The lower four bits of the first byte.
    pub flags: u8,
    /// How many bytes follow the fixed header.
    pub remaining_length: usize,
}

impl FixedHeader {
    /// Reads the fixed header at the start of `bytes` and its length; `None` when more bytes are needed.
    ///
    /// A reserved flag that is not as the standard sets it is malformed `[MQTT-2.1.3-1]`, and so is a
    /// Remaining Length of more than four bytes. The body does not need to be there yet.
    pub fn parse(bytes: &[u8]) -> Result<Option<(FixedHeader, usize)>, DecodeError> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let Some(packet_type) = PacketType::from_u8(first >> 4) else {
            return Err(DecodeError::Malformed("the packet type is 0"));
        };
        let flags = first & 0x0F;
        if packet_type.reserved_flags().is_some_and(|reserved| reserved != flags) {
            return Err(DecodeError::Malformed("the flags of the fixed header are reserved"));
        }
        // Most packets are shorter than 128 bytes.
        if let Some(&byte) = rest.first()
            && byte < 0x80
        {
            return Ok(Some((FixedHeader { packet_type, flags, remaining_length: usize::from(byte) }, 2)));
        }
        let Some((remaining_length, len)) = parse_variable_byte_integer(rest)? else {
            return Ok(None);
        };
        Ok(Some((FixedHeader { packet_type, flags, remaining_length }, 1 + len)))
    }

    /// Appends the fixed header of a packet with this Remaining Length.
    pub(crate) fn write(
        buffer: &mut BytesMut,
        first_byte: u8,
        remaining_length: usize,
    ) -> Result<(), EncodeError> {
        if remaining_length > VARIABLE_BYTE_INTEGER_MAX {
            return Err(EncodeError::PacketTooLong);
        }
        let [a, b, c, d] = variable_byte_integer_bytes(remaining_length);
        let len = 1 + variable_byte_integer_len(remaining_length);
        buffer.extend_from_slice(&[first_byte, a, b, c, d][..len]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Option<(FixedHeader, usize)>, DecodeError> {
        FixedHeader::parse(bytes)
    }

    #[test]
    fn remaining_lengths_of_table_2_1_are_read_and_written() {
        let table: [(usize, &[u8]); 8] = [
            (0, &[0x00]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ];
        for (remaining_length, encoded) in table {
            let bytes = [&[0x30], encoded].concat();
            let header = FixedHeader { packet_type: PacketType::Publish, flags: 0, remaining_length };
            assert_eq!(parse(&bytes), Ok(Some((header, bytes.len()))));
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{remaining_length} cut at {cut}");
            }
            let mut buffer = BytesMut::new();
            FixedHeader::write(&mut buffer, 0x30, remaining_length).unwrap();
            assert_eq!(buffer, bytes);
        }
        let mut buffer = BytesMut::new();
        assert_eq!(FixedHeader::write(&mut buffer, 0x30, 268_435_456), Err(EncodeError::PacketTooLong));
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_fifth_byte_of_remaining_length_is_malformed() {
        let overlong = DecodeError::Malformed("a variable byte integer is longer than 4 bytes");
        assert_eq!(parse(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]), Err(overlong));
        assert_eq!(parse(&[0x30, 0x80, 0x80, 0x80, 0x80, 0x01]), Err(overlong));
    }

    #[test]
    fn reserved_flags_are_checked_for_every_type() {
        for first in 0..=u8::MAX {
            let good = match first >> 4 {
                0 => false,
                3 => true,
                6 | 8 | 10 => first & 0x0F == 2,
                _ => first & 0x0F == 0,
            };
            assert_eq!(parse(&[first, 0]).is_ok(), good, "first byte {first:#04x}");
            assert_eq!(parse(&[first]).is_ok(), good, "first byte {first:#04x} alone");
            if good && first >> 4 != 3 {
                assert_eq!(PacketType::from_u8(first >> 4).unwrap().first_byte(), first);
            }
        }
    }
}
