//! The log's files: segments that are only appended to, named by the offset of their first record. One thread
//! writes them, any number read; what is damaged is skipped and named, and nothing else is lost with it.
//!
//! What is written is not yet on disk: [`SegmentWriter::files_to_sync`] gives the work for that to another thread.

pub mod disk;
mod files;
mod header;
mod index;
mod inspect;
mod reader;
mod recovery;
mod rewrite;
mod sync;
mod times;
mod walk;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

pub use disk::{Disk, DiskFile, RealDisk};
pub use files::SegmentFiles;
pub use inspect::{Checked, Damage, Finding, SegmentDetails};
pub use reader::ReadCursor;
pub use recovery::{open, open_read_only};
pub use sync::{SyncJob, SyncOutcome};
pub use writer::SegmentWriter;

/// Where the log's files are, and how long they get.
#[derive(Clone, Debug)]
pub struct SegmentOptions {
    /// The directory, which is made if it is not there.
    pub dir: PathBuf,
    /// A segment that has this many bytes, or would have more with the next run, is full.
    pub segment_bytes: u64,
}

/// What came of opening the log.
pub struct Opened {
    /// For those who read.
    pub files: Arc<SegmentFiles>,
    /// For the one who writes.
    pub writer: SegmentWriter,
    /// The offset that the next record gets, so that none has one again: behind the last record, else 0.
    pub next_offset: u64,
    /// What was wrong with the last segment.
    pub recovery: Recovery,
}

/// What was wrong with the last segment when the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes at its end that hold no whole record: a write that a crash interrupted.
    pub cut_bytes: u64,
    /// Damaged bytes with whole records behind them.
    pub skipped_bytes: u64,
}

/// A stretch of whole durable records, as they stand in memory.
#[derive(Clone, Debug)]
pub struct Run {
    /// The offset of the first one.
    pub first_offset: u64,
    /// The offset behind the last one.
    pub end_offset: u64,
    /// When the first one was received, in microseconds since the Unix epoch.
    pub first_received_at_micros: u64,
    /// The records.
    pub bytes: Bytes,
}

/// What a read found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Whole, checked records; none at the end of what is written.
    pub bytes: Bytes,
    /// The offset of the first one.
    pub first_offset: u64,
    /// Where reading goes on.
    pub end_offset: u64,
    /// Damaged bytes that were skipped before the first record.
    pub corrupt_bytes: u64,
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The file.
    pub path: PathBuf,
    /// The offset that it is named by.
    pub first_offset: u64,
    /// Its records lie before this offset.
    pub end_offset: u64,
    /// Its length.
    pub bytes: u64,
    /// The latest time of its records, or when it was last written where they were not looked at.
    pub last_at_micros: u64,
}

/// Why the log cannot be opened: one line that names the file and says what to do.
#[derive(Debug)]
pub struct OpenError {
    text: String,
}

impl OpenError {
    fn new(text: String) -> OpenError {
        OpenError { text }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests;
