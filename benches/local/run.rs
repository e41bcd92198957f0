//! One run: a fresh broker, its clients, a load, and what it came to.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Subject};
use crate::client::Client;
use crate::clock::Clock;
use crate::options::Options;
use crate::progress::Progress;
use crate::publishers::{self, Load, Pace, Published};
use crate::subscribers::{Expectation, Subscribers, Tally};

/// Between the last SUBSCRIBE and the first message.
const SETTLE: Duration = Duration::from_millis(200);
/// Nothing arrives any more where nothing has for this long.
const QUIET: Duration = Duration::from_secs(2);
/// A backlog that is not delivered by then counts as lost. At QoS 0 the sockets alone hold millions of messages.
const DRAIN: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    FanOut,
    FanIn,
    Pairs,
}

impl Pattern {
    pub const ALL: [Pattern; 3] = [Pattern::FanOut, Pattern::FanIn, Pattern::Pairs];

    pub fn name(self) -> &'static str {
        match self {
            Pattern::FanOut => "fan-out",
            Pattern::FanIn => "fan-in",
            Pattern::Pairs => "pairs",
        }
    }

    fn publishers(self, clients: usize) -> usize {
        if self == Pattern::FanOut { 1 } else { clients }
    }

    fn subscribers(self, clients: usize) -> usize {
        if self == Pattern::FanIn { 1 } else { clients }
    }

    fn deliveries_per_message(self, clients: usize) -> u64 {
        if self == Pattern::FanOut { clients as u64 } else { 1 }
    }

    fn filter(self, subscriber: usize) -> String {
        match self {
            Pattern::FanOut => topic(0),
            Pattern::FanIn => "site/7/device/+/reading".to_owned(),
            Pattern::Pairs => topic(subscriber),
        }
    }
}

fn topic(publisher: usize) -> String {
    format!("site/7/device/{publisher:04}/reading")
}

/// One line of the table: what is measured for every subject.
#[derive(Clone, Copy)]
pub struct Cell {
    pub pattern: Pattern,
    pub qos: u8,
    pub shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// With this many unacknowledged messages at QoS 1 and 2.
    FullSpeed(u16),
    Paced,
}

impl Cell {
    pub fn name(&self) -> String {
        match self.shape {
            Shape::FullSpeed(_) if self.qos == 0 => format!("{} QoS 0 full speed", self.pattern.name()),
            Shape::FullSpeed(window) => {
                format!("{} QoS {} window {window}", self.pattern.name(), self.qos)
            }
            Shape::Paced => format!("{} QoS {} paced", self.pattern.name(), self.qos),
        }
    }
}

pub struct Outcome {
    pub seconds: f64,
    pub expected: u64,
    pub published: Published,
    pub tally: Tally,
    pub broker_cpu_nanos: u64,
    pub peak_kib: u64,
}

impl Outcome {
    pub fn deliveries_per_second(&self) -> f64 {
        self.tally.received as f64 / self.seconds.max(1e-9)
    }

    pub fn broker_micros_per_delivery(&self) -> f64 {
        self.broker_cpu_nanos as f64 / 1000.0 / self.tally.received.max(1) as f64
    }

    /// Of publishers and subscribers together.
    pub fn load_micros_per_delivery(&self) -> f64 {
        let nanos = self.published.cpu_nanos + self.tally.cpu_nanos;
        nanos as f64 / 1000.0 / self.tally.received.max(1) as f64
    }

    /// How many cores the broker kept busy.
    pub fn broker_cores(&self) -> f64 {
        self.broker_cpu_nanos as f64 / 1e9 / self.seconds.max(1e-9)
    }

    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.tally.received)
    }
}

/// Runs one cell once against a fresh process.
pub fn run(subject: Subject, options: &Options, cell: Cell) -> Result<Outcome, String> {
    let broker = Broker::start(subject, options, cell.qos, &[])?;
    let outcome = measure(&broker, options, cell).map_err(|reason| broker.with_log(&reason))?;
    broker.stop()?;
    Ok(outcome)
}

fn measure(broker: &Broker, options: &Options, cell: Cell) -> Result<Outcome, String> {
    let clock = Clock::start();
    let progress = Arc::new(Progress::default());
    let publishing = connect_publishers(broker, options, cell)?;
    let expectation = Expectation {
        version: options.version,
        publishers: publishing.len(),
        with_latency: cell.shape == Shape::Paced,
        clock,
        progress: Arc::clone(&progress),
    };
    let load = load(options, cell, publishing.len(), clock);
    let subscribers = Subscribers::start(connect_subscribers(broker, options, cell)?, expectation);
    thread::sleep(SETTLE);

    let cpu_before = broker.cpu_nanos()?;
    let started = clock.nanos();
    let published =
        publishers::start(publishing, load).join().map_err(|_| "the publishers' thread panicked")??;
    let expected = published.sent * cell.pattern.deliveries_per_message(options.clients);
    wait_for_the_rest(&progress, expected, clock);
    let broker_cpu_nanos = broker.cpu_nanos()?.saturating_sub(cpu_before);
    let tally = subscribers.stop()?;
    Ok(Outcome {
        seconds: progress.last_arrival_nanos().saturating_sub(started) as f64 / 1e9,
        expected,
        published,
        tally,
        broker_cpu_nanos,
        peak_kib: broker.memory()?.peak_kib,
    })
}

fn load(options: &Options, cell: Cell, publishers: usize, clock: Clock) -> Load {
    let messages = options.rate as f64 / cell.pattern.deliveries_per_message(options.clients) as f64;
    let pace = match cell.shape {
        Shape::FullSpeed(window) => Pace::Full { batch: options.batch, window: window.into() },
        Shape::Paced => Pace::Rate(messages / publishers as f64),
    };
    Load {
        qos: cell.qos,
        version: options.version,
        payload_bytes: options.payload_bytes,
        pace,
        seconds: options.seconds,
        clock,
    }
}

fn connect_publishers(
    broker: &Broker,
    options: &Options,
    cell: Cell,
) -> Result<Vec<(TcpStream, String)>, String> {
    let connect = |number: usize| {
        let client = Client::connect(broker.port(), &format!("publisher-{number}"), options.version)?;
        Ok((client.into_nonblocking()?, topic(number)))
    };
    (0..cell.pattern.publishers(options.clients)).map(connect).collect()
}

fn connect_subscribers(broker: &Broker, options: &Options, cell: Cell) -> Result<Vec<TcpStream>, String> {
    let connect = |number: usize| {
        let mut client = Client::connect(broker.port(), &format!("subscriber-{number}"), options.version)?;
        client.subscribe(&cell.pattern.filter(number), cell.qos)?;
        client.into_nonblocking()
    };
    (0..cell.pattern.subscribers(options.clients)).map(connect).collect()
}

/// Waits until everything is there, or nothing more comes.
fn wait_for_the_rest(progress: &Progress, expected: u64, clock: Clock) {
    let deadline = Instant::now() + DRAIN;
    let quiet_nanos = QUIET.as_nanos() as u64;
    let since = clock.nanos();
    while progress.received() < expected && Instant::now() < deadline {
        let last = progress.last_arrival_nanos().max(since);
        if clock.nanos() > last + quiet_nanos {
            break;
        }
        thread::sleep(POLL);
    }
}
