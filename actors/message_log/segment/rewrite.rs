//! Copies what a failed sync may have lost to a new file. The kernel may have dropped what it could not bring to the
//! disk, so another try with the same file would prove nothing; what it holds can mostly still be read.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::disk::{DiskFile, append_all, micros};
use super::files::{Segment, SegmentFiles, locked};
use super::header::{HEADER_BYTES, Header, UNFINISHED_NAME};
use super::index::Index;
use super::reader::{Look, Place};
use super::sync::Unsynced;
use super::walk::{Allowed, Step, Walk};
use super::writer::{Active, SegmentWriter, note_records};

/// How much is copied in one go.
const COPY_BYTES: usize = 1024 * 1024;

impl SegmentWriter {
    /// Copies what a failed sync may have lost to new files and brings those to the disk, here and now; returns the
    /// offset up to which everything is on disk. After an error it can be called again.
    pub fn rewrite_unsynced(&mut self) -> io::Result<u64> {
        while let Some(place) = self.unsynced.iter().position(Unsynced::has_failed) {
            self.rewrite(place)?;
        }
        Ok(self.durable_end())
    }

    fn rewrite(&mut self, place: usize) -> io::Result<()> {
        let unsynced = &self.unsynced[place];
        let old = unsynced.segment.clone();
        if old.is_removed.load(Ordering::Acquire) {
            self.unsynced.remove(place);
            return Ok(());
        }
        let copied = Copy::of(&self.files, unsynced)?;
        let synced_bytes = unsynced.synced_bytes.max(HEADER_BYTES);
        let synced_end = unsynced.synced_end;
        let is_active = self.active.as_ref().is_some_and(|active| Arc::ptr_eq(&active.segment, &old));
        let Some(Copy { segment: new, file }) = copied else {
            // No record is there to copy, so what is there is cut to what is sure.
            let lost_bytes = old.written().saturating_sub(synced_bytes);
            if lost_bytes > 0 {
                log::error!("{}: the disk lost the last {lost_bytes} bytes", old.path.display());
            }
            old.set_written(synced_bytes);
            self.unsynced.remove(place);
            self.close(&old, synced_bytes);
            self.active.take_if(|_| is_active);
            return Ok(());
        };
        self.files.put_beside(&old, &new, synced_bytes)?;
        if new.first_offset != old.first_offset {
            self.close(&old, synced_bytes);
        }
        self.unsynced[place] = Unsynced::new(new.clone(), Some(file.clone()), synced_end);
        if is_active {
            self.active = Some(Active { segment: new.clone(), file, is_spoilt: false });
        }
        if let Err(error) = self.files.disk.sync_dir(&self.files.dir) {
            *locked(&new.sync_failed) = true;
            return Err(new.explain(&error));
        }
        let unsynced = &mut self.unsynced[place];
        unsynced.is_named = true;
        unsynced.synced_bytes = new.written();
        unsynced.synced_end = new.bound().min(self.files.end_offset());
        Ok(())
    }

    /// Cuts a segment whose end stands in another one now.
    fn close(&self, segment: &Segment, bytes: u64) {
        let cut = self.files.disk.open_append(&segment.path).and_then(|file| file.set_len(bytes));
        if let Err(error) = cut {
            // The next segment's name says where this one ends, so nothing is read twice.
            log::warn!("Could not cut {}: {error}", segment.path.display());
        }
        segment.set_index(None);
        segment.is_durable.store(true, Ordering::Release);
        segment.keep_open(None);
    }
}

/// The unsynced rest of a segment in a file of its own, on disk but without its name.
struct Copy {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
}

impl Copy {
    /// Copies; `None` if there is no record to copy and the segment may stay.
    fn of(files: &Arc<SegmentFiles>, unsynced: &Unsynced) -> io::Result<Option<Copy>> {
        let old = &unsynced.segment;
        let source = match &unsynced.file {
            Some(file) => file.clone(),
            None => files.disk.open(&old.path).map_err(|error| old.explain(&error))?,
        };
        let is_whole = unsynced.synced_bytes <= HEADER_BYTES;
        let position = unsynced.synced_bytes.max(HEADER_BYTES);
        let (first_offset, previous) = if is_whole {
            (old.first_offset, files.before(old))
        } else {
            match first_record(&*source, old, position)? {
                Some(offset) => (offset, Some(old.first_offset)),
                None => return Ok(None),
            }
        };
        let path = files.dir.join(UNFINISHED_NAME);
        let place = Place { segment: old.clone(), file: source, position, floor: old.first_offset };
        let header = Header { created_at_micros: micros(SystemTime::now()), first_offset, previous };
        let copied = copy_records(files, &path, place, &header);
        copied.map(Some).inspect_err(|_| {
            // If it stays, it is emptied by the next attempt or removed when the log is opened.
            let _ = files.disk.remove(&path);
        })
    }
}

fn first_record(file: &dyn DiskFile, segment: &Segment, position: u64) -> io::Result<Option<u64>> {
    let allowed = Allowed { floor: segment.first_offset, bound: segment.bound() };
    let mut walk = Walk::new(file, position, segment.written(), allowed);
    loop {
        match walk.step().map_err(|error| segment.explain(&error))? {
            Step::Record(seen, _) => return Ok(Some(seen.offset)),
            Step::Corrupt(..) => {}
            Step::End => return Ok(None),
        }
    }
}

/// Writes what stands from `place` on to a new file and syncs it.
fn copy_records(files: &SegmentFiles, path: &Path, mut place: Place, header: &Header) -> io::Result<Copy> {
    let old = place.segment.clone();
    let file = files.disk.create(path)?;
    append_all(&*file, &mut [IoSlice::new(&header.encode())])?;
    let mut written = HEADER_BYTES;
    let mut index = Index::default();
    let limit = old.written();
    while place.position < limit {
        if let Look::Records(block) = place.look(limit, old.bound(), 0, COPY_BYTES)? {
            append_all(&*file, &mut [IoSlice::new(&block.bytes)])?;
            note_records(&mut index, &block.bytes, written);
            written += block.bytes.len() as u64;
        }
    }
    file.sync_data()?;
    let last_at_micros = old.last_at_micros.load(Ordering::Relaxed);
    let segment = Segment::new(&files.dir, header.first_offset, written, last_at_micros);
    segment.set_bound(old.bound());
    segment.set_index(Some(index));
    segment.keep_open(Some(file.clone()));
    Ok(Copy { segment: Arc::new(segment), file })
}

impl SegmentFiles {
    /// What the segment before this one is named by.
    fn before(&self, segment: &Segment) -> Option<u64> {
        let segments = self.segments();
        let place = segments.partition_point(|other| other.first_offset < segment.first_offset);
        Some(segments.get(place.checked_sub(1)?)?.first_offset)
    }

    /// Gives `new` its name, and its place in the list for what `old` has behind `kept_bytes`.
    fn put_beside(&self, old: &Arc<Segment>, new: &Arc<Segment>, kept_bytes: u64) -> io::Result<()> {
        // Else the file under the old one's name could be removed when it is the new one already.
        let _no_removal = locked(&self.removal);
        let unfinished = self.dir.join(UNFINISHED_NAME);
        self.disk.rename(&unfinished, &new.path).map_err(|error| new.explain(&error))?;
        let mut segments = self.segments();
        // One that is no longer there was the oldest.
        let place = segments.iter().position(|segment| Arc::ptr_eq(segment, old));
        let behind = place.map_or(0, |place| place + 1);
        if new.first_offset == old.first_offset {
            old.is_removed.store(true, Ordering::Release);
            old.set_written(0);
            segments.retain(|segment| !Arc::ptr_eq(segment, old));
            segments.insert(place.unwrap_or(0), new.clone());
        } else {
            old.set_bound(new.first_offset);
            old.set_written(kept_bytes);
            segments.insert(behind, new.clone());
        }
        Ok(())
    }
}
