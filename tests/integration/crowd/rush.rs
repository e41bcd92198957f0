//! Many devices that come at the same moment, as they do after an outage.

use std::fs;
use std::net::TcpStream;

use crate::support::packets::{Connack, Connect};
use crate::support::proxy::Proxy;
use crate::support::wire::Wire;
use crate::support::{DEADLINE, Version};

use super::{alone, assert_quiet, wait_counted};

const DEVICES: usize = 1_000;

#[test]
fn a_thousand_devices_that_come_while_the_proxy_is_busy_wait_in_the_queue_of_the_kernel() {
    let _alone = alone();
    let proxy = Proxy::start();
    let allowed =
        fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux says how long the queue may be");
    let devices = DEVICES.min(allowed.trim().parse().expect("a number"));

    // As busy as can be: nobody is let in before all are there.
    proxy.freeze();
    let connect = |n: usize| {
        let stream = TcpStream::connect_timeout(&proxy.mqtt(), DEADLINE);
        let stream = stream.unwrap_or_else(|error| panic!("there is no room for device {n}: {error}"));
        let mut wire = Wire::over(stream);
        wire.send(&Connect::new(Version::BOTH[n % 2], &format!("device-{n}")).encode());
        wire
    };
    let mut wires: Vec<Wire> = (0..devices).map(connect).collect();
    proxy.thaw();

    for (n, wire) in wires.iter_mut().enumerate() {
        let connack = Connack::decode(&wire.packet(), Version::BOTH[n % 2]);
        assert_eq!(connack.code, 0, "device {n}");
    }
    wait_counted(&proxy, devices, devices, 0);
    drop(wires);
    wait_counted(&proxy, 0, 0, 0);
    assert_quiet(&proxy);
}
