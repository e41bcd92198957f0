//! Filters, mapped topics and changed messages, in both directions, and the preview of what becomes of a message.

use serde_json::{Value as Json, json};

use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Publish, Value, kind, property};
use crate::support::peers::{Peer, mosquitto_pub};
use crate::support::proxy::Proxy;
use crate::support::rest::{Rest, local_broker};
use crate::support::scripted::Scripted;
use crate::support::{Version, wait_until};

/// A definition with more fields than those that every broker needs.
fn defined(name: &str, port: u16, version: Version, fields: Json) -> Json {
    let mut definition = local_broker(name, port, version);
    let more = fields.as_object().expect("an object").clone();
    definition.as_object_mut().expect("an object").extend(more);
    definition
}

/// A broker that is connected.
fn connected(rest: &Rest, definition: &Json) -> String {
    let id = rest.add(definition);
    rest.wait_connected(&id);
    id
}

/// Topic and payload of what arrived.
fn arrived(messages: &[Publish]) -> Vec<(String, String)> {
    messages.iter().map(|message| (message.topic.clone(), message.text())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(topic, text)| (topic.to_string(), text.to_string())).collect()
}

in_both_versions! {
    fn what_goes_to_a_broker_is_filtered_and_mapped(version: Version) {
        let broker = Mosquitto::start();
        let proxy = Proxy::start();
        let rest = proxy.rest();
        let definition = defined("b", broker.port(), version, json!({
            "topics": ["plant/#", "end"],
            "exclude_topics": ["plant/+/secret", "plant/private/#"],
            "topic_prefix_strip": "plant/",
            "topic_prefix_add": "site7/",
            "rewrite": [{"from": "line/+/temp/#", "to": "temperature/{#}/of/{1}"}, {"from": "+/state", "to": "state/{1}"}],
            "max_payload_bytes": 20,
        }));
        let id = connected(&rest, &definition);
        let peer = Peer::subscriber(broker.address(), Version::V5, "peer", "#", 2);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        for qos in 0..=2 {
            for (topic, text) in [
                ("plant/line/3/temp/in/side", "rewritten"),
                ("plant/line/3/temp", "nothing for #"),
                ("plant/m1/state", "second rule"),
                ("plant/a/b/c", "prefixes only"),
                ("plant/line/secret", "excluded"),
                ("plant/private", "excluded"),
                ("plant/private/a", "excluded"),
                ("elsewhere", "not asked for"),
                ("plant", "no slash"),
                ("plant/", "an empty rest"),
                ("plant/long", "more than twenty bytes"),
            ] {
                device.say(topic, text, qos);
            }
        }
        // QoS 1 may overtake QoS 2 at the broker.
        rest.wait_caught_up(&id);
        device.say("end", "end", 1);
        let wanted = pairs(&[
            ("site7/temperature/in/side/of/3", "rewritten"),
            ("site7/temperature/of/3", "nothing for #"),
            ("site7/state/m1", "second rule"),
            ("site7/a/b/c", "prefixes only"),
            ("site7/plant", "no slash"),
            ("site7/", "an empty rest"),
        ]);
        let messages = peer.before("end");
        for qos in 0..=2 {
            let of_qos: Vec<_> = messages.iter().filter(|message| message.qos == qos).cloned().collect();
            assert_eq!(arrived(&of_qos), wanted, "QoS {qos}");
        }
        rest.wait_caught_up(&id);
        assert_eq!(rest.broker(&id)["dropped"], json!({"payload_too_large": 3}));
    }

    fn retain_qos_and_user_properties_towards_a_broker_go_by_its_definition(version: Version) {
        let broker = Mosquitto::start();
        let proxy = Proxy::start();
        let rest = proxy.rest();
        for (retain, prefix) in [("keep", "keep/"), ("clear", "clear/"), ("set", "set/")] {
            connected(&rest, &defined(retain, broker.port(), version, json!({
                "topic_prefix_add": prefix,
                "retain": retain,
                "max_qos": 1,
                "user_properties": {"via": "proxy", "site": "7"},
            })));
        }
        let mut watcher = Device::connect(broker.address(), Version::V5, "watcher");
        watcher.subscribe("+/x", 2);
        let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
        let own = (property::USER, Value::Pair("own".into(), "1".into()));
        device.publish(Publish::new("x", "plain").qos(2).property(own.0, own.1.clone()));
        device.publish(Publish::new("y", "retained").qos(1).retained());
        let messages = watcher.receive_all(3);
        let mut topics: Vec<&str> = messages.iter().map(|message| message.topic.as_str()).collect();
        topics.sort_unstable();
        assert_eq!(topics, ["clear/x", "keep/x", "set/x"]);
        for message in &messages {
            assert_eq!(message.qos, 1);
            let mut wanted = Vec::new();
            if version.is_v5() {
                let added = [("site", "7"), ("via", "proxy")];
                wanted.push(own.clone());
                wanted.extend(added.map(|(name, text)| (property::USER, Value::Pair(name.into(), text.into()))));
            }
            assert_eq!(message.properties, wanted);
        }
        for name in ["keep", "clear", "set"] {
            rest.wait_caught_up(&rest.id_of(name));
        }
        // What a later subscriber finds was retained.
        let mut late = Device::connect(broker.address(), Version::V4, "late");
        late.subscribe("#", 1);
        late.say("end", "end", 1);
        let mut retained: Vec<String> =
            late.receive_before("end").iter().map(|message| message.topic.clone()).collect();
        retained.sort();
        assert_eq!(retained, ["keep/y", "set/x", "set/y"]);
    }

    fn what_comes_from_a_broker_is_filtered_and_mapped(version: Version) {
        let broker = Mosquitto::start();
        let proxy = Proxy::start();
        let rest = proxy.rest();
        let id = connected(&rest, &defined("b", broker.port(), version, json!({
            "topics": ["nothing/of/ours"],
            "bidirectional": true,
            "subscription_topics": ["site/#", "end"],
            "subscription_qos": 2,
            "subscription_exclude_topics": ["site/secret/#"],
            "subscription_prefix_strip": "site/",
            "subscription_prefix_add": "plant/",
            "subscription_rewrite": [{"from": "+/state", "to": "state/{1}"}, {"from": "own/#", "to": "$SYS/{#}"}],
            "subscription_retain": "set",
            "subscription_user_properties": {"from": "b"},
            "subscription_max_payload_bytes": 20,
        })));
        let mut local = Device::connect(proxy.mqtt(), Version::V5, "local");
        local.subscribe("#", 2);
        wait_until("the proxy is subscribed", || {
            let done = mosquitto_pub(broker.address(), &["-t", "end", "-m", "probe", "-q", "1"]);
            assert_eq!(done.code, Some(0), "{}", done.output);
            !local.inbox_after_ping().is_empty()
        });
        let author = Peer::connect(broker.address(), version, "author");
        for qos in 0..=2 {
            for (topic, text) in [
                ("site/m1/state", "rewritten"),
                ("site/a/b", "prefixes only"),
                ("site/secret/a", "excluded"),
                ("site/long", "more than twenty bytes"),
            ] {
                author.publish_all(&[Publish::new(topic, text).qos(qos)]);
            }
        }
        author.publish_all(&[Publish::new("end", "end").qos(2)]);
        let mut messages = local.receive_before("end");
        messages.retain(|message| message.text() != "probe");
        let wanted = pairs(&[("plant/state/m1", "rewritten"), ("plant/a/b", "prefixes only")]);
        for qos in 0..=2 {
            let of_qos: Vec<_> = messages.iter().filter(|message| message.qos == qos).cloned().collect();
            assert_eq!(arrived(&of_qos), wanted, "QoS {qos}");
        }
        for message in &messages {
            let added = (property::USER, Value::Pair("from".into(), "b".into()));
            assert_eq!(message.properties, [added]);
        }
        let mut late = Device::connect(proxy.mqtt(), version, "late");
        late.subscribe("plant/a/#", 1);
        assert!(late.receive().retain, "subscription_retain is set");
        let left_out = || rest.broker(&id)["left_out"].clone();
        assert_eq!(left_out(), json!({"excluded": 3, "payload_too_large": 3}));
        let label = ["broker=\"b\"", "reason=\"excluded\""];
        assert_eq!(rest.metric("mqtt_broker_messages_left_out_total", &label), 3.0);
    }

    fn nothing_of_a_broker_comes_in_below_the_proxys_own_tree(version: Version) {
        let upstream = Scripted::listen();
        let proxy = Proxy::start();
        let rest = proxy.rest();
        let id = rest.add(&defined("b", upstream.port(), version, json!({
            "bidirectional": true,
            "subscription_topics": ["own/#", "in/#"],
            "subscription_rewrite": [{"from": "own/#", "to": "$SYS/{#}"}],
            "subscription_exclude_topics": ["in/not"],
        })));
        let mut link = upstream.welcome(false);
        link.grant();
        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("$SYS/broker/forged", 1);
        local.subscribe("in/#", 2);
        // What is left out is acknowledged all the same, in order.
        link.send(&Publish { id: 1, ..Publish::new("own/broker/forged", "forged").qos(1) });
        link.send(&Publish { id: 2, ..Publish::new("in/not", "excluded").qos(2) });
        link.send(&Publish { id: 3, ..Publish::new("in/a", "taken").qos(1) });
        assert_eq!(link.expect(kind::PUBACK), 1);
        assert_eq!(link.expect(kind::PUBREC), 2);
        assert_eq!(link.expect(kind::PUBACK), 3);
        link.ack(kind::PUBREL, 2);
        assert_eq!(link.expect(kind::PUBCOMP), 2);
        assert_eq!(local.texts_before("taken"), Vec::<String>::new());
        assert_eq!(rest.broker(&id)["left_out"], json!({"excluded": 1, "reserved": 1}));
    }

    fn a_bidirectional_broker_leads_back_what_leads_there(version: Version) {
        let brokers = [Mosquitto::start(), Mosquitto::start()];
        let proxy = Proxy::start();
        let rest = proxy.rest();
        for (index, broker) in brokers.iter().enumerate() {
            connected(&rest, &defined(&format!("b{index}"), broker.port(), version, json!({
                "bidirectional": true,
                "subscription_qos": 2,
                "topic_prefix_add": format!("site{index}/"),
                "rewrite": [{"from": "+/+/temp/#", "to": "{2}/temperature/{1}/{#}"}],
            })));
        }
        let mut local = Device::connect(proxy.mqtt(), version, "local");
        local.subscribe("#", 2);
        let mut watchers = [0, 1].map(|index| {
            let mut watcher = Device::connect(brokers[index].address(), Version::V4, "watcher");
            watcher.subscribe("#", 2);
            watcher
        });
        wait_until("the proxy is subscribed at both", || {
            for broker in &brokers {
                let done = mosquitto_pub(broker.address(), &["-t", "probe", "-m", "probe", "-q", "1"]);
                assert_eq!(done.code, Some(0), "{}", done.output);
            }
            let received = |name: &str| {
                rest.metric("mqtt_broker_messages_received_total", &[&format!("broker=\"{name}\"")])
            };
            received("b0") > 0.0 && received("b1") > 0.0
        });
        // From a device to both, and not back.
        local.say("hall/line/temp/in", "from here", 2);
        for name in ["b0", "b1"] {
            rest.wait_caught_up(&rest.id_of(name));
        }
        // From one to here and to the other one, and not back.
        let mut author = Device::connect(brokers[0].address(), version, "author");
        author.say("site0/line/temperature/hall/out", "from there", 2);
        author.say("site0/end", "end", 2);
        let without_probes = |messages: Vec<Publish>| {
            arrived(&messages).into_iter().filter(|(_, text)| text != "probe").collect::<Vec<_>>()
        };
        let here = without_probes(local.receive_before("end"));
        assert_eq!(here, pairs(&[("hall/line/temp/in", "from here"), ("hall/line/temp/out", "from there")]));
        let [first, second] = &mut watchers;
        let at_origin = without_probes(first.receive_before("end"));
        assert_eq!(at_origin, pairs(&[
            ("site0/line/temperature/hall/in", "from here"),
            ("site0/line/temperature/hall/out", "from there"),
        ]));
        let at_other = without_probes(second.receive_before("end"));
        assert_eq!(at_other, pairs(&[
            ("site1/line/temperature/hall/in", "from here"),
            ("site1/line/temperature/hall/out", "from there"),
        ]));
        local.say("late", "late", 2);
        for watcher in [&mut local, first, second] {
            assert_eq!(without_probes(watcher.receive_before("late")), pairs(&[]), "something came twice");
        }
    }

    fn what_was_in_flight_when_the_proxy_died_goes_out_again_under_its_mapped_topic(version: Version) {
        let upstream = Scripted::listen();
        let mut proxy = Proxy::start();
        proxy.rest().add(&defined("b", upstream.port(), version, json!({
            "rewrite": [{"from": "+/#", "to": "x/{1}/{#}"}],
            "topic_prefix_add": "site/",
        })));
        let mut link = upstream.welcome(false);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.say("a/b", "one", 1);
        device.say("a/c", "two", 2);
        let first = link.publishes(2);
        proxy.kill();
        link.wait_closed();
        proxy.start_again();
        let mut link = upstream.welcome(true);
        let again = link.publishes(2);
        let topics = |messages: &[Publish]| {
            let mut topics: Vec<_> = messages.iter().map(|message| message.topic.clone()).collect();
            topics.sort();
            topics
        };
        assert_eq!(topics(&first), ["site/x/a/b", "site/x/a/c"]);
        assert_eq!(topics(&again), topics(&first));
        let qos_2 = |messages: &[Publish]| {
            let message = messages.iter().find(|message| message.qos == 2).expect("one has QoS 2").clone();
            (message.id, message.topic)
        };
        assert_eq!(qos_2(&again), qos_2(&first));
    }
}

#[test]
fn a_definition_that_changes_its_mapping_is_in_force_for_what_comes_next() {
    let broker = Mosquitto::start();
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let id = connected(&rest, &defined("b", broker.port(), Version::V5, json!({"topic_prefix_add": "one/"})));
    let peer = Peer::subscriber(broker.address(), Version::V5, "peer", "#", 1);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.say("t", "first", 1);
    rest.wait_caught_up(&id);
    for change in
        [json!({"topic_prefix_add": "two/"}), json!({"exclude_topics": ["t"]}), json!({"exclude_topics": []})]
    {
        let reply = rest.put(&format!("/api/brokers/{id}"), &change);
        assert_eq!(reply.status, 200, "{}", reply.body);
        device.say("t", &change.to_string(), 1);
        rest.wait_caught_up(&id);
    }
    device.say("t", "end", 1);
    let topics: Vec<String> = peer.before("end").iter().map(|message| message.topic.clone()).collect();
    assert_eq!(topics, ["one/t", "two/t", "two/t"]);
}

#[test]
fn a_plain_3_1_1_broker_that_sends_back_mapped_messages_is_seen_through() {
    let upstream = Scripted::listen();
    let proxy = Proxy::start();
    proxy.rest().add(&defined(
        "plain",
        upstream.port(),
        Version::V4,
        json!({
            "bidirectional": true,
            "topic_prefix_add": "site/",
            "loop_guard": "credits",
        }),
    ));
    let mut link = upstream.accept();
    if link.connect.bridge {
        link.answer_connect(false, 1, &Vec::new());
        link = upstream.accept();
    }
    link.answer_connect(false, 0, &Vec::new());
    link.grant();
    let mut local = Device::connect(proxy.mqtt(), Version::V4, "local");
    local.subscribe("a", 1);
    local.say("a", "ours", 1);
    let message = link.take();
    assert_eq!(message.topic, "site/a");
    link.send(&Publish { id: 1, retain: false, ..message });
    assert_eq!(link.expect(kind::PUBACK), 1);
    link.send(&Publish { id: 2, ..Publish::new("site/a", "of the broker").qos(1) });
    assert_eq!(local.texts_before("of the broker"), ["ours"]);
}

#[test]
fn what_cannot_be_or_cannot_be_undone_is_refused_with_its_field() {
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let lossy = json!([{"from": "a/+", "to": "b"}]);
    let meeting = json!([{"from": "a/#", "to": "x/{#}"}, {"from": "b/+", "to": "x/y/{1}"}]);
    for (fields, field, problem) in [
        (json!({"rewrite": [{"from": "a/+", "to": "b/{2}"}]}), "rewrite", "{2} has no counterpart"),
        (
            json!({"rewrite": [{"from": "a/#/b", "to": "b"}]}),
            "rewrite",
            "# must stand alone in the last level",
        ),
        (
            json!({"rewrite": [{"from": "a/#", "to": "b"}, {"from": "a/+", "to": "c"}]}),
            "rewrite",
            "rule 2 never has its turn",
        ),
        (json!({"topic_prefix_strip": "a/+/"}), "topic_prefix_strip", "must not have wildcards"),
        (json!({"topic_prefix_add": "#"}), "topic_prefix_add", "must not have wildcards"),
        (
            json!({"bidirectional": true, "subscription_prefix_add": "#"}),
            "subscription_prefix_add",
            "must not have wildcards",
        ),
        (
            json!({"bidirectional": true, "rewrite": lossy}),
            "subscription_rewrite",
            "rule 1: cannot be undone",
        ),
        (json!({"bidirectional": true, "rewrite": meeting}), "subscription_rewrite", "both lead to x/y/x"),
        (json!({"exclude_topics": ["a/#/b"]}), "exclude_topics", "# must stand alone"),
        (json!({"retain": "maybe"}), "retain", "maybe"),
        (json!({"user_properties": {"a": 1}}), "user_properties", "a"),
    ] {
        let reply = rest.post("/api/brokers", &defined("b", 1, Version::V5, fields.clone()));
        assert_eq!((reply.status, &reply.json()["field"]), (400, &json!(field)), "{fields}: {}", reply.body);
        assert!(reply.body.contains(problem), "{fields}: {}", reply.body);
    }
    // The way back can be given where it cannot be found, and what only goes there needs none.
    let given = json!({"bidirectional": true, "rewrite": lossy, "subscription_rewrite": []});
    rest.add(&defined("given", 1, Version::V5, given));
    rest.add(&defined("one way", 1, Version::V5, json!({"rewrite": meeting})));
}

/// What a preview says of one broker.
fn outcome(reply: &Json, name: &str) -> Json {
    let brokers = reply["brokers"].as_array().expect("a list");
    brokers.iter().find(|broker| broker["name"] == name).expect("the broker is there").clone()
}

fn preview(rest: &Rest, body: Json) -> Json {
    let reply = rest.post("/api/brokers/preview", &body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

#[test]
fn the_preview_says_what_each_broker_would_get_and_why_not() {
    let broker = Mosquitto::start();
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let port = broker.port();
    let add = |name: &str, fields: Json| rest.add(&defined(name, port, Version::V5, fields));
    let mapped = add("mapped", json!({"topic_prefix_add": "site/", "max_qos": 1, "retain": "clear"}));
    add("filtered", json!({"topics": ["x/#", "y"]}));
    add("excluding", json!({"exclude_topics": ["q", "a/#"]}));
    add("small", json!({"max_payload_bytes": 9}));
    add("nowhere", json!({"rewrite": [{"from": "a/#", "to": "{#}"}]}));
    add("off", json!({"enabled": false}));
    add(
        "origin",
        json!({"bidirectional": true, "subscription_topics": ["site/#"], "topic_prefix_add": "site/"}),
    );
    rest.wait_connected(&mapped);
    let mut local = Device::connect(proxy.mqtt(), Version::V5, "local");
    local.subscribe("a/+", 1);
    local.subscribe("$share/g/a/b", 1);

    let body = json!({"topic": "a/b", "payload_bytes": 10, "qos": 2, "retain": true});
    let answer = preview(&rest, body);
    assert_eq!(answer["topic"], "a/b");
    assert_eq!(answer["from"], Json::Null);
    let local_wanted =
        json!({"topic": "a/b", "reason": null, "subscribers": 1, "share_groups": 1, "retained": true});
    assert_eq!(answer["local"], local_wanted);
    let mapped_wanted = json!({
        "id": mapped, "name": "mapped", "draft": false, "forwarded": true, "reason": null,
        "detail": "goes out at QoS 1", "topic": "site/a/b", "qos": 1, "retain": false,
    });
    assert_eq!(outcome(&answer, "mapped"), mapped_wanted);
    for (name, reason, detail) in [
        ("filtered", "filter", "none of topics (x/#, y) matches"),
        ("excluding", "excluded", "exclude_topics has a/#"),
        ("small", "too_large", "the payload has 10 bytes, max_payload_bytes is 9"),
        ("off", "disabled", "it is disabled: nothing is forwarded and nothing kept for it"),
    ] {
        let outcome = outcome(&answer, name);
        assert_eq!((&outcome["forwarded"], &outcome["reason"]), (&json!(false), &json!(reason)), "{name}");
        assert_eq!(outcome["detail"], detail);
    }
    assert_eq!(outcome(&answer, "nowhere")["topic"], "b");
    let empty = outcome(&preview(&rest, json!({"topic": "a"})), "nowhere");
    assert_eq!((&empty["reason"], &empty["topic"]), (&json!("unmappable"), &Json::Null));
    let expired = preview(&rest, json!({"topic": "t", "message_expiry_interval": 60, "waited_secs": 61}));
    assert_eq!(outcome(&expired, "mapped")["reason"], "expired");
    let reserved = preview(&rest, json!({"topic": "$SYS/x"}));
    assert_eq!(reserved["local"]["reason"], "reserved");
    assert_eq!(outcome(&reserved, "mapped")["reason"], "reserved");

    // From a broker: its mapping comes first, and the message does not return.
    let answer = preview(&rest, json!({"topic": "site/a/b", "qos": 2, "from": "origin"}));
    assert_eq!(answer["from"]["accepted"], true);
    assert_eq!((&answer["from"]["topic"], &answer["from"]["qos"]), (&json!("a/b"), &json!(1)));
    assert_eq!(answer["local"]["topic"], "a/b");
    assert_eq!(outcome(&answer, "origin")["reason"], "origin");
    assert_eq!(outcome(&answer, "mapped")["topic"], "site/a/b");
    let answer = preview(&rest, json!({"topic": "other", "from": rest.id_of("origin")}));
    assert_eq!((&answer["from"]["accepted"], &answer["from"]["reason"]), (&json!(false), &json!("filter")));
    assert_eq!(outcome(&answer, "mapped")["reason"], "not_received");
    let answer = preview(&rest, json!({"topic": "other", "from": "mapped"}));
    assert_eq!(answer["from"]["reason"], "not_bidirectional");
}

#[test]
fn the_preview_tries_a_definition_that_is_not_stored() {
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let id = rest.add(&defined("stored", 1, Version::V4, json!({"topic_prefix_add": "old/"})));
    let draft = json!({"topic_prefix_add": "new/", "exclude_topics": ["a"]});
    let answer = preview(&rest, json!({"topic": "t", "broker": draft}));
    assert_eq!(outcome(&answer, "stored")["topic"], "old/t");
    let new = outcome(&answer, "draft");
    assert_eq!((&new["id"], &new["draft"], &new["topic"]), (&Json::Null, &json!(true), &json!("new/t")));
    let answer = preview(&rest, json!({"topic": "a", "broker": draft}));
    assert_eq!(outcome(&answer, "draft")["reason"], "excluded");

    // With the id of a stored one, it stands for that, and what it does not say is as it is there.
    let changed = json!({"id": id, "topicPrefixAdd": "new/", "paused": true});
    let answer = preview(&rest, json!({"topic": "t", "qos": 1, "broker": changed}));
    assert_eq!(answer["brokers"].as_array().map(Vec::len), Some(1));
    let stored = outcome(&answer, "stored");
    assert_eq!((&stored["topic"], &stored["reason"]), (&json!("new/t"), &json!("paused")));
    assert_eq!(rest.broker(&id)["topic_prefix_add"], "old/");
    let waiting = outcome(&preview(&rest, json!({"topic": "t"})), "stored");
    assert_eq!(waiting["detail"], "goes out at QoS 0, once the broker is connected");

    for (body, field) in [
        (json!({}), "topic"),
        (json!({"topic": "a/#"}), "topic"),
        (json!({"topic": "a", "qos": 3}), "qos"),
        (json!({"topic": "a", "payload_bytes": -1}), "payload_bytes"),
        (json!({"topic": "a", "payload_bytes": 268_435_456}), "payload_bytes"),
        (json!({"topic": "a", "from": "nobody"}), "from"),
        (json!({"topic": "a", "colour": 1}), "colour"),
        (json!({"topic": "a", "broker": []}), "broker"),
        (json!({"topic": "a", "broker": {"id": "x"}}), "broker.id"),
        (json!({"topic": "a", "broker": {"topics": ["a/#/b"]}}), "broker.topics"),
        (json!({"topic": "a", "broker": {"colour": 1}}), "broker.colour"),
    ] {
        let reply = rest.post("/api/brokers/preview", &body);
        assert_eq!((reply.status, &reply.json()["field"]), (400, &json!(field)), "{body}: {}", reply.body);
    }
    assert_eq!(rest.get("/api/brokers/preview").status, 405);
}

#[test]
fn the_preview_knows_a_full_queue() {
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let id =
        rest.add(&defined("full", 1, Version::V4, json!({"queue_bytes_max": 65_536, "on_full": "reject"})));
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    // Far more than fits; what does not is refused with Quota exceeded.
    device.publish_all((0..40).map(|_| Publish::new("t", [b'x'; 4_096]).qos(0)));
    wait_until("the queue is full", || rest.broker(&id)["lag_bytes"].as_u64() >= Some(65_536));
    let answer = preview(&rest, json!({"topic": "t", "qos": 1}));
    assert_eq!(outcome(&answer, "full")["reason"], "queue_full");
    assert_eq!(answer["local"]["reason"], "queue_full");
    assert_eq!(outcome(&preview(&rest, json!({"topic": "t", "qos": 0})), "full")["forwarded"], true);
}

#[test]
fn what_the_preview_says_is_what_happens() {
    let broker = Mosquitto::start();
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let definitions = [
        json!({}),
        json!({"topics": ["a/#", "+/b"], "exclude_topics": ["a/+/c"], "max_qos": 1}),
        json!({"exclude_topics": ["#"], "topics": ["end"]}),
        json!({"topic_prefix_strip": "a/", "max_payload_bytes": 4}),
        json!({"rewrite": [{"from": "a/+/c", "to": "{1}.x"}, {"from": "a/#", "to": "{#}"}, {"from": "#", "to": "r/{#}"}]}),
        json!({"topics": ["b"], "max_qos": 0, "max_payload_bytes": 3}),
    ];
    for (index, definition) in definitions.iter().enumerate() {
        let mut definition = definition.clone();
        definition["topic_prefix_add"] = json!(format!("to{index}/"));
        connected(&rest, &defined(&format!("to{index}"), broker.port(), Version::V5, definition));
    }
    let mut watcher = Device::connect(broker.address(), Version::V5, "watcher");
    watcher.subscribe("#", 2);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    let mut promised = Vec::new();
    let mut number = 0;
    for topic in ["a", "b", "a/b", "a/b/c", "a//c", "/b", "a/", "c/b", "x/y/z", "$own/b"] {
        for qos in 0..=2 {
            number += 1;
            // Three bytes, or five.
            let text = if number % 2 == 0 { format!("{number:03}") } else { format!("{number:05}") };
            let answer = preview(&rest, json!({"topic": topic, "payload_bytes": text.len(), "qos": qos}));
            for outcome in answer["brokers"].as_array().expect("a list") {
                assert_eq!(outcome["forwarded"], json!(outcome["reason"].is_null()), "{outcome}");
                if outcome["forwarded"] == json!(true) {
                    let topic_there = outcome["topic"].as_str().expect("a topic").to_owned();
                    promised.push((topic_there, text.clone(), outcome["qos"].as_u64().expect("a QoS") as u8));
                }
            }
            device.say(topic, &text, qos);
        }
    }
    assert!(promised.len() > 60, "{} is too little to tell", promised.len());
    let mut kept: Vec<_> = watcher
        .receive_all(promised.len())
        .iter()
        .map(|message| (message.topic.clone(), message.text(), message.qos))
        .collect();
    kept.sort();
    promised.sort();
    assert_eq!(kept, promised);
    for index in 0..definitions.len() {
        rest.wait_caught_up(&rest.id_of(&format!("to{index}")));
    }
    assert_eq!(watcher.inbox_after_ping(), Vec::<String>::new(), "more came than was said");
}
