//! The actor with a real Router, and a registry that answers what the test wants.

use std::time::Duration;

use mqtt::packet::SubscriptionOptions;
use mqtt::{TopicFilter, TopicName};
use uuid::Uuid;

use super::*;
use crate::BrokerId;
use crate::broker::BrokerSource;
use crate::definition::BrokerChanges;
use crate::delivery_queue::DeliveryQueue;
use crate::message_log::MessageLog;
use crate::messages::{
    BrokersChanged, CollectRetained, Delivery, RetainedSearch, RetainedWish, SessionId, Subscribe, Subscribed,
};
use crate::router::{RetainedLimits, Router, RouterLimits};

/// Stands in for the SessionRegistry.
struct Registry;

impl Actor for Registry {
    type Context = Context<Self>;
}

impl Handler<GetSessionsSnapshot> for Registry {
    type Result = SessionsSnapshot;

    fn handle(&mut self, _: GetSessionsSnapshot, _: &mut Context<Self>) -> SessionsSnapshot {
        SessionsSnapshot { sessions: 5, connected: 3 }
    }
}

struct Scene {
    router: Addr<Router>,
    metrics: Arc<Metrics>,
    queue: Arc<DeliveryQueue>,
    sys_topics: Addr<SysTopics>,
}

impl Scene {
    /// The counters are due at the start and a day later.
    fn start() -> Scene {
        let metrics = Arc::new(Metrics::new().expect("the names differ"));
        let state_changes = Arc::new(Notify::new());
        let limits = RouterLimits {
            retained: RetainedLimits { messages_max: 1, bytes_max: 20 },
            packet_bytes_max: 1 << 20,
        };
        let router = Router::new(MessageLog::new(1 << 22), metrics.clone(), limits);
        let router = router.announcing(state_changes.clone()).start();
        let sources = SysSources {
            router: router.clone().recipient(),
            router_snapshot: router.clone().recipient(),
            sessions_snapshot: Registry.start().recipient(),
            state_changes,
            metrics: metrics.clone(),
        };
        let sys_topics = SysTopics::new(sources, Duration::from_secs(86_400)).start();
        let queue = DeliveryQueue::connected_for_test(1 << 22);
        Scene { router, metrics, queue, sys_topics }
    }

    /// Subscribes, and answers with what was retained.
    async fn subscribe(&self, filter: &str) -> Vec<(String, String)> {
        let options = SubscriptionOptions { retain_as_published: true, ..SubscriptionOptions::default() };
        let subscribe = Subscribe {
            session_id: SessionId(1),
            queue: self.queue.clone(),
            subscriptions: vec![(TopicFilter::new(filter.to_owned()).expect("a filter"), options)],
            subscription_identifier: None,
            durable: None,
            retained: RetainedWish::Now,
        };
        let Subscribed { mut retained, searches, .. } =
            self.router.send(subscribe).await.expect("the Router runs");
        for search in searches {
            self.collect(search, &mut retained).await;
        }
        let text = |payload: &Bytes| String::from_utf8_lossy(payload).into_owned();
        let of = |message: &ApplicationMessage| (message.topic_name.to_string(), text(&message.payload));
        retained.iter().map(|delivery| of(&delivery.message)).collect()
    }

    /// Goes on with a search until it is done.
    async fn collect(&self, search: RetainedSearch, retained: &mut Vec<Delivery>) {
        let mut next = Some(search);
        while let Some(search) = next {
            let collected = self.router.send(CollectRetained(search)).await.expect("the Router runs");
            retained.extend(collected.retained);
            next = collected.rest;
        }
    }

    /// Waits until there is something retained at this filter.
    async fn until_retained(&self, filter: &str) -> Vec<(String, String)> {
        for _ in 0..1_000 {
            let retained = self.subscribe(filter).await;
            if !retained.is_empty() {
                return retained;
            }
            tokio::task::yield_now().await;
        }
        panic!("nothing is retained at {filter}");
    }

    async fn set_brokers(&self, revision: u64, names: &[(u128, &str)]) {
        let broker = |(number, name): &(u128, &str)| {
            let changes = BrokerChanges::new().with("name", *name).with("address", "127.0.0.1");
            let changes = changes.with("enabled", false);
            let id = BrokerId(Uuid::from_u128(*number));
            Arc::new(changes.create(id, BrokerSource::Stored).expect("a broker"))
        };
        let changed =
            BrokersChanged { revision, brokers: names.iter().map(broker).collect(), groups: Vec::new() };
        assert_eq!(self.router.send(changed).await, Ok(revision));
    }

    /// The next message about a connection: topic, text, and whether RETAIN is set.
    async fn next(&mut self) -> (String, String, bool) {
        let next = async {
            loop {
                let taken = self.queue.lock().take();
                match taken {
                    None => tokio::time::sleep(Duration::from_millis(1)).await,
                    Some(delivery) => {
                        let message = &delivery.message;
                        let topic = message.topic_name.to_string();
                        if topic.starts_with("$SYS/broker/connection/") {
                            let text = String::from_utf8_lossy(&message.payload).into_owned();
                            return (topic, text, delivery.retain);
                        }
                    }
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), next).await.expect("something is published")
    }
}

#[actix::test]
async fn the_counters_are_retained_from_the_start_and_take_no_place() {
    let scene = Scene::start();
    let connected = scene.until_retained("$SYS/broker/clients/connected").await;
    assert_eq!(connected, [("$SYS/broker/clients/connected".to_owned(), "3".to_owned())]);
    let all = scene.subscribe("$SYS/#").await;
    assert!(all.len() > 40, "{all:?}");
    assert!(all.contains(&("$SYS/broker/clients/disconnected".to_owned(), "2".to_owned())));
    assert_eq!(scene.subscribe("#").await, []);
    assert_eq!(scene.subscribe("+/broker/#").await, []);
    let snapshot = scene.router.send(GetRouterSnapshot).await.expect("the Router runs");
    assert_eq!((snapshot.retained, snapshot.received, snapshot.log.next_offset), (0, 0, 0));
    assert_eq!(scene.metrics.messages_received.get(), 0);
}

#[actix::test]
async fn a_connection_is_announced_at_once_and_goes_with_its_broker() {
    let mut scene = Scene::start();
    scene.until_retained("$SYS/broker/uptime").await;
    scene.subscribe("$SYS/broker/connection/#").await;
    let said = |level: &str, of: &str, text: &str| {
        (format!("$SYS/broker/connection/{level}/{of}"), text.to_owned(), true)
    };
    scene.set_brokers(1, &[(1, "a/b")]).await;
    assert_eq!(scene.next().await, said("a%2Fb", "state", "0"));
    assert_eq!(scene.next().await, said("a%2Fb", "health", "disabled"));
    scene.set_brokers(2, &[(1, "c")]).await;
    assert_eq!(scene.next().await, said("a%2Fb", "state", ""));
    assert_eq!(scene.next().await, said("a%2Fb", "health", ""));
    assert_eq!(scene.next().await, said("c", "state", "0"));
    assert_eq!(scene.next().await, said("c", "health", "disabled"));
    scene.set_brokers(3, &[]).await;
    assert_eq!(scene.next().await, said("c", "state", ""));
    assert_eq!(scene.next().await, said("c", "health", ""));
    assert_eq!(scene.subscribe("$SYS/broker/connection/#").await, []);
}

#[actix::test]
async fn nobody_else_writes_below_sys() {
    let scene = Scene::start();
    let before = scene.until_retained("$SYS/broker/version").await;
    for origin in [Origin::Device, Origin::Will, Origin::Upstream(BrokerId(Uuid::from_u128(7)))] {
        let batch = ["$SYS", "$SYS/broker/version", "$SYSTEM"].map(|topic| ApplicationMessage {
            topic_name: TopicName::new(topic).expect("a topic name"),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Properties::default(),
            payload: Bytes::from_static(b"forged"),
        });
        let routed = scene.router.send(Route::new(origin, batch.into())).await.expect("the Router runs");
        let codes: Vec<_> = routed.outcomes.iter().map(|outcome| outcome.reason_code).collect();
        use mqtt::ReasonCode::{NoMatchingSubscribers, NotAuthorized};
        assert_eq!(codes, [NotAuthorized, NotAuthorized, NoMatchingSubscribers], "{origin:?}");
    }
    assert_eq!(scene.subscribe("$SYS/broker/version").await, before);
    assert_eq!(scene.subscribe("$SYS").await, []);
    assert_eq!(scene.subscribe("$SYSTEM").await, [("$SYSTEM".to_owned(), "forged".to_owned())]);
}

#[actix::test]
async fn a_drained_actor_says_nothing_more() {
    let scene = Scene::start();
    scene.until_retained("$SYS/broker/uptime").await;
    scene.sys_topics.send(Drain).await.expect("the actor runs");
    for _ in 0..1_000 {
        if !scene.sys_topics.connected() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the actor goes on");
}
