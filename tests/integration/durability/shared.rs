//! A share group of durable members across kills: the members come, go and are cut off, and the proxy dies at moments that nobody
//! chose. In the end the group has everything: QoS 1 at least once, QoS 2 exactly once, whoever got it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::thread;

use crate::support::packets::Publish;
use crate::support::proxy::Setup;
use crate::support::random::Random;
use crate::support::receiver::texts_on;
use crate::support::reporter::Reporter;
use crate::support::subscriber::Subscriber;
use crate::support::{Version, assert_same, wait_until};

const ROUNDS: usize = 40;
/// Messages of one round.
const ROUND_MESSAGES: usize = 120;

#[test]
fn a_group_loses_nothing_however_often_the_proxy_and_its_members_go() {
    let mut random = Random::announced("the kills of a share group");
    let settings = "limits.queued_messages_max = 1000000";
    let mut proxy = Setup::new().settings(settings).start();
    let member = |(version, name)| Subscriber::new(version, name, "$share/g/#");
    let mut members = [(Version::V4, "a"), (Version::V5, "b"), (Version::V5, "c")].map(member);
    for member in &mut members {
        assert!(member.attach(proxy.mqtt()), "the proxy runs");
        member.leave();
    }
    let mut reporter = Reporter::new(Version::V5, "reporter", random.next());
    for _ in 0..ROUNDS {
        let mqtt = proxy.mqtt();
        let finished = reporter.finished();
        let goal = finished.load(Ordering::Relaxed) + random.below(ROUND_MESSAGES);
        // Each member stays until the end, leaves after some messages, or is absent.
        let stays = members.each_ref().map(|_| [usize::MAX, random.below(40), 0][random.below(3)]);
        thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                if reporter.attach(mqtt) {
                    reporter.publish(ROUND_MESSAGES);
                }
            });
            for (member, stay) in members.iter_mut().zip(stays).filter(|(_, stay)| *stay > 0) {
                scope.spawn(move || {
                    let until = member.receiver.arrivals().len().saturating_add(stay);
                    if member.attach(mqtt) {
                        member.listen(|arrived| arrived.len() >= until);
                    }
                    member.leave();
                });
            }
            wait_until("the moment has come", || {
                finished.load(Ordering::Relaxed) >= goal || publishing.is_finished()
            });
            proxy.kill();
        });
        proxy.start_again();
    }
    assert!(reporter.attach(proxy.mqtt()), "the proxy runs");
    reporter.publish(1);
    assert!(reporter.is_content(), "everything is acknowledged");
    let (qos_1, qos_2) = (reporter.texts(1), reporter.texts(2));
    for member in &mut members {
        assert!(member.attach(proxy.mqtt()), "the proxy runs");
    }
    wait_until("the group has everything", || {
        for member in &mut members {
            member.listen_while_there_is_something();
        }
        let arrived = arrived(&members);
        count(&reporter.topic(1), &arrived).len() >= qos_1.len()
            && count(&reporter.topic(2), &arrived).len() >= qos_2.len()
    });
    let arrived = arrived(&members);
    let of_qos_2 = count(&reporter.topic(2), &arrived);
    assert_same(&of_qos_2.keys().cloned().collect::<Vec<_>>(), &sorted(qos_2), "QoS 2");
    let repeated: Vec<_> = of_qos_2.iter().filter(|(_, times)| **times > 1).collect();
    assert!(repeated.is_empty(), "exactly once: {repeated:?}");
    let of_qos_1 = count(&reporter.topic(1), &arrived);
    assert_same(&of_qos_1.keys().cloned().collect::<Vec<_>>(), &sorted(qos_1), "QoS 1");
    for member in &members {
        assert_eq!(member.receiver.faults(), &[] as &[String]);
        assert!(!member.receiver.arrivals().is_empty(), "each had its part");
    }
}

fn arrived(members: &[Subscriber]) -> Vec<Publish> {
    members.iter().flat_map(|member| member.receiver.arrivals()).cloned().collect()
}

fn count(topic: &str, arrived: &[Publish]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for text in texts_on(topic, arrived) {
        *counts.entry(text).or_default() += 1;
    }
    counts
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}
