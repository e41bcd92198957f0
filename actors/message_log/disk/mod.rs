//! The log on disk: who writes it, who flushes it, who keeps it within its bounds, and how it is opened and closed.
//! Each is a thread of its own, because each may have to wait for the disk.

mod alarm;
mod retention;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub use alarm::Alarm;
pub(super) use retention::Behind;
use retention::Housekeeper;
use writer::{Alarms, Writer};

use super::head::{Head, HeadPolicy};
use super::segment::{self, Disk, SegmentFiles, SegmentOptions, SegmentWriter};
use super::{Files, MessageLog};
use crate::Metrics;

/// How the log is kept on disk.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Where the files are.
    pub dir: PathBuf,
    /// How long one file gets.
    pub segment_bytes: u64,
    /// How long all of them may get together, to within one file.
    pub retention_bytes_max: u64,
    /// How old a message may get.
    pub retention: Option<Duration>,
    /// How much of what every broker has is kept, for replay.
    pub history_bytes_max: u64,
    /// How often the files are flushed, at least.
    pub sync_interval: Duration,
    /// Whether messages at QoS 0 are written too.
    pub persist_qos0: bool,
    /// The most bytes of the log in memory.
    pub head_bytes_max: usize,
}

/// The files, open and recovered, before anybody writes.
pub struct OpenFiles {
    files: Arc<SegmentFiles>,
    writer: SegmentWriter,
    next_offset: u64,
    options: DiskOptions,
}

/// The running log with its threads.
pub struct DiskLog {
    log: Arc<MessageLog>,
    writer: JoinHandle<()>,
    housekeeper: JoinHandle<()>,
    housekeeper_alarm: Arc<Alarm>,
    stopping: Arc<AtomicBool>,
}

impl OpenFiles {
    /// Opens the files and mends what a crash left torn.
    ///
    /// # Errors
    /// One line that names the file and says what to do.
    pub fn open(options: DiskOptions, disk: Arc<dyn Disk>) -> Result<OpenFiles, String> {
        let segments = SegmentOptions { dir: options.dir.clone(), segment_bytes: options.segment_bytes };
        let opened = segment::open(segments, disk).map_err(|error| error.to_string())?;
        let (files, writer, next_offset) = (opened.files, opened.writer, opened.next_offset);
        Ok(OpenFiles { files, writer, next_offset, options })
    }

    /// For who reads before the log runs.
    pub fn files(&self) -> &Arc<SegmentFiles> {
        &self.files
    }

    /// The offset behind the last record.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Starts the threads. The next record gets `next_offset` or what the files say, whichever is higher: no offset
    /// that anybody remembers is given twice. `written` is rung when there is more in the files.
    pub fn run(self, next_offset: u64, written: Arc<Alarm>, metrics: &Arc<Metrics>) -> DiskLog {
        let OpenFiles { files, writer, next_offset: in_files, options } = self;
        let next_offset = next_offset.max(in_files);
        let policy = HeadPolicy { has_files: true, persist_qos0: options.persist_qos0 };
        let alarm = Arc::new(Alarm::default());
        let log = Arc::new(MessageLog::with(
            options.head_bytes_max,
            Head::new(next_offset, policy),
            Some(Files {
                segments: files,
                writer: alarm.clone(),
                cursors_moved: AtomicBool::new(false),
                places_are_known: AtomicBool::new(false),
                is_full: AtomicBool::new(false),
            }),
            next_offset,
        ));
        let stopping = Arc::new(AtomicBool::new(false));
        let housekeeper_alarm = Arc::new(Alarm::default());
        let housekeeper =
            Housekeeper::new(log.clone(), &options, housekeeper_alarm.clone(), stopping.clone());
        let alarms = Alarms { own: alarm, housekeeper: housekeeper_alarm.clone(), written };
        let writer =
            Writer::new(log.clone(), writer, &options, stopping.clone(), alarms, metrics.log_sync.clone());
        DiskLog {
            log,
            writer: spawn("log-writer", move || writer.run()),
            housekeeper: spawn("log-retention", move || housekeeper.run()),
            housekeeper_alarm,
            stopping,
        }
    }
}

impl DiskLog {
    /// The log.
    pub fn log(&self) -> &Arc<MessageLog> {
        &self.log
    }

    /// Writes and flushes what there is, and ends the threads.
    pub fn close(self) {
        self.stopping.store(true, Ordering::Release);
        self.log.wake_writer();
        self.housekeeper_alarm.ring();
        for thread in [self.writer, self.housekeeper] {
            if thread.join().is_err() {
                log::error!("a thread of the log ended in a panic");
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    thread.spawn(work).expect("a system that runs the proxy has room for four more threads")
}

/// The threads of the log go a few calls deep only.
const STACK_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests;
