//! Rings of proxies and brokers in memory: each link keeps its order, and chance says which one moves next.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use mqtt::{Properties, Property};
use proptest::prelude::*;
use uuid::Uuid;

use super::copies::Judgement;
use super::*;
use crate::{BrokerId, limits};

fn broker_id(index: usize) -> BrokerId {
    BrokerId(Uuid::from_u128(index as u128 + 1))
}

/// Proxies that are each bidirectional at some brokers, none of which sends to a client what it published itself.
struct Network {
    proxies: Vec<Member>,
    now: Instant,
    /// What subscribers at each broker got.
    at_brokers: Vec<BTreeMap<String, usize>>,
    moves: usize,
}

/// A proxy.
struct Member {
    copies: Copies,
    joined: Vec<usize>,
    /// On the way from each broker.
    inbound: BTreeMap<usize, VecDeque<String>>,
    /// The log, and how far each broker has it.
    log: Vec<(Origin, String)>,
    cursors: BTreeMap<usize, usize>,
    /// Brokers to which nothing goes before these times.
    waits: BTreeMap<usize, Instant>,
    /// Brokers where its subscription is not made yet.
    deaf_at: Vec<usize>,
    /// What local subscribers got.
    local: BTreeMap<String, usize>,
}

impl Network {
    fn new(brokers: usize, joined: &[&[usize]]) -> Network {
        let member = |joined: &&[usize]| Member {
            copies: Copies::default(),
            joined: joined.to_vec(),
            inbound: joined.iter().map(|broker| (*broker, VecDeque::new())).collect(),
            log: Vec::new(),
            cursors: joined.iter().map(|broker| (*broker, 0)).collect(),
            waits: BTreeMap::new(),
            deaf_at: Vec::new(),
            local: BTreeMap::new(),
        };
        Network {
            proxies: joined.iter().map(member).collect(),
            now: Instant::now(),
            at_brokers: vec![BTreeMap::new(); brokers],
            moves: 0,
        }
    }

    fn publish_at_broker(&mut self, broker: usize, text: &str, by: Option<usize>) {
        *self.at_brokers[broker].entry(text.to_owned()).or_default() += 1;
        for (_, proxy) in self.proxies.iter_mut().enumerate().filter(|(index, _)| Some(*index) != by) {
            let is_deaf = proxy.deaf_at.contains(&broker);
            if let Some(inbound) = proxy.inbound.get_mut(&broker).filter(|_| !is_deaf) {
                inbound.push_back(text.to_owned());
            }
        }
    }

    fn publish_at_proxy(&mut self, proxy: usize, text: &str) {
        let proxy = &mut self.proxies[proxy];
        *proxy.local.entry(text.to_owned()).or_default() += 1;
        proxy.log.push((Origin::Device, text.to_owned()));
    }

    /// Everything that can happen next: (proxy, broker, whether it is inbound).
    fn possible(&self) -> Vec<(usize, usize, bool)> {
        let mut possible = Vec::new();
        for (index, proxy) in self.proxies.iter().enumerate() {
            for broker in &proxy.joined {
                if !proxy.inbound[broker].is_empty() {
                    possible.push((index, *broker, true));
                }
                let is_waiting = proxy.waits.get(broker).is_some_and(|until| *until > self.now);
                if proxy.cursors[broker] < proxy.log.len() && !is_waiting {
                    possible.push((index, *broker, false));
                }
            }
        }
        possible
    }

    fn step(&mut self, (index, broker, is_inbound): (usize, usize, bool)) {
        self.now += Duration::from_micros(500);
        self.moves += 1;
        let proxy = &mut self.proxies[index];
        let id = broker_id(broker);
        if is_inbound {
            let Some(text) = proxy.inbound.get_mut(&broker).and_then(VecDeque::pop_front) else { return };
            if proxy.copies.arrived(id, digest(b"t", text.as_bytes()), self.now).is_taken {
                *proxy.local.entry(text.clone()).or_default() += 1;
                proxy.log.push((Origin::Upstream(id), text));
            }
            return;
        }
        let cursor = proxy.cursors.get_mut(&broker).unwrap();
        let (origin, text) = proxy.log[*cursor].clone();
        let digest = digest(b"t", text.as_bytes());
        let onward = match origin == Origin::Upstream(id) {
            true => Onward::Spare,
            false => proxy.copies.onward(id, origin, &digest, self.now),
        };
        if let Onward::Wait(until) = onward {
            proxy.waits.insert(broker, until);
            return;
        }
        *cursor += 1;
        if onward == Onward::Spare {
            return;
        }
        proxy.copies.sent(id, origin, digest, self.now);
        self.publish_at_broker(broker, &text, Some(index));
    }

    /// Runs until nothing moves, for so many moves at most.
    fn settle(&mut self, chance: &mut impl FnMut(usize) -> usize, moves_max: usize) {
        let end = self.moves + moves_max;
        while self.proceed(chance) {
            assert!(self.moves < end, "the messages go round");
        }
    }

    /// Does something that is possible, or waits for what is; answers whether there was anything.
    fn proceed(&mut self, chance: &mut impl FnMut(usize) -> usize) -> bool {
        let possible = self.possible();
        if !possible.is_empty() {
            self.step(possible[chance(possible.len())]);
            return true;
        }
        let waits = self.proxies.iter().flat_map(|proxy| proxy.waits.values());
        let Some(next) = waits.filter(|until| **until > self.now).min().copied() else { return false };
        self.now = next;
        true
    }

    /// Goes on for so long.
    fn run_for(&mut self, time: Duration, chance: &mut impl FnMut(usize) -> usize) {
        let end = self.now + time;
        while self.now < end {
            let possible = self.possible();
            match possible.is_empty() {
                true => self.now = (self.now + Duration::from_millis(10)).min(end),
                false => self.step(possible[chance(possible.len())]),
            }
        }
    }

    fn everywhere(&self) -> impl Iterator<Item = &BTreeMap<String, usize>> {
        self.proxies.iter().map(|proxy| &proxy.local).chain(&self.at_brokers)
    }
}

/// A small generator of chance, seeded by the test.
fn chance(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed | 1;
    move |count| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % count as u64) as usize
    }
}

const RINGS: [(usize, &[&[usize]]); 5] = [
    (2, &[&[0, 1], &[0, 1]]),
    (3, &[&[0, 1], &[1, 2], &[2, 0]]),
    (2, &[&[0, 1], &[0, 1], &[0, 1]]),
    (3, &[&[0, 1, 2], &[0, 1, 2]]),
    (4, &[&[0, 1], &[1, 2], &[2, 3], &[3, 0]]),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn in_any_ring_everybody_gets_everything_and_then_there_is_rest(
        ring in 0..RINGS.len(),
        seed in any::<u64>(),
        places in proptest::collection::vec(0usize..8, 40),
        repeats in 1usize..4,
    ) {
        let (brokers, joined) = RINGS[ring];
        let mut network = Network::new(brokers, joined);
        let mut chance = chance(seed);
        for (number, place) in places.iter().enumerate() {
            let text = format!("m{number}");
            let place = place % (brokers + joined.len());
            for _ in 0..repeats {
                match place < brokers {
                    true => network.publish_at_broker(place, &text, None),
                    false => network.publish_at_proxy(place - brokers, &text),
                }
            }
            // Others come while these are on their way, or when all is done.
            if number % 3 == 0 {
                network.settle(&mut chance, 6_000);
            }
        }
        network.settle(&mut chance, 30_000);
        for (index, there) in network.everywhere().enumerate() {
            for (number, place) in places.iter().enumerate() {
                let count = there.get(&format!("m{number}")).copied().unwrap_or(0);
                prop_assert!(
                    count >= repeats,
                    "m{number} from {} came {count} times of {repeats} at {index}: {:?}",
                    place % (brokers + joined.len()),
                    network.everywhere().map(|there| there.get(&format!("m{number}")).copied()).collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    fn what_went_one_way_before_the_ring_was_closed_comes_to_rest(
        seed in any::<u64>(),
        circling in 1usize..30,
    ) {
        let (brokers, joined) = RINGS[1];
        let mut network = Network::new(brokers, joined);
        let mut chance = chance(seed);
        network.proxies[2].deaf_at.push(0);
        for number in 0..circling {
            network.publish_at_broker(0, &format!("early{number}"), None);
        }
        network.run_for(Duration::from_millis(20), &mut chance);
        network.proxies[2].deaf_at.clear();
        for number in 0..60 {
            network.publish_at_broker(number % brokers, &format!("m{number}"), None);
            network.run_for(Duration::from_millis(5), &mut chance);
        }
        network.settle(&mut chance, 60_000);
        for there in network.everywhere() {
            prop_assert_eq!(there.len(), circling + 60);
        }
    }

    #[test]
    fn who_says_the_same_again_and_again_is_heard_in_a_ring_that_is_known(
        seed in any::<u64>(),
        pause_millis in 20u64..900,
    ) {
        let (brokers, joined) = RINGS[1];
        let mut network = Network::new(brokers, joined);
        let mut chance = chance(seed);
        for number in 0..60 {
            network.publish_at_broker(number % brokers, &format!("m{number}"), None);
            network.run_for(Duration::from_millis(5), &mut chance);
        }
        network.settle(&mut chance, 60_000);
        for _ in 0..100 {
            network.publish_at_broker(0, "same", None);
            network.run_for(Duration::from_millis(pause_millis), &mut chance);
        }
        network.settle(&mut chance, 60_000);
        for there in network.everywhere() {
            // Where he falls silent just then, the last ones may be taken for one that circles.
            prop_assert!(there["same"] >= 90, "{} of 100", there["same"]);
        }
    }

    #[test]
    fn a_ring_that_is_known_makes_few_copies(ring in 0usize..2, seed in any::<u64>()) {
        let (brokers, joined) = RINGS[ring];
        let mut network = Network::new(brokers, joined);
        let mut chance = chance(seed);
        let publish_all = |network: &mut Network, prefix: &str, chance: &mut dyn FnMut(usize) -> usize| {
            for number in 0..60 {
                let text = format!("{prefix}{number}");
                match number % (brokers + joined.len()) {
                    place if place < brokers => network.publish_at_broker(place, &text, None),
                    place => network.publish_at_proxy(place - brokers, &text),
                }
                network.settle(&mut |count| chance(count), 6_000);
            }
        };
        publish_all(&mut network, "first", &mut chance);
        publish_all(&mut network, "m", &mut chance);
        for there in network.everywhere() {
            let those = there.iter().filter(|(text, _)| text.starts_with('m'));
            let counts = those.map(|(_, count)| *count);
            // Chance makes some proxies wait long; mostly there is one copy, or one for each way.
            prop_assert!(counts.clone().max() <= Some(6), "{:?}", there);
            prop_assert!(counts.sum::<usize>() <= 120, "{:?}", there);
        }
    }
}

#[test]
fn one_proxy_between_brokers_takes_equal_messages_of_different_people_for_what_they_are() {
    let mut network = Network::new(2, &[&[0, 1]]);
    let mut chance = chance(7);
    for number in 0..100 {
        network.publish_at_broker(number % 2, &format!("m{number}"), None);
    }
    network.settle(&mut chance, 1_000);
    network.now += Duration::from_millis(300);
    for _ in 0..50 {
        network.publish_at_broker(0, "21.5", None);
        network.publish_at_broker(1, "21.5", None);
        network.publish_at_proxy(0, "21.5");
    }
    network.settle(&mut chance, 10_000);
    for there in network.everywhere() {
        assert_eq!(there["21.5"], 150);
    }
}

#[test]
fn before_anything_is_known_a_few_equal_messages_pass_too() {
    let mut network = Network::new(2, &[&[0, 1]]);
    for _ in 0..3 {
        network.publish_at_broker(0, "on", None);
        network.publish_at_broker(1, "on", None);
    }
    network.settle(&mut chance(3), 1_000);
    assert!(network.everywhere().all(|there| there["on"] == 6));
}

#[test]
fn the_rule_is_lifted_when_nothing_comes_round_any_more() {
    let (mut copies, [a, b], mut now) = (Copies::default(), [0, 1].map(broker_id), Instant::now());
    let number = |number: u32| digest(b"t", &number.to_le_bytes());
    for count in 0..100 {
        copies.sent(a, Origin::Device, number(count), now);
        copies.sent(b, Origin::Device, number(count), now);
        copies.arrived(a, number(count), now);
    }
    assert!(copies.is_ring(a) && !copies.is_ring(b));
    for count in 100..200 {
        now += Duration::from_secs(1);
        copies.sent(a, Origin::Device, number(count), now);
    }
    assert_eq!(copies.arrived(a, number(1_000), now), Judgement { is_taken: true, news: Some(News::NoRing) });
    assert!(!copies.is_ring(a));
}

#[test]
fn memory_is_bounded() {
    let (mut copies, now) = (Copies::default(), Instant::now());
    for number in 0..limits::COPIES_MAX + 10 {
        copies.arrived(broker_id(0), digest(b"t", &number.to_le_bytes()), now);
    }
    assert_eq!(copies.count(), limits::COPIES_MAX);
    copies.arrived(broker_id(0), digest(b"t", b"late"), now + limits::ECHO_PATIENCE);
    assert_eq!(copies.count(), 1);
}

fn user(name: &str, value: &str) -> Property {
    Property::UserProperty(name.into(), value.into())
}

#[test]
fn the_first_proxy_says_who_it_is_and_each_further_one_counts() {
    let stamps = |id| Stamps::new(&BridgeOptions::default(), Uuid::from_u128(id));
    let upstream = Origin::Upstream(broker_id(0));
    let (one, two) = (stamps(1), stamps(2));
    let by_device = Properties::default()
        .with(user("a", "1"))
        .with(user("mqtt-proxy-hops", "7"))
        .with(user("mqtt-proxy-origin", "x"))
        .with(Property::ContentType("text".into()));
    let first = one.stamped(Origin::Device, &by_device);
    let origin = Some(Uuid::from_u128(1).to_string());
    assert_eq!(one.trace(&first), Trace { origin: origin.clone(), hops: 1 });
    let second = two.stamped(upstream, &first);
    assert_eq!(two.trace(&second), Trace { origin, hops: 2 });
    assert!(one.is_ours(&second) && !two.is_ours(&second));
    let own: Vec<Property> = one.without(&second).expect("it has both").iter().collect();
    assert_eq!(own, [user("a", "1"), Property::ContentType("text".into())]);
    assert_eq!(second.user_properties().count(), 3, "each stands there once");
    // What comes from a broker and was seen by nobody begins here.
    let begun = two.stamped(upstream, &Properties::default());
    assert_eq!(begun.as_bytes(), two.first());
    assert!(!two.is_spent(&begun));
}

#[test]
fn a_message_with_as_many_hops_as_allowed_is_spent() {
    let options = BridgeOptions { hops_max: 2, ..BridgeOptions::default() };
    let stamps = Stamps::new(&options, Uuid::from_u128(1));
    let with_hops = |hops: &str| Properties::default().with(user("mqtt-proxy-hops", hops));
    assert!(!stamps.is_spent(&with_hops("1")) && stamps.is_spent(&with_hops("2")));
    assert!(stamps.is_spent(&with_hops("4294967295")));
    assert!(!stamps.is_spent(&with_hops("many")));
    let last = stamps.stamped(Origin::Upstream(broker_id(0)), &with_hops("4294967295"));
    assert_eq!(stamps.trace(&last).hops, u32::MAX);
}

#[test]
fn only_messages_from_brokers_lose_their_stamps_towards_devices() {
    let carried = Properties::default().with(user("mqtt-proxy-origin", "x")).with(user("b", "2"));
    let upstream = Origin::Upstream(broker_id(0));
    let bridge = Bridge::new(&BridgeOptions::default(), Uuid::from_u128(1));
    assert_eq!(bridge.for_devices(upstream, &carried), Some(Properties::default().with(user("b", "2"))));
    assert_eq!(bridge.for_devices(Origin::Device, &carried), None);
    assert_eq!(bridge.for_devices(upstream, &Properties::default().with(user("b", "2"))), None);
    let options = BridgeOptions { strip_for_devices: false, ..BridgeOptions::default() };
    assert_eq!(Bridge::new(&options, Uuid::nil()).for_devices(upstream, &carried), None);
}
