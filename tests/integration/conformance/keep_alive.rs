//! Keep Alive (chapter 3.1.2.10) and the PINGREQ that serves it (3.12).

use std::time::Duration;

use super::named;
use crate::support::device::Device;
use crate::support::packets::{self, Connect, Publish};
use crate::support::refusals::reason;
use crate::support::shared;
use crate::support::{Version, wait_for};

/// A client with a Keep Alive of one second and a Will that tells of its end.
fn brief(version: Version, name: &str) -> Connect {
    let name = named(version, name);
    Connect::new(version, &name).keep_alive(1).will(&format!("{name}/will"), "cut off")
}

/// Waits for the end of a connection that fell silent.
fn expect_timeout(device: &mut Device, version: Version) {
    if version.is_v5() {
        assert_eq!(device.disconnect_reason(), reason::KEEP_ALIVE_TIMEOUT);
    } else {
        device.wire.expect_close();
    }
}

in_both_versions! {
    fn each_pingreq_gets_its_pingresp(version: Version) {
        let proxy = shared::proxy();
        let mut device = Device::connect(proxy.mqtt(), version, &named(version, "pings"));
        device.wire.send(&packets::PINGREQ.repeat(100));
        for _ in 0..100 {
            device.wire.expect(&packets::PINGRESP);
        }
        // Nothing is left over: the next answer belongs to the next question.
        device.wire.send(&packets::unsubscribe(version, 1, &["pings"]));
        assert_eq!(device.wire.packet().id(), 1);
    }

    fn a_silent_client_is_cut_off_as_if_the_network_had_failed(version: Version) {
        let proxy = shared::proxy();
        let mut witness = Device::connect(proxy.mqtt(), version, &named(version, "silent-witness"));
        witness.subscribe(&named(version, "silent") , 1);
        witness.subscribe(&format!("{}/will", named(version, "silent")), 1);
        // Its own Keep Alive holds although no CONNACK speaks of one; a Keep Alive of 0 never ends.
        let connect = Connect { clean: false, ..brief(version, "silent").persistent() };
        let mut silent = Device::connect_with(proxy.mqtt(), &connect);
        let mut endless =
            Device::connect_with(proxy.mqtt(), &Connect::new(version, &named(version, "endless")).keep_alive(0));
        silent.subscribe(&named(version, "silent"), 1);
        expect_timeout(&mut silent, version);
        assert_eq!(witness.receive().text(), "cut off");
        // The Session is as it would be after any other loss of the connection.
        let mut back = Device::connect_with(proxy.mqtt(), &connect);
        assert!(back.connack.session_present);
        witness.say(&named(version, "silent"), "still here", 1);
        assert_eq!(back.receive().text(), "still here");
        endless.ping();
    }

    fn any_packet_keeps_the_connection_alive(version: Version) {
        let proxy = shared::proxy();
        let address = proxy.mqtt();
        let topic = named(version, "alive");
        let says: [fn(&mut Device, Version, &str); 5] = [
            |device, _, _| device.ping(),
            |device, version, topic| device.wire.send(&Publish::new(topic, "m").encode(version)),
            |device, _, topic| device.say(topic, "m", 2),
            |device, _, topic| device.subscribe(topic, 0),
            |device, _, topic| device.unsubscribe(topic),
        ];
        let start = std::time::Instant::now();
        std::thread::scope(|scope| {
            for (number, say) in says.into_iter().enumerate() {
                let topic = format!("{topic}/{number}");
                scope.spawn(move || {
                    let mut device = Device::connect_with(address, &Connect::new(version, &topic).keep_alive(1));
                    while start.elapsed() < Duration::from_millis(2_200) {
                        std::thread::sleep(Duration::from_millis(500));
                        say(&mut device, version, &topic);
                    }
                    device.ping();
                });
            }
        });
    }

    fn a_client_that_does_not_even_read_is_cut_off(version: Version) {
        let proxy = shared::proxy();
        let topic = named(version, "deaf-mute");
        let mut deaf = Device::connect_with(proxy.mqtt(), &brief(version, "deaf-mute"));
        deaf.subscribe(&topic, 0);
        let mut witness = Device::connect(proxy.mqtt(), version, &format!("{topic} witness"));
        witness.subscribe(&format!("{topic}/will"), 1);
        // More than the buffers of both sides hold.
        witness.publish_all((0..200).map(|_| Publish::new(&topic, vec![b'x'; 100_000])));
        assert_eq!(witness.receive().text(), "cut off");
    }

    fn what_the_client_receives_does_not_keep_it_alive(version: Version) {
        let proxy = shared::proxy();
        let connect = brief(version, "listens");
        let topic = named(version, "listens");
        let mut listener = Device::connect_with(proxy.mqtt(), &connect);
        listener.subscribe(&topic, 0);
        let mut witness = Device::connect(proxy.mqtt(), version, &named(version, "listens-witness"));
        witness.subscribe(&format!("{topic}/will"), 1);
        let will = wait_for("the listener is cut off", || {
            witness.say(&topic, "m", 0);
            std::thread::sleep(Duration::from_millis(50));
            witness.inbox_after_ping().pop()
        });
        assert_eq!(will, "cut off");
        listener.wait_closed();
    }
}

/// A client that sends a PUBLISH byte by byte and never to its end.
fn trickle(version: Version) {
    let proxy = shared::proxy();
    let connect = brief(version, "trickles");
    let mut witness = Device::connect(proxy.mqtt(), version, &named(version, "trickles-witness"));
    witness.subscribe(&format!("{}/will", named(version, "trickles")), 1);
    let mut device = Device::connect_with(proxy.mqtt(), &connect);
    // A PUBLISH of 100,000 bytes, of which one comes now and then.
    device.wire.send(&[0x30, 0xA0, 0x8D, 0x06, 0, 1, b't']);
    let will = wait_for("the trickling client is cut off", || {
        device.wire.try_send(b"x");
        std::thread::sleep(Duration::from_millis(200));
        witness.inbox_after_ping().pop()
    });
    assert_eq!(will, "cut off");
}

#[test]
fn bytes_that_never_become_a_packet_do_not_keep_a_3_1_1_client_alive() {
    trickle(Version::V4);
}

#[test]
fn bytes_that_never_become_a_packet_do_not_keep_a_5_0_client_alive() {
    trickle(Version::V5);
}
