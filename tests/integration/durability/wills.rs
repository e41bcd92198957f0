//! Wills across the death of the process: who comes back in time loses nothing and alarms nobody; for who does not, the
//! Will is published.

use super::connect_keeper;
use crate::support::device::Device;
use crate::support::keeper::Keeper;
use crate::support::packets::{Connect, Value, property};
use crate::support::proxy::{Proxy, Setup};
use crate::support::{Version, wait_until};

/// A proxy whose clients have this long to come back after it died.
fn with_grace(secs: u32) -> Proxy {
    Setup::new().settings(&format!("[server]\nrestart_will_grace_secs = {secs}\n")).start()
}

/// Subscribes to `wills` for good, before the proxy dies.
fn watch(proxy: &Proxy, version: Version) {
    let mut watcher = Device::connect_with(proxy.mqtt(), &Connect::new(version, "watcher").persistent());
    watcher.subscribe("wills", 1);
    watcher.disconnect();
}

/// The subscriber of [`watch`], back again.
fn watcher(proxy: &Proxy, version: Version) -> Device {
    Device::connect_with(proxy.mqtt(), &Connect::new(version, "watcher").persistent())
}

in_both_versions! {
    fn the_will_of_a_device_that_does_not_come_back_is_published_once(version: Version) {
        let mut proxy = with_grace(1);
        watch(&proxy, version);
        let clean = Device::connect_with(proxy.mqtt(), &Connect::new(version, "clean").will("wills", "clean is gone"));
        let lasting = Connect::new(version, "lasting").persistent().will("wills", "lasting is gone");
        let lasting = Device::connect_with(proxy.mqtt(), &lasting);
        let polite = Device::connect_with(proxy.mqtt(), &Connect::new(version, "polite").will("wills", "polite is gone"));
        polite.disconnect();
        wait_until("polite has left", || proxy.rest().metric("mqtt_active_connections", &[]) == 2.0);
        proxy.rest().wait_stored();
        proxy.kill_and_restart();
        drop((clean, lasting));

        let mut watcher = watcher(&proxy, version);
        let mut wills = [watcher.receive().text(), watcher.receive().text()];
        wills.sort_unstable();
        assert_eq!(wills, ["clean is gone", "lasting is gone"]);
        watcher.disconnect();
        // Its CONNACK says that what the watcher acknowledged is stored.
        self::watcher(&proxy, version).disconnect();
        proxy.kill_and_restart();
        let mut watcher = self::watcher(&proxy, version);
        wait_until("only the lasting session is left", || proxy.rest().metric("mqtt_sessions", &[]) == 2.0);
        assert_eq!(watcher.inbox_after_ping(), Vec::<String>::new(), "not again after the next death");
    }

    fn a_device_that_comes_back_in_time_alarms_nobody(version: Version) {
        let mut proxy = with_grace(3_600);
        watch(&proxy, version);
        let lasting = Connect::new(version, "lasting").persistent().will("wills", "lasting is gone");
        let clean = Connect::new(version, "clean").will("wills", "clean is gone");
        let connected = [&lasting, &clean].map(|connect| Device::connect_with(proxy.mqtt(), connect));
        proxy.kill_and_restart();
        drop(connected);
        let lasting = Device::connect_with(proxy.mqtt(), &lasting);
        assert!(lasting.connack.session_present);
        let clean = Device::connect_with(proxy.mqtt(), &clean);
        assert!(!clean.connack.session_present);
        let mut watcher = watcher(&proxy, version);
        assert_eq!(watcher.inbox_after_ping(), Vec::<String>::new());
        lasting.cut();
        assert_eq!(watcher.receive().text(), "lasting is gone", "its Will of now counts");
        clean.cut();
        assert_eq!(watcher.receive().text(), "clean is gone");
    }

    fn an_orderly_stop_publishes_the_wills_and_a_restart_does_not_again(version: Version) {
        let mut proxy = with_grace(0);
        watch(&proxy, version);
        let lasting = Connect::new(version, "lasting").persistent().will("wills", "lasting is gone");
        let clean = Connect::new(version, "clean").will("wills", "clean is gone");
        let connected = [&lasting, &clean].map(|connect| Device::connect_with(proxy.mqtt(), connect));
        proxy.stop_and_restart();
        drop(connected);
        let mut watcher = watcher(&proxy, version);
        let mut wills = [watcher.receive().text(), watcher.receive().text()];
        wills.sort_unstable();
        assert_eq!(wills, ["clean is gone", "lasting is gone"]);
        watcher.disconnect();
        // Its CONNACK says that what the watcher acknowledged is stored.
        self::watcher(&proxy, version).disconnect();
        proxy.kill_and_restart();
        assert_eq!(self::watcher(&proxy, version).inbox_after_ping(), Vec::<String>::new());
    }
}

in_both_versions! {
    fn the_will_of_a_device_that_died_with_the_proxy_reaches_the_upstream_brokers_too(version: Version) {
        let keeper = Keeper::start();
        let mut proxy = with_grace(0);
        connect_keeper(&proxy, "site", &keeper, version);
        let device = Connect::new(version, "device").will("wills", "device is gone");
        let device = Device::connect_with(proxy.mqtt(), &device);
        proxy.kill_and_restart();
        drop(device);
        wait_until("the broker has the Will", || {
            keeper.texts_on("wills") == ["device is gone"]
        });
    }
}

#[test]
fn a_will_that_was_delayed_is_published_after_the_restart() {
    let mut proxy = with_grace(0);
    watch(&proxy, Version::V5);
    let delayed = Connect::new(Version::V5, "delayed")
        .persistent()
        .will("wills", "delayed is gone")
        .will_property(property::WILL_DELAY, Value::Four(2));
    Device::connect_with(proxy.mqtt(), &delayed).cut();
    let log_says = |proxy: &Proxy| proxy.log().contains("client delayed: connection closed");
    wait_until("the loss is noticed", || log_says(&proxy));
    proxy.kill_and_restart();
    let mut watcher = watcher(&proxy, Version::V5);
    assert_eq!(watcher.receive().text(), "delayed is gone");
}
