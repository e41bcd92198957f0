//! A dialogue in bytes over TCP or TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::DEADLINE;
use super::packets::{self, Packet};
use super::tls::Stream;

/// One connection, from either side.
pub struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    start: usize,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// A packet.
    Packet(Packet),
    /// The other side closed the connection.
    Closed,
    /// Nothing in the given time.
    Silence,
}

impl Wire {
    /// Connects.
    pub fn open(address: SocketAddr) -> Wire {
        Wire::over(TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}")))
    }

    /// Goes on with a stream that is connected.
    pub fn over(stream: impl Into<Stream>) -> Wire {
        let stream = stream.into();
        stream.socket().set_nodelay(true).expect("TCP_NODELAY can be set");
        stream.socket().set_write_timeout(Some(DEADLINE)).expect("a timeout can be set");
        Wire { stream, buffer: Vec::new(), start: 0 }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the other side takes bytes");
    }

    /// Sends bytes to somebody who may have closed the connection.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends bytes; `false` where the other side did not take all of them in this time.
    pub fn send_within(&mut self, bytes: &[u8], patience: Duration) -> bool {
        self.stream.socket().set_write_timeout(Some(patience)).expect("a timeout can be set");
        let sent = self.stream.write_all(bytes).is_ok();
        self.stream.socket().set_write_timeout(Some(DEADLINE)).expect("a timeout can be set");
        sent
    }

    /// The next packet, the end, or silence for this long.
    pub fn look(&mut self, patience: Duration) -> Seen {
        let end = Instant::now() + patience;
        loop {
            if let Some(packet) = self.take_packet() {
                return Seen::Packet(packet);
            }
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.socket().set_read_timeout(Some(left)).expect("a timeout can be set");
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Seen::Closed,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut if Instant::now() >= end => {
                        return Seen::Silence;
                    }
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return Seen::Closed,
                    _ => panic!("read: {error}"),
                },
            }
        }
    }

    /// The next packet, which must come.
    pub fn packet(&mut self) -> Packet {
        match self.look(DEADLINE) {
            Seen::Packet(packet) => packet,
            other => panic!("a packet was expected, not {other:?}"),
        }
    }

    /// The next bytes as they come, packets or not.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        self.stream.socket().set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        self.buffer.drain(..self.start);
        self.start = 0;
        let mut bytes: Vec<u8> = self.buffer.drain(..count.min(self.buffer.len())).collect();
        let here = bytes.len();
        bytes.resize(count, 0);
        self.stream.read_exact(&mut bytes[here..]).expect("the other side sends as many bytes");
        bytes
    }

    /// Exactly these bytes as the next packet or packets.
    pub fn expect(&mut self, bytes: &[u8]) {
        let mut wanted = Wire::parse_all(bytes).into_iter();
        for want in &mut wanted {
            let got = self.packet();
            assert_eq!(got, want, "another packet than expected came");
        }
    }

    /// An acknowledgement that says success, with "no matching subscribers" or without.
    pub fn expect_ack(&mut self, kind_of: u8, id: u16) {
        let packet = self.packet();
        assert_eq!((packet.kind(), packet.id()), (kind_of, id), "{packet:?}");
        assert!(packet.ack_reason() < 0x80, "{packet:?}");
    }

    /// Exactly this packet, after others perhaps, which are kept for later.
    pub fn expect_among(&mut self, bytes: &[u8]) {
        let mut others = Vec::new();
        let wanted = Wire::parse_all(bytes);
        loop {
            let packet = self.packet();
            if wanted.contains(&packet) {
                break;
            }
            others.extend(packets::frame(packet.first, &packet.body));
        }
        others.extend_from_slice(&self.buffer[self.start..]);
        (self.buffer, self.start) = (others, 0);
    }

    /// The end of the connection, with nothing before it.
    pub fn expect_close(&mut self) {
        assert_eq!(self.look(DEADLINE), Seen::Closed, "the connection was to be closed");
    }

    /// Everything until the other side closes the connection, which it must do.
    pub fn until_close(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        loop {
            match self.look(DEADLINE) {
                Seen::Packet(packet) => packets.push(packet),
                Seen::Closed => return packets,
                Seen::Silence => panic!("the connection was to be closed; so far came {packets:?}"),
            }
        }
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub fn finish(&mut self) {
        let _ = self.stream.socket().shutdown(Shutdown::Write);
    }

    /// Ends the connection without a word.
    pub fn cut(self) {
        let _ = self.stream.socket().shutdown(Shutdown::Both);
    }

    /// Closes the socket as soon as it has bytes that nobody has read, and so resets the connection.
    pub fn reset(self) {
        self.stream.socket().set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        let waiting = self.stream.socket().peek(&mut [0]).expect("the other side says something");
        assert_eq!(waiting, 1, "the other side has closed the connection already");
    }

    fn parse_all(bytes: &[u8]) -> Vec<Packet> {
        let (mut rest, mut packets) = (bytes, Vec::new());
        while let Some((packet, length)) = parse(rest) {
            packets.push(packet);
            rest = &rest[length..];
        }
        assert!(rest.is_empty(), "the expected bytes end within a packet");
        packets
    }

    fn take_packet(&mut self) -> Option<Packet> {
        let Some((packet, length)) = parse(&self.buffer[self.start..]) else {
            self.buffer.drain(..self.start);
            self.start = 0;
            return None;
        };
        self.start += length;
        Some(packet)
    }
}

/// The first packet and its whole length, if all of it is there.
fn parse(bytes: &[u8]) -> Option<(Packet, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let mut length = 0;
    for (index, &byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let header = index + 2;
            let body = bytes.get(header..header + length)?.to_vec();
            return Some((Packet { first, body }, header + length));
        }
    }
    assert!(rest.len() < 4, "a Remaining Length has at most four bytes");
    None
}
