//! What a broker will not get because it was too far behind, and that publishers are refused for one: counted, and said
//! once per episode.

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
    /// Says once that new messages are refused because of the broker, and once that it has got half of what waited.
    pub(super) fn log_full(&mut self) {
        let (is_full, bound) = (self.is_full(), self.broker.backlog.queue_bytes_max.unwrap_or(u64::MAX));
        let Some(running) = &mut self.running else { return };
        if is_full && !running.full {
            running.full = true;
            log::warn!(
                "broker {}: it is as far behind as queue_bytes_max allows; new messages are refused",
                self.broker.name
            );
        } else if running.full && running.place.lag().bytes <= bound / 2 {
            running.full = false;
            log::info!("broker {}: messages are taken again", self.broker.name);
        }
    }
}
