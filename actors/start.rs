//! Starts the actors and hands each the addresses that it needs; stops them in the order of the data's flow.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::Notify;

use crate::acknowledgement::Acknowledgements;
use crate::alerts::{AlertSettings, AlertSources, Alerts};
use crate::authenticator::{Authenticator, Credentials, Methods};
use crate::bridge::{Bridge, BridgeOptions};
use crate::config_store::ConfigStore;
use crate::connection_tester::ConnectionTester;
use crate::device_session::{ServerOptions, SessionContext, SessionLimits};
use crate::message_log::MessageLog;
use crate::messages::{
    Attach, Drain, GetBrokerEvents, GetRouterSnapshot, GetSessionsSnapshot, Reconnect, Replay, RetryNow,
    StopReplay, TestConnection,
};
use crate::preview::Preview;
use crate::router::{RetainedLimits, Router, RouterLimits};
use crate::session_registry::SessionRegistry;
use crate::store::StoredState;
use crate::sys_topics::{SysSources, SysTopics};
use crate::{Metrics, limits};

/// What the actors are told at start.
pub struct ActorSettings {
    /// What clients may ask for.
    pub sessions: SessionLimits,
    /// What clients are told.
    pub server: ServerOptions,
    /// The credentials that all clients must have, if any.
    pub credentials: Option<Credentials>,
    /// How many retained messages are kept.
    pub retained: RetainedLimits,
    /// What acknowledgements wait for.
    pub acknowledgements: Acknowledgements,
    /// What messages carry between proxies.
    pub bridge: BridgeOptions,
    /// How often the topics below `$SYS` are brought up to date; `None` leaves them out.
    pub sys_interval: Option<Duration>,
    /// What is worth an alert, and who is told.
    pub alerts: AlertSettings,
}

/// The running actors, as far as the doors need them.
pub struct Actors {
    /// Takes clients in.
    pub attach: Recipient<Attach>,
    /// How clients may authenticate beside User Name and Password.
    pub methods: Methods,
    /// Answers for the upstream brokers' definitions.
    pub config_store: Addr<ConfigStore>,
    /// Tries brokers out.
    pub connection_tester: Recipient<TestConnection>,
    /// Answers for the Router.
    pub router_snapshot: Recipient<GetRouterSnapshot>,
    /// Begins replays.
    pub replay: Recipient<Replay>,
    /// Ends replays.
    pub stop_replay: Recipient<StopReplay>,
    /// Makes brokers connect anew.
    pub reconnect: Recipient<Reconnect>,
    /// Knows what happened to brokers of late.
    pub broker_events: Recipient<GetBrokerEvents>,
    /// Says what would become of a message.
    pub preview: Recipient<Preview>,
    /// Ends waits for the next attempt to reach a broker.
    pub retry: Recipient<RetryNow>,
    /// Answers for the sessions.
    pub sessions_snapshot: Recipient<GetSessionsSnapshot>,
    /// How the log stands.
    pub log: Arc<MessageLog>,
    registry: Addr<SessionRegistry>,
    router: Addr<Router>,
    sys_topics: Option<Addr<SysTopics>>,
    alerts: Option<Addr<Alerts>>,
}

/// Whoever watches for alerts, where there are rules; without one everything else goes on.
fn watch(alerts: AlertSettings, sources: AlertSources) -> Option<Alerts> {
    Alerts::open(alerts, sources).unwrap_or_else(|error| {
        log::error!("nobody watches for alerts: {error}");
        None
    })
}

/// Starts all actors on this thread, with the state of before; the ConfigStore gets a thread of its own, since it
/// waits for the disk, and shares it with the ConnectionTester, whose handshakes nobody else should wait for.
pub fn start(
    settings: ActorSettings,
    mut config_store: ConfigStore,
    log: Arc<MessageLog>,
    stored: StoredState,
    metrics: Arc<Metrics>,
) -> Actors {
    let acknowledgements = Arc::new(settings.acknowledgements);
    let bridge = Arc::new(Bridge::new(&settings.bridge, config_store.instance_id()));
    let stored = stripped(stored, &bridge);
    let packet_bytes_max = limits::UPSTREAM_PACKET_BYTES_MAX.max(settings.sessions.packet_bytes_max);
    let router_limits = RouterLimits { retained: settings.retained, packet_bytes_max };
    let state_changes = Arc::new(Notify::new());
    let router = Router::new(log.clone(), metrics.clone(), router_limits)
        .with_acknowledgements(acknowledgements.clone())
        .with_bridge(bridge.clone())
        .announcing(state_changes.clone())
        .restored(stored.retained, stored.upstreams)
        .start();
    let credentials = settings.credentials.map(Arc::new);
    let methods = Methods::new(credentials.clone());
    let authenticator = Authenticator::new(credentials).start();
    let shared = Arc::new(SessionContext {
        router: router.clone().recipient(),
        subscribe: router.clone().recipient(),
        collect_retained: router.clone().recipient(),
        unsubscribe: router.clone().recipient(),
        log: log.clone(),
        bridge,
        acknowledgements,
        metrics: metrics.clone(),
        connected: 0.into(),
        limits: settings.sessions,
        server: settings.server,
        methods: methods.clone(),
    });
    let registry = SessionRegistry::new(authenticator.recipient(), shared).restored(stored.sessions).start();
    let sources = SysSources {
        router: router.clone().recipient(),
        router_snapshot: router.clone().recipient(),
        sessions_snapshot: registry.clone().recipient(),
        state_changes,
        metrics: metrics.clone(),
    };
    let sys_topics = settings.sys_interval.map(|interval| SysTopics::new(sources, interval).start());
    let sources = AlertSources {
        router: router.clone().recipient(),
        router_snapshot: router.clone().recipient(),
        metrics,
    };
    let alerts = watch(settings.alerts, sources);
    config_store.set_router(router.clone().recipient());
    config_store.set_drain_watch(router.clone().recipient());
    config_store.set_packet_bytes_max(settings.sessions.packet_bytes_max);
    let beside = Arbiter::new().handle();
    let config_store = ConfigStore::start_in_arbiter(&beside, move |_| config_store);
    let connection_tester =
        ConnectionTester::start_in_arbiter(&beside, move |_| ConnectionTester::new(packet_bytes_max));
    Actors {
        attach: registry.clone().recipient(),
        methods,
        config_store,
        connection_tester: connection_tester.recipient(),
        router_snapshot: router.clone().recipient(),
        replay: router.clone().recipient(),
        stop_replay: router.clone().recipient(),
        reconnect: router.clone().recipient(),
        broker_events: router.clone().recipient(),
        preview: router.clone().recipient(),
        retry: router.clone().recipient(),
        sessions_snapshot: registry.clone().recipient(),
        log,
        registry,
        router,
        sys_topics,
        alerts: alerts.map(Actor::start),
    }
}

/// The log has messages as they came; devices get them without what they carry for proxies.
fn stripped(mut stored: StoredState, bridge: &Bridge) -> StoredState {
    let deliveries = stored.sessions.iter_mut().flat_map(|session| &mut session.deliveries);
    let queued = deliveries.filter_map(|delivery| delivery.message.as_mut());
    let retained = stored.retained.iter_mut().map(|retained| &mut retained.message);
    for message in queued.chain(retained) {
        if let Some(properties) = bridge.restored_for_devices(&message.properties) {
            message.properties = properties;
        }
    }
    stored
}

impl Actors {
    /// Says goodbye to all clients, then lets the upstream brokers have what is left; gives up after `deadline`.
    pub async fn drain(&self, deadline: Duration) {
        let drain = async {
            // An actor that is gone has nothing left to drain.
            if let Some(sys_topics) = &self.sys_topics {
                let _ = sys_topics.send(Drain).await;
            }
            if let Some(alerts) = &self.alerts {
                let _ = alerts.send(Drain).await;
            }
            let _ = self.registry.send(Drain).await;
            let _ = self.router.send(Drain).await;
        };
        if tokio::time::timeout(deadline, drain).await.is_err() {
            log::warn!("not everything was sent within {} s of draining", deadline.as_secs());
        }
    }
}
