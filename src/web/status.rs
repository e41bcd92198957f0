//! `/api/status`: the proxy as a whole in one JSON object.

use actix_web::web::{Data, Json};
use actors::messages::ListBrokers;

use super::dto::StatusJson;
use super::error::ApiError;
use super::{WebState, ask};

/// `GET /api/status`.
pub async fn status(state: Data<WebState>) -> Result<Json<StatusJson>, ApiError> {
    let brokers = ask(state.config_store.send(ListBrokers));
    let (brokers, router, sessions) =
        tokio::try_join!(brokers, state.router_snapshot(), state.sessions_snapshot())?;
    let is_ready = state.readiness.missing().is_empty() && router.log.failure.is_none();
    let uptime_secs = state.started.elapsed().as_secs();
    Ok(Json(StatusJson::new(is_ready, uptime_secs, &brokers, &router, sessions)))
}
