//! An upstream broker that does nothing but acknowledge and count.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::stamp::Stamp;
use crate::wire::{self, Frame};

/// How it treats the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Manner {
    /// It takes everything and acknowledges at once.
    Well,
    /// It reads nothing.
    Hanging,
    /// It refuses every connection.
    Refusing,
    /// It reads and acknowledges a little now and then.
    Slow,
    /// Nobody listens.
    Away,
}

impl Manner {
    const ALL: [Manner; 5] = [Manner::Well, Manner::Hanging, Manner::Refusing, Manner::Slow, Manner::Away];
}

pub struct NullUpstream {
    port: u16,
    manner: AtomicU8,
    ledger: Mutex<Ledger>,
    connects: AtomicU64,
    topic_aliases: AtomicU16,
    clock: Clock,
}

impl NullUpstream {
    pub fn new(port: u16, clock: Clock) -> NullUpstream {
        let manner = AtomicU8::new(Manner::Well as u8);
        NullUpstream {
            port,
            manner,
            ledger: Mutex::new(Ledger::new()),
            connects: AtomicU64::new(0),
            topic_aliases: AtomicU16::new(0),
            clock,
        }
    }

    pub fn manner(&self) -> Manner {
        Manner::ALL[usize::from(self.manner.load(Ordering::Relaxed))]
    }

    pub fn set_manner(&self, manner: Manner) {
        self.manner.store(manner as u8, Ordering::Relaxed);
    }

    /// The Topic Alias Maximum of the next connections.
    pub fn set_topic_aliases(&self, maximum: u16) {
        self.topic_aliases.store(maximum, Ordering::Relaxed);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often a broker has connected and been accepted.
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enters every complete packet of `buffer` and returns how many bytes they took.
pub fn take_packets(
    buffer: &[u8],
    version: &mut u8,
    upstream: &NullUpstream,
    replies: &mut Vec<u8>,
) -> Result<usize, String> {
    let now = upstream.clock.nanos();
    let mut ledger = upstream.ledger();
    let mut used = 0;
    while let Some(frame) = wire::next_frame(&buffer[used..])? {
        used += frame.bytes;
        if frame.first & 0xF0 == wire::PUBLISH {
            take_publish(&frame, *version, &mut ledger, now, replies)?;
        } else {
            answer(&frame, version, upstream, replies)?;
        }
    }
    Ok(used)
}

fn take_publish(
    frame: &Frame<'_>,
    version: u8,
    ledger: &mut Ledger,
    now: u64,
    replies: &mut Vec<u8>,
) -> Result<(), String> {
    let (packet_id, payload) = wire::read_publish(frame, version).ok_or("a malformed PUBLISH")?;
    if let Some(stamp) = Stamp::read(payload) {
        ledger.arrived(stamp, payload.len(), now);
    }
    match frame.first & 0x06 {
        0x02 => wire::put_acknowledgement(replies, wire::PUBACK, packet_id),
        0x04 => wire::put_acknowledgement(replies, wire::PUBREC, packet_id),
        _ => {}
    }
    Ok(())
}

fn answer(
    frame: &Frame<'_>,
    version: &mut u8,
    upstream: &NullUpstream,
    replies: &mut Vec<u8>,
) -> Result<(), String> {
    let packet_id = wire::read_packet_id(frame).unwrap_or_default();
    match frame.first {
        wire::CONNECT => {
            // Protocol name and its length, then the level; a bridge sets the highest bit of the level.
            *version = frame.body.get(6).ok_or("a CONNECT without a protocol level")? & 0x7F;
            let is_refused = upstream.manner() == Manner::Refusing;
            upstream.connects.fetch_add(u64::from(!is_refused), Ordering::Relaxed);
            let [high, low] = upstream.topic_aliases.load(Ordering::Relaxed).to_be_bytes();
            let answer: &[u8] = match (*version, is_refused) {
                (5, false) => &[6, 0, 0, 3, 0x22, high, low],
                (5, true) => &[3, 0, 0x88, 0],
                (_, false) => &[2, 0, 0],
                (_, true) => &[2, 0, 3],
            };
            replies.push(wire::CONNACK);
            replies.extend_from_slice(answer);
        }
        wire::PUBREL => wire::put_acknowledgement(replies, wire::PUBCOMP, packet_id),
        wire::SUBSCRIBE | wire::UNSUBSCRIBE => answer_filters(frame, *version, packet_id, replies)?,
        wire::PINGREQ => replies.extend_from_slice(&[wire::PINGRESP, 0]),
        wire::DISCONNECT => {}
        other => return Err(format!("an unexpected packet of type {other:#04x}")),
    }
    Ok(())
}

/// Grants every filter of a SUBSCRIBE QoS 0 and agrees to every filter of an UNSUBSCRIBE.
fn answer_filters(
    frame: &Frame<'_>,
    version: u8,
    packet_id: u16,
    replies: &mut Vec<u8>,
) -> Result<(), String> {
    let subscribe = frame.first == wire::SUBSCRIBE;
    let filters = wire::count_filters(frame, version).ok_or("a malformed SUBSCRIBE or UNSUBSCRIBE")?;
    let codes = if subscribe || version == 5 { filters } else { 0 };
    let properties = usize::from(version == 5);
    replies.push(if subscribe { wire::SUBACK } else { wire::UNSUBACK });
    let length = 2 + properties + codes;
    if length > 127 {
        return Err("too many filters in one packet".to_owned());
    }
    replies.push(length as u8);
    replies.extend_from_slice(&packet_id.to_be_bytes());
    replies.resize(replies.len() + properties + codes, 0);
    Ok(())
}
