//! Opening looks at the last segment only.

use super::*;
use crate::message_log::segment::header::Header;

#[test]
fn opening_reads_the_last_segment_only_however_long_the_log_is() {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, 2_000);
    for offset in 0..5_000 {
        opened.writer.write(&mut queue([run_of(&[offset], 100)])).unwrap();
    }
    sync(&mut opened).unwrap();
    let summaries = opened.files.summaries();
    assert!(summaries.len() > 300);
    let last = summaries[summaries.len() - 1].clone();
    drop(opened);
    disk.plan.lock().unwrap().reads.clear();
    let opened = open_on(&disk, 2_000);
    assert_eq!(opened.next_offset, 5_000);
    let reads = disk.plan.lock().unwrap().reads.clone();
    assert_eq!(reads.keys().collect::<Vec<_>>(), [&last.path]);
    assert_eq!(reads[&last.path], last.bytes);
}

/// Files of many GiB that take no room: all but the last one are holes.
#[test]
fn gigabytes_are_opened_without_being_read() {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crate::message_log::segment::disk::{DirEntry, DiskFile, RealDisk};

    #[derive(Default)]
    struct CountingDisk(AtomicUsize);

    impl Disk for CountingDisk {
        fn create_dir(&self, path: &Path) -> io::Result<()> {
            RealDisk.create_dir(path)
        }
        fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
            RealDisk.list(path)
        }
        fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            RealDisk.create(path)
        }
        fn open_append(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            RealDisk.open_append(path)
        }
        fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            RealDisk.open(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            RealDisk.rename(from, to)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            RealDisk.remove(path)
        }
        fn sync_dir(&self, path: &Path) -> io::Result<()> {
            RealDisk.sync_dir(path)
        }
    }

    let dir = std::env::temp_dir().join(format!("mqtt-proxy-long-log-{}", uuid::Uuid::new_v4()));
    let disk = Arc::new(CountingDisk::default());
    disk.create_dir(&dir).unwrap();
    for place in 0..32u64 {
        let previous = place.checked_sub(1).map(|place| place * 1_000);
        let header = Header { created_at_micros: 1, first_offset: place * 1_000, previous };
        let file = disk.create(&dir.join(super::super::header::log_name(place * 1_000))).unwrap();
        file.append_vectored(&[io::IoSlice::new(&header.encode())]).unwrap();
        file.set_len(256 * 1024 * 1024).unwrap();
    }
    let file = disk.create(&dir.join(super::super::header::log_name(32_000))).unwrap();
    let header = Header { created_at_micros: 1, first_offset: 32_000, previous: Some(31_000) };
    let records = record_bytes(32_001, 10);
    file.append_vectored(&[io::IoSlice::new(&header.encode()), io::IoSlice::new(&records)]).unwrap();
    let opened = open(SegmentOptions { dir: dir.clone(), segment_bytes: 1 << 28 }, disk.clone());
    let opened = opened.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((opened.next_offset, disk.0.load(Ordering::Relaxed)), (32_002, 1));
    assert!(opened.files.bytes() > 8 << 30);
    assert_eq!(offsets(&opened.files, 32_000), [32_001]);
    std::fs::remove_dir_all(&dir).unwrap();
}
