//! All null upstreams on one thread, which looks at every socket in turn and then sleeps a little.
//!
//! A reader that waits in `read` is woken by every small write, and the kernel charges that to the writer: the broker
//! would pay for what happens on other machines in life, and two cores would be busy with nothing else. A thread that
//! comes by on its own costs the broker nothing; the price is that an arrival is noticed up to one pause late.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clock::{Clock, wake_this_thread_on_time};
use crate::null_upstream::{Manner, NullUpstream, take_packets};

const READ_BUFFER_BYTES: usize = 256 * 1024;
/// What a slow upstream takes, and how often.
const SLOW_READ_BYTES: usize = 16 * 1024;
const SLOW_PAUSE: Duration = Duration::from_millis(20);
/// The pause while nothing is measured.
const IDLE_PAUSE: Duration = Duration::from_millis(2);

pub struct Upstreams {
    all: Vec<Arc<NullUpstream>>,
    control: Arc<Control>,
    sweeper: Option<JoinHandle<()>>,
}

struct Control {
    stopping: AtomicBool,
    pause_micros: AtomicU64,
}

impl Upstreams {
    pub fn start(count: usize, clock: Clock) -> Result<Upstreams, String> {
        let mut all = Vec::new();
        let mut sockets = Vec::new();
        for _ in 0..count {
            let listen = || -> std::io::Result<(TcpListener, u16)> {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                listener.set_nonblocking(true)?;
                let port = listener.local_addr()?.port();
                Ok((listener, port))
            };
            let (listener, port) =
                listen().map_err(|error| format!("a null upstream cannot listen: {error}"))?;
            let upstream = Arc::new(NullUpstream::new(port, clock));
            all.push(Arc::clone(&upstream));
            sockets.push(Sockets {
                listener: Some(listener),
                connections: Vec::new(),
                upstream,
                last_sweep: Instant::now(),
            });
        }
        let control = Arc::new(Control {
            stopping: AtomicBool::new(false),
            pause_micros: AtomicU64::new(IDLE_PAUSE.as_micros() as u64),
        });
        let for_sweeper = Arc::clone(&control);
        let sweeper = thread::spawn(move || sweep(sockets, &for_sweeper));
        Ok(Upstreams { all, control, sweeper: Some(sweeper) })
    }

    /// Tells all of them how to treat the broker.
    pub fn set_manner(&self, manner: Manner) {
        for upstream in self.iter() {
            upstream.set_manner(manner);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &NullUpstream> {
        self.all.iter().map(Arc::as_ref)
    }

    /// From now on every socket is looked at about this often.
    pub fn set_pause(&self, pause: Duration) {
        self.control.pause_micros.store(pause.as_micros() as u64, Ordering::Relaxed);
    }

    pub fn rest(&self) {
        self.set_pause(IDLE_PAUSE);
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        self.control.stopping.store(true, Ordering::Relaxed);
        if let Some(sweeper) = self.sweeper.take() {
            let _ = sweeper.join();
        }
    }
}

fn sweep(mut sockets: Vec<Sockets>, control: &Control) {
    wake_this_thread_on_time();
    while !control.stopping.load(Ordering::Relaxed) {
        let taken: usize = sockets.iter_mut().map(Sockets::sweep).sum();
        let pause = control.pause_micros.load(Ordering::Relaxed);
        if taken >= READ_BUFFER_BYTES / 2 || pause == 0 {
            thread::yield_now();
        } else {
            thread::sleep(Duration::from_micros(pause));
        }
    }
}

struct Sockets {
    /// None while it is away.
    listener: Option<TcpListener>,
    connections: Vec<Connection>,
    upstream: Arc<NullUpstream>,
    last_sweep: Instant,
}

impl Sockets {
    /// Takes what lies ready, as its manner is, and returns how many bytes that was.
    fn sweep(&mut self) -> usize {
        match self.upstream.manner() {
            Manner::Well => self.take(READ_BUFFER_BYTES),
            Manner::Hanging => 0,
            Manner::Refusing => {
                self.connections.retain(|connection| !connection.was_answered);
                self.take(READ_BUFFER_BYTES)
            }
            Manner::Slow if self.last_sweep.elapsed() < SLOW_PAUSE => 0,
            Manner::Slow => {
                self.last_sweep = Instant::now();
                self.take(SLOW_READ_BYTES)
            }
            Manner::Away => {
                self.listener = None;
                self.connections.clear();
                0
            }
        }
    }

    fn take(&mut self, bytes_max: usize) -> usize {
        if self.listener.is_none() {
            let port = self.upstream.port();
            self.listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
                .ok();
        }
        if let Some(Ok((stream, _))) = self.listener.as_ref().map(TcpListener::accept) {
            self.connections.extend(Connection::new(stream));
        }
        let upstream = &self.upstream;
        let mut taken = 0;
        self.connections.retain_mut(|connection| match connection.sweep(upstream, bytes_max) {
            Ok(Some(count)) => {
                taken += count;
                true
            }
            Ok(None) => false,
            Err(reason) => {
                eprintln!("null upstream: {reason}");
                false
            }
        });
        taken
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    version: u8,
    replies: Vec<u8>,
    was_answered: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Option<Connection> {
        stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).ok()?;
        let buffer = vec![0; READ_BUFFER_BYTES];
        Some(Connection { stream, buffer, filled: 0, version: 4, replies: Vec::new(), was_answered: false })
    }

    /// One read and one write at most; `None` when the peer is gone.
    fn sweep(&mut self, upstream: &NullUpstream, bytes_max: usize) -> Result<Option<usize>, String> {
        let end = self.buffer.len().min(self.filled + bytes_max);
        let count = match self.stream.read(&mut self.buffer[self.filled..end]) {
            Ok(0) => return Ok(None),
            Ok(count) => count,
            Err(error) if may_be_tried_again(error.kind()) => 0,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if count > 0 {
            self.filled += count;
            let buffer = &self.buffer[..self.filled];
            let used = take_packets(buffer, &mut self.version, upstream, &mut self.replies)?;
            self.buffer.copy_within(used..self.filled, 0);
            self.filled -= used;
            if self.filled == self.buffer.len() {
                return Err("a packet larger than the read buffer".to_owned());
            }
        }
        if !self.replies.is_empty() {
            self.was_answered = true;
            match self.stream.write(&self.replies) {
                Ok(written) => drop(self.replies.drain(..written)),
                Err(error) if may_be_tried_again(error.kind()) => {}
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(count))
    }
}

fn may_be_tried_again(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
