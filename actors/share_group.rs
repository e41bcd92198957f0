//! A share group: the sessions that share the messages of one `$share/{ShareName}/{filter}`, and the choice of the one that
//! gets a message. The Router chooses for new messages, and a session for those that it cannot deliver any more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mqtt::packet::SubscriptionOptions;
use mqtt::{Message, QoS, TopicFilter};

use crate::delivery_queue::DeliveryQueue;
use crate::messages::{Delivery, SessionId};
use crate::store::{Change, Recipient, SessionKey};
use crate::timestamp::unix_micros;

/// What speaks for giving a member the next message, the best first. A load is what waits for the client and what it has not
/// acknowledged, in thousandths of its Receive Maximum, and as much again for each second that a client with a full window has
/// acknowledged nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is connected, and the message can go out at once.
    Ready,
    /// It is connected, and others wait to be acknowledged first.
    Busy(u64),
    /// It is connected, and its queue is so long that publishers wait.
    Pressed(u64),
    /// It is connected and takes nothing.
    Stalled(u64),
    /// It is not connected, and its session keeps messages.
    Absent {
        /// Whether its queue has no room.
        is_full: bool,
    },
    /// The message would be lost there.
    Gone,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    next: usize,
}

impl Turn {
    /// The member of `count` that gets the next message: the one that stands best, and among equals the one that has waited
    /// longest for its turn. `None` where it would be lost everywhere. The turn passes with [`Turn::pass`].
    pub fn best(self, count: usize, standing: impl Fn(usize) -> Standing) -> Option<(usize, Standing)> {
        let mut best: Option<(usize, Standing)> = None;
        for index in (self.next..count).chain(0..self.next.min(count)) {
            let found = standing(index);
            if best.is_none_or(|(_, known)| found < known) {
                best = Some((index, found));
            }
            if found == Standing::Ready {
                break;
            }
        }
        best.filter(|(_, standing)| *standing != Standing::Gone)
    }

    /// This member had its turn.
    pub fn pass(&mut self, index: usize, count: usize) {
        self.next = if index + 1 < count { index + 1 } else { 0 };
    }

    /// A member left; those behind it move up.
    fn left(&mut self, index: usize) {
        self.next -= usize::from(index < self.next);
    }
}

/// The group.
#[derive(Debug)]
pub struct ShareGroup {
    filter: TopicFilter,
    state: Mutex<State>,
    /// How many members there are.
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Member>,
    turn: Turn,
}

#[derive(Clone)]
struct Member {
    session_id: SessionId,
    queue: Arc<DeliveryQueue>,
    durable: Option<SessionKey>,
    options: SubscriptionOptions,
    identifier: Option<u32>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", self.session_id)
    }
}

/// The member that gets a message, and how. As long as this lives, the member's window counts the message.
pub struct Chosen {
    claim: Claim,
    group: Arc<ShareGroup>,
    durable: Option<SessionKey>,
    qos: QoS,
    retain: bool,
    identifier: Option<u32>,
    own_record: OwnRecord,
}

/// Whether the log says of the message for the member in a record of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OwnRecord {
    /// The message's record does.
    NotNeeded,
    Needed,
    At(u64),
}

struct Claim {
    queue: Arc<DeliveryQueue>,
    needs_window: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.needs_window {
            self.queue.end_claim();
        }
    }
}

impl ShareGroup {
    /// A group without members; `filter` is the whole text of the subscription.
    pub fn new(filter: TopicFilter) -> Arc<ShareGroup> {
        Arc::new(ShareGroup { filter, state: Mutex::default(), len: AtomicUsize::new(0) })
    }

    /// The whole text of the subscription.
    pub fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session joins, or subscribes anew; `true` where it is new.
    pub fn join(
        &self,
        session_id: SessionId,
        queue: &Arc<DeliveryQueue>,
        durable: Option<SessionKey>,
        options: SubscriptionOptions,
        identifier: Option<u32>,
    ) -> bool {
        let mut state = self.state();
        let member = Member { session_id, queue: queue.clone(), durable, options, identifier };
        match state.members.iter_mut().find(|member| member.session_id == session_id) {
            Some(known) => {
                *known = member;
                false
            }
            None => {
                state.members.push(member);
                self.len.store(state.members.len(), Ordering::Relaxed);
                true
            }
        }
    }

    /// A session leaves; `false` where it was no member.
    pub fn leave(&self, session_id: SessionId) -> bool {
        let mut state = self.state();
        let place = state.members.iter().position(|member| member.session_id == session_id);
        let Some(index) = place else { return false };
        state.members.remove(index);
        state.turn.left(index);
        self.len.store(state.members.len(), Ordering::Relaxed);
        true
    }

    /// Whether a member other than this one is connected and its queue is not long.
    pub fn has_room_beside(&self, session_id: SessionId, now: Instant) -> bool {
        self.state()
            .best(QoS::AtLeastOnce, Some(session_id), now)
            .is_some_and(|(_, standing)| standing <= Standing::Busy(u64::MAX))
    }

    /// Chooses the member that gets a message, which is not `giver`. `None` where it would be lost everywhere.
    pub fn choose(
        self: &Arc<Self>,
        message: &Message,
        giver: Option<SessionId>,
        now: Instant,
    ) -> Option<Chosen> {
        let mut state = self.state();
        let (index, _) = state.best(message.qos, giver, now)?;
        let count = state.members.len();
        state.turn.pass(index, count);
        let member = &state.members[index];
        let qos = message.qos.min(member.options.qos);
        let needs_window = qos > QoS::AtMostOnce;
        if needs_window {
            member.queue.claim();
        }
        Some(Chosen {
            claim: Claim { queue: member.queue.clone(), needs_window },
            group: self.clone(),
            durable: member.durable,
            qos,
            retain: message.retain && member.options.retain_as_published,
            identifier: member.identifier,
            own_record: OwnRecord::NotNeeded,
        })
    }

    /// The queue that a publisher should wait for, if there is no member who could take a message sooner.
    pub fn held_up_by(&self, message: &Message, now: Instant) -> Option<Arc<DeliveryQueue>> {
        let state = self.state();
        let (index, _) = state.best(message.qos, None, now)?;
        let queue = &state.members[index].queue;
        queue.is_pressed().then(|| queue.clone())
    }
}

impl State {
    fn best(&self, qos: QoS, giver: Option<SessionId>, now: Instant) -> Option<(usize, Standing)> {
        self.turn.best(self.members.len(), |index| {
            let member = &self.members[index];
            match Some(member.session_id) == giver {
                true => Standing::Gone,
                false => member.queue.standing(qos.min(member.options.qos), now),
            }
        })
    }
}

impl Chosen {
    /// Where the message goes.
    pub fn queue(&self) -> &Arc<DeliveryQueue> {
        &self.claim.queue
    }

    /// What the message's record says of the member, if its session survives the process.
    pub fn recipient(&self) -> Option<Recipient> {
        let session = self.durable.filter(|_| self.qos > QoS::AtMostOnce)?;
        let subscription_identifiers = self.identifier.into_iter().collect();
        Some(Recipient { session, qos: self.qos, retain: self.retain, subscription_identifiers })
    }

    /// The message's own record does not speak for this member: it names a session once, and this one is named there.
    pub fn needs_own_record(&mut self) {
        self.own_record = OwnRecord::Needed;
    }

    /// Whether the log does not say yet that the member gets the message.
    pub fn is_without_record(&self) -> bool {
        self.own_record == OwnRecord::Needed
    }

    /// A record by itself for the member, if its session survives the process.
    pub fn queued(&self, message: &Message, received_at: Instant) -> Option<Change> {
        let recipient = self.recipient()?;
        let waited = received_at.elapsed();
        Some(Change::Queued {
            session: recipient.session,
            qos: recipient.qos,
            retain: recipient.retain,
            subscription_identifiers: recipient.subscription_identifiers,
            received_at_micros: unix_micros().saturating_sub(waited.as_micros() as u64),
            message: message.clone(),
        })
    }

    /// The record for the member is here.
    pub fn set_own_offset(&mut self, offset: u64) {
        self.own_record = OwnRecord::At(offset);
    }

    /// Puts the message into the member's queue; `offset` is where the log has the message itself. Answers as
    /// [`DeliveryQueue::push`].
    pub fn deliver(&self, message: Arc<Message>, received_at: Instant, offset: Option<u64>) -> bool {
        let offset = match self.own_record {
            OwnRecord::At(own) => Some(own),
            _ => offset,
        };
        let is_durable = self.durable.is_some() && self.qos > QoS::AtMostOnce;
        let delivery = Delivery {
            message,
            qos: self.qos,
            retain: self.retain,
            subscription_identifiers: self.identifier.into_iter().collect(),
            received_at,
            offset: offset.filter(|_| is_durable),
            share: Some(self.group.clone()),
        };
        self.claim.queue.push(delivery, Instant::now())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use mqtt::{Properties, TopicName};
    use proptest::prelude::*;

    use super::*;
    use crate::delivery_queue::{AbsentSubscriber, QueueLimits, SlowSubscriber};

    const ABSENT: Standing = Standing::Absent { is_full: false };
    const FULL: Standing = Standing::Absent { is_full: true };

    /// Chooses so many times among members who do not change, and says whom.
    fn choices(standings: &[Standing], count: usize) -> Vec<Option<usize>> {
        let mut turn = Turn::default();
        let choice = |_| {
            let (index, _) = turn.best(standings.len(), |index| standings[index])?;
            turn.pass(index, standings.len());
            Some(index)
        };
        (0..count).map(choice).collect()
    }

    #[test]
    fn the_best_members_take_turns() {
        use Standing::{Busy, Gone, Pressed, Ready, Stalled};
        let rows: [(&[Standing], [Option<usize>; 4]); 9] = [
            (&[Ready, Ready, Ready], [Some(0), Some(1), Some(2), Some(0)]),
            (&[Ready, Busy(0), Ready], [Some(0), Some(2), Some(0), Some(2)]),
            (&[Busy(5), Busy(4), Pressed(1)], [Some(1), Some(1), Some(1), Some(1)]),
            (&[Busy(4), Busy(4)], [Some(0), Some(1), Some(0), Some(1)]),
            (&[Stalled(0), Pressed(9), ABSENT], [Some(1), Some(1), Some(1), Some(1)]),
            (&[Stalled(7), ABSENT, Gone], [Some(0), Some(0), Some(0), Some(0)]),
            (&[ABSENT, FULL, ABSENT], [Some(0), Some(2), Some(0), Some(2)]),
            (&[Gone, FULL, Gone], [Some(1), Some(1), Some(1), Some(1)]),
            (&[Gone, Gone], [None; 4]),
        ];
        for (standings, wanted) in rows {
            assert_eq!(choices(standings, 4), wanted, "{standings:?}");
        }
        assert_eq!(choices(&[], 1), [None]);
    }

    fn queue(messages_max: usize, window: usize) -> Arc<DeliveryQueue> {
        let (slow, absent) = (SlowSubscriber::DropNewest, AbsentSubscriber::DropNewest);
        let slow_patience = Duration::from_secs(10);
        let limits = QueueLimits { messages_max, bytes_max: 10_000, slow, slow_patience, absent };
        let queue = DeliveryQueue::new(limits);
        queue.set_connected(true);
        queue.lock().set_window(window, window, None);
        queue
    }

    fn message(qos: QoS, bytes: usize) -> Message {
        Message {
            topic_name: TopicName::new("t").expect("a topic name"),
            qos,
            retain: true,
            properties: Properties::default(),
            payload: Bytes::from(vec![0; bytes]),
        }
    }

    fn group() -> Arc<ShareGroup> {
        ShareGroup::new(TopicFilter::new("$share/g/t").expect("a filter"))
    }

    fn join(group: &ShareGroup, session: u64, queue: &Arc<DeliveryQueue>, qos: QoS) -> bool {
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        group.join(SessionId(session), queue, None, options, Some(session as u32 + 1))
    }

    /// Shares a message out; whether somebody has it.
    fn share(group: &Arc<ShareGroup>, message: &Message) -> bool {
        let now = Instant::now();
        let Some(chosen) = group.choose(message, None, now) else { return false };
        chosen.deliver(Arc::new(message.clone()), now, None);
        true
    }

    #[test]
    fn a_member_gets_a_message_by_its_own_subscription() {
        let (group, queue) = (group(), queue(10, 10));
        assert!(join(&group, 3, &queue, QoS::ExactlyOnce));
        assert!(!join(&group, 3, &queue, QoS::AtLeastOnce), "it replaces the first");
        assert!(share(&group, &message(QoS::ExactlyOnce, 1)));
        let delivery = queue.lock().take().expect("a message");
        assert_eq!((delivery.qos, delivery.retain), (QoS::AtLeastOnce, false));
        assert_eq!(delivery.subscription_identifiers, [4]);
        assert!(delivery.share.is_some_and(|share| Arc::ptr_eq(&share, &group)));
        assert!(group.leave(SessionId(3)) && !group.leave(SessionId(3)) && group.is_empty());
        assert!(!share(&group, &message(QoS::AtLeastOnce, 1)));
    }

    #[test]
    fn a_full_window_sends_messages_elsewhere_and_what_is_chosen_counts_at_once() {
        let (group, one, many) = (group(), queue(10, 1), queue(10, 100));
        join(&group, 1, &one, QoS::AtLeastOnce);
        join(&group, 2, &many, QoS::AtLeastOnce);
        let message = message(QoS::AtLeastOnce, 1);
        let now = Instant::now();
        let chosen: Vec<_> = (0..20).filter_map(|_| group.choose(&message, None, now)).collect();
        let of_one = chosen.iter().filter(|chosen| Arc::ptr_eq(chosen.queue(), &one)).count();
        assert_eq!((chosen.len(), of_one), (20, 1), "nothing is in a queue yet");
        drop(chosen);
        assert_eq!(one.standing(QoS::AtLeastOnce, now), Standing::Ready, "it was not delivered after all");
    }

    #[test]
    fn who_acknowledges_nothing_is_given_less_the_longer_that_lasts() {
        let (now, later) = (Instant::now(), Instant::now() + std::time::Duration::from_secs(9));
        let silent = queue(10, 1);
        silent.lock().set_window(1, 0, Some(now));
        assert_eq!(silent.standing(QoS::AtLeastOnce, now), Standing::Busy(1_000));
        let Standing::Busy(load) = silent.standing(QoS::AtLeastOnce, later) else { panic!("it is busy") };
        assert!(load >= 9_000, "not {load}");
        assert_eq!(silent.standing(QoS::AtMostOnce, later), Standing::Ready, "QoS 0 needs no window");
    }

    #[test]
    fn qos_0_is_for_members_who_are_connected_and_the_end_of_a_session_for_nobody() {
        let (group, absent) = (group(), queue(2, 10));
        join(&group, 1, &absent, QoS::ExactlyOnce);
        absent.set_connected(false);
        assert!(!share(&group, &message(QoS::AtMostOnce, 1)));
        assert!(share(&group, &message(QoS::AtLeastOnce, 1)));
        assert!(share(&group, &message(QoS::AtLeastOnce, 1)));
        assert_eq!(absent.standing(QoS::AtLeastOnce, Instant::now()), FULL);
        assert!(!group.has_room_beside(SessionId(2), Instant::now()));
        absent.lock().close();
        assert!(!share(&group, &message(QoS::AtLeastOnce, 1)));
    }

    #[test]
    fn publishers_wait_where_every_member_is_pressed() {
        let (group, first, second) = (group(), queue(10, 100), queue(10, 100));
        join(&group, 1, &first, QoS::AtLeastOnce);
        join(&group, 2, &second, QoS::AtLeastOnce);
        let large = message(QoS::AtLeastOnce, 6_000);
        assert!(share(&group, &large));
        assert!(group.held_up_by(&large, Instant::now()).is_none(), "the second has room");
        assert!(share(&group, &large));
        assert!(group.held_up_by(&large, Instant::now()).is_some());
    }

    /// What may happen to a group.
    #[derive(Clone, Debug)]
    enum Event {
        Join(usize),
        Leave(usize),
        Connect(usize, bool),
        Window(usize, usize),
        Publish(usize),
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let member = 0..5usize;
        prop_oneof![
            2 => member.clone().prop_map(Event::Join),
            1 => member.clone().prop_map(Event::Leave),
            2 => (member.clone(), any::<bool>()).prop_map(|(member, is)| Event::Connect(member, is)),
            1 => (member, 0..20usize).prop_map(|(member, window)| Event::Window(member, window)),
            6 => (1..30usize).prop_map(Event::Publish),
        ]
    }

    proptest! {
        #[test]
        fn each_message_goes_to_one_member_who_stands_best(events in proptest::collection::vec(any_event(), 1..60)) {
            let group = group();
            let queues: Vec<_> = (0..5).map(|_| queue(1_000, 1_000)).collect();
            let mut members = [false; 5];
            let message = message(QoS::AtLeastOnce, 0);
            let lens = || queues.iter().map(|queue| queue.len()).collect::<Vec<_>>();
            for event in events {
                match event {
                    Event::Join(index) => {
                        let is_new = join(&group, index as u64, &queues[index], QoS::AtLeastOnce);
                        prop_assert_eq!(is_new, !std::mem::replace(&mut members[index], true));
                    }
                    Event::Leave(index) => {
                        let was = std::mem::replace(&mut members[index], false);
                        prop_assert_eq!(group.leave(SessionId(index as u64)), was);
                    }
                    Event::Connect(index, is_connected) => queues[index].set_connected(is_connected),
                    Event::Window(index, room) => queues[index].lock().set_window(20, room, Some(Instant::now())),
                    Event::Publish(count) => for _ in 0..count {
                        let (now, before) = (Instant::now(), lens());
                        let standing = |index: usize| match members[index] {
                            true => queues[index].standing(QoS::AtLeastOnce, now),
                            false => Standing::Gone,
                        };
                        let standings: Vec<_> = (0..5).map(standing).collect();
                        let is_shared = share(&group, &message);
                        let got: Vec<_> =
                            (0..5).filter(|index| queues[*index].len() != before[*index]).collect();
                        prop_assert_eq!(is_shared, members.contains(&true));
                        let queued: usize = lens().iter().sum::<usize>() - before.iter().sum::<usize>();
                        prop_assert!(queued <= usize::from(is_shared), "one copy at most: {:?}", got);
                        if let [index] = got[..] {
                            let best = standings.iter().min().copied();
                            // The silence of a client may count a moment more than it did above.
                            let is_load = matches!(best, Some(Standing::Busy(_) | Standing::Pressed(_)));
                            prop_assert!(is_load || Some(standings[index]) == best, "{:?} of {:?}", index, standings);
                        }
                    },
                }
            }
        }

        #[test]
        fn equal_members_get_equally_many(count in 1..8u64, messages in 1..100usize, window in 1..40usize) {
            let group = group();
            let queues: Vec<_> = (0..count).map(|_| queue(1_000, window)).collect();
            for (queue, session) in queues.iter().zip(0..) {
                join(&group, session, queue, QoS::AtLeastOnce);
            }
            for _ in 0..messages {
                prop_assert!(share(&group, &message(QoS::AtLeastOnce, 0)));
            }
            let lens: Vec<usize> = queues.iter().map(|queue| queue.len()).collect();
            prop_assert_eq!(lens.iter().sum::<usize>(), messages);
            let spread = lens.iter().max().zip(lens.iter().min()).map(|(most, least)| most - least);
            prop_assert!(spread.is_some_and(|spread| spread <= 1), "{:?}", lens);
        }
    }
}
