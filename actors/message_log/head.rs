//! The log's head: its newest part, in memory and bounded, and where every reader stands. All of it is behind one
//! lock that is held for moments only; nothing here waits or touches a file.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use mqtt::{Message, QoS};

use super::Wants;
use super::place::Bound;
use super::record::{self, Envelope};
use crate::store::{Change, LiveCursor};
use crate::{BrokerId, Origin, limits};

/// One message on its way into the log.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The message.
    pub message: &'a Message,
    /// What durable sessions need to know about it; see [`crate::store::Annex`].
    pub annex: &'a [u8],
}

/// The head and the places of the readers.
pub(super) struct Head {
    /// Written chunks that no one changes any more, oldest first.
    chunks: VecDeque<Chunk>,
    sealed_bytes: usize,
    /// Records behind the last chunk, sealed into a chunk as soon as somebody asks for them.
    tail: BytesMut,
    tail_info: ChunkInfo,
    /// The offset that the next record gets.
    pub next_offset: u64,
    /// All bytes ever appended.
    pub appended_bytes: u64,
    /// Bytes of records that have to go to disk and are not there yet.
    pub unstored_bytes: u64,
    pub places: Vec<Option<Place>>,
    policy: HeadPolicy,
}

/// What goes to disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadPolicy {
    /// Whether there are files at all.
    pub has_files: bool,
    /// Whether messages at QoS 0 go there too.
    pub persist_qos0: bool,
}

/// What is known about a chunk without reading it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ChunkInfo {
    pub records: u64,
    /// How many of them go to disk.
    pub durable_records: u64,
    /// Their bytes.
    pub durable_bytes: u64,
    /// How many are messages, and not changes of state.
    pub messages: u64,
    /// Whether a record concerns the store: a change of state, a retained message, an annex.
    pub concerns_store: bool,
}

#[derive(Clone)]
pub(super) struct Chunk {
    pub first_offset: u64,
    pub info: ChunkInfo,
    /// Bytes appended before this chunk.
    pub first_byte: u64,
    pub bytes: Bytes,
}

impl Chunk {
    /// The offset behind its last record.
    pub fn end_offset(&self) -> u64 {
        self.first_offset + self.info.records
    }

    /// The bytes from the record at `offset` on.
    pub fn bytes_from(&self, offset: u64) -> Bytes {
        let mut skipped = 0;
        for _ in self.first_offset..offset {
            let Some(record_bytes) = record::claimed_len(&self.bytes[skipped..]) else { break };
            skipped += record_bytes;
        }
        self.bytes.slice(skipped.min(self.bytes.len())..)
    }
}

/// Where a reader stands.
pub(super) struct Place {
    /// The lowest offset that the reader still needs.
    pub cursor: u64,
    /// The same, but not beyond the last message: what only passed changes of state is not worth writing down.
    pub worth_saving: u64,
    /// While a backlog waits behind live messages.
    pub live: Option<LiveCursor>,
    /// The same two as the store has them.
    pub saved: (u64, Option<LiveCursor>),
    /// What it needs it finds in the files: the memory need not keep it.
    pub reads_files_only: bool,
    /// Whose cursor it is, where it is a broker's; such a cursor is durable.
    pub broker: Option<BrokerId>,
    /// Nobody reads here any more in this life of the process.
    pub is_left: bool,
    pub bound: Bound,
    /// The offset that it reads next, and the bytes that lie before it.
    pub position: u64,
    pub position_byte: u64,
    /// What lies before that and is in no file is in the reader's hands, or counted as lost.
    pub claimed: u64,
    /// Publishers wait for this reader: it is connected and has not fallen hopelessly behind.
    pub awaited: bool,
    pub connected: bool,
    pub wants: Option<Wants>,
    pub overflowed: Arc<AtomicU64>,
    /// The cursor, for who waits for it.
    pub shared_cursor: Arc<AtomicU64>,
}

impl Place {
    /// Nobody reads here any more, but the files keep what lies behind the cursor.
    pub fn leave(&mut self) {
        (self.is_left, self.reads_files_only) = (true, true);
        (self.awaited, self.connected) = (false, false);
    }

    /// A place whose reader begins at `cursor`.
    pub fn new(cursor: u64, byte: u64, broker: Option<BrokerId>, wants: Option<Wants>) -> Place {
        Place {
            cursor,
            worth_saving: cursor,
            live: None,
            saved: (cursor, None),
            reads_files_only: false,
            broker,
            is_left: false,
            bound: Bound::default(),
            position: cursor,
            position_byte: byte,
            claimed: cursor,
            awaited: false,
            connected: false,
            wants,
            overflowed: Arc::new(AtomicU64::new(0)),
            shared_cursor: Arc::new(AtomicU64::new(cursor)),
        }
    }
}

impl Head {
    /// An empty head whose first record gets `next_offset`.
    pub fn new(next_offset: u64, policy: HeadPolicy) -> Head {
        Head {
            chunks: VecDeque::new(),
            sealed_bytes: 0,
            tail: BytesMut::new(),
            tail_info: ChunkInfo::default(),
            next_offset,
            appended_bytes: 0,
            unstored_bytes: 0,
            places: Vec::new(),
            policy,
        }
    }

    /// Appends a message; answers whether it goes to disk.
    pub fn append(&mut self, entry: Entry<'_>, origin: Origin, received_at_micros: u64) -> bool {
        let Entry { message, annex } = entry;
        // What the proxy says of itself is made anew at each start.
        let durable = self.policy.has_files
            && origin != Origin::System
            && (message.qos > QoS::AtMostOnce
                || message.retain
                || !annex.is_empty()
                || self.policy.persist_qos0);
        let record_bytes = record::encoded_len(message, origin, annex.len());
        self.make_room_in_tail(record_bytes);
        let envelope = Envelope { offset: self.next_offset, origin, received_at_micros, annex, durable };
        record::encode(message, &envelope, &mut self.tail);
        self.tail_info.concerns_store |= message.retain || !annex.is_empty();
        self.tail_info.messages += 1;
        self.count_appended(record_bytes, durable);
        durable
    }

    /// Appends a change of state, which goes to disk if there is one.
    pub fn append_state(&mut self, change: &[u8], at_micros: u64) {
        let record_bytes = record::state_encoded_len(change);
        self.make_room_in_tail(record_bytes);
        record::encode_state(change, self.next_offset, at_micros, &mut self.tail);
        self.tail_info.concerns_store = true;
        self.count_appended(record_bytes, self.policy.has_files);
    }

    fn make_room_in_tail(&mut self, record_bytes: usize) {
        if self.tail.len() + record_bytes > limits::LOG_CHUNK_BYTES {
            self.seal();
        }
        if self.tail.capacity() - self.tail.len() < record_bytes {
            self.tail.reserve(record_bytes.max(limits::LOG_CHUNK_BYTES));
        }
    }

    fn count_appended(&mut self, record_bytes: usize, durable: bool) {
        self.tail_info.records += 1;
        if durable {
            self.tail_info.durable_records += 1;
            self.tail_info.durable_bytes += record_bytes as u64;
            self.unstored_bytes += record_bytes as u64;
        }
        self.next_offset += 1;
        self.appended_bytes += record_bytes as u64;
    }

    /// Makes the tail a chunk.
    pub fn seal(&mut self) {
        if self.tail_info.records == 0 {
            return;
        }
        let bytes = self.tail.split().freeze();
        if bytes.len() > limits::LOG_CHUNK_BYTES {
            // What is left of the memory of one long record would keep all of it.
            self.tail = BytesMut::new();
        }
        let info = std::mem::take(&mut self.tail_info);
        self.sealed_bytes += bytes.len();
        self.chunks.push_back(Chunk {
            first_offset: self.next_offset - info.records,
            info,
            first_byte: self.appended_bytes - bytes.len() as u64,
            bytes,
        });
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.sealed_bytes + self.tail.len()
    }

    /// The offset of the oldest record in memory, or of the next one.
    pub fn first_offset(&self) -> u64 {
        self.chunks.front().map_or(self.next_offset - self.tail_info.records, |chunk| chunk.first_offset)
    }

    /// Lets go of what every reader is done with, if it need not go to disk or is there: `stored` is the offset
    /// below which everything is.
    pub fn trim(&mut self, stored: u64) {
        let in_memory = self.places.iter().flatten().filter(|place| !place.reads_files_only);
        let needed_from = in_memory.map(|place| place.cursor).min().unwrap_or(self.next_offset);
        while let Some(chunk) = self.chunks.front() {
            let is_safe = chunk.info.durable_records == 0 || chunk.end_offset() <= stored;
            if chunk.end_offset() > needed_from || !is_safe {
                break;
            }
            self.remove(0);
        }
        if self.chunks.is_empty() && self.next_offset <= needed_from && self.tail_info.durable_records == 0 {
            self.tail.clear();
            self.tail_info = ChunkInfo::default();
        }
    }

    /// Drops the oldest chunks until the head fits. What is on disk is not lost, what is not yet there stays; the
    /// rest is lost for whoever had not read it.
    pub fn evict(&mut self, head_bytes_max: usize, stored: u64) {
        while self.bytes() > head_bytes_max {
            if self.chunks.is_empty() {
                self.seal();
            }
            // While the disk fails, what is in no file goes from between what waits for one.
            let is_free = |chunk: &Chunk| chunk.info.durable_records == 0 || chunk.end_offset() <= stored;
            let Some(index) = self.chunks.iter().position(is_free) else { return };
            let Some(chunk) = self.remove(index) else { return };
            for place in self.places.iter_mut().flatten() {
                place.lose(&chunk);
            }
        }
    }

    fn remove(&mut self, index: usize) -> Option<Chunk> {
        let chunk = self.chunks.remove(index)?;
        self.sealed_bytes -= chunk.bytes.len();
        Some(chunk)
    }

    /// How far the slowest awaited reader is behind.
    pub fn awaited_lag_bytes(&self) -> u64 {
        let awaited = self.places.iter().flatten().filter(|place| place.awaited);
        awaited.map(|place| self.appended_bytes - place.position_byte).max().unwrap_or(0)
    }

    /// Publishers wait no longer for readers that are this far behind.
    pub fn stop_waiting_for_slow_readers(&mut self, room_bytes: u64) {
        for place in self.places.iter_mut().flatten() {
            if self.appended_bytes - place.position_byte > room_bytes {
                place.awaited = false;
            }
        }
    }

    /// The chunk with the record at `offset`, or the oldest one behind it; `None` behind the last record.
    pub fn chunk_at(&mut self, offset: u64) -> Option<&Chunk> {
        if offset + self.tail_info.records >= self.next_offset {
            self.seal();
        }
        let index = self.chunks.partition_point(|chunk| chunk.end_offset() <= offset);
        self.chunks.get(index)
    }

    /// How many messages there are from `offset` on. What is not in memory any more counts as messages altogether.
    pub fn messages_from(&mut self, offset: u64) -> u64 {
        self.seal();
        let not_in_memory = self.first_offset().saturating_sub(offset);
        let index = self.chunks.partition_point(|chunk| chunk.end_offset() <= offset);
        let in_memory = self.chunks.range(index..).map(|chunk| {
            if chunk.first_offset >= offset || chunk.info.messages == 0 {
                return chunk.info.messages;
            }
            let rest = chunk.bytes_from(offset);
            record::each(&rest).filter(|record| !record.is_state).count() as u64
        });
        not_in_memory + in_memory.sum::<u64>()
    }

    /// The chunks from `offset` on, about `bytes_max` of them.
    pub fn chunks_from(&mut self, offset: u64, bytes_max: usize) -> Vec<Chunk> {
        self.seal();
        let index = self.chunks.partition_point(|chunk| chunk.end_offset() <= offset);
        let mut bytes = 0;
        let fits = |chunk: &&Chunk| {
            let first = bytes == 0;
            bytes += chunk.bytes.len();
            first || bytes <= bytes_max
        };
        self.chunks.range(index..).take_while(fits).cloned().collect()
    }

    /// How many bytes lie before `position`, of whose chunk `unread` bytes are left to read.
    pub fn byte_of(&self, position: u64, unread: u64) -> u64 {
        let index = self.chunks.partition_point(|chunk| chunk.end_offset() <= position);
        match self.chunks.get(index) {
            // What a reader holds of a file lies before all that is in memory.
            Some(chunk) if position < chunk.first_offset => chunk.first_byte,
            Some(chunk) if unread > 0 => {
                (chunk.first_byte + chunk.bytes.len() as u64).saturating_sub(unread).max(chunk.first_byte)
            }
            Some(chunk) => chunk.first_byte,
            None => self.appended_bytes - self.tail.len() as u64,
        }
    }
}

impl Place {
    /// The cursor, if it moved since it was written down.
    pub fn take_moved(&mut self) -> Option<Change> {
        let now = (self.worth_saving, self.live);
        let broker = self.broker.filter(|_| self.saved != now)?;
        self.saved = now;
        Some(Change::Cursor { broker, cursor: self.worth_saving, live: self.live })
    }

    /// A chunk leaves the memory: what was in no file is lost to a reader that had not come by.
    fn lose(&mut self, chunk: &Chunk) {
        let end = chunk.end_offset();
        if self.claimed < end {
            self.overflowed.fetch_add(self.lost_in(chunk), Ordering::Relaxed);
            self.claimed = end;
        }
        if chunk.info.durable_records == 0 && self.cursor >= chunk.first_offset {
            self.cursor = self.cursor.max(end);
            self.position = self.position.max(end);
            self.position_byte = self.position_byte.max(chunk.first_byte + chunk.bytes.len() as u64);
        }
    }

    /// How many records of a chunk stand in no file, have not been read, and would have been wanted.
    fn lost_in(&self, chunk: &Chunk) -> u64 {
        if chunk.info.durable_records == chunk.info.records {
            return 0;
        }
        let unread_from = self.claimed.max(chunk.first_offset);
        let mut lost = 0;
        let mut rest = &chunk.bytes[..];
        while let Some((record, record_bytes)) = record::decode(rest) {
            let is_wanted = || self.wants.as_ref().is_none_or(|wants| wants(&record));
            let may_be_lost = !record.is_state && !record::is_durable(rest);
            if record.offset >= unread_from && may_be_lost && is_wanted() {
                lost += 1;
            }
            rest = &rest[record_bytes..];
        }
        lost
    }
}
