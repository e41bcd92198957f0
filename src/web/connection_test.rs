//! `POST /api/brokers/test`: tries a broker out and says step by step what happened. Nothing is stored.

use std::time::Duration;

use actix_web::web::{Data, Json};
use actors::broker::BrokerSource;
use actors::messages::{ConfigError, ConnectionTest, GetBroker, TestConnection};
use actors::upstream_broker::{Failure, Steps, Timed, TlsDetails};
use actors::{Broker, BrokerId, limits};
use mqtt::packet::ConnAck;
use mqtt::{Property, ReasonCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::body::{Body, value};
use super::connection::{TlsJson, warnings};
use super::dto;
use super::error::ApiError;
use super::{WebState, ask, ask_within};

/// How long a test may take: its own deadline and the goodbye, and some for the way there.
const TEST_DEADLINE: Duration =
    limits::UPSTREAM_CONNECT_DEADLINE.saturating_add(limits::LINGER).saturating_add(Duration::from_secs(2));

/// The name of a broker that was given none: it stands in log lines only.
const NAMELESS: &str = "test";

/// `POST /api/brokers/test`: the body is a broker as `POST /api/brokers` takes it, where the name may be left out; or
/// the `id` of a stored one with the fields to change, whose secrets are used where none are given. The answer is 200
/// whether the broker could be reached or not, and 429 where too many tests run.
pub async fn test(state: Data<WebState>, body: Body) -> Result<Json<TestJson>, ApiError> {
    let (id, fields) = body.fields()?.without("id");
    let mut changes = dto::changes(fields)?;
    let broker = match id {
        None => {
            let is_named = match changes.get("name") {
                None | Some(Value::Null) => false,
                Some(name) => name.as_str() != Some(""),
            };
            if !is_named {
                changes = changes.with("name", NAMELESS);
            }
            changes.create(BrokerId(Uuid::new_v4()), BrokerSource::Stored)?
        }
        Some(id) => {
            let text = value::text("id", id)?;
            let id = Uuid::parse_str(&text).map_err(|error| ApiError::field("id", error))?;
            let stored = ask(state.config_store.send(GetBroker(BrokerId(id)))).await?;
            let stored = stored.ok_or(ConfigError::NotFound(BrokerId(id)))?;
            changes.apply(&stored)?
        }
    };
    let warned = broker.clone();
    let tested = ask_within(TEST_DEADLINE, state.connection_tester.send(TestConnection(Box::new(broker))));
    match tested.await? {
        Ok(test) => Ok(Json(TestJson::new(&warned, &test))),
        Err(_) => Err(ApiError::too_many(format!(
            "{} tests run already; try again when one is over",
            limits::CONNECTION_TESTS_MAX
        ))),
    }
}

/// What came of a test.
#[derive(Serialize)]
pub struct TestJson {
    ok: bool,
    steps: StepsJson,
    error: Option<String>,
    error_cause: Option<&'static str>,
    error_detail: Option<&'static str>,
    failed_step: Option<&'static str>,
    warnings: Vec<String>,
}

/// The steps that were reached.
#[derive(Serialize)]
struct StepsJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsStepJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    websocket: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connack: Option<Value>,
}

#[derive(Serialize)]
struct TlsStepJson {
    #[serde(flatten)]
    tls: TlsJson,
    ms: f64,
}

impl TestJson {
    fn new(broker: &Broker, test: &ConnectionTest) -> TestJson {
        let failure = test.failure.as_ref();
        let details: Option<&TlsDetails> = test.steps.tls.as_ref().map(|tls| &tls.value);
        TestJson {
            ok: failure.is_none(),
            steps: StepsJson::new(&test.steps),
            error: failure.map(|failure| failure.text.clone()),
            error_cause: failure.map(|failure| failure.cause.as_str()),
            error_detail: failure.and_then(|failure: &Failure| failure.detail),
            failed_step: failure.map(|_| test.steps.current.as_str()),
            warnings: warnings(broker, details),
        }
    }
}

impl StepsJson {
    fn new(steps: &Steps) -> StepsJson {
        StepsJson {
            dns: steps.dns.as_ref().map(|dns| {
                let addresses: Vec<String> = dns.value.iter().map(ToString::to_string).collect();
                json!({"addresses": addresses, "ms": ms(dns)})
            }),
            tcp: steps.tcp.as_ref().map(|tcp| json!({"address": tcp.value.to_string(), "ms": ms(tcp)})),
            tls: steps.tls.as_ref().map(|tls| TlsStepJson { tls: TlsJson::new(&tls.value), ms: ms(tls) }),
            websocket: steps.websocket.as_ref().map(|path| json!({"path": path.value, "ms": ms(path)})),
            connack: steps.connack.as_ref().map(|connack| answer(&connack.value, ms(connack))),
        }
    }
}

/// Milliseconds, to the microsecond.
fn ms<T>(step: &Timed<T>) -> f64 {
    step.took.as_micros() as f64 / 1_000.0
}

fn answer(connack: &ConnAck, ms: f64) -> Value {
    let properties: Map<String, Value> = connack.properties.iter().filter_map(property).collect();
    json!({
        "reason_code": connack.reason_code.as_u8(),
        "reason": reason(connack.reason_code),
        "session_present": connack.session_present,
        "properties": properties,
        "ms": ms,
    })
}

/// The words of the standard, with a capital letter in front.
fn reason(code: ReasonCode) -> String {
    let mut letters = code.text().chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// A property of CONNACK (MQTT 5.0 section 3.2.2.3) by its name; those of authentication are nobody's business.
fn property(property: Property) -> Option<(String, Value)> {
    let (name, value): (&str, Value) = match property {
        Property::SessionExpiryInterval(secs) => ("session_expiry_interval", secs.into()),
        Property::ReceiveMaximum(count) => ("receive_maximum", count.into()),
        Property::MaximumQoS(qos) => ("maximum_qos", qos.as_u8().into()),
        Property::RetainAvailable(is) => ("retain_available", is.into()),
        Property::MaximumPacketSize(bytes) => ("maximum_packet_size", bytes.into()),
        Property::AssignedClientIdentifier(id) => ("assigned_client_identifier", id.to_string().into()),
        Property::TopicAliasMaximum(count) => ("topic_alias_maximum", count.into()),
        Property::ReasonString(text) => ("reason_string", text.to_string().into()),
        Property::WildcardSubscriptionAvailable(is) => ("wildcard_subscription_available", is.into()),
        Property::SubscriptionIdentifiersAvailable(is) => ("subscription_identifiers_available", is.into()),
        Property::SharedSubscriptionAvailable(is) => ("shared_subscription_available", is.into()),
        Property::ServerKeepAlive(secs) => ("server_keep_alive", secs.into()),
        Property::ResponseInformation(text) => ("response_information", text.to_string().into()),
        Property::ServerReference(text) => ("server_reference", text.to_string().into()),
        _ => return None,
    };
    Some((name.to_owned(), value))
}
