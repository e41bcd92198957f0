//! What upstreams that are away or not well cost: memory while messages accumulate for them, how fast they get them
//! when they return, and what is left for the others. And what it costs to flush each message to the disk.

use std::thread;
use std::time::Duration;

use crate::broker::Subject;
use crate::load::{Load, Outcome};
use crate::null_upstream::Manner;
use crate::options::Options;
use crate::process::Memory;
use crate::rig::Rig;
use crate::scenarios::Series;

const BACKLOG_MESSAGES: u64 = 1_000_000;
const BESIDE_MESSAGES: u64 = 500_000;
const SYNCED_MESSAGES: u64 = 200_000;
const SYNCED_PUBLISHERS: usize = 64;
/// Time for the broker to notice that its upstreams are gone.
const PARTING: Duration = Duration::from_millis(500);

/// Messages that accumulate while nobody is there, and what happens when everybody returns.
pub struct Backlog {
    pub messages: u64,
    pub live_per_second: f64,
    pub before: Memory,
    /// How fast messages were taken while nobody was there to get them.
    pub taken_per_second: f64,
    pub disk_bytes: u64,
    pub accumulated: Memory,
    /// At one upstream from its first arrival to its last, the mean over all of them.
    pub drained_per_second: f64,
    /// From the return to the last arrival at the last upstream.
    pub everything_secs: f64,
    /// From the return to the first arrival.
    pub first_arrival_secs: f64,
    pub after: Memory,
    pub drained: Outcome,
}

pub fn backlog(options: &Options) -> Result<Backlog, String> {
    let load = Load::from_options(options, 1, options.messages.unwrap_or(BACKLOG_MESSAGES));
    let mut rig = Rig::start(Subject::Proxy, options, 1)?;
    rig.run(Load { messages: 50_000, ..load })?;
    let live_per_second = rig.run(load)?.messages_per_second();
    let before = rig.memory()?;
    rig.upstreams().set_manner(Manner::Away);
    thread::sleep(PARTING);
    let disk_before = rig.disk_bytes();
    rig.begin(load);
    let published = rig.publish(load, false)?;
    let accumulated = rig.memory()?;
    let disk_bytes = rig.disk_bytes().saturating_sub(disk_before);
    let returned = rig.clock().nanos();
    rig.upstreams().set_manner(Manner::Well);
    rig.wait_for_arrivals();
    let after = rig.memory()?;
    let secs = |from: u64, to: u64| (to.saturating_sub(from) as f64 / 1e9).max(1e-9);
    let draining = rig.upstreams().iter().map(|upstream| {
        let tally = upstream.ledger().tally;
        secs(tally.first_arrival_nanos, tally.last_arrival_nanos)
    });
    let draining_secs: f64 = draining.sum();
    let drained = rig.outcome(load, published);
    rig.stop()?;
    let tally = &drained.tally;
    let drained_per_second = tally.received as f64 / draining_secs;
    Ok(Backlog {
        messages: load.messages,
        live_per_second,
        before,
        taken_per_second: load.messages as f64 / published.seconds().max(1e-9),
        disk_bytes,
        accumulated,
        drained_per_second,
        everything_secs: secs(returned, tally.last_arrival_nanos),
        first_arrival_secs: secs(returned, tally.first_arrival_nanos),
        after,
        drained,
    })
}

/// What the first upstreams got while the last one was in this manner.
pub struct Beside {
    pub manner: Manner,
    pub outcomes: Vec<Outcome>,
}

pub fn beside(options: &Options) -> Result<Vec<Beside>, String> {
    let manners = [Manner::Well, Manner::Hanging, Manner::Refusing, Manner::Slow, Manner::Away];
    let mut all = manners.map(|manner| Beside { manner, outcomes: Vec::new() });
    let load = Load::from_options(options, 1, options.messages.unwrap_or(BESIDE_MESSAGES));
    for run in 1..=options.runs {
        for beside in &mut all {
            let mut rig = Rig::start(Subject::Proxy, options, 1)?;
            rig.run(Load { messages: 50_000, ..load })?;
            let last = rig.upstreams().iter().last().ok_or("there is no upstream")?;
            last.set_manner(beside.manner);
            thread::sleep(PARTING);
            let outcome = rig.run(load)?;
            rig.stop()?;
            eprintln!(
                "beside one that is {:?}, run {run}: {:.0} messages/s at each of {} others, {} lost",
                beside.manner,
                outcome.messages_per_second(),
                outcome.upstreams,
                outcome.lost,
            );
            beside.outcomes.push(outcome);
        }
    }
    Ok(all.into())
}

/// Throughput at QoS 1 where each acknowledgement waits for the disk.
pub fn synced(options: &Options) -> Result<Vec<Series>, String> {
    let policy = Some("synced".to_owned());
    let options = Options { publishers: SYNCED_PUBLISHERS, policy, ..options.clone() };
    let load = Load::from_options(&options, 1, options.messages.unwrap_or(SYNCED_MESSAGES));
    let mut series = Series { subject: Subject::Proxy, qos: 1, pace: "synced", outcomes: Vec::new() };
    for run in 1..=options.runs {
        let mut rig = Rig::start(Subject::Proxy, &options, 1)?;
        rig.run(Load { messages: 10_000, ..load })?;
        let outcome = rig.run(load)?;
        rig.stop()?;
        eprintln!("synced, run {run}: {:.0} messages/s", outcome.messages_per_second());
        series.outcomes.push(outcome);
    }
    Ok(vec![series])
}
