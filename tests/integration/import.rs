//! `mqtt-proxy import`: a mosquitto.conf with bridges becomes brokers that get the same messages under the same topics.

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::support::Version;
use crate::support::device::Device;
use crate::support::mosquitto::{Mosquitto, reserve_port};
use crate::support::packets::Publish;
use crate::support::process::{Finished, run};
use crate::support::proxy::{Proxy, Setup, command};
use crate::support::wait_until;

/// Topics on the local side, and whether and how the bridge has them on the other side.
const MAPPED_LINES: &str = "topic # out 1 plant/north/ site/7/\ntopic plain/+ out 1\n\
                           topic \"\" out 1 here/is there/is\ntopic cmd/# in 1 local/ remote/\n";

fn conf(port: u16, lines: &str) -> String {
    format!("# bridges\nconnection hub\naddress 127.0.0.1:{port}\nnotifications false\n{lines}")
}

/// Runs `import` in a directory with this file.
fn import(directory: &Path, conf: &str, arguments: &[&str]) -> Finished {
    std::fs::write(directory.join("m.conf"), conf).expect("the file can be written");
    run("mqtt-proxy import", command(directory).args(["import", "m.conf"]).args(arguments))
}

/// What arrives at the upstream broker, and at the local one, of messages on all kinds of topics.
fn traffic(local: std::net::SocketAddr, upstream: &Mosquitto, is_mapped: bool) -> (Vec<String>, Vec<String>) {
    let mut far = Device::connect(upstream.address(), Version::V4, "far");
    far.subscribe("#", 1);
    let mut near = Device::connect(local, Version::V4, "near");
    near.subscribe("local/#", 1);
    let mut device = Device::connect(local, Version::V4, "device");
    let topics =
        ["plant/north/a", "plant/north/a/b", "plant/south/a", "plain/x", "plain/x/y", "here/is", "here"];
    for topic in topics {
        device.publish(Publish::new(topic, topic).qos(1));
    }
    device.publish(Publish::new("plain/last", "end").qos(1));
    let shown = |message: &Publish| format!("{} {}", message.topic, message.text());
    let sent: Vec<String> = far.receive_before("end").iter().map(shown).collect();
    let mut publisher = Device::connect(upstream.address(), Version::V4, "publisher");
    let mapped = ["remote/cmd/x", "remote/other", "cmd/y", "remote/cmd/end"];
    let plain = ["local/x", "remote/other", "cmd/y", "local/end"];
    for topic in if is_mapped { mapped } else { plain } {
        let text = if topic.ends_with("end") { "end" } else { topic };
        publisher.publish(Publish::new(topic, text).qos(1));
    }
    (sent, near.receive_before("end").iter().map(shown).collect())
}

/// A proxy to which the file's connections were added by its API.
fn proxy_with(conf: &str) -> Proxy {
    let proxy = Proxy::start();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let url = format!("http://{}", proxy.web());
    let finished = import(home.path(), conf, &["--api", &url]);
    assert_eq!(finished.code, Some(0), "{}", finished.output);
    assert!(finished.output.contains("added \"hub\" as "), "{}", finished.output);
    proxy
}

fn forwards_as_mosquittos_own_bridge_does(lines: &str, sent: usize, received: &str) {
    let by_bridge = Mosquitto::start();
    let bridge = Mosquitto::start_with_setting(&conf(by_bridge.port(), lines));
    let mut probe = Device::connect(by_bridge.address(), Version::V4, "probe");
    probe.subscribe("plain/probe", 1);
    let mut pulse = Device::connect(bridge.address(), Version::V4, "pulse");
    wait_until("the bridge is up", || {
        pulse.publish(Publish::new("plain/probe", "x").qos(1));
        !probe.inbox_after_ping().is_empty()
    });
    let is_mapped = lines == MAPPED_LINES;
    let wanted = traffic(bridge.address(), &by_bridge, is_mapped);
    assert_eq!((wanted.0.len(), &*wanted.1), (sent, &[received.to_owned()][..]), "{wanted:?}");

    let by_proxy = Mosquitto::start();
    let proxy = proxy_with(&conf(by_proxy.port(), lines));
    proxy.rest().wait_connected(&proxy.rest().id_of("hub"));
    assert_eq!(traffic(proxy.mqtt(), &by_proxy, is_mapped), wanted);
}

#[test]
fn an_imported_connection_forwards_as_mosquittos_own_bridge_does() {
    let lines = "topic plant/north/# out 1\ntopic plain/+ out 1\ntopic local/# both 1\n";
    forwards_as_mosquittos_own_bridge_does(lines, 3, "local/x local/x");
}

#[test]
fn an_imported_connection_has_the_topics_of_mosquittos_own_bridge_on_both_sides() {
    forwards_as_mosquittos_own_bridge_does(MAPPED_LINES, 4, "local/cmd/x remote/cmd/x");
}

#[test]
fn the_definitions_are_printed_and_the_notes_stand_beside_them() {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let lines = "topic # out 1\nremote_username u\nremote_password hunter2\nstart_type lazy\n";
    std::fs::write(home.path().join("m.conf"), conf(1, lines)).expect("the file can be written");
    let output = command(home.path()).args(["import", "m.conf"]).output().expect("it runs");
    assert!(output.status.success());
    let document: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    let wanted = json!({"brokers": [{
        "name": "hub", "address": "127.0.0.1", "port": 1, "username": "u", "password": "hunter2",
        "topics": ["#"], "max_qos": 1,
    }]});
    assert_eq!(document, wanted);
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(notes.contains("note: m.conf:8: start_type: not translated"), "{notes}");
    assert!(!notes.contains("hunter2"), "{notes}");
}

#[test]
fn a_stopped_proxys_data_directory_takes_all_of_them_or_none() {
    let upstream = Mosquitto::start();
    let mut proxy = Setup::new().start();
    let kept = proxy.rest().add_local("kept", reserve_port(), Version::V4);
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let data = proxy.data().display().to_string();
    let text = conf(upstream.port(), "topic # out 1\n");
    let running = import(home.path(), &text, &["--data", &data]);
    assert_eq!(running.code, Some(1), "{}", running.output);
    assert!(running.output.contains("in use by another proxy"), "{}", running.output);

    proxy.stop();
    let clash = format!("{text}connection kept\naddress h\ntopic #\n");
    let refused = import(home.path(), &clash, &["--data", &data]);
    assert_eq!(refused.code, Some(1), "{}", refused.output);
    assert!(refused.output.contains("\"kept\" is in use; nothing was added"), "{}", refused.output);
    let added = import(home.path(), &text, &["--data", &data]);
    assert_eq!(added.code, Some(0), "{}", added.output);
    proxy.start_again();
    let names: Vec<Json> = proxy.rest().brokers().iter().map(|broker| broker["name"].clone()).collect();
    assert_eq!(names, ["kept", "hub"]);
    assert_eq!(proxy.rest().id_of("kept"), kept);
    proxy.rest().wait_connected(&proxy.rest().id_of("hub"));
}

#[test]
fn several_addresses_become_a_group() {
    let (first, second) = (reserve_port(), reserve_port());
    let proxy = Proxy::start();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let text = format!("connection hub\naddresses 127.0.0.1:{first} 127.0.0.1:{second}\ntopic # out 1\n");
    let finished = import(home.path(), &text, &["--api", &format!("http://{}", proxy.web())]);
    assert_eq!(finished.code, Some(0), "{}", finished.output);
    let groups: Vec<Json> = proxy
        .rest()
        .brokers()
        .iter()
        .map(|broker| json!([broker["name"], broker["port"], broker["group"], broker["group_priority"]]))
        .collect();
    assert_eq!(groups, [json!(["hub-1", first, "hub", 0]), json!(["hub-2", second, "hub", 1])]);
}

#[test]
fn what_cannot_be_read_ends_with_2_and_what_the_proxy_refuses_with_1() {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    for text in ["connection a\naddress h\ntopic # sideways\n", "topic #\n", "include_dir nowhere\n"] {
        let finished = import(home.path(), text, &[]);
        assert_eq!(finished.code, Some(2), "{text}: {}", finished.output);
        assert!(finished.output.contains("m.conf:"), "{}", finished.output);
    }
    let missing = run("mqtt-proxy import", command(home.path()).args(["import", "missing.conf"]));
    assert_eq!(missing.code, Some(2), "{}", missing.output);

    let proxy = proxy_with(&conf(1, "topic # out 1\n"));
    let url = format!("http://{}", proxy.web());
    let again = import(home.path(), &conf(1, "topic # out 1\n"), &["--api", &url]);
    assert_eq!(again.code, Some(1), "{}", again.output);
    assert!(again.output.contains("\"hub\" was not added: 409"), "{}", again.output);
}
