//! One member gets everything, and another one where that is away.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use super::{add_members, configure, group, member, wait_active, wait_group_caught_up};
use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Connect, Publish};
use crate::support::proxy::{Proxy, Setup};
use crate::support::receiver::first_of_each;
use crate::support::{Version, assert_same, numbered, wait_until};

/// More QoS 2 messages than ever are in flight at once towards a broker that says nothing of its window, and is asked to
/// take 4,000.
const IN_FLIGHT_MAX: usize = 4_000;

/// What two members got on a topic, each text once, in the order of the first arrival at either.
fn union(parts: &[Vec<String>]) -> Vec<String> {
    let mut all = first_of_each(&parts.concat());
    all.sort();
    all
}

/// Texts that came to more than one member, or twice to one.
fn repeats(parts: &[Vec<String>]) -> usize {
    let mut seen = HashSet::new();
    parts.iter().flatten().filter(|text| !seen.insert((*text).clone())).count()
}

fn assert_in_order(texts: &[String], context: &str) {
    assert!(first_of_each(texts).is_sorted(), "{context}: out of order");
}

in_both_versions! {
    fn the_next_member_goes_on_when_the_active_one_is_killed_under_load_and_gives_back_later(version: Version) {
        let keepers = [Keeper::start(), Keeper::start()];
        let proxy = Proxy::start();
        let rest = proxy.rest();
        let ids = add_members(&proxy, &keepers, version);
        configure(&rest, &json!({"fail_back_secs": 1}));
        wait_active(&rest, "k0");
        assert_eq!(rest.broker(&ids[1])["state"], "standby");

        let texts = numbered("m", 3_000);
        let both = |texts: &[String]| -> Vec<Publish> {
            texts.iter().flat_map(|text| [1, 2].map(|qos| Publish::new(&format!("qos/{qos}"), text).qos(qos))).collect()
        };
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        keepers[0].set_mood(Mood::Slow(Duration::from_micros(100)));
        device.publish_all(both(&texts[..1_000]));
        keepers[0].wait_count(300);
        keepers[0].set_mood(Mood::Away);
        wait_active(&rest, "k1");
        device.publish_all(both(&texts[1_000..2_000]));
        keepers[1].wait_count(100);
        keepers[0].set_mood(Mood::Prompt);
        wait_active(&rest, "k0");
        device.publish_all(both(&texts[2_000..]));
        device.say("end", "end", 2);
        keepers[0].wait_text("end");
        wait_group_caught_up(&rest);

        for qos in ["qos/1", "qos/2"] {
            let parts = [0, 1].map(|index: usize| keepers[index].texts_on(qos));
            assert_same(&union(&parts), &texts, qos);
            for part in &parts {
                assert_in_order(part, qos);
            }
        }
        let exactly_once = [0, 1].map(|index: usize| keepers[index].texts_on("qos/2"));
        assert!(repeats(&exactly_once) <= IN_FLIGHT_MAX, "only what was in flight may come twice");
        for keeper in &keepers {
            keeper.assert_no_faults("a member");
        }
        let shown = group(&rest);
        assert_eq!((&shown["switches"], &shown["last_switch"]["to"]), (&json!(2), &json!("k0")), "{shown}");
        assert_eq!(shown["last_switch"]["cause"], "broker k0 is up again");
        assert!((rest.metric("mqtt_group_switches_total", &["group=\"g\""]) - 2.0).abs() < 0.5);
    }

    fn giving_back_in_order_loses_nothing_and_repeats_nothing(version: Version) {
        let keepers = [Keeper::away(), Keeper::start()];
        let proxy = Proxy::start();
        let rest = proxy.rest();
        add_members(&proxy, &keepers, version);
        configure(&rest, &json!({"fail_back_secs": 1}));
        wait_active(&rest, "k1");
        let texts = numbered("m", 60_000);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        keepers[0].set_mood(Mood::Prompt);
        let mut published = 0;
        while group(&rest)["active"] != "k0" || published < 1_000 {
            device.publish_all(texts[published..published + 10].iter().map(|text| Publish::new("t", text).qos(2)));
            published += 10;
            assert!(published < texts.len(), "k0 never takes over");
        }
        device.say("end", "end", 2);
        keepers[0].wait_text("end");
        wait_group_caught_up(&rest);
        let parts = [keepers[1].texts_on("t"), keepers[0].texts_on("t")];
        assert_same(&parts.concat(), &texts[..published], "k1, then k0");
        keepers.iter().for_each(|keeper| keeper.assert_no_faults("a member"));
    }

    fn a_kill_of_the_proxy_between_two_switches_loses_nothing(version: Version) {
        let keepers = [Keeper::start(), Keeper::start()];
        let mut proxy = Proxy::start();
        add_members(&proxy, &keepers, version);
        configure(&proxy.rest(), &json!({"fail_back_secs": 1}));
        wait_active(&proxy.rest(), "k0");
        let texts = numbered("m", 2_000);
        let on_t = |part: &[String]| -> Vec<Publish> { part.iter().map(|text| Publish::new("t", text).qos(2)).collect() };
        keepers[0].set_mood(Mood::Slow(Duration::from_millis(1)));
        Device::connect(proxy.mqtt(), version, "device").publish_all(on_t(&texts[..1_000]));
        keepers[0].wait_count(100);
        // With messages in flight at the first member, which remembers them, and then at the second one.
        keepers[0].set_mood(Mood::Away);
        keepers[1].set_mood(Mood::Slow(Duration::from_millis(1)));
        keepers[1].wait_count(100);
        proxy.kill_and_restart();
        keepers[1].wait_count(300);
        Device::connect(proxy.mqtt(), version, "device").publish_all(on_t(&texts[1_000..]));
        keepers[1].set_mood(Mood::Prompt);
        keepers[0].set_mood(Mood::Prompt);
        wait_active(&proxy.rest(), "k0");
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.say("end", "end", 2);
        keepers[0].wait_text("end");
        wait_group_caught_up(&proxy.rest());
        let parts = [0, 1].map(|index: usize| keepers[index].texts_on("t"));
        assert_same(&union(&parts), &texts, "both together");
        for (keeper, part) in keepers.iter().zip(&parts) {
            assert_in_order(part, "a member");
            // A member that remembers an identifier would take a later message for a repeat of the first.
            keeper.assert_no_faults("a member");
            assert_eq!(first_of_each(part).len(), part.len(), "QoS 2 comes to each member once");
        }
    }

    fn between_mosquittos_nothing_is_lost_and_each_topic_stays_in_order(version: Version) {
        let witness = Connect::new(Version::V4, "witness").persistent();
        let mut brokers = [Mosquitto::start_with_memory(), Mosquitto::start_with_memory()];
        for broker in &brokers {
            let mut device = Device::connect_with(broker.address(), &witness);
            device.subscribe("t/#", 2);
            device.disconnect();
        }
        let proxy = Proxy::start();
        let rest = proxy.rest();
        for (index, name) in ["a", "b"].into_iter().enumerate() {
            rest.add(&member(name, brokers[index].port(), version, index as u32));
        }
        configure(&rest, &json!({"fail_back_secs": 1}));
        wait_active(&rest, "a");
        let texts = numbered("m", 3_000);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        let mut publish = |part: &[String]| {
            let each = part.iter().flat_map(|text| [1, 2].map(|qos| Publish::new(&format!("t/{qos}"), text).qos(qos)));
            device.publish_all(each);
        };
        publish(&texts[..1_000]);
        brokers[0].stop();
        publish(&texts[1_000..2_000]);
        wait_active(&rest, "b");
        brokers[0].resume_process();
        wait_active(&rest, "a");
        publish(&texts[2_000..]);
        wait_group_caught_up(&rest);
        let taken = brokers.each_ref().map(|broker| {
            let mut device = Device::connect_with(broker.address(), &witness);
            assert!(device.connack.session_present, "mosquitto kept the session");
            Device::connect(broker.address(), Version::V4, "marker").say("t/end", "end", 1);
            device.receive_before("end")
        });
        for topic in ["t/1", "t/2"] {
            let of = |messages: &Vec<Publish>| -> Vec<String> {
                messages.iter().filter(|message| message.topic == topic).map(Publish::text).collect()
            };
            let parts = taken.each_ref().map(of);
            assert_same(&union(&parts), &texts, topic);
            parts.iter().for_each(|part| assert_in_order(part, topic));
            // mosquitto lets 20 messages be in flight.
            assert!(topic == "t/1" || repeats(&parts) <= 40, "{} repeats", repeats(&parts));
        }
    }
}

#[test]
fn a_member_that_hangs_is_left_and_one_that_is_away_for_a_moment_only_is_not_where_the_group_says_so() {
    let keepers = [Keeper::start(), Keeper::start()];
    let proxy = Proxy::start();
    let rest = proxy.rest();
    for (index, keeper) in keepers.iter().enumerate() {
        let mut definition = member(&format!("k{index}"), keeper.port(), Version::V4, index as u32);
        definition["keep_alive_secs"] = json!(1);
        rest.add(&definition);
    }
    wait_active(&rest, "k0");
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    configure(&rest, &json!({"fail_over_after_secs": 600}));
    keepers[0].set_mood(Mood::Away);
    wait_until("its absence is noticed", || group(&rest)["active"].is_null());
    device.say("t", "one", 1);
    keepers[0].set_mood(Mood::Prompt);
    keepers[0].wait_text("one");
    assert_eq!(group(&rest)["switches"], 0);

    configure(&rest, &json!({"fail_over_after_secs": null, "fail_back_secs": 600}));
    keepers[0].set_mood(Mood::Hanging);
    // The first one may have taken this just before it hung.
    device.say("t", "two", 1);
    wait_active(&rest, "k1");
    device.say("t", "three", 1);
    keepers[1].wait_text("three");
    assert!(keepers[0].has("two") || keepers[1].has("two"));
    assert!(!keepers[1].has("one"), "the first one has acknowledged it");
    assert_eq!(group(&rest)["switches"], 1);
}

#[test]
fn a_group_counts_as_one_where_acknowledgements_wait_for_all_brokers() {
    let keepers = [Keeper::away(), Keeper::start(), Keeper::start()];
    let proxy = Setup::new()
        .settings("[acknowledgement]\npolicy = \"all\"\ndeadline_ms = 20000\non_deadline = \"withhold\"")
        .start();
    let rest = proxy.rest();
    add_members(&proxy, &keepers[..2], Version::V5);
    let other = rest.add_local("other", keepers[2].port(), Version::V5);
    wait_active(&rest, "k1");
    rest.wait_connected(&other);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    for number in 0..50 {
        device.say("t", &number.to_string(), 1);
    }
    assert_eq!(
        (keepers[1].count(), keepers[2].count()),
        (50, 50),
        "what is acknowledged has arrived at both"
    );
    assert!(rest.metric("mqtt_acknowledgements_overdue_total", &[]) < 0.5);
}
