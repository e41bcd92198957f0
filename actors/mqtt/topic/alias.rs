//! Topic Aliases of one Network Connection, in both directions (MQTT 5.0 section 3.3.2.3.4). A mapping ends with
//! its connection, so both tables are made anew for each one `[MQTT-3.3.2-7]`.

use std::collections::HashMap;

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

    /// The alias for the next PUBLISH on this topic; `None` if the other side accepts none. The packets must be
    /// sent in the order of the calls. For one that is not sent after all call [`OutboundAliases::forget`].
    pub fn assign(&mut self, topic: &TopicName) -> Option<Outbound> {
        if self.maximum == 0 {
            return None;
        }
        if let Some(&alias) = self.aliases.get(topic) {
            self.slots[usize::from(alias) - 1].recently_used = true;
            return Some(Outbound { alias, send_topic: false });
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
