//! The line that the tests of bridging break, against mosquitto: where this fails, the other tests tell nothing.

use std::net::TcpStream;
use std::time::Duration;

use crate::support::device::Device;
use crate::support::faulty_link::{Direction, FaultyLink};
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::Publish;
use crate::support::wire::Seen;
use crate::support::{SILENCE, Version, assert_same, numbered};

#[test]
fn a_faulty_link_loses_nothing_but_what_it_cuts() {
    let broker = Mosquitto::start();
    let link = FaultyLink::to(broker.address());
    let address = ([127, 0, 0, 1], link.port()).into();
    let mut listener = Device::connect(broker.address(), Version::V5, "listener");
    listener.subscribe("t", 1);
    let mut device = Device::connect(address, Version::V5, "device");
    let texts = numbered("m", 90);
    let messages =
        |texts: &[String]| texts.iter().map(|text| Publish::new("t", text).qos(1)).collect::<Vec<_>>();
    device.publish_all(messages(&texts[..30]));
    link.throttle(20_000);
    link.delay(Duration::from_millis(5));
    device.publish_all(messages(&texts[30..60]));
    link.heal();

    link.silence(&[Direction::FromBroker]);
    let unanswered = Publish { id: 50_000, ..Publish::new("t", "unanswered").qos(1) };
    device.wire.send(&unanswered.encode(Version::V5));
    assert_same(&listener.texts_before("unanswered"), &texts[..60], "one direction still works");
    assert_eq!(device.wire.look(SILENCE), Seen::Silence, "the acknowledgement is held back");
    link.heal();
    device.wire.expect_ack(crate::support::packets::kind::PUBACK, 50_000);

    link.silence(&[Direction::ToBroker]);
    device.wire.send(&Publish { id: 50_001, ..unanswered }.encode(Version::V5));
    assert_eq!(listener.wire.look(SILENCE), Seen::Silence);
    link.cut();
    device.wire.expect_close();
    link.heal();
    let mut device = Device::connect(address, Version::V5, "device");
    device.publish_all(messages(&texts[60..]));
    device.say("t", "end", 1);
    assert_same(&listener.texts_before("end"), &texts[60..], "what was cut off is lost");
    link.refuse();
    device.wire.expect_close();
    let before = link.connections();
    let mut refused =
        crate::support::wire::Wire::over(TcpStream::connect(address).expect("the link listens"));
    refused.expect_close();
    assert_eq!(link.connections(), before + 1);
}
