//! How a broker that is busy is tried again: as often as its definition says, and so it is found soon.

use serde_json::json;

use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::proxy::Proxy;
use crate::support::rest::local_broker;
use crate::support::{Version, wait_until};

in_both_versions! {
    fn a_broker_that_is_busy_is_tried_again_and_found(version: Version) {
        let keeper = Keeper::in_mood(Mood::Refusing);
        let proxy = Proxy::start();
        let mut definition = local_broker("busy", keeper.port(), version);
        definition["retry_floor_ms"] = json!(10);
        definition["retry_ceiling_ms"] = json!(50);
        let id = proxy.rest().add(&definition);
        // With the usual ceiling of half a minute this would not come to pass.
        wait_until("it was tried twenty times", || keeper.attempts() >= 20);
        Device::connect(proxy.mqtt(), version, "device").say("t", "m", 2);
        keeper.set_mood(Mood::Prompt);
        keeper.wait_text("m");
        proxy.rest().wait_connected(&id);
    }
}
