//! The life of a broker: pausing, draining, removing with what waits, connecting anew, and what happened of late.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use actors::broker::{AfterDrain, Draining};
use actors::messages::{
    ChangeForwarding, Forwarding, GetBroker, GetBrokerEvents, Reconnect, ReconnectError, RemoveBroker,
};
use actors::timestamp::{format_rfc3339, unix_micros};
use actors::{BrokerId, limits};
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::{Body, Fields, value};
use super::dto::{self, BrokerJson};
use super::error::ApiError;
use super::revision::{Precondition, tagged};
use super::{WebState, ask};

/// `POST /api/brokers/{id}/pause`: nothing new goes to the broker; what is for it waits in the log. Also for one that is
/// paused already.
pub async fn pause(
    state: Data<WebState>,
    id: Path<Uuid>,
    precondition: Precondition,
) -> Result<HttpResponse, ApiError> {
    change(&state, *id, precondition, Forwarding::Paused, StatusCode::OK).await
}

/// `POST /api/brokers/{id}/resume`: everything that waits goes out. A drain is over, and a removal that waits for one.
pub async fn resume(
    state: Data<WebState>,
    id: Path<Uuid>,
    precondition: Precondition,
) -> Result<HttpResponse, ApiError> {
    change(&state, *id, precondition, Forwarding::Resumed, StatusCode::OK).await
}

/// `POST /api/brokers/{id}/drain` with `{"deadline_secs": 60, "then": "pause"}` or no body: 202, and the broker's `drain`
/// shows how far it is.
pub async fn drain(
    state: Data<WebState>,
    id: Path<Uuid>,
    precondition: Precondition,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let fields = if body.is_empty() { None } else { Some(body.fields()?) };
    let (deadline_secs, then) = fields.map_or(Ok((None, AfterDrain::Pause)), parse_drain)?;
    change(&state, *id, precondition, ordered(&state, deadline_secs, then), StatusCode::ACCEPTED).await
}

/// `DELETE /api/brokers/{id}`: 204. With `?backlog=send`, and perhaps `&deadline_secs=60`, what waits is sent first: 202,
/// and the broker is there until then.
pub async fn remove(
    state: Data<WebState>,
    id: Path<Uuid>,
    precondition: Precondition,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let removal = parse_removal(request.query_string())?;
    let broker = existing(&state, *id).await?;
    let Some(deadline_secs) = removal.filter(|_| broker.enabled) else {
        state.order(broker.id, precondition, RemoveBroker(broker.id)).await?;
        return Ok(HttpResponse::NoContent().finish());
    };
    let order = ordered(&state, deadline_secs, AfterDrain::Remove);
    change(&state, *id, precondition, order, StatusCode::ACCEPTED).await
}

/// `POST /api/brokers/{id}/reconnect`: 202 once the connection is being made anew.
pub async fn reconnect(state: Data<WebState>, id: Path<Uuid>) -> Result<HttpResponse, ApiError> {
    let broker = existing(&state, *id).await?;
    ask(state.reconnect.send(Reconnect(broker.id))).await??;
    Ok(HttpResponse::Accepted().json(json!({ "status": "connecting" })))
}

/// `GET /api/brokers/{id}/events`: what happened to the broker since the start of the proxy, the last 50 at most, the
/// newest last.
pub async fn events(state: Data<WebState>, id: Path<Uuid>) -> Result<Json<Value>, ApiError> {
    let broker = existing(&state, *id).await?;
    let events = ask(state.broker_events.send(GetBrokerEvents(broker.id))).await?.unwrap_or_default();
    let shown: Vec<_> = events
        .into_iter()
        .map(|event| json!({"at": format_rfc3339(event.at_micros), "event": event.event, "cause": event.cause}))
        .collect();
    Ok(Json(json!({ "events": shown })))
}

async fn existing(state: &WebState, id: Uuid) -> Result<actors::broker::SharedBroker, ApiError> {
    let broker = ask(state.config_store.send(GetBroker(BrokerId(id)))).await?;
    broker.ok_or_else(|| ApiError::no_such_broker(id))
}

/// Orders it, and shows the broker as it is then.
async fn change(
    state: &WebState,
    id: Uuid,
    precondition: Precondition,
    forwarding: Forwarding,
    status: StatusCode,
) -> Result<HttpResponse, ApiError> {
    let id = BrokerId(id);
    let broker = state.order(id, precondition, ChangeForwarding(id, forwarding)).await?;
    let router = state.router_snapshot().await?;
    Ok(tagged(status, &BrokerJson::new(&broker, dto::by_id(&router).get(&broker.id))))
}

/// A drain up to the end of the log as it is now.
fn ordered(state: &WebState, deadline_secs: Option<u64>, then: AfterDrain) -> Forwarding {
    let deadline_micros = deadline_secs.map(|secs| unix_micros().saturating_add(secs * 1_000_000));
    Forwarding::Drained(Draining { to_offset: state.log.next_offset(), deadline_micros, then })
}

fn parse_drain(fields: Fields) -> Result<(Option<u64>, AfterDrain), ApiError> {
    let (mut deadline_secs, mut then) = (None, AfterDrain::Pause);
    for (field, json) in fields.into_unique()? {
        match field.as_str() {
            "deadline_secs" => {
                deadline_secs = value::optional_number(&field, json, 1..=limits::DRAIN_SECS_MAX)?;
            }
            "then" => {
                let text = value::text(&field, json)?;
                let parsed = AfterDrain::parse(&text).filter(|then| *then != AfterDrain::Remove);
                then = parsed.ok_or_else(|| {
                    ApiError::field(&*field, format_args!("{text:?} is not \"pause\" or \"disable\""))
                })?;
            }
            _ => {
                let known = "is not a field of a drain, which knows deadline_secs and then";
                return Err(ApiError::field(field, known));
            }
        }
    }
    Ok((deadline_secs, then))
}

/// What a removal's query asks for: `Some` with a deadline or none, where what waits is to be sent first.
fn parse_removal(query: &str) -> Result<Option<Option<u64>>, ApiError> {
    let (mut sends, mut deadline_secs) = (false, None);
    for (name, value) in query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
    {
        match (name, value) {
            ("backlog", "discard") => sends = false,
            ("backlog", "send") => sends = true,
            ("backlog", other) => {
                let problem = format_args!("{other:?} is not \"discard\" or \"send\"");
                return Err(ApiError::field("backlog", problem));
            }
            ("deadline_secs", text) => {
                let secs = text.parse().ok().filter(|secs| (1..=limits::DRAIN_SECS_MAX).contains(secs));
                deadline_secs = Some(secs.ok_or_else(|| {
                    let max = limits::DRAIN_SECS_MAX;
                    ApiError::field("deadline_secs", format_args!("{text:?} is not within 1 to {max}"))
                })?);
            }
            (other, _) => {
                let known = "is no parameter of a removal, which knows backlog and deadline_secs";
                return Err(ApiError::field(other, known));
            }
        }
    }
    match (sends, deadline_secs) {
        (false, Some(_)) => Err(ApiError::field("deadline_secs", "has a meaning with backlog=send only")),
        (sends, deadline_secs) => Ok(sends.then_some(deadline_secs)),
    }
}

impl From<ReconnectError> for ApiError {
    fn from(error: ReconnectError) -> ApiError {
        match error {
            ReconnectError::NotRunning => {
                ApiError::new(StatusCode::CONFLICT, "the broker is disabled, so there is no connection")
            }
            ReconnectError::Busy => ApiError::unavailable("the broker's actor is too busy; try again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_read_field_by_field() {
        let read = |json| parse_drain(Fields::from_json(json));
        assert_eq!(read(json!({})).unwrap(), (None, AfterDrain::Pause));
        assert_eq!(
            read(json!({"deadlineSecs": 5, "then": "disable"})).unwrap(),
            (Some(5), AfterDrain::Disable)
        );
        assert_eq!(read(json!({"deadline_secs": null})).unwrap(), (None, AfterDrain::Pause));
        for (body, problem) in [
            (json!({"then": "remove"}), "400: then: \"remove\" is not \"pause\" or \"disable\""),
            (json!({"then": 1}), "400: then: must be a text"),
            (json!({"deadline_secs": 0}), "400: deadline_secs: 0 is not within 1 to"),
            (json!({"until": 1}), "400: until: is not a field of a drain"),
        ] {
            let error = read(body).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    #[test]
    fn a_removal_says_what_becomes_of_what_waits() {
        for (query, wanted) in [
            ("", None),
            ("backlog=discard", None),
            ("backlog=send", Some(None)),
            ("backlog=send&deadline_secs=7", Some(Some(7))),
        ] {
            assert_eq!(parse_removal(query).unwrap(), wanted, "{query}");
        }
        for (query, problem) in [
            ("backlog=keep", "backlog: \"keep\" is not \"discard\" or \"send\""),
            ("backlog", "backlog: \"\" is not"),
            ("backlog=send&deadline_secs=0", "deadline_secs: \"0\" is not within 1 to"),
            ("deadline_secs=5", "deadline_secs: has a meaning with backlog=send only"),
            ("force=1", "force: is no parameter of a removal"),
        ] {
            let error = parse_removal(query).unwrap_err().to_string();
            assert!(error.starts_with(&format!("400: {problem}")), "{query}: {error}");
        }
    }
}
