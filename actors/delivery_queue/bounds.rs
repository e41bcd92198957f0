//! How much may wait for a subscriber, and what happens beyond that.

use std::time::Duration;

/// What happens to messages for a client that is connected and does not take them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowSubscriber {
    /// The message that has no room is dropped.
    #[default]
    DropNewest,
    /// The oldest ones make room.
    DropOldest,
    /// As `DropNewest`, and a client that takes nothing at all for [`QueueLimits::slow_patience`] is disconnected
    /// with Quota exceeded.
    Disconnect,
}

impl SlowSubscriber {
    /// Every choice as users write it.
    pub const NAMES: [&'static str; 3] = [
        SlowSubscriber::DropNewest.as_str(),
        SlowSubscriber::DropOldest.as_str(),
        SlowSubscriber::Disconnect.as_str(),
    ];

    /// The choice as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            SlowSubscriber::DropNewest => "drop_newest",
            SlowSubscriber::DropOldest => "drop_oldest",
            SlowSubscriber::Disconnect => "disconnect",
        }
    }

    /// The choice that users write like this.
    pub fn parse(text: &str) -> Option<SlowSubscriber> {
        let all = [SlowSubscriber::DropNewest, SlowSubscriber::DropOldest, SlowSubscriber::Disconnect];
        all.into_iter().find(|choice| choice.as_str() == text)
    }
}

/// What happens to messages for a client that is not connected, once its queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AbsentSubscriber {
    /// The message that has no room is dropped.
    #[default]
    DropNewest,
    /// The oldest ones make room.
    DropOldest,
}

impl AbsentSubscriber {
    /// Every choice as users write it.
    pub const NAMES: [&'static str; 2] =
        [AbsentSubscriber::DropNewest.as_str(), AbsentSubscriber::DropOldest.as_str()];

    /// The choice as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            AbsentSubscriber::DropNewest => "drop_newest",
            AbsentSubscriber::DropOldest => "drop_oldest",
        }
    }

    /// The choice that users write like this.
    pub fn parse(text: &str) -> Option<AbsentSubscriber> {
        let all = [AbsentSubscriber::DropNewest, AbsentSubscriber::DropOldest];
        all.into_iter().find(|choice| choice.as_str() == text)
    }
}

/// How much may wait for a subscriber.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Messages, while the client is not connected.
    pub messages_max: usize,
    /// Bytes of topics, properties and payloads, and what keeping them costs.
    pub bytes_max: usize,
    /// What happens beyond that to a connected client.
    pub slow: SlowSubscriber,
    /// For how long a connected client must have taken nothing to be disconnected, where that is what happens.
    pub slow_patience: Duration,
    /// What happens beyond that to an absent client.
    pub absent: AbsentSubscriber,
}
