//! JSON shapes: a broker and the proxy's status on the way out, changes to a broker on the way in. A password
//! goes in, never out.

mod hold;
mod proxy;
mod supervision;

use std::collections::{BTreeMap, HashMap};

use actors::broker::{BrokerSource, is_reference};
use actors::definition::{self, Kind};
use actors::health::Health;
use actors::messages::{RouterSnapshot, UpstreamSnapshot, UpstreamState};
use actors::upstream_broker::{ReplayProgress, SubscriptionFailure};
use actors::{Broker, BrokerChanges, BrokerId, FieldError};
use serde::{Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use self::hold::{DrainJson, held};
pub use self::proxy::StatusJson;
use super::body::{Fields, value};
use super::connection::ConnectionJson;
use super::error::ApiError;
use supervision::{CanaryJson, CircuitJson};

/// What GET shows and nobody can set. It is ignored on the way in, so that what was read can be sent back.
const READ_ONLY_FIELDS: &[&str] = &[
    "id",
    "read_only",
    "client_id",
    "state",
    "connected",
    "state_age_secs",
    "last_error",
    "health",
    "health_reasons",
    "circuit",
    "canary",
    "forwarded",
    "dropped",
    "left_out",
    "subscription_failures",
    "lag",
    "lag_bytes",
    "oldest_unsent_secs",
    "last_acknowledged_secs",
    "in_flight",
    "downgraded",
    "retain_stripped",
    "dead_letters",
    "bytes_sent",
    "bytes_received",
    "reconnects",
    "replay",
    "connection",
    "drain",
    "revision",
];

/// The changes that a body asks for.
pub fn changes(fields: Fields) -> Result<BrokerChanges, ApiError> {
    let mut changes = BrokerChanges::new();
    for (name, value) in fields.into_unique()? {
        give(&mut changes, &name, value)?;
    }
    Ok(changes)
}

/// Takes one field of a body; what only GET knows is left out.
pub fn give(changes: &mut BrokerChanges, name: &str, value: Value) -> Result<(), FieldError> {
    match name {
        "protocol_version" => changes.set("version", value),
        name if READ_ONLY_FIELDS.contains(&name) || is_presence(name) => Ok(()),
        name if ConnectionJson::FIELDS.contains(&name) => Ok(()),
        // Forms send an empty text where there is none.
        "username" | "password" if value == "" => changes.set(name, Value::Null),
        name => changes.set(name, value),
    }
}

/// Whether a field says only that there is a secret.
fn is_presence(name: &str) -> bool {
    definition::fields().any(|field| matches!(field.kind, Kind::Secret { has } if has == name))
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
    #[serde(flatten)]
    definition: DefinitionJson,
    read_only: bool,
    revision: u64,
    client_id: String,
    #[serde(flatten)]
    live: LiveJson,
    #[serde(flatten)]
    connection: ConnectionJson,
}

impl BrokerJson {
    /// The broker with what the Router knows about it.
    pub fn new(broker: &Broker, live: Option<&&UpstreamSnapshot>) -> BrokerJson {
        BrokerJson {
            id: broker.id.0,
            definition: DefinitionJson::new(broker),
            read_only: broker.source == BrokerSource::CommandLine,
            revision: broker.revision,
            client_id: broker.client_id(),
            live: LiveJson::new(broker, live.copied()),
            connection: ConnectionJson::new(broker, live.copied()),
        }
    }

    /// Counts the changes of the broker.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The same with something that whoever changed the broker should know.
    pub fn warning(mut self, warning: Option<String>) -> BrokerJson {
        self.connection.warn(warning);
        self
    }
}

/// Every field of a definition in its order; of a secret only whether there is one, or where it is to be found.
pub struct DefinitionJson(Vec<(&'static str, Value)>);

impl DefinitionJson {
    /// The definition of a broker.
    pub fn new(broker: &Broker) -> DefinitionJson {
        let mut shown = Vec::new();
        for field in definition::fields() {
            let value = (field.get)(broker);
            match field.kind {
                Kind::Secret { has } => {
                    shown.push((has, (!value.is_null()).into()));
                    if value.as_str().is_some_and(is_reference) {
                        shown.push((field.name, value));
                    }
                }
                _ => shown.push((field.name, value)),
            }
        }
        DefinitionJson(shown)
    }
}

impl Serialize for DefinitionJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// What a broker does now.
#[derive(Serialize)]
struct LiveJson {
    /// What the broker is about: the connection's state, or what was ordered and keeps messages from it.
    state: &'static str,
    connection: &'static str,
    connected: bool,
    state_age_secs: u64,
    last_error: Option<String>,
    health: &'static str,
    health_reasons: Vec<String>,
    circuit: CircuitJson,
    canary: Option<CanaryJson>,
    forwarded: u64,
    dropped: BTreeMap<&'static str, u64>,
    left_out: BTreeMap<&'static str, u64>,
    lag: u64,
    lag_bytes: u64,
    oldest_unsent_secs: Option<u64>,
    last_acknowledged_secs: Option<u64>,
    in_flight: u64,
    downgraded: u64,
    retain_stripped: u64,
    dead_letters: u64,
    bytes_sent: u64,
    bytes_received: u64,
    reconnects: u64,
    replay: Option<ReplayJson>,
    drain: Option<DrainJson>,
    subscription_failures: Vec<SubscriptionFailureJson>,
}

/// A Topic Filter that the broker does not grant.
#[derive(Serialize)]
struct SubscriptionFailureJson {
    filter: String,
    reason_code: u8,
    reason: String,
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
            state: held(broker).unwrap_or(live.state.as_str()),
            connection: live.state.as_str(),
            connected: live.state == UpstreamState::Connected,
            state_age_secs: live.state_age.as_secs(),
            last_error: live.last_error.clone(),
            health: live.health.as_str(),
            health_reasons: live.health_reasons.clone(),
            circuit: CircuitJson::new(&live.circuit),
            canary: live.canary.as_ref().map(CanaryJson::new),
            forwarded: live.forwarded,
            dropped: live.dropped.clone(),
            left_out: live.left_out.clone(),
            lag: live.lag,
            lag_bytes: live.lag_bytes,
            oldest_unsent_secs: live.oldest_unsent.map(|age| age.as_secs()),
            last_acknowledged_secs: live.last_acknowledged.map(|age| age.as_secs()),
            in_flight: live.in_flight,
            downgraded: live.downgraded,
            retain_stripped: live.retain_stripped,
            dead_letters: live.dead_letters,
            bytes_sent: live.bytes_sent,
            bytes_received: live.bytes_received,
            reconnects: live.reconnects,
            replay: live.replay.as_ref().map(ReplayJson::new),
            subscription_failures: live
                .subscription_failures
                .iter()
                .map(SubscriptionFailureJson::new)
                .collect(),
            drain: broker.draining.as_ref().map(|draining| DrainJson::new(draining, live.draining)),
        }
    }

    /// The Router does not know the broker yet.
    fn before_the_start(broker: &Broker) -> LiveJson {
        let state = if broker.enabled { UpstreamState::Connecting } else { UpstreamState::Disabled };
        LiveJson {
            state: held(broker).unwrap_or(state.as_str()),
            connection: state.as_str(),
            connected: false,
            state_age_secs: 0,
            last_error: None,
            health: if broker.enabled { Health::Disconnected.as_str() } else { Health::Disabled.as_str() },
            health_reasons: Vec::new(),
            circuit: CircuitJson::before_the_start(),
            canary: None,
            forwarded: 0,
            dropped: BTreeMap::new(),
            left_out: BTreeMap::new(),
            lag: 0,
            lag_bytes: 0,
            oldest_unsent_secs: None,
            last_acknowledged_secs: None,
            in_flight: 0,
            downgraded: 0,
            retain_stripped: 0,
            dead_letters: 0,
            bytes_sent: 0,
            bytes_received: 0,
            reconnects: 0,
            replay: None,
            drain: broker.draining.as_ref().map(|draining| DrainJson::new(draining, None)),
            subscription_failures: Vec::new(),
        }
    }
}

impl SubscriptionFailureJson {
    fn new(failure: &SubscriptionFailure) -> SubscriptionFailureJson {
        SubscriptionFailureJson {
            filter: failure.filter.as_str().to_owned(),
            reason_code: failure.reason_code.as_u8(),
            reason: failure.reason_code.to_string(),
        }
    }
}

/// What the Router knows, by broker.
pub fn by_id(router: &RouterSnapshot) -> HashMap<BrokerId, &UpstreamSnapshot> {
    router.upstreams.iter().map(|upstream| (upstream.id, upstream)).collect()
}
