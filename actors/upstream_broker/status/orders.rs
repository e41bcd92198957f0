//! What somebody ordered of a broker, how far that is, and what happened of late.

use std::sync::atomic::Ordering;

use super::UpstreamStatus;
use crate::upstream_broker::events::UpstreamEvent;

impl UpstreamStatus {
    /// Somebody asked for something that changes what happens to the broker.
    pub fn note(&self, event: &'static str, cause: Option<String>) {
        self.visible().events.push(event, cause);
    }

    /// What happened of late, the oldest first.
    pub fn events(&self) -> Vec<UpstreamEvent> {
        self.visible().events.to_vec()
    }

    /// The broker has everything before this drain point.
    pub fn set_drained_to(&self, offset: u64) {
        self.drained_to.store(offset, Ordering::Relaxed);
    }

    /// The drain point up to which the broker has everything; 0 where none was reached.
    pub fn drained_to(&self) -> u64 {
        self.drained_to.load(Ordering::Relaxed)
    }

    /// The broker is disabled, and so many messages that waited for it are not kept; its filters were not asked.
    pub fn set_discarded(&self, messages: u64) {
        self.discarded.store(messages, Ordering::Relaxed);
    }
}
