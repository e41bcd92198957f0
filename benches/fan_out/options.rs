//! The command line of the harness.

use std::path::PathBuf;

pub const USAGE: &str = "\
cargo bench --bench fan_out -- [OPTIONS]

  --upstreams N        null upstreams behind the broker (4)
  --payload BYTES      size of a payload (64)
  --topics N           topics that the publisher takes turns with (1)
  --messages N         messages of a throughput run (2000000 at QoS 0, 1000000 above)
  --qos LIST           which QoS, as in 0,1,2 (0,1)
  --publishers N       devices that publish at a time in a throughput run (1)
  --window N           unacknowledged messages of each at QoS 1 and 2 (1000)
  --policy NAME        what acknowledgements wait for, such as memory, stored or synced (the proxy's default)
  --data-dir DIR       store in DIR, which is kept, instead of a temporary directory
  --pause MICROS       sleep of publisher and upstreams between reads in a throughput run (200)
  --latency-pause MICROS  the same in a latency run; figures are up to this much too high (20)
  --rate N             messages per second of a latency run (10000)
  --seconds N          length of a latency run (10)
  --devices N          connected devices of the memory scenario (100)
  --runs N             runs of each scenario; the medians are printed (3)
  --version 4|5        MQTT 3.1.1 or 5.0, towards the broker and upstream (4)
  --topic-aliases N    Topic Alias Maximum of the null upstreams, with --version 5 (0)
  --only LIST          scenarios, of throughput,latency,memory (these three), backlog,beside,synced
  --vs-mosquitto       the same load through mosquitto with bridges, and ratios
  --without-proxy      leave the proxy out (for a look at mosquitto alone)
  --proxy PATH         measure this binary instead of the one cargo built
  --proxy-arg ARG      pass ARG to the proxy (repeatable)
  --proxy-env NAME=VALUE  run the proxy with a setting from its environment (repeatable)
  --json FILE          write the figures as JSON as well

  backlog   upstreams are away while messages accumulate, and return: memory, and how fast they get them
  beside    one upstream hangs, refuses or is slow: what the others get, compared with all being well
  synced    64 publishers whose messages are flushed to the disk itself before they are acknowledged

A run is at most about twelve seconds long; a broker that is too slow for all messages gets fewer of them.";

/// What is measured where nobody says what.
const USUAL_SCENARIOS: [&str; 3] = ["throughput", "latency", "memory"];
/// What is measured on request.
const OTHER_SCENARIOS: [&str; 3] = ["backlog", "beside", "synced"];

#[derive(Clone)]
pub struct Options {
    pub upstreams: usize,
    pub payload_bytes: usize,
    pub topics: usize,
    pub messages: Option<u64>,
    pub qos: Vec<u8>,
    pub publishers: usize,
    pub window: u16,
    pub policy: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub pause_micros: u64,
    pub latency_pause_micros: u64,
    pub rate: u64,
    pub seconds: u64,
    pub devices: usize,
    pub runs: usize,
    pub version: u8,
    pub topic_aliases: u16,
    pub only: Vec<String>,
    pub vs_mosquitto: bool,
    pub without_proxy: bool,
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
            upstreams: 4,
            payload_bytes: 64,
            topics: 1,
            messages: None,
            qos: vec![0, 1],
            publishers: 1,
            window: 1000,
            policy: None,
            data_dir: None,
            pause_micros: 200,
            latency_pause_micros: 20,
            rate: 10_000,
            seconds: 10,
            devices: 100,
            runs: 3,
            version: 4,
            topic_aliases: 0,
            only: Vec::new(),
            vs_mosquitto: false,
            without_proxy: false,
            proxy: PathBuf::from(env!("CARGO_BIN_EXE_mqtt-proxy")),
            proxy_arguments: Vec::new(),
            proxy_environment: Vec::new(),
            json: None,
        }
    }

    pub fn wants(&self, scenario: &str) -> bool {
        let is_usual = USUAL_SCENARIOS.contains(&scenario);
        (self.only.is_empty() && is_usual) || self.only.iter().any(|wanted| wanted == scenario)
    }

    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, low: u64, high: u64| match value {
            _ if (low..=high).contains(&value) => Ok(()),
            _ => Err(format!("{name} must lie between {low} and {high}")),
        };
        within("--upstreams", self.upstreams as u64, 1, 64)?;
        within("--payload", self.payload_bytes as u64, crate::stamp::STAMP_BYTES as u64, 100_000)?;
        within("--topics", self.topics as u64, 1, 10_000)?;
        within("--messages", self.messages.unwrap_or(1000), 1000, 100_000_000)?;
        within("--publishers", self.publishers as u64, 1, 1_000)?;
        within("--window", self.window.into(), 1, 60_000)?;
        within("--pause", self.pause_micros, 0, 10_000)?;
        within("--latency-pause", self.latency_pause_micros, 0, 10_000)?;
        within("--rate", self.rate, 1, 1_000_000)?;
        within("--seconds", self.seconds, 1, 60)?;
        within("--devices", self.devices as u64, 1, 10_000)?;
        within("--runs", self.runs as u64, 1, 100)?;
        within("--version", self.version.into(), 4, 5)?;
        for qos in &self.qos {
            within("--qos", (*qos).into(), 0, 2)?;
        }
        let is_known = |name: &str| USUAL_SCENARIOS.contains(&name) || OTHER_SCENARIOS.contains(&name);
        match self.only.iter().find(|name| !is_known(name)) {
            Some(name) => Err(format!("--only does not know {name}")),
            None => Ok(()),
        }
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
            "--vs-mosquitto" => options.vs_mosquitto = true,
            "--without-proxy" => options.without_proxy = true,
            name if name.starts_with('-') => {
                let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
                set(&mut options, name, &value)?;
            }
            filter if "fan_out".contains(filter) => {}
            _ => return Ok(Invocation::Nothing),
        }
    }
    options.check()?;
    Ok(Invocation::Measure(Box::new(options)))
}

fn set(options: &mut Options, name: &str, value: &str) -> Result<(), String> {
    match name {
        "--upstreams" => options.upstreams = number(name, value)?,
        "--payload" => options.payload_bytes = number(name, value)?,
        "--topics" => options.topics = number(name, value)?,
        "--messages" => options.messages = Some(number(name, value)?),
        "--qos" => options.qos = value.split(',').map(|qos| number(name, qos)).collect::<Result<_, _>>()?,
        "--publishers" => options.publishers = number(name, value)?,
        "--policy" => options.policy = Some(value.to_owned()),
        "--data-dir" => options.data_dir = Some(PathBuf::from(value)),
        "--window" => options.window = number(name, value)?,
        "--pause" => options.pause_micros = number(name, value)?,
        "--latency-pause" => options.latency_pause_micros = number(name, value)?,
        "--rate" => options.rate = number(name, value)?,
        "--seconds" => options.seconds = number(name, value)?,
        "--devices" => options.devices = number(name, value)?,
        "--runs" => options.runs = number(name, value)?,
        "--version" => options.version = number(name, value)?,
        "--topic-aliases" => options.topic_aliases = number(name, value)?,
        "--only" => options.only.extend(value.split(',').map(str::to_owned)),
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

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} needs a number, not {value:?}"))
}
