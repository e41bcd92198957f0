//! Brokers join groups and leave them.

use serde_json::{Value, json};

use super::{add_members, configure, group, member, wait_active, wait_group_caught_up};
use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::Publish;
use crate::support::proxy::{Proxy, Setup};
use crate::support::receiver::first_of_each;
use crate::support::rest::Rest;
use crate::support::{Version, assert_same, numbered, wait_until};

fn publish(proxy: &Proxy, texts: &[String]) {
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.publish_all(texts.iter().map(|text| Publish::new("t", text).qos(2)));
}

fn change(rest: &Rest, id: &str, fields: &Value) {
    let reply = rest.put(&format!("/api/brokers/{id}"), fields);
    assert_eq!(reply.status, 200, "{}", reply.body);
}

#[test]
fn a_backlog_goes_into_the_group_with_the_first_member_and_out_of_it_with_the_last() {
    let keepers = [Keeper::away(), Keeper::start()];
    let mut proxy = Proxy::start();
    let rest = proxy.rest();
    let first = rest.add_local("k0", keepers[0].port(), Version::V5);
    let texts = numbered("m", 900);
    publish(&proxy, &texts[..300]);
    change(&rest, &first, &json!({"group": "g"}));
    assert!(group(&rest)["lag"].as_u64() >= Some(300), "the group begins where the broker was");
    assert!(rest.broker(&first)["lag"].as_u64() >= Some(300), "and shows it at who would get the messages");
    let second = rest.add(&member("k1", keepers[1].port(), Version::V5, 1));
    wait_active(&rest, "k1");
    keepers[1].wait_count(300);
    assert_same(&keepers[1].texts_on("t"), &texts[..300], "what the first one had not got");
    assert!((rest.metric("mqtt_group_active_members", &["group=\"g\""]) - 1.0).abs() < 0.1);

    proxy.kill_and_restart();
    let rest = proxy.rest();
    wait_active(&rest, "k1");
    wait_group_caught_up(&rest);
    keepers[1].set_mood(Mood::Away);
    wait_until("k1 is gone", || rest.broker(&second)["connected"] == false);
    publish(&proxy, &texts[300..600]);
    change(&rest, &second, &json!({"group": null}));
    change(&rest, &first, &json!({"group": null}));
    assert_eq!(rest.get("/api/groups/g").status, 404, "gone with its last member");
    assert!(!rest.get("/metrics").body.contains("group=\"g\""), "and from the metrics");
    publish(&proxy, &texts[600..]);
    for (id, keeper) in [(&first, &keepers[0]), (&second, &keepers[1])] {
        keeper.set_mood(Mood::Prompt);
        rest.wait_connected(id);
        rest.wait_caught_up(id);
        keeper.assert_no_faults("a broker");
    }
    assert_same(&keepers[0].texts_on("t"), &texts[300..], "from the group's place on");
    assert_same(&keepers[1].texts_on("t"), &texts, "its part of before, and from the group's place on");
}

#[test]
fn a_broker_that_joins_under_load_gets_nothing_twice() {
    let keeper = Keeper::start();
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let id = rest.add_local("k0", keeper.port(), Version::V5);
    rest.wait_connected(&id);
    let texts = numbered("m", 4_000);
    publish(&proxy, &texts[..2_000]);
    change(&rest, &id, &json!({"group": "g"}));
    publish(&proxy, &texts[2_000..]);
    wait_active(&rest, "k0");
    wait_group_caught_up(&rest);
    assert_same(&keeper.texts_on("t"), &texts, "exactly once");
    keeper.assert_no_faults("the broker");
}

#[test]
fn the_active_member_is_removed_and_the_others_go_on() {
    let keepers = [Keeper::start(), Keeper::start()];
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let ids = add_members(&proxy, &keepers, Version::V4);
    wait_active(&rest, "k0");
    let texts = numbered("m", 2_000);
    publish(&proxy, &texts[..1_000]);
    assert_eq!(rest.delete(&format!("/api/brokers/{}", ids[0])).status, 204);
    publish(&proxy, &texts[1_000..]);
    wait_active(&rest, "k1");
    wait_group_caught_up(&rest);
    let mut all = first_of_each(&[keepers[0].texts_on("t"), keepers[1].texts_on("t")].concat());
    all.sort();
    assert_same(&all, &texts, "both together");
    assert!(keepers[1].texts_on("t").is_sorted());
}

#[test]
fn members_want_the_same_topics_and_change_them_together() {
    let keepers = [Keeper::start(), Keeper::away()];
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let ids = add_members(&proxy, &keepers, Version::V4);
    let mut other = member("other", 1, Version::V4, 0);
    other["topics"] = json!(["a/#"]);
    let refused = rest.post("/api/brokers", &other);
    assert_eq!((refused.status, &refused.json()["field"]), (400, &json!("topics")), "{}", refused.body);
    let refused = rest.put(&format!("/api/brokers/{}", ids[0]), &json!({"exclude_topics": ["a"]}));
    assert_eq!(
        (refused.status, &refused.json()["field"]),
        (400, &json!("exclude_topics")),
        "{}",
        refused.body
    );
    configure(&rest, &json!({"topics": ["a/#"]}));
    for id in &ids {
        assert_eq!(rest.broker(id)["topics"], json!(["a/#"]));
    }
    wait_active(&rest, "k0");
    let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
    device.say("b", "unwanted", 1);
    device.say("a/b", "wanted", 1);
    keepers[0].wait_text("wanted");
    assert_eq!(keepers[0].count(), 1);
    for (fields, field) in [
        (json!({"mode": "random"}), "mode"),
        (json!({"balance_by": "client"}), "balance_by"),
        (json!({"colour": 1}), "colour"),
        (json!({"topics": ["a/#/b"]}), "topics"),
    ] {
        let refused = rest.put("/api/groups/g", &fields);
        assert_eq!((refused.status, &refused.json()["field"]), (400, &json!(field)), "{}", refused.body);
    }
    assert_eq!(rest.put("/api/groups/none", &json!({})).status, 404);
}

#[test]
fn a_file_of_before_there_were_groups_is_read_and_what_is_configured_stays() {
    let keeper = Keeper::start();
    let mut proxy = Proxy::start();
    let id = proxy.rest().add_local("k0", keeper.port(), Version::V4);
    proxy.stop();
    let file = proxy.data().join("brokers.json");
    let mut stored: Value =
        serde_json::from_slice(&std::fs::read(&file).expect("it is there")).expect("JSON");
    assert!(stored.get("groups").is_none(), "nothing is written where nothing is configured");
    for field in ["group", "group_priority"] {
        stored["brokers"][0].as_object_mut().expect("a broker").remove(field);
    }
    std::fs::write(&file, stored.to_string()).expect("it can be written");
    proxy.start_again();
    let rest = proxy.rest();
    rest.wait_connected(&id);
    assert_eq!(rest.get("/api/groups").json(), json!({"groups": []}));
    change(&rest, &id, &json!({"group": "g"}));
    let wanted = json!({"fail_back_secs": 7, "fail_over_after_secs": 3, "partitions": 4, "mode": "balance"});
    configure(&rest, &wanted);
    proxy.stop_and_restart();
    let shown = group(&proxy.rest());
    for (field, value) in wanted.as_object().expect("fields") {
        assert_eq!(&shown[field], value, "{field}");
    }
}

#[test]
fn groups_come_from_the_command_line_too() {
    let keepers = [Keeper::away(), Keeper::start()];
    let urls = [0, 1]
        .map(|index: usize| keepers[index].url(&format!("name=k{index}&group=g&group_priority={index}")));
    let mut proxy = Setup::new().upstream(&urls[1]).upstream(&urls[0]).start();
    configure(&proxy.rest(), &json!({"fail_back_secs": 1}));
    wait_active(&proxy.rest(), "k1");
    publish(&proxy, &["one".to_owned()]);
    keepers[1].wait_text("one");
    proxy.kill_and_restart();
    assert_eq!(group(&proxy.rest())["fail_back_secs"], 1);
    keepers[0].set_mood(Mood::Prompt);
    wait_active(&proxy.rest(), "k0");
    publish(&proxy, &["two".to_owned()]);
    keepers[0].wait_text("two");
    assert_eq!(keepers[0].count(), 1, "k1 has the first one");
}

in_both_versions! {
    fn what_a_member_publishes_returns_to_no_member(version: Version) {
        let mut brokers = [Mosquitto::start(), Mosquitto::start()];
        let proxy = Proxy::start();
        let rest = proxy.rest();
        for (index, name) in ["a", "b"].into_iter().enumerate() {
            let mut definition = member(name, brokers[index].port(), version, index as u32);
            definition["bidirectional"] = json!(true);
            definition["subscription_topics"] = json!(["in/#"]);
            definition["subscription_qos"] = json!(1);
            rest.add(&definition);
        }
        wait_active(&rest, "a");
        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("#", 1);
        let mut author = Device::connect(brokers[0].address(), version, "author");
        let mut watcher = Device::connect(brokers[1].address(), Version::V4, "watcher");
        watcher.subscribe("#", 1);
        wait_until("the proxy is subscribed at a", || {
            author.say("in/x", "from a", 1);
            rest.broker(&rest.id_of("a"))["lag"] == 0
                && rest.metric("mqtt_broker_messages_received_total", &["broker=\"a\""]) > 0.5
        });
        local.say("end", "first", 1);
        assert!(local.texts_before("first").contains(&"from a".to_owned()));
        brokers[0].kill();
        wait_active(&rest, "b");
        local.say("end", "second", 1);
        assert!(!watcher.texts_before("second").contains(&"from a".to_owned()), "it came from the group");
        // The one that is active now is heard as well.
        let mut author = Device::connect(brokers[1].address(), version, "author");
        wait_until("the proxy is subscribed at b", || {
            author.say("in/x", "from b", 1);
            rest.metric("mqtt_broker_messages_received_total", &["broker=\"b\""]) > 0.5
        });
    }
}

#[test]
fn a_preview_says_which_member_gets_a_message() {
    let keepers = [Keeper::start(), Keeper::start()];
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let ids = add_members(&proxy, &keepers, Version::V5);
    wait_active(&rest, "k0");
    let reply = rest.post("/api/brokers/preview", &json!({"topic": "a"}));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let shown = reply.json()["brokers"].clone();
    let of = |id: &String| -> Value {
        let found = shown.as_array().into_iter().flatten().find(|broker| broker["id"] == id.as_str());
        found.cloned().unwrap_or_else(|| panic!("{shown}"))
    };
    assert_eq!(of(&ids[0])["forwarded"], true, "{shown}");
    assert_eq!(of(&ids[1])["reason"], "other_member", "{shown}");
}

#[test]
fn a_paused_member_is_passed_over_and_when_all_are_paused_everything_waits() {
    let keepers = [Keeper::start(), Keeper::start()];
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let ids = add_members(&proxy, &keepers, Version::V5);
    wait_active(&rest, "k0");
    let texts = numbered("m", 900);
    publish(&proxy, &texts[..300]);
    wait_group_caught_up(&rest);
    let order = |id: &str, what: &str| {
        let reply = rest.post(&format!("/api/brokers/{id}/{what}"), &json!({}));
        assert_eq!(reply.status, 200, "{what}: {}", reply.body);
    };
    order(&ids[0], "pause");
    wait_active(&rest, "k1");
    publish(&proxy, &texts[300..600]);
    wait_group_caught_up(&rest);
    assert_same(&keepers[0].texts_on("t"), &texts[..300], "nothing after the pause");
    order(&ids[1], "pause");
    publish(&proxy, &texts[600..]);
    wait_until("the group keeps it", || group(&rest)["lag"].as_u64() >= Some(300));
    assert_same(&keepers[1].texts_on("t"), &texts[300..600], "nobody gets anything");
    order(&ids[1], "resume");
    keepers[1].wait_count(600);
    wait_group_caught_up(&rest);
    assert_same(&keepers[1].texts_on("t"), &texts[300..], "the rest, once");
    keepers.iter().for_each(|keeper| keeper.assert_no_faults("a member"));
}

#[test]
fn a_member_is_not_drained_because_what_waits_is_the_groups() {
    let keeper = Keeper::start();
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let ids = add_members(&proxy, std::slice::from_ref(&keeper), Version::V5);
    let path = format!("/api/brokers/{}", ids[0]);
    let refused = rest.post(&format!("{path}/drain"), &json!({}));
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.body.contains("is in a group"), "{}", refused.body);
    assert_eq!(rest.delete(&format!("{path}?backlog=send")).status, 409);
    assert_eq!(rest.delete(&path).status, 204);
}
