//! Chapter 4.8.2: shared subscriptions.

use std::collections::HashSet;

use super::scene::{Scene, option, reason};
use crate::support::device::Device;
use crate::support::packets::{self, Publish, Value, kind, number, property};
use crate::support::talker::Talker;
use crate::support::wire::Seen;
use crate::support::{DEADLINE, Version, numbered, wait_for};

/// Property Shared Subscription Available (byte).
const SHARED_AVAILABLE: u8 = 0x2A;

/// The filter of a shared subscription.
fn share(scene: &Scene, group: &str, rest: &str) -> String {
    format!("$share/{group}/{}", scene.topic(rest))
}

/// Members of a group, who hear the end of a test on a topic of their own.
fn members(scene: &Scene, count: usize, filter: &str, qos: u8) -> Vec<Device> {
    let member = |number: usize| {
        let mut member = scene.device(&format!("member{number}"));
        member.subscribe(filter, qos);
        member.subscribe(&scene.topic("end"), 2);
        member
    };
    (0..count).map(member).collect()
}

/// What each member got before the end.
fn shares(scene: &Scene, members: &mut [Device]) -> Vec<Vec<String>> {
    scene.device("last").say(&scene.topic("end"), "end", 2);
    members.iter_mut().map(|member| member.texts_before("end")).collect()
}

/// All of it together, sorted.
fn together(shares: &[Vec<String>]) -> Vec<String> {
    let mut all: Vec<String> = shares.concat();
    all.sort();
    all
}

/// The next message of whoever gets one.
fn whoever(members: &mut [Talker]) -> (usize, Publish) {
    wait_for("one of the members gets a message", || {
        members.iter_mut().enumerate().find_map(|(number, member)| {
            member.wire.send(&packets::PINGREQ);
            let packet = member.wire.packet();
            if packet.kind() != kind::PUBLISH {
                assert_eq!(packet.kind(), kind::PINGRESP, "{packet:?}");
                return None;
            }
            member.wire.expect(&packets::PINGRESP);
            Some((number, Publish::decode(&packet, Version::V5)))
        })
    })
}

/// Two members who acknowledge nothing by themselves.
fn pair(scene: &Scene, filter: &str, qos: u8) -> Vec<Talker> {
    let member = |name| {
        let mut member = scene.talker_with(&scene.lasting(name));
        assert_eq!(member.subscribe(1, &[(filter, qos)]), [qos]);
        member
    };
    vec![member("a"), member("b")]
}

in_both_versions! {
    fn each_message_goes_to_one_member_and_every_member_gets_some(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        for qos in 0..3 {
            let mut members = members(&scene, 3, &share(&scene, "g", "t"), 2);
            let wanted = numbered("m", 90);
            let mut speaker = scene.device("speaker");
            speaker.publish_all(wanted.iter().map(|text| Publish::new(&topic, text).qos(qos)));
            speaker.ping();
            let shares = shares(&scene, &mut members);
            assert_eq!(together(&shares), wanted, "QoS {qos}: each exactly once");
            let counts: Vec<usize> = shares.iter().map(Vec::len).collect();
            assert!(counts.iter().all(|count| *count >= 10), "QoS {qos}: {counts:?} is no balance");
        }
    }

    fn each_group_gets_each_message(version: Version) {
        let scene = Scene::new(version);
        let mut members = members(&scene, 2, &share(&scene, "g1", "t"), 1);
        for (name, group) in [("c", "g2"), ("d", "G1")] {
            let mut other = scene.device(name);
            other.subscribe(&share(&scene, group, "t"), 1);
            other.subscribe(&scene.topic("end"), 2);
            members.push(other);
        }
        let wanted = numbered("m", 40);
        scene.device("speaker").publish_all(wanted.iter().map(|text| Publish::new(&scene.topic("t"), text).qos(1)));
        let shares = shares(&scene, &mut members);
        assert_eq!(together(&shares[..2]), wanted, "g1");
        assert_eq!(shares[2], wanted, "g2");
        assert_eq!(shares[3], wanted, "G1 is another group than g1");
    }

    fn groups_of_one_name_with_different_filters_are_different_subscriptions(version: Version) {
        let scene = Scene::new(version);
        let mut members = members(&scene, 1, &share(&scene, "g", "a/+"), 1);
        let mut other = scene.device("other");
        other.subscribe(&share(&scene, "g", "a/#"), 1);
        other.subscribe(&scene.topic("end"), 2);
        members.push(other);
        let wanted = numbered("m", 20);
        scene.device("speaker").publish_all(wanted.iter().map(|text| Publish::new(&scene.topic("a/b"), text).qos(1)));
        assert_eq!(shares(&scene, &mut members), [wanted.clone(), wanted]);
    }

    fn ordinary_subscribers_get_everything_beside_a_group(version: Version) {
        let scene = Scene::new(version);
        let mut members = members(&scene, 2, &share(&scene, "g", "t"), 1);
        members.extend(["c", "d"].map(|name| {
            let mut ordinary = scene.device(name);
            ordinary.subscribe(&scene.topic(if name == "c" { "t" } else { "#" }), 1);
            ordinary.subscribe(&scene.topic("end"), 2);
            ordinary
        }));
        let wanted = numbered("m", 30);
        scene.device("speaker").publish_all(wanted.iter().map(|text| Publish::new(&scene.topic("t"), text).qos(1)));
        let shares = shares(&scene, &mut members);
        assert_eq!(together(&shares[..2]), wanted);
        assert_eq!((&shares[2], &shares[3]), (&wanted, &wanted));
    }

    fn a_client_with_a_shared_and_an_ordinary_subscription_misses_nothing(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut members = members(&scene, 2, &share(&scene, "g", "t"), 2);
        members[0].subscribe(&topic, 0);
        let wanted = numbered("m", 20);
        let mut speaker = scene.device("speaker");
        speaker.publish_all(wanted.iter().map(|text| Publish::new(&topic, text).qos(2)));
        speaker.say(&scene.topic("end"), "end", 2);
        let [mine, others] = [0, 1].map(|place: usize| members[place].receive_before("end"));
        // One copy for both subscriptions or one for each: the group's copies are those at QoS 2.
        let of_the_group = mine.iter().filter(|message| message.qos == 2).chain(&others).map(Publish::text);
        let mut of_the_group: Vec<String> = of_the_group.collect();
        of_the_group.sort();
        assert_eq!(of_the_group, wanted, "each to one member of the group");
        let mine: HashSet<String> = mine.iter().map(Publish::text).collect();
        assert_eq!(mine, wanted.into_iter().collect(), "the ordinary subscription gets all of them");
    }

    fn a_shared_subscription_brings_no_retained_messages_but_live_ones(version: Version) {
        let scene = Scene::new(version);
        let topic = scene.topic("t");
        let mut speaker = scene.device("speaker");
        speaker.publish(Publish::new(&topic, "kept").qos(1).retained());
        let mut members = members(&scene, 2, &share(&scene, "g", "t"), 1);
        members[0].subscribe(&share(&scene, "g", "t"), 1);
        speaker.publish(Publish::new(&topic, "live").qos(1).retained());
        assert_eq!(together(&shares(&scene, &mut members)), ["live"]);
        speaker.publish(Publish::new(&topic, "").retained());
    }

    fn a_member_that_unsubscribes_leaves_its_share_to_the_others(version: Version) {
        let scene = Scene::new(version);
        let filter = share(&scene, "g", "t");
        let mut members = members(&scene, 2, &filter, 1);
        let mut talker = scene.talker("talker");
        assert_eq!(talker.subscribe(1, &[(&filter, 1)]), [1]);
        let codes = |all: &[u8]| if version.is_v5() { all.to_vec() } else { Vec::new() };
        // Neither the filter alone nor another group is the subscription.
        let strangers = [scene.topic("t"), share(&scene, "h", "t")];
        assert_eq!(talker.unsubscribe(2, &[&strangers[0], &strangers[1]]), codes(&[0x11, 0x11]));
        assert_eq!(talker.unsubscribe(3, &[&filter, &filter]), codes(&[0, 0x11]));
        members[0].unsubscribe(&filter);
        let wanted = numbered("m", 20);
        scene.device("speaker").publish_all(wanted.iter().map(|text| Publish::new(&scene.topic("t"), text).qos(1)));
        assert_eq!(shares(&scene, &mut members), [Vec::new(), wanted]);
        talker.ping();
    }

    fn a_member_whose_clean_connection_ends_leaves_its_share_to_the_others(version: Version) {
        let scene = Scene::new(version);
        let filter = share(&scene, "g", "t");
        let mut members = members(&scene, 3, &filter, 1);
        members.remove(0).disconnect();
        let wanted = numbered("m", 20);
        scene.device("speaker").publish_all(wanted.iter().map(|text| Publish::new(&scene.topic("t"), text).qos(1)));
        assert_eq!(together(&shares(&scene, &mut members)), wanted);
    }

    fn what_absent_members_are_owed_waits_for_them(version: Version) {
        let scene = Scene::new(version);
        let filter = share(&scene, "g", "t");
        let connects = ["a", "b"].map(|name| scene.lasting(name));
        for connect in &connects {
            let mut member = scene.device_with(connect);
            member.subscribe(&filter, 1);
            member.subscribe(&scene.topic("end"), 2);
            member.disconnect();
        }
        let wanted = numbered("m", 20);
        scene.device("speaker").publish_all(wanted.iter().map(|text| Publish::new(&scene.topic("t"), text).qos(1)));
        let mut members = connects.map(|connect| scene.device_with(&connect));
        assert_eq!(together(&shares(&scene, &mut members)), wanted);
    }

    fn members_get_messages_at_the_qos_that_each_was_granted(version: Version) {
        let scene = Scene::new(version);
        let filter = share(&scene, "g", "t");
        let mut members = [0, 1, 2].map(|qos| {
            let mut member = scene.device(&format!("member{qos}"));
            member.subscribe(&filter, qos);
            member.subscribe(&scene.topic("end"), 2);
            member
        });
        let mut speaker = scene.device("speaker");
        for _ in 0..30 {
            speaker.say(&scene.topic("t"), "m", 2);
        }
        speaker.say(&scene.topic("end"), "end", 2);
        let mut count = 0;
        for (granted, member) in members.iter_mut().enumerate() {
            for message in member.receive_before("end") {
                assert_eq!(usize::from(message.qos), granted);
                count += 1;
            }
        }
        assert_eq!(count, 30);
    }

    fn wildcards_work_within_a_shared_subscription(version: Version) {
        let scene = Scene::new(version);
        let mut members = members(&scene, 2, &share(&scene, "g", "a/+/c/#"), 1);
        let mut speaker = scene.device("speaker");
        for rest in ["a/b/c", "a/b/c/d", "a//c", "a/b", "b/b/c", "a/b/d"] {
            speaker.say(&scene.topic(rest), rest, 1);
        }
        assert_eq!(together(&shares(&scene, &mut members)), ["a//c", "a/b/c", "a/b/c/d"]);
    }

    fn leading_wildcards_of_a_share_do_not_match_dollar_topics(version: Version) {
        let scene = Scene::new(version);
        let (open, hidden) = (scene.topic("t"), format!("${}", scene.topic("t")));
        // Other tests' messages match too, so group and marker are this test's own.
        let (group, end) = (scene.topic("").replace('/', ""), scene.topic("end"));
        let mut speaker = scene.device("speaker");
        for filter in ["#", "+/t"] {
            let mut member = scene.device("member");
            member.subscribe(&format!("$share/{group}/{filter}"), 1);
            speaker.say(&hidden, "hidden", 1);
            speaker.say(&open, &end, 1);
            let arrived = member.receive_before(&end);
            assert!(arrived.iter().all(|message| message.topic != hidden), "{filter} matched {hidden}");
        }
        let mut member = scene.device("member");
        member.subscribe(&format!("$share/{group}/{hidden}"), 1);
        speaker.say(&hidden, "asked for", 1);
        assert_eq!(member.receive().text(), "asked for");
    }

    fn what_only_looks_like_a_share_is_an_ordinary_subscription(version: Version) {
        let scene = Scene::new(version);
        let mut device = scene.device("device");
        for start in ["$shared", "$SHARE", "$sharing/g", "share/g", "/$share/g"] {
            let topic = format!("{start}/{}", scene.topic("t"));
            device.subscribe(&topic, 1);
            device.say(&topic, start, 1);
            assert_eq!(device.receive().text(), start);
        }
    }

    fn a_malformed_share_is_refused(version: Version) {
        let scene = Scene::new(version);
        let bad = [
            "$share//t", "$share/g", "$share/g/", "$share/",
            "$share/g+/t", "$share/#/t", "$share/+/t", "$share/g/a/#/b",
        ];
        for filter in bad {
            let mut device = scene.talker("device");
            device.wire.send(&packets::subscribe(version, 3, &Vec::new(), &[(filter, 1)]));
            let seen = device.wire.look(DEADLINE);
            let Seen::Packet(packet) = seen else {
                assert!(seen == Seen::Closed && !version.is_v5(), "{filter}: {seen:?}");
                continue;
            };
            if packet.kind() == kind::DISCONNECT && version.is_v5() {
                let allowed = [reason::MALFORMED, reason::PROTOCOL_ERROR, reason::TOPIC_FILTER_INVALID];
                assert!(allowed.contains(&packet.disconnect_reason()), "{filter}: {packet:?}");
                continue;
            }
            let failure = if version.is_v5() { reason::TOPIC_FILTER_INVALID } else { 0x80 };
            assert_eq!((packet.kind(), packet.codes(version)), (kind::SUBACK, vec![failure]), "{filter}");
        }
    }
}

#[test]
fn shared_subscriptions_are_not_said_to_be_missing() {
    let scene = Scene::new(Version::V5);
    let told = number(&scene.talker("device").connack.properties, SHARED_AVAILABLE);
    assert_ne!(told, Some(0));
}

#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let scene = Scene::new(Version::V5);
    let mut device = scene.talker("device");
    let filter = share(&scene, "g", "t");
    device.wire.send(&packets::subscribe(Version::V5, 1, &Vec::new(), &[(&filter, 1 | option::NO_LOCAL)]));
    device.expect_refusal("No Local", &[reason::PROTOCOL_ERROR]);
}

#[test]
fn a_message_carries_the_identifier_of_the_member_that_gets_it() {
    let scene = Scene::new(Version::V5);
    let filter = share(&scene, "g", "t");
    let mut members: Vec<Device> = (0..2)
        .map(|number| {
            let mut member = scene.device(&format!("member{number}"));
            let identifier = vec![(property::SUBSCRIPTION_ID, Value::Variable(number + 1))];
            assert_eq!(member.subscribe_with(&identifier, &[(&filter, 1)]), [1]);
            member.subscribe(&scene.topic("end"), 1);
            member
        })
        .collect();
    let mut speaker = scene.device("speaker");
    speaker.publish_all(numbered("m", 20).iter().map(|text| Publish::new(&scene.topic("t"), text).qos(1)));
    speaker.say(&scene.topic("end"), "end", 1);
    let mut count = 0;
    for (place, member) in members.iter_mut().enumerate() {
        let mine = u32::try_from(place + 1).expect("small");
        for message in member.receive_before("end") {
            assert_eq!(message.properties, [(property::SUBSCRIPTION_ID, Value::Variable(mine))]);
            count += 1;
        }
    }
    assert_eq!(count, 20);
}

#[test]
fn a_refused_message_goes_to_no_other_member() {
    let scene = Scene::new(Version::V5);
    let mut members = pair(&scene, &share(&scene, "g", "t"), 2);
    let mut speaker = scene.device("speaker");
    for (qos, kind_of) in [(1, kind::PUBACK), (2, kind::PUBREC), (1, kind::PUBACK), (2, kind::PUBREC)] {
        speaker.say(&scene.topic("t"), "refused", qos);
        let (place, message) = whoever(&mut members);
        assert_eq!((message.text().as_str(), message.qos), ("refused", qos));
        members[place].ack_with(kind_of, message.id, reason::UNSPECIFIED_ERROR);
        members[place].ping();
        members[1 - place].ping();
    }
    // Nor does it come when one of them goes.
    let gone = members.remove(0);
    gone.cut();
    members[0].expect_silence();
    let mut back = scene.talker_with(&scene.lasting("a"));
    back.ping();
}

#[test]
fn an_open_qos_1_message_of_a_session_that_ends_goes_to_another_member() {
    let scene = Scene::new(Version::V5);
    let filter = share(&scene, "g", "t");
    let mut members = vec![scene.talker("a"), scene.talker("b")];
    for member in &mut members {
        assert_eq!(member.subscribe(1, &[(&filter, 1)]), [1]);
    }
    scene.device("speaker").say(&scene.topic("t"), "m", 1);
    let (place, message) = whoever(&mut members);
    assert!(!message.dup);
    members.remove(place).cut();
    // A new message to the other member, not a repeat of one that it had.
    let again = members[0].message();
    assert_eq!((again.text(), again.qos, again.dup), ("m".to_owned(), 1, false));
    members[0].ack(kind::PUBACK, again.id);
    members[0].ping();
}

#[test]
fn an_open_qos_2_message_is_completed_with_the_member_that_got_it() {
    let scene = Scene::new(Version::V5);
    let filter = share(&scene, "g", "t");
    for released in [false, true] {
        let mut members = pair(&scene, &filter, 2);
        scene.device("speaker").say(&scene.topic("t"), "m", 2);
        let (place, sent) = whoever(&mut members);
        if released {
            members[place].ack(kind::PUBREC, sent.id);
            members[place].answer(kind::PUBREL, sent.id);
        }
        members.remove(place).cut();
        members[0].expect_silence();
        let mut back = scene.talker_with(&scene.lasting(["a", "b"][place]));
        assert!(back.connack.session_present);
        if released {
            assert_eq!(back.answer(kind::PUBREL, sent.id), 0);
        } else {
            assert_eq!(back.message(), Publish { dup: true, ..sent.clone() });
            back.ack(kind::PUBREC, sent.id);
            assert_eq!(back.answer(kind::PUBREL, sent.id), 0);
        }
        back.ack(kind::PUBCOMP, sent.id);
        back.ping();
        members[0].ping();
    }
}

#[test]
fn an_open_qos_2_message_of_a_session_that_ends_goes_to_nobody_else() {
    let scene = Scene::new(Version::V5);
    let filter = share(&scene, "g", "t");
    let mut members = vec![scene.talker("a"), scene.talker("b")];
    for member in &mut members {
        assert_eq!(member.subscribe(1, &[(&filter, 2)]), [2]);
    }
    scene.device("speaker").say(&scene.topic("t"), "m", 2);
    let (place, _) = whoever(&mut members);
    members.remove(place).cut();
    members[0].expect_silence();
    scene.device("speaker").say(&scene.topic("t"), "next", 2);
    assert_eq!(members[0].message().text(), "next");
}

#[test]
fn members_of_both_versions_share() {
    let scene = Scene::new(Version::V5);
    let filter = share(&scene, "g", "t");
    let mut members = members(&scene, 1, &filter, 1);
    let mut old = scene.in_version(Version::V4).device("old");
    old.subscribe(&filter, 1);
    old.subscribe(&scene.topic("end"), 2);
    members.push(old);
    let wanted = numbered("m", 40);
    scene
        .device("speaker")
        .publish_all(wanted.iter().map(|text| Publish::new(&scene.topic("t"), text).qos(1)));
    let shares = shares(&scene, &mut members);
    assert_eq!(together(&shares), wanted);
    assert!(shares.iter().all(|share| !share.is_empty()), "{shares:?}");
}

#[test]
fn a_member_with_a_full_window_does_not_hold_the_others_up() {
    let scene = Scene::new(Version::V5);
    let filter = share(&scene, "g", "t");
    let narrow = scene.connect("narrow").property(property::RECEIVE_MAXIMUM, Value::Two(1));
    let mut narrow = scene.talker_with(&narrow);
    assert_eq!(narrow.subscribe(1, &[(&filter, 1)]), [1]);
    let mut wide = scene.device("wide");
    wide.subscribe(&filter, 1);
    wide.subscribe(&scene.topic("end"), 1);
    let mut speaker = scene.device("speaker");
    let wanted = numbered("m", 20);
    speaker.publish_all(wanted.iter().map(|text| Publish::new(&scene.topic("t"), text).qos(1)));
    speaker.say(&scene.topic("end"), "end", 1);
    let mut all = wide.texts_before("end");
    assert!(!all.is_empty(), "the open member gets its share at once");
    while all.len() < wanted.len() {
        let message = narrow.message();
        all.push(message.text());
        narrow.ack(kind::PUBACK, message.id);
    }
    all.sort();
    assert_eq!(all, wanted);
}
