//! Connections that come for a moment, thousands of them.

use std::thread;

use crate::support::Version;
use crate::support::device::Device;
use crate::support::proxy::Proxy;

use super::{alone, assert_quiet, wait_counted};

const THREADS: usize = 4;

/// How many connections each thread makes, one after the other.
const CONNECTIONS: usize = 1_250;

/// What is connected and gone before memory is measured: buffers and caches have their size by then.
const WARM_UP: usize = 125;

/// How much more memory may be resident afterwards; most of it are the stored messages themselves.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

#[test]
fn five_thousand_short_connections_are_all_answered_and_leave_nothing() {
    let _alone = alone();
    let proxy = Proxy::start();
    come_and_go(&proxy, "warm-up", WARM_UP);
    wait_counted(&proxy, 0, 0, 0);
    let before = proxy.resident_kib();

    come_and_go(&proxy, "short", CONNECTIONS);
    wait_counted(&proxy, 0, 0, 0);
    let after = proxy.resident_kib();
    eprintln!("{} short connections: {before} KiB resident before, {after} KiB after", THREADS * CONNECTIONS);
    assert!(after < before + GROWTH_KIB_MAX, "{before} KiB resident before, {after} KiB after");

    let all = (THREADS * (WARM_UP + CONNECTIONS)) as f64;
    let rest = proxy.rest();
    for name in ["mqtt_connections_total", "mqtt_connects_received_total", "mqtt_messages_received_total"] {
        assert_eq!(rest.metric(name, &[]), all, "{name}");
    }
    assert_eq!(rest.metric("mqtt_messages_delivered_total", &[]), all);
    assert_eq!(rest.metric("mqtt_connections_refused_total", &[]), 0.0);
    assert_quiet(&proxy);
}

/// Each client hears itself, and leaves.
fn come_and_go(proxy: &Proxy, name: &str, count: usize) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for n in 0..count {
                    let client_id = format!("{name}-{thread}-{n}");
                    let mut device = Device::connect(proxy.mqtt(), Version::BOTH[n % 2], &client_id);
                    device.subscribe(&client_id, 1);
                    device.say(&client_id, &client_id, 1);
                    assert_eq!(device.receive().text(), client_id);
                    device.disconnect();
                }
            });
        }
    });
}
