//! The receiving half of a session as the standard has it: what it remembers outlives connections, and so it
//! says which message of QoS 2 is new. It watches the sender for what a sender must not do.

use std::collections::{HashMap, HashSet};

use super::Version;
use super::packets::{self, Packet, Publish, kind};

/// What a receiver took, and what it still remembers of open flows.
#[derive(Default)]
pub struct Receiver {
    unreleased: HashMap<u16, Publish>,
    arrivals: Vec<Publish>,
    repeats: usize,
    faults: Vec<String>,
}

impl Receiver {
    /// A new session: the open flows are forgotten, what was taken is not.
    pub fn forget_flows(&mut self) {
        self.unreleased.clear();
    }

    /// Takes a PUBLISH or a PUBREL in, and says what is to be answered.
    pub fn take(&mut self, packet: &Packet, version: Version) -> Option<Vec<u8>> {
        match packet.kind() {
            kind::PUBLISH => self.take_message(Publish::decode(packet, version)),
            kind::PUBREL => Some(self.release(packet, version)),
            _ => {
                self.faults.push(format!("a receiver does not expect {packet:?}"));
                None
            }
        }
    }

    fn take_message(&mut self, message: Publish) -> Option<Vec<u8>> {
        let id = message.id;
        match message.qos {
            0 => {
                if message.dup {
                    self.faults.push(format!("DUP at QoS 0: {}", message.text()));
                }
                self.arrivals.push(message);
                None
            }
            1 => {
                self.arrivals.push(message);
                Some(packets::ack(kind::PUBACK, id))
            }
            _ => {
                self.take_once(message);
                Some(packets::ack(kind::PUBREC, id))
            }
        }
    }

    fn take_once(&mut self, message: Publish) {
        let Some(known) = self.unreleased.get(&message.id) else {
            self.unreleased.insert(message.id, message.clone());
            return self.arrivals.push(message);
        };
        self.repeats += 1;
        let (id, old, new) = (message.id, known.text(), message.text());
        if old != new {
            self.faults.push(format!("identifier {id} was given to {new:?} while {old:?} was not released"));
        } else if !message.dup {
            self.faults.push(format!("{new:?} came again under identifier {id} without DUP"));
        }
    }

    fn release(&mut self, packet: &Packet, version: Version) -> Vec<u8> {
        if packet.first != 0x62 {
            self.faults.push(format!("the flags of a PUBREL are wrong: {packet:?}"));
        }
        let id = packet.id();
        if self.unreleased.remove(&id).is_none() && version.is_v5() {
            // Packet Identifier not found.
            let body = [packet.body[0], packet.body[1], 0x92];
            return packets::frame(kind::PUBCOMP << 4, &body);
        }
        packets::ack(kind::PUBCOMP, id)
    }

    /// Every message that was taken, in order; those of QoS 2 without their repeats.
    pub fn arrivals(&self) -> &[Publish] {
        &self.arrivals
    }

    /// How many messages of QoS 2 came again.
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    /// How many messages of QoS 2 were received and not released.
    pub fn open_flows(&self) -> usize {
        self.unreleased.len()
    }

    /// What the sender must not do and did.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }
}

/// The payloads of the messages on one topic, in order.
pub fn texts_on(topic: &str, messages: &[Publish]) -> Vec<String> {
    messages.iter().filter(|message| message.topic == topic).map(Publish::text).collect()
}

/// Each text where it stands for the first time.
pub fn first_of_each(texts: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    texts.iter().filter(|text| seen.insert((*text).clone())).cloned().collect()
}
