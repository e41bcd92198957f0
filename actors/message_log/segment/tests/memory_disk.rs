//! A disk in memory that fails where a test wants it to, counts what is read, and forgets what no sync covered when
//! the power goes.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::message_log::segment::disk::{DirEntry, Disk, DiskFile};
use crate::message_log::segment::files::locked;

/// What becomes of the next call of a kind.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It works.
    Pass,
    /// It fails.
    Fail(io::ErrorKind),
    /// An append takes no more than so many bytes.
    Short(usize),
}

#[derive(Default)]
pub struct Plan {
    pub appends: VecDeque<Fault>,
    pub syncs: VecDeque<Fault>,
    pub dir_syncs: VecDeque<Fault>,
    pub set_lens: VecDeque<Fault>,
    pub creates: VecDeque<Fault>,
    pub removes: VecDeque<Fault>,
    pub renames: VecDeque<Fault>,
    /// The paths that were read, with the bytes.
    pub reads: BTreeMap<PathBuf, u64>,
}

#[derive(Default)]
pub struct MemoryDisk {
    files: Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>,
    durable_names: Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>,
    pub plan: Arc<Mutex<Plan>>,
}

pub struct MemoryFile {
    path: PathBuf,
    content: Mutex<Content>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default)]
struct Content {
    data: Vec<u8>,
    durable: Vec<u8>,
    /// What the kernel dropped when a sync failed: still to be read, never on disk.
    dropped: Vec<Range<usize>>,
}

fn next(faults: &mut VecDeque<Fault>) -> io::Result<usize> {
    match faults.pop_front() {
        Some(Fault::Fail(kind)) => Err(kind.into()),
        Some(Fault::Short(bytes)) => Ok(bytes),
        Some(Fault::Pass) | None => Ok(usize::MAX),
    }
}

impl MemoryDisk {
    pub fn new() -> Arc<MemoryDisk> {
        Arc::default()
    }

    pub fn names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        locked(&self.files).keys().map(name).collect()
    }

    pub fn data(&self, path: &Path) -> Vec<u8> {
        locked(&locked(&self.files)[path].content).data.clone()
    }

    /// Changes a file behind the log's back.
    pub fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut locked(&locked(&self.files)[path].content).data);
    }

    pub fn put(&self, path: &Path, data: Vec<u8>) {
        let content = Mutex::new(Content { data, ..Content::default() });
        let file = MemoryFile { path: path.to_owned(), content, plan: self.plan.clone() };
        locked(&self.files).insert(path.to_owned(), Arc::new(file));
    }

    pub fn delete(&self, path: &Path) {
        locked(&self.files).remove(path);
    }

    /// What there is when the power comes back.
    pub fn after_power_cut(&self) -> Arc<MemoryDisk> {
        let disk = MemoryDisk::new();
        for (path, file) in &*locked(&self.durable_names) {
            disk.put(path, locked(&file.content).durable.clone());
        }
        disk
    }

    /// The files as they are, without what is open.
    pub fn copy(&self) -> Arc<MemoryDisk> {
        let disk = MemoryDisk::new();
        for (path, file) in &*locked(&self.files) {
            disk.put(path, locked(&file.content).data.clone());
        }
        disk
    }

    fn existing(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match locked(&self.files).get(path) {
            Some(file) => Ok(file.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let files = locked(&self.files);
        let inside = files.iter().filter(|(file, _)| file.parent() == Some(path));
        let entry = |(path, file): (&PathBuf, &Arc<MemoryFile>)| DirEntry {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            bytes: locked(&file.content).data.len() as u64,
            modified_at_micros: 7,
        };
        Ok(inside.map(entry).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        next(&mut locked(&self.plan).creates)?;
        if let Some(file) = locked(&self.files).get(path) {
            locked(&file.content).data.clear();
            return Ok(file.clone());
        }
        self.put(path, Vec::new());
        self.existing(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.existing(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.existing(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        next(&mut locked(&self.plan).renames)?;
        let mut files = locked(&self.files);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        next(&mut locked(&self.plan).removes)?;
        locked(&self.files).remove(path).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if path != Path::new(super::DIR) {
            return Ok(());
        }
        next(&mut locked(&self.plan).dir_syncs)?;
        *locked(&self.durable_names) = locked(&self.files).clone();
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn append_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut room = next(&mut locked(&self.plan).appends)?;
        let before = room;
        let mut content = locked(&self.content);
        for slice in slices {
            let taken = slice.len().min(room);
            content.data.extend_from_slice(&slice[..taken]);
            room -= taken;
        }
        Ok(before - room)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let content = locked(&self.content);
        let rest = content.data.get(position as usize..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        *locked(&self.plan).reads.entry(self.path.clone()).or_default() += bytes as u64;
        Ok(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = locked(&self.content);
        let result = next(&mut locked(&self.plan).syncs);
        if result.is_err() {
            let range = content.durable.len().min(content.data.len())..content.data.len();
            content.dropped.push(range);
            return result.map(|_| ());
        }
        content.durable = content.data.clone();
        let dropped = content.dropped.clone();
        for range in dropped {
            let end = range.end.min(content.durable.len());
            content.durable[range.start.min(end)..end].fill(0);
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        next(&mut locked(&self.plan).set_lens)?;
        locked(&self.content).data.resize(bytes as usize, 0);
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(locked(&self.content).data.len() as u64)
    }
}
