//! Which messages go to an upstream broker and which ones come from it, and what is changed about them on the way.

use mqtt::{QoS, TopicFilter};

use crate::topic_mapping::{RewriteRule, TopicMapping};

/// Which messages go to an upstream broker, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardRule {
    /// A message goes to the broker where one of these matches; none at all means every message.
    pub topics: Vec<TopicFilter>,
    /// A message does not go to the broker where one of these matches, whatever `topics` says.
    pub exclude: Vec<TopicFilter>,
    /// The topics that the broker sees.
    pub mapping: TopicMapping,
    /// The highest QoS towards the broker; messages above it are sent at this one.
    pub max_qos: Option<QoS>,
    /// What becomes of RETAIN.
    pub retain: RetainPolicy,
    /// What is added to each message's User Properties; MQTT 3.1.1 has none.
    pub user_properties: Vec<(String, String)>,
    /// Messages with a longer payload, in bytes, do not go to the broker.
    pub max_payload_bytes: Option<u32>,
}

impl ForwardRule {
    /// Whether messages of the topics that go to the broker do so without exception and as they are.
    pub fn changes_nothing(&self) -> bool {
        self.mapping.is_identity()
            && self.max_qos.is_none()
            && self.retain == RetainPolicy::Keep
            && self.user_properties.is_empty()
            && self.max_payload_bytes.is_none()
    }
}

/// What becomes of a message's RETAIN flag on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetainPolicy {
    /// It stays as it is.
    #[default]
    Keep,
    /// No message is retained on the other side.
    Clear,
    /// Every message is retained on the other side.
    Set,
}

impl RetainPolicy {
    const ALL: [RetainPolicy; 3] = [RetainPolicy::Keep, RetainPolicy::Clear, RetainPolicy::Set];

    /// The choice as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            RetainPolicy::Keep => "keep",
            RetainPolicy::Clear => "clear",
            RetainPolicy::Set => "set",
        }
    }

    /// The choice that users write like this.
    pub fn parse(text: &str) -> Option<RetainPolicy> {
        RetainPolicy::ALL.into_iter().find(|policy| policy.as_str() == text)
    }

    /// The flag behind the policy.
    pub const fn apply(self, retain: bool) -> bool {
        match self {
            RetainPolicy::Keep => retain,
            RetainPolicy::Clear => false,
            RetainPolicy::Set => true,
        }
    }
}

/// What a bidirectional upstream broker is asked for, and what becomes of what it sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSubscription {
    /// The filters to subscribe to at the broker.
    pub topics: Vec<TopicFilter>,
    /// The QoS to ask for.
    pub qos: QoS,
    /// What the broker sends is left out where one of these matches its topic there.
    pub exclude: Vec<TopicFilter>,
    /// How the definition maps topics; what it leaves open is the inverse of the way to the broker.
    pub given_mapping: GivenMapping,
    /// The topics that local subscribers and other brokers see: `given_mapping`, completed.
    pub mapping: TopicMapping,
    /// What becomes of RETAIN.
    pub retain: RetainPolicy,
    /// What is added to each message's User Properties.
    pub user_properties: Vec<(String, String)>,
    /// Messages with a longer payload, in bytes, are left out.
    pub max_payload_bytes: Option<u32>,
}

impl UpstreamSubscription {
    /// What the broker knows of it: the rest happens here.
    pub fn as_asked_for(&self) -> UpstreamSubscription {
        UpstreamSubscription { topics: self.topics.clone(), qos: self.qos, ..UpstreamSubscription::default() }
    }
}

impl Default for UpstreamSubscription {
    /// Everything but `$`-topics, at QoS 1.
    fn default() -> UpstreamSubscription {
        let everything = TopicFilter::new("#").expect("# alone is a Topic Filter");
        UpstreamSubscription {
            topics: vec![everything],
            qos: QoS::AtLeastOnce,
            exclude: Vec::new(),
            given_mapping: GivenMapping::default(),
            mapping: TopicMapping::default(),
            retain: RetainPolicy::Keep,
            user_properties: Vec::new(),
            max_payload_bytes: None,
        }
    }
}

/// A mapping of topics as far as the definition gives one: `None` is left open, and an empty text or list is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenMapping {
    /// See [`TopicMapping::strip`].
    pub strip: Option<String>,
    /// See [`TopicMapping::add`].
    pub add: Option<String>,
    /// See [`TopicMapping::rewrite`].
    pub rewrite: Option<Vec<RewriteRule>>,
}

impl GivenMapping {
    /// The whole mapping, with the inverse of `outbound` for what is left open.
    ///
    /// # Errors
    /// Where that has no inverse; the text says why.
    pub fn complete(&self, outbound: &TopicMapping) -> Result<TopicMapping, String> {
        let inverse = match self.rewrite {
            None => outbound.inverse()?,
            Some(_) => {
                TopicMapping { strip: outbound.add.clone(), add: outbound.strip.clone(), rewrite: Vec::new() }
            }
        };
        let text = |given: &Option<String>, open: Option<String>| match given {
            None => open,
            Some(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        };
        Ok(TopicMapping {
            strip: text(&self.strip, inverse.strip),
            add: text(&self.add, inverse.add),
            rewrite: self.rewrite.clone().unwrap_or(inverse.rewrite),
        })
    }
}
