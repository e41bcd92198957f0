//! Services whose limits are published: what a 3.1.1 connection cannot be told by them, and a 5.0 connection only in part.

use std::ops::RangeInclusive;

use mqtt::QoS;

use crate::broker::{Broker, Profile};

/// The limits of a service.
#[derive(Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// The Keep Alives that it keeps, in seconds; a definition's other ones, 0 among them, become the nearest.
    pub keep_alive_secs: RangeInclusive<u16>,
    /// How many QoS 1 and 2 messages may be unacknowledged, where it does not say.
    pub receive_maximum: u16,
    /// The highest QoS.
    pub maximum_qos: QoS,
    /// The longest packet in bytes, where it does not say.
    pub packet_bytes_max: usize,
    /// The longest payload in bytes.
    pub payload_bytes_max: usize,
    /// The longest payload in bytes that is retained; longer ones go without RETAIN.
    pub retained_bytes_max: usize,
    /// The longest topic in bytes.
    topic_bytes_max: usize,
    /// The most slashes in a topic.
    topic_slashes_max: usize,
    /// Topics that start with `$` are taken below this only; `None` where it says nothing of them.
    dollar_root: Option<&'static str>,
    /// The levels behind this, and one more, do not count in length and slashes.
    uncounted_root: Option<&'static str>,
}

/// AWS IoT Core: message broker and protocol limits of its service quotas.
static AWS_IOT: ServiceLimits = ServiceLimits {
    keep_alive_secs: 30..=1_200,
    receive_maximum: 100,
    maximum_qos: QoS::AtLeastOnce,
    packet_bytes_max: usize::MAX,
    payload_bytes_max: 128 * 1024,
    retained_bytes_max: usize::MAX,
    topic_bytes_max: 256,
    topic_slashes_max: 7,
    dollar_root: Some("$aws/"),
    uncounted_root: Some("$aws/rules/"),
};

/// Azure Event Grid namespaces: MQTT limits and retain support of its documentation. It bounds the bytes in flight too,
/// at 64 KiB, so fewer messages than its 1,000 are on their way.
static AZURE_EVENT_GRID: ServiceLimits = ServiceLimits {
    keep_alive_secs: 1..=1_160,
    receive_maximum: 100,
    maximum_qos: QoS::AtLeastOnce,
    packet_bytes_max: 512 * 1024,
    payload_bytes_max: usize::MAX,
    retained_bytes_max: 64 * 1024,
    topic_bytes_max: 256,
    topic_slashes_max: 14,
    dollar_root: None,
    uncounted_root: None,
};

/// HiveMQ Cloud, whose smallest plan takes messages of 5 MB.
static HIVEMQ_CLOUD: ServiceLimits = ServiceLimits {
    keep_alive_secs: 0..=u16::MAX,
    receive_maximum: u16::MAX,
    maximum_qos: QoS::ExactlyOnce,
    packet_bytes_max: 5_000_000,
    payload_bytes_max: usize::MAX,
    retained_bytes_max: usize::MAX,
    topic_bytes_max: usize::MAX,
    topic_slashes_max: usize::MAX,
    dollar_root: None,
    uncounted_root: None,
};

impl ServiceLimits {
    /// Those of a broker's profile.
    pub fn of(broker: &Broker) -> Option<&'static ServiceLimits> {
        broker.profile.map(|profile| match profile {
            Profile::AwsIot => &AWS_IOT,
            Profile::AzureEventGrid => &AZURE_EVENT_GRID,
            Profile::HiveMqCloud => &HIVEMQ_CLOUD,
        })
    }

    /// Whether the service takes messages on the topic at all.
    pub fn takes_topic(&self, topic_name: &[u8]) -> bool {
        if let Some(root) = self.dollar_root
            && topic_name.first() == Some(&b'$')
            && !topic_name.starts_with(root.as_bytes())
        {
            return false;
        }
        let counted = self.uncounted_root.and_then(|root| {
            let behind = topic_name.strip_prefix(root.as_bytes())?;
            let level_end = behind.iter().position(|byte| *byte == b'/')?;
            behind.get(level_end + 1..)
        });
        let counted = counted.unwrap_or(topic_name);
        counted.len() <= self.topic_bytes_max
            && counted.iter().filter(|byte| **byte == b'/').count() <= self.topic_slashes_max
    }
}

/// The Keep Alive to ask for, in seconds: the definition's, as near as a known service comes to it.
pub fn keep_alive_secs(broker: &Broker) -> u16 {
    let Some(service) = ServiceLimits::of(broker) else { return broker.keep_alive_secs };
    let (least, most) = (*service.keep_alive_secs.start(), *service.keep_alive_secs.end());
    // 0 turns it off, which is the longest there is.
    if broker.keep_alive_secs == 0 && least > 0 { most } else { broker.keep_alive_secs.clamp(least, most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_a_service_can_never_take() {
        let long = "x".repeat(257);
        let table: [(&ServiceLimits, &str, bool); 13] = [
            (&AWS_IOT, "a/b/c/d/e/f/g/h", true),
            (&AWS_IOT, "a/b/c/d/e/f/g/h/i", false),
            (&AWS_IOT, &long[1..], true),
            (&AWS_IOT, &long, false),
            (&AWS_IOT, "$SYS/x", false),
            (&AWS_IOT, "$aws/things/t/shadow/update", true),
            (&AWS_IOT, "$aws/rules/rule/a/b/c/d/e/f/g/h", true),
            (&AWS_IOT, "$aws/rules/rule/a/b/c/d/e/f/g/h/i", false),
            (&AWS_IOT, "$aws/rules/rule", true),
            (&AZURE_EVENT_GRID, "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15", true),
            (&AZURE_EVENT_GRID, "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", false),
            (&AZURE_EVENT_GRID, &long, false),
            (&HIVEMQ_CLOUD, &long, true),
        ];
        for (service, topic, takes) in table {
            assert_eq!(service.takes_topic(topic.as_bytes()), takes, "{topic}");
        }
    }
}
