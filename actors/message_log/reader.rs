//! A reader of the log: its position, its cursor, and the records between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};

use super::record::{self, Record};
use super::{MessageLog, Wants};

/// A reader's place in the log: what its cursor keeps is kept as long as the place lives, even while nobody
/// reads there.
pub struct LogPlace {
    log: Arc<MessageLog>,
    slot: usize,
    overflowed: Arc<AtomicU64>,
}

impl LogPlace {
    pub(super) fn new(log: Arc<MessageLog>, slot: usize, overflowed: Arc<AtomicU64>) -> LogPlace {
        LogPlace { log, slot, overflowed }
    }

    /// Changes what counts as lost; see [`MessageLog::place`].
    pub fn set_wants(&self, wants: Option<Wants>) {
        if let Some(place) = self.log.lock().readers[self.slot].as_mut() {
            place.wants = wants;
        }
    }

    /// How many records lie between the cursor and the end of the log.
    pub fn lag(&self) -> u64 {
        let inner = self.log.lock();
        let place = inner.readers[self.slot].as_ref();
        place.map_or(0, |place| inner.next_offset - place.cursor)
    }

    /// How many wanted records fell out of the head unread since the last call.
    pub fn take_overflowed(&self) -> u64 {
        self.overflowed.swap(0, Ordering::Relaxed)
    }

    /// A reader that goes on at the cursor. One place has one reader at a time.
    pub fn reader(self: &Arc<Self>) -> LogReader {
        let mut inner = self.log.lock();
        let mut position = 0;
        let mut cursor_byte = 0;
        if let Some(place) = &inner.readers[self.slot] {
            position = place.cursor;
            cursor_byte = inner.byte_at(position).unwrap_or(inner.appended_bytes);
        }
        if let Some(place) = inner.readers[self.slot].as_mut() {
            place.position = position;
            place.position_byte = cursor_byte;
            place.claimed = position;
        }
        drop(inner);
        LogReader {
            log: self.log.clone(),
            _place: self.clone(),
            slot: self.slot,
            position,
            current: Bytes::new(),
        }
    }
}

impl Drop for LogPlace {
    fn drop(&mut self) {
        let mut inner = self.log.lock();
        inner.readers[self.slot] = None;
        inner.trim();
        drop(inner);
        self.log.progress.notify_waiters();
    }
}

/// One reader. Its *position* is what it reads next; its *cursor* is the lowest offset that it still needs,
/// and the log keeps everything from there on, as far as its bound allows.
pub struct LogReader {
    log: Arc<MessageLog>,
    /// Keeps what the cursor keeps.
    _place: Arc<LogPlace>,
    slot: usize,
    /// The offset of the next record.
    position: u64,
    /// The rest of the segment that `position` lies in.
    current: Bytes,
}

impl LogReader {
    /// The next record and its offset, without going past it; `None` at the end of the log.
    pub fn peek(&mut self) -> Option<(u64, Record<'_>)> {
        if self.current.is_empty() && !self.fetch() {
            return None;
        }
        let (record, _) = record::decode(&self.current)?;
        Some((self.position, record))
    }

    /// Goes past the record that [`LogReader::peek`] showed.
    pub fn advance(&mut self) {
        if let Some((_, record_bytes)) = record::decode(&self.current) {
            self.current.advance(record_bytes);
            self.position += 1;
            if self.current.is_empty() {
                self.current = Bytes::new();
            }
        }
    }

    /// The offset that is read next.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Tells the log what is still needed: everything from `cursor` on. Publishers that wait are told.
    pub fn publish(&mut self, cursor: u64) {
        let mut inner = self.log.lock();
        let (appended_bytes, unread) = (inner.appended_bytes, self.current.len() as u64);
        let caught_up_bytes = self.log.room_bytes() / 4;
        let position_byte = inner.byte_of(self.position, unread);
        if let Some(place) = inner.readers[self.slot].as_mut() {
            place.cursor = place.cursor.max(cursor);
            if self.position >= place.position {
                place.position = self.position;
                place.position_byte = position_byte;
            }
            if place.connected && appended_bytes - place.position_byte <= caught_up_bytes {
                place.awaited = true;
            }
        }
        inner.trim();
        drop(inner);
        self.log.progress.notify_waiters();
    }

    /// Says whether publishers may have to wait for this reader: only while its broker is connected.
    pub fn set_connected(&mut self, connected: bool) {
        let mut inner = self.log.lock();
        if let Some(place) = inner.readers[self.slot].as_mut() {
            place.connected = connected;
            place.awaited = false;
        }
        drop(inner);
        self.log.progress.notify_waiters();
    }

    /// Calls `visit` with the record at `offset`, if the log still has it.
    pub fn visit<R>(&self, offset: u64, visit: impl FnOnce(Record<'_>) -> R) -> Option<R> {
        let mut inner = self.log.lock();
        let segment = inner.segment_at(offset)?;
        let (first_offset, bytes) = (segment.first_offset, segment.bytes.clone());
        drop(inner);
        let mut rest = &bytes[..];
        for _ in first_offset..offset {
            let (_, record_bytes) = record::decode(rest)?;
            rest = &rest[record_bytes..];
        }
        if first_offset > offset {
            return None;
        }
        record::decode(rest).map(|(record, _)| visit(record))
    }

    /// Loads the segment at the position, or the oldest one there is where that is gone.
    fn fetch(&mut self) -> bool {
        let mut inner = self.log.lock();
        if let Some(place) = &inner.readers[self.slot] {
            // Segments that were evicted are counted by the log, which also moved the place past them.
            self.position = self.position.max(place.position);
        }
        let Some(segment) = inner.segment_at(self.position) else { return false };
        let (first_offset, end, bytes) =
            (segment.first_offset, segment.first_offset + segment.records, segment.bytes.clone());
        if let Some(place) = inner.readers[self.slot].as_mut() {
            place.claimed = end;
        }
        drop(inner);
        self.current = bytes;
        for _ in first_offset..self.position {
            let Some((_, record_bytes)) = record::decode(&self.current) else { return false };
            self.current.advance(record_bytes);
        }
        self.position = self.position.max(first_offset);
        !self.current.is_empty()
    }
}

impl super::Inner {
    /// How many bytes lie before the record at `offset`; `None` where it is not in the head.
    fn byte_at(&mut self, offset: u64) -> Option<u64> {
        let segment = self.segment_at(offset)?;
        let (first_offset, bytes) = (segment.first_offset, segment.bytes.clone());
        let mut rest = &bytes[..];
        for _ in first_offset..offset {
            let (_, record_bytes) = record::decode(rest)?;
            rest = &rest[record_bytes..];
        }
        Some(self.byte_of(offset, rest.len() as u64))
    }

    /// How many bytes lie before `position`, of whose segment `unread` bytes are left to read.
    fn byte_of(&self, position: u64, unread: u64) -> u64 {
        let index =
            self.segments.partition_point(|segment| segment.first_offset + segment.records <= position);
        match self.segments.get(index) {
            Some(segment) if unread > 0 => segment.first_byte + segment.bytes.len() as u64 - unread,
            Some(segment) => segment.first_byte,
            None => self.appended_bytes - self.tail.len() as u64,
        }
    }
}
