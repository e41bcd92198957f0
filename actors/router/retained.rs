//! Retained messages: what a new subscriber gets at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt::packet::{RetainHandling, SubscriptionOptions};
use mqtt::retained::RetainedStore;
use mqtt::{Message, TopicFilter};

use crate::messages::Delivery;
use crate::store::StoredRetained;
use crate::timestamp::age;

/// The last retained message of each topic. What the proxy says of itself below `$SYS` lies apart: it does not count,
/// and takes nobody's place.
pub struct Retained {
    store: RetainedStore<Entry>,
    system: RetainedStore<Entry>,
    messages_max: usize,
    /// Said once, when the store is full for the first time.
    full_logged: bool,
}

struct Entry {
    message: Arc<Message>,
    received_at: Instant,
    expires_at: Option<Instant>,
}

impl Retained {
    /// An empty store for at most `messages_max` messages.
    pub fn new(messages_max: usize) -> Retained {
        Retained {
            store: RetainedStore::new(),
            system: RetainedStore::new(),
            messages_max,
            full_logged: false,
        }
    }

    /// How many there are, without those below `$SYS`.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Keeps what was kept before a restart, if it has not expired since.
    pub fn restore(&mut self, stored: Vec<StoredRetained>, now_micros: u64) {
        let now = Instant::now();
        for StoredRetained { message, received_at_micros } in stored {
            if message.topic_name.is_sys() {
                continue;
            }
            let age = age(received_at_micros, now_micros);
            let expiry = message.properties.message_expiry_interval();
            if expiry.is_none_or(|secs| age < Duration::from_secs(secs.into())) {
                self.set(&message, now.checked_sub(age).unwrap_or(now));
            }
        }
    }

    /// Keeps a message with RETAIN set `[MQTT-3.3.1-5]`; an empty payload removes what was kept
    /// `[MQTT-3.3.1-6]`. A full store keeps the topics that it has.
    pub fn set(&mut self, message: &Message, now: Instant) {
        let is_sys = message.topic_name.is_sys();
        let store = if is_sys { &mut self.system } else { &mut self.store };
        if message.payload.is_empty() {
            store.remove(&message.topic_name);
            return;
        }
        if !is_sys && store.len() >= self.messages_max && store.get(&message.topic_name).is_none() {
            if !self.full_logged {
                log::warn!("{} retained messages, no more are kept on new topics", self.messages_max);
                self.full_logged = true;
            }
            return;
        }
        let expiry = message.properties.message_expiry_interval();
        let expires_at = expiry.and_then(|secs| now.checked_add(Duration::from_secs(secs.into())));
        let message = Arc::new(message.detached());
        store.set(message.topic_name.clone(), Entry { message, received_at: now, expires_at });
    }

    /// Collects what a subscription asks for `[MQTT-3.3.1-9]`.
    pub fn collect(
        &mut self,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        identifier: Option<u32>,
        is_new: bool,
        now: Instant,
        deliveries: &mut Vec<Delivery>,
    ) {
        let wanted = match options.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendAtNewSubscribe => is_new,
            RetainHandling::DoNotSend => false,
        };
        if !wanted {
            return;
        }
        let store = if filter.is_sys() { &mut self.system } else { &mut self.store };
        let mut expired = Vec::new();
        store.for_each_match(filter, |topic_name, entry| {
            if entry.expires_at.is_some_and(|at| at <= now) {
                expired.push(topic_name.clone());
                return;
            }
            deliveries.push(Delivery {
                qos: entry.message.qos.min(options.qos),
                message: entry.message.clone(),
                retain: true,
                subscription_identifiers: identifier.into_iter().collect(),
                received_at: entry.received_at,
                offset: None,
                share: None,
            });
        });
        for topic_name in expired {
            store.remove(&topic_name);
        }
    }
}
