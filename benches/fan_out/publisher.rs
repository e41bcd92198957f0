//! One device: a single connection that publishes a load, in large writes for throughput or message by message on a
//! clock for latency.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::acknowledgements::Acknowledgements;
use crate::clock::{Clock, wake_this_thread_on_time};
use crate::load::{Load, Pace, Published};
use crate::messages::Messages;
use crate::wire;

const KEEP_ALIVE_SECS: u16 = 300;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one read waits before the publisher looks whether it was told to stop.
const READ_TIMEOUT: Duration = Duration::from_millis(200);
/// A broker that takes nothing for this long has failed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between reads of a paced run, so that the broker does not wake the reader with every acknowledgement.
const ACKNOWLEDGEMENT_PAUSE: Duration = Duration::from_micros(500);
const BATCH_BYTES: usize = 64 * 1024;

pub struct Publisher {
    stream: TcpStream,
    acknowledgements: Acknowledgements,
    version: u8,
    receive_maximum: u16,
    clock: Clock,
}

impl Publisher {
    pub fn connect(port: u16, client_id: &str, version: u8, clock: Clock) -> Result<Publisher, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let connect = || -> std::io::Result<(TcpStream, TcpStream)> {
            let mut stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
            stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
            stream.write_all(&wire::connect(client_id, version, KEEP_ALIVE_SECS))?;
            let reading = stream.try_clone()?;
            Ok((stream, reading))
        };
        let (stream, reading) = connect().map_err(|error| format!("{client_id} cannot connect: {error}"))?;
        let mut acknowledgements = Acknowledgements::new(reading);
        let receive_maximum = acknowledgements.read_connack(version)?;
        stream.set_read_timeout(Some(READ_TIMEOUT)).map_err(|error| error.to_string())?;
        Ok(Publisher { stream, acknowledgements, version, receive_maximum, clock })
    }

    /// Publishes the whole load and waits for its acknowledgements, or ends early when `stop` is set.
    pub fn publish(&mut self, load: Load, run: u32, stop: &AtomicBool) -> Result<Published, String> {
        let load = Load { window: load.window.min(self.receive_maximum), ..load };
        match load.pace {
            Pace::Singly(rate) => self.publish_singly(load, run, rate, stop),
            _ if load.qos == 0 => self.flood(load, run, stop),
            _ => self.flood_acknowledged(load, run, stop),
        }
    }

    fn messages(&self, load: Load, run: u32) -> Messages {
        let batch_bytes = match load.pace {
            Pace::Singly(_) => 1,
            Pace::Flood | Pace::Batches(_) => BATCH_BYTES,
        };
        Messages::new(load, self.version, run, batch_bytes)
    }

    fn flood(&mut self, load: Load, run: u32, stop: &AtomicBool) -> Result<Published, String> {
        let mut messages = self.messages(load, run);
        let mut published = Published { first_send_nanos: self.clock.nanos(), ..Published::default() };
        let mut sent = 0;
        while sent < load.messages && !stop.load(Ordering::Relaxed) {
            let mut count = (load.messages - sent).min(messages.capacity());
            if let Pace::Batches(rate) = load.pace {
                // A batch is what falls due in two milliseconds.
                count = count.min((rate / 500).max(1));
                let due = published.first_send_nanos + sent * 1_000_000_000 / rate.max(1);
                self.clock.sleep_until(due);
            }
            let bytes = messages.stamp(sent, count, self.clock.nanos());
            self.stream.write_all(bytes).map_err(|error| format!("publishing: {error}"))?;
            sent += count;
        }
        published.last_send_nanos = self.clock.nanos();
        published.done_nanos = published.last_send_nanos;
        Ok(published)
    }

    fn flood_acknowledged(&mut self, load: Load, run: u32, stop: &AtomicBool) -> Result<Published, String> {
        let mut messages = self.messages(load, run);
        let mut published = Published { first_send_nanos: self.clock.nanos(), ..Published::default() };
        let (mut sent, mut done) = (0, 0);
        let window = u64::from(load.window);
        while done < load.messages && !stop.load(Ordering::Relaxed) {
            let count = (load.messages - sent).min(window - (sent - done)).min(messages.capacity());
            if count > 0 {
                let bytes = messages.stamp(sent, count, self.clock.nanos());
                self.stream.write_all(bytes).map_err(|error| format!("publishing: {error}"))?;
                sent += count;
                published.last_send_nanos = self.clock.nanos();
            }
            // Half a window at a time keeps both the writes and the broker's acknowledgements in batches.
            while done < load.messages && (sent == load.messages || sent - done > window / 2) {
                thread::sleep(load.pause);
                let acknowledged = self.acknowledgements.read()?;
                done += acknowledged.done;
                published.refused += acknowledged.refused;
                self.stream.write_all(&acknowledged.replies).map_err(|error| error.to_string())?;
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
        published.done_nanos = self.clock.nanos();
        Ok(published)
    }

    fn publish_singly(
        &mut self,
        load: Load,
        run: u32,
        rate: u64,
        stop: &AtomicBool,
    ) -> Result<Published, String> {
        let messages = self.messages(load, run);
        let done = AtomicU64::new(0);
        let writing = Mutex::new(&self.stream);
        let reading = &mut self.acknowledgements;
        let clock = self.clock;
        thread::scope(|scope| {
            let reader = scope.spawn(|| match load.qos {
                0 => Ok(0),
                _ => read_acknowledgements(reading, &writing, load.messages, &done, stop),
            });
            let mut published = write_singly(messages, &writing, load, rate, clock, &done, stop)?;
            published.refused = reader.join().map_err(|_| "the reader panicked")??;
            published.done_nanos = clock.nanos();
            Ok(published)
        })
    }
}

fn write_singly(
    mut messages: Messages,
    writing: &Mutex<&TcpStream>,
    load: Load,
    rate: u64,
    clock: Clock,
    done: &AtomicU64,
    stop: &AtomicBool,
) -> Result<Published, String> {
    wake_this_thread_on_time();
    let first_send_nanos = clock.nanos();
    let mut last_send_nanos = first_send_nanos;
    for sequence in 0..load.messages {
        clock.sleep_until(first_send_nanos + sequence * 1_000_000_000 / rate.max(1));
        while load.qos > 0 && sequence - done.load(Ordering::Relaxed) >= u64::from(load.window) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(Duration::from_micros(20));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        last_send_nanos = clock.nanos();
        write_whole(writing, messages.stamp(sequence, 1, last_send_nanos))?;
    }
    Ok(Published { first_send_nanos, last_send_nanos, ..Published::default() })
}

fn read_acknowledgements(
    reading: &mut Acknowledgements,
    writing: &Mutex<&TcpStream>,
    messages: u64,
    done: &AtomicU64,
    stop: &AtomicBool,
) -> Result<u64, String> {
    let mut refused = 0;
    while done.load(Ordering::Relaxed) < messages && !stop.load(Ordering::Relaxed) {
        thread::sleep(ACKNOWLEDGEMENT_PAUSE);
        let acknowledged = reading.read()?;
        refused += acknowledged.refused;
        done.fetch_add(acknowledged.done, Ordering::Relaxed);
        if !acknowledged.replies.is_empty() {
            write_whole(writing, &acknowledged.replies)?;
        }
    }
    Ok(refused)
}

/// Writes packets that nobody else's may part.
fn write_whole(writing: &Mutex<&TcpStream>, bytes: &[u8]) -> Result<(), String> {
    let mut stream: &TcpStream = *writing.lock().unwrap_or_else(PoisonError::into_inner);
    stream.write_all(bytes).map_err(|error| format!("publishing: {error}"))
}
