//! Upstream brokers that hang, refuse, acknowledge slowly or are away cost the healthy ones nothing, and get all of it
//! later.

use std::time::Duration;

use serde_json::json;

use super::{add_keeper, connect_keeper, device, dropped, wait_drained};
use crate::support::keeper::{Keeper, Mood};
use crate::support::packets::Publish;
use crate::support::proxy::Setup;
use crate::support::receiver::first_of_each;
use crate::support::{Version, assert_same, numbered};

const SICK: [(&str, Mood); 4] = [
    ("hanging", Mood::Hanging),
    ("refusing", Mood::Refusing),
    ("slow", Mood::Slow(Duration::from_millis(20))),
    ("away", Mood::Away),
];

in_both_versions! {
    fn brokers_that_are_not_well_cost_the_others_nothing_and_get_everything_later(version: Version) {
        let healthy = [Keeper::start(), Keeper::start()];
        let proxy = Setup::new().settings("[log]\nhead_bytes_max = 1048576\nsegment_bytes = 262144").start();
        let ids = [0, 1].map(|n| connect_keeper(&proxy, &format!("healthy {n}"), &healthy[n], Version::BOTH[n]));
        let sick = SICK.map(|(name, mood)| (name, Keeper::in_mood(mood)));
        let sick_ids = sick.each_ref().map(|(name, keeper)| add_keeper(&proxy, name, keeper, version, &json!({})));

        let texts = numbered(&"x".repeat(500), 3_000);
        let both = texts.iter().flat_map(|text| [1, 2].map(|qos| Publish::new(&format!("qos/{qos}"), text).qos(qos)));
        let mut device = device(&proxy, version);
        device.publish_all(both);
        for (keeper, id) in healthy.iter().zip(&ids) {
            proxy.rest().wait_caught_up(id);
            assert_same(&keeper.texts_on("qos/1"), &texts, "a healthy broker, QoS 1");
            assert_same(&keeper.texts_on("qos/2"), &texts, "a healthy broker, QoS 2");
            assert_eq!(proxy.rest().broker(id)["reconnects"], 0, "its connection was not touched");
        }

        for (_, keeper) in &sick {
            keeper.set_mood(Mood::Prompt);
        }
        for ((name, keeper), id) in sick.iter().zip(&sick_ids) {
            proxy.rest().wait_connected(id);
            wait_drained(&proxy, id, keeper);
            assert_eq!(dropped(&proxy, id), 0, "nothing was dropped for the one that was {name}");
            assert_same(&first_of_each(&keeper.texts_on("qos/1")), &texts, name);
            assert_same(&keeper.texts_on("qos/2"), &texts, name);
            keeper.assert_no_faults(name);
        }
    }
}
