//! An order to send a broker what waits for it, and nothing newer.

/// What is left of a drain: the broker gets what lies before an offset, and then something becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draining {
    /// The end of the log when the drain was asked for: messages from there on wait.
    pub to_offset: u64,
    /// When the drain is over at the latest, in microseconds since the Unix epoch.
    pub deadline_micros: Option<u64>,
    /// What becomes of the broker then.
    pub then: AfterDrain,
}

/// What becomes of a broker that was drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterDrain {
    /// It is paused: what came after the drain point waits for it.
    #[default]
    Pause,
    /// It is disabled: what came after the drain point is not kept for it.
    Disable,
    /// It is removed.
    Remove,
}

impl AfterDrain {
    /// The choice as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            AfterDrain::Pause => "pause",
            AfterDrain::Disable => "disable",
            AfterDrain::Remove => "remove",
        }
    }

    /// The choice that users write like this.
    pub fn parse(text: &str) -> Option<AfterDrain> {
        [AfterDrain::Pause, AfterDrain::Disable, AfterDrain::Remove]
            .into_iter()
            .find(|then| then.as_str() == text)
    }
}
