//! The bench of the proxy as a local broker, beside mosquitto in the same run: fan-out, fan-in and pairs at full speed
//! and paced, idle and short connections. `cargo bench --bench local -- --help` lists the options.
#![allow(clippy::print_stdout, reason = "the table on stdout is what this program is for")]

#[allow(dead_code, reason = "shared with the bench fan_out, which uses all of it")]
#[path = "../fan_out/broker.rs"]
mod broker;
mod client;
#[allow(dead_code, reason = "shared with the bench fan_out, which uses all of it")]
#[path = "../fan_out/clock.rs"]
mod clock;
mod connections;
#[allow(dead_code, reason = "shared with the bench fan_out, which uses all of it")]
#[path = "../fan_out/histogram.rs"]
mod histogram;
#[path = "../fan_out/mosquitto.rs"]
mod mosquitto;
mod options;
mod payload;
#[allow(dead_code, reason = "shared with the bench fan_out, which uses all of it")]
#[path = "../fan_out/process.rs"]
mod process;
mod progress;
mod publishers;
mod report;
mod run;
mod subscribers;
#[allow(dead_code, reason = "shared with the bench fan_out, which uses all of it")]
#[path = "../fan_out/wire.rs"]
mod wire;

use std::process::ExitCode;

use broker::Subject;
use options::{Invocation, Options};
use report::{Report, Series};
use run::{Cell, Pattern, Shape};

fn main() -> ExitCode {
    let outcome = match options::parse(std::env::args().skip(1)) {
        Ok(Invocation::Measure(options)) => measure(&options),
        Ok(Invocation::Nothing) => Ok(()),
        Ok(Invocation::Help) => {
            println!("{}", options::USAGE);
            Ok(())
        }
        Err(reason) => {
            eprintln!("local: {reason}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("local: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if options.subjects.contains(&Subject::Mosquitto) {
        println!(
            "{}, max_queued_messages 0, max_inflight_messages {}",
            mosquitto::version()?,
            options.window
        );
    }
    println!(
        "{} clients, {}-byte payloads, MQTT {}, {} s a run, {cores} cores shared with the clients",
        options.clients,
        options.payload_bytes,
        if options.version == 5 { "5.0" } else { "3.1.1" },
        options.seconds,
    );
    let mut report = Report::default();
    let result = run_all(options, &mut report);
    // What was measured before a failure is shown all the same.
    report::print(&report);
    if let Some(path) = &options.json {
        let text = format!("{:#}\n", report::to_json(&report));
        std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    result?;
    match report::broken_promises(&report) {
        promises if promises.is_empty() => Ok(()),
        promises => Err(promises.join("\n       ")),
    }
}

fn run_all(options: &Options, report: &mut Report) -> Result<(), String> {
    let cells = cells(options);
    for &cell in &cells {
        for &subject in &options.subjects {
            report.series.push(Series { cell, subject, outcomes: Vec::new() });
        }
    }
    for round in 1..=options.runs {
        for series in &mut report.series {
            let outcome = run::run(series.subject, options, series.cell)
                .map_err(|reason| format!("{}: {reason}", series.cell.name()))?;
            eprintln!(
                "{round}: {}, {}: {:.0} deliveries/s, {:.3} us of CPU each, {} lost of {}, {} late",
                series.cell.name(),
                series.subject,
                outcome.deliveries_per_second(),
                outcome.broker_micros_per_delivery(),
                outcome.lost(),
                outcome.expected,
                outcome.tally.late,
            );
            series.outcomes.push(outcome);
        }
    }
    for &subject in &options.subjects {
        if options.wants("idle") {
            report.idle.push((subject, connections::idle(subject, options)?));
        }
        if options.wants("short") {
            report.short.push((subject, connections::short(subject, options)?));
        }
    }
    Ok(())
}

fn cells(options: &Options) -> Vec<Cell> {
    let mut cells = Vec::new();
    for pattern in Pattern::ALL.into_iter().filter(|pattern| options.wants(pattern.name())) {
        for &qos in &options.qos {
            if options.wants_shape("full-speed") {
                // At QoS 0 there is no window.
                let windows = if qos == 0 { &options.publish_windows[..1] } else { &options.publish_windows };
                cells.extend(windows.iter().map(|window| Cell {
                    pattern,
                    qos,
                    shape: Shape::FullSpeed(*window),
                }));
            }
            if options.wants_shape("paced") {
                cells.push(Cell { pattern, qos, shape: Shape::Paced });
            }
        }
    }
    cells
}
