//! A broker without a will of its own: the test says, step by step, what it answers and when it goes.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use super::packets::{self, Connack, Connect, Packet, Properties, Publish, kind};
use super::wire::{Seen, Wire};
use super::{DEADLINE, SILENCE, Version, wait_for};

/// Listens as an upstream broker does.
pub struct Scripted {
    listener: TcpListener,
}

/// One connection of the proxy to the scripted broker.
pub struct Link {
    /// The connection, for steps that have no name here.
    pub wire: Wire,
    /// What the proxy's CONNECT said.
    pub connect: Connect,
}

impl Scripted {
    /// Listens on a port of the system's choice.
    pub fn listen() -> Scripted {
        Scripted::listen_on(0)
    }

    /// Listens on a port that was reserved before.
    pub fn listen_on(port: u16) -> Scripted {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is still free");
        listener.set_nonblocking(true).expect("the listener can be polled");
        Scripted { listener }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("it is bound").port()
    }

    /// The next connection, before anything was read.
    pub fn accept_wire(&self) -> Wire {
        wait_for("the proxy connects to its upstream", || match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("the stream can block");
                Some(Wire::over(stream))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("accept: {error}"),
        })
    }

    /// The next connection with its CONNECT, which is not yet answered. Connections that were given up while
    /// they waited are passed over.
    pub fn accept(&self) -> Link {
        loop {
            let mut wire = self.accept_wire();
            match wire.look(DEADLINE) {
                Seen::Packet(packet) => return Link { wire, connect: Connect::decode(&packet) },
                Seen::Closed => {}
                Seen::Silence => panic!("the proxy connected and said nothing"),
            }
        }
    }

    /// The next connection, taken in.
    pub fn welcome(&self, session_present: bool) -> Link {
        self.welcome_with(session_present, &Vec::new())
    }

    /// The next connection, taken in with these CONNACK properties.
    pub fn welcome_with(&self, session_present: bool, properties: &Properties) -> Link {
        let mut link = self.accept();
        link.answer_connect(session_present, 0, properties);
        link
    }
}

impl Link {
    /// The version that the proxy speaks here.
    pub fn version(&self) -> Version {
        self.connect.version
    }

    /// Sends a CONNACK.
    pub fn answer_connect(&mut self, session_present: bool, code: u8, properties: &Properties) {
        let connack = Connack { session_present, code, properties: properties.clone() };
        let bytes = connack.encode(self.version());
        self.wire.try_send(&bytes);
    }

    /// The next packet that is no PINGREQ; those are answered.
    pub fn packet(&mut self) -> Packet {
        match self.look(DEADLINE) {
            Seen::Packet(packet) => packet,
            other => panic!("a packet from the proxy was expected, not {other:?}"),
        }
    }

    fn look(&mut self, patience: std::time::Duration) -> Seen {
        loop {
            match self.wire.look(patience) {
                Seen::Packet(packet) if packet.kind() == kind::PINGREQ => self.wire.send(&packets::PINGRESP),
                other => return other,
            }
        }
    }

    /// The next packet, which must be a PUBLISH. It is not answered.
    pub fn publish(&mut self) -> Publish {
        let version = self.version();
        Publish::decode(&self.packet(), version)
    }

    /// The next `count` packets, which must be PUBLISH. They are not answered.
    pub fn publishes(&mut self, count: usize) -> Vec<Publish> {
        (0..count).map(|_| self.publish()).collect()
    }

    /// The next packet, which must be of this kind; returns its Packet Identifier.
    pub fn expect(&mut self, wanted: u8) -> u16 {
        let packet = self.packet();
        assert_eq!(packet.kind(), wanted, "packet type {wanted} was expected, not {packet:?}");
        packet.id()
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub fn ack(&mut self, kind_of: u8, id: u16) {
        self.wire.send(&packets::ack(kind_of, id));
    }

    /// Sends a message to the proxy.
    pub fn send(&mut self, message: &Publish) {
        let bytes = message.encode(self.version());
        self.wire.send(&bytes);
    }

    /// The next packets, which must be this many PUBLISH and PUBREL in any mix; neither is answered.
    pub fn gather(&mut self, publishes: usize, releases: usize) -> (Vec<Publish>, Vec<u16>) {
        let (mut messages, mut released) = (Vec::new(), Vec::new());
        while messages.len() < publishes || released.len() < releases {
            let packet = self.packet();
            if packet.kind() == kind::PUBREL {
                released.push(packet.id());
            } else {
                messages.push(Publish::decode(&packet, self.version()));
            }
        }
        assert_eq!((messages.len(), released.len()), (publishes, releases), "of PUBLISH and PUBREL");
        (messages, released)
    }

    /// Does the whole flow of the next message and returns it.
    pub fn take(&mut self) -> Publish {
        let message = self.publish();
        match message.qos {
            0 => {}
            1 => self.ack(kind::PUBACK, message.id),
            _ => {
                self.ack(kind::PUBREC, message.id);
                assert_eq!(self.expect(kind::PUBREL), message.id, "the PUBREL is for the PUBREC");
                self.ack(kind::PUBCOMP, message.id);
            }
        }
        message
    }

    /// The next packet, which must be a SUBSCRIBE; grants what it asks for and returns it.
    pub fn grant(&mut self) -> Vec<(String, u8)> {
        let packet = self.packet();
        let version = self.version();
        let filters = packets::subscriptions(&packet, version);
        let codes: Vec<u8> = filters.iter().map(|(_, options)| options & 3).collect();
        self.wire.send(&packets::suback(version, packet.id(), &codes));
        filters
    }

    /// Watches for a while that nothing comes.
    pub fn expect_silence(&mut self) {
        assert_eq!(self.look(SILENCE), Seen::Silence, "nothing was to come now");
    }

    /// Waits until the proxy closes the connection, whatever comes before.
    pub fn wait_closed(&mut self) -> Vec<Packet> {
        self.wire.until_close()
    }

    /// Drops the connection without a word.
    pub fn cut(self) {
        self.wire.cut();
    }

    /// Drops the connection so that the proxy's kernel is told "reset", not "end": whoever closes a socket with
    /// bytes that nobody has read does that. The proxy has to send something.
    pub fn reset(self) {
        self.wire.reset();
    }

    /// Takes messages in, and acknowledges none of them before all are there.
    pub fn take_late(&mut self, count: usize) -> Vec<Publish> {
        let messages = self.publishes(count);
        for message in &messages {
            assert_eq!(message.qos, 1, "a message of QoS 1 was expected");
            self.ack(kind::PUBACK, message.id);
        }
        messages
    }

    /// Sends what is no MQTT.
    pub fn send_garbage(&mut self) {
        self.wire.try_send(&[0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0x00, 0x0F]);
    }
}
