//! Rings of real mosquitto brokers and proxies.

use super::places::{Place, both_ways, everybody_hears_everything, join, repeats_are_no_copies};
use crate::support::Version;
use crate::support::mosquitto::Mosquitto;
use crate::support::proxy::Proxy;

/// Two proxies that share two brokers, in these versions.
fn shared_pair(versions: [Version; 2]) {
    let brokers = [Mosquitto::start(), Mosquitto::start()];
    let proxies = [Proxy::start(), Proxy::start()];
    for proxy in &proxies {
        join(proxy, &both_ways("a", brokers[0].port(), versions[0]));
        join(proxy, &both_ways("b", brokers[1].port(), versions[1]));
    }
    let mut places = [
        Place::at("a", brokers[0].address()),
        Place::at("b", brokers[1].address()),
        Place::at("one", proxies[0].mqtt()),
        Place::at("two", proxies[1].mqtt()),
    ];
    everybody_hears_everything(&mut places, 20, 10, 200);
    repeats_are_no_copies(&mut places[..1], 2);
}

/// Three brokers and three proxies in a ring, each broker in its version.
fn ring_of_three(versions: [Version; 3]) {
    let brokers = [Mosquitto::start(), Mosquitto::start(), Mosquitto::start()];
    let proxies = [Proxy::start(), Proxy::start(), Proxy::start()];
    for (index, proxy) in proxies.iter().enumerate() {
        for (name, at) in [("left", index), ("right", (index + 1) % 3)] {
            join(proxy, &both_ways(name, brokers[at].port(), versions[at]));
        }
    }
    let mut places: Vec<Place> = Vec::new();
    for (index, broker) in brokers.iter().enumerate() {
        places.push(Place::at(&format!("broker-{index}"), broker.address()));
    }
    for (index, proxy) in proxies.iter().enumerate() {
        places.push(Place::at(&format!("proxy-{index}"), proxy.mqtt()));
    }
    everybody_hears_everything(&mut places, 12, 10, 200);
}

in_both_versions! {
    fn two_proxies_that_share_two_brokers_come_to_rest(version: Version) {
        shared_pair([version, version]);
    }

    fn three_proxies_and_three_brokers_in_a_ring_come_to_rest(version: Version) {
        ring_of_three([version; 3]);
    }

    fn one_proxy_between_three_brokers_copies_nothing_and_loses_no_repeat(version: Version) {
        let brokers = [Mosquitto::start(), Mosquitto::start(), Mosquitto::start()];
        let proxy = Proxy::start();
        let mut places = vec![Place::at("proxy", proxy.mqtt())];
        for (index, broker) in brokers.iter().enumerate() {
            join(&proxy, &both_ways(&format!("broker-{index}"), broker.port(), version));
            places.push(Place::at(&format!("broker-{index}"), broker.address()));
        }
        everybody_hears_everything(&mut places, 20, 1, 0);
        repeats_are_no_copies(&mut places, 3);
    }
}

#[test]
fn two_proxies_that_share_a_5_0_and_a_3_1_1_broker_come_to_rest() {
    shared_pair([Version::V5, Version::V4]);
}

#[test]
fn a_ring_of_mixed_versions_comes_to_rest() {
    ring_of_three([Version::V5, Version::V4, Version::V5]);
}
