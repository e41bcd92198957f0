//! What the proxy says of itself below `$SYS`, as the commands of mosquitto see it, held against what mosquitto says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;

use serde_json::json;

use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{self, Connect, Publish, kind};
use crate::support::peers::{mosquitto_pub, mosquitto_sub};
use crate::support::process::Process;
use crate::support::proxy::{Proxy, Setup};
use crate::support::{Version, wait_for, wait_until};

/// What mosquitto says and the proxy does not. The heap is the allocator's secret, and payloads that wait are counted in
/// messages only.
const LEFT_OUT: &[&str] =
    &["$SYS/broker/heap/current", "$SYS/broker/heap/maximum", "$SYS/broker/store/messages/bytes"];

fn every_second() -> Setup {
    Setup::new().settings("[server]\nsys_interval_secs = 1")
}

/// What `mosquitto_sub -v` prints, the newest text of each topic.
struct Watch(Process);

impl Watch {
    fn start(address: SocketAddr, filter: &str) -> Watch {
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", &address.port().to_string()]);
        Watch(Process::spawn("mosquitto_sub", command.args(["-F", "%t\t%r\t%p", "-t", filter])))
    }

    /// Each line as topic, RETAIN flag and payload, in order.
    fn lines(&self) -> Vec<(String, bool, String)> {
        let output = self.0.output();
        let complete = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let fields = complete.filter_map(|line| {
            let mut fields = line.trim_end_matches('\n').split('\t');
            Some((fields.next()?.to_owned(), fields.next()? == "1", fields.next()?.to_owned()))
        });
        fields.collect()
    }

    fn newest(&self) -> BTreeMap<String, String> {
        self.lines().into_iter().map(|(topic, _, text)| (topic, text)).collect()
    }

    fn wait_for(&self, topic: &str, wanted: impl Fn(&str) -> bool) -> String {
        wait_for(&format!("{topic} is as wanted"), || {
            self.newest().get(&format!("$SYS/broker/{topic}")).filter(|text| wanted(text)).cloned()
        })
    }

    fn wait_for_number(&self, topic: &str, wanted: impl Fn(u64) -> bool) -> u64 {
        let text = self.wait_for(topic, |text| text.parse().is_ok_and(&wanted));
        text.parse().expect("a number")
    }
}

/// What a text looks like: every number is the same as any other.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let digits = rest.len() - rest.trim_start_matches(|character: char| character.is_ascii_digit()).len();
        if digits > 0 {
            shape.push('9');
            rest = &rest[digits..];
        } else {
            shape.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    shape
}

#[test]
fn topics_and_formats_are_those_of_mosquitto() {
    let mosquitto = Mosquitto::start_with_setting("sys_interval 1");
    let proxy = every_second().start();
    let (theirs, ours) = (Watch::start(mosquitto.address(), "$SYS/#"), Watch::start(proxy.mqtt(), "$SYS/#"));
    // The last ones that come, each with two decimals.
    for watch in [&theirs, &ours] {
        watch.wait_for("load/connections/15min", |text| text != "0.00");
        watch.wait_for_number("clients/maximum", |count| count == 1);
    }
    let (theirs, ours) = (theirs.newest(), ours.newest());
    let left_out: BTreeSet<&str> = LEFT_OUT.iter().copied().collect();
    let names = |topics: &BTreeMap<String, String>| topics.keys().cloned().collect::<BTreeSet<_>>();
    let missing: BTreeSet<_> = names(&theirs).difference(&names(&ours)).cloned().collect();
    assert_eq!(missing.iter().map(String::as_str).collect::<BTreeSet<_>>(), left_out);
    let invented: Vec<_> = names(&ours).difference(&names(&theirs)).cloned().collect();
    assert_eq!(invented, Vec::<String>::new());
    for (topic, text) in &ours {
        let expected = shape(&theirs[topic]).replace("mosquitto version", "mqtt-proxy version");
        assert_eq!(shape(text), expected, "{topic}: {text:?} beside {:?}", theirs[topic]);
    }
}

#[test]
fn the_first_look_finds_everything_retained_and_later_ones_only_what_changed() {
    let proxy = every_second().start();
    let watch = Watch::start(proxy.mqtt(), "$SYS/#");
    watch.wait_for("uptime", |text| text != "0 seconds" && text.ends_with(" seconds"));
    watch.wait_for_number("clients/connected", |count| count == 1);
    let lines = watch.lines();
    let of = |name: &str| -> Vec<_> { lines.iter().filter(|(topic, ..)| topic == name).collect() };
    // What never changes came once, out of what is retained; what changed came as an ordinary message behind it.
    assert_eq!(of("$SYS/broker/version").len(), 1);
    assert!(of("$SYS/broker/version")[0].1);
    assert!(of("$SYS/broker/uptime").len() > 1);
    assert!(of("$SYS/broker/uptime").iter().skip(1).all(|(_, retain, _)| !retain));
}

#[test]
fn counters_move_by_what_was_sent() {
    let proxy = every_second().start();
    let watch = Watch::start(proxy.mqtt(), "$SYS/broker/#");
    // The last number of the first look that knows the watch itself.
    watch.wait_for_number("subscriptions/count", |count| count == 1);
    // What is published to the watch itself moves what is sent, so that is held from below only.
    let before = |topic: &str| watch.wait_for_number(topic, |_| true);
    let received =
        ["messages/received", "publish/messages/received", "publish/bytes/received", "bytes/received"];
    let [packets, messages, payload, bytes] = received.map(before);
    let sent_before = before("publish/messages/sent");

    let mut listener = Device::connect(proxy.mqtt(), Version::V5, "listener");
    listener.subscribe("count/#", 1);
    let mut speaker = Device::connect(proxy.mqtt(), Version::V4, "speaker");
    speaker.publish_all((0..50).map(|_| Publish::new("count/it", "0123456789").qos(1)));
    assert_eq!(listener.receive_all(50).len(), 50);
    watch.wait_for_number("publish/messages/received", |now| now == messages + 50);
    watch.wait_for_number("publish/bytes/received", |now| now == payload + 500);
    // Two CONNECTs, a SUBSCRIBE, 50 PUBLISH packets and 50 acknowledgements of the listener.
    watch.wait_for_number("messages/received", |now| now == packets + 2 + 1 + 50 + 50);
    // A PUBLISH has 2 + 2 + 8 + 2 + 10 bytes, a PUBACK 4.
    watch.wait_for_number("bytes/received", |now| now > bytes + 50 * 24 + 50 * 4);
    watch.wait_for_number("publish/messages/sent", |now| now >= sent_before + 50);
    watch.wait_for_number("publish/bytes/sent", |now| now >= 500);
    watch.wait_for_number("messages/sent", |now| now >= 2 + 1 + 50 + 50);
    watch.wait_for_number("bytes/sent", |now| now >= 50 * 24 + 50 * 4);
    watch.wait_for_number("clients/connected", |count| count == 3);
    watch.wait_for_number("subscriptions/count", |count| count == 2);
    watch.wait_for("load/publish/received/1min", |text| text.parse().is_ok_and(|load: f64| load > 1.0));
    watch.wait_for("load/sockets/1min", |text| text.parse().is_ok_and(|load: f64| load > 0.0));
    // The same numbers stand in the metrics.
    let metric = |name: &str| proxy.rest().metric(name, &[]) as u64;
    assert_eq!(metric("mqtt_packets_received_total"), packets + 103);
    assert_eq!(metric("mqtt_payload_bytes_received_total"), payload + 500);
    assert_eq!(metric("mqtt_connects_received_total"), 3);
    assert!(metric("mqtt_bytes_sent_total") > 50 * 24 && metric("mqtt_packets_sent_total") > 100);
}

#[test]
fn absent_clients_and_what_waits_for_them_are_counted() {
    let proxy = every_second().start();
    let watch = Watch::start(proxy.mqtt(), "$SYS/broker/#");
    let mut absent = Device::connect_with(proxy.mqtt(), &Connect::new(Version::V4, "absent").persistent());
    absent.subscribe("wait/#", 1);
    watch.wait_for_number("clients/connected", |count| count == 2);
    absent.disconnect();
    watch.wait_for_number("clients/disconnected", |count| count == 1);
    watch.wait_for_number("clients/inactive", |count| count == 1);
    watch.wait_for_number("clients/total", |count| count == 2);
    watch.wait_for_number("clients/maximum", |count| count == 2);

    let mut speaker = Device::connect(proxy.mqtt(), Version::V4, "speaker");
    speaker.publish_all((0..7).map(|_| Publish::new("wait/here", "x").qos(1)));
    speaker.publish(Publish::new("kept", "y").qos(1).retained());
    watch.wait_for_number("retained messages/count", |count| count == 1);
    watch.wait_for_number("messages/stored", |count| count == 8);
    watch.wait_for_number("store/messages/count", |count| count == 8);

    let resumed = Connect::new(Version::V4, "absent").persistent();
    let mut resumed = Device::connect_with(proxy.mqtt(), &resumed);
    assert_eq!(resumed.receive_all(7).len(), 7);
    watch.wait_for_number("messages/stored", |count| count == 1);
}

#[test]
fn the_state_of_an_upstream_broker_follows_at_once_and_goes_with_it() {
    // So rarely that nothing here can come from the interval.
    let proxy = Setup::new().settings("[server]\nsys_interval_secs = 86400").start();
    let watch = Watch::start(proxy.mqtt(), "$SYS/broker/connection/+/state");
    let mut upstream = Mosquitto::stopped();
    let states = || -> Vec<(String, String)> {
        let lines = watch.lines().into_iter();
        lines.map(|(topic, _, text)| (topic.replace("$SYS/broker/connection/", ""), text)).collect()
    };
    let id = proxy.rest().add_local("plant/1", upstream.port(), Version::V4);
    let mut wanted = Vec::new();
    let mut expect = |level: &str, text: &str| {
        wanted.push((format!("{level}/state"), text.to_owned()));
        wait_until(&format!("{level} is {text:?}"), || states().len() >= wanted.len());
        assert_eq!(states()[..wanted.len()], wanted);
    };
    expect("plant%2F1", "0");
    upstream.resume_process();
    expect("plant%2F1", "1");
    upstream.stop();
    expect("plant%2F1", "0");
    upstream.resume_process();
    expect("plant%2F1", "1");
    proxy.rest().put(&format!("/api/brokers/{id}"), &json!({"name": "office"}));
    expect("plant%2F1", "");
    expect("office", "1");
    proxy.rest().toggle(&id);
    expect("office", "0");
    proxy.rest().delete(&format!("/api/brokers/{id}"));
    expect("office", "");
    assert_eq!(states().len(), 8, "{:?}", states());
    // Nothing of it is retained.
    let mut late = Device::connect(proxy.mqtt(), Version::V5, "late");
    late.subscribe("$SYS/broker/connection/#", 0);
    assert_eq!(late.inbox_after_ping(), Vec::<String>::new());
}

#[test]
fn wildcards_do_not_reach_what_the_proxy_says() {
    let proxy = every_second().start();
    let watch = Watch::start(proxy.mqtt(), "$SYS/#");
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    for filter in ["#", "+/#", "+/broker/uptime", "+/+/+"] {
        device.subscribe(filter, 1);
    }
    // Some rounds that others get.
    wait_until("the proxy has said its uptime often", || {
        watch.lines().iter().filter(|(topic, ..)| topic == "$SYS/broker/uptime").count() >= 3
    });
    device.say("a/b/c", "end", 0);
    assert_eq!(device.receive_before("end"), []);
}

#[test]
fn nobody_publishes_there_but_the_proxy() {
    let proxy = every_second().start();
    for topic in ["$SYS", "$SYS/broker/version", "$SYS/of/mine"] {
        let done = mosquitto_pub(proxy.mqtt(), &["-t", topic, "-m", "forged", "-r", "-q", "1"]);
        assert_eq!(done.code, Some(0), "3.1.1 has no word for it: {}", done.output);
        let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
        device.say(topic, "forged", 0);
        for (qos, answer) in [(1, kind::PUBACK), (2, kind::PUBREC)] {
            let mut forged = Publish::new(topic, "forged").qos(qos).retained();
            forged.id = u16::from(qos) + 100;
            device.wire.send(&forged.encode(Version::V5));
            let packet = device.wire.packet();
            assert_eq!(
                (packet.kind(), packet.id(), packet.ack_reason()),
                (answer, forged.id, 0x87),
                "{topic}"
            );
        }
        device.wire.send(&packets::PINGREQ);
        assert_eq!(device.wire.packet().kind(), kind::PINGRESP);
    }
    // A Will is no way in either.
    let dying = Connect::new(Version::V4, "dying").will("$SYS/broker/version", "forged");
    assert_eq!(Device::try_connect(proxy.mqtt(), &dying).connack.code, 5, "not authorized");
    let mut late = Device::connect(proxy.mqtt(), Version::V5, "late");
    late.subscribe("$SYS/#", 0);
    late.say("$SYSTEM", "not ours", 1);
    late.subscribe("$SYSTEM", 1);
    late.say("$SYSTEM", "end", 1);
    let seen = late.receive_before("end");
    assert!(seen.len() > 40 && seen.iter().all(|message| message.text() != "forged"), "{seen:?}");
}

#[test]
fn an_upstream_broker_gets_it_only_where_its_filter_says_so() {
    let proxy = every_second().start();
    let (plain, asking) = (Mosquitto::start(), Proxy::start());
    let plain_id = proxy.rest().add_local("plain", plain.port(), Version::V4);
    proxy.rest().wait_connected(&plain_id);
    let watch = mosquitto_sub(plain.address(), &["-t", "#", "-q", "1"]);
    let mut asked = json!({"name": "asking", "address": "127.0.0.1", "port": asking.mqtt().port()});
    asked["topics"] = json!(["$SYS/broker/uptime"]);
    let asking_id = proxy.rest().add(&asked);
    proxy.rest().wait_connected(&asking_id);
    wait_until("the uptime goes to the broker that asks for it", || {
        proxy.rest().broker(&asking_id)["forwarded"].as_u64() >= Some(2)
    });
    Device::connect(proxy.mqtt(), Version::V4, "speaker").say("end", "end", 1);
    wait_until("the end arrives", || watch.output().contains("end 1 0 end"));
    proxy.rest().wait_caught_up(&plain_id);
    assert_eq!(proxy.rest().broker(&plain_id)["forwarded"], 1);
}

#[test]
fn nothing_of_it_is_stored_or_takes_the_place_of_what_is() {
    let setup = every_second()
        .settings("[limits]\nretained_messages_max = 1\n[log]\npersist_qos0 = true\nsegment_bytes = 65536");
    let mut proxy = setup.start();
    let id =
        proxy.rest().add(&json!({"name": "away", "address": "127.0.0.1", "port": 9, "topics": ["$SYS/#"]}));
    let watch = Watch::start(proxy.mqtt(), "$SYS/broker/#");
    Device::connect(proxy.mqtt(), Version::V4, "device").publish(Publish::new("kept", "y").qos(1).retained());
    watch.wait_for_number("retained messages/count", |count| count == 1);
    wait_until("what is said goes through the log", || {
        proxy.rest().broker(&id)["lag"].as_u64().is_some_and(|lag| lag > 40)
    });
    assert_eq!(proxy.rest().status()["retained"], 1);
    assert_eq!(proxy.rest().status()["received"], 1);
    proxy.kill();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(proxy.data().join("log")).expect("there is a log") {
        files.extend(std::fs::read(entry.expect("an entry").path()).expect("a file of the log"));
    }
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&files, "kept"), "the retained message is in the log's files");
    assert!(!holds(&files, "$SYS/broker/"), "what the proxy says of itself is not");
}

#[test]
fn an_interval_of_0_says_nothing() {
    let proxy = Setup::new().settings("[server]\nsys_interval_secs = 0").start();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.subscribe("$SYS/#", 1);
    assert_eq!(device.inbox_after_ping(), Vec::<String>::new());
}
