//! A connection to an upstream broker that is lost in each state of the QoS 1 and QoS 2 flows, with and
//! without the broker's memory of the session: nothing is lost, repeated as new or out of order, and no Packet
//! Identifier is used twice at a time.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use crate::support::device::Device;
use crate::support::packets::{Properties, Publish, Value, frame, kind, number, property};
use crate::support::proxy::{Proxy, Setup};
use crate::support::rest::local_broker;
use crate::support::scripted::{Link, Scripted};
use crate::support::{Version, assert_same, numbered, wait_until};

/// A proxy with one scripted upstream, and a device that publishes to it.
struct Scene {
    upstream: Scripted,
    proxy: Proxy,
    device: Device,
    id: String,
}

fn scene(version: Version) -> Scene {
    scene_with(version, Setup::new(), &json!({}))
}

fn scene_with(version: Version, setup: Setup, fields: &Json) -> Scene {
    let upstream = Scripted::listen();
    let proxy = setup.start();
    let mut definition = local_broker("scripted", upstream.port(), version);
    for (name, value) in fields.as_object().expect("fields") {
        definition[name] = value.clone();
    }
    let id = proxy.rest().add(&definition);
    let device = Device::connect(proxy.mqtt(), Version::V5, "device");
    Scene { upstream, proxy, device, id }
}

impl Scene {
    fn publish(&mut self, texts: &[String], qos: u8) {
        self.device.publish_all(texts.iter().map(|text| Publish::new("t", text).qos(qos)));
    }

    /// Waits until the proxy says that this many messages are sent and not acknowledged.
    fn wait_in_flight(&self, count: u64) {
        wait_until("the proxy took the acknowledgements in", || {
            self.proxy.rest().broker(&self.id)["in_flight"] == count
        });
    }

    /// One more message comes through as a new one, so the flow goes on.
    fn goes_on(&mut self, link: &mut Link) {
        self.publish(&["one more".to_owned()], 1);
        let message = link.take();
        assert_eq!((message.text().as_str(), message.dup), ("one more", false));
    }
}

fn texts(messages: &[Publish]) -> Vec<String> {
    messages.iter().map(Publish::text).collect()
}

fn ids(messages: &[Publish]) -> Vec<u16> {
    messages.iter().map(|message| message.id).collect()
}

fn assert_unique(ids: &[u16]) {
    assert_eq!(
        ids.iter().collect::<HashSet<_>>().len(),
        ids.len(),
        "Packet Identifiers are used twice: {ids:?}"
    );
}

/// The same messages again: marked as duplicates, with the same identifiers and in the same order.
fn assert_sent_again(again: &[Publish], first: &[Publish]) {
    let wanted: Vec<Publish> = first.iter().map(|message| Publish { dup: true, ..message.clone() }).collect();
    assert_eq!(again, wanted, "what is sent again differs from what was sent first, apart from DUP");
}

in_both_versions! {
    fn what_was_not_acknowledged_is_sent_again_as_a_duplicate_in_order(version: Version) {
        for qos in [1, 2] {
            let mut scene = scene(version);
            let mut link = scene.upstream.welcome(false);
            scene.publish(&numbered("m", 8), qos);
            let first = link.publishes(8);
            assert_same(&texts(&first), &numbered("m", 8), "at first");
            assert!(first.iter().all(|message| !message.dup && message.qos == qos));
            assert_unique(&ids(&first));
            link.cut();

            let mut link = scene.upstream.welcome(true);
            let again = link.publishes(8);
            assert_sent_again(&again, &first);
            for message in &again {
                finish(&mut link, message);
            }
            scene.goes_on(&mut link);
        }
    }

    fn what_was_not_acknowledged_is_sent_as_new_where_the_session_is_lost(version: Version) {
        for qos in [1, 2] {
            let mut scene = scene(version);
            let mut link = scene.upstream.welcome(false);
            scene.publish(&numbered("m", 8), qos);
            assert_same(&texts(&link.publishes(8)), &numbered("m", 8), "at first");
            link.cut();
            scene.publish(&numbered("n", 2), qos);

            let mut link = scene.upstream.welcome(false);
            let again = link.publishes(10);
            assert_same(&texts(&again), &[numbered("m", 8), numbered("n", 2)].concat(), "afterwards");
            assert!(again.iter().all(|message| !message.dup), "in a new session nothing is a duplicate");
            assert_unique(&ids(&again));
            for message in &again {
                finish(&mut link, message);
            }
            scene.goes_on(&mut link);
        }
    }

    fn acknowledged_messages_are_not_sent_again(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        scene.publish(&numbered("m", 6), 1);
        let first = link.publishes(6);
        for index in [4, 1] {
            link.ack(kind::PUBACK, first[index].id);
        }
        scene.wait_in_flight(4);
        link.cut();
        let mut link = scene.upstream.welcome(true);
        let again = link.publishes(4);
        assert_sent_again(&again, &[first[0].clone(), first[2].clone(), first[3].clone(), first[5].clone()]);
        for message in &again {
            link.ack(kind::PUBACK, message.id);
        }
        scene.wait_in_flight(0);
        scene.goes_on(&mut link);
    }

    fn acknowledgements_before_a_lost_session_count(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        scene.publish(&numbered("m", 6), 1);
        let first = link.publishes(6);
        for index in [4, 0] {
            link.ack(kind::PUBACK, first[index].id);
        }
        scene.wait_in_flight(4);
        link.cut();
        let mut link = scene.upstream.welcome(false);
        assert_eq!(texts(&link.publishes(4)), ["m-00001", "m-00002", "m-00003", "m-00005"]);
    }

    fn what_is_published_during_the_outage_follows_what_is_sent_again(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        scene.publish(&numbered("m", 5), 1);
        let first = link.publishes(5);
        link.cut();
        scene.publish(&numbered("n", 30), 1);
        let mut link = scene.upstream.welcome(true);
        assert_sent_again(&link.publishes(5), &first);
        let new = link.publishes(30);
        assert_same(&texts(&new), &numbered("n", 30), "the new ones");
        assert!(new.iter().all(|message| !message.dup));
        assert_unique(&[ids(&first), ids(&new)].concat());
    }

    fn a_second_loss_in_the_middle_of_sending_again_changes_nothing(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        scene.publish(&numbered("m", 6), 2);
        let first = link.publishes(6);
        link.cut();
        for read in [0, 1, 4] {
            let mut link = scene.upstream.welcome(true);
            assert_sent_again(&link.publishes(read), &first[..read]);
            link.cut();
        }
        let mut link = scene.upstream.welcome(true);
        assert_sent_again(&link.publishes(6), &first);
    }

    fn pubrel_is_sent_again_where_pubcomp_is_missing(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        scene.publish(&numbered("m", 3), 2);
        let first = link.publishes(3);
        for message in &first {
            link.ack(kind::PUBREC, message.id);
        }
        assert_eq!(link.gather(0, 3).1, ids(&first));
        link.cut();
        let mut link = scene.upstream.welcome(true);
        assert_eq!(link.gather(0, 3).1, ids(&first), "PUBREL and no PUBLISH comes again");
        for message in &first {
            link.ack(kind::PUBCOMP, message.id);
        }
        scene.wait_in_flight(0);
        scene.goes_on(&mut link);
    }

    fn a_mixture_of_qos_2_states_is_resumed_in_order(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        scene.publish(&numbered("m", 6), 2);
        let first = link.publishes(6);
        for message in &first[..3] {
            link.ack(kind::PUBREC, message.id);
        }
        assert_eq!(link.gather(0, 3).1, ids(&first[..3]));
        link.ack(kind::PUBCOMP, first[1].id);
        scene.wait_in_flight(5);
        link.cut();

        let mut link = scene.upstream.welcome(true);
        let (again, released) = link.gather(3, 2);
        assert_sent_again(&again, &first[3..]);
        assert_eq!(released, [first[0].id, first[2].id]);
        for id in released {
            link.ack(kind::PUBCOMP, id);
        }
        for message in &again {
            finish(&mut link, message);
        }
        scene.goes_on(&mut link);
    }

    fn a_pubrec_that_the_proxy_may_not_have_seen_leads_to_one_of_two_right_answers(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        scene.publish(&numbered("m", 1), 2);
        let first = link.publish();
        link.ack(kind::PUBREC, first.id);
        link.cut();
        let mut link = scene.upstream.welcome(true);
        let packet = link.packet();
        if packet.kind() == kind::PUBREL {
            assert_eq!(packet.id(), first.id);
        } else {
            assert_sent_again(&[Publish::decode(&packet, version)], std::slice::from_ref(&first));
            link.ack(kind::PUBREC, first.id);
            assert_eq!(link.expect(kind::PUBREL), first.id);
        }
        link.ack(kind::PUBCOMP, first.id);
        scene.goes_on(&mut link);
    }

    fn a_released_message_of_a_lost_session_does_not_stop_the_flow(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        scene.publish(&numbered("m", 2), 2);
        let first = link.publishes(2);
        link.ack(kind::PUBREC, first[0].id);
        assert_eq!(link.expect(kind::PUBREL), first[0].id);
        link.cut();
        let mut link = scene.upstream.welcome(false);
        scene.publish(&["end".to_owned()], 2);
        // The broker took the first one over with its PUBREC and may get it again or not; the second must come.
        let mut arrived = vec![link.publish()];
        while arrived.last().is_some_and(|message| message.text() != "end") {
            arrived.push(link.publish());
        }
        assert!(arrived.iter().all(|message| !message.dup));
        let texts = texts(&arrived);
        assert!(texts.ends_with(&["m-00001".to_owned(), "end".to_owned()]) && texts.len() <= 3, "{texts:?}");
        for message in &arrived {
            finish(&mut link, message);
        }
        scene.goes_on(&mut link);
    }

    fn acknowledgements_in_odd_order_do_not_stall(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        for round in ["a", "b", "c"] {
            scene.publish(&numbered(round, 40), 1);
            let messages = link.publishes(40);
            assert_same(&texts(&messages), &numbered(round, 40), round);
            for message in messages.iter().skip(1).step_by(2).chain(messages.iter().rev().skip(1).step_by(2)) {
                link.ack(kind::PUBACK, message.id);
            }
        }
        scene.wait_in_flight(0);
        scene.goes_on(&mut link);
    }

    fn identifiers_of_unfinished_qos_2_flows_are_not_given_to_new_messages(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        scene.publish(&numbered("m", 6), 2);
        let first = link.publishes(6);
        for message in &first {
            link.ack(kind::PUBREC, message.id);
        }
        link.gather(0, 6);
        for message in [&first[2], &first[1], &first[4]] {
            link.ack(kind::PUBCOMP, message.id);
        }
        scene.wait_in_flight(3);
        let in_use = [first[0].id, first[3].id, first[5].id];
        for round in 0..20 {
            scene.publish(&numbered("n", 5), 1 + round % 2);
            let messages = link.publishes(5);
            assert_unique(&[ids(&messages), in_use.to_vec()].concat());
            for message in &messages {
                finish(&mut link, message);
            }
        }
    }

    fn a_broker_that_closes_right_after_connect_is_tried_again_until_it_stays(version: Version) {
        let mut scene = scene(version);
        scene.publish(&numbered("m", 3), 1);
        let first = scene.upstream.accept().connect;
        for _ in 0..3 {
            assert_eq!(scene.upstream.accept().connect, first);
        }
        scene.upstream.accept_wire().cut();
        assert!(scene.proxy.rest().broker(&scene.id)["last_error"].is_string());
        let mut link = scene.upstream.welcome(false);
        let arrived = [(); 3].map(|()| link.take().text());
        assert_eq!(arrived.to_vec(), numbered("m", 3));
        scene.goes_on(&mut link);
    }

    fn a_refused_connect_shows_the_brokers_reason(version: Version) {
        let mut scene = scene_with(version, Setup::new(), &json!({"retry_denied_ms": 200}));
        scene.publish(&numbered("m", 1), 1);
        let code = if version.is_v5() { 0x87 } else { 5 };
        let mut link = scene.upstream.accept();
        link.answer_connect(false, code, &Vec::new());
        scene.proxy.rest().wait_last_error(&scene.id, &["not authorized", "not authorised", "0x87", "135"]);
        assert_eq!(scene.proxy.rest().broker(&scene.id)["connected"], false);
        drop(link);
        let mut link = scene.upstream.welcome(false);
        assert_eq!(link.take().text(), "m-00000");
        wait_until("the error is over", || scene.proxy.rest().broker(&scene.id)["state"] == "connected");
    }

    fn a_broker_that_never_answers_connect_is_left(version: Version) {
        let setup = Setup::new().settings("[server]\nconnect_timeout_secs = 1");
        let mut scene = scene_with(version, setup, &json!({}));
        scene.publish(&numbered("m", 1), 1);
        let mut mute = scene.upstream.accept();
        mute.wait_closed();
        let mut link = scene.upstream.welcome(false);
        assert_eq!(link.take().text(), "m-00000");
    }

    fn a_broker_that_no_longer_answers_pings_is_left(version: Version) {
        let mut scene = scene_with(version, Setup::new(), &json!({"keep_alive_secs": 1}));
        let mut link = scene.upstream.welcome(false);
        assert_eq!(link.connect.keep_alive, 1);
        assert_eq!(link.wire.packet().kind(), kind::PINGREQ);
        link.wire.until_close();
        let mut link = scene.upstream.welcome(true);
        scene.goes_on(&mut link);
    }

    fn bytes_that_are_not_mqtt_end_the_connection_and_nothing_else(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        scene.publish(&numbered("m", 1), 1);
        let first = link.publish();
        link.wire.send(&[0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        link.wait_closed();
        let mut link = scene.upstream.welcome(true);
        assert_sent_again(&[link.publish()], std::slice::from_ref(&first));
        link.ack(kind::PUBACK, first.id);
        scene.goes_on(&mut link);
    }

    fn acknowledgements_of_nothing_do_no_harm(version: Version) {
        let mut scene = scene(version);
        let mut link = scene.upstream.welcome(false);
        scene.goes_on(&mut link);
        for kind_of in [kind::PUBACK, kind::PUBREC, kind::PUBCOMP] {
            link.ack(kind_of, 7_777);
        }
        scene.publish(&numbered("m", 1), 1);
        let mut packet = link.packet();
        if packet.kind() == kind::PUBREL {
            // The answer to the PUBREC of nothing; in MQTT 5.0 it says Packet Identifier not found.
            packet = link.packet();
        }
        assert_eq!(Publish::decode(&packet, version).text(), "m-00000");
    }

    fn a_clean_session_is_asked_for_at_each_connect_and_still_nothing_is_lost(version: Version) {
        let mut scene = scene_with(version, Setup::new(), &json!({"clean_session": true}));
        let mut link = scene.upstream.welcome(false);
        assert!(link.connect.clean);
        scene.publish(&numbered("m", 22), 1);
        link.publishes(2);
        link.cut();
        let mut link = scene.upstream.welcome(false);
        assert!(link.connect.clean);
        let again = link.publishes(22);
        assert_same(&texts(&again), &numbered("m", 22), "in the new session");
        assert!(again.iter().all(|message| !message.dup));
    }

    fn a_broker_that_cuts_again_and_again_still_gets_every_message_once(version: Version) {
        let mut scene = scene_with(version, Setup::new(), &json!({"retry_ceiling_ms": 300}));
        let wanted = numbered("m", 150);
        scene.publish(&wanted, 2);
        let mut memory = Memory::default();
        let mut session_present = false;
        for cut_after in [1, 7, 30, 3, 90, 60, usize::MAX] {
            let mut link = scene.upstream.welcome(session_present);
            session_present = true;
            if memory.serve(&mut link, cut_after, wanted.len()) {
                break;
            }
            link.cut();
        }
        assert_same(&memory.arrived, &wanted, "exactly once and in order");
    }
}

/// A broker's side of the QoS 2 flow, kept over connections.
#[derive(Default)]
struct Memory {
    unreleased: HashSet<u16>,
    arrived: Vec<String>,
    completed: HashSet<String>,
}

impl Memory {
    /// Answers `packets` packets; says whether everything has arrived and was released.
    fn serve(&mut self, link: &mut Link, packets: usize, wanted: usize) -> bool {
        for _ in 0..packets {
            let packet = link.packet();
            if packet.kind() == kind::PUBREL {
                self.unreleased.remove(&packet.id());
                link.ack(kind::PUBCOMP, packet.id());
            } else {
                let message = Publish::decode(&packet, link.version());
                if self.unreleased.insert(message.id) {
                    assert!(self.completed.insert(message.text()), "{} came as new again", message.text());
                    self.arrived.push(message.text());
                } else {
                    assert!(message.dup, "an identifier in use came without DUP");
                }
                link.ack(kind::PUBREC, message.id);
            }
            if self.arrived.len() == wanted && self.unreleased.is_empty() {
                return true;
            }
        }
        false
    }
}

/// The rest of a message's flow, from its PUBLISH on.
fn finish(link: &mut Link, message: &Publish) {
    if message.qos == 1 {
        link.ack(kind::PUBACK, message.id);
    } else {
        link.ack(kind::PUBREC, message.id);
        assert_eq!(link.expect(kind::PUBREL), message.id);
        link.ack(kind::PUBCOMP, message.id);
    }
}

#[test]
fn an_identifier_stays_taken_while_all_others_go_round() {
    let mut scene = scene(Version::V4);
    let mut link = scene.upstream.welcome(false);
    scene.publish(&["held back".to_owned()], 1);
    let held = link.publish();
    let mqtt = scene.proxy.mqtt();
    let count = 66_000;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut device = Device::connect(mqtt, Version::V4, "many");
            device.publish_all((0..count).map(|_| Publish::new("t", "m").qos(1)));
        });
        for number in 0..count {
            if number == 65_500 {
                link.ack(kind::PUBACK, held.id);
            }
            let message = link.publish();
            let is_held = number < 65_500 && message.id == held.id;
            assert!(!is_held, "the identifier of an unacknowledged message was given away");
            link.ack(kind::PUBACK, message.id);
        }
    });
    scene.wait_in_flight(0);
}

#[test]
fn a_5_0_session_is_asked_to_outlive_the_connection() {
    let scene = scene(Version::V5);
    let connect = scene.upstream.accept().connect;
    assert!(!connect.clean);
    assert!(number(&connect.properties, property::SESSION_EXPIRY) > Some(0), "{connect:?}");
}

fn connack(id: u8, value: Value) -> Properties {
    vec![(id, value)]
}

#[test]
fn no_more_is_unacknowledged_than_the_receive_maximum_allows() {
    for qos in [1, 2] {
        let mut scene = scene(Version::V5);
        let mut link = scene.upstream.welcome_with(false, &connack(property::RECEIVE_MAXIMUM, Value::Two(5)));
        scene.publish(&numbered("m", 30), qos);
        let mut open: Vec<Publish> = link.publishes(5);
        link.expect_silence();
        let mut next = 5;
        while next < 30 {
            let message = open.remove(open.len() / 2);
            finish(&mut link, &message);
            let message = link.publish();
            assert_eq!(message.text(), format!("m-{next:05}"));
            open.push(message);
            assert_unique(&ids(&open));
            next += 1;
        }
        link.expect_silence();
    }
}

#[test]
fn the_receive_maximum_of_a_resumed_session_binds_what_is_sent_again() {
    let mut scene = scene(Version::V5);
    let mut link = scene.upstream.welcome(false);
    scene.publish(&numbered("m", 10), 1);
    let first = link.publishes(10);
    link.cut();
    let mut link = scene.upstream.welcome_with(true, &connack(property::RECEIVE_MAXIMUM, Value::Two(3)));
    assert_sent_again(&link.publishes(3), &first[..3]);
    link.expect_silence();
    for index in 0..7 {
        link.ack(kind::PUBACK, first[index].id);
        assert_sent_again(&[link.publish()], &first[index + 3..index + 4]);
    }
}

#[test]
fn the_maximum_qos_of_a_5_0_broker_is_kept() {
    for (maximum, wanted) in [(0, vec![0, 0, 0]), (1, vec![0, 1, 1])] {
        let mut scene = scene(Version::V5);
        let mut link =
            scene.upstream.welcome_with(false, &connack(property::MAXIMUM_QOS, Value::Byte(maximum)));
        for qos in 0..3 {
            scene.device.say("t", "m", qos);
        }
        let qos: Vec<u8> = (0..3).map(|_| link.take().qos).collect();
        assert_eq!(qos, wanted, "with a Maximum QoS of {maximum}");
    }
}

#[test]
fn a_5_0_broker_without_retained_messages_gets_no_retain_flag() {
    let mut scene = scene(Version::V5);
    let mut link = scene.upstream.welcome_with(false, &connack(property::RETAIN_AVAILABLE, Value::Byte(0)));
    scene.device.publish(Publish::new("t", "m").qos(1).retained());
    assert!(!link.take().retain);
}

#[test]
fn a_message_above_the_brokers_maximum_packet_size_is_dropped_and_counted() {
    let mut scene = scene(Version::V5);
    let limit = connack(property::MAXIMUM_PACKET_SIZE, Value::Four(1_000));
    let mut link = scene.upstream.welcome_with(false, &limit);
    scene.device.say("t", "before", 1);
    scene.device.say("t", &"x".repeat(2_000), 1);
    scene.device.say("t", "after", 1);
    assert_eq!([link.take().text(), link.take().text()], ["before", "after"]);
    wait_until("the dropped message is counted", || {
        let dropped = scene.proxy.rest().broker(&scene.id)["dropped"].clone();
        dropped.as_object().is_some_and(|reasons| reasons.values().any(|count| *count == 1))
    });
}

#[test]
fn a_message_that_a_5_0_broker_refuses_is_counted_and_the_flow_goes_on() {
    let mut scene = scene(Version::V5);
    let mut link = scene.upstream.welcome_with(false, &connack(property::RECEIVE_MAXIMUM, Value::Two(2)));
    for (qos, kind_of) in [(1, kind::PUBACK), (2, kind::PUBREC), (1, kind::PUBACK), (2, kind::PUBREC)] {
        scene.publish(&["unwanted".to_owned()], qos);
        let id = link.publish().id;
        let [high, low] = id.to_be_bytes();
        link.wire.send(&frame(kind_of << 4, &[high, low, 0x87]));
    }
    scene.goes_on(&mut link);
    scene.wait_in_flight(0);
    let dropped = scene.proxy.rest().broker(&scene.id)["dropped"].clone();
    let dropped: u64 = dropped.as_object().expect("reasons").values().filter_map(Json::as_u64).sum();
    assert_eq!(dropped, 4, "the broker refused four messages");
}

#[test]
fn a_5_0_broker_that_says_goodbye_in_its_shortest_form_is_found_again() {
    for goodbye in [&[0xE0, 0x01, 0x8B][..], &[0xE0, 0x02, 0x8B, 0x00], &[0xE0, 0x00]] {
        let mut scene = scene(Version::V5);
        let mut link = scene.upstream.welcome(false);
        scene.publish(&numbered("m", 2), 1);
        let first = link.publishes(2);
        link.wire.send(goodbye);
        link.wait_closed();
        let mut link = scene.upstream.welcome(true);
        assert_sent_again(&link.publishes(2), &first);
    }
}
