//! What a broker will not get because it was too far behind: counted, and said once per episode.

use super::Child;
use crate::upstream_broker::DropReason;

impl Child {
    /// Messages that the broker was too slow or too long away for.
    pub(super) fn count_overflow(&mut self) {
        let Some(running) = &mut self.running else { return };
        let overflowed = running.place.take_overflowed();
        if overflowed > 0 {
            self.status.count_dropped(DropReason::Overflow, overflowed);
            running.overflowed_of_late = true;
        }
    }

    /// Says once when messages begin to fall out of the log, and once when that is over.
    pub(super) fn log_overflow(&mut self) {
        let Some(running) = &mut self.running else { return };
        let overflowing = std::mem::take(&mut running.overflowed_of_late);
        if overflowing != running.overflowing {
            running.overflowing = overflowing;
            match overflowing {
                true => {
                    log::warn!("broker {}: it is too far behind, its oldest messages drop", self.broker.name)
                }
                false => log::info!("broker {}: no more messages drop", self.broker.name),
            }
        }
    }
}
