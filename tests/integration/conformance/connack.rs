//! Chapter 3.2: CONNACK, the first packet that a server sends.

use super::named;
use crate::support::device::Device;
use crate::support::packets::{self, Connack, Connect, Value, kind, number, property};
use crate::support::proxy::{Proxy, Setup};
use crate::support::refusals::reason;
use crate::support::shared;
use crate::support::wire::Wire;
use crate::support::{Version, numbered};

/// A proxy that asks for a user name and a password.
fn guarded(more: &str) -> Proxy {
    let auth = "[auth]\nrequire_auth = true\nusername = \"ann\"\npassword = \"s3cret\"";
    Setup::new().settings(auth).settings(more).start()
}

in_both_versions! {
    fn connack_comes_first_and_once(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "first");
        let connect = Connect::new(version, &topic).persistent();
        let mut device = Device::connect_with(proxy.mqtt(), &connect);
        device.subscribe(&topic, 1);
        device.cut();
        let wanted = numbered("m", 20);
        let mut speaker = Device::connect(proxy.mqtt(), version, &named(version, "first-speaker"));
        speaker.publish_all(wanted.iter().map(|text| packets::Publish::new(&topic, text).qos(1)));
        // A Session with messages in it: they come after the CONNACK, and no other CONNACK comes.
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(&connect.encode());
        let connack = Connack::decode(&wire.packet(), version);
        assert!(connack.code == 0 && connack.session_present, "{connack:?}");
        wire.send(&packets::PINGREQ);
        let kinds: Vec<u8> = (0..=wanted.len()).map(|_| wire.packet().kind()).collect();
        assert_eq!(kinds.iter().filter(|kind_of| **kind_of == kind::PUBLISH).count(), wanted.len());
        assert!(kinds.contains(&kind::PINGRESP), "{kinds:?}");
    }

    fn a_refusal_says_why_in_the_words_of_the_standard_and_ends_the_connection(version: Version) {
        let proxy = guarded("");
        let good = Connect::new(version, "d").persistent().credentials("ann", "s3cret");
        Device::connect_with(proxy.mqtt(), &good).cut();
        let plain = || Connect { username: None, password: None, ..good.clone() };
        // There is a Session, but whoever is refused is not told of it.
        for bad in [plain(), plain().credentials("ann", "wrong"), plain().credentials("bob", "s3cret"), plain().credentials("", "")] {
            let mut device = Device::try_connect(proxy.mqtt(), &bad);
            assert!(!device.connack.session_present, "{:?}", device.connack);
            let allowed: &[u8] =
                if version.is_v5() { &[reason::BAD_CREDENTIALS, reason::NOT_AUTHORIZED] } else { &[4, 5] };
            assert!(allowed.contains(&device.connack.code), "{:?}", device.connack);
            device.wire.expect_close();
        }
        assert!(Device::connect_with(proxy.mqtt(), &good).connack.session_present, "the refused ones spoilt the Session");
    }

    fn a_refusal_arrives_also_where_the_client_talks_on(version: Version) {
        let proxy = guarded("");
        let publish = packets::Publish::new("refused", vec![b'x'; 10_000]).encode(version);
        for _ in 0..5 {
            let mut wire = Wire::open(proxy.mqtt());
            wire.try_send(&[Connect::new(version, "talker").encode(), publish.repeat(100)].concat());
            let packets = wire.until_close();
            assert_eq!(packets.len(), 1, "a CONNACK was to come: {packets:?}");
            assert_ne!(Connack::decode(&packets[0], version).code, 0);
        }
    }
}

#[test]
fn connack_has_properties_of_its_own_only_and_each_once() {
    let proxy = shared::proxy();
    let allowed = [
        property::SESSION_EXPIRY,
        property::RECEIVE_MAXIMUM,
        property::MAXIMUM_QOS,
        property::RETAIN_AVAILABLE,
        property::MAXIMUM_PACKET_SIZE,
        property::ASSIGNED_CLIENT_ID,
        property::TOPIC_ALIAS_MAXIMUM,
        property::REASON_STRING,
        property::WILDCARD_AVAILABLE,
        property::SUBSCRIPTION_ID_AVAILABLE,
        property::SHARED_AVAILABLE,
        property::SERVER_KEEP_ALIVE,
    ];
    for id in ["", "connack-properties"] {
        // Response Information is neither asked for nor, in the second round, refused explicitly.
        let connect = Connect::new(Version::V5, id);
        let explicit = connect.clone().property(property::REQUEST_RESPONSE_INFORMATION, Value::Byte(0));
        for connect in [connect, explicit] {
            let properties = Device::connect_with(proxy.mqtt(), &connect).connack.properties;
            let mut ids: Vec<u8> =
                properties.iter().map(|(id, _)| *id).filter(|id| *id != property::USER).collect();
            assert!(ids.iter().all(|id| allowed.contains(id)), "{properties:?}");
            let count = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), count, "{properties:?}");
            assert!(
                number(&properties, property::MAXIMUM_QOS).is_none_or(|qos| qos <= 1),
                "QoS 2 is not said"
            );
            assert_ne!(number(&properties, property::RECEIVE_MAXIMUM), Some(0));
            assert_ne!(number(&properties, property::MAXIMUM_PACKET_SIZE), Some(0));
        }
    }
}

#[test]
fn what_connack_promises_is_kept() {
    let proxy = shared::proxy();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "promises");
    let promised = |id| number(&device.connack.properties, id).is_none_or(|value| value > 0);
    let qos = number(&device.connack.properties, property::MAXIMUM_QOS).unwrap_or(2);
    let (retain, wildcard) = (promised(property::RETAIN_AVAILABLE), promised(property::WILDCARD_AVAILABLE));
    let identifiers = promised(property::SUBSCRIPTION_ID_AVAILABLE);
    let aliases = number(&device.connack.properties, property::TOPIC_ALIAS_MAXIMUM).unwrap_or(0);
    assert_eq!(qos, 2, "the proxy lacks no QoS");
    assert!(retain && wildcard && identifiers, "{:?}", device.connack);
    device.publish(packets::Publish::new("promises/retained", "kept").qos(2).retained());
    let subscription = vec![(property::SUBSCRIPTION_ID, Value::Variable(7))];
    assert_eq!(device.subscribe_with(&subscription, &[("promises/#", 2)]), [2]);
    let kept = device.receive();
    assert_eq!((kept.text().as_str(), kept.retain, kept.qos), ("kept", true, 2));
    assert_eq!(number(&kept.properties, property::SUBSCRIPTION_ID), Some(7));
    // Each alias up to the maximum, first with the topic and then without.
    let aliases = u16::try_from(aliases).expect("it is a Two Byte Integer");
    for topic in [Some("promises/aliased"), None] {
        for alias in 1..=aliases {
            let message = packets::Publish::new(topic.unwrap_or(""), "m").qos(1);
            device.publish(message.property(property::TOPIC_ALIAS, Value::Two(alias)));
        }
    }
    let arrived = device.receive_all(usize::from(aliases) * 2);
    assert!(arrived.iter().all(|message| message.topic == "promises/aliased"));
}

#[test]
fn shared_subscriptions_are_there_unless_connack_says_that_they_are_not() {
    let proxy = shared::proxy();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "promises-shared");
    let available = number(&device.connack.properties, property::SHARED_AVAILABLE) != Some(0);
    let codes = device.subscribe_with(&Vec::new(), &[("$share/group/promises-shared", 1)]);
    // 0x9E is "Shared Subscriptions not supported".
    assert_eq!(codes, if available { [1] } else { [0x9E] });
}

#[test]
fn a_session_expiry_that_is_not_the_clients_own_is_told() {
    let proxy = Setup::new().settings("[limits]\nsession_expiry_secs_max = 60").start();
    for (asked, told) in [
        (Some(0), None),
        (Some(59), None),
        (Some(60), None),
        (Some(61), Some(60)),
        (Some(u32::MAX), Some(60)),
        (None, None),
    ] {
        let mut connect = Connect::new(Version::V5, "expiry");
        if let Some(asked) = asked {
            connect = connect.property(property::SESSION_EXPIRY, Value::Four(asked));
        }
        let connack = Device::connect_with(proxy.mqtt(), &connect).connack;
        let said = number(&connack.properties, property::SESSION_EXPIRY);
        assert!(said == told || (told.is_none() && said == asked), "asked for {asked:?}, told {said:?}");
    }
}

#[test]
fn a_keep_alive_that_is_not_the_clients_own_is_told_and_holds() {
    let proxy = Setup::new().settings("[limits]\nkeep_alive_secs_max = 1").start();
    std::thread::scope(|scope| {
        for asked in [0, 2, 60_000] {
            let address = proxy.mqtt();
            scope.spawn(move || {
                let connect = Connect::new(Version::V5, &format!("keep-alive-{asked}")).keep_alive(asked);
                let mut device = Device::connect_with(address, &connect);
                let told = number(&device.connack.properties, property::SERVER_KEEP_ALIVE);
                assert_eq!(told, Some(1), "asked for {asked}");
                assert_eq!(device.disconnect_reason(), reason::KEEP_ALIVE_TIMEOUT);
            });
        }
    });
    let device = Device::connect_with(proxy.mqtt(), &Connect::new(Version::V5, "own").keep_alive(1));
    let told = number(&device.connack.properties, property::SERVER_KEEP_ALIVE);
    assert!(told.is_none_or(|told| told == 1), "{told:?}");
}

/// Refused clients of these Maximum Packet Sizes get no larger CONNACK.
fn refuse_within(sizes: std::ops::RangeInclusive<u32>) {
    let proxy = guarded("");
    for size in sizes {
        let connect =
            Connect::new(Version::V5, "small").property(property::MAXIMUM_PACKET_SIZE, Value::Four(size));
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(&connect.encode());
        for packet in wire.until_close() {
            assert!(packet.body.len() + 2 <= size as usize, "{packet:?} is larger than {size}");
            assert!(packet.kind() == kind::CONNACK && packet.body[1] >= 0x80, "{packet:?}");
        }
    }
}

#[test]
fn a_refusal_is_not_larger_than_the_client_can_take() {
    refuse_within(5..=60);
}

#[test]
fn a_client_that_can_take_no_connack_at_all_gets_none() {
    refuse_within(1..=4);
}
