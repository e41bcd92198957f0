//! The raw settings, as they stand in a file, with the built-in defaults; checked they become [`Settings`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use actors::broker::Secret;
use serde::{Deserialize, Serialize};

use super::{Credentials, Limits, LogSettings, ServerSettings, Settings, SettingsError, WebSettings};

/// All sections. Without `Debug`, because a password is in it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSettings {
    server: RawServer,
    auth: RawAuth,
    web: RawWeb,
    data: RawData,
    log: RawLog,
    limits: RawLimits,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawServer {
    listen: Vec<SocketAddr>,
    connect_timeout_secs: u64,
    drain_timeout_secs: u64,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    require_auth: bool,
    username: String,
    password: String,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWeb {
    listen: SocketAddr,
    static_dir: String,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawData {
    dir: String,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    head_bytes_max: usize,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    packet_bytes_max: usize,
    receive_maximum: u16,
    topic_alias_maximum: u16,
    connections_max: usize,
    session_expiry_secs_max: u32,
    queued_messages_max: usize,
    queued_bytes_max: usize,
    retained_messages_max: usize,
    keep_alive_secs_max: u16,
}

impl Default for RawSettings {
    fn default() -> RawSettings {
        RawSettings {
            server: RawServer {
                listen: vec![SocketAddr::from(([0, 0, 0, 0], 1883))],
                connect_timeout_secs: 10,
                drain_timeout_secs: 5,
            },
            auth: RawAuth { require_auth: false, username: String::new(), password: String::new() },
            web: RawWeb { listen: SocketAddr::from(([0, 0, 0, 0], 3000)), static_dir: "static".to_owned() },
            data: RawData { dir: "data".to_owned() },
            log: RawLog { head_bytes_max: 64 * 1024 * 1024 },
            limits: RawLimits {
                packet_bytes_max: 1024 * 1024,
                receive_maximum: 1_000,
                topic_alias_maximum: 64,
                connections_max: 15_000,
                session_expiry_secs_max: 7 * 24 * 60 * 60,
                queued_messages_max: 1_000,
                queued_bytes_max: 8 * 1024 * 1024,
                retained_messages_max: 100_000,
                keep_alive_secs_max: 0,
            },
        }
    }
}

impl RawSettings {
    /// Checks what no single key shows.
    pub fn check(self) -> Result<Settings, SettingsError> {
        let mut problems = Vec::new();
        let auth = &self.auth;
        if auth.require_auth && (auth.username.is_empty() || auth.password.is_empty()) {
            problems.push(
                "auth.require_auth is true, so auth.username and auth.password must be given too".to_owned(),
            );
        }
        let (head, packet) = (self.log.head_bytes_max, self.limits.packet_bytes_max);
        if head < packet {
            problems.push(format!(
                "log.head_bytes_max is {head}; it must be at least limits.packet_bytes_max, which is {packet}"
            ));
        }
        SettingsError::none_of(problems).map(|()| self.finish())
    }

    fn finish(self) -> Settings {
        let RawSettings { server, auth, web, data, log, limits } = self;
        let RawAuth { require_auth, username, password } = auth;
        let credentials = Credentials { username, password: Secret::new(password) };
        Settings {
            server: ServerSettings {
                listen: server.listen,
                connect_timeout: Duration::from_secs(server.connect_timeout_secs),
                drain_timeout: Duration::from_secs(server.drain_timeout_secs),
            },
            auth: require_auth.then_some(credentials),
            web: WebSettings { listen: web.listen, static_dir: PathBuf::from(web.static_dir) },
            data_dir: PathBuf::from(data.dir),
            log: LogSettings { head_bytes_max: log.head_bytes_max },
            limits: Limits {
                packet_bytes_max: limits.packet_bytes_max,
                receive_maximum: limits.receive_maximum,
                topic_alias_maximum: limits.topic_alias_maximum,
                connections_max: limits.connections_max,
                session_expiry_secs_max: limits.session_expiry_secs_max,
                queued_messages_max: limits.queued_messages_max,
                queued_bytes_max: limits.queued_bytes_max,
                retained_messages_max: limits.retained_messages_max,
                keep_alive_secs_max: limits.keep_alive_secs_max,
            },
            upstreams: Vec::new(),
            secret: None,
        }
    }

    /// The checked settings as a file would say them, the password hidden.
    pub fn shown(settings: &Settings) -> RawSettings {
        let auth = match &settings.auth {
            Some(credentials) => RawAuth {
                require_auth: true,
                username: credentials.username.clone(),
                password: "***".to_owned(),
            },
            None => RawSettings::default().auth,
        };
        let limits = settings.limits.clone();
        RawSettings {
            server: RawServer {
                listen: settings.server.listen.clone(),
                connect_timeout_secs: settings.server.connect_timeout.as_secs(),
                drain_timeout_secs: settings.server.drain_timeout.as_secs(),
            },
            auth,
            web: RawWeb {
                listen: settings.web.listen,
                static_dir: settings.web.static_dir.display().to_string(),
            },
            data: RawData { dir: settings.data_dir.display().to_string() },
            log: RawLog { head_bytes_max: settings.log.head_bytes_max },
            limits: RawLimits {
                packet_bytes_max: limits.packet_bytes_max,
                receive_maximum: limits.receive_maximum,
                topic_alias_maximum: limits.topic_alias_maximum,
                connections_max: limits.connections_max,
                session_expiry_secs_max: limits.session_expiry_secs_max,
                queued_messages_max: limits.queued_messages_max,
                queued_bytes_max: limits.queued_bytes_max,
                retained_messages_max: limits.retained_messages_max,
                keep_alive_secs_max: limits.keep_alive_secs_max,
            },
        }
    }
}
