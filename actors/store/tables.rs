//! The tables of the file and the rows in them. Whose a row is stands first in its key, so that all of a session or a
//! broker lies together.

use bytes::BufMut;
use mqtt::{ClientId, PacketId, QoS};
use redb::{Table, TableDefinition, WriteTransaction};

use super::fields::{Fields, delivery_flags, put_text};

/// The version of what is described here.
pub const SCHEMA: u64 = 1;
/// Key of [`SCHEMA`] in [`META`].
pub const META_SCHEMA: &str = "schema";
/// Key in [`META`] of the offset of the next record to apply.
pub const META_APPLIED: &str = "applied";

/// Numbers about the file itself.
pub const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Session: a [`SessionRow`].
pub const SESSIONS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("sessions");
/// Session: Will Delay Interval and message of a Will that may have to be published.
pub const WILLS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("wills");
/// Session and Topic Filter: options and Subscription Identifier.
pub const SUBSCRIPTIONS: TableDefinition<'_, (u128, &str), (u8, Option<u32>)> =
    TableDefinition::new("subscriptions");
/// Session and offset: a [`Delivery`].
pub const DELIVERIES: TableDefinition<'_, (u128, u64), &[u8]> = TableDefinition::new("deliveries");
/// Session and Packet Identifier: the offset of the delivery in flight.
pub const DELIVERY_IDS: TableDefinition<'_, (u128, u16), u64> = TableDefinition::new("delivery_ids");
/// Offset: the message that stood or stands in the log there, once for all deliveries of it.
pub const MESSAGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");
/// Offset: how many deliveries need the message. Nothing stands here for one.
pub const HOLDERS: TableDefinition<'_, u64, u32> = TableDefinition::new("holders");
/// Topic Name: time of receipt and message.
pub const RETAINED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("retained");
/// Session or broker and Packet Identifier: received at QoS 2 and not released.
pub const INBOUND: TableDefinition<'_, (u128, u16), ()> = TableDefinition::new("inbound");
/// Broker: its cursor, and where it is in live messages (from, cursor).
pub const CURSORS: TableDefinition<'_, u128, (u64, Option<(u64, u64)>)> = TableDefinition::new("cursors");
/// Broker and Packet Identifier: offset, whether PUBREC came, and the [`SentAt`].
pub const UPSTREAM_IN_FLIGHT: TableDefinition<'_, (u128, u16), (u64, bool, u64, u32)> =
    TableDefinition::new("upstream_in_flight");
/// Broker and offset: a QoS 2 message that must not go there again.
pub const UPSTREAM_DONE: TableDefinition<'_, (u128, u64), ()> = TableDefinition::new("upstream_done");

/// All tables, open in one transaction.
pub struct Tables<'t> {
    pub meta: Table<'t, &'static str, u64>,
    pub sessions: Table<'t, u128, &'static [u8]>,
    pub wills: Table<'t, u128, &'static [u8]>,
    pub subscriptions: Table<'t, (u128, &'static str), (u8, Option<u32>)>,
    pub deliveries: Table<'t, (u128, u64), &'static [u8]>,
    pub delivery_ids: Table<'t, (u128, u16), u64>,
    pub messages: Table<'t, u64, &'static [u8]>,
    pub holders: Table<'t, u64, u32>,
    pub retained: Table<'t, &'static str, &'static [u8]>,
    pub inbound: Table<'t, (u128, u16), ()>,
    pub cursors: Table<'t, u128, (u64, Option<(u64, u64)>)>,
    pub upstream_in_flight: Table<'t, (u128, u16), (u64, bool, u64, u32)>,
    pub upstream_done: Table<'t, (u128, u64), ()>,
}

impl<'t> Tables<'t> {
    /// Opens all tables and makes those that are missing.
    pub fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, redb::Error> {
        Ok(Tables {
            meta: transaction.open_table(META)?,
            sessions: transaction.open_table(SESSIONS)?,
            wills: transaction.open_table(WILLS)?,
            subscriptions: transaction.open_table(SUBSCRIPTIONS)?,
            deliveries: transaction.open_table(DELIVERIES)?,
            delivery_ids: transaction.open_table(DELIVERY_IDS)?,
            messages: transaction.open_table(MESSAGES)?,
            holders: transaction.open_table(HOLDERS)?,
            retained: transaction.open_table(RETAINED)?,
            inbound: transaction.open_table(INBOUND)?,
            cursors: transaction.open_table(CURSORS)?,
            upstream_in_flight: transaction.open_table(UPSTREAM_IN_FLIGHT)?,
            upstream_done: transaction.open_table(UPSTREAM_DONE)?,
        })
    }
}

/// A row that cannot be what was written.
pub fn damaged(what: &str) -> redb::Error {
    redb::Error::Corrupted(format!("a row of {what} cannot be read"))
}

/// Which of all that was sent came first: the record of the log that says so and the place in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SentAt {
    /// Offset of the record.
    pub record: u64,
    /// Place in the list.
    pub index: u32,
}

/// A session by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The Client Identifier.
    pub client_id: ClientId,
    /// Session Expiry Interval in seconds.
    pub expiry_secs: u32,
    /// When the connection ended, if it did.
    pub disconnected_at_micros: Option<u64>,
}

impl SessionRow {
    /// The row in bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.client_id.as_str().len());
        put_text(&mut bytes, self.client_id.as_str());
        bytes.put_u32_le(self.expiry_secs);
        if let Some(at_micros) = self.disconnected_at_micros {
            bytes.put_u64_le(at_micros);
        }
        bytes
    }

    /// The row of these bytes.
    pub fn decode(bytes: &[u8]) -> Option<SessionRow> {
        let mut fields = Fields::new(bytes);
        let client_id = fields.client_id()?;
        let expiry_secs = fields.u32()?;
        let disconnected_at_micros = if fields.is_empty() { None } else { Some(fields.u64()?) };
        fields.is_empty().then_some(SessionRow { client_id, expiry_secs, disconnected_at_micros })
    }
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits.
    Queued,
    /// It went out, or is about to.
    Sent(PacketId, SentAt),
    /// PUBREC came: the message itself is not needed any more.
    Received(PacketId, SentAt),
}

impl Stage {
    /// The Packet Identifier in use.
    pub fn packet_id(self) -> Option<PacketId> {
        match self {
            Stage::Queued => None,
            Stage::Sent(packet_id, _) | Stage::Received(packet_id, _) => Some(packet_id),
        }
    }

    /// Whether the message may have to go out still.
    pub fn needs_message(self) -> bool {
        !matches!(self, Stage::Received(..))
    }
}

const QUEUED: u8 = 0;
const SENT: u8 = 1;
const RECEIVED: u8 = 2;

/// A message on its way to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// QoS of the delivery.
    pub qos: QoS,
    /// RETAIN flag of the delivery.
    pub retain: bool,
    /// When the message was received.
    pub received_at_micros: u64,
    /// How far it is.
    pub stage: Stage,
    /// Subscription Identifiers of the delivery.
    pub subscription_identifiers: Vec<u32>,
}

impl Delivery {
    /// The row in bytes.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.put_u8(delivery_flags(self.qos, self.retain));
        bytes.put_u64_le(self.received_at_micros);
        match self.stage {
            Stage::Queued => bytes.put_u8(QUEUED),
            Stage::Sent(packet_id, sent_at) => put_stage(bytes, SENT, packet_id, sent_at),
            Stage::Received(packet_id, sent_at) => put_stage(bytes, RECEIVED, packet_id, sent_at),
        }
        for identifier in &self.subscription_identifiers {
            bytes.put_u32_le(*identifier);
        }
    }

    /// The row of these bytes.
    pub fn decode(bytes: &[u8]) -> Option<Delivery> {
        let mut fields = Fields::new(bytes);
        let (qos, retain) = fields.delivery_flags()?;
        let received_at_micros = fields.u64()?;
        let stage = match fields.u8()? {
            QUEUED => Stage::Queued,
            SENT => Stage::Sent(fields.packet_id()?, sent_at(&mut fields)?),
            RECEIVED => Stage::Received(fields.packet_id()?, sent_at(&mut fields)?),
            _ => return None,
        };
        let mut subscription_identifiers = Vec::new();
        while !fields.is_empty() {
            subscription_identifiers.push(fields.u32()?);
        }
        Some(Delivery { qos, retain, received_at_micros, stage, subscription_identifiers })
    }
}

fn put_stage(bytes: &mut Vec<u8>, stage: u8, packet_id: PacketId, sent_at: SentAt) {
    bytes.put_u8(stage);
    bytes.put_u16_le(packet_id.get());
    bytes.put_u64_le(sent_at.record);
    bytes.put_u32_le(sent_at.index);
}

fn sent_at(fields: &mut Fields<'_>) -> Option<SentAt> {
    Some(SentAt { record: fields.u64()?, index: fields.u32()? })
}
