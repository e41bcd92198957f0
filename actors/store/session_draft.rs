//! What a group of records makes of one session. What is stored is read when it is needed, and written when all
//! records have been seen; a delivery that comes and goes in between leaves no trace.

use mqtt::{Message, PacketId, TopicFilter};
use redb::ReadableTable;

use super::bodies::Bodies;
use super::session_rows::{clear, put, write_will};
use super::slot::{Outcome, Slot};
use super::tables::{Delivery, SentAt, SessionRow, Stage, Tables, damaged};
use super::{Map, OffsetMap, SessionKey, sorted};

/// A subscription as it is stored: the options byte and the Subscription Identifier.
pub type SubscriptionRow = (u8, Option<u32>);

/// A session, or the part of it that a broker has, while a group of records works on it.
pub struct SessionDraft {
    key: u128,
    /// The first offset of the group: nothing of it or behind it is stored yet.
    start: u64,
    /// Whether there may be something in the store.
    stored: bool,
    /// Whether the session exists after the records so far.
    exists: bool,
    /// What is in the store does not count any more.
    wiped: bool,
    /// The session by itself, if it changed.
    row: Option<SessionRow>,
    /// The Will, if it changed: Will Delay Interval and message.
    will: Option<Option<(u32, Message)>>,
    subscriptions: Map<TopicFilter, Slot<SubscriptionRow>>,
    inbound: Map<PacketId, Slot<()>>,
    deliveries: OffsetMap<Slot<Delivery>>,
    packet_ids: Map<PacketId, Slot<u64>>,
}

impl SessionDraft {
    /// A session as the records before the group left it.
    pub fn new(key: SessionKey, start: u64, stored: bool) -> SessionDraft {
        SessionDraft {
            key: key.0,
            start,
            stored,
            exists: stored,
            wiped: false,
            row: None,
            will: None,
            subscriptions: Map::default(),
            inbound: Map::default(),
            deliveries: OffsetMap::default(),
            packet_ids: Map::default(),
        }
    }

    /// Whether the session exists after the records so far.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// The session was connected.
    pub fn connect(&mut self, row: SessionRow) {
        self.exists = true;
        self.row = Some(row);
        self.will = Some(None);
    }

    /// The connection has a Will, or has none any more.
    pub fn set_will(&mut self, will: Option<(u32, Message)>) {
        if self.exists {
            self.will = Some(will);
        }
    }

    /// The session was disconnected.
    pub fn disconnect(&mut self, expiry_secs: u32, at: u64, tables: &Tables<'_>) -> Result<(), redb::Error> {
        if !self.exists {
            return Ok(());
        }
        if self.row.is_none() {
            let row = tables.sessions.get(self.key)?;
            let row = row.and_then(|row| SessionRow::decode(row.value()));
            self.row = Some(row.ok_or_else(|| damaged("sessions"))?);
        }
        if let Some(row) = &mut self.row {
            row.expiry_secs = expiry_secs;
            row.disconnected_at_micros = Some(at);
        }
        Ok(())
    }

    /// Everything of the session goes.
    pub fn wipe(&mut self, tables: &Tables<'_>, bodies: &mut Bodies<'_>) -> Result<(), redb::Error> {
        if self.stored && !self.wiped {
            for row in tables.deliveries.range((self.key, 0)..=(self.key, u64::MAX))? {
                let (key, value) = row?;
                let (_, offset) = key.value();
                if self.deliveries.contains_key(&offset) {
                    continue;
                }
                let delivery = Delivery::decode(value.value()).ok_or_else(|| damaged("deliveries"))?;
                if delivery.stage.needs_message() {
                    bodies.release(offset);
                }
            }
        }
        for (offset, slot) in std::mem::take(&mut self.deliveries) {
            if slot.get().is_some_and(|delivery| delivery.stage.needs_message()) {
                bodies.release(offset);
            }
        }
        self.subscriptions = Map::default();
        self.inbound = Map::default();
        self.packet_ids = Map::default();
        (self.wiped, self.exists, self.row, self.will) = (true, false, None, None);
        Ok(())
    }

    /// What a broker sent at QoS 2 goes. There is no session of a broker, so nothing else says that it is stored.
    pub fn wipe_broker(&mut self, tables: &Tables<'_>, bodies: &mut Bodies<'_>) -> Result<(), redb::Error> {
        self.wipe(tables, bodies)?;
        self.stored = true;
        Ok(())
    }

    /// A subscription was made or replaced.
    pub fn subscribe(
        &mut self,
        filter: TopicFilter,
        row: SubscriptionRow,
        tables: &Tables<'_>,
    ) -> Result<(), redb::Error> {
        if self.exists {
            let slot = self.subscription(filter, tables)?;
            // Clients subscribe anew to what they have at every connect, mostly.
            if slot.get() != Some(&row) {
                slot.set(row);
            }
        }
        Ok(())
    }

    /// A subscription ended.
    pub fn unsubscribe(&mut self, filter: TopicFilter, tables: &Tables<'_>) -> Result<(), redb::Error> {
        if self.exists {
            self.subscription(filter, tables)?.clear();
        }
        Ok(())
    }

    fn subscription(
        &mut self,
        filter: TopicFilter,
        tables: &Tables<'_>,
    ) -> Result<&mut Slot<SubscriptionRow>, redb::Error> {
        if !self.subscriptions.contains_key(&filter) {
            let stored = match self.wiped || !self.stored {
                true => None,
                false => tables.subscriptions.get((self.key, filter.as_str()))?.map(|row| row.value()),
            };
            self.subscriptions.insert(filter.clone(), Slot::read(stored));
        }
        Ok(self.subscriptions.entry(filter).or_insert_with(Slot::empty))
    }

    /// A message came at QoS 2.
    pub fn receive(&mut self, packet_id: PacketId, tables: &Tables<'_>) -> Result<(), redb::Error> {
        let slot = self.inbound(packet_id, tables)?;
        if slot.get().is_none() {
            slot.set(());
        }
        Ok(())
    }

    /// A message that came at QoS 2 was released.
    pub fn release(&mut self, packet_id: PacketId, tables: &Tables<'_>) -> Result<(), redb::Error> {
        self.inbound(packet_id, tables)?.clear();
        Ok(())
    }

    fn inbound(&mut self, packet_id: PacketId, tables: &Tables<'_>) -> Result<&mut Slot<()>, redb::Error> {
        if !self.inbound.contains_key(&packet_id) {
            // A broker has no session that would say whether anything is stored.
            let stored = match self.wiped {
                true => None,
                false => tables.inbound.get((self.key, packet_id.get()))?.map(|_| ()),
            };
            self.inbound.insert(packet_id, Slot::read(stored));
        }
        Ok(self.inbound.entry(packet_id).or_insert_with(Slot::empty))
    }

    /// A message waits for the client from now on. Returns whether it is one more that needs its message: a session
    /// gets a message once, and the last word on how counts.
    pub fn queue(&mut self, offset: u64, delivery: Delivery) -> bool {
        if !self.exists {
            return false;
        }
        let slot = self.deliveries.entry(offset).or_insert_with(Slot::empty);
        let is_one_more = slot.get().is_none();
        slot.set(delivery);
        is_one_more
    }

    /// A delivery went out. What is unknown, or waits for PUBCOMP only, does not go out.
    pub fn send(
        &mut self,
        packet_id: PacketId,
        offset: u64,
        sent_at: SentAt,
        tables: &Tables<'_>,
    ) -> Result<(), redb::Error> {
        let Some(delivery) = self.delivery(offset, tables)?.and_then(|slot| slot.get()) else {
            return Ok(());
        };
        if !delivery.stage.needs_message() {
            return Ok(());
        }
        let earlier_id = delivery.stage.packet_id();
        if let Some(earlier_id) = earlier_id.filter(|earlier_id| *earlier_id != packet_id) {
            self.holder(earlier_id, tables)?.clear();
        }
        if let Some(other) = self.holder(packet_id, tables)?.get().copied().filter(|other| *other != offset) {
            self.lose_packet_id(other, tables)?;
        }
        if earlier_id != Some(packet_id) {
            self.holder(packet_id, tables)?.set(offset);
        }
        self.set_stage(offset, Stage::Sent(packet_id, sent_at), tables)
    }

    /// A delivery whose Packet Identifier went to another one is as if it had not been sent. One that was received
    /// already needs nothing that could still be done for it.
    fn lose_packet_id(&mut self, offset: u64, tables: &Tables<'_>) -> Result<(), redb::Error> {
        let Some(slot) = self.delivery(offset, tables)? else { return Ok(()) };
        if slot.get().is_some_and(|delivery| delivery.stage.needs_message()) {
            return self.set_stage(offset, Stage::Queued, tables);
        }
        self.clear_delivery(offset);
        Ok(())
    }

    fn set_stage(&mut self, offset: u64, stage: Stage, tables: &Tables<'_>) -> Result<(), redb::Error> {
        if let Some(slot) = self.delivery(offset, tables)?
            && let Some(delivery) = slot.clear()
        {
            slot.set(Delivery { stage, ..delivery });
        }
        Ok(())
    }

    /// PUBREC came: only PUBREL is left of the delivery.
    pub fn acknowledge(
        &mut self,
        packet_id: PacketId,
        tables: &Tables<'_>,
        bodies: &mut Bodies<'_>,
    ) -> Result<(), redb::Error> {
        if !self.exists {
            return Ok(());
        }
        let Some(offset) = self.holder(packet_id, tables)?.get().copied() else { return Ok(()) };
        let stage = self.delivery(offset, tables)?.and_then(|slot| slot.get()).map(|delivery| delivery.stage);
        if let Some(Stage::Sent(packet_id, sent_at)) = stage {
            self.set_stage(offset, Stage::Received(packet_id, sent_at), tables)?;
            bodies.release(offset);
        }
        Ok(())
    }

    /// A delivery needs nothing more.
    pub fn finish(
        &mut self,
        offset: u64,
        tables: &Tables<'_>,
        bodies: &mut Bodies<'_>,
    ) -> Result<(), redb::Error> {
        let Some(slot) = self.delivery(offset, tables)? else { return Ok(()) };
        let Some(delivery) = slot.get() else { return Ok(()) };
        let stage = delivery.stage;
        self.clear_delivery(offset);
        if let Some(packet_id) = stage.packet_id() {
            self.holder(packet_id, tables)?.clear();
        }
        if stage.needs_message() {
            bodies.release(offset);
        }
        Ok(())
    }

    fn clear_delivery(&mut self, offset: u64) {
        if let Some(slot) = self.deliveries.get_mut(&offset) {
            slot.clear();
            // Most deliveries come and go within a group; the memory of each is free for the next one.
            if slot.is_void() {
                self.deliveries.remove(&offset);
            }
        }
    }

    /// The place of a delivery; `None` where there cannot be one.
    fn delivery(
        &mut self,
        offset: u64,
        tables: &Tables<'_>,
    ) -> Result<Option<&mut Slot<Delivery>>, redb::Error> {
        let may_be_stored = self.exists && self.stored && !self.wiped && offset < self.start;
        if may_be_stored && !self.deliveries.contains_key(&offset) {
            let stored = match tables.deliveries.get((self.key, offset))? {
                None => None,
                Some(row) => Some(Delivery::decode(row.value()).ok_or_else(|| damaged("deliveries"))?),
            };
            self.deliveries.insert(offset, Slot::read(stored));
        }
        Ok(self.deliveries.get_mut(&offset))
    }

    /// The place that says which delivery has a Packet Identifier.
    fn holder(&mut self, packet_id: PacketId, tables: &Tables<'_>) -> Result<&mut Slot<u64>, redb::Error> {
        if !self.packet_ids.contains_key(&packet_id) {
            let stored = match self.wiped || !self.stored {
                true => None,
                false => tables.delivery_ids.get((self.key, packet_id.get()))?.map(|row| row.value()),
            };
            self.packet_ids.insert(packet_id, Slot::read(stored));
        }
        Ok(self.packet_ids.entry(packet_id).or_insert_with(Slot::empty))
    }

    /// Writes what is different in the end. Returns whether anything was.
    pub fn write(self, tables: &mut Tables<'_>) -> Result<bool, redb::Error> {
        let mut changed = false;
        let key = self.key;
        if self.wiped && self.stored {
            changed |= clear(key, tables)?;
        }
        if let Some(row) = self.row {
            changed = true;
            tables.sessions.insert(key, &row.encode()[..])?;
        }
        if let Some(will) = self.will {
            changed |= write_will(key, will.as_ref(), tables)?;
        }
        for (filter, slot) in sorted(self.subscriptions) {
            changed |= put(&mut tables.subscriptions, (key, filter.as_str()), slot)?;
        }
        for (packet_id, slot) in sorted(self.inbound) {
            changed |= put(&mut tables.inbound, (key, packet_id.get()), slot)?;
        }
        for (packet_id, slot) in sorted(self.packet_ids) {
            changed |= put(&mut tables.delivery_ids, (key, packet_id.get()), slot)?;
        }
        let mut bytes = Vec::new();
        for (offset, slot) in sorted(self.deliveries) {
            match slot.outcome() {
                Outcome::Nothing => continue,
                Outcome::Remove => drop(tables.deliveries.remove((key, offset))?),
                Outcome::Put(delivery) => {
                    bytes.clear();
                    delivery.encode(&mut bytes);
                    tables.deliveries.insert((key, offset), &bytes[..])?;
                }
            }
            changed = true;
        }
        Ok(changed)
    }
}
