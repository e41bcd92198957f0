//! The receiving side: all subscribers on one thread, which counts what arrives and acknowledges it.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream as Socket;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::clock::Clock;
use crate::histogram::Histogram;
use crate::payload::Stamp;
use crate::progress::{Progress, thread_cpu_nanos, write_all};
use crate::wire;

const READ_BUFFER_BYTES: usize = 256 * 1024;

/// The sums of all subscribers.
pub struct Tally {
    pub received: u64,
    /// Messages that came after a later one of the same publisher to the same subscriber, repeats among them.
    pub late: u64,
    /// Subscribers whose connection ended before the run did.
    pub closed: u64,
    pub latency: Histogram,
    pub cpu_nanos: u64,
}

pub struct Subscribers {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<Tally, String>>,
}

#[derive(Clone)]
pub struct Expectation {
    pub version: u8,
    pub publishers: usize,
    pub with_latency: bool,
    pub clock: Clock,
    pub progress: Arc<Progress>,
}

/// What the subscribers of the thread share.
struct Shared {
    expectation: Expectation,
    buffer: RefCell<Vec<u8>>,
    tally: RefCell<Tally>,
}

impl Subscribers {
    pub fn start(sockets: Vec<Socket>, expectation: Expectation) -> Subscribers {
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || receive_until(sockets, expectation, stopped));
        Subscribers { stop, thread }
    }

    /// Closes all connections and gives the sums.
    pub fn stop(self) -> Result<Tally, String> {
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| "the subscribers' thread panicked".to_owned())?
    }
}

fn receive_until(
    sockets: Vec<Socket>,
    expectation: Expectation,
    stopped: oneshot::Receiver<()>,
) -> Result<Tally, String> {
    let cpu_before = thread_cpu_nanos();
    let tally = Tally { received: 0, late: 0, closed: 0, latency: Histogram::new(), cpu_nanos: 0 };
    let shared = Rc::new(Shared {
        expectation,
        buffer: RefCell::new(vec![0; READ_BUFFER_BYTES]),
        tally: RefCell::new(tally),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| format!("no runtime for subscribers: {error}"))?;
    let set = LocalSet::new();
    set.block_on(&runtime, async {
        for socket in sockets {
            let stream = TcpStream::from_std(socket).map_err(|error| error.to_string())?;
            let shared = Rc::clone(&shared);
            set.spawn_local(async move {
                // It only ends where the connection does.
                let _ = receive(&stream, &shared).await;
                shared.tally.borrow_mut().closed += 1;
            });
        }
        let _ = stopped.await;
        Ok::<(), String>(())
    })?;
    drop(set);
    let shared = Rc::into_inner(shared).ok_or("a subscriber outlived its thread")?;
    let mut tally = shared.tally.into_inner();
    tally.cpu_nanos = thread_cpu_nanos().saturating_sub(cpu_before);
    Ok(tally)
}

async fn receive(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut incomplete = Vec::new();
    let mut replies = Vec::new();
    let mut next = vec![0; shared.expectation.publishers];
    loop {
        stream.readable().await?;
        match read_once(stream, shared, &mut incomplete, &mut next, &mut replies) {
            Ok(()) => write_all(stream, &replies).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn read_once(
    stream: &TcpStream,
    shared: &Shared,
    incomplete: &mut Vec<u8>,
    next: &mut [u64],
    replies: &mut Vec<u8>,
) -> io::Result<()> {
    replies.clear();
    let mut buffer = shared.buffer.borrow_mut();
    let kept = incomplete.len();
    buffer[..kept].copy_from_slice(incomplete);
    let read = stream.try_read(&mut buffer[kept..])?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let now = shared.expectation.clock.nanos();
    let mut tally = shared.tally.borrow_mut();
    let mut rest = &buffer[..kept + read];
    let before = tally.received;
    while let Some(frame) = wire::next_frame(rest).map_err(io::Error::other)? {
        take(&frame, &shared.expectation, &mut tally, next, now, replies)
            .ok_or(io::ErrorKind::InvalidData)?;
        rest = &rest[frame.bytes..];
    }
    shared.expectation.progress.arrived(tally.received - before, now);
    incomplete.clear();
    incomplete.extend_from_slice(rest);
    Ok(())
}

/// Counts a message and appends the answer that it asks for; `None` where it is none of ours.
fn take(
    frame: &wire::Frame<'_>,
    expectation: &Expectation,
    tally: &mut Tally,
    next: &mut [u64],
    now: u64,
    replies: &mut Vec<u8>,
) -> Option<()> {
    if frame.first & 0xF0 != wire::PUBLISH {
        if frame.first == wire::PUBREL {
            wire::put_acknowledgement(replies, wire::PUBCOMP, wire::read_packet_id(frame)?);
        }
        return Some(());
    }
    let (packet_id, payload) = wire::read_publish(frame, expectation.version)?;
    match frame.first >> 1 & 3 {
        0 => {}
        1 => wire::put_acknowledgement(replies, wire::PUBACK, packet_id),
        _ => wire::put_acknowledgement(replies, wire::PUBREC, packet_id),
    }
    let stamp = Stamp::read(payload)?;
    let next = next.get_mut(stamp.publisher as usize)?;
    tally.received += 1;
    if stamp.sequence < *next {
        tally.late += 1;
    } else {
        *next = stamp.sequence + 1;
    }
    if expectation.with_latency {
        tally.latency.record(now.saturating_sub(stamp.sent_nanos));
    }
    Some(())
}
