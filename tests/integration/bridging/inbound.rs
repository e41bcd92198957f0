//! What comes from a bidirectional broker: it is acknowledged when it is safe, subscriptions are made in small portions
//! and again after each connect.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::packets::{Connect, Publish, kind, suback, subscriptions};
use crate::support::proxy::Proxy;
use crate::support::rest::local_broker;
use crate::support::scripted::{Link, Scripted};
use crate::support::wire::Seen;
use crate::support::{SILENCE, Version, assert_same, numbered, wait_until};

/// A broker that is subscribed at for these topics, and gets nothing.
pub fn both_ways(port: u16, version: Version, topics: &[String]) -> Json {
    let mut definition = local_broker("origin", port, version);
    definition["bidirectional"] = json!(true);
    definition["subscription_topics"] = json!(topics);
    definition["subscription_qos"] = json!(2);
    // Nothing goes there.
    definition["topics"] = json!(["nothing"]);
    definition
}

/// Answers SUBSCRIBE packets until so many filters were asked for; `code` says what each one gets. The number of
/// filters of each packet.
pub fn grant_all(link: &mut Link, count: usize, code: impl Fn(&str) -> u8) -> (BTreeSet<String>, Vec<usize>) {
    let (mut filters, mut sizes) = (BTreeSet::new(), Vec::new());
    while filters.len() < count {
        let packet = link.packet();
        assert_eq!(packet.kind(), kind::SUBSCRIBE, "{packet:?}");
        let asked = subscriptions(&packet, link.version());
        let codes: Vec<u8> = asked.iter().map(|(filter, _)| code(filter)).collect();
        link.wire.send(&suback(link.version(), packet.id(), &codes));
        sizes.push(asked.len());
        filters.extend(asked.into_iter().map(|(filter, _)| filter));
    }
    (filters, sizes)
}

in_both_versions! {
    fn what_was_acknowledged_to_a_broker_survives_kill_9(version: Version) {
        let origin = Scripted::listen();
        let other = Keeper::away();
        let mut proxy = Proxy::start();
        let topics = ["in/#".to_owned()];
        proxy.rest().add(&both_ways(origin.port(), version, &topics));
        proxy.rest().add(&local_broker("other", other.port(), Version::V5));
        let kept = Connect::new(Version::V5, "kept").persistent();
        let mut device = Device::connect_with(proxy.mqtt(), &kept);
        device.subscribe("in/#", 1);
        device.cut();
        let mut acknowledged = HashSet::new();
        for round in 0..4 {
            let mut link = origin.welcome(false);
            grant_all(&mut link, 1, |_| 2);
            let texts = numbered(&format!("round-{round}"), 100);
            let mut bytes = Vec::new();
            for (id, text) in (1..).zip(&texts) {
                let qos = if id % 2 == 0 { 2 } else { 1 };
                let message = Publish { id, ..Publish::new("in/a", text).qos(qos) };
                bytes.extend(message.encode(version));
            }
            link.wire.send(&bytes);
            // The kill comes the sooner, the later the round.
            let mut left = [100, 50, 10, 1][round];
            while left > 0 {
                let packet = link.packet();
                assert!(matches!(packet.kind(), kind::PUBACK | kind::PUBREC), "{packet:?}");
                acknowledged.insert(texts[usize::from(packet.id()) - 1].clone());
                left -= 1;
            }
            proxy.kill();
            proxy.start_again();
        }
        other.set_mood(Mood::Prompt);
        let mut device = Device::connect_with(proxy.mqtt(), &kept);
        let start = Instant::now();
        let mut at_device = HashSet::new();
        let missing = |there: &HashSet<String>| acknowledged.iter().any(|text| !there.contains(text));
        while missing(&at_device) {
            at_device.extend(device.receive_waiting().iter().map(Publish::text));
            assert!(start.elapsed() < Duration::from_secs(20), "acknowledged messages are lost to the device");
        }
        wait_until("the other broker has every acknowledged message", || {
            !missing(&other.texts_on("in/a").into_iter().collect())
        });
    }

    fn subscriptions_are_made_eight_at_a_time_and_again_after_each_connect(version: Version) {
        let origin = Scripted::listen();
        let proxy = Proxy::start();
        let topics: Vec<String> = (0..20).map(|number| format!("in/{number}/#")).collect();
        proxy.rest().add(&both_ways(origin.port(), version, &topics));
        let wanted: BTreeSet<String> = topics.into_iter().collect();
        for session_present in [false, false, true] {
            let mut link = origin.welcome(session_present);
            let (filters, sizes) = grant_all(&mut link, wanted.len(), |_| 2);
            assert_eq!(filters, wanted, "with a session: {session_present}");
            assert!(sizes.iter().all(|size| *size <= 8), "{sizes:?}");
            link.send(&Publish { id: 1, ..Publish::new("in/3/a", "m").qos(1) });
            assert_eq!(link.expect(kind::PUBACK), 1);
            link.cut();
        }
    }

    fn the_same_value_twice_from_a_broker_is_delivered_twice(version: Version) {
        let origin = Scripted::listen();
        let other = Keeper::start();
        let proxy = Proxy::start();
        proxy.rest().add(&both_ways(origin.port(), version, &["in/#".to_owned()]));
        let id = proxy.rest().add(&local_broker("other", other.port(), version));
        proxy.rest().wait_connected(&id);
        let mut link = origin.welcome(false);
        grant_all(&mut link, 1, |_| 2);
        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("in/#", 2);
        let mut bytes = Vec::new();
        for id in 1..=6 {
            let qos = (id % 3) as u8;
            let message = Publish { id: if qos == 0 { 0 } else { id }, ..Publish::new("in/a", "21.5").qos(qos) };
            bytes.extend(message.encode(version));
        }
        link.wire.send(&bytes);
        let end = Publish { id: 9, ..Publish::new("in/a", "end").qos(1) };
        link.send(&end);
        assert_same(&local.texts_before("end"), &vec!["21.5".to_owned(); 6], "locally");
        other.wait_text("end");
        assert_same(&other.texts_on("in/a")[..6], &vec!["21.5".to_owned(); 6], "at the other broker");
        // Nothing goes back.
        while let Seen::Packet(packet) = link.wire.look(SILENCE) {
            assert_ne!(packet.kind(), kind::PUBLISH, "a message went back: {packet:?}");
        }
    }
}
