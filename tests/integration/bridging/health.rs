//! Connected is not forwarding: a broker that takes nothing is shown as degraded, and an alert fires once and clears once.

use serde_json::{Value as Json, json};

use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::packets::Publish;
use crate::support::proxy::{Proxy, Setup};
use crate::support::rest::local_broker;
use crate::support::webhook_receiver::Webhook;
use crate::support::{SILENCE, Version, wait_until};

/// A proxy that posts an alert when a broker is more than ten messages behind.
fn alerting(webhook: &Webhook) -> Proxy {
    let settings = format!(
        "[alerts]\nwebhook_url = \"{}\"\n[[alerts.rules]]\nname = \"late\"\nbroker = \"*\"\nmetric = \"lag\"\n\
         above = 10\nclear_below = 5\n",
        webhook.url()
    );
    Setup::new().settings(&settings).start()
}

/// Whether somewhere in the JSON this stands as a value.
fn says(json: &Json, word: &str) -> bool {
    match json {
        Json::String(text) => text == word,
        Json::Array(items) => items.iter().any(|item| says(item, word)),
        Json::Object(fields) => fields.values().any(|value| says(value, word)),
        _ => false,
    }
}

in_both_versions! {
    fn a_broker_that_hangs_is_degraded_and_its_alert_fires_once_and_clears_once(version: Version) {
        let (hanging, steady) = (Keeper::start(), Keeper::start());
        let webhook = Webhook::refusing(0);
        let proxy = alerting(&webhook);
        let rest = proxy.rest();
        let mut definition = local_broker("hanging", hanging.port(), version);
        definition["degraded_lag"] = json!(20);
        let id = rest.add(&definition);
        let other = rest.add(&local_broker("steady", steady.port(), version));
        rest.wait_connected(&id);
        rest.wait_connected(&other);
        assert!(!says(&rest.broker(&id), "degraded"), "{}", rest.broker(&id));
        hanging.set_mood(Mood::Hanging);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.publish_all((0..200).map(|n| Publish::new("t", n.to_string()).qos(1)));
        wait_until("the hanging broker is degraded", || says(&rest.broker(&id), "degraded"));
        rest.wait_caught_up(&other);
        assert!(!says(&rest.broker(&other), "degraded"), "the other one is well");
        webhook.wait_count(1);
        std::thread::sleep(SILENCE * 5);
        assert_eq!(webhook.events(), ["late firing hanging"], "it fires once");

        hanging.set_mood(Mood::Prompt);
        rest.wait_caught_up(&id);
        wait_until("it is well again", || !says(&rest.broker(&id), "degraded"));
        webhook.wait_count(2);
        std::thread::sleep(SILENCE * 5);
        assert_eq!(webhook.events(), ["late firing hanging", "late resolved hanging"], "it clears once");
    }
}
