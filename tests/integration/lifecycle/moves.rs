//! A broker that moves to another address keeps its place in the log; one that is connected anew loses nothing either.

use serde_json::json;

use super::{connect_keeper, definition, device, order, publish};
use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::Publish;
use crate::support::proxy::Proxy;
use crate::support::receiver::first_of_each;
use crate::support::{Version, assert_same, numbered, wait_until};

in_both_versions! {
    fn a_broker_that_moves_there_and_back_under_load_loses_nothing(version: Version) {
        let keepers = [Keeper::start(), Keeper::start()];
        let proxy = Proxy::start();
        let id = connect_keeper(&proxy, "one", &keepers[0], version);
        let path = format!("/api/brokers/{id}");
        let texts = numbered("m", 1_200);
        let rest = proxy.rest();
        let count = || keepers[0].count() + keepers[1].count();
        let mut sender = device(&proxy, version);
        for (turn, part) in texts.chunks(200).enumerate() {
            std::thread::scope(|scope| {
                let before = count();
                let sending = scope.spawn(|| publish(&mut sender, part));
                wait_until("some more have come", || count() >= before + 50);
                let port = keepers[(turn + 1) % 2].port();
                assert_eq!(rest.put(&path, &json!({"port": port})).status, 200);
                sending.join().expect("everything is acknowledged to the device");
            });
            rest.wait_connected(&id);
            rest.wait_caught_up(&id);
        }
        rest.wait_caught_up(&id);
        for qos in [1, 2] {
            let topic = format!("t/{qos}");
            let mut arrived: Vec<String> = keepers.iter().flat_map(|keeper| keeper.texts_on(&topic)).collect();
            for keeper in &keepers {
                let first = first_of_each(&keeper.texts_on(&topic));
                let inversion = first.windows(2).find(|pair| pair[0] > pair[1]);
            assert_eq!(inversion, None, "QoS {qos}: the order is kept at each server");
            }
            arrived.sort();
            // Ten QoS 2 messages at a time have the moment that they need to finish where they were sent.
            if qos != 2 || version.is_v5() {
                arrived.dedup();
            }
            assert_same(&arrived, &texts, &format!("QoS {qos}: nothing is lost"));
        }
        for keeper in &keepers {
            assert!(keeper.count() > 0);
            keeper.assert_no_faults("a move");
        }
    }

    fn what_another_server_had_received_and_not_completed_goes_to_the_new_one(version: Version) {
        let (old, new) = (Keeper::start(), Keeper::start());
        let mut proxy = Proxy::start();
        let id = connect_keeper(&proxy, "one", &old, version);
        old.set_mood(Mood::Slow(std::time::Duration::from_millis(5)));
        let texts = numbered("m", 60);
        device(&proxy, version).publish_all(texts.iter().map(|text| Publish::new("t/2", text).qos(2)));
        old.wait_count(3);
        // The old server is dead now, and the proxy dies before it reaches the new one.
        old.set_mood(Mood::Away);
        new.set_mood(Mood::Away);
        let moved = proxy.rest().put(&format!("/api/brokers/{id}"), &json!({"port": new.port()}));
        assert_eq!(moved.status, 200);
        proxy.kill_and_restart();
        new.set_mood(Mood::Prompt);
        proxy.rest().wait_caught_up(&id);
        let (before, after) = (old.texts_on("t/2"), new.texts_on("t/2"));
        let missing: Vec<_> = texts.iter().filter(|text| !before.contains(text) && !after.contains(text)).collect();
        assert!(missing.is_empty(), "{missing:?} came to neither");
        assert!(after.is_sorted());
        new.assert_no_faults("the new server");
    }
}

#[test]
fn a_bidirectional_broker_moves_there_and_back_without_a_loss_in_its_own_direction() {
    let brokers = [Mosquitto::start(), Mosquitto::start()];
    let proxy = Proxy::start();
    let two_way = json!({"bidirectional": true, "subscription_topics": ["in/#"]});
    let id = proxy.rest().add(&definition("one", brokers[0].port(), Version::V5, &two_way));
    let rest = proxy.rest();
    rest.wait_connected(&id);
    let mut witnesses = [0, 1].map(|n| {
        let mut witness = Device::connect(brokers[n].address(), Version::V5, "witness");
        witness.subscribe("t/#", 2);
        witness
    });
    let mut listener = Device::connect(proxy.mqtt(), Version::V5, "listener");
    listener.subscribe("in/#", 1);
    let texts = numbered("m", 400);
    let mut sender = device(&proxy, Version::V5);
    for (turn, part) in texts.chunks(100).enumerate() {
        publish(&mut sender, part);
        // What is said to the server that the proxy has left waits there for its return.
        let mut there = Device::connect(brokers[(turn + 1) % 2].address(), Version::V5, "there");
        if turn > 0 {
            there.say("in/a", &format!("said {turn}"), 1);
        }
        let port = brokers[(turn + 1) % 2].port();
        assert_eq!(rest.put(&format!("/api/brokers/{id}"), &json!({"port": port})).status, 200);
        rest.wait_connected(&id);
        if turn > 0 {
            assert_eq!(listener.receive().text(), format!("said {turn}"));
        }
    }
    rest.wait_caught_up(&id);
    let mut arrived = Vec::new();
    for (n, witness) in witnesses.iter_mut().enumerate() {
        Device::connect(brokers[n].address(), Version::V5, "end").say("t/end", "end", 2);
        arrived.extend(
            witness.receive_before("end").into_iter().map(|message| (message.topic.clone(), message.text())),
        );
    }
    arrived.sort();
    arrived.dedup();
    assert_eq!(arrived.len(), 2 * texts.len(), "nothing is lost");
}

#[test]
fn a_right_password_lets_out_what_waited_for_it() {
    let broker = Mosquitto::start_with_user("proxy", "right");
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let wrong = json!({"username": "proxy", "password": "wrong"});
    let id = rest.add(&definition("one", broker.port(), Version::V5, &wrong));
    rest.wait_last_error(&id, &["authori", "user name"]);
    let texts = numbered("m", 50);
    publish(&mut device(&proxy, Version::V5), &texts);
    assert_eq!(rest.put(&format!("/api/brokers/{id}"), &json!({"password": "right"})).status, 200);
    rest.wait_caught_up(&id);
    assert_eq!(rest.broker(&id)["forwarded"], 100);
}

#[test]
fn a_broker_connects_anew_on_request_and_its_events_tell_so() {
    let keeper = Keeper::start();
    let proxy = Proxy::start();
    let id = connect_keeper(&proxy, "one", &keeper, Version::V5);
    let texts = numbered("m", 600);
    let rest = proxy.rest();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| publish(&mut device(&proxy, Version::V5), &texts));
        for _ in 0..3 {
            order(&proxy, &id, "reconnect");
            rest.wait_connected(&id);
        }
        sender.join().expect("everything is acknowledged to the device");
    });
    rest.wait_caught_up(&id);
    assert_same(&keeper.texts_on("t/2"), &texts, "exactly once");
    assert_same(&first_of_each(&keeper.texts_on("t/1")), &texts, "at least once, in order");
    keeper.set_mood(Mood::Away);
    wait_until("the outage is seen", || rest.broker(&id)["connected"] == false);
    order(&proxy, &id, "pause");
    let reply = rest.get(&format!("/api/brokers/{id}/events"));
    let events = reply.json()["events"].as_array().expect("a list").clone();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().expect("a name")).collect();
    assert_eq!(names.iter().filter(|name| **name == "reconnect_requested").count(), 3, "{names:?}");
    let failed = events.iter().find(|event| event["event"] == "waiting_to_retry").expect("the outage");
    assert!(failed["cause"].is_string() && failed["at"].is_string(), "{failed}");
    assert!(names.contains(&"connected") && names.contains(&"paused"), "{names:?}");
}
