//! Where a message came from.

use crate::BrokerId;

/// The source of a message: it decides where the message must not go again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A device or another client of a listener.
    Device,
    /// The Will of a session that ended.
    Will,
    /// An upstream broker; its messages never return to it.
    Upstream(BrokerId),
    /// The proxy itself: what it says of itself in the tree `$SYS`.
    System,
}
