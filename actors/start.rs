//! Starts the actors and hands each the addresses that it needs; stops them in the order of the data's flow.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::Notify;

use crate::acknowledgement::Acknowledgements;
use crate::authenticator::{Authenticator, Credentials, Methods};
use crate::config_store::ConfigStore;
use crate::device_session::{ServerOptions, SessionContext, SessionLimits};
use crate::message_log::MessageLog;
use crate::messages::{Attach, Drain, GetRouterSnapshot, GetSessionsSnapshot, Replay, StopReplay};
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
    /// How often the topics below `$SYS` are brought up to date; `None` leaves them out.
    pub sys_interval: Option<Duration>,
}

/// The running actors, as far as the doors need them.
pub struct Actors {
    /// Takes clients in.
    pub attach: Recipient<Attach>,
    /// How clients may authenticate beside User Name and Password.
    pub methods: Methods,
    /// Answers for the upstream brokers' definitions.
    pub config_store: Addr<ConfigStore>,
    /// Answers for the Router.
    pub router_snapshot: Recipient<GetRouterSnapshot>,
    /// Begins replays.
    pub replay: Recipient<Replay>,
    /// Ends replays.
    pub stop_replay: Recipient<StopReplay>,
    /// Answers for the sessions.
    pub sessions_snapshot: Recipient<GetSessionsSnapshot>,
    /// How the log stands.
    pub log: Arc<MessageLog>,
    registry: Addr<SessionRegistry>,
    router: Addr<Router>,
    sys_topics: Option<Addr<SysTopics>>,
}

/// Starts all actors on this thread, with the state of before; the ConfigStore gets a thread of its own, since it
/// waits for the disk.
pub fn start(
    settings: ActorSettings,
    mut config_store: ConfigStore,
    log: Arc<MessageLog>,
    stored: StoredState,
    metrics: Arc<Metrics>,
) -> Actors {
    let acknowledgements = Arc::new(settings.acknowledgements);
    let router_limits = RouterLimits {
        retained: settings.retained,
        packet_bytes_max: limits::UPSTREAM_PACKET_BYTES_MAX.max(settings.sessions.packet_bytes_max),
    };
    let state_changes = Arc::new(Notify::new());
    let router = Router::new(log.clone(), metrics.clone(), router_limits)
        .with_acknowledgements(acknowledgements.clone())
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
        metrics,
    };
    let sys_topics = settings.sys_interval.map(|interval| SysTopics::new(sources, interval).start());
    config_store.set_router(router.clone().recipient());
    let config_store = ConfigStore::start_in_arbiter(&Arbiter::new().handle(), move |_| config_store);
    Actors {
        attach: registry.clone().recipient(),
        methods,
        config_store,
        router_snapshot: router.clone().recipient(),
        replay: router.clone().recipient(),
        stop_replay: router.clone().recipient(),
        sessions_snapshot: registry.clone().recipient(),
        log,
        registry,
        router,
        sys_topics,
    }
}

impl Actors {
    /// Says goodbye to all clients, then lets the upstream brokers have what is left; gives up after `deadline`.
    pub async fn drain(&self, deadline: Duration) {
        let drain = async {
            // An actor that is gone has nothing left to drain.
            if let Some(sys_topics) = &self.sys_topics {
                let _ = sys_topics.send(Drain).await;
            }
            let _ = self.registry.send(Drain).await;
            let _ = self.router.send(Drain).await;
        };
        if tokio::time::timeout(deadline, drain).await.is_err() {
            log::warn!("not everything was sent within {} s of draining", deadline.as_secs());
        }
    }
}
