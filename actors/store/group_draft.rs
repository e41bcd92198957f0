//! The net effect of a group of records: they are taken in one by one, in memory, and only what they come to in the
//! end is written.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use log::error;
use mqtt::ProtocolVersion;

use super::bodies::{Bodies, Source};
use super::fields::MessageParts;
use super::session_draft::SessionDraft;
use super::tables::{Delivery, SentAt, SessionRow, Stage, Tables};
use super::upstream::Upstream;
use super::{Annex, Change, Map, Recipient, SessionKey, sorted};
use crate::message_log::Record;
use crate::{BrokerId, Origin};

/// What the store keeps in memory of the records before the group.
pub struct Known {
    /// The sessions that there are.
    pub sessions: HashSet<SessionKey, foldhash::fast::RandomState>,
    /// How far each broker is.
    pub upstreams: HashMap<BrokerId, Upstream>,
}

/// What becomes of [`Known`] when the group has been written.
pub struct News {
    sessions: Vec<(SessionKey, bool)>,
    upstreams: Map<BrokerId, Upstream>,
    /// Whether anything was written.
    pub any: bool,
}

impl Known {
    /// Takes in what was written.
    pub fn learn(&mut self, news: News) {
        for (session, exists) in news.sessions {
            if exists {
                self.sessions.insert(session);
            } else {
                self.sessions.remove(&session);
            }
        }
        for (broker, upstream) in news.upstreams {
            if upstream == Upstream::default() {
                self.upstreams.remove(&broker);
            } else {
                self.upstreams.insert(broker, upstream);
            }
        }
    }
}

/// What a group of records comes to.
pub struct GroupDraft<'k, 'a> {
    known: &'k Known,
    /// The first offset of the group.
    start: u64,
    sessions: Map<SessionKey, SessionDraft>,
    upstreams: Map<BrokerId, Upstream>,
    /// The last retained message of each topic, or that there is none any more.
    retained: Map<Cow<'a, str>, Option<Record<'a>>>,
    bodies: Bodies<'a>,
}

impl<'k, 'a> GroupDraft<'k, 'a> {
    /// A group that starts with this offset.
    pub fn new(known: &'k Known, start: u64) -> GroupDraft<'k, 'a> {
        GroupDraft {
            known,
            start,
            sessions: Map::default(),
            upstreams: Map::default(),
            retained: Map::default(),
            bodies: Bodies::default(),
        }
    }

    /// Takes in a record. One that cannot be read is left out, whole.
    pub fn add(&mut self, record: &Record<'a>, tables: &Tables<'_>) -> Result<(), redb::Error> {
        if record.is_state {
            match Change::decode(record.payload) {
                Some(change) => return self.add_change(change, record.offset, tables),
                None => error!("the log's change of state at offset {} cannot be read", record.offset),
            }
        } else {
            match (Annex::decode(record.annex), std::str::from_utf8(record.topic_name)) {
                (Some(annex), Ok(topic)) => return self.add_message(record, topic, &annex, tables),
                _ => error!("the log's message at offset {} cannot be read", record.offset),
            }
        }
        Ok(())
    }

    fn add_message(
        &mut self,
        record: &Record<'a>,
        topic: &'a str,
        annex: &Annex,
        tables: &Tables<'_>,
    ) -> Result<(), redb::Error> {
        if record.retain && record.origin != Origin::System {
            self.retained.insert(topic.into(), (!record.payload.is_empty()).then_some(*record));
        }
        if let Some((sender, packet_id)) = annex.inbound {
            let draft = self.session(sender);
            let is_of_broker = |origin| matches!(origin, Origin::Upstream(broker) if SessionKey::of_broker(broker) == sender);
            // A broker has no session here that could be looked for. What a client sent goes with its session.
            if draft.exists() || is_of_broker(record.origin) {
                draft.receive(packet_id, tables)?;
            }
        }
        let mut holders = 0;
        for recipient in &annex.recipients {
            let Recipient { session, qos, retain, subscription_identifiers } = recipient;
            let delivery = Delivery {
                qos: *qos,
                retain: *retain,
                received_at_micros: record.received_at_micros,
                stage: Stage::Queued,
                subscription_identifiers: subscription_identifiers.clone(),
            };
            holders += u32::from(self.session(*session).queue(record.offset, delivery));
        }
        self.bodies.add(record.offset, Source::Record(MessageParts::from(record)), holders);
        Ok(())
    }

    fn add_change(&mut self, change: Change, offset: u64, tables: &Tables<'_>) -> Result<(), redb::Error> {
        match change {
            Change::SessionConnected { session, client_id, is_new, expiry_secs } => {
                if is_new {
                    self.wipe(session, tables)?;
                }
                let row = SessionRow { client_id, expiry_secs, disconnected_at_micros: None };
                self.session(session).connect(row);
            }
            Change::SessionDisconnected { session, expiry_secs, at_micros } => {
                self.session(session).disconnect(expiry_secs, at_micros, tables)?;
            }
            Change::Will { session, will } => self.session(session).set_will(will),
            Change::SessionEnded { session } => self.wipe(session, tables)?,
            Change::Subscribed { session, filter, options, identifier } => {
                let row = (options.as_u8(ProtocolVersion::V5), identifier);
                self.session(session).subscribe(filter, row, tables)?;
            }
            Change::Unsubscribed { session, filter } => self.session(session).unsubscribe(filter, tables)?,
            Change::Released { session, packet_ids } => {
                let draft = self.session(session);
                packet_ids.into_iter().try_for_each(|packet_id| draft.release(packet_id, tables))?;
            }
            Change::RetainedForgotten { topic_names } => {
                let topics = topic_names.iter().map(|name| name.as_str().to_owned().into());
                self.retained.extend(topics.map(|topic| (topic, None)));
            }
            change @ (Change::Queued { .. }
            | Change::DeliverySent { .. }
            | Change::DeliveryReceived { .. }
            | Change::DeliveryDone { .. }) => self.add_delivery(change, offset, tables)?,
            change => self.add_upstream(change, offset, tables)?,
        }
        Ok(())
    }

    fn add_delivery(&mut self, change: Change, offset: u64, tables: &Tables<'_>) -> Result<(), redb::Error> {
        match change {
            Change::Queued {
                session,
                qos,
                retain,
                subscription_identifiers,
                received_at_micros,
                message,
            } => {
                let stage = Stage::Queued;
                let delivery = Delivery { qos, retain, received_at_micros, stage, subscription_identifiers };
                let holders = u32::from(self.session(session).queue(offset, delivery));
                self.bodies.add(offset, Source::Change(message), holders);
            }
            Change::DeliverySent { session, deliveries } => {
                let draft = self.session(session);
                for ((packet_id, delivery), index) in deliveries.into_iter().zip(0..) {
                    draft.send(packet_id, delivery, SentAt { record: offset, index }, tables)?;
                }
            }
            Change::DeliveryReceived { session, packet_ids } => {
                let (draft, bodies) = self.session_and_bodies(session);
                packet_ids.into_iter().try_for_each(|id| draft.acknowledge(id, tables, bodies))?;
            }
            Change::DeliveryDone { session, offsets } => {
                let (draft, bodies) = self.session_and_bodies(session);
                offsets.into_iter().try_for_each(|done| draft.finish(done, tables, bodies))?;
            }
            // No other change is one of a delivery.
            _ => {}
        }
        Ok(())
    }

    fn add_upstream(&mut self, change: Change, offset: u64, tables: &Tables<'_>) -> Result<(), redb::Error> {
        match change {
            Change::Cursor { broker, cursor, live } => self.upstream(broker).set_cursor(cursor, live),
            Change::UpstreamSent { broker, messages } => {
                let upstream = self.upstream(broker);
                for ((packet_id, message), index) in messages.into_iter().zip(0..) {
                    upstream.sent(packet_id, message, SentAt { record: offset, index });
                }
            }
            Change::UpstreamReceived { broker, packet_ids } => {
                let upstream = self.upstream(broker);
                packet_ids.into_iter().for_each(|packet_id| upstream.received(packet_id));
            }
            Change::UpstreamDone { broker, offsets } => {
                let upstream = self.upstream(broker);
                offsets.into_iter().for_each(|done| upstream.finish(done));
            }
            Change::UpstreamSessionLost { broker } => self.upstream(broker).lose_session(),
            Change::BrokerForgotten { broker } => {
                *self.upstream(broker) = Upstream::default();
                let (draft, bodies) = self.session_and_bodies(SessionKey::of_broker(broker));
                draft.wipe_broker(tables, bodies)?;
            }
            // No other change is one of a broker.
            _ => {}
        }
        Ok(())
    }

    fn wipe(&mut self, session: SessionKey, tables: &Tables<'_>) -> Result<(), redb::Error> {
        let (draft, bodies) = self.session_and_bodies(session);
        draft.wipe(tables, bodies)
    }

    fn session(&mut self, session: SessionKey) -> &mut SessionDraft {
        self.session_and_bodies(session).0
    }

    fn session_and_bodies(&mut self, session: SessionKey) -> (&mut SessionDraft, &mut Bodies<'a>) {
        let make = || SessionDraft::new(session, self.start, self.known.sessions.contains(&session));
        (self.sessions.entry(session).or_insert_with(make), &mut self.bodies)
    }

    fn upstream(&mut self, broker: BrokerId) -> &mut Upstream {
        let make = || self.known.upstreams.get(&broker).cloned().unwrap_or_default();
        self.upstreams.entry(broker).or_insert_with(make)
    }

    /// Writes what the records come to, in the order of the keys, which is kindest to the pages.
    pub fn write(self, tables: &mut Tables<'_>) -> Result<News, redb::Error> {
        let mut any = self.bodies.write(tables)?;
        let mut sessions = Vec::with_capacity(self.sessions.len());
        for (key, draft) in sorted(self.sessions) {
            sessions.push((key, draft.exists()));
            any |= draft.write(tables)?;
        }
        for (topic, record) in sorted(self.retained) {
            any |= write_retained(&topic, record, tables)?;
        }
        let nothing = Upstream::default();
        for (broker, upstream) in &self.upstreams {
            let stored = self.known.upstreams.get(broker).unwrap_or(&nothing);
            any |= upstream.write(broker.0.as_u128(), stored, tables)?;
        }
        Ok(News { sessions, upstreams: self.upstreams, any })
    }
}

fn write_retained(
    topic: &str,
    record: Option<Record<'_>>,
    tables: &mut Tables<'_>,
) -> Result<bool, redb::Error> {
    let Some(record) = record else {
        return Ok(tables.retained.remove(topic)?.is_some());
    };
    let parts = MessageParts::from(&record);
    let mut place = tables.retained.insert_reserve(topic, 8 + parts.encoded_len())?;
    let mut bytes: &mut [u8] = place.as_mut();
    bytes::BufMut::put_u64_le(&mut bytes, record.received_at_micros);
    parts.put(&mut bytes);
    Ok(true)
}
