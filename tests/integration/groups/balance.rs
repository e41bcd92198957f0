//! Topics are spread over the members, and each stays where it is while nothing fails.

use std::collections::HashMap;

use serde_json::json;

use super::{configure, group, member, wait_active, wait_group_caught_up};
use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Connect, Publish};
use crate::support::proxy::Proxy;
use crate::support::receiver::first_of_each;
use crate::support::rest::Rest;
use crate::support::{Version, assert_same, numbered, wait_until};

const TOPICS: usize = 40;

fn topics() -> Vec<String> {
    (0..TOPICS).map(|number| format!("plant/{number}")).collect()
}

/// Publishes texts on every topic.
fn publish(proxy: &Proxy, texts: &[String], qos: u8) {
    let on_each =
        |text: &String| topics().into_iter().map(|topic| Publish::new(&topic, text).qos(qos)).collect();
    let all: Vec<Vec<Publish>> = texts.iter().map(on_each).collect();
    Device::connect(proxy.mqtt(), Version::V5, "device").publish_all(all.concat());
}

/// Mosquittos, each with a subscriber who is away and gets everything later.
struct Members {
    brokers: Vec<Mosquitto>,
}

impl Members {
    fn start(count: usize) -> Members {
        let brokers: Vec<Mosquitto> = (0..count).map(|_| Mosquitto::start_with_memory()).collect();
        for broker in &brokers {
            let mut device = Device::connect_with(broker.address(), &Members::witness());
            device.subscribe("plant/#", 2);
            device.disconnect();
        }
        Members { brokers }
    }

    fn witness() -> Connect {
        Connect::new(Version::V4, "witness").persistent()
    }

    /// Adds them to the group under the names `b0`, `b1` and so on.
    fn join(&self, rest: &Rest, version: Version) {
        for (index, broker) in self.brokers.iter().enumerate() {
            rest.add(&member(&format!("b{index}"), broker.port(), version, 0));
        }
    }

    /// What each of them got.
    fn taken(&self) -> Vec<Vec<Publish>> {
        let taken = |broker: &Mosquitto| {
            let mut device = Device::connect_with(broker.address(), &Members::witness());
            assert!(device.connack.session_present, "mosquitto kept the session");
            Device::connect(broker.address(), Version::V4, "marker").say("plant/end", "end", 1);
            device.receive_before("end")
        };
        self.brokers.iter().map(taken).collect()
    }
}

/// The members that have this text, by topic.
fn holders(taken: &[Vec<Publish>], text: &str) -> HashMap<String, Vec<usize>> {
    let mut holders: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, messages) in taken.iter().enumerate() {
        for message in messages.iter().filter(|message| message.text() == text) {
            holders.entry(message.topic.clone()).or_default().push(index);
        }
    }
    holders
}

/// Every text came on every topic, and at each member in order.
fn assert_all_in_order(taken: &[Vec<Publish>], texts: &[String]) {
    for topic in topics() {
        let at = |messages: &Vec<Publish>| -> Vec<String> {
            let on_topic = messages.iter().filter(|message| message.topic == topic);
            first_of_each(&on_topic.map(Publish::text).collect::<Vec<_>>())
        };
        let parts: Vec<Vec<String>> = taken.iter().map(at).collect();
        assert!(parts.iter().all(|part| part.is_sorted()), "{topic}: out of order");
        let mut all = parts.concat();
        all.sort();
        all.dedup();
        assert_same(&all, texts, &topic);
    }
}

/// Waits until each member serves so many parts of the topics.
fn wait_spread(rest: &Rest, spread: &[(&str, usize)]) {
    wait_until("the parts are spread", || {
        let group = group(rest);
        let parts = group["parts"].as_array().expect("parts").clone();
        spread.iter().all(|(name, count)| {
            let served = parts.iter().filter(|part| part["member"] == *name && part["connected"] == true);
            served.count() == *count
        })
    });
}

in_both_versions! {
    fn each_message_reaches_one_member_and_each_topic_always_the_same(version: Version) {
        let members = Members::start(3);
        let proxy = Proxy::start();
        let rest = proxy.rest();
        members.join(&rest, version);
        configure(&rest, &json!({"mode": "balance", "partitions": 6, "fail_back_secs": 1}));
        wait_spread(&rest, &[("b0", 2), ("b1", 2), ("b2", 2)]);
        let texts = numbered("m", 20);
        publish(&proxy, &texts, 2);
        wait_group_caught_up(&rest);
        let taken = members.taken();
        let homes = holders(&taken, &texts[0]);
        assert_eq!(homes.len(), TOPICS);
        for text in &texts {
            assert_eq!(holders(&taken, text), homes, "{text}: always the same one");
        }
        assert!(homes.values().all(|holders| holders.len() == 1), "one each");
        for index in 0..3 {
            let count = homes.values().filter(|holders| **holders == [index]).count();
            assert!(count > TOPICS / 10, "{count} of {TOPICS} topics at member {index}");
        }
        assert_all_in_order(&taken, &texts);
        let forwarded = rest.brokers().iter().filter_map(|broker| broker["forwarded"].as_u64()).sum::<u64>();
        assert_eq!(forwarded, (TOPICS * texts.len()) as u64, "each is counted once");
    }

    fn the_others_stand_in_for_a_member_and_give_its_topics_back(version: Version) {
        let mut members = Members::start(3);
        let mut proxy = Proxy::start();
        members.join(&proxy.rest(), version);
        configure(&proxy.rest(), &json!({"mode": "balance", "partitions": 6, "fail_back_secs": 1}));
        let all = [("b0", 2), ("b1", 2), ("b2", 2)];
        wait_spread(&proxy.rest(), &all);
        let texts = numbered("m", 60);
        publish(&proxy, &texts[..20], 1);
        wait_group_caught_up(&proxy.rest());

        members.brokers[1].stop();
        publish(&proxy, &texts[20..30], 1);
        proxy.kill_and_restart();
        publish(&proxy, &texts[30..40], 1);
        wait_spread(&proxy.rest(), &[("b1", 0)]);
        wait_group_caught_up(&proxy.rest());

        members.brokers[1].resume_process();
        wait_spread(&proxy.rest(), &all);
        publish(&proxy, &texts[40..], 1);
        wait_group_caught_up(&proxy.rest());
        let taken = members.taken();
        assert_all_in_order(&taken, &texts);
        let (homes, meanwhile) = (holders(&taken, &texts[0]), holders(&taken, &texts[39]));
        assert!(meanwhile.values().all(|holders| !holders.contains(&1)), "b1 is away");
        for (topic, home) in homes.iter().filter(|(_, home)| **home != [1]) {
            assert_eq!(&meanwhile[topic], home, "{topic} stays where it was");
        }
        assert_eq!(holders(&taken, &texts[59]), homes, "everything is back where it belongs");
    }
}

#[test]
fn a_failover_group_becomes_a_balancing_one_and_back_without_a_loss() {
    let members = Members::start(2);
    let proxy = Proxy::start();
    let rest = proxy.rest();
    members.join(&rest, Version::V5);
    wait_active(&rest, "b0");
    let texts = numbered("m", 60);
    publish(&proxy, &texts[..20], 1);
    configure(&rest, &json!({"mode": "balance", "partitions": 4}));
    publish(&proxy, &texts[20..40], 1);
    wait_spread(&rest, &[("b0", 2), ("b1", 2)]);
    configure(&rest, &json!({"mode": null}));
    publish(&proxy, &texts[40..], 1);
    wait_active(&rest, "b0");
    wait_group_caught_up(&rest);
    assert_all_in_order(&members.taken(), &texts);
}
