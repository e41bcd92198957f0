//! Upstream brokers that go, return, hang, appear and disappear: the others notice nothing, and what they
//! miss in the meantime reaches them later.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::mosquitto::{Mosquitto, reserve_port};
use crate::support::packets::{Connect, Publish};
use crate::support::peers::Peer;
use crate::support::proxy::{Proxy, Setup};
use crate::support::relay::Relay;
use crate::support::rest::local_broker;
use crate::support::scripted::Scripted;
use crate::support::{Version, assert_same, numbered, wait_until};

/// QoS 1 messages to one topic.
fn on_topic<'a>(topic: &'a str, texts: &'a [String]) -> impl Iterator<Item = Publish> + 'a {
    texts.iter().map(move |text| Publish::new(topic, text).qos(1))
}

/// Everything that was dropped for a broker, whatever the reason.
fn dropped(broker: &Value) -> u64 {
    let reasons = broker["dropped"].as_object().expect("reasons with counts");
    reasons.values().map(|count| count.as_u64().expect("a count")).sum()
}

in_both_versions! {
    fn a_broker_that_was_away_gets_everything_in_order_when_it_returns(version: Version) {
        let steady = Mosquitto::start();
        let mut moody = Mosquitto::start_with_memory();
        let proxy = Proxy::with_brokers(&[("steady", steady.port(), version), ("moody", moody.port(), version)]);
        let rest = proxy.rest();
        let id = rest.id_of("moody");
        let at_steady = Peer::subscriber(steady.address(), Version::V4, "peer", "#", 1);
        let kept = Connect::new(Version::V4, "peer").persistent();
        let mut at_moody = Device::connect_with(moody.address(), &kept);
        at_moody.subscribe("#", 1);
        at_moody.disconnect();

        let texts = numbered("m", 900);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.publish_all(on_topic("t", &texts[..300]));
        rest.wait_caught_up(&id);
        moody.stop();
        wait_until("the outage is seen", || rest.broker(&id)["connected"] == false);
        device.publish_all(on_topic("t", &texts[300..600]));
        moody.resume_process();
        device.publish_all(on_topic("t", &texts[600..]));
        device.say("t", "end", 1);

        assert_same(&at_steady.texts_before("end"), &texts, "the steady broker");
        rest.wait_caught_up(&id);
        let mut at_moody = Device::connect_with(moody.address(), &kept);
        assert!(at_moody.connack.session_present, "mosquitto kept the session");
        assert_same(&at_moody.texts_before("end"), &texts, "the broker that was away");
        assert_eq!(rest.broker(&id)["reconnects"], 1);
        assert_eq!(dropped(&rest.broker(&id)), 0);
    }

    fn a_network_that_breaks_in_the_middle_of_packets_loses_nothing_and_repeats_no_qos_2(version: Version) {
        let broker = Mosquitto::start();
        let relay = Relay::to(broker.address(), 25, 7);
        let proxy = Proxy::start();
        let mut shaky = local_broker("shaky", relay.port(), version);
        // A network that breaks so often is given up for longer and longer, unless the definition says otherwise.
        shaky["retry_ceiling_ms"] = 300.into();
        proxy.rest().add(&shaky);
        let mut witness = Device::connect(broker.address(), Version::V4, "witness");
        witness.subscribe("#", 2);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        let (rest, mut sent) = (proxy.rest(), 0);
        let id = rest.id_of("shaky");
        wait_until("all cuts are made", || {
            let texts = (sent..sent + 100).flat_map(|number| [1, 2].map(|qos| (number, qos)));
            device.publish_all(
                texts.map(|(number, qos)| Publish::new(&format!("qos/{qos}"), format!("{number:0>60}")).qos(qos)),
            );
            sent += 100;
            wait_until("the broker is not far behind", || rest.broker(&id)["lag"].as_u64() < Some(300));
            relay.cuts_left() == 0
        });
        device.say("end", "end", 2);

        // mosquitto lets a new message overtake those that it has queued for a witness that reads meanwhile.
        rest.wait_caught_up(&id);
        let arrived = witness.receive_before("end");
        let wanted: Vec<String> = (0..sent).map(|number| format!("{number:0>60}")).collect();
        let texts = |topic: &str| -> Vec<String> {
            arrived.iter().filter(|message| message.topic == topic).map(Publish::text).collect()
        };
        assert_same(&texts("qos/2"), &wanted, "exactly once");
        let mut seen = HashSet::new();
        let first: Vec<String> = texts("qos/1").into_iter().filter(|text| seen.insert(text.clone())).collect();
        assert_same(&first, &wanted, "at least once, and for the first time in order");
    }

    fn a_broker_that_hangs_holds_up_nobody(version: Version) {
        let steady = Mosquitto::start();
        let hanging = Mosquitto::start();
        let proxy =
            Proxy::with_brokers(&[("hanging", hanging.port(), version), ("steady", steady.port(), version)]);
        let at_steady = Peer::subscriber(steady.address(), Version::V4, "peer", "#", 1);
        let at_hanging = Peer::subscriber(hanging.address(), Version::V4, "peer", "#", 1);
        let texts = numbered(&"x".repeat(1_000), 2_000);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.publish_all(on_topic("t", &texts[..10]));
        wait_until("the first ones are there", || at_hanging.messages().len() == 10);

        hanging.freeze();
        device.publish_all(on_topic("t", &texts[10..]));
        device.say("t", "end", 1);
        assert_same(&at_steady.texts_before("end"), &texts, "the steady broker, while the other one hangs");
        assert!(proxy.rest().broker(&proxy.rest().id_of("hanging"))["lag"].as_u64() > Some(0));

        hanging.thaw();
        assert_same(&at_hanging.texts_before("end"), &texts, "the broker that hung");
    }
}

#[test]
fn a_broker_that_hangs_for_longer_than_keep_alive_is_left_and_found_again() {
    let broker = Mosquitto::start();
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let mut definition = local_broker("hanging", broker.port(), Version::V4);
    definition["keep_alive_secs"] = json!(1);
    let id = rest.add(&definition);
    rest.wait_connected(&id);
    broker.freeze();
    wait_until("the proxy gives the connection up", || rest.broker(&id)["connected"] == false);
    assert!(rest.broker(&id)["last_error"].is_string(), "the reason is shown");
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    device.say("t", "while it hangs", 1);
    broker.thaw();
    rest.wait_connected(&id);
    rest.wait_caught_up(&id);
    assert_eq!(rest.broker(&id)["forwarded"], 1);
}

#[test]
fn a_broker_that_is_killed_under_load_costs_the_other_one_nothing() {
    let steady = Mosquitto::start();
    let mut moody = Mosquitto::start();
    let brokers = [("steady", steady.port(), Version::V5), ("moody", moody.port(), Version::V5)];
    let proxy = Proxy::with_brokers(&brokers);
    let at_steady = Peer::subscriber(steady.address(), Version::V5, "peer", "#", 1);
    let texts = numbered("m", 4_000);
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
            device.publish_all(on_topic("t", &texts));
            device.say("t", "end", 1);
        });
        for _ in 0..3 {
            moody.kill();
            moody.resume_process();
        }
        publisher.join().expect("the publisher is content");
    });
    assert_same(&at_steady.texts_before("end"), &texts, "the steady broker");
    let rest = proxy.rest();
    rest.wait_caught_up(&rest.id_of("moody"));
    assert_eq!(rest.broker(&rest.id_of("steady"))["reconnects"], 0);
}

#[test]
fn adding_toggling_changing_and_removing_a_broker_under_load_costs_the_others_nothing() {
    let brokers = [Mosquitto::start(), Mosquitto::start(), Mosquitto::start()];
    let proxy =
        Proxy::with_brokers(&[("a", brokers[0].port(), Version::V4), ("b", brokers[1].port(), Version::V5)]);
    let rest = proxy.rest();
    let peers = [0, 1].map(|n| Peer::subscriber(brokers[n].address(), Version::V4, "peer", "#", 1));
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let texts: Vec<String> = (sent..sent + 50).map(|n| format!("m-{n:05}")).collect();
                device.publish_all(on_topic("t", &texts));
                sent += 50;
            }
            device.say("t", "end", 1);
            sent
        });
        for round in 0..3 {
            let id = rest.add_local(&format!("c{round}"), brokers[2].port(), Version::BOTH[round % 2]);
            rest.wait_connected(&id);
            wait_until("it is fed", || rest.broker(&id)["forwarded"].as_u64() > Some(0));
            let path = format!("/api/brokers/{id}");
            assert_eq!(rest.toggle(&id)["enabled"], false);
            assert_eq!(rest.put(&path, &json!({"max_qos": 0})).status, 200);
            assert_eq!(rest.toggle(&id)["enabled"], true);
            rest.wait_connected(&id);
            assert_eq!(rest.put(&path, &json!({"keep_alive_secs": 17})).status, 200);
            assert_eq!(rest.delete(&path).status, 204);
            assert_eq!(rest.get(&path).status, 404);
        }
        stop.store(true, Ordering::Relaxed);
        publisher.join().expect("the publisher is content")
    });
    let wanted: Vec<String> = (0..sent).map(|n| format!("m-{n:05}")).collect();
    for (name, peer) in ["a", "b"].iter().zip(&peers) {
        assert_same(&peer.texts_before("end"), &wanted, name);
        assert_eq!(rest.broker(&rest.id_of(name))["reconnects"], 0, "{name} was not to be touched");
    }
}

#[test]
fn a_disabled_broker_gets_nothing_of_what_was_published_meanwhile() {
    let broker = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("one", broker.port(), Version::V4)]);
    let rest = proxy.rest();
    let id = rest.id_of("one");
    let peer = Peer::subscriber(broker.address(), Version::V4, "peer", "#", 1);
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    device.say("t", "before", 1);
    rest.wait_caught_up(&id);
    rest.toggle(&id);
    wait_until("it is disabled", || rest.broker(&id)["state"] == "disabled");
    device.say("t", "meanwhile", 1);
    rest.toggle(&id);
    rest.wait_connected(&id);
    device.say("t", "after", 1);
    assert_eq!(peer.texts_before("after"), ["before"]);
}

#[test]
fn what_does_not_fit_into_memory_comes_from_the_files_and_nothing_is_lost() {
    let steady = Mosquitto::start();
    let port = reserve_port();
    let proxy = Setup::new().settings("[log]\nhead_bytes_max = 1048576").start();
    let rest = proxy.rest();
    let steady_id = rest.add_local("steady", steady.port(), Version::V4);
    let absent_id = rest.add_local("absent", port, Version::V4);
    rest.wait_connected(&steady_id);
    let at_steady = Peer::subscriber(steady.address(), Version::V4, "peer", "#", 1);

    let texts = numbered(&"x".repeat(1_000), 5_000);
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    device.publish_all(on_topic("t", &texts));
    device.say("t", "end", 1);
    assert_same(&at_steady.texts_before("end"), &texts, "the steady broker");
    let absent = rest.broker(&absent_id);
    assert_eq!(dropped(&absent), 0);
    assert!(absent["lag_bytes"].as_u64() > Some(5_000_000), "5 MB wait: {absent}");

    let upstream = Scripted::listen_on(port);
    let mut link = upstream.welcome(false);
    let mut arrived = Vec::new();
    loop {
        let message = link.take();
        if message.text() == "end" {
            break;
        }
        arrived.push(message.text());
    }
    assert_same(&arrived, &texts, "the broker that was away");
}

#[test]
fn what_is_in_no_file_and_falls_out_of_memory_is_counted_and_the_rest_arrives_in_order() {
    let steady = Mosquitto::start();
    let port = reserve_port();
    let proxy = Setup::new().settings("[log]\nhead_bytes_max = 1048576").start();
    let rest = proxy.rest();
    let steady_id = rest.add_local("steady", steady.port(), Version::V4);
    let absent_id = rest.add_local("absent", port, Version::V4);
    rest.wait_connected(&steady_id);
    let at_steady = Peer::subscriber(steady.address(), Version::V4, "peer", "#", 1);

    let texts = numbered(&"x".repeat(1_000), 5_000);
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    for (index, part) in texts.chunks(100).enumerate() {
        for text in part {
            device.say("t", text, 0);
        }
        let so_far = (index + 1) * 100;
        wait_until("the steady broker keeps pace", || at_steady.messages().len() >= so_far);
    }
    device.say("t", "end", 1);
    assert_same(&at_steady.texts_before("end"), &texts, "the steady broker");
    assert_eq!(dropped(&rest.broker(&steady_id)), 0);

    wait_until("5 MB do not fit into 1 MiB", || dropped(&rest.broker(&absent_id)) > 3_000);
    let lost = dropped(&rest.broker(&absent_id));
    let metric = rest.metric("mqtt_messages_dropped_total", &["broker=\"absent\""]);
    assert!((metric - lost as f64).abs() < 0.5, "the metric says {metric}, the API {lost}");

    let upstream = Scripted::listen_on(port);
    let mut link = upstream.welcome(false);
    let mut arrived = Vec::new();
    loop {
        let message = link.take();
        if message.text() == "end" {
            break;
        }
        arrived.push(message.text());
    }
    assert!(arrived.is_sorted(), "in order");
    let arrived = arrived.len() as u64;
    wait_until("each arrived or was counted", || arrived + dropped(&rest.broker(&absent_id)) == 5_000);
}

in_both_versions! {
    fn the_client_id_towards_a_broker_survives_reconnects_and_restarts(version: Version) {
        let upstream = Scripted::listen();
        let url_upstream = Scripted::listen();
        let url = format!("mqtt://127.0.0.1:{}?name=fixed&version={}", url_upstream.port(), version.name());
        let mut proxy = Setup::new().upstream(&url).start();
        let mut definition = local_broker("stored", upstream.port(), version);
        definition["client_id_prefix"] = json!("plant-7");
        let id = proxy.rest().add(&definition);
        let first = upstream.welcome(false).connect;
        let first_of_url = url_upstream.welcome(false).connect;
        assert_eq!(first.client_id, format!("plant-7-{id}"));
        assert_eq!(proxy.rest().broker(&id)["client_id"], first.client_id.as_str());
        assert!(!first.clean, "the session is to outlive the connection");

        assert_eq!(upstream.welcome(true).connect, first, "after a lost connection");
        proxy.stop_and_restart();
        assert_eq!(upstream.welcome(true).connect, first, "after a restart");
        // The lost connection of before may have been followed by another attempt.
        assert_eq!(url_upstream.welcome(true).connect.client_id, first_of_url.client_id);
        proxy.kill_and_restart();
        assert_eq!(upstream.welcome(true).connect, first, "after kill -9");
        assert_eq!(proxy.rest().broker(&id)["name"], "stored");
    }
}
