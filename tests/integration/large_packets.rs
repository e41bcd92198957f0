//! Packets far longer than a read, a chunk of the log and a file of it: from a device to local subscribers and upstream
//! brokers, also through an outage and a restart.

use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Connect, Publish};
use crate::support::proxy::Setup;
use crate::support::{Version, wait_until};

const PAYLOAD_BYTES: usize = 20_000_000;

/// A payload in which every part differs from the others.
fn payload(seed: u32) -> Vec<u8> {
    let words = (0..PAYLOAD_BYTES as u32 / 4).map(|place| (place ^ seed).wrapping_mul(2_654_435_761));
    words.flat_map(u32::to_le_bytes).collect()
}

fn assert_arrived(message: &Publish, wanted: &[u8], whose: &str) {
    let differs = message.payload.iter().zip(wanted).position(|(left, right)| left != right);
    assert_eq!((message.payload.len(), differs), (wanted.len(), None), "{whose}");
}

in_both_versions! {
    fn large_messages_reach_everybody_through_an_outage_and_a_restart(version: Version) {
        let mut broker = Mosquitto::start_with_memory();
        let mut proxy = Setup::new()
            .settings("[limits]\npacket_bytes_max = 21000000\nqueued_bytes_max = 50000000")
            // A record is longer than a file, and the head has room for little more than one.
            .settings("[log]\nhead_bytes_max = 22000000\nsegment_bytes = 65536")
            .start();
        let id = proxy.rest().add_local("broker", broker.port(), version);
        proxy.rest().wait_connected(&id);
        let keep = Connect::new(version, "keep").persistent();
        let mut at_broker = Device::connect_with(broker.address(), &keep);
        at_broker.subscribe("large", 1);
        let absent = Connect::new(version, "absent").persistent();
        let mut device = Device::connect_with(proxy.mqtt(), &absent);
        device.subscribe("large", 1);
        device.disconnect();

        let mut listener = Device::connect(proxy.mqtt(), version, "listener");
        listener.subscribe("large", 1);
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        let first = payload(1);
        speaker.publish(Publish::new("large", &first).qos(1));
        assert_arrived(&listener.receive(), &first, "a local subscriber");
        assert_arrived(&at_broker.receive(), &first, "a subscriber of the upstream broker");

        broker.stop();
        wait_until("the broker is gone", || proxy.rest().broker(&id)["state"] != "connected");
        let second = payload(2);
        speaker.publish(Publish::new("large", &second).qos(1));
        assert_arrived(&listener.receive(), &second, "a local subscriber while the broker is away");
        proxy.kill_and_restart();
        broker.resume_process();
        proxy.rest().wait_connected(&id);
        let mut at_broker = Device::connect_with(broker.address(), &keep);
        // What was acknowledged just before the kill may come once more.
        let mut arrived = at_broker.receive();
        if arrived.payload[..4] == first[..4] {
            arrived = at_broker.receive();
        }
        assert_arrived(&arrived, &second, "a subscriber of the broker that came back");
        let mut device = Device::connect_with(proxy.mqtt(), &absent);
        assert!(device.connack.session_present);
        assert_arrived(&device.receive(), &first, "a session that was away");
        assert_arrived(&device.receive(), &second, "a session that was away");
    }

    fn a_large_retained_message_is_kept_over_a_restart(version: Version) {
        let mut proxy = Setup::new()
            .settings("[limits]\npacket_bytes_max = 21000000\n[log]\nhead_bytes_max = 22000000")
            .start();
        let mut speaker = Device::connect(proxy.mqtt(), version, "speaker");
        let kept = payload(3);
        speaker.publish(Publish::new("large", &kept).qos(2).retained());
        proxy.kill_and_restart();
        let mut listener = Device::connect(proxy.mqtt(), version, "listener");
        listener.subscribe("#", 2);
        assert_arrived(&listener.receive(), &kept, "a fresh subscriber");
    }
}
