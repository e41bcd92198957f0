//! What an upstream broker will not take is respected: its limits, its refusals, and the connections that it ends for one
//! message. What it can never have becomes a dead letter, and everything else goes on.

mod aliases;
mod dead_letters;
mod limits;
mod poison;
mod profiles;

use serde_json::{Value as Json, json};

use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{Publish, Value, property};
use crate::support::proxy::{Proxy, Setup};
use crate::support::rest::local_broker;
use crate::support::scripted::Scripted;

/// A proxy with one scripted upstream, a device that publishes, and one that is told of dead letters.
struct Scene {
    upstream: Scripted,
    proxy: Proxy,
    device: Device,
    mourner: Device,
    id: String,
}

impl Scene {
    fn new(version: Version, fields: &Json) -> Scene {
        let upstream = Scripted::listen();
        let proxy = Setup::new().start();
        let mut definition = local_broker("up/1", upstream.port(), version);
        for (name, value) in fields.as_object().expect("fields") {
            definition[name] = value.clone();
        }
        let id = proxy.rest().add(&definition);
        let device = Device::connect(proxy.mqtt(), Version::V5, "device");
        let mourner = mourner(&proxy);
        Scene { upstream, proxy, device, mourner, id }
    }

    fn plain(version: Version) -> Scene {
        Scene::new(version, &json!({}))
    }

    /// A field of the broker as the API shows it.
    fn shown(&self, field: &str) -> Json {
        self.proxy.rest().broker(&self.id)[field].clone()
    }

    fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let mut labels = labels.to_vec();
        labels.push("broker=\"up/1\"");
        self.proxy.rest().metric(name, &labels) as u64
    }

    fn say(&mut self, texts: &[&str], qos: u8) {
        self.device.publish_all(texts.iter().map(|text| Publish::new("t", text).qos(qos)));
    }
}

fn mourner(proxy: &Proxy) -> Device {
    let mut mourner = Device::connect(proxy.mqtt(), Version::V5, "mourner");
    mourner.subscribe("$SYS/broker/dead/#", 0);
    mourner
}

/// What a dead letter says of itself.
fn reason(letter: &Publish) -> String {
    let users = letter.properties.iter().filter(|(id, _)| *id == property::USER);
    let pairs: Vec<_> = users
        .map(|(_, value)| match value {
            Value::Pair(name, value) => format!("{name}={value}"),
            other => panic!("a user property is a pair, not {other:?}"),
        })
        .collect();
    pairs.join(" ")
}
