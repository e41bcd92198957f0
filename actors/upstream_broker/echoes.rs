//! Whether a broker sends our own messages back, and which of what comes in are such echoes. Pure: the time is an input.

use std::collections::HashSet;
use std::time::Instant;

use super::loop_guard::LoopGuard;
use crate::bridge::{Digest, digest};
use crate::limits;

/// What a broker does with our own messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// It sends back everything that matches our subscriptions.
    Echoes,
    /// It said that it would not, which is tried with the first messages of the connection.
    Silence,
}

/// Echo credits, and whether they are in force.
pub struct Echoes {
    guard: LoopGuard,
    /// The credits of what carries our own mark. Its echo carries it too, so what carries none uses up none of them.
    marked: LoopGuard,
    stage: Stage,
    /// What was sent in the trial.
    tried: HashSet<Digest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Every message comes back.
    Certain,
    /// So many different messages were sent, and so many of them came back.
    Trial { sent: u32, echoes: u32 },
    /// It sends messages back although it said that it would not.
    Caught,
    /// It keeps its word.
    Trusted,
    /// Everything came back, and it may have been other proxies that brought it.
    Suspected,
}

impl Echoes {
    /// A connection begins.
    pub fn new(expectation: Expectation) -> Echoes {
        let (stage, patience) = match expectation {
            Expectation::Echoes => (Stage::Certain, limits::ECHO_PATIENCE),
            Expectation::Silence => (Stage::Trial { sent: 0, echoes: 0 }, limits::ECHO_TRIAL_PATIENCE),
        };
        let guard = LoopGuard::new(patience, limits::ECHO_CREDITS_MAX);
        let marked = LoopGuard::new(patience, limits::ECHO_CREDITS_MAX);
        Echoes { guard, marked, stage, tried: HashSet::default() }
    }

    /// Another connection to the same broker: what was sent to one that echoes may still come back.
    pub fn resumed(self, expectation: Expectation) -> Echoes {
        match (self.stage, expectation) {
            (Stage::Certain, Expectation::Echoes) | (Stage::Caught, Expectation::Silence) => self,
            _ => Echoes::new(expectation),
        }
    }

    /// Whether messages that go out have to be noted.
    pub fn is_watching(&self) -> bool {
        !matches!(
            self.stage,
            Stage::Trusted | Stage::Suspected | Stage::Trial { sent: limits::ECHO_TRIAL_MESSAGES, .. }
        )
    }

    /// A message goes out that matches our subscriptions; the topic is the one on the wire.
    pub fn note(&mut self, topic_name: &[u8], payload: &[u8], now: Instant) {
        if let Stage::Trial { sent, .. } = &mut self.stage {
            // What goes round comes back again and again, and says nothing new.
            if !self.tried.insert(digest(topic_name, payload)) {
                return;
            }
            *sent += 1;
        }
        self.guard.sent(topic_name, payload, now);
    }

    /// The same for a message that carries our own mark.
    pub fn note_marked(&mut self, topic_name: &[u8], payload: &[u8], now: Instant) {
        self.marked.sent(topic_name, payload, now);
    }

    /// Whether a message of the broker that carries our own mark comes straight back from it. One that does not has come
    /// round.
    pub fn is_marked_echo(&mut self, topic_name: &[u8], payload: &[u8], now: Instant) -> bool {
        self.marked.is_echo(topic_name, payload, now)
    }

    /// Whether a message of the broker is one of ours that it sends back. With several sources, other proxies may bring
    /// copies: then it is held to be the broker only where everything comes back.
    pub fn is_echo(
        &mut self,
        topic_name: &[u8],
        payload: &[u8],
        has_several_sources: bool,
        now: Instant,
    ) -> bool {
        let enough = if has_several_sources { limits::ECHO_TRIAL_MESSAGES } else { limits::ECHO_TRIAL_MAX };
        let is_one = self.guard.is_echo(topic_name, payload, now);
        match &mut self.stage {
            Stage::Certain => {}
            Stage::Trusted | Stage::Suspected => return false,
            Stage::Trial { echoes, .. } => {
                *echoes += u32::from(is_one);
                if *echoes < enough {
                    return false;
                }
                if has_several_sources {
                    // A copy that is taken for an echo would hide a ring, so the count of copies has to do.
                    self.stage = Stage::Suspected;
                    return false;
                }
                self.stage = Stage::Caught;
                self.tried = HashSet::default();
            }
            Stage::Caught if self.guard.is_in_doubt() => {
                // Somebody else said the same as we did, or brought it back, a few times.
                self.stage = Stage::Trusted;
                self.guard = LoopGuard::new(limits::ECHO_TRIAL_PATIENCE, limits::ECHO_CREDITS_MAX);
                return false;
            }
            Stage::Caught => {}
        }
        is_one
    }

    /// Whether everything came back, from the broker or from other proxies.
    pub fn is_suspected(&self) -> bool {
        self.stage == Stage::Suspected
    }

    /// Whether the broker sends messages back although it said that it would not.
    pub fn is_caught(&self) -> bool {
        self.stage == Stage::Caught
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(echoes: &mut Echoes, number: u32, now: Instant) {
        echoes.note(b"t", &number.to_le_bytes(), now);
    }

    fn comes_back(echoes: &mut Echoes, number: u32, has_several_sources: bool, now: Instant) -> bool {
        echoes.is_echo(b"t", &number.to_le_bytes(), has_several_sources, now)
    }

    #[test]
    fn a_broker_that_keeps_its_word_is_trusted_after_some_messages() {
        let (mut echoes, now) = (Echoes::new(Expectation::Silence), Instant::now());
        for number in 0..limits::ECHO_TRIAL_MESSAGES {
            assert!(echoes.is_watching());
            // The same twice is one.
            note(&mut echoes, number, now);
            note(&mut echoes, 0, now);
        }
        assert!(!echoes.is_watching());
        // What somebody else publishes, once or twice, is no echo.
        for number in 0..limits::ECHO_TRIAL_MAX - 1 {
            assert!(!comes_back(&mut echoes, number, false, now));
        }
        assert!(!echoes.is_caught());
    }

    #[test]
    fn a_broker_that_breaks_its_word_is_met_with_credits() {
        let (mut echoes, now) = (Echoes::new(Expectation::Silence), Instant::now());
        for number in 0..40 {
            note(&mut echoes, number, now);
            let is_noticed = number + 1 >= limits::ECHO_TRIAL_MAX;
            assert_eq!(comes_back(&mut echoes, number, false, now), is_noticed);
        }
        assert!(echoes.is_caught() && echoes.is_watching());
        assert!(!comes_back(&mut echoes, 39, false, now), "somebody else sent it once more");
    }

    #[test]
    fn what_carries_our_mark_and_what_carries_none_are_not_taken_for_each_other() {
        let (mut echoes, now) = (Echoes::new(Expectation::Echoes), Instant::now());
        echoes.note_marked(b"t", b"21.5", now);
        assert!(!echoes.is_echo(b"t", b"21.5", false, now), "somebody else measures the same");
        assert!(echoes.is_marked_echo(b"t", b"21.5", now));
        assert!(!echoes.is_marked_echo(b"t", b"21.5", now));
        echoes.note(b"t", b"21.5", now);
        assert!(!echoes.is_marked_echo(b"t", b"21.5", now));
        assert!(echoes.is_echo(b"t", b"21.5", false, now));
    }

    #[test]
    fn where_other_proxies_may_bring_copies_nothing_is_taken_for_an_echo() {
        let (mut echoes, now) = (Echoes::new(Expectation::Silence), Instant::now());
        for number in 0..limits::ECHO_TRIAL_MESSAGES {
            note(&mut echoes, number, now);
            assert!(!comes_back(&mut echoes, number, true, now));
        }
        assert!(echoes.is_suspected() && !echoes.is_watching());
    }

    #[test]
    fn one_that_was_caught_by_chance_is_trusted_again() {
        let (mut echoes, now) = (Echoes::new(Expectation::Silence), Instant::now());
        for number in 0..limits::ECHO_TRIAL_MAX {
            note(&mut echoes, number, now);
            comes_back(&mut echoes, number, false, now);
        }
        assert!(echoes.is_caught());
        for number in 0..limits::ECHO_TRIAL_MAX {
            note(&mut echoes, number, now);
        }
        assert!(!echoes.is_echo(b"t", b"of others", false, now + limits::ECHO_TRIAL_PATIENCE));
        assert!(!echoes.is_caught() && !echoes.is_watching());
    }
}
