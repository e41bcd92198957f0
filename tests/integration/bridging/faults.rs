//! A 3.1.1 and a 5.0 upstream broker side by side behind lines that are cut, delayed, throttled and silent: QoS 2 comes
//! exactly once, QoS 1 misses nothing, and each topic keeps its order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::device::Device;
use crate::support::faulty_link::{Direction, FaultyLink};
use crate::support::keeper::Keeper;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::Connect;
use crate::support::proxy::Proxy;
use crate::support::random::Random;
use crate::support::receiver::{first_of_each, texts_on};
use crate::support::reporter::Reporter;
use crate::support::rest::local_broker;
use crate::support::{Version, assert_same, wait_until};

/// How many messages go through, about half of them at each QoS.
const MESSAGES: usize = 1_500;
/// How many faults each line has at least while they do.
const FAULTS: usize = 25;

/// One fault after the other, until it is told to end; then the line is whole. How many there were.
fn torment(link: &FaultyLink, seed: u64, ended: &AtomicBool) -> usize {
    let mut random = Random::seeded(seed);
    let mut faults = 0;
    while !ended.load(Ordering::Relaxed) || faults < FAULTS {
        faults += 1;
        let time = Duration::from_millis(5 + random.below(50) as u64);
        match random.below(6) {
            0 | 1 => link.cut(),
            2 => link.delay(Duration::from_millis(1 + random.below(10) as u64)),
            3 => link.throttle(5_000 + random.below(50_000)),
            4 => link.silence(&[Direction::ToBroker, Direction::FromBroker][random.below(2)..]),
            _ => link.silence(&[Direction::FromBroker]),
        }
        thread::sleep(time);
        if random.one_in(3) {
            // What is silent when it is cut is lost on its way.
            link.cut();
        }
        link.heal();
        thread::sleep(time);
    }
    faults
}

in_both_versions! {
    fn both_upstreams_get_everything_through_lines_that_break(version: Version) {
        let brokers = [Keeper::start(), Keeper::start()];
        let links = brokers.each_ref().map(|broker| FaultyLink::to(([127, 0, 0, 1], broker.port()).into()));
        let steady = Keeper::start();
        let proxy = Proxy::start();
        let rest = proxy.rest();
        let ids: Vec<String> = Version::BOTH
            .into_iter()
            .zip(&links)
            .map(|(upstream, link)| {
                let mut definition = local_broker(upstream.name(), link.port(), upstream);
                definition["keep_alive_secs"] = json!(2);
                definition["retry_floor_ms"] = json!(10);
                definition["retry_ceiling_ms"] = json!(50);
                rest.add(&definition)
            })
            .collect();
        ids.iter().for_each(|id| rest.wait_connected(id));
        rest.add(&local_broker("steady", steady.port(), version));
        let mut reporter = Reporter::new(version, "sensor", 7);
        assert!(reporter.attach(proxy.mqtt()));
        let ended = Arc::new(AtomicBool::new(false));
        let links = links.map(|link| {
            let (ended, seed) = (Arc::clone(&ended), u64::from(link.port()));
            thread::spawn(move || {
                let faults = torment(&link, seed, &ended);
                (link, faults)
            })
        });
        for _ in 0..MESSAGES / 100 {
            reporter.publish(100);
            thread::sleep(Duration::from_millis(30));
        }
        assert!(reporter.is_content(), "the device does not notice");
        ended.store(true, Ordering::Relaxed);
        let links = links.map(|link| link.join().expect("no line panics"));
        ids.iter().for_each(|id| rest.wait_caught_up(id));
        rest.wait_caught_up(&rest.id_of("steady"));
        for (broker, name) in brokers.iter().chain([&steady]).zip(["3.1.1", "5", "steady"]) {
            broker.assert_no_faults(name);
            let once = broker.texts_on(&reporter.topic(2));
            assert_same(&once, &reporter.texts(2), &format!("{name}: QoS 2"));
            let at_least_once = first_of_each(&broker.texts_on(&reporter.topic(1)));
            assert_same(&at_least_once, &reporter.texts(1), &format!("{name}: QoS 1"));
        }
        for ((link, faults), id) in links.iter().zip(&ids) {
            eprintln!("{faults} faults, {} connections: {}", link.connections(), rest.broker(id)["reconnects"]);
            assert!(link.connections() > 2, "the line was not broken often enough");
        }
        assert_eq!(rest.broker(&rest.id_of("steady"))["reconnects"], 0);
    }
}

/// The same with real brokers that the proxy subscribes at too. Nothing may be missing; whether a message comes once and in
/// its place is not for the proxy alone to say: mosquitto 2.0.11 sends a message anew, with DUP, whose PUBREL it was about
/// to repeat when the line breaks once more, and does not always keep the order of what it sends again.
#[test]
fn what_comes_from_real_brokers_over_broken_lines_is_all_there() {
    let brokers = [Mosquitto::start_with_memory(), Mosquitto::start_with_memory()];
    let links = brokers.each_ref().map(|broker| FaultyLink::to(broker.address()));
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let ids: Vec<String> = Version::BOTH
        .into_iter()
        .zip(&links)
        .enumerate()
        .map(|(place, (version, link))| {
            let mut definition = local_broker(version.name(), link.port(), version);
            definition["bidirectional"] = json!(true);
            definition["subscription_topics"] = json!([format!("from-{place}/#")]);
            definition["subscription_qos"] = json!(2);
            definition["keep_alive_secs"] = json!(2);
            definition["retry_floor_ms"] = json!(10);
            definition["retry_ceiling_ms"] = json!(50);
            rest.add(&definition)
        })
        .collect();
    ids.iter().for_each(|id| rest.wait_connected(id));
    let kept = Connect::new(Version::V5, "kept").persistent();
    let mut local = Device::connect_with(proxy.mqtt(), &kept);
    local.subscribe("#", 2);
    // The subscriptions are made when something has come through.
    for (place, broker) in brokers.iter().enumerate() {
        let mut author = Device::connect(broker.address(), Version::V4, "first");
        let topic = format!("from-{place}/first");
        wait_until("the proxy is subscribed", || {
            author.say(&topic, "first", 1);
            local.receive_waiting().iter().any(|message| message.topic == topic)
        });
    }
    let ended = Arc::new(AtomicBool::new(false));
    let links = links.map(|link| {
        let (ended, seed) = (Arc::clone(&ended), u64::from(link.port()));
        thread::spawn(move || {
            torment(&link, seed, &ended);
            link
        })
    });
    let mut reporters = [0, 1].map(|place| Reporter::new(Version::BOTH[place], &format!("from-{place}"), 3));
    let mut heard = Vec::new();
    for (reporter, broker) in reporters.iter_mut().zip(&brokers) {
        assert!(reporter.attach(broker.address()));
    }
    for _ in 0..10 {
        for reporter in &mut reporters {
            // mosquitto bears no more than 20 messages of QoS 2 on their way.
            for _ in 0..3 {
                reporter.publish(15);
            }
        }
        heard.extend(local.receive_waiting());
    }
    ended.store(true, Ordering::Relaxed);
    let _links = links.map(|link| link.join().expect("no line panics"));
    wait_until("everything has come in", || {
        heard.extend(local.receive_waiting());
        reporters.iter().all(|reporter| {
            [1, 2].iter().all(|qos| {
                let there = texts_on(&reporter.topic(*qos), &heard);
                reporter.texts(*qos).last().is_none_or(|last| there.contains(last))
            })
        })
    });
    for reporter in &reporters {
        for qos in [1, 2] {
            let mut once = first_of_each(&texts_on(&reporter.topic(qos), &heard));
            once.sort();
            assert_same(&once, &reporter.texts(qos), &format!("QoS {qos}"));
        }
    }
}
