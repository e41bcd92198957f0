//! A disk that is full, takes half of a write, or loses what it was to keep: every record stands in the log once.

use std::io::ErrorKind;

use super::memory_disk::Fault;
use super::*;

fn plan(disk: &Arc<MemoryDisk>, work: impl FnOnce(&mut memory_disk::Plan)) {
    work(&mut disk.plan.lock().unwrap());
}

/// Writes until it succeeds.
fn write_until_done(opened: &mut Opened, runs: &mut VecDeque<Run>) -> usize {
    let mut failures = 0;
    while opened.writer.write(runs).is_err() {
        failures += 1;
        assert!(failures < 100, "writing does not end");
    }
    assert!(runs.is_empty());
    failures
}

const ALL: [u64; 6] = [1, 4, 5, 9, 12, 13];

fn runs() -> VecDeque<Run> {
    queue(ALL.chunks(2).map(|offsets| run_of(offsets, 30)))
}

#[test]
fn short_writes_are_gone_on_with() {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, 1_000);
    plan(&disk, |plan| plan.appends.extend([3, 20, 1, 70, 80, 90].map(Fault::Short)));
    assert_eq!(write_until_done(&mut opened, &mut runs()), 0);
    assert_eq!(offsets(&opened.files, 0), ALL);
    assert_eq!(offsets(&open_on(&disk.copy(), 1_000).files, 0), ALL);
}

#[test]
fn a_full_disk_in_the_middle_of_a_write_loses_and_doubles_nothing() {
    for segment_bytes in [1, 300, 10_000] {
        for taken in 0..500 {
            for cut_fails in [false, true] {
                let disk = MemoryDisk::new();
                let mut opened = open_on(&disk, segment_bytes);
                opened.writer.write(&mut queue([run_of(&[0], 30)])).unwrap();
                plan(&disk, |plan| {
                    plan.appends.extend([Fault::Short(taken), Fault::Fail(ErrorKind::StorageFull)]);
                    if cut_fails {
                        plan.set_lens.push_back(Fault::Fail(ErrorKind::Other));
                    }
                });
                let mut runs = runs();
                write_until_done(&mut opened, &mut runs);
                let what = format!("{taken} bytes taken, segments of {segment_bytes}");
                let wanted = [&[0], &ALL[..]].concat();
                assert_eq!(offsets(&opened.files, 0), wanted, "{what}");
                assert_eq!(offsets(&open_on(&disk.copy(), segment_bytes).files, 0), wanted, "{what}");
            }
        }
    }
}

#[test]
fn a_crash_behind_a_failed_write_leaves_a_log_that_opens() {
    for taken in 1..300 {
        let disk = MemoryDisk::new();
        let mut opened = open_on(&disk, 10_000);
        opened.writer.write(&mut queue([run_of(&[0], 30)])).unwrap();
        plan(&disk, |plan| {
            plan.appends.extend([Fault::Short(taken), Fault::Fail(ErrorKind::StorageFull)]);
            plan.set_lens.push_back(Fault::Fail(ErrorKind::Other));
        });
        let _ = opened.writer.write(&mut runs());
        let found = offsets(&open_on(&disk.copy(), 10_000).files, 0);
        assert!([&[0], &ALL[..]].concat().starts_with(&found), "{taken}: {found:?}");
    }
}

#[test]
fn a_segment_that_cannot_be_started_is_tried_again() {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, 1);
    let full = Fault::Fail(ErrorKind::StorageFull);
    plan(&disk, |plan| {
        plan.creates.extend([full, Fault::Pass, full]);
        // The second attempt's header is written by half, and its file cannot be removed.
        plan.appends.extend([Fault::Short(9), full]);
        plan.removes.push_back(Fault::Fail(ErrorKind::Other));
    });
    assert_eq!(write_until_done(&mut opened, &mut runs()), 3);
    assert_eq!(offsets(&opened.files, 0), ALL);
    assert_eq!(disk.names().len(), 3);
}

#[test]
fn a_spoilt_segment_without_a_record_gives_way() {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, 10_000);
    let mut cursor = opened.files.cursor_at(0).unwrap();
    plan(&disk, |plan| {
        plan.appends.extend([Fault::Pass, Fault::Short(90), Fault::Fail(ErrorKind::StorageFull)]);
        plan.set_lens.push_back(Fault::Fail(ErrorKind::Other));
    });
    let mut runs = runs();
    assert!(opened.writer.write(&mut runs).is_err());
    assert!(opened.files.read(&mut cursor, 1_000).unwrap().bytes.is_empty());
    assert_eq!(write_until_done(&mut opened, &mut runs), 0);
    assert_eq!(opened.files.read(&mut cursor, 1_000).unwrap().end_offset, 14);
    assert_eq!((offsets(&opened.files, 0), opened.files.summaries().len()), (ALL.to_vec(), 1));
}

#[test]
fn a_sync_says_what_is_on_disk() {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, 300);
    assert!(opened.writer.files_to_sync().is_empty());
    let mut runs = runs();
    opened.writer.write(&mut runs).unwrap();
    assert_eq!(opened.writer.durable_end(), 1);
    let job = opened.writer.files_to_sync();
    assert_eq!(job.end_offset(), 14);
    opened.writer.write(&mut queue([run_of(&[20], 10)])).unwrap();
    let outcome = job.run();
    assert_eq!(opened.writer.finish_sync(outcome).unwrap(), 14);
    assert!(!opened.writer.files_to_sync().is_empty());
    assert!(offsets(&open_on(&disk.after_power_cut(), 300).files, 0).starts_with(&ALL));
    assert_eq!(sync(&mut opened).unwrap(), 21);
    assert!(opened.writer.files_to_sync().is_empty());
    assert_eq!(offsets(&open_on(&disk.after_power_cut(), 300).files, 0), [&ALL[..], &[20]].concat());
}

#[test]
fn what_an_earlier_process_left_unsynced_is_synced() {
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, 300);
    opened.writer.write(&mut runs()).unwrap();
    drop(opened);
    let mut opened = open_on(&disk, 300);
    assert_eq!(opened.writer.durable_end(), 1);
    assert_eq!(sync(&mut opened).unwrap(), 14);
    assert_eq!(offsets(&open_on(&disk.after_power_cut(), 300).files, 0), ALL);
}

/// Syncs and writes with one failure at the `failing` place, then goes on until all is on disk.
fn with_failed_sync(segment_bytes: u64, synced_runs: usize, failing: usize, of_directory: bool) {
    let what =
        format!("segments of {segment_bytes}, {synced_runs} synced, failure {failing}, {of_directory}");
    let disk = MemoryDisk::new();
    let mut opened = open_on(&disk, segment_bytes);
    let mut reading = opened.files.cursor_at(0).unwrap();
    let mut read = Vec::new();
    let mut rest = runs();
    let mut first: VecDeque<Run> = rest.drain(..synced_runs).collect();
    opened.writer.write(&mut first).unwrap();
    sync(&mut opened).unwrap();
    let durable = opened.writer.durable_end();
    opened.writer.write(&mut rest).unwrap();
    // A reader is ahead of what is on disk.
    loop {
        let block = opened.files.read(&mut reading, 1).unwrap();
        if block.bytes.is_empty() || read.len() == 4 {
            break;
        }
        read.push(block.first_offset);
    }
    plan(&disk, |plan| {
        let faults = if of_directory { &mut plan.dir_syncs } else { &mut plan.syncs };
        faults.extend(std::iter::repeat_n(Fault::Pass, failing));
        faults.push_back(Fault::Fail(ErrorKind::Other));
    });
    let first_try = sync(&mut opened);
    plan(&disk, |plan| {
        plan.dir_syncs.clear();
        plan.syncs.clear();
    });
    if first_try.is_err() {
        assert!(opened.writer.durable_end() < 14 && opened.writer.durable_end() >= durable, "{what}");
        assert!(sync(&mut opened).is_err(), "{what}: a later sync says nothing");
    }
    opened.writer.write(&mut queue([run_of(&[20], 10)])).unwrap();
    opened.writer.rewrite_unsynced().unwrap();
    assert_eq!(sync(&mut opened).unwrap(), 21, "{what}");
    let wanted = [&ALL[..], &[20]].concat();
    assert_eq!(offsets(&opened.files, 0), wanted, "{what}");
    let after = open_on(&disk.after_power_cut(), segment_bytes);
    assert_eq!(offsets(&after.files, 0), wanted, "{what}, after the power is back");
    assert_eq!(read_all(&after.files, 0).1, 0, "{what}");
    loop {
        let block = opened.files.read(&mut reading, 1).unwrap();
        if block.bytes.is_empty() {
            break;
        }
        read.push(block.first_offset);
    }
    // The block that ended the first round was read too.
    let missed: Vec<u64> = wanted.iter().copied().filter(|offset| !read.contains(offset)).collect();
    assert!(missed.len() <= 1 && read.is_sorted(), "{what}: {read:?}");
    opened.writer.write(&mut queue([run_of(&[30], 10)])).unwrap();
    assert_eq!(sync(&mut opened).unwrap(), 31, "{what}");
    assert_eq!(offsets(&open_on(&disk.after_power_cut(), segment_bytes).files, 22), [30], "{what}");
}

#[test]
fn behind_a_failed_sync_the_rest_is_written_anew_and_nothing_is_lost_to_a_power_cut() {
    for segment_bytes in [1, 300, 10_000] {
        for synced_runs in 0..3 {
            for failing in 0..3 {
                with_failed_sync(segment_bytes, synced_runs, failing, false);
            }
            with_failed_sync(segment_bytes, synced_runs, 0, true);
        }
    }
}

#[test]
fn writing_anew_can_fail_anywhere_and_be_tried_again() {
    for synced in [false, true] {
        for segment_bytes in [300, 10_000] {
            for failing in 0..6 {
                let disk = MemoryDisk::new();
                let mut opened = open_on(&disk, segment_bytes);
                let mut rest = runs();
                if synced {
                    opened.writer.write(&mut rest.drain(..1).collect()).unwrap();
                    sync(&mut opened).unwrap();
                }
                opened.writer.write(&mut rest).unwrap();
                plan(&disk, |plan| plan.syncs.push_back(Fault::Fail(ErrorKind::Other)));
                assert!(sync(&mut opened).is_err());
                let full = Fault::Fail(ErrorKind::StorageFull);
                plan(&disk, |plan| match failing {
                    0 => plan.creates.push_back(full),
                    1 => plan.appends.extend([Fault::Pass, Fault::Short(5), full]),
                    2 => plan.syncs.push_back(full),
                    3 => plan.renames.push_back(full),
                    4 => plan.dir_syncs.push_back(full),
                    _ => plan.set_lens.push_back(full),
                });
                let first = opened.writer.rewrite_unsynced();
                assert_eq!(first.is_err(), failing < 5);
                assert!(first.is_ok() || opened.writer.durable_end() < 14);
                assert_eq!(offsets(&opened.files, 0), ALL);
                opened.writer.rewrite_unsynced().unwrap();
                assert_eq!(sync(&mut opened).unwrap(), 14);
                assert_eq!(offsets(&opened.files, 0), ALL);
                assert_eq!(offsets(&open_on(&disk.copy(), segment_bytes).files, 0), ALL);
                let after = open_on(&disk.after_power_cut(), segment_bytes);
                assert_eq!(offsets(&after.files, 0), ALL, "failure {failing}");
            }
        }
    }
}
