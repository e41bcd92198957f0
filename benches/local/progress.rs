//! What the threads of one run tell each other while it goes on.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io;
use tokio::net::TcpStream;

#[derive(Default)]
pub struct Progress {
    received: AtomicU64,
    last_arrival_nanos: AtomicU64,
}

impl Progress {
    pub fn arrived(&self, messages: u64, now: u64) {
        self.received.fetch_add(messages, Ordering::Relaxed);
        self.last_arrival_nanos.store(now, Ordering::Relaxed);
    }

    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub fn last_arrival_nanos(&self) -> u64 {
        self.last_arrival_nanos.load(Ordering::Relaxed)
    }
}

/// The CPU time of the calling thread so far, in nanoseconds; 0 where the kernel does not say.
pub fn thread_cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
}

/// Writes at once where the socket takes it, and waits for it where it does not.
pub async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
