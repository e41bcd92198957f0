//! One broker under test between one publisher and its null upstreams, and the run of a load through it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Subject};
use crate::clock::Clock;
use crate::histogram::Histogram;
use crate::ledger::Tally;
use crate::load::{Load, Outcome, Pace, Published};
use crate::null_upstream::{Manner, NullUpstream};
use crate::options::Options;
use crate::process::Memory;
use crate::publisher::Publisher;
use crate::upstreams::Upstreams;

/// How long the upstreams may take to be connected and to see the first message.
const READY_DEADLINE: Duration = Duration::from_secs(15);
/// A run in which nothing arrives for this long is over; what is missing then is lost.
const STALL: Duration = Duration::from_secs(5);
const RUN_DEADLINE: Duration = Duration::from_secs(120);
/// After the last message: time for repeats to show and for the broker's own aftermath, which its CPU time includes.
const SETTLE: Duration = Duration::from_millis(200);

pub struct Rig {
    broker: Broker,
    upstreams: Upstreams,
    publishers: Vec<Publisher>,
    clock: Clock,
    run: u32,
}

impl Rig {
    /// Starts the subject and waits until a message gets through to every upstream.
    pub fn start(subject: Subject, options: &Options, qos: u8) -> Result<Rig, String> {
        let clock = Clock::start();
        let upstreams = Upstreams::start(options.upstreams, clock)?;
        upstreams.iter().for_each(|upstream| upstream.set_topic_aliases(options.topic_aliases));
        let ports: Vec<u16> = upstreams.iter().map(NullUpstream::port).collect();
        let broker = Broker::start(subject, options, qos, &ports)?;
        let publishers = (1..=options.publishers).map(|number| {
            let client_id = format!("fan-out-{number}");
            Publisher::connect(broker.port(), &client_id, options.version, clock)
        });
        let publishers: Vec<Publisher> =
            publishers.collect::<Result<_, _>>().map_err(|reason| broker.with_log(&reason))?;
        let mut rig = Rig { broker, upstreams, publishers, clock, run: 0 };
        rig.wait_until_messages_pass(options)?;
        Ok(rig)
    }

    pub fn memory(&self) -> Result<Memory, String> {
        self.broker.memory()
    }

    /// What the broker's process wrote to disk so far.
    pub fn disk_bytes(&self) -> u64 {
        self.broker.disk_bytes()
    }

    pub fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    pub fn port(&self) -> u16 {
        self.broker.port()
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    pub fn stop(self) -> Result<(), String> {
        drop(self.publishers);
        self.broker.stop()
    }

    fn wait_until_messages_pass(&mut self, options: &Options) -> Result<(), String> {
        let probe = Load::from_options(options, 0, 1);
        let deadline = Instant::now() + READY_DEADLINE;
        while Instant::now() < deadline {
            self.publishers[0]
                .publish(probe, u32::MAX, &AtomicBool::new(false))
                .map_err(|reason| self.broker.with_log(&reason))?;
            thread::sleep(Duration::from_millis(100));
            if self.upstreams.iter().all(|upstream| upstream.ledger().tally.strays > 0) {
                return Ok(());
            }
        }
        let connected = self.upstreams.iter().filter(|upstream| upstream.connects() > 0).count();
        let reason = format!("no message passed to every upstream in time ({connected} were connected to)");
        Err(self.broker.with_log(&reason))
    }

    /// Sends the load and waits until the last upstream that is well has the last message, or nothing arrives any more.
    pub fn run(&mut self, load: Load) -> Result<Outcome, String> {
        self.begin(load);
        let connects = self.connects();
        let cpu_before = self.broker.cpu_nanos()?;
        let disk_before = self.broker.disk_bytes();
        let published = self.publish(load, true)?;
        thread::sleep(SETTLE);
        let cpu_nanos = self.broker.cpu_nanos()?.saturating_sub(cpu_before);
        let disk_bytes = self.broker.disk_bytes().saturating_sub(disk_before);
        self.upstreams.rest();
        let reconnects = self.connects() - connects;
        Ok(Outcome { cpu_nanos, disk_bytes, reconnects, ..self.outcome(load, published) })
    }

    /// A new run: what arrives from now on counts.
    pub fn begin(&mut self, load: Load) {
        self.run += 1;
        let with_latency = matches!(load.pace, Pace::Singly(_));
        let publishers = self.publishers.len() as u64;
        for upstream in self.upstreams.iter() {
            upstream.ledger().begin(self.run, load.messages, publishers, with_latency);
        }
        self.upstreams.set_pause(load.pause);
    }

    /// Sends the load of a run that has begun, and waits for its acknowledgements; with `until_arrived`, also until the
    /// upstreams have everything, and ends early where nothing moves.
    pub fn publish(&mut self, load: Load, until_arrived: bool) -> Result<Published, String> {
        let stop = AtomicBool::new(false);
        let (publishers, upstreams, run) = (&mut self.publishers, &self.upstreams, self.run);
        let of = publishers.len() as u64;
        let published = thread::scope(|scope| {
            let stop = &stop;
            let publish = |(part, publisher): (u64, _)| {
                let publisher: &mut Publisher = publisher;
                scope.spawn(move || publisher.publish(load.share(part, of), run, stop))
            };
            let publishing: Vec<_> = (0..).zip(publishers.iter_mut()).map(publish).collect();
            if until_arrived {
                wait_for_arrivals(upstreams, &|| publishing.iter().all(|thread| thread.is_finished()));
                stop.store(true, Ordering::Relaxed);
            }
            let results = publishing
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("a publisher panicked".to_owned())));
            results.reduce(|one, other| Ok(one?.and(other?))).unwrap_or_else(|| Ok(Published::default()))
        });
        published.map_err(|reason| self.broker.with_log(&reason))
    }

    /// Waits until the upstreams that are well have everything of the run, or nothing arrives any more.
    pub fn wait_for_arrivals(&self) {
        wait_for_arrivals(&self.upstreams, &|| true);
    }

    /// What arrived so far at the upstreams that are well.
    pub fn outcome(&self, load: Load, published: Published) -> Outcome {
        let mut tally = Tally::default();
        let mut latency = Histogram::new();
        let (mut lost, mut count) = (0, 0);
        for upstream in well(&self.upstreams) {
            count += 1;
            let ledger = upstream.ledger();
            tally.add(&ledger.tally);
            lost += ledger.lost();
            if let Some(histogram) = ledger.latency() {
                latency.add(histogram);
            }
        }
        let nanos = tally.last_arrival_nanos.saturating_sub(published.first_send_nanos);
        let sending = published.last_send_nanos.saturating_sub(published.first_send_nanos);
        Outcome {
            messages: load.messages,
            upstreams: count,
            seconds: nanos as f64 / 1e9,
            sent_per_second: load.messages as f64 / (sending as f64 / 1e9).max(1e-9),
            tally,
            lost,
            refused: published.refused,
            reconnects: 0,
            cpu_nanos: 0,
            disk_bytes: 0,
            latency,
        }
    }

    fn connects(&self) -> u64 {
        self.upstreams.iter().map(NullUpstream::connects).sum()
    }
}

fn well(upstreams: &Upstreams) -> impl Iterator<Item = &NullUpstream> {
    upstreams.iter().filter(|upstream| upstream.manner() == Manner::Well)
}

/// Returns when every upstream that is well has everything and the publisher is done, or nothing moves any more.
fn wait_for_arrivals(upstreams: &Upstreams, publisher_is_done: &dyn Fn() -> bool) {
    let deadline = Instant::now() + RUN_DEADLINE;
    let mut arrived = 0;
    let mut last_change = Instant::now();
    while Instant::now() < deadline && last_change.elapsed() < STALL {
        let complete = well(upstreams).all(|upstream| upstream.ledger().is_complete());
        if complete && publisher_is_done() {
            return;
        }
        let now_arrived = well(upstreams).map(|upstream| upstream.ledger().tally.received).sum();
        if now_arrived != arrived {
            arrived = now_arrived;
            last_change = Instant::now();
        }
        thread::sleep(Duration::from_millis(10));
    }
}
