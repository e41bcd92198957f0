//! Two hundred changes to other brokers under load: those that nobody touches lose and repeat nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::keeper::Keeper;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::Publish;
use crate::support::proxy::Proxy;
use crate::support::random::Random;
use crate::support::receiver::texts_on;
use crate::support::rest::{Rest, local_broker};
use crate::support::{Version, assert_same};

const CHANGES: usize = 200;

/// One change after the other to whatever brokers there are besides the three.
struct Churn<'a> {
    rest: Rest,
    random: Random,
    ports: &'a [u16],
    ids: Vec<String>,
    added: usize,
}

impl Churn<'_> {
    fn pick(&mut self, below: usize) -> usize {
        self.random.below(below)
    }

    fn add(&mut self) {
        let port = self.ports[self.added % self.ports.len()];
        let mut broker = local_broker(&format!("churn {}", self.added), port, Version::BOTH[self.added % 2]);
        self.added += 1;
        broker["start_at"] = json!(if self.added.is_multiple_of(3) { "earliest" } else { "now" });
        if self.added.is_multiple_of(4) {
            broker["bidirectional"] = json!(true);
            broker["subscription_topics"] = json!(["elsewhere/#"]);
        }
        self.ids.push(self.rest.add(&broker));
    }

    fn change(&mut self) {
        if self.ids.len() < 2 {
            return self.add();
        }
        let index = self.pick(self.ids.len());
        let path = format!("/api/brokers/{}", self.ids[index]);
        let post = |what: &str| self.rest.send("POST", &format!("{path}/{what}"), None).status;
        let put = |changes: Value| self.rest.put(&path, &changes).status;
        let number = self.random.below(11);
        let status = match number {
            0 if self.ids.len() < 6 => return self.add(),
            0 | 1 => {
                self.ids.swap_remove(index);
                self.rest.delete(&path).status
            }
            2 => post("pause"),
            3 => post("resume"),
            4 => post("toggle"),
            5 => post("drain"),
            6 => post("reconnect"),
            7 => put(json!({"port": self.ports[self.added % self.ports.len()]})),
            8 => put(json!({"topics": ["load/1", "other/#"], "max_qos": 1})),
            9 => put(json!({"topics": [], "max_qos": null, "keep_alive_secs": 20 + self.added % 20})),
            _ => put(json!({"port": 1})),
        };
        assert!(matches!(status, 200 | 202 | 204 | 409), "change {number}: {status}");
    }
}

/// Publishes on `load/QoS` until it is told to end; answers how many on each.
fn publish_until(ended: &AtomicBool, proxy: &Proxy, version: Version, name: &str) -> usize {
    let mut device = Device::connect(proxy.mqtt(), version, name);
    let mut sent = 0;
    while !ended.load(Ordering::Acquire) {
        device.publish_all((sent..sent + 10).flat_map(|number| {
            [0, 1, 2].map(|qos| Publish::new(&format!("{name}/{qos}"), format!("{number:0>60}")).qos(qos))
        }));
        sent += 10;
        thread::sleep(Duration::from_millis(5));
    }
    sent
}

/// Takes messages until there are as many as were sent, which the last one sent comes too late to miss.
fn receive_until(witness: &mut Device, total: &AtomicUsize) -> Vec<Publish> {
    let mut arrived = Vec::new();
    while arrived.len() < total.load(Ordering::Acquire) {
        arrived.push(witness.receive());
    }
    arrived
}

/// Fails where a message on one of the three topics of a publisher is lost or repeated, or out of order.
fn assert_complete(broker: &str, messages: &[Publish], name: &str, count: usize, in_order: bool) {
    let wanted: Vec<String> = (0..count).map(|number| format!("{number:0>60}")).collect();
    for qos in 0..3 {
        let topic = format!("{name}/{qos}");
        let mut texts = texts_on(&topic, messages);
        if !in_order {
            texts.sort();
        }
        assert_same(&texts, &wanted, &format!("{broker}: {topic}"));
    }
}

#[test]
fn two_hundred_changes_to_other_brokers_cost_these_three_nothing() {
    let steady = [Mosquitto::start(), Mosquitto::start()];
    let others = [Mosquitto::start(), Mosquitto::start()];
    let keeper = Keeper::start();
    let brokers = [
        ("old", steady[0].port(), Version::V4),
        ("new", steady[1].port(), Version::V5),
        ("keeper", keeper.port(), Version::V5),
    ];
    let proxy = Proxy::with_brokers(&brokers);
    let mut witnesses = [0, 1].map(|n| {
        let mut witness = Device::connect(steady[n].address(), Version::V5, "witness");
        witness.subscribe("#", 2);
        witness
    });
    let (rest, ended, total) = (proxy.rest(), AtomicBool::new(false), AtomicUsize::new(usize::MAX));
    let ports = [others[0].port(), others[1].port()];
    let (sent, arrived) = thread::scope(|scope| {
        let total = &total;
        let receivers: Vec<_> =
            witnesses.iter_mut().map(|witness| scope.spawn(move || receive_until(witness, total))).collect();
        let publishers = [("load", Version::V5), ("other", Version::V4)].map(|(name, version)| {
            let (ended, proxy) = (&ended, &proxy);
            (name, scope.spawn(move || publish_until(ended, proxy, version, name)))
        });
        let mut churn = Churn { rest, random: Random::seeded(17), ports: &ports, ids: Vec::new(), added: 0 };
        for _ in 0..CHANGES {
            churn.change();
        }
        ended.store(true, Ordering::Release);
        let sent = publishers.map(|(name, publisher)| (name, publisher.join().expect("all is acknowledged")));
        total.store(sent.iter().map(|(_, count)| 3 * count).sum::<usize>() + 1, Ordering::Release);
        Device::connect(proxy.mqtt(), Version::V5, "last").say("last", "the end", 2);
        let arrived: Vec<_> = receivers.into_iter().map(|one| one.join().expect("it ends")).collect();
        (sent, arrived)
    });
    keeper.wait_text("the end");
    for (name, count) in &sent {
        assert!(*count > 100, "{name}: {count} messages: too little load to test anything");
        // mosquitto lets a new message overtake those that it has queued for a witness that reads meanwhile.
        for (messages, (broker, ..)) in arrived.iter().zip(&brokers) {
            assert_complete(broker, messages, name, *count, false);
        }
        assert_complete("keeper", &keeper.messages(), name, *count, true);
    }
    keeper.assert_no_faults("the keeper");
    for (broker, ..) in &brokers {
        rest.wait_caught_up(&rest.id_of(broker));
        assert_eq!(rest.broker(&rest.id_of(broker))["reconnects"], 0, "nobody touched {broker}");
    }
}
