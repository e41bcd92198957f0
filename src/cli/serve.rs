//! `mqtt-proxy [serve]`: runs the proxy until it is stopped.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::settings::{Environment, Flags, Settings};

/// The flags that change settings; `check` has the same.
#[derive(Args)]
pub struct ServeArguments {
    /// Read this file over settings/default.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen for devices here, instead of where the settings say (repeatable)
    #[arg(long, value_name = "IP:PORT")]
    listen: Vec<String>,
    /// Serve the REST API and the dashboard here
    #[arg(long, value_name = "IP:PORT")]
    web: Option<String>,
    /// Keep in this directory what must survive a restart
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Forward to this broker (repeatable): mqtt://[user[:password]@]host[:port][?parameters], or mqtts:// for TLS
    ///
    /// Parameters, joined by &: name, version=3.1.1|5, max_qos=0|1|2, topics=FILTER,FILTER (write # as %23),
    /// bidirectional=true|false, subscription_topics=FILTER,FILTER, subscription_qos=0|1|2, client_id_prefix,
    /// keep_alive_secs, clean_session=true|false, start_at=now|earliest|OFFSET|TIME, queue_bytes_max,
    /// on_full=drop_oldest|reject, max_rate_messages, max_rate_bytes, live_first=true|false, and for mqtts:// insecure_skip_verify=true|false and ca_cert_path.
    /// Special characters are percent-encoded.
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,
}

impl ServeArguments {
    /// The flags for the settings.
    pub fn flags(self) -> Flags {
        let ServeArguments { config, listen, web, data, upstream } = self;
        Flags { config, listen, web, data, upstream }
    }
}

/// Runs the proxy.
pub fn run(arguments: ServeArguments) -> Result<(), Failure> {
    let environment = Environment::of_process()?;
    let settings = Settings::load(&arguments.flags(), &environment)?;
    crate::logging::init(&environment)?;
    crate::startup::run(settings).map_err(|error| Failure::work(error.to_string()))
}
