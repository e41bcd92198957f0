//! Topic Aliases towards one MQTT 5.0 broker (section 3.3.2.3.4): long topics that come often are sent once, and then as
//! two bytes. A connection begins without any `[MQTT-3.3.2-7]`, and what is sent again names its topic.

use bytes::BytesMut;
use mqtt::packet::publish::{self, PublishHeader};
use mqtt::topic::alias::{Outbound, OutboundAliases};
use mqtt::{ProtocolVersion, TopicName};

use crate::limits;

/// What the property takes in a PUBLISH: its identifier and two bytes.
const PROPERTY_BYTES: usize = 3;

/// The identifier of the property.
const PROPERTY_ID: u8 = 0x23;

/// The aliases of one connection.
pub struct TopicAliases {
    aliases: OutboundAliases,
    /// Topics that came and have no alias, found by their hash, with how often they came of late.
    candidates: Box<[Candidate]>,
    /// The properties of one message and its alias.
    properties: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Candidate {
    hash: u64,
    count: u8,
}

impl TopicAliases {
    /// None yet; `maximum` is what the broker accepts `[MQTT-3.3.2-9]` `[MQTT-3.3.2-11]`.
    pub fn new(maximum: u16) -> TopicAliases {
        TopicAliases {
            aliases: OutboundAliases::new(maximum.min(limits::UPSTREAM_TOPIC_ALIASES_MAX)),
            candidates: vec![Candidate::default(); limits::TOPIC_ALIAS_CANDIDATES].into_boxed_slice(),
            properties: Vec::new(),
        }
    }

    /// How the topic is to be named, if an alias pays.
    pub fn choose(&mut self, topic_name: &str) -> Option<Outbound> {
        if topic_name.len() < limits::ALIASED_TOPIC_BYTES_MIN {
            return None;
        }
        if let Some(known) = self.aliases.known(topic_name) {
            return Some(known);
        }
        // A topic that comes once would push out one that comes often.
        if !self.comes_often(topic_name) {
            return None;
        }
        self.aliases.assign(&TopicName::new(topic_name.to_owned()).ok()?)
    }

    /// Each topic fights for its place with others of the same hash: who comes oftener stays.
    fn comes_often(&mut self, topic_name: &str) -> bool {
        let hash = self.aliases.hash(topic_name);
        let Some(candidate) = self.candidates.get_mut(hash as usize % limits::TOPIC_ALIAS_CANDIDATES) else {
            return false;
        };
        if candidate.hash != hash {
            if candidate.count > 1 {
                candidate.count -= 1;
            } else {
                *candidate = Candidate { hash, count: 1 };
            }
            return false;
        }
        candidate.count += 1;
        let often = candidate.count >= limits::TOPIC_ALIAS_AFTER;
        if often {
            *candidate = Candidate::default();
        }
        often
    }

    /// Appends the PUBLISH with an alias that [`TopicAliases::choose`] gave. Its fields were checked before.
    pub fn encode(
        &mut self,
        output: &mut BytesMut,
        header: PublishHeader,
        (topic_name, chosen): (&str, Outbound),
        properties: &[u8],
        payload: &[u8],
    ) {
        let [high, low] = chosen.alias.to_be_bytes();
        let alias = [PROPERTY_ID, high, low];
        let all = if properties.is_empty() {
            &alias[..]
        } else {
            self.properties.clear();
            self.properties.extend_from_slice(properties);
            self.properties.extend_from_slice(&alias);
            &self.properties
        };
        let topic_name = if chosen.send_topic { topic_name } else { "" };
        let encoded = publish::encode_parts(output, ProtocolVersion::V5, header, topic_name, all, payload);
        debug_assert!(encoded.is_ok(), "a record is a checked PUBLISH");
    }
}

/// How much longer a PUBLISH is at most that sets an alias.
pub const ALIAS_BYTES_MAX: usize = PROPERTY_BYTES + 1;

#[cfg(test)]
mod tests {
    use mqtt::codec::{DecodeLimits, decode_all};
    use mqtt::packet::Packet;
    use mqtt::topic::alias::InboundAliases;
    use mqtt::{PacketId, Properties, Property, QoS};

    use super::*;

    fn long(number: usize) -> String {
        format!("site/building/floor/room/{number:04}")
    }

    #[test]
    fn short_and_rare_topics_get_no_alias_and_frequent_ones_do() {
        let mut aliases = TopicAliases::new(2);
        for _ in 0..10 {
            assert_eq!(aliases.choose("a/b"), None);
        }
        for number in 0..1_000 {
            assert_eq!(aliases.choose(&long(number)), None, "{number} came once");
        }
        let often = long(1_001);
        let chosen: Vec<_> = (0..limits::TOPIC_ALIAS_AFTER * 3).map(|_| aliases.choose(&often)).collect();
        let first = chosen.iter().position(Option::is_some).expect("it gets one in the end");
        assert_eq!(chosen[first], Some(Outbound { alias: 1, send_topic: true }));
        assert_eq!(chosen[first + 1], Some(Outbound { alias: 1, send_topic: false }));
    }

    #[test]
    fn a_broker_that_takes_none_gets_none() {
        let mut aliases = TopicAliases::new(0);
        assert!((0..20).all(|_| aliases.choose(&long(1)).is_none()));
    }

    proptest::proptest! {
        #[test]
        fn what_is_sent_means_the_same_topic_to_the_broker(
            maximum in 1_u16..4,
            topics in proptest::collection::vec((0_usize..8, proptest::bool::ANY), 1..300),
        ) {
            let mut aliases = TopicAliases::new(maximum);
            let mut at_broker = InboundAliases::new(maximum);
            let mut output = BytesMut::new();
            let with = Properties::default().with(Property::MessageExpiryInterval(7));
            let header = PublishHeader {
                dup: false, qos: QoS::AtLeastOnce, retain: false, packet_id: PacketId::new(1),
            };
            for (number, has_properties) in topics {
                let topic = long(number);
                let Some(chosen) = aliases.choose(&topic) else { continue };
                let properties: &[u8] = if has_properties { with.as_bytes() } else { &[] };
                aliases.encode(&mut output, header, (&topic, chosen), properties, b"x");
                let mut packets = Vec::new();
                decode_all(&mut output, ProtocolVersion::V5, &DecodeLimits::default(), &mut packets).unwrap();
                let [Packet::Publish(publish)] = &packets[..] else { panic!("one PUBLISH") };
                let alias = publish.properties.topic_alias();
                let resolved = at_broker.resolve(publish.topic_name.clone(), alias).unwrap();
                proptest::prop_assert_eq!(resolved.as_str(), topic);
                proptest::prop_assert_eq!(publish.properties.message_expiry_interval().is_some(), has_properties);
            }
        }
    }
}
