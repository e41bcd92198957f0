//! A drain sends what waits and nothing newer, whatever happens meanwhile; then the broker is paused, disabled or gone.

use std::time::Duration;

use serde_json::json;

use super::{connect_keeper, device, drain, is_gone, nothing, order, publish, wait_state};
use crate::support::keeper::{Keeper, Mood};
use crate::support::proxy::{Proxy, Setup};
use crate::support::{Version, assert_same, numbered, wait_until};

/// A keeper that does not take anything for now, with 100 messages of each QoS that wait for it, and a proxy.
fn scene(version: Version) -> (Keeper, Proxy, String, Vec<String>) {
    let keeper = Keeper::start();
    let proxy = Proxy::start();
    let id = connect_keeper(&proxy, "one", &keeper, version);
    keeper.set_mood(Mood::Away);
    wait_until("the outage is seen", || proxy.rest().broker(&id)["connected"] == false);
    let texts = numbered("m", 150);
    publish(&mut device(&proxy, version), &texts[..100]);
    (keeper, proxy, id, texts)
}

fn assert_arrived(keeper: &Keeper, texts: &[String], context: &str) {
    for qos in [1, 2] {
        assert_same(&keeper.texts_on(&format!("t/{qos}")), texts, &format!("{context}, QoS {qos}"));
    }
    keeper.assert_no_faults(context);
}

in_both_versions! {
    fn a_drain_ends_in_a_pause_and_a_resume_goes_on_there(version: Version) {
        let (keeper, proxy, id, texts) = scene(version);
        let reply = drain(&proxy, &id, &nothing());
        assert_eq!(reply.status, 202, "{}", reply.body);
        let shown = reply.json();
        assert_eq!((&shown["state"], &shown["drain"]["then"]), (&json!("draining"), &json!("pause")));
        publish(&mut device(&proxy, version), &texts[100..]);
        let remaining = proxy.rest().broker(&id)["drain"]["remaining"].as_u64();
        assert!((Some(200)..Some(300)).contains(&remaining), "{remaining:?}");
        let remaining = proxy.rest().metric("mqtt_broker_drain_remaining_messages", &["broker=\"one\""]);
        assert!((200.0..300.0).contains(&remaining), "{remaining}");
        keeper.set_mood(Mood::Prompt);
        wait_state(&proxy, &id, "paused");
        assert_arrived(&keeper, &texts[..100], "up to the drain point");
        assert_eq!(proxy.rest().broker(&id)["drain"], json!(null));
        order(&proxy, &id, "resume");
        proxy.rest().wait_caught_up(&id);
        assert_arrived(&keeper, &texts, "everything");
    }

    fn a_drain_survives_the_death_of_the_proxy(version: Version) {
        let (keeper, mut proxy, id, texts) = scene(version);
        assert_eq!(drain(&proxy, &id, &nothing()).status, 202);
        publish(&mut device(&proxy, version), &texts[100..]);
        proxy.kill_and_restart();
        assert_eq!(proxy.rest().broker(&id)["state"], "draining");
        keeper.set_mood(Mood::Slow(Duration::from_millis(3)));
        keeper.wait_count(20);
        proxy.kill_and_restart();
        keeper.set_mood(Mood::Prompt);
        wait_state(&proxy, &id, "paused");
        let at_first = |qos| crate::support::receiver::first_of_each(&keeper.texts_on(&format!("t/{qos}")));
        assert_same(&at_first(1), &texts[..100], "QoS 1 up to the drain point");
        assert_same(&keeper.texts_on("t/2"), &texts[..100], "QoS 2 up to the drain point");
        proxy.stop_and_restart();
        order(&proxy, &id, "resume");
        proxy.rest().wait_caught_up(&id);
        assert_same(&at_first(1), &texts, "QoS 1");
        assert_same(&keeper.texts_on("t/2"), &texts, "QoS 2, exactly once");
        keeper.assert_no_faults("a drain over deaths");
    }
}

#[test]
fn a_resume_ends_a_drain() {
    let (keeper, proxy, id, texts) = scene(Version::V5);
    assert_eq!(drain(&proxy, &id, &json!({"then": "disable"})).json()["drain"]["then"], "disable");
    let resumed = order(&proxy, &id, "resume");
    assert_eq!((&resumed["drain"], &resumed["paused"]), (&json!(null), &json!(false)));
    publish(&mut device(&proxy, Version::V5), &texts[100..]);
    keeper.set_mood(Mood::Prompt);
    proxy.rest().wait_caught_up(&id);
    assert_arrived(&keeper, &texts, "everything");
    assert_eq!(proxy.rest().broker(&id)["state"], "connected");
}

#[test]
fn a_drain_that_takes_too_long_ends_where_it_is_and_nothing_is_lost() {
    for then in ["pause", "disable"] {
        let (keeper, proxy, id, texts) = scene(Version::V4);
        let reply = drain(&proxy, &id, &json!({"deadline_secs": 1, "then": then}));
        assert_eq!(reply.status, 202, "{}", reply.body);
        assert!(reply.json()["drain"]["deadline"].is_string());
        wait_state(&proxy, &id, "paused");
        keeper.set_mood(Mood::Prompt);
        wait_until("it is connected", || proxy.rest().broker(&id)["connected"] == true);
        order(&proxy, &id, "resume");
        proxy.rest().wait_caught_up(&id);
        assert_arrived(&keeper, &texts[..100], then);
    }
}

#[test]
fn a_drain_may_end_in_disabling() {
    let (keeper, proxy, id, texts) = scene(Version::V5);
    assert_eq!(drain(&proxy, &id, &json!({"then": "disable"})).status, 202);
    publish(&mut device(&proxy, Version::V5), &texts[100..]);
    keeper.set_mood(Mood::Prompt);
    wait_state(&proxy, &id, "disabled");
    assert_arrived(&keeper, &texts[..100], "up to the drain point");
    proxy.rest().toggle(&id);
    proxy.rest().wait_connected(&id);
    publish(&mut device(&proxy, Version::V5), &numbered("new", 1));
    proxy.rest().wait_caught_up(&id);
    assert_eq!(
        keeper.texts_on("t/2").last().map(String::as_str),
        Some("new-00000"),
        "what came between is forgotten"
    );
    assert_eq!(keeper.texts_on("t/2").len(), 101);
}

#[test]
fn a_drain_of_a_broker_that_has_everything_is_over_at_once_even_while_it_is_away() {
    let keeper = Keeper::start();
    let proxy = Proxy::start();
    let id = connect_keeper(&proxy, "one", &keeper, Version::V5);
    publish(&mut device(&proxy, Version::V5), &numbered("m", 10));
    proxy.rest().wait_caught_up(&id);
    keeper.set_mood(Mood::Away);
    wait_until("the outage is seen", || proxy.rest().broker(&id)["connected"] == false);
    assert_eq!(drain(&proxy, &id, &nothing()).status, 202);
    wait_state(&proxy, &id, "paused");
    // A paused broker that is drained sends what waits, and is paused again.
    publish(&mut device(&proxy, Version::V5), &numbered("n", 10));
    keeper.set_mood(Mood::Prompt);
    assert_eq!(drain(&proxy, &id, &nothing()).json()["state"], "draining");
    wait_state(&proxy, &id, "paused");
    assert_eq!(keeper.count(), 40);
}

#[test]
fn a_broker_is_removed_once_it_has_what_waits() {
    let (keeper, mut proxy, id, texts) = scene(Version::V4);
    let path = format!("/api/brokers/{id}?backlog=send");
    let reply = proxy.rest().delete(&path);
    assert_eq!((reply.status, &reply.json()["state"]), (202, &json!("removing")));
    publish(&mut device(&proxy, Version::V4), &texts[100..]);
    assert_eq!(proxy.rest().delete(&path).status, 202, "once more is the same");
    proxy.kill_and_restart();
    assert_eq!(proxy.rest().broker(&id)["state"], "removing");
    keeper.set_mood(Mood::Prompt);
    wait_until("the broker is gone", || is_gone(&proxy, &id));
    assert_arrived(&keeper, &texts[..100], "what waited");
    assert_eq!(proxy.rest().brokers().len(), 0);
    proxy.stop_and_restart();
    assert_eq!(proxy.rest().brokers().len(), 0);
}

#[test]
fn a_removal_that_waits_is_ended_by_discarding_by_its_deadline_or_by_a_resume() {
    let (_keeper, proxy, id, _) = scene(Version::V5);
    let rest = proxy.rest();
    let path = format!("/api/brokers/{id}");
    assert_eq!(rest.delete(&format!("{path}?backlog=send")).status, 202);
    assert_eq!(order(&proxy, &id, "resume")["drain"], json!(null));
    assert_eq!(rest.delete(&format!("{path}?backlog=send")).status, 202);
    assert_eq!(rest.delete(&format!("{path}?backlog=discard")).status, 204);
    assert!(is_gone(&proxy, &id));

    let (_keeper, proxy, id, _) = scene(Version::V5);
    let reply = proxy.rest().delete(&format!("/api/brokers/{id}?backlog=send&deadline_secs=1"));
    assert_eq!(reply.status, 202);
    wait_until("the deadline is over", || is_gone(&proxy, &id));
}

#[test]
fn what_cannot_be_drained_is_said() {
    let proxy = Setup::new().upstream("mqtt://127.0.0.1:1?name=fixed").start();
    let rest = proxy.rest();
    let fixed = rest.id_of("fixed");
    for what in ["pause", "resume", "drain"] {
        let reply = rest.send("POST", &format!("/api/brokers/{fixed}/{what}"), None);
        assert_eq!(reply.status, 403, "{what}: {}", reply.body);
        let absent = rest.send("POST", &format!("/api/brokers/{}/{what}", uuid::Uuid::new_v4()), None);
        assert_eq!(absent.status, 404, "{what}: {}", absent.body);
    }
    assert_eq!(rest.send("POST", &format!("/api/brokers/{fixed}/reconnect"), None).status, 202);
    let id = rest.add(&json!({"name": "off", "address": "127.0.0.1", "enabled": false}));
    assert_eq!(drain(&proxy, &id, &nothing()).status, 409);
    assert_eq!(rest.send("POST", &format!("/api/brokers/{id}/reconnect"), None).status, 409);
    assert_eq!(order(&proxy, &id, "pause")["state"], "disabled");
    assert_eq!(drain(&proxy, &id, &json!({"then": "remove"})).status, 400);
    assert_eq!(rest.delete(&format!("/api/brokers/{id}?backlog=keep")).status, 400);
    assert_eq!(rest.delete(&format!("/api/brokers/{id}?backlog=send")).status, 204, "nothing waits");
}
