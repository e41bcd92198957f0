//! What the Router costs for a batch of 512 messages of 64 bytes to 1,000 topics: appending it to the log
//! while four readers read everything, and routing it as an actor, with and without an upstream broker that
//! wants it and local subscribers that get it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, System};
use actors::broker::BrokerSource;
use actors::delivery_queue::{AbsentSubscriber, DeliveryQueue, QueueLimits, SlowSubscriber};
use actors::message_log::{LogReader, MessageLog};
use actors::messages::{BrokersChanged, RetainedWish, Route, SessionId, Subscribe};
use actors::router::{RetainedLimits, Router, RouterLimits};
use actors::{BrokerChanges, BrokerId, Metrics, Origin, limits};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mqtt::packet::SubscriptionOptions;
use mqtt::{Message as ApplicationMessage, Properties, QoS, TopicFilter, TopicName};
use uuid::Uuid;

const BATCH_MESSAGES: usize = 512;
const PAYLOAD_BYTES: usize = 64;
const TOPICS: u32 = 1_000;
const READERS: usize = 4;
const SUBSCRIPTIONS: u32 = 100;

/// How many batches take turns.
const BATCHES: u32 = 16;

/// Small, so that the log of an absent broker is soon full and stays so.
const HEAD_BYTES: usize = 8 * 1024 * 1024;

/// A Router with what is around it.
struct Rig {
    router: Addr<Router>,
    queues: Vec<Arc<DeliveryQueue>>,
}

impl Rig {
    async fn start(has_upstream: bool, subscribers: u32) -> Rig {
        let metrics = Arc::new(Metrics::new().expect("metrics can be made"));
        let router_limits = RouterLimits {
            retained: RetainedLimits { messages_max: 0, bytes_max: 0 },
            packet_bytes_max: limits::UPSTREAM_PACKET_BYTES_MAX,
        };
        let router = Router::new(MessageLog::new(HEAD_BYTES), metrics, router_limits).start();
        if has_upstream {
            add_absent_upstream(&router).await;
        }
        let mut queues = Vec::new();
        for number in 0..subscribers {
            let filter = TopicFilter::new(format!("site/{number}/#")).expect("a filter");
            let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
            let queue = DeliveryQueue::new(QueueLimits {
                messages_max: usize::MAX,
                bytes_max: usize::MAX,
                slow: SlowSubscriber::default(),
                slow_patience: Duration::MAX,
                absent: AbsentSubscriber::default(),
            });
            queue.set_connected(true);
            queues.push(queue.clone());
            let subscribe = Subscribe {
                session_id: SessionId(u64::from(number)),
                queue,
                subscriptions: vec![(filter, options)],
                subscription_identifier: None,
                durable: None,
                retained: RetainedWish::Now,
            };
            router.send(subscribe).await.expect("the Router lives");
        }
        Rig { router, queues }
    }

    /// Routes `count` batches, one after the other, and empties the subscribers' queues after each; answers with the time
    /// of all.
    async fn route(&self, batches: &[Vec<ApplicationMessage>], count: u64) -> Duration {
        let mut elapsed = Duration::ZERO;
        for batch in batches.iter().cycle().take(count as usize) {
            let route = Route::new(Origin::Device, batch.clone());
            let start = Instant::now();
            let routed = self.router.send(route).await.expect("the Router lives");
            let taken: usize = self.queues.iter().map(|queue| take_all(queue)).sum();
            elapsed += start.elapsed();
            assert!(routed.wait_for.is_none(), "an absent broker holds up nobody");
            assert_eq!(taken, if self.queues.is_empty() { 0 } else { BATCH_MESSAGES });
        }
        elapsed
    }
}

fn take_all(queue: &DeliveryQueue) -> usize {
    let mut state = queue.lock();
    std::iter::from_fn(|| state.take()).count()
}

/// An upstream broker that nobody can connect to: the log keeps what it wants.
async fn add_absent_upstream(router: &Addr<Router>) {
    let changes = BrokerChanges::new().with("name", "absent").with("address", "127.0.0.1").with("port", 1);
    let broker = changes.create(BrokerId(Uuid::from_u128(1)), BrokerSource::Stored).expect("a broker");
    let changed = BrokersChanged { revision: 1, brokers: vec![Arc::new(broker)], groups: Vec::new() };
    router.send(changed).await.expect("the Router lives");
}

/// Batches of messages to topics in an order that follows no other; each of 100 sites has 10 topics.
fn batches() -> Vec<Vec<ApplicationMessage>> {
    let message = |number: u32| {
        let topic = number.wrapping_mul(7_919) % TOPICS;
        let name = format!("site/{}/device/{topic}/temperature", topic % SUBSCRIPTIONS);
        ApplicationMessage {
            topic_name: TopicName::new(name).expect("a topic"),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Properties::default(),
            payload: Bytes::from(vec![b'x'; PAYLOAD_BYTES]),
        }
    };
    let of_batch = |batch: u32| {
        let first = batch * BATCH_MESSAGES as u32;
        (first..first + BATCH_MESSAGES as u32).map(message).collect()
    };
    (0..BATCHES).map(of_batch).collect()
}

/// Reads to the end of the log, as an upstream broker does; answers with the bytes of all payloads.
fn read_all(reader: &mut LogReader) -> usize {
    let mut payload_bytes = 0;
    while let Some((_, record)) = reader.peek() {
        payload_bytes += black_box(record).payload.len();
        reader.advance();
    }
    let end = reader.position();
    reader.publish(end, None);
    payload_bytes
}

fn append_and_read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a batch of 512 messages in the log");
    group.throughput(Throughput::Elements(BATCH_MESSAGES as u64));
    let batches = batches();
    for (name, readers) in [("append", 0), ("append, 4 readers read it", READERS)] {
        let log = MessageLog::new(HEAD_BYTES);
        let mut readers: Vec<LogReader> = (0..readers).map(|_| log.place(None).reader()).collect();
        let mut turns = batches.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let batch = turns.next().map_or(&[][..], Vec::as_slice);
                log.append_plain(batch.iter(), Origin::Device, 1);
                for reader in &mut readers {
                    assert_eq!(read_all(reader), BATCH_MESSAGES * PAYLOAD_BYTES);
                }
            });
        });
    }
    group.finish();
}

fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a batch of 512 messages through the Router");
    group.throughput(Throughput::Elements(BATCH_MESSAGES as u64));
    let batches = batches();
    for (name, has_upstream, subscribers) in [
        ("to nobody", false, 0),
        ("to the log", true, 0),
        ("to 100 subscriptions", false, SUBSCRIPTIONS),
        ("to the log and 100 subscriptions", true, SUBSCRIPTIONS),
    ] {
        let system = System::new();
        let mut rig = None;
        group.bench_function(name, |bencher| {
            // Only a benchmark that is run has actors: those that never ran would fail where they are dropped.
            let rig = &*rig.get_or_insert_with(|| system.block_on(Rig::start(has_upstream, subscribers)));
            bencher.iter_custom(|count| system.block_on(rig.route(&batches, count)));
        });
    }
    group.finish();
}

criterion_group!(benches, append_and_read, route);
criterion_main!(benches);
