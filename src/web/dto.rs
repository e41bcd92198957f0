//! JSON shapes: a broker and the proxy's status on the way out, changes to a broker on the way in. A password
//! goes in, never out.

use std::collections::{BTreeMap, HashMap};

use actors::broker::Secret;
use actors::messages::{LogSnapshot, RouterSnapshot, SessionsSnapshot, UpstreamSnapshot, UpstreamState};
use actors::upstream_broker::ReplayProgress;
use actors::{Broker, BrokerChanges, BrokerId};
use mqtt::TopicFilter;
use serde::Serialize;
use uuid::Uuid;

use super::body::{Fields, value};
use super::error::ApiError;

/// What GET shows and nobody can set. It is ignored on the way in, so that what was read can be sent back.
const READ_ONLY_FIELDS: &[&str] = &[
    "id",
    "has_password",
    "read_only",
    "client_id",
    "state",
    "connected",
    "state_age_secs",
    "last_error",
    "forwarded",
    "dropped",
    "lag",
    "lag_bytes",
    "oldest_unsent_secs",
    "last_acknowledged_secs",
    "in_flight",
    "reconnects",
    "replay",
];

/// The changes that a body asks for.
pub fn changes(fields: Fields) -> Result<BrokerChanges, ApiError> {
    let mut changes = BrokerChanges::default();
    for (field, json) in fields.into_unique()? {
        let name = field.as_str();
        match name {
            "name" => changes.name = Some(value::text(name, json)?),
            "address" => changes.address = Some(value::text(name, json)?),
            "port" => changes.port = Some(value::number(name, json)?),
            "client_id_prefix" => changes.client_id_prefix = Some(value::text(name, json)?),
            "username" => changes.username = Some(value::optional_text(name, json)?),
            "password" => {
                changes.password = Some(value::optional_text(name, json)?.map(Secret::new));
            }
            "enabled" => changes.enabled = Some(value::boolean(name, json)?),
            "use_tls" => changes.use_tls = Some(value::boolean(name, json)?),
            "insecure_skip_verify" => changes.insecure_skip_verify = Some(value::boolean(name, json)?),
            "ca_cert_path" => changes.ca_cert_path = Some(value::optional_text(name, json)?),
            "version" | "protocol_version" if changes.version.is_some() => {
                return Err(ApiError::field("version", "is given twice"));
            }
            "version" | "protocol_version" => changes.version = Some(value::text_or_number(name, json)?),
            "keep_alive_secs" => changes.keep_alive_secs = Some(value::number(name, json)?),
            "clean_session" => changes.clean_session = Some(value::boolean(name, json)?),
            "topics" => changes.topics = Some(value::texts(name, json)?),
            "max_qos" => changes.max_qos = Some(value::optional_number(name, json)?),
            "start_at" => changes.start_at = Some(value::optional_text_or_number(name, json)?),
            "queue_bytes_max" => {
                changes.queue_bytes_max = Some(value::optional_large_number(name, json)?);
            }
            "on_full" => changes.on_full = Some(value::optional_text(name, json)?),
            "max_rate_messages" => {
                changes.max_rate_messages = Some(value::optional_large_number(name, json)?);
            }
            "max_rate_bytes" => changes.max_rate_bytes = Some(value::optional_large_number(name, json)?),
            "live_first" => changes.live_first = Some(value::optional_boolean(name, json)?),
            "bidirectional" => changes.bidirectional = Some(value::boolean(name, json)?),
            "subscription_topics" => changes.subscription_topics = Some(value::texts(name, json)?),
            "subscription_qos" => changes.subscription_qos = value::optional_number(name, json)?,
            _ if READ_ONLY_FIELDS.contains(&name) => {}
            _ => return Err(ApiError::field(name, "is not a field of a broker")),
        }
    }
    Ok(changes)
}

/// The one field of a toggle's body: what `enabled` is to become.
pub fn wanted_state(fields: Fields) -> Result<bool, ApiError> {
    let mut enabled = None;
    for (field, json) in fields.into_unique()? {
        match field.as_str() {
            "enabled" => enabled = Some(value::boolean(&field, json)?),
            _ => return Err(ApiError::field(field, "is not a field of a toggle, which knows enabled")),
        }
    }
    enabled.ok_or_else(|| ApiError::field("enabled", "must be given in a body"))
}

/// All brokers.
#[derive(Serialize)]
pub struct BrokerListJson {
    brokers: Vec<BrokerJson>,
}

impl BrokerListJson {
    /// The brokers with what the Router knows about each.
    pub fn new(brokers: &[impl AsRef<Broker>], router: &RouterSnapshot) -> BrokerListJson {
        let live = by_id(router);
        let shown =
            brokers.iter().map(|broker| BrokerJson::new(broker.as_ref(), live.get(&broker.as_ref().id)));
        BrokerListJson { brokers: shown.collect() }
    }
}

/// One broker: its definition, then what it does now.
#[derive(Serialize)]
pub struct BrokerJson {
    id: Uuid,
    name: String,
    address: String,
    port: u16,
    client_id_prefix: String,
    username: Option<String>,
    has_password: bool,
    enabled: bool,
    use_tls: bool,
    insecure_skip_verify: bool,
    ca_cert_path: Option<String>,
    version: &'static str,
    keep_alive_secs: u16,
    clean_session: bool,
    topics: Vec<String>,
    max_qos: Option<u8>,
    start_at: String,
    queue_bytes_max: Option<u64>,
    on_full: &'static str,
    max_rate_messages: Option<u32>,
    max_rate_bytes: Option<u64>,
    live_first: bool,
    bidirectional: bool,
    subscription_topics: Vec<String>,
    subscription_qos: Option<u8>,
    read_only: bool,
    client_id: String,
    #[serde(flatten)]
    live: LiveJson,
}

impl BrokerJson {
    /// The broker with what the Router knows about it.
    pub fn new(broker: &Broker, live: Option<&&UpstreamSnapshot>) -> BrokerJson {
        let texts =
            |filters: &[TopicFilter]| filters.iter().map(|filter| filter.as_str().to_owned()).collect();
        let tls = broker.tls.as_ref();
        let subscription = broker.subscription.as_ref();
        let backlog = &broker.backlog;
        BrokerJson {
            id: broker.id.0,
            name: broker.name.clone(),
            address: broker.address.clone(),
            port: broker.port,
            client_id_prefix: broker.client_id_prefix.clone(),
            username: broker.username.clone(),
            has_password: broker.password.is_some(),
            enabled: broker.enabled,
            use_tls: tls.is_some(),
            insecure_skip_verify: tls.is_some_and(|tls| tls.insecure_skip_verify),
            ca_cert_path: tls
                .and_then(|tls| tls.ca_cert_path.as_ref())
                .map(|path| path.to_string_lossy().into_owned()),
            version: broker.version_text(),
            keep_alive_secs: broker.keep_alive_secs,
            clean_session: broker.clean_session,
            topics: texts(&broker.rule.topics),
            max_qos: broker.rule.max_qos.map(mqtt::QoS::as_u8),
            start_at: backlog.start_at.to_string(),
            queue_bytes_max: backlog.queue_bytes_max,
            on_full: backlog.on_full.as_str(),
            max_rate_messages: backlog.max_rate_messages,
            max_rate_bytes: backlog.max_rate_bytes,
            live_first: backlog.live_first,
            bidirectional: subscription.is_some(),
            subscription_topics: subscription.map(|wanted| texts(&wanted.topics)).unwrap_or_default(),
            subscription_qos: subscription.map(|wanted| wanted.qos.as_u8()),
            read_only: broker.source == actors::broker::BrokerSource::CommandLine,
            client_id: broker.client_id(),
            live: LiveJson::new(broker, live.copied()),
        }
    }
}

/// What a broker does now.
#[derive(Serialize)]
struct LiveJson {
    state: &'static str,
    connected: bool,
    state_age_secs: u64,
    last_error: Option<String>,
    forwarded: u64,
    dropped: BTreeMap<&'static str, u64>,
    lag: u64,
    lag_bytes: u64,
    oldest_unsent_secs: Option<u64>,
    last_acknowledged_secs: Option<u64>,
    in_flight: u64,
    reconnects: u64,
    replay: Option<ReplayJson>,
}

/// A replay that runs, or ran last.
#[derive(Serialize)]
struct ReplayJson {
    running: bool,
    from: u64,
    to: u64,
    position: u64,
    sent: u64,
}

impl ReplayJson {
    fn new(progress: &ReplayProgress) -> ReplayJson {
        ReplayJson {
            running: progress.is_running,
            from: progress.from,
            to: progress.to,
            position: progress.position,
            sent: progress.sent,
        }
    }
}

impl LiveJson {
    fn new(broker: &Broker, live: Option<&UpstreamSnapshot>) -> LiveJson {
        let Some(live) = live else { return LiveJson::before_the_start(broker) };
        LiveJson {
            state: live.state.as_str(),
            connected: live.state == UpstreamState::Connected,
            state_age_secs: live.state_age.as_secs(),
            last_error: live.last_error.clone(),
            forwarded: live.forwarded,
            dropped: live.dropped.clone(),
            lag: live.lag,
            lag_bytes: live.lag_bytes,
            oldest_unsent_secs: live.oldest_unsent.map(|age| age.as_secs()),
            last_acknowledged_secs: live.last_acknowledged.map(|age| age.as_secs()),
            in_flight: live.in_flight,
            reconnects: live.reconnects,
            replay: live.replay.as_ref().map(ReplayJson::new),
        }
    }

    /// The Router does not know the broker yet.
    fn before_the_start(broker: &Broker) -> LiveJson {
        let state = if broker.enabled { UpstreamState::Connecting } else { UpstreamState::Disabled };
        LiveJson {
            state: state.as_str(),
            connected: false,
            state_age_secs: 0,
            last_error: None,
            forwarded: 0,
            dropped: BTreeMap::new(),
            lag: 0,
            lag_bytes: 0,
            oldest_unsent_secs: None,
            last_acknowledged_secs: None,
            in_flight: 0,
            reconnects: 0,
            replay: None,
        }
    }
}

/// The proxy as a whole.
#[derive(Serialize)]
pub struct StatusJson {
    status: &'static str,
    version: &'static str,
    uptime_secs: u64,
    received: u64,
    delivered: u64,
    forwarded: u64,
    dropped: u64,
    sessions: u64,
    connected_clients: u64,
    subscriptions: u64,
    retained: u64,
    log: LogJson,
    brokers: Vec<BrokerStatusJson>,
}

#[derive(Serialize)]
struct LogJson {
    head_bytes: u64,
    file_bytes: u64,
    segments: u64,
    first_offset: u64,
    next_offset: u64,
    stored_offset: u64,
    synced_offset: u64,
    failing: Option<String>,
    full: bool,
}

impl LogJson {
    fn new(log: &LogSnapshot) -> LogJson {
        LogJson {
            head_bytes: log.head_bytes,
            file_bytes: log.file_bytes,
            segments: log.segments,
            first_offset: log.first_offset,
            next_offset: log.next_offset,
            stored_offset: log.stored,
            synced_offset: log.synced,
            failing: log.failure.clone(),
            full: log.is_full,
        }
    }
}

#[derive(Serialize)]
struct BrokerStatusJson {
    id: Uuid,
    name: String,
    address: String,
    port: u16,
    enabled: bool,
    #[serde(flatten)]
    live: LiveJson,
}

impl StatusJson {
    /// The status from what the actors said.
    pub fn new(
        is_ready: bool,
        uptime_secs: u64,
        brokers: &[impl AsRef<Broker>],
        router: &RouterSnapshot,
        sessions: SessionsSnapshot,
    ) -> StatusJson {
        let live = by_id(router);
        let shown = brokers.iter().map(AsRef::as_ref).map(|broker: &Broker| BrokerStatusJson {
            id: broker.id.0,
            name: broker.name.clone(),
            address: broker.address.clone(),
            port: broker.port,
            enabled: broker.enabled,
            live: LiveJson::new(broker, live.get(&broker.id).copied()),
        });
        StatusJson {
            status: if is_ready { "ok" } else { "not_ready" },
            version: env!("CARGO_PKG_VERSION"),
            uptime_secs,
            received: router.received,
            delivered: router.delivered,
            forwarded: router.upstreams.iter().map(|upstream| upstream.forwarded).sum(),
            dropped: router.upstreams.iter().flat_map(|upstream| upstream.dropped.values()).sum(),
            sessions: sessions.sessions,
            connected_clients: sessions.connected,
            subscriptions: router.subscriptions,
            retained: router.retained,
            log: LogJson::new(&router.log),
            brokers: shown.collect(),
        }
    }
}

/// What the Router knows, by broker.
pub fn by_id(router: &RouterSnapshot) -> HashMap<BrokerId, &UpstreamSnapshot> {
    router.upstreams.iter().map(|upstream| (upstream.id, upstream)).collect()
}
