//! What the dashboard's scripts count on: elements of the page, parts of a row, paths of the API.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::Version;
use crate::support::proxy::{Proxy, Setup};
use crate::support::rest::local_broker;

/// The texts between `before` and the next `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> BTreeSet<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
}

fn served() -> Proxy {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/static");
    Setup::new().environment("MQTT_PROXY__WEB__STATIC_DIR", files).start()
}

fn text_of(proxy: &Proxy, path: &str) -> String {
    let reply = proxy.rest().get(path);
    assert_eq!(reply.status, 200, "{path}");
    reply.body
}

#[test]
fn every_element_that_a_script_asks_for_is_in_the_page() {
    let proxy = served();
    let page = text_of(&proxy, "/");
    let (ids, parts) = (between(&page, " id=\"", "\""), between(&page, "data-part=\"", "\""));
    let names = between(&page, " name=\"", "\"");
    let scripts = ["main", "table", "editor", "confirm", "events"];
    let mut asked = 0;
    for script in scripts {
        let text = text_of(&proxy, &format!("/js/{script}.js"));
        let by_id = between(&text, "getElementById(\"", "\"");
        for id in by_id.union(&between(&text, "$(\"", "\"")) {
            assert!(ids.contains(id), "{script}.js: no element has the id {id:?}");
            asked += 1;
        }
        for part in between(&text, "parts[\"", "\"") {
            assert!(parts.contains(part), "{script}.js: no part of a row is named {part:?}");
        }
        for name in between(&text, "form.elements.", ".") {
            assert!(names.contains(name), "{script}.js: no field is named {name:?}");
        }
        for module in between(&text, "from \"./", "\"") {
            text_of(&proxy, &format!("/js/{module}"));
        }
    }
    assert!(asked > 30, "{asked} elements: the test tests nothing");
    for part in ["menu", "more", "pause", "resume", "drain", "reconnect", "events"] {
        assert!(parts.contains(part), "a row has {part}");
    }
}

#[test]
fn every_order_that_a_button_gives_is_one_that_the_api_knows() {
    let proxy = served();
    let rest = proxy.rest();
    let id = rest.add(&local_broker("one", 1, Version::V4));
    let api = text_of(&proxy, "/js/api.js");
    let orders = between(&api, "${pathOf(id)}/", "`");
    assert!(
        orders.is_superset(&BTreeSet::from(["pause", "resume", "drain", "reconnect", "events"])),
        "{orders:?}"
    );
    for order in orders {
        let method = if order == "events" { "GET" } else { "POST" };
        let reply = rest.send(method, &format!("/api/brokers/{id}/{order}"), None);
        assert!(matches!(reply.status, 200 | 202), "{order}: {} {}", reply.status, reply.body);
    }
    let states = text_of(&proxy, "/js/table.js");
    for state in ["connected", "connecting", "waiting_to_retry", "disabled", "paused", "draining", "removing"]
    {
        assert!(states.contains(&format!("{state}: [")), "the table has a name for {state}");
    }
    let checked = rest.post("/api/brokers/validate", &json!({"id": id}));
    assert!(checked.json()["definition"].is_object(), "the editor fills its further fields from there");
    let removed = rest.delete(&format!("/api/brokers/{id}?backlog=discard"));
    assert_eq!(removed.status, 204);
}
