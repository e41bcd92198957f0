//! Messages that the broker can never take: which one it is that it ends connections for, and what becomes of them.

use mqtt::{PacketId, ReasonCode};

use super::{InFlight, Outbox};
use crate::upstream_broker::connect::Capabilities;
use crate::upstream_broker::dead_letters::DeadLetters;
use crate::upstream_broker::drop_reason::DropReason;
use crate::upstream_broker::encoding::Wire;
use crate::upstream_broker::status::UpstreamStatus;

impl Outbox {
    /// The name by which dead letters say whose they are.
    pub fn set_broker_name(&mut self, name: &str) {
        self.dead_letters.rename(name);
    }

    /// Those that the Router does not have yet.
    pub fn dead_letters(&mut self) -> &mut DeadLetters {
        &mut self.dead_letters
    }

    /// The Receive Maximum that a new connection begins with: one at a time where one of them is bad.
    pub(super) fn first_window(&self, capabilities: &Capabilities) -> u16 {
        if self.suspects.is_searching() { 1 } else { capabilities.receive_maximum }
    }

    /// Whether nothing new may go out yet, because one of the messages in flight may be a bad one. When the last of them
    /// is done with, the window is what it was.
    pub(super) fn is_searching(&mut self, wire: &Wire) -> bool {
        if !self.suspects.is_searching() {
            return false;
        }
        if self.in_flight() > 0 {
            return true;
        }
        self.suspects.cleared();
        self.outflow.set_receive_maximum(wire.capabilities.receive_maximum);
        false
    }

    /// A connection that was up has ended; `blame` is the Reason Code of a DISCONNECT that says that a packet of ours was
    /// wrong. Answers whether a message was given up for it.
    pub fn ended(&mut self, blame: Option<ReasonCode>, status: &UpstreamStatus) -> bool {
        let alone = self.outflow.sent_alone().map(|(packet_id, in_flight)| (packet_id, *in_flight));
        let suspect = alone.map(|(_, in_flight)| (in_flight.lane, in_flight.offset));
        let found = self.suspects.ended(blame, suspect);
        let Some((packet_id, in_flight)) = alone.filter(|_| found.is_some()) else { return false };
        self.bury(packet_id, &in_flight, DropReason::Poison, blame, status);
        // What is known of its Packet Identifier after a restart must not lag behind the cursor.
        self.journal.write();
        self.publish_progress(status);
        true
    }

    /// Gives up a message in flight.
    pub(super) fn bury(
        &mut self,
        packet_id: PacketId,
        in_flight: &InFlight,
        reason: DropReason,
        reason_code: Option<ReasonCode>,
        status: &UpstreamStatus,
    ) {
        self.outflow.abandon(packet_id);
        self.refused(in_flight, reason, reason_code, status);
    }

    /// A message that is out of the flow already is a dead letter.
    pub(super) fn refused(
        &mut self,
        in_flight: &InFlight,
        reason: DropReason,
        reason_code: Option<ReasonCode>,
        status: &UpstreamStatus,
    ) {
        self.journal.done(in_flight.qos, in_flight.offset);
        status.count_dropped(reason, 1);
        let letters = &mut self.dead_letters;
        // What the log has no more cannot be shown; it is counted all the same.
        self.lanes.reader.visit(in_flight.offset, |record| letters.push(&record, reason, reason_code));
    }
}
