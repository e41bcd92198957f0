//! How long it takes to find the subscriptions of a Topic Name among 100,000 Topic Filters, to subscribe and
//! unsubscribe beside them, and to find the retained messages of a Topic Filter among 100,000 Topic Names.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mqtt::retained::RetainedStore;
use mqtt::topic::FilterTrie;
use mqtt::{TopicFilter, TopicName};

/// How many filters, and how many retained messages.
const COUNT: u32 = 100_000;

/// How many topics take turns, so that the caches do not hold the answer to the only question.
const TOPICS: u32 = 8_192;

type Trie = FilterTrie<u64, [u8; 8]>;

fn topic_text(number: u32) -> String {
    format!("site/{}/device/{number}/temperature", number % 100)
}

fn exact(number: u32) -> String {
    topic_text(number)
}

fn plus(number: u32) -> String {
    match number % 2 {
        0 => format!("site/+/device/{number}/temperature"),
        _ => format!("site/{}/device/{number}/+", number % 100),
    }
}

fn hash(number: u32) -> String {
    match number % 2 {
        0 => format!("site/{}/device/{number}/#", number % 100),
        _ => format!("site/+/device/{number}/#"),
    }
}

/// Six of ten filters without a wildcard, and two each with `+` and with `#`.
fn mixed(number: u32) -> String {
    match number % 10 {
        0..6 => exact(number),
        6..8 => plus(number),
        _ => hash(number),
    }
}

fn filter(text: String) -> TopicFilter {
    TopicFilter::new(text).expect("a filter")
}

fn topic(text: String) -> TopicName {
    TopicName::new(text).expect("a topic")
}

fn trie_of(shape: fn(u32) -> String) -> Trie {
    let mut trie = Trie::new();
    for number in 0..COUNT {
        trie.insert(&filter(shape(number)), u64::from(number), [0; 8]);
    }
    trie
}

/// Topics out of the whole range, in an order that follows no other.
fn topics() -> Vec<TopicName> {
    (0..TOPICS).map(|turn| topic(topic_text(turn * 7_919 % COUNT))).collect()
}

fn count_matches(trie: &Trie, topic: &TopicName) -> u32 {
    let mut count = 0;
    trie.for_each_match(topic, |key, _| {
        black_box(key);
        count += 1;
    });
    count
}

/// The text of the filter with a number.
type Shape = fn(u32) -> String;

fn match_one_topic(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("match one topic against 100,000 filters");
    let topics = topics();
    let shapes: [(&str, Shape); 4] = [("exact", exact), ("plus", plus), ("hash", hash), ("mixed", mixed)];
    for (name, shape) in shapes {
        let trie = trie_of(shape);
        let mut turns = topics.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| turns.next().map(|topic| count_matches(&trie, topic)));
        });
        let no_match: Vec<_> =
            (0..TOPICS).map(|turn| topic(format!("site/{}/no/{turn}", turn % 100))).collect();
        let mut turns = no_match.iter().cycle();
        group.bench_function(format!("{name}, no match"), |bencher| {
            bencher.iter(|| turns.next().map(|topic| count_matches(&trie, topic)));
        });
    }
    group.finish();
}

/// The longest topic of empty levels, against filters that all keep up with it for as long as they can.
fn match_the_deepest_topic(criterion: &mut Criterion) {
    let mut trie = Trie::new();
    for number in 0..1_000 {
        trie.insert(&filter("+/".repeat(number * 32) + "+"), number as u64, [0; 8]);
    }
    trie.insert(&filter("+/".repeat(32_767) + "#"), 1_000, [0; 8]);
    let deepest = topic("/".repeat(65_535));
    criterion.bench_function("match 65,535 slashes against 1,001 chains of plus", |bencher| {
        bencher.iter(|| count_matches(&trie, &deepest));
    });
}

fn subscribe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("subscribe");
    let filters: Vec<_> = (0..COUNT).map(|number| filter(mixed(number))).collect();
    group.throughput(Throughput::Elements(u64::from(COUNT)));
    group.sample_size(10);
    group.bench_function("100,000 filters, from none", |bencher| {
        let insert_all = |mut trie: Trie| {
            for (key, filter) in (0..).zip(&filters) {
                trie.insert(filter, key, [0; 8]);
            }
            trie
        };
        bencher.iter_batched(Trie::new, insert_all, BatchSize::PerIteration);
    });
    group.throughput(Throughput::Elements(1));
    group.sample_size(100);
    let mut trie = trie_of(mixed);
    let mut turns =
        (COUNT..2 * COUNT).map(|number| filter(mixed(number))).collect::<Vec<_>>().into_iter().cycle();
    group.bench_function("one filter beside 100,000, and unsubscribe", |bencher| {
        bencher.iter(|| {
            turns.next().map(|filter| {
                trie.insert(&filter, 1, [0; 8]);
                trie.remove(&filter, 1)
            })
        });
    });
    group.finish();
}

fn find_retained(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find retained among 100,000 topics");
    let mut store = RetainedStore::new();
    for number in 0..COUNT {
        store.set(topic(topic_text(number)), number);
    }
    let topics = topics();
    let mut turns = topics.iter().cycle();
    group.bench_function("get one topic", |bencher| {
        bencher.iter(|| turns.next().and_then(|topic| store.get(topic)));
    });
    let mut turns = topics.iter().cycle();
    group.bench_function("set one topic anew", |bencher| {
        bencher.iter(|| turns.next().map(|topic| store.set(topic.clone(), 1)));
    });
    let filters = [
        ("one by exact filter", "site/42/device/4242/temperature"),
        ("one by #", "site/42/device/4242/#"),
        ("one by + (100 nodes to look at)", "site/+/device/4242/temperature"),
        ("1,000 by #", "site/42/#"),
    ];
    for (name, text) in filters {
        let filter = filter(text.to_owned());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut count = 0;
                store.for_each_match(&filter, |_, value| {
                    black_box(value);
                    count += 1;
                });
                count
            });
        });
    }
    group.finish();
}

criterion_group!(benches, match_one_topic, match_the_deepest_topic, subscribe, find_retained);
criterion_main!(benches);
