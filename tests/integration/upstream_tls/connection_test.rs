//! `POST /api/brokers/test`: what it says of each step, what it leaves alone, and how much it takes on.

use std::net::{TcpListener, TcpStream};

use serde_json::{Value as Json, json};

use super::{Secured, merged, server, tls_lines};
use crate::support::certificates::Authority;
use crate::support::mosquitto::{Mosquitto, reserve_port};
use crate::support::proxy::Proxy;
use crate::support::rest::{Rest, local_broker};
use crate::support::{Version, wait_for, wait_until};

/// The answer to a test that could be made.
fn tested(rest: &Rest, body: &Json) -> Json {
    let reply = rest.post("/api/brokers/test", body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

/// Fails where the test did not fail in this way.
fn assert_failed(answer: &Json, step: &str, cause: &str, words: &str) {
    assert_eq!((&answer["ok"], &answer["failed_step"]), (&json!(false), &json!(step)), "{answer}");
    assert_eq!(answer["error_cause"], cause, "{answer}");
    assert!(answer["error"].as_str().is_some_and(|text| text.contains(words)), "{words:?}: {answer}");
}

#[test]
fn each_step_to_a_broker_is_told() {
    let (authority, certificate) = server();
    let lines = format!("protocol websockets\nsocket_domain ipv4\n{}", tls_lines(&certificate));
    let upstream = Secured::with(&lines);
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let fields = json!({"transport": "ws", "use_tls": true, "ca_cert_path": authority.path()});
    let mut broker = upstream.broker("trial", Version::V5, &fields);
    let answer = tested(&rest, &broker);
    assert_eq!((&answer["ok"], &answer["error"]), (&json!(true), &json!(null)), "{answer}");
    assert_eq!(answer["failed_step"], json!(null));
    let steps = &answer["steps"];
    assert_eq!(steps["dns"]["addresses"], json!(["127.0.0.1"]));
    assert_eq!(steps["tcp"]["address"], format!("127.0.0.1:{}", upstream.port));
    assert_eq!(steps["websocket"]["path"], "/mqtt");
    let tls = &steps["tls"];
    assert_eq!((&tls["verified"], &tls["version"]), (&json!(true), &json!("TLSv1.3")));
    assert_eq!(tls["peer_certificate"]["names"], json!(["localhost", "127.0.0.1"]));
    let fingerprint = tls["peer_certificate"]["fingerprint_sha256"].as_str().expect("a fingerprint");
    assert_eq!(fingerprint.split(':').count(), 32);
    let connack = &steps["connack"];
    assert_eq!((&connack["reason_code"], &connack["reason"]), (&json!(0), &json!("Success")));
    assert_eq!(connack["session_present"], json!(false));
    assert!(connack["properties"]["topic_alias_maximum"].is_u64(), "{connack}");
    for step in ["dns", "tcp", "tls", "websocket", "connack"] {
        assert!(steps[step]["ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{step}: {answer}");
    }

    // Without a name, by 3.1.1, and in camelCase.
    let object = broker.as_object_mut().expect("an object");
    object.remove("name");
    object.remove("ca_cert_path");
    object.insert("caCertPem".to_owned(), json!(authority.pem()));
    object.insert("version".to_owned(), json!("3.1.1"));
    let answer = tested(&rest, &broker);
    assert_eq!((&answer["ok"], &answer["steps"]["connack"]["properties"]), (&json!(true), &json!({})));

    let nameless = merged(&broker, &json!({"name": ""}));
    assert_eq!(tested(&rest, &nameless)["ok"], json!(true), "as a form sends it");

    let careless = merged(&broker, &json!({"insecure_skip_verify": true, "caCertPem": null}));
    let answer = tested(&rest, &careless);
    assert_eq!((&answer["ok"], &answer["steps"]["tls"]["verified"]), (&json!(true), &json!(false)));
    assert!(answer["warnings"][0].as_str().is_some_and(|text| text.contains("insecure_skip_verify")));
    assert_eq!(rest.brokers(), Vec::<Json>::new(), "nothing is stored");
}

#[test]
fn the_step_that_fails_is_named() {
    let (authority, certificate) = server();
    let secure = Secured::with_tls(&certificate, "");
    let guarded = Mosquitto::start_with_user("gateway", "right");
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let unknown = json!({"address": "no-such-host.invalid", "port": 1883});
    assert_failed(&tested(&rest, &unknown), "dns", "dns", "no-such-host.invalid");
    let closed = local_broker("closed", reserve_port(), Version::V5);
    let answer = tested(&rest, &closed);
    assert_failed(&answer, "tcp", "tcp", "refused");
    assert!(answer["steps"]["dns"].is_object() && answer["steps"].get("tcp").is_none(), "{answer}");

    let other = json!({"use_tls": true, "ca_cert_pem": Authority::new("Another").pem()});
    let answer = tested(&rest, &secure.broker("other", Version::V5, &other));
    assert_failed(&answer, "tls", "certificate", "certificate of 127.0.0.1");
    assert_eq!(answer["error_detail"], "unknown_ca");
    let seen = &answer["steps"]["tls"];
    assert_eq!(
        (&seen["peer_certificate"]["subject"], &seen["verified"]),
        (&json!("CN=localhost"), &json!(false))
    );

    let missing = json!({"use_tls": true, "ca_cert_path": "/nowhere/ca.pem"});
    let answer = tested(&rest, &secure.broker("missing", Version::V5, &missing));
    assert_failed(&answer, "configuration", "configuration", "ca_cert_path: file /nowhere/ca.pem");
    assert_eq!(answer["steps"], json!({}));

    let mut login = local_broker("login", guarded.port(), Version::V5);
    login["username"] = json!("gateway");
    login["password"] = json!("wrong");
    let answer = tested(&rest, &login);
    assert_failed(&answer, "connack", "refused", "not authorized");
    let connack = &answer["steps"]["connack"];
    assert_eq!((&connack["reason_code"], &connack["reason"]), (&json!(0x87), &json!("Not authorized")));
    login["password"] = json!("env:NO_SUCH_VARIABLE");
    assert_failed(&tested(&rest, &login), "configuration", "configuration", "NO_SUCH_VARIABLE");

    let web = secure.broker(
        "web",
        Version::V5,
        &json!({
            "use_tls": true, "ca_cert_pem": authority.pem(), "transport": "ws",
        }),
    );
    assert_failed(&tested(&rest, &web), "websocket", "websocket", "ws_path");
    assert!(!proxy.log().contains("wrong"), "no secret in the log");
}

#[test]
fn a_stored_broker_is_tested_with_changes_and_its_own_secrets() {
    let upstream = Mosquitto::start_with_user("gateway", "right");
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let mut login = local_broker("stored", upstream.port(), Version::V5);
    login["username"] = json!("gateway");
    login["password"] = json!("right");
    let id = rest.add(&login);
    rest.wait_connected(&id);
    let before = rest.broker(&id);

    assert_eq!(tested(&rest, &json!({"id": id}))["ok"], json!(true), "by the stored password");
    assert_eq!(tested(&rest, &json!({"id": id, "version": "3.1.1"}))["ok"], json!(true));
    let answer = tested(&rest, &json!({"id": id, "password": "wrong"}));
    assert_failed(&answer, "connack", "refused", "not authorized");
    let moved = json!({"id": id, "port": reserve_port()});
    assert_failed(&tested(&rest, &moved), "tcp", "tcp", "refused");
    let mut shown = before.clone();
    shown["keep_alive_secs"] = json!(7);
    assert_eq!(tested(&rest, &shown)["ok"], json!(true), "what was read can be changed and sent");

    let after = rest.broker(&id);
    for field in ["reconnects", "last_error", "state", "port", "version", "keep_alive_secs"] {
        assert_eq!(after[field], before[field], "{field} stays as it was");
    }
    assert_eq!(rest.brokers().len(), 1, "nothing is stored");
}

#[test]
fn what_cannot_be_tested_is_refused() {
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let nobody = "00000000-0000-4000-8000-000000000000";
    for (body, status, field) in [
        (json!({"port": 1883}), 400, json!("address")),
        (json!({"address": "127.0.0.1", "speed": 1}), 400, json!("speed")),
        (json!({"address": "127.0.0.1", "port": 0}), 400, json!("port")),
        (json!({"id": "x"}), 400, json!("id")),
        (json!({"id": 1}), 400, json!("id")),
        (json!({"id": nobody}), 404, json!(null)),
        (json!([]), 400, json!(null)),
    ] {
        let reply = rest.post("/api/brokers/test", &body);
        assert_eq!((reply.status, &reply.json()["field"]), (status, &field), "{body}: {}", reply.body);
        assert!(reply.json()["error"].is_string());
    }
    assert_eq!(rest.get("/api/brokers/test").status, 405);
}

#[test]
fn so_many_tests_run_at_once_and_no_more() {
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = silent.local_addr().expect("it is bound").port();
    let running: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(move || tested(&rest, &local_broker("silent", port, Version::V5))))
        .collect();
    let held: Vec<TcpStream> = (0..4).map(|_| silent.accept().expect("a test comes").0).collect();
    let reply = rest.post("/api/brokers/test", &local_broker("one more", port, Version::V5));
    assert_eq!(reply.status, 429, "{}", reply.body);
    assert!(reply.json()["error"].as_str().is_some_and(|text| text.contains("4 tests run already")));
    assert_eq!(rest.get("/api/status").status, 200, "everything else goes on");
    drop(held);
    for test in running {
        assert_failed(&test.join().expect("the test ends"), "connack", "lost", "after CONNECT");
    }
    let upstream = Mosquitto::start();
    let answer = wait_for("there is room again", || {
        let reply = rest.post("/api/brokers/test", &local_broker("later", upstream.port(), Version::V5));
        (reply.status == 200).then(|| reply.json())
    });
    assert_eq!(answer["ok"], json!(true));
    wait_until("the deadline is for others", || rest.status()["status"] == "ok");
}
