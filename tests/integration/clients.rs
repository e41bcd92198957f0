//! Clients that many devices run, with the proxy as their only broker: Python's paho-mqtt and asyncio-mqtt (the dialogues
//! stand in `tests/clients`), the commands of mosquitto, and rumqttc.

use std::net::SocketAddr;
use std::process::Command;

use crate::support::packets::Publish;
use crate::support::peers::{Peer, mosquitto_pub, mosquitto_sub};
use crate::support::process::{Process, run};
use crate::support::proxy::{Proxy, Setup};
use crate::support::python::converse;
use crate::support::{Version, assert_same, numbered, wait_until};

const COUNT: usize = 1000;

/// A dialogue with a proxy of its own.
fn converse_alone(name: &str, version: Version) {
    let proxy = Proxy::start();
    converse(name, proxy.mqtt(), &[version.name()]);
}

/// The version as the commands of mosquitto write it.
fn protocol(version: Version) -> &'static str {
    if version.is_v5() { "mqttv5" } else { "mqttv311" }
}

/// What `mosquitto_sub` printed of messages on this topic.
fn printed(subscriber: &Process, topic: &str) -> Vec<String> {
    let output = subscriber.output();
    let complete = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let messages = complete.filter_map(|line| line.strip_prefix(topic)?.strip_prefix(' '));
    messages.map(|line| line.trim_end().to_owned()).collect()
}

/// `mosquitto_pub` with one message for each number up to `COUNT`, on one connection.
fn publish_lines(address: SocketAddr, version: Version, topic: &str, qos: usize) {
    let (port, last, protocol) = (address.port(), COUNT - 1, protocol(version));
    let line = format!(
        "seq -f m-%05g 0 {last} | mosquitto_pub -h 127.0.0.1 -p {port} -V {protocol} -t {topic} -q {qos} -l"
    );
    let done = run("mosquitto_pub", Command::new("sh").args(["-c", &line]));
    assert_eq!(done.code, Some(0), "{}", done.output);
}

in_both_versions! {
    fn paho_gets_each_message_once_and_in_order(version: Version) {
        converse_alone("delivery", version);
    }

    fn paho_finds_its_session_with_what_was_queued(version: Version) {
        converse_alone("sessions", version);
    }

    fn paho_loses_nothing_when_its_connections_break(version: Version) {
        converse_alone("interrupted", version);
    }

    fn paho_finds_retained_messages(version: Version) {
        converse_alone("retained", version);
    }

    fn the_will_of_paho_is_published_when_it_should_be(version: Version) {
        converse_alone("wills", version);
    }

    fn three_pahos_share_a_subscription(version: Version) {
        converse_alone("shared", version);
    }

    fn paho_is_not_sent_more_than_it_takes(version: Version) {
        converse_alone("flow_control", version);
    }

    fn paho_gets_what_its_filters_match(version: Version) {
        converse_alone("subscriptions", version);
    }

    fn many_pahos_come_and_go(version: Version) {
        converse_alone("crowd", version);
    }

    fn paho_takes_its_own_session_over(version: Version) {
        converse_alone("takeover", version);
    }

    fn paho_is_refused_with_wrong_credentials(version: Version) {
        let auth = "[auth]\nrequire_auth = true\nusername = \"device\"\npassword = \"secret\"";
        let proxy = Setup::new().settings(auth).start();
        converse("credentials", proxy.mqtt(), &[version.name()]);
    }

    fn clients_in_an_event_loop_of_python_talk(version: Version) {
        converse_alone("asynchronous", version);
    }

    fn rumqttc_gets_each_message_once_and_in_order(version: Version) {
        let proxy = Proxy::start();
        for qos in 0..=2 {
            let (topic, context) = (format!("order/{qos}"), format!("QoS {qos}"));
            let subscriber = Peer::subscriber(proxy.mqtt(), version, "subscriber", &topic, qos);
            let publisher = Peer::connect(proxy.mqtt(), version, "publisher");
            let wanted = numbered("m", COUNT);
            let messages: Vec<Publish> =
                wanted.iter().map(|text| Publish::new(&topic, text).qos(qos)).collect();
            publisher.publish_all(&messages);
            publisher.publish_all(&[Publish::new(&topic, "end").qos(qos)]);
            assert_same(&subscriber.texts_before("end"), &wanted, &context);
        }
    }

    fn the_commands_of_mosquitto_pass_a_thousand_lines_on(version: Version) {
        let proxy = Proxy::start();
        for qos in 0..=2 {
            let (topic, context) = (format!("lines/{qos}"), format!("QoS {qos}"));
            let arguments = ["-V", protocol(version), "-t", &topic, "-q", &qos.to_string()];
            let subscriber = mosquitto_sub(proxy.mqtt(), &arguments);
            publish_lines(proxy.mqtt(), version, &topic, qos);
            wait_until("all lines are printed", || printed(&subscriber, &topic).len() >= COUNT);
            let wanted: Vec<String> =
                numbered("m", COUNT).iter().map(|text| format!("{qos} 0 {text}")).collect();
            assert_same(&printed(&subscriber, &topic), &wanted, &context);
        }
    }

    fn mosquitto_sub_finds_what_waited_for_it(version: Version) {
        let proxy = Proxy::start();
        let lasting = ["-V", protocol(version), "-i", "lasting", "-c", "-t", "waits", "-q", "1"];
        let lasting = [&lasting[..], if version.is_v5() { &["-x", "300"] } else { &[] }].concat();
        // It ends itself as soon as it is subscribed.
        mosquitto_sub(proxy.mqtt(), &[&lasting[..], &["-E"]].concat()).wait();
        for text in numbered("m", 5) {
            let done = mosquitto_pub(proxy.mqtt(), &["-t", "waits", "-m", &text, "-q", "1"]);
            assert_eq!(done.code, Some(0), "{}", done.output);
        }
        let subscriber = mosquitto_sub(proxy.mqtt(), &lasting);
        let wanted: Vec<String> = numbered("m", 5).iter().map(|text| format!("1 0 {text}")).collect();
        wait_until("what waited is printed", || printed(&subscriber, "waits") == wanted);
    }

    fn all_clients_hear_the_same_of_paho(version: Version) {
        let proxy = Proxy::start();
        let others = Version::BOTH.map(|other| {
            Peer::subscriber(proxy.mqtt(), other, &format!("peer-{}", other.name()), "order/#", 2)
        });
        let printing = mosquitto_sub(proxy.mqtt(), &["-V", protocol(version), "-t", "order/#", "-q", "2"]);
        converse("delivery", proxy.mqtt(), &[version.name()]);
        for qos in 0..=2 {
            let topic = format!("order/{qos}");
            let mut wanted = numbered(&format!("q{qos}"), COUNT);
            wanted.push("end".to_owned());
            for peer in &others {
                let on_topic = || {
                    let messages = peer.messages();
                    let on_topic = messages.iter().filter(|message| message.topic == topic);
                    on_topic.map(Publish::text).collect::<Vec<_>>()
                };
                wait_until("rumqttc has all messages", || on_topic().len() >= wanted.len());
                assert_same(&on_topic(), &wanted, &topic);
            }
            wait_until("all messages are printed", || printed(&printing, &topic).len() >= wanted.len());
            let wanted: Vec<String> = wanted.iter().map(|text| format!("{qos} 0 {text}")).collect();
            assert_same(&printed(&printing, &topic), &wanted, &topic);
        }
    }
}

#[test]
fn paho_gets_the_properties_of_messages() {
    converse_alone("properties_of_messages", Version::V5);
}

#[test]
fn mosquitto_rr_gets_its_response() {
    let proxy = Proxy::start();
    let responder = mosquitto_sub(proxy.mqtt(), &["-V", "mqttv5", "-t", "requests", "-q", "1"]);
    let mut command = Command::new("mosquitto_rr");
    command.args(["-h", "127.0.0.1", "-p", &proxy.mqtt().port().to_string(), "-V", "mqttv5", "-q", "1"]);
    command.args(["-t", "requests", "-e", "responses", "-m", "which way?", "-W", "15"]);
    let mut asker = Process::spawn("mosquitto_rr", &mut command);
    wait_until("the request is printed", || printed(&responder, "requests") == ["1 0 which way?"]);
    let done = mosquitto_pub(proxy.mqtt(), &["-V", "mqttv5", "-t", "responses", "-m", "this way", "-q", "1"]);
    assert_eq!(done.code, Some(0), "{}", done.output);
    wait_until("the response is printed", || asker.output().contains("this way"));
    assert!(asker.wait().success(), "{}", asker.output());
}
