//! The life of an upstream broker by API: it is checked, paused, drained, moved, connected anew and removed, and the
//! others notice nothing.

mod churn;
mod dashboard;
mod drains;
mod moves;
mod pauses;
mod validation;

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::keeper::Keeper;
use crate::support::packets::Publish;
use crate::support::proxy::Proxy;
use crate::support::rest::{Reply, local_broker};
use crate::support::{Version, wait_until};

/// Adds a keeper as an upstream broker and waits until it is connected.
fn connect_keeper(proxy: &Proxy, name: &str, keeper: &Keeper, version: Version) -> String {
    let id = proxy.rest().add_local(name, keeper.port(), version);
    proxy.rest().wait_connected(&id);
    id
}

/// The JSON of a broker on 127.0.0.1 with more fields.
fn definition(name: &str, port: u16, version: Version, fields: &Value) -> Value {
    let mut definition = local_broker(name, port, version);
    for (field, value) in fields.as_object().expect("fields") {
        definition[field] = value.clone();
    }
    definition
}

/// Orders something of a broker without a body; it must be done.
fn order(proxy: &Proxy, id: &str, what: &str) -> Value {
    let reply = proxy.rest().send("POST", &format!("/api/brokers/{id}/{what}"), None);
    assert!(reply.status == 200 || reply.status == 202, "{what}: {} {}", reply.status, reply.body);
    reply.json()
}

/// Asks for a drain.
fn drain(proxy: &Proxy, id: &str, body: &Value) -> Reply {
    proxy.rest().post(&format!("/api/brokers/{id}/drain"), body)
}

fn wait_state(proxy: &Proxy, id: &str, state: &str) {
    wait_until(&format!("the broker is {state}"), || proxy.rest().broker(id)["state"] == state);
}

fn is_gone(proxy: &Proxy, id: &str) -> bool {
    proxy.rest().get(&format!("/api/brokers/{id}")).status == 404
}

fn device(proxy: &Proxy, version: Version) -> Device {
    Device::connect(proxy.mqtt(), version, "device")
}

/// Publishes each text on `t/1` with QoS 1 and on `t/2` with QoS 2, and waits for all acknowledgements.
fn publish(device: &mut Device, texts: &[String]) {
    device.publish_all(
        texts.iter().flat_map(|text| [1, 2].map(|qos| Publish::new(&format!("t/{qos}"), text).qos(qos))),
    );
}

/// Everything that was dropped for a broker, whatever the reason.
fn dropped(proxy: &Proxy, id: &str) -> u64 {
    let broker = proxy.rest().broker(id);
    let reasons = broker["dropped"].as_object().expect("reasons with counts");
    reasons.values().map(|count| count.as_u64().expect("a count")).sum()
}

/// The fields that a list of errors or warnings names.
fn fields_of(list: &Value) -> Vec<String> {
    let items = list.as_array().unwrap_or_else(|| panic!("a list, not {list}"));
    items.iter().map(|item| item["field"].as_str().unwrap_or("null").to_owned()).collect()
}

/// `{}`.
fn nothing() -> Value {
    json!({})
}
