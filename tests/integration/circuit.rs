//! When the proxy tries a broker again: at once where the failure may pass, late where it will not, and now where somebody
//! asks for it.

use serde_json::{Value, json};

use crate::support::mosquitto::{Mosquitto, reserve_port};
use crate::support::proxy::Proxy;
use crate::support::rest::{Rest, local_broker};
use crate::support::scripted::Scripted;
use crate::support::{Version, wait_for, wait_until};

/// A broker on this port, with more fields.
fn broker(port: u16, version: Version, more: Value) -> Value {
    let mut broker = local_broker("b", port, version);
    broker.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    broker
}

/// The circuit once it is in this state.
fn wait_circuit(rest: &Rest, id: &str, state: &str) -> Value {
    wait_for(&format!("the circuit is {state}"), || {
        let circuit = rest.broker(id)["circuit"].clone();
        (circuit["state"] == state).then_some(circuit)
    })
}

in_both_versions! {
    fn a_broker_that_does_not_let_us_in_is_left_alone(version: Version) {
        let (upstream, proxy) = (Scripted::listen(), Proxy::start());
        let rest = proxy.rest();
        let id = rest.add(&broker(upstream.port(), version, json!({})));
        // "Not authorized" in the words of each version.
        let code = if version.is_v5() { 0x87 } else { 5 };
        upstream.accept().answer_connect(false, code, &Vec::new());
        let circuit = wait_circuit(&rest, &id, "open");
        assert_eq!((&circuit["cause"], &circuit["reason_code"]), (&"refused".into(), &0x87.into()));
        assert_eq!(circuit["failures"], 1);
        let wait = circuit["retry_in_ms"].as_u64().expect("a number");
        assert!((30_000..=75_000).contains(&wait), "{circuit}");
        assert_eq!(rest.metric("mqtt_broker_circuit_state", &["broker=\"b\""]), 2.0);
        wait_until("the log says so", || {
            let log = proxy.log();
            log.contains("broker b: connection refused: not authorized") && log.contains("ask for a retry")
        });

        // Somebody has changed something at the broker, and asks.
        let reply = rest.send("POST", &format!("/api/brokers/{id}/retry"), None);
        assert_eq!(reply.status, 202, "{}", reply.body);
        assert_eq!(reply.json()["circuit"]["failures"], 0);
        let _link = upstream.welcome(false);
        rest.wait_connected(&id);
        let closed = json!(
            {"state": "closed", "retry_in_ms": null, "failures": 0, "cause": null, "reason_code": null}
        );
        assert_eq!(rest.broker(&id)["circuit"], closed);
        assert_eq!(rest.metric("mqtt_broker_circuit_state", &["broker=\"b\""]), 0.0);
    }

    fn a_changed_definition_is_tried_at_once(version: Version) {
        let mosquitto = Mosquitto::start_with_user("user", "right");
        let proxy = Proxy::start();
        let rest = proxy.rest();
        let wrong = json!({"username": "user", "password": "wrong"});
        let id = rest.add(&broker(mosquitto.port(), version, wrong));
        let circuit = wait_circuit(&rest, &id, "open");
        assert!(circuit["retry_in_ms"].as_u64() > Some(30_000), "{circuit}");
        let reply = rest.put(&format!("/api/brokers/{id}"), &json!({"password": "right"}));
        assert_eq!(reply.status, 200, "{}", reply.body);
        rest.wait_connected(&id);
        assert_eq!(wait_circuit(&rest, &id, "closed")["failures"], 0);
    }
}

#[test]
fn a_broker_that_is_not_there_yet_is_found_soon() {
    let port = reserve_port();
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let more = json!({"retry_floor_ms": 20, "retry_ceiling_ms": 50});
    let id = rest.add(&broker(port, Version::V4, more));
    wait_until("it failed a few times", || rest.broker(&id)["circuit"]["failures"].as_u64() >= Some(4));
    assert_eq!(rest.broker(&id)["circuit"]["cause"], "tcp");
    let upstream = Scripted::listen_on(port);
    let _link = upstream.welcome(false);
    rest.wait_connected(&id);
    assert!(proxy.log().matches("Connection refused").count() == 1, "one line for all: {}", proxy.log());
}

#[test]
fn only_a_connection_that_lasts_makes_failures_forgotten() {
    let (upstream, proxy) = (Scripted::listen(), Proxy::start());
    let rest = proxy.rest();
    let more = json!({"retry_floor_ms": 10, "retry_ceiling_ms": 20, "stable_secs": 1});
    let id = rest.add(&broker(upstream.port(), Version::V4, more));
    for failures in 1..=3 {
        upstream.welcome(false).cut();
        wait_until("the failure is counted", || rest.broker(&id)["circuit"]["failures"] == failures);
    }
    let _link = upstream.welcome(false);
    rest.wait_connected(&id);
    wait_until("the failures are forgotten", || rest.broker(&id)["circuit"]["failures"] == 0);
    let broker = rest.broker(&id);
    assert_eq!((&broker["circuit"]["state"], &broker["state"]), (&"closed".into(), &"connected".into()));
}

#[test]
fn an_attempt_after_a_failure_is_half_open() {
    let (upstream, proxy) = (Scripted::listen(), Proxy::start());
    let rest = proxy.rest();
    let more = json!({"retry_floor_ms": 10, "retry_ceiling_ms": 20});
    let id = rest.add(&broker(upstream.port(), Version::V4, more));
    upstream.accept().wire.cut();
    // The next attempt waits for an answer.
    let mut link = upstream.accept();
    let circuit = wait_circuit(&rest, &id, "half_open");
    assert_eq!((&circuit["failures"], &circuit["retry_in_ms"]), (&1.into(), &Value::Null));
    link.answer_connect(false, 0, &Vec::new());
    wait_circuit(&rest, &id, "closed");
}

#[test]
fn a_disabled_broker_is_not_tried() {
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let id = rest.add(&broker(reserve_port(), Version::V4, json!({"enabled": false})));
    let reply = rest.send("POST", &format!("/api/brokers/{id}/retry"), None);
    assert_eq!(reply.status, 409, "{}", reply.body);
    let nobody = "00000000-0000-4000-8000-000000000000";
    assert_eq!(rest.send("POST", &format!("/api/brokers/{nobody}/retry"), None).status, 404);
    assert_eq!(rest.broker(&id)["health"], "disabled");
}
