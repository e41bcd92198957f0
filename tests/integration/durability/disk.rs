//! A disk that is full: nothing is acknowledged that could be lost, forwarding goes on from memory, and everybody is
//! told. With room again it all goes on by itself.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{add_keeper, connect_keeper, device};
use crate::support::device::Device;
use crate::support::keeper::{Keeper, Mood};
use crate::support::packets::Publish;
use crate::support::proxy::{Proxy, Setup};
use crate::support::receiver::first_of_each;
use crate::support::reporter::Reporter;
use crate::support::tmpfs::Tmpfs;
use crate::support::wire::Seen;
use crate::support::{SILENCE, Version, assert_same, wait_until};

const SETTINGS: &str = "[log]\nsegment_bytes = 65536\nsync_interval_ms = 50";

/// Whether the proxy says that it cannot store.
fn is_failing(proxy: &Proxy) -> bool {
    let reply = proxy.rest().get("/ready");
    let failing = reply.status == 503;
    if failing {
        let body = reply.json().to_string().to_lowercase();
        assert!(body.contains("space") || body.contains("full"), "/ready says why: {body}");
    }
    failing
}

/// Publishes until the disk is full, and is left with messages that nobody acknowledges.
fn publish_until_full(reporter: &mut Reporter, proxy: &Proxy, disk: &Tmpfs) {
    disk.fill_up(200 * 1_024);
    let is_full = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The reporter publishes meanwhile, and it may be that nothing says stop.
            let full = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                wait_until("the disk is full", || is_failing(proxy));
            }));
            is_full.store(true, Ordering::Relaxed);
            full.expect("the disk becomes full, and /ready says so");
        });
        reporter.publish_until(1_000, || is_full.load(Ordering::Relaxed));
    });
}

#[test]
fn on_a_full_disk_nothing_is_acknowledged_that_could_be_lost_and_the_rest_goes_on() {
    let Some(disk) = Tmpfs::mount(4) else { return };
    let (steady, absent) = (Keeper::start(), Keeper::away());
    let mut proxy = Setup::new().data_in(disk.path()).settings(SETTINGS).start();
    connect_keeper(&proxy, "steady", &steady, Version::V5);
    let absent_id = add_keeper(&proxy, "absent", &absent, Version::V4, &json!({}));
    let mut reporter = Reporter::new(Version::V5, "reporter", 1).payload_bytes(1_000);
    assert!(reporter.attach(proxy.mqtt()), "the proxy runs");
    assert!(!is_failing(&proxy), "there is room");
    publish_until_full(&mut reporter, &proxy, &disk);

    assert!(!reporter.is_content(), "some wait for their acknowledgements");
    assert!(proxy.rest().metric("mqtt_log_failing", &[]) > 0.5, "mqtt_log_failing is 1");
    let mut witness = device(&proxy, Version::V4);
    witness.say("live", "qos 0", 0);
    witness.wire.send(&Publish { id: 1, ..Publish::new("live", "qos 1").qos(1) }.encode(Version::V4));
    steady.wait_text("qos 0");
    steady.wait_text("qos 1");
    assert_eq!(witness.wire.look(SILENCE), Seen::Silence, "it is forwarded and not acknowledged");
    assert_eq!(proxy.rest().get("/health").status, 200, "the process is well");

    disk.make_room();
    wait_until("/ready says that all is well", || !is_failing(&proxy));
    wait_until("the metric is 0", || proxy.rest().metric("mqtt_log_failing", &[]) < 0.5);
    assert_eq!(witness.wire.packet().id(), 1, "the missing acknowledgement comes");
    reporter.publish(20);
    assert!(reporter.is_content(), "all of its acknowledgements come");

    proxy.kill_and_restart();
    absent.set_mood(Mood::Prompt);
    proxy.rest().wait_connected(&absent_id);
    proxy.rest().wait_caught_up(&absent_id);
    assert_same(&absent.texts_on("reporter/2"), &reporter.texts(2), "exactly once");
    assert_same(&first_of_each(&absent.texts_on("reporter/1")), &reporter.texts(1), "at least once");
    assert!(absent.has("qos 1"), "what was acknowledged late is there too");
}

#[test]
fn what_was_acknowledged_before_the_disk_was_full_survives_a_kill_on_the_full_disk() {
    let Some(disk) = Tmpfs::mount(4) else { return };
    let absent = Keeper::away();
    let mut proxy = Setup::new().data_in(disk.path()).settings(SETTINGS).start();
    let id = add_keeper(&proxy, "absent", &absent, Version::V4, &json!({}));
    let mut reporter = Reporter::new(Version::V4, "reporter", 2).payload_bytes(1_000);
    assert!(reporter.attach(proxy.mqtt()), "the proxy runs");
    publish_until_full(&mut reporter, &proxy, &disk);
    proxy.kill();
    disk.make_room();
    proxy.start_again();
    assert!(reporter.attach(proxy.mqtt()), "the proxy runs");
    reporter.publish(1);
    absent.set_mood(Mood::Prompt);
    proxy.rest().wait_connected(&id);
    proxy.rest().wait_caught_up(&id);
    assert_same(&absent.texts_on("reporter/2"), &reporter.texts(2), "exactly once");
    assert_same(&first_of_each(&absent.texts_on("reporter/1")), &reporter.texts(1), "at least once");
}

#[test]
fn with_the_memory_policy_a_full_disk_holds_up_nobody() {
    let Some(disk) = Tmpfs::mount(4) else { return };
    let steady = Keeper::start();
    let settings = format!("{SETTINGS}\n\n[acknowledgement]\npolicy = \"memory\"");
    let proxy = Setup::new().data_in(disk.path()).settings(&settings).start();
    connect_keeper(&proxy, "steady", &steady, Version::V4);
    disk.fill_up(100 * 1_024);
    let texts: Vec<String> = (0..600).map(|number| format!("{number:01000}")).collect();
    let mut sender = Device::connect(proxy.mqtt(), Version::V4, "sender");
    super::publish(&mut sender, "t", &texts, 1);
    wait_until("the disk is full", || is_failing(&proxy));
    super::publish(&mut sender, "t", &texts, 1);
    steady.wait_count(1_200);
    assert_same(&steady.texts_on("t"), &[texts.clone(), texts].concat(), "the steady broker");
}
