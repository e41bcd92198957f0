//! `mqtt-proxy demo`: the proxy between a simulated device and two brokers, which are this program too, and
//! every message as it arrives there.

mod child;
mod introduction;
mod rest;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use mqtt::{ProtocolVersion, QoS, TopicFilter, TopicName};
use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::child::{Child, Surroundings};
use super::client::{self, ConnectArguments, Event, Events, Sender};
use super::output::Reader;
use super::subscribe::parse_seconds;
use super::{Failure, output};
use crate::settings::{Environment, Flags, Settings};

pub use self::child::{ChildArguments, run_child};

const BROKERS: [&str; 2] = ["broker-1", "broker-2"];
const TOPIC: &str = "demo/device-1/temperature";
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// How long the end of a child may take to show after its connections are gone.
const END_SHOWS_WITHIN: Duration = Duration::from_millis(200);

/// Children say what is wrong and no more. The dashboard's absence is told by the introduction.
const LOG_FILTERS: &str = "warn,mqtt_proxy::web::dashboard=off,actix_files=off";

/// The flags of `demo`.
#[derive(Args)]
pub struct DemoArguments {
    /// Where devices connect to the proxy
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:1883")]
    listen: SocketAddr,
    /// Where the proxy serves the REST API and the dashboard
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:3000")]
    web: SocketAddr,
    /// Where the first broker listens
    #[arg(long = "broker-1", value_name = "IP:PORT", default_value = "127.0.0.1:1884")]
    broker_1: SocketAddr,
    /// Where the second broker listens
    #[arg(long = "broker-2", value_name = "IP:PORT", default_value = "127.0.0.1:1885")]
    broker_2: SocketAddr,
    /// End after this many seconds instead of running until Ctrl-C
    #[arg(long, value_name = "SECS", value_parser = parse_seconds)]
    seconds: Option<Duration>,
}

/// Where everything listens, as clients reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    proxy: SocketAddr,
    web: SocketAddr,
    brokers: [SocketAddr; 2],
}

/// What is running, and what is to be removed: the children end before their directory goes.
struct Stage {
    children: Vec<Child>,
    directory: TempDir,
    static_dir: PathBuf,
    log_filters: Option<&'static str>,
}

/// Runs the demo until Ctrl-C, until its time is over, or until a part of it fails.
pub fn run(arguments: DemoArguments) -> Result<(), Failure> {
    let environment = Environment::of_process()?;
    // A wrong level would end each child with the same words.
    crate::logging::filters(&environment)?;
    let settings = Settings::load(&Flags::default(), &environment)?;
    let mut stage = Stage::new(&environment, &settings.web.static_dir)?;
    client::runtime()?.block_on(async move {
        let mut stop = StopSignals::hear()?;
        let ended = tokio::select! {
            ended = stage.play(&arguments) => match ended {
                Ok(()) => Ok(()),
                Err(failure) => Err(stage.cause_of(failure).await),
            },
            () = stop.told() => Ok(()),
        };
        // Another Ctrl-C changes nothing here: the children have their deadlines.
        ended.and(stage.clear().await)
    })
}

impl Stage {
    fn new(environment: &Environment, static_dir: &Path) -> Result<Stage, Failure> {
        let directory = tempfile::Builder::new().prefix("mqtt-proxy-demo-").tempdir();
        let directory =
            directory.map_err(|error| Failure::work(format!("no temporary directory: {error}")))?;
        let static_dir = std::path::absolute(static_dir)
            .map_err(|error| Failure::work(format!("no path to the dashboard's files: {error}")))?;
        let is_chosen = environment.rust_log().is_some() || environment.log_level().is_some();
        let log_filters = (!is_chosen).then_some(LOG_FILTERS);
        Ok(Stage { children: Vec::new(), directory, static_dir, log_filters })
    }

    /// Everything from the first child to the end that nobody forced.
    async fn play(&mut self, arguments: &DemoArguments) -> Result<(), Failure> {
        let listen = choose_addresses(arguments)?;
        let places = listen.reached();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for (name, address) in BROKERS.into_iter().zip(listen.brokers) {
            self.start(name, address, any_port)?;
        }
        self.start("proxy", listen.proxy, listen.web)?;
        let [first, second] = places.brokers;
        for (child, addresses) in
            self.children.iter_mut().zip([&[first][..], &[second], &[places.proxy, places.web]])
        {
            child.listening(addresses).await?;
        }
        let first_id = rest::add_broker(places.web, BROKERS[0], first).await?;
        rest::add_broker(places.web, BROKERS[1], second).await?;

        let program = std::env::args_os().next().unwrap_or_else(|| "mqtt-proxy".into());
        let has_dashboard = self.static_dir.join("index.html").is_file();
        let text = introduction::text(&program.to_string_lossy(), &places, has_dashboard, &first_id);
        if output::write(text.as_bytes())? == Reader::Gone {
            return Ok(());
        }
        let first = watch(BROKERS[0], first).await?;
        let second = watch(BROKERS[1], second).await?;
        tokio::select! {
            ended = show(BROKERS[0], first) => ended,
            ended = show(BROKERS[1], second) => ended,
            failed = publish(places.proxy) => failed,
            failure = child::any_ended(&mut self.children) => Err(failure),
            () = time_is_over(arguments.seconds) => Ok(()),
        }
    }

    fn start(&mut self, name: &'static str, listen: SocketAddr, web: SocketAddr) -> Result<(), Failure> {
        let surroundings = Surroundings {
            directory: self.directory.path(),
            static_dir: &self.static_dir,
            log_filters: self.log_filters,
        };
        self.children.push(Child::start(name, listen, web, &surroundings)?);
        Ok(())
    }

    /// A lost connection means little to the user where the end of a child is behind it.
    async fn cause_of(&mut self, failure: Failure) -> Failure {
        let ended = child::any_ended(&mut self.children);
        tokio::time::timeout(END_SHOWS_WITHIN, ended).await.unwrap_or(failure)
    }

    /// Ends the children, the proxy before the brokers that it forwards to, and removes what they stored.
    async fn clear(self) -> Result<(), Failure> {
        let mut brokers = self.children;
        if brokers.len() > BROKERS.len()
            && let Some(mut proxy) = brokers.pop()
        {
            proxy.terminate();
            proxy.ended().await;
        }
        brokers.iter_mut().for_each(Child::terminate);
        for broker in brokers {
            broker.ended().await;
        }
        let path = self.directory.path().display().to_string();
        self.directory.close().map_err(|error| Failure::work(format!("{path} cannot be removed: {error}")))
    }
}

impl Places {
    /// The same, with an address that can be connected to in the place of 0.0.0.0 and [::].
    fn reached(self) -> Places {
        let Places { proxy, web, brokers } = self;
        Places { proxy: reached(proxy), web: reached(web), brokers: brokers.map(reached) }
    }
}

fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The host as clients are told it: without the brackets that IPv6 has before a port.
fn client_host(address: SocketAddr) -> String {
    address.ip().to_string()
}

/// Proves that nobody listens at any of the addresses, and gives a port of the system's choice to those that
/// have none. All are bound together, so that no two become the same.
fn choose_addresses(arguments: &DemoArguments) -> Result<Places, Failure> {
    let bind = |address: SocketAddr, flag: &str| {
        let bound = TcpListener::bind(address);
        bound.and_then(|socket| Ok((socket.local_addr()?, socket))).map_err(|error| {
            Failure::work(format!("cannot listen on {address}: {error}; choose another address with {flag}"))
        })
    };
    let (proxy, _proxy) = bind(arguments.listen, "--listen")?;
    let (web, _web) = bind(arguments.web, "--web")?;
    let (broker_1, _broker_1) = bind(arguments.broker_1, "--broker-1")?;
    let (broker_2, _broker_2) = bind(arguments.broker_2, "--broker-2")?;
    Ok(Places { proxy, web, brokers: [broker_1, broker_2] })
}

fn connection(address: SocketAddr, client_id: &str) -> ConnectArguments {
    ConnectArguments {
        host: client_host(address),
        port: address.port(),
        version: ProtocolVersion::V311,
        username: None,
        password: None,
        client_id: Some(client_id.to_owned()),
    }
}

/// Connects to a broker and subscribes to everything there.
async fn watch(name: &str, broker: SocketAddr) -> Result<Events, Failure> {
    let (sender, mut events) = client::open(&connection(broker, "demo-watcher"), "demo");
    events.connected().await?;
    let everything = TopicFilter::new("#").map_err(|error| Failure::work(error.to_string()))?;
    sender.subscribe(&[everything], QoS::AtLeastOnce).await?;
    loop {
        if let Event::Subscribed(refusals) = events.next().await? {
            return match refusals.into_iter().flatten().next() {
                None => Ok(events),
                Some(reason) => Err(Failure::work(format!("{name} refused the subscription: {reason}"))),
            };
        }
    }
}

/// Prints a line for each message that arrives, until nobody reads any more.
async fn show(name: &str, mut events: Events) -> Result<(), Failure> {
    loop {
        if let Event::Received { topic, payload } = events.next().await? {
            let line = [name.as_bytes(), b"  ", &topic[..], b" ", &payload[..], b"\n"].concat();
            if output::write(&line)? == Reader::Gone {
                return Ok(());
            }
        }
    }
}

/// The simulated device: it publishes until the demo ends, or fails.
async fn publish(proxy: SocketAddr) -> Result<(), Failure> {
    let (sender, mut events) = client::open(&connection(proxy, "device-1"), "demo");
    events.connected().await?;
    let poll = async {
        loop {
            if let Event::Refused(reason) = events.next().await? {
                return Err(Failure::work(format!("the proxy refused a message of the device: {reason}")));
            }
        }
    };
    tokio::try_join!(poll, publish_temperatures(&sender)).map(|((), ())| ())
}

async fn publish_temperatures(sender: &Sender) -> Result<(), Failure> {
    let topic = TopicName::new(TOPIC).map_err(|error| Failure::work(error.to_string()))?;
    let mut ticks = tokio::time::interval(PUBLISH_EVERY);
    for second in 0_u32.. {
        ticks.tick().await;
        let payload = Bytes::from(format!("{:.1}", temperature(second)));
        sender.publish(&topic, QoS::AtLeastOnce, false, payload).await?;
    }
    Ok(())
}

/// A room that slowly warms and cools, in degrees Celsius.
fn temperature(second: u32) -> f64 {
    21.5 + 2.0 * (f64::from(second) / 10.0).sin()
}

async fn time_is_over(seconds: Option<Duration>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(seconds).await,
        None => std::future::pending().await,
    }
}

/// Everything that asks the demo to end: Ctrl-C, SIGTERM, and a terminal that is closed.
struct StopSignals([Signal; 3]);

impl StopSignals {
    fn hear() -> Result<StopSignals, Failure> {
        let hear =
            |kind| signal(kind).map_err(|error| Failure::work(format!("cannot wait for signals: {error}")));
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(hear);
        Ok(StopSignals([interrupt?, terminate?, hangup?]))
    }

    async fn told(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(listen: SocketAddr) -> DemoArguments {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        DemoArguments { listen, web: any, broker_1: any, broker_2: any, seconds: None }
    }

    #[test]
    fn ports_are_chosen_and_differ() {
        let Places { proxy, web, brokers: [first, second] } =
            choose_addresses(&arguments(SocketAddr::from(([127, 0, 0, 1], 0)))).expect("ports are free");
        let mut ports = [proxy, web, first, second].map(|address| address.port()).to_vec();
        ports.sort_unstable();
        ports.dedup();
        assert!(ports.len() == 4 && !ports.contains(&0), "{ports:?}");
    }

    #[test]
    fn a_port_in_use_is_told_with_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = taken.local_addr().expect("it is bound");
        let failure = choose_addresses(&arguments(address)).expect_err("the port is taken");
        let line = failure.lines.join(" ");
        assert!(line.contains(&address.to_string()) && line.ends_with("--listen"), "{line}");
    }

    #[test]
    fn what_listens_everywhere_is_reached_here() {
        let reach = |text: &str| reached(text.parse().expect("an address")).to_string();
        assert_eq!(reach("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reach("[::]:1"), "[::1]:1");
        assert_eq!(reach("192.0.2.1:1"), "192.0.2.1:1");
    }
}
