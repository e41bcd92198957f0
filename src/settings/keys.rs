//! Every key that settings may have, the kind of its value, and the nearest one to a key that does not exist.

use std::net::SocketAddr;

use actors::acknowledgement::{OnDeadline, Policy, parse_rule};
use actors::delivery_queue::{AbsentSubscriber, SlowSubscriber};
use actors::device_session::OnMessageRate;
use config::ValueKind;
use mqtt::TopicName;

use super::{alerts, tls};

/// What a key's value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Text,
    /// Text that no message may show.
    Secret,
    /// The beginning of Topic Names.
    TopicPrefix,
    /// The name of a User Property.
    PropertyName,
    /// Where another server is.
    Reference,
    Path,
    Address,
    Addresses {
        may_be_none: bool,
    },
    Integer {
        min: i64,
        max: i64,
    },
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Texts such as `topic filter = policy`.
    AcknowledgementRules,
    /// Where alerts are posted to.
    WebhookUrl,
    /// What the topics of alerts begin with.
    AlertTopic,
    /// Tables, each a rule.
    AlertRules,
}

/// A key as `section.name`.
#[derive(Debug)]
pub(super) struct Key {
    pub path: &'static str,
    pub kind: Kind,
}

const fn key(path: &'static str, kind: Kind) -> Key {
    Key { path, kind }
}

const fn integer(path: &'static str, min: i64, max: i64) -> Key {
    Key { path, kind: Kind::Integer { min, max } }
}

const ANY: i64 = i64::MAX;
const DAY_SECS: i64 = 24 * 60 * 60;
const DAY_MILLIS: i64 = DAY_SECS * 1_000;
const GIBIBYTE: i64 = 1_073_741_824;
/// About 136 years.
const SECS_MAX: i64 = 4_294_967_295;
/// A name goes along with every message.
const PROPERTY_NAME_BYTES_MAX: usize = 255;
/// How often something may happen in a second.
const COUNT_MAX: i64 = 4_294_967_295;

/// In the order of `settings/default.toml`.
pub(super) static KEYS: [Key; 62] = [
    key("server.listen", Kind::Addresses { may_be_none: false }),
    key("server.tls_listen", Kind::Addresses { may_be_none: true }),
    key("server.tls_cert_path", Kind::Text),
    key("server.tls_key_path", Kind::Text),
    key("server.tls_client_ca_path", Kind::Text),
    key("server.tls_min_version", Kind::Choice(&tls::VERSIONS)),
    integer("server.connect_timeout_secs", 1, DAY_SECS),
    integer("server.drain_timeout_secs", 0, DAY_SECS),
    integer("server.restart_will_grace_secs", 0, DAY_SECS),
    integer("server.sys_interval_secs", 0, DAY_SECS),
    key("server.response_information", Kind::TopicPrefix),
    key("server.server_reference", Kind::Reference),
    key("server.check_payload_format", Kind::Boolean),
    key("auth.require_auth", Kind::Boolean),
    key("auth.username", Kind::Text),
    key("auth.password", Kind::Secret),
    key("web.listen", Kind::Address),
    key("web.static_dir", Kind::Path),
    key("data.dir", Kind::Path),
    key("data.seed", Kind::Text),
    integer("log.head_bytes_max", 1_048_576, ANY),
    integer("log.segment_bytes", 65_536, GIBIBYTE),
    integer("log.retention_bytes_max", 1_048_576, ANY),
    integer("log.retention_secs_max", 0, SECS_MAX),
    integer("log.history_bytes_max", 0, ANY),
    integer("log.sync_interval_ms", 10, 60_000),
    key("log.persist_qos0", Kind::Boolean),
    key("acknowledgement.policy", Kind::Choice(&Policy::NAMES)),
    key("acknowledgement.rules", Kind::AcknowledgementRules),
    integer("acknowledgement.deadline_ms", 1, DAY_MILLIS),
    key("acknowledgement.on_deadline", Kind::Choice(&OnDeadline::NAMES)),
    key("bridge.origin_property", Kind::PropertyName),
    key("bridge.hops_property", Kind::PropertyName),
    integer("bridge.hops_max", 1, 255),
    key("bridge.strip_for_devices", Kind::Boolean),
    integer("limits.packet_bytes_max", 64, 268_435_460),
    integer("limits.receiving_bytes_max", 1_048_576, ANY),
    integer("limits.topic_bytes_max", 1, 65_535),
    integer("limits.topic_levels_max", 1, 65_536),
    integer("limits.receive_maximum", 1, 65_535),
    integer("limits.inflight_messages_max", 1, 65_535),
    integer("limits.topic_alias_maximum", 0, 65_535),
    integer("limits.subscriptions_per_client_max", 1, ANY),
    integer("limits.connections_max", 1, ANY),
    integer("limits.connections_per_address_max", 0, ANY),
    integer("limits.accepts_per_second_max", 0, COUNT_MAX),
    integer("limits.sessions_max", 1, ANY),
    integer("limits.session_expiry_secs_max", 0, SECS_MAX),
    integer("limits.queued_messages_max", 1, ANY),
    integer("limits.queued_bytes_max", 1, ANY),
    key("limits.slow_subscriber", Kind::Choice(&SlowSubscriber::NAMES)),
    integer("limits.slow_subscriber_secs", 1, DAY_SECS),
    key("limits.absent_subscriber", Kind::Choice(&AbsentSubscriber::NAMES)),
    integer("limits.messages_per_second_max", 0, COUNT_MAX),
    key("limits.on_message_rate", Kind::Choice(&OnMessageRate::NAMES)),
    integer("limits.retained_messages_max", 0, ANY),
    integer("limits.retained_bytes_max", 0, ANY),
    integer("limits.keep_alive_secs_max", 0, 65_535),
    key("alerts.webhook_url", Kind::WebhookUrl),
    key("alerts.webhook_secret", Kind::Secret),
    key("alerts.topic", Kind::AlertTopic),
    key("alerts.rules", Kind::AlertRules),
];

/// The key with this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether keys live in a section of this name.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.path.split_once('.').is_some_and(|(section, _)| section == name))
}

/// The known key that someone who wrote `path` most likely meant.
pub(super) fn nearest(path: &str) -> Option<&'static str> {
    let leaf = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |key: &Key| {
        let whole = strsim::damerau_levenshtein(path, key.path);
        // The right name in the wrong section is one mistake.
        let name = strsim::damerau_levenshtein(&leaf(path), &leaf(key.path)) + 1;
        whole.min(name)
    };
    let tolerated = (leaf(path).chars().count() / 3).max(2);
    let best = KEYS.iter().min_by_key(|key| distance(key))?;
    (distance(best) <= tolerated).then_some(best.path)
}

impl Kind {
    /// What is allowed, to stand after "must be".
    pub fn allowed(self) -> String {
        match self {
            Kind::Boolean => "true or false".to_owned(),
            Kind::Text | Kind::Secret => "a string of at most 65535 bytes".to_owned(),
            Kind::TopicPrefix => {
                "what topics begin with, at most 65535 bytes: without + and #, and no $ in front".to_owned()
            }
            Kind::PropertyName => {
                format!("a name of 1 to {PROPERTY_NAME_BYTES_MAX} bytes, without control characters")
            }
            Kind::Reference => {
                "one or more servers, parted by spaces, such as \"b.example.org\" or \"192.0.2.7:1883\""
                    .to_owned()
            }
            Kind::Path => "a path, not empty".to_owned(),
            Kind::Address => {
                "an IP address and a port, such as \"0.0.0.0:3000\" or \"[::1]:3000\"".to_owned()
            }
            Kind::Addresses { may_be_none: true } => {
                "IP addresses with ports, each only once, such as \"0.0.0.0:8883\" or \"[::]:8883\"".to_owned()
            }
            Kind::Addresses { may_be_none: false } => "at least one IP address with a port, each only once, such as \
                                \"0.0.0.0:1883\" or \"[::]:1883\""
                .to_owned(),
            Kind::Choice(names) => format!("one of {}", names.join(", ")),
            Kind::AcknowledgementRules => {
                let policies = Policy::NAMES.join(", ");
                format!("rules such as \"plant/# = synced\": a topic filter, =, and one of {policies}")
            }
            Kind::WebhookUrl => {
                "a URL that begins with http:// or https://, without user name and password".to_owned()
            }
            Kind::AlertTopic => {
                "what topics begin with, at most 1024 bytes: without + and #, and below $SYS/ if it begins with $"
                    .to_owned()
            }
            Kind::AlertRules => alerts::allowed(),
            Kind::Integer { min, max: ANY } => format!("a whole number, {min} or more"),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
        }
    }

    /// Whether the value is allowed.
    pub fn admits(self, value: &ValueKind) -> bool {
        match (self, value) {
            (Kind::Boolean, ValueKind::Boolean(_)) => true,
            (Kind::Text | Kind::Secret, ValueKind::String(text)) => text.len() <= usize::from(u16::MAX),
            (Kind::TopicPrefix, ValueKind::String(text)) => is_topic_prefix(text),
            (Kind::PropertyName, ValueKind::String(text)) => {
                (1..=PROPERTY_NAME_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
            }
            (Kind::Reference, ValueKind::String(text)) => {
                text.len() <= usize::from(u16::MAX) && !text.contains(char::is_control)
            }
            (Kind::Path, ValueKind::String(path)) => !path.is_empty() && !path.contains('\0'),
            (Kind::Address, ValueKind::String(address)) => address.parse::<SocketAddr>().is_ok(),
            (Kind::Addresses { may_be_none }, ValueKind::Array(values)) => {
                (may_be_none || !values.is_empty()) && are_addresses(values)
            }
            (Kind::Integer { min, max }, ValueKind::I64(number)) => (min..=max).contains(number),
            (Kind::Choice(names), ValueKind::String(name)) => names.contains(&name.as_str()),
            (Kind::AcknowledgementRules, ValueKind::Array(rules)) => rules.iter().all(is_rule),
            (Kind::WebhookUrl, ValueKind::String(url)) => alerts::is_webhook_url(url),
            (Kind::AlertTopic, ValueKind::String(topic)) => alerts::is_topic(topic),
            (Kind::AlertRules, rules) => alerts::problem(rules).is_none(),
            _ => false,
        }
    }

    /// What exactly is wrong with a value that consists of many.
    pub fn problem(self, value: &ValueKind) -> Option<String> {
        (self == Kind::AlertRules).then(|| alerts::problem(value)).flatten()
    }

    /// The part of a long value that is wrong, where one can be told from the rest.
    pub fn wrong_part(self, value: &ValueKind) -> Option<&str> {
        match (self, value) {
            (Kind::AcknowledgementRules, ValueKind::Array(rules)) => {
                match &rules.iter().find(|rule| !is_rule(rule))?.kind {
                    ValueKind::String(rule) => Some(rule),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The value that a text stands for in the environment; one that is not allowed stays a string.
    pub fn read(self, text: &str) -> ValueKind {
        match self {
            Kind::Boolean => text.parse().map_or_else(|_| text.into(), ValueKind::Boolean),
            Kind::Integer { .. } => text.parse().map_or_else(|_| text.into(), ValueKind::I64),
            Kind::Addresses { may_be_none: true } if text.trim().is_empty() => ValueKind::Array(Vec::new()),
            Kind::Addresses { .. } => text.split(',').map(str::trim).collect::<Vec<_>>().into(),
            Kind::AcknowledgementRules if text.trim().is_empty() => ValueKind::Array(Vec::new()),
            // A filter with a comma is cut in two here, and refused: it can stand in a file only.
            Kind::AcknowledgementRules => text.split(',').map(str::trim).collect::<Vec<_>>().into(),
            Kind::AlertRules => alerts::read(text),
            Kind::WebhookUrl
            | Kind::AlertTopic
            | Kind::Text
            | Kind::Secret
            | Kind::TopicPrefix
            | Kind::PropertyName
            | Kind::Reference
            | Kind::Path
            | Kind::Address
            | Kind::Choice(_) => text.into(),
        }
    }
}

fn is_rule(value: &config::Value) -> bool {
    matches!(&value.kind, ValueKind::String(rule) if parse_rule(rule).is_some())
}

/// Whether topics may begin so; nothing at all is allowed too.
fn is_topic_prefix(text: &str) -> bool {
    text.is_empty() || TopicName::new(text.to_owned()).is_ok_and(|name| !name.is_dollar())
}

fn are_addresses(values: &[config::Value]) -> bool {
    let mut addresses = Vec::new();
    for value in values {
        let ValueKind::String(text) = &value.kind else { return false };
        let Ok(address) = text.parse::<SocketAddr>() else { return false };
        // Port 0 is a new port each time.
        if address.port() != 0 && addresses.contains(&address) {
            return false;
        }
        addresses.push(address);
    }
    true
}
