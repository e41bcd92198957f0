//! Opens the log's files. Only the last one is read, since only there a crash leaves a trace: opening takes the same
//! time for a log of any length.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::{DirEntry, Disk, DiskFile};
use super::files::{Segment, SegmentFiles};
use super::header::{HEADER_BYTES, UNFINISHED_NAME, parse_index_name, parse_log_name};
use super::index::Index;
use super::sync::Unsynced;
use super::walk::{Allowed, Step, Walk};
use super::writer::{Active, SegmentWriter};
use super::{OpenError, Opened, RealDisk, Recovery, SegmentOptions};

/// Opens the log in a directory, which is made if it is not there.
pub fn open(options: SegmentOptions, disk: Arc<dyn Disk>) -> Result<Opened, OpenError> {
    let dir = options.dir;
    disk.create_dir(&dir).map_err(|error| of_directory(&dir, &error))?;
    sync_name_of(&dir, &*disk);
    let entries = disk.list(&dir).map_err(|error| of_directory(&dir, &error))?;
    remove_leftovers(&dir, &entries, &*disk);
    let segments = segments_of(&dir, &entries);
    let mut unsynced: VecDeque<Unsynced> = VecDeque::new();
    let last = segments.len().saturating_sub(1);
    for segment in segments.iter().take(last).filter(|segment| !segment.is_durable.load(Ordering::Relaxed)) {
        unsynced.push_back(Unsynced::new(segment.clone(), None, segment.first_offset));
    }
    let mut recovery = Recovery::default();
    let mut next_offset = 0;
    let mut active = None;
    if let Some(segment) = segments.back() {
        let file = disk.open_append(&segment.path).map_err(|error| of_file(&segment.path, &error))?;
        let is_spoilt;
        (recovery, is_spoilt) = recover(segment, &*file)?;
        let end_offset = segment.with_held_index(|index| index.end_offset).unwrap_or_default();
        next_offset = end_offset.max(segment.first_offset);
        segment.keep_open(Some(file.clone()));
        segment.is_durable.store(false, Ordering::Relaxed);
        unsynced.push_back(Unsynced::new(segment.clone(), Some(file.clone()), segment.first_offset));
        active = Some(Active { segment: segment.clone(), file, is_spoilt });
    }
    let files = Arc::new(SegmentFiles::new(dir, disk, false, segments));
    files.set_end_offset(next_offset);
    let writer = SegmentWriter::new(files.clone(), options.segment_bytes, active, unsynced);
    Ok(Opened { files, writer, next_offset, recovery })
}

/// Brings the directory's own name to the disk: without it nothing in it would be found after a power cut.
fn sync_name_of(dir: &Path, disk: &dyn Disk) {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    if let Err(error) = disk.sync_dir(parent) {
        log::warn!("Could not sync {}: {error}", parent.display());
    }
}

/// Opens the log in a directory for reading, as it stands at this moment; another process may be writing it. Nothing is
/// written, made or cut.
pub fn open_read_only(dir: &Path) -> Result<Arc<SegmentFiles>, OpenError> {
    open_read_only_on(dir, Arc::new(RealDisk))
}

pub(super) fn open_read_only_on(dir: &Path, disk: Arc<dyn Disk>) -> Result<Arc<SegmentFiles>, OpenError> {
    let entries = disk.list(dir).map_err(|error| {
        OpenError::new(format!("{} cannot be read: {error}; name the proxy's data directory", dir.display()))
    })?;
    let segments = segments_of(dir, &entries);
    Ok(Arc::new(SegmentFiles::new(dir.to_owned(), disk, true, segments)))
}

/// The segments that a directory holds, oldest first.
fn segments_of(dir: &Path, entries: &[DirEntry]) -> VecDeque<Arc<Segment>> {
    let indexes: HashSet<u64> = entries.iter().filter_map(|entry| parse_index_name(&entry.name)).collect();
    let named = |entry: &DirEntry| {
        let first_offset = parse_log_name(&entry.name)?;
        let segment = Segment::new(dir, first_offset, entry.bytes, entry.modified_at_micros);
        segment.is_durable.store(indexes.contains(&first_offset), Ordering::Relaxed);
        Some(Arc::new(segment))
    };
    let mut segments: Vec<Arc<Segment>> = entries.iter().filter_map(named).collect();
    segments.sort_by_key(|segment| segment.first_offset);
    for pair in segments.windows(2) {
        pair[0].set_bound(pair[1].first_offset);
    }
    segments.into()
}

/// Removes what an earlier process did not finish, and indexes without a segment. If that fails they do no harm.
fn remove_leftovers(dir: &Path, entries: &[DirEntry], disk: &dyn Disk) {
    let logs: HashSet<u64> = entries.iter().filter_map(|entry| parse_log_name(&entry.name)).collect();
    let is_left = |name: &str| {
        name == UNFINISHED_NAME || parse_index_name(name).is_some_and(|offset| !logs.contains(&offset))
    };
    for entry in entries.iter().filter(|entry| is_left(&entry.name)) {
        let _ = disk.remove(&dir.join(&entry.name));
    }
}

/// Reads the last segment, cuts off what holds no whole record at its end, and says whether more may be appended.
fn recover(segment: &Segment, file: &dyn DiskFile) -> Result<(Recovery, bool), OpenError> {
    let of_this = |error: io::Error| of_file(&segment.path, &error);
    let bytes = file.bytes().map_err(of_this)?;
    let has_header = segment.read_header(file).map_err(refused)?.is_some();
    let start = if has_header { HEADER_BYTES } else { 0 };
    let allowed = Allowed { floor: segment.first_offset, bound: u64::MAX };
    let mut walk = Walk::new(file, start, bytes, allowed);
    let mut index = Index::default();
    let mut end = start;
    let mut corrupt_bytes = 0;
    loop {
        match walk.step().map_err(of_this)? {
            Step::Record(seen, position) => {
                index.note(&seen, position);
                end = position + seen.length as u64;
            }
            Step::Corrupt(from, to) => corrupt_bytes += to - from,
            Step::End => break,
        }
    }
    let recovery = Recovery { cut_bytes: bytes - end, skipped_bytes: corrupt_bytes - (bytes - end) };
    segment.set_index(Some(index));
    segment.set_written(end);
    if recovery.skipped_bytes > 0 {
        log::error!(
            "{} is damaged: {} bytes before its last record hold no whole record and are skipped",
            segment.path.display(),
            recovery.skipped_bytes,
        );
    }
    Ok((recovery, !has_header | !is_cut(segment, file, &recovery)))
}

/// Cuts off the end where it holds no whole record; whether there is none now.
fn is_cut(segment: &Segment, file: &dyn DiskFile, recovery: &Recovery) -> bool {
    if recovery.cut_bytes == 0 {
        return true;
    }
    let (path, cut_bytes) = (segment.path.display(), recovery.cut_bytes);
    match file.set_len(segment.written()) {
        Ok(()) => log::warn!("{path}: cut off {cut_bytes} bytes at the end, which hold no whole record"),
        Err(error) => log::warn!(
            "{path}: the last {cut_bytes} bytes hold no whole record and could not be cut off: {error}"
        ),
    }
    file.bytes().is_ok_and(|bytes| bytes == segment.written())
}

fn of_directory(dir: &Path, error: &io::Error) -> OpenError {
    let dir = dir.display();
    OpenError::new(format!(
        "The log's directory {dir} cannot be opened: {error}; give the proxy's user the right to it"
    ))
}

fn of_file(path: &Path, error: &io::Error) -> OpenError {
    let path = path.display();
    OpenError::new(format!(
        "The log's file {path} cannot be read: {error}; make it readable, or move it away to do without it"
    ))
}

/// For an error that names the file and says what to do already.
fn refused(error: io::Error) -> OpenError {
    OpenError::new(error.to_string())
}
