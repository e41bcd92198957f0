//! Byte tables: a notation for packets, and what each row of a table must hold.
//!
//! `30: <a/b> 12 'hi' {01 00}` is the first byte, the Remaining Length (computed), a UTF-8 Encoded String, a
//! byte in hexadecimal, two bytes of ASCII, and a block with a Variable Byte Integer in front.

use bytes::BytesMut;

use crate::codec::{DecodeLimits, decode, decode_all, encode, encoded_len};
use crate::wire::write_variable_byte_integer;
use crate::{DecodeError, EncodeError, Packet, PacketId, Properties, Property, ProtocolVersion};

pub(crate) const V311: ProtocolVersion = ProtocolVersion::V311;
pub(crate) const V5: ProtocolVersion = ProtocolVersion::V5;

const CUT: DecodeError = DecodeError::Malformed("the packet ends within a field");

pub(crate) fn malformed(what: &'static str) -> DecodeError {
    DecodeError::Malformed(what)
}

pub(crate) fn protocol(what: &'static str) -> DecodeError {
    DecodeError::Protocol(what)
}

pub(crate) fn cut() -> DecodeError {
    CUT
}

pub(crate) fn packet_id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub(crate) fn properties(properties: impl IntoIterator<Item = Property>) -> Properties {
    Properties::from_properties(properties).unwrap()
}

pub(crate) fn bytes(notation: &str) -> Vec<u8> {
    let (first, body) = notation.split_once(':').unwrap();
    let body = fields(&mut body.chars(), None);
    let mut packet = BytesMut::from(&[u8::from_str_radix(first, 16).unwrap()][..]);
    write_variable_byte_integer(&mut packet, body.len());
    packet.extend_from_slice(&body);
    packet.to_vec()
}

pub(crate) fn fields(chars: &mut std::str::Chars<'_>, until: Option<char>) -> Vec<u8> {
    let mut fields = Vec::new();
    while let Some(char) = chars.next() {
        match char {
            ' ' => {}
            '\'' => fields.extend(chars.by_ref().take_while(|char| *char != '\'').map(|char| char as u8)),
            '<' => {
                let text: String = chars.by_ref().take_while(|char| *char != '>').collect();
                fields.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
                fields.extend(text.as_bytes());
            }
            '{' => {
                let block = fields_of_block(chars);
                let mut len = BytesMut::new();
                write_variable_byte_integer(&mut len, block.len());
                fields.extend(len);
                fields.extend(block);
            }
            end if Some(end) == until => return fields,
            high => {
                let low = chars.next().unwrap();
                fields.push(u8::from_str_radix(&format!("{high}{low}"), 16).unwrap());
            }
        }
    }
    assert_eq!(until, None, "a block has no end");
    fields
}

fn fields_of_block(chars: &mut std::str::Chars<'_>) -> Vec<u8> {
    fields(chars, Some('}'))
}

fn decode_one(bytes: &[u8], version: ProtocolVersion) -> Result<Option<Packet>, DecodeError> {
    let mut buffer = BytesMut::from(bytes);
    // A packet behind it must not be touched.
    buffer.extend_from_slice(&[0xD0, 0x00]);
    let decoded = decode(&mut buffer, version, &DecodeLimits::default());
    if decoded.is_ok() {
        assert_eq!(&buffer[..], [0xD0, 0x00], "exactly one packet is consumed");
    }
    decoded
}

/// The row reads as `packet` and `packet` is written as the row.
pub(crate) fn good(version: ProtocolVersion, name: &str, notation: &str, packet: &Packet) {
    reads(version, name, notation, packet);
    let expected = bytes(notation);
    let mut buffer = BytesMut::from(&b"before"[..]);
    encode(packet, version, &mut buffer).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(&buffer[6..], &expected[..], "{name}: written");
    assert_eq!(encoded_len(packet, version), expected.len(), "{name}: length");
}

/// The row reads as `packet`, though `packet` may be written in another way; each cut of it is incomplete.
pub(crate) fn reads(version: ProtocolVersion, name: &str, notation: &str, packet: &Packet) {
    let encoded = bytes(notation);
    match decode_one(&encoded, version) {
        Ok(Some(decoded)) => assert_eq!(&decoded, packet, "{name}: read"),
        other => panic!("{name}: {other:?}"),
    }
    for cut in 0..encoded.len() {
        let mut buffer = BytesMut::from(&encoded[..cut]);
        let decoded = decode(&mut buffer, version, &DecodeLimits::default());
        assert_eq!(decoded, Ok(None), "{name}: cut at {cut}");
        assert_eq!(buffer.len(), cut, "{name}: an incomplete packet stays in the buffer");
    }
}

/// The row is refused, alone and among others, with exactly this error.
pub(crate) fn bad(version: ProtocolVersion, name: &str, notation: &str, error: DecodeError) {
    let encoded = bytes(notation);
    assert_eq!(decode_one(&encoded, version), Err(error), "{name}");
    let mut buffer = BytesMut::from(&[0xC0, 0x00][..]);
    buffer.extend_from_slice(&encoded);
    let mut packets = Vec::new();
    let decoded = decode_all(&mut buffer, version, &DecodeLimits::default(), &mut packets);
    assert_eq!(decoded, Err(error), "{name} among others");
    assert_eq!(packets, [Packet::PingReq], "{name}: the packet before it is still read");
}

/// The packet is not written, and the buffer stays as it was.
pub(crate) fn unwritable(version: ProtocolVersion, packet: &Packet, error: EncodeError) {
    let mut buffer = BytesMut::from(&b"before"[..]);
    assert_eq!(encode(packet, version, &mut buffer), Err(error), "{packet:?}");
    assert_eq!(&buffer[..], b"before", "{packet:?}");
}
