//! Which records go to a broker.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use mqtt::{TopicFilter, TopicName};

use super::scope::Scope;
use crate::broker::{Broker, ForwardRule, UpstreamSubscription};
use crate::limits;
use crate::message_log::Record;
use crate::start_position::StartPosition;
use crate::topic_mapping::{TopicMapping, Unmappable};
use crate::{BrokerId, Origin};

/// A broker's topic filters and mapping with the answers that they gave. No filter at all means every topic but those
/// that start with `$`, like the filter `#`.
pub struct RecordFilter {
    id: BrokerId,
    /// What was received earlier is left out, in microseconds since the Unix epoch.
    not_before_micros: u64,
    topics: Vec<TopicFilter>,
    scope: Scope,
    exclude: Vec<TopicFilter>,
    mapping: TopicMapping,
    /// Every topic but those that start with `$`, as it is: nothing has to be looked up.
    is_open: bool,
    answers: HashMap<Box<[u8]>, Answer, RandomState>,
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It goes to the broker, under this topic where the broker knows it by another one.
    Wanted(Option<Arc<str>>),
    /// It is none of the broker's business.
    Unwanted(Unwanted),
    /// The broker wants it, and there is no topic for it there.
    Unmappable(Unmappable),
}

/// Why a record is none of a broker's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// It is no message.
    State,
    /// It is older than what the broker was defined to get.
    TooOld,
    /// It came from the broker, or from another member of its group.
    Origin,
    /// Its topic goes to another member of the group.
    OtherPart,
    /// No filter matches.
    Filter,
    /// A filter matches that excludes.
    Excluded,
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
        RecordFilter {
            id,
            not_before_micros: 0,
            topics: rule.topics.clone(),
            scope: Scope::default(),
            exclude: rule.exclude.clone(),
            mapping: rule.mapping.clone(),
            is_open: rule_wants_all(rule) && rule.mapping.is_identity(),
            answers: HashMap::default(),
        }
    }

    /// The same for a member of a group.
    #[must_use]
    pub fn within(self, scope: &Scope) -> RecordFilter {
        RecordFilter { scope: scope.clone(), ..self }
    }

    /// What of the group's messages it lets through.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// A filter for what a broker is asked for: topics as they are there.
    pub fn of_subscription(id: BrokerId, subscription: &UpstreamSubscription) -> RecordFilter {
        RecordFilter::new(id, &ForwardRule { topics: subscription.topics.clone(), ..ForwardRule::default() })
    }

    /// Whose filter it is.
    pub fn broker(&self) -> BrokerId {
        self.id
    }

    /// Whether the record concerns the broker: never what came from there.
    pub fn wants(&mut self, record: &Record<'_>) -> bool {
        !matches!(self.answer(record), Answer::Unwanted(_))
    }

    /// What becomes of the record.
    pub fn answer(&mut self, record: &Record<'_>) -> Answer {
        if record.is_state {
            return Answer::Unwanted(Unwanted::State);
        }
        if record.received_at_micros < self.not_before_micros {
            return Answer::Unwanted(Unwanted::TooOld);
        }
        if record.origin == Origin::Upstream(self.id) {
            return Answer::Unwanted(Unwanted::Origin);
        }
        if let Some(unwanted) = self.scope.excludes(record.origin, record.topic_name) {
            return Answer::Unwanted(unwanted);
        }
        self.answer_for_topic(record.topic_name)
    }

    /// Whether one of the filters matches the topic, and none that excludes.
    pub fn wants_topic(&mut self, topic_name: &[u8]) -> bool {
        !matches!(self.answer_for_topic(topic_name), Answer::Unwanted(_))
    }

    /// The topic at the broker of what is on its way there, whatever the filters say by now; `None` where it is the
    /// same one.
    ///
    /// # Errors
    /// Where there is no topic for it by now.
    pub fn topic_there(&mut self, topic_name: &[u8]) -> Result<Option<Arc<str>>, Unmappable> {
        match self.answer_for_topic(topic_name) {
            Answer::Wanted(topic_there) => Ok(topic_there),
            Answer::Unmappable(problem) => Err(problem),
            Answer::Unwanted(_) => {
                std::str::from_utf8(topic_name).map_or(Ok(None), |name| mapped(&self.mapping, name))
            }
        }
    }

    #[inline]
    fn answer_for_topic(&mut self, topic_name: &[u8]) -> Answer {
        if self.is_open {
            return match topic_name.first() {
                Some(b'$') => Answer::Unwanted(Unwanted::Filter),
                _ => Answer::Wanted(None),
            };
        }
        if let Some(answer) = self.answers.get(topic_name) {
            return answer.clone();
        }
        self.find_answer(topic_name)
    }

    fn find_answer(&mut self, topic_name: &[u8]) -> Answer {
        let text = bytestring::ByteString::try_from(topic_name.to_vec());
        let Some(name) = text.ok().and_then(|text| TopicName::new(text).ok()) else {
            return Answer::Unwanted(Unwanted::Filter);
        };
        let answer = match judge(&self.topics, &self.exclude, &name) {
            Some(unwanted) => Answer::Unwanted(unwanted),
            None => match mapped(&self.mapping, name.as_str()) {
                Ok(topic_there) => Answer::Wanted(topic_there),
                Err(problem) => Answer::Unmappable(problem),
            },
        };
        if self.answers.len() >= limits::TOPIC_CACHE_ENTRIES {
            self.answers.clear();
        }
        let is_short = |length: usize| length <= limits::CACHED_TOPIC_BYTES_MAX;
        let is_kept = match &answer {
            Answer::Wanted(Some(topic_there)) => is_short(topic_there.len()),
            _ => true,
        };
        if is_kept && is_short(topic_name.len()) {
            self.answers.insert(topic_name.into(), answer.clone());
        }
        answer
    }
}

/// The topic on the other side; `None` where it is the same one.
fn mapped(mapping: &TopicMapping, topic_name: &str) -> Result<Option<Arc<str>>, Unmappable> {
    Ok(match mapping.map(topic_name)? {
        Cow::Borrowed(same) if same.len() == topic_name.len() => None,
        other => Some(Arc::from(&*other)),
    })
}

/// Why filters do not want a topic; `None` where they do.
fn judge(topics: &[TopicFilter], exclude: &[TopicFilter], topic_name: &TopicName) -> Option<Unwanted> {
    let is_asked_for = match topics.is_empty() {
        true => !topic_name.is_dollar(),
        false => topics.iter().any(|filter| filter.matches(topic_name)),
    };
    if !is_asked_for {
        return Some(Unwanted::Filter);
    }
    exclude.iter().any(|filter| filter.matches(topic_name)).then_some(Unwanted::Excluded)
}

/// Whether a rule wants a topic, for who asks rarely.
pub fn rule_wants(rule: &ForwardRule, topic_name: &TopicName) -> bool {
    judge(&rule.topics, &rule.exclude, topic_name).is_none()
}

/// Whether a rule wants every topic that does not start with `$`.
pub fn rule_wants_all(rule: &ForwardRule) -> bool {
    rule.topics.is_empty() && rule.exclude.is_empty()
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
        RecordFilter::new(BrokerId(Uuid::from_u128(1)), &ForwardRule { topics, ..ForwardRule::default() })
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

    fn rule(topics: &[&str], exclude: &[&str], mapping: TopicMapping) -> RecordFilter {
        let filters =
            |texts: &[&str]| texts.iter().map(|text| TopicFilter::new(text.to_string()).unwrap()).collect();
        let (topics, exclude) = (filters(topics), filters(exclude));
        let rule = ForwardRule { topics, exclude, mapping, ..ForwardRule::default() };
        RecordFilter::new(BrokerId(Uuid::from_u128(1)), &rule)
    }

    #[test]
    fn what_is_excluded_does_not_go_whatever_the_filters_say() {
        for topics in [&["a/#", "b"][..], &[], &["#"]] {
            let mut filter = rule(topics, &["a/secret/#", "+/x"], TopicMapping::default());
            for _ in 0..2 {
                let mut answer = |topic| filter.answer(&record(topic, Origin::Device));
                assert_eq!(answer("a/b"), Answer::Wanted(None));
                assert_eq!(answer("a/secret"), Answer::Unwanted(Unwanted::Excluded));
                assert_eq!(answer("a/x"), Answer::Unwanted(Unwanted::Excluded));
                assert_eq!(answer("$SYS/x"), Answer::Unwanted(Unwanted::Filter));
            }
            let rule = ForwardRule {
                topics: filter.topics.clone(),
                exclude: filter.exclude.clone(),
                ..ForwardRule::default()
            };
            for topic in ["a/b", "a/secret", "a/x", "$SYS/x", "b", "c"] {
                let name = TopicName::new(topic).unwrap();
                assert_eq!(rule_wants(&rule, &name), filter.wants_topic(topic.as_bytes()), "{topic}");
            }
            assert!(!rule_wants_all(&rule));
        }
    }

    #[test]
    fn filters_see_the_topic_here_and_the_answer_says_the_one_there() {
        let mapping = TopicMapping { add: Some("site/".to_owned()), ..TopicMapping::default() };
        let mut filter = rule(&["a/#"], &["a/x"], mapping);
        for _ in 0..2 {
            let mut answer = |topic| filter.answer(&record(topic, Origin::Device));
            assert_eq!(answer("a/b"), Answer::Wanted(Some("site/a/b".into())));
            assert_eq!(answer("site/a/b"), Answer::Unwanted(Unwanted::Filter));
            assert_eq!(answer("a/x"), Answer::Unwanted(Unwanted::Excluded));
        }
        // What is on its way goes on, whatever the filters say by now.
        assert_eq!(filter.topic_there(b"a/x"), Ok(Some("site/a/x".into())));
        assert_eq!(filter.topic_there(b"other"), Ok(Some("site/other".into())));
    }

    #[test]
    fn what_cannot_be_mapped_is_wanted_all_the_same() {
        let mapping = TopicMapping { strip: Some("a/".to_owned()), ..TopicMapping::default() };
        let mut filter = rule(&[], &[], mapping);
        for _ in 0..2 {
            assert_eq!(filter.answer(&record("a/", Origin::Device)), Answer::Unmappable(Unmappable::Empty));
            assert!(filter.wants(&record("a/", Origin::Device)));
            assert_eq!(filter.answer(&record("a/b", Origin::Device)), Answer::Wanted(Some("b".into())));
            assert_eq!(filter.answer(&record("b", Origin::Device)), Answer::Wanted(None));
        }
        assert_eq!(filter.topic_there(b"a/"), Err(Unmappable::Empty));
    }

    #[test]
    fn a_message_never_returns_to_its_broker() {
        let mut filter = filter(&[]);
        assert!(!filter.wants(&record("a", Origin::Upstream(BrokerId(Uuid::from_u128(1))))));
        assert!(filter.wants(&record("a", Origin::Upstream(BrokerId(Uuid::from_u128(2))))));
    }
}
