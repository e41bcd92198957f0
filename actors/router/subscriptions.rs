//! Local subscriptions: which session gets a message, and how.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use foldhash::fast::RandomState;
use mqtt::packet::SubscriptionOptions;
use mqtt::topic::trie::FilterTrie;
use mqtt::{Message as ApplicationMessage, QoS, TopicFilter, TopicName};

use crate::messages::{Deliver, Delivery, SessionId};
use crate::{Metrics, limits};

/// All subscriptions of all sessions.
pub struct Subscriptions {
    trie: FilterTrie<SessionId, Subscription>,
    subscribers: HashMap<SessionId, Subscriber, RandomState>,
    /// Answers for topics that were asked before, until a subscription changes.
    receivers: HashMap<TopicName, Arc<[Receiver]>, RandomState>,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Copy)]
struct Subscription {
    options: SubscriptionOptions,
    identifier: Option<u32>,
}

struct Subscriber {
    deliver: Recipient<Deliver>,
    subscriptions: usize,
    /// What the current batch has for the session.
    batch: Vec<Delivery>,
}

/// One session that gets a topic's messages, with all its matching subscriptions taken together: one delivery
/// at the highest QoS `[MQTT-3.3.4-2]`.
#[derive(Clone)]
struct Receiver {
    session_id: SessionId,
    qos: QoS,
    retain_as_published: bool,
    /// Whether any of the subscriptions wants the session's own messages.
    own_messages: bool,
    identifiers: Vec<u32>,
}

impl Subscriptions {
    /// None yet.
    pub fn new(metrics: Arc<Metrics>) -> Subscriptions {
        Subscriptions {
            trie: FilterTrie::new(),
            subscribers: HashMap::default(),
            receivers: HashMap::default(),
            metrics,
        }
    }

    /// Whether there is nobody to deliver to.
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.trie.len()
    }

    /// Adds or replaces a subscription `[MQTT-3.8.4-3]`; `true` where it is new.
    pub fn add(
        &mut self,
        session_id: SessionId,
        deliver: &Recipient<Deliver>,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        identifier: Option<u32>,
    ) -> bool {
        self.receivers.clear();
        let is_new = self.trie.insert(filter, session_id, Subscription { options, identifier }).is_none();
        let subscriber = self.subscribers.entry(session_id).or_insert_with(|| Subscriber {
            deliver: deliver.clone(),
            subscriptions: 0,
            batch: Vec::new(),
        });
        subscriber.subscriptions += usize::from(is_new);
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
                self.subscribers.remove(&session_id);
            }
        }
        true
    }

    /// Hands a batch to everyone who subscribed to its topics, each in one message.
    pub fn deliver(&mut self, batch: Vec<ApplicationMessage>, publisher: Option<SessionId>) {
        let received_at = Instant::now();
        let mut concerned: Vec<SessionId> = Vec::new();
        for message in batch {
            let receivers = self.receivers_of(&message.topic_name);
            if receivers.is_empty() {
                continue;
            }
            let message = Arc::new(message);
            for receiver in &*receivers {
                if Some(receiver.session_id) == publisher && !receiver.own_messages {
                    continue;
                }
                let Some(subscriber) = self.subscribers.get_mut(&receiver.session_id) else { continue };
                if subscriber.batch.is_empty() {
                    concerned.push(receiver.session_id);
                }
                subscriber.batch.push(Delivery {
                    message: message.clone(),
                    qos: message.qos.min(receiver.qos),
                    retain: message.retain && receiver.retain_as_published,
                    subscription_identifiers: receiver.identifiers.clone(),
                    received_at,
                });
            }
        }
        for session_id in concerned {
            let Some(subscriber) = self.subscribers.get_mut(&session_id) else { continue };
            let batch = std::mem::take(&mut subscriber.batch);
            let count = batch.len() as u64;
            if subscriber.deliver.try_send(Deliver { batch }).is_err() {
                self.metrics.deliveries_dropped.with_label_values(&["mailbox_full"]).inc_by(count);
            }
        }
    }

    fn receivers_of(&mut self, topic_name: &TopicName) -> Arc<[Receiver]> {
        if let Some(receivers) = self.receivers.get(topic_name) {
            return receivers.clone();
        }
        let mut by_session: Vec<Receiver> = Vec::new();
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
                None => by_session.push(Receiver {
                    session_id: *session_id,
                    qos: options.qos,
                    retain_as_published: options.retain_as_published,
                    own_messages: !options.no_local,
                    identifiers: subscription.identifier.into_iter().collect(),
                }),
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
