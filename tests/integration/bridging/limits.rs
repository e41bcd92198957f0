//! Messages that a real broker would not take, or that nobody wants any more: they are kept from it and hold nothing up.

use serde_json::json;

use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Publish, Value, property};
use crate::support::peers::Peer;
use crate::support::proxy::Proxy;
use crate::support::rest::local_broker;
use crate::support::{Version, wait_until};

#[test]
fn what_a_3_1_1_broker_cuts_the_line_for_is_kept_from_it_by_a_limit_of_the_definition() {
    // A 3.1.1 broker cannot say what it bears; this one ends the connection.
    let broker = Mosquitto::start_with_setting("max_packet_size 2000");
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let mut definition = local_broker("small", broker.port(), Version::V4);
    definition["retry_floor_ms"] = json!(10);
    definition["retry_ceiling_ms"] = json!(50);
    definition["max_payload_bytes"] = json!(1_900);
    let id = rest.add(&definition);
    rest.wait_connected(&id);
    let listener = Peer::subscriber(broker.address(), Version::V4, "peer", "t", 1);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    device.say("t", "before", 1);
    device.say("t", &"x".repeat(5_000), 1);
    device.say("t", "after", 1);
    device.say("t", "end", 1);
    let got = crate::support::receiver::first_of_each(&listener.texts_before("end"));
    assert_eq!(got, ["before", "after"]);
}

#[test]
fn a_message_that_expires_while_its_broker_is_away_is_not_sent() {
    let mut broker = Mosquitto::start_with_memory();
    let proxy = Proxy::with_brokers(&[("away", broker.port(), Version::V5)]);
    let rest = proxy.rest();
    let id = rest.id_of("away");
    let mut keeper = Device::connect_with(
        broker.address(),
        &crate::support::packets::Connect::new(Version::V5, "kept").persistent(),
    );
    keeper.subscribe("t", 1);
    broker.stop();
    wait_until("the outage is seen", || rest.broker(&id)["connected"] == false);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    for (text, secs) in [("short", 1), ("long", 1_000)] {
        let message = Publish::new("t", text).qos(1);
        device.publish(message.property(property::MESSAGE_EXPIRY, Value::Four(secs)));
    }
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    broker.resume_process();
    let connect = crate::support::packets::Connect::new(Version::V5, "kept").persistent();
    let mut keeper = Device::connect_with(broker.address(), &connect);
    let message = keeper.receive();
    assert_eq!(message.text(), "long");
    let left = crate::support::packets::number(&message.properties, property::MESSAGE_EXPIRY);
    assert!(left.is_some_and(|left| left < 1_000), "the time that it waited is taken off: {left:?}");
}
