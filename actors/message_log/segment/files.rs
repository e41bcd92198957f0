//! The log's files as they are now, shared by the thread that writes them and all that read.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::SegmentSummary;
use super::disk::{Disk, DiskFile, append_all, read_full};
use super::header::{HEADER_BYTES, Header, HeaderRead, index_name, log_name};
use super::index::{Index, Mark};
use super::walk::{Allowed, Step, Walk};

/// The bound of a segment that is the last one.
const NO_BOUND: u64 = u64::MAX;

/// All files of the log.
pub struct SegmentFiles {
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// Nothing is written, not even an index.
    pub(super) read_only: bool,
    /// Oldest first. The last one is the one that is written.
    segments: Mutex<VecDeque<Arc<Segment>>>,
    /// The offset up to which everything is written.
    end_offset: AtomicU64,
    /// Held while the oldest segment goes, or one takes another's name.
    pub(super) removal: Mutex<()>,
}

/// One file of the log.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) first_offset: u64,
    /// The bytes that hold whole records: readers see no others.
    written: AtomicU64,
    /// The first offset of the next segment, which overtakes what stands here from there on.
    bound: AtomicU64,
    /// Open as long as it is written or not synced.
    file: Mutex<Option<Arc<dyn DiskFile>>>,
    /// Held for the segment that is written; for others read, or made anew, when it is first needed.
    index: Mutex<Option<Index>>,
    /// The latest time of a record, or when the file was last written where no record was looked at.
    pub(super) last_at_micros: AtomicU64,
    /// A sync failed. Held while one runs, so that none can succeed behind one that failed.
    pub(super) sync_failed: Mutex<bool>,
    /// Everything is on disk and nothing more will be written.
    pub(super) is_durable: AtomicBool,
    /// The file was removed from the log.
    pub(super) is_removed: AtomicBool,
}

/// A lock whose state is consistent between any two statements that can panic, so a poisoned one is taken as it is.
pub(super) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Segment {
    pub(super) fn new(dir: &Path, first_offset: u64, written: u64, last_at_micros: u64) -> Segment {
        Segment {
            path: dir.join(log_name(first_offset)),
            first_offset,
            written: AtomicU64::new(written),
            bound: AtomicU64::new(NO_BOUND),
            file: Mutex::new(None),
            index: Mutex::new(None),
            last_at_micros: AtomicU64::new(last_at_micros),
            sync_failed: Mutex::new(false),
            is_durable: AtomicBool::new(false),
            is_removed: AtomicBool::new(false),
        }
    }

    /// The bytes that hold whole records.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(super) fn set_written(&self, bytes: u64) {
        self.written.store(bytes, Ordering::Release);
    }

    pub(super) fn bound(&self) -> u64 {
        self.bound.load(Ordering::Acquire)
    }

    pub(super) fn set_bound(&self, offset: u64) {
        self.bound.store(offset, Ordering::Release);
    }

    /// Takes the open file, or lets go of it.
    pub(super) fn keep_open(&self, file: Option<Arc<dyn DiskFile>>) {
        *locked(&self.file) = file;
    }

    /// The open file, or one opened for reading.
    pub(super) fn opened(&self, disk: &dyn Disk) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = &*locked(&self.file) {
            return Ok(file.clone());
        }
        disk.open(&self.path).map_err(|error| self.explain(&error))
    }

    pub(super) fn set_index(&self, index: Option<Index>) {
        *locked(&self.index) = index;
    }

    /// Works on the index where it is in memory.
    pub(super) fn with_held_index<R>(&self, work: impl FnOnce(&mut Index) -> R) -> Option<R> {
        locked(&self.index).as_mut().map(work)
    }

    /// Reads the header; an error for a file of another version or under a wrong name.
    pub(super) fn read_header(&self, file: &dyn DiskFile) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER_BYTES as usize];
        let filled = read_full(file, &mut bytes, 0).map_err(|error| self.explain(&error))?;
        match Header::decode(&bytes[..filled]) {
            HeaderRead::Good(header) if header.first_offset != self.first_offset => {
                Err(io::Error::new(io::ErrorKind::InvalidData, wrong_name(&self.path, header.first_offset)))
            }
            HeaderRead::Good(header) => Ok(Some(header)),
            HeaderRead::UnknownVersion(version) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, unknown_version(&self.path, version)))
            }
            HeaderRead::Broken => Ok(None),
        }
    }

    /// The same error with the file's name.
    pub(super) fn explain(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

/// What is wrong with a file of another version, and what to do.
pub(super) fn unknown_version(path: &Path, version: u32) -> String {
    let path = path.display();
    format!(
        "{path} has version {version} of the log's format, which this mqtt-proxy does not know: use the one that wrote it"
    )
}

fn wrong_name(path: &Path, first_offset: u64) -> String {
    format!(
        "{} was named {} when it was written: give it that name again",
        path.display(),
        log_name(first_offset)
    )
}

impl SegmentFiles {
    pub(super) fn new(
        dir: PathBuf,
        disk: Arc<dyn Disk>,
        read_only: bool,
        segments: VecDeque<Arc<Segment>>,
    ) -> SegmentFiles {
        SegmentFiles {
            dir,
            disk,
            read_only,
            segments: Mutex::new(segments),
            end_offset: AtomicU64::new(NO_BOUND),
            removal: Mutex::new(()),
        }
    }

    pub(super) fn segments(&self) -> MutexGuard<'_, VecDeque<Arc<Segment>>> {
        locked(&self.segments)
    }

    pub(super) fn set_end_offset(&self, offset: u64) {
        self.end_offset.store(offset, Ordering::Release);
    }

    /// The offset up to which everything is written.
    pub fn end_offset(&self) -> u64 {
        self.end_offset.load(Ordering::Acquire)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.written()).sum()
    }

    /// The offset that the oldest file is named by: no record before it is left. `None` in an empty log.
    pub fn first_offset(&self) -> Option<u64> {
        let segments = self.segments();
        let oldest = segments.front()?;
        let is_empty = segments.len() == 1 && oldest.written() <= HEADER_BYTES;
        if is_empty { None } else { Some(oldest.first_offset) }
    }

    /// The files, oldest first, as far as they are known without being opened.
    pub fn summaries(&self) -> Vec<SegmentSummary> {
        self.segments().iter().map(|segment| self.summary(segment)).collect()
    }

    fn summary(&self, segment: &Segment) -> SegmentSummary {
        SegmentSummary {
            path: segment.path.clone(),
            first_offset: segment.first_offset,
            end_offset: segment.bound().min(self.end_offset()),
            bytes: segment.written(),
            last_at_micros: segment.last_at_micros.load(Ordering::Relaxed),
        }
    }

    /// Bytes of files from `offset` to the end: at most an index's stride more than there are.
    pub fn bytes_from(&self, offset: u64) -> u64 {
        let segments: Vec<Arc<Segment>> = self.segments().iter().cloned().collect();
        let place = segments.partition_point(|segment| segment.first_offset <= offset).saturating_sub(1);
        let Some(segment) = segments.get(place) else { return 0 };
        if offset >= self.end_offset() {
            return 0;
        }
        let before = self.with_index(segment, |index| index.before_offset(offset));
        let position = before.ok().flatten().map_or(0, |mark| mark.position);
        let behind: u64 = segments[place + 1..].iter().map(|segment| segment.written()).sum();
        segment.written().saturating_sub(position) + behind
    }

    /// Removes the oldest segment; never the one that is written. Who reads in it can read on and goes over to the
    /// next one.
    pub fn remove_oldest(&self) -> io::Result<Option<SegmentSummary>> {
        let _one_at_a_time = locked(&self.removal);
        let oldest = {
            let segments = self.segments();
            match segments.front() {
                Some(oldest) if segments.len() > 1 => oldest.clone(),
                _ => return Ok(None),
            }
        };
        match self.disk.remove(&oldest.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(oldest.explain(&error)),
            _ => oldest.is_removed.store(true, Ordering::Release),
        }
        let index_path = self.index_path(&oldest);
        // One that stays behind is removed when the log is opened.
        let _ = self.disk.remove(&index_path);
        let summary = self.summary(&oldest);
        self.segments().retain(|segment| !Arc::ptr_eq(segment, &oldest));
        Ok(Some(summary))
    }

    pub(super) fn index_path(&self, segment: &Segment) -> PathBuf {
        self.dir.join(index_name(segment.first_offset))
    }

    /// Works on a segment's index, which is read or made anew if it is not in memory.
    pub(super) fn with_index<R>(&self, segment: &Segment, work: impl FnOnce(&Index) -> R) -> io::Result<R> {
        let mut held = locked(&segment.index);
        if let Some(index) = &*held {
            return Ok(work(index));
        }
        let index = match self.read_index(segment) {
            Some(index) => index,
            None => self.rebuild_index(segment)?,
        };
        segment.last_at_micros.store(index.latest_at_micros, Ordering::Relaxed);
        Ok(work(held.insert(index)))
    }

    fn read_index(&self, segment: &Segment) -> Option<Index> {
        let file = self.disk.open(&self.index_path(segment)).ok()?;
        let mut bytes = vec![0; usize::try_from(file.bytes().ok()?).ok()?];
        let filled = read_full(&*file, &mut bytes, 0).ok()?;
        Index::decode(&bytes[..filled], segment.first_offset, segment.written())
    }

    /// Makes an index from the segment's records.
    fn rebuild_index(&self, segment: &Segment) -> io::Result<Index> {
        let file = segment.opened(&*self.disk)?;
        let start = if segment.read_header(&*file)?.is_some() { HEADER_BYTES } else { 0 };
        let allowed = Allowed { floor: segment.first_offset, bound: segment.bound() };
        let mut walk = Walk::new(&*file, start, segment.written(), allowed);
        let mut index = Index::default();
        loop {
            match walk.step().map_err(|error| segment.explain(&error))? {
                Step::Record(seen, position) => index.note(&seen, position),
                Step::Corrupt(..) => {}
                Step::End => break,
            }
        }
        // Beside a file that may not be on disk yet there is no index: that is how one is known after a crash.
        if segment.is_durable.load(Ordering::Acquire) {
            self.write_index(segment, &index);
        }
        Ok(index)
    }

    /// Writes an index beside its segment and says whether it is there. It is a help and no more: without it the segment
    /// is read once more.
    pub(super) fn write_index(&self, segment: &Segment, index: &Index) -> bool {
        if self.read_only || segment.is_removed.load(Ordering::Acquire) {
            return false;
        }
        let path = self.index_path(segment);
        let bytes = index.encode(segment.first_offset, segment.written());
        let written = self.disk.create(&path);
        let written = written.and_then(|file| append_all(&*file, &mut [io::IoSlice::new(&bytes)]));
        if let Err(error) = &written {
            log::warn!("Could not write {}: {error}. It is made again when it is needed.", path.display());
        }
        written.is_ok()
    }

    /// Where in a segment to start for a record at `offset` or the first one behind it.
    pub(super) fn start_for(&self, segment: &Segment, offset: u64) -> io::Result<Option<Mark>> {
        if offset <= segment.first_offset {
            return Ok(None);
        }
        self.with_index(segment, |index| index.before_offset(offset))
    }
}
