//! Reading the log's files ahead of a reader that fell behind the memory, without holding up the thread that it
//! works on.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::segment::{Block, ReadCursor, SegmentFiles};
use crate::limits;

type Read = io::Result<(ReadCursor, Ahead)>;

/// A block, and how far the files were complete when it was read: an empty one says that nothing lies before that.
pub(super) struct Ahead {
    pub block: Block,
    pub complete_to: u64,
}

/// The next blocks of the files.
#[derive(Default)]
pub(super) struct Backlog {
    /// Being read on another thread.
    reading: Option<JoinHandle<Read>>,
    /// Read and not yet taken.
    ready: Option<Ahead>,
    /// Where the next read goes on.
    cursor: Option<ReadCursor>,
    /// A disk that could not be read is asked again then.
    retry_at: Option<Instant>,
}

impl Backlog {
    /// The next block at or behind `offset`, or `None` while it is being read. Each block that is taken starts the
    /// reading of the next one. `stored` is the offset below which the files are complete.
    pub fn take(&mut self, segments: &Arc<SegmentFiles>, offset: u64, stored: u64) -> Option<Ahead> {
        let ahead = self.ready.take();
        if ahead.as_ref().is_none_or(|ahead| !ahead.block.bytes.is_empty()) {
            self.begin(segments, offset, stored);
        }
        ahead
    }

    fn begin(&mut self, segments: &Arc<SegmentFiles>, offset: u64, complete_to: u64) {
        if self.reading.is_some() || self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        let (segments, cursor) = (segments.clone(), self.cursor.take());
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let mut cursor = match cursor {
                Some(cursor) => cursor,
                None => segments.cursor_at(offset)?,
            };
            let block = segments.read(&mut cursor, limits::LOG_CHUNK_BYTES)?;
            Ok((cursor, Ahead { block, complete_to }))
        }));
    }

    /// Ready when a block is there that was not there before; pending, with the task registered, while one is read
    /// or none is asked for.
    pub fn poll_read(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let Some(reading) = &mut self.reading else { return Poll::Pending };
        if self.ready.is_some() {
            return Poll::Pending;
        }
        let Poll::Ready(read) = std::pin::Pin::new(reading).poll(task) else { return Poll::Pending };
        self.reading = None;
        match read {
            Ok(Ok((cursor, ahead))) => {
                self.cursor = Some(cursor);
                self.ready = Some(ahead);
                Poll::Ready(())
            }
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(error) => self.failed(&error.to_string()),
        }
    }

    fn failed(&mut self, text: &str) -> Poll<()> {
        log::error!("the log's files cannot be read: {text}; trying again");
        self.retry_at = Some(Instant::now() + RETRY);
        Poll::Pending
    }
}

/// How long a disk that cannot be read is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// A block of records that begins at or before `offset`, read on this thread: for what is sent again, which was
/// written a moment ago and is still in the system's memory.
pub(super) fn read_now(segments: &Arc<SegmentFiles>, offset: u64) -> Option<Bytes> {
    let read = || {
        let mut cursor = segments.cursor_at(offset)?;
        segments.read(&mut cursor, limits::LOG_CHUNK_BYTES)
    };
    match read() {
        Ok(block) => Some(block.bytes),
        Err(error) => {
            log::error!("the log's files cannot be read: {error}");
            None
        }
    }
}
