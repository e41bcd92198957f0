//! The REST API, the metrics and the dashboard as an operator meets them: good input, bad input, and what must
//! never come out.

use serde_json::{Value, json};

use crate::support::Version;
use crate::support::device::Device;
use crate::support::mosquitto::{Mosquitto, reserve_port};
use crate::support::process::run;
use crate::support::proxy::{Proxy, Setup};
use crate::support::rest::{Rest, local_broker};
use crate::support::wait_until;

const NO_SUCH_ID: &str = "/api/brokers/5bd3b3b6-3a5c-4f0e-8f2a-2d1c5c0a9f11";

/// A broker that nobody listens for.
fn absent(name: &str) -> Value {
    local_broker(name, 1, Version::V4)
}

#[test]
fn a_new_broker_has_all_its_fields_and_good_defaults() {
    let proxy = Proxy::start();
    let reply = proxy.rest().post("/api/brokers", &json!({"name": "one", "address": "localhost"}));
    assert_eq!(reply.status, 201, "{}", reply.body);
    let broker = reply.json();
    let id = broker["id"].as_str().expect("an id").to_owned();
    let wanted = json!({
        "name": "one", "address": "localhost", "port": 1883, "username": null, "has_password": false,
        "enabled": true, "use_tls": false, "version": "3.1.1", "clean_session": false, "topics": [],
        "max_qos": null, "start_at": "now", "queue_bytes_max": null, "on_full": "drop_oldest",
        "max_rate_messages": null, "max_rate_bytes": null, "live_first": false,
        "bidirectional": false, "subscription_topics": [], "read_only": false,
        "forwarded": 0, "lag": 0, "in_flight": 0, "reconnects": 0,
    });
    for (field, value) in wanted.as_object().expect("fields") {
        assert_eq!(&broker[field], value, "{field} of {broker}");
    }
    let prefix = broker["client_id_prefix"].as_str().expect("a prefix");
    assert_eq!(broker["client_id"], format!("{prefix}-{id}"));
    assert!(broker["keep_alive_secs"].as_u64() > Some(0));
    for field in ["state", "connected", "last_error", "dropped"] {
        assert!(broker.get(field).is_some(), "{field} of {broker}");
    }
    let shown = proxy.rest().broker(&id);
    assert_eq!((&shown["id"], &shown["name"]), (&broker["id"], &broker["name"]));
    assert_eq!(proxy.rest().brokers().len(), 1);
}

#[test]
fn bad_fields_are_refused_by_name_and_change_nothing() {
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let id = rest.add(&absent("good"));
    let before = std::fs::read(proxy.data().join("brokers.json")).expect("the file is there");
    let table = [
        (json!({"address": "a"}), "name"),
        (json!({"name": "a"}), "address"),
        (json!({"name": "", "address": "a"}), "name"),
        (json!({"name": "x".repeat(1_000), "address": "a"}), "name"),
        (json!({"name": 5, "address": "a"}), "name"),
        (json!({"name": "a", "address": ""}), "address"),
        (json!({"name": "a", "address": "mqtt://host"}), "address"),
        (json!({"name": "a", "address": "a", "port": 0}), "port"),
        (json!({"name": "a", "address": "a", "port": 65_536}), "port"),
        (json!({"name": "a", "address": "a", "port": "1883x"}), "port"),
        (json!({"name": "a", "address": "a", "port": -1}), "port"),
        (json!({"name": "a", "address": "a", "version": "4.0"}), "version"),
        (json!({"name": "a", "address": "a", "max_qos": 3}), "max_qos"),
        (json!({"name": "a", "address": "a", "start_at": "latest"}), "start_at"),
        (json!({"name": "a", "address": "a", "start_at": "2026-01-31"}), "start_at"),
        (json!({"name": "a", "address": "a", "start_at": -1}), "start_at"),
        (json!({"name": "a", "address": "a", "queue_bytes_max": 65_535}), "queue_bytes_max"),
        (json!({"name": "a", "address": "a", "queue_bytes_max": "1 GiB"}), "queue_bytes_max"),
        (json!({"name": "a", "address": "a", "on_full": "wait"}), "on_full"),
        (json!({"name": "a", "address": "a", "max_rate_messages": 0}), "max_rate_messages"),
        (json!({"name": "a", "address": "a", "max_rate_messages": 4_294_967_296_u64}), "max_rate_messages"),
        (json!({"name": "a", "address": "a", "max_rate_bytes": 0}), "max_rate_bytes"),
        (json!({"name": "a", "address": "a", "live_first": "yes"}), "live_first"),
        (json!({"name": "a", "address": "a", "keep_alive_secs": 65_536}), "keep_alive_secs"),
        (json!({"name": "a", "address": "a", "topics": ["a/#/b"]}), "topics"),
        (json!({"name": "a", "address": "a", "topics": "a"}), "topics"),
        (json!({"name": "a", "address": "a", "enabled": "yes"}), "enabled"),
        (json!({"name": "a", "address": "a", "client_id_prefix": ""}), "client_id_prefix"),
        (
            json!({"name": "a", "address": "a", "bidirectional": true, "subscription_topics": [""]}),
            "subscription_topics",
        ),
        (json!({"name": "a", "address": "a", "colour": "red"}), "colour"),
    ];
    for (body, field) in table {
        let reply = rest.post("/api/brokers", &body);
        assert_eq!(reply.status, 400, "{body}: {}", reply.body);
        let error = reply.json();
        assert_eq!(error["field"], field, "{body}: {error}");
        assert!(error["error"].as_str().is_some_and(|text| !text.is_empty()), "{body}: {error}");
        if body.get("name").is_some() && body.get("address").is_some() {
            let reply = rest.put(&format!("/api/brokers/{id}"), &body);
            assert_eq!((reply.status, &reply.json()["field"]), (400, &json!(field)), "PUT {body}");
        }
    }
    assert_eq!(rest.brokers().len(), 1);
    assert_eq!(rest.broker(&id)["name"], "good");
    let after = std::fs::read(proxy.data().join("brokers.json")).expect("the file is there");
    assert_eq!(before, after, "a refused change was stored");
}

#[test]
fn bodies_that_are_no_json_object_are_refused() {
    let proxy = Proxy::start();
    let rest = proxy.rest();
    for body in
        ["", "{", "{\"name\": \"a\",}", "[]", "null", "\"name\"", "{\"name\": \"a\", \"name\": \"b\"}"]
    {
        let reply = rest.send("POST", "/api/brokers", Some(body));
        assert_eq!(reply.status, 400, "{body:?}: {}", reply.body);
        assert!(reply.json()["error"].is_string(), "{body:?}: {}", reply.body);
    }
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(3_000_000));
    assert!([400, 413].contains(&rest.send("POST", "/api/brokers", Some(&large)).status));
    assert!(rest.brokers().is_empty());
}

#[test]
fn unknown_ids_paths_and_methods_have_their_statuses() {
    let proxy = Proxy::start();
    let rest = proxy.rest();
    for reply in [
        rest.get(NO_SUCH_ID),
        rest.put(NO_SUCH_ID, &json!({"port": 2})),
        rest.delete(NO_SUCH_ID),
        rest.send("POST", &format!("{NO_SUCH_ID}/toggle"), None),
        rest.get("/api/nothing"),
    ] {
        assert_eq!(reply.status, 404, "{}", reply.body);
        assert!(reply.json()["error"].is_string());
    }
    for path in ["/api/brokers/17", "/api/brokers/..%2F..%2Fetc"] {
        assert!([400, 404].contains(&rest.get(path).status), "{path}");
    }
    assert_eq!(rest.send("PATCH", "/api/brokers", None).status, 405);
    assert_eq!(rest.delete("/api/status").status, 405);
}

#[test]
fn a_name_in_use_is_a_conflict() {
    let proxy = Setup::new().upstream("mqtt://127.0.0.1:1?name=fixed").start();
    let rest = proxy.rest();
    rest.add(&absent("one"));
    let two = rest.add(&absent("two"));
    for name in ["one", "fixed"] {
        for reply in [
            rest.post("/api/brokers", &absent(name)),
            rest.put(&format!("/api/brokers/{two}"), &json!({"name": name})),
        ] {
            assert_eq!(reply.status, 409, "{}", reply.body);
        }
    }
    assert_eq!(rest.put(&format!("/api/brokers/{two}"), &json!({"name": "two"})).status, 200, "its own name");
}

#[test]
fn put_changes_the_fields_that_are_given() {
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let mut definition = absent("one");
    definition["topics"] = json!(["a/#"]);
    definition["username"] = json!("ann");
    definition["password"] = json!("s3cret");
    let id = rest.add(&definition);
    let path = format!("/api/brokers/{id}");
    let reply = rest.put(&path, &json!({"max_qos": 1, "name": "renamed"}));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let broker = rest.broker(&id);
    assert_eq!(broker["id"], id.as_str());
    assert_eq!((&broker["name"], &broker["max_qos"]), (&json!("renamed"), &json!(1)));
    assert_eq!((&broker["topics"], &broker["username"]), (&json!(["a/#"]), &json!("ann")));
    assert_eq!(broker["has_password"], true, "a password that is not given stays");
    assert_eq!(rest.put(&path, &json!({"max_qos": null, "password": null})).status, 200);
    let broker = rest.broker(&id);
    assert_eq!((&broker["max_qos"], &broker["has_password"]), (&Value::Null, &json!(false)));
    assert_eq!(rest.put(&path, &rest.broker(&id)).status, 200, "what was read can be sent back");
}

#[test]
fn a_backlog_is_set_survives_a_restart_and_is_cleared() {
    let mut proxy = Proxy::start();
    let usual = json!({
        "start_at": "now", "queue_bytes_max": null, "on_full": "drop_oldest", "max_rate_messages": null,
        "max_rate_bytes": null, "live_first": false,
    });
    let mut wanted = json!({
        "start_at": "2026-01-31T08:00:00Z", "queue_bytes_max": 1_048_576, "on_full": "reject",
        "max_rate_messages": 500, "max_rate_bytes": 1_000_000, "live_first": true,
    });
    let assert_backlog = |broker: &Value, wanted: &Value| {
        for (field, value) in wanted.as_object().expect("fields") {
            assert_eq!(&broker[field], value, "{field} of {broker}");
        }
    };
    let mut definition = absent("one");
    for (field, value) in wanted.as_object().expect("fields") {
        definition[field] = value.clone();
    }
    let id = proxy.rest().add(&definition);
    let path = format!("/api/brokers/{id}");
    assert_backlog(&proxy.rest().broker(&id), &wanted);
    proxy.stop_and_restart();
    let broker = proxy.rest().broker(&id);
    assert_backlog(&broker, &wanted);
    assert_eq!(proxy.rest().put(&path, &broker).status, 200, "what was read can be sent back");
    for (given, shown) in [(json!(17), "17"), (json!("earliest"), "earliest")] {
        assert_eq!(proxy.rest().put(&path, &json!({"start_at": given})).status, 200);
        wanted["start_at"] = json!(shown);
        assert_backlog(&proxy.rest().broker(&id), &wanted);
    }
    let nothing = json!({
        "start_at": null, "queue_bytes_max": null, "on_full": null, "max_rate_messages": null,
        "max_rate_bytes": null, "live_first": null,
    });
    assert_eq!(proxy.rest().put(&path, &nothing).status, 200);
    assert_backlog(&proxy.rest().broker(&id), &usual);
    proxy.kill_and_restart();
    assert_backlog(&proxy.rest().broker(&id), &usual);
}

#[test]
fn another_backlog_does_not_break_the_connection() {
    let broker = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("one", broker.port(), Version::V5)]);
    let rest = proxy.rest();
    let id = rest.id_of("one");
    rest.wait_connected(&id);
    let reconnects = rest.broker(&id)["reconnects"].clone();
    let changes =
        json!({"queue_bytes_max": 65_536, "on_full": "reject", "max_rate_messages": 9, "live_first": true});
    assert_eq!(rest.put(&format!("/api/brokers/{id}"), &changes).status, 200);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.say("t", "m", 1);
    rest.wait_caught_up(&id);
    let shown = rest.broker(&id);
    assert_eq!((&shown["state"], &shown["reconnects"]), (&json!("connected"), &reconnects));
}

#[test]
fn camel_case_is_understood_and_snake_case_comes_back() {
    let proxy = Proxy::start();
    let id = proxy.rest().add(&json!({
        "name": "one", "address": "127.0.0.1", "clientIdPrefix": "plant", "useTls": false, "keepAliveSecs": 11,
        "maxQos": 1, "cleanSession": true,
    }));
    let broker = proxy.rest().broker(&id);
    assert_eq!(broker["client_id_prefix"], "plant");
    assert_eq!((&broker["keep_alive_secs"], &broker["max_qos"]), (&json!(11), &json!(1)));
    assert_eq!(broker["clean_session"], true);
    let keys = broker.as_object().expect("an object").keys();
    assert!(keys.into_iter().all(|key| !key.contains(char::is_uppercase)), "{broker}");
}

#[test]
fn a_password_goes_in_and_never_out() {
    let broker = Mosquitto::start_with_user("ann", "hunter2hunter2");
    let url = format!("mqtt://ann:hunter2hunter2@127.0.0.1:{}?name=by-url", broker.port());
    let mut proxy = Setup::new().upstream(&url).start();
    let rest = proxy.rest();
    let mut definition = local_broker("stored", broker.port(), Version::V5);
    definition["username"] = json!("ann");
    definition["password"] = json!("hunter2hunter2");
    let reply = rest.post("/api/brokers", &definition);
    let id = reply.json()["id"].as_str().expect("an id").to_owned();
    rest.wait_connected(&id);
    rest.wait_connected(&rest.id_of("by-url"));
    assert_eq!(rest.broker(&id)["has_password"], true);
    let shown = [
        reply.body,
        rest.get("/api/brokers").body,
        rest.get(&format!("/api/brokers/{id}")).body,
        rest.put(&format!("/api/brokers/{id}"), &json!({"port": broker.port()})).body,
        rest.get("/api/status").body,
        rest.get("/metrics").body,
        proxy.log(),
    ];
    for text in shown {
        assert!(!text.contains("hunter2hunter2"), "the password is in {text}");
    }
    proxy.stop_and_restart();
    proxy.rest().wait_connected(&id);
}

#[test]
fn a_stored_password_is_encrypted_where_there_is_a_secret() {
    let broker = Mosquitto::start_with_user("ann", "hunter2hunter2");
    let mut proxy = Setup::new().environment("MQTT_PROXY_SECRET", "a secret of the tests").start();
    let mut definition = local_broker("stored", broker.port(), Version::V4);
    definition["username"] = json!("ann");
    definition["password"] = json!("hunter2hunter2");
    let id = proxy.rest().add(&definition);
    let stored = std::fs::read_to_string(proxy.data().join("brokers.json")).expect("the file is there");
    assert!(!stored.contains("hunter2hunter2"), "the password is readable in brokers.json");
    proxy.stop_and_restart();
    proxy.rest().wait_connected(&id);
}

#[test]
fn wrong_credentials_towards_a_broker_are_shown_and_a_correction_acts_at_once() {
    let broker = Mosquitto::start_with_user("ann", "right");
    let proxy = Proxy::start();
    let rest = proxy.rest();
    for version in Version::BOTH {
        let mut definition = local_broker(version.name(), broker.port(), version);
        definition["username"] = json!("ann");
        definition["password"] = json!("wrong");
        let id = rest.add(&definition);
        rest.wait_last_error(&id, &["not authori", "bad user", "0x86", "0x87", "134", "135"]);
        assert_eq!(rest.put(&format!("/api/brokers/{id}"), &json!({"password": "right"})).status, 200);
        rest.wait_connected(&id);
        wait_until("the error is gone", || rest.broker(&id)["last_error"].is_null());
    }
}

#[test]
fn toggle_disables_and_enables_at_once() {
    let broker = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("one", broker.port(), Version::V4)]);
    let rest = proxy.rest();
    let id = rest.id_of("one");
    assert_eq!(rest.toggle(&id)["enabled"], false);
    wait_until("the connection is closed", || {
        let broker = rest.broker(&id);
        broker["state"] == "disabled" && broker["connected"] == false
    });
    assert_eq!(rest.toggle(&id)["enabled"], true);
    rest.wait_connected(&id);
}

#[test]
fn a_broker_whose_address_is_corrected_connects_at_once() {
    let broker = Mosquitto::start();
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let id = rest.add(&local_broker("one", reserve_port(), Version::V4));
    rest.wait_last_error(&id, &["refused"]);
    assert_eq!(rest.broker(&id)["connected"], false);
    assert_eq!(rest.put(&format!("/api/brokers/{id}"), &json!({"port": broker.port()})).status, 200);
    rest.wait_connected(&id);
}

#[test]
fn a_broker_of_the_command_line_is_read_only() {
    let broker = Mosquitto::start();
    let url = format!("mqtt://127.0.0.1:{}?name=fixed", broker.port());
    let mut proxy = Setup::new().upstream(&url).start();
    let id = proxy.rest().id_of("fixed");
    let path = format!("/api/brokers/{id}");
    for reply in [
        proxy.rest().put(&path, &json!({"port": 2})),
        proxy.rest().delete(&path),
        proxy.rest().send("POST", &format!("{path}/toggle"), None),
    ] {
        assert_eq!(reply.status, 403, "{}", reply.body);
        assert!(reply.json()["error"].as_str().is_some_and(|text| text.contains("fixed")), "{}", reply.body);
    }
    proxy.stop_and_restart();
    assert_eq!(proxy.rest().id_of("fixed"), id, "the same name is the same broker");
    let stored = std::fs::read_to_string(proxy.data().join("brokers.json")).unwrap_or_default();
    assert!(!stored.contains("fixed"), "it is not stored");
}

#[test]
fn brokers_survive_a_restart_and_kill_9() {
    let mut proxy = Proxy::start();
    let ids = ["one", "two", "three"].map(|name| proxy.rest().add(&absent(name)));
    proxy.rest().delete(&format!("/api/brokers/{}", ids[1]));
    proxy.rest().toggle(&ids[2]);
    proxy.kill_and_restart();
    let names = |rest: Rest| rest.brokers().iter().map(|b| b["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(proxy.rest()), ["one", "three"]);
    assert_eq!(proxy.rest().broker(&ids[2])["enabled"], false);
    proxy.stop_and_restart();
    assert_eq!(names(proxy.rest()), ["one", "three"]);
}

#[test]
fn a_broken_brokers_file_stops_the_start_and_stays_as_it_is() {
    let table = [
        ("{\n  \"version\": 1,\n  \"brokers\": [\n    oops\n  ]\n}\n", Some("line 4")),
        ("{\"version\": 1, \"brokers\": [", Some("line 1")),
        ("", Some("line 1")),
        ("{\"version\": 999, \"brokers\": []}", None),
    ];
    for (text, place) in table {
        let setup = Setup::new();
        std::fs::create_dir_all(setup.data()).expect("the directory can be made");
        let file = setup.data().join("brokers.json");
        std::fs::write(&file, text).expect("the file can be written");
        let ended = run("the proxy", &mut setup.command());
        assert!(ended.code.is_some_and(|code| code != 0), "{text:?}: it started: {}", ended.output);
        assert!(ended.output.contains("brokers.json"), "{text:?}: {}", ended.output);
        if let Some(place) = place {
            let says_column = ended.output.contains("column");
            assert!(ended.output.contains(place) && says_column, "{text:?}: {}", ended.output);
        } else {
            assert!(ended.output.contains("999"), "{text:?}: {}", ended.output);
        }
        let after = std::fs::read_to_string(&file).expect("the file is there");
        assert_eq!(after, text, "the broken file was changed");
    }
}

#[test]
fn the_status_counts_what_is_there() {
    let proxy = Setup::new().upstream("mqtt://127.0.0.1:1?name=absent").start();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.subscribe("a", 1);
    device.subscribe("b/#", 1);
    device.publish(crate::support::packets::Publish::new("kept", "x").qos(1).retained());
    let status = proxy.rest().status();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    for (field, wanted) in
        [("received", 1), ("connected_clients", 1), ("sessions", 1), ("subscriptions", 2), ("retained", 1)]
    {
        assert_eq!(status[field], wanted, "{field} of {status}");
    }
    assert!(status["uptime_secs"].is_number());
    assert_eq!(status["brokers"][0]["name"], "absent");
}

#[test]
fn health_and_readiness_are_told() {
    let proxy = Proxy::start();
    assert_eq!(proxy.rest().get("/health").status, 200);
    assert_eq!(proxy.rest().get("/ready").status, 200);
}

#[test]
fn the_metrics_have_the_names_that_users_know() {
    let broker = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("one", broker.port(), Version::V4)]);
    let rest = proxy.rest();
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    for _ in 0..10 {
        device.say("t", "m", 1);
    }
    rest.wait_caught_up(&rest.id_of("one"));
    let text = rest.get("/metrics").body;
    for name in [
        "mqtt_messages_received_total",
        "mqtt_messages_forwarded_total",
        "mqtt_message_latency_seconds",
        "mqtt_active_connections",
        "mqtt_broker_connection_status",
        "mqtt_broker_lag_messages",
        "mqtt_broker_in_flight_messages",
        "mqtt_connections_total",
    ] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is not in\n{text}");
    }
    let one = ["broker=\"one\""];
    for (name, labels, wanted) in [
        ("mqtt_messages_received_total", &[][..], 10.0),
        ("mqtt_messages_forwarded_total", &one, 10.0),
        ("mqtt_active_connections", &[], 1.0),
        ("mqtt_broker_connection_status", &one, 1.0),
    ] {
        let value = rest.metric(name, labels);
        assert!((value - wanted).abs() < 0.5, "{name} is {value}, not {wanted}");
    }
    rest.delete(&format!("/api/brokers/{}", rest.id_of("one")));
    wait_until("a removed broker is gone from the metrics", || {
        !rest.get("/metrics").body.contains("mqtt_broker_connection_status{broker=\"one\"}")
    });
}

#[test]
fn the_dashboard_is_served_and_nothing_else_of_the_disk() {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/static");
    let proxy = Setup::new().environment("MQTT_PROXY__WEB__STATIC_DIR", files).start();
    let page = proxy.rest().get("/");
    assert_eq!(page.status, 200);
    assert!(page.body.to_lowercase().contains("<!doctype html>"), "{}", page.body);
    assert!(page.head.to_lowercase().contains("content-type: text/html"), "{}", page.head);
    for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/..%2fCargo.toml", "//etc/passwd"] {
        let reply = proxy.rest().get(path);
        assert!(!reply.body.contains("[package]") && !reply.body.contains("root:"), "{path}");
    }
}
