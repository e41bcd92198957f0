//! The figures as tables for a reader and as JSON for a program.

use serde_json::{Value, json};

use crate::broker::Subject;
use crate::connections::{Idle, Short};
use crate::run::{Cell, Outcome, Shape};

/// What the proxy aims at, in terms of mosquitto.
const RATE_WANTED: f64 = 2.0;
const CPU_WANTED: f64 = 0.5;

pub struct Series {
    pub cell: Cell,
    pub subject: Subject,
    pub outcomes: Vec<Outcome>,
}

#[derive(Default)]
pub struct Report {
    pub series: Vec<Series>,
    pub idle: Vec<(Subject, Idle)>,
    pub short: Vec<(Subject, Short)>,
}

impl Series {
    fn median(&self, figure: impl Fn(&Outcome) -> f64) -> f64 {
        median(self.outcomes.iter().map(figure).collect())
    }

    fn sum(&self, figure: impl Fn(&Outcome) -> u64) -> u64 {
        self.outcomes.iter().map(figure).sum()
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        count if count % 2 == 1 => figures[count / 2],
        count => f64::midpoint(figures[count / 2 - 1], figures[count / 2]),
    }
}

pub fn print(report: &Report) {
    if !report.series.is_empty() {
        print_series(&report.series);
        print_ratios(&report.series);
    }
    print_idle(&report.idle);
    print_short(&report.short);
}

fn print_series(all: &[Series]) {
    println!(
        "\nMedians; lost, late, unacknowledged, refused and closed are sums over all runs; latency where paced, in us"
    );
    println!(
        "  {:<26} {:<10} {:>4} {:>9} {:>8} {:>8} {:>6} {:>7} {:>8} {:>6} {:>7} {:>6} {:>8} {:>8} {:>8}",
        "scenario",
        "broker",
        "runs",
        "deliv./s",
        "us CPU/d",
        "us load",
        "cores",
        "lost",
        "of",
        "late",
        "unack.",
        "closed",
        "peak MiB",
        "p50",
        "p99"
    );
    for series in all {
        let quantile =
            |fraction: f64| series.median(|outcome| outcome.tally.latency.quantile(fraction) as f64 / 1000.0);
        println!(
            "  {:<26} {:<10} {:>4} {:>9.0} {:>8.3} {:>8.3} {:>6.2} {:>7} {:>8} {:>6} {:>7} {:>6} {:>8.1} {:>8.0} {:>8.0}",
            series.cell.name(),
            series.subject,
            series.outcomes.len(),
            series.median(Outcome::deliveries_per_second),
            series.median(Outcome::broker_micros_per_delivery),
            series.median(Outcome::load_micros_per_delivery),
            series.median(Outcome::broker_cores),
            series.sum(Outcome::lost),
            series.sum(|outcome| outcome.expected),
            series.sum(|outcome| outcome.tally.late),
            series.sum(|outcome| outcome.published.unacknowledged + outcome.published.refused),
            series.sum(|outcome| outcome.tally.closed + outcome.published.failed),
            series.median(|outcome| outcome.peak_kib as f64 / 1024.0),
            quantile(0.5),
            quantile(0.99),
        );
    }
}

fn pairs(all: &[Series]) -> Vec<(&Series, &Series)> {
    let proxies = all.iter().filter(|series| series.subject == Subject::Proxy);
    proxies
        .filter_map(|proxy| {
            let name = proxy.cell.name();
            all.iter()
                .find(|other| other.subject == Subject::Mosquitto && other.cell.name() == name)
                .map(|mosquitto| (proxy, mosquitto))
        })
        .collect()
}

fn ratios(proxy: &Series, mosquitto: &Series) -> (f64, f64) {
    let of = |figure: fn(&Outcome) -> f64| proxy.median(figure) / mosquitto.median(figure);
    (of(Outcome::deliveries_per_second), of(Outcome::broker_micros_per_delivery))
}

fn print_ratios(all: &[Series]) {
    println!(
        "\nmqtt-proxy in terms of mosquitto; wanted: {RATE_WANTED} x the deliveries at full speed, {CPU_WANTED} x the CPU per delivery"
    );
    println!("  {:<26} {:>12} {:>12}", "scenario", "deliveries", "CPU/delivery");
    for (proxy, mosquitto) in pairs(all) {
        let (rate, cpu) = ratios(proxy, mosquitto);
        let is_paced = proxy.cell.shape == Shape::Paced;
        println!(
            "  {:<26} {:>10.2} x {:>10.2} x  {}{}",
            proxy.cell.name(),
            rate,
            cpu,
            if rate < RATE_WANTED && !is_paced { "too slow " } else { "" },
            if cpu > CPU_WANTED { "too much CPU" } else { "" },
        );
    }
}

fn print_idle(all: &[(Subject, Idle)]) {
    if all.is_empty() {
        return;
    }
    println!("\nIdle connections with one subscription each");
    println!(
        "  {:<10} {:>11} {:>8} {:>7} {:>9} {:>9} {:>9} {:>10} {:>12}",
        "broker",
        "connections",
        "refused",
        "silent",
        "MiB idle",
        "MiB",
        "KiB each",
        "connect/s",
        "us CPU each"
    );
    for (subject, idle) in all {
        println!(
            "  {:<10} {:>11} {:>8} {:>7} {:>9.1} {:>9.1} {:>9.2} {:>10.0} {:>12.1}",
            subject,
            idle.connections,
            idle.refused,
            idle.silent,
            idle.idle_kib as f64 / 1024.0,
            idle.resident_kib as f64 / 1024.0,
            idle.kib_per_connection(),
            idle.connections as f64 / idle.seconds,
            idle.micros_per_connection(),
        );
    }
}

fn print_short(all: &[(Subject, Short)]) {
    if all.is_empty() {
        return;
    }
    println!("\nShort connections: CONNECT, SUBSCRIBE, DISCONNECT");
    println!(
        "  {:<10} {:>11} {:>8} {:>9} {:>12} {:>9} {:>9}",
        "broker", "connections", "refused", "per s", "us CPU each", "MiB idle", "MiB after"
    );
    for (subject, short) in all {
        println!(
            "  {:<10} {:>11} {:>8} {:>9.0} {:>12.1} {:>9.1} {:>9.1}",
            subject,
            short.connections,
            short.refused,
            short.per_second(),
            short.micros_per_connection(),
            short.idle_kib as f64 / 1024.0,
            short.resident_kib as f64 / 1024.0,
        );
    }
}

/// What the proxy did that it may never do, at whatever speed. At QoS 0 losses are figures, not faults.
pub fn broken_promises(report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    for series in report.series.iter().filter(|series| series.subject == Subject::Proxy) {
        let lost = if series.cell.qos == 0 { 0 } else { series.sum(Outcome::lost) };
        let counts = [
            ("lost", lost),
            ("delivered late or twice", series.sum(|outcome| outcome.tally.late)),
            ("did not acknowledge", series.sum(|outcome| outcome.published.unacknowledged)),
            ("refused", series.sum(|outcome| outcome.published.refused)),
        ];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            broken.push(format!("mqtt-proxy {what} {count} messages, {}", series.cell.name()));
        }
    }
    broken
}

pub fn to_json(report: &Report) -> Value {
    let ratio = |(proxy, mosquitto): (&Series, &Series)| {
        let (rate, cpu) = ratios(proxy, mosquitto);
        json!({ "scenario": proxy.cell.name(), "deliveries": rate, "cpu_per_delivery": cpu })
    };
    json!({
        "series": report.series.iter().map(series_json).collect::<Vec<Value>>(),
        "ratios": pairs(&report.series).into_iter().map(ratio).collect::<Vec<Value>>(),
        "idle": report.idle.iter().map(|(subject, idle)| json!({
            "broker": subject.to_string(),
            "connections": idle.connections,
            "refused": idle.refused,
            "silent": idle.silent,
            "kib_per_connection": idle.kib_per_connection(),
            "cpu_micros_per_connection": idle.micros_per_connection(),
        })).collect::<Vec<Value>>(),
        "short": report.short.iter().map(|(subject, short)| json!({
            "broker": subject.to_string(),
            "connections": short.connections,
            "refused": short.refused,
            "per_second": short.per_second(),
            "cpu_micros_per_connection": short.micros_per_connection(),
        })).collect::<Vec<Value>>(),
    })
}

fn series_json(series: &Series) -> Value {
    let outcome = |outcome: &Outcome| {
        json!({
            "deliveries_per_second": outcome.deliveries_per_second(),
            "deliveries": outcome.tally.received,
            "cpu_micros_per_delivery": outcome.broker_micros_per_delivery(),
            "load_micros_per_delivery": outcome.load_micros_per_delivery(),
            "broker_cores": outcome.broker_cores(),
            "lost": outcome.lost(),
            "late": outcome.tally.late,
            "unacknowledged": outcome.published.unacknowledged,
            "refused": outcome.published.refused,
            "closed": outcome.tally.closed,
            "peak_kib": outcome.peak_kib,
        })
    };
    json!({
        "scenario": series.cell.name(),
        "broker": series.subject.to_string(),
        "runs": series.outcomes.iter().map(outcome).collect::<Vec<Value>>(),
    })
}
