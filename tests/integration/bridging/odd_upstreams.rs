//! Upstream brokers that misbehave: whatever they do, the proxy stays, the others get everything, and so do they when
//! they have come to their senses.

use crate::support::device::Device;
use crate::support::keeper::Keeper;
use crate::support::packets::{Publish, Value, frame, kind, property, put_text};
use crate::support::proxy::Proxy;
use crate::support::rest::local_broker;
use crate::support::scripted::{Link, Scripted};
use crate::support::{Version, assert_same, numbered, wait_until};
use serde_json::json;

/// A proxy with a scripted bidirectional upstream that has taken the SUBSCRIBE, and the id of that broker.
fn scripted(version: Version) -> (Proxy, Scripted, Link, String) {
    let upstream = Scripted::listen();
    let proxy = Proxy::start();
    let mut definition = local_broker("odd", upstream.port(), version);
    definition["bidirectional"] = json!(true);
    definition["subscription_topics"] = json!(["in/#"]);
    // Whoever breaks the standard again and again is left alone for a while.
    definition["retry_denied_ms"] = json!(100);
    definition["retry_ceiling_ms"] = json!(200);
    let id = proxy.rest().add(&definition);
    let mut link = upstream.welcome(false);
    link.grant();
    (proxy, upstream, link, id)
}

/// The next connection with a new session, subscribed.
fn again(upstream: &Scripted) -> Link {
    let mut link = upstream.welcome(false);
    link.grant();
    link
}

/// The bytes by which a broker breaks the standard or exceeds what the proxy allowed, each with a name.
fn offences(version: Version) -> Vec<(&'static str, Vec<u8>)> {
    let mut empty_topic = Vec::new();
    put_text(&mut empty_topic, "");
    let mut wildcard = Vec::new();
    put_text(&mut wildcard, "in/#");
    if version.is_v5() {
        empty_topic.push(0);
        wildcard.push(0);
    }
    let mut offences = vec![
        ("no MQTT", vec![0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("a QoS of 3", frame(0x36, &[0, 1, b'a', 0, 1, 0])),
        ("no topic", frame(0x30, &empty_topic)),
        ("a wildcard in a topic", frame(0x30, &wildcard)),
        ("a second CONNACK", frame(0x20, if version.is_v5() { &[0, 0, 0] } else { &[0, 0] })),
        ("a CONNECT", frame(0x10, &[0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'a'])),
        ("a Remaining Length of five bytes", vec![0x30, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ("Packet Identifier 0", Publish { id: 0, ..Publish::new("in/a", "m").qos(1) }.encode(version)),
    ];
    if version.is_v5() {
        let message = Publish::new("in/a", "m").property(property::TOPIC_ALIAS, Value::Two(0));
        offences.push(("an alias of 0", message.encode(version)));
    }
    offences
}

in_both_versions! {
    fn an_upstream_that_breaks_the_standard_is_left_and_found_again(version: Version) {
        let (proxy, upstream, mut link, id) = scripted(version);
        let steady = Keeper::start();
        proxy.rest().add(&local_broker("steady", steady.port(), Version::V5));
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        let offences = offences(version);
        let texts = numbered("m", offences.len());
        for ((offence, bytes), text) in offences.into_iter().zip(&texts) {
            device.say("t", text, 1);
            let message = link.publish();
            assert_eq!(message.text(), *text, "{offence}");
            link.wire.try_send(&bytes);
            // Before it goes, the proxy may say why.
            let last = link.wait_closed();
            assert!(last.iter().all(|packet| packet.kind() == kind::DISCONNECT), "{offence}: {last:?}");
            link = again(&upstream);
            assert_eq!(link.take().text(), *text, "after {offence}");
        }
        steady.wait_count(texts.len());
        assert_same(&steady.texts_on("t"), &texts, "the steady broker");
        wait_until("the odd broker is connected", || proxy.rest().broker(&id)["connected"] == true);
    }

    fn a_connection_that_is_reset_is_made_again_and_nothing_is_lost(version: Version) {
        let (proxy, upstream, mut link, _) = scripted(version);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        for (round, text) in numbered("m", 5).iter().enumerate() {
            device.say("t", text, 1 + (round % 2) as u8);
            link.reset();
            link = again(&upstream);
            assert_eq!(link.take().text(), *text);
        }
    }

    fn late_acknowledgements_are_taken_as_they_come(version: Version) {
        let (proxy, _upstream, mut link, id) = scripted(version);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        let texts = numbered("m", 15);
        device.publish_all(texts.iter().map(|text| Publish::new("t", text).qos(1)));
        let taken: Vec<String> = link.take_late(15).iter().map(Publish::text).collect();
        assert_same(&taken, &texts, "all were on their way at a time");
        proxy.rest().wait_caught_up(&id);
        link.expect_silence();
    }

    fn garbage_instead_of_connack_is_an_error_that_is_shown(version: Version) {
        let upstream = Scripted::listen();
        let proxy = Proxy::start();
        let id = proxy.rest().add(&local_broker("odd", upstream.port(), version));
        let mut link = upstream.accept();
        link.send_garbage();
        link.wait_closed();
        wait_until("the error is shown", || proxy.rest().broker(&id)["last_error"].is_string());
        assert_eq!(proxy.rest().broker(&id)["connected"], false);
        let _link = upstream.welcome(false);
        proxy.rest().wait_connected(&id);
    }
}
