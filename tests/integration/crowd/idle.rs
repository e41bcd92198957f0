//! As many connections as the proxy takes by default, each with one subscription and nothing to do.

use std::net::SocketAddr;
use std::ops::Range;
use std::thread;

use crate::support::device::Device;
use crate::support::packets::{self, Connack, Connect, DISCONNECT, PINGREQ, PINGRESP, Publish, kind};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wire::{Seen, Wire};
use crate::support::{DEADLINE, Version, wait_for};

use super::{alone, assert_quiet, wait_counted};

/// The default of `limits.connections_max`.
const CONNECTIONS_MAX: usize = 15_000;

/// Fewer are no crowd.
const CONNECTIONS_MIN: usize = 4_000;

/// Files that are left for the tests beside this one, or for the proxy itself.
const FILES_BESIDE: u64 = 1_000;

/// How many clients wait for the same answer at a time: fewer than what the kernel lets wait for the listener.
const WAVE: usize = 250;

/// How many threads the clients share.
const THREADS: usize = 2;

/// The memory that a connection with one subscription may take, in KiB; it is far less.
const CONNECTION_KIB_MAX: u64 = 16;

/// What half of the clients subscribes to; each of the others has a topic of its own.
const COMMON: &str = "crowd/all";

const SERVER_BUSY: u8 = 0x89;
const SERVER_UNAVAILABLE: u8 = 3;

#[test]
fn fifteen_thousand_idle_connections_are_served_counted_and_bounded() {
    let _alone = alone();
    let (proxy, clients) = start();
    let before = proxy.resident_kib();
    let mut publisher = Device::connect(proxy.mqtt(), Version::V5, "publisher");
    let mut crowd = Crowd::connect(proxy.mqtt(), clients);
    wait_counted(&proxy, clients + 1, clients + 1, clients);
    let status = proxy.rest().status();
    assert_eq!(status["connected_clients"], clients + 1, "{status}");
    let each = proxy.resident_kib().saturating_sub(before) * 1024 / clients as u64;
    eprintln!("{clients} idle connections with one subscription: {each} bytes of resident memory each");
    assert!(each < CONNECTION_KIB_MAX * 1024, "{each} bytes each");

    publisher.say(COMMON, COMMON, 1);
    let own = (0..clients).filter(|n| !is_common(*n)).map(own_topic);
    publisher.publish_all(own.map(|topic| Publish::new(&topic, &topic).qos(1)));
    crowd.each_gets_its_message();
    crowd.some_get_a_pong();

    assert_full(&proxy);
    let left = crowd.wires.pop().expect("there is a crowd");
    leave_all(vec![left]);
    let last = wait_for("one that left makes room", || {
        let device = Device::try_connect(proxy.mqtt(), &Connect::new(Version::V4, "last"));
        (device.connack.code == 0).then_some(device)
    });
    assert_full(&proxy);
    wait_counted(&proxy, clients + 1, clients + 1, clients - 1);

    last.disconnect();
    publisher.disconnect();
    leave_all(crowd.wires);
    wait_counted(&proxy, 0, 0, 0);
    let after = proxy.resident_kib();
    eprintln!("{before} KiB resident before them, {after} KiB after");
    assert_quiet(&proxy);
}

/// A proxy that takes as many connections as the files of this machine allow, and how many clients that is beside the
/// one that publishes.
fn start() -> (Proxy, usize) {
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("the limit of open files can be read");
    let allowed = usize::try_from(files.saturating_sub(FILES_BESIDE)).unwrap_or(usize::MAX);
    if allowed >= CONNECTIONS_MAX {
        return (Setup::new().start(), CONNECTIONS_MAX - 1);
    }
    assert!(allowed >= CONNECTIONS_MIN, "{files} open files are too few: raise the limit (ulimit -n)");
    eprintln!("only {files} files may be open here: {allowed} connections instead of {CONNECTIONS_MAX}");
    (Setup::new().settings(&format!("[limits]\nconnections_max = {allowed}")).start(), allowed - 1)
}

/// There is no place for one more client, of either version.
fn assert_full(proxy: &Proxy) {
    for (version, code) in [(Version::V4, SERVER_UNAVAILABLE), (Version::V5, SERVER_BUSY)] {
        let mut device = Device::try_connect(proxy.mqtt(), &Connect::new(version, "one-too-many"));
        assert_eq!(device.connack.code, code, "the CONNACK of {version:?}");
        assert!(!device.connack.session_present);
        device.wire.expect_close();
    }
}

fn version_of(n: usize) -> Version {
    Version::BOTH[n % 2]
}

/// Of both versions some.
fn is_common(n: usize) -> bool {
    (n / 2).is_multiple_of(2)
}

fn own_topic(n: usize) -> String {
    format!("crowd/{n}")
}

fn topic_of(n: usize) -> String {
    if is_common(n) { COMMON.to_owned() } else { own_topic(n) }
}

/// The clients, by their number.
struct Crowd {
    wires: Vec<Wire>,
}

impl Crowd {
    /// Connects and subscribes all of them, in waves.
    fn connect(address: SocketAddr, count: usize) -> Crowd {
        let share = count.div_ceil(THREADS);
        let shares = (0..THREADS).map(|thread| thread * share..((thread + 1) * share).min(count));
        let wires = thread::scope(|scope| {
            let threads: Vec<_> =
                shares.map(|numbers| scope.spawn(move || connect_all(address, numbers))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("all of them connect")).collect()
        });
        Crowd { wires }
    }

    /// Each has one message, the one that it asked for.
    fn each_gets_its_message(&mut self) {
        for (n, wire) in self.wires.iter_mut().enumerate() {
            let message = Publish::decode(&wire.packet(), version_of(n));
            assert_eq!((&message.topic, message.text(), message.qos), (&topic_of(n), topic_of(n), 0));
        }
    }

    /// One in a hundred asks whether somebody is there; nothing else comes before the answer.
    fn some_get_a_pong(&mut self) {
        for wire in self.wires.iter_mut().step_by(100) {
            wire.send(&PINGREQ);
            wire.expect(&PINGRESP);
        }
    }
}

fn connect_all(address: SocketAddr, numbers: Range<usize>) -> Vec<Wire> {
    let mut wires = Vec::with_capacity(numbers.len());
    for start in numbers.clone().step_by(WAVE) {
        wires.extend(connect_wave(address, start..(start + WAVE).min(numbers.end)));
    }
    wires
}

/// All say CONNECT before the first one looks for its answer; so with SUBSCRIBE.
fn connect_wave(address: SocketAddr, numbers: Range<usize>) -> Vec<Wire> {
    let opened = numbers.clone().map(|n| {
        let mut wire = Wire::open(address);
        let connect = Connect::new(version_of(n), &format!("idle-{n}")).keep_alive(600);
        wire.send(&connect.encode());
        wire
    });
    let mut wires: Vec<Wire> = opened.collect();
    for (n, wire) in numbers.clone().zip(&mut wires) {
        let connack = Connack::decode(&wire.packet(), version_of(n));
        assert_eq!((connack.code, connack.session_present), (0, false), "client {n}");
        wire.send(&packets::subscribe(version_of(n), 1, &Vec::new(), &[(&topic_of(n), 0)]));
    }
    for (n, wire) in numbers.zip(&mut wires) {
        let suback = wire.packet();
        assert_eq!((suback.kind(), suback.id(), suback.codes(version_of(n))), (kind::SUBACK, 1, vec![0]));
    }
    wires
}

/// All say DISCONNECT, and each sees its connection closed with nothing before it.
fn leave_all(mut wires: Vec<Wire>) {
    for wire in &mut wires {
        wire.send(&DISCONNECT);
    }
    for (n, wire) in wires.iter_mut().enumerate() {
        assert_eq!(wire.look(DEADLINE), Seen::Closed, "client {n}");
    }
}
