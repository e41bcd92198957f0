//! Every capacity, deadline and retry of the actors in one place, with their relations proved at compile time.

use std::time::Duration;

/// The most characters in an upstream broker's name.
pub const BROKER_NAME_CHARS_MAX: usize = 128;

/// The most Topic Filters of one upstream broker.
pub const BROKER_TOPICS_MAX: usize = 1_000;

/// The most upstream brokers.
pub const BROKERS_MAX: usize = 256;

/// How many messages wait in the mailbox of an actor that others send to.
pub const MAILBOX_MESSAGES: usize = 1_024;

/// How long the drain at shutdown may take as a whole.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// The size of the pieces in which the log's memory is taken and let go.
pub const LOG_CHUNK_BYTES: usize = 256 * 1024;

/// The least memory that the log may be given.
pub const LOG_HEAD_BYTES_MIN: usize = 1024 * 1024;

/// How long publishers wait at most for a connected upstream broker that is half the log's memory behind. One
/// that drains less than a read's worth of messages in this time is not waited for until it has caught up.
pub const READER_PATIENCE: Duration = Duration::from_millis(500);

const _: () = assert!(LOG_HEAD_BYTES_MIN >= 4 * LOG_CHUNK_BYTES, "eviction drops whole chunks");
