//! Few files: who has no place is told so, and the proxy keeps what it needs itself.

use crate::support::device::Device;
use crate::support::packets::Connect;
use crate::support::proxy::{Proxy, Setup};
use crate::support::{Version, wait_for};

use super::assert_quiet;

/// What is in the way to more devices than this proxy lets in.
const SERVER_BUSY: u8 = 0x89;

#[test]
fn a_low_limit_of_files_is_said_at_the_start_and_leaves_the_proxy_what_it_needs() {
    let proxy = Setup::new().files_max(200).start();
    let log = proxy.log();
    let signs = ["WARN", "limits.connections_max is 15000", "200 files", "72 devices", "ulimit -n", "15128"];
    let warned = log.lines().any(|line| signs.iter().all(|sign| line.contains(sign)));
    assert!(warned, "no line has all of {signs:?}:\n{log}");

    let connect = |n: usize| Device::connect(proxy.mqtt(), Version::BOTH[n % 2], &format!("device-{n}"));
    let mut devices: Vec<Device> = (0..72).map(connect).collect();
    for n in 0..100 {
        let late = Connect::new(Version::V5, &format!("late-{n}"));
        assert_eq!(Device::try_connect(proxy.mqtt(), &late).connack.code, SERVER_BUSY);
    }
    for device in &mut devices {
        device.say("t", "stored", 1);
    }
    assert_eq!(proxy.rest().get("/ready").status, 200);
    devices.pop();
    taken_in(&proxy, "late");
    assert_quiet(&proxy);
}

#[test]
fn nothing_is_said_where_the_files_suffice() {
    let proxy = Setup::new().files_max(200).settings("[limits]\nconnections_max = 72").start();
    assert!(!proxy.log().contains("limits.connections_max"), "{}", proxy.log());
    let devices: Vec<Device> =
        (0..72).map(|n| Device::connect(proxy.mqtt(), Version::V4, &format!("device-{n}"))).collect();
    let late = Connect::new(Version::V4, "late");
    assert_eq!(Device::try_connect(proxy.mqtt(), &late).connack.code, 3, "server unavailable");
    drop(devices);
    taken_in(&proxy, "late");
}

/// Connects once there is room.
fn taken_in(proxy: &Proxy, client_id: &str) -> Device {
    let connect = Connect::new(Version::V5, client_id);
    wait_for("there is room for one more", || {
        let device = Device::try_connect(proxy.mqtt(), &connect);
        (device.connack.code == 0).then_some(device)
    })
}
