//! Appends to the log's files. What is written stays written, and what is not can be written again: an error leaves
//! the file as it was.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::Run;
use super::disk::{DiskFile, append_all, micros};
use super::files::{Segment, SegmentFiles};
use super::header::{HEADER_BYTES, Header, u64_at};
use super::index::Index;
use super::sync::Unsynced;
use super::walk::Seen;
use crate::message_log::record;

/// The most pieces that one call writes: Linux takes no more.
const SLICES_MAX: usize = 1_024;

/// Where in a record's header its time stands.
const TIME_PLACE: usize = 16;

/// The one who writes the log's files.
pub struct SegmentWriter {
    pub(super) files: Arc<SegmentFiles>,
    segment_bytes: u64,
    pub(super) active: Option<Active>,
    /// Oldest first.
    pub(super) unsynced: VecDeque<Unsynced>,
}

/// The segment that is written.
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn DiskFile>,
    /// There is something at its end that could not be cut off, so nothing may follow.
    pub(super) is_spoilt: bool,
}

impl SegmentWriter {
    pub(super) fn new(
        files: Arc<SegmentFiles>,
        segment_bytes: u64,
        active: Option<Active>,
        unsynced: VecDeque<Unsynced>,
    ) -> SegmentWriter {
        SegmentWriter { files, segment_bytes, active, unsynced }
    }

    /// The files, for who reads them.
    pub fn files(&self) -> &Arc<SegmentFiles> {
        &self.files
    }

    /// Writes runs in order and takes from the front of `runs` what is written for good. After an error the call can be
    /// repeated with what is left in `runs`: nothing is lost or doubled. A run is never split, so a segment is longer
    /// than it should be where a single run is.
    pub fn write(&mut self, runs: &mut VecDeque<Run>) -> io::Result<()> {
        while let Some(first) = runs.front() {
            if self.is_full_for(first) {
                self.start_segment(first)?;
            }
            let Some(active) = &mut self.active else { continue };
            let room = self.segment_bytes.saturating_sub(active.segment.written());
            let count = fitting(runs, room);
            active.append(runs, count, &self.files)?;
            runs.drain(..count);
        }
        Ok(())
    }

    /// The offset up to which everything is written.
    pub fn end_offset(&self) -> u64 {
        self.files.end_offset()
    }

    fn is_full_for(&self, run: &Run) -> bool {
        let Some(active) = &self.active else { return true };
        let written = active.segment.written();
        let is_empty = written <= HEADER_BYTES;
        active.is_spoilt || (!is_empty && written + run.bytes.len() as u64 > self.segment_bytes)
    }

    fn start_segment(&mut self, first: &Run) -> io::Result<()> {
        self.drop_empty_segment();
        let files = &self.files;
        let previous = files.segments().back().map(|segment| segment.first_offset);
        let created_at_micros = micros(SystemTime::now());
        let header = Header { created_at_micros, first_offset: first.first_offset, previous };
        let segment =
            Segment::new(&files.dir, first.first_offset, HEADER_BYTES, first.first_received_at_micros);
        let file = files.disk.create(&segment.path).map_err(|error| segment.explain(&error))?;
        if let Err(error) = append_all(&*file, &mut [IoSlice::new(&header.encode())]) {
            // If it stays, it is emptied when the next segment is started, which has the same name.
            let _ = files.disk.remove(&segment.path);
            return Err(segment.explain(&error));
        }
        segment.keep_open(Some(file.clone()));
        segment.set_index(Some(Index::default()));
        let segment = Arc::new(segment);
        let mut segments = files.segments();
        if let Some(last) = segments.back() {
            last.set_bound(segment.first_offset);
        }
        segments.push_back(segment.clone());
        drop(segments);
        self.unsynced.push_back(Unsynced::new(segment.clone(), Some(file.clone()), first.first_offset));
        self.active = Some(Active { segment, file, is_spoilt: false });
        Ok(())
    }

    /// Lets go of a spoilt segment without a record: the next one has the same name.
    fn drop_empty_segment(&mut self) {
        let is_empty = |active: &Active| {
            active.is_spoilt && active.segment.with_held_index(|index| index.records) == Some(0)
        };
        let Some(active) = self.active.take_if(|active| is_empty(active)) else { return };
        let segment = active.segment;
        segment.is_removed.store(true, Ordering::Release);
        self.files.segments().retain(|other| !Arc::ptr_eq(other, &segment));
        self.unsynced.retain(|other| !Arc::ptr_eq(&other.segment, &segment));
        // If it stays, it is emptied when the next segment is made.
        let _ = self.files.disk.remove(&segment.path);
    }
}

/// How many runs go into one call: at least one, and no more than there is room for.
fn fitting(runs: &VecDeque<Run>, room: u64) -> usize {
    let mut bytes = 0;
    let fits = |run: &&Run| {
        bytes += run.bytes.len() as u64;
        bytes <= room
    };
    runs.iter().take(SLICES_MAX).take_while(fits).count().max(1)
}

impl Active {
    /// Appends the first `count` runs, all or nothing.
    fn append(&mut self, runs: &VecDeque<Run>, count: usize, files: &SegmentFiles) -> io::Result<()> {
        let segment = &self.segment;
        let before = segment.written();
        let mut slices: Vec<IoSlice<'_>> =
            runs.iter().take(count).map(|run| IoSlice::new(&run.bytes)).collect();
        if let Err(error) = append_all(&*self.file, &mut slices) {
            let error = segment.explain(&error);
            if let Err(cut) = self.file.set_len(before) {
                log::warn!("{}: an interrupted write stays: {cut}", segment.path.display());
                self.is_spoilt = true;
            }
            return Err(error);
        }
        let mut position = before;
        let latest_at_micros = segment.with_held_index(|index| {
            for run in runs.iter().take(count) {
                note_records(index, &run.bytes, position);
                position += run.bytes.len() as u64;
            }
            index.latest_at_micros
        });
        segment.last_at_micros.store(latest_at_micros.unwrap_or_default(), Ordering::Relaxed);
        let end_offset = runs.iter().take(count).next_back().map_or(0, |run| run.end_offset);
        // Readers look at `written` first, so whatever they see of the file lies before the end.
        files.set_end_offset(end_offset);
        segment.set_written(position);
        Ok(())
    }
}

/// Takes records into the index. They are the proxy's own, so their checksums are not looked at.
pub(super) fn note_records(index: &mut Index, bytes: &[u8], mut position: u64) {
    let mut rest = bytes;
    while let (Some(length), Some(offset)) = (record::claimed_len(rest), record::claimed_offset(rest)) {
        let received_at_micros = u64_at(rest, TIME_PLACE);
        index.note(&Seen { length, offset, received_at_micros }, position);
        position += length as u64;
        rest = rest.get(length.max(record::HEADER_BYTES)..).unwrap_or_default();
    }
    debug_assert!(rest.is_empty(), "a run holds whole records");
}
