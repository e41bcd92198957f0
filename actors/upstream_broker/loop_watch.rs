//! What keeps the messages of one broker from coming round: echo credits, the count of copies, and the origin that a
//! message carries.

use std::sync::Arc;
use std::time::Instant;

use mqtt::Properties;

use super::echoes::{Echoes, Expectation};
use super::encoding::properties_of;
use super::filter::RecordFilter;
use crate::bridge::{Bridge, Digest, News, Onward, Stamper, digest};
use crate::broker::{Broker, LoopGuardChoice};
use crate::message_log::Record;
use crate::{BrokerId, Origin};

/// Why a message does not go out now.
pub enum Obstacle {
    /// The broker has the message already, from another proxy.
    Spared,
    /// Nothing goes there before this time.
    Wait(Instant),
}

/// Looks at a message before it goes out: its hash, where copies are counted.
pub fn look(
    watch: Option<&LoopWatch>,
    record: &Record<'_>,
    may_spare: bool,
) -> Result<Option<Digest>, Obstacle> {
    let Some(watch) = watch else { return Ok(None) };
    let Some(digest) = watch.digest(record) else { return Ok(None) };
    let copies = watch.bridge.copies_for(watch.choice).filter(|_| may_spare);
    let onward = copies.map(|mut copies| copies.onward(watch.broker, record.origin, &digest, Instant::now()));
    match onward {
        None | Some(Onward::Send) => Ok(Some(digest)),
        Some(Onward::Spare) => Err(Obstacle::Spared),
        Some(Onward::Wait(until)) => Err(Obstacle::Wait(until)),
    }
}

/// The watch over one bidirectional broker.
pub struct LoopWatch {
    broker: BrokerId,
    name: String,
    choice: LoopGuardChoice,
    /// What the broker is asked for: topics as they are there.
    subscribed: RecordFilter,
    echoes: Option<Echoes>,
    /// What may put our mark on the messages that go there; `None` where none can carry it.
    stamper: Option<Stamper>,
    bridge: Arc<Bridge>,
    /// Whether it was said that messages of ours come back.
    loop_logged: bool,
}

impl LoopWatch {
    /// The watch over a connection; `None` for a broker that is asked for nothing. `as_bridge` says whether the broker
    /// accepted us as a bridge, and `earlier` is the watch over the last connection.
    pub fn over(
        broker: &Broker,
        as_bridge: bool,
        earlier: Option<LoopWatch>,
        bridge: &Arc<Bridge>,
    ) -> Option<LoopWatch> {
        let subscription = broker.subscription.as_ref()?;
        let expectation = match broker.loop_guard {
            LoopGuardChoice::Bridge | LoopGuardChoice::Off => None,
            LoopGuardChoice::Credits => Some(Expectation::Echoes),
            // No Local, which a broker of 5.0 has to know.
            LoopGuardChoice::Auto if broker.version.is_v5() => None,
            LoopGuardChoice::Auto if as_bridge => Some(Expectation::Silence),
            LoopGuardChoice::Auto => Some(Expectation::Echoes),
        };
        let earlier = earlier.and_then(|watch| watch.echoes);
        let echoes = expectation.map(|expectation| match earlier {
            Some(echoes) => echoes.resumed(expectation),
            None => Echoes::new(expectation),
        });
        let stamper = Stamper { bridge: bridge.clone(), choice: broker.stamp_origin };
        Some(LoopWatch {
            broker: broker.id,
            name: broker.name.clone(),
            choice: broker.loop_guard,
            subscribed: RecordFilter::of_subscription(broker.id, subscription),
            echoes,
            stamper: broker.version.is_v5().then_some(stamper),
            bridge: bridge.clone(),
            loop_logged: false,
        })
    }

    /// The hash of a message's topic here and its payload, where copies are counted.
    fn digest(&self, record: &Record<'_>) -> Option<Digest> {
        let is_counted = self.bridge.copies_for(self.choice).is_some();
        is_counted.then(|| digest(record.topic_name, record.payload))
    }

    /// A message goes out, under another topic than here where that is given.
    pub fn note(&mut self, topic_there: Option<&str>, record: &Record<'_>, digest: Option<Digest>) {
        let topic_there = topic_there.map_or(record.topic_name, str::as_bytes);
        let is_watching = self.echoes.as_ref().is_some_and(Echoes::is_watching);
        if !(is_watching || digest.is_some()) || !self.subscribed.wants_topic(topic_there) {
            return;
        }
        let now = Instant::now();
        let is_marked = is_watching && self.is_marked(record);
        if let Some(echoes) = self.echoes.as_mut().filter(|echoes| echoes.is_watching()) {
            match is_marked {
                true => echoes.note_marked(topic_there, record.payload, now),
                false => echoes.note(topic_there, record.payload, now),
            }
        }
        if let (Some(digest), Some(mut copies)) = (digest, self.bridge.copies_for(self.choice)) {
            copies.sent(self.broker, record.origin, digest, now);
        }
    }

    /// Whether a message carries our own mark on its way to the broker, and so on its way back `[MQTT-3.3.2-17]`.
    fn is_marked(&self, record: &Record<'_>) -> bool {
        let Some(stamps) = self.stamper.as_ref().and_then(Stamper::stamps) else { return false };
        !matches!(record.origin, Origin::Upstream(_))
            || properties_of(record).is_none_or(|properties| stamps.is_first(&properties))
    }

    /// Whether a message of the broker is one of ours that it sends back. An echo is known by what is on the wire.
    pub fn is_echo(&mut self, topic_there: &[u8], payload: &[u8], properties: &Properties) -> bool {
        let Some(echoes) = &mut self.echoes else { return false };
        if self.bridge.stamps().is_ours(properties) {
            return echoes.is_marked_echo(topic_there, payload, Instant::now());
        }
        let (was_caught, was_suspected) = (echoes.is_caught(), echoes.is_suspected());
        let has_several_sources = self.bridge.has_several_sources();
        let is_echo = echoes.is_echo(topic_there, payload, has_several_sources, Instant::now());
        if echoes.is_suspected() && !was_suspected {
            log::warn!(
                "broker {}: all that is sent there comes back, from other proxies or from the broker itself; if no other \
                 proxy is there, set loop_guard to credits",
                self.name
            );
        }
        if echoes.is_caught() && !was_caught {
            // They looked like copies that others brought.
            self.bridge.forget_copies();
            log::warn!(
                "broker {}: sends our own messages back although it took us for a bridge; they are recognised by \
                 credits",
                self.name
            );
        }
        is_echo
    }

    /// Whether a message of the broker came round: it carries our own mark, or it is a copy of what was here. The
    /// topic is the one here.
    pub fn came_round(&mut self, topic_here: &[u8], payload: &[u8], properties: &Properties) -> bool {
        let is_ours = self.bridge.stamps().is_ours(properties);
        if is_ours && !self.loop_logged {
            log::info!("broker {}: messages of ours come back from it and are dropped", self.name);
            self.loop_logged = true;
        }
        let Some(mut copies) = self.bridge.copies_for(self.choice) else { return is_ours };
        let judgement = copies.arrived(self.broker, digest(topic_here, payload), Instant::now());
        match judgement.news {
            Some(News::Ring) => {
                log::info!("broker {}: messages come round through it: copies are left out", self.name);
            }
            Some(News::NoRing) => log::info!("broker {}: no messages come round any more", self.name),
            None => {}
        }
        is_ours || !judgement.is_taken
    }
}
