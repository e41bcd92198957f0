//! Topic Names, Topic Filters and what matches what (MQTT 5.0 section 4.7).

pub mod filter;
pub mod name;

pub use filter::TopicFilter;
pub use name::{TopicError, TopicName};
