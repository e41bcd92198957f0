//! Clients that take each other's place all the time, beside a publisher and a subscriber that must not notice.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::device::Device;
use crate::support::packets::{self, Connack, Connect, DISCONNECT, PINGREQ, Packet, Publish, kind};
use crate::support::proxy::Proxy;
use crate::support::random::Random;
use crate::support::wire::{Seen, Wire};
use crate::support::{DEADLINE, Version, assert_same, wait_until};

use super::{alone, assert_quiet, wait_counted};

const CLIENT_IDS: usize = 20;

const THREADS: usize = 8;

/// How many connections each thread makes.
const CONNECTIONS: usize = 400;

/// How many connections a thread leaves open: together more than there are Client Identifiers, so that nearly every
/// CONNECT takes a place.
const OPEN_PER_THREAD: usize = 3;

/// The most messages for the steady subscriber, should the takeovers take long.
const STEADY_MAX: usize = 60_000;

/// How many of them go out at once.
const STEADY_BATCH: usize = 50;

const SESSION_TAKEN_OVER: u8 = 0x8E;

#[test]
fn thousands_of_takeovers_leave_nothing_behind_and_disturb_nobody() {
    let _alone = alone();
    let proxy = Proxy::start();
    let address = proxy.mqtt();
    let mut steady = Device::connect(address, Version::V5, "steady");
    steady.subscribe("steady", 1);
    let mut watcher = Device::connect(address, Version::V4, "watcher");
    watcher.subscribe("load/#", 2);
    let seed = Random::announced("takeovers").next();
    let is_over = AtomicBool::new(false);
    let taken_over = AtomicUsize::new(0);

    let (acknowledged, arrived) = thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_steadily(address, &is_over));
        let hearing = scope.spawn(|| (steady.texts_before("end"), steady));
        let watching = scope.spawn(|| (watcher.texts_before("end"), watcher));
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let taken_over = &taken_over;
                scope.spawn(move || Load::new(address, number, seed).run(taken_over))
            })
            .collect();
        let loads: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::Relaxed);
        let sent = publisher.join().expect("the publisher ends well");
        Device::connect(address, Version::V4, "last").say("load/end", "end", 2);
        let (heard, steady) = hearing.join().expect("the steady subscriber ends well");
        let (arrived, watcher) = watching.join().expect("the watcher ends well");
        assert_same(&heard, &sent, "the steady subscriber");
        steady.disconnect();
        watcher.disconnect();
        let acknowledged: Vec<String> =
            loads.into_iter().flat_map(|load| load.expect("every client is answered")).collect();
        (acknowledged, arrived)
    });
    assert_none_lost_or_repeated(&acknowledged, &arrived);
    let taken_over = taken_over.into_inner();
    eprintln!("{taken_over} takeovers, {} messages acknowledged", acknowledged.len());
    assert!(taken_over > THREADS * CONNECTIONS / 2, "only {taken_over} takeovers");

    wait_until("no connection is left", || proxy.rest().metric("mqtt_active_connections", &[]) == 0.0);
    end_all_sessions(address);
    wait_counted(&proxy, 0, 0, 0);
    assert_quiet(&proxy);
}

/// Numbered messages until the takeovers are over; what it sent.
fn publish_steadily(address: SocketAddr, is_over: &AtomicBool) -> Vec<String> {
    let mut publisher = Device::connect(address, Version::V5, "publisher");
    let mut sent = Vec::new();
    while !is_over.load(Ordering::Relaxed) && sent.len() < STEADY_MAX {
        let batch: Vec<String> = (sent.len()..).take(STEADY_BATCH).map(|n| format!("m-{n}")).collect();
        publisher.publish_all(batch.iter().map(|text| Publish::new("steady", text).qos(1)));
        sent.extend(batch);
    }
    publisher.say("steady", "end", 1);
    publisher.disconnect();
    sent
}

/// Nobody sends anything again, so each message came once at most; those that were acknowledged came.
fn assert_none_lost_or_repeated(acknowledged: &[String], arrived: &[String]) {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for text in arrived {
        *times.entry(text).or_default() += 1;
    }
    let repeated: Vec<_> = times.iter().filter(|(_, count)| **count > 1).take(5).collect();
    assert!(repeated.is_empty(), "messages came more than once: {repeated:?}");
    let lost: Vec<_> =
        acknowledged.iter().filter(|text| !times.contains_key(text.as_str())).take(5).collect();
    assert!(lost.is_empty(), "messages were acknowledged and did not come: {lost:?}");
}

/// The sessions that outlive their connections end with a clean one.
fn end_all_sessions(address: SocketAddr) {
    for number in 0..CLIENT_IDS {
        Device::connect(address, Version::V4, &client_id(number)).disconnect();
    }
}

fn client_id(number: usize) -> String {
    format!("contested-{number}")
}

/// One thread of clients.
struct Load {
    address: SocketAddr,
    number: usize,
    random: Random,
    open: VecDeque<Contender>,
    acknowledged: Vec<String>,
}

impl Load {
    fn new(address: SocketAddr, number: usize, seed: u64) -> Load {
        let random = Random::seeded(seed ^ number as u64);
        Load { address, number, random, open: VecDeque::new(), acknowledged: Vec::new() }
    }

    /// Connects, publishes and is taken over, again and again; what was acknowledged.
    fn run(mut self, taken_over: &AtomicUsize) -> Vec<String> {
        for n in 0..CONNECTIONS {
            let mut contender = self.connect();
            for qos in [1, 2] {
                let text = format!("{}-{n}-{qos}", self.number);
                // A session may remember identifiers of flows that nobody finished, so each is used once.
                let id = ((self.number * CONNECTIONS + n) * 2) as u16 + u16::from(qos);
                if contender.publish(&text, qos, id) {
                    self.acknowledged.push(text);
                }
            }
            self.open.push_back(contender);
            if self.open.len() > OPEN_PER_THREAD {
                let oldest = self.open.pop_front().expect("there are some");
                taken_over.fetch_add(usize::from(oldest.leave()), Ordering::Relaxed);
            }
        }
        for contender in self.open {
            taken_over.fetch_add(usize::from(contender.leave()), Ordering::Relaxed);
        }
        self.acknowledged
    }

    fn connect(&mut self) -> Contender {
        let version = Version::BOTH[self.random.below(2)];
        let id = client_id(self.random.below(CLIENT_IDS));
        let mut connect = Connect::new(version, &id);
        if self.random.one_in(2) {
            connect = connect.persistent();
        }
        let mut wire = Wire::open(self.address);
        wire.send(&connect.encode());
        let mut contender = Contender { wire, version, ending: None };
        if let Some(connack) = contender.until(kind::CONNACK, 0) {
            assert_eq!(Connack::decode(&connack, version).code, 0, "a CONNECT was refused");
            contender.subscribe(&format!("own/{id}"));
        }
        contender
    }
}

/// One connection, which another may end at any moment.
struct Contender {
    wire: Wire,
    version: Version,
    /// What came last before the connection was closed.
    ending: Option<Option<Packet>>,
}

impl Contender {
    fn subscribe(&mut self, filter: &str) {
        self.wire.try_send(&packets::subscribe(self.version, 1, &Vec::new(), &[(filter, 1)]));
        self.until(kind::SUBACK, 1);
    }

    /// Whether the message was acknowledged; at QoS 2 PUBREC says that.
    fn publish(&mut self, text: &str, qos: u8, id: u16) -> bool {
        let message = Publish { id, ..Publish::new("load/x", text).qos(qos) };
        self.wire.try_send(&message.encode(self.version));
        if qos == 1 {
            return self.until(kind::PUBACK, id).is_some();
        }
        let is_received = self.until(kind::PUBREC, id).is_some();
        if is_received {
            self.wire.try_send(&packets::ack(kind::PUBREL, id));
            self.until(kind::PUBCOMP, id);
        }
        is_received
    }

    /// The answer of this type, which is the next packet unless the connection ends.
    fn until(&mut self, wanted: u8, id: u16) -> Option<Packet> {
        if self.ending.is_some() {
            return None;
        }
        let mut last = None;
        loop {
            match self.wire.look(DEADLINE) {
                Seen::Packet(packet) if packet.kind() == wanted => {
                    let has_id = !matches!(wanted, kind::CONNACK | kind::PINGRESP);
                    assert!(!has_id || packet.id() == id, "{packet:?} instead of the answer to {id}");
                    return Some(packet);
                }
                Seen::Packet(packet) if packet.kind() == kind::DISCONNECT && last.is_none() => {
                    last = Some(packet)
                }
                Seen::Closed => {
                    self.ending = Some(last);
                    return None;
                }
                other => panic!("{other:?} instead of packet type {wanted} or the end"),
            }
        }
    }

    /// Leaves, unless it was put out; whether that was so, which is told in MQTT 5.0.
    fn leave(mut self) -> bool {
        self.wire.try_send(&PINGREQ);
        if self.until(kind::PINGRESP, 0).is_some() {
            self.wire.try_send(&DISCONNECT);
            self.until(kind::PINGRESP, 0);
            // Another one may have come first.
            return self.ending.take().is_some_and(|last| self.is_told(last.as_ref()));
        }
        let last = self.ending.take().expect("there was no answer");
        assert_eq!(self.is_told(last.as_ref()), self.version.is_v5(), "the end was {last:?}");
        true
    }

    fn is_told(&self, last: Option<&Packet>) -> bool {
        last.is_some_and(|packet| {
            assert!(self.version.is_v5(), "a server of MQTT 3.1.1 sends no DISCONNECT");
            assert_eq!(packet.disconnect_reason(), SESSION_TAKEN_OVER, "{packet:?}");
            true
        })
    }
}
