//! How far a broker is: what the log must keep for it, and what is shown.

use std::collections::BTreeSet;

use super::{InFlight, Lane, Outbox};
use crate::limits;
use crate::store::LiveCursor;
use crate::upstream_broker::status::UpstreamStatus;

impl Outbox {
    /// The lowest offset that the main lane still needs, and the live one, where there is one.
    pub fn cursor(&self) -> (u64, Option<LiveCursor>) {
        let position = self.lanes.reader.position();
        if !self.is_mixed {
            let oldest = self.oldest().map(|in_flight| in_flight.offset);
            let anew = self.anew.front().map(|(_, offset)| *offset);
            return ([oldest, anew].into_iter().flatten().fold(position, u64::min), None);
        }
        let lowest = |lane: Lane, position: u64| {
            let in_flight = self.outflow.items().filter(|in_flight| !in_flight.is_elsewhere);
            let in_flight = in_flight.map(|in_flight| (in_flight.lane, in_flight.offset));
            let unfinished = in_flight.chain(self.anew.iter().copied());
            unfinished.filter(|(of, _)| *of == lane).map(|(_, offset)| offset).fold(position, u64::min)
        };
        match (self.lanes.live_from(), self.lanes.live_position()) {
            (Some(from), Some(live_position)) => {
                let cursor = lowest(Lane::Live, live_position);
                (lowest(Lane::Main, position), Some(LiveCursor { from, cursor }))
            }
            _ => (lowest(Lane::Main, position).min(lowest(Lane::Live, position)), None),
        }
    }

    /// What has been read and needs nothing more, although the cursor does not say so; while nothing is in flight. Not
    /// all of it, where it is very much.
    pub(super) fn finished_above_cursor(&self) -> Vec<u64> {
        let (cursor, live) = self.cursor();
        let unfinished: BTreeSet<u64> = self.anew.iter().map(|(_, offset)| *offset).collect();
        let main = cursor..self.lanes.reader.position();
        let past = live.zip(self.lanes.live_position()).map(|(live, position)| live.cursor..position);
        let read = main.chain(past.into_iter().flatten());
        read.filter(|offset| !unfinished.contains(offset)).take(limits::FINISHED_MARKS_MAX).collect()
    }

    /// The oldest message that waits for this broker's acknowledgement.
    fn oldest(&self) -> Option<&InFlight> {
        self.outflow.items().find(|in_flight| !in_flight.is_elsewhere)
    }

    /// Tells the log and the status how far the broker is.
    pub fn publish_progress(&mut self, status: &UpstreamStatus) {
        let (cursor, live) = self.cursor();
        self.lanes.reader.publish(cursor, live);
        if self.in_flight() == 0 && self.lanes.active().count() == 1 {
            self.is_mixed = false;
        }
        self.publish_drain(status);
        status.set_in_flight(self.in_flight() as u64);
        status.set_oldest_unsent(self.oldest_unsent_micros());
    }

    /// When the oldest message was received that the broker has not acknowledged, as far as that is known; 0 where
    /// there is none.
    fn oldest_unsent_micros(&mut self) -> u64 {
        match self.oldest() {
            Some(in_flight) if in_flight.received_at_micros > 0 && !self.is_mixed => {
                in_flight.received_at_micros
            }
            _ => self.lanes.reader.peek_message().map_or(0, |(_, record)| record.received_at_micros),
        }
    }
}
