//! Sequences of packets that nobody wrote, from several connections that share few Client Identifiers, topics and Packet
//! Identifiers, so that sessions are taken over, Wills fire and flows stay half done. Then the proxy must be as it was:
//! alive, silent about panics, without sessions and subscriptions, and not much larger.

use std::time::Duration;

use crate::support::device::Device;
use crate::support::packets::{
    self, Connect, DISCONNECT, PINGREQ, Packet, Publish, Value, Will, ack, frame, kind, property, put_text,
};
use crate::support::proxy::{Proxy, Setup};
use crate::support::random::Random;
use crate::support::wire::{Seen, Wire};
use crate::support::{Version, wait_until};

/// How many things happen.
const STEPS: usize = 5_000;

/// Connections at a time.
const CONNECTIONS: usize = 5;

const CLIENT_IDS: [&str; 4] = ["c0", "c1", "c2", "c3"];
const TOPICS: [&str; 4] = ["a", "a/b", "a/b/c", "d"];
const FILTERS: [&str; 6] = ["a", "a/#", "+/b", "#", "$share/g/a/#", "d"];

/// How much larger the proxy may be afterwards, in bytes: caches, the log's memory and the allocator's reserves.
const GROWTH_MAX: f64 = 96.0 * 1024.0 * 1024.0;

/// One of these, as likely as any other.
fn one_of<'a>(random: &mut Random, choices: &[&'a str]) -> &'a str {
    choices[random.below(choices.len())]
}

fn qos(random: &mut Random) -> u8 {
    u8::try_from(random.below(3)).expect("0 to 2")
}

/// One of few, so that flows meet; 0 once in a while.
fn packet_id(random: &mut Random) -> u16 {
    if random.one_in(400) { 0 } else { u16::try_from(1 + random.below(5)).expect("1 to 5") }
}

fn version(random: &mut Random) -> Version {
    Version::BOTH[random.below(2)]
}

fn connect(random: &mut Random, version: Version) -> Connect {
    let mut connect = Connect::new(version, one_of(random, &CLIENT_IDS));
    connect.clean = random.one_in(3);
    connect.keep_alive = [0, 1, 60][random.below(3)];
    if random.one_in(20) {
        connect.client_id.clear();
    }
    if random.one_in(2) {
        let mut will = Will {
            topic: one_of(random, &TOPICS).to_owned(),
            payload: b"will".to_vec(),
            qos: qos(random),
            retain: random.one_in(3),
            properties: Vec::new(),
        };
        if random.one_in(3) {
            let delay = u32::try_from(random.below(3)).expect("small");
            will.properties.push((property::WILL_DELAY, Value::Four(delay)));
        }
        connect.will = Some(will);
    }
    if random.one_in(2) {
        let expiry = [1, 60, u32::MAX][random.below(3)];
        connect = connect.property(property::SESSION_EXPIRY, Value::Four(expiry));
    }
    if random.one_in(3) {
        let maximum = if random.one_in(20) { 0 } else { u16::try_from(1 + random.below(3)).expect("small") };
        connect = connect.property(property::RECEIVE_MAXIMUM, Value::Two(maximum));
    }
    if random.one_in(4) {
        connect = connect.property(property::MAXIMUM_PACKET_SIZE, Value::Four(60));
    }
    connect
}

fn publish(random: &mut Random, version: Version) -> Vec<u8> {
    let size = if random.one_in(50) { 20_000 } else { random.below(80) };
    let mut publish = Publish::new(one_of(random, &TOPICS), vec![b'x'; size]).qos(qos(random));
    publish.id = packet_id(random);
    publish.dup = random.one_in(if publish.qos > 0 { 5 } else { 300 });
    publish.retain = random.one_in(5);
    if random.one_in(8) {
        publish = publish.property(property::MESSAGE_EXPIRY, Value::Four(1));
    }
    if random.one_in(20) {
        let alias = if random.one_in(20) { 0 } else { u16::try_from(1 + random.below(3)).expect("small") };
        publish = publish.property(property::TOPIC_ALIAS, Value::Two(alias));
        if random.one_in(2) {
            publish.topic.clear();
        }
    }
    publish.encode(version)
}

fn subscribe(random: &mut Random, version: Version) -> Vec<u8> {
    let filters: Vec<(&str, u8)> = (0..1 + random.below(3))
        .map(|_| {
            let filter = one_of(random, &FILTERS);
            let may_have_options = version.is_v5() && (!filter.starts_with("$share") || random.one_in(20));
            let options = if may_have_options && random.one_in(3) { 4 << random.below(3) } else { 0 };
            (filter, qos(random) | options)
        })
        .collect();
    let properties = match random.one_in(4) {
        true => vec![(property::SUBSCRIPTION_ID, Value::Variable(7))],
        false => Vec::new(),
    };
    packets::subscribe(version, packet_id(random), &properties, &filters)
}

fn acknowledgement(random: &mut Random, version: Version) -> Vec<u8> {
    let kind_of = [kind::PUBACK, kind::PUBREC, kind::PUBREL, kind::PUBCOMP][random.below(4)];
    let id = packet_id(random);
    if version.is_v5() && random.one_in(4) {
        let flags = if kind_of == kind::PUBREL { 2 } else { 0 };
        let [high, low] = id.to_be_bytes();
        let reasons =
            if matches!(kind_of, kind::PUBACK | kind::PUBREC) { [0x10, 0x97] } else { [0x00, 0x92] };
        return frame(kind_of << 4 | flags, &[high, low, reasons[random.below(2)]]);
    }
    ack(kind_of, id)
}

/// Any packet of a device, well formed but for what the identifiers and properties bring with them.
fn packet(random: &mut Random, version: Version) -> Vec<u8> {
    match random.below(20) {
        0..=6 => publish(random, version),
        7..=9 => subscribe(random, version),
        10 => packets::unsubscribe(version, packet_id(random), &[one_of(random, &FILTERS)]),
        11..=16 => acknowledgement(random, version),
        17 => PINGREQ.to_vec(),
        18 if random.one_in(2) => PINGREQ.to_vec(),
        18 if random.one_in(10) => connect(random, version).encode(),
        18 => frame(kind::DISCONNECT << 4, &[4]),
        _ if random.one_in(3) => DISCONNECT.to_vec(),
        _ => publish(random, version),
    }
}

/// Changes a byte or the length of a packet.
fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    let place = random.below(bytes.len());
    match random.below(4) {
        0 => bytes[place] ^= 1 << random.below(8),
        1 => bytes[place] = random.next().to_le_bytes()[0],
        2 => bytes.insert(place, 0xFF),
        _ => bytes.truncate(place + 1),
    }
}

/// One connection, or the place for one.
#[derive(Default)]
struct Place {
    open: Option<(Wire, Version)>,
}

impl Place {
    fn step(&mut self, random: &mut Random, proxy: &Proxy) {
        let Some((wire, version)) = &mut self.open else {
            let version = version(random);
            let mut wire = Wire::open(proxy.mqtt());
            let mut bytes = connect(random, version).encode();
            if random.one_in(25) {
                spoil(random, &mut bytes);
            }
            wire.try_send(&bytes);
            self.open = Some((wire, version));
            return;
        };
        let version = *version;
        match random.below(25) {
            0 if random.one_in(2) => self.cut(),
            0..=7 => self.answer(random),
            _ => {
                let mut bytes = packet(random, version);
                if random.one_in(150) {
                    spoil(random, &mut bytes);
                }
                wire.try_send(&bytes);
            }
        }
    }

    fn cut(&mut self) {
        if let Some((wire, _)) = self.open.take() {
            wire.cut();
        }
    }

    /// Reads what is there, and answers some of it as it should be.
    fn answer(&mut self, random: &mut Random) {
        let Some((wire, _)) = &mut self.open else { return };
        loop {
            match wire.look(Duration::ZERO) {
                Seen::Packet(packet) => {
                    if let Some(bytes) = right_answer(&packet).filter(|_| !random.one_in(3)) {
                        wire.try_send(&bytes);
                    }
                }
                Seen::Silence => return,
                Seen::Closed => {
                    self.open = None;
                    return;
                }
            }
        }
    }
}

/// What the standard wants a device to answer.
fn right_answer(packet: &Packet) -> Option<Vec<u8>> {
    match packet.kind() {
        kind::PUBLISH if packet.first & 6 != 0 => {
            let topic = usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
            let id = u16::from_be_bytes([packet.body[2 + topic], packet.body[3 + topic]]);
            Some(ack(if packet.first & 4 == 0 { kind::PUBACK } else { kind::PUBREC }, id))
        }
        kind::PUBREC => Some(ack(kind::PUBREL, packet.id())),
        kind::PUBREL => Some(ack(kind::PUBCOMP, packet.id())),
        _ => None,
    }
}

/// A client that nobody has seen before gets what it is due.
fn serves(proxy: &Proxy) {
    for version in Version::BOTH {
        let mut fresh = Device::connect(proxy.mqtt(), version, "fresh");
        fresh.subscribe("fresh", 2);
        for qos in 0..3 {
            fresh.say("fresh", &format!("hello {qos}"), qos);
            assert_eq!(fresh.receive().text(), format!("hello {qos}"), "{version:?}");
        }
        fresh.disconnect();
    }
}

/// Waits until there is no session, no subscription and no connection, and says on the way what is left.
fn wait_until_empty(proxy: &Proxy) {
    let names = ["mqtt_sessions", "mqtt_subscriptions", "mqtt_active_connections"];
    let mut seen = Vec::new();
    wait_until("no session, no subscription and no connection is left", || {
        let counts = names.map(|name| proxy.rest().metric(name, &[]));
        if seen.last() != Some(&counts) {
            eprintln!("{names:?}: {counts:?}");
            seen.push(counts);
        }
        counts == [0.0; 3]
    });
}

fn resident_bytes(proxy: &Proxy) -> f64 {
    proxy.rest().metric("process_resident_memory_bytes", &[])
}

/// The sessions end, whatever they have become.
fn leave(proxy: &Proxy, places: &mut [Place]) {
    for place in places {
        place.cut();
    }
    for client_id in CLIENT_IDS {
        Device::connect(proxy.mqtt(), Version::V4, client_id).disconnect();
    }
}

#[test]
fn any_sequence_of_packets_leaves_the_proxy_as_it_was() {
    let mut random = Random::announced("session fuzz");
    // What nobody comes back for, under an identifier that came about by chance, goes soon.
    let mut proxy = Setup::new().settings("[limits]\nsession_expiry_secs_max = 2").start();
    serves(&proxy);
    wait_until_empty(&proxy);
    let before = resident_bytes(&proxy);
    let mut places: Vec<Place> = (0..CONNECTIONS).map(|_| Place::default()).collect();
    for _ in 0..STEPS {
        let place = random.below(CONNECTIONS);
        places[place].step(&mut random, &proxy);
    }
    assert!(proxy.is_running(), "the proxy ended");
    serves(&proxy);
    let received = proxy.rest().metric("mqtt_messages_received_total", &[]);
    assert!(received > STEPS as f64 / 20.0, "only {received} messages were taken: nothing much was tried");
    leave(&proxy, &mut places);
    wait_until_empty(&proxy);
    let mut cleaner = Device::connect(proxy.mqtt(), Version::V5, "cleaner");
    wait_until("no message is retained", || {
        end_retained(&mut cleaner);
        proxy.rest().metric("mqtt_retained_messages", &[]) == 0.0
    });
    cleaner.disconnect();
    serves(&proxy);
    wait_until_empty(&proxy);
    let growth = resident_bytes(&proxy) - before;
    eprintln!("{received} messages were taken; the proxy had {before} bytes and grew by {growth}");
    assert!(growth < GROWTH_MAX, "the proxy grew by {growth} bytes");
    assert!(!proxy.log().contains("panicked"), "something panicked");
}

/// Empty messages take the retained ones away, be they on topics that came about by chance.
fn end_retained(cleaner: &mut Device) {
    let filters = ["#", "$/#"];
    cleaner.subscribe_with(&Vec::new(), &filters.map(|filter| (filter, 0)));
    cleaner.say("end", "end of the retained messages", 0);
    let retained = cleaner.receive_before("end of the retained messages");
    for filter in filters {
        cleaner.unsubscribe(filter);
    }
    for message in retained.iter().filter(|message| message.retain) {
        cleaner.publish(Publish::new(&message.topic, "").qos(1).retained());
    }
}

/// Comes, subscribes, publishes, gets its message back, and is gone without a word; every other one leaves a session
/// that nobody comes back for.
fn visit(proxy: &Proxy, number: usize) {
    let version = Version::BOTH[number % 2];
    let topic = format!("visitor/{number}");
    let connect = Connect::new(version, &format!("visitor-{number}"));
    let connect = if number % 4 < 2 { connect.persistent() } else { connect };
    let mut device = Device::connect_with(proxy.mqtt(), &connect);
    device.subscribe(&topic, 1);
    device.say(&topic, "here", 1);
    assert_eq!(device.receive().text(), "here");
    device.cut();
}

#[test]
#[ignore = "takes minutes: cargo test --test integration visitors -- --ignored --nocapture"]
fn fifty_thousand_visitors_leave_nothing_behind() {
    let proxy = Setup::new().settings("[limits]\nsession_expiry_secs_max = 1").start();
    let mut early = 0.0;
    for number in 1..=50_000 {
        visit(&proxy, number);
        if number % 10_000 == 0 {
            let bytes = resident_bytes(&proxy);
            eprintln!("after {number} visitors: {bytes} bytes resident");
            early = if number == 10_000 { bytes } else { early };
        }
    }
    wait_until_empty(&proxy);
    let growth = resident_bytes(&proxy) - early;
    assert!(growth < GROWTH_MAX, "the proxy grew by {growth} bytes since the 10,000th visitor");
    assert!(!proxy.log().contains("panicked"), "something panicked");
}

#[test]
fn a_spoilt_packet_is_another_packet_or_shorter() {
    let mut random = Random::seeded(1);
    let mut body = Vec::new();
    put_text(&mut body, "a");
    let whole = frame(0x30, &body);
    let spoilt = (0..100).filter(|_| {
        let mut bytes = whole.clone();
        spoil(&mut random, &mut bytes);
        bytes != whole
    });
    assert!(spoilt.count() > 80, "most changes change something");
}

#[test]
fn a_connection_that_breaks_at_its_unsubscribe_leaves_no_subscription() {
    let proxy = Proxy::start();
    for _ in 0..1_000 {
        let mut device = Device::connect(proxy.mqtt(), Version::V4, "leaver");
        device.subscribe("a", 0);
        // The answer to the first finds nobody, and that to the second cannot be written any more.
        device.wire.send(&PINGREQ);
        device.wire.send(&PINGREQ);
        device.wire.send(&[&PINGREQ[..], &packets::unsubscribe(Version::V4, 9, &["a"])].concat());
        device.cut();
    }
    wait_until_empty(&proxy);
}
