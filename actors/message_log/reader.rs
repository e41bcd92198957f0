//! A reader of the log: its position, its cursor, and the records between them, from memory or from files.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};

use super::backlog::{Ahead, Backlog};
use super::record::{self, Record};
use super::{LogPlace, MessageLog};
use crate::store::LiveCursor;

/// What a reader is to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// What it has not read is what the broker has not got.
    First,
    /// It reads beside the first one.
    Beside,
}

/// One reader. Its *position* is what it reads next; its *cursor* is the lowest offset that it still needs,
/// and the log keeps everything from there on, as far as its bounds allow.
pub struct LogReader {
    log: Arc<MessageLog>,
    /// Keeps what the cursor keeps.
    place: Arc<LogPlace>,
    slot: usize,
    rank: Rank,
    /// The offset of the next record, or one before it.
    position: u64,
    /// The rest of the chunk or block that `position` lies in.
    current: Bytes,
    /// The offset behind the last message that was passed.
    message_end: u64,
    /// What comes from files.
    backlog: Backlog,
    /// The block that was visited last: what is sent again comes in order.
    visited: Bytes,
}

impl LogReader {
    fn new(place: Arc<LogPlace>, position: u64, rank: Rank) -> LogReader {
        LogReader {
            log: place.log.clone(),
            slot: place.slot,
            place,
            rank,
            position,
            current: Bytes::new(),
            message_end: position,
            backlog: Backlog::default(),
            visited: Bytes::new(),
        }
    }

    /// The reader whose progress is that of the place.
    pub(super) fn first(place: Arc<LogPlace>, position: u64) -> LogReader {
        LogReader::new(place, position, Rank::First)
    }

    /// Another reader of the same place that goes its own way.
    pub fn beside(&self, position: u64) -> LogReader {
        LogReader::new(self.place.clone(), position, Rank::Beside)
    }

    /// Goes on where a reader beside this one is.
    pub fn follow(&mut self, other: LogReader) {
        let LogReader { position, current, message_end, backlog, .. } = other;
        self.position = position;
        self.current = current;
        self.message_end = message_end;
        self.backlog = backlog;
    }

    /// The next record and its offset, without going past it; `None` at the end of the log, and while a file is
    /// being read (see [`LogReader::poll_backlog`]).
    pub fn peek(&mut self) -> Option<(u64, Record<'_>)> {
        if self.rank == Rank::First && self.place.cursor() > self.position {
            self.drop_given_up();
        }
        if self.current.is_empty() && !self.fetch() {
            return None;
        }
        let (record, _) = record::decode(&self.current)?;
        Some((record.offset, record))
    }

    /// The next record that is a message; changes of state before it are passed.
    pub fn peek_message(&mut self) -> Option<(u64, Record<'_>)> {
        loop {
            match self.peek() {
                None => return None,
                Some((_, record)) if record.is_state => self.advance(),
                // A second look, because the borrow of the first one ends here: the record is in hand, so it is the same.
                Some(_) => return self.peek(),
            }
        }
    }

    /// Goes past the record that [`LogReader::peek`] showed.
    pub fn advance(&mut self) {
        let (Some(record_bytes), Some(offset)) =
            (record::claimed_len(&self.current), record::claimed_offset(&self.current))
        else {
            return;
        };
        self.position = offset + 1;
        if !record::is_state(&self.current) {
            self.message_end = self.position;
        }
        self.current.advance(record_bytes.min(self.current.len()));
        if self.current.is_empty() {
            self.current = Bytes::new();
        }
    }

    /// The log that is read.
    pub fn log(&self) -> &Arc<MessageLog> {
        &self.log
    }

    /// The offset that is read next.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether everything has been read.
    pub fn is_at_end(&mut self) -> bool {
        self.peek().is_none() && self.position >= self.log.next_offset()
    }

    /// Whether the next record comes from a file that is still being read; then the task is woken when it is there.
    pub fn poll_backlog(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.backlog.poll_read(task)
    }

    /// Tells the log what is still needed: everything from `cursor` on. Publishers that wait are told.
    pub fn publish(&mut self, cursor: u64, live: Option<LiveCursor>) {
        let mut head = self.log.head();
        let (appended_bytes, unread) = (head.appended_bytes, self.current.len() as u64);
        let caught_up_bytes = self.log.room_bytes() / 4;
        let position_byte = head.byte_of(self.position, unread);
        let (mut moved, mut is_worth_saving) = (false, false);
        if let Some(place) = head.places[self.slot].as_mut() {
            moved = cursor > place.cursor || live != place.live;
            place.cursor = place.cursor.max(cursor);
            let worth_saving = place.cursor.min(self.message_end);
            is_worth_saving = worth_saving > place.worth_saving || live != place.live;
            place.worth_saving = place.worth_saving.max(worth_saving);
            place.live = live;
            self.place.cursor.store(place.cursor, Ordering::Release);
            if self.position >= place.position {
                place.position = self.position;
                place.position_byte = position_byte;
            }
            if place.connected && appended_bytes - place.position_byte <= caught_up_bytes {
                place.awaited = true;
            }
        }
        if moved {
            head.trim(self.log.watermarks.get(super::Mark::Stored));
        }
        drop(head);
        self.log.progress.notify_waiters();
        if moved {
            self.log.watermarks.cursor_moved();
        }
        if is_worth_saving {
            self.log.note_cursor_moved();
        }
    }

    /// Says whether publishers may have to wait for this reader: only while its broker is connected.
    pub fn set_connected(&mut self, connected: bool) {
        let mut head = self.log.head();
        if let Some(place) = head.places[self.slot].as_mut() {
            place.connected = connected;
            place.awaited = false;
        }
        drop(head);
        self.log.progress.notify_waiters();
    }

    /// Calls `visit` with the record at `offset`, if the log still has it.
    pub fn visit<R>(&mut self, offset: u64, visit: impl FnOnce(Record<'_>) -> R) -> Option<R> {
        let rest = self.bytes_at(offset)?;
        let (record, _) = record::decode(&rest)?;
        (record.offset == offset).then(|| visit(record))
    }

    /// The bytes from the record at `offset` on, or of one behind it.
    fn bytes_at(&mut self, offset: u64) -> Option<Bytes> {
        let mut head = self.log.head();
        if offset >= head.first_offset() {
            return head.chunk_at(offset).map(|chunk| chunk.bytes_from(offset));
        }
        drop(head);
        let holds = |bytes: &Bytes| record::claimed_offset(bytes).is_some_and(|first| first <= offset);
        if holds(&self.visited) {
            let rest = from(&self.visited, offset);
            if !rest.is_empty() {
                return Some(rest);
            }
        }
        self.visited = super::backlog::read_now(self.log.segments()?, offset)?;
        Some(from(&self.visited, offset))
    }

    /// Loads the chunk or block at the position, or the oldest one there is where that is gone.
    fn fetch(&mut self) -> bool {
        let mut head = self.log.head();
        if let Some(place) = head.places[self.slot].as_ref().filter(|_| self.rank == Rank::First) {
            // What was given up, or lost out of memory, is behind us.
            self.position = self.position.max(place.cursor);
        }
        if self.position < head.first_offset() && self.log.files.is_some() {
            let first_in_memory = head.first_offset();
            drop(head);
            return self.fetch_from_files(first_in_memory);
        }
        let position = self.position;
        let Some(chunk) = head.chunk_at(position) else { return false };
        let (end, bytes) = (chunk.end_offset(), chunk.bytes_from(position));
        self.position = position.max(chunk.first_offset);
        drop(head);
        self.claim(end);
        self.backlog = Backlog::default();
        self.current = bytes;
        !self.current.is_empty()
    }

    /// Somebody moved the cursor on: what this reader holds before it is not sent any more. What of it stands in files
    /// has been counted as lost already.
    fn drop_given_up(&mut self) {
        let cursor = self.place.cursor();
        let kept = from(&self.current, cursor);
        let dropped = self.current.len() - kept.len();
        let (mut rest, mut lost) = (&self.current[..dropped], 0);
        while let Some((record, record_bytes)) = record::decode(rest) {
            let is_in_no_file = !record.is_state && !record::is_durable(rest);
            lost += u64::from(is_in_no_file && self.log.does_reader_want(self.slot, &record));
            rest = &rest[record_bytes..];
        }
        self.place.count_lost(lost);
        self.current = kept;
        self.position = cursor;
        if self.current.is_empty() {
            self.backlog = Backlog::default();
        }
    }

    /// What lies before `end` is in this reader's hands: it can no longer be lost.
    fn claim(&self, end: u64) {
        if let Some(place) = self.log.head().places[self.slot].as_mut().filter(|_| self.rank == Rank::First) {
            place.claimed = place.claimed.max(end);
        }
    }

    /// Takes the next block of the files, if it has been read; goes on in memory where they have no more.
    fn fetch_from_files(&mut self, first_in_memory: u64) -> bool {
        let Some(segments) = self.log.segments() else { return false };
        let stored = self.log.watermarks.get(super::Mark::Stored);
        match self.backlog.take(segments, self.position, stored) {
            None => false,
            Some(Ahead { block, complete_to }) if block.bytes.is_empty() => {
                // Nothing in the files lies between here and there. What left the memory since is in them by now.
                self.position = self.position.max(complete_to.min(first_in_memory));
                self.fetch()
            }
            Some(Ahead { block, .. }) => {
                // From there on the memory has more: what goes to no file.
                let block_end = block.end_offset.min(first_in_memory);
                let mut bytes = block.bytes;
                if block_end < block.end_offset {
                    bytes = cut(&bytes, block_end);
                    // What was cut off may have left the memory by the time that the reader gets there.
                    self.backlog = Backlog::default();
                }
                self.claim(block_end);
                self.current = from(&bytes, self.position);
                if self.current.is_empty() {
                    self.position = self.position.max(block_end);
                    return self.fetch();
                }
                true
            }
        }
    }
}

/// The whole records at or behind `offset`.
fn from(bytes: &Bytes, offset: u64) -> Bytes {
    let mut skipped = 0;
    while let (Some(record_bytes), Some(record_offset)) =
        (record::claimed_len(&bytes[skipped..]), record::claimed_offset(&bytes[skipped..]))
        && record_offset < offset
    {
        skipped += record_bytes;
    }
    bytes.slice(skipped.min(bytes.len())..)
}

/// The whole records before `offset`.
fn cut(bytes: &Bytes, offset: u64) -> Bytes {
    let mut kept = 0;
    while let (Some(record_bytes), Some(record_offset)) =
        (record::claimed_len(&bytes[kept..]), record::claimed_offset(&bytes[kept..]))
        && record_offset < offset
    {
        kept += record_bytes;
    }
    bytes.slice(..kept.min(bytes.len()))
}
