//! How far one upstream broker is: its place in the log and the QoS 2 messages around it. Small enough to be kept in
//! memory, where a group of records works on a copy.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mqtt::PacketId;

use super::LiveCursor;
use super::tables::{SentAt, Tables};

/// A QoS 2 message on its way to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The offset of the message.
    pub offset: u64,
    /// Whether PUBREC came.
    pub received: bool,
    /// When it was sent among the others.
    pub sent_at: SentAt,
}

/// How far a broker is. One of which nothing is known is one that is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    cursor: Option<(u64, Option<LiveCursor>)>,
    in_flight: BTreeMap<PacketId, InFlight>,
    /// The Packet Identifier of each offset in flight.
    packet_ids: HashMap<u64, PacketId>,
    done: BTreeSet<u64>,
}

impl Upstream {
    /// The lowest offset that the broker has not acknowledged.
    pub fn cursor(&self) -> Option<u64> {
        self.cursor.map(|(cursor, _)| cursor)
    }

    /// Where it is in live messages.
    pub fn live(&self) -> Option<LiveCursor> {
        self.cursor.and_then(|(_, live)| live)
    }

    /// What is in flight, in the order in which it was sent.
    pub fn in_flight(&self) -> Vec<(PacketId, InFlight)> {
        let mut in_flight: Vec<_> = self.in_flight.iter().map(|(id, message)| (*id, *message)).collect();
        in_flight.sort_unstable_by_key(|(_, message)| message.sent_at);
        in_flight
    }

    /// What must not be sent again.
    pub fn done(&self) -> &BTreeSet<u64> {
        &self.done
    }

    /// Moves the cursor and forgets what it goes past.
    pub fn set_cursor(&mut self, cursor: u64, live: Option<LiveCursor>) {
        self.cursor = Some((cursor, live));
        while self.done.first().is_some_and(|offset| *offset < cursor) {
            self.done.pop_first();
        }
        // A range that ends before it starts is none.
        if let Some(live) = live.filter(|live| live.from < live.cursor) {
            let passed: Vec<u64> = self.done.range(live.from..live.cursor).copied().collect();
            for offset in passed {
                self.done.remove(&offset);
            }
        }
    }

    /// A message goes out. An identifier stands for one message, and a message has one identifier: the last ones count.
    pub fn sent(&mut self, packet_id: PacketId, offset: u64, sent_at: SentAt) {
        if let Some(earlier) = self.packet_ids.insert(offset, packet_id) {
            self.in_flight.remove(&earlier);
        }
        let message = InFlight { offset, received: false, sent_at };
        if let Some(earlier) = self.in_flight.insert(packet_id, message) {
            self.packet_ids.remove(&earlier.offset);
        }
    }

    /// PUBREC came.
    pub fn received(&mut self, packet_id: PacketId) {
        if let Some(message) = self.in_flight.get_mut(&packet_id) {
            message.received = true;
        }
    }

    /// A message needs nothing more.
    pub fn finish(&mut self, offset: u64) {
        if let Some(packet_id) = self.packet_ids.remove(&offset) {
            self.in_flight.remove(&packet_id);
        }
        if !self.is_passed(offset) {
            self.done.insert(offset);
        }
    }

    /// The broker forgot what was in flight.
    pub fn lose_session(&mut self) {
        self.in_flight.clear();
        self.packet_ids.clear();
    }

    /// Whether it is known without a mark that the message must not be sent again: the cursor says so, or there is none,
    /// as with the Session at a member of a group, whose messages the group marks.
    fn is_passed(&self, offset: u64) -> bool {
        let is_live = |live: LiveCursor| (live.from..live.cursor).contains(&offset);
        self.cursor().is_none_or(|cursor| offset < cursor) || self.live().is_some_and(is_live)
    }

    /// Takes a row in when the store is opened.
    pub fn restore_cursor(&mut self, cursor: u64, live: Option<LiveCursor>) {
        self.cursor = Some((cursor, live));
    }

    /// Takes a row in when the store is opened.
    pub fn restore_in_flight(&mut self, packet_id: PacketId, message: InFlight) {
        self.packet_ids.insert(message.offset, packet_id);
        self.in_flight.insert(packet_id, message);
    }

    /// Takes a row in when the store is opened.
    pub fn restore_done(&mut self, offset: u64) {
        self.done.insert(offset);
    }

    /// Writes what differs from what is stored. Returns whether anything did.
    pub fn write(
        &self,
        broker: u128,
        stored: &Upstream,
        tables: &mut Tables<'_>,
    ) -> Result<bool, redb::Error> {
        if self == stored {
            return Ok(false);
        }
        match self.cursor {
            cursor if cursor == stored.cursor => {}
            Some((cursor, live)) => {
                let live = live.map(|live| (live.from, live.cursor));
                tables.cursors.insert(broker, (cursor, live))?;
            }
            None => {
                tables.cursors.remove(broker)?;
            }
        }
        for packet_id in stored.in_flight.keys().filter(|id| !self.in_flight.contains_key(*id)) {
            tables.upstream_in_flight.remove((broker, packet_id.get()))?;
        }
        for (packet_id, message) in &self.in_flight {
            if stored.in_flight.get(packet_id) != Some(message) {
                let SentAt { record, index } = message.sent_at;
                let row = (message.offset, message.received, record, index);
                tables.upstream_in_flight.insert((broker, packet_id.get()), row)?;
            }
        }
        for offset in stored.done.difference(&self.done) {
            tables.upstream_done.remove((broker, *offset))?;
        }
        for offset in self.done.difference(&stored.done) {
            tables.upstream_done.insert((broker, *offset), ())?;
        }
        Ok(true)
    }
}
