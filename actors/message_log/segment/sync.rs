//! Brings what is written to the disk, on a thread other than the one that writes. The kernel may drop what it could
//! not bring there and report that once only, so behind a failure a later success says nothing: what no sync had
//! covered is then copied to a new file.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::DiskFile;
use super::files::{Segment, SegmentFiles, locked};
use super::writer::SegmentWriter;

/// A segment that is not wholly on disk.
pub(super) struct Unsynced {
    pub(super) segment: Arc<Segment>,
    /// What wrote it, since only that is sure to be told of failures; `None` for one of an earlier process.
    pub(super) file: Option<Arc<dyn DiskFile>>,
    /// The bytes that are on disk, and the offset up to which that is.
    pub(super) synced_bytes: u64,
    pub(super) synced_end: u64,
    /// The directory knows of it on disk too.
    pub(super) is_named: bool,
}

/// Files to bring to the disk, for any thread.
pub struct SyncJob {
    files: Arc<SegmentFiles>,
    parts: Vec<Part>,
    end_offset: u64,
}

/// What came of a [`SyncJob`].
pub struct SyncOutcome {
    parts: Vec<Part>,
    error: Option<io::Error>,
}

struct Part {
    segment: Arc<Segment>,
    file: Option<Arc<dyn DiskFile>>,
    bytes: u64,
    end_offset: u64,
    is_named: bool,
    is_sealed: bool,
}

impl Unsynced {
    pub(super) fn new(segment: Arc<Segment>, file: Option<Arc<dyn DiskFile>>, synced_end: u64) -> Unsynced {
        Unsynced { segment, file, synced_bytes: 0, synced_end, is_named: false }
    }

    pub(super) fn has_failed(&self) -> bool {
        *locked(&self.segment.sync_failed)
    }

    fn is_behind(&self) -> bool {
        !self.is_named || self.synced_bytes < self.segment.written()
    }
}

impl SyncJob {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The offset up to which everything is on disk if the job succeeds.
    pub fn end_offset(&self) -> u64 {
        self.end_offset
    }

    /// Does the work, oldest file first. The outcome is for [`SegmentWriter::finish_sync`].
    pub fn run(self) -> SyncOutcome {
        let mut first_error = None;
        for part in &self.parts {
            if let Err(error) = part.sync(&self.files) {
                first_error.get_or_insert(part.segment.explain(&error));
            }
        }
        if let Err(error) = self.sync_directory() {
            first_error.get_or_insert(error);
        }
        for part in self.parts.iter().filter(|part| part.is_sealed) {
            part.leave_index(&self.files);
        }
        SyncOutcome { parts: self.parts, error: first_error }
    }

    /// Brings the names of new files to the disk.
    fn sync_directory(&self) -> io::Result<()> {
        let new: Vec<&Part> = self.parts.iter().filter(|part| !part.is_named).collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut failed: Vec<_> = new.iter().map(|part| locked(&part.segment.sync_failed)).collect();
        let result = self.files.disk.sync_dir(&self.files.dir);
        if result.is_err() {
            failed.iter_mut().for_each(|failed| **failed = true);
        }
        result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.files.dir.display())))
    }
}

impl Part {
    fn sync(&self, files: &SegmentFiles) -> io::Result<()> {
        let mut failed = locked(&self.segment.sync_failed);
        if *failed {
            return Err(io::Error::other("an earlier sync failed"));
        }
        let result = match &self.file {
            Some(file) => file.sync_data(),
            None => match files.disk.open(&self.segment.path) {
                // It was removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                opened => opened.and_then(|file| file.sync_data()),
            },
        };
        *failed = result.is_err();
        result
    }

    /// An index beside a file says that the file is on disk.
    fn leave_index(&self, files: &SegmentFiles) {
        if *locked(&self.segment.sync_failed) {
            return;
        }
        let left = self.segment.with_held_index(|index| files.write_index(&self.segment, index));
        if left == Some(true) {
            self.segment.set_index(None);
        }
    }
}

impl SegmentWriter {
    /// The files with bytes that no sync has covered yet, and with names that the disk does not know. Another thread
    /// runs the job; its outcome comes back to [`SegmentWriter::finish_sync`].
    pub fn files_to_sync(&mut self) -> SyncJob {
        self.unsynced.retain(|unsynced| !unsynced.segment.is_removed.load(Ordering::Acquire));
        let end_offset = self.files.end_offset();
        let active = self.active.as_ref().map(|active| active.segment.clone());
        let part = |unsynced: &Unsynced| Part {
            segment: unsynced.segment.clone(),
            file: unsynced.file.clone(),
            bytes: unsynced.segment.written(),
            end_offset: unsynced.segment.bound().min(end_offset),
            is_named: unsynced.is_named,
            is_sealed: active.as_ref().is_none_or(|active| !Arc::ptr_eq(active, &unsynced.segment)),
        };
        let mut parts: Vec<Part> = self.unsynced.iter().map(part).collect();
        parts.retain(|part| part.is_sealed || self.is_behind(&part.segment));
        SyncJob { files: self.files.clone(), parts, end_offset }
    }

    fn is_behind(&self, segment: &Arc<Segment>) -> bool {
        self.unsynced.iter().any(|unsynced| Arc::ptr_eq(&unsynced.segment, segment) && unsynced.is_behind())
    }

    /// Takes note of what was synced and returns the offset up to which everything is on disk. After an error
    /// [`SegmentWriter::rewrite_unsynced`] is to be called.
    pub fn finish_sync(&mut self, outcome: SyncOutcome) -> io::Result<u64> {
        for part in &outcome.parts {
            let same = |unsynced: &Unsynced| Arc::ptr_eq(&unsynced.segment, &part.segment);
            let Some(place) = self.unsynced.iter().position(same) else { continue };
            let unsynced = &mut self.unsynced[place];
            if unsynced.has_failed() {
                continue;
            }
            unsynced.is_named = true;
            unsynced.synced_bytes = unsynced.synced_bytes.max(part.bytes);
            unsynced.synced_end = unsynced.synced_end.max(part.end_offset);
            if part.is_sealed {
                self.unsynced.remove(place);
                part.segment.is_durable.store(true, Ordering::Release);
                part.segment.keep_open(None);
            }
        }
        if self.unsynced.iter().any(Unsynced::has_failed) {
            return Err(outcome.error.unwrap_or_else(|| io::Error::other("an earlier sync failed")));
        }
        Ok(self.durable_end())
    }

    /// The offset up to which everything is on disk.
    pub fn durable_end(&self) -> u64 {
        let first = self.unsynced.iter().find(|unsynced| unsynced.has_failed() || unsynced.is_behind());
        first.map_or(self.files.end_offset(), |unsynced| unsynced.synced_end)
    }
}
