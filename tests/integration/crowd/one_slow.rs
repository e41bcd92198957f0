//! A hundred subscribers, one of which reads nothing until everything is over.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::device::Device;
use crate::support::packets::Publish;
use crate::support::proxy::Proxy;
use crate::support::{Version, wait_until};

use super::{alone, assert_quiet, wait_counted};

/// Subscribers that read.
const READERS: usize = 99;

const MESSAGES: usize = 20_000;

const PAYLOAD_BYTES: usize = 1_024;

/// How many messages the slowest reader may be behind before the publisher waits: what a subscriber's queue holds,
/// because QoS 0 waits for nobody beyond that.
const AHEAD_MAX: usize = 4_000;

/// How many messages go out at once.
const BATCH: usize = 500;

const TOPIC: &str = "t";

#[test]
fn one_that_reads_nothing_takes_nothing_from_ninety_nine_that_do() {
    let _alone = alone();
    let proxy = Proxy::start();
    let streams = Version::BOTH.map(stream);
    let mut slow = subscriber(proxy.mqtt(), Version::V5, "slow");
    let progress: Vec<AtomicUsize> = (0..READERS).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for (n, progress) in progress.iter().enumerate() {
            let version = Version::BOTH[n % 2];
            let reader = subscriber(proxy.mqtt(), version, &format!("reader-{n}"));
            let wanted = if version.is_v5() { &streams[1] } else { &streams[0] };
            scope.spawn(move || read(reader, wanted, progress));
        }
        publish(proxy.mqtt(), &streams[0], &progress);
    });
    slow_one_has_what_was_not_dropped(&proxy, &mut slow);
    slow.disconnect();
    wait_counted(&proxy, 0, 0, 0);
    assert_quiet(&proxy);
}

fn subscriber(address: SocketAddr, version: Version, client_id: &str) -> Device {
    let mut device = Device::connect(address, version, client_id);
    device.subscribe(TOPIC, 0);
    device
}

fn message(n: usize) -> Publish {
    let mut payload = format!("{n:08}").into_bytes();
    payload.resize(PAYLOAD_BYTES, b'.');
    Publish::new(TOPIC, payload)
}

/// All messages in the bytes that a client of this version sends or gets.
fn stream(version: Version) -> Vec<u8> {
    (0..MESSAGES).flat_map(|n| message(n).encode(version)).collect()
}

/// Gets exactly these bytes, and tells how many messages are complete.
fn read(mut reader: Device, wanted: &[u8], progress: &AtomicUsize) {
    for (n, piece) in wanted.chunks(wanted.len() / MESSAGES * BATCH).enumerate() {
        let got = reader.wire.bytes(piece.len());
        assert!(
            got == piece,
            "other bytes than were published came between message {} and the next",
            n * BATCH
        );
        progress.store((n + 1) * BATCH, Ordering::Relaxed);
    }
    reader.ping();
    reader.disconnect();
}

/// Sends everything, no faster than the readers read.
fn publish(address: SocketAddr, messages: &[u8], progress: &[AtomicUsize]) {
    let mut publisher = Device::connect(address, Version::V4, "publisher");
    for (n, batch) in messages.chunks(messages.len() / MESSAGES * BATCH).enumerate() {
        wait_until("all who read are close", || {
            let slowest = progress.iter().map(|place| place.load(Ordering::Relaxed)).min();
            n * BATCH <= slowest.unwrap_or_default() + AHEAD_MAX
        });
        publisher.wire.send(batch);
    }
    publisher.ping();
    publisher.disconnect();
}

/// Now it reads: what it gets is in order and complete at first, and the rest was counted.
fn slow_one_has_what_was_not_dropped(proxy: &Proxy, slow: &mut Device) {
    let dropped =
        || proxy.rest().metric("mqtt_deliveries_dropped_total", &["reason=\"slow_client\""]) as usize;
    let all_delivered = || proxy.rest().metric("mqtt_messages_delivered_total", &[]) as usize;
    let mut numbers: Vec<usize> = Vec::new();
    wait_until("the slow one has all that was not dropped", || {
        numbers
            .extend(slow.inbox_after_ping().iter().map(|text| text[..8].parse::<usize>().expect("a number")));
        numbers.len() + dropped() == MESSAGES
    });
    eprintln!("the slow one got {} messages, {} were dropped", numbers.len(), dropped());
    assert!(numbers.is_sorted_by(|left, right| left < right), "out of order or twice");
    assert_eq!(numbers[..1_000], (0..1_000).collect::<Vec<_>>(), "the first ones had room");
    assert!(dropped() > 0, "a queue has a bound");
    assert_eq!(all_delivered(), READERS * MESSAGES + numbers.len());
}
