//! Retained messages in the three orders in which they are asked for: by topic, by when they came, and by when they expire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt::retained::RetainedStore;
use mqtt::{Message, TopicName};

/// The last retained message of each topic.
pub(super) struct Kept {
    pub store: RetainedStore<Arc<Entry>>,
    /// The same entries in the order in which they came: a search that is interrupted goes on from its place there.
    pub by_version: BTreeMap<u64, Arc<Entry>>,
    /// When entries expire, where they do.
    expiries: BTreeSet<(Instant, u64)>,
    /// That of the next entry.
    pub next_version: u64,
    /// Of all entries.
    pub bytes: usize,
}

/// A retained message.
pub(super) struct Entry {
    pub message: Arc<Message>,
    pub received_at: Instant,
    pub expires_at: Option<Instant>,
    /// Later ones have higher versions.
    pub version: u64,
}

impl Kept {
    pub fn new() -> Kept {
        Kept {
            store: RetainedStore::new(),
            by_version: BTreeMap::new(),
            expiries: BTreeSet::new(),
            next_version: 1,
            bytes: 0,
        }
    }

    /// Adds a message on a topic that has none.
    pub fn add(&mut self, message: &Message, now: Instant) {
        let expiry = message.properties.message_expiry_interval();
        let expires_at = expiry.and_then(|secs| now.checked_add(Duration::from_secs(secs.into())));
        let version = self.next_version;
        self.next_version += 1;
        let message = Arc::new(message.detached());
        self.bytes += content_bytes(&message);
        self.expiries.extend(expires_at.map(|at| (at, version)));
        let entry = Arc::new(Entry { message, received_at: now, expires_at, version });
        self.by_version.insert(version, entry.clone());
        self.store.set(entry.message.topic_name.clone(), entry);
    }

    /// Lets go of the message of a topic, if there is one.
    pub fn remove(&mut self, topic_name: &TopicName) {
        let Some(entry) = self.store.remove(topic_name) else { return };
        self.bytes -= content_bytes(&entry.message);
        self.by_version.remove(&entry.version);
        if let Some(at) = entry.expires_at {
            self.expiries.remove(&(at, entry.version));
        }
    }

    /// How many messages expire some time.
    #[cfg(test)]
    pub fn expiries_len(&self) -> usize {
        self.expiries.len()
    }

    /// Lets go of a message that has expired; answers with its topic.
    pub fn remove_expired(&mut self, now: Instant) -> Option<TopicName> {
        let (_, version) = self.expiries.first().copied().filter(|(at, _)| *at <= now)?;
        let topic_name = self.by_version.get(&version)?.message.topic_name.clone();
        self.remove(&topic_name);
        Some(topic_name)
    }
}

/// What a message counts.
pub(super) fn content_bytes(message: &Message) -> usize {
    message.topic_name.as_str().len() + message.properties.as_bytes().len() + message.payload.len()
}
