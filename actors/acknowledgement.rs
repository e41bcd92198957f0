//! What must have happened to a QoS 1 or 2 message before its publisher is told that the proxy has it.

use std::time::Duration;

use mqtt::{TopicFilter, TopicName};

/// What the acknowledgement of a message waits for. The later ones wait for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// For nothing: the message is in memory, and lost if the process dies.
    Memory,
    /// Until the message was handed to the operating system: it survives the death of the process.
    #[default]
    Stored,
    /// Until the message was flushed to the disk: it survives a loss of power.
    Synced,
    /// As stored, and until one of the upstream brokers whose filters match has acknowledged the message. For one that
    /// gets it with QoS 0, having sent it counts.
    Any,
    /// As [`Policy::Any`], with more than half of the upstream brokers whose filters match.
    Quorum,
    /// As [`Policy::Any`], with all upstream brokers whose filters match.
    All,
}

impl Policy {
    /// Every policy as users write it.
    pub const NAMES: [&'static str; 6] = [
        Policy::Memory.as_str(),
        Policy::Stored.as_str(),
        Policy::Synced.as_str(),
        Policy::Any.as_str(),
        Policy::Quorum.as_str(),
        Policy::All.as_str(),
    ];

    /// The policy as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Policy::Memory => "memory",
            Policy::Stored => "stored",
            Policy::Synced => "synced",
            Policy::Any => "any",
            Policy::Quorum => "quorum",
            Policy::All => "all",
        }
    }

    /// The policy that users write like this.
    pub fn parse(text: &str) -> Option<Policy> {
        match text {
            "memory" => Some(Policy::Memory),
            "stored" => Some(Policy::Stored),
            "synced" => Some(Policy::Synced),
            "any" => Some(Policy::Any),
            "quorum" => Some(Policy::Quorum),
            "all" => Some(Policy::All),
            _ => None,
        }
    }
}

/// What happens to a message that is stored, when the upstream brokers that its acknowledgement waits for have not
/// acknowledged it in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnDeadline {
    /// It is acknowledged: it is in the log, and goes to the upstream brokers when they are back.
    #[default]
    Acknowledge,
    /// It is not acknowledged, so that its publisher sends it again: better twice than acknowledged too early.
    Withhold,
}

impl OnDeadline {
    /// Every choice as users write it.
    pub const NAMES: [&'static str; 2] = [OnDeadline::Acknowledge.as_str(), OnDeadline::Withhold.as_str()];

    /// The choice as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            OnDeadline::Acknowledge => "acknowledge",
            OnDeadline::Withhold => "withhold",
        }
    }

    /// The choice that users write like this.
    pub fn parse(text: &str) -> Option<OnDeadline> {
        match text {
            "acknowledge" => Some(OnDeadline::Acknowledge),
            "withhold" => Some(OnDeadline::Withhold),
            _ => None,
        }
    }
}

/// When messages are acknowledged, by topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgements {
    /// For every message that no rule is for.
    pub policy: Policy,
    /// The first one that matches holds.
    pub rules: Vec<(TopicFilter, Policy)>,
    /// How long `any`, `quorum` and `all` wait for upstream brokers.
    pub deadline: Duration,
    /// What happens then.
    pub on_deadline: OnDeadline,
}

impl Default for Acknowledgements {
    /// Every message as soon as it is stored.
    fn default() -> Acknowledgements {
        Acknowledgements {
            policy: Policy::default(),
            rules: Vec::new(),
            deadline: Duration::from_secs(5),
            on_deadline: OnDeadline::default(),
        }
    }
}

impl Acknowledgements {
    /// Whether what an acknowledgement waits for differs from message to message.
    pub fn depend_on_messages(&self) -> bool {
        self.has_rules() || matches!(self.policy, Policy::Any | Policy::Quorum | Policy::All)
    }

    /// What the acknowledgement of a message to this topic waits for.
    pub fn policy_for(&self, topic: &TopicName) -> Policy {
        let rule = self.rules.iter().find(|(filter, _)| filter.matches(topic));
        rule.map_or(self.policy, |(_, policy)| *policy)
    }

    /// Whether the policy depends on the topic at all.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }
}

/// Reads a rule, `topic filter = policy`. The last `=` counts, because a Topic Filter may have some too.
pub fn parse_rule(rule: &str) -> Option<(TopicFilter, Policy)> {
    let (filter, policy) = rule.rsplit_once('=')?;
    let filter = TopicFilter::new(filter.trim()).ok().filter(|filter| filter.shared().is_none())?;
    Some((filter, Policy::parse(policy.trim())?))
}

/// A rule as users write it.
pub fn rule_text((filter, policy): &(TopicFilter, Policy)) -> String {
    format!("{filter} = {}", policy.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_what_it_is_the_name_of() {
        for name in Policy::NAMES {
            assert_eq!(Policy::parse(name).map(Policy::as_str), Some(name));
        }
        for name in OnDeadline::NAMES {
            assert_eq!(OnDeadline::parse(name).map(OnDeadline::as_str), Some(name));
        }
        for name in ["", "Stored", " stored", "sync", "drop"] {
            assert_eq!((Policy::parse(name), OnDeadline::parse(name)), (None, None), "{name:?}");
        }
    }

    #[test]
    fn a_rule_is_split_at_its_last_equals_sign() {
        for (text, filter, policy) in [
            ("plant/# = synced", "plant/#", Policy::Synced),
            ("a=all", "a", Policy::All),
            ("a=b,c == any ", "a=b,c =", Policy::Any),
            ("+/alarm = quorum", "+/alarm", Policy::Quorum),
        ] {
            let rule = parse_rule(text).unwrap();
            assert_eq!((rule.0.as_str(), rule.1), (filter, policy), "{text}");
            assert_eq!(parse_rule(&rule_text(&rule)), Some(rule));
        }
        for text in
            ["", "a", "=", "= all", "a =", "a = sync", "a/#/b = all", "a = all = b", "$share/g/a = all"]
        {
            assert_eq!(parse_rule(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_holds() {
        let rules = ["plant/line-1/# = all", "plant/# = synced", "# = memory"];
        let all = Acknowledgements {
            policy: Policy::Any,
            rules: rules.iter().filter_map(|rule| parse_rule(rule)).collect(),
            ..Acknowledgements::default()
        };
        assert!(all.has_rules());
        for (topic, policy) in [
            ("plant/line-1/door", Policy::All),
            ("plant/line-2/door", Policy::Synced),
            ("office", Policy::Memory),
            ("$internal", Policy::Any),
        ] {
            assert_eq!(all.policy_for(&TopicName::new(topic).unwrap()), policy, "{topic}");
        }
        let none = Acknowledgements::default();
        assert!(!none.has_rules());
        assert_eq!(none.policy_for(&TopicName::new("office").unwrap()), Policy::Stored);
    }
}
