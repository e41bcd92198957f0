//! A dry run says everything that is wrong, or what is dangerous, and stores nothing.

use serde_json::{Value, json};

use super::fields_of;
use crate::support::Version;
use crate::support::proxy::{Proxy, Setup};
use crate::support::rest::local_broker;

fn validate(proxy: &Proxy, body: &Value) -> Value {
    let reply = proxy.rest().post("/api/brokers/validate", body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

#[test]
fn a_good_definition_is_shown_as_it_would_be_and_not_stored() {
    let proxy = Proxy::start();
    let body = json!({"name": "a", "address": "localhost", "useTls": true, "username": "u", "password": "p"});
    let valid = validate(&proxy, &body);
    assert_eq!((&valid["valid"], &valid["warnings"]), (&json!(true), &json!([])));
    assert_eq!(valid["definition"]["port"], 8883);
    assert_eq!(valid["definition"]["has_password"], true);
    assert!(!valid.to_string().contains("\"p\""), "no password comes out");
    assert_eq!(proxy.rest().brokers().len(), 0);
    let id = proxy.rest().add(&body);
    let shown = proxy.rest().broker(&id);
    for (field, value) in valid["definition"].as_object().expect("fields") {
        assert_eq!(&shown[field], value, "{field} as GET shows it");
    }
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let proxy = Proxy::start();
    proxy.rest().add(&local_broker("taken", 1, Version::V4));
    let wrong = validate(
        &proxy,
        &json!({
            "name": "taken", "port": 0, "max_qos": 7, "topics": ["#/a"], "no_such_field": 1,
            "keep_alive_secs": "long", "group_priority": 1,
        }),
    );
    assert_eq!(wrong["valid"], false);
    assert!(wrong.get("definition").is_none() && wrong.get("warnings").is_none());
    let mut fields = fields_of(&wrong["errors"]);
    fields.sort();
    let wanted = [
        "address",
        "group_priority",
        "keep_alive_secs",
        "max_qos",
        "name",
        "no_such_field",
        "port",
        "topics",
    ];
    assert_eq!(fields, wanted);
    for error in wrong["errors"].as_array().expect("errors") {
        assert!(error["error"].as_str().is_some_and(|text| text.contains(": ")), "{error}");
    }
    let twice = proxy.rest().send(
        "POST",
        "/api/brokers/validate",
        Some(r#"{"name":"b","address":"h","port":1,"port":2}"#),
    );
    assert_eq!(fields_of(&twice.json()["errors"]), ["port"]);
    assert_eq!(proxy.rest().send("POST", "/api/brokers/validate", Some("[")).status, 400);
    assert_eq!(proxy.rest().get("/api/brokers/validate").status, 405);
}

#[test]
fn changes_to_a_stored_broker_are_checked_against_it() {
    let proxy = Setup::new().upstream("mqtt://127.0.0.1:1?name=fixed").start();
    let rest = proxy.rest();
    rest.add(&local_broker("other", 1, Version::V4));
    let id = rest.add(&local_broker("one", 2, Version::V4));
    let before = rest.broker(&id);
    let valid = validate(&proxy, &json!({"id": id, "name": "one", "port": 3}));
    assert_eq!(valid["valid"], true, "its own name is free: {valid}");
    assert_eq!(
        (&valid["definition"]["port"], &valid["definition"]["address"]),
        (&json!(3), &json!("127.0.0.1"))
    );
    assert_eq!(fields_of(&valid["warnings"]), ["address"], "a move repeats what is in flight");
    let wrong = validate(&proxy, &json!({"id": id, "name": "other", "port": 0}));
    let mut fields = fields_of(&wrong["errors"]);
    fields.sort();
    assert_eq!(fields, ["name", "port"]);
    // What GET shows can be sent here too.
    assert_eq!(validate(&proxy, &before)["valid"], true);
    assert_eq!(rest.broker(&id)["port"], 2, "nothing is stored");
    for (id, status) in
        [(uuid::Uuid::new_v4().to_string(), 404), (rest.id_of("fixed"), 403), ("x".to_owned(), 400)]
    {
        let reply = rest.post("/api/brokers/validate", &json!({"id": id, "port": 3}));
        assert_eq!(reply.status, status, "{}", reply.body);
    }
}

#[test]
fn what_is_legal_and_dangerous_is_warned_of() {
    let proxy = Proxy::start();
    let everything = json!({"bidirectional": true, "subscription_topics": ["#"]});
    let mut first = local_broker("first", 1, Version::V5);
    for (field, value) in everything.as_object().expect("fields") {
        first[field] = value.clone();
    }
    proxy.rest().add(&first);
    for (fields, wanted) in [
        (json!({"use_tls": true, "insecure_skip_verify": true}), "insecure_skip_verify"),
        (json!({"username": "u", "password": "p"}), "password"),
        (json!({"queue_bytes_max": 65_536}), "queue_bytes_max"),
        (json!({"max_qos": 1}), "max_qos"),
        (everything, "subscription_topics"),
    ] {
        let mut body = local_broker("second", 2, Version::V4);
        for (field, value) in fields.as_object().expect("fields") {
            body[field] = value.clone();
        }
        let valid = validate(&proxy, &body);
        assert_eq!(fields_of(&valid["warnings"]), [wanted], "{valid}");
    }
}

#[test]
fn a_proxy_with_as_many_brokers_as_there_may_be_says_so() {
    let entries: Vec<_> = (0..256)
        .map(|n| json!({"name": format!("b{n}"), "address": "127.0.0.1", "port": 1, "enabled": false}))
        .collect();
    let setup = Setup::new();
    std::fs::create_dir_all(setup.data()).expect("the data directory can be made");
    let file = json!({"version": 1, "brokers": entries}).to_string();
    std::fs::write(setup.data().join("brokers.json"), file).expect("the file can be written");
    let proxy = setup.start();
    let full = validate(&proxy, &local_broker("one more", 1, Version::V4));
    assert_eq!(fields_of(&full["errors"]), ["null"], "{full}");
}

#[test]
fn who_changes_what_somebody_else_has_changed_is_told() {
    let mut proxy = Proxy::start();
    let id = proxy.rest().add(&local_broker("one", 1, Version::V4));
    let path = format!("/api/brokers/{id}");
    let seen = proxy.rest().get(&path);
    assert!(seen.head.to_lowercase().contains("etag: \"1\""), "{}", seen.head);
    let at = |proxy: &Proxy, method: &str, path: &str, revision: &str, body: &Value| {
        let header = format!("If-Match: {revision}");
        proxy.rest().send_with(method, path, &[&header], Some(&body.to_string()))
    };
    assert_eq!(at(&proxy, "PUT", &path, "\"1\"", &json!({"port": 2})).json()["revision"], 2);
    let late = at(&proxy, "PUT", &path, "\"1\"", &json!({"port": 3}));
    assert_eq!(late.status, 412, "{}", late.body);
    assert_eq!(
        at(&proxy, "PUT", &path, "\"2\"", &json!({"port": 2})).json()["revision"],
        2,
        "nothing changed"
    );
    assert_eq!(at(&proxy, "POST", &format!("{path}/pause"), "\"2\"", &json!({})).json()["revision"], 3);
    proxy.kill_and_restart();
    assert_eq!(proxy.rest().broker(&id)["revision"], 3);
    for (method, path) in
        [("DELETE", path.clone()), ("POST", format!("{path}/resume")), ("POST", format!("{path}/drain"))]
    {
        let late = at(&proxy, method, &path, "\"2\"", &json!({}));
        assert_eq!(late.status, 412, "{method} {path}: {}", late.body);
    }
    assert_eq!(proxy.rest().broker(&id)["port"], 2);
    assert_eq!(at(&proxy, "PUT", &path, "*", &json!({"port": 4})).status, 200);
    assert_eq!(at(&proxy, "DELETE", &path, "\"4\"", &json!({})).status, 204);
}
