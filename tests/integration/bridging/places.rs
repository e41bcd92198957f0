//! Places of a network of proxies and brokers where messages are published and received, and what has to hold there: a
//! message reaches everybody, and then there is silence.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::device::Device;
use crate::support::packets::Publish;
use crate::support::receiver::first_of_each;
use crate::support::rest::local_broker;
use crate::support::{DEADLINE, Version, assert_same, numbered, wait_until};

/// For how long nothing may move any more before a ring counts as still.
const STILL: Duration = Duration::from_millis(500);

/// A place in the ring where messages are published and received.
pub struct Place {
    /// What it is called.
    pub name: String,
    address: SocketAddr,
    listener: Device,
    /// The payloads that came, in order.
    pub heard: Vec<String>,
}

impl Place {
    /// Listens below `t/` at this address.
    pub fn at(name: &str, address: SocketAddr) -> Place {
        let mut listener = Device::connect(address, Version::V5, &format!("listener-{name}"));
        listener.subscribe("t/#", 2);
        Place { name: name.to_owned(), address, listener, heard: Vec::new() }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes what is there.
    fn listen(&mut self) {
        let new = self.listener.receive_waiting();
        self.heard.extend(new.iter().map(Publish::text));
    }
}

/// A broker that gets what is below `t/`, and is subscribed at for the same.
pub fn both_ways(name: &str, port: u16, version: Version) -> Json {
    let mut definition = local_broker(name, port, version);
    definition["bidirectional"] = json!(true);
    definition["subscription_topics"] = json!(["t/#"]);
    definition["topics"] = json!(["t/#"]);
    definition["subscription_qos"] = json!(2);
    definition
}

/// Listens at all places until nothing has come for a while.
pub fn listen_until_still(places: &mut [Place], wanted: usize) {
    let start = Instant::now();
    let mut since = Instant::now();
    let mut heard = 0;
    loop {
        places.iter_mut().for_each(Place::listen);
        let now: usize = places.iter().map(|place| place.heard.len()).sum();
        if now != heard {
            (heard, since) = (now, Instant::now());
        }
        let all_are_there = places.iter().all(|place| place.heard.len() >= wanted);
        if all_are_there && since.elapsed() > STILL {
            return;
        }
        let counts: Vec<String> =
            places.iter().map(|place| format!("{} {}", place.name, place.heard.len())).collect();
        assert!(heard < places.len() * wanted.max(50) * 10, "the messages go round: {counts:?} of {wanted}");
        assert!(start.elapsed() < DEADLINE, "no stillness, or messages are missing: {counts:?} of {wanted}");
    }
}

/// Publishes at every place, one place after the other and all at a time, and expects everything everywhere, each
/// message at least once and at most `copies_max` times.
pub fn assert_everybody_hears_everything(places: &mut [Place], copies_max: usize) {
    // A first message shows that all subscriptions are made.
    for index in 0..places.len() {
        let (topic, text) = (format!("t/first/{index}"), format!("first-{index}"));
        let mut author = Device::connect(places[index].address, Version::V4, "first");
        wait_until(&format!("{text} arrives everywhere"), || {
            author.say(&topic, &text, 1);
            listen_for(places, Duration::from_millis(100));
            places.iter().all(|place| place.heard.contains(&text))
        });
    }
    listen_until_still(places, 0);
    places.iter_mut().for_each(|place| place.heard.clear());

    let mut wanted = Vec::new();
    for place in places.iter() {
        let texts = numbered(&format!("from-{}", place.name), 60);
        let topic = format!("t/{}", place.name);
        let mut author = Device::connect(place.address, Version::V4, "author");
        for (qos, few) in texts.chunks(20).enumerate() {
            author.publish_all(few.iter().map(|text| Publish::new(&topic, text).qos(qos.max(1) as u8)));
        }
        wanted.extend(texts);
    }
    listen_until_still(places, wanted.len());
    for place in places {
        let mut once = first_of_each(&place.heard);
        once.sort();
        let mut wanted = wanted.clone();
        wanted.sort();
        assert_same(&once, &wanted, &format!("at {}", place.name));
        let heard = place.heard.len();
        assert!(heard <= wanted.len() * copies_max, "at {}: {heard} for {}", place.name, wanted.len());
        eprintln!("{}: {heard} of {}", place.name, wanted.len());
    }
}

fn listen_for(places: &mut [Place], time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        places.iter_mut().for_each(Place::listen);
    }
}
