//! The command line of the bench.

use std::path::PathBuf;

use crate::broker::Subject;

pub const USAGE: &str = "\
cargo bench --bench local -- [options]

  --only LIST          of fan-out, fan-in, pairs, idle, short (all)
  --shape LIST         of full-speed, paced (both)
  --subject LIST       of mqtt-proxy, mosquitto (both)
  --qos LIST           of 0, 1, 2 (0,1)
  --clients N          publishers or subscribers on the crowded side (100)
  --payload BYTES      (64)
  --publish-window LIST  unacknowledged messages of each publisher at QoS 1 and 2, full speed (20,1,200)
  --batch N            messages of one write at QoS 0, full speed (100)
  --rate N             deliveries per second in all, paced (10000)
  --seconds N          how long publishers publish (3)
  --runs N             alternating runs of each subject (3)
  --version 4|5        MQTT 3.1.1 or 5.0 (4)
  --window N           max_inflight_messages of mosquitto (1000)
  --connections N      idle connections (15000)
  --short-rate N       short connections per second (1000)
  --proxy PATH         the proxy's program
  --proxy-arg ARG      one more argument for it; may be repeated
  --proxy-env NAME=VALUE  a setting for it; may be repeated
  --data-dir PATH      where the brokers' directories are made and kept
  --json PATH          also writes the figures there";

pub const SCENARIOS: [&str; 5] = ["fan-out", "fan-in", "pairs", "idle", "short"];
const SHAPES: [&str; 2] = ["full-speed", "paced"];

#[derive(Clone)]
pub struct Options {
    pub only: Vec<String>,
    pub shapes: Vec<String>,
    pub subjects: Vec<Subject>,
    pub qos: Vec<u8>,
    pub clients: usize,
    pub payload_bytes: usize,
    pub publish_windows: Vec<u16>,
    pub batch: u64,
    pub rate: u64,
    pub seconds: u64,
    pub runs: usize,
    pub version: u8,
    /// How many messages mosquitto may have in flight to one client.
    pub window: u16,
    pub connections: usize,
    pub short_rate: u64,
    pub policy: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub proxy: PathBuf,
    pub proxy_arguments: Vec<String>,
    pub proxy_environment: Vec<(String, String)>,
    pub json: Option<PathBuf>,
}

pub enum Invocation {
    Measure(Box<Options>),
    /// Called as a test, or with a name that is not ours.
    Nothing,
    Help,
}

impl Options {
    fn new() -> Options {
        Options {
            only: Vec::new(),
            shapes: Vec::new(),
            subjects: vec![Subject::Proxy, Subject::Mosquitto],
            qos: vec![0, 1],
            clients: 100,
            payload_bytes: 64,
            publish_windows: vec![20, 1, 200],
            batch: 100,
            rate: 10_000,
            seconds: 3,
            runs: 3,
            version: 4,
            window: 1000,
            connections: 15_000,
            short_rate: 1000,
            policy: None,
            data_dir: None,
            proxy: PathBuf::from(env!("CARGO_BIN_EXE_mqtt-proxy")),
            proxy_arguments: Vec::new(),
            proxy_environment: Vec::new(),
            json: None,
        }
    }

    pub fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == scenario)
    }

    pub fn wants_shape(&self, shape: &str) -> bool {
        self.shapes.is_empty() || self.shapes.iter().any(|wanted| wanted == shape)
    }

    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, low: u64, high: u64| match value {
            _ if (low..=high).contains(&value) => Ok(()),
            _ => Err(format!("{name} must lie between {low} and {high}")),
        };
        within("--clients", self.clients as u64, 1, 5_000)?;
        within("--payload", self.payload_bytes as u64, crate::payload::STAMP_BYTES as u64, 100_000)?;
        within("--batch", self.batch, 1, 10_000)?;
        within("--rate", self.rate, 1, 1_000_000)?;
        within("--seconds", self.seconds, 1, 60)?;
        within("--runs", self.runs as u64, 1, 100)?;
        within("--version", self.version.into(), 4, 5)?;
        within("--window", self.window.into(), 1, 60_000)?;
        within("--connections", self.connections as u64, 1, 19_000)?;
        within("--short-rate", self.short_rate, 1, 10_000)?;
        for window in &self.publish_windows {
            within("--publish-window", (*window).into(), 1, 1_000)?;
        }
        for qos in &self.qos {
            within("--qos", (*qos).into(), 0, 2)?;
        }
        known("--only", &self.only, &SCENARIOS)?;
        known("--shape", &self.shapes, &SHAPES)
    }
}

fn known(option: &str, names: &[String], all: &[&str]) -> Result<(), String> {
    match names.iter().find(|name| !all.contains(&name.as_str())) {
        Some(name) => Err(format!("{option} does not know {name}")),
        None => Ok(()),
    }
}

/// `cargo bench` passes `--bench`, `cargo test --benches` does not: without it there is nothing to do.
pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Invocation, String> {
    let arguments: Vec<String> = arguments.collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if has("--help") || has("-h") {
        return Ok(Invocation::Help);
    }
    if !has("--bench") || has("--test") {
        return Ok(Invocation::Nothing);
    }
    let mut options = Options::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--bench" => {}
            name if name.starts_with('-') => {
                let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
                set(&mut options, name, &value)?;
            }
            filter if "local".contains(filter) => {}
            _ => return Ok(Invocation::Nothing),
        }
    }
    options.check()?;
    Ok(Invocation::Measure(Box::new(options)))
}

fn set(options: &mut Options, name: &str, value: &str) -> Result<(), String> {
    match name {
        "--only" => options.only.extend(value.split(',').map(str::to_owned)),
        "--shape" => options.shapes.extend(value.split(',').map(str::to_owned)),
        "--subject" => options.subjects = value.split(',').map(subject).collect::<Result<_, _>>()?,
        "--qos" => options.qos = value.split(',').map(|qos| number(name, qos)).collect::<Result<_, _>>()?,
        "--clients" => options.clients = number(name, value)?,
        "--payload" => options.payload_bytes = number(name, value)?,
        "--publish-window" => {
            options.publish_windows =
                value.split(',').map(|window| number(name, window)).collect::<Result<_, _>>()?;
        }
        "--batch" => options.batch = number(name, value)?,
        "--rate" => options.rate = number(name, value)?,
        "--seconds" => options.seconds = number(name, value)?,
        "--runs" => options.runs = number(name, value)?,
        "--version" => options.version = number(name, value)?,
        "--window" => options.window = number(name, value)?,
        "--connections" => options.connections = number(name, value)?,
        "--short-rate" => options.short_rate = number(name, value)?,
        "--policy" => options.policy = Some(value.to_owned()),
        "--data-dir" => options.data_dir = Some(PathBuf::from(value)),
        "--proxy" => options.proxy = PathBuf::from(value),
        "--proxy-arg" => options.proxy_arguments.push(value.to_owned()),
        "--proxy-env" => {
            let (name, value) = value.split_once('=').ok_or("--proxy-env needs NAME=VALUE")?;
            options.proxy_environment.push((name.to_owned(), value.to_owned()));
        }
        "--json" => options.json = Some(PathBuf::from(value)),
        _ => return Err(format!("unknown option {name}")),
    }
    Ok(())
}

fn subject(name: &str) -> Result<Subject, String> {
    [Subject::Proxy, Subject::Mosquitto]
        .into_iter()
        .find(|subject| subject.to_string() == name)
        .ok_or_else(|| format!("--subject does not know {name}"))
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} needs a number, not {value:?}"))
}
