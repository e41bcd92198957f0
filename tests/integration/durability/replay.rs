//! Where a new broker begins in the log, sending parts of the log again, and how fast a backlog is drained.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{add_keeper, connect_keeper, device, publish};
use crate::support::keeper::{Keeper, Mood};
use crate::support::process::run;
use crate::support::proxy::{Proxy, Setup};
use crate::support::{Version, assert_same, numbered, wait_until};

/// A proxy whose one broker has two parts of 50 messages, and where the second one began: its offset and its time.
fn with_history() -> (Proxy, Keeper, u64, String) {
    let keeper = Keeper::start();
    let mut proxy = Proxy::start();
    let id = connect_keeper(&proxy, "first", &keeper, Version::V5);
    let texts = numbered("m", 100);
    publish(&mut device(&proxy, Version::V5), "t", &texts[..50], 1);
    proxy.rest().wait_caught_up(&id);
    let offset = proxy.rest().status()["log"]["next_offset"].as_u64().expect("an offset");
    let now = run("date", Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%6NZ"])).output;
    publish(&mut device(&proxy, Version::V5), "t", &texts[50..], 1);
    proxy.rest().wait_caught_up(&id);
    proxy.kill_and_restart();
    proxy.rest().wait_connected(&id);
    (proxy, keeper, offset, now.trim().to_owned())
}

fn begins_at(start_at: &Value, proxy: &Proxy, version: Version) -> Vec<String> {
    let keeper = Keeper::start();
    let id = add_keeper(proxy, &format!("at {start_at}"), &keeper, version, &json!({"start_at": start_at}));
    proxy.rest().wait_connected(&id);
    // Each broker has an end of its own: those of earlier ones are history by now.
    let end = format!("end of {id}");
    device(proxy, Version::V5).say("t", &end, 1);
    keeper.wait_text(&end);
    let mut texts = keeper.texts_on("t");
    assert_eq!(texts.pop(), Some(end), "the new one comes last");
    assert_eq!(proxy.rest().delete(&format!("/api/brokers/{id}")).status, 204);
    texts.retain(|text| !text.starts_with("end of"));
    texts
}

#[test]
fn a_new_broker_begins_where_its_definition_says() {
    let (proxy, _keeper, offset, time) = with_history();
    let texts = numbered("m", 100);
    for version in Version::BOTH {
        assert_same(&begins_at(&json!("now"), &proxy, version), &[], "now");
        assert_same(&begins_at(&json!("earliest"), &proxy, version), &texts, "earliest");
        assert_same(&begins_at(&json!(offset), &proxy, version), &texts[50..], "an offset");
        assert_same(&begins_at(&json!(time), &proxy, version), &texts[50..], "a time");
    }
}

#[test]
fn start_at_is_for_new_brokers_and_not_for_restarts() {
    let keeper = Keeper::start();
    let mut proxy = Setup::new().upstream(&keeper.url("name=keeper&start_at=earliest")).start();
    let id = proxy.rest().id_of("keeper");
    publish(&mut device(&proxy, Version::V4), "t", &numbered("m", 50), 2);
    keeper.wait_count(50);
    proxy.rest().wait_caught_up(&id);
    proxy.stop_and_restart();
    proxy.rest().wait_connected(&id);
    device(&proxy, Version::V4).say("t", "new", 2);
    keeper.wait_text("new");
    assert_eq!(keeper.count(), 51, "it goes on where it was");
}

fn replay(proxy: &Proxy, id: &str, body: &Value) {
    let reply = proxy.rest().post(&format!("/api/brokers/{id}/replay"), body);
    assert_eq!(reply.status, 202, "{}", reply.body);
}

#[test]
fn a_part_of_the_log_is_sent_again_on_request() {
    let keepers = [Keeper::start(), Keeper::start()];
    let proxy = Proxy::start();
    let ids = [0, 1].map(|n| connect_keeper(&proxy, &format!("broker {n}"), &keepers[n], Version::BOTH[n]));
    let texts = numbered("m", 50);
    let mut sender = device(&proxy, Version::V5);
    publish(&mut sender, "a/1", &texts, 2);
    publish(&mut sender, "b/1", &texts, 2);
    for id in &ids {
        proxy.rest().wait_caught_up(id);
    }
    replay(&proxy, &ids[0], &json!({"from": "earliest", "topic": "a/#"}));
    keepers[0].wait_count(150);
    sender.say("a/1", "new", 2);
    for keeper in &keepers {
        keeper.wait_text("new");
    }
    let again: Vec<_> = keepers[0].messages().into_iter().skip(100).filter(|m| m.text() != "new").collect();
    let again_texts: Vec<String> = again.iter().map(crate::support::packets::Publish::text).collect();
    assert_same(&again_texts, &texts, "what was asked for, in order");
    assert!(again.iter().all(|message| message.topic == "a/1"), "the filter holds");
    assert!(again.iter().all(|message| message.qos == 1), "a replay is at QoS 1 at most");
    assert_eq!(keepers[1].count(), 101, "the other broker gets nothing again");
    wait_until("the replay is over", || !is_replaying(&proxy, &ids[0]));
}

/// Whether the API shows a replay that goes on.
fn is_replaying(proxy: &Proxy, id: &str) -> bool {
    proxy.rest().broker(id)["replay"]["running"] == true
}

#[test]
fn a_replay_ends_where_it_is_told_to() {
    let (proxy, keeper, offset, _) = with_history();
    let id = proxy.rest().id_of("first");
    let before = keeper.count();
    replay(&proxy, &id, &json!({"from": "earliest", "to": offset}));
    keeper.wait_count(before + 50);
    wait_until("the replay is over", || !is_replaying(&proxy, &id));
    let again: Vec<String> = keeper.texts_on("t").split_off(before);
    assert_same(&again, &numbered("m", 50), "the first part and nothing else");
}

#[test]
fn a_replay_can_be_stopped_and_live_messages_pass_it() {
    let keeper = Keeper::start();
    let proxy = Proxy::start();
    let id = connect_keeper(&proxy, "keeper", &keeper, Version::V4);
    let path = format!("/api/brokers/{id}/replay");
    publish(&mut device(&proxy, Version::V4), "t", &numbered("m", 1_000), 1);
    proxy.rest().wait_caught_up(&id);
    replay(&proxy, &id, &json!({"from": "earliest", "max_rate_messages": 20}));
    wait_until("the API shows it", || is_replaying(&proxy, &id));
    keeper.wait_count(1_001);
    device(&proxy, Version::V4).say("t", "live", 1);
    keeper.wait_text("live");
    assert!(keeper.count() < 1_500, "20 in a second are not 500 by now: the live one did not wait");
    let stopped = proxy.rest().delete(&path);
    assert!((200..300).contains(&stopped.status), "{} {}", stopped.status, stopped.body);
    wait_until("it is stopped", || !is_replaying(&proxy, &id));
    device(&proxy, Version::V4).say("t", "end", 1);
    keeper.wait_text("end");
    assert!(keeper.count() < 2_000, "not everything was sent again");
}

#[test]
fn a_backlog_is_drained_no_faster_than_allowed() {
    let keeper = Keeper::away();
    let proxy = Proxy::start();
    let id = add_keeper(&proxy, "keeper", &keeper, Version::V5, &json!({"max_rate_messages": 100}));
    let texts = numbered("m", 300);
    publish(&mut device(&proxy, Version::V5), "t", &texts, 1);
    let start = Instant::now();
    keeper.set_mood(Mood::Prompt);
    keeper.wait_count(300);
    // Only a lower bound: a second's worth may come at once, and a slow machine takes longer.
    assert!(
        start.elapsed() >= Duration::from_millis(1_500),
        "300 at 100 a second took {:?}",
        start.elapsed()
    );
    proxy.rest().wait_caught_up(&id);
    assert_same(&keeper.texts_on("t"), &texts, "in order");
}

#[test]
fn live_messages_go_first_where_that_is_wanted() {
    let keeper = Keeper::away();
    let mut proxy = Proxy::start();
    let fields = json!({"max_rate_messages": 50, "live_first": true});
    let id = add_keeper(&proxy, "keeper", &keeper, Version::V4, &fields);
    let texts = numbered("m", 200);
    publish(&mut device(&proxy, Version::V4), "t", &texts, 1);
    proxy.kill_and_restart();
    keeper.set_mood(Mood::Prompt);
    proxy.rest().wait_connected(&id);
    device(&proxy, Version::V4).say("live", "live", 1);
    keeper.wait_text("live");
    assert!(keeper.count() < 200, "the backlog of 200 was not through when the live one came");
    keeper.wait_count(201);
    proxy.rest().wait_caught_up(&id);
    assert_same(&keeper.texts_on("t"), &texts, "the backlog, in its own order");
    assert_eq!(keeper.texts_on("live"), ["live"]);
}

#[test]
fn what_a_broker_is_behind_is_shown() {
    let keeper = Keeper::away();
    let proxy = Proxy::start();
    let id = add_keeper(&proxy, "keeper", &keeper, Version::V4, &json!({}));
    let fields = ["lag", "lag_bytes", "oldest_unsent_secs", "in_flight", "last_acknowledged_secs"];
    let shown = proxy.rest().broker(&id);
    let missing: Vec<&str> = fields.into_iter().filter(|field| shown.get(field).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?} are not shown");
    publish(&mut device(&proxy, Version::V4), "t", &numbered("m", 100), 1);
    let behind = proxy.rest().broker(&id);
    assert_eq!(behind["lag"], 100);
    assert!(behind["lag_bytes"].as_u64() > Some(700), "{behind}");
    wait_until("the oldest one waits for a second", || {
        proxy.rest().broker(&id)["oldest_unsent_secs"].as_f64() >= Some(1.0)
    });
    keeper.set_mood(Mood::Prompt);
    keeper.wait_count(100);
    proxy.rest().wait_caught_up(&id);
    let shown = proxy.rest().broker(&id);
    assert_eq!(shown["lag_bytes"], 0);
    assert!(shown["last_acknowledged_secs"].is_number(), "{shown}");
    assert!(shown["oldest_unsent_secs"].is_null() || shown["oldest_unsent_secs"] == 0, "{shown}");
}
