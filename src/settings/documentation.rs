//! What each setting means, and the tables of all settings as README.md has them.

use super::environment::{LOG_LEVEL, RUST_LOG, SECRET};
use super::keys::KEYS;
use super::layer::variable_of;
use super::raw::RawSettings;

/// Key and meaning, in the order of [`KEYS`]; Markdown for one cell of a table.
const MEANINGS: &[(&str, &str)] = &[
    ("server.listen", "where devices connect (`--listen`, repeatable)"),
    ("server.tls_listen", "where devices connect over TLS (`--tls-listen`, repeatable)"),
    ("server.tls_cert_path", "the certificate that they are shown, and its chain: a PEM file (`--tls-cert`)"),
    ("server.tls_key_path", "the key of the certificate: a PEM file (`--tls-key`)"),
    (
        "server.tls_client_ca_path",
        "the authorities that must have signed a device's certificate: a PEM file; empty: devices need none",
    ),
    ("server.tls_min_version", "the lowest version of TLS: `1.2` or `1.3`"),
    ("server.connect_timeout_secs", "how long a device may take to send CONNECT"),
    ("server.drain_timeout_secs", "how long an orderly stop may take"),
    (
        "server.restart_will_grace_secs",
        "how long devices that were connected when the process died have to come back before their Wills are published",
    ),
    (
        "server.sys_interval_secs",
        "how often the topics below `$SYS` are brought up to date; 0: there are none",
    ),
    (
        "server.response_information",
        "what MQTT 5.0 devices that ask are told to begin response topics with; `{client_id}` is their identifier",
    ),
    (
        "server.server_reference",
        "where MQTT 5.0 devices are told to go when there is no room or the proxy stops",
    ),
    ("server.check_payload_format", "whether a payload that is said to be text has to be UTF-8"),
    (
        "auth.require_auth",
        "whether devices must present user name and password, or in MQTT 5.0 authenticate by the method `PLAIN`",
    ),
    ("auth.username", "the user name"),
    ("auth.password", "the password"),
    ("web.listen", "REST API, dashboard, metrics (`--web`)"),
    ("web.static_dir", "the dashboard's files"),
    ("data.dir", "what must survive a restart (`--data`)"),
    ("data.seed", "a file with the upstream brokers that a new data directory begins with"),
    ("log.head_bytes_max", "memory for messages on their way to brokers"),
    ("log.segment_bytes", "size of one of the log's files"),
    (
        "log.retention_bytes_max",
        "the log's files take no more, plus one segment; the oldest messages go first",
    ),
    ("log.retention_secs_max", "messages older than this go too; 0: no bound"),
    ("log.history_bytes_max", "what every broker already has is kept this far, for replay"),
    ("log.sync_interval_ms", "how often the files are flushed to the disk itself"),
    ("log.persist_qos0", "whether QoS 0 messages are written to the files too"),
    (
        "acknowledgement.policy",
        "what an acknowledgement waits for: `memory`, `stored`, `synced`, `any`, `quorum`, `all`",
    ),
    ("acknowledgement.rules", "other policies by topic, the first that matches: `\"plant/# = synced\"`"),
    ("acknowledgement.deadline_ms", "how long `any`, `quorum` and `all` wait for upstream brokers"),
    ("acknowledgement.on_deadline", "what happens then: `acknowledge` or `withhold`"),
    ("bridge.origin_property", "the User Property with the installation that saw a message first (MQTT 5.0)"),
    ("bridge.hops_property", "the User Property that counts the proxies on the way"),
    ("bridge.hops_max", "a message with this many hops goes to no further broker"),
    ("bridge.strip_for_devices", "devices get messages without the two"),
    (
        "limits.packet_bytes_max",
        "the largest packet of a device; up to 268435460, with `log.head_bytes_max` raised too (the default gives way where that is lower)",
    ),
    (
        "limits.receiving_bytes_max",
        "bytes of packets that have arrived in part, of all devices; beyond it such a connection is ended",
    ),
    ("limits.topic_bytes_max", "the longest topic name or filter"),
    ("limits.topic_levels_max", "the most levels of one"),
    ("limits.receive_maximum", "unacknowledged messages of one device"),
    ("limits.inflight_messages_max", "unacknowledged messages towards one device"),
    ("limits.topic_alias_maximum", "topic aliases of one device"),
    ("limits.subscriptions_per_client_max", "subscriptions of one client"),
    ("limits.connections_max", "devices at a time"),
    ("limits.connections_per_address_max", "connections at a time from one address (IPv6: /64); 0: no bound"),
    (
        "limits.accepts_per_second_max",
        "connections that a listener accepts in a second, more wait; 0: no bound",
    ),
    ("limits.sessions_max", "sessions, connected or not"),
    ("limits.session_expiry_secs_max", "how long a session is kept without its device"),
    ("limits.queued_messages_max", "messages that wait for an absent device"),
    ("limits.queued_bytes_max", "bytes that wait for one device"),
    (
        "limits.slow_subscriber",
        "beyond that, for a connected device: `drop_newest`, `drop_oldest`, or `disconnect` if it takes nothing",
    ),
    ("limits.slow_subscriber_secs", "for how long it takes nothing then"),
    ("limits.absent_subscriber", "beyond that, for an absent device: `drop_newest` or `drop_oldest`"),
    ("limits.messages_per_second_max", "messages that a device may publish in a second; 0: no bound"),
    ("limits.on_message_rate", "beyond that: `wait` (it is not read for a while) or `disconnect`"),
    ("limits.retained_messages_max", "retained messages"),
    ("limits.retained_bytes_max", "bytes of retained messages"),
    ("limits.keep_alive_secs_max", "the longest Keep Alive; 0: the device chooses"),
    ("alerts.webhook_url", "where alerts are posted to, `http://` or `https://`; empty: nowhere"),
    ("alerts.webhook_secret", "signs them: `X-Signature-256: sha256=<HMAC-SHA256 of the body>`"),
    ("alerts.topic", "alerts are published below it, by rule and broker"),
    ("alerts.rules", "what is worth an alert: a list of tables"),
];

/// The variables that set no key, and what they are for.
const OTHER_VARIABLES: &[(&str, &str)] = &[
    (RUST_LOG, "what to log, as in `actors::upstream_broker=debug,info`"),
    (LOG_LEVEL, "`error`, `warn`, `info`, `debug` or `trace`, where `RUST_LOG` is not set"),
    (
        SECRET,
        "encrypts brokers' passwords, keys and pre-shared keys in `data/brokers.json`; without it they are stored as \
         they are, in a file that only its owner can read",
    ),
    (
        "SSL_CERT_FILE",
        "where the system's certificate authorities are, as a PEM file, if not in the usual place",
    ),
    ("SSL_CERT_DIR", "the same for a directory"),
];

/// Two tables: every key with its default, its environment variable and its meaning, and the variables beside.
pub(super) fn tables() -> String {
    let defaults = toml::Table::try_from(RawSettings::default()).expect("tables of plain values are TOML");
    let mut text = "| key | default | environment | what it is |\n|---|---|---|---|\n".to_owned();
    for key in &KEYS {
        let default = key.path.split_once('.').and_then(|(section, name)| defaults.get(section)?.get(name));
        let default = default.map(toml::Value::to_string).unwrap_or_default();
        let row = format!(
            "| `{}` | `{default}` | `{}` | {} |\n",
            key.path,
            variable_of(key.path),
            meaning(key.path)
        );
        text.push_str(&row);
    }
    text.push_str("\n| environment | what it is |\n|---|---|\n");
    for (name, meaning) in OTHER_VARIABLES {
        text.push_str(&format!("| `{name}` | {meaning} |\n"));
    }
    text
}

/// What a key means; a test holds that each has its meaning.
fn meaning(path: &str) -> &'static str {
    MEANINGS.iter().find(|(key, _)| *key == path).map_or("", |(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::layer::path_of;

    #[test]
    fn every_key_has_one_meaning_and_every_meaning_its_key() {
        let described: Vec<&str> = MEANINGS.iter().map(|(key, _)| *key).collect();
        let known: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(described, known, "one entry of MEANINGS for each of KEYS, in the same order");
        for (name, meaning) in MEANINGS.iter().chain(OTHER_VARIABLES) {
            assert!(!meaning.is_empty(), "{name} has no meaning");
            assert!(!meaning.contains(['|', '\n']), "{name}: its meaning breaks the table");
        }
    }

    #[test]
    fn a_variable_that_is_shown_is_the_one_that_is_read() {
        for key in &KEYS {
            assert_eq!(path_of(&variable_of(key.path)).as_deref(), Some(key.path));
        }
    }

    #[test]
    fn each_row_has_four_cells_and_a_default() {
        let tables = tables();
        for key in &KEYS {
            let start = format!("| `{}` | `", key.path);
            let row = tables.lines().find(|line| line.starts_with(&start));
            let row = row.unwrap_or_else(|| panic!("{} has no row", key.path));
            assert_eq!(row.split(" | ").count(), 4, "{row}");
            assert!(!row[start.len()..].starts_with('`'), "{row}");
        }
    }
}
