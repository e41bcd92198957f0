//! What waits for one local subscriber, between the Router, who puts messages in, and the session, who sends them. It is
//! bounded by messages and bytes; what happens when it is full depends on whether the client is connected.

mod bounds;
mod sharing;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use mqtt::QoS;
use tokio::sync::Notify;

use crate::limits;
use crate::messages::Delivery;
pub use bounds::{AbsentSubscriber, QueueLimits, SlowSubscriber};
use sharing::Window;

/// Messages that were dropped, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// For a connected client that did not take them.
    pub slow: u64,
    /// For an absent client.
    pub absent: u64,
}

/// The queue.
pub struct DeliveryQueue {
    state: Mutex<State>,
    /// Set while publishers should let a connected client catch up.
    is_pressed: AtomicBool,
    /// Set while messages wait for longer than a turn: those that come do not keep a read buffer for it.
    is_behind: AtomicBool,
    /// Told when the queue is short again.
    relieved: Notify,
    /// Messages at QoS 1 and 2 that a share group has chosen this client for, and that are not in the queue yet.
    claims: AtomicUsize,
}

/// The inside of the queue, for who holds its lock.
pub struct State {
    entries: VecDeque<Delivery>,
    bytes: usize,
    limits: QueueLimits,
    is_connected: bool,
    /// The session is over: nothing is taken any more.
    is_closed: bool,
    /// Entries that need a place in the client's window: those at QoS 1 and 2.
    acknowledged_entries: usize,
    window: Window,
    /// Nobody waits for this client until it has caught up.
    is_left_alone: bool,
    /// Since when a full queue has not moved.
    stuck_since: Option<Instant>,
    is_hopeless: bool,
    dropped: Dropped,
    /// Where the log has what was dropped for a durable session.
    given_up: Vec<u64>,
    /// How much the client has taken since the start.
    taken_bytes: u64,
    waker: Option<Waker>,
}

impl DeliveryQueue {
    /// An empty queue of a client that is not connected.
    pub fn new(limits: QueueLimits) -> Arc<DeliveryQueue> {
        Arc::new(DeliveryQueue {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                bytes: 0,
                limits,
                is_connected: false,
                is_closed: false,
                acknowledged_entries: 0,
                window: Window::default(),
                is_left_alone: false,
                stuck_since: None,
                is_hopeless: false,
                dropped: Dropped::default(),
                given_up: Vec::new(),
                taken_bytes: 0,
                waker: None,
            }),
            is_pressed: AtomicBool::new(false),
            is_behind: AtomicBool::new(true),
            relieved: Notify::new(),
            claims: AtomicUsize::new(0),
        })
    }

    /// The inside, for a session that sends.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message, or drops what the limits say, and wakes the session. Without a connection only QoS 1 and 2
    /// wait. Answers [`DeliveryQueue::is_pressed`].
    pub fn push(&self, delivery: Delivery, now: Instant) -> bool {
        let mut state = self.lock();
        state.push(delivery, now);
        let wants_relief = state.wants_relief();
        let waker = state.waker.take();
        drop(state);
        if wants_relief {
            self.is_pressed.store(true, Ordering::Relaxed);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        wants_relief
    }

    /// A connection of the client began or ended.
    pub fn set_connected(&self, is_connected: bool) {
        let mut state = self.lock();
        state.is_connected = is_connected;
        (state.stuck_since, state.is_hopeless, state.is_left_alone) = (None, false, false);
        self.is_behind.store(!is_connected || !state.entries.is_empty(), Ordering::Relaxed);
        drop(state);
        self.relieve();
    }

    /// Whether the client is connected.
    pub fn is_connected(&self) -> bool {
        self.lock().is_connected
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether publishers should wait until a connected client, who is draining its queue, has taken more of it.
    pub fn is_pressed(&self) -> bool {
        self.is_pressed.load(Ordering::Relaxed)
    }

    /// Says that nothing is taken for now.
    pub fn note_waiting(&self) {
        self.is_behind.store(true, Ordering::Relaxed);
    }

    /// Whether what is put in will wait: the client is not connected, or did not take all that there was.
    pub fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Ends the wait of publishers if the queue is short again. For the session, after it has taken messages.
    pub fn note_taken(&self, state: &mut State) {
        self.is_behind.store(!state.entries.is_empty(), Ordering::Relaxed);
        if state.bytes <= state.limits.bytes_max / 4 {
            state.is_left_alone = false;
            if self.is_pressed() {
                self.relieve();
            }
        }
    }

    /// Done when the queue is short again, or when its client has taken next to nothing for
    /// [`limits::SUBSCRIBER_PATIENCE`]: then nobody waits for it until it has caught up.
    pub async fn room(&self) {
        loop {
            let relieved = self.relieved.notified();
            let taken_before = self.lock().taken_bytes;
            if !self.is_pressed() || tokio::time::timeout(limits::SUBSCRIBER_PATIENCE, relieved).await.is_ok()
            {
                return;
            }
            let mut state = self.lock();
            if state.taken_bytes - taken_before < limits::SUBSCRIBER_PACE_BYTES {
                state.is_left_alone = true;
                drop(state);
                return self.relieve();
            }
        }
    }

    fn relieve(&self) {
        self.is_pressed.store(false, Ordering::Relaxed);
        self.relieved.notify_waiters();
    }
}

impl State {
    fn push(&mut self, delivery: Delivery, now: Instant) {
        if self.is_closed || (!self.is_connected && delivery.qos == QoS::AtMostOnce) {
            return;
        }
        let bytes = weight(&delivery);
        while !self.has_room_for(bytes) {
            if !self.drops_oldest() || self.entries.is_empty() {
                self.note_stuck(now);
                return self.drop_delivery(&delivery);
            }
            if let Some(oldest) = self.pop() {
                self.drop_delivery(&oldest);
            }
        }
        self.append(delivery, bytes);
    }

    fn append(&mut self, delivery: Delivery, bytes: usize) {
        self.bytes += bytes;
        self.acknowledged_entries += usize::from(delivery.qos > QoS::AtMostOnce);
        self.entries.push_back(delivery);
    }

    /// Queues a message without looking at the limits: one that was accepted before.
    pub fn restore(&mut self, delivery: Delivery) {
        let bytes = weight(&delivery);
        self.append(delivery, bytes);
    }

    /// The message that is next.
    pub fn front(&self) -> Option<&Delivery> {
        self.entries.front()
    }

    /// Takes the next message for the client.
    pub fn take(&mut self) -> Option<Delivery> {
        let before = self.bytes;
        let delivery = self.pop()?;
        self.taken_bytes += (before - self.bytes) as u64;
        self.stuck_since = None;
        if self.entries.is_empty() && self.entries.capacity() > limits::IDLE_QUEUE_MESSAGES {
            self.entries = VecDeque::new();
        }
        Some(delivery)
    }

    /// What was dropped since the last time: how many, and where the log has those of a durable session.
    pub fn take_dropped(&mut self) -> (Dropped, Vec<u64>) {
        (std::mem::take(&mut self.dropped), std::mem::take(&mut self.given_up))
    }

    /// Whether the client has taken nothing for too long, and is to be disconnected.
    pub fn is_hopeless(&self) -> bool {
        self.is_hopeless
    }

    /// Who is woken by the next [`DeliveryQueue::push`].
    pub fn set_waker(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(present) => present.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.entries.pop_front()?;
        self.bytes -= weight(&delivery);
        self.acknowledged_entries -= usize::from(delivery.qos > QoS::AtMostOnce);
        Some(delivery)
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        let has_places = self.is_connected || self.entries.len() < self.limits.messages_max;
        // One message that is larger than all is no reason to send none.
        has_places && (self.bytes + bytes <= self.limits.bytes_max || self.entries.is_empty())
    }

    fn drops_oldest(&self) -> bool {
        match self.is_connected {
            true => self.limits.slow == SlowSubscriber::DropOldest,
            false => self.limits.absent == AbsentSubscriber::DropOldest,
        }
    }

    fn note_stuck(&mut self, now: Instant) {
        if !self.is_connected || self.limits.slow != SlowSubscriber::Disconnect {
            return;
        }
        let since = *self.stuck_since.get_or_insert(now);
        self.is_hopeless = now.duration_since(since) >= self.limits.slow_patience;
    }

    fn drop_delivery(&mut self, delivery: &Delivery) {
        self.given_up.extend(delivery.offset);
        match self.is_connected {
            true => self.dropped.slow += 1,
            false => self.dropped.absent += 1,
        }
    }

    fn wants_relief(&self) -> bool {
        self.is_connected && !self.is_left_alone && self.bytes > self.limits.bytes_max / 2
    }
}

#[cfg(test)]
impl DeliveryQueue {
    /// The queue of a connected client, with room for this many bytes.
    pub fn connected_for_test(bytes_max: usize) -> Arc<DeliveryQueue> {
        let queue = DeliveryQueue::new(QueueLimits {
            messages_max: 100,
            bytes_max,
            slow: SlowSubscriber::default(),
            slow_patience: std::time::Duration::from_secs(10),
            absent: AbsentSubscriber::default(),
        });
        queue.set_connected(true);
        queue
    }
}

/// What a message counts in the queue.
pub fn weight(delivery: &Delivery) -> usize {
    let message = &delivery.message;
    let content =
        message.topic_name.as_str().len() + message.properties.as_bytes().len() + message.payload.len();
    let identifiers = size_of_val(delivery.subscription_identifiers.as_slice());
    content + identifiers + size_of::<Delivery>()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use mqtt::{Message, Properties, TopicName};

    use super::*;
    use crate::share_group::Standing;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn queue(slow: SlowSubscriber, absent: AbsentSubscriber) -> Arc<DeliveryQueue> {
        DeliveryQueue::new(QueueLimits {
            messages_max: 3,
            bytes_max: 10_000,
            slow,
            slow_patience: PATIENCE,
            absent,
        })
    }

    /// A message of about `bytes` bytes, which the log has at `offset`.
    fn delivery(offset: u64, qos: QoS, bytes: usize) -> Delivery {
        let message = Message {
            topic_name: TopicName::new("t").expect("a topic name"),
            qos,
            retain: false,
            properties: Properties::default(),
            payload: Bytes::from(vec![0; bytes]),
        };
        Delivery {
            message: Arc::new(message),
            qos,
            retain: false,
            subscription_identifiers: Vec::new(),
            received_at: Instant::now(),
            offset: Some(offset),
            share: None,
        }
    }

    fn push_all(queue: &DeliveryQueue, count: u64, bytes: usize) {
        for offset in 0..count {
            queue.push(delivery(offset, QoS::AtLeastOnce, bytes), Instant::now());
        }
    }

    fn offsets(queue: &DeliveryQueue) -> Vec<u64> {
        let mut state = queue.lock();
        std::iter::from_fn(|| state.take()).filter_map(|delivery| delivery.offset).collect()
    }

    #[test]
    fn for_an_absent_client_wait_so_many_messages_of_qos_1_and_2() {
        let queue = queue(SlowSubscriber::DropNewest, AbsentSubscriber::DropNewest);
        queue.push(delivery(9, QoS::AtMostOnce, 1), Instant::now());
        push_all(&queue, 5, 1);
        let dropped = queue.lock().take_dropped();
        assert_eq!(dropped, (Dropped { slow: 0, absent: 2 }, vec![3, 4]), "QoS 0 was never to wait");
        assert_eq!(offsets(&queue), [0, 1, 2]);
    }

    #[test]
    fn the_oldest_make_room_where_the_settings_say_so() {
        let queue = queue(SlowSubscriber::DropOldest, AbsentSubscriber::DropOldest);
        push_all(&queue, 5, 1);
        assert_eq!(queue.lock().take_dropped(), (Dropped { slow: 0, absent: 2 }, vec![0, 1]));
        assert_eq!(offsets(&queue), [2, 3, 4]);
        queue.set_connected(true);
        push_all(&queue, 5, 3_000);
        assert_eq!(queue.lock().take_dropped(), (Dropped { slow: 2, absent: 0 }, vec![0, 1]));
        assert_eq!(offsets(&queue), [2, 3, 4]);
    }

    #[test]
    fn a_connected_client_is_bounded_by_bytes_alone_and_one_message_always_fits() {
        let queue = queue(SlowSubscriber::DropNewest, AbsentSubscriber::DropNewest);
        queue.set_connected(true);
        push_all(&queue, 10, 1);
        assert_eq!(offsets(&queue).len(), 10);
        push_all(&queue, 2, 50_000);
        assert_eq!(offsets(&queue), [0]);
        assert_eq!(queue.lock().take_dropped().0, Dropped { slow: 1, absent: 0 });
    }

    #[test]
    fn what_is_taken_out_and_put_back_counts_again() {
        let queue = queue(SlowSubscriber::DropNewest, AbsentSubscriber::DropNewest);
        queue.set_connected(true);
        queue.lock().set_window(3, 3, None);
        push_all(&queue, 3, 2_000);
        let standing = || queue.standing(QoS::AtLeastOnce, Instant::now());
        assert!(matches!(standing(), Standing::Pressed(_)), "6,000 bytes are over the mark");
        let taken = queue.lock().extract(|delivery| delivery.offset != Some(1));
        assert_eq!((taken.len(), standing()), (2, Standing::Ready));
        queue.lock().put_back(taken);
        assert!(matches!(standing(), Standing::Pressed(_)));
        assert_eq!(offsets(&queue), [0, 2, 1]);
        assert_eq!(standing(), Standing::Ready);
    }

    #[test]
    fn a_client_that_takes_nothing_for_long_is_hopeless_if_the_settings_say_so() {
        let queue = queue(SlowSubscriber::Disconnect, AbsentSubscriber::DropNewest);
        queue.set_connected(true);
        let start = Instant::now();
        let later = start + PATIENCE;
        let push = |at| queue.push(delivery(0, QoS::AtMostOnce, 6_000), at);
        push(start);
        push(start);
        assert!(!queue.lock().is_hopeless());
        queue.lock().take();
        push(later);
        push(later);
        assert!(!queue.lock().is_hopeless(), "it took one meanwhile");
        push(later + PATIENCE);
        assert!(queue.lock().is_hopeless());
        queue.set_connected(true);
        assert!(!queue.lock().is_hopeless(), "a new connection begins anew");
    }
}
