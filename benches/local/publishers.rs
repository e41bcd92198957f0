//! The sending side: all publishers on one thread, at full speed or each on its own clock.

use std::cell::Cell;
use std::io;
use std::net::TcpStream as Socket;
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::payload::Stamp;
use crate::progress::{thread_cpu_nanos, write_all};
use crate::wire::{self, Template};

/// Room for the acknowledgements of a whole window.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// How long the last acknowledgements may take.
const DRAIN: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_millis(1);

#[derive(Clone, Copy)]
pub enum Pace {
    /// As fast as the broker takes it: at QoS 0 in writes of `batch` messages, else with `window` unacknowledged.
    Full { batch: u64, window: u64 },
    /// One write per message, this many messages per second and publisher.
    Rate(f64),
}

#[derive(Clone, Copy)]
pub struct Load {
    pub qos: u8,
    pub version: u8,
    pub payload_bytes: usize,
    pub pace: Pace,
    pub seconds: u64,
    pub clock: Clock,
}

/// What the publishers saw.
#[derive(Clone, Copy, Default)]
pub struct Published {
    pub sent: u64,
    pub unacknowledged: u64,
    pub refused: u64,
    pub failed: u64,
    pub cpu_nanos: u64,
}

/// Publishes on one topic a socket until the time is over and everything is acknowledged.
pub fn start(sockets: Vec<(Socket, String)>, load: Load) -> JoinHandle<Result<Published, String>> {
    thread::spawn(move || {
        let cpu_before = thread_cpu_nanos();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime for publishers: {error}"))?;
        let mut published = LocalSet::new().block_on(&runtime, publish_all(sockets, load))?;
        published.cpu_nanos = thread_cpu_nanos().saturating_sub(cpu_before);
        Ok(published)
    })
}

async fn publish_all(sockets: Vec<(Socket, String)>, load: Load) -> Result<Published, String> {
    let total = Rc::new(Cell::new(Published::default()));
    let start = Instant::now();
    let count = sockets.len() as f64;
    let mut tasks = Vec::new();
    for (number, (socket, topic)) in sockets.into_iter().enumerate() {
        let stream = TcpStream::from_std(socket).map_err(|error| error.to_string())?;
        let total = Rc::clone(&total);
        tasks.push(tokio::task::spawn_local(async move {
            let mut publisher = Publisher::new(stream, &topic, number as u32, load, start);
            let outcome = match load.pace {
                Pace::Full { batch, .. } if load.qos == 0 => publisher.flood(batch).await,
                Pace::Full { window, .. } => publisher.fill_window(window).await,
                Pace::Rate(rate) => publisher.keep_pace(rate, number as f64 / count / rate).await,
            };
            let mut sum = total.get();
            sum.sent += publisher.sent;
            sum.unacknowledged += if load.qos == 0 { 0 } else { publisher.sent - publisher.done };
            sum.refused += publisher.refused;
            sum.failed += u64::from(outcome.is_err());
            total.set(sum);
        }));
    }
    for task in tasks {
        task.await.map_err(|error| format!("a publisher failed: {error}"))?;
    }
    Ok(total.get())
}

struct Publisher {
    stream: TcpStream,
    number: u32,
    template: Template,
    /// Copies of the template that are stamped anew for every write.
    batch: Vec<u8>,
    input: Vec<u8>,
    filled: usize,
    sent: u64,
    done: u64,
    refused: u64,
    start: Instant,
    end: Instant,
    clock: Clock,
}

impl Publisher {
    fn new(stream: TcpStream, topic: &str, number: u32, load: Load, start: Instant) -> Publisher {
        let template = wire::publish(topic, load.qos, load.version, load.payload_bytes);
        let room = match load.pace {
            Pace::Full { batch, .. } if load.qos == 0 => batch,
            Pace::Full { window, .. } => window,
            Pace::Rate(_) => 1,
        };
        Publisher {
            stream,
            number,
            batch: template.bytes.repeat(room as usize),
            template,
            input: vec![0; READ_BUFFER_BYTES],
            filled: 0,
            sent: 0,
            done: 0,
            refused: 0,
            start,
            end: start + Duration::from_secs(load.seconds),
            clock: load.clock,
        }
    }

    async fn flood(&mut self, batch: u64) -> io::Result<()> {
        while Instant::now() < self.end {
            self.send(batch).await?;
            // The others have their turn even where this socket takes everything.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn fill_window(&mut self, window: u64) -> io::Result<()> {
        loop {
            let free = window - (self.sent - self.done);
            if free > 0 && Instant::now() < self.end {
                self.send(free).await?;
            } else if self.sent == self.done {
                return Ok(());
            }
            tokio::time::timeout(DRAIN, self.stream.readable()).await??;
            self.read_acknowledgements().await?;
        }
    }

    async fn keep_pace(&mut self, rate: f64, offset_secs: f64) -> io::Result<()> {
        loop {
            let due = self.start + Duration::from_secs_f64(offset_secs + self.sent as f64 / rate);
            if due >= self.end {
                break;
            }
            tokio::time::sleep_until(due).await;
            self.send(1).await?;
            self.read_acknowledgements().await?;
        }
        let deadline = self.end + DRAIN;
        while self.template.packet_id_at.is_some() && self.done < self.sent && Instant::now() < deadline {
            tokio::time::sleep(REST).await;
            self.read_acknowledgements().await?;
        }
        Ok(())
    }

    async fn send(&mut self, count: u64) -> io::Result<()> {
        let sent_nanos = self.clock.nanos();
        let packet_bytes = self.template.bytes.len();
        let bytes = &mut self.batch[..count as usize * packet_bytes];
        for (sequence, packet) in (self.sent..).zip(bytes.chunks_exact_mut(packet_bytes)) {
            if let Some(at) = self.template.packet_id_at {
                let packet_id = (sequence % 65_535) as u16 + 1;
                packet[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
            }
            let stamp = Stamp { publisher: self.number, sequence, sent_nanos };
            stamp.write(&mut packet[self.template.payload_at..]);
        }
        write_all(&self.stream, bytes).await?;
        self.sent += count;
        Ok(())
    }

    /// Takes what is there; QoS 2 messages are done with PUBCOMP, which needs a PUBREL of ours first.
    async fn read_acknowledgements(&mut self) -> io::Result<()> {
        match self.stream.try_read(&mut self.input[self.filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut replies = Vec::new();
        let mut used = 0;
        while let Some(frame) = wire::next_frame(&self.input[used..self.filled]).map_err(io::Error::other)? {
            used += frame.bytes;
            let is_refused = wire::refuses(&frame);
            match frame.first {
                wire::PUBREC if !is_refused => {
                    let packet_id = wire::read_packet_id(&frame).ok_or(io::ErrorKind::InvalidData)?;
                    wire::put_acknowledgement(&mut replies, wire::PUBREL, packet_id);
                }
                wire::PUBACK | wire::PUBREC | wire::PUBCOMP => {
                    self.done += 1;
                    self.refused += u64::from(is_refused);
                }
                _ => {}
            }
        }
        self.input.copy_within(used..self.filled, 0);
        self.filled -= used;
        write_all(&self.stream, &replies).await
    }
}
