//! The log: every message that somebody needs later, once, in the order of arrival. Readers go through it at their
//! own cursors, so a slow or absent one costs the others nothing. Its head is memory; a thread of its own drains the
//! head to files, and two watermarks tell how far the log is safe.

mod backlog;
mod disk;
mod head;
mod place;
mod reader;
pub mod record;
pub mod segment;
mod upkeep;
mod watermark;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use mqtt::Message;

pub use disk::{Alarm, DiskLog, DiskOptions, OpenFiles};
pub use head::Entry;
use head::{Head, HeadPolicy, Place};
pub use place::{Bound, Lag, LogPlace};
pub use reader::LogReader;
pub use record::Record;
pub use watermark::{Mark, Registration, Watermarks};

use crate::messages::LogSnapshot;
use crate::store::{Change, LiveCursor};
use crate::{BrokerId, Origin, limits};

/// Decides for a reader whether a record concerns it.
pub type Wants = Box<dyn Fn(&Record<'_>) -> bool + Send>;

/// The log. Shared: one Router appends, many readers read, all at once.
pub struct MessageLog {
    head: Mutex<Head>,
    head_bytes_max: usize,
    /// Told at each step that a reader or the disk takes, for publishers that wait.
    progress: tokio::sync::Notify,
    watermarks: Watermarks,
    /// The files, and how to wake the thread that writes them; `None` where all of the log is memory.
    files: Option<Files>,
}

struct Files {
    segments: Arc<segment::SegmentFiles>,
    writer: Arc<Alarm>,
    /// A cursor moved that the store has not.
    cursors_moved: AtomicBool,
    /// Whether all brokers have their places, so that what none of them needs may go.
    places_are_known: AtomicBool,
    /// A broker that may lose nothing keeps the files as large as they may be.
    is_full: AtomicBool,
}

/// What an append led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first message of the batch; the others follow without a gap.
    pub first_offset: u64,
    /// The offset behind the last message that goes to disk; 0 where none does.
    pub durable_end: u64,
    /// What is far behind: the publisher should wait for [`MessageLog::room`] before it goes on.
    pub wait_for: Option<Laggard>,
}

/// What publishers may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Laggard {
    /// Connected readers, to whom messages that are in no file would be lost.
    Readers,
    /// The disk.
    Disk,
}

impl MessageLog {
    /// An empty log that holds at most `head_bytes_max` bytes of records, in memory only.
    pub fn new(head_bytes_max: usize) -> Arc<MessageLog> {
        let policy = HeadPolicy { has_files: false, persist_qos0: false };
        Arc::new(MessageLog::with(head_bytes_max, Head::new(0, policy), None, u64::MAX))
    }

    fn with(head_bytes_max: usize, head: Head, files: Option<Files>, safe: u64) -> MessageLog {
        MessageLog {
            head: Mutex::new(head),
            head_bytes_max,
            progress: tokio::sync::Notify::new(),
            watermarks: Watermarks::new(safe).flushed_by(files.as_ref().map(|files| files.writer.clone())),
            files,
        }
    }

    /// Appends messages of one source in order.
    pub fn append<'a>(
        &self,
        entries: impl Iterator<Item = Entry<'a>>,
        origin: Origin,
        received_at_micros: u64,
    ) -> Appended {
        let stored = self.watermarks.get(Mark::Stored);
        let mut head = self.head();
        let first_offset = head.next_offset;
        let mut durable_end = 0;
        for entry in entries {
            if head.append(entry, origin, received_at_micros) {
                durable_end = head.next_offset;
            }
        }
        head.trim(stored);
        head.evict(self.head_bytes_max, stored);
        // What goes to disk is not lost to a slow reader, so nobody waits for one with it.
        let laggard = if durable_end > 0 { Laggard::Disk } else { Laggard::Readers };
        let wait_for = (!self.has_room(&head, laggard)).then_some(laggard);
        drop(head);
        if durable_end > 0 {
            self.wake_writer();
        }
        Appended { first_offset, durable_end, wait_for }
    }

    /// Appends messages that no durable session is concerned with.
    pub fn append_plain<'a>(
        &self,
        messages: impl Iterator<Item = &'a Message>,
        origin: Origin,
        received_at_micros: u64,
    ) -> Appended {
        self.append(messages.map(|message| Entry { message, annex: &[] }), origin, received_at_micros)
    }

    /// Appends changes of durable state. Answers with the offset behind the last one: once that is stored, so are
    /// they.
    pub fn append_changes(&self, changes: &[Change], at_micros: u64) -> u64 {
        let mut buffer = BytesMut::new();
        let mut head = self.head();
        // In a chunk of their own, so that the store need not look at the messages beside them.
        head.seal();
        for change in changes {
            buffer.clear();
            change.encode(&mut buffer);
            head.append_state(&buffer, at_micros);
        }
        head.seal();
        let end = head.next_offset;
        drop(head);
        self.wake_writer();
        end
    }

    /// How far the log is safe.
    pub fn watermarks(&self) -> &Watermarks {
        &self.watermarks
    }

    /// How the log stands.
    pub fn snapshot(&self) -> LogSnapshot {
        let head = self.head();
        let (head_bytes, next_offset) = (head.bytes() as u64, head.next_offset);
        drop(head);
        let segments = self.segments();
        LogSnapshot {
            head_bytes,
            next_offset,
            first_offset: self.first_offset(),
            file_bytes: segments.map_or(0, |segments| segments.bytes()),
            segments: segments.map_or(0, |segments| segments.summaries().len() as u64),
            stored: self.watermarks.get(Mark::Stored).min(next_offset),
            synced: self.watermarks.get(Mark::Synced).min(next_offset),
            failure: self.watermarks.failure(),
            is_full: self.is_full(),
        }
    }

    /// Whether the log has files, so that durable state means something.
    pub fn is_durable(&self) -> bool {
        self.files.is_some()
    }

    /// A new place behind the last record. `wants` refines what counts as lost when records fall out of the
    /// head unread; `None` counts every record.
    pub fn place(self: &Arc<Self>, wants: Option<Wants>) -> Arc<LogPlace> {
        let mut head = self.head();
        let place = Place::new(head.next_offset, head.appended_bytes, None, wants);
        self.put(&mut head, place)
    }

    /// A new place at an offset. With `reads_files_only`, only the files keep what lies behind it.
    pub fn place_at(self: &Arc<Self>, cursor: u64, reads_files_only: bool) -> Arc<LogPlace> {
        let mut head = self.head();
        let byte = head.byte_of(cursor, 0);
        let place = Place::new(cursor.min(head.next_offset), byte, None, None);
        self.put(&mut head, Place { reads_files_only, ..place })
    }

    /// A place at a cursor, which is durable from here on: that of a broker. A cursor beyond the end of the log is
    /// the end.
    pub fn place_of(
        self: &Arc<Self>,
        broker: BrokerId,
        cursor: u64,
        live: Option<LiveCursor>,
        wants: Option<Wants>,
    ) -> Arc<LogPlace> {
        let mut head = self.head();
        for slot in &mut head.places {
            if slot.as_ref().is_some_and(|place| place.is_left && place.broker == Some(broker)) {
                *slot = None;
            }
        }
        let cursor = cursor.min(head.next_offset);
        let byte = head.byte_of(cursor, 0);
        let mut place = Place::new(cursor, byte, Some(broker), wants);
        place.live = live;
        // Nobody has written it down yet.
        place.saved = (u64::MAX, None);
        let place = self.put(&mut head, place);
        drop(head);
        self.note_cursor_moved();
        place
    }

    fn put(self: &Arc<Self>, head: &mut Head, place: Place) -> Arc<LogPlace> {
        let (overflowed, cursor) = (place.overflowed.clone(), place.shared_cursor.clone());
        let slot = match head.places.iter().position(Option::is_none) {
            Some(free) => {
                head.places[free] = Some(place);
                free
            }
            None => {
                head.places.push(Some(place));
                head.places.len() - 1
            }
        };
        Arc::new(LogPlace::new(self.clone(), slot, overflowed, cursor))
    }

    /// Waits until the connected readers, or the disk, have caught up far enough for publishers to go on. A reader
    /// that does not manage within [`limits::READER_PATIENCE`] is not waited for again until it has caught up; the
    /// disk is waited for as long as it takes.
    pub async fn room(&self, laggard: Laggard) {
        loop {
            let caught_up = async {
                loop {
                    let progress = self.progress.notified();
                    if self.has_room(&self.head(), laggard) {
                        return;
                    }
                    progress.await;
                }
            };
            if tokio::time::timeout(limits::READER_PATIENCE, caught_up).await.is_ok() {
                return;
            }
            let room_bytes = self.room_bytes();
            let mut head = self.head();
            head.stop_waiting_for_slow_readers(room_bytes);
            let done = self.has_room(&head, laggard);
            drop(head);
            self.progress.notify_waiters();
            if done {
                return;
            }
        }
    }

    fn has_room(&self, head: &Head, laggard: Laggard) -> bool {
        let behind_bytes = match laggard {
            Laggard::Readers => head.awaited_lag_bytes(),
            Laggard::Disk => head.unstored_bytes,
        };
        behind_bytes <= self.room_bytes()
    }

    /// Bytes of records held in memory now.
    pub fn head_bytes(&self) -> usize {
        self.head().bytes()
    }

    /// The offset that the next record gets.
    pub fn next_offset(&self) -> u64 {
        self.head().next_offset
    }

    /// The offset of the oldest record there is, or of the next one.
    pub fn first_offset(&self) -> u64 {
        let in_memory = self.head().first_offset();
        let in_files = self.segments().and_then(|segments| segments.first_offset());
        in_files.map_or(in_memory, |offset| offset.min(in_memory))
    }

    /// Whether nothing more may be written, because the files are as large as they may be and an upstream broker may
    /// not lose what they hold.
    pub fn is_full(&self) -> bool {
        self.files.as_ref().is_some_and(|files| files.is_full.load(Ordering::Relaxed))
    }

    /// Everybody who needs something of the log has a place now, so the rest may go.
    pub fn begin_retention(&self) {
        if let Some(files) = &self.files {
            files.places_are_known.store(true, Ordering::Release);
        }
    }

    /// The files, where there are any.
    pub fn segments(&self) -> Option<&Arc<segment::SegmentFiles>> {
        self.files.as_ref().map(|files| &files.segments)
    }

    /// How far an awaited reader may be behind before publishers wait.
    fn room_bytes(&self) -> u64 {
        (self.head_bytes_max / 2) as u64
    }

    fn wake_writer(&self) {
        if let Some(files) = &self.files {
            files.writer.ring();
        }
    }

    /// A cursor moved: the writer will write it down soon.
    fn note_cursor_moved(&self) {
        if let Some(files) = &self.files
            && !files.cursors_moved.swap(true, Ordering::AcqRel)
        {
            files.writer.ring();
        }
    }

    /// The state is consistent between any two statements that can panic, so a poisoned lock is taken as it is.
    fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
