//! Counts a client as connected for as long as its session has the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::SessionContext;

/// Lives as long as the connection is the session's; while it is being closed it counts no more.
pub(super) struct Presence {
    shared: Arc<SessionContext>,
    is_connected: Arc<AtomicBool>,
}

impl Presence {
    /// Counts one more; the session's earlier connection, if there was one, counts no more by now.
    pub fn new(shared: Arc<SessionContext>, is_connected: Arc<AtomicBool>) -> Presence {
        shared.connected.fetch_add(1, Ordering::Relaxed);
        is_connected.store(true, Ordering::Relaxed);
        Presence { shared, is_connected }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.shared.connected.fetch_sub(1, Ordering::Relaxed);
        self.is_connected.store(false, Ordering::Relaxed);
    }
}
