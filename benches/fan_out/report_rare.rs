//! The figures of upstreams that are away or not well, as tables and as JSON.

use serde_json::{Value, json};

use crate::away_and_beside::{Backlog, Beside};
use crate::process::Memory;
use crate::report::{Report, outcome_json};

fn mib(memory: Memory) -> f64 {
    memory.resident_kib as f64 / 1024.0
}

pub fn print_backlog(backlog: &Backlog) {
    println!("\nBacklog of {} messages at QoS 1 while no upstream is there", backlog.messages);
    let rows = [
        ("live before, messages/s", backlog.live_per_second),
        ("taken while nobody is there, messages/s", backlog.taken_per_second),
        ("drained by one of them, messages/s", backlog.drained_per_second),
        ("drained in terms of live", backlog.drained_per_second / backlog.live_per_second),
        ("from the return to the first arrival, s", backlog.first_arrival_secs),
        ("from the return until all have all, s", backlog.everything_secs),
        ("resident before, MiB", mib(backlog.before)),
        ("resident with the backlog, MiB", mib(backlog.accumulated)),
        ("resident after the drain, MiB", mib(backlog.after)),
        ("peak, MiB", backlog.after.peak_kib as f64 / 1024.0),
        ("written to disk for the backlog, MB", backlog.disk_bytes as f64 / 1e6),
        ("lost", backlog.drained.lost as f64),
        ("repeated", backlog.drained.tally.repeated as f64),
        ("reordered", backlog.drained.tally.reordered as f64),
    ];
    for (what, figure) in rows {
        println!("  {what:<44} {figure:>14.2}");
    }
}

pub fn print_beside(all: &[Beside]) {
    println!("\nThroughput of the other upstreams beside one that is ... (QoS 1, medians)");
    println!("  {:<10} {:>12} {:>9} {:>7}", "manner", "messages/s", "ratio", "lost");
    let healthy = all.first().map_or(0.0, Beside::median);
    for beside in all {
        let lost: u64 = beside.outcomes.iter().map(|outcome| outcome.lost).sum();
        let ratio = beside.median() / healthy;
        let manner = format!("{:?}", beside.manner);
        println!("  {manner:<10} {:>12.0} {ratio:>9.3} {lost:>7}", beside.median());
    }
}

impl Beside {
    fn median(&self) -> f64 {
        let mut rates: Vec<f64> =
            self.outcomes.iter().map(crate::load::Outcome::messages_per_second).collect();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or_default()
    }
}

/// Messages of QoS 1 that were lost on these ways.
pub fn broken_promises(report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    if let Some(backlog) = report.backlog.as_ref().filter(|backlog| backlog.drained.lost > 0) {
        broken.push(format!("mqtt-proxy lost {} messages of a backlog", backlog.drained.lost));
    }
    for beside in &report.beside {
        let lost: u64 = beside.outcomes.iter().map(|outcome| outcome.lost).sum();
        if lost > 0 {
            broken.push(format!("mqtt-proxy lost {lost} messages beside one that is {:?}", beside.manner));
        }
    }
    broken
}

pub fn backlog_json(backlog: &Backlog) -> Value {
    json!({
        "messages": backlog.messages,
        "live_per_second": backlog.live_per_second,
        "taken_per_second": backlog.taken_per_second,
        "drained_per_second": backlog.drained_per_second,
        "first_arrival_secs": backlog.first_arrival_secs,
        "everything_secs": backlog.everything_secs,
        "disk_bytes": backlog.disk_bytes,
        "resident_kib": {
            "before": backlog.before.resident_kib,
            "accumulated": backlog.accumulated.resident_kib,
            "after": backlog.after.resident_kib,
            "peak": backlog.after.peak_kib,
        },
        "drained": outcome_json(&backlog.drained),
    })
}

pub fn beside_json(beside: &Beside) -> Value {
    json!({
        "manner": format!("{:?}", beside.manner).to_lowercase(),
        "runs": beside.outcomes.iter().map(outcome_json).collect::<Vec<Value>>(),
    })
}
