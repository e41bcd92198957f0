//! `mqtt-proxy health`: asks a proxy that runs here whether it is well, for who has only this program at hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Failure, http, output};
use crate::settings::{Environment, Flags, Settings};

/// The flags of `health`.
#[derive(Args)]
pub struct HealthArguments {
    /// Read this file over settings/default.toml, as the proxy does
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the proxy serves its REST API, instead of where the settings say
    #[arg(long, value_name = "IP:PORT")]
    web: Option<String>,
    /// Ask whether it is ready to work (/ready), not only whether it is alive (/health)
    #[arg(long)]
    ready: bool,
    /// How long the answer may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

/// Prints the answer; a failure where it is not a good one.
pub fn run(arguments: HealthArguments) -> Result<(), Failure> {
    let HealthArguments { config, web, ready, timeout } = arguments;
    let flags = Flags { config, web, ..Flags::default() };
    let settings = Settings::load(&flags, &Environment::of_process()?)?;
    let web = reachable(settings.web.listen);
    let path = if ready { "/ready" } else { "/health" };
    match http::ask(&web.to_string(), path, None, Duration::from_secs(timeout)) {
        Ok(answer) if answer.status == 200 => {
            output::write(format!("{}\n", answer.body.trim_end()).as_bytes()).map(drop)
        }
        Ok(answer) => {
            Err(Failure::work(format!("http://{web}{path}: {} {}", answer.status, answer.body.trim_end())))
        }
        Err(problem) => Err(Failure::work(format!("http://{web}{path}: {problem}"))),
    }
}

/// An address that listens everywhere is asked on this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}
