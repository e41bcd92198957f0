//! The log: every message that any upstream broker wants, once, in the order of arrival. Readers go through it
//! at their own cursors, so a slow or absent one costs the others nothing. This is its head, in memory and
//! bounded; what falls out of it before a reader came by is counted for that reader.

mod reader;
pub mod record;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use mqtt::Message;

pub use reader::{LogPlace, LogReader};
pub use record::Record;

use crate::{Origin, limits};

/// Decides for a reader whether a record concerns it.
pub type Wants = Box<dyn Fn(&Record<'_>) -> bool + Send>;

/// The log's head. Shared: one Router appends, many readers read, all at once.
pub struct MessageLog {
    inner: Mutex<Inner>,
    head_bytes_max: usize,
    /// Told at each step that a reader takes, for publishers that wait.
    progress: tokio::sync::Notify,
}

/// What an append led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first message of the batch.
    pub first_offset: u64,
    /// A connected reader is far behind: the publisher should wait for [`MessageLog::room`] before it goes on.
    pub wait_for_room: bool,
}

struct Inner {
    /// Written chunks that no one changes any more, oldest first.
    segments: VecDeque<Segment>,
    /// Records behind the last segment, sealed into a segment as soon as a reader asks for them.
    tail: BytesMut,
    tail_records: u64,
    /// The offset that the next record gets.
    next_offset: u64,
    /// All bytes ever appended.
    appended_bytes: u64,
    readers: Vec<Option<Place>>,
}

struct Segment {
    first_offset: u64,
    records: u64,
    /// Bytes appended before this segment.
    first_byte: u64,
    bytes: Bytes,
}

/// Where a reader stands.
struct Place {
    /// The lowest offset that the reader still needs.
    cursor: u64,
    /// The offset that it reads next, and the bytes that lie before it.
    position: u64,
    position_byte: u64,
    /// The end of the segment that it holds: what lies before that can no longer be lost.
    claimed: u64,
    /// Publishers wait for this reader: it is connected and has not fallen hopelessly behind.
    awaited: bool,
    connected: bool,
    wants: Option<Wants>,
    overflowed: Arc<AtomicU64>,
}

impl MessageLog {
    /// An empty log that holds at most `head_bytes_max` bytes of records.
    pub fn new(head_bytes_max: usize) -> Arc<MessageLog> {
        let inner = Inner {
            segments: VecDeque::new(),
            tail: BytesMut::new(),
            tail_records: 0,
            next_offset: 0,
            appended_bytes: 0,
            readers: Vec::new(),
        };
        Arc::new(MessageLog {
            inner: Mutex::new(inner),
            head_bytes_max,
            progress: tokio::sync::Notify::new(),
        })
    }

    /// Appends messages in order.
    pub fn append<'a>(
        &self,
        messages: impl Iterator<Item = &'a Message>,
        origin: Origin,
        received_at_micros: u64,
    ) -> Appended {
        let mut inner = self.lock();
        let first_offset = inner.next_offset;
        for message in messages {
            inner.append(message, origin, received_at_micros);
        }
        inner.trim();
        inner.evict(self.head_bytes_max);
        let wait_for_room = inner.awaited_lag_bytes() > self.room_bytes();
        Appended { first_offset, wait_for_room }
    }

    /// A new place behind the last record. `wants` refines what counts as lost when records fall out of the
    /// head unread; `None` counts every record.
    pub fn place(self: &Arc<Self>, wants: Option<Wants>) -> Arc<LogPlace> {
        let overflowed = Arc::new(AtomicU64::new(0));
        let mut inner = self.lock();
        let place = Place {
            cursor: inner.next_offset,
            position: inner.next_offset,
            position_byte: inner.appended_bytes,
            claimed: inner.next_offset,
            awaited: false,
            connected: false,
            wants,
            overflowed: overflowed.clone(),
        };
        let slot = match inner.readers.iter().position(Option::is_none) {
            Some(free) => {
                inner.readers[free] = Some(place);
                free
            }
            None => {
                inner.readers.push(Some(place));
                inner.readers.len() - 1
            }
        };
        drop(inner);
        Arc::new(LogPlace::new(self.clone(), slot, overflowed))
    }

    /// Waits until the connected readers have caught up far enough for publishers to go on. A reader that
    /// does not manage within [`limits::READER_PATIENCE`] is not waited for again until it has caught up.
    pub async fn room(&self) {
        let caught_up = async {
            loop {
                let progress = self.progress.notified();
                if self.lock().awaited_lag_bytes() <= self.room_bytes() {
                    return;
                }
                progress.await;
            }
        };
        if tokio::time::timeout(limits::READER_PATIENCE, caught_up).await.is_err() {
            let room_bytes = self.room_bytes();
            self.lock().stop_waiting_for_slow_readers(room_bytes);
            self.progress.notify_waiters();
        }
    }

    /// Bytes of records held now.
    pub fn head_bytes(&self) -> usize {
        self.lock().head_bytes()
    }

    /// The offset that the next record gets.
    pub fn next_offset(&self) -> u64 {
        self.lock().next_offset
    }

    /// How far an awaited reader may be behind before publishers wait.
    fn room_bytes(&self) -> u64 {
        (self.head_bytes_max / 2) as u64
    }

    /// The state is consistent between any two statements that can panic, so a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn append(&mut self, message: &Message, origin: Origin, received_at_micros: u64) {
        let record_bytes = record::encoded_len(message, origin, 0);
        if self.tail.len() + record_bytes > limits::LOG_CHUNK_BYTES {
            self.seal();
        }
        if self.tail.capacity() - self.tail.len() < record_bytes {
            self.tail.reserve(record_bytes.max(limits::LOG_CHUNK_BYTES));
        }
        let offset = self.next_offset;
        let envelope = record::Envelope { offset, origin, received_at_micros, annex: &[], durable: false };
        record::encode(message, &envelope, &mut self.tail);
        self.tail_records += 1;
        self.next_offset += 1;
        self.appended_bytes += record_bytes as u64;
    }

    /// Makes the tail a segment.
    fn seal(&mut self) {
        if self.tail_records == 0 {
            return;
        }
        let bytes = self.tail.split().freeze();
        self.segments.push_back(Segment {
            first_offset: self.next_offset - self.tail_records,
            records: self.tail_records,
            first_byte: self.appended_bytes - bytes.len() as u64,
            bytes,
        });
        self.tail_records = 0;
    }

    fn head_bytes(&self) -> usize {
        let sealed = self
            .segments
            .front()
            .map_or(0, |first| (self.appended_bytes - first.first_byte) as usize - self.tail.len());
        sealed + self.tail.len()
    }

    /// Lets go of what every reader is done with.
    fn trim(&mut self) {
        let needed_from =
            self.readers.iter().flatten().map(|place| place.cursor).min().unwrap_or(self.next_offset);
        while self
            .segments
            .front()
            .is_some_and(|segment| segment.first_offset + segment.records <= needed_from)
        {
            self.segments.pop_front();
        }
        if self.segments.is_empty() && self.next_offset <= needed_from {
            self.tail.clear();
            self.tail_records = 0;
        }
    }

    /// Drops the oldest segments until the head fits; whoever had not read them loses them.
    fn evict(&mut self, head_bytes_max: usize) {
        while self.head_bytes() > head_bytes_max {
            if self.segments.is_empty() {
                self.seal();
            }
            let Some(segment) = self.segments.pop_front() else { return };
            let end = segment.first_offset + segment.records;
            let end_byte = segment.first_byte + segment.bytes.len() as u64;
            for place in self.readers.iter_mut().flatten() {
                if place.claimed < end {
                    place.overflowed.fetch_add(place.unread_in(&segment), Ordering::Relaxed);
                    place.claimed = end;
                    place.position = end;
                    place.position_byte = end_byte;
                }
                place.cursor = place.cursor.max(end);
            }
        }
    }

    fn awaited_lag_bytes(&self) -> u64 {
        let awaited = self.readers.iter().flatten().filter(|place| place.awaited);
        awaited.map(|place| self.appended_bytes - place.position_byte).max().unwrap_or(0)
    }

    fn stop_waiting_for_slow_readers(&mut self, room_bytes: u64) {
        for place in self.readers.iter_mut().flatten() {
            if self.appended_bytes - place.position_byte > room_bytes {
                place.awaited = false;
            }
        }
    }

    /// The segment with the record at `offset`, or the oldest one behind it; `None` behind the last record.
    fn segment_at(&mut self, offset: u64) -> Option<&Segment> {
        if offset + self.tail_records >= self.next_offset {
            self.seal();
        }
        let index = self.segments.partition_point(|segment| segment.first_offset + segment.records <= offset);
        self.segments.get(index)
    }
}

impl Place {
    /// How many records of a segment the reader has not read and would have wanted.
    fn unread_in(&self, segment: &Segment) -> u64 {
        let end = segment.first_offset + segment.records;
        let unread_from = self.claimed.max(segment.first_offset);
        let Some(wants) = &self.wants else { return end - unread_from };
        let mut lost = 0;
        let mut rest = &segment.bytes[..];
        let mut offset = segment.first_offset;
        while let Some((record, record_bytes)) = record::decode(rest) {
            if offset >= unread_from && wants(&record) {
                lost += 1;
            }
            offset += 1;
            rest = &rest[record_bytes..];
        }
        lost
    }
}

#[cfg(test)]
mod tests;
