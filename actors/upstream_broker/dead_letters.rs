//! Messages that a broker can never take, on their way to local subscribers of `$SYS/broker/dead/#`.

use actix::prelude::*;
use bytes::Bytes;
use mqtt::property::PropertyOwner;
use mqtt::{Message as ApplicationMessage, Properties, Property, QoS, ReasonCode, TopicName};

use super::UpstreamBroker;
use super::drop_reason::DropReason;
use crate::message_log::Record;
use crate::messages::Route;
use crate::sys_topics::level;
use crate::{Origin, limits};

/// Where all dead letters lie: below the broker's name, under their own topic.
const ROOT: &str = "$SYS/broker/dead/";

/// Those that the Router does not have yet.
#[derive(Default)]
pub struct DeadLetters {
    broker: String,
    /// [`ROOT`] with the broker's name as one level.
    prefix: String,
    waiting: Vec<ApplicationMessage>,
    bytes: usize,
}

impl DeadLetters {
    /// The broker has another name.
    pub fn rename(&mut self, broker: &str) {
        if self.broker != broker {
            broker.clone_into(&mut self.broker);
            self.prefix = format!("{ROOT}{}/", level(broker));
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the next message that may wait in the log should do so.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= limits::DEAD_LETTERS_WAITING || self.bytes >= limits::DEAD_LETTER_BYTES_WAITING
    }

    /// Takes a copy of the message, if the reason is one for good. Beyond twice the bounds of [`DeadLetters::is_full`] there is none, nor of what is
    /// a dead letter itself: such a message is counted, and that is all.
    pub fn push(&mut self, record: &Record<'_>, reason: DropReason, reason_code: Option<ReasonCode>) {
        let bytes = record.topic_name.len() + record.properties.len() + record.payload.len();
        let fits = self.waiting.len() < 2 * limits::DEAD_LETTERS_WAITING
            && (self.is_empty() || self.bytes + bytes <= 2 * limits::DEAD_LETTER_BYTES_WAITING);
        if !reason.is_final() || !fits || record.topic_name.starts_with(ROOT.as_bytes()) {
            return;
        }
        let text = std::str::from_utf8(record.topic_name).unwrap_or_default();
        // A topic that is too long with its prefix has no place.
        let Ok(topic_name) = TopicName::new(format!("{}{text}", self.prefix)) else { return };
        let reason = match reason_code {
            Some(code) => format!("{}: {code}", reason.as_str()),
            None => reason.as_str().to_owned(),
        };
        let of_message = Properties::parse(Bytes::copy_from_slice(record.properties), PropertyOwner::Publish);
        let properties = of_message
            .unwrap_or_default()
            .with(Property::UserProperty("reason".into(), reason.into()))
            .with(Property::UserProperty("broker".into(), self.broker.as_str().into()));
        self.bytes += bytes;
        self.waiting.push(ApplicationMessage {
            topic_name,
            qos: QoS::AtMostOnce,
            retain: false,
            properties,
            payload: Bytes::copy_from_slice(record.payload),
        });
    }

    fn take(&mut self) -> Vec<ApplicationMessage> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

impl UpstreamBroker {
    /// Gives dead letters to the Router, one batch at a time. The broker's own messages go on meanwhile, unless there
    /// are very many dead ones among them.
    pub(super) fn publish_dead_letters(&mut self, context: &mut Context<Self>) {
        let letters = self.outbox.dead_letters();
        if letters.is_empty() || self.is_burying {
            return;
        }
        let batch = letters.take();
        self.is_burying = true;
        let routed = self.context.router.send(Route::new(Origin::System, batch)).into_actor(self);
        context.spawn(routed.map(|_, actor, context| {
            actor.is_burying = false;
            // The driver may have had its turn already: this gives it another.
            context.wait(actix::fut::ready(()));
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters_of(broker: &str) -> DeadLetters {
        let mut letters = DeadLetters::default();
        letters.rename(broker);
        letters
    }

    fn record<'a>(topic: &'a str, payload: &'a [u8]) -> Record<'a> {
        Record {
            offset: 0,
            is_state: false,
            annex: &[],
            qos: QoS::ExactlyOnce,
            retain: true,
            origin: Origin::Device,
            received_at_micros: 0,
            topic_name: topic.as_bytes(),
            properties: &[1, 1],
            payload,
        }
    }

    #[test]
    fn a_dead_letter_says_where_it_was_going_and_why_it_is_dead() {
        let mut letters = letters_of("a/b+");
        letters.push(&record("t/1", b"x"), DropReason::Refused, Some(ReasonCode::QuotaExceeded));
        letters.push(&record("t/2", b"y"), DropReason::TooLarge, None);
        let taken = letters.take();
        let shown: Vec<_> = taken
            .iter()
            .map(|letter| {
                assert_eq!(
                    letter.properties.payload_format_indicator(),
                    Some(true),
                    "its own properties stay"
                );
                assert_eq!((letter.qos, letter.retain), (QoS::AtMostOnce, false));
                let properties: Vec<_> = letter
                    .properties
                    .user_properties()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                format!("{} {}", letter.topic_name, properties.join(" "))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "$SYS/broker/dead/a%2Fb%2B/t/1 reason=refused: quota exceeded (0x97) broker=a/b+",
                "$SYS/broker/dead/a%2Fb%2B/t/2 reason=too_large broker=a/b+"
            ]
        );
        assert!(letters.is_empty());
    }

    #[test]
    fn what_is_dead_already_or_has_no_place_is_left_out() {
        let mut letters = letters_of("b");
        letters.push(&record("$SYS/broker/dead/b/t", b""), DropReason::TooLarge, None);
        letters.push(&record(&"t".repeat(65_530), b""), DropReason::TooLarge, None);
        assert!(letters.is_empty());
    }

    #[test]
    fn they_are_bounded_and_a_large_one_alone_fits() {
        let large = vec![0; 3 * limits::DEAD_LETTER_BYTES_WAITING];
        let mut letters = letters_of("b");
        letters.push(&record("t", &large), DropReason::TooLarge, None);
        assert!(letters.is_full());
        letters.push(&record("t", b""), DropReason::TooLarge, None);
        assert_eq!(letters.take().len(), 1);
        assert!(!letters.is_full());
        for _ in 0..3 * limits::DEAD_LETTERS_WAITING {
            letters.push(&record("t", b""), DropReason::TooLarge, None);
        }
        assert_eq!(letters.take().len(), 2 * limits::DEAD_LETTERS_WAITING);
    }
}
