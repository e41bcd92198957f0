//! Topic Aliases of one Network Connection, in both directions (MQTT 5.0 section 3.3.2.3.4). A mapping ends with
//! its connection, so both tables are made anew for each one `[MQTT-3.3.2-7]`.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::{ReasonCode, TopicName};

/// Why a PUBLISH names no topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasError {
    /// The alias is 0 or above the Topic Alias Maximum `[MQTT-3.3.2-8]` `[MQTT-3.3.2-9]`.
    Invalid(u16),
    /// An alias without a topic, and no earlier PUBLISH of this connection has set it.
    Unknown(u16),
    /// Neither a topic nor an alias.
    Missing,
}

impl AliasError {
    /// The Reason Code of the DISCONNECT that answers.
    pub fn reason_code(self) -> ReasonCode {
        match self {
            AliasError::Invalid(_) => ReasonCode::TopicAliasInvalid,
            AliasError::Unknown(_) | AliasError::Missing => ReasonCode::ProtocolError,
        }
    }
}

impl std::fmt::Display for AliasError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AliasError::Invalid(alias) => write!(formatter, "topic alias {alias} is out of range"),
            AliasError::Unknown(alias) => write!(formatter, "topic alias {alias} was never set"),
            AliasError::Missing => formatter.write_str("neither a topic name nor a topic alias"),
        }
    }
}

impl std::error::Error for AliasError {}

/// The aliases that the other side has set. Memory grows with the aliases in use, not with the maximum.
#[derive(Debug)]
pub struct InboundAliases {
    maximum: u16,
    topics: HashMap<u16, TopicName, RandomState>,
}

impl InboundAliases {
    /// A table without mappings; `topic_alias_maximum` is what this side announced, and every alias up to it is
    /// accepted `[MQTT-3.3.2-10]` `[MQTT-3.3.2-12]`. 0 accepts none.
    pub fn new(topic_alias_maximum: u16) -> InboundAliases {
        InboundAliases { maximum: topic_alias_maximum, topics: HashMap::default() }
    }

    /// The Topic Name that a received PUBLISH means. `topic` is `None` if its Topic Name has no bytes. A topic
    /// together with an alias sets the alias, or sets it anew.
    pub fn resolve(&mut self, topic: Option<TopicName>, alias: Option<u16>) -> Result<TopicName, AliasError> {
        let Some(alias) = alias else {
            return topic.ok_or(AliasError::Missing);
        };
        if alias == 0 || alias > self.maximum {
            return Err(AliasError::Invalid(alias));
        }
        match topic {
            Some(topic) => {
                if self.topics.get(&alias) != Some(&topic) {
                    self.topics.insert(alias, topic.detached());
                }
                Ok(topic)
            }
            None => self.topics.get(&alias).cloned().ok_or(AliasError::Unknown(alias)),
        }
    }
}

/// How a PUBLISH to be sent names its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// The Topic Alias property, never 0 `[MQTT-3.3.2-8]`.
    pub alias: u16,
    /// Whether the Topic Name goes with it; otherwise the other side knows it already and it is sent empty.
    pub send_topic: bool,
}

/// The aliases that this side has set. When all are taken, one that was not used of late is set anew.
#[derive(Debug)]
pub struct OutboundAliases {
    maximum: u16,
    aliases: HashMap<TopicName, u16, RandomState>,
    /// The slot of alias `n` is `n - 1`.
    slots: Vec<Slot>,
    /// Where the search for an alias to replace goes on.
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    topic: Option<TopicName>,
    recently_used: bool,
}

impl OutboundAliases {
    /// A table without mappings; `maximum` is what the other side accepts `[MQTT-3.3.2-9]` `[MQTT-3.3.2-11]`, or
    /// fewer, if this side wants to remember fewer topics. 0 never gives an alias.
    pub fn new(maximum: u16) -> OutboundAliases {
        OutboundAliases { maximum, aliases: HashMap::default(), slots: Vec::new(), hand: 0 }
    }

    /// The alias for the next PUBLISH on this topic, if it has one already.
    #[inline]
    pub fn known(&mut self, topic: &str) -> Option<Outbound> {
        let alias = *self.aliases.get(topic)?;
        self.slots[usize::from(alias) - 1].recently_used = true;
        Some(Outbound { alias, send_topic: false })
    }

    /// A hash of the topic, for those who keep something of their own about topics without an alias.
    pub fn hash(&self, topic: &str) -> u64 {
        self.aliases.hasher().hash_one(topic)
    }

    /// The alias for the next PUBLISH on this topic; `None` if the other side accepts none. The packets must be
    /// sent in the order of the calls. For one that is not sent after all call [`OutboundAliases::forget`].
    pub fn assign(&mut self, topic: &TopicName) -> Option<Outbound> {
        if self.maximum == 0 {
            return None;
        }
        if let Some(known) = self.known(topic.as_str()) {
            return Some(known);
        }
        let alias = if self.slots.len() < usize::from(self.maximum) {
            self.slots.push(Slot { topic: None, recently_used: false });
            self.slots.len() as u16
        } else {
            self.replaceable()
        };
        let topic = topic.detached();
        let slot = &mut self.slots[usize::from(alias) - 1];
        if let Some(replaced) = slot.topic.replace(topic.clone()) {
            self.aliases.remove(&replaced);
        }
        self.aliases.insert(topic, alias);
        Some(Outbound { alias, send_topic: true })
    }

    /// Unsets an alias, because the PUBLISH that was to set it did not go out.
    pub fn forget(&mut self, alias: u16) {
        let Some(slot) = usize::from(alias).checked_sub(1).and_then(|index| self.slots.get_mut(index)) else {
            return;
        };
        slot.recently_used = false;
        if let Some(topic) = slot.topic.take() {
            self.aliases.remove(&topic);
        }
    }

    /// The clock algorithm: the hand goes round, takes the mark off used slots, and stops at one without a mark.
    fn replaceable(&mut self) -> u16 {
        loop {
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &mut self.slots[self.hand];
            if !slot.recently_used {
                return self.hand as u16 + 1;
            }
            slot.recently_used = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    #[test]
    fn a_received_alias_means_what_was_set_last() {
        let (a, b) = (name("a"), name("b"));
        let mut aliases = InboundAliases::new(2);
        // Topic, alias, what comes of it.
        let rows = [
            (Some(&a), None, Ok(&a)),
            (None, None, Err(AliasError::Missing)),
            (None, Some(1), Err(AliasError::Unknown(1))),
            (Some(&a), Some(1), Ok(&a)),
            (None, Some(1), Ok(&a)),
            (None, Some(2), Err(AliasError::Unknown(2))),
            (Some(&a), Some(2), Ok(&a)),
            (Some(&b), Some(1), Ok(&b)),
            (None, Some(1), Ok(&b)),
            (None, Some(2), Ok(&a)),
            (Some(&a), Some(0), Err(AliasError::Invalid(0))),
            (Some(&a), Some(3), Err(AliasError::Invalid(3))),
            (None, Some(0), Err(AliasError::Invalid(0))),
            (None, Some(u16::MAX), Err(AliasError::Invalid(u16::MAX))),
            (None, Some(1), Ok(&b)),
        ];
        for (step, (topic, alias, wanted)) in rows.into_iter().enumerate() {
            assert_eq!(aliases.resolve(topic.cloned(), alias), wanted.cloned(), "step {step}");
        }
    }

    #[test]
    fn a_maximum_of_zero_accepts_and_gives_no_alias() {
        assert_eq!(InboundAliases::new(0).resolve(Some(name("a")), Some(1)), Err(AliasError::Invalid(1)));
        assert_eq!(InboundAliases::new(0).resolve(Some(name("a")), None), Ok(name("a")));
        assert_eq!(OutboundAliases::new(0).assign(&name("a")), None);
    }

    #[test]
    fn the_highest_maximum_accepts_and_gives_the_highest_alias() {
        let mut inbound = InboundAliases::new(u16::MAX);
        assert_eq!(inbound.resolve(Some(name("a")), Some(u16::MAX)), Ok(name("a")));
        assert_eq!(inbound.resolve(None, Some(u16::MAX)), Ok(name("a")));
        let mut outbound = OutboundAliases::new(u16::MAX);
        for number in 1..=u16::MAX {
            let assigned = outbound.assign(&name(&number.to_string()));
            assert_eq!(assigned, Some(Outbound { alias: number, send_topic: true }));
        }
        let assigned = outbound.assign(&name("one more")).unwrap();
        assert!(assigned.send_topic && assigned.alias > 0);
    }

    #[test]
    fn errors_say_how_the_connection_ends() {
        assert_eq!(AliasError::Invalid(0).reason_code(), ReasonCode::TopicAliasInvalid);
        assert_eq!(AliasError::Unknown(1).reason_code(), ReasonCode::ProtocolError);
        assert_eq!(AliasError::Missing.reason_code(), ReasonCode::ProtocolError);
    }

    #[test]
    fn a_topic_is_sent_once_and_a_used_one_is_replaced_last() {
        let mut aliases = OutboundAliases::new(2);
        let mut assign = |topic: &str| {
            let assigned = aliases.assign(&name(topic)).unwrap();
            (assigned.alias, assigned.send_topic)
        };
        assert_eq!(assign("a"), (1, true));
        assert_eq!(assign("b"), (2, true));
        assert_eq!(assign("b"), (2, false));
        assert_eq!(assign("c"), (1, true));
        assert_eq!(assign("b"), (2, false));
        assert_eq!(assign("d"), (1, true));
        assert_eq!(assign("b"), (2, false));
        assert_eq!(assign("a"), (1, true));
    }

    #[test]
    fn a_forgotten_alias_is_set_anew_before_it_is_used() {
        let mut aliases = OutboundAliases::new(1);
        assert_eq!(aliases.assign(&name("a")), Some(Outbound { alias: 1, send_topic: true }));
        aliases.forget(1);
        aliases.forget(0);
        aliases.forget(2);
        assert_eq!(aliases.assign(&name("a")), Some(Outbound { alias: 1, send_topic: true }));
        assert_eq!(aliases.assign(&name("a")), Some(Outbound { alias: 1, send_topic: false }));
    }

    proptest::proptest! {
        #[test]
        fn what_one_side_assigns_the_other_side_resolves(
            maximum in 1_u16..6,
            topics in proptest::collection::vec(("[a-h]", proptest::bool::ANY), 0..200),
        ) {
            let mut outbound = OutboundAliases::new(maximum);
            let mut inbound = InboundAliases::new(maximum);
            for (topic, is_sent) in topics {
                let topic = name(&topic);
                let assigned = outbound.assign(&topic).unwrap();
                if is_sent {
                    let sent_topic = assigned.send_topic.then(|| topic.clone());
                    proptest::prop_assert_eq!(inbound.resolve(sent_topic, Some(assigned.alias)), Ok(topic));
                } else if assigned.send_topic {
                    outbound.forget(assigned.alias);
                }
            }
        }
    }
}
