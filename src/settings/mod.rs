//! What the proxy was told to do: raw settings (files, environment, flags) become checked [`Settings`].

mod alerts;
mod documentation;
mod environment;
mod error;
mod keys;
mod layer;
mod limits;
mod raw;
#[cfg(test)]
mod tests;
mod tls;
mod upstream;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actors::BrokerChanges;
use actors::acknowledgement::Acknowledgements;
use actors::bridge::BridgeOptions;
use actors::broker::Secret;

pub use alerts::{AlertSettings, WebhookSettings};
pub use environment::Environment;
pub use error::SettingsError;
use layer::Layer;
pub use limits::Limits;
use raw::RawSettings;
pub use tls::TlsSettings;

/// The file that is read wherever the proxy is started, if it is there.
pub const DEFAULT_FILE: &str = "settings/default.toml";

/// The checked settings: whoever holds them need not check them again.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where devices connect, and how long things may take there.
    pub server: ServerSettings,
    /// What a device must present; `None` lets everyone in.
    pub auth: Option<Credentials>,
    /// REST API and dashboard.
    pub web: WebSettings,
    /// Where the proxy keeps what must survive a restart.
    pub data_dir: PathBuf,
    /// The upstream brokers that a new data directory begins with.
    pub seed: Option<PathBuf>,
    /// The log of messages.
    pub log: LogSettings,
    /// What must have happened to a message before its publisher is told that the proxy has it.
    pub acknowledgements: Acknowledgements,
    /// What messages carry between proxies.
    pub bridge: BridgeOptions,
    /// What one device or all of them together may use.
    pub limits: Limits,
    /// What is worth an alert, and who is told.
    pub alerts: AlertSettings,
    /// The upstream brokers of the command line, each already known to make a valid broker.
    pub upstreams: Vec<UpstreamArgument>,
    /// The key for stored passwords, from `MQTT_PROXY_SECRET`.
    pub secret: Option<Secret>,
}

/// `[server]`: where devices connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// At least one address.
    pub listen: Vec<SocketAddr>,
    /// Where they connect over TLS.
    pub tls: TlsSettings,
    /// CONNECT must be complete this long after the Network Connection was accepted.
    pub connect_timeout: Duration,
    /// The whole of an orderly stop may take this long.
    pub drain_timeout: Duration,
    /// Clients that were connected when the process died have this long to come back before their Wills are published.
    pub restart_will_grace: Duration,
    /// How often the topics below `$SYS` are brought up to date; `None` leaves them out.
    pub sys_interval: Option<Duration>,
    /// The basis for Response Topics that MQTT 5.0 clients may ask for; empty for none.
    pub response_information: String,
    /// Where clients are to go that find no place here, or when the proxy stops.
    pub server_reference: Option<String>,
    /// Whether a payload that is said to be UTF-8 has to be.
    pub check_payload_format: bool,
}

/// `[auth]` with `require_auth = true`: the User Name and Password that devices must present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The User Name.
    pub username: String,
    /// The Password.
    pub password: Secret,
}

/// `[web]`: REST API and dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSettings {
    /// The address of the HTTP listener.
    pub listen: SocketAddr,
    /// The directory of the dashboard's files.
    pub static_dir: PathBuf,
}

/// `[log]`: the log of messages on their way to the upstream brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The most memory that the head of the log may take.
    pub head_bytes_max: usize,
    /// The log's files begin anew at this size.
    pub segment_bytes: u64,
    /// The log's files never take more than this, plus one segment; the oldest go first.
    pub retention_bytes_max: u64,
    /// Messages older than this are let go; `None` keeps them however old they are.
    pub retention: Option<Duration>,
    /// How much of what every upstream broker already has is kept, for replay.
    pub history_bytes_max: u64,
    /// How often the files are flushed to the disk itself, whatever acknowledgements wait for.
    pub sync_interval: Duration,
    /// Whether messages of QoS 0 are written to the files too.
    pub persist_qos0: bool,
}

/// An upstream broker of the command line.
#[derive(Clone, Debug)]
pub struct UpstreamArgument {
    /// Makes a valid broker; the name is always set.
    pub changes: BrokerChanges,
}

/// What the command line says about the settings, unchecked.
#[derive(Clone, Default)]
pub struct Flags {
    /// `--config`: a file that must exist.
    pub config: Option<PathBuf>,
    /// `--listen`: replaces `server.listen` if there is one.
    pub listen: Vec<String>,
    /// `--tls-listen`: replaces `server.tls_listen` if there is one.
    pub tls_listen: Vec<String>,
    /// `--tls-cert`: replaces `server.tls_cert_path`.
    pub tls_cert: Option<String>,
    /// `--tls-key`: replaces `server.tls_key_path`.
    pub tls_key: Option<String>,
    /// `--web`: replaces `web.listen`.
    pub web: Option<String>,
    /// `--data`: replaces `data.dir`.
    pub data: Option<String>,
    /// `--upstream`: URLs.
    pub upstream: Vec<String>,
}

impl Settings {
    /// Built-in defaults, then [`DEFAULT_FILE`], the file of `--config`, the environment and the flags, where
    /// the later wins. Every layer must be right, also where a later one replaces what it says.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Settings, SettingsError> {
        Settings::load_from(Path::new(DEFAULT_FILE), flags, environment)
    }

    fn load_from(
        default_file: &Path,
        flags: &Flags,
        environment: &Environment,
    ) -> Result<Settings, SettingsError> {
        let mut problems = Vec::new();
        let mut layers = Vec::new();
        let mut add = |layer: Result<Layer, SettingsError>| match layer {
            Ok(layer) => layers.push(layer),
            Err(error) => problems.extend_from_slice(error.problems()),
        };
        // A file that cannot be looked at is reported by reading it.
        if default_file.try_exists().unwrap_or(true) {
            add(layer::of_file(default_file));
        }
        if let Some(file) = &flags.config {
            add(layer::of_file(file));
        }
        add(layer::of_environment(environment));
        add(layer::of_flags(flags));
        let upstreams = upstream::read_all(&flags.upstream).unwrap_or_else(|error| {
            problems.extend_from_slice(error.problems());
            Vec::new()
        });
        SettingsError::none_of(problems)?;

        let raw = merge(layers)?;
        let checked = raw.check()?;
        let secret = environment.secret().map(Secret::new);
        Ok(Settings { upstreams, secret, ..checked })
    }

    /// The settings as TOML, every secret shown as `***`; what files cannot say stands in comments.
    pub fn to_toml(&self) -> String {
        let mut text = toml::to_string(&RawSettings::shown(self)).expect("tables of plain values are TOML");
        for upstream in &self.upstreams {
            text.push_str(&format!("\n# --upstream '{}'", upstream::shown(upstream)));
        }
        if self.secret.is_some() {
            text.push_str("\n# MQTT_PROXY_SECRET='***'");
        }
        text.push_str(if text.ends_with('\n') { "" } else { "\n" });
        text
    }
}

/// Every setting with its default, its environment variable and its meaning, as tables of Markdown.
pub fn documentation() -> String {
    documentation::tables()
}

/// Puts the layers on the built-in defaults, in this order.
fn merge(layers: Vec<Layer>) -> Result<RawSettings, SettingsError> {
    let merged = || {
        let mut builder =
            config::Config::builder().add_source(config::Config::try_from(&RawSettings::default())?);
        for (key, value) in layers.into_iter().flatten() {
            builder = builder.set_override(key, value)?;
        }
        builder.build()?.try_deserialize()
    };
    merged().map_err(|error: config::ConfigError| SettingsError::one(error.to_string()))
}
