//! What is measured: throughput and latency in alternating runs of all subjects, and memory.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use crate::broker::{Broker, Subject};
use crate::load::{Load, Outcome, Pace};
use crate::options::Options;
use crate::process::Memory;
use crate::publisher::Publisher;
use crate::rig::Rig;

/// A throughput run is shortened to about this many seconds.
const RUN_SECS: f64 = 12.0;
/// Long enough at each rate tried to see a queue overflow.
const SEARCH_SECS: f64 = 4.0;
const SEARCH_STEPS: i32 = 10;
const QUIET: Duration = Duration::from_secs(1);

/// The runs of one subject through one scenario.
pub struct Series {
    pub subject: Subject,
    pub qos: u8,
    pub pace: &'static str,
    pub outcomes: Vec<Outcome>,
}

pub fn throughput(options: &Options, subjects: &[Subject]) -> Result<Vec<Series>, String> {
    let mut all = Vec::new();
    for &qos in &options.qos {
        let mut full_speed: Vec<Series> = series(subjects, qos, "full speed");
        let mut without_loss: Vec<Series> = series(subjects, qos, "lossless");
        let mut limits: Vec<Option<u64>> = vec![None; subjects.len()];
        for run in 1..=options.runs {
            for (index, &subject) in subjects.iter().enumerate() {
                if let Some(limit) = limits[index] {
                    let outcome = flood(options, subject, qos, Pace::Batches(limit), RUN_SECS)?;
                    note(subject, &format!("QoS {qos} below its limit, run {run}"), &outcome);
                    without_loss[index].outcomes.push(outcome);
                    continue;
                }
                let outcome = flood(options, subject, qos, Pace::Flood, RUN_SECS)?;
                note(subject, &format!("QoS {qos} at full speed, run {run}"), &outcome);
                if qos == 0 && outcome.lost > 0 {
                    limits[index] = highest_rate_without_loss(options, subject, &outcome)?;
                }
                full_speed[index].outcomes.push(outcome);
            }
        }
        all.extend(full_speed);
        all.extend(without_loss);
    }
    all.retain(|series| !series.outcomes.is_empty());
    Ok(all)
}

/// One flood through a fresh process, after a shorter one that warms it up and tells how many messages it can take.
fn flood(options: &Options, subject: Subject, qos: u8, pace: Pace, secs: f64) -> Result<Outcome, String> {
    let messages = options.messages.unwrap_or(if qos == 0 { 2_000_000 } else { 1_000_000 });
    let load = |messages: u64| Load { pace, ..Load::from_options(options, qos, messages) };
    let mut rig = Rig::start(subject, options, qos)?;
    let warm_up = rig.run(load((messages / 20).clamp(1000, 100_000)))?;
    let possible = (warm_up.messages_per_second() * secs) as u64;
    let outcome = rig.run(load(messages.min(possible).max(1000)))?;
    rig.stop()?;
    Ok(outcome)
}

/// Steps down from what came through at full speed until nothing is lost.
fn highest_rate_without_loss(
    options: &Options,
    subject: Subject,
    at_full_speed: &Outcome,
) -> Result<Option<u64>, String> {
    for step in 0..SEARCH_STEPS {
        let rate = (at_full_speed.messages_per_second() * 1.1 * 0.85_f64.powi(step)) as u64;
        let outcome = flood(options, subject, 0, Pace::Batches(rate), SEARCH_SECS)?;
        note(subject, &format!("QoS 0, trying {rate} messages/s"), &outcome);
        if outcome.lost == 0 {
            return Ok(Some(rate));
        }
    }
    Ok(None)
}

pub fn latency(options: &Options, subjects: &[Subject]) -> Result<Vec<Series>, String> {
    let mut all = Vec::new();
    for &qos in &options.qos {
        let mut paced = series(subjects, qos, "paced");
        for run in 1..=options.runs {
            for (index, &subject) in subjects.iter().enumerate() {
                // One publisher keeps the clock; more would wait for each other's turns.
                let options = &Options { publishers: 1, ..options.clone() };
                let load = |secs: u64| Load {
                    pace: Pace::Singly(options.rate),
                    pause: Duration::from_micros(options.latency_pause_micros),
                    ..Load::from_options(options, qos, options.rate * secs)
                };
                let mut rig = Rig::start(subject, options, qos)?;
                rig.run(load(1))?;
                let outcome = rig.run(load(options.seconds))?;
                rig.stop()?;
                note(subject, &format!("QoS {qos} paced, run {run}"), &outcome);
                paced[index].outcomes.push(outcome);
            }
        }
        all.extend(paced);
    }
    Ok(all)
}

/// What one subject holds in memory, step by step.
pub struct Footprint {
    pub subject: Subject,
    pub steps: Vec<(String, Memory)>,
}

pub fn memory(options: &Options, subjects: &[Subject]) -> Result<Vec<Footprint>, String> {
    subjects.iter().map(|&subject| footprint(options, subject)).collect()
}

fn footprint(options: &Options, subject: Subject) -> Result<Footprint, String> {
    let qos = options.qos.iter().copied().max().unwrap_or(1);
    let idle = Broker::start(subject, options, qos, &[])?;
    thread::sleep(QUIET);
    let mut steps = vec![("idle, no upstream".to_owned(), idle.memory()?)];
    idle.stop()?;

    let mut rig = Rig::start(subject, options, qos)?;
    thread::sleep(QUIET);
    steps.push((format!("{} upstreams", options.upstreams), rig.memory()?));
    let devices = connect_devices(options, &rig)?;
    thread::sleep(QUIET);
    steps.push((format!("and {} devices", options.devices), rig.memory()?));
    for &qos in &options.qos {
        let warm_up = rig.run(Load::from_options(options, qos, 10_000))?;
        let messages = (warm_up.messages_per_second() * RUN_SECS / 2.0) as u64;
        let messages = messages.clamp(1000, options.messages.unwrap_or(1_000_000));
        let outcome = rig.run(Load::from_options(options, qos, messages))?;
        note(subject, &format!("QoS {qos} for the memory it leaves"), &outcome);
        steps.push((format!("after {messages} at QoS {qos}"), rig.memory()?));
    }
    drop(devices);
    rig.stop()?;
    Ok(Footprint { subject, steps })
}

/// Devices that have each sent a little and stay connected.
fn connect_devices(options: &Options, rig: &Rig) -> Result<Vec<Publisher>, String> {
    let mut devices = Vec::new();
    for number in 0..options.devices {
        let client_id = format!("fan-out-device-{number}");
        let mut device = Publisher::connect(rig.port(), &client_id, options.version, rig.clock())?;
        device.publish(Load::from_options(options, 1, 10), u32::MAX, &AtomicBool::new(false))?;
        devices.push(device);
    }
    Ok(devices)
}

fn series(subjects: &[Subject], qos: u8, pace: &'static str) -> Vec<Series> {
    subjects.iter().map(|&subject| Series { subject, qos, pace, outcomes: Vec::new() }).collect()
}

/// Says on stderr how far the bench is.
fn note(subject: Subject, what: &str, outcome: &Outcome) {
    eprintln!(
        "{subject}, {what}: {:.0} messages/s, {:.3} us of CPU per delivery, {} lost",
        outcome.messages_per_second(),
        outcome.cpu_micros_per_delivery(),
        outcome.lost,
    );
}
