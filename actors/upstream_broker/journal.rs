//! What must be known of QoS 2 messages towards a broker after a restart of the proxy: under which Packet Identifier
//! each one went out, and how far it came. Without it, exactly once would hold for one life of the process only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Context;

use mqtt::{PacketId, QoS};

use super::lanes::Lane;
use crate::BrokerId;
use crate::message_log::{Mark, MessageLog, Registration};
use crate::store::{Change, StoredUpstream};
use crate::timestamp::unix_micros;

/// What became of a message before the restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing that is known.
    Unknown,
    /// It was sent under this identifier, and the broker still has the Session.
    Sent(PacketId),
    /// The broker has it.
    Finished,
}

/// The journal of one broker.
pub struct Journal {
    broker: BrokerId,
    log: Arc<MessageLog>,
    sent: Vec<(PacketId, u64)>,
    received: Vec<PacketId>,
    done: Vec<u64>,
    /// The output waits until everything below this offset is stored.
    gate: u64,
    registration: Registration,
    /// No connection has been made since the restart.
    is_first: bool,
    /// Sent before the restart and not known to be received, by offset.
    earlier_sent: BTreeMap<u64, PacketId>,
    /// Received by the broker before the restart.
    earlier_finished: BTreeSet<u64>,
}

impl Journal {
    /// An empty journal.
    pub fn new(broker: BrokerId, log: Arc<MessageLog>) -> Journal {
        Journal {
            broker,
            log,
            sent: Vec::new(),
            received: Vec::new(),
            done: Vec::new(),
            gate: 0,
            registration: Registration::default(),
            is_first: false,
            earlier_sent: BTreeMap::new(),
            earlier_finished: BTreeSet::new(),
        }
    }

    /// What the store knows; answers with what was in flight.
    pub fn restore(&mut self, stored: StoredUpstream) -> Vec<(PacketId, u64, bool)> {
        self.is_first = true;
        self.earlier_finished.extend(stored.done);
        for (packet_id, offset, is_received) in &stored.in_flight {
            if *is_received {
                self.earlier_finished.insert(*offset);
            } else {
                self.earlier_sent.insert(*offset, *packet_id);
            }
        }
        stored.in_flight
    }

    /// The broker accepted a connection; answers whether it is the first one since a restart.
    pub fn begin_connection(&mut self, session_present: bool) -> bool {
        let is_first = std::mem::take(&mut self.is_first);
        if !session_present {
            (self.sent, self.received) = (Vec::new(), Vec::new());
            if self.log.is_durable() {
                let lost = Change::UpstreamSessionLost { broker: self.broker };
                self.gate = self.log.append_changes(&[lost], unix_micros());
            }
        }
        if !session_present || !is_first {
            // They go out as new, or again before anything new; in either case not where the log has them.
            let earlier = std::mem::take(&mut self.earlier_sent);
            if session_present {
                self.earlier_finished.extend(earlier.into_keys());
            }
        }
        is_first
    }

    /// What became of the message at `offset` before the restart; asked once, in the order of the log.
    pub fn earlier(&mut self, lane: Lane, offset: u64) -> Earlier {
        let nothing_known = self.earlier_sent.is_empty() && self.earlier_finished.is_empty();
        if nothing_known || lane == Lane::Replay {
            return Earlier::Unknown;
        }
        match self.earlier_sent.remove(&offset) {
            Some(packet_id) => Earlier::Sent(packet_id),
            None if self.earlier_finished.remove(&offset) => Earlier::Finished,
            None => Earlier::Unknown,
        }
    }

    /// A message that was sent before the restart and that the log has no more: what stands at `offset` came next.
    pub fn passed_over(&mut self, offset: u64) -> Option<(u64, PacketId)> {
        let (first, _) = self.earlier_sent.first_key_value()?;
        if *first < offset { self.earlier_sent.pop_first() } else { None }
    }

    /// A message is about to go out.
    pub fn sent(&mut self, qos: QoS, packet_id: PacketId, offset: u64) {
        if qos == QoS::ExactlyOnce {
            self.sent.push((packet_id, offset));
        }
    }

    /// PUBREC came: PUBREL is about to go out.
    pub fn received(&mut self, packet_id: PacketId) {
        self.received.push(packet_id);
    }

    /// The broker has the message, or never will.
    pub fn done(&mut self, qos: QoS, offset: u64) {
        if qos == QoS::ExactlyOnce {
            self.done.push(offset);
        }
    }

    /// Writes down what happened since the last time. What the broker must not see before that is safe closes the
    /// gate.
    pub fn write(&mut self) {
        if self.sent.is_empty() && self.received.is_empty() && self.done.is_empty() {
            return;
        }
        let broker = self.broker;
        let (sent, received, done) = (
            std::mem::take(&mut self.sent),
            std::mem::take(&mut self.received),
            std::mem::take(&mut self.done),
        );
        if !self.log.is_durable() {
            return;
        }
        let must_wait = !sent.is_empty() || !received.is_empty();
        let mut changes = Vec::with_capacity(3);
        if !sent.is_empty() {
            changes.push(Change::UpstreamSent { broker, messages: sent });
        }
        if !received.is_empty() {
            changes.push(Change::UpstreamReceived { broker, packet_ids: received });
        }
        if !done.is_empty() {
            changes.push(Change::UpstreamDone { broker, offsets: done });
        }
        let end = self.log.append_changes(&changes, unix_micros());
        if must_wait {
            self.gate = end;
        }
    }

    /// Whether the output may go out. While the disk fails it may: exactly-once across a crash is then not kept.
    pub fn may_send(&mut self, task: &Context<'_>) -> bool {
        let watermarks = self.log.watermarks();
        watermarks.poll_passed(Mark::Stored, self.gate, &mut self.registration, task)
            || watermarks.is_failing()
    }
}
