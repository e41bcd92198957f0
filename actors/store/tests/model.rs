//! The store as one would write it without a disk: what it has to agree with.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mqtt::packet::SubscriptionOptions;
use mqtt::{ClientId, Message, PacketId, QoS, TopicFilter};
use uuid::Uuid;

use crate::store::*;
use crate::{BrokerId, Origin};

/// What stands in the log.
#[derive(Clone, Debug)]
pub enum Step {
    Change(Change),
    Message {
        message: Message,
        annex: Annex,
        origin: Origin,
    },
    /// A record that nobody can read.
    Garbage,
    /// An offset that the store is not shown.
    Gap,
}

type SentAt = (u64, usize);

#[derive(Clone, Debug)]
struct Delivery {
    qos: QoS,
    retain: bool,
    subscription_identifiers: Vec<u32>,
    message: Message,
    received_at_micros: u64,
    /// Packet Identifier, order, and whether PUBREC came.
    sent: Option<(PacketId, SentAt, bool)>,
}

#[derive(Clone, Debug)]
struct Session {
    client_id: ClientId,
    expiry_secs: u32,
    disconnected_at_micros: Option<u64>,
    will: Option<(u32, Message)>,
    subscriptions: BTreeMap<TopicFilter, (SubscriptionOptions, Option<u32>)>,
    deliveries: BTreeMap<u64, Delivery>,
}

#[derive(Clone, Debug, Default)]
struct Upstream {
    cursor: Option<u64>,
    live: Option<LiveCursor>,
    /// In the order sent.
    in_flight: Vec<(PacketId, u64, bool)>,
    done: BTreeSet<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    sessions: BTreeMap<SessionKey, Session>,
    inbound: BTreeMap<SessionKey, BTreeSet<PacketId>>,
    retained: BTreeMap<String, StoredRetained>,
    upstreams: BTreeMap<u128, Upstream>,
}

impl Model {
    pub fn apply(&mut self, offset: u64, at_micros: u64, step: &Step) {
        match step {
            Step::Gap | Step::Garbage => {}
            Step::Change(Change::RetainedForgotten { topic_names }) => {
                self.retained.retain(|topic, _| topic_names.iter().all(|name| name.as_str() != topic));
            }
            Step::Change(change) => {
                self.apply_to_sessions(offset, change.clone());
                self.apply_to_upstreams(change.clone());
            }
            Step::Message { message, annex, origin } => {
                self.apply_message(offset, at_micros, message, annex, *origin);
            }
        }
    }

    fn apply_message(&mut self, offset: u64, at: u64, message: &Message, annex: &Annex, origin: Origin) {
        if message.retain {
            let topic = message.topic_name.as_str().to_owned();
            if message.payload.is_empty() {
                self.retained.remove(&topic);
            } else {
                let retained = StoredRetained { message: message.clone(), received_at_micros: at };
                self.retained.insert(topic, retained);
            }
        }
        if let Some((key, packet_id)) = annex.inbound
            && (self.sessions.contains_key(&key)
                || matches!(origin, Origin::Upstream(b) if SessionKey::of_broker(b) == key))
        {
            self.inbound.entry(key).or_default().insert(packet_id);
        }
        for recipient in &annex.recipients {
            if let Some(session) = self.sessions.get_mut(&recipient.session) {
                let delivery = Delivery {
                    qos: recipient.qos,
                    retain: recipient.retain,
                    subscription_identifiers: recipient.subscription_identifiers.clone(),
                    message: message.clone(),
                    received_at_micros: at,
                    sent: None,
                };
                session.deliveries.insert(offset, delivery);
            }
        }
    }

    fn apply_to_sessions(&mut self, offset: u64, change: Change) {
        match change {
            Change::SessionConnected { session, client_id, is_new, expiry_secs } => {
                if is_new {
                    self.sessions.remove(&session);
                    self.inbound.remove(&session);
                }
                let session = self.sessions.entry(session).or_insert_with(|| Session {
                    client_id: client_id.clone(),
                    expiry_secs,
                    disconnected_at_micros: None,
                    will: None,
                    subscriptions: BTreeMap::new(),
                    deliveries: BTreeMap::new(),
                });
                session.client_id = client_id;
                session.expiry_secs = expiry_secs;
                (session.disconnected_at_micros, session.will) = (None, None);
            }
            Change::SessionEnded { session } => {
                self.sessions.remove(&session);
                self.inbound.remove(&session);
            }
            Change::Released { session, packet_ids } => {
                for packet_id in packet_ids {
                    self.inbound.entry(session).or_default().remove(&packet_id);
                }
            }
            Change::SessionDisconnected { session, .. }
            | Change::Will { session, .. }
            | Change::Subscribed { session, .. }
            | Change::Unsubscribed { session, .. }
            | Change::Queued { session, .. }
            | Change::DeliverySent { session, .. }
            | Change::DeliveryReceived { session, .. }
            | Change::DeliveryDone { session, .. } => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.apply(offset, change);
                }
            }
            Change::BrokerForgotten { broker } => {
                self.inbound.remove(&SessionKey::of_broker(broker));
            }
            _ => {}
        }
    }

    fn apply_to_upstreams(&mut self, change: Change) {
        let all = &mut self.upstreams;
        match change {
            Change::Cursor { broker, cursor, live } => {
                let upstream = upstream(all, broker);
                (upstream.cursor, upstream.live) = (Some(cursor), live);
                upstream.done = upstream.done.iter().copied().filter(|o| !upstream.is_passed(*o)).collect();
            }
            Change::UpstreamSent { broker, messages } => {
                let upstream = upstream(all, broker);
                for (packet_id, offset) in messages {
                    upstream.in_flight.retain(|(id, other, _)| *id != packet_id && *other != offset);
                    upstream.in_flight.push((packet_id, offset, false));
                }
            }
            Change::UpstreamReceived { broker, packet_ids } => {
                for (id, _, received) in &mut upstream(all, broker).in_flight {
                    *received |= packet_ids.contains(id);
                }
            }
            Change::UpstreamDone { broker, offsets } => {
                let upstream = upstream(all, broker);
                for done in offsets {
                    upstream.in_flight.retain(|(_, offset, _)| *offset != done);
                    if !upstream.is_passed(done) {
                        upstream.done.insert(done);
                    }
                }
            }
            Change::UpstreamSessionLost { broker } => upstream(all, broker).in_flight.clear(),
            Change::BrokerForgotten { broker } => *upstream(all, broker) = Upstream::default(),
            _ => {}
        }
    }

    /// What the store is to load, in the order that [`normal`] makes.
    pub fn state(&self, applied: u64) -> StoredState {
        let inbound = |key: SessionKey| -> Vec<PacketId> {
            self.inbound.get(&key).into_iter().flatten().copied().collect()
        };
        let mut upstreams: HashMap<BrokerId, StoredUpstream> = HashMap::new();
        for (id, upstream) in &self.upstreams {
            let id = BrokerId(Uuid::from_u128(*id));
            let stored = StoredUpstream {
                cursor: upstream.cursor,
                live: upstream.live,
                in_flight: upstream.in_flight.clone(),
                done: upstream.done.iter().copied().collect(),
                awaiting_release: Vec::new(),
            };
            upstreams.insert(id, stored);
        }
        for key in self.inbound.keys().filter(|key| !self.sessions.contains_key(key)) {
            upstreams.entry(BrokerId(Uuid::from_u128(key.0))).or_default().awaiting_release = inbound(*key);
        }
        upstreams.retain(|_, upstream| *upstream != StoredUpstream::default());
        let sessions = self.sessions.iter().map(|(key, session)| StoredSession {
            key: *key,
            client_id: session.client_id.clone(),
            expiry_secs: session.expiry_secs,
            disconnected_at_micros: session.disconnected_at_micros,
            will: session.will.clone(),
            subscriptions: session.subscriptions.iter().map(|(f, (o, i))| (f.clone(), *o, *i)).collect(),
            awaiting_release: inbound(*key),
            deliveries: session.deliveries(),
        });
        let mut state = StoredState {
            applied,
            sessions: sessions.collect(),
            retained: self.retained.values().cloned().collect(),
            upstreams,
            highest_offset: 0,
        };
        state.highest_offset = highest_offset(&state);
        state
    }
}

fn upstream(all: &mut BTreeMap<u128, Upstream>, broker: BrokerId) -> &mut Upstream {
    all.entry(broker.0.as_u128()).or_default()
}

fn highest_offset(state: &StoredState) -> u64 {
    let mut places = vec![state.applied];
    for delivery in state.sessions.iter().flat_map(|session| &session.deliveries) {
        places.push(delivery.offset.saturating_add(1));
    }
    for upstream in state.upstreams.values() {
        places.extend(upstream.cursor);
        places.extend(upstream.live.iter().flat_map(|live| [live.from, live.cursor]));
        places.extend(upstream.in_flight.iter().map(|(_, offset, _)| offset.saturating_add(1)));
        places.extend(upstream.done.iter().map(|offset| offset.saturating_add(1)));
    }
    places.into_iter().max().unwrap()
}

impl Upstream {
    fn is_passed(&self, offset: u64) -> bool {
        self.cursor.is_none_or(|cursor| offset < cursor)
            || self.live.is_some_and(|live| live.from <= offset && offset < live.cursor)
    }
}

impl Session {
    fn apply(&mut self, record: u64, change: Change) {
        match change {
            Change::SessionDisconnected { expiry_secs, at_micros, .. } => {
                self.expiry_secs = expiry_secs;
                self.disconnected_at_micros = Some(at_micros);
            }
            Change::Will { will, .. } => self.will = will,
            Change::Subscribed { filter, options, identifier, .. } => {
                self.subscriptions.insert(filter, (options, identifier));
            }
            Change::Unsubscribed { filter, .. } => {
                self.subscriptions.remove(&filter);
            }
            Change::Queued { qos, retain, subscription_identifiers, received_at_micros, message, .. } => {
                let delivery = Delivery {
                    qos,
                    retain,
                    subscription_identifiers,
                    message,
                    received_at_micros,
                    sent: None,
                };
                self.deliveries.insert(record, delivery);
            }
            Change::DeliverySent { deliveries, .. } => {
                for (index, (packet_id, offset)) in deliveries.into_iter().enumerate() {
                    self.send(packet_id, offset, (record, index));
                }
            }
            Change::DeliveryReceived { packet_ids, .. } => {
                for delivery in self.deliveries.values_mut() {
                    if let Some((packet_id, _, received)) = &mut delivery.sent {
                        *received |= packet_ids.contains(packet_id);
                    }
                }
            }
            Change::DeliveryDone { offsets, .. } => self.deliveries.retain(|o, _| !offsets.contains(o)),
            _ => {}
        }
    }

    fn send(&mut self, packet_id: PacketId, offset: u64, sent_at: SentAt) {
        match self.deliveries.get(&offset) {
            None => return,
            Some(delivery) if delivery.sent.is_some_and(|(_, _, received)| received) => return,
            Some(_) => {}
        }
        let holder = self.deliveries.iter().find_map(|(other, delivery)| {
            let (id, _, received) = delivery.sent?;
            (id == packet_id && *other != offset).then_some((*other, received))
        });
        match holder {
            Some((other, true)) => drop(self.deliveries.remove(&other)),
            Some((other, false)) => self.deliveries.get_mut(&other).unwrap().sent = None,
            None => {}
        }
        self.deliveries.get_mut(&offset).unwrap().sent = Some((packet_id, sent_at, false));
    }

    fn deliveries(&self) -> Vec<StoredDelivery> {
        let mut deliveries: Vec<_> = self.deliveries.iter().collect();
        deliveries.sort_by_key(|(offset, delivery)| {
            (delivery.sent.is_none(), delivery.sent.map(|(_, sent_at, _)| sent_at), **offset)
        });
        let stored = deliveries.into_iter().map(|(offset, delivery)| {
            let stage = match delivery.sent {
                None => DeliveryStage::Queued,
                Some((packet_id, _, false)) => DeliveryStage::Sent(packet_id),
                Some((packet_id, _, true)) => DeliveryStage::Received(packet_id),
            };
            StoredDelivery {
                offset: *offset,
                qos: delivery.qos,
                retain: delivery.retain,
                subscription_identifiers: delivery.subscription_identifiers.clone(),
                message: (!matches!(stage, DeliveryStage::Received(_))).then(|| delivery.message.clone()),
                received_at_micros: delivery.received_at_micros,
                stage,
            }
        });
        stored.collect()
    }
}

/// The same state with everything in an order that can be compared.
pub fn normal(mut state: StoredState) -> StoredState {
    state.sessions.sort_by_key(|session| session.key);
    state.retained.sort_by(|left, right| left.message.topic_name.cmp(&right.message.topic_name));
    state
}
