//! A paused broker gets nothing new and loses nothing.

use serde_json::json;

use super::{connect_keeper, definition, device, dropped, order, publish, wait_state};
use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Publish, kind};
use crate::support::proxy::{Proxy, Setup};
use crate::support::receiver::first_of_each;
use crate::support::wire::Seen;
use crate::support::{SILENCE, Version, assert_same, numbered, wait_until};

in_both_versions! {
    fn what_a_paused_broker_missed_reaches_it_when_it_is_resumed_even_after_a_kill(version: Version) {
        let (steady, moody) = (Keeper::start(), Keeper::start());
        let mut proxy = Proxy::start();
        connect_keeper(&proxy, "steady", &steady, version);
        let id = connect_keeper(&proxy, "moody", &moody, version);
        let texts = numbered("m", 300);
        publish(&mut device(&proxy, version), &texts[..100]);
        moody.wait_count(200);

        for _ in 0..2 {
            let paused = order(&proxy, &id, "pause");
            assert_eq!((&paused["state"], &paused["paused"]), (&json!("paused"), &json!(true)));
        }
        publish(&mut device(&proxy, version), &texts[100..200]);
        steady.wait_count(400);
        proxy.kill_and_restart();
        let rest = proxy.rest();
        wait_until("the paused broker is connected", || rest.broker(&id)["connected"] == true);
        publish(&mut device(&proxy, version), &texts[200..]);
        steady.wait_count(600);
        let broker = rest.broker(&id);
        assert_eq!((&broker["state"], &broker["connection"]), (&json!("paused"), &json!("connected")));
        assert_eq!(moody.count(), 200, "nothing came to the paused broker");
        assert!(broker["lag"].as_u64() >= Some(400), "{broker}");
        let label = ["broker=\"moody\""];
        assert!((rest.metric("mqtt_broker_paused", &label) - 1.0).abs() < 0.1);

        for _ in 0..2 {
            assert_eq!(order(&proxy, &id, "resume")["paused"], false);
        }
        rest.wait_caught_up(&id);
        assert!(rest.metric("mqtt_broker_paused", &label).abs() < 0.1);
        // How far it was at QoS 1 is written down a little later.
        assert_same(&first_of_each(&moody.texts_on("t/1")), &texts, "QoS 1");
        assert_same(&moody.texts_on("t/2"), &texts, "QoS 2");
        assert_eq!(dropped(&proxy, &id), 0);
        moody.assert_no_faults("the paused broker");
    }

    fn what_is_in_flight_when_the_connection_breaks_finishes_in_a_pause_too(version: Version) {
        let keeper = Keeper::start();
        let proxy = Proxy::start();
        let id = connect_keeper(&proxy, "one", &keeper, version);
        keeper.set_mood(Mood::Hanging);
        let texts = numbered("m", 100);
        publish(&mut device(&proxy, version), &texts);
        let rest = proxy.rest();
        wait_until("something is in flight", || rest.broker(&id)["in_flight"].as_u64() > Some(0));
        order(&proxy, &id, "pause");
        keeper.set_mood(Mood::Away);
        wait_until("the connection is gone", || rest.broker(&id)["connected"] == false);
        assert_eq!(rest.broker(&id)["state"], "paused");
        keeper.set_mood(Mood::Prompt);
        wait_until("what was in flight is done", || {
            let broker = rest.broker(&id);
            broker["connected"] == true && broker["in_flight"] == 0
        });
        order(&proxy, &id, "resume");
        rest.wait_caught_up(&id);
        for qos in [1, 2] {
            assert_same(&keeper.texts_on(&format!("t/{qos}")), &texts, &format!("QoS {qos}"));
        }
    }
}

#[test]
fn what_is_in_flight_finishes_in_a_pause() {
    // Ten QoS 2 messages at a time.
    let version = Version::V4;
    let keeper = Keeper::start();
    let proxy = Proxy::start();
    let id = connect_keeper(&proxy, "one", &keeper, version);
    keeper.set_mood(Mood::Slow(std::time::Duration::from_millis(2)));
    let texts = numbered("m", 300);
    let mut sender = device(&proxy, version);
    sender.publish_all(texts.iter().map(|text| Publish::new("t/2", text).qos(2)));
    keeper.wait_count(5);
    order(&proxy, &id, "pause");
    let rest = proxy.rest();
    wait_until("nothing is in flight", || rest.broker(&id)["in_flight"] == 0);
    let taken = keeper.count();
    assert!((5..300).contains(&taken), "{taken} messages came: the test tests nothing");
    assert_eq!(rest.broker(&id)["forwarded"], taken);
    keeper.set_mood(Mood::Prompt);
    order(&proxy, &id, "resume");
    rest.wait_caught_up(&id);
    assert_same(&keeper.texts_on("t/2"), &texts, "exactly once");
    keeper.assert_no_faults("in flight");
}

#[test]
fn what_a_paused_broker_publishes_goes_on_coming_in() {
    let broker = Mosquitto::start();
    let proxy = Proxy::start();
    let two_way = json!({"bidirectional": true, "subscription_topics": ["in/#"]});
    let id = proxy.rest().add(&definition("one", broker.port(), Version::V5, &two_way));
    proxy.rest().wait_connected(&id);
    let mut listener = Device::connect(proxy.mqtt(), Version::V5, "listener");
    listener.subscribe("in/#", 1);
    let mut there = Device::connect(broker.address(), Version::V5, "there");
    wait_until("the proxy is subscribed", || {
        there.say("in/first", "first", 1);
        !listener.receive_waiting().is_empty()
    });
    there.say("in/a", "before", 1);
    listener.texts_before("before");
    order(&proxy, &id, "pause");
    there.say("in/a", "meanwhile", 1);
    assert_eq!(listener.receive().text(), "meanwhile");
}

#[test]
fn the_backlog_of_a_paused_broker_is_bounded_and_what_drops_is_counted() {
    let keeper = Keeper::start();
    let proxy = Proxy::start();
    let bounded = json!({"queue_bytes_max": 65_536});
    let id = proxy.rest().add(&definition("one", keeper.port(), Version::V4, &bounded));
    proxy.rest().wait_connected(&id);
    order(&proxy, &id, "pause");
    let texts = numbered(&"x".repeat(1_000), 4_000);
    let mut sender = device(&proxy, Version::V4);
    sender.publish_all(texts.iter().map(|text| Publish::new("t", text).qos(1)));
    wait_until("old messages drop", || dropped(&proxy, &id) > 0);
    order(&proxy, &id, "resume");
    proxy.rest().wait_caught_up(&id);
    let arrived = keeper.texts_on("t");
    wait_until("all are accounted for", || dropped(&proxy, &id) as usize + arrived.len() == texts.len());
    assert_same(&arrived, &texts[texts.len() - arrived.len()..], "the newest, in order");
}

#[test]
fn an_acknowledgement_of_all_waits_for_a_paused_broker() {
    for (policy, waits) in [("any", false), ("quorum", false), ("all", true)] {
        let settings = format!("[acknowledgement]\npolicy = \"{policy}\"\ndeadline_ms = 3600000");
        let proxy = Setup::new().settings(&settings).start();
        let keepers = [Keeper::start(), Keeper::start(), Keeper::start()];
        let [id, ..] = [0, 1, 2].map(|n| connect_keeper(&proxy, &n.to_string(), &keepers[n], Version::V5));
        order(&proxy, &id, "pause");
        let mut sender = device(&proxy, Version::V4);
        let message = Publish { id: 5, ..Publish::new("t", "m").qos(1) };
        sender.wire.send(&message.encode(Version::V4));
        if waits {
            assert_eq!(sender.wire.look(SILENCE), Seen::Silence, "a paused broker has not got it");
            order(&proxy, &id, "resume");
        }
        assert_eq!(sender.wire.packet().kind(), kind::PUBACK, "{policy}");
    }
}

#[test]
fn a_broker_that_is_added_paused_gets_what_came_since_then() {
    let keeper = Keeper::start();
    let proxy = Proxy::start();
    let paused = definition("one", keeper.port(), Version::V5, &json!({"paused": true}));
    let id = proxy.rest().add(&paused);
    let texts = numbered("m", 20);
    publish(&mut device(&proxy, Version::V5), &texts);
    let rest = proxy.rest();
    wait_state(&proxy, &id, "paused");
    let resumed = rest.put(&format!("/api/brokers/{id}"), &json!({"paused": false}));
    assert_eq!(resumed.status, 200);
    rest.wait_caught_up(&id);
    assert_same(&keeper.texts_on("t/2"), &texts, "since it was added");
}

#[test]
fn a_paused_proxy_stops_without_delay() {
    let keeper = Keeper::start();
    let mut proxy = Proxy::start();
    let id = connect_keeper(&proxy, "one", &keeper, Version::V5);
    order(&proxy, &id, "pause");
    let texts = numbered("m", 20);
    publish(&mut device(&proxy, Version::V5), &texts);
    proxy.stop_and_restart();
    assert!(!proxy.log().contains("not everything was sent"), "{}", proxy.log());
    order(&proxy, &id, "resume");
    proxy.rest().wait_caught_up(&id);
    assert_same(&keeper.texts_on("t/2"), &texts, "after the restart");
}

#[test]
fn disabling_says_what_is_lost_by_it() {
    let keeper = Keeper::start();
    let proxy = Proxy::start();
    let id = connect_keeper(&proxy, "one", &keeper, Version::V5);
    order(&proxy, &id, "pause");
    publish(&mut device(&proxy, Version::V5), &numbered("m", 10));
    let off = proxy.rest().toggle(&id);
    assert_eq!(off["state"], "disabled");
    let warning = off["warnings"][0].as_str().expect("a text");
    assert!(warning.starts_with("enabled: 20 messages"), "{warning}");
    assert_eq!(proxy.rest().broker(&id)["warnings"], json!([]), "said once");
    order(&proxy, &id, "resume");
    let on = proxy.rest().toggle(&id);
    assert_eq!(on["warnings"], json!([]));
    proxy.rest().wait_connected(&id);
    let off = proxy.rest().toggle(&id);
    assert_eq!(off["warnings"], json!([]), "nothing waited");
}
