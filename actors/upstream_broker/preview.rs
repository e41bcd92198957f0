//! What would become of one message on its way to a broker, or from it: decided by the code that decides about the
//! messages themselves, and said in words.

use mqtt::{QoS, TopicFilter, TopicName};

use super::connect::Capabilities;
use super::drop_reason::DropReason;
use super::encoding::{Verdict, Wire, verdict};
use super::filter::{Answer, Unwanted};
use super::forwarding::Forwarding;
use super::incoming::{Incoming, LeftOut};
use crate::broker::{Broker, UpstreamSubscription};
use crate::message_log::Record;
use crate::preview::{Obstacle, Outcome, Sample};

/// What a broker would get of a record, apart from how its connection and its queue stand. `capabilities` are those of
/// its last connection, where there was one.
pub fn departure(
    broker: &Broker,
    capabilities: Option<Capabilities>,
    record: &Record<'_>,
    now_micros: u64,
) -> Outcome {
    let wire = Wire {
        version: broker.version,
        capabilities: capabilities.unwrap_or(Capabilities::unlimited(broker.keep_alive_secs)),
        stamper: None,
        proxy: None,
    };
    let mut forwarding = Forwarding::of(broker);
    let max_qos = broker.rule.max_qos.unwrap_or(QoS::ExactlyOnce);
    let verdict = verdict(&mut forwarding, max_qos, record, &wire, now_micros);
    let obstacle = match &verdict {
        Verdict::Send { .. } => None,
        Verdict::Skip(why) => Some(why.obstacle()),
        Verdict::Drop(why) => Some(why.obstacle()),
    };
    let detail = obstacle.map(|obstacle| {
        let why_not = WhyNot { broker, capabilities: &wire.capabilities, record };
        why_not.text(obstacle, &verdict, &mut forwarding)
    });
    let topic = String::from_utf8_lossy(record.topic_name);
    Outcome {
        id: broker.id,
        name: broker.name.clone(),
        is_draft: false,
        obstacle,
        detail: detail.unwrap_or_default(),
        topic: match forwarding.filter.topic_there(record.topic_name) {
            Err(_) => None,
            Ok(topic_there) => {
                Some(topic_there.map_or_else(|| topic.into_owned(), |topic| topic.to_string()))
            }
        },
        qos: match verdict {
            Verdict::Send { qos, .. } => qos,
            _ => record.qos.min(max_qos).min(wire.capabilities.maximum_qos),
        },
        retain: forwarding.retain(record, &wire),
    }
}

/// What would become of a message that the broker sends.
pub fn arrival(broker: &Broker, sample: &Sample) -> (Outcome, Option<TopicName>) {
    let mut outcome = Outcome {
        id: broker.id,
        name: broker.name.clone(),
        is_draft: false,
        obstacle: None,
        detail: String::new(),
        topic: None,
        qos: sample.qos,
        retain: sample.retain,
    };
    let Some(subscription) = &broker.subscription else {
        outcome.obstacle = Some(Obstacle::NotBidirectional);
        outcome.detail = "it is not asked for messages: bidirectional is false".to_owned();
        return (outcome, None);
    };
    let mut incoming = Incoming::new(subscription);
    outcome.qos = sample.qos.min(subscription.qos);
    outcome.retain = incoming.retain(sample.retain);
    if !subscription.topics.iter().any(|filter| filter.matches(&sample.topic_name)) {
        outcome.obstacle = Some(Obstacle::Filter);
        outcome.detail = format!("none of subscription_topics ({}) matches", listed(&subscription.topics));
        return (outcome, None);
    }
    match incoming.admit(sample.topic_name.clone(), sample.payload_bytes) {
        Ok(topic_name) => {
            outcome.topic = Some(topic_name.as_str().to_owned());
            outcome.detail = match topic_name == sample.topic_name {
                true => "comes in".to_owned(),
                false => format!("comes in as {topic_name}"),
            };
            (outcome, Some(topic_name))
        }
        Err(left_out) => {
            outcome.obstacle = Some(left_out.obstacle());
            outcome.detail = left_out.text(subscription, sample);
            (outcome, None)
        }
    }
}

impl Unwanted {
    fn obstacle(self) -> Obstacle {
        match self {
            // A sample is a message; a change of state never comes here.
            Unwanted::State | Unwanted::Filter => Obstacle::Filter,
            Unwanted::TooOld => Obstacle::TooOld,
            Unwanted::Origin => Obstacle::Origin,
            Unwanted::OtherPart => Obstacle::OtherMember,
            Unwanted::Excluded => Obstacle::Excluded,
        }
    }
}

impl DropReason {
    fn obstacle(self) -> Obstacle {
        match self {
            DropReason::Expired => Obstacle::Expired,
            DropReason::TooLarge | DropReason::PayloadTooLarge => Obstacle::TooLarge,
            DropReason::Unmappable | DropReason::Topic => Obstacle::Unmappable,
            // These come to pass later, and no verdict says them.
            DropReason::Overflow | DropReason::Refused | DropReason::Poison | DropReason::Hops => {
                Obstacle::QueueFull
            }
        }
    }
}

impl LeftOut {
    fn obstacle(self) -> Obstacle {
        match self {
            LeftOut::Excluded => Obstacle::Excluded,
            LeftOut::PayloadTooLarge => Obstacle::TooLarge,
            LeftOut::Unmappable(_) => Obstacle::Unmappable,
            LeftOut::Reserved => Obstacle::Reserved,
            // No sample carries where it came from.
            LeftOut::Echo | LeftOut::Loop => Obstacle::Origin,
        }
    }

    fn text(self, subscription: &UpstreamSubscription, sample: &Sample) -> String {
        match self {
            LeftOut::Excluded => {
                let filter = matching(&subscription.exclude, &sample.topic_name);
                format!("subscription_exclude_topics has {filter}")
            }
            LeftOut::PayloadTooLarge => {
                let limit = subscription.max_payload_bytes.unwrap_or(u32::MAX);
                let length = sample.payload_bytes;
                format!("the payload has {length} bytes, subscription_max_payload_bytes is {limit}")
            }
            LeftOut::Unmappable(problem) => problem.to_string(),
            LeftOut::Reserved => "$SYS and what is below is the proxy's own".to_owned(),
            LeftOut::Echo | LeftOut::Loop => "it came from the proxy".to_owned(),
        }
    }
}

/// Who says why a message does not go out.
struct WhyNot<'a> {
    broker: &'a Broker,
    capabilities: &'a Capabilities,
    record: &'a Record<'a>,
}

impl WhyNot<'_> {
    fn text(&self, obstacle: Obstacle, verdict: &Verdict, forwarding: &mut Forwarding) -> String {
        let WhyNot { broker, capabilities, record } = self;
        let rule = &broker.rule;
        match obstacle {
            Obstacle::Origin => "it came from this broker".to_owned(),
            Obstacle::OtherMember => "another member of its group gets it".to_owned(),
            Obstacle::TooOld => format!("it is older than start_at ({})", broker.backlog.start_at),
            Obstacle::Expired => "its Message Expiry Interval has passed".to_owned(),
            Obstacle::Excluded => {
                let text = bytestring::ByteString::try_from(record.topic_name.to_vec());
                let topic_name = text.ok().and_then(|text| TopicName::new(text).ok());
                let filter = topic_name.map(|topic_name| matching(&rule.exclude, &topic_name));
                format!("exclude_topics has {}", filter.unwrap_or_default())
            }
            Obstacle::Unmappable => match forwarding.filter.answer(record) {
                Answer::Unmappable(problem) => problem.to_string(),
                _ => String::new(),
            },
            Obstacle::TooLarge if matches!(verdict, Verdict::Drop(DropReason::PayloadTooLarge)) => {
                let (length, limit) = (record.payload.len(), rule.max_payload_bytes.unwrap_or(u32::MAX));
                format!("the payload has {length} bytes, max_payload_bytes is {limit}")
            }
            Obstacle::TooLarge => {
                let limit = capabilities.packet_bytes_max;
                format!("the packet would be longer than the {limit} bytes that the broker takes")
            }
            _ if rule.topics.is_empty() => {
                "topics is empty, which means all that do not start with $".to_owned()
            }
            _ => format!("none of topics ({}) matches", listed(&rule.topics)),
        }
    }
}

fn matching(filters: &[TopicFilter], topic_name: &TopicName) -> String {
    let found = filters.iter().find(|filter| filter.matches(topic_name));
    found.map(|filter| filter.as_str().to_owned()).unwrap_or_default()
}

/// A few of the filters.
fn listed(filters: &[TopicFilter]) -> String {
    const SHOWN: usize = 10;
    let mut shown: Vec<&str> = filters.iter().take(SHOWN).map(TopicFilter::as_str).collect();
    if filters.len() > SHOWN {
        shown.push("...");
    }
    shown.join(", ")
}
