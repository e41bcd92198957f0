//! What stands at the start of each file of the log, and how the files are named.

/// The start of a segment's file. Little-endian; every later version keeps these bytes:
///
/// ```text
///  0  magic, 8 bytes
///  8  version u32
/// 12  checksum u32     CRC-32C of all the other bytes
/// 16  creation u64     microseconds since the Unix epoch
/// 24  first offset u64 the one that the file is named by
/// 32  previous u64     what the segment before was named by when this one was made; all ones without one
/// ```
pub const HEADER_BYTES: u64 = 40;
const HEADER: usize = HEADER_BYTES as usize;
const MAGIC: [u8; 8] = *b"mqttplog";

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

const NO_PREVIOUS: u64 = u64::MAX;

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// When the file was made, in microseconds since the Unix epoch.
    pub created_at_micros: u64,
    /// The offset that the file is named by.
    pub first_offset: u64,
    /// What the segment before was named by.
    pub previous: Option<u64>,
}

/// What the start of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderRead {
    /// A header that can be trusted.
    Good(Header),
    /// Written by another version of mqtt-proxy.
    UnknownVersion(u32),
    /// Damaged, or not all there.
    Broken,
}

impl Header {
    /// The header as it stands in the file.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.created_at_micros.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous.unwrap_or(NO_PREVIOUS).to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the start of a file.
    pub fn decode(bytes: &[u8]) -> HeaderRead {
        let Some(bytes) = bytes.first_chunk::<HEADER>() else { return HeaderRead::Broken };
        if bytes[..8] != MAGIC || u32_at(bytes, 12) != checksum(bytes) {
            return HeaderRead::Broken;
        }
        match u32_at(bytes, 8) {
            VERSION => HeaderRead::Good(Header {
                created_at_micros: u64_at(bytes, 16),
                first_offset: u64_at(bytes, 24),
                previous: Some(u64_at(bytes, 32)).filter(|previous| *previous != NO_PREVIOUS),
            }),
            version => HeaderRead::UnknownVersion(version),
        }
    }
}

fn checksum(bytes: &[u8; HEADER]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

/// The number at `place`; 0 where the bytes do not reach that far.
pub(super) fn u32_at(bytes: &[u8], place: usize) -> u32 {
    let number = bytes.get(place..).and_then(|rest| rest.first_chunk());
    number.map_or(0, |number| u32::from_le_bytes(*number))
}

/// The number at `place`; 0 where the bytes do not reach that far.
pub(super) fn u64_at(bytes: &[u8], place: usize) -> u64 {
    let number = bytes.get(place..).and_then(|rest| rest.first_chunk());
    number.map_or(0, |number| u64::from_le_bytes(*number))
}

const LOG_ENDING: &str = ".log";
const INDEX_ENDING: &str = ".index";
const NAME_DIGITS: usize = 20;

/// A file that is being written and has no place in the log yet.
pub(super) const UNFINISHED_NAME: &str = "unfinished.new";

/// The name of the segment whose first record has this offset.
pub fn log_name(first_offset: u64) -> String {
    format!("{first_offset:0NAME_DIGITS$}{LOG_ENDING}")
}

/// The name of the index beside that segment.
pub fn index_name(first_offset: u64) -> String {
    format!("{first_offset:0NAME_DIGITS$}{INDEX_ENDING}")
}

/// The offset that a segment is named by; `None` for other files.
pub fn parse_log_name(name: &str) -> Option<u64> {
    parse(name.strip_suffix(LOG_ENDING)?)
}

/// The offset that an index is named by; `None` for other files.
pub fn parse_index_name(name: &str) -> Option<u64> {
    parse(name.strip_suffix(INDEX_ENDING)?)
}

fn parse(digits: &str) -> Option<u64> {
    let is_ours = digits.len() == NAME_DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    if is_ours { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_any_flipped_bit_is_noticed() {
        let header = Header { created_at_micros: 7, first_offset: 42, previous: Some(3) };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), HeaderRead::Good(header));
        for bit in 0..HEADER * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&damaged), HeaderRead::Broken, "bit {bit}");
        }
        assert_eq!(Header::decode(&bytes[..HEADER - 1]), HeaderRead::Broken);
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = Header { created_at_micros: 7, first_offset: 42, previous: None }.encode();
        bytes[8] = 2;
        let checksum = checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Header::decode(&bytes), HeaderRead::UnknownVersion(2));
    }

    #[test]
    fn names_are_read_back_and_others_are_none_of_ours() {
        assert_eq!(log_name(42), "00000000000000000042.log");
        for offset in [0, 42, u64::MAX] {
            assert_eq!(parse_log_name(&log_name(offset)), Some(offset));
            assert_eq!(parse_index_name(&index_name(offset)), Some(offset));
        }
        for name in
            ["42.log", "lock", "+0000000000000000042.log", "99999999999999999999.log", UNFINISHED_NAME]
        {
            assert_eq!(parse_log_name(name), None, "{name}");
        }
    }
}
