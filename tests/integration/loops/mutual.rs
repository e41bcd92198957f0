//! Proxies that are upstream brokers of each other, without a broker between them.

use super::places::{Place, both_ways, everybody_hears_everything, join, repeats_are_no_copies};
use crate::support::Version;
use crate::support::mosquitto::Mosquitto;
use crate::support::proxy::Proxy;

/// Makes two proxies bidirectional upstream brokers of each other.
fn marry(one: &Proxy, versions: [Version; 2], two: &Proxy) {
    join(one, &both_ways(&format!("at-{}", two.mqtt().port()), two.mqtt().port(), versions[0]));
    join(two, &both_ways(&format!("at-{}", one.mqtt().port()), one.mqtt().port(), versions[1]));
}

fn places_at(proxies: &[Proxy]) -> Vec<Place> {
    let place = |(index, proxy): (usize, &Proxy)| Place::at(&format!("proxy-{index}"), proxy.mqtt());
    proxies.iter().enumerate().map(place).collect()
}

in_both_versions! {
    fn two_proxies_that_are_upstream_brokers_of_each_other_come_to_rest(version: Version) {
        let proxies = [Proxy::start(), Proxy::start()];
        marry(&proxies[0], [version; 2], &proxies[1]);
        let mut places = places_at(&proxies);
        everybody_hears_everything(&mut places, 20, 1, 0);
        repeats_are_no_copies(&mut places, 2);
    }

    fn a_chain_of_three_proxies_and_a_broker_comes_to_rest(version: Version) {
        let proxies = [Proxy::start(), Proxy::start(), Proxy::start()];
        marry(&proxies[0], [version; 2], &proxies[1]);
        marry(&proxies[1], [version; 2], &proxies[2]);
        let broker = Mosquitto::start();
        join(&proxies[1], &both_ways("broker", broker.port(), version));
        let mut places = places_at(&proxies);
        places.push(Place::at("broker", broker.address()));
        everybody_hears_everything(&mut places, 12, 1, 0);
        repeats_are_no_copies(&mut places, 2);
    }

    fn a_proxy_that_is_the_upstream_broker_of_another_gets_and_gives_everything_once(version: Version) {
        let proxies = [Proxy::start(), Proxy::start()];
        join(&proxies[1], &both_ways("up", proxies[0].mqtt().port(), version));
        let mut places = places_at(&proxies);
        everybody_hears_everything(&mut places, 20, 1, 0);
        repeats_are_no_copies(&mut places, 2);
    }
}

#[test]
fn two_proxies_that_reach_each_other_in_different_versions_come_to_rest() {
    let proxies = [Proxy::start(), Proxy::start()];
    marry(&proxies[0], [Version::V5, Version::V4], &proxies[1]);
    let mut places = places_at(&proxies);
    everybody_hears_everything(&mut places, 20, 1, 0);
    repeats_are_no_copies(&mut places, 2);
}

#[test]
fn a_ring_of_three_proxies_comes_to_rest() {
    let proxies = [Proxy::start(), Proxy::start(), Proxy::start()];
    for (one, two) in [(0, 1), (1, 2), (2, 0)] {
        marry(&proxies[one], [Version::V5; 2], &proxies[two]);
    }
    let mut places = places_at(&proxies);
    // Each message goes round both ways.
    everybody_hears_everything(&mut places, 12, 10, 200);
}
