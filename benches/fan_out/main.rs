//! The process-level bench: one device, the proxy, N null upstreams. It starts the release binary, sends a load
//! through it and prints messages per second, CPU per delivery, latency and memory; with `--vs-mosquitto` it does the
//! same with mosquitto and prints ratios. `cargo bench --bench fan_out -- --help` lists the options.
#![allow(clippy::print_stdout, reason = "the table on stdout is what this program is for")]

mod acknowledgements;
mod away_and_beside;
mod broker;
mod clock;
mod histogram;
mod ledger;
mod load;
mod messages;
mod mosquitto;
mod null_upstream;
mod options;
mod process;
mod publisher;
mod report;
mod report_rare;
mod rig;
mod scenarios;
mod stamp;
mod upstreams;
mod wire;

use std::process::ExitCode;

use broker::Subject;
use options::{Invocation, Options};
use report::Report;

fn main() -> ExitCode {
    let outcome = match options::parse(std::env::args().skip(1)) {
        Ok(Invocation::Measure(options)) => measure(&options),
        Ok(Invocation::Nothing) => Ok(()),
        Ok(Invocation::Help) => {
            println!("{}", options::USAGE);
            Ok(())
        }
        Err(reason) => {
            eprintln!("fan_out: {reason}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("fan_out: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), String> {
    let mut subjects = Vec::new();
    if !options.without_proxy {
        subjects.push(Subject::Proxy);
    }
    if options.vs_mosquitto || options.without_proxy {
        subjects.push(Subject::Mosquitto);
        println!("{} with one bridge per upstream", mosquitto::version()?);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{} publisher(s), {} upstreams, {}-byte payloads, MQTT {}, {cores} cores shared with publishers and upstreams",
        options.publishers,
        options.upstreams,
        options.payload_bytes,
        if options.version == 5 { "5.0" } else { "3.1.1" },
    );
    let mut report = Report::default();
    let result = run_scenarios(options, &subjects, &mut report);
    // What was measured before a failure is shown all the same.
    report::print(&report);
    if let Some(path) = &options.json {
        let text = format!("{:#}\n", report::to_json(&report, options));
        std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    result?;
    match report::broken_promises(&report) {
        promises if promises.is_empty() => Ok(()),
        promises => Err(promises.join("\n         ")),
    }
}

fn run_scenarios(options: &Options, subjects: &[Subject], report: &mut Report) -> Result<(), String> {
    if options.wants("throughput") {
        report.throughput = scenarios::throughput(options, subjects)?;
    }
    if options.wants("latency") {
        report.latency = scenarios::latency(options, subjects)?;
    }
    if options.wants("memory") {
        report.memory = scenarios::memory(options, subjects)?;
    }
    if options.wants("backlog") {
        report.backlog = Some(away_and_beside::backlog(options)?);
    }
    if options.wants("beside") {
        report.beside = away_and_beside::beside(options)?;
    }
    if options.wants("synced") {
        report.throughput.extend(away_and_beside::synced(options)?);
    }
    Ok(())
}
