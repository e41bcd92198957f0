//! The store against what the records come to, over groups, starts and damage.

mod model;

use std::fs;
use std::path::PathBuf;

use bytes::BytesMut;
use mqtt::{Message, PacketId, QoS};
use proptest::prelude::*;

use self::model::{Model, Step, normal};
use super::*;
use crate::Origin;
use crate::message_log::record::{self, Envelope, Record};
use crate::store::samples::{broker, client_id, filter, message, packet_id, session};

/// A file of its own that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        let folder = std::env::temp_dir().join(format!("state-store-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        Place(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state.redb")
    }

    fn open(&self) -> StateStore {
        StateStore::open(&self.file()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A log with the records of some steps: what stands at each offset.
#[derive(Default)]
struct Log(Vec<(Step, BytesMut)>);

/// When the record at an offset was received.
fn at_micros(offset: u64) -> u64 {
    1_000_000 + offset
}

impl Log {
    fn push(&mut self, step: Step) -> u64 {
        let offset = self.0.len() as u64;
        let mut bytes = BytesMut::new();
        match &step {
            Step::Gap => {}
            Step::Garbage => record::encode_state(&[99, 1, 2], offset, at_micros(offset), &mut bytes),
            Step::Change(change) => {
                let mut payload = BytesMut::new();
                change.encode(&mut payload);
                record::encode_state(&payload, offset, at_micros(offset), &mut bytes);
            }
            Step::Message { message, annex, origin } => {
                let mut annex_bytes = Vec::new();
                annex.encode(&mut annex_bytes);
                let envelope = Envelope {
                    offset,
                    origin: *origin,
                    received_at_micros: at_micros(offset),
                    annex: &annex_bytes,
                    durable: true,
                };
                record::encode(message, &envelope, &mut bytes);
            }
        }
        self.0.push((step, bytes));
        offset
    }

    fn change(&mut self, change: Change) -> u64 {
        self.push(Step::Change(change))
    }

    /// A message of a device for these clients.
    fn publish(&mut self, message: Message, clients: &[u8]) -> u64 {
        let recipients = clients.iter().map(|number| Recipient {
            session: session(*number),
            qos: QoS::ExactlyOnce,
            retain: false,
            subscription_identifiers: Vec::new(),
        });
        let annex = Annex { inbound: None, recipients: recipients.collect() };
        self.push(Step::Message { message, annex, origin: Origin::Device })
    }

    fn connect(&mut self, number: u8, is_new: bool) -> u64 {
        let (session, client_id) = (session(number), client_id(number));
        self.change(Change::SessionConnected { session, client_id, is_new, expiry_secs: 60 })
    }

    fn send(&mut self, number: u8, deliveries: &[(u16, u64)]) -> u64 {
        let deliveries = deliveries.iter().map(|(id, offset)| (packet_id(*id), *offset)).collect();
        self.change(Change::DeliverySent { session: session(number), deliveries })
    }

    fn receive(&mut self, number: u8, id: u16) -> u64 {
        let packet_ids = vec![packet_id(id)];
        self.change(Change::DeliveryReceived { session: session(number), packet_ids })
    }

    fn finish(&mut self, number: u8, offsets: &[u64]) -> u64 {
        self.change(Change::DeliveryDone { session: session(number), offsets: offsets.to_vec() })
    }

    fn end(&self) -> u64 {
        self.0.len() as u64
    }

    fn records(&self, from: u64, to: u64) -> Vec<Record<'_>> {
        let steps = &self.0[from as usize..to as usize];
        steps
            .iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(_, b)| record::decode(b).unwrap().0)
            .collect()
    }

    fn model(&self, to: u64) -> Model {
        let mut model = Model::default();
        for (offset, (step, _)) in (0..to).zip(&self.0) {
            model.apply(offset, at_micros(offset), step);
        }
        model
    }

    /// Shows the store what it has not seen yet.
    fn feed(&self, store: &mut StateStore, to: u64) {
        store.apply(self.records(store.applied(), to), to).unwrap();
    }

    /// Applies the log in every way that cuts it in two, with a new start between, and in single steps.
    fn check(&self) -> StoredState {
        let expected = self.model(self.end()).state(self.end());
        for cut in 0..=self.end() {
            let place = Place::new();
            let mut store = place.open();
            self.feed(&mut store, cut);
            drop(store);
            let mut store = place.open();
            self.feed(&mut store, self.end());
            assert_eq!(normal(store.load().unwrap()), expected, "cut at {cut}");
        }
        let place = Place::new();
        let mut store = place.open();
        for to in 1..=self.end() {
            self.feed(&mut store, to);
            assert_eq!(normal(store.load().unwrap()), self.model(to).state(to));
        }
        expected
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let origin = prop_oneof![
        2 => Just(Origin::Device),
        1 => samples::any_broker().prop_map(Origin::Upstream),
    ];
    prop_oneof![
        10 => samples::any_change().prop_map(Step::Change),
        8 => (samples::any_message(), samples::any_annex(), origin)
            .prop_map(|(message, annex, origin)| Step::Message { message, annex, origin }),
        1 => Just(Step::Garbage),
        1 => Just(Step::Gap),
    ]
}

/// A step that may name offsets by how far back they are, so that it meets what is there.
#[derive(Clone, Debug)]
enum Plan {
    Step(Step),
    Sent(u8, Vec<(PacketId, u64)>),
    Done(u8, Vec<u64>),
}

impl Plan {
    fn step(self, end: u64) -> Step {
        match self {
            Plan::Step(step) => step,
            Plan::Sent(number, deliveries) => {
                let deliveries = deliveries.into_iter().map(|(id, back)| (id, end.saturating_sub(back)));
                Step::Change(Change::DeliverySent {
                    session: session(number),
                    deliveries: deliveries.collect(),
                })
            }
            Plan::Done(number, offsets) => {
                let offsets = offsets.into_iter().map(|back| end.saturating_sub(back)).collect();
                Step::Change(Change::DeliveryDone { session: session(number), offsets })
            }
        }
    }
}

/// Steps of which most are about the deliveries of two sessions.
fn any_plan() -> impl Strategy<Value = Plan> {
    let change = |change| Plan::Step(Step::Change(change));
    let number = || 0u8..2;
    let id = || (1u16..5).prop_map(packet_id);
    let back = || 1u64..16;
    let queued =
        (samples::any_message(), any::<[bool; 2]>(), samples::any_qos()).prop_map(|(message, to, qos)| {
            let recipient =
                |session| Recipient { session, qos, retain: false, subscription_identifiers: vec![] };
            let to = (0..2).filter(|number| to[usize::from(*number)]).map(session);
            let annex = Annex { inbound: None, recipients: to.map(recipient).collect() };
            Plan::Step(Step::Message { message, annex, origin: Origin::Device })
        });
    prop_oneof![
        12 => queued,
        10 => (number(), prop::collection::vec((id(), back()), 1..4)).prop_map(|(n, sent)| Plan::Sent(n, sent)),
        4 => (number(), prop::collection::vec(id(), 1..3)).prop_map(move |(number, packet_ids)| {
            change(Change::DeliveryReceived { session: session(number), packet_ids })
        }),
        5 => (number(), prop::collection::vec(back(), 1..4)).prop_map(|(n, done)| Plan::Done(n, done)),
        2 => (number(), any::<bool>()).prop_map(move |(number, is_new)| {
            let (session, client_id) = (session(number), client_id(number));
            change(Change::SessionConnected { session, client_id, is_new, expiry_secs: 1 })
        }),
        8 => any_step().prop_map(Plan::Step),
    ]
}

/// What happens to the store between steps.
#[derive(Clone, Copy, Debug)]
enum Event {
    Apply,
    /// Some records are shown that were shown before.
    ApplyFromEarlier,
    Reopen,
}

fn any_event() -> impl Strategy<Value = Option<Event>> {
    prop_oneof![
        8 => Just(None),
        3 => Just(Some(Event::Apply)),
        1 => Just(Some(Event::ApplyFromEarlier)),
        1 => Just(Some(Event::Reopen)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    #[test]
    fn the_store_agrees_with_a_plain_model(
        plans in prop::collection::vec((any_plan(), any_event()), 1..120),
    ) {
        let place = Place::new();
        let mut store = Some(place.open());
        let mut log = Log::default();
        // Clients that are there give the rest something to work on.
        for number in 0..3 {
            log.connect(number, true);
        }
        for (plan, event) in plans {
            log.push(plan.step(log.end()));
            let end = log.end();
            match event {
                None => continue,
                Some(Event::Apply) => log.feed(store.as_mut().unwrap(), end),
                Some(Event::ApplyFromEarlier) => {
                    let store = store.as_mut().unwrap();
                    store.apply(log.records(store.applied().saturating_sub(5), end), end).unwrap();
                }
                Some(Event::Reopen) => {
                    let committed = store.take().unwrap().committed();
                    let mut reopened = place.open();
                    prop_assert_eq!((reopened.applied(), reopened.committed()), (committed, committed));
                    // A group without effect may be before or behind the place.
                    log.feed(&mut reopened, end);
                    store = Some(reopened);
                }
            }
            let store = store.as_ref().unwrap();
            prop_assert_eq!(store.applied(), end);
            prop_assert_eq!(normal(store.load().unwrap()), log.model(end).state(end));
        }
        check_that_no_message_is_left_over(&place, store.take().unwrap());
    }
}

/// Ends all sessions and looks into the tables that nothing is loaded from.
fn check_that_no_message_is_left_over(place: &Place, mut store: StateStore) {
    use redb::{ReadableDatabase, ReadableTableMetadata};
    let ends = (0..4).map(|number| Change::SessionEnded { session: session(number) });
    let forgotten = (0..2).map(|number| Change::BrokerForgotten { broker: broker(number) });
    let mut log = Log::default();
    for change in ends.chain(forgotten) {
        log.change(change);
    }
    let start = store.applied();
    let records = log.records(0, log.end()).into_iter();
    let records = records.map(|record| Record { offset: record.offset + start, ..record });
    store.apply(records, start + log.end()).unwrap();
    let state = store.load().unwrap();
    assert_eq!((state.sessions, state.upstreams.len()), (Vec::new(), 0));
    drop(store);
    let database = redb::Database::open(place.file()).unwrap();
    let read = database.begin_read().unwrap();
    assert_eq!(read.open_table(tables::MESSAGES).unwrap().len().unwrap(), 0);
    assert_eq!(read.open_table(tables::HOLDERS).unwrap().len().unwrap(), 0);
    assert_eq!(read.open_table(tables::DELIVERIES).unwrap().len().unwrap(), 0);
    assert_eq!(read.open_table(tables::DELIVERY_IDS).unwrap().len().unwrap(), 0);
    assert_eq!(read.open_table(tables::SUBSCRIPTIONS).unwrap().len().unwrap(), 0);
    assert_eq!(read.open_table(tables::INBOUND).unwrap().len().unwrap(), 0);
}

#[test]
fn a_session_comes_back_with_its_subscriptions() {
    let mut log = Log::default();
    log.connect(1, true);
    let options = mqtt::packet::SubscriptionOptions::with_qos(QoS::AtLeastOnce);
    for (text, identifier) in [("a/#", None), ("b", Some(3)), ("a/#", Some(4))] {
        let (session, filter) = (session(1), filter(text));
        log.change(Change::Subscribed { session, filter, options, identifier });
    }
    log.change(Change::Unsubscribed { session: session(1), filter: filter("b") });
    // Nobody is told of a session that is not there.
    log.change(Change::Subscribed { session: session(2), filter: filter("b"), options, identifier: None });
    log.change(Change::SessionDisconnected { session: session(1), expiry_secs: 7, at_micros: 8 });
    let state = log.check();
    assert_eq!(state.sessions.len(), 1);
    let session = &state.sessions[0];
    assert_eq!((session.client_id.as_str(), session.expiry_secs), ("client-1", 7));
    assert_eq!(session.disconnected_at_micros, Some(8));
    assert_eq!(session.subscriptions, [(filter("a/#"), options, Some(4))]);
    log.connect(1, false);
    let state = log.check();
    assert_eq!(state.sessions[0].disconnected_at_micros, None);
    assert_eq!(state.sessions[0].subscriptions.len(), 1);
}

#[test]
fn deliveries_wait_go_out_and_are_done() {
    let mut log = Log::default();
    log.connect(1, true);
    let first = log.publish(message("a", b"1"), &[1, 2]);
    let second = log.publish(message("a", b"2"), &[1]);
    let third = log.publish(message("a", b"3"), &[1]);
    let fourth = log.publish(message("a", b"4"), &[1]);
    log.send(1, &[(9, third), (8, second)]);
    log.receive(1, 9);
    log.finish(1, &[first]);
    let state = log.check();
    let deliveries = &state.sessions[0].deliveries;
    let stages: Vec<_> = deliveries.iter().map(|delivery| (delivery.offset, delivery.stage)).collect();
    let received = (third, DeliveryStage::Received(packet_id(9)));
    let sent = (second, DeliveryStage::Sent(packet_id(8)));
    assert_eq!(stages, [received, sent, (fourth, DeliveryStage::Queued)]);
    assert_eq!(deliveries[0].message, None);
    assert_eq!(deliveries[1].message, Some(message("a", b"2")));
    assert_eq!(deliveries[1].received_at_micros, at_micros(second));
    assert_eq!(state.highest_offset, log.end());
}

#[test]
fn a_message_for_many_is_there_once_and_until_the_last_is_done() {
    let place = Place::new();
    let mut store = place.open();
    let mut log = Log::default();
    for number in 0..3 {
        log.connect(number, true);
    }
    let offset = log.publish(message("a", b"payload"), &[0, 1, 2]);
    log.feed(&mut store, log.end());
    let state = store.load().unwrap();
    let payloads: Vec<_> = state
        .sessions
        .iter()
        .map(|session| session.deliveries[0].message.as_ref().unwrap().payload.as_ptr())
        .collect();
    assert!(payloads.iter().all(|payload| *payload == payloads[0]));
    log.finish(0, &[offset]);
    log.change(Change::SessionEnded { session: session(1) });
    log.feed(&mut store, log.end());
    let state = store.load().unwrap();
    assert_eq!(state.sessions.len(), 2);
    assert_eq!(normal(state), log.model(log.end()).state(log.end()));
    check_that_no_message_is_left_over(&place, store);
}

#[test]
fn a_new_session_has_nothing_of_the_old_one() {
    let mut log = Log::default();
    log.connect(1, true);
    log.publish(message("a", b"1"), &[1]);
    let inbound = Some((session(1), packet_id(3)));
    let annex = Annex { inbound, recipients: Vec::new() };
    log.push(Step::Message { message: message("b", b""), annex: annex.clone(), origin: Origin::Device });
    assert_eq!(log.check().sessions[0].awaiting_release, [packet_id(3)]);
    log.connect(1, true);
    let offset = log.publish(message("a", b"2"), &[1]);
    let state = log.check();
    assert_eq!(state.sessions[0].awaiting_release, []);
    assert_eq!(state.sessions[0].deliveries.len(), 1);
    assert_eq!(state.sessions[0].deliveries[0].offset, offset);
    log.change(Change::SessionEnded { session: session(1) });
    log.push(Step::Message { message: message("b", b""), annex, origin: Origin::Device });
    let state = log.check();
    assert!(state.sessions.is_empty() && state.upstreams.is_empty());
}

#[test]
fn what_was_received_at_qos_2_waits_for_its_release() {
    let mut log = Log::default();
    log.connect(1, true);
    let of_broker = SessionKey::of_broker(broker(1));
    for (key, origin) in [(session(1), Origin::Device), (of_broker, Origin::Upstream(broker(1)))] {
        for id in [5, 4, 6] {
            let annex = Annex { inbound: Some((key, packet_id(id))), recipients: Vec::new() };
            log.push(Step::Message { message: message("b", b""), annex, origin });
        }
        log.change(Change::Released { session: key, packet_ids: vec![packet_id(6)] });
    }
    let state = log.check();
    let ids = [packet_id(4), packet_id(5)];
    assert_eq!(state.sessions[0].awaiting_release, ids);
    assert_eq!(state.upstreams[&broker(1)].awaiting_release, ids);
    log.change(Change::BrokerForgotten { broker: broker(1) });
    assert!(log.check().upstreams.is_empty());
}

#[test]
fn the_last_retained_message_of_a_topic_stays() {
    let mut log = Log::default();
    let publish = |log: &mut Log, topic: &str, payload: &[u8], retain| {
        log.publish(Message { retain, ..message(topic, payload) }, &[])
    };
    publish(&mut log, "a", b"1", true);
    let last = publish(&mut log, "a", b"2", true);
    publish(&mut log, "a", b"3", false);
    publish(&mut log, "b", b"4", true);
    publish(&mut log, "b", b"", true);
    let state = log.check();
    assert_eq!(state.retained.len(), 1);
    assert_eq!(&state.retained[0].message.payload[..], b"2");
    assert_eq!(state.retained[0].received_at_micros, at_micros(last));
}

#[test]
fn a_message_that_was_queued_by_itself_has_the_offset_of_its_record() {
    let mut log = Log::default();
    log.connect(1, true);
    let offset = log.change(Change::Queued {
        session: session(1),
        qos: QoS::AtLeastOnce,
        retain: true,
        subscription_identifiers: vec![5, 6],
        received_at_micros: 3,
        message: message("kept", b"payload"),
    });
    let state = log.check();
    let expected = StoredDelivery {
        offset,
        qos: QoS::AtLeastOnce,
        retain: true,
        subscription_identifiers: vec![5, 6],
        message: Some(message("kept", b"payload")),
        received_at_micros: 3,
        stage: DeliveryStage::Queued,
    };
    assert_eq!(state.sessions[0].deliveries, [expected]);
}

#[test]
fn a_packet_identifier_that_is_used_again_is_the_last_ones() {
    let mut log = Log::default();
    log.connect(1, true);
    let offsets: Vec<u64> = (0..4).map(|_| log.publish(message("a", b"1"), &[1])).collect();
    log.send(1, &[(1, offsets[0]), (2, offsets[1])]);
    log.receive(1, 2);
    log.send(1, &[(1, offsets[2]), (2, offsets[3]), (1, offsets[1])]);
    let state = log.check();
    let stages: Vec<_> = state.sessions[0].deliveries.iter().map(|d| (d.offset, d.stage)).collect();
    let sent = |id, offset| (offset, DeliveryStage::Sent(packet_id(id)));
    let queued = (offsets[0], DeliveryStage::Queued);
    // The second had only its PUBREL left, and nobody would know by which identifier.
    assert_eq!(stages, [sent(1, offsets[2]), sent(2, offsets[3]), queued]);
}

#[test]
fn an_upstream_comes_back_with_its_place_and_what_is_in_flight() {
    let mut log = Log::default();
    let broker = broker(1);
    let sent = |messages: &[(u16, u64)]| Change::UpstreamSent {
        broker,
        messages: messages.iter().map(|(id, offset)| (packet_id(*id), *offset)).collect(),
    };
    log.change(Change::Cursor { broker, cursor: 10, live: None });
    log.change(sent(&[(3, 12), (2, 11), (1, 10), (4, 13)]));
    log.change(Change::UpstreamReceived { broker, packet_ids: vec![packet_id(2)] });
    log.change(Change::UpstreamDone { broker, offsets: vec![12, 13, 9] });
    let upstream = log.check().upstreams[&broker].clone();
    assert_eq!((upstream.cursor, upstream.live), (Some(10), None));
    assert_eq!(upstream.in_flight, [(packet_id(2), 11, true), (packet_id(1), 10, false)]);
    assert_eq!(upstream.done, [12, 13]);
    // The cursor prunes what is done, and not what is in flight.
    log.change(Change::Cursor { broker, cursor: 13, live: None });
    let upstream = log.check().upstreams[&broker].clone();
    assert_eq!((upstream.done, upstream.in_flight.len()), (vec![13], 2));
    log.change(Change::UpstreamSessionLost { broker });
    let upstream = log.check().upstreams[&broker].clone();
    assert_eq!((upstream.done, upstream.in_flight), (vec![13], vec![]));
    log.change(Change::BrokerForgotten { broker });
    assert!(log.check().upstreams.is_empty());
}

#[test]
fn a_session_without_a_place_of_its_own_keeps_what_is_in_flight_and_nothing_of_what_is_done() {
    let mut log = Log::default();
    let broker = broker(1);
    let messages = [(1, 10), (2, 11)].map(|(id, offset)| (packet_id(id), offset));
    log.change(Change::UpstreamSent { broker, messages: messages.to_vec() });
    log.change(Change::UpstreamDone { broker, offsets: vec![10, 12] });
    let upstream = log.check().upstreams[&broker].clone();
    assert_eq!((upstream.cursor, upstream.done), (None, vec![]));
    assert_eq!(upstream.in_flight, [(packet_id(2), 11, false)]);
    log.change(Change::UpstreamDone { broker, offsets: vec![11] });
    assert!(log.check().upstreams.is_empty());
}

#[test]
fn a_live_cursor_prunes_what_it_went_past() {
    let mut log = Log::default();
    let broker = broker(1);
    log.change(Change::Cursor { broker, cursor: 0, live: None });
    log.change(Change::UpstreamDone { broker, offsets: vec![4, 5, 19, 20, 21, 30] });
    let live = Some(LiveCursor { from: 20, cursor: 22 });
    log.change(Change::Cursor { broker, cursor: 5, live });
    log.change(Change::UpstreamDone { broker, offsets: vec![3, 20, 22] });
    let state = log.check();
    assert_eq!(state.upstreams[&broker].done, [5, 19, 22, 30]);
    assert_eq!(state.highest_offset, 31);
}

#[test]
fn a_record_that_cannot_be_read_is_left_out_and_the_others_count() {
    let mut log = Log::default();
    log.connect(1, true);
    log.push(Step::Garbage);
    log.publish(message("a", b"1"), &[1]);
    assert_eq!(log.check().sessions[0].deliveries.len(), 1);
    // Neither does a message whose annex or topic is no such thing.
    let place = Place::new();
    let mut store = place.open();
    let records = log.records(0, 3);
    let bad_annex = Record { annex: &[77], offset: 3, ..records[2] };
    let bad_topic = Record { topic_name: &[0xFF], retain: true, offset: 4, ..records[2] };
    store.apply([records[0], bad_annex, bad_topic], 5).unwrap();
    let state = store.load().unwrap();
    assert_eq!((state.sessions[0].deliveries.len(), state.retained.len(), state.applied), (0, 0, 5));
}

#[test]
fn what_comes_to_nothing_needs_no_transaction() {
    let place = Place::new();
    let mut store = place.open();
    let mut log = Log::default();
    log.connect(1, true);
    log.feed(&mut store, 1);
    assert_eq!((store.applied(), store.committed()), (1, 1));
    let offset = log.publish(message("a", b"1"), &[1, 2]);
    log.send(1, &[(1, offset)]);
    log.receive(1, 1);
    log.finish(1, &[offset]);
    log.change(Change::SessionEnded { session: session(2) });
    log.feed(&mut store, log.end());
    assert_eq!((store.applied(), store.committed()), (log.end(), 1));
    // But not for ever.
    store.apply([], 60_000).unwrap();
    assert_eq!((store.applied(), store.committed()), (60_000, 1));
    store.apply([], 70_000).unwrap();
    assert_eq!((store.applied(), store.committed()), (70_000, 70_000));
    // Nothing goes back.
    store.apply([], 5).unwrap();
    assert_eq!(store.applied(), 70_000);
    drop(store);
    assert_eq!(place.open().applied(), 70_000);
}

#[test]
fn what_a_killed_process_leaves_is_opened() {
    let place = Place::new();
    let mut store = place.open();
    let mut log = Log::default();
    log.connect(1, true);
    log.publish(message("a", b"1"), &[1]);
    log.feed(&mut store, log.end());
    let expected = normal(store.load().unwrap());
    // The file as it stands while the store is open is what a kill leaves.
    let left = Place::new();
    fs::copy(place.file(), left.file()).unwrap();
    assert_eq!(normal(left.open().load().unwrap()), expected);
    // A kill while the first file was made leaves only its beginnings.
    let unfinished = Place::new();
    fs::write(unfinished.file().with_extension("redb.new"), b"half of it").unwrap();
    assert_eq!(unfinished.open().applied(), 0);
}

#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let _store = place.open();
    assert_eq!(fs::metadata(place.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1);
}

fn refusal(place: &Place) -> String {
    let error = StateStore::open(&place.file()).err().unwrap().to_string();
    assert!(error.contains(place.file().to_str().unwrap()) && !error.contains('\n'), "{error}");
    error
}

#[test]
fn what_cannot_be_used_is_refused_in_one_line() {
    let place = Place::new();
    let store = place.open();
    assert!(refusal(&place).contains("another process"));
    drop(store);
    let database = redb::Database::open(place.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(tables::META).unwrap().insert(tables::META_SCHEMA, 7).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(refusal(&place).contains("schema version 7"));
    drop(redb::Database::create(place.0.join("other")).unwrap());
    fs::rename(place.0.join("other"), place.file()).unwrap();
    assert!(refusal(&place).contains("move it away"));
    for bytes in [&b""[..], b"{}", &[0xA5; 10_000]] {
        fs::write(place.file(), bytes).unwrap();
        assert!(refusal(&place).contains("move it away"));
    }
    fs::remove_file(place.file()).unwrap();
    fs::create_dir(place.file()).unwrap();
    assert!(refusal(&place).contains("see to the disk"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn damage_is_an_error_and_not_a_panic(
        places in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..40), cut: Option<prop::sample::Index>,
    ) {
        let place = Place::new();
        let mut store = place.open();
        let mut log = Log::default();
        for number in 0..3 {
            log.connect(number, true);
        }
        for _ in 0..20 {
            log.publish(Message { retain: true, ..message("a", b"payload") }, &[0, 1, 2]);
        }
        log.feed(&mut store, log.end());
        drop(store);
        let mut bytes = fs::read(place.file()).unwrap();
        for (index, bits) in places {
            // Most of the file has never been used: the damage is to be where something is.
            let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
            bytes[used[index.index(used.len())]] ^= bits;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(place.file(), bytes).unwrap();
        if let Ok(mut store) = StateStore::open(&place.file()) {
            let _ = store.load();
            log.publish(message("a", b"payload"), &[0, 1, 2]);
            log.change(Change::SessionEnded { session: session(0) });
            let from = store.applied().min(log.end());
            let _ = store.apply(log.records(from, log.end()), log.end());
        }
    }
}

#[test]
fn packet_identifiers_and_offsets_at_their_ends_are_nothing_special() {
    let mut log = Log::default();
    log.connect(1, true);
    let broker = broker(0);
    let messages = vec![(PacketId::FIRST, u64::MAX), (packet_id(u16::MAX), 0)];
    log.change(Change::Cursor { broker, cursor: 0, live: None });
    log.change(Change::UpstreamSent { broker, messages: messages.clone() });
    log.change(Change::UpstreamDone { broker, offsets: vec![u64::MAX] });
    log.change(Change::DeliverySent { session: session(1), deliveries: messages });
    log.change(Change::DeliveryDone { session: session(1), offsets: vec![u64::MAX, 0] });
    assert_eq!(log.check().highest_offset, u64::MAX);
}
