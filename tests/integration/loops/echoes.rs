//! Brokers that send back what they get: those that refuse to take the proxy for a bridge, and those that do and send
//! back all the same. And equal messages of different people, which are no echoes.

use serde_json::json;

use super::echoing::Echoing;
use super::places::{
    Place, both_ways, everybody_hears_everything, join, repeats_are_no_copies, rest, warm_up,
};
use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Publish, kind};
use crate::support::proxy::Proxy;
use crate::support::scripted::{Link, Scripted};
use crate::support::{Version, numbered, wait_until};

/// Takes a message of the proxy and sends it back, as 3.1.1 says.
fn echo(link: &mut Link) -> Publish {
    let message = link.take();
    link.send(&Publish { id: 1, retain: false, ..message.clone() });
    assert_eq!(link.expect(kind::PUBACK), 1);
    message
}

#[test]
fn a_broker_that_accepts_the_bridge_bit_and_ignores_it_is_noticed() {
    let upstream = Scripted::listen();
    let proxy = Proxy::start();
    join_scripted(&proxy, &upstream, "auto");
    let mut link = upstream.accept();
    assert!(link.connect.bridge);
    link.answer_connect(false, 0, &Vec::new());
    link.grant();
    let mut local = Device::connect(proxy.mqtt(), Version::V4, "local");
    local.subscribe("t/#", 1);
    for number in 0..10 {
        local.say("t/a", &format!("m{number}"), 1);
        echo(&mut link);
    }
    // And what the broker's clients say once more is theirs.
    link.send(&Publish { id: 2, ..Publish::new("t/a", "m9").qos(1) });
    assert_eq!(link.expect(kind::PUBACK), 2);
    link.send(&Publish { id: 3, ..Publish::new("t/a", "end").qos(1) });
    let texts = local.texts_before("end");
    let copies = texts.len() - 11;
    assert!(copies <= 2, "{texts:?}");
    for number in 3..9 {
        let text = format!("m{number}");
        assert_eq!(texts.iter().filter(|heard| **heard == text).count(), 1, "{texts:?}");
    }
    assert_eq!(texts.iter().filter(|heard| *heard == "m9").count(), 2, "{texts:?}");
}

/// Adds a scripted 3.1.1 broker, which is not connected yet.
fn join_scripted(proxy: &Proxy, upstream: &Scripted, loop_guard: &str) {
    let mut definition = both_ways("scripted", upstream.port(), Version::V4);
    definition["loop_guard"] = json!(loop_guard);
    proxy.rest().add(&definition);
}

#[test]
fn two_brokers_that_ignore_the_bridge_bit_come_to_rest() {
    let brokers = [Echoing::start(), Echoing::start()];
    let proxy = Proxy::start();
    let mut places = vec![Place::at("proxy", proxy.mqtt())];
    for (broker, name) in brokers.iter().zip(["a", "b"]) {
        join(&proxy, &both_ways(name, broker.port, Version::V4));
        places.push(Place::at(name, broker.address()));
    }
    everybody_hears_everything(&mut places, 20, 20, 200);
    wait_until("it is said what to do", || proxy.log().contains("set loop_guard to credits"));
}

#[test]
fn with_credits_brokers_that_send_everything_back_lose_no_repeat() {
    let brokers = [Mosquitto::start(), Mosquitto::start()];
    let proxy = Proxy::start();
    let mut places = vec![Place::at("proxy", proxy.mqtt())];
    for (broker, name) in brokers.iter().zip(["a", "b"]) {
        let mut definition = both_ways(name, broker.port(), Version::V4);
        definition["loop_guard"] = json!("credits");
        join(&proxy, &definition);
        places.push(Place::at(name, broker.address()));
    }
    everybody_hears_everything(&mut places, 20, 1, 0);
    repeats_are_no_copies(&mut places, 5);
}

#[test]
fn a_broker_that_closes_the_connection_of_a_bridge_is_asked_without_the_bit() {
    let upstream = Scripted::listen();
    let proxy = Proxy::start();
    join_scripted(&proxy, &upstream, "auto");
    let link = upstream.accept();
    assert!(link.connect.bridge);
    link.cut();
    let mut link = upstream.accept();
    assert!(!link.connect.bridge);
    link.answer_connect(false, 0, &Vec::new());
    link.grant();
    let mut local = Device::connect(proxy.mqtt(), Version::V4, "local");
    local.subscribe("t/#", 1);
    local.say("t/a", "m", 1);
    echo(&mut link);
    link.send(&Publish::new("t/a", "end"));
    assert_eq!(local.texts_before("end"), ["m"]);
}

#[test]
fn the_definition_says_how_echoes_are_met() {
    for (loop_guard, asks_as_bridge, comes_back) in
        [("credits", false, false), ("bridge", true, true), ("off", false, true)]
    {
        let upstream = Scripted::listen();
        let proxy = Proxy::start();
        join_scripted(&proxy, &upstream, loop_guard);
        let mut link = upstream.accept();
        assert_eq!(link.connect.bridge, asks_as_bridge, "{loop_guard}");
        link.answer_connect(false, 0, &Vec::new());
        link.grant();
        let mut local = Device::connect(proxy.mqtt(), Version::V4, "local");
        local.subscribe("t/#", 1);
        for _ in 0..5 {
            local.say("t/a", "m", 1);
            echo(&mut link);
        }
        link.send(&Publish::new("t/a", "end"));
        let wanted = if comes_back { 10 } else { 5 };
        assert_eq!(local.texts_before("end"), vec!["m"; wanted], "{loop_guard}");
    }
}

#[test]
fn with_credits_a_5_0_broker_is_not_asked_for_no_local() {
    for (loop_guard, no_local) in [("auto", true), ("bridge", true), ("credits", false), ("off", false)] {
        let upstream = Scripted::listen();
        let proxy = Proxy::start();
        let mut definition = both_ways("scripted", upstream.port(), Version::V5);
        definition["loop_guard"] = json!(loop_guard);
        proxy.rest().add(&definition);
        let asked = upstream.welcome(false).grant();
        assert_eq!(asked[0].1 & 4 != 0, no_local, "{loop_guard}");
    }
}

in_both_versions! {
    fn what_two_people_say_at_the_same_time_is_two_messages(version: Version) {
        let brokers = [Mosquitto::start(), Mosquitto::start()];
        let proxy = Proxy::start();
        let mut places = vec![Place::at("proxy", proxy.mqtt())];
        for (name, broker) in ["a", "b"].iter().zip(&brokers) {
            join(&proxy, &both_ways(name, broker.port(), version));
            places.push(Place::at(name, broker.address()));
        }
        warm_up(&mut places);
        let mut people = [0, 1, 2].map(|n| Device::connect(places[n].address, version, "person"));
        // It is known by then that nothing comes round.
        for text in numbered("other", 40) {
            people[0].say("t/other", &text, 1);
        }
        wait_until("everybody has heard the others", || {
            rest(&mut places, "others");
            places.iter().all(|place| place.heard.len() == 40)
        });
        places.iter_mut().for_each(|place| place.heard.clear());
        for round in 0..30 {
            let text = if round % 2 == 0 { "on" } else { "off" };
            people.iter_mut().for_each(|person| person.say("t/light", text, 1));
        }
        wait_until("everybody has heard everybody", || {
            rest(&mut places, "people");
            places.iter().all(|place| place.heard.len() >= 90)
        });
        for place in &places {
            assert_eq!(place.heard.len(), 90, "at {}", place.name);
        }
    }
}
