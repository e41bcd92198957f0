//! A device that speaks through [`Wire`]: it does the QoS flows and keeps what it receives in order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::packets::{self, Connack, Connect, DISCONNECT, Packet, Properties, Publish, kind, property};
use super::wire::{Seen, Wire};
use super::{DEADLINE, Version};

/// How many messages a device sends before it waits for acknowledgements.
const WINDOW: usize = 100;

/// A connected device.
pub struct Device {
    /// The connection, for tests that want to say something odd.
    pub wire: Wire,
    /// What the CONNACK said.
    pub connack: Connack,
    version: Version,
    next_id: u16,
    inbox: VecDeque<Publish>,
    aliases: HashMap<u32, String>,
    unreleased: HashSet<u16>,
}

impl Device {
    /// Connects with a clean session.
    pub fn connect(address: SocketAddr, version: Version, client_id: &str) -> Device {
        Device::connect_with(address, &Connect::new(version, client_id))
    }

    /// Connects, and is taken in.
    pub fn connect_with(address: SocketAddr, connect: &Connect) -> Device {
        Device::connect_over(Wire::open(address), connect)
    }

    /// Connects, and gets a CONNACK of any kind.
    pub fn try_connect(address: SocketAddr, connect: &Connect) -> Device {
        Device::try_connect_over(Wire::open(address), connect)
    }

    /// Goes on with a connection, and is taken in.
    pub fn connect_over(wire: Wire, connect: &Connect) -> Device {
        let device = Device::try_connect_over(wire, connect);
        assert_eq!(device.connack.code, 0, "the CONNECT was refused");
        device
    }

    /// Goes on with a connection, and gets a CONNACK of any kind.
    pub fn try_connect_over(mut wire: Wire, connect: &Connect) -> Device {
        wire.send(&connect.encode());
        let connack = Connack::decode(&wire.packet(), connect.version);
        Device {
            wire,
            connack,
            version: connect.version,
            next_id: 0,
            inbox: VecDeque::new(),
            aliases: HashMap::new(),
            unreleased: HashSet::new(),
        }
    }

    /// Subscribes to one filter and gets what it asks for.
    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        assert_eq!(self.subscribe_with(&Vec::new(), &[(filter, qos)]), [qos], "{filter} was to be granted");
    }

    /// Subscribes and returns the Reason Codes.
    pub fn subscribe_with(&mut self, properties: &Properties, filters: &[(&str, u8)]) -> Vec<u8> {
        let id = self.take_id();
        self.wire.send(&packets::subscribe(self.version, id, properties, filters));
        let suback = self.until(kind::SUBACK);
        assert_eq!(suback.id(), id, "the SUBACK is for the SUBSCRIBE");
        suback.codes(self.version)
    }

    /// Unsubscribes.
    pub fn unsubscribe(&mut self, filter: &str) {
        let id = self.take_id();
        self.wire.send(&packets::unsubscribe(self.version, id, &[filter]));
        assert_eq!(self.until(kind::UNSUBACK).id(), id, "the UNSUBACK is for the UNSUBSCRIBE");
    }

    /// Publishes one message and waits until its flow is over.
    pub fn publish(&mut self, message: Publish) {
        self.publish_all([message]);
    }

    /// Publishes text and waits until its flow is over.
    pub fn say(&mut self, topic: &str, payload: &str, qos: u8) {
        self.publish(Publish::new(topic, payload).qos(qos));
    }

    /// Publishes messages in order, many at a time, and waits until the flows are over.
    pub fn publish_all(&mut self, messages: impl IntoIterator<Item = Publish>) {
        let allowed = packets::number(&self.connack.properties, property::RECEIVE_MAXIMUM);
        let window = allowed.map_or(WINDOW, |allowed| WINDOW.min(allowed as usize));
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let mut bytes = Vec::new();
            let mut open = HashSet::new();
            for mut message in messages.by_ref().take(window) {
                if message.qos > 0 {
                    message.id = self.take_id();
                    open.insert(message.id);
                }
                bytes.extend_from_slice(&message.encode(self.version));
            }
            self.wire.send(&bytes);
            self.finish(open);
        }
    }

    fn finish(&mut self, mut open: HashSet<u16>) {
        while !open.is_empty() {
            let packet = self.wire.packet();
            match packet.kind() {
                kind::PUBACK | kind::PUBCOMP => {
                    assert!(packet.ack_reason() < 0x80, "the message was refused: {packet:?}");
                    assert!(open.remove(&packet.id()), "{packet:?} acknowledges nothing");
                }
                kind::PUBREC => {
                    assert!(packet.ack_reason() < 0x80, "the message was refused: {packet:?}");
                    self.wire.send(&packets::ack(kind::PUBREL, packet.id()));
                }
                _ => self.take_in(&packet),
            }
        }
    }

    /// The next message, acknowledged as its QoS wants.
    pub fn receive(&mut self) -> Publish {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return message;
            }
            let packet = self.wire.packet();
            self.take_in(&packet);
        }
    }

    /// The next `count` messages.
    pub fn receive_all(&mut self, count: usize) -> Vec<Publish> {
        (0..count).map(|_| self.receive()).collect()
    }

    /// All messages before the one with this payload, which is taken too.
    pub fn receive_before(&mut self, marker: &str) -> Vec<Publish> {
        let mut messages = Vec::new();
        loop {
            let message = self.receive();
            if message.payload == marker.as_bytes() {
                return messages;
            }
            messages.push(message);
        }
    }

    /// The payloads of all messages before the one with this payload.
    pub fn texts_before(&mut self, marker: &str) -> Vec<String> {
        self.receive_before(marker).iter().map(Publish::text).collect()
    }

    /// What is there already or comes within a moment.
    pub fn receive_waiting(&mut self) -> Vec<Publish> {
        loop {
            match self.wire.look(Duration::from_millis(2)) {
                Seen::Packet(packet) => self.take_in(&packet),
                Seen::Silence => return self.inbox.drain(..).collect(),
                Seen::Closed => panic!("the connection was closed"),
            }
        }
    }

    /// What has come by the time the proxy answers a PINGREQ.
    pub fn inbox_after_ping(&mut self) -> Vec<String> {
        self.ping();
        self.inbox.drain(..).map(|message| message.text()).collect()
    }

    /// The DISCONNECT that the proxy sends before it closes the connection.
    pub fn disconnect_reason(&mut self) -> u8 {
        let packet = self.until(kind::DISCONNECT);
        self.wire.expect_close();
        packet.disconnect_reason()
    }

    /// Asks for a PINGRESP and gets it: everything sent before was taken in.
    pub fn ping(&mut self) {
        self.wire.send(&packets::PINGREQ);
        self.until(kind::PINGRESP);
    }

    /// Waits for the end of the connection, whatever comes before it.
    pub fn wait_closed(&mut self) {
        self.wire.until_close();
    }

    /// DISCONNECT, and waits until the other side has closed the connection too.
    pub fn disconnect(mut self) {
        self.wire.send(&DISCONNECT);
        self.wait_closed();
    }

    /// Ends the connection without DISCONNECT.
    pub fn cut(self) {
        self.wire.cut();
    }

    fn take_id(&mut self) -> u16 {
        self.next_id = self.next_id % 60_000 + 1;
        self.next_id
    }

    fn until(&mut self, wanted: u8) -> Packet {
        loop {
            match self.wire.look(DEADLINE) {
                Seen::Packet(packet) if packet.kind() == wanted => return packet,
                Seen::Packet(packet) => self.take_in(&packet),
                other => panic!("packet type {wanted} was expected, not {other:?}"),
            }
        }
    }

    fn take_in(&mut self, packet: &Packet) {
        match packet.kind() {
            kind::PUBLISH => self.take_in_message(packet),
            kind::PUBREL => {
                self.unreleased.remove(&packet.id());
                self.wire.send(&packets::ack(kind::PUBCOMP, packet.id()));
            }
            kind::PINGRESP => {}
            _ => panic!("unexpected {packet:?}"),
        }
    }

    fn take_in_message(&mut self, packet: &Packet) {
        let mut message = Publish::decode(packet, self.version);
        if let Some(alias) = packets::number(&message.properties, property::TOPIC_ALIAS) {
            if message.topic.is_empty() {
                message.topic.clone_from(self.aliases.get(&alias).expect("the alias was introduced"));
            } else {
                self.aliases.insert(alias, message.topic.clone());
            }
        }
        match message.qos {
            0 => {}
            1 => self.wire.send(&packets::ack(kind::PUBACK, message.id)),
            _ => {
                self.wire.send(&packets::ack(kind::PUBREC, message.id));
                if !self.unreleased.insert(message.id) {
                    return;
                }
            }
        }
        self.inbox.push_back(message);
    }
}
