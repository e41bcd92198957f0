//! Echoes where the way to recognise them is chosen: also by credits alone, nothing comes twice and nothing that is
//! published twice is dropped.

use serde_json::json;

use super::places::{Place, assert_everybody_hears_everything, both_ways, listen_until_still};
use crate::support::Version;
use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::proxy::Proxy;

in_both_versions! {
    fn by_credits_alone_a_value_that_is_published_twice_is_delivered_twice(version: Version) {
        let brokers = [Mosquitto::start(), Mosquitto::start()];
        let proxy = Proxy::start();
        for (name, broker) in ["a", "b"].iter().zip(&brokers) {
            let mut definition = both_ways(name, broker.port(), version);
            definition["loop_guard"] = json!("credits");
            proxy.rest().wait_connected(&proxy.rest().add(&definition));
        }
        let mut places = [
            Place::at("a", brokers[0].address()),
            Place::at("b", brokers[1].address()),
            Place::at("proxy", proxy.mqtt()),
        ];
        assert_everybody_hears_everything(&mut places, 1);
        places.iter_mut().for_each(|place| place.heard.clear());
        // The same value from two brokers at once is two measurements.
        let mut sensors = [0, 1].map(|n| Device::connect(places[n].address(), version, "sensor"));
        for _ in 0..20 {
            sensors.iter_mut().for_each(|sensor| sensor.say("t/temperature", "21.5", 1));
        }
        listen_until_still(&mut places, 40);
        for place in &places {
            assert_eq!(place.heard, vec!["21.5"; 40], "at {}", place.name);
        }
    }
}
