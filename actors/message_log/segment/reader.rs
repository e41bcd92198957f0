//! Reads the log's files in order, each reader at its own place.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Block;
use super::disk::{DiskFile, read_full};
use super::files::{Segment, SegmentFiles};
use super::header::{HEADER_BYTES, Header};
use super::walk::{Allowed, Found, Step, Walk, record_at};
use crate::message_log::record;

/// Where a reader stands in the files.
pub struct ReadCursor {
    /// Records before this offset are not wanted.
    next_offset: u64,
    /// `None` as long as there is no segment.
    place: Option<Place>,
}

/// A place in one segment.
pub(super) struct Place {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) position: u64,
    /// Behind the last record that was good.
    pub(super) floor: u64,
}

/// What came of a look at a place.
pub(super) enum Look {
    /// Records.
    Records(Block),
    /// So many damaged bytes were passed.
    Corrupt(u64),
    /// Nothing that is wanted, or the file has changed: look again.
    Again,
}

impl ReadCursor {
    /// The offset that reading goes on at, or with the first record behind it.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }
}

impl SegmentFiles {
    /// A cursor at the first record with an offset of at least `offset`, in what is written now or later.
    pub fn cursor_at(&self, offset: u64) -> io::Result<ReadCursor> {
        let place = self.enter(offset, None)?;
        Ok(ReadCursor { next_offset: offset, place })
    }

    /// The next whole, checked records of one file, about `bytes_max` of them; a record that is longer comes alone. No
    /// records at the end of what is written.
    pub fn read(&self, cursor: &mut ReadCursor, bytes_max: usize) -> io::Result<Block> {
        let mut corrupt_bytes = 0;
        loop {
            if !self.find_place(cursor)? {
                let offset = cursor.next_offset;
                return Ok(Block {
                    bytes: Bytes::new(),
                    first_offset: offset,
                    end_offset: offset,
                    corrupt_bytes,
                });
            }
            let Some(place) = &mut cursor.place else { continue };
            let limit = place.segment.written();
            // What lies beyond the end of all that is written is read behind `written`, so it is never too low.
            let bound = place.segment.bound().min(self.end_offset());
            match place.look(limit, bound, cursor.next_offset, bytes_max)? {
                Look::Records(block) => {
                    cursor.next_offset = block.end_offset;
                    return Ok(Block { corrupt_bytes, ..block });
                }
                Look::Corrupt(bytes) => corrupt_bytes += bytes,
                Look::Again => {}
            }
        }
    }

    /// Brings the cursor to a place with something to read; false if there is none.
    fn find_place(&self, cursor: &mut ReadCursor) -> io::Result<bool> {
        loop {
            let Some(place) = &cursor.place else {
                cursor.place = self.enter(cursor.next_offset, None)?;
                if cursor.place.is_none() {
                    return Ok(false);
                }
                continue;
            };
            let written = place.segment.written();
            if place.position < written {
                return Ok(true);
            }
            if place.position > written {
                // The file was cut, and what stood behind the cut stands in another one now.
                cursor.place = None;
                continue;
            }
            let next = self.enter(cursor.next_offset, Some(&place.segment))?;
            // The segment may have grown before the next one was made.
            let is_done = place.position == place.segment.written();
            match next {
                None if is_done => return Ok(false),
                Some(next) if is_done => cursor.place = Some(next),
                _ => {}
            }
        }
    }

    /// The place for `offset`, in a segment behind `left`.
    fn enter(&self, offset: u64, left: Option<&Arc<Segment>>) -> io::Result<Option<Place>> {
        let mut left = left.cloned();
        loop {
            let Some(segment) = self.segment_for(offset, left.as_ref()) else { return Ok(None) };
            match self.place_in(&segment, offset) {
                Ok(place) => return Ok(Some(place)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.report_missing(&segment);
                    left = Some(segment);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn report_missing(&self, segment: &Segment) {
        // What was removed on purpose is no loss; another process may have done it if this one only reads.
        if !self.read_only && !segment.is_removed.load(std::sync::atomic::Ordering::Acquire) {
            log::error!("{} is missing: the records in it are lost", segment.path.display());
        }
    }

    /// The segment with the record at `offset`, or the oldest behind it, but none that is not behind `left`.
    fn segment_for(&self, offset: u64, left: Option<&Arc<Segment>>) -> Option<Arc<Segment>> {
        let segments = self.segments();
        let by_offset = segments.partition_point(|segment| segment.first_offset <= offset).saturating_sub(1);
        let least = left.map_or(0, |left| {
            let place = segments.partition_point(|segment| segment.first_offset < left.first_offset);
            // Another one of that name has taken its place if it is not the same.
            let is_left = segments.get(place).is_some_and(|segment| Arc::ptr_eq(segment, left));
            if is_left { place + 1 } else { place }
        });
        segments.get(by_offset.max(least)).cloned()
    }

    fn place_in(&self, segment: &Arc<Segment>, offset: u64) -> io::Result<Place> {
        let file = segment.opened(&*self.disk)?;
        let header = segment.read_header(&*file)?;
        if let Some(header) = &header {
            self.report_gap(segment, header);
        }
        let start = if header.is_some() { HEADER_BYTES } else { 0 };
        let mark = self.start_for(segment, offset)?;
        let (position, floor) =
            mark.map_or((start, segment.first_offset), |mark| (mark.position, mark.offset));
        let position = position.min(segment.written());
        Ok(Place { segment: segment.clone(), file, position, floor })
    }

    /// Says so when the file before this one is missing.
    fn report_gap(&self, segment: &Segment, header: &Header) {
        if let Some(previous) = self.missing_before(header) {
            log::error!(
                "The file of the log before {}, from offset {previous} on, is missing: the records in it are lost",
                segment.path.display(),
            );
        }
    }

    /// What the file before this one is named by, if it is missing. What the oldest one followed was removed on purpose.
    pub(super) fn missing_before(&self, header: &Header) -> Option<u64> {
        let previous = header.previous?;
        let segments = self.segments();
        let oldest = segments.front().map_or(0, |oldest| oldest.first_offset);
        let is_there = segments.binary_search_by_key(&previous, |segment| segment.first_offset).is_ok();
        if previous > oldest && !is_there { Some(previous) } else { None }
    }
}

impl Place {
    /// Reads from here on, up to `limit`, records below `bound`, and leaves out those before `next_offset`.
    pub(super) fn look(
        &mut self,
        limit: u64,
        bound: u64,
        next_offset: u64,
        bytes_max: usize,
    ) -> io::Result<Look> {
        let room = limit.saturating_sub(self.position);
        let wanted = bytes_max.max(record::HEADER_BYTES).min(usize::try_from(room).unwrap_or(usize::MAX));
        let mut buffer = BytesMut::zeroed(wanted);
        let filled = read_full(&*self.file, &mut buffer, self.position);
        let filled = filled.map_err(|error| self.segment.explain(&error))?;
        if filled < wanted && self.segment.written() < limit {
            return Ok(Look::Again);
        }
        buffer.truncate(filled);
        let mut allowed = Allowed { floor: self.floor, bound };
        let (mut start, mut end, mut first_offset) = (0, 0, None);
        let stopped_at = loop {
            match record_at(&buffer[end..], room - end as u64, &allowed) {
                Found::Good(seen) => {
                    end += seen.length;
                    allowed.floor = seen.offset + 1;
                    if seen.offset < next_offset {
                        start = end;
                    } else if first_offset.is_none() {
                        first_offset = Some(seen.offset);
                    }
                }
                other => break other,
            }
        };
        self.position += end as u64;
        self.floor = allowed.floor;
        match first_offset {
            Some(first_offset) => {
                let bytes = buffer.split_to(end).freeze().slice(start..);
                Ok(Look::Records(Block { bytes, first_offset, end_offset: self.floor, corrupt_bytes: 0 }))
            }
            None if end > 0 => Ok(Look::Again),
            None if stopped_at == Found::Overtaken => {
                self.position = limit;
                Ok(Look::Again)
            }
            None => self.look_further(limit, bound, next_offset),
        }
    }

    /// What stands here is damaged, or longer than a usual read.
    fn look_further(&mut self, limit: u64, bound: u64, next_offset: u64) -> io::Result<Look> {
        let file = self.file.clone();
        let mut walk = Walk::new(&*file, self.position, limit, Allowed { floor: self.floor, bound });
        let step = walk.step().map_err(|error| self.segment.explain(&error))?;
        if self.segment.written() < limit {
            return Ok(Look::Again);
        }
        self.position = walk.position;
        match step {
            Step::Record(seen, position) => {
                self.floor = seen.offset + 1;
                if seen.offset < next_offset {
                    return Ok(Look::Again);
                }
                let bytes = walk.into_record(&seen, position);
                let (first_offset, end_offset) = (seen.offset, self.floor);
                Ok(Look::Records(Block { bytes, first_offset, end_offset, corrupt_bytes: 0 }))
            }
            Step::Corrupt(start, end) => {
                log::error!(
                    "{} is damaged: {} bytes from {start} on hold no whole record and are skipped",
                    self.segment.path.display(),
                    end - start,
                );
                Ok(Look::Corrupt(end - start))
            }
            Step::End => Ok(Look::Again),
        }
    }
}
