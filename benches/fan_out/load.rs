//! What is sent in one run.

use std::time::Duration;

use crate::histogram::Histogram;
use crate::ledger::Tally;
use crate::options::Options;

#[derive(Clone, Copy)]
pub enum Pace {
    /// As fast as the broker takes it.
    Flood,
    /// In batches, this many messages per second.
    Batches(u64),
    /// One write per message, this many messages per second.
    Singly(u64),
}

#[derive(Clone, Copy)]
pub struct Load {
    pub qos: u8,
    pub messages: u64,
    pub payload_bytes: usize,
    pub topics: usize,
    /// How many messages may be unacknowledged at QoS 1 and 2.
    pub window: u16,
    /// Publishers that take turns with the messages: this one has every `of`th, from the `part`th on.
    pub part: u64,
    pub of: u64,
    pub pace: Pace,
    /// How long publisher and upstreams sleep between reads.
    pub pause: Duration,
}

impl Load {
    /// A flood of `messages` with everything else as the options have it.
    pub fn from_options(options: &Options, qos: u8, messages: u64) -> Load {
        Load {
            qos,
            messages,
            payload_bytes: options.payload_bytes,
            topics: options.topics,
            window: options.window,
            part: 0,
            of: 1,
            pace: Pace::Flood,
            pause: Duration::from_micros(options.pause_micros),
        }
    }
}

impl Load {
    /// The share of one of several publishers.
    pub fn share(self, part: u64, of: u64) -> Load {
        let messages = (self.messages + of - 1 - part) / of;
        let pace = match self.pace {
            Pace::Batches(rate) => Pace::Batches((rate / of).max(1)),
            pace => pace,
        };
        Load { messages, part, of, pace, ..self }
    }
}

/// What the publishers saw of a run.
#[derive(Clone, Copy, Default)]
pub struct Published {
    pub first_send_nanos: u64,
    pub last_send_nanos: u64,
    /// When the last acknowledgement was there.
    pub done_nanos: u64,
    /// Messages that the broker answered with a Reason Code of 0x80 or above.
    pub refused: u64,
}

impl Published {
    /// What two publishers saw together.
    pub fn and(self, other: Published) -> Published {
        Published {
            first_send_nanos: self.first_send_nanos.min(other.first_send_nanos),
            last_send_nanos: self.last_send_nanos.max(other.last_send_nanos),
            done_nanos: self.done_nanos.max(other.done_nanos),
            refused: self.refused + other.refused,
        }
    }

    /// From the first message to the last acknowledgement.
    pub fn seconds(&self) -> f64 {
        self.done_nanos.saturating_sub(self.first_send_nanos) as f64 / 1e9
    }
}

/// What a run came to.
pub struct Outcome {
    pub messages: u64,
    pub upstreams: u64,
    pub seconds: f64,
    /// How fast the publisher sent, which a paced run compares with what it wanted.
    pub sent_per_second: f64,
    /// Over all upstreams; `received` counts deliveries.
    pub tally: Tally,
    pub lost: u64,
    pub refused: u64,
    pub reconnects: u64,
    pub cpu_nanos: u64,
    /// What the broker's process wrote to disk.
    pub disk_bytes: u64,
    pub latency: Histogram,
}

impl Outcome {
    /// Messages in per second, counting only what the upstreams have.
    pub fn messages_per_second(&self) -> f64 {
        self.tally.received as f64 / self.upstreams as f64 / self.seconds.max(1e-9)
    }

    pub fn disk_bytes_per_second(&self) -> f64 {
        self.disk_bytes as f64 / self.seconds.max(1e-9)
    }

    pub fn cpu_micros_per_delivery(&self) -> f64 {
        self.cpu_nanos as f64 / 1000.0 / self.tally.received.max(1) as f64
    }
}
