//! What is written is read: in order, across segments, from any offset or time, while segments come and go.

use super::*;
use crate::message_log::segment::header::{HEADER_BYTES, index_name};
use crate::message_log::segment::{RealDisk, open_read_only};

/// Ten runs of three records each, with gaps.
fn thirty(disk: &Arc<MemoryDisk>, segment_bytes: u64) -> (Opened, Vec<u64>) {
    let mut opened = open_on(disk, segment_bytes);
    let mut all = Vec::new();
    let mut runs = VecDeque::new();
    for place in 0..10 {
        let of_run = [place * 10 + 1, place * 10 + 2, place * 10 + 7];
        all.extend(of_run);
        runs.push_back(run_of(&of_run, 50));
    }
    opened.writer.write(&mut runs).unwrap();
    assert!(runs.is_empty());
    (opened, all)
}

#[test]
fn records_with_gaps_come_back_as_they_were_from_any_offset() {
    for segment_bytes in [1, 600, 1_000_000] {
        let disk = MemoryDisk::new();
        let (opened, all) = thirty(&disk, segment_bytes);
        for from in 0..=100 {
            let wanted: Vec<u64> = all.iter().copied().filter(|offset| *offset >= from).collect();
            assert_eq!(offsets(&opened.files, from), wanted, "from {from}");
        }
        for (offset, bytes) in read_all(&opened.files, 0).0 {
            assert_eq!(bytes, record_bytes(offset, 50));
        }
    }
}

#[test]
fn segments_are_named_by_their_first_record_and_no_longer_than_asked_for() {
    let disk = MemoryDisk::new();
    let (opened, _) = thirty(&disk, 700);
    let summaries = opened.files.summaries();
    assert_eq!(summaries.len(), 5);
    for (summary, next) in summaries.iter().zip(&summaries[1..]) {
        assert!(summary.bytes <= 700 && summary.end_offset == next.first_offset);
    }
    assert_eq!((summaries[1].path.clone(), summaries[1].first_offset), (path(21), 21));
    assert_eq!((summaries[4].end_offset, summaries[4].last_at_micros), (98, time_of(97)));
    assert_eq!(opened.files.bytes(), summaries.iter().map(|summary| summary.bytes).sum::<u64>());
    assert_eq!((opened.files.first_offset(), opened.files.end_offset()), (Some(1), 98));
    assert_eq!(opened.files.bytes_from(0), opened.files.bytes() - HEADER_BYTES);
    assert_eq!(opened.files.bytes_from(98), 0);
    let last_two = summaries[3].bytes + summaries[4].bytes;
    assert!((last_two - 40..=last_two).contains(&opened.files.bytes_from(summaries[3].first_offset)));
}

#[test]
fn an_empty_log_has_nothing_and_a_cursor_in_it_finds_what_comes() {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, 1_000);
    assert_eq!((opened.next_offset, opened.files.first_offset(), opened.files.bytes()), (0, None, 0));
    assert_eq!(opened.files.offset_at_time(5).unwrap(), 0);
    let mut cursor = opened.files.cursor_at(0).unwrap();
    assert!(opened.files.read(&mut cursor, 100).unwrap().bytes.is_empty());
    opened.writer.write(&mut queue([run_of(&[3, 4], 10)])).unwrap();
    let block = opened.files.read(&mut cursor, 1_000).unwrap();
    assert_eq!((block.first_offset, block.end_offset), (3, 5));
    opened.writer.write(&mut queue([run_of(&[9], 10)])).unwrap();
    assert_eq!(opened.files.read(&mut cursor, 1_000).unwrap().first_offset, 9);
    assert!(opened.files.read(&mut cursor, 1_000).unwrap().bytes.is_empty());
}

#[test]
fn a_record_longer_than_a_read_comes_alone() {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, 1_000);
    let large = 3 * 1024 * 1024;
    let runs = [run_of(&[1], 10), run_of(&[2], large), run_of(&[4, 6], 300_000), run_of(&[7], 10)];
    opened.writer.write(&mut queue(runs)).unwrap();
    assert_eq!(offsets(&opened.files, 0), [1, 2, 4, 6, 7]);
    assert_eq!(offsets(&opened.files, 3), [4, 6, 7]);
    let mut cursor = opened.files.cursor_at(2).unwrap();
    let block = opened.files.read(&mut cursor, 100).unwrap();
    assert_eq!(block.bytes, record_bytes(2, large));
}

#[test]
fn the_log_goes_on_where_it_was_after_a_restart() {
    let disk = MemoryDisk::new();
    let (mut opened, mut all) = thirty(&disk, 700);
    sync(&mut opened).unwrap();
    drop(opened);
    for offset in [98, 120, 121] {
        let mut opened = open_on(&disk, 700);
        assert_eq!(opened.next_offset, all[all.len() - 1] + 1);
        assert_eq!(opened.recovery, super::super::Recovery::default());
        assert_eq!(offsets(&opened.files, 0), all);
        opened.writer.write(&mut queue([run_of(&[offset], 50)])).unwrap();
        all.push(offset);
        assert_eq!(offsets(&opened.files, 0), all);
    }
    assert_eq!(open_on(&disk, 700).files.summaries().len(), 6);
}

#[test]
fn an_index_is_left_beside_what_is_on_disk_and_made_again_if_it_is_broken() {
    let disk = MemoryDisk::new();
    let (mut opened, all) = thirty(&disk, 700);
    let index = |offset| Path::new(DIR).join(index_name(offset));
    assert!(!disk.names().contains(&index_name(1)));
    sync(&mut opened).unwrap();
    assert!(disk.names().contains(&index_name(1)) && !disk.names().contains(&index_name(81)));
    drop(opened);
    let good = disk.data(&index(21));
    disk.change(&index(21), |data| data[60] ^= 1);
    disk.delete(&index(41));
    disk.put(&index(5), good.clone());
    let mut opened = open_on(&disk, 700);
    assert_eq!(offsets(&opened.files, 22), all[all.iter().position(|offset| *offset == 22).unwrap()..]);
    assert_eq!(opened.files.offset_at_time(time_of(32)).unwrap(), 32);
    assert_eq!(disk.data(&index(21)), good, "the broken one is replaced");
    assert!(!disk.names().contains(&index_name(5)), "one without a segment is removed");
    assert!(!disk.names().contains(&index_name(41)), "what may not be on disk has no index");
    sync(&mut opened).unwrap();
    opened.files.cursor_at(42).unwrap();
    assert_eq!(opened.files.offset_at_time(time_of(55)).unwrap(), 57);
}

#[test]
fn the_first_record_at_or_after_a_time_is_found() {
    for segment_bytes in [1, 700, 1_000_000] {
        let disk = MemoryDisk::new();
        let (opened, all) = thirty(&disk, segment_bytes);
        for time in (time_of(0)..=time_of(100)).step_by(5) {
            let wanted = all.iter().copied().find(|offset| time_of(*offset) >= time).unwrap_or(98);
            assert_eq!(opened.files.offset_at_time(time).unwrap(), wanted, "time {time}");
        }
    }
}

#[test]
fn a_cursor_in_a_segment_that_is_removed_reads_on() {
    let disk = MemoryDisk::new();
    let (opened, all) = thirty(&disk, 700);
    let mut cursor = opened.files.cursor_at(0).unwrap();
    let mut behind = opened.files.cursor_at(1).unwrap();
    assert_eq!(opened.files.read(&mut cursor, 100).unwrap().first_offset, 1);
    let removed = opened.files.remove_oldest().unwrap().unwrap();
    assert_eq!((removed.first_offset, opened.files.first_offset()), (1, Some(21)));
    let mut read = vec![1];
    loop {
        let block = opened.files.read(&mut cursor, 1).unwrap();
        if block.bytes.is_empty() {
            break;
        }
        read.push(block.first_offset);
    }
    assert_eq!(read, all);
    assert_eq!(opened.files.read(&mut behind, 100).unwrap().first_offset, 1);
    while opened.files.remove_oldest().unwrap().is_some() {}
    assert_eq!(offsets(&opened.files, 0), [81, 82, 87, 91, 92, 97]);
    assert_eq!(opened.files.read(&mut behind, 100).unwrap().first_offset, 2);
    assert_eq!(disk.names(), [super::super::header::log_name(81)]);
}

#[test]
fn a_failed_removal_keeps_the_segment() {
    let disk = MemoryDisk::new();
    let (opened, all) = thirty(&disk, 700);
    disk.plan
        .lock()
        .unwrap()
        .removes
        .push_back(memory_disk::Fault::Fail(std::io::ErrorKind::PermissionDenied));
    assert!(opened.files.remove_oldest().is_err());
    assert_eq!(offsets(&opened.files, 0), all);
}

/// A directory that goes when the test ends.
struct TestDir(PathBuf);

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_real_disk_does_the_same_and_only_its_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TestDir(std::env::temp_dir().join(format!("mqtt-proxy-segments-{}", uuid::Uuid::new_v4())));
    let options = || SegmentOptions { dir: dir.0.join("data/log"), segment_bytes: 700 };
    let mut opened = open(options(), Arc::new(RealDisk)).unwrap();
    let all: Vec<u64> = (0..40).map(|place| place * 3).collect();
    for offsets in all.chunks(3) {
        opened.writer.write(&mut queue([run_of(offsets, 50)])).unwrap();
    }
    assert_eq!(sync(&mut opened).unwrap(), 118);
    let summaries = opened.files.summaries();
    assert!(summaries.len() > 3);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&options().dir), mode(&summaries[0].path)), (0o700, 0o600));
    drop(opened);
    let last = &summaries[summaries.len() - 1].path;
    let mut torn = std::fs::read(last).unwrap();
    torn.extend_from_slice(&[7; 100]);
    std::fs::write(last, &torn).unwrap();
    let files = open_read_only(&options().dir).unwrap();
    assert_eq!(offsets(&files, 0), all);
    assert_eq!(std::fs::read(last).unwrap(), torn);
    let opened = open(options(), Arc::new(RealDisk)).unwrap();
    assert_eq!((opened.next_offset, opened.recovery.cut_bytes), (118, 100));
    assert_eq!(offsets(&opened.files, 50), all[17..]);
    assert_eq!(opened.files.remove_oldest().unwrap().unwrap().first_offset, 0);
    assert!(!summaries[0].path.exists());
    assert!(open_read_only(&dir.0.join("absent")).is_err());
}
