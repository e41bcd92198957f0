//! One broker under test between one publisher and its null upstreams, and the run of a load through it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::broker::{Broker, Subject};
use crate::clock::Clock;
use crate::histogram::Histogram;
use crate::ledger::Tally;
use crate::load::{Load, Outcome, Pace, Published};
use crate::null_upstream::NullUpstream;
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
    publisher: Publisher,
    clock: Clock,
    run: u32,
}

impl Rig {
    /// Starts the subject and waits until a message gets through to every upstream.
    pub fn start(subject: Subject, options: &Options, qos: u8) -> Result<Rig, String> {
        let clock = Clock::start();
        let upstreams = Upstreams::start(options.upstreams, clock)?;
        let ports: Vec<u16> = upstreams.iter().map(NullUpstream::port).collect();
        let broker = Broker::start(subject, options, qos, &ports)?;
        let publisher = Publisher::connect(broker.port(), "fan-out-1", options.version, clock)
            .map_err(|reason| broker.with_log(&reason))?;
        let mut rig = Rig { broker, upstreams, publisher, clock, run: 0 };
        rig.wait_until_messages_pass(options)?;
        Ok(rig)
    }

    pub fn memory(&self) -> Result<Memory, String> {
        self.broker.memory()
    }

    pub fn port(&self) -> u16 {
        self.broker.port()
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    pub fn stop(self) -> Result<(), String> {
        drop(self.publisher);
        self.broker.stop()
    }

    fn wait_until_messages_pass(&mut self, options: &Options) -> Result<(), String> {
        let probe = Load::from_options(options, 0, 1);
        let deadline = Instant::now() + READY_DEADLINE;
        while Instant::now() < deadline {
            self.publisher
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

    /// Sends the load and waits until the last upstream has the last message, or nothing arrives any more.
    pub fn run(&mut self, load: Load) -> Result<Outcome, String> {
        self.run += 1;
        let with_latency = matches!(load.pace, Pace::Singly(_));
        for upstream in self.upstreams.iter() {
            upstream.ledger().begin(self.run, load.messages, with_latency);
        }
        self.upstreams.set_pause(load.pause);
        let connects = self.connects();
        let cpu_before = self.broker.cpu_nanos()?;
        let published = self.publish_and_wait(load)?;
        thread::sleep(SETTLE);
        let cpu_nanos = self.broker.cpu_nanos()?.saturating_sub(cpu_before);
        self.upstreams.rest();
        let reconnects = self.connects() - connects;
        Ok(self.outcome(load, published, cpu_nanos, reconnects))
    }

    fn publish_and_wait(&mut self, load: Load) -> Result<Published, String> {
        let stop = AtomicBool::new(false);
        let (publisher, upstreams, run) = (&mut self.publisher, &self.upstreams, self.run);
        let published = thread::scope(|scope| {
            let publishing = scope.spawn(|| publisher.publish(load, run, &stop));
            wait_for_arrivals(upstreams, &|| publishing.is_finished());
            stop.store(true, Ordering::Relaxed);
            publishing.join().unwrap_or_else(|_| Err("the publisher panicked".to_owned()))
        });
        published.map_err(|reason| self.broker.with_log(&reason))
    }

    fn outcome(&self, load: Load, published: Published, cpu_nanos: u64, reconnects: u64) -> Outcome {
        let mut tally = Tally::default();
        let mut latency = Histogram::new();
        let mut lost = 0;
        for upstream in self.upstreams.iter() {
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
            upstreams: self.upstreams.iter().count() as u64,
            seconds: nanos as f64 / 1e9,
            sent_per_second: load.messages as f64 / (sending as f64 / 1e9).max(1e-9),
            tally,
            lost,
            refused: published.refused,
            reconnects,
            cpu_nanos,
            latency,
        }
    }

    fn connects(&self) -> u64 {
        self.upstreams.iter().map(NullUpstream::connects).sum()
    }
}

/// Returns when every upstream has everything and the publisher is done, or nothing moves any more.
fn wait_for_arrivals(upstreams: &Upstreams, publisher_is_done: &dyn Fn() -> bool) {
    let deadline = Instant::now() + RUN_DEADLINE;
    let mut arrived = 0;
    let mut last_change = Instant::now();
    while Instant::now() < deadline && last_change.elapsed() < STALL {
        let complete = upstreams.iter().all(|upstream| upstream.ledger().is_complete());
        if complete && publisher_is_done() {
            return;
        }
        let now_arrived = upstreams.iter().map(|upstream| upstream.ledger().tally.received).sum();
        if now_arrived != arrived {
            arrived = now_arrived;
            last_change = Instant::now();
        }
        thread::sleep(Duration::from_millis(10));
    }
}
