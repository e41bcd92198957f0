//! An upstream broker that does nothing but acknowledge and count. One blocking read takes all that has arrived, one
//! write answers it, so that as little as possible of the machine is taken from the broker under test.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::stamp::Stamp;
use crate::wire::{self, Frame};

const READ_BUFFER_BYTES: usize = 256 * 1024;

pub struct NullUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    ledger: Mutex<Ledger>,
    connects: AtomicU64,
    pause_micros: AtomicU64,
    stopping: AtomicBool,
    clock: Clock,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NullUpstream {
    pub fn start(clock: Clock) -> Result<NullUpstream, String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(|error| format!("a null upstream cannot listen: {error}"))?;
        let address =
            listener.local_addr().map_err(|error| format!("a listener without an address: {error}"))?;
        let shared = Arc::new(Shared {
            ledger: Mutex::new(Ledger::new()),
            connects: AtomicU64::new(0),
            pause_micros: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            clock,
        });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &for_acceptor));
        Ok(NullUpstream { address, shared, acceptor: Some(acceptor) })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often a broker has connected and been accepted.
    pub fn connects(&self) -> u64 {
        self.shared.connects.load(Ordering::Relaxed)
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger()
    }

    /// From now on waits this long after a read. A reader that sleeps in `read` is woken by every small write, and the
    /// kernel charges that to the writer: on one machine the broker would pay for what another machine does in life.
    pub fn pause_between_reads(&self, pause: Duration) {
        self.shared.pause_micros.store(pause.as_micros() as u64, Ordering::Relaxed);
    }
}

impl Drop for NullUpstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        // The acceptor waits for a connection; this one is its last.
        let woken = TcpStream::connect(self.address).is_ok();
        if let (true, Some(acceptor)) = (woken, self.acceptor.take()) {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping.load(Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            if let Err(reason) = serve(stream, &shared) {
                eprintln!("null upstream: {reason}");
            }
        });
    }
}

/// Serves one connection until its peer is gone.
fn serve(mut stream: TcpStream, shared: &Shared) -> Result<(), String> {
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    let mut filled = 0;
    let mut version = 4;
    let mut replies = Vec::new();
    loop {
        let count = match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        filled += count;
        let used = take_packets(&buffer[..filled], &mut version, shared, &mut replies)?;
        buffer.copy_within(used..filled, 0);
        filled -= used;
        if filled == buffer.len() {
            return Err("a packet larger than the read buffer".to_owned());
        }
        if !replies.is_empty() && stream.write_all(&replies).is_err() {
            return Ok(());
        }
        replies.clear();
        let pause = shared.pause_micros.load(Ordering::Relaxed);
        if pause > 0 && count < READ_BUFFER_BYTES / 4 {
            thread::sleep(Duration::from_micros(pause));
        }
    }
}

/// Enters every complete packet of `buffer` and returns how many bytes they took.
fn take_packets(
    buffer: &[u8],
    version: &mut u8,
    shared: &Shared,
    replies: &mut Vec<u8>,
) -> Result<usize, String> {
    let now = shared.clock.nanos();
    let mut ledger = shared.ledger();
    let mut used = 0;
    while let Some(frame) = wire::next_frame(&buffer[used..])? {
        used += frame.bytes;
        if frame.first & 0xF0 == wire::PUBLISH {
            take_publish(&frame, *version, &mut ledger, now, replies)?;
        } else {
            answer(&frame, version, shared, replies)?;
        }
    }
    Ok(used)
}

fn take_publish(
    frame: &Frame<'_>,
    version: u8,
    ledger: &mut Ledger,
    now: u64,
    replies: &mut Vec<u8>,
) -> Result<(), String> {
    let (packet_id, payload) = wire::read_publish(frame, version).ok_or("a malformed PUBLISH")?;
    if let Some(stamp) = Stamp::read(payload) {
        ledger.arrived(stamp, payload.len(), now);
    }
    match frame.first & 0x06 {
        0x02 => wire::put_acknowledgement(replies, wire::PUBACK, packet_id),
        0x04 => wire::put_acknowledgement(replies, wire::PUBREC, packet_id),
        _ => {}
    }
    Ok(())
}

fn answer(frame: &Frame<'_>, version: &mut u8, shared: &Shared, replies: &mut Vec<u8>) -> Result<(), String> {
    let packet_id = wire::read_packet_id(frame).unwrap_or_default();
    match frame.first {
        wire::CONNECT => {
            // Protocol name and its length, then the level; a bridge sets the highest bit of the level.
            *version = frame.body.get(6).ok_or("a CONNECT without a protocol level")? & 0x7F;
            shared.connects.fetch_add(1, Ordering::Relaxed);
            let accepted: &[u8] = if *version == 5 { &[3, 0, 0, 0] } else { &[2, 0, 0] };
            replies.push(wire::CONNACK);
            replies.extend_from_slice(accepted);
        }
        wire::PUBREL => wire::put_acknowledgement(replies, wire::PUBCOMP, packet_id),
        wire::SUBSCRIBE | wire::UNSUBSCRIBE => answer_filters(frame, *version, packet_id, replies)?,
        wire::PINGREQ => replies.extend_from_slice(&[wire::PINGRESP, 0]),
        wire::DISCONNECT => {}
        other => return Err(format!("an unexpected packet of type {other:#04x}")),
    }
    Ok(())
}

/// Grants every filter of a SUBSCRIBE QoS 0 and agrees to every filter of an UNSUBSCRIBE.
fn answer_filters(
    frame: &Frame<'_>,
    version: u8,
    packet_id: u16,
    replies: &mut Vec<u8>,
) -> Result<(), String> {
    let subscribe = frame.first == wire::SUBSCRIBE;
    let filters = wire::count_filters(frame, version).ok_or("a malformed SUBSCRIBE or UNSUBSCRIBE")?;
    let codes = if subscribe || version == 5 { filters } else { 0 };
    let properties = usize::from(version == 5);
    replies.push(if subscribe { wire::SUBACK } else { wire::UNSUBACK });
    let length = 2 + properties + codes;
    if length > 127 {
        return Err("too many filters in one packet".to_owned());
    }
    replies.push(length as u8);
    replies.extend_from_slice(&packet_id.to_be_bytes());
    replies.resize(replies.len() + properties + codes, 0);
    Ok(())
}
