//! Every handler against a real ConfigStore and a Router and sessions that answer what they are told to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use actix::{Actor, Context, Handler, MessageResult, ResponseFuture};
use actix_web::App;
use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, StatusCode, header};
use actix_web::test::{self, TestRequest, call_service, init_service};
use actors::broker::{Retry, SharedBroker};
use actors::connection_tester::ConnectionTester;
use actors::health::Health;
use actors::messages::{
    ListBrokers, LogSnapshot, ReconnectError, ReplayError, UpstreamSnapshot, UpstreamState,
};
use actors::preview::{LocalOutcome, Outcome, Preview, PreviewAnswer};
use actors::upstream_broker::Circuit;
use actors::{BrokerChanges, BrokerId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

const PASSWORD: &str = "never-to-be-seen";

/// A directory that is gone with the test.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> TestDir {
        let path = std::env::temp_dir().join(format!("web-{}", Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("index.html"), "<title>dashboard</title>").unwrap();
        fs::write(path.join("app.js"), "export {};").unwrap();
        TestDir(path)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Answers with a snapshot, or never.
struct FakeRouter(Option<RouterSnapshot>);

impl Actor for FakeRouter {
    type Context = Context<Self>;
}

impl Handler<GetRouterSnapshot> for FakeRouter {
    type Result = ResponseFuture<RouterSnapshot>;

    fn handle(&mut self, _: GetRouterSnapshot, _: &mut Self::Context) -> Self::Result {
        match self.0.clone() {
            Some(snapshot) => Box::pin(async { snapshot }),
            None => Box::pin(std::future::pending()),
        }
    }
}

impl Handler<Replay> for FakeRouter {
    type Result = Result<(), ReplayError>;

    fn handle(&mut self, _: Replay, _: &mut Self::Context) -> Result<(), ReplayError> {
        self.0.as_ref().map(|_| ()).ok_or(ReplayError::NotRunning)
    }
}

impl Handler<StopReplay> for FakeRouter {
    type Result = Result<bool, ReplayError>;

    fn handle(&mut self, _: StopReplay, _: &mut Self::Context) -> Result<bool, ReplayError> {
        Ok(false)
    }
}

impl Handler<Reconnect> for FakeRouter {
    type Result = Result<(), ReconnectError>;

    fn handle(&mut self, _: Reconnect, _: &mut Self::Context) -> Result<(), ReconnectError> {
        self.0.as_ref().map(|_| ()).ok_or(ReconnectError::NotRunning)
    }
}

impl Handler<GetBrokerEvents> for FakeRouter {
    type Result = MessageResult<GetBrokerEvents>;

    fn handle(&mut self, _: GetBrokerEvents, _: &mut Self::Context) -> Self::Result {
        MessageResult(None)
    }
}

impl Handler<Preview> for FakeRouter {
    type Result = PreviewAnswer;

    /// Every broker that it is told of gets the message as it is.
    fn handle(&mut self, preview: Preview, _: &mut Self::Context) -> PreviewAnswer {
        let Preview { sample, draft, .. } = preview;
        let topic = Some(sample.topic_name.as_str().to_owned());
        let outcome = |draft: SharedBroker| Outcome {
            id: draft.id,
            name: draft.name.clone(),
            is_draft: true,
            obstacle: None,
            detail: "goes out".to_owned(),
            topic: topic.clone(),
            qos: sample.qos,
            retain: sample.retain,
        };
        let brokers = draft.map(outcome).into_iter().collect();
        let local =
            LocalOutcome { topic, obstacle: None, sessions: 0, share_groups: 0, is_retained: sample.retain };
        PreviewAnswer { arrival: None, local, brokers }
    }
}

impl Handler<RetryNow> for FakeRouter {
    type Result = bool;

    fn handle(&mut self, _: RetryNow, _: &mut Self::Context) -> bool {
        self.0.is_some()
    }
}

struct FakeSessions;

impl Actor for FakeSessions {
    type Context = Context<Self>;
}

impl Handler<GetSessionsSnapshot> for FakeSessions {
    type Result = SessionsSnapshot;

    fn handle(&mut self, _: GetSessionsSnapshot, _: &mut Self::Context) -> SessionsSnapshot {
        SessionsSnapshot { sessions: 7, connected: 5 }
    }
}

fn on_command_line() -> BrokerChanges {
    BrokerChanges::new().with("name", "fixed").with("address", "10.0.0.1")
}

fn snapshot_of(id: BrokerId) -> RouterSnapshot {
    let upstream = UpstreamSnapshot {
        downgraded: 6,
        retain_stripped: 7,
        dead_letters: 8,
        bytes_sent: 9_000,
        bytes_received: 100,
        id,
        name: "fixed".to_owned(),
        state: UpstreamState::Connected,
        state_age: Duration::from_secs(61),
        disconnected: None,
        health: Health::Ok,
        health_reasons: Vec::new(),
        circuit: Circuit::new(Retry::default()).snapshot(Instant::now()),
        canary: None,
        last_error: None,
        last_error_cause: None,
        last_error_detail: None,
        tls: None,
        forwarded: 900,
        dropped: BTreeMap::from([("overflow", 3)]),
        left_out: BTreeMap::new(),
        lag: 12,
        lag_bytes: 3_400,
        oldest_unsent: Some(Duration::from_secs(5)),
        last_acknowledged: None,
        in_flight: 4,
        reconnects: 2,
        replay: None,
        subscription_failures: Vec::new(),
        draining: None,
        discarded: 0,
    };
    RouterSnapshot {
        groups: Vec::new(),
        are_brokers_known: true,
        upstreams: vec![upstream],
        received: 1_000,
        delivered: 50,
        retained_bytes: 0,
        retained: 6,
        subscriptions: 8,
        shared_subscriptions: 2,
        log: LogSnapshot {
            head_bytes: 4_096,
            file_bytes: 70_000,
            segments: 2,
            first_offset: 10,
            next_offset: 1_000,
            stored: 990,
            synced: 900,
            failure: None,
            is_full: false,
        },
    }
}

/// The state over a store with the one broker `fixed` of the command line, which is connected.
fn state_in(dir: &Path) -> WebState {
    let store = ConfigStore::open(&dir.join("data"), None, vec![on_command_line()]).unwrap();
    let router = FakeRouter(Some(snapshot_of(store.brokers()[0].id))).start();
    WebState {
        config_store: store.start(),
        connection_tester: ConnectionTester::new(1 << 20).start().recipient(),
        router: router.clone().recipient(),
        replay: router.clone().recipient(),
        stop_replay: router.clone().recipient(),
        reconnect: router.clone().recipient(),
        broker_events: router.clone().recipient(),
        preview: router.clone().recipient(),
        retry: router.recipient(),
        sessions: FakeSessions.start().recipient(),
        log: actors::message_log::MessageLog::new(1 << 20),
        metrics: Arc::new(Metrics::new().unwrap()),
        readiness: Arc::default(),
        started: Instant::now(),
        static_dir: dir.to_owned(),
    }
}

macro_rules! app {
    ($state:expr) => {
        init_service(App::new().configure(|routes| configure(routes, &$state))).await
    };
}

/// Sends one request; see [`checked`].
macro_rules! send {
    (&$app:ident, $request:expr) => {
        checked(call_service(&$app, $request.to_request()))
    };
}

/// Status, headers and JSON of an answer (`null` where it has none), after the checks that hold for every answer.
async fn checked<B: MessageBody>(
    response: impl Future<Output = ServiceResponse<B>>,
) -> (StatusCode, header::HeaderMap, Value) {
    let response = response.await;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = test::read_body(response).await;
    let text = String::from_utf8_lossy(&body);
    assert!(!text.contains(PASSWORD), "a password came out: {text}");
    let is_error = status.is_client_error() || status.is_server_error();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    assert!(!is_error || body["error"].is_string() || body["ready"] == false, "{status}: {text}");
    assert_eq!(headers.get("x-content-type-options").unwrap(), "nosniff");
    assert!(
        headers.get("content-security-policy").unwrap().to_str().unwrap().starts_with("default-src 'self'")
    );
    assert!(!headers.contains_key("access-control-allow-origin"));
    (status, headers, body)
}

fn post(path: &str, body: Value) -> TestRequest {
    TestRequest::post().uri(path).set_json(body)
}

fn put(path: &str, body: Value) -> TestRequest {
    TestRequest::put().uri(path).set_json(body)
}

fn path_of(broker: &Value) -> String {
    format!("/api/brokers/{}", broker["id"].as_str().unwrap())
}

#[actix::test]
async fn a_broker_is_added_shown_changed_toggled_and_removed() {
    let dir = TestDir::new();
    let state = state_in(&dir.0).share();
    let app = app!(state);
    let new = json!({"name": "a", "address": "localhost", "username": "u", "password": PASSWORD});
    let (status, headers, added) = send!(&app, post("/api/brokers", new)).await;
    assert_eq!(status, StatusCode::CREATED);
    let path = path_of(&added);
    assert_eq!(headers.get(header::LOCATION).unwrap(), path.as_str());
    assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), "no-store");
    let mut expected = json!({
        "id": added["id"], "read_only": false, "revision": 1,
        "client_id": format!("mqtt-proxy-{}", added["id"].as_str().unwrap()),
        "state": "connecting", "connection": "connecting", "drain": null, "connected": false, "state_age_secs": 0,
        "last_error": null, "forwarded": 0, "last_error_cause": null, "last_error_detail": null, "tls": null, "warnings": [],
        "dropped": {}, "left_out": {}, "lag": 0, "lag_bytes": 0, "oldest_unsent_secs": null, "last_acknowledged_secs": null, "replay": null, "subscription_failures": [], "in_flight": 0, "downgraded": 0, "retain_stripped": 0, "dead_letters": 0, "bytes_sent": 0, "bytes_received": 0, "reconnects": 0,
    });
    let definition = json!({
        "name": "a", "address": "localhost", "port": 1883, "version": "3.1.1", "transport": "tcp",
        "ws_path": "/mqtt", "profile": null, "client_id_prefix": "mqtt-proxy", "fixed_client_id": null,
        "username": "u", "has_password": true, "enabled": true, "paused": false, "keep_alive_secs": 30,
        "clean_session": false, "use_tls": false, "insecure_skip_verify": false, "ca_cert_path": null,
        "ca_cert_pem": null, "client_cert_path": null, "client_cert_pem": null, "client_key_path": null,
        "has_client_key": false, "has_client_key_password": false, "tls_server_name": null, "tls_alpn": [],
        "tls_min_version": "1.2", "tls_psk_identity": null, "has_tls_psk": false, "topics": [],
        "exclude_topics": [], "topic_prefix_strip": null, "topic_prefix_add": null, "rewrite": [],
        "max_qos": null, "retain": "keep", "user_properties": {}, "max_payload_bytes": null,
    });
    let rest = json!({
        "start_at": "now", "queue_bytes_max": null, "on_full": "drop_oldest", "max_rate_messages": null,
        "max_rate_bytes": null, "live_first": false, "bidirectional": false, "subscription_topics": [],
        "subscription_exclude_topics": [], "subscription_qos": null, "subscription_prefix_strip": null,
        "subscription_prefix_add": null, "subscription_rewrite": null, "subscription_retain": "keep",
        "subscription_user_properties": {}, "subscription_max_payload_bytes": null, "loop_guard": "auto",
        "stamp_origin": null, "retry_floor_ms": 100, "retry_ceiling_ms": 30_000, "retry_denied_ms": 60_000,
        "stable_secs": 5, "group": null, "group_priority": 0, "canary_interval_secs": 0,
        "canary_topic": null, "degraded_unsent_secs": null, "degraded_lag": null,
        "health": "disconnected", "health_reasons": [], "canary": null,
        "circuit": {"state": "closed", "retry_in_ms": null, "failures": 0, "cause": null, "reason_code": null},
    });
    for part in [definition, rest] {
        expected.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
    }
    assert_eq!(added, expected);

    let (status, _, shown) = send!(&app, TestRequest::get().uri(&path)).await;
    assert_eq!((status, &shown), (StatusCode::OK, &added));
    let (_, _, list) = send!(&app, TestRequest::get().uri("/api/brokers")).await;
    let names: Vec<_> = list["brokers"].as_array().unwrap().iter().map(|broker| &broker["name"]).collect();
    assert_eq!(names, ["fixed", "a"]);

    let (status, _, changed) = send!(&app, put(&path, json!({"port": 1884, "max_qos": 1}))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&changed["port"], &changed["max_qos"], &changed["name"]),
        (&1884.into(), &1.into(), &"a".into())
    );
    assert_eq!(changed["has_password"], true, "a password that is not given stays");

    let toggle = format!("{path}/toggle");
    let (status, _, off) = send!(&app, TestRequest::post().uri(&toggle)).await;
    assert_eq!((status, &off["enabled"], &off["state"]), (StatusCode::OK, &false.into(), &"disabled".into()));
    for wanted in [true, true, false] {
        let (status, _, now) = send!(&app, post(&toggle, json!({"enabled": wanted}))).await;
        assert_eq!((status, &now["enabled"]), (StatusCode::OK, &wanted.into()));
    }

    let (status, _, nothing) = send!(&app, TestRequest::delete().uri(&path)).await;
    assert_eq!((status, nothing), (StatusCode::NO_CONTENT, Value::Null));
    for method in [Method::GET, Method::DELETE] {
        let request = TestRequest::default().method(method).uri(&path);
        assert_eq!(send!(&app, request).await.0, StatusCode::NOT_FOUND);
    }
}

fn backlog_of(broker: &Value) -> Value {
    let fields =
        ["start_at", "queue_bytes_max", "on_full", "max_rate_messages", "max_rate_bytes", "live_first"];
    fields.map(|field| broker[field].clone()).to_vec().into()
}

#[actix::test]
async fn what_was_read_can_be_changed_and_sent_back() {
    let dir = TestDir::new();
    let state = state_in(&dir.0).share();
    let app = app!(state);
    let new = json!({
        "name": "a", "address": "h", "port": 8883, "clientIdPrefix": "p", "username": "u", "password": PASSWORD,
        "useTls": true, "insecureSkipVerify": true, "caCertPath": "/ca.pem", "protocolVersion": 5,
        "keepAliveSecs": 9, "cleanSession": true, "topics": ["x/#"], "maxQos": 2, "bidirectional": true,
        "subscriptionTopics": ["y/+"], "subscriptionQos": 0, "enabled": false, "startAt": 17,
        "queueBytesMax": 18446744073709551615_u64, "onFull": "reject", "maxRateMessages": 5, "maxRateBytes": 6,
        "liveFirst": true,
    });
    let (status, _, added) = send!(&app, post("/api/brokers", new)).await;
    assert_eq!(status, StatusCode::CREATED, "{added}");
    let set =
        json!([added["version"], added["use_tls"], added["ca_cert_path"], added["subscription_topics"]]);
    assert_eq!(set, json!(["5", true, "/ca.pem", ["y/+"]]));
    assert_eq!(backlog_of(&added), json!(["17", u64::MAX, "reject", 5, 6, true]));
    let path = path_of(&added);
    let (status, _, back) = send!(&app, put(&path, added.clone())).await;
    assert_eq!((status, &back), (StatusCode::OK, &added));

    let cleared = json!({"username": null, "password": "", "ca_cert_path": null, "max_qos": null,
        "start_at": null, "queue_bytes_max": null, "on_full": null, "max_rate_messages": null,
        "max_rate_bytes": null, "live_first": null});
    let (status, _, back) = send!(&app, put(&path, cleared)).await;
    assert_eq!(status, StatusCode::OK);
    let left = json!([back["username"], back["has_password"], back["ca_cert_path"], back["max_qos"]]);
    assert_eq!(left, json!([null, false, null, null]));
    assert_eq!(backlog_of(&back), json!(["now", null, "drop_oldest", null, null, false]));
    let (_, _, plain) = send!(&app, post("/api/brokers", json!({"name": "b", "address": "h"}))).await;
    assert_eq!(send!(&app, put(&path_of(&plain), plain.clone())).await.2, plain);
}

#[actix::test]
async fn a_bad_body_is_refused_with_the_field() {
    let dir = TestDir::new();
    let state = state_in(&dir.0).share();
    let app = app!(state);
    let with = |field: &str, value: Value| {
        let mut body = json!({"name": "a", "address": "h"});
        body[field] = value;
        body
    };
    let mut cases = vec![(json!({"address": "h"}), "name"), (json!({"name": "a"}), "address")];
    for (field, value) in [
        ("port", json!(0)),
        ("port", json!(65536)),
        ("port", json!(-1)),
        ("port", json!(1.5)),
        ("port", json!(1e30)),
        ("port", json!("1883")),
        ("name", json!("")),
        ("name", json!(5)),
        ("address", json!("mqtt://h")),
        ("enabled", json!("yes")),
        ("version", json!("4.2")),
        ("version", json!([])),
        ("topics", json!("a/#")),
        ("topics", json!(["a/#/b"])),
        ("topics", json!([1])),
        ("max_qos", json!(3)),
        ("start_at", json!("yesterday")),
        ("start_at", json!(-1)),
        ("start_at", json!(1.5)),
        ("start_at", json!(true)),
        ("start_at", json!("2026-02-30T00:00:00Z")),
        ("queue_bytes_max", json!(65_535)),
        ("queue_bytes_max", json!(-1)),
        ("queue_bytes_max", json!("1 MiB")),
        ("on_full", json!("block")),
        ("on_full", json!(1)),
        ("max_rate_messages", json!(0)),
        ("max_rate_messages", json!(4_294_967_296_u64)),
        ("max_rate_bytes", json!(0)),
        ("max_rate_bytes", json!(0.5)),
        ("live_first", json!("true")),
        ("keep_alive_secs", json!(65536)),
        ("password", json!({"secret": PASSWORD})),
        ("password", json!(PASSWORD)),
        ("colour", json!("red")),
        ("ca_cert_path", json!("/x")),
    ] {
        let named = if value == json!(PASSWORD) { "username" } else { field };
        cases.push((with(field, value), named));
    }
    cases.push((json!({"name": "a", "address": "h", "useTls": true, "use_tls": true}), "use_tls"));
    for (body, field) in cases {
        let (status, _, answer) = send!(&app, post("/api/brokers", body.clone())).await;
        assert_eq!(
            (status, &answer["field"]),
            (StatusCode::BAD_REQUEST, &field.into()),
            "{body} -> {answer}"
        );
        assert!(answer["error"].as_str().unwrap().starts_with(field), "{answer}");
    }
    for text in ["", "{", "[]", "null", "{\"name\": \"a\",}", "nonsense"] {
        let request = TestRequest::post().uri("/api/brokers").insert_header(header::ContentType::json());
        let (status, _, answer) = send!(&app, request.set_payload(text)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
        assert!(answer["error"].as_str().unwrap().contains("line 1"), "{answer}");
    }
    assert_eq!(state.config_store.send(ListBrokers).await.unwrap().len(), 1, "nothing was added");
}

#[actix::test]
async fn conflicts_and_read_only_brokers_are_refused() {
    let dir = TestDir::new();
    let state = state_in(&dir.0).share();
    let app = app!(state);
    let (status, _, answer) =
        send!(&app, post("/api/brokers", json!({"name": "fixed", "address": "h"}))).await;
    assert_eq!((status, &answer["field"]), (StatusCode::CONFLICT, &"name".into()));
    let (_, _, list) = send!(&app, TestRequest::get().uri("/api/brokers")).await;
    assert_eq!(list["brokers"][0]["read_only"], true);
    let path = path_of(&list["brokers"][0]);
    let requests = [
        put(&path, json!({"port": 1})),
        TestRequest::delete().uri(&path),
        TestRequest::post().uri(&format!("{path}/toggle")),
    ];
    for request in requests {
        assert_eq!(send!(&app, request).await.0, StatusCode::FORBIDDEN);
    }
}

#[actix::test]
async fn paths_methods_sizes_and_types_are_checked() {
    let dir = TestDir::new();
    let state = state_in(&dir.0).share();
    let app = app!(state);
    let fixed = path_of(&send!(&app, TestRequest::get().uri("/api/brokers")).await.2["brokers"][0]);
    let absent = format!("/api/brokers/{}", Uuid::new_v4());
    let cases = [
        (TestRequest::post().uri(&format!("{fixed}/retry")), 202),
        (TestRequest::post().uri(&format!("{absent}/retry")), 404),
        (TestRequest::get().uri(&format!("{fixed}/retry")), 405),
        (TestRequest::get().uri("/api/nothing"), 404),
        (TestRequest::get().uri("/nothing.js"), 404),
        (TestRequest::get().uri("/..%2f..%2fetc/passwd"), 400),
        (TestRequest::get().uri("/.hidden"), 400),
        (TestRequest::post().uri("/nothing"), 404),
        (TestRequest::get().uri("/api/brokers/not-an-id"), 400),
        (TestRequest::get().uri("/api/brokers/%ff"), 400),
        (TestRequest::get().uri(&absent), 404),
        (put(&absent, json!({})), 404),
        (TestRequest::post().uri(&format!("{absent}/toggle")), 404),
        (TestRequest::post().uri("/api/brokers").set_payload("{}"), 415),
        (TestRequest::post().uri("/api/brokers"), 415),
        (TestRequest::post().uri("/api/brokers").set_form([("name", "a")]), 415),
        (post("/api/brokers", json!({"name": "x".repeat(body::BODY_BYTES_MAX)})), 413),
    ];
    for (number, (request, expected)) in cases.into_iter().enumerate() {
        let (status, _, answer) = send!(&app, request).await;
        assert_eq!(status.as_u16(), expected, "case {number}: {answer}");
    }
    for (method, path, allow) in [
        (Method::PATCH, "/api/brokers", "GET, HEAD, POST"),
        (Method::POST, absent.as_str(), "GET, HEAD, PUT, DELETE"),
        (Method::GET, &format!("{absent}/toggle"), "POST"),
        (Method::DELETE, "/api/status", "GET, HEAD"),
        (Method::OPTIONS, "/metrics", "GET, HEAD"),
    ] {
        let (status, headers, _) = send!(&app, TestRequest::default().method(method).uri(path)).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(headers.get(header::ALLOW).unwrap(), allow);
    }
    let head = TestRequest::default().method(Method::HEAD).uri("/api/brokers");
    assert_eq!(send!(&app, head).await.0, StatusCode::OK);
    let charset = TestRequest::post().uri("/api/brokers").set_payload(r#"{"name": "a", "address": "h"}"#);
    let charset = charset.insert_header((header::CONTENT_TYPE, "application/json; charset=utf-8"));
    assert_eq!(send!(&app, charset).await.0, StatusCode::CREATED);
}

#[actix::test]
async fn a_page_of_another_site_changes_nothing() {
    let dir = TestDir::new();
    let state = state_in(&dir.0).share();
    let app = app!(state);
    let add = |origin: &'static str| {
        post("/api/brokers", json!({"name": "a", "address": "h"}))
            .insert_header((header::HOST, "proxy.local:3000"))
            .insert_header((header::ORIGIN, origin))
    };
    for origin in ["http://evil.example", "null", "http://proxy.local", "http://proxy.local:3001", "file://"]
    {
        assert_eq!(send!(&app, add(origin)).await.0, StatusCode::FORBIDDEN, "{origin}");
    }
    assert_eq!(send!(&app, add("http://Proxy.local:3000")).await.0, StatusCode::CREATED);
    let read = TestRequest::get().uri("/api/brokers").insert_header((header::ORIGIN, "http://evil.example"));
    assert_eq!(send!(&app, read).await.0, StatusCode::OK);
}

#[actix::test]
async fn the_status_says_what_the_actors_say() {
    let dir = TestDir::new();
    let state = state_in(&dir.0).share();
    let app = app!(state);
    state.readiness.set_store_open(true);
    state.readiness.set_listeners_bound(true);
    let (status, _, answer) = send!(&app, TestRequest::get().uri("/api/status")).await;
    assert_eq!(status, StatusCode::OK);
    let mut broker = json!({
        "id": answer["brokers"][0]["id"], "name": "fixed", "address": "10.0.0.1", "port": 1883,
        "enabled": true, "state": "connected", "connected": true, "state_age_secs": 61, "last_error": null,
        "last_error_cause": null, "warnings": [],
        "health": "ok", "health_reasons": [], "canary": null,
        "circuit": {"state": "closed", "retry_in_ms": null, "failures": 0, "cause": null, "reason_code": null},
    });
    let counters = json!({
        "forwarded": 900, "dropped": {"overflow": 3}, "left_out": {}, "lag": 12, "lag_bytes": 3400, "oldest_unsent_secs": 5, "last_acknowledged_secs": null, "replay": null, "subscription_failures": [], "in_flight": 4, "downgraded": 6, "retain_stripped": 7, "dead_letters": 8, "bytes_sent": 9_000, "bytes_received": 100, "reconnects": 2,
    });
    broker.as_object_mut().unwrap().extend(counters.as_object().unwrap().clone());
    let mut expected = json!({
        "status": "ok", "version": env!("CARGO_PKG_VERSION"), "uptime_secs": 0, "received": 1000, "delivered": 50,
        "forwarded": 900, "dropped": 3, "sessions": 7, "connected_clients": 5, "subscriptions": 8, "retained": 6, "warnings": [],
        "log": {"head_bytes": 4096, "file_bytes": 70000, "segments": 2, "first_offset": 10, "next_offset": 1000,
            "stored_offset": 990, "synced_offset": 900, "failing": null, "full": false},
        "brokers": [broker],
    });
    expected["brokers"][0]["connection"] = "connected".into();
    expected["brokers"][0]["drain"] = Value::Null;
    assert_eq!(answer, expected);
}

#[actix::test]
async fn ready_names_what_is_not_ready() {
    let dir = TestDir::new();
    let state = state_in(&dir.0).share();
    let app = app!(state);
    let ready = || TestRequest::get().uri("/ready");
    let (status, _, answer) = send!(&app, ready()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer, json!({"ready": false, "not_ready": ["store", "listeners"]}));
    state.readiness.set_store_open(true);
    assert_eq!(send!(&app, ready()).await.2, json!({"ready": false, "not_ready": ["listeners"]}));
    state.readiness.set_listeners_bound(true);
    let (status, _, answer) = send!(&app, ready()).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"ready": true, "not_ready": []})));
    let (status, _, answer) = send!(&app, TestRequest::get().uri("/health")).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"status": "ok"})));
}

#[actix::test]
async fn metrics_have_fresh_gauges_and_none_of_removed_brokers() {
    let dir = TestDir::new();
    let state = state_in(&dir.0).share();
    let app = app!(state);
    state.metrics.messages_received.inc_by(3);
    state.metrics.broker_lag.with_label_values(&["gone"]).set(99);
    let response = call_service(&app, TestRequest::get().uri("/metrics").to_request()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let content_type = response.headers().get(header::CONTENT_TYPE).unwrap();
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
    for line in [
        "mqtt_messages_received_total 3",
        "mqtt_sessions 7",
        "mqtt_subscriptions 8",
        "mqtt_shared_subscriptions 2",
        "mqtt_retained_messages 6",
        "mqtt_log_head_bytes 4096",
        "mqtt_broker_connection_status{broker=\"fixed\"} 1",
        "mqtt_broker_lag_messages{broker=\"fixed\"} 12",
        "mqtt_broker_in_flight_messages{broker=\"fixed\"} 4",
        "mqtt_broker_circuit_state{broker=\"fixed\"} 0",
        "mqtt_broker_degraded{broker=\"fixed\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    for name in ["process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds "] {
        assert!(text.lines().any(|found| found.starts_with(name)), "{name} is not in {text}");
    }
    assert!(!text.contains("gone"), "{text}");
}

#[actix::test]
async fn an_actor_that_does_not_answer_is_a_503_and_the_counters_still_come() {
    let dir = TestDir::new();
    let state = state_in(&dir.0);
    let state = WebState { router: FakeRouter(None).start().recipient(), ..state }.share();
    let app = app!(state);
    let (brokers, status, metrics) = tokio::join!(
        send!(&app, TestRequest::get().uri("/api/brokers")),
        send!(&app, TestRequest::get().uri("/api/status")),
        send!(&app, TestRequest::get().uri("/metrics")),
    );
    assert_eq!((brokers.0, status.0), (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(metrics.0, StatusCode::OK);
}

#[actix::test]
async fn a_preview_asks_the_router_and_checks_a_draft_like_a_definition() {
    let dir = TestDir::new();
    let state = state_in(&dir.0).share();
    let app = app!(state);
    let draft = json!({"name": "new", "address": "localhost", "max_qos": 1});
    let body = json!({"topic": "a/b", "payloadBytes": 3, "qos": 1, "retain": true, "broker": draft});
    let request = TestRequest::post().uri("/api/brokers/preview").set_json(body);
    let (status, _, answer) = send!(&app, request).await;
    assert_eq!(status, StatusCode::OK);
    let wanted = json!({
        "topic": "a/b",
        "from": null,
        "local": {"topic": "a/b", "reason": null, "subscribers": 0, "share_groups": 0, "retained": true},
        "brokers": [{
            "id": null, "name": "new", "draft": true, "forwarded": true, "reason": null, "detail": "goes out",
            "topic": "a/b", "qos": 1, "retain": true,
        }],
    });
    assert_eq!(answer, wanted);
    let body = json!({"topic": "a", "broker": {"rewrite": [{"from": "a", "to": "{1}"}]}});
    let request = TestRequest::post().uri("/api/brokers/preview").set_json(body);
    let (status, _, answer) = send!(&app, request).await;
    assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!("broker.rewrite")));
}

#[actix::test]
async fn the_dashboard_is_served_or_said_to_be_missing() {
    let dir = TestDir::new();
    let state = state_in(&dir.0).share();
    let app = app!(state);
    for (path, content_type) in
        [("/", "text/html"), ("/index.html", "text/html"), ("/app.js", "text/javascript")]
    {
        let (status, headers, _) = send!(&app, TestRequest::get().uri(path)).await;
        assert_eq!(status, StatusCode::OK);
        let found = headers.get(header::CONTENT_TYPE).unwrap().to_str().unwrap();
        assert!(found.starts_with(content_type), "{path}: {found}");
    }
    let elsewhere = TestDir::new();
    let state = WebState { static_dir: elsewhere.0.join("missing"), ..state_in(&elsewhere.0) }.share();
    let app = app!(state);
    assert_eq!(send!(&app, TestRequest::get().uri("/")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(send!(&app, TestRequest::get().uri("/health")).await.0, StatusCode::OK);
}
