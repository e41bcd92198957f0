//! The raw settings, as they stand in a file, with the built-in defaults; checked they become [`Settings`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use actors::acknowledgement::{Acknowledgements, OnDeadline, Policy, parse_rule, rule_text};
use actors::bridge::BridgeOptions;
use actors::broker::{Secret, TlsVersion};
use serde::{Deserialize, Serialize};

use super::alerts::{AlertSettings, RawAlerts};
use super::limits::{Limits, RawLimits};
use super::tls::TlsSettings;
use super::{Credentials, LogSettings, ServerSettings, Settings, SettingsError, WebSettings};

/// All sections. Without `Debug`, because a password is in it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSettings {
    server: RawServer,
    auth: RawAuth,
    web: RawWeb,
    data: RawData,
    log: RawLog,
    acknowledgement: RawAcknowledgement,
    bridge: RawBridge,
    limits: RawLimits,
    alerts: RawAlerts,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServer {
    listen: Vec<SocketAddr>,
    // The crate `config` leaves out empty lists among the defaults.
    #[serde(default)]
    pub tls_listen: Vec<SocketAddr>,
    pub tls_cert_path: String,
    pub tls_key_path: String,
    pub tls_client_ca_path: String,
    pub tls_min_version: String,
    connect_timeout_secs: u64,
    drain_timeout_secs: u64,
    restart_will_grace_secs: u64,
    sys_interval_secs: u64,
    response_information: String,
    server_reference: String,
    check_payload_format: bool,
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
    seed: String,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    head_bytes_max: usize,
    segment_bytes: u64,
    retention_bytes_max: u64,
    retention_secs_max: u64,
    history_bytes_max: u64,
    sync_interval_ms: u64,
    persist_qos0: bool,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAcknowledgement {
    policy: String,
    // The crate `config` leaves out empty lists among the defaults.
    #[serde(default)]
    rules: Vec<String>,
    deadline_ms: u64,
    on_deadline: String,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBridge {
    origin_property: String,
    hops_property: String,
    hops_max: u32,
    strip_for_devices: bool,
}

impl Default for RawSettings {
    fn default() -> RawSettings {
        RawSettings {
            server: RawServer {
                listen: vec![SocketAddr::from(([0, 0, 0, 0], 1883))],
                tls_listen: Vec::new(),
                tls_cert_path: String::new(),
                tls_key_path: String::new(),
                tls_client_ca_path: String::new(),
                tls_min_version: TlsVersion::default().as_str().to_owned(),
                connect_timeout_secs: 10,
                drain_timeout_secs: 5,
                restart_will_grace_secs: 10,
                sys_interval_secs: 10,
                response_information: String::new(),
                server_reference: String::new(),
                check_payload_format: false,
            },
            auth: RawAuth { require_auth: false, username: String::new(), password: String::new() },
            web: RawWeb { listen: SocketAddr::from(([0, 0, 0, 0], 3000)), static_dir: "static".to_owned() },
            data: RawData { dir: "data".to_owned(), seed: String::new() },
            log: RawLog {
                head_bytes_max: 32 * 1024 * 1024,
                segment_bytes: 64 * 1024 * 1024,
                retention_bytes_max: 4 * 1024 * 1024 * 1024,
                retention_secs_max: 7 * 24 * 60 * 60,
                history_bytes_max: 256 * 1024 * 1024,
                sync_interval_ms: 1_000,
                persist_qos0: false,
            },
            acknowledgement: RawAcknowledgement::shown(&Acknowledgements::default()),
            bridge: RawBridge::shown(&BridgeOptions::default()),
            limits: RawLimits::shown(&Limits::default()),
            alerts: RawAlerts::shown(&AlertSettings::default()),
        }
    }
}

impl RawSettings {
    /// Checks what no single key shows.
    pub fn check(mut self) -> Result<Settings, SettingsError> {
        let mut problems = Vec::new();
        let auth = &self.auth;
        if auth.require_auth && (auth.username.is_empty() || auth.password.is_empty()) {
            problems.push(
                "auth.require_auth is true, so auth.username and auth.password must be given too".to_owned(),
            );
        }
        problems.extend(TlsSettings::of(&self.server).problems(&self.server.listen));
        self.limits.fit_into(self.log.head_bytes_max);
        let (head, packet) = (self.log.head_bytes_max, self.limits.packet_bytes_max);
        if head < packet {
            problems.push(format!(
                "log.head_bytes_max is {head}; it must be at least limits.packet_bytes_max, which is {packet}"
            ));
        }
        let (retention, segment) = (self.log.retention_bytes_max, self.log.segment_bytes);
        if retention < 2 * segment {
            problems.push(format!(
                "log.retention_bytes_max is {retention}; it must be at least twice log.segment_bytes, which is {segment}"
            ));
        }
        let acknowledgements = self.acknowledgement.check().unwrap_or_else(|problem| {
            problems.push(problem);
            Acknowledgements::default()
        });
        if self.bridge.origin_property == self.bridge.hops_property {
            problems.push(format!(
                "bridge.origin_property and bridge.hops_property are both '{}'; they must be two names",
                self.bridge.hops_property
            ));
        }
        let limits = self.limits.clone().check().unwrap_or_else(|problem| {
            problems.push(problem);
            Limits::default()
        });
        let (receiving, packet) = (limits.receiving_bytes_max, limits.packet_bytes_max);
        if receiving < packet {
            problems.push(format!(
                "limits.receiving_bytes_max is {receiving}; it must be at least limits.packet_bytes_max, which is {packet}"
            ));
        }
        let alerts = self.alerts.clone().check().unwrap_or_else(|problem| {
            problems.push(problem);
            AlertSettings::default()
        });
        SettingsError::none_of(problems).map(|()| Settings {
            acknowledgements,
            limits,
            alerts,
            ..self.finish()
        })
    }

    fn finish(self) -> Settings {
        let RawSettings { server, auth, web, data, log, bridge, .. } = self;
        let RawAuth { require_auth, username, password } = auth;
        let credentials = Credentials { username, password: Secret::new(password) };
        Settings {
            server: ServerSettings {
                tls: TlsSettings::of(&server),
                listen: server.listen,
                connect_timeout: Duration::from_secs(server.connect_timeout_secs),
                drain_timeout: Duration::from_secs(server.drain_timeout_secs),
                restart_will_grace: Duration::from_secs(server.restart_will_grace_secs),
                sys_interval: Some(server.sys_interval_secs)
                    .filter(|secs| *secs > 0)
                    .map(Duration::from_secs),
                response_information: server.response_information,
                server_reference: Some(server.server_reference).filter(|text| !text.is_empty()),
                check_payload_format: server.check_payload_format,
            },
            auth: require_auth.then_some(credentials),
            web: WebSettings { listen: web.listen, static_dir: PathBuf::from(web.static_dir) },
            seed: Some(data.seed).filter(|seed| !seed.is_empty()).map(PathBuf::from),
            data_dir: PathBuf::from(data.dir),
            log: log.finish(),
            acknowledgements: Acknowledgements::default(),
            bridge: bridge.finish(),
            limits: Limits::default(),
            alerts: AlertSettings::default(),
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
        let tls = &settings.server.tls;
        let client_ca = tls.client_ca_path.as_ref();
        RawSettings {
            server: RawServer {
                listen: settings.server.listen.clone(),
                tls_listen: tls.listen.clone(),
                tls_cert_path: tls.cert_path.display().to_string(),
                tls_key_path: tls.key_path.display().to_string(),
                tls_client_ca_path: client_ca.map(|path| path.display().to_string()).unwrap_or_default(),
                tls_min_version: tls.min_version.as_str().to_owned(),
                connect_timeout_secs: settings.server.connect_timeout.as_secs(),
                drain_timeout_secs: settings.server.drain_timeout.as_secs(),
                restart_will_grace_secs: settings.server.restart_will_grace.as_secs(),
                sys_interval_secs: settings.server.sys_interval.map_or(0, |interval| interval.as_secs()),
                response_information: settings.server.response_information.clone(),
                server_reference: settings.server.server_reference.clone().unwrap_or_default(),
                check_payload_format: settings.server.check_payload_format,
            },
            auth,
            web: RawWeb {
                listen: settings.web.listen,
                static_dir: settings.web.static_dir.display().to_string(),
            },
            data: RawData {
                dir: settings.data_dir.display().to_string(),
                seed: settings.seed.as_ref().map(|seed| seed.display().to_string()).unwrap_or_default(),
            },
            log: RawLog::shown(&settings.log),
            acknowledgement: RawAcknowledgement::shown(&settings.acknowledgements),
            bridge: RawBridge::shown(&settings.bridge),
            limits: RawLimits::shown(&settings.limits),
            alerts: RawAlerts::shown(&settings.alerts),
        }
    }
}

impl RawLog {
    fn finish(self) -> LogSettings {
        let retention_secs = Some(self.retention_secs_max).filter(|secs| *secs > 0);
        LogSettings {
            head_bytes_max: self.head_bytes_max,
            segment_bytes: self.segment_bytes,
            retention_bytes_max: self.retention_bytes_max,
            retention: retention_secs.map(Duration::from_secs),
            history_bytes_max: self.history_bytes_max,
            sync_interval: Duration::from_millis(self.sync_interval_ms),
            persist_qos0: self.persist_qos0,
        }
    }

    fn shown(log: &LogSettings) -> RawLog {
        RawLog {
            head_bytes_max: log.head_bytes_max,
            segment_bytes: log.segment_bytes,
            retention_bytes_max: log.retention_bytes_max,
            retention_secs_max: log.retention.map_or(0, |retention| retention.as_secs()),
            history_bytes_max: log.history_bytes_max,
            sync_interval_ms: millis(log.sync_interval),
            persist_qos0: log.persist_qos0,
        }
    }
}

impl RawBridge {
    fn finish(self) -> BridgeOptions {
        let RawBridge { origin_property, hops_property, hops_max, strip_for_devices } = self;
        BridgeOptions { origin_property, hops_property, hops_max, strip_for_devices }
    }

    fn shown(bridge: &BridgeOptions) -> RawBridge {
        RawBridge {
            origin_property: bridge.origin_property.clone(),
            hops_property: bridge.hops_property.clone(),
            hops_max: bridge.hops_max,
            strip_for_devices: bridge.strip_for_devices,
        }
    }
}

impl RawAcknowledgement {
    /// Every value was checked in its layer already; this says so where one was not.
    fn check(&self) -> Result<Acknowledgements, String> {
        let wrong = |key: &str, text: &str| format!("acknowledgement.{key}: '{text}' is not known");
        let rule = |text: &String| parse_rule(text).ok_or_else(|| wrong("rules", text));
        let policy = Policy::parse(&self.policy).ok_or_else(|| wrong("policy", &self.policy))?;
        let on_deadline = OnDeadline::parse(&self.on_deadline);
        Ok(Acknowledgements {
            policy,
            rules: self.rules.iter().map(rule).collect::<Result<_, _>>()?,
            deadline: Duration::from_millis(self.deadline_ms),
            on_deadline: on_deadline.ok_or_else(|| wrong("on_deadline", &self.on_deadline))?,
        })
    }

    fn shown(acknowledgements: &Acknowledgements) -> RawAcknowledgement {
        RawAcknowledgement {
            policy: acknowledgements.policy.as_str().to_owned(),
            rules: acknowledgements.rules.iter().map(rule_text).collect(),
            deadline_ms: millis(acknowledgements.deadline),
            on_deadline: acknowledgements.on_deadline.as_str().to_owned(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
