//! The publisher's reading half: counts what the broker acknowledges and writes the PUBRELs that QoS 2 asks for.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use crate::wire;

const READ_BUFFER_BYTES: usize = 64 * 1024;

pub struct Acknowledgements {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// What one read brought.
#[derive(Default)]
pub struct Acknowledged {
    /// Messages whose flow ended: PUBACK, PUBCOMP or a refusing PUBREC.
    pub done: u64,
    pub refused: u64,
    /// Packets to write back.
    pub replies: Vec<u8>,
}

impl Acknowledgements {
    pub fn new(stream: TcpStream) -> Acknowledgements {
        Acknowledgements { stream, buffer: vec![0; READ_BUFFER_BYTES], filled: 0 }
    }

    /// Waits for bytes, at most for the stream's read timeout: then nothing was acknowledged.
    pub fn read(&mut self) -> Result<Acknowledged, String> {
        let mut acknowledged = Acknowledged::default();
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => return Err("the broker closed the publisher's connection".to_owned()),
            Ok(count) => self.filled += count,
            Err(error) if is_timeout(error.kind()) => return Ok(acknowledged),
            Err(error) => return Err(format!("reading acknowledgements: {error}")),
        }
        let mut used = 0;
        while let Some(frame) = wire::next_frame(&self.buffer[used..self.filled])? {
            used += frame.bytes;
            acknowledged.enter(&frame)?;
        }
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(acknowledged)
    }

    /// Reads one CONNACK and returns its Receive Maximum.
    pub fn read_connack(&mut self, version: u8) -> Result<u16, String> {
        loop {
            let count = self
                .stream
                .read(&mut self.buffer[self.filled..])
                .map_err(|error| format!("waiting for CONNACK: {error}"))?;
            if count == 0 {
                return Err("the broker closed the connection instead of a CONNACK".to_owned());
            }
            self.filled += count;
            if let Some(frame) = wire::next_frame(&self.buffer[..self.filled])? {
                let receive_maximum = wire::read_connack(&frame, version)?;
                self.filled = 0;
                return Ok(receive_maximum);
            }
        }
    }
}

impl Acknowledged {
    fn enter(&mut self, frame: &wire::Frame<'_>) -> Result<(), String> {
        let refused = wire::refuses(frame);
        match frame.first {
            wire::PUBREC if !refused => {
                let packet_id = wire::read_packet_id(frame).ok_or("a malformed PUBREC")?;
                wire::put_acknowledgement(&mut self.replies, wire::PUBREL, packet_id);
            }
            wire::PUBACK | wire::PUBREC | wire::PUBCOMP => {
                self.done += 1;
                self.refused += u64::from(refused);
            }
            wire::PINGRESP => {}
            wire::DISCONNECT => return Err("the broker disconnected the publisher".to_owned()),
            other => return Err(format!("the publisher received a packet of type {other:#04x}")),
        }
        Ok(())
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
