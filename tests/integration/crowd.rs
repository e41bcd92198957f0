//! Many connections: thousands that are idle, that come and go, that take each other's place, and a hundred of which
//! one reads nothing.

mod files;
mod idle;
mod one_slow;
mod rush;
mod short_lived;
mod takeovers;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::support::proxy::Proxy;
use crate::support::wait_until;

/// One crowd at a time: together they would need more files, ports and patience than a small machine has.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits until no other crowd is there.
fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the metrics count so many connections, sessions and subscriptions.
fn wait_counted(proxy: &Proxy, connections: usize, sessions: usize, subscriptions: usize) {
    let rest = proxy.rest();
    let wanted = [connections, sessions, subscriptions].map(|count| count as f64);
    let what = format!("{connections} connections, {sessions} sessions, {subscriptions} subscriptions");
    wait_until(&what, || {
        let metrics = ["mqtt_active_connections", "mqtt_sessions", "mqtt_subscriptions"];
        metrics.map(|name| rest.metric(name, &[])) == wanted
    });
}

/// Nothing went wrong that the proxy would speak of.
fn assert_quiet(proxy: &Proxy) {
    let log = proxy.log();
    let bad = log.lines().find(|line| line.contains("panicked") || line.contains(" ERROR "));
    assert_eq!(bad, None, "the log of the proxy has an error");
}
