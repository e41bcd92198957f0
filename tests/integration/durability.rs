//! What outlives the proxy: everything that was acknowledged to a device reaches every upstream broker, whatever
//! dies, hangs, fills up or is damaged in between; and sessions of devices are what they were.

mod acknowledgement;
mod damage;
mod disk;
mod kill_loop;
mod outage;
mod replay;
mod retention;
mod sessions;
mod sessions_in_flight;
mod shared;
mod slow_neighbours;
mod wills;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::keeper::Keeper;
use crate::support::packets::Publish;
use crate::support::proxy::Proxy;
use crate::support::rest::local_broker;
use crate::support::{DEADLINE, Version};

/// Adds a keeper as an upstream broker, with more fields of its definition.
fn add_keeper(proxy: &Proxy, name: &str, keeper: &Keeper, version: Version, fields: &Value) -> String {
    let mut definition = local_broker(name, keeper.port(), version);
    for (field, value) in fields.as_object().expect("fields") {
        definition[field] = value.clone();
    }
    proxy.rest().add(&definition)
}

/// Adds a keeper and waits until it is connected.
fn connect_keeper(proxy: &Proxy, name: &str, keeper: &Keeper, version: Version) -> String {
    let id = add_keeper(proxy, name, keeper, version, &json!({}));
    proxy.rest().wait_connected(&id);
    id
}

/// A device that is new to the proxy.
fn device(proxy: &Proxy, version: Version) -> Device {
    Device::connect(proxy.mqtt(), version, "device")
}

/// Publishes texts on one topic and waits for all acknowledgements.
fn publish(device: &mut Device, topic: &str, texts: &[String], qos: u8) {
    device.publish_all(texts.iter().map(|text| Publish::new(topic, text).qos(qos)));
}

/// Waits until a keeper has acknowledged everything that is for it, as long as something goes on.
fn wait_drained(proxy: &Proxy, id: &str, keeper: &Keeper) {
    let (mut last, mut since) = (keeper.count(), Instant::now());
    wait_while_moving(|| {
        let broker = proxy.rest().broker(id);
        if broker["lag"] == 0 && broker["in_flight"] == 0 {
            return true;
        }
        if keeper.count() != last {
            (last, since) = (keeper.count(), Instant::now());
        }
        assert!(since.elapsed() < DEADLINE, "{last} messages came and then no more: {broker}");
        false
    });
}

/// Asks until the condition holds; the condition itself gives up.
fn wait_while_moving(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everything that was dropped for a broker, whatever the reason.
fn dropped(proxy: &Proxy, id: &str) -> u64 {
    let broker = proxy.rest().broker(id);
    let reasons = broker["dropped"].as_object().expect("reasons with counts");
    reasons.values().map(|count| count.as_u64().expect("a count")).sum()
}
