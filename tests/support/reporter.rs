//! A device that never forgets: it publishes in a session that outlives connections, sends again what is not
//! acknowledged when it is back, and goes on with QoS 2 flows where they were. Its Packet Identifiers come round
//! soon, so that whoever remembers one for too long is found out.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::packets::{self, Connack, Connect, Packet, Publish, kind};
use super::random::Random;
use super::wire::{Seen, Wire};
use super::{DEADLINE, Version};

/// Messages on their way at a time.
const WINDOW: usize = 30;
/// Packet Identifiers are 1 to this.
const IDS: u16 = 50;

/// The device. It publishes numbers on `NAME/1` with QoS 1 and on `NAME/2` with QoS 2.
pub struct Reporter {
    connect: Connect,
    wire: Option<Wire>,
    last_id: u16,
    open: VecDeque<Open>,
    has_session: bool,
    sent: [usize; 2],
    random: Random,
    /// Flows that are over, for whoever waits for the right moment.
    finished: Arc<AtomicUsize>,
    payload_bytes: usize,
}

struct Open {
    message: Publish,
    is_received: bool,
}

impl Reporter {
    /// A device that is not connected yet.
    pub fn new(version: Version, name: &str, seed: u64) -> Reporter {
        Reporter {
            connect: Connect::new(version, name).persistent(),
            wire: None,
            last_id: 0,
            open: VecDeque::new(),
            has_session: false,
            sent: [0; 2],
            random: Random::seeded(seed),
            finished: Arc::new(AtomicUsize::new(0)),
            payload_bytes: 6,
        }
    }

    /// Payloads of this length.
    pub fn payload_bytes(mut self, bytes: usize) -> Reporter {
        self.payload_bytes = bytes;
        self
    }

    /// Counts flows that are over.
    pub fn finished(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.finished)
    }

    /// Whether nothing waits for an acknowledgement.
    pub fn is_content(&self) -> bool {
        self.open.is_empty()
    }

    /// Everything that was sent on its topic of this QoS so far, in order.
    pub fn texts(&self, qos: u8) -> Vec<String> {
        (0..self.sent[usize::from(qos) - 1]).map(|number| self.text(number)).collect()
    }

    /// Its topic of this QoS.
    pub fn topic(&self, qos: u8) -> String {
        format!("{}/{qos}", self.connect.client_id)
    }

    fn text(&self, number: usize) -> String {
        format!("{number:0width$}", width = self.payload_bytes)
    }

    /// Connects and goes on where it was; `false` where nobody takes it in.
    pub fn attach(&mut self, address: SocketAddr) -> bool {
        self.wire = None;
        let Ok(stream) = TcpStream::connect(address) else { return false };
        let mut wire = Wire::over(stream);
        wire.try_send(&self.connect.encode());
        let Seen::Packet(packet) = wire.look(DEADLINE) else { return false };
        let connack = Connack::decode(&packet, self.connect.version);
        assert_eq!(connack.code, 0, "the CONNECT was refused");
        assert!(connack.session_present || !self.has_session, "the session of the device is gone");
        self.has_session = true;
        for open in &mut self.open {
            if open.is_received {
                wire.try_send(&packets::ack(kind::PUBREL, open.message.id));
            } else {
                open.message.dup = true;
                wire.try_send(&open.message.encode(self.connect.version));
            }
        }
        self.wire = Some(wire);
        true
    }

    /// Publishes `more` messages as the window allows, and returns when their flows are over or the connection is.
    pub fn publish(&mut self, more: usize) {
        self.publish_until(more, || false);
    }

    /// As [`Reporter::publish`], and gives up where `enough` says so.
    pub fn publish_until(&mut self, mut more: usize, enough: impl Fn() -> bool) {
        let mut silent_since = std::time::Instant::now();
        while (more > 0 || !self.open.is_empty()) && !enough() {
            while more > 0 && self.open.len() < WINDOW {
                more -= 1;
                self.send_one();
            }
            let Some(wire) = &mut self.wire else { return };
            match wire.look(Duration::from_millis(20)) {
                Seen::Packet(packet) if packet.kind() == kind::DISCONNECT => self.wire = None,
                Seen::Packet(packet) => {
                    silent_since = std::time::Instant::now();
                    self.take(&packet);
                }
                Seen::Closed => self.wire = None,
                Seen::Silence => {
                    let open = self.open.len();
                    assert!(silent_since.elapsed() < DEADLINE, "{open} messages are not acknowledged");
                }
            }
        }
    }

    fn send_one(&mut self) {
        let qos = if self.random.one_in(2) { 2 } else { 1 };
        let number = self.sent[usize::from(qos) - 1];
        self.sent[usize::from(qos) - 1] += 1;
        let message = Publish::new(&self.topic(qos), self.text(number)).qos(qos);
        let message = Publish { id: self.take_id(), ..message };
        if let Some(wire) = &mut self.wire {
            wire.try_send(&message.encode(self.connect.version));
        }
        self.open.push_back(Open { message, is_received: false });
    }

    fn take_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id % IDS + 1;
            if self.open.iter().all(|open| open.message.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    fn take(&mut self, packet: &Packet) {
        let (id, reason) = (packet.id(), packet.ack_reason());
        let place = self.open.iter().position(|open| open.message.id == id);
        let place = place.unwrap_or_else(|| panic!("{packet:?} acknowledges nothing"));
        let open = &mut self.open[place];
        match (packet.kind(), open.message.qos, open.is_received) {
            (kind::PUBREC, 2, false) => {
                assert!(reason < 0x80, "the message was refused: {packet:?}");
                open.is_received = true;
                if let Some(wire) = &mut self.wire {
                    wire.try_send(&packets::ack(kind::PUBREL, id));
                }
            }
            // A repeated one, for a PUBLISH that was sent again.
            (kind::PUBREC, 2, true) => {}
            (kind::PUBACK, 1, _) | (kind::PUBCOMP, 2, true) => {
                assert!(reason < 0x80 || reason == 0x92, "the message was refused: {packet:?}");
                self.open.remove(place);
                self.finished.fetch_add(1, Ordering::Relaxed);
            }
            _ => panic!("{packet:?} is no answer to QoS {}", open.message.qos),
        }
    }
}
