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
