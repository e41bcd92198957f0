//! What the threads of the log ask of it: the writer, who keeps the files within bounds, and the keeper of the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::Behind;
use super::head::{Chunk, Place};
use super::record::Record;
use super::{Files, Mark, MessageLog};
use crate::limits;
use crate::store::Change;

impl MessageLog {
    /// Everything below `offset` is in the files: whoever waited for that goes on.
    pub(super) fn note_stored(&self, offset: u64, durable_bytes: u64) {
        self.watermarks.advance(Mark::Stored, offset);
        let mut head = self.head();
        head.unstored_bytes = head.unstored_bytes.saturating_sub(durable_bytes);
        head.trim(offset);
        head.evict(self.head_bytes_max, offset);
        drop(head);
        self.progress.notify_waiters();
    }

    /// Everything below `offset` is on the disk.
    pub(super) fn note_synced(&self, offset: u64) {
        self.watermarks.advance(Mark::Synced, offset);
    }

    /// Whether a cursor moved that is not written down.
    pub(super) fn have_cursors_moved(&self) -> bool {
        self.files.as_ref().is_some_and(|files| files.cursors_moved.load(Ordering::Acquire))
    }

    /// The cursors that have moved since the last time.
    pub(super) fn take_moved_cursors(&self) -> Vec<Change> {
        if let Some(files) = &self.files {
            files.cursors_moved.store(false, Ordering::Release);
        }
        let mut head = self.head();
        head.places.iter_mut().flatten().filter_map(Place::take_moved).collect()
    }

    /// Whether everybody who needs something of the log has a place.
    pub(super) fn are_places_known(&self) -> bool {
        self.files.as_ref().is_some_and(|files| files.places_are_known.load(Ordering::Acquire))
    }

    /// The files may not get longer, or may again.
    pub(super) fn set_full(&self, is_full: bool) {
        let Some(Files { is_full: flag, .. }) = &self.files else { return };
        if flag.swap(is_full, Ordering::Relaxed) != is_full {
            match is_full {
                true => {
                    log::warn!("the log is full for a broker that may lose nothing; messages are refused")
                }
                false => log::info!("the log has room again"),
            }
        }
    }

    /// The lowest offset that somebody needs.
    pub(super) fn needed_from(&self) -> u64 {
        let head = self.head();
        head.places.iter().flatten().map(|place| place.cursor).min().unwrap_or(head.next_offset)
    }

    /// All readers and how far they may fall behind.
    pub(super) fn readers_behind(&self) -> Vec<Behind> {
        let head = self.head();
        let behind = |(slot, place): (usize, &Option<Place>)| {
            let place = place.as_ref()?;
            Some(Behind {
                slot,
                cursor: place.cursor,
                read_to: place.position,
                bytes_max: place.bound.bytes_max,
                may_lose: place.bound.may_lose,
                is_broker: place.broker.is_some(),
            })
        };
        head.places.iter().enumerate().filter_map(behind).collect()
    }

    /// Whether a record that a reader will not get is one that it would have wanted.
    pub(super) fn does_reader_want(&self, slot: usize, record: &Record<'_>) -> bool {
        let head = self.head();
        let place = head.places.get(slot).and_then(Option::as_ref);
        place.is_some_and(|place| place.wants.as_ref().is_none_or(|wants| wants(record)))
    }

    /// A reader gives up what lies before `cursor`, `lost` wanted records among it.
    pub(super) fn give_up_before(&self, slot: usize, cursor: u64, lost: u64) {
        let mut head = self.head();
        let Some(place) = head.places.get_mut(slot).and_then(Option::as_mut) else { return };
        if cursor <= place.cursor {
            return;
        }
        place.cursor = cursor;
        place.worth_saving = place.worth_saving.max(cursor);
        place.shared_cursor.store(cursor, Ordering::Release);
        place.overflowed.fetch_add(lost, Ordering::Relaxed);
        head.trim(self.watermarks.get(Mark::Stored));
        drop(head);
        self.watermarks.cursor_moved();
        self.note_cursor_moved();
    }

    /// The chunks in memory from `offset` on that are stored, if the memory goes back that far.
    pub(crate) fn stored_chunks(self: &Arc<Self>, offset: u64) -> Option<Vec<StoredChunk>> {
        let stored = self.watermarks.get(Mark::Stored);
        let mut head = self.head();
        if offset < head.first_offset() {
            return None;
        }
        let is_stored = |chunk: &Chunk| chunk.info.durable_records == 0 || chunk.end_offset() <= stored;
        let chunks = head.chunks_from(offset, limits::WRITE_BYTES);
        let stored = chunks.into_iter().take_while(is_stored).map(|chunk| StoredChunk {
            bytes: chunk.info.concerns_store.then(|| chunk.bytes_from(offset)),
            end_offset: chunk.end_offset(),
        });
        Some(stored.collect())
    }

    /// The offset of the oldest record in memory.
    pub(crate) fn first_offset_in_memory(&self) -> u64 {
        self.head().first_offset()
    }
}

/// A piece of the log for the store.
pub(crate) struct StoredChunk {
    /// Whole records; `None` where none concerns the store.
    pub bytes: Option<bytes::Bytes>,
    /// The offset behind them.
    pub end_offset: u64,
}
