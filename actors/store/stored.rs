//! What the actors get back from the store when the process starts.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

use log::error;
use mqtt::packet::SubscriptionOptions;
use mqtt::{ClientId, Message, PacketId, ProtocolVersion, QoS, TopicFilter};
use redb::{ReadTransaction, ReadableTable};
use uuid::Uuid;

use super::fields::Fields;
use super::tables::{self, Delivery, SentAt, SessionRow, Stage, damaged};
use super::upstream::{InFlight, Upstream};
use super::{LiveCursor, Map, OffsetMap, SessionKey};
use crate::BrokerId;

/// The sum of all records that were applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredState {
    /// Offset of the next record to apply.
    pub applied: u64,
    /// All sessions, in no particular order.
    pub sessions: Vec<StoredSession>,
    /// All retained messages, in no particular order.
    pub retained: Vec<StoredRetained>,
    /// What is known of upstream brokers.
    pub upstreams: HashMap<BrokerId, StoredUpstream>,
    /// No record before this offset may be written anew: the highest of `applied`, all cursors, and what lies behind
    /// each offset of a delivery or a message in flight or done.
    pub highest_offset: u64,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Whose.
    pub key: SessionKey,
    /// The Client Identifier.
    pub client_id: ClientId,
    /// Session Expiry Interval in seconds; `u32::MAX` is for ever.
    pub expiry_secs: u32,
    /// When the connection ended, in microseconds since the Unix epoch; `None` where it had not ended.
    pub disconnected_at_micros: Option<u64>,
    /// Will Delay Interval in seconds and message of a Will that was not published.
    pub will: Option<(u32, Message)>,
    /// Topic Filter, options and Subscription Identifier, in the order of the filters.
    pub subscriptions: Vec<(TopicFilter, SubscriptionOptions, Option<u32>)>,
    /// What was received at QoS 2 and not released, in ascending order.
    pub awaiting_release: Vec<PacketId>,
    /// First those in flight, in the order in which they were sent; then those that wait, in the order of offsets.
    pub deliveries: Vec<StoredDelivery>,
}

/// A message on its way to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDelivery {
    /// Its identity: the offset of the record that brought it.
    pub offset: u64,
    /// QoS of the delivery.
    pub qos: QoS,
    /// RETAIN flag of the delivery.
    pub retain: bool,
    /// Subscription Identifiers of the delivery.
    pub subscription_identifiers: Vec<u32>,
    /// The message as it was published. All deliveries of one message share its memory. `None` exactly where PUBREC
    /// came, since only PUBREL can still go out then.
    pub message: Option<Message>,
    /// When the message was received, in microseconds since the Unix epoch.
    pub received_at_micros: u64,
    /// How far it is.
    pub stage: DeliveryStage,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStage {
    /// It waits.
    Queued,
    /// It went out, or was about to, under this Packet Identifier.
    Sent(PacketId),
    /// PUBREC came for this Packet Identifier.
    Received(PacketId),
}

/// A retained message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRetained {
    /// The message as it was published.
    pub message: Message,
    /// When it was received, in microseconds since the Unix epoch.
    pub received_at_micros: u64,
}

/// How far an upstream broker is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredUpstream {
    /// The lowest offset that it has not acknowledged.
    pub cursor: Option<u64>,
    /// While a backlog is drained behind live messages.
    pub live: Option<LiveCursor>,
    /// Packet Identifier, offset and whether PUBREC came, of QoS 2 messages, in the order in which they were sent.
    pub in_flight: Vec<(PacketId, u64, bool)>,
    /// Offsets of QoS 2 messages that must not be sent again although the cursor does not say so, in ascending order.
    pub done: Vec<u64>,
    /// What came from it at QoS 2 and was not released, in ascending order.
    pub awaiting_release: Vec<PacketId>,
}

impl From<&Upstream> for StoredUpstream {
    fn from(upstream: &Upstream) -> StoredUpstream {
        let in_flight = upstream.in_flight().into_iter();
        StoredUpstream {
            cursor: upstream.cursor(),
            live: upstream.live(),
            in_flight: in_flight.map(|(id, message)| (id, message.offset, message.received)).collect(),
            done: upstream.done().iter().copied().collect(),
            awaiting_release: Vec::new(),
        }
    }
}

/// Reads everything.
pub fn read(
    transaction: &ReadTransaction,
    applied: u64,
    upstreams: &HashMap<BrokerId, Upstream>,
) -> Result<StoredState, redb::Error> {
    let mut state = StoredState {
        applied,
        upstreams: upstreams.iter().map(|(id, upstream)| (*id, upstream.into())).collect(),
        retained: read_retained(transaction)?,
        sessions: read_sessions(transaction)?,
        highest_offset: 0,
    };
    let places: Map<SessionKey, usize> =
        state.sessions.iter().enumerate().map(|(place, session)| (session.key, place)).collect();
    read_wills(transaction, &places, &mut state.sessions)?;
    read_subscriptions(transaction, &places, &mut state.sessions)?;
    read_deliveries(transaction, &places, &mut state.sessions)?;
    read_inbound(transaction, &places, &mut state)?;
    state.highest_offset = highest_offset(&state);
    Ok(state)
}

fn highest_offset(state: &StoredState) -> u64 {
    let of_upstream = |upstream: &StoredUpstream| {
        let live = upstream.live.map_or(0, |live| live.cursor.max(live.from));
        let used =
            upstream.in_flight.iter().map(|(_, offset, _)| *offset).chain(upstream.done.last().copied());
        upstream.cursor.unwrap_or(0).max(live).max(used.max().map_or(0, |offset| offset.saturating_add(1)))
    };
    let deliveries = state.sessions.iter().flat_map(|session| &session.deliveries);
    let delivered = deliveries.map(|delivery| delivery.offset.saturating_add(1)).max().unwrap_or(0);
    state.upstreams.values().map(of_upstream).fold(state.applied.max(delivered), u64::max)
}

/// The value of a row, or `None` for one that cannot be read, which is left out rather than all the others with it.
fn readable<T>(value: Option<T>, table: &str, key: impl Display) -> Option<T> {
    if value.is_none() {
        error!("the stored state of {key} in {table} cannot be read and is left out");
    }
    value
}

fn read_sessions(transaction: &ReadTransaction) -> Result<Vec<StoredSession>, redb::Error> {
    let mut sessions = Vec::new();
    for row in transaction.open_table(tables::SESSIONS)?.iter()? {
        let (key, value) = row?;
        let key = key.value();
        let row = readable(SessionRow::decode(value.value()), "sessions", format_args!("{key:032x}"));
        sessions.extend(row.map(|row| StoredSession {
            key: SessionKey(key),
            client_id: row.client_id,
            expiry_secs: row.expiry_secs,
            disconnected_at_micros: row.disconnected_at_micros,
            will: None,
            subscriptions: Vec::new(),
            awaiting_release: Vec::new(),
            deliveries: Vec::new(),
        }));
    }
    Ok(sessions)
}

fn read_wills(
    transaction: &ReadTransaction,
    places: &Map<SessionKey, usize>,
    sessions: &mut [StoredSession],
) -> Result<(), redb::Error> {
    for row in transaction.open_table(tables::WILLS)?.iter()? {
        let (key, value) = row?;
        let key = key.value();
        let mut fields = Fields::new(value.value());
        let will = readable(fields.u32().zip(fields.message()), "wills", format_args!("{key:032x}"));
        if let (Some(will), Some(place)) = (will, places.get(&SessionKey(key))) {
            sessions[*place].will = Some(will);
        }
    }
    Ok(())
}

fn read_subscriptions(
    transaction: &ReadTransaction,
    places: &Map<SessionKey, usize>,
    sessions: &mut [StoredSession],
) -> Result<(), redb::Error> {
    for row in transaction.open_table(tables::SUBSCRIPTIONS)?.iter()? {
        let (key, value) = row?;
        let (key, filter) = key.value();
        let (options, identifier) = value.value();
        let read = TopicFilter::new(filter.to_owned()).ok();
        let options = SubscriptionOptions::from_u8(options, ProtocolVersion::V5).ok();
        let row = readable(read.zip(options), "subscriptions", filter);
        if let (Some((filter, options)), Some(place)) = (row, places.get(&SessionKey(key))) {
            sessions[*place].subscriptions.push((filter, options, identifier));
        }
    }
    Ok(())
}

fn read_inbound(
    transaction: &ReadTransaction,
    places: &Map<SessionKey, usize>,
    state: &mut StoredState,
) -> Result<(), redb::Error> {
    for row in transaction.open_table(tables::INBOUND)?.iter()? {
        let (key, packet_id) = row?.0.value();
        let Some(packet_id) = PacketId::new(packet_id) else { continue };
        match places.get(&SessionKey(key)) {
            Some(place) => state.sessions[*place].awaiting_release.push(packet_id),
            // Identifiers of clients go with their sessions: these are a broker's.
            None => {
                let upstream = state.upstreams.entry(BrokerId(Uuid::from_u128(key))).or_default();
                upstream.awaiting_release.push(packet_id);
            }
        }
    }
    Ok(())
}

/// The messages of deliveries, each read once.
struct Messages {
    table: redb::ReadOnlyTable<u64, &'static [u8]>,
    holders: redb::ReadOnlyTable<u64, u32>,
    /// Those that other deliveries may need too.
    shared: OffsetMap<Option<Message>>,
}

impl Messages {
    fn open(transaction: &ReadTransaction) -> Result<Messages, redb::Error> {
        Ok(Messages {
            table: transaction.open_table(tables::MESSAGES)?,
            holders: transaction.open_table(tables::HOLDERS)?,
            shared: OffsetMap::default(),
        })
    }

    fn get(&mut self, offset: u64) -> Result<Option<Message>, redb::Error> {
        if let Some(message) = self.shared.get(&offset) {
            return Ok(message.clone());
        }
        let row = self.table.get(offset)?;
        let message = row.and_then(|row| Fields::new(row.value()).message());
        let message = readable(message, "messages", offset);
        if self.holders.get(offset)?.is_some() {
            self.shared.insert(offset, message.clone());
        }
        Ok(message)
    }
}

fn read_deliveries(
    transaction: &ReadTransaction,
    places: &Map<SessionKey, usize>,
    sessions: &mut [StoredSession],
) -> Result<(), redb::Error> {
    let mut messages = Messages::open(transaction)?;
    let mut in_flight: BTreeMap<(usize, SentAt), StoredDelivery> = BTreeMap::new();
    for row in transaction.open_table(tables::DELIVERIES)?.iter()? {
        let (key, value) = row?;
        let (key, offset) = key.value();
        let row = readable(Delivery::decode(value.value()), "deliveries", offset);
        let (Some(row), Some(place)) = (row, places.get(&SessionKey(key))) else { continue };
        let message = if row.stage.needs_message() { messages.get(offset)? } else { None };
        if row.stage.needs_message() && message.is_none() {
            continue;
        }
        let stage = row.stage;
        let delivery = stored_delivery(offset, row, message);
        match stage {
            Stage::Queued => sessions[*place].deliveries.push(delivery),
            Stage::Sent(_, sent_at) | Stage::Received(_, sent_at) => {
                in_flight.insert((*place, sent_at), delivery);
            }
        }
    }
    put_in_front(in_flight, sessions);
    Ok(())
}

fn put_in_front(in_flight: BTreeMap<(usize, SentAt), StoredDelivery>, sessions: &mut [StoredSession]) {
    let mut in_flight = in_flight.into_iter().peekable();
    while let Some(((place, _), first)) = in_flight.next() {
        let mut deliveries = vec![first];
        while let Some((_, next)) = in_flight.next_if(|((other, _), _)| *other == place) {
            deliveries.push(next);
        }
        deliveries.append(&mut sessions[place].deliveries);
        sessions[place].deliveries = deliveries;
    }
}

fn stored_delivery(offset: u64, row: Delivery, message: Option<Message>) -> StoredDelivery {
    StoredDelivery {
        offset,
        qos: row.qos,
        retain: row.retain,
        subscription_identifiers: row.subscription_identifiers,
        message,
        received_at_micros: row.received_at_micros,
        stage: match row.stage {
            Stage::Queued => DeliveryStage::Queued,
            Stage::Sent(packet_id, _) => DeliveryStage::Sent(packet_id),
            Stage::Received(packet_id, _) => DeliveryStage::Received(packet_id),
        },
    }
}

fn read_retained(transaction: &ReadTransaction) -> Result<Vec<StoredRetained>, redb::Error> {
    let mut retained = Vec::new();
    for row in transaction.open_table(tables::RETAINED)?.iter()? {
        let (topic, value) = row?;
        let mut fields = Fields::new(value.value());
        let row = fields.u64().zip(fields.message());
        let row = readable(row, "retained", topic.value());
        retained
            .extend(row.map(|(received_at_micros, message)| StoredRetained { message, received_at_micros }));
    }
    Ok(retained)
}

/// How far each broker is, as the store was left.
pub fn read_upstreams(transaction: &ReadTransaction) -> Result<HashMap<BrokerId, Upstream>, redb::Error> {
    let mut upstreams: HashMap<BrokerId, Upstream> = HashMap::new();
    let broker = |key: u128| BrokerId(Uuid::from_u128(key));
    for row in transaction.open_table(tables::CURSORS)?.iter()? {
        let (key, value) = row?;
        let (cursor, live) = value.value();
        let live = live.map(|(from, cursor)| LiveCursor { from, cursor });
        upstreams.entry(broker(key.value())).or_default().restore_cursor(cursor, live);
    }
    for row in transaction.open_table(tables::UPSTREAM_IN_FLIGHT)?.iter()? {
        let (key, value) = row?;
        let (key, packet_id) = key.value();
        let packet_id = PacketId::new(packet_id).ok_or_else(|| damaged("upstream_in_flight"))?;
        let (offset, received, record, index) = value.value();
        let message = InFlight { offset, received, sent_at: SentAt { record, index } };
        upstreams.entry(broker(key)).or_default().restore_in_flight(packet_id, message);
    }
    for row in transaction.open_table(tables::UPSTREAM_DONE)?.iter()? {
        let (key, offset) = row?.0.value();
        upstreams.entry(broker(key)).or_default().restore_done(offset);
    }
    Ok(upstreams)
}
