//! `mqtt-proxy [serve]`: runs the proxy until it is stopped.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::adapters::tls;
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
    /// Listen for devices over TLS here (repeatable), with --tls-cert and --tls-key
    #[arg(long, value_name = "IP:PORT")]
    tls_listen: Vec<String>,
    /// Show devices this certificate: a PEM file, which may hold its chain too
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// The key of --tls-cert: a PEM file
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Serve the REST API and the dashboard here
    #[arg(long, value_name = "IP:PORT")]
    web: Option<String>,
    /// Keep in this directory what must survive a restart
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Forward to this broker (repeatable): mqtt://[user[:password]@]host[:port][?field=value&...], mqtts:// for TLS,
    /// ws:// or wss:// with a path for WebSocket
    ///
    /// Fields, joined by &, are those of the REST API. Connection: name, version=3.1.1|5, profile, client_id_prefix,
    /// fixed_client_id, keep_alive_secs, clean_session=true|false. With mqtts:// or wss://: ca_cert_path,
    /// client_cert_path, client_key_path, ca_cert_pem, client_cert_pem, client_key_pem, client_key_password, tls_server_name, tls_alpn,
    /// tls_min_version=1.2|1.3, tls_psk_identity, tls_psk, insecure_skip_verify=true|false. What goes there: topics,
    /// exclude_topics, topic_prefix_strip, topic_prefix_add, rewrite, max_qos=0|1|2, retain=keep|clear|set,
    /// user_properties, max_payload_bytes. Backlog: start_at=now|earliest|OFFSET|TIME, queue_bytes_max,
    /// on_full=drop_oldest|reject, max_rate_messages, max_rate_bytes, live_first=true|false. What comes from there:
    /// bidirectional=true|false, and with it subscription_topics, subscription_exclude_topics, subscription_qos=0|1|2,
    /// subscription_prefix_strip, subscription_prefix_add, subscription_rewrite, subscription_retain,
    /// subscription_user_properties, subscription_max_payload_bytes. Supervision:
    /// loop_guard=auto|credits|bridge|off, stamp_origin=true|false, retry_floor_ms, retry_ceiling_ms, retry_denied_ms,
    /// stable_secs, canary_interval_secs, canary_topic, degraded_unsent_secs, degraded_lag, group, group_priority.
    ///
    /// Lists are FILTER,FILTER (write # as %23); rewrite and user_properties are JSON. client_key_pem,
    /// client_key_password and tls_psk must be env:NAME or file:/path. Special characters are percent-encoded.
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,
}

impl ServeArguments {
    /// The flags for the settings.
    pub fn flags(self) -> Flags {
        let ServeArguments { config, listen, tls_listen, tls_cert, tls_key, web, data, upstream } = self;
        Flags { config, listen, tls_listen, tls_cert, tls_key, web, data, upstream }
    }
}

/// Runs the proxy.
pub fn run(arguments: ServeArguments) -> Result<(), Failure> {
    let environment = Environment::of_process()?;
    let settings = Settings::load(&arguments.flags(), &environment)?;
    tls::check(&settings.server.tls)?;
    crate::logging::init(&environment)?;
    crate::startup::run(settings).map_err(|error| Failure::work(error.to_string()))
}
