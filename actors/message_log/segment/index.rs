//! Where in a segment's file records of some offset or time are: one entry for each stretch of the file.

use super::header::{u32_at, u64_at};
use super::walk::Seen;

/// Two entries are at most this far apart, if no single record is longer.
pub const STRIDE_BYTES: u64 = 256 * 1024;

const MAGIC: [u8; 8] = *b"mqttpidx";
const VERSION: u32 = 1;
const HEADER: usize = 56;
const ENTRY: usize = 24;

/// A sparse index over one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    entries: Vec<Entry>,
    /// How many records there are.
    pub records: u64,
    /// The offset behind the last record; 0 without one.
    pub end_offset: u64,
    /// The latest time of any record.
    pub latest_at_micros: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    offset: u64,
    /// The latest time of all records up to and with this one. It never goes back, whatever the clock did, and the first
    /// record at or after some time is exactly the one where it reaches that time.
    latest_at_micros: u64,
    position: u64,
}

/// A place in a segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The offset of the record that starts there.
    pub offset: u64,
    /// Where that record starts.
    pub position: u64,
}

impl Index {
    /// Takes in the next record, which starts at `position`.
    pub fn note(&mut self, seen: &Seen, position: u64) {
        self.latest_at_micros = self.latest_at_micros.max(seen.received_at_micros);
        let end = position + seen.length as u64;
        if self.entries.last().is_none_or(|last| end > last.position + STRIDE_BYTES) {
            let latest_at_micros = self.latest_at_micros;
            self.entries.push(Entry { offset: seen.offset, latest_at_micros, position });
        }
        self.records += 1;
        self.end_offset = seen.offset + 1;
    }

    /// The last place known from which the record at `offset`, or the first one behind it, is found by going forward.
    pub fn before_offset(&self, offset: u64) -> Option<Mark> {
        let behind = self.entries.partition_point(|entry| entry.offset <= offset);
        self.mark(behind.saturating_sub(1))
    }

    /// The last place known from which the first record at or after a time is found by going forward.
    pub fn before_time(&self, at_micros: u64) -> Option<Mark> {
        let behind = self.entries.partition_point(|entry| entry.latest_at_micros < at_micros);
        self.mark(behind.saturating_sub(1))
    }

    /// The time of the first record.
    pub fn first_at_micros(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.latest_at_micros)
    }

    fn mark(&self, place: usize) -> Option<Mark> {
        self.entries.get(place).map(|entry| Mark { offset: entry.offset, position: entry.position })
    }

    /// The index as it stands in its file, beside a segment of `segment_bytes`.
    pub fn encode(&self, first_offset: u64, segment_bytes: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.entries.len() * ENTRY);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let numbers = [first_offset, segment_bytes, self.records, self.end_offset, self.latest_at_micros];
        let entries =
            self.entries.iter().flat_map(|entry| [entry.offset, entry.latest_at_micros, entry.position]);
        for number in numbers.into_iter().chain(entries) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes[16..]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads an index; `None` if it is broken, of another version, or does not belong to the segment as it is now.
    pub fn decode(bytes: &[u8], first_offset: u64, segment_bytes: u64) -> Option<Index> {
        let (header, entries) = bytes.split_at_checked(HEADER)?;
        let is_ours = header[..8] == MAGIC && u32_at(header, 8) == VERSION;
        let is_intact = u32_at(header, 12) == crc32c::crc32c(&bytes[16..]) && entries.len() % ENTRY == 0;
        let belongs = u64_at(header, 16) == first_offset && u64_at(header, 24) == segment_bytes;
        if !is_ours || !is_intact || !belongs {
            return None;
        }
        let entries = entries.chunks_exact(ENTRY).map(|entry| Entry {
            offset: u64_at(entry, 0),
            latest_at_micros: u64_at(entry, 8),
            position: u64_at(entry, 16),
        });
        Some(Index {
            entries: entries.collect(),
            records: u64_at(header, 32),
            end_offset: u64_at(header, 40),
            latest_at_micros: u64_at(header, 48),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(times: &[u64]) -> Index {
        let mut index = Index::default();
        for (place, time) in times.iter().enumerate() {
            let seen =
                Seen { length: STRIDE_BYTES as usize, offset: 10 * place as u64, received_at_micros: *time };
            index.note(&seen, place as u64 * STRIDE_BYTES);
        }
        index
    }

    #[test]
    fn an_index_comes_back_and_a_damaged_or_foreign_one_is_refused() {
        let index = index_of(&[5, 6, 4, 9]);
        let bytes = index.encode(3, 1_000);
        assert_eq!(Index::decode(&bytes, 3, 1_000), Some(index));
        assert_eq!(Index::decode(&bytes, 3, 1_001), None);
        assert_eq!(Index::decode(&bytes, 4, 1_000), None);
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            assert_eq!(Index::decode(&damaged, 3, 1_000), None, "byte {place}");
            assert_eq!(Index::decode(&bytes[..place], 3, 1_000), None, "cut at {place}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_does_not_hide_records() {
        let index = index_of(&[5, 9, 4, 9, 12]);
        let offset = |time| index.before_time(time).map(|mark| mark.offset);
        assert_eq!((offset(1), offset(5), offset(6), offset(9)), (Some(0), Some(0), Some(0), Some(0)));
        assert_eq!((offset(10), offset(12), offset(13)), (Some(30), Some(30), Some(40)));
    }

    #[test]
    fn entries_stand_no_further_apart_than_a_stride() {
        let mut index = Index::default();
        let length = 1_000;
        for place in 0..10_000u64 {
            index.note(&Seen { length, offset: place, received_at_micros: 0 }, place * length as u64);
        }
        let far = index.entries.windows(2).any(|pair| pair[1].position - pair[0].position > STRIDE_BYTES);
        assert!(!far && index.entries.len() < 45);
        assert!(index.before_offset(5_000).is_some_and(|mark| mark.offset <= 5_000 && mark.offset > 4_700));
    }
}
