//! The web door: the one table of routes, and what the handlers may ask. A handler holds no state; it sends a
//! message to an actor and shapes the reply.

mod access;
mod body;
mod brokers;
mod connection;
mod connection_test;
mod dashboard;
mod dto;
mod error;
mod groups;
pub mod health;
mod lifecycle;
mod metrics;
mod preview;
mod process;
mod replay;
mod revision;
mod status;
mod validate;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Addr, MailboxError, Recipient};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, PathConfig, PayloadConfig, ServiceConfig};
use actix_web::{HttpResponse, Resource, Route, guard};
use actors::Metrics;
use actors::config_store::ConfigStore;
use actors::message_log::MessageLog;
use actors::messages::{
    GetBrokerEvents, GetRouterSnapshot, GetSessionsSnapshot, Reconnect, Replay, RetryNow, RouterSnapshot,
    SessionsSnapshot, StopReplay, TestConnection,
};
use actors::preview::Preview;

use self::error::ApiError;
pub use self::health::Readiness;

/// How long a handler waits for an actor's answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Whom the handlers ask.
pub struct WebState {
    /// Owns the upstream brokers' definitions.
    pub config_store: Addr<ConfigStore>,
    /// Tries brokers out.
    pub connection_tester: Recipient<TestConnection>,
    /// Knows what happens to messages.
    pub router: Recipient<GetRouterSnapshot>,
    /// Begins replays.
    pub replay: Recipient<Replay>,
    /// Tries brokers again.
    pub retry: Recipient<RetryNow>,
    /// Ends replays.
    pub stop_replay: Recipient<StopReplay>,
    /// Makes brokers connect anew.
    pub reconnect: Recipient<Reconnect>,
    /// Knows what happened to brokers of late.
    pub broker_events: Recipient<GetBrokerEvents>,
    /// Says what would become of a message.
    pub preview: Recipient<Preview>,
    /// Knows the sessions.
    pub sessions: Recipient<GetSessionsSnapshot>,
    /// Says whether the disk takes what it is given.
    pub log: Arc<MessageLog>,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// What `/ready` answers.
    pub readiness: Arc<Readiness>,
    /// When the proxy started.
    pub started: Instant,
    /// Where the dashboard's files are.
    pub static_dir: PathBuf,
}

impl WebState {
    /// The state as the HTTP workers share it. Warns once where the dashboard's files are missing.
    pub fn share(self) -> Data<WebState> {
        dashboard::check(&self.static_dir);
        Data::new(self)
    }

    async fn router_snapshot(&self) -> Result<RouterSnapshot, ApiError> {
        ask(self.router.send(GetRouterSnapshot)).await
    }

    async fn sessions_snapshot(&self) -> Result<SessionsSnapshot, ApiError> {
        ask(self.sessions.send(GetSessionsSnapshot)).await
    }
}

/// Adds every route: `App::new().configure(|routes| web::configure(routes, &state))`.
pub fn configure(routes: &mut ServiceConfig, state: &Data<WebState>) {
    let all = web::scope("")
        .wrap(from_fn(access::guard))
        .app_data(state.clone())
        .app_data(PayloadConfig::new(body::BODY_BYTES_MAX))
        .app_data(PathConfig::default().error_handler(|error, _| ApiError::field("id", error).into()))
        .service(
            resource("/api/brokers", "GET, HEAD, POST")
                .route(get().to(brokers::list))
                .route(web::post().to(brokers::add)),
        )
        // Before the brokers' own paths, of which they look like one.
        .service(resource("/api/brokers/validate", "POST").route(web::post().to(validate::validate)))
        .service(resource("/api/brokers/preview", "POST").route(web::post().to(preview::preview)))
        .service(resource("/api/brokers/test", "POST").route(web::post().to(connection_test::test)))
        .service(
            resource("/api/brokers/{id}", "GET, HEAD, PUT, DELETE")
                .route(get().to(brokers::get))
                .route(web::put().to(brokers::update))
                .route(web::delete().to(lifecycle::remove)),
        )
        .service(resource("/api/brokers/{id}/toggle", "POST").route(web::post().to(brokers::toggle)))
        .service(resource("/api/brokers/{id}/pause", "POST").route(web::post().to(lifecycle::pause)))
        .service(resource("/api/brokers/{id}/resume", "POST").route(web::post().to(lifecycle::resume)))
        .service(resource("/api/brokers/{id}/drain", "POST").route(web::post().to(lifecycle::drain)))
        .service(resource("/api/brokers/{id}/reconnect", "POST").route(web::post().to(lifecycle::reconnect)))
        .service(resource("/api/brokers/{id}/events", "GET, HEAD").route(get().to(lifecycle::events)))
        .service(resource("/api/brokers/{id}/retry", "POST").route(web::post().to(brokers::retry)))
        .service(
            resource("/api/brokers/{id}/replay", "POST, DELETE")
                .route(web::post().to(replay::begin))
                .route(web::delete().to(replay::stop)),
        )
        .service(resource("/api/groups", "GET, HEAD").route(get().to(groups::list)))
        .service(
            resource("/api/groups/{name}", "GET, HEAD, PUT")
                .route(get().to(groups::get))
                .route(web::put().to(groups::update)),
        )
        .service(resource("/api/status", "GET, HEAD").route(get().to(status::status)))
        .service(resource("/health", "GET, HEAD").route(get().to(health::health)))
        .service(resource("/ready", "GET, HEAD").route(get().to(health::ready)))
        .service(resource("/metrics", "GET, HEAD").route(get().to(metrics::metrics)))
        .default_service(web::to(async || Err::<HttpResponse, _>(ApiError::no_such_path())));
    // Without its directory, actix-files would log an error of its own.
    match state.static_dir.is_dir() {
        true => routes.service(all.service(dashboard::files(&state.static_dir))),
        false => routes.service(all),
    };
}

/// A resource that answers every method but its own with the list of those.
fn resource(path: &str, allow: &'static str) -> Resource {
    let not_allowed = move || async move { Err::<HttpResponse, _>(ApiError::method_not_allowed(allow)) };
    web::resource(path).default_service(web::to(not_allowed))
}

/// GET, and HEAD with it.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Waits for an actor's answer, though not for ever.
async fn ask<T>(request: impl Future<Output = Result<T, MailboxError>>) -> Result<T, ApiError> {
    ask_within(ANSWER_DEADLINE, request).await
}

/// The same for what takes its time.
async fn ask_within<T>(
    deadline: Duration,
    request: impl Future<Output = Result<T, MailboxError>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(deadline, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(ApiError::unavailable("the proxy is starting or stopping")),
        Err(_) => Err(ApiError::unavailable(format!("no answer within {} s", deadline.as_secs()))),
    }
}

#[cfg(test)]
mod tests;
