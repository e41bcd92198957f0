//! Builds the proxy from its settings, runs it until it is told to stop, and stops it in order.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer};
use actors::Metrics;
use actors::alerts::AlertSettings;
use actors::authenticator::Credentials;
use actors::config_store::ConfigStore;
use actors::delivery_queue::QueueLimits;
use actors::device_session::{ServerOptions, SessionLimits};
use actors::message_log::DiskOptions;
use actors::quota::TopicLimits;
use actors::receiving_budget::ReceivingBudget;
use actors::router::RetainedLimits;
use actors::start::{ActorSettings, Actors};
use actors::storage::Storage;
use tokio::task::JoinHandle;

use crate::adapters::admission::Admission;
use crate::adapters::handshake::Handshake;
use crate::adapters::tcp::{ConnectionLimits, Listener};
use crate::adapters::tls::TlsAcceptor;
use crate::settings::{Limits, ServerSettings, Settings};
use crate::stop_signals::StopSignals;
use crate::web::{self, Readiness, WebState};
use crate::webhook;

/// Why the proxy could not start: one line that says who must do what.
#[derive(Debug)]
pub struct StartupError(String);

impl fmt::Display for StartupError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for StartupError {}

/// Runs the proxy until SIGTERM or Ctrl-C, and drains it then.
///
/// # Errors
/// Where it cannot start: a port in use, a directory that cannot be used, a broken file.
pub fn run(settings: Settings) -> Result<(), StartupError> {
    actix::System::new().block_on(async move {
        let mut proxy = Proxy::start(settings).await?;
        let told = proxy.signals.wait().await;
        log::info!("{told}: draining");
        proxy.stop().await;
        log::info!("stopped");
        Ok(())
    })
}

/// The running proxy.
struct Proxy {
    actors: Actors,
    storage: Storage,
    listeners: Vec<JoinHandle<()>>,
    web: ServerHandle,
    readiness: Arc<Readiness>,
    signals: StopSignals,
    settings: Settings,
}

impl Proxy {
    /// Opens the store, binds every address, and only then starts to work.
    async fn start(mut settings: Settings) -> Result<Proxy, StartupError> {
        settings.limits.connections_max = connections_max(settings.limits.connections_max);
        let upstreams = settings.upstreams.iter().map(|upstream| upstream.changes.clone()).collect();
        let config_store = ConfigStore::open_seeded(
            &settings.data_dir,
            settings.secret.clone(),
            upstreams,
            settings.seed.as_deref(),
        )
        .map_err(|error| StartupError(error.to_string()))?;
        let metrics = Metrics::new().map_err(|error| StartupError(format!("metrics: {error}")))?;
        let metrics = Arc::new(metrics);
        let file_bytes_max = i64::try_from(settings.log.retention_bytes_max).unwrap_or(i64::MAX);
        metrics.log_file_bytes_max.set(file_bytes_max);
        let (storage, stored) =
            Storage::open(&settings.data_dir, disk_options(&settings), &metrics).map_err(StartupError)?;
        let readiness = Arc::new(Readiness::default());
        readiness.set_store_open(true);

        let bound = bind(&settings.server)?;
        let web_socket = std::net::TcpListener::bind(settings.web.listen)
            .map_err(|error| cannot_listen(settings.web.listen, "--web or [web] listen", &error))?;

        let log = storage.log().clone();
        let actors =
            actors::start::start(actor_settings(&settings), config_store, log, stored, metrics.clone());
        let web = serve_web(&settings, web_socket, &actors, &metrics, &readiness)
            .map_err(|error| cannot_listen(settings.web.listen, "--web or [web] listen", &error))?;
        let handshake = Handshake {
            attach: actors.attach.clone(),
            methods: actors.methods.clone(),
            server_reference: server_options(&settings).server_reference,
            connect_timeout: settings.server.connect_timeout,
            metrics,
        };
        // Before anybody is told that the proxy runs: who stops it then finds it listening.
        let signals = StopSignals::listen()
            .map_err(|error| StartupError(format!("cannot wait for signals: {error}")))?;
        let connection_limits = connection_limits(&settings.limits);
        let mut listeners = Vec::new();
        for listener in bound {
            log::info!("{} listening on {}", listener.protocol(), listener.address());
            listeners.push(actix::spawn(listener.run(handshake.clone(), connection_limits.clone())));
        }
        readiness.set_listeners_bound(true);
        log::info!("ready");
        Ok(Proxy { actors, storage, listeners, web, readiness, signals, settings })
    }

    /// Takes no more clients, says goodbye to those there are, lets upstream brokers have what is left.
    async fn stop(self) {
        self.readiness.set_listeners_bound(false);
        for listener in &self.listeners {
            listener.abort();
        }
        self.actors.drain(self.settings.server.drain_timeout).await;
        self.web.stop(false).await;
        // Nobody writes any more; what is left to do is the disk's.
        self.storage.close();
    }
}

/// Binds every address for devices, those of TLS with what they show.
fn bind(server: &ServerSettings) -> Result<Vec<Listener>, StartupError> {
    let bind = |address: &SocketAddr, setting: &str| {
        Listener::bind(*address).map_err(|error| cannot_listen(*address, setting, &error))
    };
    let mut bound = Vec::new();
    for address in &server.listen {
        bound.push(bind(address, "--listen or [server] listen")?);
    }
    if !server.tls.listen.is_empty() {
        let tls = TlsAcceptor::start(&server.tls, server.connect_timeout).map_err(StartupError)?;
        for address in &server.tls.listen {
            bound.push(bind(address, "--tls-listen or [server] tls_listen")?.with_tls(tls.clone()));
        }
    }
    Ok(bound)
}

fn actor_settings(settings: &Settings) -> ActorSettings {
    let limits: &Limits = &settings.limits;
    ActorSettings {
        sessions: SessionLimits {
            packet_bytes_max: limits.packet_bytes_max,
            receive_maximum: limits.receive_maximum,
            topic_alias_maximum: limits.topic_alias_maximum,
            in_flight_max: limits.inflight_messages_max,
            subscriptions_max: limits.subscriptions_per_client_max,
            topics: TopicLimits { bytes_max: limits.topic_bytes_max, levels_max: limits.topic_levels_max },
            connections_max: limits.connections_max,
            sessions_max: limits.sessions_max,
            session_expiry_secs_max: limits.session_expiry_secs_max,
            queue: QueueLimits {
                messages_max: limits.queued_messages_max,
                bytes_max: limits.queued_bytes_max,
                slow: limits.slow_subscriber,
                slow_patience: Duration::from_secs(limits.slow_subscriber_secs),
                absent: limits.absent_subscriber,
            },
            messages_per_second_max: limits.messages_per_second_max,
            on_message_rate: limits.on_message_rate,
            restart_will_grace: settings.server.restart_will_grace,
            keep_alive_secs_max: limits.keep_alive_secs_max,
        },
        server: server_options(settings),
        credentials: settings.auth.as_ref().map(|required| Credentials {
            username: required.username.clone(),
            password: required.password.clone(),
        }),
        retained: RetainedLimits {
            messages_max: limits.retained_messages_max,
            bytes_max: limits.retained_bytes_max,
        },
        acknowledgements: settings.acknowledgements.clone(),
        bridge: settings.bridge.clone(),
        sys_interval: settings.server.sys_interval,
        alerts: AlertSettings {
            rules: settings.alerts.rules.clone(),
            topic: settings.alerts.topic.clone(),
            ledger: settings.data_dir.join("alerts.json"),
            post: settings.alerts.webhook.clone().map(webhook::post),
        },
    }
}

fn server_options(settings: &Settings) -> ServerOptions {
    let server = &settings.server;
    ServerOptions {
        response_information: server.response_information.clone(),
        server_reference: server.server_reference.as_deref().map(Into::into),
        check_payload_format: server.check_payload_format,
    }
}

fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits {
        packet_bytes_max: limits.packet_bytes_max,
        receiving: ReceivingBudget::new(limits.receiving_bytes_max),
        admission: Admission::new(limits.connections_per_address_max),
        accepts_per_second_max: limits.accepts_per_second_max,
    }
}

fn disk_options(settings: &Settings) -> DiskOptions {
    let log = &settings.log;
    DiskOptions {
        dir: settings.data_dir.join("log"),
        segment_bytes: log.segment_bytes,
        retention_bytes_max: log.retention_bytes_max,
        retention: log.retention,
        history_bytes_max: log.history_bytes_max,
        sync_interval: log.sync_interval,
        persist_qos0: log.persist_qos0,
        head_bytes_max: log.head_bytes_max,
    }
}

/// Starts the REST API and the dashboard on a thread of their own.
fn serve_web(
    settings: &Settings,
    socket: std::net::TcpListener,
    actors: &Actors,
    metrics: &Arc<Metrics>,
    readiness: &Arc<Readiness>,
) -> std::io::Result<ServerHandle> {
    let address = socket.local_addr()?;
    let state = WebState {
        config_store: actors.config_store.clone(),
        connection_tester: actors.connection_tester.clone(),
        router: actors.router_snapshot.clone(),
        replay: actors.replay.clone(),
        retry: actors.retry.clone(),
        stop_replay: actors.stop_replay.clone(),
        reconnect: actors.reconnect.clone(),
        broker_events: actors.broker_events.clone(),
        preview: actors.preview.clone(),
        log: actors.log.clone(),
        sessions: actors.sessions_snapshot.clone(),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        started: Instant::now(),
        static_dir: settings.web.static_dir.clone(),
    }
    .share();
    let server: Server =
        HttpServer::new(move || App::new().configure(|routes| web::configure(routes, &state)))
            .workers(1)
            .disable_signals()
            .listen(socket)?
            .run();
    let handle = server.handle();
    actix::spawn(async move {
        if let Err(error) = server.await {
            log::error!("web server: {error}");
        }
    });
    log::info!("web listening on {address}");
    Ok(handle)
}

fn cannot_listen(address: SocketAddr, setting: &str, error: &std::io::Error) -> StartupError {
    StartupError(format!("cannot listen on {address}: {error}; choose another address with {setting}"))
}

/// Files that are kept for the log, the store, upstream brokers and the web, so that devices cannot take them.
const FILES_BESIDE_DEVICES: usize = 128;

/// How many devices may be connected: each one is an open file, of which the process takes as many as the system
/// allows. Those beyond are told so, which is better than a log that cannot open its next file.
fn connections_max(wanted: usize) -> usize {
    let files = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => usize::try_from(files).unwrap_or(usize::MAX),
        Err(error) => {
            log::warn!("the limit of open files could not be raised: {error}");
            return wanted;
        }
    };
    log::debug!("up to {files} open files");
    let allowed = connections_within(wanted, files);
    if allowed < wanted {
        log::warn!(
            "limits.connections_max is {wanted}, but the process may open {files} files only: {allowed} devices \
             are let in; raise the limit (ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of docker) \
             to {} or lower the setting",
            wanted.saturating_add(FILES_BESIDE_DEVICES),
        );
    }
    allowed
}

fn connections_within(wanted: usize, files: usize) -> usize {
    wanted.min(files.saturating_sub(FILES_BESIDE_DEVICES).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_leave_some_files_to_the_rest() {
        assert_eq!(connections_within(15_000, 1_048_576), 15_000);
        assert_eq!(connections_within(15_000, 15_128), 15_000);
        assert_eq!(connections_within(15_000, 15_127), 14_999);
        assert_eq!(connections_within(50, 64), 1);
        assert_eq!(connections_within(usize::MAX, usize::MAX), usize::MAX - FILES_BESIDE_DEVICES);
    }
}
