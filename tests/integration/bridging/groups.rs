//! Brokers that stand in for each other: switches in the middle of a burst and an outage of all of them lose nothing.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::packets::Publish;
use crate::support::proxy::Proxy;
use crate::support::receiver::first_of_each;
use crate::support::rest::local_broker;
use crate::support::{Version, assert_same, numbered, wait_until};

fn member(name: &str, keeper: &Keeper, version: Version, priority: u32) -> Json {
    let mut definition = local_broker(name, keeper.port(), version);
    definition["group"] = json!("cloud");
    definition["group_priority"] = json!(priority);
    definition["retry_floor_ms"] = json!(10);
    definition["retry_ceiling_ms"] = json!(100);
    definition["stable_secs"] = json!(1);
    definition
}

fn say_all(device: &mut Device, texts: &[String], qos: u8) {
    device.publish_all(texts.iter().map(|text| Publish::new("t", text).qos(qos)));
}

in_both_versions! {
    fn a_switch_in_the_middle_of_a_burst_loses_nothing(version: Version) {
        let keepers = [Keeper::start(), Keeper::start()];
        let proxy = Proxy::start();
        let rest = proxy.rest();
        let ids = [0, 1].map(|place| {
            rest.add(&member(&format!("member-{place}"), &keepers[place], version, place as u32))
        });
        rest.wait_connected(&ids[0]);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        let texts = numbered("m", 1_000);
        for (round, few) in texts.chunks(100).enumerate() {
            device.publish_all(few.iter().map(|text| Publish::new("t", text).qos(1 + (round % 2) as u8)));
            keepers[0].set_mood(if round % 2 == 0 { Mood::Away } else { Mood::Prompt });
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        keepers[0].set_mood(Mood::Prompt);
        wait_until("the group has every message", || {
            let there: HashSet<String> = keepers.iter().flat_map(|keeper| keeper.texts_on("t")).collect();
            texts.iter().all(|text| there.contains(text))
        });
        for id in &ids {
            let shown = rest.broker(id);
            let dropped = shown["dropped"].as_object().expect("reasons");
            assert!(dropped.values().all(|count| *count == 0), "{shown}");
        }
    }

    fn a_group_whose_members_are_all_away_loses_nothing_also_when_the_proxy_dies(version: Version) {
        let keepers = [Keeper::start(), Keeper::start()];
        let mut proxy = Proxy::start();
        for place in [0, 1] {
            let definition = member(&format!("member-{place}"), &keepers[place], version, place as u32);
            proxy.rest().add(&definition);
        }
        proxy.rest().wait_connected(&proxy.rest().id_of("member-0"));
        keepers.iter().for_each(|keeper| keeper.set_mood(Mood::Away));
        let texts = numbered("m", 200);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        say_all(&mut device, &texts[..100], 1);
        say_all(&mut device, &texts[100..], 2);
        proxy.kill_and_restart();
        keepers[1].set_mood(Mood::Prompt);
        wait_until("the second one has everything", || keepers[1].texts_on("t").len() >= texts.len());
        assert_same(&first_of_each(&keepers[1].texts_on("t")), &texts, "in order");
        keepers[0].set_mood(Mood::Prompt);
    }
}
