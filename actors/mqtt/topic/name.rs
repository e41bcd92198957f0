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

    /// Whether the name starts with `$` and so is not matched by a leading wildcard `[MQTT-4.7.2-1]`.
    pub fn is_dollar(&self) -> bool {
        self.0.as_bytes().first() == Some(&b'$')
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
