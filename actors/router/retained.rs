//! Retained messages: what a new subscriber gets, a batch at a time, so that neither the Router nor memory pays for
//! one that asks for everything.

mod kept;

use std::time::{Duration, Instant};

use mqtt::packet::{RetainHandling, SubscriptionOptions};
use mqtt::{Message, TopicFilter, TopicName};

use crate::limits;
use crate::messages::{Delivery, RetainedSearch};
use crate::store::StoredRetained;
use crate::timestamp::age;
use kept::{Entry, Kept, content_bytes};

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub struct RetainedLimits {
    /// Messages.
    pub messages_max: usize,
    /// Bytes of their topics, properties and payloads.
    pub bytes_max: usize,
}

/// The last retained message of each topic. What the proxy says of itself below `$SYS` lies apart: it does not count,
/// and takes nobody's place.
pub struct Retained {
    clients: Kept,
    system: Kept,
    limits: RetainedLimits,
    /// Topics that the store on disk may still have a message of.
    forgotten: Vec<TopicName>,
    /// Said once, when something is not kept for the first time.
    full_logged: bool,
}

/// How much one question to the Router may take.
pub struct SearchBudget {
    messages: usize,
    bytes: usize,
    /// Entries and places of the tree that are looked at.
    steps: usize,
}

impl SearchBudget {
    /// That of one batch.
    pub fn of_batch() -> SearchBudget {
        SearchBudget {
            messages: limits::RETAINED_BATCH_MESSAGES,
            bytes: limits::RETAINED_BATCH_BYTES,
            steps: limits::RETAINED_BATCH_STEPS,
        }
    }

    /// Whether nothing more may be looked at.
    fn is_spent(&self) -> bool {
        self.messages == 0 || self.bytes == 0 || self.steps == 0
    }

    /// Takes a message; the last one may be longer than what is left.
    fn take(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes.max(1));
    }
}

impl Retained {
    /// An empty store.
    pub fn new(limits: RetainedLimits) -> Retained {
        Retained {
            clients: Kept::new(),
            system: Kept::new(),
            limits,
            forgotten: Vec::new(),
            full_logged: false,
        }
    }

    /// How many there are, without those below `$SYS`.
    pub fn len(&self) -> usize {
        self.clients.store.len()
    }

    /// Bytes of their topics, properties and payloads.
    pub fn bytes(&self) -> usize {
        self.clients.bytes
    }

    /// Keeps what was kept before a restart, if it has not expired since and there still is room.
    pub fn restore(&mut self, mut stored: Vec<StoredRetained>, now_micros: u64) {
        let now = Instant::now();
        stored.sort_by_key(|stored| stored.received_at_micros);
        for StoredRetained { message, received_at_micros } in stored {
            if message.topic_name.is_sys() {
                continue;
            }
            let age = age(received_at_micros, now_micros);
            let expiry = message.properties.message_expiry_interval();
            if expiry.is_none_or(|secs| age < Duration::from_secs(secs.into())) {
                self.set(&message, now.checked_sub(age).unwrap_or(now));
            } else {
                self.forgotten.push(message.topic_name);
            }
        }
    }

    /// Whether a message with RETAIN set can be kept as the last one of its topic.
    pub fn has_room_for(&mut self, message: &Message, now: Instant) -> bool {
        if self.fits(message) {
            return true;
        }
        // What has expired gives way first.
        self.sweep(now);
        self.fits(message)
    }

    fn fits(&self, message: &Message) -> bool {
        if message.payload.is_empty() || message.topic_name.is_sys() {
            return true;
        }
        let kept = &self.clients;
        let present = kept.store.get(&message.topic_name).map_or(0, |entry| content_bytes(&entry.message));
        let has_place = present > 0 || kept.store.len() < self.limits.messages_max;
        has_place && kept.bytes - present + content_bytes(message) <= self.limits.bytes_max
    }

    /// Keeps a message with RETAIN set `[MQTT-3.3.1-5]`; an empty payload removes what was kept `[MQTT-3.3.1-6]`. One that
    /// has no room is not kept, and neither is what it replaces: an old message is no last one. Answers whether the
    /// message was kept.
    pub fn set(&mut self, message: &Message, now: Instant) -> bool {
        let is_sys = message.topic_name.is_sys();
        let has_room = self.has_room_for(message, now);
        let kept = if is_sys { &mut self.system } else { &mut self.clients };
        kept.remove(&message.topic_name);
        if message.payload.is_empty() {
            return true;
        }
        if !has_room {
            if !self.full_logged {
                log::warn!(
                    "{} retained messages of {} bytes: there is no room for more",
                    kept.store.len(),
                    kept.bytes
                );
                self.full_logged = true;
            }
            self.forgotten.push(message.topic_name.detached());
            return false;
        }
        kept.add(message, now);
        true
    }

    /// Lets go of messages that have expired: some of them, where they are many.
    pub fn sweep(&mut self, now: Instant) {
        for _ in 0..limits::RETAINED_SWEEP_MESSAGES {
            let Some(topic_name) = self.clients.remove_expired(now) else { return };
            self.forgotten.push(topic_name);
        }
    }

    /// Topics whose message is to be forgotten on disk too, since the last time.
    pub fn take_forgotten(&mut self) -> Vec<TopicName> {
        let mut forgotten = std::mem::take(&mut self.forgotten);
        // What came later on the same topic stays.
        forgotten.retain(|topic_name| self.clients.store.get(topic_name).is_none());
        forgotten
    }

    /// What a subscription asks for `[MQTT-3.3.1-9]`, as it is now; `None` where it asks for nothing.
    pub fn search_for(
        &self,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        identifier: Option<u32>,
        is_new: bool,
    ) -> Option<RetainedSearch> {
        let is_wanted = match options.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendAtNewSubscribe => is_new,
            RetainHandling::DoNotSend => false,
        };
        let kept = self.kept_for(filter);
        let (from, to) = (0, kept.next_version);
        let search = RetainedSearch { filter: filter.clone(), qos: options.qos, identifier, from, to };
        (is_wanted && !kept.store.is_empty()).then_some(search)
    }

    /// Where the messages are that a filter matches: one for `$SYS` matches no others, and no other matches those.
    fn kept_for(&self, filter: &TopicFilter) -> &Kept {
        if filter.is_sys() { &self.system } else { &self.clients }
    }

    /// Goes on with a search as far as the budget goes; answers with what is left of it. What came after the subscription
    /// is not found: it is delivered as any message is.
    pub fn search(
        &self,
        search: RetainedSearch,
        budget: &mut SearchBudget,
        now: Instant,
        deliveries: &mut Vec<Delivery>,
    ) -> Option<RetainedSearch> {
        if budget.is_spent() {
            return Some(search);
        }
        let kept = self.kept_for(&search.filter);
        if search.from == 0 {
            let (found_before, messages, bytes) = (deliveries.len(), budget.messages, budget.bytes);
            let mut steps = budget.steps;
            let is_done = kept.store.for_each_match_within(&search.filter, &mut steps, |_, entry| {
                let has_room = !budget.is_spent();
                if has_room {
                    search.take(entry, budget, now, deliveries);
                }
                has_room
            });
            budget.steps = steps;
            if is_done {
                return None;
            }
            // Too much for one batch, or for the steps: from the start, in an order that can be taken up again.
            deliveries.truncate(found_before);
            (budget.messages, budget.bytes) = (messages, bytes);
            budget.steps = budget.steps.max(1);
        }
        for (version, entry) in kept.by_version.range(search.from..search.to) {
            if budget.is_spent() {
                return Some(RetainedSearch { from: *version, ..search });
            }
            budget.steps -= 1;
            if search.filter.matches(&entry.message.topic_name) {
                search.take(entry, budget, now, deliveries);
            }
        }
        None
    }
}

impl RetainedSearch {
    /// Adds an entry that matches to what was found, unless it is too new or too old.
    fn take(&self, entry: &Entry, budget: &mut SearchBudget, now: Instant, deliveries: &mut Vec<Delivery>) {
        if entry.version >= self.to || entry.expires_at.is_some_and(|at| at <= now) {
            return;
        }
        budget.take(content_bytes(&entry.message));
        deliveries.push(Delivery {
            qos: entry.message.qos.min(self.qos),
            message: entry.message.clone(),
            retain: true,
            subscription_identifiers: self.identifier.into_iter().collect(),
            received_at: entry.received_at,
            offset: None,
            share: None,
        });
    }
}

#[cfg(test)]
mod tests;
