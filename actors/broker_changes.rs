//! The way to an upstream broker's definition: unchecked changes, checked as they are applied.

use std::path::PathBuf;

use mqtt::{ProtocolVersion, QoS, TopicFilter};

use crate::broker::{Backlog, Broker, BrokerId, BrokerSource, ForwardRule, OnFull, Secret};
use crate::limits;
use crate::start_position::StartPosition;

/// What is wrong with a definition: the field, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name as users write it.
    pub field: &'static str,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl FieldError {
    fn new(field: &'static str, problem: impl Into<String>) -> FieldError {
        FieldError { field, problem: problem.into() }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.field, self.problem)
    }
}

impl std::error::Error for FieldError {}

/// Unchecked changes to a definition, or a new one: `None` leaves a field as it is (or at its default), and
/// `Some(None)` clears an optional one. REST bodies and `--upstream` URLs become this, then [`Broker`].
#[derive(Clone, Debug, Default)]
pub struct BrokerChanges {
    /// See [`Broker::name`].
    pub name: Option<String>,
    /// See [`Broker::address`].
    pub address: Option<String>,
    /// See [`Broker::port`]; checked to be 1 to 65,535.
    pub port: Option<u32>,
    /// See [`Broker::client_id_prefix`].
    pub client_id_prefix: Option<String>,
    /// See [`Broker::username`].
    pub username: Option<Option<String>>,
    /// See [`Broker::password`].
    pub password: Option<Option<Secret>>,
    /// See [`Broker::enabled`].
    pub enabled: Option<bool>,
    /// `3.1.1` (also `3` or `4`) or `5` (also `5.0`).
    pub version: Option<String>,
    /// See [`Broker::keep_alive_secs`].
    pub keep_alive_secs: Option<u32>,
    /// See [`Broker::clean_session`].
    pub clean_session: Option<bool>,
    /// Whether to use TLS at all.
    pub use_tls: Option<bool>,
    /// See [`TlsOptions::insecure_skip_verify`].
    pub insecure_skip_verify: Option<bool>,
    /// See [`TlsOptions::ca_cert_path`].
    pub ca_cert_path: Option<Option<String>>,
    /// See [`ForwardRule::topics`].
    pub topics: Option<Vec<String>>,
    /// See [`ForwardRule::max_qos`].
    pub max_qos: Option<Option<u32>>,
    /// See [`Backlog::start_at`]; what [`StartPosition::ALLOWED`] says.
    pub start_at: Option<Option<String>>,
    /// See [`Backlog::queue_bytes_max`].
    pub queue_bytes_max: Option<Option<u64>>,
    /// See [`Backlog::on_full`]; `drop_oldest` or `reject`.
    pub on_full: Option<Option<String>>,
    /// See [`Backlog::max_rate_messages`]; checked to be within 32 bits.
    pub max_rate_messages: Option<Option<u64>>,
    /// See [`Backlog::max_rate_bytes`].
    pub max_rate_bytes: Option<Option<u64>>,
    /// See [`Backlog::live_first`].
    pub live_first: Option<bool>,
    /// Whether to subscribe at the broker too.
    pub bidirectional: Option<bool>,
    /// See [`UpstreamSubscription::topics`]; `#` where nothing is given.
    pub subscription_topics: Option<Vec<String>>,
    /// See [`UpstreamSubscription::qos`]; 1 where nothing is given.
    pub subscription_qos: Option<u32>,
}

impl BrokerChanges {
    /// A new broker from these changes and the defaults; `name` and `address` must be given.
    pub fn create(self, id: BrokerId, source: BrokerSource) -> Result<Broker, FieldError> {
        if self.name.is_none() {
            return Err(FieldError::new("name", "must be given"));
        }
        if self.address.is_none() {
            return Err(FieldError::new("address", "must be given"));
        }
        let default_port = if self.use_tls == Some(true) { 8883 } else { 1883 };
        let blank = Broker {
            id,
            name: String::new(),
            address: String::new(),
            port: default_port,
            client_id_prefix: "mqtt-proxy".to_owned(),
            username: None,
            password: None,
            enabled: true,
            version: ProtocolVersion::V311,
            keep_alive_secs: 30,
            clean_session: false,
            tls: None,
            rule: ForwardRule::default(),
            backlog: Backlog::default(),
            subscription: None,
            source,
        };
        self.apply(&blank)
    }

    /// The broker after these changes; `base` stays as it is where anything is wrong.
    pub fn apply(self, base: &Broker) -> Result<Broker, FieldError> {
        let mut broker = base.clone();
        self.apply_address(&mut broker)?;
        self.apply_session(&mut broker)?;
        self.apply_tls(&mut broker)?;
        self.apply_rule(&mut broker)?;
        self.apply_backlog(&mut broker.backlog)?;
        self.apply_subscription(&mut broker)?;
        Ok(broker)
    }

    fn apply_address(&self, broker: &mut Broker) -> Result<(), FieldError> {
        if let Some(name) = &self.name {
            let name = name.trim();
            if name.is_empty() || name.chars().count() > limits::BROKER_NAME_CHARS_MAX {
                let max = limits::BROKER_NAME_CHARS_MAX;
                return Err(FieldError::new("name", format!("must have 1 to {max} characters")));
            }
            if name.chars().any(char::is_control) {
                return Err(FieldError::new("name", "must not have control characters"));
            }
            broker.name = name.to_owned();
        }
        if let Some(address) = &self.address {
            let address = address.trim();
            let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
            if bare.is_empty() || bare.len() > 253 {
                return Err(FieldError::new("address", "must be a host name or an IP address"));
            }
            if bare.contains(|c: char| c.is_whitespace() || c.is_control() || "/?#@".contains(c)) {
                return Err(FieldError::new(
                    "address",
                    format!("{bare:?} is not a host name or an IP address (no scheme, path or user there)"),
                ));
            }
            broker.address = bare.to_owned();
        }
        if let Some(port) = self.port {
            broker.port = u16::try_from(port)
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| FieldError::new("port", format!("{port} is not within 1 to 65535")))?;
        }
        if let Some(enabled) = self.enabled {
            broker.enabled = enabled;
        }
        Ok(())
    }

    fn apply_session(&self, broker: &mut Broker) -> Result<(), FieldError> {
        if let Some(prefix) = &self.client_id_prefix {
            if prefix.is_empty() || prefix.len() > 128 || prefix.chars().any(char::is_control) {
                return Err(FieldError::new(
                    "client_id_prefix",
                    "must have 1 to 128 bytes without control characters",
                ));
            }
            broker.client_id_prefix.clone_from(prefix);
        }
        if let Some(username) = &self.username {
            check_credential("username", username.as_deref())?;
            broker.username.clone_from(username);
        }
        if let Some(password) = &self.password {
            check_credential("password", password.as_ref().map(Secret::reveal))?;
            broker.password.clone_from(password);
        }
        if let Some(version) = &self.version {
            broker.version = parse_version(version)?;
        }
        if broker.password.is_some() && broker.username.is_none() && !broker.version.is_v5() {
            return Err(FieldError::new("username", "must be given with a password in MQTT 3.1.1"));
        }
        if let Some(secs) = self.keep_alive_secs {
            broker.keep_alive_secs = u16::try_from(secs).map_err(|_| {
                FieldError::new("keep_alive_secs", format!("{secs} is not within 0 to 65535"))
            })?;
        }
        if let Some(clean) = self.clean_session {
            broker.clean_session = clean;
        }
        Ok(())
    }

    fn apply_tls(&self, broker: &mut Broker) -> Result<(), FieldError> {
        if let Some(use_tls) = self.use_tls {
            broker.tls = use_tls.then(|| broker.tls.clone().unwrap_or_default());
        }
        let ca_cert_path =
            self.ca_cert_path.as_ref().map(|path| path.as_ref().filter(|path| !path.is_empty()));
        match &mut broker.tls {
            Some(tls) => {
                if let Some(skip) = self.insecure_skip_verify {
                    tls.insecure_skip_verify = skip;
                }
                if let Some(path) = ca_cert_path {
                    tls.ca_cert_path = path.map(PathBuf::from);
                }
            }
            None if self.insecure_skip_verify == Some(true) => {
                return Err(FieldError::new("insecure_skip_verify", "has a meaning with use_tls only"));
            }
            None if matches!(ca_cert_path, Some(Some(_))) => {
                return Err(FieldError::new("ca_cert_path", "has a meaning with use_tls only"));
            }
            None => {}
        }
        Ok(())
    }

    fn apply_rule(&self, broker: &mut Broker) -> Result<(), FieldError> {
        if let Some(topics) = &self.topics {
            broker.rule.topics = parse_filters("topics", topics)?;
        }
        if let Some(max_qos) = self.max_qos {
            broker.rule.max_qos = match max_qos {
                None => None,
                Some(level) => Some(parse_qos("max_qos", level)?),
            };
        }
        Ok(())
    }

    fn apply_backlog(&self, backlog: &mut Backlog) -> Result<(), FieldError> {
        if let Some(start_at) = &self.start_at {
            backlog.start_at = start_at.as_deref().map_or(Ok(StartPosition::default()), parse_start_at)?;
        }
        if let Some(bytes) = self.queue_bytes_max {
            let min = limits::BROKER_QUEUE_BYTES_MIN;
            if bytes.is_some_and(|bytes| bytes < min) {
                return Err(FieldError::new("queue_bytes_max", format!("must be {min} or more")));
            }
            backlog.queue_bytes_max = bytes;
        }
        if let Some(on_full) = &self.on_full {
            backlog.on_full = on_full.as_deref().map_or(Ok(OnFull::default()), parse_on_full)?;
        }
        if let Some(rate) = self.max_rate_messages {
            backlog.max_rate_messages = rate.map(parse_message_rate).transpose()?;
        }
        if let Some(rate) = self.max_rate_bytes {
            if rate == Some(0) {
                return Err(FieldError::new("max_rate_bytes", "must be 1 or more"));
            }
            backlog.max_rate_bytes = rate;
        }
        if let Some(live_first) = self.live_first {
            backlog.live_first = live_first;
        }
        Ok(())
    }

    fn apply_subscription(&self, broker: &mut Broker) -> Result<(), FieldError> {
        if let Some(bidirectional) = self.bidirectional {
            broker.subscription = bidirectional.then(|| broker.subscription.clone().unwrap_or_default());
        }
        if let Some(topics) = self.subscription_topics.as_ref().filter(|topics| !topics.is_empty()) {
            let subscription = broker.subscription.as_mut().ok_or_else(|| {
                FieldError::new("subscription_topics", "has a meaning with bidirectional only")
            })?;
            subscription.topics = parse_filters("subscription_topics", topics)?;
        }
        if let (Some(level), Some(subscription)) = (self.subscription_qos, &mut broker.subscription) {
            subscription.qos = parse_qos("subscription_qos", level)?;
        }
        Ok(())
    }
}

/// Checks the Topic Filters of a field, which are not those of a shared subscription.
pub fn parse_filters(field: &'static str, topics: &[String]) -> Result<Vec<TopicFilter>, FieldError> {
    if topics.len() > limits::BROKER_TOPICS_MAX {
        let max = limits::BROKER_TOPICS_MAX;
        return Err(FieldError::new(field, format!("{} filters, at most {max}", topics.len())));
    }
    let parse = |topic: &String| match TopicFilter::new(topic.as_str()) {
        Ok(filter) if filter.shared().is_some() => {
            Err(FieldError::new(field, format!("{topic:?}: a shared subscription has no meaning here")))
        }
        Ok(filter) => Ok(filter),
        Err(error) => Err(FieldError::new(field, format!("{topic:?}: {error}"))),
    };
    topics.iter().map(parse).collect()
}

fn parse_qos(field: &'static str, level: u32) -> Result<QoS, FieldError> {
    let qos = u8::try_from(level).ok().and_then(QoS::from_u8);
    qos.ok_or_else(|| FieldError::new(field, format!("{level} is not 0, 1 or 2")))
}

fn parse_start_at(text: &str) -> Result<StartPosition, FieldError> {
    StartPosition::parse(text)
        .ok_or_else(|| FieldError::new("start_at", format!("{text:?} is not {}", StartPosition::ALLOWED)))
}

fn parse_on_full(text: &str) -> Result<OnFull, FieldError> {
    OnFull::parse(text)
        .ok_or_else(|| FieldError::new("on_full", format!("{text:?} is not \"drop_oldest\" or \"reject\"")))
}

/// Checks a number of messages a second.
pub fn parse_message_rate(rate: u64) -> Result<u32, FieldError> {
    let checked = u32::try_from(rate).ok().filter(|rate| *rate > 0);
    checked.ok_or_else(|| {
        FieldError::new("max_rate_messages", format!("{rate} is not within 1 to {}", u32::MAX))
    })
}

fn check_credential(field: &'static str, value: Option<&str>) -> Result<(), FieldError> {
    match value {
        Some(text) if text.len() > usize::from(u16::MAX) => {
            Err(FieldError::new(field, "must not be longer than 65,535 bytes"))
        }
        Some(text) if text.contains('\0') => Err(FieldError::new(field, "must not have U+0000")),
        _ => Ok(()),
    }
}

fn parse_version(version: &str) -> Result<ProtocolVersion, FieldError> {
    match version.trim() {
        "3" | "4" | "311" | "3.1.1" => Ok(ProtocolVersion::V311),
        "5" | "5.0" => Ok(ProtocolVersion::V5),
        other => Err(FieldError::new("version", format!("{other:?} is not \"3.1.1\" or \"5\""))),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn named() -> BrokerChanges {
        let text = |text: &str| Some(text.to_owned());
        BrokerChanges { name: text("a"), address: text("h"), ..BrokerChanges::default() }
    }

    fn broker() -> Broker {
        named().create(BrokerId(Uuid::nil()), BrokerSource::Stored).unwrap()
    }

    fn whole_backlog() -> BrokerChanges {
        BrokerChanges {
            start_at: Some(Some("earliest".to_owned())),
            queue_bytes_max: Some(Some(65_536)),
            on_full: Some(Some("reject".to_owned())),
            max_rate_messages: Some(Some(u32::MAX.into())),
            max_rate_bytes: Some(Some(1)),
            live_first: Some(true),
            ..BrokerChanges::default()
        }
    }

    #[test]
    fn a_backlog_is_set_kept_and_cleared() {
        let plain = broker();
        assert_eq!(plain.backlog, Backlog::default());
        let changed = whole_backlog().apply(&plain).unwrap();
        let wanted = Backlog {
            start_at: StartPosition::Earliest,
            queue_bytes_max: Some(65_536),
            on_full: OnFull::Reject,
            max_rate_messages: Some(u32::MAX),
            max_rate_bytes: Some(1),
            live_first: true,
        };
        assert_eq!(changed.backlog, wanted);
        let kept = BrokerChanges { port: Some(2), ..BrokerChanges::default() }.apply(&changed).unwrap();
        assert_eq!(kept.backlog, wanted, "what is not given stays");
        let cleared = BrokerChanges {
            start_at: Some(None),
            queue_bytes_max: Some(None),
            on_full: Some(None),
            max_rate_messages: Some(None),
            max_rate_bytes: Some(None),
            live_first: Some(false),
            ..BrokerChanges::default()
        };
        assert_eq!(cleared.apply(&changed).unwrap(), plain);
    }

    #[test]
    fn a_wrong_backlog_is_refused_with_the_field() {
        let text = |text: &str| Some(Some(text.to_owned()));
        let none = BrokerChanges::default;
        let cases = [
            (
                BrokerChanges { start_at: text("later"), ..none() },
                "start_at: \"later\" is not \"now\", \"earliest\", an offset or a time such as 2026-01-31T08:00:00Z",
            ),
            (
                BrokerChanges { queue_bytes_max: Some(Some(65_535)), ..none() },
                "queue_bytes_max: must be 65536 or more",
            ),
            (
                BrokerChanges { on_full: text("drop"), ..none() },
                "on_full: \"drop\" is not \"drop_oldest\" or \"reject\"",
            ),
            (
                BrokerChanges { max_rate_messages: Some(Some(0)), ..none() },
                "max_rate_messages: 0 is not within 1 to 4294967295",
            ),
            (
                BrokerChanges { max_rate_messages: Some(Some(4_294_967_296)), ..none() },
                "max_rate_messages: 4294967296 is not within 1 to 4294967295",
            ),
            (BrokerChanges { max_rate_bytes: Some(Some(0)), ..none() }, "max_rate_bytes: must be 1 or more"),
        ];
        for (changes, problem) in cases {
            assert_eq!(changes.apply(&broker()).unwrap_err().to_string(), problem);
        }
    }

    #[test]
    fn another_backlog_needs_no_other_connection() {
        let plain = broker();
        assert!(plain.connects_like(&whole_backlog().apply(&plain).unwrap()));
        let elsewhere = BrokerChanges { port: Some(2), ..BrokerChanges::default() }.apply(&plain).unwrap();
        assert!(!plain.connects_like(&elsewhere));
    }
}
