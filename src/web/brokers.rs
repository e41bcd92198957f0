//! `/api/brokers`: each handler sends one message to the ConfigStore and shows the broker as it is afterwards.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Json, Path};
use actors::messages::ConfigError;
use actors::messages::{
    AddBroker, GetBroker, ListBrokers, RemoveBroker, RouterSnapshot, ToggleBroker, UpdateBroker,
};
use actors::{Broker, BrokerChanges, BrokerId};
use uuid::Uuid;

use super::body::Body;
use super::dto::{self, BrokerJson, BrokerListJson};
use super::error::ApiError;
use super::{WebState, ask};

/// `GET /api/brokers`: all of them, those of the command line first.
pub async fn list(state: Data<WebState>) -> Result<Json<BrokerListJson>, ApiError> {
    let brokers = ask(state.config_store.send(ListBrokers));
    let (brokers, router) = tokio::try_join!(brokers, state.router_snapshot())?;
    Ok(Json(BrokerListJson::new(&brokers, &router)))
}

/// `GET /api/brokers/{id}`.
pub async fn get(state: Data<WebState>, id: Path<Uuid>) -> Result<Json<BrokerJson>, ApiError> {
    let id = BrokerId(*id);
    let broker = ask(state.config_store.send(GetBroker(id))).await?;
    let broker = broker.ok_or(ConfigError::NotFound(id))?;
    Ok(Json(shown(&broker, &state.router_snapshot().await?)))
}

/// `POST /api/brokers`: adds a broker. `name` and `address` must be given, everything else has a default.
pub async fn add(state: Data<WebState>, body: Body) -> Result<HttpResponse, ApiError> {
    let changes = dto::changes(body.fields()?)?;
    let broker = ask(state.config_store.send(AddBroker(changes))).await??;
    let location = format!("/api/brokers/{}", broker.id);
    let shown = shown(&broker, &state.router_snapshot().await?);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(shown))
}

/// `PUT /api/brokers/{id}`: changes the fields that are given and leaves the others as they are. `null` clears
/// `username`, `password`, `ca_cert_path`, `max_qos` and every field of the backlog, and an empty text clears the first
/// three too; a password that is not given stays. Fields that only GET knows (`id`, `state`, counters ...) are ignored, so that a broker that was
/// read can be changed and sent back.
pub async fn update(state: Data<WebState>, id: Path<Uuid>, body: Body) -> Result<Json<BrokerJson>, ApiError> {
    let changes = dto::changes(body.fields()?)?;
    let broker = ask(state.config_store.send(UpdateBroker(BrokerId(*id), changes))).await??;
    Ok(Json(shown(&broker, &state.router_snapshot().await?)))
}

/// `DELETE /api/brokers/{id}`.
pub async fn remove(state: Data<WebState>, id: Path<Uuid>) -> Result<HttpResponse, ApiError> {
    ask(state.config_store.send(RemoveBroker(BrokerId(*id)))).await??;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /api/brokers/{id}/toggle`: enables a disabled broker and the reverse; with a body of `{"enabled": true}` or
/// `false` it becomes that, whatever it was.
pub async fn toggle(state: Data<WebState>, id: Path<Uuid>, body: Body) -> Result<Json<BrokerJson>, ApiError> {
    let id = BrokerId(*id);
    let broker = if body.is_empty() {
        ask(state.config_store.send(ToggleBroker(id))).await??
    } else {
        let enabled = Some(dto::wanted_state(body.fields()?)?);
        let changes = BrokerChanges { enabled, ..BrokerChanges::default() };
        ask(state.config_store.send(UpdateBroker(id, changes))).await??
    };
    Ok(Json(shown(&broker, &state.router_snapshot().await?)))
}

fn shown(broker: &Broker, router: &RouterSnapshot) -> BrokerJson {
    BrokerJson::new(broker, dto::by_id(router).get(&broker.id))
}
