//! The figures as tables for a reader and as JSON for a program.

use serde_json::{Value, json};

use crate::away_and_beside::{Backlog, Beside};
use crate::broker::Subject;
use crate::load::Outcome;
use crate::options::Options;
use crate::report_rare;
use crate::scenarios::{Footprint, Series};

#[derive(Default)]
pub struct Report {
    pub throughput: Vec<Series>,
    pub latency: Vec<Series>,
    pub memory: Vec<Footprint>,
    pub backlog: Option<Backlog>,
    pub beside: Vec<Beside>,
}

pub fn print(report: &Report) {
    if !report.throughput.is_empty() {
        print_throughput(&report.throughput);
    }
    if !report.latency.is_empty() {
        print_latency(&report.latency);
    }
    if !report.memory.is_empty() {
        print_memory(&report.memory);
    }
    if let Some(backlog) = &report.backlog {
        report_rare::print_backlog(backlog);
    }
    if !report.beside.is_empty() {
        report_rare::print_beside(&report.beside);
    }
    let ratios = ratios(report);
    if !ratios.is_empty() {
        println!("\nmqtt-proxy in terms of mosquitto (medians)");
        for (what, ratio) in &ratios {
            println!("  {what:<44} {ratio:>8.3} x");
        }
    }
}

fn print_throughput(all: &[Series]) {
    println!("\nThroughput (medians; lost, repeated and reordered are sums over all runs and upstreams)");
    println!(
        "  {:<11} {:>3} {:<10} {:>4} {:>9} {:>12} {:>11} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "broker",
        "QoS",
        "pace",
        "runs",
        "messages",
        "messages/s",
        "us CPU/del.",
        "MB/s disk",
        "lost",
        "repeated",
        "reordered",
        "refused"
    );
    for series in all {
        println!(
            "  {:<11} {:>3} {:<10} {:>4} {:>9} {:>12.0} {:>11.3} {:>9.1} {:>9} {:>9} {:>9} {:>7}",
            series.subject,
            series.qos,
            series.pace,
            series.outcomes.len(),
            series.median(|outcome| outcome.messages as f64),
            series.median(Outcome::messages_per_second),
            series.median(Outcome::cpu_micros_per_delivery),
            series.median(Outcome::disk_bytes_per_second) / 1e6,
            series.sum(|outcome| outcome.lost),
            series.sum(|outcome| outcome.tally.repeated),
            series.sum(|outcome| outcome.tally.reordered),
            series.sum(|outcome| outcome.refused),
        );
    }
}

fn print_latency(all: &[Series]) {
    println!("\nLatency from publish to arrival at the upstreams, in microseconds (medians of the runs)");
    println!(
        "  {:<11} {:>3} {:>4} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11} {:>6} {:>9}",
        "broker", "QoS", "runs", "sent/s", "p50", "p99", "p99.9", "max", "us CPU/del.", "lost", "reordered"
    );
    for series in all {
        println!(
            "  {:<11} {:>3} {:>4} {:>9.0} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>11.3} {:>6} {:>9}",
            series.subject,
            series.qos,
            series.outcomes.len(),
            series.median(|outcome| outcome.sent_per_second),
            series.median(|outcome| quantile_micros(outcome, 0.5)),
            series.median(|outcome| quantile_micros(outcome, 0.99)),
            series.median(|outcome| quantile_micros(outcome, 0.999)),
            series.median(|outcome| outcome.latency.max() as f64 / 1000.0),
            series.median(Outcome::cpu_micros_per_delivery),
            series.sum(|outcome| outcome.lost),
            series.sum(|outcome| outcome.tally.reordered),
        );
    }
}

fn print_memory(all: &[Footprint]) {
    println!("\nMemory, in MiB");
    println!("  {:<11} {:<32} {:>9} {:>9}", "broker", "when", "resident", "peak");
    for footprint in all {
        for (when, memory) in &footprint.steps {
            println!(
                "  {:<11} {:<32} {:>9.1} {:>9.1}",
                footprint.subject,
                when,
                memory.resident_kib as f64 / 1024.0,
                memory.peak_kib as f64 / 1024.0,
            );
        }
    }
}

fn quantile_micros(outcome: &Outcome, fraction: f64) -> f64 {
    outcome.latency.quantile(fraction) as f64 / 1000.0
}

impl Series {
    fn median(&self, figure: impl Fn(&Outcome) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.outcomes.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        match figures.len() {
            0 => 0.0,
            count if count % 2 == 1 => figures[count / 2],
            count => f64::midpoint(figures[count / 2 - 1], figures[count / 2]),
        }
    }

    fn sum(&self, figure: impl Fn(&Outcome) -> u64) -> u64 {
        self.outcomes.iter().map(figure).sum()
    }
}

/// What the proxy did to messages that it may never do, at whatever speed: lose them at QoS 1 and 2, repeat, reorder or
/// refuse them. At QoS 0 losses are figures, not faults.
pub fn broken_promises(report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    let all = report.throughput.iter().chain(&report.latency);
    for series in all.filter(|series| series.subject == Subject::Proxy) {
        let lost = if series.qos == 0 { 0 } else { series.sum(|outcome| outcome.lost) };
        let counts = [
            ("lost", lost),
            ("repeated", series.sum(|outcome| outcome.tally.repeated)),
            ("reordered", series.sum(|outcome| outcome.tally.reordered)),
            ("refused", series.sum(|outcome| outcome.refused)),
        ];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            broken.push(format!("mqtt-proxy {what} {count} messages at QoS {}, {}", series.qos, series.pace));
        }
    }
    broken.extend(report_rare::broken_promises(report));
    broken
}

/// The proxy's medians divided by mosquitto's, wherever both were measured.
fn ratios(report: &Report) -> Vec<(String, f64)> {
    let mut ratios = Vec::new();
    for_pairs(&report.throughput, |proxy, mosquitto| {
        let rate = |series: &Series| series.median(Outcome::messages_per_second);
        let cpu = |series: &Series| series.median(Outcome::cpu_micros_per_delivery);
        let qos = proxy.qos;
        ratios.push((format!("messages per second, QoS {qos}"), rate(proxy) / rate(mosquitto)));
        ratios.push((format!("CPU per delivery, QoS {qos}"), cpu(proxy) / cpu(mosquitto)));
    });
    for_pairs(&report.latency, |proxy, mosquitto| {
        for (name, fraction) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let latency = |series: &Series| series.median(|outcome| quantile_micros(outcome, fraction));
            ratios.push((format!("{name} latency, QoS {}", proxy.qos), latency(proxy) / latency(mosquitto)));
        }
    });
    ratios
}

fn for_pairs(all: &[Series], mut use_pair: impl FnMut(&Series, &Series)) {
    // A series without loss, where there is one, stands for its subject.
    let best = |subject: Subject, qos: u8| {
        all.iter().rev().find(|series| series.subject == subject && series.qos == qos)
    };
    for qos in 0..=2 {
        if let (Some(proxy), Some(mosquitto)) = (best(Subject::Proxy, qos), best(Subject::Mosquitto, qos)) {
            use_pair(proxy, mosquitto);
        }
    }
}

pub fn to_json(report: &Report, options: &Options) -> Value {
    let ratios: serde_json::Map<String, Value> =
        ratios(report).into_iter().map(|(what, ratio)| (what, json!(ratio))).collect();
    json!({
        "options": {
            "upstreams": options.upstreams,
            "payload_bytes": options.payload_bytes,
            "topics": options.topics,
            "publishers": options.publishers,
            "window": options.window,
            "policy": options.policy,
            "pause_micros": options.pause_micros,
            "latency_pause_micros": options.latency_pause_micros,
            "rate": options.rate,
            "seconds": options.seconds,
            "devices": options.devices,
            "version": options.version,
        },
        "throughput": report.throughput.iter().map(series_json).collect::<Vec<Value>>(),
        "latency": report.latency.iter().map(series_json).collect::<Vec<Value>>(),
        "memory": report.memory.iter().map(footprint_json).collect::<Vec<Value>>(),
        "ratios": ratios,
        "backlog": report.backlog.as_ref().map(report_rare::backlog_json),
        "beside": report.beside.iter().map(report_rare::beside_json).collect::<Vec<Value>>(),
    })
}

fn series_json(series: &Series) -> Value {
    json!({
        "broker": series.subject.to_string(),
        "qos": series.qos,
        "pace": series.pace,
        "runs": series.outcomes.iter().map(outcome_json).collect::<Vec<Value>>(),
    })
}

pub fn outcome_json(outcome: &Outcome) -> Value {
    json!({
        "messages": outcome.messages,
        "seconds": outcome.seconds,
        "messages_per_second": outcome.messages_per_second(),
        "sent_per_second": outcome.sent_per_second,
        "deliveries": outcome.tally.received,
        "payload_bytes": outcome.tally.bytes,
        "disk_bytes_per_second": outcome.disk_bytes_per_second(),
        "cpu_micros_per_delivery": outcome.cpu_micros_per_delivery(),
        "lost": outcome.lost,
        "repeated": outcome.tally.repeated,
        "reordered": outcome.tally.reordered,
        "strays": outcome.tally.strays,
        "refused": outcome.refused,
        "reconnects": outcome.reconnects,
        "latency_micros": {
            "p50": quantile_micros(outcome, 0.5),
            "p99": quantile_micros(outcome, 0.99),
            "p99.9": quantile_micros(outcome, 0.999),
            "max": outcome.latency.max() as f64 / 1000.0,
        },
    })
}

fn footprint_json(footprint: &Footprint) -> Value {
    let step = |(when, memory): &(String, crate::process::Memory)| json!({ "when": when, "resident_kib": memory.resident_kib, "peak_kib": memory.peak_kib });
    json!({
        "broker": footprint.subject.to_string(),
        "steps": footprint.steps.iter().map(step).collect::<Vec<Value>>(),
    })
}
