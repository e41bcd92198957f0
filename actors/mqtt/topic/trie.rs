//! Which subscriptions match a Topic Name.

use std::collections::BTreeMap;

use super::{TopicFilter, TopicName, filter};

/// A set of subscriptions: (Topic Filter, subscriber) to the options of the subscription.
#[derive(Debug, Clone)]
pub struct FilterTrie<K, V> {
    all: BTreeMap<(String, K), V>,
}

impl<K: Copy + Ord, V> FilterTrie<K, V> {
    /// An empty set.
    pub fn new() -> FilterTrie<K, V> {
        FilterTrie { all: BTreeMap::new() }
    }

    /// Adds a subscription; returns the options that it replaces, if the subscriber has the filter already
    /// `[MQTT-3.8.4-3]`. A filter with a share name is stored by the part behind it.
    pub fn insert(&mut self, filter: &TopicFilter, key: K, value: V) -> Option<V> {
        self.all.insert((filter.pattern().to_owned(), key), value)
    }

    /// Takes a subscription away and returns its options.
    pub fn remove(&mut self, filter: &TopicFilter, key: K) -> Option<V> {
        self.all.remove(&(filter.pattern().to_owned(), key))
    }

    /// The number of subscriptions.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits every subscription that matches; a subscriber once for each of its filters that matches.
    pub fn for_each_match(&self, topic: &TopicName, visit: impl FnMut(&K, &V)) {
        self.for_each_match_str(topic.as_str(), visit);
    }

    /// The same for a text that is known to be a Topic Name.
    pub fn for_each_match_str(&self, topic: &str, mut visit: impl FnMut(&K, &V)) {
        for ((pattern, key), value) in &self.all {
            if filter::matches(pattern, topic) {
                visit(key, value);
            }
        }
    }
}

impl<K: Copy + Ord, V> Default for FilterTrie<K, V> {
    fn default() -> FilterTrie<K, V> {
        FilterTrie::new()
    }
}
