//! The Router with a real log and real upstream actors, which speak to a scripted broker on port 0.

use std::time::Duration;

use bytes::Bytes;
use mqtt::packet::{Acknowledgement, ConnAck, Connect, Publish, SubscriptionOptions};
use mqtt::{Packet, Properties, QoS, ReasonCode, TopicFilter, TopicName};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::*;
use crate::BrokerId;
use crate::broker::{BrokerSource, SharedBroker};
use crate::connection::Connection;
use crate::definition::BrokerChanges;
use crate::delivery_queue::DeliveryQueue;
use crate::messages::{SessionId, WaitFor};
use crate::upstream_broker::PanicForTest;

/// Makes the actor of the first broker panic.
#[derive(Message)]
#[rtype(result = "()")]
struct PanicFirstUpstream;

impl Handler<PanicFirstUpstream> for Router {
    type Result = ();

    fn handle(&mut self, _: PanicFirstUpstream, _: &mut Context<Self>) {
        let address = self.upstreams.first_address_for_test().expect("there is a broker");
        address.try_send(PanicForTest).expect("the mailbox has room");
    }
}

struct Scene {
    router: Addr<Router>,
    metrics: Arc<Metrics>,
    revision: u64,
}

impl Scene {
    fn new() -> Scene {
        let metrics = Arc::new(Metrics::new().expect("the names differ"));
        let limits = RouterLimits {
            retained: RetainedLimits { messages_max: 100, bytes_max: 1 << 20 },
            packet_bytes_max: 1 << 20,
        };
        let router = Router::new(MessageLog::new(1 << 22), metrics.clone(), limits).start();
        Scene { router, metrics, revision: 0 }
    }

    async fn set_brokers(&mut self, brokers: Vec<SharedBroker>) {
        self.revision += 1;
        let changed = BrokersChanged { revision: self.revision, brokers, groups: Vec::new() };
        assert_eq!(self.router.send(changed).await, Ok(self.revision));
    }

    async fn publish(&self, texts: &[&str]) {
        let batch = texts.iter().map(|text| message("t", text)).collect();
        let route = Route { publisher: Some(SessionId(0)), ..Route::new(Origin::Device, batch) };
        self.router.send(route).await.expect("the Router runs");
    }

    async fn subscribe(
        &self,
        session: u64,
        filter: &str,
        options: SubscriptionOptions,
    ) -> Arc<DeliveryQueue> {
        let queue = DeliveryQueue::connected_for_test(1 << 16);
        let subscriptions = vec![(TopicFilter::new(filter).expect("a filter"), options)];
        let subscription_identifier = Some(session as u32);
        let session_id = SessionId(session);
        let subscribe = Subscribe {
            session_id,
            queue: queue.clone(),
            subscriptions,
            subscription_identifier,
            durable: None,
            retained: RetainedWish::Now,
        };
        self.router.send(subscribe).await.expect("the Router runs");
        queue
    }
}

/// The text of the next message in a queue, if there is one.
fn next_text(queue: &DeliveryQueue) -> Option<String> {
    let delivery = queue.lock().take()?;
    Some(String::from_utf8_lossy(&delivery.message.payload).into_owned())
}

/// Takes everything, as a session does, and answers how much it was.
fn take_all(queue: &DeliveryQueue) -> usize {
    let mut state = queue.lock();
    let taken = std::iter::from_fn(|| state.take()).count();
    queue.note_taken(&mut state);
    taken
}

fn message(topic: &str, text: &str) -> mqtt::Message {
    mqtt::Message {
        topic_name: TopicName::new(topic).expect("a topic name"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Properties::default(),
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn broker(number: u128, name: &str, port: u16) -> SharedBroker {
    let changes = BrokerChanges::new().with("name", name).with("address", "127.0.0.1").with("port", port);
    Arc::new(changes.create(BrokerId(Uuid::from_u128(number)), BrokerSource::Stored).expect("a broker"))
}

/// The other end of an upstream actor's connection.
struct Peer {
    connection: Connection,
    connect: Connect,
}

impl Peer {
    async fn accept(listener: &TcpListener) -> Peer {
        let (socket, _) = within(listener.accept()).await.expect("a connection");
        let mut connection = Connection::new(Box::new(socket), 1 << 20, "proxy".to_owned(), None);
        let Packet::Connect(connect) = within(connection.receive_one()).await.expect("a packet") else {
            panic!("CONNECT comes first");
        };
        connection.set_version(connect.protocol_version);
        let mut peer = Peer { connection, connect: *connect };
        let (reason_code, properties) = (ReasonCode::Success, Properties::default());
        peer.send(Packet::ConnAck(Box::new(ConnAck { session_present: false, reason_code, properties })))
            .await;
        peer
    }

    async fn send(&mut self, packet: Packet) {
        self.connection.queue(&packet).expect("a good packet");
        self.connection.flush().await.expect("the proxy listens");
    }

    async fn publish(&mut self) -> Publish {
        match within(self.connection.receive_one()).await.expect("a packet") {
            Packet::Publish(publish) => publish,
            other => panic!("PUBLISH expected, not {other:?}"),
        }
    }

    async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(String::from_utf8_lossy(&self.publish().await.payload).into_owned());
        }
        texts
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it happens in time")
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

#[actix::test]
async fn an_actor_that_panics_is_replaced_and_nothing_unacknowledged_is_lost() {
    let (listener, port) = listen().await;
    let mut scene = Scene::new();
    scene.set_brokers(vec![broker(1, "a", port)]).await;
    let mut first = Peer::accept(&listener).await;
    scene.publish(&["1", "2", "3"]).await;
    let acknowledged = first.publish().await.packet_id.expect("QoS 1");
    first.send(Packet::PubAck(Acknowledgement::success(acknowledged))).await;
    assert_eq!(first.texts(2).await, ["2", "3"]);
    let forwarded = scene.metrics.messages_forwarded.with_label_values(&["a"]);
    within(async {
        while forwarded.get() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    scene.router.send(PanicFirstUpstream).await.expect("the Router runs");
    let mut second = Peer::accept(&listener).await;
    assert_eq!(second.connect.client_id, first.connect.client_id);
    scene.publish(&["4"]).await;
    assert_eq!(second.texts(3).await, ["2", "3", "4"]);
    assert_eq!(scene.metrics.broker_failures.with_label_values(&["a", "panic"]).get(), 1);
    assert_eq!(forwarded.get(), 1, "the counters go on");
}

#[actix::test]
async fn changes_of_one_broker_touch_no_other() {
    let ((listener_a, port_a), (listener_b, port_b)) = (listen().await, listen().await);
    let mut scene = Scene::new();
    let (a, b) = (broker(1, "a", port_a), broker(2, "b", port_b));
    scene.set_brokers(vec![a.clone(), b.clone()]).await;
    let (mut peer_a, mut peer_b) = (Peer::accept(&listener_a).await, Peer::accept(&listener_b).await);
    scene.publish(&["both"]).await;
    assert_eq!((peer_a.texts(1).await, peer_b.texts(1).await), (vec!["both".into()], vec!["both".into()]));

    // Another name and another filter need no other connection either.
    let renamed = BrokerChanges::new().with("name", "c").with("topics", vec!["none"]);
    let renamed = Arc::new(renamed.apply(&b).expect("a broker"));
    scene.set_brokers(vec![a.clone(), renamed]).await;
    scene.publish(&["only a"]).await;
    assert_eq!(peer_a.texts(1).await, ["only a"]);

    scene.set_brokers(vec![a]).await;
    let goodbye = within(peer_b.connection.receive_one()).await.expect("a packet");
    assert!(matches!(goodbye, Packet::Disconnect(_)), "not {goodbye:?}");
    scene.publish(&["a alone"]).await;
    assert_eq!(peer_a.texts(1).await, ["a alone"]);
}

#[actix::test]
async fn stale_definitions_are_ignored() {
    let (_listener, port) = listen().await;
    let mut scene = Scene::new();
    scene.set_brokers(vec![broker(1, "a", port)]).await;
    let stale = BrokersChanged { revision: 0, brokers: Vec::new(), groups: Vec::new() };
    assert_eq!(scene.router.send(stale).await, Ok(1));
    let snapshot = scene.router.send(GetRouterSnapshot).await.expect("the Router runs");
    assert_eq!(snapshot.upstreams.len(), 1);
}

#[actix::test]
async fn a_message_goes_once_to_each_subscriber_and_not_to_its_publisher_if_that_says_so() {
    let scene = Scene::new();
    let own = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    let publisher = scene.subscribe(0, "#", own).await;
    let other = scene.subscribe(1, "t", SubscriptionOptions::default()).await;
    scene.subscribe(2, "u", SubscriptionOptions::default()).await;
    scene.publish(&["1", "2"]).await;
    assert_eq!(next_text(&other).as_deref(), Some("1"));
    assert_eq!(next_text(&other).as_deref(), Some("2"));
    let unsubscribe = |session, filter| Unsubscribe {
        session_id: SessionId(session),
        topic_filters: vec![TopicFilter::new(filter).expect("a filter")],
    };
    assert_eq!(scene.router.send(unsubscribe(1, "t")).await, Ok(vec![true]));
    assert_eq!(scene.router.send(unsubscribe(1, "t")).await, Ok(vec![false]));
    scene.publish(&["3"]).await;
    assert!(other.is_empty() && publisher.is_empty());
}

#[actix::test]
async fn publishers_wait_for_a_connected_subscriber_who_drains_its_queue_and_lose_nothing() {
    let scene = Scene::new();
    let queue = scene.subscribe(1, "t", SubscriptionOptions::default()).await;
    let text = "x".repeat(1_000);
    let mut sent = 0;
    let (returned, wait_for) = loop {
        let batch = vec![message("t", &text), message("u", "for nobody"), message("t", &text)];
        let routed = scene.router.send(Route::new(Origin::Device, batch)).await.expect("the Router runs");
        sent += 2;
        if !routed.returned.is_empty() {
            break (routed.returned, routed.wait_for);
        }
        assert!(sent < 1_000, "nobody had to wait");
    };
    assert_eq!(returned.len(), 3, "the whole batch comes again");
    let Some(WaitFor::Subscriber(waited_for)) = wait_for else { panic!("not for the subscriber") };
    let elsewhere = Route::new(Origin::Device, vec![message("u", "x")]);
    assert!(scene.router.send(elsewhere).await.expect("the Router runs").returned.is_empty());

    let waiting = actix::spawn(async move { waited_for.room().await });
    tokio::task::yield_now().await;
    let taken = take_all(&queue);
    within(waiting).await.expect("it is over");
    assert_eq!(taken, sent - 2);
    let again = scene.router.send(Route::new(Origin::Device, returned)).await.expect("the Router runs");
    assert!(again.returned.is_empty() && queue.len() == 2);
}

#[actix::test]
async fn nobody_waits_for_a_subscriber_who_takes_nothing() {
    let scene = Scene::new();
    let queue = scene.subscribe(1, "t", SubscriptionOptions::default()).await;
    let batch = || vec![message("t", &"x".repeat(40_000))];
    let send = async |batch| scene.router.send(Route::new(Origin::Device, batch)).await.expect("it runs");
    assert!(send(batch()).await.returned.is_empty());
    let Some(WaitFor::Subscriber(waited_for)) = send(batch()).await.wait_for else { panic!("nobody waits") };
    within(waited_for.room()).await;
    for _ in 0..3 {
        assert!(send(batch()).await.returned.is_empty(), "it is left alone now");
    }
    assert_eq!(queue.lock().take_dropped().0.slow, 3);
}
