//! What becomes of messages that a bidirectional broker publishes: which are taken, under which topics, and what is
//! changed about them. Pure.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use mqtt::packet::Publish;
use mqtt::property::{PropertiesBuilder, PropertyId};
use mqtt::{Message, Properties, TopicFilter, TopicName};

use super::forwarding::{payload_bytes_max, user_properties, with_mapped_response_topic};
use crate::broker::{RetainPolicy, UpstreamSubscription};
use crate::limits;
use crate::topic_mapping::{TopicMapping, Unmappable};

/// A subscription's rule, ready for use.
pub struct Incoming {
    exclude: Vec<TopicFilter>,
    mapping: TopicMapping,
    /// Nothing is excluded or mapped: no topic has to be looked up.
    is_open: bool,
    retain: RetainPolicy,
    /// The User Properties that each message gets.
    added: Properties,
    payload_bytes_max: usize,
    /// The topics here, for topics there that were asked before.
    answers: HashMap<TopicName, Result<TopicName, LeftOut>, RandomState>,
}

/// Why a message of a broker is not taken. It is acknowledged all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// A filter matches that excludes.
    Excluded,
    /// Its payload is longer than the definition allows.
    PayloadTooLarge,
    /// The definition maps its topic to none that there can be.
    Unmappable(Unmappable),
    /// Its topic here would be `$SYS` or below, which is the proxy's own.
    Reserved,
    /// The broker sends back what we sent there.
    Echo,
    /// It was here already, and came round through others.
    Loop,
}

impl LeftOut {
    /// The labels of all reasons.
    pub const LABELS: [&str; 6] = ["excluded", "payload_too_large", "unmappable", "reserved", "echo", "loop"];

    /// The label in metrics and the key in the API.
    pub const fn as_str(self) -> &'static str {
        LeftOut::LABELS[self.index()]
    }

    /// The place of the label.
    pub const fn index(self) -> usize {
        match self {
            LeftOut::Excluded => 0,
            LeftOut::PayloadTooLarge => 1,
            LeftOut::Unmappable(_) => 2,
            LeftOut::Reserved => 3,
            LeftOut::Echo => 4,
            LeftOut::Loop => 5,
        }
    }
}

impl Incoming {
    /// As a definition says.
    pub fn new(subscription: &UpstreamSubscription) -> Incoming {
        Incoming {
            exclude: subscription.exclude.clone(),
            mapping: subscription.mapping.clone(),
            is_open: subscription.exclude.is_empty() && subscription.mapping.is_identity(),
            retain: subscription.retain,
            added: user_properties(&subscription.user_properties),
            payload_bytes_max: payload_bytes_max(subscription.max_payload_bytes),
            answers: HashMap::default(),
        }
    }

    /// The topic here of a message with this topic there.
    ///
    /// # Errors
    /// Where it is not taken.
    pub fn admit(&mut self, topic_name: TopicName, payload_len: usize) -> Result<TopicName, LeftOut> {
        let topic_name = if self.is_open { topic_name } else { self.topic_here(topic_name)? };
        if topic_name.is_sys() {
            return Err(LeftOut::Reserved);
        }
        if payload_len > self.payload_bytes_max {
            return Err(LeftOut::PayloadTooLarge);
        }
        Ok(topic_name)
    }

    /// The message under its topic here.
    pub fn message(&self, topic_name: TopicName, publish: Publish) -> Message {
        let per_connection = |id| matches!(id, PropertyId::SubscriptionIdentifier | PropertyId::TopicAlias);
        let mut properties = publish.properties.without(per_connection);
        if !self.mapping.is_identity() {
            properties = with_mapped_response_topic(properties, &self.mapping);
        }
        Message {
            topic_name,
            qos: publish.qos,
            retain: self.retain(publish.retain),
            properties: with_added(properties, &self.added),
            payload: publish.payload,
        }
    }

    /// The RETAIN flag here.
    pub fn retain(&self, retain: bool) -> bool {
        self.retain.apply(retain)
    }

    fn topic_here(&mut self, topic_there: TopicName) -> Result<TopicName, LeftOut> {
        if let Some(answer) = self.answers.get(&topic_there) {
            return answer.clone();
        }
        let answer = match self.exclude.iter().any(|filter| filter.matches(&topic_there)) {
            true => Err(LeftOut::Excluded),
            false => self.mapped(&topic_there),
        };
        if self.answers.len() >= limits::TOPIC_CACHE_ENTRIES {
            self.answers.clear();
        }
        let is_short = |name: &TopicName| name.as_str().len() <= limits::CACHED_TOPIC_BYTES_MAX;
        if is_short(&topic_there) && answer.as_ref().map_or(true, is_short) {
            self.answers.insert(topic_there.detached(), answer.clone());
        }
        answer
    }

    fn mapped(&self, topic_there: &TopicName) -> Result<TopicName, LeftOut> {
        match self.mapping.map(topic_there.as_str()) {
            Err(problem) => Err(LeftOut::Unmappable(problem)),
            Ok(Cow::Borrowed(same)) if same.len() == topic_there.as_str().len() => Ok(topic_there.detached()),
            Ok(other) => {
                TopicName::new(other.into_owned()).map_err(|_| LeftOut::Unmappable(Unmappable::NotATopicName))
            }
        }
    }
}

/// The properties with others behind them.
fn with_added(properties: Properties, added: &Properties) -> Properties {
    if added.is_empty() {
        return properties;
    }
    if properties.is_empty() {
        return added.clone();
    }
    let mut builder = PropertiesBuilder::from_block(&properties);
    builder.append(added);
    builder.build()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mqtt::{Property, QoS};

    use super::*;

    fn incoming(change: impl FnOnce(&mut UpstreamSubscription)) -> Incoming {
        let mut subscription = UpstreamSubscription::default();
        change(&mut subscription);
        Incoming::new(&subscription)
    }

    fn admit(incoming: &mut Incoming, topic: &str) -> Result<String, LeftOut> {
        let topic_name = TopicName::new(topic.to_owned()).unwrap();
        incoming.admit(topic_name, 10).map(|topic_name| topic_name.as_str().to_owned())
    }

    #[test]
    fn everything_but_the_proxys_own_tree_comes_in_as_it_is() {
        let mut incoming = incoming(|_| {});
        assert_eq!(admit(&mut incoming, "a/b"), Ok("a/b".to_owned()));
        assert_eq!(admit(&mut incoming, "$SYS/broker/uptime"), Err(LeftOut::Reserved));
    }

    #[test]
    fn filters_see_the_topic_there_and_the_mapped_one_comes_in() {
        let mut incoming = incoming(|subscription| {
            subscription.exclude = vec![TopicFilter::new("site/x/#").unwrap()];
            subscription.mapping.strip = Some("site/".to_owned());
        });
        for _ in 0..2 {
            assert_eq!(admit(&mut incoming, "site/a"), Ok("a".to_owned()));
            assert_eq!(admit(&mut incoming, "site/x/y"), Err(LeftOut::Excluded));
            assert_eq!(admit(&mut incoming, "x/y"), Ok("x/y".to_owned()));
            assert_eq!(admit(&mut incoming, "site/$SYS/x"), Err(LeftOut::Reserved));
            assert_eq!(admit(&mut incoming, "site/"), Err(LeftOut::Unmappable(Unmappable::Empty)));
        }
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let mut exactly = incoming(|subscription| subscription.max_payload_bytes = Some(10));
        assert_eq!(admit(&mut exactly, "a"), Ok("a".to_owned()));
        let mut less = incoming(|subscription| subscription.max_payload_bytes = Some(9));
        assert_eq!(admit(&mut less, "a"), Err(LeftOut::PayloadTooLarge));
    }

    #[test]
    fn each_reason_has_its_label() {
        let reasons = [
            LeftOut::Excluded,
            LeftOut::PayloadTooLarge,
            LeftOut::Unmappable(Unmappable::Empty),
            LeftOut::Reserved,
            LeftOut::Echo,
            LeftOut::Loop,
        ];
        assert_eq!(reasons.map(LeftOut::as_str), LeftOut::LABELS);
    }

    #[test]
    fn a_request_of_the_broker_is_answered_where_the_answer_finds_its_way() {
        let incoming = incoming(|subscription| subscription.mapping.strip = Some("site/".to_owned()));
        for (there, here) in [("site/answers", "answers"), ("answers", "answers"), ("site/", "site/")] {
            let properties = Properties::default().with(Property::ResponseTopic(there.into()));
            let publish = Publish { properties, ..published() };
            let message = incoming.message(TopicName::new("a").unwrap(), publish);
            assert_eq!(message.properties.response_topic().as_deref(), Some(here));
        }
    }

    fn published() -> Publish {
        Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic_name: None,
            packet_id: None,
            properties: Properties::default(),
            payload: Bytes::new(),
        }
    }

    #[test]
    fn retain_and_user_properties_go_by_the_definition() {
        let incoming = incoming(|subscription| {
            subscription.retain = RetainPolicy::Set;
            subscription.user_properties = vec![("via".to_owned(), "plant".to_owned())];
        });
        let topic_name = TopicName::new("a").unwrap();
        let own = [Property::ContentType("x".into()), Property::SubscriptionIdentifier(7)];
        for (properties, wanted) in [(&own[..], 2), (&[], 1)] {
            let properties = properties.iter().fold(Properties::default(), |all, one| all.with(one.clone()));
            let publish = Publish { properties, ..published() };
            let message = incoming.message(topic_name.clone(), publish);
            assert!(message.retain);
            let arrived: Vec<Property> = message.properties.iter().collect();
            assert_eq!(arrived.len(), wanted);
            assert_eq!(arrived.last(), Some(&Property::UserProperty("via".into(), "plant".into())));
        }
    }
}
