//! Replays: which part of the log goes to a broker again, and how fast.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actors::BrokerId;
use actors::definition::parse_filters;
use actors::messages::{GetBroker, Replay, ReplayError, StopReplay};
use actors::start_position::{LogPoint, StartPosition};
use mqtt::TopicFilter;
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::{Body, Fields, value};
use super::error::ApiError;
use super::{WebState, ask};

/// A checked request to send a part of the log to a broker again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRequest {
    /// Where it begins; never [`StartPosition::Now`], which would be nothing.
    pub from: StartPosition,
    /// What lies before this place is sent; `None` stands for the log's end at the time of the request.
    pub to: Option<LogPoint>,
    /// Messages that one of these matches; none at all means all that the broker's own filters want.
    pub topics: Vec<TopicFilter>,
    /// How many messages go out in a second at most.
    pub max_rate_messages: Option<u32>,
}

/// `POST /api/brokers/{id}/replay`: 202 once the replay has begun. The broker's `replay` shows how far it is.
pub async fn begin(state: Data<WebState>, id: Path<Uuid>, body: Body) -> Result<HttpResponse, ApiError> {
    let ReplayRequest { from, to, topics, max_rate_messages } = parse(body.fields()?)?;
    let broker = existing(&state, *id).await?;
    ask(state.replay.send(Replay { broker, from, to, topics, max_rate_messages })).await??;
    Ok(HttpResponse::Accepted().json(json!({ "status": "running" })))
}

/// `DELETE /api/brokers/{id}/replay`: ends the replay; 204 also where none runs.
pub async fn stop(state: Data<WebState>, id: Path<Uuid>) -> Result<HttpResponse, ApiError> {
    let broker = existing(&state, *id).await?;
    ask(state.stop_replay.send(StopReplay(broker))).await??;
    Ok(HttpResponse::NoContent().finish())
}

async fn existing(state: &WebState, id: Uuid) -> Result<BrokerId, ApiError> {
    let broker = ask(state.config_store.send(GetBroker(BrokerId(id)))).await?;
    broker.map(|broker| broker.id).ok_or_else(|| ApiError::no_such_broker(id))
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> ApiError {
        match error {
            ReplayError::NotRunning => {
                ApiError::new(StatusCode::CONFLICT, "the broker is disabled, so nothing can be sent to it")
            }
            ReplayError::Storage(problem) => {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the log cannot be read: {problem}"))
            }
        }
    }
}

/// Reads a body. `from` must be given: `"earliest"`, an offset or a time. `to` is an offset or a time, `topic` one Topic
/// Filter and `topics` a list of them, `max_rate_messages` a number; `null` is the same as leaving one out.
pub fn parse(fields: Fields) -> Result<ReplayRequest, ApiError> {
    let (mut from, mut to, mut topics, mut max_rate_messages) = (None, None, None, None);
    for (field, json) in fields.into_unique()? {
        let name = field.as_str();
        match name {
            "from" => from = value::optional_text_or_number(name, json)?,
            "to" => to = value::optional_text_or_number(name, json)?,
            "topic" | "topics" if topics.is_some() => {
                return Err(ApiError::field(name, "only one of topic and topics can be given"));
            }
            "topic" | "topics" => topics = parse_topics(name, json)?,
            "max_rate_messages" => {
                max_rate_messages = value::optional_number(name, json, 1..=u32::MAX.into())?;
            }
            _ => {
                let known =
                    "is not a field of a replay, which knows from, to, topic, topics and max_rate_messages";
                return Err(ApiError::field(name, known));
            }
        }
    }
    let from = parse_from(from)?;
    let to = to.map(parse_to).transpose()?;
    if is_before(to, from) {
        return Err(ApiError::field("to", "must not lie before from"));
    }
    Ok(ReplayRequest {
        from,
        to,
        topics: topics.unwrap_or_default(),
        max_rate_messages: max_rate_messages.map(|rate| rate as u32),
    })
}

fn parse_from(text: Option<String>) -> Result<StartPosition, ApiError> {
    let text = text.ok_or_else(|| ApiError::field("from", "must be given"))?;
    let position = StartPosition::parse(&text).filter(|position| *position != StartPosition::Now);
    position.ok_or_else(|| {
        let allowed = "\"earliest\", an offset or a time such as 2026-01-31T08:00:00Z";
        ApiError::field("from", format_args!("{text:?} is not {allowed}"))
    })
}

fn parse_to(text: String) -> Result<LogPoint, ApiError> {
    LogPoint::parse(&text).ok_or_else(|| {
        let allowed = "an offset or a time such as 2026-01-31T08:00:00Z";
        ApiError::field("to", format_args!("{text:?} is not {allowed}"))
    })
}

/// The filters of `topic` or `topics`, or `None` where that is `null`.
fn parse_topics(name: &str, json: Value) -> Result<Option<Vec<TopicFilter>>, ApiError> {
    let (field, texts) = match (name, json) {
        (_, Value::Null) => return Ok(None),
        ("topic", json) => ("topic", vec![value::text(name, json)?]),
        (_, json) => ("topics", value::texts(name, json)?),
    };
    let filters = parse_filters(field, &texts);
    filters.map(Some).map_err(|error| ApiError::field(error.field, error.problem))
}

/// Whether the end lies before the start, as far as that can be said without looking at the log.
fn is_before(to: Option<LogPoint>, from: StartPosition) -> bool {
    match (to, from) {
        (Some(LogPoint::Offset(to)), StartPosition::Offset(from))
        | (Some(LogPoint::Time(to)), StartPosition::Time(from)) => to < from,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<ReplayRequest, ApiError> {
        parse(Fields::from_json(body))
    }

    fn filters(texts: &[&str]) -> Vec<TopicFilter> {
        texts.iter().map(|text| TopicFilter::new(*text).unwrap()).collect()
    }

    #[test]
    fn a_start_is_enough() {
        for (from, wanted) in [
            (json!("earliest"), StartPosition::Earliest),
            (json!(17), StartPosition::Offset(17)),
            (json!("17"), StartPosition::Offset(17)),
            (json!("2026-01-31T08:00:00Z"), StartPosition::Time(1_769_846_400_000_000)),
        ] {
            let wanted =
                ReplayRequest { from: wanted, to: None, topics: Vec::new(), max_rate_messages: None };
            assert_eq!(read(json!({"from": from})).unwrap(), wanted);
            let with_nulls =
                json!({"from": from, "to": null, "topic": null, "topics": null, "max_rate_messages": null});
            assert_eq!(read(with_nulls).unwrap(), wanted);
        }
    }

    #[test]
    fn every_field_arrives() {
        let request = read(json!({
            "from": 3, "to": "2026-01-31T08:00:00Z", "topics": ["a/#", "b/+"], "maxRateMessages": 100,
        }));
        let wanted = ReplayRequest {
            from: StartPosition::Offset(3),
            to: Some(LogPoint::Time(1_769_846_400_000_000)),
            topics: filters(&["a/#", "b/+"]),
            max_rate_messages: Some(100),
        };
        assert_eq!(request.unwrap(), wanted);
        let request = read(json!({"from": 3, "to": 3, "topic": "a"})).unwrap();
        assert_eq!((request.to, request.topics), (Some(LogPoint::Offset(3)), filters(&["a"])));
    }

    #[test]
    fn a_mistake_is_told_with_its_field() {
        for (body, problem) in [
            (json!({}), "from: must be given"),
            (json!({"from": null}), "from: must be given"),
            (
                json!({"from": "now"}),
                "from: \"now\" is not \"earliest\", an offset or a time such as 2026-01-31T08:00:00Z",
            ),
            (json!({"from": -1}), "from: \"-1\" is not "),
            (json!({"from": [1]}), "from: must be a text or a number, not a list"),
            (
                json!({"from": 1, "to": "earliest"}),
                "to: \"earliest\" is not an offset or a time such as 2026-01-31T08:00:00Z",
            ),
            (json!({"from": 2, "to": 1}), "to: must not lie before from"),
            (
                json!({"from": "2026-01-31T08:00:00Z", "to": "2026-01-31T08:00:00+01:00"}),
                "to: must not lie before from",
            ),
            (json!({"from": 1, "topic": "a/#/b"}), "topic: \"a/#/b\": "),
            (json!({"from": 1, "topic": ["a"]}), "topic: must be a text, not a list"),
            (json!({"from": 1, "topics": "a"}), "topics: must be a list of texts, not a text"),
            (json!({"from": 1, "topics": ["$share/g/a"]}), "topics: \"$share/g/a\": "),
            (
                json!({"from": 1, "topic": "a", "topics": ["b"]}),
                "topics: only one of topic and topics can be given",
            ),
            (
                json!({"from": 1, "max_rate_messages": 0}),
                "max_rate_messages: 0 is not within 1 to 4294967295",
            ),
            (
                json!({"from": 1, "max_rate_messages": "1"}),
                "max_rate_messages: must be a number or null, not a text",
            ),
            (
                json!({"from": 1, "speed": 1}),
                "speed: is not a field of a replay, which knows from, to, topic",
            ),
        ] {
            let error = read(body.clone()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("400: {problem}")), "{body}: {error}");
        }
    }
}
