//! `POST /api/brokers/preview`: which broker would get a message, under which topic, and if not, why not.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Data, Json};
use actors::broker::{BrokerSource, SharedBroker};
use actors::messages::ListBrokers;
use actors::preview::{LocalOutcome, Outcome, Preview, PreviewAnswer, Sample};
use actors::{BrokerChanges, BrokerId};
use mqtt::{QoS, TopicName};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::body::{Body, Fields, value};
use super::dto;
use super::error::ApiError;
use super::{WebState, ask};

/// The longest payload of a PUBLISH.
const PAYLOAD_BYTES_MAX: u64 = 268_435_455;

/// What is asked for, before brokers are looked up.
#[derive(Debug)]
struct Request {
    sample: Sample,
    /// Identity or name of the broker that the message comes from.
    from: Option<String>,
    /// The identity in the definition that is not stored, and what else it says.
    draft: Option<(Option<String>, BrokerChanges)>,
}

/// Answers what would become of a message. Nothing is sent.
pub async fn preview(state: Data<WebState>, body: Body) -> Result<Json<PreviewJson>, ApiError> {
    let Request { sample, from, draft } = parse(body.fields()?)?;
    let topic = sample.topic_name.as_str().to_owned();
    let brokers = ask(state.config_store.send(ListBrokers)).await?;
    let (draft, is_new) = match draft {
        None => (None, false),
        Some((id, changes)) => {
            let is_new = id.is_none();
            (Some(drafted(id.as_deref(), changes, &brokers)?), is_new)
        }
    };
    let from = from.map(|from| source(&from, &brokers, draft.as_ref())).transpose()?;
    let new_id = draft.as_ref().filter(|_| is_new).map(|draft| draft.id);
    let answer = ask(state.preview.send(Preview { sample, from, draft })).await?;
    Ok(Json(PreviewJson::new(topic, answer, new_id)))
}

/// The definition that is not stored: changes to a stored one where it says whose, or else a new one.
fn drafted(
    id: Option<&str>,
    mut changes: BrokerChanges,
    brokers: &[SharedBroker],
) -> Result<SharedBroker, ApiError> {
    let Some(id) = id else {
        for (name, default) in [("name", "draft"), ("address", "localhost")] {
            if changes.get(name).is_none() {
                changes.set(name, default).map_err(in_broker)?;
            }
        }
        let draft = changes.create(BrokerId(Uuid::new_v4()), BrokerSource::Stored);
        return Ok(Arc::new(draft.map_err(in_broker)?));
    };
    let stored = brokers.iter().find(|broker| broker.id.to_string().eq_ignore_ascii_case(id));
    let stored =
        stored.ok_or_else(|| ApiError::field("broker.id", format_args!("no broker has the id {id}")))?;
    Ok(Arc::new(changes.apply(stored).map_err(in_broker)?))
}

fn in_broker(error: actors::FieldError) -> ApiError {
    ApiError::field(format!("broker.{}", error.field), error.problem)
}

/// The broker with this identity or name.
fn source(from: &str, brokers: &[SharedBroker], draft: Option<&SharedBroker>) -> Result<BrokerId, ApiError> {
    let is_meant =
        |broker: &&SharedBroker| broker.id.to_string().eq_ignore_ascii_case(from) || broker.name == from;
    let found = draft.into_iter().chain(brokers).find(is_meant);
    let unknown = || ApiError::field("from", format_args!("no broker has the id or the name {from:?}"));
    found.map(|broker| broker.id).ok_or_else(unknown)
}

/// Reads a body. `topic` must be given; `null` is the same as leaving one out.
fn parse(fields: Fields) -> Result<Request, ApiError> {
    let (mut topic_name, mut from, mut draft) = (None, None, None);
    let (mut payload_bytes, mut qos, mut retain) = (None, None, None);
    let (mut message_expiry_interval, mut waited_secs) = (None, None);
    let seconds = 0..=u64::from(u32::MAX);
    for (field, json) in fields.into_unique()? {
        let name = field.as_str();
        match name {
            "topic" => {
                let topic = TopicName::new(value::text(name, json)?);
                topic_name = Some(topic.map_err(|error| ApiError::field(name, error))?);
            }
            "from" => from = value::optional_text_or_number(name, json)?,
            "payload_bytes" => payload_bytes = value::optional_number(name, json, 0..=PAYLOAD_BYTES_MAX)?,
            "qos" => qos = value::optional_number(name, json, 0..=2)?,
            "retain" => retain = (!json.is_null()).then(|| value::boolean(name, json)).transpose()?,
            "message_expiry_interval" => {
                message_expiry_interval = value::optional_number(name, json, seconds.clone())?;
            }
            "waited_secs" => waited_secs = value::optional_number(name, json, seconds.clone())?,
            "broker" => draft = (!json.is_null()).then(|| parse_draft(json)).transpose()?,
            _ => {
                let known = "is not a field of a preview, which knows topic, payload_bytes, qos, retain, from, \
                             message_expiry_interval, waited_secs and broker";
                return Err(ApiError::field(name, known));
            }
        }
    }
    let topic_name = topic_name.ok_or_else(|| ApiError::field("topic", "must be given"))?;
    let sample = Sample {
        topic_name,
        payload_bytes: payload_bytes.unwrap_or(0) as usize,
        qos: qos.and_then(|qos| QoS::from_u8(qos as u8)).unwrap_or(QoS::AtMostOnce),
        retain: retain.unwrap_or(false),
        message_expiry_interval: message_expiry_interval.map(|secs| secs as u32),
        waited: Duration::from_secs(waited_secs.unwrap_or(0)),
    };
    Ok(Request { sample, from, draft })
}

fn parse_draft(json: Value) -> Result<(Option<String>, BrokerChanges), ApiError> {
    let id = json.get("id").filter(|id| !id.is_null()).cloned();
    let id = id.map(|id| value::text("broker.id", id)).transpose()?;
    let fields = Fields::of_value(json).ok_or_else(|| ApiError::field("broker", "must be an object"))?;
    let changes = dto::changes(fields).map_err(|error| error.within("broker"))?;
    Ok((id, changes))
}

/// The answer.
#[derive(Serialize)]
pub struct PreviewJson {
    topic: String,
    from: Option<ArrivalJson>,
    local: LocalJson,
    brokers: Vec<DepartureJson>,
}

#[derive(Serialize)]
struct ArrivalJson {
    accepted: bool,
    #[serde(flatten)]
    passage: PassageJson,
}

#[derive(Serialize)]
struct DepartureJson {
    forwarded: bool,
    #[serde(flatten)]
    passage: PassageJson,
}

/// What both directions have.
#[derive(Serialize)]
struct PassageJson {
    id: Option<Uuid>,
    name: String,
    draft: bool,
    reason: Option<&'static str>,
    detail: String,
    topic: Option<String>,
    qos: u8,
    retain: bool,
}

#[derive(Serialize)]
struct LocalJson {
    topic: Option<String>,
    reason: Option<&'static str>,
    subscribers: usize,
    share_groups: usize,
    retained: bool,
}

impl PreviewJson {
    /// A definition that is new has no identity yet.
    fn new(topic: String, answer: PreviewAnswer, new_id: Option<BrokerId>) -> PreviewJson {
        let PreviewAnswer { arrival, local, brokers } = answer;
        let passage = |outcome: Outcome| PassageJson {
            id: Some(outcome.id.0).filter(|id| new_id != Some(BrokerId(*id))),
            name: outcome.name,
            draft: outcome.is_draft,
            reason: outcome.obstacle.map(|obstacle| obstacle.as_str()),
            detail: outcome.detail,
            topic: outcome.topic,
            qos: outcome.qos.as_u8(),
            retain: outcome.retain,
        };
        let LocalOutcome { topic: topic_here, obstacle, sessions, share_groups, is_retained } = local;
        PreviewJson {
            topic,
            from: arrival.map(|outcome| ArrivalJson {
                accepted: outcome.obstacle.is_none(),
                passage: passage(outcome),
            }),
            local: LocalJson {
                topic: topic_here,
                reason: obstacle.map(|obstacle| obstacle.as_str()),
                subscribers: sessions,
                share_groups,
                retained: is_retained,
            },
            brokers: brokers
                .into_iter()
                .map(|outcome| DepartureJson {
                    forwarded: outcome.obstacle.is_none(),
                    passage: passage(outcome),
                })
                .collect(),
        }
    }
}
