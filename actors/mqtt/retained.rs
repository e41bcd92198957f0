//! Retained messages: the last one of each topic.

use std::collections::BTreeMap;

use crate::{TopicFilter, TopicName};

/// The retained message of each Topic Name `[MQTT-3.3.1-5]`; `T` is what the owner keeps of it.
#[derive(Debug, Clone)]
pub struct RetainedStore<T> {
    all: BTreeMap<TopicName, T>,
}

impl<T> RetainedStore<T> {
    /// An empty store.
    pub fn new() -> RetainedStore<T> {
        RetainedStore { all: BTreeMap::new() }
    }

    /// Keeps a value as the last one of its topic; returns the one that it replaces.
    pub fn set(&mut self, topic: TopicName, value: T) -> Option<T> {
        self.all.insert(topic, value)
    }

    /// Takes the value of a topic away `[MQTT-3.3.1-6]`.
    pub fn remove(&mut self, topic: &TopicName) -> Option<T> {
        self.all.remove(topic)
    }

    /// The value of a topic.
    pub fn get(&self, topic: &TopicName) -> Option<&T> {
        self.all.get(topic)
    }

    /// The number of topics that have a value.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether no topic has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits every topic that matches, in no particular order.
    pub fn for_each_match(&self, filter: &TopicFilter, mut visit: impl FnMut(&TopicName, &T)) {
        for (topic, value) in &self.all {
            if filter.matches(topic) {
                visit(topic, value);
            }
        }
    }
}

impl<T> Default for RetainedStore<T> {
    fn default() -> RetainedStore<T> {
        RetainedStore::new()
    }
}
