//! What happened to an upstream broker of late, kept in memory for who asks why.

use std::collections::VecDeque;

use crate::timestamp::unix_micros;

/// How many events are kept for each broker.
const EVENTS_MAX: usize = 50;

/// Something that happened to a broker's connection, or that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamEvent {
    /// When, in microseconds since the Unix epoch.
    pub at_micros: u64,
    /// What: a state of the connection, or `paused`, `resumed`, `draining`, `moved`, `reconnect_requested`.
    pub event: &'static str,
    /// Why, where that is known.
    pub cause: Option<String>,
}

/// The last events of a broker, the oldest first.
#[derive(Debug, Default)]
pub struct Events(VecDeque<UpstreamEvent>);

impl Events {
    /// Something happened now.
    pub fn push(&mut self, event: &'static str, cause: Option<String>) {
        if self.0.len() == EVENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(UpstreamEvent { at_micros: unix_micros(), event, cause });
    }

    /// All that are kept, the oldest first.
    pub fn to_vec(&self) -> Vec<UpstreamEvent> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_events_are_kept_in_their_order() {
        let mut events = Events::default();
        events.push("connecting", None);
        for number in 0..EVENTS_MAX {
            events.push("waiting_to_retry", Some(number.to_string()));
        }
        let kept = events.to_vec();
        assert_eq!(kept.len(), EVENTS_MAX);
        let causes: Vec<_> = kept.iter().map(|event| event.cause.clone()).collect();
        assert_eq!(causes, (0..EVENTS_MAX).map(|number| Some(number.to_string())).collect::<Vec<_>>());
    }
}
