//! What connections cost by themselves: memory of idle ones, CPU of short ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Subject};
use crate::client::Client;
use crate::options::Options;

const SETTLE: Duration = Duration::from_secs(1);
/// Enough that one slow connection does not hold up the pace.
const SHORT_THREADS: u64 = 16;

pub struct Idle {
    pub connections: u64,
    pub refused: u64,
    /// Connections that did not answer PINGREQ afterwards.
    pub silent: u64,
    pub seconds: f64,
    pub idle_kib: u64,
    pub resident_kib: u64,
    pub connect_cpu_nanos: u64,
}

impl Idle {
    pub fn kib_per_connection(&self) -> f64 {
        self.resident_kib.saturating_sub(self.idle_kib) as f64 / self.connections.max(1) as f64
    }

    pub fn micros_per_connection(&self) -> f64 {
        self.connect_cpu_nanos as f64 / 1000.0 / self.connections.max(1) as f64
    }
}

/// Connections with one subscription each that do nothing.
pub fn idle(subject: Subject, options: &Options) -> Result<Idle, String> {
    let broker = Broker::start(subject, options, 1, &[])?;
    thread::sleep(SETTLE);
    let idle_kib = broker.memory()?.resident_kib;
    let cpu_before = broker.cpu_nanos()?;
    let started = Instant::now();
    let mut clients = Vec::new();
    let mut refused = 0;
    for number in 0..options.connections {
        let connected = Client::connect(broker.port(), &format!("idle-{number}"), options.version);
        match connected.and_then(|mut client| {
            client.subscribe(&format!("site/7/device/{number}/command"), 1)?;
            Ok(client)
        }) {
            Ok(client) => clients.push(client),
            Err(_) => refused += 1,
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    thread::sleep(SETTLE);
    let connect_cpu_nanos = broker.cpu_nanos()?.saturating_sub(cpu_before);
    let silent = clients.iter_mut().filter_map(|client| client.ping().err()).count() as u64;
    let resident_kib = broker.memory()?.resident_kib;
    let connections = clients.len() as u64;
    drop(clients);
    broker.stop()?;
    Ok(Idle { connections, refused, silent, seconds, idle_kib, resident_kib, connect_cpu_nanos })
}

pub struct Short {
    pub connections: u64,
    pub refused: u64,
    pub seconds: f64,
    pub broker_cpu_nanos: u64,
    pub idle_kib: u64,
    pub resident_kib: u64,
}

impl Short {
    pub fn per_second(&self) -> f64 {
        self.connections as f64 / self.seconds.max(1e-9)
    }

    pub fn micros_per_connection(&self) -> f64 {
        self.broker_cpu_nanos as f64 / 1000.0 / self.connections.max(1) as f64
    }
}

/// Connections that come at a fixed rate, subscribe and go.
pub fn short(subject: Subject, options: &Options) -> Result<Short, String> {
    let broker = Broker::start(subject, options, 1, &[])?;
    thread::sleep(SETTLE);
    let idle_kib = broker.memory()?.resident_kib;
    let cpu_before = broker.cpu_nanos()?;
    let total = options.short_rate * options.seconds;
    let (next, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..SHORT_THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        return;
                    }
                    let due = Duration::from_secs_f64(number as f64 / options.short_rate as f64);
                    thread::sleep(due.saturating_sub(started.elapsed()));
                    if come_and_go(broker.port(), number, options.version).is_err() {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let refused = refused.into_inner();
    thread::sleep(SETTLE);
    let broker_cpu_nanos = broker.cpu_nanos()?.saturating_sub(cpu_before);
    let resident_kib = broker.memory()?.resident_kib;
    broker.stop()?;
    Ok(Short { connections: total - refused, refused, seconds, broker_cpu_nanos, idle_kib, resident_kib })
}

fn come_and_go(port: u16, number: u64, version: u8) -> Result<(), String> {
    let mut client = Client::connect(port, &format!("short-{number}"), version)?;
    client.subscribe(&format!("site/7/device/{number}/command"), 1)?;
    client.disconnect()
}
