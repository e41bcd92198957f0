//! The places of a network where messages are published and received, and what has to hold there.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value as Json, json};

use crate::support::device::Device;
use crate::support::packets::Publish;
use crate::support::proxy::Proxy;
use crate::support::rest::local_broker;
use crate::support::{DEADLINE, Version, numbered, wait_until};

/// A definition of a broker that is forwarded to and subscribed at for the same topics.
pub fn both_ways(name: &str, port: u16, version: Version) -> Json {
    let mut definition = local_broker(name, port, version);
    definition["bidirectional"] = json!(true);
    definition["topics"] = json!(["t/#"]);
    definition["subscription_topics"] = json!(["t/#"]);
    definition["subscription_qos"] = json!(2);
    definition
}

/// Adds a broker to a proxy and waits until it is connected. Answers with its identity.
pub fn join(proxy: &Proxy, definition: &Json) -> String {
    let id = proxy.rest().add(definition);
    proxy.rest().wait_connected(&id);
    id
}

/// A place with somebody who listens there.
pub struct Place {
    pub name: String,
    pub address: SocketAddr,
    pub listener: Device,
    /// What was heard, in order.
    pub heard: Vec<String>,
}

impl Place {
    /// Listens below `t/`.
    pub fn at(name: &str, address: SocketAddr) -> Place {
        let mut listener = Device::connect(address, Version::V5, &format!("listener-{name}"));
        listener.subscribe("t/#", 2);
        Place { name: name.to_owned(), address, listener, heard: Vec::new() }
    }

    fn listen(&mut self) {
        // Everything that is there comes before the answer.
        self.listener.inbox_after_ping().into_iter().for_each(|text| self.heard.push(text));
    }

    fn count(&self, text: &str) -> usize {
        self.heard.iter().filter(|heard| *heard == text).count()
    }
}

/// Publishes one message at a place again and again under another name until it comes through everywhere: then all
/// subscriptions are made.
pub fn warm_up(places: &mut [Place]) {
    for index in 0..places.len() {
        let mut author = Device::connect(places[index].address, Version::V4, "warm");
        let mut number = 0;
        wait_until(&format!("{} is heard everywhere", places[index].name), || {
            let text = format!("warm-{index}-{number}");
            number += 1;
            author.say("t/warm", &text, 1);
            let start = Instant::now();
            while start.elapsed().as_millis() < 300 {
                places.iter_mut().for_each(Place::listen);
                if places.iter().all(|place| place.heard.contains(&text)) {
                    return true;
                }
            }
            false
        });
    }
    rest(places, "warm");
    places.iter_mut().for_each(|place| place.heard.clear());
}

/// Listens until a message that comes behind everything else has come through everywhere three times in a row without
/// anything else: what is still under way would have come with it.
pub fn rest(places: &mut [Place], name: &str) {
    let start = Instant::now();
    let (mut quiet, mut round) = (0, 0);
    while quiet < 3 {
        let sentinel = format!("rest-{name}-{round}");
        let is_other = |text: &&String| !text.starts_with("rest-");
        let others = |places: &[Place]| -> usize {
            places.iter().map(|place| place.heard.iter().filter(is_other).count()).sum()
        };
        let before = others(places);
        let at = round % places.len();
        Device::connect(places[at].address, Version::V4, "sentinel").say("t/rest", &sentinel, 1);
        wait_until("the last message is heard everywhere", || {
            places.iter_mut().for_each(Place::listen);
            places.iter().all(|place| place.heard.contains(&sentinel))
        });
        quiet = if others(places) == before { quiet + 1 } else { 0 };
        round += 1;
        let heard: Vec<String> =
            places.iter().map(|place| format!("{} {}", place.name, place.heard.len())).collect();
        assert!(start.elapsed() < DEADLINE, "there is no rest: {heard:?}");
    }
    places.iter_mut().for_each(|place| place.heard.retain(|text| !text.starts_with("rest-")));
}

/// Publishes `count` messages at each place at each QoS, and checks that everybody hears each once at least, and how
/// many copies there are: `copies_max` of one, and `more_max` of all beyond the first ones, in per cent.
pub fn everybody_hears_everything(places: &mut [Place], count: usize, copies_max: usize, more_max: usize) {
    warm_up(places);
    let mut wanted = Vec::new();
    for place in places.iter() {
        let mut author = Device::connect(place.address, Version::V4, "author");
        for qos in 0..3 {
            let texts = numbered(&format!("{}-{qos}", place.name), count);
            let topic = format!("t/{}", place.name);
            for few in texts.chunks(10) {
                author.publish_all(few.iter().map(|text| Publish::new(&topic, text).qos(qos)));
            }
            wanted.extend(texts);
        }
    }
    wait_until("everybody has heard everything", || {
        places.iter_mut().for_each(Place::listen);
        places.iter().all(|place| wanted.iter().all(|text| place.heard.contains(text)))
    });
    rest(places, "all");
    for place in places.iter() {
        for text in &wanted {
            let copies = place.count(text);
            assert!(copies <= copies_max, "{text} came {copies} times at {}", place.name);
        }
        let more = place.heard.len() - wanted.len();
        eprintln!("at {}: {} of {}", place.name, place.heard.len(), wanted.len());
        assert!(
            more * 100 <= wanted.len() * more_max,
            "at {}: {more} copies of {}",
            place.name,
            wanted.len()
        );
    }
}

/// Publishes the same value several times at each place, and checks that nobody misses one.
pub fn repeats_are_no_copies(places: &mut [Place], times: usize) {
    for index in 0..places.len() {
        places.iter_mut().for_each(|place| place.heard.clear());
        let mut sensor = Device::connect(places[index].address, Version::V4, "sensor");
        for qos in 0..3 {
            let text = format!("value-{index}-{qos}");
            sensor.publish_all((0..times).map(|_| Publish::new("t/sensor", &text).qos(qos)));
            wait_until("the value is heard everywhere as often as it was said", || {
                places.iter_mut().for_each(Place::listen);
                places.iter().all(|place| place.count(&text) >= times)
            });
            rest(places, &format!("repeat-{index}-{qos}"));
            places.iter_mut().for_each(|place| place.heard.clear());
        }
    }
}
