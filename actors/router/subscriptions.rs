//! Local subscriptions: which session gets a message, and how.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use mqtt::packet::SubscriptionOptions;
use mqtt::topic::trie::FilterTrie;
use mqtt::{Message as ApplicationMessage, QoS, TopicFilter, TopicName};

use crate::delivery_queue::DeliveryQueue;
use crate::limits;
use crate::messages::{Delivery, SessionId, Subscribe};
use crate::store::{Recipient, SessionKey};

/// All subscriptions of all sessions.
pub struct Subscriptions {
    trie: FilterTrie<SessionId, Subscription>,
    subscribers: HashMap<SessionId, Subscriber, RandomState>,
    /// Answers for topics that were asked before, until a subscription changes.
    receivers: HashMap<TopicName, Arc<[Receiver]>, RandomState>,
    /// How many subscribers survive the process.
    durable: usize,
    /// Queues that publishers were to wait for when they were last filled.
    pressed: Vec<Arc<DeliveryQueue>>,
}

#[derive(Clone, Copy)]
struct Subscription {
    options: SubscriptionOptions,
    identifier: Option<u32>,
}

struct Subscriber {
    queue: Arc<DeliveryQueue>,
    /// The key of a session that survives the process.
    durable: Option<SessionKey>,
    subscriptions: usize,
}

/// One session that gets a topic's messages, with all its matching subscriptions taken together: one delivery
/// at the highest QoS `[MQTT-3.3.4-2]`.
#[derive(Clone)]
pub struct Receiver {
    session_id: SessionId,
    queue: Arc<DeliveryQueue>,
    durable: Option<SessionKey>,
    qos: QoS,
    retain_as_published: bool,
    /// Whether any of the subscriptions wants the session's own messages.
    own_messages: bool,
    identifiers: Vec<u32>,
}

impl Subscriptions {
    /// None yet.
    pub fn new() -> Subscriptions {
        Subscriptions {
            trie: FilterTrie::new(),
            subscribers: HashMap::default(),
            receivers: HashMap::default(),
            durable: 0,
            pressed: Vec::new(),
        }
    }

    /// Whether there is nobody to deliver to.
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// Whether a subscriber's messages must survive the process.
    pub fn has_durable(&self) -> bool {
        self.durable > 0
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.trie.len()
    }

    /// Adds or replaces a subscription `[MQTT-3.8.4-3]`; `true` where it is new.
    pub fn add(
        &mut self,
        subscriber: &Subscribe,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> bool {
        self.receivers.clear();
        let (session_id, identifier) = (subscriber.session_id, subscriber.subscription_identifier);
        let is_new = self.trie.insert(filter, session_id, Subscription { options, identifier }).is_none();
        let entry = self.subscribers.entry(session_id).or_insert_with(|| {
            self.durable += usize::from(subscriber.durable.is_some());
            Subscriber { queue: subscriber.queue.clone(), durable: subscriber.durable, subscriptions: 0 }
        });
        entry.subscriptions += usize::from(is_new);
        is_new
    }

    /// Removes a subscription; `false` where there was none.
    pub fn remove(&mut self, session_id: SessionId, filter: &TopicFilter) -> bool {
        if self.trie.remove(filter, session_id).is_none() {
            return false;
        }
        self.receivers.clear();
        if let Some(subscriber) = self.subscribers.get_mut(&session_id) {
            subscriber.subscriptions -= 1;
            if subscriber.subscriptions == 0 {
                self.durable -= usize::from(subscriber.durable.is_some());
                self.subscribers.remove(&session_id);
            }
        }
        true
    }

    /// Puts a message into the queue of everyone who gets it. `offset` is where the log has it for durable sessions.
    pub fn deliver(
        &mut self,
        message: ApplicationMessage,
        receivers: &[Receiver],
        publisher: Option<SessionId>,
        received_at: Instant,
        offset: Option<u64>,
    ) {
        let message = Arc::new(message);
        for receiver in receivers.iter().filter(|receiver| receiver.gets(publisher)) {
            let qos = message.qos.min(receiver.qos);
            let delivery = Delivery {
                message: message.clone(),
                qos,
                retain: message.retain && receiver.retain_as_published,
                subscription_identifiers: receiver.identifiers.clone(),
                received_at,
                offset: offset.filter(|_| receiver.durable.is_some() && qos > QoS::AtMostOnce),
            };
            if receiver.queue.push(delivery, received_at) {
                self.note_pressed(&receiver.queue);
            }
        }
    }

    fn note_pressed(&mut self, queue: &Arc<DeliveryQueue>) {
        if !self.pressed.iter().any(|known| Arc::ptr_eq(known, queue)) {
            self.pressed.push(queue.clone());
        }
    }

    /// The first message of a batch that a connected subscriber should not get before it has caught up, and whose
    /// queue that is. Subscribers that do not drain their queues hold up nobody.
    pub fn held_up(&mut self, batch: &[ApplicationMessage]) -> Option<(usize, Arc<DeliveryQueue>)> {
        self.pressed.retain(|queue| queue.is_pressed());
        if self.pressed.is_empty() {
            return None;
        }
        batch.iter().enumerate().find_map(|(index, message)| {
            let receivers = self.receivers_of(&message.topic_name);
            let pressed = receivers.iter().find(|receiver| receiver.queue.is_pressed())?;
            Some((index, pressed.queue.clone()))
        })
    }

    /// Everyone who gets a topic's messages.
    pub fn receivers_of(&mut self, topic_name: &TopicName) -> Arc<[Receiver]> {
        if let Some(receivers) = self.receivers.get(topic_name) {
            return receivers.clone();
        }
        let mut by_session: Vec<Receiver> = Vec::new();
        let subscribers = &self.subscribers;
        self.trie.for_each_match(topic_name, |session_id, subscription| {
            let options = &subscription.options;
            let found = by_session.iter_mut().find(|receiver| receiver.session_id == *session_id);
            match found {
                Some(receiver) => {
                    receiver.qos = receiver.qos.max(options.qos);
                    receiver.retain_as_published |= options.retain_as_published;
                    receiver.own_messages |= !options.no_local;
                    receiver.identifiers.extend(subscription.identifier);
                }
                None => {
                    let Some(subscriber) = subscribers.get(session_id) else { return };
                    by_session.push(Receiver {
                        session_id: *session_id,
                        queue: subscriber.queue.clone(),
                        durable: subscriber.durable,
                        qos: options.qos,
                        retain_as_published: options.retain_as_published,
                        own_messages: !options.no_local,
                        identifiers: subscription.identifier.into_iter().collect(),
                    });
                }
            }
        });
        let receivers: Arc<[Receiver]> = by_session.into();
        if self.receivers.len() >= limits::ROUTE_CACHE_ENTRIES {
            self.receivers.clear();
        }
        // A copy of its own: the name is a slice of a whole read buffer.
        self.receivers.insert(topic_name.detached(), receivers.clone());
        receivers
    }
}

impl Receiver {
    /// Whether a message of this publisher goes there `[MQTT-3.8.3-3]`.
    fn gets(&self, publisher: Option<SessionId>) -> bool {
        self.own_messages || Some(self.session_id) != publisher
    }

    /// What the message's record says of this receiver, if its session survives the process.
    pub fn recipient(&self, message: &ApplicationMessage, publisher: Option<SessionId>) -> Option<Recipient> {
        let qos = message.qos.min(self.qos);
        let session = self.durable.filter(|_| qos > QoS::AtMostOnce && self.gets(publisher))?;
        Some(Recipient {
            session,
            qos,
            retain: message.retain && self.retain_as_published,
            subscription_identifiers: self.identifiers.clone(),
        })
    }
}
