//! Payload Format Indicator: a payload that is said to be UTF-8, where the settings want that checked.

use super::connack;
use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{self, Connect, Publish, Value, kind, property};
use crate::support::proxy::{Proxy, Setup};

const INVALID: u8 = 0x99;

fn checking() -> Proxy {
    Setup::new().settings("[server]\ncheck_payload_format = true").start()
}

fn said_to_be_text(payload: &[u8], qos: u8) -> Publish {
    let message = Publish::new("t", payload).qos(qos).property(property::PAYLOAD_FORMAT, Value::Byte(1));
    Publish { id: if qos > 0 { 9 } else { 0 }, ..message }
}

#[test]
fn text_that_is_none_is_refused_at_qos_1_and_2() {
    let proxy = checking();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.subscribe("t", 2);
    for (qos, answer) in [(1, kind::PUBACK), (2, kind::PUBREC)] {
        // Twice: a refused QoS 2 message leaves its identifier free.
        for _ in 0..2 {
            device.wire.send(&said_to_be_text(&[0xFF], qos).encode(Version::V5));
            let packet = device.wire.packet();
            assert_eq!((packet.kind(), packet.id(), packet.ack_reason()), (answer, 9, INVALID));
        }
        device.publish(Publish { id: 0, ..said_to_be_text("ä".as_bytes(), qos) });
        assert_eq!(device.receive().text(), "ä");
    }
    device.publish(Publish::new("t", [0xFF]).qos(1));
    assert_eq!(device.receive().payload, [0xFF], "it did not say that it is text");
}

#[test]
fn text_that_is_none_ends_the_connection_at_qos_0_behind_what_came_before() {
    let proxy = checking();
    let mut witness = Device::connect(proxy.mqtt(), Version::V5, "witness");
    witness.subscribe("t", 1);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    let bytes = [
        Publish::new("t", "before").encode(Version::V5),
        said_to_be_text(&[0xFF], 0).encode(Version::V5),
        Publish::new("t", "behind").encode(Version::V5),
    ];
    device.wire.send(&bytes.concat());
    assert_eq!(device.disconnect_reason(), INVALID);
    assert_eq!(witness.receive().text(), "before");
    witness.say("t", "end", 1);
    assert_eq!(witness.receive().text(), "end");
}

#[test]
fn a_will_that_is_no_text_is_refused() {
    let proxy = checking();
    let connect = |payload: &[u8]| {
        let mut connect = Connect::new(Version::V5, "d")
            .will("w", "")
            .will_property(property::PAYLOAD_FORMAT, Value::Byte(1));
        connect.will.as_mut().expect("there is a Will").payload = payload.to_vec();
        connect
    };
    let (mut wire, told) = connack(proxy.mqtt(), &connect(&[0xFF]));
    assert_eq!(told.code, INVALID);
    wire.expect_close();
    let (_wire, told) = connack(proxy.mqtt(), &connect(b"text"));
    assert_eq!(told.code, 0);
}

#[test]
fn nobody_looks_unless_the_settings_say_so() {
    let proxy = Proxy::start();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.subscribe("t", 1);
    for qos in 0..3 {
        device.publish(Publish { id: 0, ..said_to_be_text(&[0xFF], qos) });
        let message = device.receive();
        assert_eq!(message.payload, [0xFF]);
        assert_eq!(packets::number(&message.properties, property::PAYLOAD_FORMAT), Some(1));
    }
}
