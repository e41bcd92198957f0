//! The proxy dies again and again at moments that nobody chose, while devices publish and upstream brokers come, go
//! and lose their connections. In the end everybody has everything: QoS 1 at least once, QoS 2 exactly once, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{add_keeper, wait_drained};
use crate::support::keeper::{Keeper, Mood};
use crate::support::packets::Publish;
use crate::support::proxy::{Proxy, Setup};
use crate::support::random::Random;
use crate::support::receiver::{first_of_each, texts_on};
use crate::support::relay::Relay;
use crate::support::reporter::Reporter;
use crate::support::rest::local_broker;
use crate::support::subscriber::Subscriber;
use crate::support::{Version, assert_same, wait_until};

const ROUNDS: usize = 150;
/// Messages of one device in one round, at most.
const ROUND_MESSAGES: usize = 150;

/// Everybody around the proxy.
struct World {
    proxy: Proxy,
    random: Random,
    /// Always there; behind a network that breaks; there or away.
    keepers: [(&'static str, Keeper); 3],
    relay: Relay,
    reporters: [Reporter; 2],
    subscriber: Subscriber,
}

impl World {
    fn new(mut random: Random) -> World {
        let keepers = [("steady", Keeper::start()), ("shaky", Keeper::start()), ("moody", Keeper::start())];
        let shaky = std::net::SocketAddr::from(([127, 0, 0, 1], keepers[1].1.port()));
        let relay = Relay::to(shaky, usize::MAX, random.next());
        let steady = keepers[0].1.url("name=steady&version=5");
        let settings = "[log]\nsegment_bytes = 65536\n\n[limits]\nqueued_messages_max = 1000000";
        let proxy = Setup::new().settings(settings).upstream(&steady).start();
        proxy.rest().add(&local_broker("shaky", relay.port(), Version::V4));
        add_keeper(&proxy, "moody", &keepers[2].1, Version::V5, &json!({}));
        let reporters = [(Version::V4, "four"), (Version::V5, "five")]
            .map(|(v, name)| Reporter::new(v, name, random.next()));
        let mut subscriber = Subscriber::new(Version::V5, "subscriber", "#");
        assert!(subscriber.attach(proxy.mqtt()), "the proxy runs");
        World { proxy, random, keepers, relay, reporters, subscriber }
    }

    /// Devices publish, and in the middle of it the proxy ends.
    fn round(&mut self) {
        let moment = self.random.below(ROUND_MESSAGES * 2);
        let pause = Duration::from_micros(self.random.below(20_000) as u64);
        let is_orderly = self.random.one_in(8);
        let is_listening = !self.random.one_in(4);
        let mqtt = self.proxy.mqtt();
        let running = Arc::new(AtomicUsize::new(self.reporters.len()));
        let finished = self.reporters.each_ref().map(Reporter::finished);
        let total = || finished.iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>();
        let before = total();
        let (reporters, subscriber, proxy) = (&mut self.reporters, &mut self.subscriber, &mut self.proxy);
        thread::scope(|scope| {
            for reporter in reporters {
                let running = Arc::clone(&running);
                scope.spawn(move || {
                    if reporter.attach(mqtt) {
                        reporter.publish(ROUND_MESSAGES);
                    }
                    running.fetch_sub(1, Ordering::Relaxed);
                });
            }
            if is_listening {
                scope.spawn(|| subscriber.attach(mqtt).then(|| subscriber.listen(|_| false)));
            }
            wait_until("the moment has come", || {
                total() - before >= moment || running.load(Ordering::Relaxed) == 0
            });
            thread::sleep(pause);
            if is_orderly { proxy.stop() } else { proxy.kill() }
        });
    }

    /// The proxy comes back, sometimes after it died on its way, and the moody broker may change its mood.
    fn come_back(&mut self) {
        let mood = match self.random.below(5) {
            0 | 1 => Mood::Prompt,
            2 => Mood::Slow(Duration::from_micros(300)),
            3 => Mood::Hanging,
            _ => Mood::Away,
        };
        self.keepers[2].1.set_mood(mood);
        if self.random.one_in(5) {
            let moment = Duration::from_micros(self.random.below(80_000) as u64);
            self.proxy.start_and_kill_after(moment);
        }
        self.proxy.start_again();
    }

    /// Nothing breaks any more: everybody gets what is missing.
    fn settle(&mut self) {
        self.keepers[2].1.set_mood(Mood::Prompt);
        self.relay.calm_down();
        for reporter in &mut self.reporters {
            assert!(reporter.attach(self.proxy.mqtt()), "the proxy runs");
            reporter.publish(1);
            assert!(reporter.is_content(), "everything is acknowledged");
        }
        let rest = self.proxy.rest();
        for (name, keeper) in &self.keepers {
            wait_drained(&self.proxy, &rest.id_of(name), keeper);
        }
        let last: Vec<(String, String)> = self.reporters.iter().flat_map(last_of_each_qos).collect();
        assert!(self.subscriber.attach(self.proxy.mqtt()), "the proxy runs");
        self.subscriber.listen(|arrived| {
            let recent = &arrived[arrived.len().saturating_sub(2_000)..];
            last.iter().all(|(topic, text)| {
                recent.iter().any(|message| message.topic == *topic && message.payload == text.as_bytes())
            })
        });
    }

    fn verify(&self) {
        for (name, keeper) in &self.keepers {
            verify(name, &keeper.messages(), &self.reporters);
            keeper.assert_no_faults(name);
        }
        // A flow that the proxy forgot stays open for ever, and its message came again under another identifier.
        eprintln!("the subscriber has {} open flows", self.subscriber.receiver.open_flows());
        verify("the subscriber", self.subscriber.receiver.arrivals(), &self.reporters);
        assert_eq!(self.subscriber.receiver.faults(), &[] as &[String], "the subscriber");
    }
}

fn last_of_each_qos(reporter: &Reporter) -> Vec<(String, String)> {
    let last = |qos| Some((reporter.topic(qos), reporter.texts(qos).pop()?));
    [1, 2].into_iter().filter_map(last).collect()
}

fn verify(name: &str, arrived: &[Publish], reporters: &[Reporter]) {
    for reporter in reporters {
        let (topic, sent) = (reporter.topic(2), reporter.texts(2));
        assert_same(&texts_on(&topic, arrived), &sent, &format!("{name}, {topic}: exactly once"));
        let (topic, sent) = (reporter.topic(1), reporter.texts(1));
        let all = texts_on(&topic, arrived);
        let first = first_of_each(&all);
        eprintln!("{name}, {topic}: {} of QoS 1, {} repeated", first.len(), all.len() - first.len());
        assert_same(
            &first,
            &sent,
            &format!("{name}, {topic}: at least once, and for the first time in order"),
        );
    }
}

#[test]
fn however_often_the_proxy_dies_everything_arrives_and_qos_2_only_once() {
    let mut world = World::new(Random::announced("the kill loop"));
    for _ in 0..ROUNDS {
        world.round();
        world.come_back();
    }
    world.settle();
    world.verify();
}
