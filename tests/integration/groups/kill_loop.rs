//! Members come and go, and the proxy dies again and again, at moments that nobody chose. In the end the members have
//! everything between them, each its part in order, and none took a message for another one.

use std::time::Duration;

use serde_json::json;

use super::{add_members, configure, wait_active, wait_group_caught_up};
use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::packets::Publish;
use crate::support::proxy::{Proxy, Setup};
use crate::support::random::Random;
use crate::support::receiver::first_of_each;
use crate::support::{Version, assert_same, numbered};

const ROUNDS: usize = 40;

fn publish(proxy: &Proxy, version: Version, texts: &[String]) {
    let each =
        texts.iter().flat_map(|text| [1, 2].map(|qos| Publish::new(&format!("t/{qos}"), text).qos(qos)));
    Device::connect(proxy.mqtt(), version, "device").publish_all(each.collect::<Vec<_>>());
}

fn some_mood(random: &mut Random) -> Mood {
    match random.below(4) {
        0 => Mood::Away,
        1 => Mood::Slow(Duration::from_micros(500)),
        _ => Mood::Prompt,
    }
}

in_both_versions! {
    fn however_often_members_and_the_proxy_die_everything_arrives_in_order(version: Version) {
        let mut random = Random::announced("the members of a group");
        let keepers = [Keeper::start(), Keeper::start(), Keeper::start()];
        let mut proxy = Setup::new().settings("[log]\nsegment_bytes = 65536").start();
        add_members(&proxy, &keepers, version);
        configure(&proxy.rest(), &json!({"fail_back_secs": 0}));
        let texts = numbered("m", ROUNDS * 60);
        for part in texts.chunks(60) {
            let member = random.below(keepers.len());
            keepers[member].set_mood(some_mood(&mut random));
            publish(&proxy, version, part);
            // What is in flight then is a matter of chance.
            std::thread::sleep(Duration::from_micros(random.below(60_000) as u64));
            if random.one_in(3) {
                proxy.kill_and_restart();
            }
        }
        keepers.iter().for_each(|keeper| keeper.set_mood(Mood::Prompt));
        wait_active(&proxy.rest(), "k0");
        publish(&proxy, version, &["z-end".to_owned()]);
        keepers[0].wait_text("z-end");
        wait_group_caught_up(&proxy.rest());
        for topic in ["t/1", "t/2"] {
            let parts: Vec<Vec<String>> = keepers.iter().map(|keeper| keeper.texts_on(topic)).collect();
            let mut all = first_of_each(&parts.concat());
            all.sort();
            all.pop();
            assert_same(&all, &texts, topic);
            for (part, keeper) in parts.iter().zip(&keepers) {
                assert!(first_of_each(part).is_sorted(), "{topic}: out of order");
                keeper.assert_no_faults("a member");
            }
        }
    }
}
