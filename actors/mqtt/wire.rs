//! The data representations of the wire (MQTT 5.0 section 1.5): integers, strings, binary data. Readers hand
//! out slices of the packet and copy nothing.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::{DecodeError, EncodeError, PacketId};

/// The greatest value of a Variable Byte Integer (MQTT 5.0 table 1-1).
pub const VARIABLE_BYTE_INTEGER_MAX: usize = 268_435_455;

const CUT: DecodeError = DecodeError::Malformed("the packet ends within a field");
const NOT_UTF_8: DecodeError = DecodeError::Malformed("a string is not UTF-8");
const HAS_NUL: DecodeError = DecodeError::Malformed("a string has U+0000");

/// Reads fields one after the other from a range of shared bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a Bytes,
    position: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// A reader of everything in `bytes`.
    pub fn new(bytes: &'a Bytes) -> Reader<'a> {
        Reader { bytes, position: 0, end: bytes.len() }
    }

    /// A reader of one range of `bytes`; what lies outside of `bytes` is cut off.
    pub fn of_range(bytes: &'a Bytes, range: Range<usize>) -> Reader<'a> {
        let end = range.end.min(bytes.len());
        Reader { bytes, position: range.start.min(end), end }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.position == self.end
    }

    /// Fails where something is left: a packet is exactly as long as its Remaining Length says.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::Malformed("bytes behind the last field")) }
    }

    fn advance(&mut self, len: usize) -> Result<Range<usize>, DecodeError> {
        if len > self.remaining() {
            return Err(CUT);
        }
        let start = self.position;
        self.position += len;
        Ok(start..self.position)
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], DecodeError> {
        let range = self.advance(LEN)?;
        self.bytes[range].try_into().map_err(|_| CUT)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// A Two Byte Integer, big-endian.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A Four Byte Integer, big-endian.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A Packet Identifier, which is never 0 `[MQTT-2.2.1-3]`.
    pub fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::Protocol("the packet identifier is 0"))
    }

    /// A Variable Byte Integer of 1 to 4 bytes, not longer than its value needs `[MQTT-1.5.5-1]`.
    pub fn variable_byte_integer(&mut self) -> Result<usize, DecodeError> {
        match parse_variable_byte_integer(&self.bytes[self.position..self.end])? {
            Some((_, len)) if len > 1 && self.bytes[self.position + len - 1] == 0 => {
                Err(DecodeError::Malformed("a variable byte integer is longer than it needs to be"))
            }
            Some((value, len)) => {
                self.position += len;
                Ok(value)
            }
            None => Err(CUT),
        }
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let range = self.advance(len)?;
        Ok(self.bytes.slice(range))
    }

    /// Binary Data: a Two Byte Integer and as many bytes.
    pub fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// Where the next Binary Data lies, which is skipped.
    pub(crate) fn binary_range(&mut self) -> Result<Range<usize>, DecodeError> {
        let len = self.u16()?;
        self.advance(usize::from(len))
    }

    /// Where the next `len` bytes lie, which are skipped.
    pub(crate) fn take_range(&mut self, len: usize) -> Result<Range<usize>, DecodeError> {
        self.advance(len)
    }

    /// Where everything that is left lies.
    pub(crate) fn rest_range(&mut self) -> Range<usize> {
        let start = self.position;
        self.position = self.end;
        start..self.end
    }

    /// A UTF-8 Encoded String: well formed `[MQTT-1.5.4-1]` and without U+0000 `[MQTT-1.5.4-2]`.
    pub fn utf8_string(&mut self) -> Result<ByteString, DecodeError> {
        let bytes = self.binary()?;
        if bytes.contains(&0) {
            return Err(HAS_NUL);
        }
        ByteString::try_from(bytes).map_err(|_| NOT_UTF_8)
    }

    /// Binary Data that is borrowed: for checks that keep nothing.
    pub fn binary_borrowed(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        let range = self.advance(usize::from(len))?;
        Ok(&self.bytes[range])
    }

    /// A UTF-8 Encoded String that is borrowed: for checks that keep nothing.
    pub fn utf8_borrowed(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary_borrowed()?;
        if bytes.contains(&0) {
            return Err(HAS_NUL);
        }
        std::str::from_utf8(bytes).map_err(|_| NOT_UTF_8)
    }

    /// The bytes that the reader was made of.
    pub(crate) fn bytes(&self) -> &'a Bytes {
        self.bytes
    }

    /// Where the reader stands in the bytes that it was made of.
    pub fn position(&self) -> usize {
        self.position
    }
}

/// The Variable Byte Integer at the start of `bytes` and its length; `None` when more bytes are needed.
/// An integer that is longer than its value needs is let through, since 3.1.1 does not forbid it.
pub fn parse_variable_byte_integer(bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 {
        return Err(DecodeError::Malformed("a variable byte integer is longer than 4 bytes"));
    }
    Ok(None)
}

/// How many bytes a Variable Byte Integer takes; 4 also for a value that is too great for it.
pub const fn variable_byte_integer_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// The bytes of a Variable Byte Integer, of which the first [`variable_byte_integer_len`] count. The value
/// must not be above [`VARIABLE_BYTE_INTEGER_MAX`].
pub const fn variable_byte_integer_bytes(value: usize) -> [u8; 4] {
    debug_assert!(value <= VARIABLE_BYTE_INTEGER_MAX);
    let groups = [value & 0x7F, (value >> 7) & 0x7F, (value >> 14) & 0x7F, (value >> 21) & 0x7F];
    match variable_byte_integer_len(value) {
        1 => [groups[0] as u8, 0, 0, 0],
        2 => [groups[0] as u8 | 0x80, groups[1] as u8, 0, 0],
        3 => [groups[0] as u8 | 0x80, groups[1] as u8 | 0x80, groups[2] as u8, 0],
        _ => [groups[0] as u8 | 0x80, groups[1] as u8 | 0x80, groups[2] as u8 | 0x80, groups[3] as u8],
    }
}

/// Appends a Variable Byte Integer, which must not be above [`VARIABLE_BYTE_INTEGER_MAX`].
pub fn write_variable_byte_integer(buffer: &mut BytesMut, value: usize) {
    let len = variable_byte_integer_len(value);
    buffer.extend_from_slice(&variable_byte_integer_bytes(value)[..len]);
}

/// Appends Binary Data; `field` names it in the error.
pub fn write_binary(buffer: &mut BytesMut, bytes: &[u8], field: &'static str) -> Result<(), EncodeError> {
    let len = u16::try_from(bytes.len()).map_err(|_| EncodeError::FieldTooLong(field))?;
    buffer.put_u16(len);
    buffer.extend_from_slice(bytes);
    Ok(())
}

/// Appends a UTF-8 Encoded String; `field` names it in the error.
pub fn write_utf8_string(buffer: &mut BytesMut, text: &str, field: &'static str) -> Result<(), EncodeError> {
    if text.as_bytes().contains(&0) {
        return Err(EncodeError::Inconsistent("a string has U+0000"));
    }
    write_binary(buffer, text.as_bytes(), field)
}
