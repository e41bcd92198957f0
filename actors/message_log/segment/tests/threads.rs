//! One thread writes and writes anew, one syncs, one reads, one removes: the reader sees each record once.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use super::memory_disk::Fault;
use super::*;

const RECORDS: u64 = 30_000;

#[test]
fn a_reader_sees_each_record_once_while_everything_else_goes_on() {
    let disk = MemoryDisk::new();
    let Opened { files, mut writer, .. } = open_on(&disk, 3_000);
    let read_up_to = AtomicU64::new(0);
    let (to_sync, jobs) = mpsc::sync_channel(1);
    let (to_writer, outcomes) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            for (number, job) in jobs.into_iter().enumerate() {
                if number % 10 == 9 {
                    disk.plan.lock().unwrap().syncs.push_back(Fault::Fail(ErrorKind::Other));
                }
                let job: crate::message_log::segment::SyncJob = job;
                let _ = to_writer.send(job.run());
            }
        });
        scope.spawn(|| {
            let mut cursor = files.cursor_at(0).unwrap();
            let mut next = 0;
            while next < RECORDS {
                let block = files.read(&mut cursor, 500).unwrap();
                assert_eq!((block.first_offset, block.corrupt_bytes), (next, 0));
                next = block.end_offset;
                read_up_to.store(next, Ordering::Relaxed);
                if block.bytes.is_empty() {
                    thread::yield_now();
                }
            }
        });
        scope.spawn(|| {
            while read_up_to.load(Ordering::Relaxed) < RECORDS {
                let summaries = files.summaries();
                let is_read = |end: u64| end + 1_000 < read_up_to.load(Ordering::Relaxed);
                if summaries.first().is_some_and(|oldest| is_read(oldest.end_offset)) {
                    files.remove_oldest().unwrap();
                }
                thread::yield_now();
            }
        });
        for first in (0..RECORDS).step_by(3) {
            writer.write(&mut queue([run_of(&[first, first + 1, first + 2], 10)])).unwrap();
            if let Ok(outcome) = outcomes.try_recv()
                && writer.finish_sync(outcome).is_err()
            {
                // A failure that the test planned may strike here too.
                while writer.rewrite_unsynced().is_err() {}
            }
            if first % 50 == 0 {
                let _ = to_sync.try_send(writer.files_to_sync());
            }
        }
        drop(to_sync);
        for outcome in outcomes {
            let _ = writer.finish_sync(outcome);
        }
        // The last planned failure may be left over.
        let durable = (0..3).find_map(|_| {
            while writer.rewrite_unsynced().is_err() {}
            let outcome = writer.files_to_sync().run();
            writer.finish_sync(outcome).ok()
        });
        assert_eq!(durable, Some(RECORDS));
    });
    assert!(files.first_offset() > Some(0));
}
