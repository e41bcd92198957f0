//! A client that does nothing by itself: each packet of a dialogue is a line of the test. [`super::device::Device`] is
//! the one that answers as a well-behaved client.

use std::net::SocketAddr;

use super::packets::{self, Connack, Connect, Packet, Properties, Publish, kind};
use super::wire::{Seen, Wire};
use super::{SILENCE, Version};

/// A connected client.
pub struct Talker {
    /// The connection.
    pub wire: Wire,
    /// What the CONNACK said.
    pub connack: Connack,
    version: Version,
}

impl Talker {
    /// Connects, and is taken in.
    pub fn connect(address: SocketAddr, connect: &Connect) -> Talker {
        let mut wire = Wire::open(address);
        wire.send(&connect.encode());
        let connack = Connack::decode(&wire.packet(), connect.version);
        assert_eq!(connack.code, 0, "the CONNECT was refused");
        Talker { wire, connack, version: connect.version }
    }

    /// Sends a PUBLISH as it is.
    pub fn publish(&mut self, message: &Publish) {
        self.wire.send(&message.encode(self.version));
    }

    /// Sends an acknowledgement that says success in the shortest form.
    pub fn ack(&mut self, kind_of: u8, id: u16) {
        self.wire.send(&packets::ack(kind_of, id));
    }

    /// Sends an acknowledgement with a Reason Code (MQTT 5.0).
    pub fn ack_with(&mut self, kind_of: u8, id: u16, reason: u8) {
        self.wire.send(&packets::ack_with_reason(kind_of, id, reason));
    }

    /// The next packet, which must be a PUBLISH; it is not acknowledged.
    pub fn message(&mut self) -> Publish {
        Publish::decode(&self.wire.packet(), self.version)
    }

    /// The next packets, which must be PUBLISH packets.
    pub fn messages(&mut self, count: usize) -> Vec<Publish> {
        (0..count).map(|_| self.message()).collect()
    }

    /// The next packet, which must be of this kind and for this Packet Identifier; its Reason Code.
    pub fn answer(&mut self, kind_of: u8, id: u16) -> u8 {
        let packet = self.wire.packet();
        assert_eq!((packet.kind(), packet.id()), (kind_of, id), "{packet:?}");
        let flags = if kind_of == kind::PUBREL { 2 } else { 0 };
        assert_eq!(packet.first & 0x0F, flags, "the flags of {packet:?}");
        let short = self.version.is_v5() || packet.body.len() == 2 || kind_of == kind::SUBACK;
        assert!(short, "MQTT 3.1.1 has no Reason Codes: {packet:?}");
        packet.ack_reason()
    }

    /// Subscribes with these options; the Reason Codes of the SUBACK, which must be the next packet.
    pub fn subscribe(&mut self, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
        self.subscribe_with(id, &Vec::new(), filters)
    }

    /// Subscribes with properties.
    pub fn subscribe_with(&mut self, id: u16, properties: &Properties, filters: &[(&str, u8)]) -> Vec<u8> {
        self.wire.send(&packets::subscribe(self.version, id, properties, filters));
        let suback = self.wire.packet();
        assert_eq!((suback.first, suback.id()), (0x90, id), "the SUBACK of the SUBSCRIBE: {suback:?}");
        suback.codes(self.version)
    }

    /// Unsubscribes; the Reason Codes of the UNSUBACK, of which MQTT 3.1.1 has none.
    pub fn unsubscribe(&mut self, id: u16, filters: &[&str]) -> Vec<u8> {
        self.wire.send(&packets::unsubscribe(self.version, id, filters));
        let unsuback = self.wire.packet();
        assert_eq!((unsuback.first, unsuback.id()), (0xB0, id), "the UNSUBACK: {unsuback:?}");
        unsuback.codes(self.version)
    }

    /// Asks for a PINGRESP, before which nothing else may come.
    pub fn ping(&mut self) {
        self.wire.send(&packets::PINGREQ);
        self.wire.expect(&packets::PINGRESP);
    }

    /// Watches for a while that nothing comes.
    pub fn expect_silence(&mut self) {
        assert_eq!(self.wire.look(SILENCE), Seen::Silence, "nothing was to come");
    }

    /// The end of the connection, whatever comes before it; in MQTT 5.0 after a DISCONNECT with one of these codes.
    pub fn expect_refusal(&mut self, what: &str, reasons: &[u8]) -> Vec<Packet> {
        let mut packets = self.wire.until_close();
        if self.version.is_v5() {
            let last = packets.pop().unwrap_or_else(|| panic!("{what}: a DISCONNECT was to come"));
            assert_eq!(last.kind(), kind::DISCONNECT, "{what}: {last:?}");
            let reason = last.disconnect_reason();
            assert!(reasons.contains(&reason), "{what}: the reason was {reason:#x}, not one of {reasons:x?}");
        } else {
            let told = packets.iter().any(|packet| packet.kind() == kind::DISCONNECT);
            assert!(!told, "{what}: a server of MQTT 3.1.1 sends no DISCONNECT");
        }
        packets
    }

    /// DISCONNECT, and waits until the other side has closed the connection.
    pub fn disconnect(mut self) {
        self.wire.send(&packets::DISCONNECT);
        self.wire.until_close();
    }

    /// Ends the connection without DISCONNECT.
    pub fn cut(self) {
        self.wire.cut();
    }
}
