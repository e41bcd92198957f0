//! The support code against mosquitto: where these fail, the other tests tell nothing.

use std::net::SocketAddr;

use crate::support::device::Device;
use crate::support::keeper::Keeper;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Connect, Publish, Value, property};
use crate::support::peers::{Peer, mosquitto_pub, mosquitto_sub};
use crate::support::receiver::{first_of_each, texts_on};
use crate::support::relay::Relay;
use crate::support::reporter::Reporter;
use crate::support::scripted::Scripted;
use crate::support::subscriber::Subscriber;
use crate::support::{Version, assert_same, numbered, wait_until};

#[test]
fn our_device_and_rumqttc_understand_each_other_over_mosquitto() {
    let broker = Mosquitto::start();
    for version in Version::BOTH {
        for qos in 0..=2 {
            let topic = format!("t/{qos}/{}", version.name());
            let mut device = Device::connect(broker.address(), version, "device");
            device.subscribe(&topic, qos);
            let peer = Peer::subscriber(broker.address(), version, "peer", &topic, qos);
            let wanted = numbered("m", 300);
            let messages: Vec<Publish> =
                wanted.iter().map(|text| Publish::new(&topic, text).qos(qos)).collect();
            // mosquitto cuts off a 3.1.1 client that has more than 20 QoS 2 messages in flight.
            for few in messages.chunks(20) {
                device.publish_all(few.to_vec());
            }
            device.say(&topic, "end", qos);
            let context = format!("{version:?} QoS {qos}");
            assert_same(&peer.texts_before("end"), &wanted, &context);
            assert_same(&device.texts_before("end"), &wanted, &context);
            peer.publish_all(&[Publish::new(&topic, "from peer").qos(qos)]);
            assert_eq!(device.receive().text(), "from peer", "{context}");
            device.disconnect();
        }
    }
}

#[test]
fn properties_pass_between_our_device_and_rumqttc() {
    let broker = Mosquitto::start();
    let peer = Peer::subscriber(broker.address(), Version::V5, "peer", "t", 1);
    let mut device = Device::connect(broker.address(), Version::V5, "device");
    let message = Publish::new("t", "x")
        .qos(1)
        .property(property::CONTENT_TYPE, Value::Text("text/plain".into()))
        .property(property::USER, Value::Pair("a".into(), "1".into()));
    device.publish(message.clone());
    device.say("t", "end", 1);
    assert_eq!(peer.before("end")[0].properties, message.properties);
}

#[test]
fn a_broker_that_was_stopped_is_back_on_the_same_port() {
    let mut broker = Mosquitto::stopped();
    broker.resume_process();
    let device = Device::connect(broker.address(), Version::V4, "device");
    broker.stop();
    device.cut();
    broker.resume_process();
    Device::connect(broker.address(), Version::V4, "device").disconnect();
}

#[test]
fn the_commands_of_mosquitto_are_there() {
    let broker = Mosquitto::start();
    let subscriber = mosquitto_sub(broker.address(), &["-t", "a/#", "-q", "1"]);
    let done = mosquitto_pub(broker.address(), &["-t", "a/b", "-m", "hello", "-q", "1"]);
    assert_eq!(done.code, Some(0), "{}", done.output);
    wait_until("the message is printed", || subscriber.output().contains("a/b 1 0 hello"));
}

#[test]
fn the_scripted_broker_reads_what_a_device_says() {
    let upstream = Scripted::listen();
    let address = ([127, 0, 0, 1], upstream.port()).into();
    for version in Version::BOTH {
        let script = std::thread::scope(|scope| {
            let device = scope.spawn(move || {
                let connect = Connect::new(version, "someone").credentials("u", "p").will("w", "gone");
                let mut device = Device::connect_with(address, &connect);
                device.subscribe("a/#", 1);
                device.say("t", "zero", 0);
                device.say("t", "one", 1);
                device.say("t", "two", 2);
                assert_eq!(device.receive().text(), "back");
                device.cut();
            });
            let mut link = upstream.welcome(false);
            assert_eq!(link.grant(), [("a/#".to_owned(), 1)]);
            let taken = [link.take(), link.take(), link.take()].map(|message| message.text());
            link.send(&Publish::new("a/b", "back"));
            link.wait_closed();
            device.join().expect("the device is content");
            (link.connect, taken)
        });
        assert_eq!(script.0, Connect::new(version, "someone").credentials("u", "p").will("w", "gone"));
        assert_eq!(script.1, ["zero", "one", "two"]);
    }
}

#[test]
fn a_reporter_and_a_keeper_lose_and_repeat_nothing_over_a_network_that_breaks() {
    for version in Version::BOTH {
        let keeper = Keeper::start();
        let relay = Relay::to(SocketAddr::from(([127, 0, 0, 1], keeper.port())), 20, 3);
        let at_relay = SocketAddr::from(([127, 0, 0, 1], relay.port()));
        let mut reporter = Reporter::new(version, "reporter", 5);
        wait_until("all cuts are made", || {
            if reporter.attach(at_relay) {
                reporter.publish(100);
            }
            relay.cuts_left() == 0
        });
        while !reporter.attach(at_relay) {}
        reporter.publish(1);
        assert!(reporter.is_content(), "everything is acknowledged");
        let arrived = keeper.messages();
        assert_same(&texts_on("reporter/2", &arrived), &reporter.texts(2), "exactly once");
        let first = first_of_each(&texts_on("reporter/1", &arrived));
        assert_same(&first, &reporter.texts(1), "at least once");
        assert!(keeper.repeats() > 0, "nothing was repeated: the test tests nothing");
        keeper.assert_no_faults("the keeper");
    }
}

#[test]
fn a_subscriber_over_a_network_that_breaks_takes_qos_2_from_mosquitto_once() {
    let broker = Mosquitto::start();
    let relay = Relay::to(broker.address(), 15, 11);
    let at_relay = SocketAddr::from(([127, 0, 0, 1], relay.port()));
    let mut subscriber = Subscriber::new(Version::V4, "subscriber", "#");
    wait_until("it is subscribed", || subscriber.attach(at_relay));
    let mut reporter = Reporter::new(Version::V4, "reporter", 5);
    assert!(reporter.attach(broker.address()), "mosquitto runs");
    reporter.publish(1_500);
    let has_everything = |arrived: &[Publish]| {
        [1, 2].iter().all(|qos| {
            first_of_each(&texts_on(&reporter.topic(*qos), arrived)).len() == reporter.texts(*qos).len()
        })
    };
    wait_until("it has everything", || {
        if subscriber.attach(at_relay) {
            subscriber.listen(|arrived| arrived.len() >= 1_500 && has_everything(arrived));
        }
        has_everything(subscriber.receiver.arrivals())
    });
    assert!(relay.cuts_left() < 15, "the network did not break: the test tests nothing");
    let arrived = subscriber.receiver.arrivals();
    assert_same(&texts_on("reporter/2", arrived), &reporter.texts(2), "exactly once");
    assert_eq!(subscriber.receiver.faults(), &[] as &[String]);
}
