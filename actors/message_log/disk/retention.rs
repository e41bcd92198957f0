//! The thread that keeps the files within their bounds: old segments go, and a broker that may fall behind only so far
//! gives up its oldest messages. Whatever is lost is counted for whoever lost it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Alarm, DiskOptions};
use crate::limits;
use crate::message_log::segment::{SegmentFiles, SegmentSummary};
use crate::message_log::{MessageLog, record};
use crate::timestamp::{age, unix_micros};

pub(super) struct Housekeeper {
    log: Arc<MessageLog>,
    retention_bytes_max: u64,
    retention: Option<Duration>,
    history_bytes_max: u64,
    alarm: Arc<Alarm>,
    stopping: Arc<AtomicBool>,
}

/// A reader that is behind, as it was a moment ago.
pub(in crate::message_log) struct Behind {
    pub slot: usize,
    pub cursor: u64,
    /// What lies before that it has read.
    pub read_to: u64,
    pub bytes_max: Option<u64>,
    pub may_lose: bool,
    /// Whether it is a broker's. The store's will be further in a moment.
    pub is_broker: bool,
}

/// Why a segment may go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Everybody has it, and there is enough history without it.
    History,
    /// The files are too long, or the segment is too old.
    Bound,
}

impl Housekeeper {
    pub fn new(
        log: Arc<MessageLog>,
        options: &DiskOptions,
        alarm: Arc<Alarm>,
        stopping: Arc<AtomicBool>,
    ) -> Housekeeper {
        Housekeeper {
            log,
            retention_bytes_max: options.retention_bytes_max,
            retention: options.retention,
            history_bytes_max: options.history_bytes_max,
            alarm,
            stopping,
        }
    }

    pub fn run(self) {
        while !self.stopping.load(Ordering::Acquire) {
            if self.log.are_places_known()
                && let Some(files) = self.log.segments().cloned()
                && let Err(error) = self.keep_within_bounds(&files)
            {
                log::error!("old parts of the log could not be removed: {error}; trying again");
            }
            self.alarm.wait(Some(limits::RETENTION_INTERVAL));
        }
    }

    fn keep_within_bounds(&self, files: &Arc<SegmentFiles>) -> io::Result<()> {
        for behind in self.log.readers_behind() {
            if let Some(bytes_max) = behind.bytes_max.filter(|_| behind.may_lose) {
                self.give_up(files, &behind, |offset| files.bytes_from(offset) <= bytes_max)?;
            }
        }
        let mut is_full = false;
        // The last one is being written.
        while let [oldest, _, ..] = &files.summaries()[..] {
            let Some(cause) = self.may_go(files, oldest) else { break };
            let readers = self.log.readers_behind();
            let unread: Vec<_> =
                readers.into_iter().filter(|behind| behind.cursor < oldest.end_offset).collect();
            if cause == Cause::Bound && unread.iter().any(|behind| !behind.may_lose) {
                let is_for_a_broker = unread.iter().any(|behind| behind.is_broker && !behind.may_lose);
                is_full = is_for_a_broker && files.bytes() > self.retention_bytes_max;
                break;
            }
            for behind in unread {
                self.give_up(files, &behind, |offset| offset >= oldest.end_offset)?;
            }
            files.remove_oldest()?;
        }
        self.log.set_full(is_full);
        Ok(())
    }

    fn may_go(&self, files: &SegmentFiles, oldest: &SegmentSummary) -> Option<Cause> {
        let is_too_old =
            self.retention.is_some_and(|retention| age(oldest.last_at_micros, unix_micros()) > retention);
        if is_too_old || files.bytes() > self.retention_bytes_max {
            return Some(Cause::Bound);
        }
        let needed_from = self.log.needed_from();
        let history_bytes = files.bytes().saturating_sub(files.bytes_from(needed_from));
        let is_history = oldest.end_offset <= needed_from
            && history_bytes.saturating_sub(oldest.bytes) >= self.history_bytes_max;
        is_history.then_some(Cause::History)
    }

    /// Moves a reader's cursor on until `is_enough`, and counts what it loses.
    fn give_up(
        &self,
        files: &Arc<SegmentFiles>,
        behind: &Behind,
        is_enough: impl Fn(u64) -> bool,
    ) -> io::Result<()> {
        let mut cursor = files.cursor_at(behind.cursor)?;
        let mut given_up_to = behind.cursor;
        let mut lost = 0;
        while !is_enough(given_up_to) {
            let block = files.read(&mut cursor, limits::LOG_CHUNK_BYTES)?;
            if block.bytes.is_empty() {
                break;
            }
            let mut rest = &block.bytes[..];
            while !is_enough(given_up_to)
                && let Some((record, record_bytes)) = record::decode(rest)
            {
                let was_read = record.offset < behind.read_to;
                if !record.is_state && !was_read && self.log.does_reader_want(behind.slot, &record) {
                    lost += 1;
                }
                given_up_to = record.offset + 1;
                rest = &rest[record_bytes..];
            }
        }
        self.log.give_up_before(behind.slot, given_up_to, lost);
        Ok(())
    }
}
