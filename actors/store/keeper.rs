//! The thread that keeps the store up with the log: it reads what was written, and gives the store the sum of it a few
//! times a second. What it had no time for before a crash, it reads from the files at the next start.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::StateStore;
use crate::limits;
use crate::message_log::segment::{ReadCursor, SegmentFiles};
use crate::message_log::{Alarm, Bound, LogPlace, Mark, MessageLog, Record, record};

/// Gives the store what the files have beyond it. Nothing else may run.
///
/// # Errors
/// One line that says what cannot be read or written.
pub fn catch_up(store: &mut StateStore, files: &Arc<SegmentFiles>) -> Result<(), String> {
    let unreadable = |error: io::Error| format!("the log cannot be read: {error}");
    let mut cursor = files.cursor_at(store.applied()).map_err(unreadable)?;
    loop {
        let block = files.read(&mut cursor, limits::WRITE_BYTES).map_err(unreadable)?;
        if block.bytes.is_empty() {
            return Ok(());
        }
        let blocks = [block.bytes];
        store.apply(records(&blocks), block.end_offset).map_err(|error| error.to_string())?;
    }
}

/// The running thread.
pub struct Keeper {
    thread: JoinHandle<()>,
    alarm: Arc<Alarm>,
    stopping: Arc<AtomicBool>,
}

impl Keeper {
    /// Starts it. `alarm` is rung when there is more in the log.
    pub fn start(path: PathBuf, store: StateStore, log: Arc<MessageLog>, alarm: Arc<Alarm>) -> Keeper {
        let stopping = Arc::new(AtomicBool::new(false));
        let unread = log.place_at(store.applied(), false);
        let uncommitted = log.place_at(store.committed(), true);
        // What the store has not taken must not go.
        uncommitted.set_bound(Bound { bytes_max: None, may_lose: false });
        let follower = Follower {
            seen_to: store.applied(),
            path,
            store: Some(store),
            log,
            unread,
            uncommitted,
            blocks: Vec::new(),
            block_bytes: 0,
            cursor: None,
            applied_at: Instant::now(),
            failure: None,
        };
        let (wakes, stops) = (alarm.clone(), stopping.clone());
        let thread = std::thread::Builder::new().name("store".to_owned());
        let thread = thread
            .spawn(move || follower.run(&wakes, &stops))
            .expect("a system that runs the proxy has room for one more thread");
        Keeper { thread, alarm, stopping }
    }

    /// Brings the store up to the end of the log and ends the thread. Nobody may write any more.
    pub fn close(self) {
        self.stopping.store(true, Ordering::Release);
        self.alarm.ring();
        if self.thread.join().is_err() {
            log::error!("the thread of the store ended in a panic");
        }
    }
}

struct Follower {
    path: PathBuf,
    /// `None` after a failure, until it is opened anew.
    store: Option<StateStore>,
    log: Arc<MessageLog>,
    /// Keeps in memory what has not been read.
    unread: Arc<LogPlace>,
    /// Keeps in the files what the store has not taken.
    uncommitted: Arc<LogPlace>,
    /// Read and not yet applied.
    blocks: Vec<Bytes>,
    block_bytes: usize,
    seen_to: u64,
    /// Where the files go on, while the store is behind the memory.
    cursor: Option<ReadCursor>,
    applied_at: Instant,
    /// The last failure, so that it is said once.
    failure: Option<String>,
}

impl Follower {
    fn run(mut self, alarm: &Alarm, stopping: &AtomicBool) {
        loop {
            let is_last = stopping.load(Ordering::Acquire);
            let outcome = self.reopen().and_then(|()| self.read().map_err(|error| error.to_string()));
            let outcome = outcome.and_then(|()| {
                let is_due = is_last
                    || self.block_bytes >= limits::STORE_GROUP_BYTES
                    || self.applied_at.elapsed() >= limits::STORE_INTERVAL;
                if is_due { self.apply() } else { Ok(()) }
            });
            match outcome {
                Ok(()) => self.recovered(),
                Err(error) => self.failed(error),
            }
            if is_last {
                return;
            }
            // What comes together goes together.
            std::thread::sleep(limits::STORE_READ_INTERVAL);
            alarm.wait(self.patience());
        }
    }

    /// How long to wait where nobody rings.
    fn patience(&self) -> Option<Duration> {
        let committed = self.store.as_ref().map_or(0, StateStore::committed);
        let is_behind = self.seen_to > committed || self.failure.is_some();
        is_behind.then_some(limits::STORE_INTERVAL)
    }

    /// Reads what was written since, as far as a group may be long.
    fn read(&mut self) -> io::Result<()> {
        let mut bytes = 0;
        while bytes < limits::STORE_GROUP_BYTES {
            let before = self.seen_to;
            match self.log.stored_chunks(self.seen_to) {
                Some(chunks) => {
                    self.cursor = None;
                    for chunk in chunks {
                        if let Some(block) = chunk.bytes {
                            bytes += block.len();
                            self.push(block);
                        }
                        self.seen_to = chunk.end_offset;
                    }
                }
                None => bytes += self.read_files()?,
            }
            self.unread.advance_to(self.seen_to);
            if self.seen_to == before {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Keeps a block until it is applied, but not the memory of a whole chunk for the sake of a few bytes.
    fn push(&mut self, block: Bytes) {
        self.block_bytes += block.len();
        let is_small = block.len() < limits::LOG_CHUNK_BYTES / 8;
        self.blocks.push(if is_small { Bytes::copy_from_slice(&block) } else { block });
    }

    fn read_files(&mut self) -> io::Result<usize> {
        let complete_to = self.log.watermarks().get(Mark::Stored);
        let Some(files) = self.log.segments() else { return Ok(0) };
        let cursor = match &mut self.cursor {
            Some(cursor) => cursor,
            none => none.insert(files.cursor_at(self.seen_to)?),
        };
        let block = files.read(cursor, limits::LOG_CHUNK_BYTES)?;
        let count = block.bytes.len();
        if block.bytes.is_empty() {
            let first_in_memory = self.log.first_offset_in_memory();
            self.seen_to = self.seen_to.max(complete_to.min(first_in_memory));
        } else {
            self.seen_to = self.seen_to.max(block.end_offset);
            self.push(block.bytes);
        }
        Ok(count)
    }

    fn apply(&mut self) -> Result<(), String> {
        let Some(store) = &mut self.store else { return Ok(()) };
        let mut applied = Ok(());
        if self.seen_to > store.applied() {
            applied = store.apply(records(&self.blocks), self.seen_to);
        }
        applied = applied.and_then(|()| store.checkpoint());
        self.applied_at = Instant::now();
        if let Err(error) = applied {
            // After that it has to be opened anew, and what it missed is read again.
            self.store = None;
            return Err(error.to_string());
        }
        (self.blocks, self.block_bytes) = (Vec::new(), 0);
        self.uncommitted.advance_to(store.committed());
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), String> {
        if self.store.is_none() {
            let store = StateStore::open(&self.path).map_err(|error| error.to_string())?;
            self.seen_to = store.applied();
            (self.blocks, self.block_bytes, self.cursor) = (Vec::new(), 0, None);
            self.store = Some(store);
        }
        Ok(())
    }

    fn failed(&mut self, error: String) {
        if self.failure.as_ref() != Some(&error) {
            log::error!("sessions and cursors cannot be stored: {error}; trying again");
            self.failure = Some(error);
        }
    }

    fn recovered(&mut self) {
        if self.failure.take().is_some() {
            log::info!("sessions and cursors are stored again");
        }
    }
}

/// The records of some blocks, one after the other.
fn records(blocks: &[Bytes]) -> impl Iterator<Item = Record<'_>> {
    blocks.iter().flat_map(|block| record::each(block))
}
