//! The web door: the one table of routes, and what the handlers may ask. A handler holds no state; it sends a
//! message to an actor and shapes the reply.

pub mod health;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use actix::{Addr, Recipient};
use actix_web::web::{Data, ServiceConfig};
use actors::Metrics;
use actors::config_store::ConfigStore;
use actors::messages::{GetRouterSnapshot, GetSessionsSnapshot};

pub use health::Readiness;

/// Whom the handlers ask.
pub struct WebState {
    /// Owns the upstream brokers' definitions.
    pub config_store: Addr<ConfigStore>,
    /// Knows what happens to messages.
    pub router: Recipient<GetRouterSnapshot>,
    /// Knows the sessions.
    pub sessions: Recipient<GetSessionsSnapshot>,
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
        Data::new(self)
    }
}

/// Adds every route: `App::new().configure(|routes| web::configure(routes, &state))`.
pub fn configure(routes: &mut ServiceConfig, state: &Data<WebState>) {
    routes.app_data(state.clone());
}
