//! Local subscriptions, ordinary and shared: which session gets a message, and how.

mod receivers;

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
use crate::share_group::{Chosen, ShareGroup};
use crate::store::SessionKey;
use receivers::Outgoing;
pub use receivers::{Receiver, Receivers, Source};

/// All subscriptions of all sessions.
pub struct Subscriptions {
    trie: FilterTrie<SessionId, Subscription>,
    /// The share groups by what stands behind their names, and by the whole text.
    shared: FilterTrie<GroupId, Arc<ShareGroup>>,
    groups: HashMap<TopicFilter, (GroupId, Arc<ShareGroup>), RandomState>,
    next_group: GroupId,
    /// Shared subscriptions of all groups.
    shared_len: usize,
    subscribers: HashMap<SessionId, Subscriber, RandomState>,
    /// Answers for topics that were asked before, until a subscription changes.
    receivers: HashMap<TopicName, Arc<Receivers>, RandomState>,
    /// About how many bytes they take.
    receivers_bytes: usize,
    /// How many subscribers survive the process.
    durable: usize,
    /// Queues that publishers were to wait for when they were last filled.
    pressed: Vec<Arc<DeliveryQueue>>,
}

/// Tells the groups of one pattern apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupId(u64);

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

impl Subscriptions {
    /// None yet.
    pub fn new() -> Subscriptions {
        Subscriptions {
            trie: FilterTrie::new(),
            shared: FilterTrie::new(),
            groups: HashMap::default(),
            next_group: GroupId(0),
            shared_len: 0,
            subscribers: HashMap::default(),
            receivers: HashMap::default(),
            receivers_bytes: 0,
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

    /// How many subscriptions there are, the shared ones among them.
    pub fn len(&self) -> usize {
        self.trie.len() + self.shared_len
    }

    /// How many shared subscriptions there are.
    pub fn shared_len(&self) -> usize {
        self.shared_len
    }

    /// Adds or replaces a subscription `[MQTT-3.8.4-3]`; `true` where it is new.
    pub fn add(
        &mut self,
        subscriber: &Subscribe,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> bool {
        let (session_id, identifier) = (subscriber.session_id, subscriber.subscription_identifier);
        self.forget_receivers();
        let is_new = self.trie.insert(filter, session_id, Subscription { options, identifier }).is_none();
        self.count_new(subscriber, is_new);
        is_new
    }

    /// Makes a session a member of a share group, or changes how it is one. Answers with the group.
    pub fn join(
        &mut self,
        subscriber: &Subscribe,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> Arc<ShareGroup> {
        let known = self.groups.get(filter).map(|(_, group)| group.clone());
        let group = known.unwrap_or_else(|| self.add_group(filter));
        let Subscribe { session_id, queue, durable, subscription_identifier, .. } = subscriber;
        let is_new = group.join(*session_id, queue, *durable, options, *subscription_identifier);
        self.shared_len += usize::from(is_new);
        self.count_new(subscriber, is_new);
        group
    }

    fn add_group(&mut self, filter: &TopicFilter) -> Arc<ShareGroup> {
        let group = ShareGroup::new(filter.detached());
        let id = self.next_group;
        self.next_group = GroupId(id.0 + 1);
        self.groups.insert(group.filter().clone(), (id, group.clone()));
        self.shared.insert(filter, id, group.clone());
        self.forget_receivers();
        group
    }

    fn count_new(&mut self, subscriber: &Subscribe, is_new: bool) {
        let entry = self.subscribers.entry(subscriber.session_id).or_insert_with(|| {
            self.durable += usize::from(subscriber.durable.is_some());
            Subscriber { queue: subscriber.queue.clone(), durable: subscriber.durable, subscriptions: 0 }
        });
        entry.subscriptions += usize::from(is_new);
    }

    /// Removes a subscription; `false` where there was none.
    pub fn remove(&mut self, session_id: SessionId, filter: &TopicFilter) -> bool {
        let existed = match filter.shared() {
            Some(_) => self.leave(session_id, filter),
            None => {
                let existed = self.trie.remove(filter, session_id).is_some();
                if existed {
                    self.forget_receivers();
                }
                existed
            }
        };
        if !existed {
            return false;
        }
        if let Some(subscriber) = self.subscribers.get_mut(&session_id) {
            subscriber.subscriptions -= 1;
            if subscriber.subscriptions == 0 {
                self.durable -= usize::from(subscriber.durable.is_some());
                self.subscribers.remove(&session_id);
            }
        }
        true
    }

    fn leave(&mut self, session_id: SessionId, filter: &TopicFilter) -> bool {
        let Some((id, group)) = self.groups.get(filter) else { return false };
        if !group.leave(session_id) {
            return false;
        }
        self.shared_len -= 1;
        if group.is_empty() {
            self.shared.remove(filter, *id);
            self.groups.remove(filter);
            self.forget_receivers();
        }
        true
    }

    /// Puts a message into the queue of everyone who gets it. `offset` is where the log has it for durable sessions.
    /// `chosen` are the members of the groups; where nobody has chosen them yet, it is done now.
    pub fn deliver(
        &mut self,
        message: ApplicationMessage,
        receivers: &Receivers,
        source: Source<'_>,
        received_at: Instant,
        offset: Option<u64>,
        chosen: Option<Vec<Chosen>>,
    ) {
        let mut outgoing = Outgoing::new(message);
        let mut stamped = source.proxies.map(|proxies| Outgoing::new(proxies.message.clone()));
        for receiver in &receivers.sessions {
            let Some(terms) = receiver.terms(source) else { continue };
            let message = match &mut stamped {
                Some(stamped) if source.concerns(receiver.session_id) => stamped.for_queue(&receiver.queue),
                _ => outgoing.for_queue(&receiver.queue),
            };
            let qos = message.qos.min(terms.qos);
            let delivery = Delivery {
                qos,
                retain: message.retain && terms.retain_as_published,
                message,
                subscription_identifiers: terms.identifiers.clone(),
                received_at,
                offset: offset.filter(|_| receiver.durable.is_some() && qos > QoS::AtMostOnce),
                share: None,
            };
            if receiver.queue.push(delivery, received_at) {
                self.note_pressed(&receiver.queue);
            }
        }
        match chosen {
            Some(chosen) => chosen.iter().for_each(|chosen| {
                self.deliver_shared(chosen, &mut outgoing, received_at, offset);
            }),
            None => receivers.groups.iter().for_each(|group| {
                if let Some(chosen) = group.choose(&outgoing.message, None, received_at) {
                    self.deliver_shared(&chosen, &mut outgoing, received_at, offset);
                }
            }),
        }
    }

    fn deliver_shared(
        &mut self,
        chosen: &Chosen,
        outgoing: &mut Outgoing,
        received_at: Instant,
        offset: Option<u64>,
    ) {
        if chosen.deliver(outgoing.for_queue(chosen.queue()), received_at, offset) {
            self.note_pressed(chosen.queue());
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
        let now = Instant::now();
        batch.iter().enumerate().find_map(|(index, message)| {
            let receivers = self.receivers_of(&message.topic_name);
            let pressed = receivers.sessions.iter().find(|receiver| receiver.queue.is_pressed());
            let queue = match pressed {
                Some(receiver) => receiver.queue.clone(),
                None => receivers.groups.iter().find_map(|group| group.held_up_by(message, now))?,
            };
            Some((index, queue))
        })
    }

    fn forget_receivers(&mut self) {
        self.receivers.clear();
        self.receivers_bytes = 0;
    }

    /// Everyone who gets a topic's messages.
    pub fn receivers_of(&mut self, topic_name: &TopicName) -> Arc<Receivers> {
        if let Some(receivers) = self.receivers.get(topic_name) {
            return receivers.clone();
        }
        let mut found = Receivers::default();
        let subscribers = &self.subscribers;
        self.trie.for_each_match(topic_name, |session_id, Subscription { options, identifier }| {
            let known = found.sessions.iter_mut().find(|receiver| receiver.session_id == *session_id);
            if let Some(receiver) = known {
                receiver.add(options, *identifier);
            } else if let Some(subscriber) = subscribers.get(session_id) {
                let Subscriber { queue, durable, .. } = subscriber;
                let receiver = Receiver::new(*session_id, queue.clone(), *durable, options, *identifier);
                found.sessions.push(receiver);
            }
        });
        if !self.shared.is_empty() {
            self.shared.for_each_match(topic_name, |_, group| found.groups.push(group.clone()));
        }
        let receivers = Arc::new(found);
        if topic_name.as_str().len() > limits::CACHED_TOPIC_BYTES_MAX {
            return receivers;
        }
        let bytes = receivers.bytes() + limits::CACHED_TOPIC_BYTES_MAX;
        if self.receivers.len() >= limits::ROUTE_CACHE_ENTRIES
            || self.receivers_bytes + bytes > limits::ROUTE_CACHE_BYTES
        {
            self.forget_receivers();
        }
        self.receivers_bytes += bytes;
        // A copy of its own: the name is a slice of a whole read buffer.
        self.receivers.insert(topic_name.detached(), receivers.clone());
        receivers
    }
}

#[cfg(test)]
mod tests;
