//! A reader's place in the log, which outlives its readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::head::Place;
use super::{LogReader, MessageLog, Wants};
use crate::store::LiveCursor;
use crate::timestamp::unix_micros;

/// A reader's place in the log: what its cursor keeps is kept as long as the place lives, even while nobody
/// reads there.
pub struct LogPlace {
    pub(super) log: Arc<MessageLog>,
    pub(super) slot: usize,
    overflowed: Arc<AtomicU64>,
    /// The lowest offset that the reader still needs, for who waits for it.
    pub(super) cursor: Arc<AtomicU64>,
}

/// How far a reader is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Messages between the cursor and the end of the log. What is not in memory any more is counted by its offsets,
    /// changes of state among them.
    pub messages: u64,
    /// Bytes of the log there, to within a few hundred KiB.
    pub bytes: u64,
}

/// How far a reader may fall behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// In bytes of the log; `None` leaves it to the bound of the whole log.
    pub bytes_max: Option<u64>,
    /// Whether the oldest records may be dropped then. If not, the log takes no more.
    pub may_lose: bool,
}

impl Default for Bound {
    fn default() -> Bound {
        Bound { bytes_max: None, may_lose: true }
    }
}

impl LogPlace {
    pub(super) fn new(
        log: Arc<MessageLog>,
        slot: usize,
        overflowed: Arc<AtomicU64>,
        cursor: Arc<AtomicU64>,
    ) -> LogPlace {
        LogPlace { log, slot, overflowed, cursor }
    }

    /// Changes what counts as lost; see [`MessageLog::place`].
    pub fn set_wants(&self, wants: Option<Wants>) {
        if let Some(place) = self.log.head().places[self.slot].as_mut() {
            place.wants = wants;
        }
    }

    /// How far the reader may fall behind.
    pub fn set_bound(&self, bound: Bound) {
        if let Some(place) = self.log.head().places[self.slot].as_mut() {
            place.bound = bound;
        }
    }

    /// The cursor is nobody's any more: it is not written down again.
    pub fn forget_broker(&self) {
        if let Some(place) = self.log.head().places[self.slot].as_mut() {
            place.broker = None;
        }
    }

    /// The lowest offset that the reader still needs.
    pub fn cursor(&self) -> u64 {
        self.cursor.load(Ordering::Acquire)
    }

    /// The same, for who waits for it longer than the place may last: it is at the end of time once the place is gone.
    pub fn shared_cursor(&self) -> Arc<AtomicU64> {
        self.cursor.clone()
    }

    /// The split of the cursor while a backlog waits behind live messages.
    pub fn live(&self) -> Option<LiveCursor> {
        self.log.head().places[self.slot].as_ref().and_then(|place| place.live)
    }

    /// How far the reader is behind.
    pub fn lag(&self) -> Lag {
        let mut head = self.log.head();
        let Some(place) = &head.places[self.slot] else { return Lag::default() };
        let cursor = place.cursor;
        let (messages, first) = (head.messages_from(cursor), head.first_offset());
        let in_memory = head.appended_bytes - head.byte_of(cursor.max(first), 0);
        drop(head);
        let in_files = match self.log.segments() {
            Some(segments) if cursor < first => segments.bytes_from(cursor),
            _ => 0,
        };
        Lag { messages, bytes: if messages == 0 { 0 } else { in_files.max(in_memory) } }
    }

    /// Messages between the cursor and `offset`, counted as [`Lag::messages`] is.
    pub fn messages_before(&self, offset: u64) -> u64 {
        let mut head = self.log.head();
        let Some(cursor) = head.places[self.slot].as_ref().map(|place| place.cursor) else { return 0 };
        if cursor >= offset { 0 } else { head.messages_from(cursor) - head.messages_from(offset) }
    }

    /// How many wanted records were lost unread since the last call.
    pub fn take_overflowed(&self) -> u64 {
        self.overflowed.swap(0, Ordering::Relaxed)
    }

    /// Goes on to `cursor`: what lies before it is not needed any more.
    pub fn advance_to(&self, cursor: u64) {
        self.log.give_up_before(self.slot, cursor, 0);
    }

    /// Counts wanted records that the reader will not get.
    pub(super) fn count_lost(&self, records: u64) {
        self.overflowed.fetch_add(records, Ordering::Relaxed);
    }

    /// A reader that goes on at the cursor. One place has one such reader at a time.
    pub fn reader(self: &Arc<Self>) -> LogReader {
        let position = self.cursor();
        let mut head = self.log.head();
        let position_byte = head.chunk_at(position).map(|chunk| {
            let unread = chunk.bytes_from(position).len() as u64;
            chunk.first_byte + chunk.bytes.len() as u64 - unread
        });
        let position_byte = position_byte.unwrap_or(head.appended_bytes);
        if let Some(place) = head.places[self.slot].as_mut() {
            place.position = position;
            place.position_byte = position_byte;
            place.claimed = position;
        }
        drop(head);
        LogReader::first(self.clone(), position)
    }
}

impl Drop for LogPlace {
    fn drop(&mut self) {
        let mut head = self.log.head();
        let unsaved = head.places[self.slot].as_mut().and_then(Place::take_moved);
        let has_files = self.log.segments().is_some();
        match head.places[self.slot].as_mut().filter(|place| has_files && place.broker.is_some()) {
            // A broker that is to go on after a restart: what it needs stays in the files.
            Some(place) => place.leave(),
            None => head.places[self.slot] = None,
        }
        head.trim(self.log.watermarks.get(super::Mark::Stored));
        drop(head);
        if let Some(cursor) = unsaved {
            self.log.append_changes(&[cursor], unix_micros());
        }
        self.cursor.store(u64::MAX, Ordering::Release);
        self.log.watermarks.cursor_moved();
        self.log.progress.notify_waiters();
    }
}
