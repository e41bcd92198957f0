//! Which subscriptions of a session count for a message, and which sessions share one.

use std::time::Duration;

use bytes::Bytes;
use mqtt::Properties;
use mqtt::packet::SubscriptionOptions;

use super::*;
use crate::delivery_queue::{AbsentSubscriber, QueueLimits, SlowSubscriber};
use crate::messages::RetainedWish;

struct Scene {
    subscriptions: Subscriptions,
    queues: Vec<Arc<DeliveryQueue>>,
}

/// QoS of a subscription that wants no messages of its own session.
fn no_local(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, no_local: true, ..SubscriptionOptions::default() }
}

fn at(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

fn retain_as_published(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, retain_as_published: true, ..SubscriptionOptions::default() }
}

impl Scene {
    fn new(sessions: usize) -> Scene {
        let queue = |_| {
            let (slow, absent) = (SlowSubscriber::DropNewest, AbsentSubscriber::DropNewest);
            let slow_patience = Duration::from_secs(10);
            let limits = QueueLimits { messages_max: 100, bytes_max: 100_000, slow, slow_patience, absent };
            let queue = DeliveryQueue::new(limits);
            queue.set_connected(true);
            queue.lock().set_window(100, 100, None);
            queue
        };
        Scene { subscriptions: Subscriptions::new(), queues: (0..sessions).map(queue).collect() }
    }

    fn subscribe(&mut self, session: usize, text: &str, options: SubscriptionOptions, identifier: u32) {
        let subscriber = Subscribe {
            session_id: SessionId(session as u64),
            queue: self.queues[session].clone(),
            subscriptions: Vec::new(),
            subscription_identifier: Some(identifier),
            durable: None,
            retained: RetainedWish::None,
        };
        let filter = filter(text);
        if filter.shared().is_some() {
            self.subscriptions.join(&subscriber, &filter, options);
        } else {
            self.subscriptions.add(&subscriber, &filter, options);
        }
    }

    fn unsubscribe(&mut self, session: usize, text: &str) -> bool {
        self.subscriptions.remove(SessionId(session as u64), &filter(text))
    }

    /// Publishes a retained message at QoS 2.
    fn publish(&mut self, publisher: usize, topic: &str) {
        let message = ApplicationMessage {
            topic_name: TopicName::new(topic).expect("a topic name"),
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: Properties::default(),
            payload: Bytes::new(),
        };
        let receivers = self.subscriptions.receivers_of(&message.topic_name);
        let publisher = Some(SessionId(publisher as u64));
        let source = Source { publisher, proxies: None };
        self.subscriptions.deliver(message, &receivers, source, Instant::now(), None, None);
    }

    /// QoS, RETAIN and Subscription Identifiers of what a session got.
    fn taken(&self, session: usize) -> Vec<(u8, bool, Vec<u32>)> {
        let mut queue = self.queues[session].lock();
        let taken = std::iter::from_fn(|| queue.take());
        let told = |delivery: Delivery| {
            let mut identifiers = delivery.subscription_identifiers;
            identifiers.sort_unstable();
            (delivery.qos as u8, delivery.retain, identifiers)
        };
        taken.map(told).collect()
    }
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text.to_owned()).expect("a filter")
}

#[test]
fn overlapping_subscriptions_make_one_delivery_of_all_of_them() {
    let mut scene = Scene::new(1);
    scene.subscribe(0, "a/#", at(QoS::AtMostOnce), 1);
    scene.subscribe(0, "a/+", retain_as_published(QoS::AtLeastOnce), 2);
    scene.subscribe(0, "a/b", at(QoS::ExactlyOnce), 3);
    scene.subscribe(0, "#", no_local(QoS::AtLeastOnce), 4);
    scene.publish(9, "a/b");
    scene.publish(9, "a/b/c");
    assert_eq!(scene.taken(0), [(2, true, vec![1, 2, 3, 4]), (1, false, vec![1, 4])]);
}

#[test]
fn no_local_takes_its_own_subscription_out_and_no_other() {
    // In every order in which they may be met.
    for names in [["a", "b", "c"], ["b", "a", "c"], ["c", "b", "a"]] {
        let mut scene = Scene::new(1);
        for name in names {
            match name {
                "a" => scene.subscribe(0, "t/#", no_local(QoS::ExactlyOnce), 1),
                "b" => scene.subscribe(0, "t", at(QoS::AtLeastOnce), 2),
                _ => {
                    let options =
                        SubscriptionOptions { no_local: true, ..retain_as_published(QoS::AtMostOnce) };
                    scene.subscribe(0, "+", options, 3);
                }
            }
        }
        scene.publish(0, "t");
        scene.publish(1, "t");
        assert_eq!(scene.taken(0), [(1, false, vec![2]), (2, true, vec![1, 2, 3])], "{names:?}");
    }
    let mut scene = Scene::new(1);
    scene.subscribe(0, "t", no_local(QoS::AtLeastOnce), 1);
    scene.subscribe(0, "#", no_local(QoS::AtLeastOnce), 2);
    scene.publish(0, "t");
    assert_eq!(scene.taken(0), []);
}

#[test]
fn two_subscriptions_without_no_local_count_for_own_messages_beside_one_with_it() {
    let mut scene = Scene::new(1);
    scene.subscribe(0, "t", no_local(QoS::ExactlyOnce), 1);
    scene.subscribe(0, "+", at(QoS::AtMostOnce), 2);
    scene.subscribe(0, "#", retain_as_published(QoS::AtLeastOnce), 3);
    scene.publish(0, "t");
    assert_eq!(scene.taken(0), [(1, true, vec![2, 3])]);
}

#[test]
fn every_group_gets_a_message_once_beside_the_ordinary_subscriptions() {
    let mut scene = Scene::new(3);
    scene.subscribe(0, "$share/g/t", at(QoS::AtLeastOnce), 1);
    scene.subscribe(1, "$share/g/t", retain_as_published(QoS::AtMostOnce), 2);
    scene.subscribe(2, "$share/h/#", at(QoS::ExactlyOnce), 3);
    scene.subscribe(0, "t", at(QoS::ExactlyOnce), 4);
    assert_eq!((scene.subscriptions.len(), scene.subscriptions.shared_len()), (4, 3));
    for _ in 0..2 {
        scene.publish(2, "t");
    }
    let mut first = scene.taken(0);
    first.sort();
    assert_eq!(first, [(1, false, vec![1]), (2, false, vec![4]), (2, false, vec![4])]);
    assert_eq!(scene.taken(1), [(0, true, vec![2])]);
    assert_eq!(scene.taken(2), [(2, false, vec![3]), (2, false, vec![3])], "No Local is not for groups");
}

#[test]
fn a_session_may_be_in_two_groups_of_one_pattern() {
    let mut scene = Scene::new(1);
    scene.subscribe(0, "$share/g/t", at(QoS::AtLeastOnce), 1);
    scene.subscribe(0, "$share/h/t", at(QoS::AtLeastOnce), 2);
    scene.publish(1, "t");
    assert_eq!(scene.taken(0), [(1, false, vec![1]), (1, false, vec![2])]);
    assert!(scene.unsubscribe(0, "$share/g/t"));
    assert!(!scene.unsubscribe(0, "$share/g/t"));
    assert!(!scene.unsubscribe(0, "t"), "the pattern alone is another subscription");
    scene.publish(1, "t");
    assert_eq!(scene.taken(0), [(1, false, vec![2])]);
    assert!(scene.unsubscribe(0, "$share/h/t"));
    assert_eq!((scene.subscriptions.is_empty(), scene.subscriptions.shared_len()), (true, 0));
    scene.publish(1, "t");
    assert_eq!(scene.taken(0), []);
}

#[test]
fn members_who_come_and_go_are_seen_although_answers_are_remembered() {
    let mut scene = Scene::new(3);
    scene.subscribe(0, "$share/g/t", at(QoS::AtLeastOnce), 1);
    scene.publish(9, "t");
    scene.subscribe(1, "$share/g/t", at(QoS::AtLeastOnce), 1);
    scene.publish(9, "t");
    scene.publish(9, "t");
    assert_eq!((scene.taken(0).len(), scene.taken(1).len()), (2, 1));
    assert!(scene.unsubscribe(0, "$share/g/t"));
    scene.queues[1].set_connected(false);
    scene.subscribe(2, "$share/g/+", at(QoS::AtLeastOnce), 1);
    scene.publish(9, "t");
    assert_eq!([0, 1, 2].map(|session| scene.taken(session).len()), [0, 1, 1]);
}
