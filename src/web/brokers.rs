//! `/api/brokers`: each handler sends one message to the ConfigStore and shows the broker as it is afterwards.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::web::{Data, Json, Path};
use actors::messages::ConfigError;
use actors::messages::{
    AddBroker, GetBroker, ListBrokers, RetryNow, RouterSnapshot, ToggleBroker, UpdateBroker,
};
use actors::{Broker, BrokerChanges, BrokerId};
use uuid::Uuid;

use super::body::Body;
use super::dto::{self, BrokerJson, BrokerListJson};
use super::error::ApiError;
use super::revision::{Precondition, tagged};
use super::{WebState, ask};

/// `GET /api/brokers`: all of them, those of the command line first.
pub async fn list(state: Data<WebState>) -> Result<Json<BrokerListJson>, ApiError> {
    let brokers = ask(state.config_store.send(ListBrokers));
    let (brokers, router) = tokio::try_join!(brokers, state.router_snapshot())?;
    Ok(Json(BrokerListJson::new(&brokers, &router)))
}

/// `GET /api/brokers/{id}`.
pub async fn get(state: Data<WebState>, id: Path<Uuid>) -> Result<HttpResponse, ApiError> {
    let id = BrokerId(*id);
    let broker = ask(state.config_store.send(GetBroker(id))).await?;
    let broker = broker.ok_or(ConfigError::NotFound(id))?;
    Ok(tagged(StatusCode::OK, &shown(&broker, &state.router_snapshot().await?)))
}

/// `POST /api/brokers`: adds a broker. `name` and `address` must be given, everything else has a default.
pub async fn add(state: Data<WebState>, body: Body) -> Result<HttpResponse, ApiError> {
    let changes = dto::changes(body.fields()?)?;
    let broker = ask(state.config_store.send(AddBroker(changes))).await??;
    let location = format!("/api/brokers/{}", broker.id);
    let shown = shown(&broker, &state.router_snapshot().await?);
    let mut created = tagged(StatusCode::CREATED, &shown);
    if let Ok(location) = HeaderValue::from_str(&location) {
        created.headers_mut().insert(LOCATION, location);
    }
    Ok(created)
}

/// `PUT /api/brokers/{id}`: changes the fields that are given and leaves the others as they are. `null` gives a field its
/// default, and an empty text clears a text that may be absent; a secret that is not given stays. Fields that only GET knows (`id`, `state`, counters ...) are ignored, so that a broker that was
/// read can be changed and sent back. With `If-Match` and a revision nothing is changed where that is not the broker's any
/// more: 412.
pub async fn update(
    state: Data<WebState>,
    id: Path<Uuid>,
    precondition: Precondition,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let changes = dto::changes(body.fields()?)?;
    let id = BrokerId(*id);
    let before = ask(state.config_store.send(GetBroker(id))).await?;
    let broker = state.order(id, precondition, UpdateBroker(id, changes)).await?;
    let shown = changed(before.as_deref(), &broker, &state.router_snapshot().await?);
    Ok(tagged(StatusCode::OK, &shown))
}

/// `POST /api/brokers/{id}/toggle`: enables a disabled broker and the reverse; with a body of `{"enabled": true}` or
/// `false` it becomes that, whatever it was.
pub async fn toggle(
    state: Data<WebState>,
    id: Path<Uuid>,
    precondition: Precondition,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let id = BrokerId(*id);
    let before = ask(state.config_store.send(GetBroker(id))).await?;
    let broker = if body.is_empty() {
        state.order(id, precondition, ToggleBroker(id)).await?
    } else {
        let changes = BrokerChanges::new().with("enabled", dto::wanted_state(body.fields()?)?);
        state.order(id, precondition, UpdateBroker(id, changes)).await?
    };
    let shown = changed(before.as_deref(), &broker, &state.router_snapshot().await?);
    Ok(tagged(StatusCode::OK, &shown))
}

/// The broker after a change, with a warning where that made it forget messages.
fn changed(before: Option<&Broker>, broker: &Broker, router: &RouterSnapshot) -> BrokerJson {
    let is_forgotten = !broker.enabled && before.is_some_and(|before| before.enabled);
    let live = dto::by_id(router);
    let discarded = live.get(&broker.id).map_or(0, |upstream| upstream.discarded);
    let warning = (is_forgotten && discarded > 0).then(|| {
        let kept = "are not kept for a disabled broker (its filters may not have wanted all of them)";
        format!("enabled: {discarded} messages that waited {kept}")
    });
    shown(broker, router).warning(warning)
}

/// `POST /api/brokers/{id}/retry`: forgets what failed and tries to reach the broker now; 202 with the broker, also where
/// it is connected already.
pub async fn retry(state: Data<WebState>, id: Path<Uuid>) -> Result<HttpResponse, ApiError> {
    let id = BrokerId(*id);
    let broker = ask(state.config_store.send(GetBroker(id))).await?;
    let broker = broker.ok_or(ConfigError::NotFound(id))?;
    if !ask(state.retry.send(RetryNow(id))).await? {
        let problem = "the broker is disabled, so there is nothing to try";
        return Err(ApiError::new(StatusCode::CONFLICT, problem));
    }
    Ok(HttpResponse::Accepted().json(shown(&broker, &state.router_snapshot().await?)))
}

fn shown(broker: &Broker, router: &RouterSnapshot) -> BrokerJson {
    BrokerJson::new(broker, dto::by_id(router).get(&broker.id))
}
