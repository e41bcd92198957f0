//! Goes over the records in a file that may be damaged anywhere: what is whole is found, once and in order, and
//! what is not is named.

use std::io;

use bytes::Bytes;

use super::disk::{DiskFile, read_full};
use super::header::{u32_at, u64_at};
use crate::message_log::record;

/// How much of a file is looked at in one go.
const WINDOW_BYTES: usize = 256 * 1024;

/// A record that claims to be longer than this has its checksum looked at before it gets memory.
const LARGE_BYTES: usize = 1024 * 1024;

/// How far the next offset may lie ahead behind a damaged place. More never passed without a record on disk, and nearly
/// all that only looks like a record there is told by it without its checksum.
const OFFSET_JUMP_MAX: u64 = 1 << 48;

/// The offsets that a record may have at some place of a file: not below `floor`, and below `bound`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Behind the last record that was good.
    pub floor: u64,
    /// Where the next segment begins.
    pub bound: u64,
}

/// A record that is whole and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its bytes.
    pub length: usize,
    /// Its place in the log.
    pub offset: u64,
    /// When it was received.
    pub received_at_micros: u64,
}

/// What stands at a place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole record.
    Good(Seen),
    /// A whole record that the next segment has too: the rest of this file does not count.
    Overtaken,
    /// It takes this many bytes to say.
    Needs(usize),
    /// No record that could stand here.
    Bad,
}

/// What stands at the start of `bytes`, where the file has `room` bytes from there on.
pub fn record_at(bytes: &[u8], room: u64, allowed: &Allowed) -> Found {
    if room < record::HEADER_BYTES as u64 {
        return Found::Bad;
    }
    let (Some(length), Some(offset)) = (record::claimed_len(bytes), record::claimed_offset(bytes)) else {
        return Found::Needs(record::HEADER_BYTES);
    };
    if length < record::HEADER_BYTES || length as u64 > room || offset < allowed.floor {
        return Found::Bad;
    }
    let Some(whole) = bytes.get(..length) else { return Found::Needs(length) };
    if !record::is_intact(whole) {
        return Found::Bad;
    }
    match record::decode(whole) {
        Some(_) if offset >= allowed.bound => Found::Overtaken,
        Some((record, _)) => {
            Found::Good(Seen { length, offset, received_at_micros: record.received_at_micros })
        }
        None => Found::Bad,
    }
}

/// One step over a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A record, and where it starts.
    Record(Seen, u64),
    /// A stretch without a record that could be read: where it starts and ends.
    Corrupt(u64, u64),
    /// Nothing more.
    End,
}

/// A way over a file from one record to the next.
pub struct Walk<'a> {
    file: &'a dyn DiskFile,
    /// Where the next step starts.
    pub position: u64,
    limit: u64,
    allowed: Allowed,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Walk<'a> {
    /// A way from `position` up to `limit`.
    pub fn new(file: &'a dyn DiskFile, position: u64, limit: u64, allowed: Allowed) -> Walk<'a> {
        Walk { file, position, limit, allowed, window: Vec::new(), window_start: 0 }
    }

    /// Goes one step.
    pub fn step(&mut self) -> io::Result<Step> {
        if self.position >= self.limit {
            return Ok(Step::End);
        }
        let start = self.position;
        match self.found_at(start)? {
            Found::Good(seen) => {
                self.position = start + seen.length as u64;
                self.allowed.floor = seen.offset + 1;
                Ok(Step::Record(seen, start))
            }
            Found::Overtaken => {
                self.position = self.limit;
                Ok(Step::End)
            }
            Found::Needs(_) | Found::Bad => {
                self.position = self.next_good(start + 1)?;
                Ok(Step::Corrupt(start, self.position))
            }
        }
    }

    /// The bytes of the record of the last step, without a copy.
    pub fn into_record(self, seen: &Seen, position: u64) -> Bytes {
        let start = (position - self.window_start) as usize;
        Bytes::from(self.window).slice(start..start + seen.length)
    }

    /// The place of the first record from `position` on, found byte by byte; the limit if there is none. A claimed
    /// length is no short cut: where it is what was damaged, it may lead past records that are whole.
    fn next_good(&mut self, mut position: u64) -> io::Result<u64> {
        let header = record::HEADER_BYTES;
        while position + header as u64 <= self.limit {
            let (limit, allowed) = (self.limit, self.allowed);
            let bytes = self.bytes_at(position, header)?;
            let candidate = bytes
                .windows(header)
                .enumerate()
                .position(|(place, bytes)| may_be_record(bytes, limit - position - place as u64, &allowed));
            match candidate {
                None => position += (bytes.len() - header + 1) as u64,
                Some(place) => {
                    position += place as u64;
                    if matches!(self.found_at(position)?, Found::Good(_)) {
                        return Ok(position);
                    }
                    position += 1;
                }
            }
        }
        Ok(self.limit)
    }

    /// What stands at `position`, with as many bytes looked at as it takes.
    fn found_at(&mut self, position: u64) -> io::Result<Found> {
        let room = self.limit - position;
        let allowed = self.allowed;
        let mut needs = record::HEADER_BYTES;
        loop {
            match record_at(self.bytes_at(position, needs)?, room, &allowed) {
                Found::Needs(more) if more <= needs => return Ok(Found::Bad),
                Found::Needs(more) if more > LARGE_BYTES && !is_intact_at(self.file, position, more)? => {
                    return Ok(Found::Bad);
                }
                Found::Needs(more) => needs = more,
                found => return Ok(found),
            }
        }
    }

    /// The bytes from `position` on: `wanted` of them and often more, fewer at the limit only. Where the file turns
    /// out to be shorter than the limit says, there are zeros.
    fn bytes_at(&mut self, position: u64, wanted: usize) -> io::Result<&[u8]> {
        let room = usize::try_from(self.limit - position).unwrap_or(usize::MAX);
        let window_end = self.window_start + self.window.len() as u64;
        let is_held = position >= self.window_start && position + wanted.min(room) as u64 <= window_end;
        if !is_held {
            self.window.resize(wanted.max(WINDOW_BYTES).min(room), 0);
            self.window_start = position;
            let filled = match read_full(self.file, &mut self.window, position) {
                Ok(filled) => filled,
                Err(error) => {
                    self.window.clear();
                    return Err(error);
                }
            };
            self.window[filled..].fill(0);
        }
        Ok(&self.window[(position - self.window_start) as usize..])
    }
}

/// Whether a header looks like one of a record that could stand here. Cheap: asked at each byte of what is damaged.
fn may_be_record(header: &[u8], room: u64, allowed: &Allowed) -> bool {
    let length = u32_at(header, 4) as usize;
    let offset = u64_at(header, 8);
    length >= record::HEADER_BYTES
        && length as u64 <= room
        && offset >= allowed.floor
        && offset < allowed.bound
        && offset - allowed.floor < OFFSET_JUMP_MAX
}

/// Whether the `length` bytes at `position` have the checksum that they start with, found without holding them all.
pub fn is_intact_at(file: &dyn DiskFile, position: u64, length: usize) -> io::Result<bool> {
    let mut buffer = vec![0; WINDOW_BYTES.min(length)];
    let mut claimed = 0;
    let mut checksum = 0;
    let mut done = 0;
    while done < length {
        let wanted = buffer.len().min(length - done);
        let filled = read_full(file, &mut buffer[..wanted], position + done as u64)?;
        if filled < wanted {
            return Ok(false);
        }
        let signed = if done == 0 { 4 } else { 0 };
        if done == 0 {
            claimed = u32_at(&buffer, 0);
        }
        checksum = crc32c::crc32c_append(checksum, &buffer[signed..wanted]);
        done += wanted;
    }
    Ok(claimed == checksum)
}
