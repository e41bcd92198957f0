//! What one member finished stays finished when another one takes over, even if the proxy dies right after.

use super::{group, member};
use crate::support::device::Device;
use crate::support::mosquitto::reserve_port;
use crate::support::packets::Publish;
use crate::support::proxy::Proxy;
use crate::support::scripted::Scripted;
use crate::support::{Version, wait_until};

fn say(proxy: &Proxy, version: Version, texts: &[&str], qos: u8) {
    let messages = texts.iter().map(|text| Publish::new("t", text).qos(qos));
    Device::connect(proxy.mqtt(), version, "device").publish_all(messages.collect::<Vec<_>>());
}

in_both_versions! {
    fn a_crash_after_a_switch_brings_a_member_nothing_that_another_one_acknowledged(version: Version) {
        let preferred = reserve_port();
        let other = Scripted::listen();
        let mut proxy = Proxy::start();
        proxy.rest().add(&member("preferred", preferred, version, 0));
        proxy.rest().add(&member("other", other.port(), version, 1));
        // A Session of a member that joins is forgotten before anything goes there.
        other.welcome(false).wait_closed();
        let mut link = other.welcome(false);
        say(&proxy, version, &["stuck"], 2);
        assert_eq!(link.publish().text(), "stuck");
        say(&proxy, version, &["a", "b", "c"], 1);
        for text in ["a", "b", "c"] {
            assert_eq!(link.take().text(), text);
        }
        // One that is not acknowledged keeps the cursor where it is.
        wait_until("three are acknowledged", || group(&proxy.rest())["in_flight"] == 1);
        let preferred = Scripted::listen_on(preferred);
        link.cut();
        drop(other);
        let mut link = preferred.welcome(false);
        say(&proxy, version, &["new"], 1);
        let texts = |messages: Vec<Publish>| messages.iter().map(Publish::text).collect::<Vec<_>>();
        assert_eq!(texts(link.publishes(2)), ["stuck", "new"]);
        link.cut();
        proxy.kill_and_restart();
        let mut link = preferred.welcome(true);
        say(&proxy, version, &["end"], 1);
        assert_eq!(texts(link.publishes(3)), ["stuck", "new", "end"]);
    }
}
