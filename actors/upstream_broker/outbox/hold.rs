//! What a pause and a drain mean for what goes out: what is in flight finishes, nothing from an offset on is sent.

use super::Outbox;
use crate::upstream_broker::status::UpstreamStatus;

impl Outbox {
    /// Holds back everything from `offset` on: 0 for a pause, `u64::MAX` for nothing. What waited meanwhile is a backlog
    /// as that of an outage.
    pub fn hold_from(&mut self, offset: u64) {
        if self.lanes.hold_from(offset) {
            self.is_mixed |= self.lanes.begin_backlog();
        }
    }

    /// Whether something goes out before what is held back.
    pub fn is_draining(&self) -> bool {
        (1..u64::MAX).contains(&self.lanes.held_from())
    }

    /// Whether the broker has everything that the log has and that is not held back.
    pub fn is_drained(&mut self) -> bool {
        // What was in flight before a restart goes out again when its place in the log is read.
        let unread = if self.lanes.is_held() { self.journal.unread() } else { 0 };
        self.in_flight() <= unread && self.lanes.are_at_end()
    }

    /// Says how far a drain is.
    pub(super) fn publish_drain(&mut self, status: &UpstreamStatus) {
        if self.is_draining() && self.is_drained() {
            status.set_drained_to(self.lanes.held_from());
        }
    }
}
