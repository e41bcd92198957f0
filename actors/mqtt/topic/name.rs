//! Topic Names: where a message is published.

use bytes::Bytes;
use bytestring::ByteString;

/// Why a string is not a Topic Name or a Topic Filter; the text completes "topic name: ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicError(pub &'static str);

impl std::fmt::Display for TopicError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for TopicError {}

/// A Topic Name: 1 to 65,535 bytes of UTF-8 `[MQTT-4.7.3-1]` without wildcards `[MQTT-3.3.2-2]` and without
/// U+0000 `[MQTT-4.7.3-2]`. Case and every `/` count. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(ByteString);

impl TopicName {
    /// Checks a string and makes it a Topic Name.
    pub fn new(name: impl Into<ByteString>) -> Result<TopicName, TopicError> {
        let name = name.into();
        TopicName::check(&name)?;
        Ok(TopicName(name))
    }

    /// Whether a string is a Topic Name.
    pub(crate) fn check(name: &str) -> Result<(), TopicError> {
        if name.is_empty() {
            return Err(TopicError("must not be empty"));
        }
        if name.len() > usize::from(u16::MAX) {
            return Err(TopicError("must not be longer than 65,535 bytes"));
        }
        for byte in name.as_bytes() {
            match byte {
                0 => return Err(TopicError("must not have U+0000")),
                b'+' | b'#' => return Err(TopicError("must not have wildcards")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether bytes are a Topic Name of ASCII characters only, as nearly all are; a quick answer for every
    /// PUBLISH that comes in. The answer no means that [`TopicName::check`] has to decide.
    #[inline]
    pub(crate) fn is_plain(name: &[u8]) -> bool {
        let Some(last) = name.last_chunk() else {
            return !name.is_empty() && name.iter().all(|byte| !matches!(byte, 0 | b'+' | b'#' | 0x80..));
        };
        // The last eight bytes overlap with the word before, so that no single bytes are left.
        name.len() <= usize::from(u16::MAX)
            && name.as_chunks().0.iter().all(is_plain_word)
            && is_plain_word(last)
    }

    /// The Topic Name of bytes that were checked by one of the above; `None` where there are no bytes.
    #[inline]
    pub(crate) fn from_checked(name: Bytes) -> Option<TopicName> {
        let name = ByteString::try_from(name).ok().filter(|name| !name.is_empty());
        name.map(TopicName)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as shared bytes.
    pub fn as_byte_string(&self) -> &ByteString {
        &self.0
    }

    /// A copy with a text of its own. A name out of a packet is a slice of what was read from the network; whoever
    /// keeps a name for long keeps this copy, and not the whole read buffer.
    pub fn detached(&self) -> TopicName {
        TopicName(ByteString::from(self.as_str().to_owned()))
    }

    /// Whether the name starts with `$` and so is not matched by a leading wildcard `[MQTT-4.7.2-1]`.
    pub fn is_dollar(&self) -> bool {
        self.0.as_bytes().first() == Some(&b'$')
    }

    /// Whether the name is `$SYS` or below it, where only the server publishes.
    pub fn is_sys(&self) -> bool {
        self.is_dollar() && super::is_sys(&self.0)
    }
}

/// Whether eight bytes are ASCII without U+0000, `+` and `#`, looked at in one step.
#[inline]
fn is_plain_word(word: &[u8; 8]) -> bool {
    let word = u64::from_ne_bytes(*word);
    // `+` and `#` differ in one bit: with that bit set, both are `+`.
    let wildcards = (word | repeated(b'+' ^ b'#')) ^ repeated(b'+');
    (zero_bytes(word) | zero_bytes(wildcards) | word) & repeated(0x80) == 0
}

const fn repeated(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Sets the highest bit of each byte that is 0: only there, and above one, does the subtraction borrow into it.
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeated(1)) & !word
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TopicName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::fmt::Debug for TopicName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "TopicName({:?})", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_topic_name_and_what_is_not() {
        let longest = "a".repeat(65_535);
        for name in [
            "a",
            "/",
            "//",
            "a/b",
            "/a",
            "a/",
            "a//b",
            " ",
            "$SYS/x",
            "$",
            "é/x",
            "\u{feff}a",
            "A a",
            &longest,
        ] {
            assert!(TopicName::new(name.to_owned()).is_ok(), "{name:?}");
        }
        let too_long = "a".repeat(65_536);
        let too_long_in_bytes = "é".repeat(32_768);
        for name in ["", "+", "#", "a/+", "a/#", "a+", "a#b", "a\0", "\0", &too_long, &too_long_in_bytes] {
            assert!(TopicName::new(name.to_owned()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn only_a_leading_dollar_counts() {
        for (name, is_dollar) in
            [("$SYS", true), ("$", true), ("a/$SYS", false), ("/$SYS", false), ("é$", false)]
        {
            assert_eq!(TopicName::new(name).map(|name| name.is_dollar()), Ok(is_dollar), "{name:?}");
        }
    }

    #[test]
    fn the_tree_of_the_server_is_one_whole_level() {
        for (name, is_sys) in [
            ("$SYS", true),
            ("$SYS/", true),
            ("$SYS/broker/uptime", true),
            ("$SYSTEM/a", false),
            ("$sys/a", false),
            ("$", false),
            ("SYS/a", false),
            ("a/$SYS", false),
        ] {
            assert_eq!(TopicName::new(name).map(|name| name.is_sys()), Ok(is_sys), "{name:?}");
        }
    }

    #[test]
    fn a_detached_name_is_equal_and_has_its_own_text() {
        let name = TopicName::new("a/b").unwrap();
        let detached = name.detached();
        assert_eq!(name, detached);
        assert_ne!(name.as_str().as_ptr(), detached.as_str().as_ptr());
    }
}
