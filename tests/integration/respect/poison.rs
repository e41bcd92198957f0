//! A broker that ends its connections for one message: that message is found and given up, and no other one.

use super::reason as reason_of;
use super::*;
use crate::support::packets::{kind, with_reason};
use crate::support::scripted::Link;
use crate::support::wait_until;

/// Takes what comes, and ends the connection with this Reason Code when it gets a message of these texts. Answers with
/// what it took, and whether it is still connected.
fn serve(link: &mut Link, bad: &[&str], reason: u8, until: usize, taken: &mut Vec<String>) -> bool {
    while taken.len() < until {
        let packet = link.packet();
        if packet.kind() == kind::PUBREL {
            link.ack(kind::PUBCOMP, packet.id());
            continue;
        }
        let message = Publish::decode(&packet, link.version());
        if bad.contains(&message.text().as_str()) {
            link.wire.send(&with_reason(kind::DISCONNECT, reason, &Vec::new()));
            return false;
        }
        // In a new session, what was taken just before may come again.
        if !taken.contains(&message.text()) {
            taken.push(message.text());
        }
        link.ack(if message.qos == 2 { kind::PUBREC } else { kind::PUBACK }, message.id);
    }
    true
}

fn poison_is_found(qos: u8, has_session: bool, reason: u8, reason_text: &str) {
    let mut scene = Scene::plain(Version::V5);
    let mut link = scene.upstream.welcome(false);
    scene.say(&["a", "bad 1", "b", "c", "bad 2", "d"], qos);
    let mut taken = Vec::new();
    let mut connections = 1;
    while !serve(&mut link, &["bad 1", "bad 2"], reason, 4, &mut taken) {
        connections += 1;
        assert!(connections < 12, "too many connections");
        link = scene.upstream.welcome(has_session);
    }
    assert_eq!(taken, ["a", "b", "c", "d"], "qos {qos}, session {has_session}");
    // One suspicion, then each of the two is met twice alone.
    assert_eq!(connections, 6, "qos {qos}, session {has_session}");
    let letters = scene.mourner.receive_all(2);
    assert_eq!(letters.iter().map(Publish::text).collect::<Vec<_>>(), ["bad 1", "bad 2"]);
    for letter in &letters {
        assert_eq!(reason_of(letter), format!("reason=poison: {reason_text} broker=up/1"));
    }
    // The flow goes on as wide as it was.
    if qos == 1 {
        scene.say(&["e", "f", "g"], qos);
        let more = link.publishes(3);
        assert_eq!(more.iter().map(Publish::text).collect::<Vec<_>>(), ["e", "f", "g"]);
        more.iter().for_each(|message| link.ack(kind::PUBACK, message.id));
    } else {
        scene.say(&["e"], qos);
        assert!(serve(&mut link, &[], reason, 5, &mut taken));
        let release = link.expect(kind::PUBREL);
        link.ack(kind::PUBCOMP, release);
    }
    scene.proxy.rest().wait_caught_up(&scene.id);
    assert_eq!(scene.shown("dropped"), json!({"poison": 2}));
    assert_eq!(scene.metric("mqtt_messages_dropped_total", &["reason=\"poison\""]), 2);

    // It stays given up across a restart.
    link.cut();
    scene.proxy.kill_and_restart();
    let mut link = scene.upstream.welcome(has_session);
    scene.device = Device::connect(scene.proxy.mqtt(), Version::V5, "device");
    scene.say(&["last"], 1);
    let mut taken = Vec::new();
    while taken.last().is_none_or(|text| text != "last") {
        // What was acknowledged just before the end may come again, but none of the bad ones.
        assert!(serve(&mut link, &["bad 1", "bad 2"], reason, taken.len() + 1, &mut taken));
    }
    scene.proxy.rest().wait_caught_up(&scene.id);
}

#[test]
fn a_message_that_the_broker_disconnects_for_is_given_up_at_qos_1() {
    poison_is_found(1, true, 0x95, "packet too large (0x95)");
    poison_is_found(1, false, 0x90, "topic name invalid (0x90)");
}

#[test]
fn a_message_that_the_broker_disconnects_for_is_given_up_at_qos_2() {
    poison_is_found(2, true, 0x99, "payload format invalid (0x99)");
    poison_is_found(2, false, 0x81, "malformed packet (0x81)");
}

#[test]
fn a_connection_that_is_merely_lost_gives_nothing_up() {
    for version in Version::BOTH {
        let mut scene = Scene::plain(version);
        let mut link = scene.upstream.welcome(false);
        scene.say(&["unlucky"], 1);
        for _ in 0..5 {
            assert_eq!(link.publish().text(), "unlucky");
            link.cut();
            link = scene.upstream.welcome(true);
        }
        assert_eq!(link.take().text(), "unlucky");
        scene.proxy.rest().wait_caught_up(&scene.id);
        assert_eq!(scene.shown("dead_letters"), 0);
    }
}

#[test]
fn a_disconnect_that_blames_no_packet_gives_nothing_up() {
    // A broker that has too much to do is left alone for longer than the floor says.
    let mut scene = Scene::new(Version::V5, &json!({"retry_floor_ms": 10, "retry_ceiling_ms": 200}));
    let mut link = scene.upstream.welcome(false);
    scene.say(&["unlucky"], 1);
    // Server busy, quota exceeded, administrative action, server shutting down.
    for reason in [0x89, 0x97, 0x97, 0x98, 0x8B] {
        assert_eq!(link.publish().text(), "unlucky");
        link.wire.send(&with_reason(kind::DISCONNECT, reason, &Vec::new()));
        link = scene.upstream.welcome(true);
    }
    assert_eq!(link.take().text(), "unlucky");
    assert_eq!(scene.shown("dead_letters"), 0);
}

#[test]
fn a_restart_in_the_middle_of_the_search_loses_nothing() {
    let mut scene = Scene::plain(Version::V5);
    let mut link = scene.upstream.welcome(false);
    scene.say(&["a", "bad", "b"], 1);
    let mut taken = Vec::new();
    for _ in 0..2 {
        assert!(!serve(&mut link, &["bad"], 0x95, 9, &mut taken));
        link = scene.upstream.welcome(true);
    }
    link.cut();
    scene.proxy.kill_and_restart();
    scene.mourner = mourner(&scene.proxy);
    link = scene.upstream.welcome(true);
    while !serve(&mut link, &["bad"], 0x95, 2, &mut taken) {
        link = scene.upstream.welcome(true);
    }
    assert_eq!(scene.mourner.receive().text(), "bad");
    wait_until("all else is taken", || scene.shown("lag") == 0);
}
