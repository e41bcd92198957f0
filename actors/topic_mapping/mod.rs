//! Other topics at an upstream broker than here: a prefix that goes, rules that rewrite, a prefix that comes, in this
//! order. Pure: a Topic Name in, a Topic Name out.

mod inverse;
mod pattern;
mod rewrite;

use std::borrow::Cow;

pub use rewrite::RewriteRule;

/// The longest Topic Name, in bytes `[MQTT-4.7.3-3]`.
const TOPIC_BYTES_MAX: usize = u16::MAX as usize;

/// How the topics of one direction are changed. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicMapping {
    /// A topic that starts with this loses it; any other topic stays. Taken as it is written, so it usually ends
    /// with `/`.
    pub strip: Option<String>,
    /// Put in front of every topic, as it is written.
    pub add: Option<String>,
    /// The first rule that matches what is left after `strip` rewrites it; where none does, it stays.
    pub rewrite: Vec<RewriteRule>,
}

/// Why a topic cannot be mapped: what comes out is no Topic Name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmappable {
    /// Nothing is left `[MQTT-4.7.3-1]`.
    Empty,
    /// It has more than 65,535 bytes `[MQTT-4.7.3-3]`.
    TooLong,
    /// A level that a wildcard stood for would become the first one and starts with `$`: only the text of a rule can
    /// lead to a server's own topics, never what a publisher chose.
    Dollar,
    /// It has a wildcard or U+0000, because the topic itself had `[MQTT-3.3.2-2]`.
    NotATopicName,
}

impl std::fmt::Display for Unmappable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Unmappable::Empty => "the mapping leaves nothing of the topic",
            Unmappable::TooLong => "the mapped topic has more than 65,535 bytes",
            Unmappable::Dollar => "the mapped topic would begin with a $ that the publisher chose",
            Unmappable::NotATopicName => "the mapped topic has a wildcard or U+0000",
        })
    }
}

impl std::error::Error for Unmappable {}

impl TopicMapping {
    /// Whether every topic stays as it is.
    pub fn is_identity(&self) -> bool {
        self.stripped().is_empty() && self.added().is_empty() && self.rewrite.is_empty()
    }

    /// The topic on the other side.
    ///
    /// # Errors
    /// Where that is no Topic Name.
    pub fn map<'a>(&self, topic: &'a str) -> Result<Cow<'a, str>, Unmappable> {
        let rest = topic.strip_prefix(self.stripped()).unwrap_or(topic);
        let mut mapped = Cow::Borrowed(rest);
        for rule in &self.rewrite {
            if let Some(rewritten) = rule.apply(rest) {
                mapped = Cow::Owned(rewritten?);
                break;
            }
        }
        if !self.added().is_empty() {
            mapped.to_mut().insert_str(0, self.added());
        }
        match mapped.len() {
            0 => Err(Unmappable::Empty),
            length if length > TOPIC_BYTES_MAX => Err(Unmappable::TooLong),
            _ if mapped.contains(['+', '#', '\0']) => Err(Unmappable::NotATopicName),
            _ => Ok(mapped),
        }
    }

    /// Whether the mapping makes sense: prefixes that a Topic Name can have, and no rule that can never have its turn.
    ///
    /// # Errors
    /// A text that says which part is wrong; rules are numbered from 1.
    pub fn check(&self) -> Result<(), String> {
        check_prefix(self.stripped()).map_err(|problem| format!("the prefix to strip {problem}"))?;
        check_prefix(self.added()).map_err(|problem| format!("the prefix to add {problem}"))?;
        for (index, rule) in self.rewrite.iter().enumerate() {
            let covers =
                |earlier: &RewriteRule| pattern::covers(earlier.from().as_str(), rule.from().as_str());
            if let Some(earlier) = self.rewrite[..index].iter().position(covers) {
                return Err(format!(
                    "rewrite rule {} never has its turn: rule {} ({}) matches every topic that {} matches; \
                     put the narrower rule first",
                    index + 1,
                    earlier + 1,
                    self.rewrite[earlier].from(),
                    rule.from()
                ));
            }
        }
        Ok(())
    }

    fn stripped(&self) -> &str {
        self.strip.as_deref().unwrap_or_default()
    }

    fn added(&self) -> &str {
        self.add.as_deref().unwrap_or_default()
    }
}

/// Whether a Topic Name can begin with this and go on.
///
/// # Errors
/// What it must not have.
pub fn check_prefix(prefix: &str) -> Result<(), String> {
    if prefix.contains(['+', '#']) {
        return Err("must not have wildcards".to_owned());
    }
    if prefix.contains('\0') {
        return Err("must not have U+0000".to_owned());
    }
    if prefix.len() >= TOPIC_BYTES_MAX {
        return Err("must be shorter than 65,535 bytes".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
