//! A device that subscribes in a session which outlives connections, and remembers what a receiver must.

use std::net::{SocketAddr, TcpStream};

use super::packets::{self, Connack, Connect, Publish, kind};
use super::receiver::Receiver;
use super::wire::{Seen, Wire};
use super::{DEADLINE, Version};
use std::time::Duration;

/// The device.
pub struct Subscriber {
    connect: Connect,
    filter: String,
    wire: Option<Wire>,
    has_session: bool,
    /// What it took.
    pub receiver: Receiver,
}

impl Subscriber {
    /// One that is not connected yet and will subscribe at QoS 2.
    pub fn new(version: Version, name: &str, filter: &str) -> Subscriber {
        let connect = Connect::new(version, name).persistent();
        let filter = filter.to_owned();
        Subscriber { connect, filter, wire: None, has_session: false, receiver: Receiver::default() }
    }

    /// Connects, and subscribes where that is not done yet; `false` where nobody takes it in.
    pub fn attach(&mut self, address: SocketAddr) -> bool {
        self.wire = None;
        let Ok(stream) = TcpStream::connect(address) else { return false };
        let mut wire = Wire::over(stream);
        wire.try_send(&self.connect.encode());
        let Seen::Packet(packet) = wire.look(DEADLINE) else { return false };
        let connack = Connack::decode(&packet, self.connect.version);
        assert_eq!(connack.code, 0, "the CONNECT was refused");
        assert!(connack.session_present || !self.has_session, "the session of the subscriber is gone");
        if !self.has_session {
            let filters = [(self.filter.as_str(), 2)];
            wire.try_send(&packets::subscribe(self.connect.version, 1, &Vec::new(), &filters));
            match wire.look(DEADLINE) {
                Seen::Packet(packet) if packet.kind() == kind::SUBACK => self.has_session = true,
                _ => return false,
            }
        }
        self.wire = Some(wire);
        true
    }

    /// Takes what comes until the connection is over or `enough` says so.
    pub fn listen(&mut self, enough: impl Fn(&[Publish]) -> bool) {
        while !enough(self.receiver.arrivals()) {
            let Some(wire) = &mut self.wire else { return };
            match wire.look(Duration::from_millis(20)) {
                Seen::Packet(packet) if packet.kind() == kind::DISCONNECT => self.wire = None,
                Seen::Packet(packet) => {
                    if let Some(reply) = self.receiver.take(&packet, self.connect.version) {
                        wire.try_send(&reply);
                    }
                }
                Seen::Closed => self.wire = None,
                Seen::Silence => {}
            }
        }
    }

    /// Takes what comes until nothing does for a moment.
    pub fn listen_while_there_is_something(&mut self) {
        let Some(wire) = &mut self.wire else { return };
        while let Seen::Packet(packet) = wire.look(Duration::from_millis(20)) {
            if let Some(reply) = self.receiver.take(&packet, self.connect.version) {
                wire.try_send(&reply);
            }
        }
    }

    /// Ends the connection without a word.
    pub fn leave(&mut self) {
        self.wire = None;
    }
}
