//! Topic Filters: what a subscription asks for.

use bytestring::ByteString;

use super::name::{TopicError, TopicName};
use super::split_level;

/// A Topic Filter: 1 to 65,535 bytes of UTF-8, `#` alone in the last level `[MQTT-4.7.1-1]`, `+` alone in its
/// level `[MQTT-4.7.1-2]`. A filter that starts with `$share/` has a share name without wildcards and a filter
/// behind it `[MQTT-4.8.2-1]` `[MQTT-4.8.2-2]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(ByteString);

impl TopicFilter {
    /// Checks a string and makes it a Topic Filter.
    pub fn new(filter: impl Into<ByteString>) -> Result<TopicFilter, TopicError> {
        let filter = filter.into();
        check(&filter)?;
        if let Some(shared) = filter.strip_prefix("$share/") {
            let (share_name, rest) = shared
                .split_once('/')
                .ok_or(TopicError("a shared subscription needs a filter behind its name"))?;
            if share_name.is_empty() || share_name.contains(['+', '#']) {
                return Err(TopicError("a share name must not be empty and must not have wildcards"));
            }
            if rest.is_empty() {
                return Err(TopicError("a shared subscription needs a filter behind its name"));
            }
        }
        Ok(TopicFilter(filter))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as shared bytes.
    pub fn as_byte_string(&self) -> &ByteString {
        &self.0
    }

    /// Share name and filter of a shared subscription; `None` for any other filter.
    pub fn shared(&self) -> Option<(&str, &str)> {
        self.0.strip_prefix("$share/")?.split_once('/')
    }

    /// The part that Topic Names are held against: what stands behind `$share/name/`, or else the whole filter.
    pub fn pattern(&self) -> &str {
        self.shared().map_or(&self.0, |(_, pattern)| pattern)
    }

    /// Whether a message to this Topic Name goes to the subscription. Level for level and byte for byte
    /// `[MQTT-4.7.3-4]`; `a/#` matches `a` as well; a wildcard in the first level does not match a name that
    /// starts with `$` `[MQTT-4.7.2-1]`.
    pub fn matches(&self, topic: &TopicName) -> bool {
        matches(self.pattern(), topic.as_str())
    }

    /// Whether the filter has a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.0.contains(['+', '#'])
    }
}

/// Whether a checked filter without a share name matches a checked Topic Name.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic_levels = Some(topic);
    let mut filter_levels = Some(filter);
    while let Some(rest) = filter_levels {
        let (wanted, filter_tail) = split_level(rest);
        if wanted == "#" {
            return true;
        }
        let Some(rest) = topic_levels else {
            return false;
        };
        let (level, topic_tail) = split_level(rest);
        if wanted != "+" && wanted != level {
            return false;
        }
        (filter_levels, topic_levels) = (filter_tail, topic_tail);
    }
    topic_levels.is_none()
}

fn check(filter: &str) -> Result<(), TopicError> {
    if filter.is_empty() {
        return Err(TopicError("must not be empty"));
    }
    if filter.len() > usize::from(u16::MAX) {
        return Err(TopicError("must not be longer than 65,535 bytes"));
    }
    if filter.as_bytes().contains(&0) {
        return Err(TopicError("must not have U+0000"));
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level.len() > 1 || levels.peek().is_some()) {
            return Err(TopicError("# must stand alone in the last level"));
        }
        if level.contains('+') && level.len() > 1 {
            return Err(TopicError("+ must stand alone in its level"));
        }
    }
    Ok(())
}

impl std::fmt::Display for TopicFilter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::fmt::Debug for TopicFilter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "TopicFilter({:?})", &*self.0)
    }
}
