//! Brokers that are paused and resumed again and again under load: nothing is lost or repeated, and nobody else notices.

use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::packets::Publish;
use crate::support::proxy::Proxy;
use crate::support::reporter::Reporter;
use crate::support::rest::{Rest, local_broker};
use crate::support::{Version, assert_same, numbered};

fn post(rest: &Rest, id: &str, verb: &str) {
    let reply = rest.send("POST", &format!("/api/brokers/{id}/{verb}"), None);
    assert!((200..300).contains(&reply.status), "{verb}: {} {}", reply.status, reply.body);
}

in_both_versions! {
    fn a_pause_in_the_middle_of_a_burst_loses_and_repeats_nothing(version: Version) {
        let keeper = Keeper::in_mood(Mood::Slow(std::time::Duration::from_millis(1)));
        let proxy = Proxy::start();
        let rest = proxy.rest();
        let id = rest.add(&local_broker("paused", keeper.port(), version));
        rest.wait_connected(&id);
        let texts = numbered("m", 600);
        let mut device = Device::connect(proxy.mqtt(), version, "device");
        device.publish_all(texts.iter().map(|text| Publish::new("t", text).qos(2)));
        for round in 1..=10 {
            post(&rest, &id, if round % 2 == 1 { "pause" } else { "resume" });
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        keeper.set_mood(Mood::Prompt);
        rest.wait_caught_up(&id);
        assert_same(&keeper.texts_on("t"), &texts, "exactly once");
        keeper.assert_no_faults("paused and resumed");
    }
}

#[test]
fn a_hundred_pauses_of_one_broker_under_load_lose_and_repeat_nothing_anywhere() {
    let (moody, steady) = (Keeper::start(), Keeper::start());
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let id = rest.add(&local_broker("moody", moody.port(), Version::V4));
    let other = rest.add(&local_broker("steady", steady.port(), Version::V5));
    rest.wait_connected(&id);
    rest.wait_connected(&other);
    let mut reporter = Reporter::new(Version::V5, "sensor", 3);
    assert!(reporter.attach(proxy.mqtt()));
    for round in 0..200 {
        post(&rest, &id, if round % 2 == 0 { "pause" } else { "resume" });
        reporter.publish(5);
    }
    for (id, keeper) in [(&id, &moody), (&other, &steady)] {
        rest.wait_caught_up(id);
        for qos in [1, 2] {
            assert_same(&keeper.texts_on(&reporter.topic(qos)), &reporter.texts(qos), &format!("QoS {qos}"));
        }
        keeper.assert_no_faults("pauses");
        assert_eq!(rest.broker(id)["reconnects"], 0, "nobody was disconnected");
    }
}
