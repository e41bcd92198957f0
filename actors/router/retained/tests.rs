//! The retained messages against a plain table, and a search that takes many batches against one that takes one.

use std::collections::BTreeMap;

use bytes::Bytes;
use mqtt::{Properties, Property, QoS};
use proptest::prelude::*;

use super::*;

fn message(topic: &str, payload_bytes: usize, expiry_secs: Option<u32>) -> Message {
    let property = expiry_secs.map(Property::MessageExpiryInterval);
    Message {
        topic_name: TopicName::new(topic.to_owned()).expect("a topic name"),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: Properties::from_properties(property).expect("a property of PUBLISH"),
        payload: Bytes::from(vec![b'x'; payload_bytes]),
    }
}

fn retained(messages_max: usize, bytes_max: usize) -> Retained {
    Retained::new(RetainedLimits { messages_max, bytes_max })
}

fn search(retained: &Retained, filter: &str) -> RetainedSearch {
    let filter = TopicFilter::new(filter.to_owned()).expect("a filter");
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    retained.search_for(&filter, options, None, true).expect("something is kept")
}

/// All that a search finds, batch for batch, and how many batches that were.
fn find(retained: &Retained, filter: &str, now: Instant) -> (Vec<String>, usize) {
    let (mut found, mut batches) = (Vec::new(), 0);
    let mut next = Some(search(retained, filter));
    while let Some(search) = next {
        let mut batch = Vec::new();
        next = retained.search(search, &mut SearchBudget::of_batch(), now, &mut batch);
        assert!(batch.len() <= limits::RETAINED_BATCH_MESSAGES);
        found.extend(batch.iter().map(|delivery| delivery.message.topic_name.as_str().to_owned()));
        batches += 1;
    }
    found.sort_unstable();
    (found, batches)
}

#[test]
fn a_wide_search_takes_many_batches_and_finds_everything_once() {
    let now = Instant::now();
    let mut retained = retained(100_000, usize::MAX);
    let mut wanted = Vec::new();
    for number in 0..20_000 {
        let topic = format!("{}/{}/{number}", ["a", "b"][number % 2], number % 7);
        retained.set(&message(&topic, 10, None), now);
        wanted.push(topic);
    }
    wanted.sort_unstable();
    let (found, batches) = find(&retained, "#", now);
    assert!(found == wanted, "{} of {}", found.len(), wanted.len());
    assert_eq!(batches, 20_000_usize.div_ceil(limits::RETAINED_BATCH_MESSAGES));
    let (found, _) = find(&retained, "b/#", now);
    assert!(found.iter().eq(wanted.iter().filter(|topic| topic.starts_with('b'))));
    let (found, batches) = find(&retained, "a/0/0", now);
    assert_eq!((found, batches), (vec!["a/0/0".to_owned()], 1), "a narrow search looks at nothing else");
}

#[test]
fn a_search_that_finds_little_among_many_takes_no_long_turn() {
    let now = Instant::now();
    let mut retained = retained(100_000, usize::MAX);
    for number in 0..20_000 {
        let last = if number % 9_999 == 0 { "b" } else { "a" };
        retained.set(&message(&format!("{number}/{last}"), 1, None), now);
    }
    let (found, batches) = find(&retained, "+/b", now);
    assert_eq!(found, ["0/b", "19998/b", "9999/b"]);
    assert_eq!(batches, 20_000_usize.div_ceil(limits::RETAINED_BATCH_STEPS));
}

#[test]
fn large_messages_make_small_batches_and_one_always_passes() {
    let now = Instant::now();
    let mut retained = retained(100, usize::MAX);
    for number in 0..4 {
        retained.set(&message(&format!("t/{number}"), 2 * limits::RETAINED_BATCH_BYTES, None), now);
    }
    assert_eq!(find(&retained, "t/+", now), (["t/0", "t/1", "t/2", "t/3"].map(str::to_owned).to_vec(), 4));
}

#[test]
fn what_comes_after_the_subscription_is_no_retained_message_to_it() {
    let now = Instant::now();
    let mut retained = retained(100, usize::MAX);
    retained.set(&message("old", 1, None), now);
    retained.set(&message("replaced", 1, None), now);
    let search = search(&retained, "#");
    retained.set(&message("new", 1, None), now);
    retained.set(&message("replaced", 2, None), now);
    let mut found = Vec::new();
    assert!(retained.search(search, &mut SearchBudget::of_batch(), now, &mut found).is_none());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message.topic_name.as_str(), "old");
}

#[test]
fn a_full_store_keeps_what_it_has_and_replaces_it_within_its_bytes() {
    let now = Instant::now();
    let mut retained = retained(2, 100);
    assert!(retained.set(&message("a", 49, None), now) && retained.set(&message("b", 49, None), now));
    assert!(!retained.has_room_for(&message("c", 1, None), now), "too many");
    assert!(!retained.has_room_for(&message("a", 50, None), now), "too long");
    assert!(retained.set(&message("a", 40, None), now));
    assert!(retained.set(&message("b", 58, None), now));
    assert_eq!((retained.len(), retained.bytes()), (2, 100));
    assert!(!retained.set(&message("a", 42, None), now));
    assert_eq!((retained.len(), retained.bytes()), (1, 59), "an old message is no last one");
    assert_eq!(retained.take_forgotten(), [TopicName::new("a").expect("a topic name")]);
    assert!(retained.set(&message("c", 40, None), now), "there is room again");
    assert!(retained.set(&message("b", 0, None), now), "removing always works");
    assert_eq!(retained.bytes(), 41);
}

#[test]
fn what_has_expired_gives_way_and_is_swept_a_few_at_a_time() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let mut retained = retained(3_000, usize::MAX);
    for number in 0..3_000 {
        retained.set(&message(&format!("t/{number}"), 1, Some(1)), now);
    }
    retained.sweep(now);
    assert_eq!(retained.len(), 3_000, "nothing has expired yet");
    assert!(find(&retained, "#", later).0.is_empty(), "expired messages are not sent");
    retained.sweep(later);
    assert_eq!(retained.len(), 3_000 - limits::RETAINED_SWEEP_MESSAGES);
    assert_eq!(retained.take_forgotten().len(), limits::RETAINED_SWEEP_MESSAGES);
    for number in 0..3_000 {
        assert!(retained.set(&message(&format!("u/{number}"), 1, None), later), "they give way");
    }
    assert_eq!(retained.len(), 3_000);
}

#[test]
fn what_lies_below_sys_does_not_count_and_is_found_in_batches_of_its_own() {
    let now = Instant::now();
    let mut retained = retained(1, 20);
    let wanted: Vec<String> = (1_000..3_000).map(|number| format!("$SYS/broker/{number}")).collect();
    for topic in &wanted {
        assert!(retained.set(&message(topic, 1_000, None), now));
    }
    assert_eq!((retained.len(), retained.bytes()), (0, 0));
    assert!(retained.set(&message("t/1", 10, None), now), "all room is left");
    assert!(!retained.set(&message("t/2", 1, None), now));
    assert!(retained.set(&message(&wanted[0], 2_000, None), now), "a full store is none of its business");
    assert_eq!((retained.len(), retained.bytes()), (1, 13));
    let (found, batches) = find(&retained, "$SYS/#", now);
    assert!(found == wanted, "{} of {}", found.len(), wanted.len());
    assert!(batches > 1);
    assert_eq!(find(&retained, "#", now), (vec!["t/1".to_owned()], 1));
    assert!(retained.set(&message(&wanted[0], 0, None), now));
    assert_eq!(find(&retained, "$SYS/#", now).0.len(), wanted.len() - 1);
}

proptest! {
    #[test]
    fn messages_and_bytes_are_counted_exactly(
        steps in prop::collection::vec((0u8..6, 0usize..40, prop::option::of(0u32..4), 0u64..2), 0..80),
    ) {
        let (mut retained, mut now) = (retained(4, 100), Instant::now());
        let mut table: BTreeMap<String, (usize, Option<Instant>)> = BTreeMap::new();
        for (topic, payload_bytes, expiry_secs, pause_secs) in steps {
            now += Duration::from_secs(pause_secs);
            let message = message(&format!("t/{topic}"), payload_bytes, expiry_secs);
            // What has expired goes when there is no room, so it goes here before the look.
            retained.sweep(now);
            table.retain(|_, (_, expires_at)| expires_at.is_none_or(|at| at > now));
            let kept = retained.set(&message, now);
            let present = table.remove(message.topic_name.as_str());
            if payload_bytes > 0 {
                let bytes: usize = table.values().map(|(bytes, _)| bytes).sum();
                let weight = content_bytes(&message);
                let fits = bytes + weight <= 100 && (present.is_some() || table.len() < 4);
                prop_assert_eq!(kept, fits);
                if fits {
                    let expires_at = expiry_secs.map(|secs| now + Duration::from_secs(secs.into()));
                    table.insert(message.topic_name.as_str().to_owned(), (weight, expires_at));
                }
            }
            prop_assert_eq!(retained.len(), table.len());
            prop_assert_eq!(retained.bytes(), table.values().map(|(bytes, _)| bytes).sum::<usize>());
            prop_assert_eq!(retained.clients.by_version.len(), table.len());
            let expiring = table.values().filter(|(_, at)| at.is_some()).count();
            prop_assert_eq!(retained.clients.expiries_len(), expiring);
        }
    }
}
