//! The proxy as a whole, as `GET /api/status` shows it.

use actors::Broker;
use actors::messages::{LogSnapshot, RouterSnapshot, SessionsSnapshot};
use serde::Serialize;
use uuid::Uuid;

use super::{LiveJson, by_id};
use crate::web::connection;

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
    warnings: Vec<String>,
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
    last_error_cause: Option<&'static str>,
    warnings: Vec<String>,
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
            last_error_cause: live.get(&broker.id).and_then(|live| live.last_error_cause),
            warnings: connection::warnings(broker, live.get(&broker.id).and_then(|live| live.tls.as_deref())),
        });
        let shown: Vec<BrokerStatusJson> = shown.collect();
        let warned = shown.iter().flat_map(|broker| broker.warnings.iter().map(move |text| (broker, text)));
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
            warnings: warned.map(|(broker, text)| format!("broker {}: {text}", broker.name)).collect(),
            brokers: shown,
        }
    }
}
