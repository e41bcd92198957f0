//! Topic Names, Topic Filters and what matches what (MQTT 5.0 section 4.7).

pub mod alias;
mod children;
pub mod filter;
pub(crate) mod level_tree;
pub mod name;
mod subscribers;
pub mod trie;

pub use filter::TopicFilter;
pub use name::{TopicError, TopicName};
pub use trie::FilterTrie;

/// Whether a Topic Name, or a Topic Filter without its share name, lies in the tree `$SYS`, which is the server's own.
pub(crate) fn is_sys(text: &str) -> bool {
    text.strip_prefix("$SYS").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Cuts the first level off a text: the level, and what stands behind its `/`. `None` behind the last level,
/// which is not the same as one more empty level.
pub(crate) fn split_level(text: &str) -> (&str, Option<&str>) {
    match text.bytes().position(|byte| byte == b'/') {
        Some(slash) => (&text[..slash], Some(&text[slash + 1..])),
        None => (text, None),
    }
}
