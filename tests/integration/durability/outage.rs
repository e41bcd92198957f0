//! The promise itself: upstream brokers are away, devices get their acknowledgements, the proxy dies, and all of
//! it arrives.

use serde_json::json;

use super::{add_keeper, connect_keeper, device, dropped, publish};
use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Connect, Publish};
use crate::support::proxy::{Proxy, Setup};
use crate::support::receiver::first_of_each;
use crate::support::{Version, assert_same, numbered};
use std::time::Duration;

/// A mosquitto that is stopped, and keeps everything for a session of this name.
fn mosquitto_with_witness(witness: &Connect) -> Mosquitto {
    let mut broker = Mosquitto::start_with_memory();
    let mut device = Device::connect_with(broker.address(), witness);
    device.subscribe("#", 2);
    device.disconnect();
    broker.stop();
    broker
}

fn outage_and_kill(version: Version, qos: u8) {
    let witness = Connect::new(Version::V4, "witness").persistent();
    let mut mosquitto = mosquitto_with_witness(&witness);
    let keeper = Keeper::away();
    let url = format!("mqtt://127.0.0.1:{}?name=mosquitto&version={}", mosquitto.port(), version.name());
    let mut proxy = Setup::new().upstream(&url).start();
    let id = add_keeper(&proxy, "keeper", &keeper, version, &json!({}));

    let texts = numbered("m", 5_000);
    publish(&mut device(&proxy, version), "t", &texts, qos);
    proxy.kill_and_restart();
    assert!(
        proxy.rest().broker(&id)["lag"].as_u64() >= Some(5_000),
        "the restarted proxy knows what is missing"
    );

    keeper.set_mood(Mood::Prompt);
    mosquitto.resume_process();
    keeper.wait_count(5_000);
    proxy.rest().wait_caught_up(&id);
    // None of it was in flight when the proxy died, so nothing may come twice.
    assert_same(&keeper.texts_on("t"), &texts, "the keeper");
    keeper.assert_no_faults("the keeper");
    proxy.rest().wait_caught_up(&proxy.rest().id_of("mosquitto"));
    let mut witness = Device::connect_with(mosquitto.address(), &witness);
    assert!(witness.connack.session_present, "mosquitto kept the session");
    let arrived: Vec<String> = witness.receive_all(5_000).iter().map(Publish::text).collect();
    assert_same(&arrived, &texts, "mosquitto");
    assert_eq!(witness.inbox_after_ping(), Vec::<String>::new(), "nothing comes twice");
}

in_both_versions! {
    fn qos_1_that_was_acknowledged_while_brokers_were_away_survives_kill_9(version: Version) {
        outage_and_kill(version, 1);
    }

    fn qos_2_that_was_acknowledged_while_brokers_were_away_survives_kill_9(version: Version) {
        outage_and_kill(version, 2);
    }

    fn a_kill_in_the_middle_of_the_drain_loses_nothing_and_repeats_no_qos_2(version: Version) {
        let keeper = Keeper::away();
        let mut proxy = Proxy::start();
        let id = add_keeper(&proxy, "keeper", &keeper, version, &json!({}));
        let texts = numbered("m", 3_000);
        let both = texts.iter().flat_map(|text| [1, 2].map(|qos| Publish::new(&format!("qos/{qos}"), text).qos(qos)));
        device(&proxy, version).publish_all(both);
        keeper.set_mood(Mood::Slow(Duration::from_micros(50)));
        for part in [500, 1_000, 2_500] {
            keeper.wait_count(part);
            proxy.kill_and_restart();
        }
        keeper.set_mood(Mood::Prompt);
        device(&proxy, version).say("end", "end", 1);
        keeper.wait_text("end");
        proxy.rest().wait_caught_up(&id);
        assert_same(&keeper.texts_on("qos/2"), &texts, "exactly once");
        assert_same(&first_of_each(&keeper.texts_on("qos/1")), &texts, "at least once, and in order");
        keeper.assert_no_faults("the keeper");
    }
}

#[test]
fn more_than_the_memory_holds_waits_on_disk() {
    let keeper = Keeper::away();
    let settings = "[log]\nhead_bytes_max = 1048576\nsegment_bytes = 65536";
    let mut proxy = Setup::new().settings(settings).start();
    let id = add_keeper(&proxy, "keeper", &keeper, Version::V4, &json!({}));
    let texts = numbered(&"x".repeat(1_000), 5_000);
    publish(&mut device(&proxy, Version::V4), "t", &texts[..2_500], 1);
    assert_eq!(dropped(&proxy, &id), 0, "2.5 MB are in the files where 1 MiB of memory is not enough");
    proxy.kill_and_restart();
    publish(&mut device(&proxy, Version::V4), "t", &texts[2_500..], 1);
    keeper.set_mood(Mood::Prompt);
    keeper.wait_count(5_000);
    assert_same(&keeper.texts_on("t"), &texts, "what was on disk, then what was in memory");
    assert_eq!(dropped(&proxy, &id), 0);
}

#[test]
fn an_orderly_restart_loses_nothing_and_repeats_nothing() {
    let keepers = [Keeper::start(), Keeper::away()];
    let mut proxy = Proxy::start();
    let prompt = connect_keeper(&proxy, "prompt", &keepers[0], Version::V5);
    let absent = add_keeper(&proxy, "absent", &keepers[1], Version::V4, &json!({}));
    let texts = numbered("m", 900);
    for part in texts.chunks(300) {
        publish(&mut device(&proxy, Version::V5), "t", part, 1);
        proxy.rest().wait_caught_up(&prompt);
        proxy.stop_and_restart();
    }
    keepers[1].set_mood(Mood::Prompt);
    keepers[1].wait_count(900);
    for (id, keeper) in [prompt, absent].iter().zip(&keepers) {
        proxy.rest().wait_connected(id);
        proxy.rest().wait_caught_up(id);
        assert_same(&keeper.texts_on("t"), &texts, "after three orderly restarts");
    }
}

#[test]
fn a_broker_that_has_everything_gets_nothing_again_after_a_kill() {
    let keeper = Keeper::start();
    let mut proxy = Proxy::start();
    let id = connect_keeper(&proxy, "keeper", &keeper, Version::V4);
    let texts = numbered("m", 500);
    publish(&mut device(&proxy, Version::V4), "t", &texts, 2);
    keeper.wait_count(500);
    proxy.rest().wait_caught_up(&id);
    proxy.kill_and_restart();
    proxy.rest().wait_connected(&id);
    device(&proxy, Version::V4).say("t", "end", 2);
    keeper.wait_text("end");
    assert_same(&keeper.texts_on("t"), &[texts, vec!["end".to_owned()]].concat(), "QoS 2, exactly once");
    keeper.assert_no_faults("the keeper");
}

#[test]
fn topics_of_a_broker_and_its_max_qos_hold_for_what_comes_from_disk() {
    let keeper = Keeper::away();
    let mut proxy = Proxy::start();
    let fields = json!({"topics": ["plant/+/alarm"], "max_qos": 1});
    let id = add_keeper(&proxy, "keeper", &keeper, Version::V5, &fields);
    let mut publisher = device(&proxy, Version::V5);
    for number in 0..50 {
        publisher.say("plant/7/alarm", &format!("{number}"), 2);
        publisher.say("plant/7/temperature", "unwanted", 2);
    }
    proxy.kill_and_restart();
    keeper.set_mood(Mood::Prompt);
    keeper.wait_count(50);
    proxy.rest().wait_caught_up(&id);
    let messages = keeper.messages();
    let wanted: Vec<String> = (0..50).map(|number: usize| number.to_string()).collect();
    assert_same(&keeper.texts_on("plant/7/alarm"), &wanted, "what its filter wants");
    assert_eq!(messages.len(), 50, "and nothing else");
    assert!(messages.iter().all(|message| message.qos == 1), "max_qos holds");
}

#[test]
fn properties_retain_and_payloads_of_any_size_survive_a_kill() {
    use crate::support::packets::{Value, property};
    let keeper = Keeper::away();
    let mut proxy = Proxy::start();
    add_keeper(&proxy, "keeper", &keeper, Version::V5, &json!({}));
    let large: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
    let messages = [
        Publish::new("t/é", [0, 159, 255]).qos(2).retained(),
        Publish::new("t", b"").qos(1),
        Publish::new("t", large).qos(1),
        Publish::new("t", "p")
            .qos(1)
            .property(property::CONTENT_TYPE, Value::Text("text".to_owned()))
            .property(property::USER, Value::Pair("a".to_owned(), "b".to_owned())),
    ];
    device(&proxy, Version::V5).publish_all(messages.clone());
    proxy.kill_and_restart();
    keeper.set_mood(Mood::Prompt);
    keeper.wait_count(messages.len());
    let arrived = keeper.messages().into_iter().map(|message| Publish { id: 0, ..message });
    assert!(arrived.eq(messages), "the messages changed on disk");
}

#[test]
fn qos_0_survives_a_kill_where_that_is_set() {
    let keeper = Keeper::away();
    let mut proxy = Setup::new().settings("[log]\npersist_qos0 = true").start();
    add_keeper(&proxy, "keeper", &keeper, Version::V4, &json!({}));
    let texts = numbered("m", 100);
    let mut sender = device(&proxy, Version::V4);
    publish(&mut sender, "t", &texts, 0);
    // Nobody acknowledges QoS 0, but this one is stored behind them.
    sender.say("t", "end", 1);
    proxy.kill_and_restart();
    keeper.set_mood(Mood::Prompt);
    keeper.wait_text("end");
    assert_same(
        &keeper.texts_on("t"),
        &[texts, vec!["end".to_owned()]].concat(),
        "QoS 0 and what is behind it",
    );
}
