//! What the proxy was told to do: raw settings (files, environment, flags) become checked [`Settings`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use actors::BrokerChanges;
use actors::broker::Secret;

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
    /// The log of messages.
    pub log: LogSettings,
    /// What one device or all of them together may use.
    pub limits: Limits,
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
    /// CONNECT must be complete this long after the Network Connection was accepted.
    pub connect_timeout: Duration,
    /// The whole of an orderly stop may take this long.
    pub drain_timeout: Duration,
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
}

/// `[limits]`: what one device or all of them together may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest MQTT Control Packet that is accepted.
    pub packet_bytes_max: usize,
    /// How many QoS 1 and 2 messages a device may have in flight towards the proxy.
    pub receive_maximum: u16,
    /// How many Topic Aliases a device may use; 0 turns them off.
    pub topic_alias_maximum: u16,
    /// The most Network Connections of devices at a time.
    pub connections_max: usize,
    /// The longest that a session is kept without a Network Connection, whatever its device asks for, and
    /// how long one of MQTT 3.1.1 with Clean Session 0 is kept.
    pub session_expiry_secs_max: u32,
    /// The most messages that wait for one absent or slow session.
    pub queued_messages_max: usize,
    /// The most bytes of messages that wait for one absent or slow session.
    pub queued_bytes_max: usize,
    /// The most retained messages.
    pub retained_messages_max: usize,
    /// The longest Keep Alive; 0 leaves the choice to the device.
    pub keep_alive_secs_max: u16,
}

/// An upstream broker of the command line.
#[derive(Clone, Debug)]
pub struct UpstreamArgument {
    /// Makes a valid broker; the name is always set.
    pub changes: BrokerChanges,
}
