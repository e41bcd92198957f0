//! Sessions of devices across kill -9: subscriptions, what waits for an absent device, retained messages, and when
//! a session ends.

use super::{device, publish};
use crate::support::device::Device;
use crate::support::packets::{Connect, Publish, Value, property};
use crate::support::proxy::Proxy;
use crate::support::{Version, assert_same, numbered, wait_until};

/// A session of this name that outlives its connections.
fn lasting(version: Version) -> Connect {
    Connect::new(version, "lasting").persistent()
}

/// Connects again and finds the session.
fn resume(proxy: &Proxy, version: Version) -> Device {
    let device = Device::connect_with(proxy.mqtt(), &lasting(version));
    assert!(device.connack.session_present, "the session is there");
    device
}

fn texts(messages: &[Publish]) -> Vec<String> {
    messages.iter().map(Publish::text).collect()
}

in_both_versions! {
    fn subscriptions_and_queued_messages_of_an_absent_session_survive(version: Version) {
        let mut proxy = Proxy::start();
        let mut lasting_device = Device::connect_with(proxy.mqtt(), &lasting(version));
        lasting_device.subscribe("a/#", 2);
        lasting_device.subscribe("b", 1);
        lasting_device.subscribe("c", 1);
        lasting_device.unsubscribe("c");
        lasting_device.disconnect();
        let wanted = numbered("m", 100);
        let mut publisher = device(&proxy, version);
        publish(&mut publisher, "a/x", &wanted, 2);
        publish(&mut publisher, "b", &wanted, 2);
        publish(&mut publisher, "c", &wanted, 2);

        proxy.kill_and_restart();
        // Also a second death before the device is back changes nothing.
        proxy.kill_and_restart();
        device(&proxy, version).say("a/x", "after", 2);
        let arrived = resume(&proxy, version).receive_all(201);
        let on = |topic: &str| -> Vec<Publish> {
            arrived.iter().filter(|message| message.topic == topic).cloned().collect()
        };
        assert_same(&texts(&on("a/x")), &[wanted.clone(), vec!["after".to_owned()]].concat(), "a/x");
        assert_same(&texts(&on("b")), &wanted, "b");
        assert!(on("a/x").iter().all(|message| message.qos == 2), "as it was published");
        assert!(on("b").iter().all(|message| message.qos == 1), "as it was subscribed");
        assert!(on("c").is_empty(), "it was unsubscribed");
    }

    fn what_a_device_took_at_qos_2_does_not_come_again(version: Version) {
        let mut proxy = Proxy::start();
        let mut taker = Device::connect_with(proxy.mqtt(), &lasting(version));
        taker.subscribe("#", 2);
        let wanted = numbered("m", 100);
        publish(&mut device(&proxy, version), "t", &wanted, 2);
        assert_same(&texts(&taker.receive_all(100)), &wanted, "at first");
        taker.ping();
        proxy.kill_and_restart();
        let mut taker = resume(&proxy, version);
        device(&proxy, version).say("t", "end", 2);
        assert_eq!(taker.texts_before("end"), Vec::<String>::new(), "QoS 2 is exactly once");
    }

    fn messages_go_on_being_queued_for_a_session_that_was_restored(version: Version) {
        let mut proxy = Proxy::start();
        let mut lasting_device = Device::connect_with(proxy.mqtt(), &lasting(version));
        lasting_device.subscribe("#", 1);
        lasting_device.disconnect();
        let wanted = numbered("m", 60);
        for part in wanted.chunks(20) {
            publish(&mut device(&proxy, version), "t", part, 1);
            proxy.kill_and_restart();
        }
        assert_same(&texts(&resume(&proxy, version).receive_all(60)), &wanted, "over three lives");
    }

    fn retained_messages_survive_as_they_were_set_replaced_and_cleared(version: Version) {
        let mut proxy = Proxy::start();
        let mut setter = device(&proxy, version);
        for (topic, payload, qos) in [
            ("r/kept", "first", 1),
            ("r/replaced", "old", 1),
            ("r/cleared", "gone", 2),
            ("r/replaced", "new", 2),
            ("r/cleared", "", 1),
            ("r/back", "before", 1),
            ("r/back", "", 1),
            ("r/back", "again", 1),
        ] {
            setter.publish(Publish::new(topic, payload).qos(qos).retained());
        }
        for life in 1..=2 {
            proxy.kill_and_restart();
            let mut reader = Device::connect(proxy.mqtt(), version, "reader");
            reader.subscribe("r/#", 2);
            let mut retained: Vec<(String, String, u8)> = reader
                .receive_all(3)
                .into_iter()
                .map(|message| {
                    assert!(message.retain, "it is a retained message");
                    (message.topic.clone(), message.text(), message.qos)
                })
                .collect();
            retained.sort();
            let wanted = [("r/back", "again", 1), ("r/kept", "first", 1), ("r/replaced", "new", 2)];
            let wanted = wanted.map(|(topic, text, qos)| (topic.to_owned(), text.to_owned(), qos));
            assert_eq!(retained, wanted, "in life {life} after the first");
            assert_eq!(reader.inbox_after_ping(), Vec::<String>::new(), "nothing else is retained");
        }
    }

    fn a_clean_start_ends_the_old_session_for_good(version: Version) {
        let mut proxy = Proxy::start();
        let mut old = Device::connect_with(proxy.mqtt(), &lasting(version));
        old.subscribe("#", 1);
        old.disconnect();
        device(&proxy, version).say("t", "for the old one", 1);
        let clean = Connect { clean: true, ..lasting(version) };
        let fresh = Device::connect_with(proxy.mqtt(), &clean);
        assert!(!fresh.connack.session_present, "a clean start has no session");
        fresh.disconnect();
        wait_until("it has left", || proxy.rest().status()["connected_clients"] == 0);
        proxy.rest().wait_stored();
        proxy.kill_and_restart();
        let mut again = Device::connect_with(proxy.mqtt(), &lasting(version));
        // With MQTT 5.0 the new session has an expiry and is there; with 3.1.1 it ended with its connection.
        assert_eq!(again.connack.session_present, version.is_v5());
        device(&proxy, version).say("t", "for nobody", 1);
        assert_eq!(again.inbox_after_ping(), Vec::<String>::new(), "the old subscription is gone");
    }

    fn a_session_that_ends_with_its_connection_does_not_come_back(version: Version) {
        let mut proxy = Proxy::start();
        let mut passing = Device::connect(proxy.mqtt(), version, "lasting");
        passing.subscribe("#", 1);
        proxy.kill_and_restart();
        assert_eq!(proxy.rest().status()["subscriptions"], 0);
        let again = Device::connect_with(proxy.mqtt(), &lasting(version));
        assert!(!again.connack.session_present, "it was not to outlive its connection");
    }
}

#[test]
fn a_session_that_expired_while_the_proxy_was_dead_is_gone() {
    let mut proxy = Proxy::start();
    let brief = Connect::new(Version::V5, "brief").property(property::SESSION_EXPIRY, Value::Four(1));
    let brief = Connect { clean: false, ..brief };
    let mut lasting_device = Device::connect_with(proxy.mqtt(), &lasting(Version::V5));
    lasting_device.subscribe("#", 1);
    lasting_device.disconnect();
    let mut brief_device = Device::connect_with(proxy.mqtt(), &brief);
    brief_device.subscribe("#", 1);
    brief_device.disconnect();
    device(&proxy, Version::V5).say("t", "m", 1);
    proxy.kill_and_restart();
    let sessions = |proxy: &Proxy| proxy.rest().status()["sessions"].as_u64();
    wait_until("one of two sessions has expired", || sessions(&proxy) == Some(1));
    proxy.kill_and_restart();
    assert_eq!(sessions(&proxy), Some(1), "it does not come back");
    assert!(!Device::connect_with(proxy.mqtt(), &brief).connack.session_present, "it has expired");
    assert_eq!(resume(&proxy, Version::V5).receive().text(), "m");
}

#[test]
fn messages_that_expired_meanwhile_are_not_delivered() {
    let mut proxy = Proxy::start();
    let mut lasting_device = Device::connect_with(proxy.mqtt(), &lasting(Version::V5));
    lasting_device.subscribe("#", 1);
    lasting_device.disconnect();
    let expiring = |text: &str, secs| {
        Publish::new("t", text).qos(1).property(property::MESSAGE_EXPIRY, Value::Four(secs))
    };
    let mut publisher = device(&proxy, Version::V5);
    let published = std::time::Instant::now();
    publisher.publish_all([expiring("brief", 1), expiring("long", 3_600)]);
    proxy.kill_and_restart();
    wait_until("the brief one has expired", || published.elapsed().as_secs() >= 2);
    let arrived = resume(&proxy, Version::V5).receive();
    assert_eq!(arrived.text(), "long");
    let left = crate::support::packets::number(&arrived.properties, property::MESSAGE_EXPIRY);
    assert!(left.is_some_and(|secs| secs < 3_600), "the time that has passed is taken off: {left:?}");
}
