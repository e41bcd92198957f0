//! What must be known of QoS 2 messages towards a broker after a restart of the proxy: under which Packet Identifier
//! each one went out, and how far it came. Without it, exactly once would hold for one life of the process only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Context;

use mqtt::{PacketId, QoS};

use super::lanes::Lane;
use crate::BrokerId;
use crate::message_log::{Mark, MessageLog, Registration};
use crate::store::{Change, LiveCursor, StoredUpstream};
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
    /// Whose Packet Identifiers they are: the broker's own, or those of a member's Session of a group.
    session: BrokerId,
    log: Arc<MessageLog>,
    sent: Vec<(PacketId, u64)>,
    received: Vec<PacketId>,
    done: Vec<u64>,
    /// Packet Identifiers of these are free again; the messages went another way.
    freed: Vec<u64>,
    /// The output waits until everything below this offset is stored.
    gate: u64,
    registration: Registration,
    /// No connection has been made since the restart.
    is_first: bool,
    /// Sent before the restart and not known to be received, by offset.
    earlier_sent: BTreeMap<u64, PacketId>,
    /// Received by the broker before the restart.
    earlier_finished: BTreeSet<u64>,
    /// Those among them whose PUBCOMP was missing: a broker without our Session may never have passed them on.
    earlier_received: BTreeSet<u64>,
}

impl Journal {
    /// An empty journal.
    pub fn new(broker: BrokerId, log: Arc<MessageLog>) -> Journal {
        Journal {
            broker,
            session: broker,
            log,
            sent: Vec::new(),
            received: Vec::new(),
            done: Vec::new(),
            freed: Vec::new(),
            gate: 0,
            registration: Registration::default(),
            is_first: false,
            earlier_sent: BTreeMap::new(),
            earlier_finished: BTreeSet::new(),
            earlier_received: BTreeSet::new(),
        }
    }

    /// What the store knows; answers with what was in flight.
    pub fn restore(&mut self, stored: StoredUpstream) -> Vec<(PacketId, u64, bool)> {
        self.is_first = true;
        self.earlier_finished.extend(stored.done);
        self.adopt(&stored.in_flight);
        stored.in_flight
    }

    /// Messages were in flight in the Session before the restart.
    pub fn adopt(&mut self, in_flight: &[(PacketId, u64, bool)]) {
        for (packet_id, offset, is_received) in in_flight {
            if *is_received {
                self.earlier_finished.insert(*offset);
                self.earlier_received.insert(*offset);
            } else {
                self.earlier_sent.insert(*offset, *packet_id);
            }
        }
    }

    /// Whether no connection has been made since a restart.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Whether the broker had the message before the restart.
    pub fn is_finished(&self, offset: u64) -> bool {
        self.earlier_finished.contains(&offset)
    }

    /// Whose Packet Identifiers are written down.
    pub fn session(&self) -> BrokerId {
        self.session
    }

    /// What follows goes out in another Session, and not before it is written down what the others finished: `cursor`,
    /// and these offsets above it. Else a crash could bring to one member, behind newer messages, what another one has.
    pub fn attach(
        &mut self,
        session: BrokerId,
        (cursor, live): (u64, Option<LiveCursor>),
        finished: Vec<u64>,
    ) {
        self.write();
        if self.log.is_durable() {
            let broker = self.broker;
            let changes =
                [Change::Cursor { broker, cursor, live }, Change::UpstreamDone { broker, offsets: finished }];
            self.gate = self.log.append_changes(&changes, unix_micros());
        }
        self.session = session;
        // They go out as new, before anything that is read.
        self.earlier_finished.extend(std::mem::take(&mut self.earlier_sent).into_keys());
    }

    /// A Packet Identifier is free again whose message went another way.
    pub fn freed(&mut self, offset: u64) {
        self.freed.push(offset);
    }

    /// The broker accepted a connection; answers whether it is the first one since a restart.
    pub fn begin_connection(&mut self, session_present: bool) -> bool {
        let is_first = std::mem::take(&mut self.is_first);
        let received = std::mem::take(&mut self.earlier_received);
        if is_first && !session_present {
            self.earlier_finished.retain(|offset| !received.contains(offset));
        }
        if !session_present {
            (self.sent, self.received, self.freed) = (Vec::new(), Vec::new(), Vec::new());
            if self.log.is_durable() {
                let lost = Change::UpstreamSessionLost { broker: self.session };
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

    /// How many messages were sent before the restart and wait until their place in the log is read again.
    pub fn unread(&self) -> usize {
        self.earlier_sent.len()
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
        let is_quiet = self.sent.is_empty() && self.received.is_empty();
        if is_quiet && self.done.is_empty() && self.freed.is_empty() {
            return;
        }
        let (broker, session) = (self.broker, self.session);
        let (sent, received, done) = (
            std::mem::take(&mut self.sent),
            std::mem::take(&mut self.received),
            std::mem::take(&mut self.done),
        );
        let mut freed = std::mem::take(&mut self.freed);
        if !self.log.is_durable() {
            return;
        }
        if session != broker {
            freed.extend_from_slice(&done);
        }
        let must_wait = !sent.is_empty() || !received.is_empty();
        let mut changes = Vec::with_capacity(4);
        if !sent.is_empty() {
            changes.push(Change::UpstreamSent { broker: session, messages: sent });
        }
        if !received.is_empty() {
            changes.push(Change::UpstreamReceived { broker: session, packet_ids: received });
        }
        if !done.is_empty() {
            changes.push(Change::UpstreamDone { broker, offsets: done });
        }
        if !freed.is_empty() {
            changes.push(Change::UpstreamDone { broker: session, offsets: freed });
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
