//! Which records go to a broker.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use mqtt::{TopicFilter, TopicName};

use crate::broker::{Broker, ForwardRule, UpstreamSubscription};
use crate::limits;
use crate::message_log::Record;
use crate::start_position::StartPosition;
use crate::{BrokerId, Origin};

/// A broker's topic filters with the answers that they gave. No filter at all means every topic but those that
/// start with `$`, like the filter `#`.
pub struct RecordFilter {
    id: BrokerId,
    /// What was received earlier is left out, in microseconds since the Unix epoch.
    not_before_micros: u64,
    topics: Vec<TopicFilter>,
    answers: HashMap<Box<[u8]>, bool, RandomState>,
}

impl RecordFilter {
    /// The filter of a broker by its definition: one that begins at a time gets nothing older.
    pub fn of(broker: &Broker) -> RecordFilter {
        let not_before_micros = match broker.backlog.start_at {
            StartPosition::Time(at_micros) => at_micros,
            _ => 0,
        };
        RecordFilter { not_before_micros, ..RecordFilter::new(broker.id, &broker.rule) }
    }

    /// A filter by topics alone.
    pub fn new(id: BrokerId, rule: &ForwardRule) -> RecordFilter {
        RecordFilter { id, not_before_micros: 0, topics: rule.topics.clone(), answers: HashMap::default() }
    }

    /// A filter for what a broker is asked for.
    pub fn of_subscription(id: BrokerId, subscription: &UpstreamSubscription) -> RecordFilter {
        RecordFilter {
            id,
            not_before_micros: 0,
            topics: subscription.topics.clone(),
            answers: HashMap::default(),
        }
    }

    /// Whose filter it is.
    pub fn broker(&self) -> BrokerId {
        self.id
    }

    /// Whether the record goes to the broker: never back to where it came from.
    pub fn wants(&mut self, record: &Record<'_>) -> bool {
        !record.is_state
            && record.received_at_micros >= self.not_before_micros
            && record.origin != Origin::Upstream(self.id)
            && self.wants_topic(record.topic_name)
    }

    /// Whether one of the filters matches the topic.
    pub fn wants_topic(&mut self, topic_name: &[u8]) -> bool {
        if self.topics.is_empty() {
            return topic_name.first() != Some(&b'$');
        }
        if let Some(answer) = self.answers.get(topic_name) {
            return *answer;
        }
        let answer = matches_any(&self.topics, topic_name);
        if self.answers.len() >= limits::TOPIC_CACHE_ENTRIES {
            self.answers.clear();
        }
        if topic_name.len() <= limits::CACHED_TOPIC_BYTES_MAX {
            self.answers.insert(topic_name.into(), answer);
        }
        answer
    }
}

/// Whether one of the filters matches.
fn matches_any(filters: &[TopicFilter], topic_name: &[u8]) -> bool {
    let text = bytestring::ByteString::try_from(topic_name.to_vec());
    let Some(topic_name) = text.ok().and_then(|text| TopicName::new(text).ok()) else { return false };
    filters.iter().any(|filter| filter.matches(&topic_name))
}

/// Whether a rule wants a topic, for who asks rarely.
pub fn rule_wants(rule: &ForwardRule, topic_name: &TopicName) -> bool {
    match rule.topics.is_empty() {
        true => !topic_name.is_dollar(),
        false => rule.topics.iter().any(|filter| filter.matches(topic_name)),
    }
}

#[cfg(test)]
mod tests {
    use mqtt::QoS;
    use uuid::Uuid;

    use super::*;

    fn record(topic: &str, origin: Origin) -> Record<'_> {
        Record {
            offset: 0,
            is_state: false,
            annex: &[],
            qos: QoS::AtMostOnce,
            retain: false,
            origin,
            received_at_micros: 0,
            topic_name: topic.as_bytes(),
            properties: &[],
            payload: &[],
        }
    }

    fn filter(topics: &[&str]) -> RecordFilter {
        let topics = topics.iter().map(|topic| TopicFilter::new(*topic).unwrap()).collect();
        RecordFilter::new(BrokerId(Uuid::from_u128(1)), &ForwardRule { topics, max_qos: None })
    }

    #[test]
    fn no_filter_means_everything_but_dollar_topics() {
        let mut filter = filter(&[]);
        assert!(filter.wants(&record("a/b", Origin::Device)));
        assert!(!filter.wants(&record("$SYS/x", Origin::Device)));
    }

    #[test]
    fn a_filter_gives_the_same_answer_again() {
        let mut filter = filter(&["a/#", "b/+"]);
        for _ in 0..2 {
            assert!(filter.wants(&record("a/x/y", Origin::Device)));
            assert!(filter.wants(&record("b/x", Origin::Device)));
            assert!(!filter.wants(&record("b/x/y", Origin::Device)));
        }
    }

    #[test]
    fn a_message_never_returns_to_its_broker() {
        let mut filter = filter(&[]);
        assert!(!filter.wants(&record("a", Origin::Upstream(BrokerId(Uuid::from_u128(1))))));
        assert!(filter.wants(&record("a", Origin::Upstream(BrokerId(Uuid::from_u128(2))))));
    }
}
