//! Definitions that are tried and not kept: nothing of a dry run touches a broker that runs, its session or its messages.

use serde_json::json;

use crate::support::device::Device;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::Publish;
use crate::support::proxy::Proxy;
use crate::support::rest::local_broker;
use crate::support::{Version, assert_same, numbered};

#[test]
fn trying_the_definition_of_a_running_broker_out_does_not_disturb_it() {
    let broker = Mosquitto::start();
    let proxy = Proxy::with_brokers(&[("running", broker.port(), Version::V5)]);
    let rest = proxy.rest();
    let id = rest.id_of("running");
    let mut listener = Device::connect(broker.address(), Version::V5, "listener");
    listener.subscribe("t", 2);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    let texts = numbered("m", 200);
    for few in texts.chunks(10) {
        let mut same = local_broker("running", broker.port(), Version::V5);
        same["id"] = json!(id);
        let reply = rest.post("/api/brokers/test", &same);
        assert_eq!((reply.status, &reply.json()["ok"]), (200, &json!(true)), "{}", reply.body);
        device.publish_all(few.iter().map(|text| Publish::new("t", text).qos(2)));
    }
    device.say("t", "end", 2);
    assert_same(&listener.texts_before("end"), &texts, "exactly once");
    assert_eq!(rest.broker(&id)["reconnects"], 0, "the session was not taken over");
}
