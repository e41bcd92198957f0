//! A batch of PUBLISH packets that is encoded once and then only stamped, so that the publisher costs next to nothing.

use crate::load::Load;
use crate::stamp::Stamp;
use crate::wire;

pub struct Messages {
    bytes: Vec<u8>,
    run: u32,
    packet_bytes: usize,
    packet_id_at: Option<usize>,
    payload_at: usize,
    part: u64,
    of: u64,
}

impl Messages {
    /// As many packets as fit `batch_bytes`, at least one. Topics take turns within the batch.
    pub fn new(load: Load, version: u8, run: u32, batch_bytes: usize) -> Messages {
        // Every topic is equally long, so every packet has the same shape.
        let topic = |index: usize| format!("site/7/device/{:04}/reading", index % load.topics.max(1));
        let template = wire::publish(&topic(0), load.qos, version, load.payload_bytes);
        let packet_bytes = template.bytes.len();
        let mut bytes = Vec::new();
        for index in 0..(batch_bytes / packet_bytes).max(1) {
            let packet = wire::publish(&topic(index), load.qos, version, load.payload_bytes);
            bytes.extend_from_slice(&packet.bytes);
        }
        Messages {
            bytes,
            run,
            packet_bytes,
            packet_id_at: template.packet_id_at,
            payload_at: template.payload_at,
            part: load.part,
            of: load.of,
        }
    }

    pub fn capacity(&self) -> u64 {
        (self.bytes.len() / self.packet_bytes) as u64
    }

    /// The first `count` packets, stamped as this publisher's messages from its `first` on.
    pub fn stamp(&mut self, first: u64, count: u64, sent_nanos: u64) -> &[u8] {
        let bytes = &mut self.bytes[..count as usize * self.packet_bytes];
        for (number, packet) in (first..).zip(bytes.chunks_exact_mut(self.packet_bytes)) {
            if let Some(at) = self.packet_id_at {
                let packet_id = (number % 65_535) as u16 + 1;
                packet[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
            }
            let sequence = number * self.of + self.part;
            Stamp { run: self.run, sequence, sent_nanos }.write(&mut packet[self.payload_at..]);
        }
        bytes
    }
}
