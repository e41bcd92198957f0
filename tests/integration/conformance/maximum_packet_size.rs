//! The client's Maximum Packet Size (MQTT 5.0, chapter 3.1.2.11.4): nothing larger is sent, and what is too large
//! counts as sent.

use crate::support::device::Device;
use crate::support::packets::{self, Connect, Packet, Publish, Value, kind, property};
use crate::support::shared;
use crate::support::wire::{Seen, Wire};
use crate::support::{DEADLINE, Version};

const V5: Version = Version::V5;

fn limited(client_id: &str, size: u32) -> Connect {
    Connect::new(V5, client_id).property(property::MAXIMUM_PACKET_SIZE, Value::Four(size))
}

/// The length of a packet with its fixed header.
fn whole(packet: &Packet) -> usize {
    packets::frame(packet.first, &packet.body).len()
}

/// A message whose PUBLISH is as long as this.
fn sized(topic: &str, qos: u8, length: usize) -> Publish {
    let empty = Publish { id: 1, ..Publish::new(topic, "").qos(qos) }.encode(V5).len();
    let message = Publish::new(topic, vec![b'x'; length - empty]).qos(qos);
    assert_eq!(Publish { id: 1, ..message.clone() }.encode(V5).len(), length, "the length has one byte");
    message
}

#[test]
fn a_message_that_is_too_large_counts_as_sent() {
    let proxy = shared::proxy();
    for qos in 0..3 {
        let topic = format!("too-large/{qos}");
        // With a Receive Maximum of 1 a message that stays open would stop all that follow.
        let connect = limited(&topic, 100).property(property::RECEIVE_MAXIMUM, Value::Two(1));
        let mut listener = Device::connect_with(proxy.mqtt(), &connect);
        listener.subscribe(&topic, 2);
        let mut speaker = Device::connect(proxy.mqtt(), V5, &format!("{topic} speaker"));
        speaker.publish(sized(&topic, qos, 101));
        speaker.publish(sized(&topic, qos, 100));
        speaker.publish(sized(&topic, qos, 101));
        speaker.publish(Publish::new(&topic, vec![b'x'; 10_000]).qos(qos));
        speaker.say(&topic, "end", qos);
        let arrived = listener.receive_before("end");
        assert_eq!(
            arrived.iter().map(|message| message.encode(V5).len()).collect::<Vec<_>>(),
            [100],
            "QoS {qos}"
        );
    }
}

#[test]
fn what_waited_for_the_client_is_not_sent_either_when_it_is_too_large() {
    let proxy = shared::proxy();
    let unlimited = Connect::new(V5, "waits-too-large").persistent();
    let mut listener = Device::connect_with(proxy.mqtt(), &unlimited);
    listener.subscribe("waits-too-large/+", 2);
    listener.cut();
    let mut speaker = Device::connect(proxy.mqtt(), V5, "waits-too-large speaker");
    speaker.publish(sized("waits-too-large/r", 1, 120).retained());
    for qos in [1, 2] {
        speaker.publish(sized("waits-too-large/m", qos, 120));
        speaker.say("waits-too-large/m", "small", qos);
    }
    let limited = unlimited.property(property::MAXIMUM_PACKET_SIZE, Value::Four(100));
    let mut listener = Device::connect_with(proxy.mqtt(), &limited);
    assert!(listener.connack.session_present);
    listener.subscribe("waits-too-large/r", 1);
    speaker.say("waits-too-large/m", "end", 2);
    assert_eq!(listener.texts_before("end"), ["small", "small"]);
}

#[test]
fn no_connack_is_larger_than_the_client_can_take() {
    let proxy = shared::proxy();
    // The Assigned Client Identifier makes it long; where it does not fit there can be no CONNACK.
    for size in 1..=40 {
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(&limited("", size).encode());
        match wire.look(DEADLINE) {
            Seen::Packet(packet) => {
                assert!(whole(&packet) <= size as usize, "{packet:?} has more than {size} bytes")
            }
            Seen::Closed => {}
            Seen::Silence => panic!("with {size} bytes the client is left without an answer"),
        }
    }
}

#[test]
fn no_other_answer_is_larger_than_the_client_can_take() {
    let proxy = shared::proxy();
    for size in 6..=60 {
        let mut device = Device::connect_with(proxy.mqtt(), &limited("size", size));
        let mut packets = Vec::new();
        for request in [
            packets::subscribe(V5, 1, &Vec::new(), &[("size", 0)]),
            packets::ack(kind::PUBREL, 9),
            packets::unsubscribe(V5, 2, &["size"]),
        ] {
            device.wire.send(&request);
            packets.push(device.wire.packet());
        }
        assert!(packets.iter().all(|packet| whole(packet) <= size as usize), "{size}: {packets:?}");
    }
}

#[test]
fn no_goodbye_is_larger_than_the_client_can_take() {
    let proxy = shared::proxy();
    for size in 6..=60 {
        let mut device = Device::connect_with(proxy.mqtt(), &limited("size-goodbye", size));
        device.wire.send(&[0x00, 0x00]);
        let packets = device.wire.until_close();
        assert!(packets.iter().all(|packet| whole(packet) <= size as usize), "{size}: {packets:?}");
        assert_eq!(packets.len(), 1, "a DISCONNECT without its Reason String fits");
    }
}
