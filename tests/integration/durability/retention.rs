//! The room that the log may take on disk, and what a broker may keep in it: who is over the bound loses the oldest
//! messages, which are counted for it and for nobody else.

use serde_json::json;

use super::{add_keeper, connect_keeper, device, dropped, publish};
use crate::support::keeper::{Keeper, Mood};
use crate::support::log_files::{largest_file, log_bytes};
use crate::support::proxy::{Proxy, Setup};
use crate::support::{Version, assert_same, numbered, wait_until};

const SEGMENT_BYTES: u64 = 65_536;
const QUOTA_BYTES: u64 = 1_048_576;

fn kilobytes(count: usize) -> Vec<String> {
    numbered(&"x".repeat(1_000), count)
}

/// The numbers at the end of [`kilobytes`].
fn numbers(texts: &[String]) -> Vec<usize> {
    let number = |text: &String| text.rsplit('-').next()?.parse().ok();
    texts.iter().filter_map(number).collect()
}

/// Of `count` messages the last ones have arrived, in order and without a gap.
fn assert_newest(arrived: &[String], count: usize) {
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for number in numbers(arrived) {
        match stretches.last_mut().filter(|(_, end)| *end == number) {
            Some((_, end)) => *end += 1,
            None => stretches.push((number, number + 1)),
        }
    }
    let is_newest = matches!(stretches[..], [(_, end)] if end == count) || (arrived.is_empty());
    assert!(is_newest, "the newest of {count} were to come without a gap; these came: {stretches:?}");
}

fn with_quota(more: &str) -> Proxy {
    let bounds = format!("segment_bytes = {SEGMENT_BYTES}\nretention_bytes_max = {QUOTA_BYTES}");
    Setup::new().settings(&format!("[log]\nhead_bytes_max = 1048576\n{bounds}\n{more}")).start()
}

#[test]
fn the_files_stay_below_their_quota_and_the_oldest_messages_go_first() {
    let (steady, absent) = (Keeper::start(), Keeper::away());
    let mut proxy = with_quota("");
    let steady_id = connect_keeper(&proxy, "steady", &steady, Version::V5);
    let absent_id = add_keeper(&proxy, "absent", &absent, Version::V5, &json!({}));
    let texts = kilobytes(4_000);
    let mut sender = device(&proxy, Version::V5);
    for part in texts.chunks(100) {
        publish(&mut sender, "t", part, 1);
        let (bytes, largest) = (log_bytes(&proxy.data()), largest_file(&proxy.data()));
        assert!(bytes <= QUOTA_BYTES + largest, "the log takes {bytes} bytes, its largest file {largest}");
        assert!(largest <= 2 * SEGMENT_BYTES, "files are of about the size that was asked for");
    }
    proxy.rest().wait_caught_up(&steady_id);
    assert_same(&steady.texts_on("t"), &texts, "the steady broker");
    wait_until("4 MB do not fit into 1 MiB", || dropped(&proxy, &absent_id) > 2_500);
    assert_eq!(dropped(&proxy, &steady_id), 0, "the steady broker lost nothing");
    let lost = dropped(&proxy, &absent_id);
    let metric = proxy.rest().metric("mqtt_messages_dropped_total", &["broker=\"absent\""]);
    assert!((metric - lost as f64).abs() < 0.5, "the metric says {metric}, the API {lost}");

    proxy.kill_and_restart();
    absent.set_mood(Mood::Prompt);
    proxy.rest().wait_connected(&absent_id);
    proxy.rest().wait_caught_up(&absent_id);
    let arrived = absent.texts_on("t");
    assert_newest(&arrived, texts.len());
    assert_eq!(arrived.len() as u64 + lost, 4_000, "every message arrived or was counted as dropped");
}

#[test]
fn a_bound_of_one_broker_costs_only_that_broker() {
    let (bounded, unbounded) = (Keeper::away(), Keeper::away());
    let proxy = Setup::new().settings("[log]\nsegment_bytes = 65536").start();
    let fields = json!({"queue_bytes_max": 200_000, "on_full": "drop_oldest"});
    let bounded_id = add_keeper(&proxy, "bounded", &bounded, Version::V4, &fields);
    let unbounded_id = add_keeper(&proxy, "unbounded", &unbounded, Version::V4, &json!({}));
    let texts = kilobytes(1_000);
    publish(&mut device(&proxy, Version::V4), "t", &texts, 1);
    wait_until("1 MB does not fit into 200,000 bytes", || dropped(&proxy, &bounded_id) > 700);
    for keeper in [&bounded, &unbounded] {
        keeper.set_mood(Mood::Prompt);
    }
    unbounded.wait_count(1_000);
    proxy.rest().wait_connected(&bounded_id);
    proxy.rest().wait_caught_up(&bounded_id);
    assert_same(&unbounded.texts_on("t"), &texts, "the broker without a bound");
    assert_eq!(dropped(&proxy, &unbounded_id), 0);
    let arrived = bounded.texts_on("t");
    assert!(arrived.len() >= 100, "it keeps what is allowed, and not only {}", arrived.len());
    assert_newest(&arrived, 1_000);
    assert_eq!(arrived.len() as u64 + dropped(&proxy, &bounded_id), 1_000, "each arrived or is counted");
}

#[test]
fn files_that_nobody_needs_go_away() {
    let keeper = Keeper::start();
    let proxy = Setup::new().settings("[log]\nsegment_bytes = 65536\nhistory_bytes_max = 0").start();
    let id = connect_keeper(&proxy, "keeper", &keeper, Version::V4);
    publish(&mut device(&proxy, Version::V4), "t", &kilobytes(1_000), 1);
    proxy.rest().wait_caught_up(&id);
    wait_until("a megabyte is given back", || log_bytes(&proxy.data()) <= 2 * SEGMENT_BYTES);
    assert_eq!(dropped(&proxy, &id), 0, "nothing was lost by it");
}

#[test]
fn a_broker_that_is_removed_keeps_no_files() {
    let keeper = Keeper::away();
    let proxy = Setup::new().settings("[log]\nsegment_bytes = 65536\nhistory_bytes_max = 0").start();
    let id = add_keeper(&proxy, "keeper", &keeper, Version::V4, &json!({}));
    publish(&mut device(&proxy, Version::V4), "t", &kilobytes(1_000), 1);
    wait_until("a megabyte is stored", || log_bytes(&proxy.data()) > 900_000);
    assert_eq!(proxy.rest().delete(&format!("/api/brokers/{id}")).status, 204);
    wait_until("a megabyte is given back", || log_bytes(&proxy.data()) <= 2 * SEGMENT_BYTES);
}

#[test]
fn messages_that_are_too_old_go_and_are_counted() {
    let absent = Keeper::away();
    let proxy = with_quota("retention_secs_max = 1");
    let id = add_keeper(&proxy, "absent", &absent, Version::V4, &json!({}));
    publish(&mut device(&proxy, Version::V4), "t", &kilobytes(500), 1);
    wait_until("old files have gone", || dropped(&proxy, &id) > 0);
    absent.set_mood(Mood::Prompt);
    proxy.rest().wait_connected(&id);
    proxy.rest().wait_caught_up(&id);
    let (arrived, lost) = (absent.texts_on("t"), dropped(&proxy, &id));
    assert_newest(&arrived, 500);
    assert_eq!(arrived.len() as u64 + lost, 500, "each arrived or is counted, and not both");
}
