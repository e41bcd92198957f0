//! What CONNACK says to a device that is let in: what it cannot know otherwise, and no more than it accepts.

use super::{connack, refusal, text};
use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{Connack, Connect, Value, find, number, property};
use crate::support::proxy::{Proxy, Setup};

fn connect() -> Connect {
    Connect::new(Version::V5, "device")
}

#[test]
fn a_property_that_says_the_default_is_left_out() {
    let settings = "[limits]\npacket_bytes_max = 268435460\nreceiving_bytes_max = 268435460\n\
                    receive_maximum = 65535\ntopic_alias_maximum = 0\n[log]\nhead_bytes_max = 268435460";
    let proxy = Setup::new().settings(settings).start();
    let (_wire, told) = connack(proxy.mqtt(), &connect());
    assert_eq!(told.properties, []);
    let proxy = Proxy::start();
    let (_wire, told) = connack(proxy.mqtt(), &connect());
    let mut said: Vec<u8> = told.properties.iter().map(|(id, _)| *id).collect();
    said.sort_unstable();
    let wanted = [property::RECEIVE_MAXIMUM, property::TOPIC_ALIAS_MAXIMUM, property::MAXIMUM_PACKET_SIZE];
    assert_eq!(said, wanted);
}

#[test]
fn what_the_proxy_overrules_is_told() {
    let settings = "[limits]\nsession_expiry_secs_max = 50\nkeep_alive_secs_max = 40";
    let proxy = Setup::new().settings(settings).start();
    let told = |connect: &Connect| {
        let (_wire, connack) = connack(proxy.mqtt(), connect);
        let number = |id| number(&connack.properties, id);
        (number(property::SESSION_EXPIRY), number(property::SERVER_KEEP_ALIVE))
    };
    let lasting = |secs| connect().property(property::SESSION_EXPIRY, Value::Four(secs));
    assert_eq!(told(&lasting(50).keep_alive(40)), (None, None));
    assert_eq!(told(&lasting(51).keep_alive(41)), (Some(50), Some(40)));
    assert_eq!(told(&connect().keep_alive(0)), (None, Some(40)));
    let (_wire, old) = connack(proxy.mqtt(), &Connect::new(Version::V4, "old").keep_alive(100));
    assert_eq!(old, Connack { session_present: false, code: 0, properties: Vec::new() });
}

#[test]
fn response_information_is_told_to_who_asks() {
    let proxy = Setup::new().settings("[server]\nresponse_information = \"answers/{client_id}/\"").start();
    let asks = |yes| connect().property(property::REQUEST_RESPONSE_INFORMATION, Value::Byte(yes));
    let told = |connect: &Connect| {
        let (_wire, connack) = connack(proxy.mqtt(), connect);
        text(&connack.properties, property::RESPONSE_INFORMATION).map(str::to_owned)
    };
    assert_eq!(told(&asks(1)), Some("answers/device/".to_owned()));
    assert_eq!(told(&asks(0)), None);
    assert_eq!(told(&connect()), None);
    let nameless = |id: &str| Connect { client_id: id.to_owned(), ..asks(1) };
    assert_eq!(told(&nameless("a+b")), None, "no topic has a wildcard");
    let (_wire, connack) = connack(proxy.mqtt(), &nameless(""));
    let assigned = text(&connack.properties, property::ASSIGNED_CLIENT_ID).expect("an identifier");
    let wanted = format!("answers/{assigned}/");
    assert_eq!(text(&connack.properties, property::RESPONSE_INFORMATION), Some(wanted.as_str()));
    let silent = Proxy::start();
    let (_wire, connack) = super::connack(silent.mqtt(), &asks(1));
    assert_eq!(find(&connack.properties, property::RESPONSE_INFORMATION), None);
}

#[test]
fn connack_is_never_longer_than_the_device_accepts() {
    let settings = "[server]\nresponse_information = \"answers/\"\n[limits]\nkeep_alive_secs_max = 9\n";
    let proxy = Setup::new().settings(settings).start();
    let accepts = |bytes| {
        connect()
            .property(property::REQUEST_RESPONSE_INFORMATION, Value::Byte(1))
            .property(property::MAXIMUM_PACKET_SIZE, Value::Four(bytes))
    };
    // 5 bytes, Server Keep Alive 3, Receive Maximum 3, Maximum Packet Size 5, Topic Alias Maximum 3, Response
    // Information 11.
    let told = |bytes| {
        let (_wire, connack) = connack(proxy.mqtt(), &accepts(bytes));
        assert!(connack.encode(Version::V5).len() <= bytes as usize);
        let has = |id| find(&connack.properties, id).is_some();
        (connack.code, has(property::RESPONSE_INFORMATION), has(property::TOPIC_ALIAS_MAXIMUM))
    };
    assert_eq!(told(30), (0, true, true));
    assert_eq!(told(29), (0, false, true));
    assert_eq!(told(18), (0, false, false));
    assert_eq!(told(8), (0, false, false));
    assert_eq!(told(7), (0x95, false, false), "what remains has to be known");
    assert_eq!(told(5), (0x95, false, false));
    assert_eq!(refusal(proxy.mqtt(), &accepts(4).encode()), [], "not even a refusal fits");
    // A device that is not let in takes no session over.
    let mut first = Device::connect(proxy.mqtt(), Version::V5, "device");
    told(7);
    first.ping();
}
