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

    /// A copy whose text is its own: it does not keep the packet in memory that it came in.
    pub fn detached(&self) -> TopicFilter {
        TopicFilter(ByteString::from(self.as_str().to_owned()))
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

    /// Whether the filter matches nothing but what lies in the tree `$SYS`; any other filter matches none of that.
    pub fn is_sys(&self) -> bool {
        super::is_sys(self.pattern())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_for_the_servers_own_tree_is_known_by_its_first_level() {
        for (filter, is_sys) in [
            ("$SYS", true),
            ("$SYS/#", true),
            ("$SYS/+/x", true),
            ("$share/g/$SYS/#", true),
            ("#", false),
            ("+/broker", false),
            ("$SYSTEM/#", false),
            ("$share/$SYS/a", false),
        ] {
            assert_eq!(TopicFilter::new(filter).map(|filter| filter.is_sys()), Ok(is_sys), "{filter:?}");
        }
    }

    #[test]
    fn what_is_a_topic_filter() {
        let longest = "+/".repeat(32_767) + "#";
        let valid = [
            "a",
            "/",
            "//",
            "#",
            "+",
            "+/+",
            "/+",
            "+/",
            "a/#",
            "/#",
            "+/#",
            "a/+/b",
            "a/+/#",
            "sport/tennis/#",
            "sport/+/player1",
            "+/tennis/#",
            "$SYS/#",
            "$SYS/+/x",
            "$share",
            "$share/g/a",
            "$share/g/#",
            "$share/g/+/a",
            "$share/g//",
            "$share/é/a",
            "$share/$g/$SYS/#",
            "$shared/a",
            "$shared",
            "é/+",
            " ",
            &longest,
        ];
        for filter in valid {
            assert!(TopicFilter::new(filter.to_owned()).is_ok(), "{filter:?}");
        }
    }

    #[test]
    fn what_is_not_a_topic_filter() {
        let too_long = "a".repeat(65_536);
        let invalid = [
            "",
            "a#",
            "#a",
            "#/",
            "#/a",
            "a/#/b",
            "a/#b",
            "a/b#",
            "##",
            "sport/tennis#",
            "sport/tennis/#/ranking",
            "a+",
            "+a",
            "++",
            "a/+b",
            "sport+",
            "a/b+/c",
            "\0",
            "a\0/+",
            "$share/",
            "$share/g",
            "$share/g/",
            "$share//a",
            "$share/#",
            "$share/+/a",
            "$share/g+/a",
            "$share/#/a",
            "$share/g/a#",
            "$share/g/#/a",
            &too_long,
        ];
        for filter in invalid {
            assert!(TopicFilter::new(filter.to_owned()).is_err(), "{filter:?}");
        }
    }

    #[test]
    fn a_shared_filter_has_a_name_and_a_pattern() {
        let rows = [
            ("$share/g/a/b", Some(("g", "a/b")), "a/b"),
            ("$share/g//", Some(("g", "/")), "/"),
            ("$share/g/$share/h/a", Some(("g", "$share/h/a")), "$share/h/a"),
            ("$shared/g/a", None, "$shared/g/a"),
            ("$share", None, "$share"),
            ("a/$share/g/b", None, "a/$share/g/b"),
        ];
        for (text, shared, pattern) in rows {
            let filter = TopicFilter::new(text).unwrap();
            assert_eq!((filter.shared(), filter.pattern()), (shared, pattern), "{text:?}");
        }
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        // Filter, names that it matches, names that it does not match.
        let rows: [(&str, &[&str], &[&str]); 25] = [
            // Section 4.7.1.2.
            (
                "sport/tennis/player1/#",
                &[
                    "sport/tennis/player1",
                    "sport/tennis/player1/ranking",
                    "sport/tennis/player1/score/wimbledon",
                ],
                &["sport/tennis", "sport/tennis/player2", "sport/tennis/player1x", "Sport/tennis/player1"],
            ),
            ("sport/#", &["sport", "sport/", "sport/a/b"], &["sports", "/sport"]),
            ("#", &["a", "/", "/a", "a/b/c", "é/x", "a/$SYS"], &["$SYS", "$SYS/a", "$"]),
            // Section 4.7.1.3.
            (
                "sport/tennis/+",
                &["sport/tennis/player1", "sport/tennis/player2", "sport/tennis/"],
                &["sport/tennis", "sport/tennis/player1/ranking"],
            ),
            ("sport/+", &["sport/", "sport/a", "sport/$a"], &["sport", "sport/a/b"]),
            ("+", &["a", "é"], &["/finance", "/", "a/b", "$SYS"]),
            ("+/+", &["/finance", "/", "a/b", "é/x"], &["a", "a/b/c", "$SYS/a"]),
            ("/+", &["/finance", "/"], &["a/finance", "//"]),
            ("+/tennis/#", &["sport/tennis", "/tennis/a/b"], &["sport/golf", "tennis", "$x/tennis"]),
            (
                "sport/+/player1",
                &["sport/tennis/player1", "sport//player1"],
                &["sport/player1", "sport/a/b/player1"],
            ),
            // Section 4.7.2.
            ("+/monitor/Clients", &["a/monitor/Clients"], &["$SYS/monitor/Clients"]),
            ("$SYS/#", &["$SYS", "$SYS/", "$SYS/monitor/Clients"], &["$SYSTEM", "SYS/a"]),
            ("$SYS/monitor/+", &["$SYS/monitor/Clients"], &["$SYS/monitor", "$SYS/monitor/a/b"]),
            ("$SYS/+/#", &["$SYS/", "$SYS/a", "$SYS/a/b"], &["$SYS"]),
            // Section 4.7.3.
            ("ACCOUNTS", &["ACCOUNTS"], &["Accounts", "ACCOUNTS/", "/ACCOUNTS", "ACCOUNT"]),
            ("Accounts payable", &["Accounts payable"], &["Accounts  payable"]),
            ("/finance", &["/finance"], &["finance", "//finance"]),
            // Empty levels.
            ("/", &["/"], &["a", "//", "a/", "/a"]),
            ("//", &["//"], &["/", "///"]),
            ("/#", &["/", "//", "/a", "/a/"], &["a", "a/"]),
            ("+/#", &["a", "a/", "/", "a/b/c"], &["$SYS", "$SYS/a"]),
            ("a//#", &["a/", "a//", "a//b"], &["a", "a/b"]),
            ("a/+/+/b", &["a///b", "a/x/y/b"], &["a//b", "a/x/y/z/b"]),
            // More than one byte a character, and shared subscriptions.
            ("é/+", &["é/x", "é/è"], &["è/x", "e/x", "é"]),
            ("$share/g/a/#", &["a", "a/b"], &["$share/g/a", "$share/g/a/b", "b"]),
        ];
        for (filter, matched, not_matched) in rows {
            let filter = TopicFilter::new(filter).unwrap();
            for topic in matched {
                assert!(filter.matches(&TopicName::new(*topic).unwrap()), "{filter} {topic}");
            }
            for topic in not_matched {
                assert!(!filter.matches(&TopicName::new(*topic).unwrap()), "{filter} {topic}");
            }
        }
    }

    #[test]
    fn a_shared_wildcard_does_not_match_dollar_names_either() {
        let filter = TopicFilter::new("$share/g/#").unwrap();
        assert!(filter.matches(&TopicName::new("a").unwrap()));
        assert!(!filter.matches(&TopicName::new("$SYS/a").unwrap()));
    }
}
