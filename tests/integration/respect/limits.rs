//! What CONNACK grants, and nothing beyond it.

use super::*;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Connack, kind};
use crate::support::wait_until;

#[test]
fn a_lower_maximum_qos_and_missing_retain_are_obeyed_and_counted() {
    for (maximum, wanted, downgraded) in [(1, [0, 1, 1], 1), (0, [0, 0, 0], 2)] {
        let mut scene = Scene::plain(Version::V5);
        let granted =
            vec![(property::MAXIMUM_QOS, Value::Byte(maximum)), (property::RETAIN_AVAILABLE, Value::Byte(0))];
        let mut link = scene.upstream.welcome_with(false, &granted);
        let messages = (0..3).map(|qos| Publish::new("t", format!("{qos}")).qos(qos));
        scene.device.publish_all(messages);
        scene.device.publish(Publish::new("t", "kept").qos(0).retained());
        let got: Vec<u8> = (0..3).map(|_| link.take().qos).collect();
        assert_eq!(got, wanted);
        let kept = link.take();
        assert_eq!((kept.text().as_str(), kept.retain), ("kept", false));
        scene.proxy.rest().wait_caught_up(&scene.id);
        wait_until("it is counted", || scene.shown("retain_stripped") == 1);
        assert_eq!(scene.shown("downgraded"), downgraded);
        assert_eq!(scene.metric("mqtt_broker_messages_downgraded_total", &[]), downgraded);
        assert_eq!(scene.metric("mqtt_broker_retain_stripped_total", &[]), 1);
    }
}

#[test]
fn what_was_in_flight_is_dropped_where_the_next_connection_takes_less() {
    let mut scene = Scene::plain(Version::V5);
    let mut link = scene.upstream.welcome(false);
    let long = "x".repeat(300);
    scene.say(&["a", &long, "b"], 1);
    assert_eq!(link.publishes(3).len(), 3);
    link.cut();
    let small = vec![(property::MAXIMUM_PACKET_SIZE, Value::Four(200))];
    let mut link = scene.upstream.welcome_with(true, &small);
    assert_eq!((link.take().text(), link.take().text()), ("a".to_owned(), "b".to_owned()));
    assert_eq!(scene.mourner.receive().text(), long);
    scene.proxy.rest().wait_caught_up(&scene.id);
}

#[test]
fn a_broker_without_wildcards_is_asked_for_plain_topics_only() {
    let fields = json!({"bidirectional": true, "subscription_topics": ["a/#", "plain", "b/+"]});
    let scene = Scene::new(Version::V5, &fields);
    let granted = vec![(property::WILDCARD_AVAILABLE, Value::Byte(0))];
    let mut link = scene.upstream.welcome_with(false, &granted);
    let asked: Vec<String> = link.grant().into_iter().map(|(filter, _)| filter).collect();
    assert_eq!(asked, ["plain"]);
    let error = scene.proxy.rest().wait_last_error(&scene.id, &["wildcards"]);
    assert!(error.contains("a/#"), "{error}");
}

#[test]
fn a_long_list_of_filters_is_asked_for_in_packets_that_the_broker_takes() {
    let topics: Vec<String> = (0..6).map(|number| format!("some/long/topic/filter/{number}")).collect();
    let scene = Scene::new(Version::V5, &json!({"bidirectional": true, "subscription_topics": topics}));
    let granted = vec![(property::MAXIMUM_PACKET_SIZE, Value::Four(70))];
    let mut link = scene.upstream.welcome_with(false, &granted);
    let mut asked = Vec::new();
    while asked.len() < topics.len() {
        let filters = link.grant();
        assert!(filters.len() <= 2, "{filters:?} is longer than 70 bytes");
        asked.extend(filters.into_iter().map(|(filter, _)| filter));
    }
    assert_eq!(asked, topics);
}

#[test]
fn another_server_that_the_broker_names_is_in_the_error() {
    // "Server moved" is a refusal that is usually not asked about again for a long while.
    let scene = Scene::new(Version::V5, &json!({"retry_denied_ms": 100, "retry_ceiling_ms": 200}));
    let mut link = scene.upstream.accept();
    let moved = vec![(property::SERVER_REFERENCE, Value::Text("other.example:8883".to_owned()))];
    let refusal = Connack { session_present: false, code: 0x9D, properties: moved.clone() };
    link.wire.send(&refusal.encode(Version::V5));
    scene
        .proxy
        .rest()
        .wait_last_error(&scene.id, &["server moved (0x9d); it names another server: other.example:8883"]);
    let mut link = scene.upstream.welcome(false);
    link.wire.send(&crate::support::packets::with_reason(kind::DISCONNECT, 0x9C, &moved));
    scene
        .proxy
        .rest()
        .wait_last_error(&scene.id, &["use another server (0x9c); it names another server: other.ex"]);
}

#[test]
fn a_server_keep_alive_and_an_assigned_client_identifier_change_nothing_but_the_keep_alive() {
    let mut scene = Scene::new(Version::V5, &json!({"keep_alive_secs": 600}));
    let granted = vec![
        (property::SERVER_KEEP_ALIVE, Value::Two(1)),
        (property::ASSIGNED_CLIENT_ID, Value::Text("other".to_owned())),
        (property::SESSION_EXPIRY, Value::Four(0)),
    ];
    let mut link = scene.upstream.accept();
    assert_eq!(link.connect.keep_alive, 600);
    let client_id = link.connect.client_id.clone();
    link.answer_connect(false, 0, &granted);
    // `wire` does not answer by itself: the PINGREQ is seen.
    assert_eq!(link.wire.packet().kind(), kind::PINGREQ);
    link.wire.send(&crate::support::packets::PINGRESP);
    scene.say(&["a"], 1);
    assert_eq!(link.publish().text(), "a");
    link.cut();
    // The session is gone, as announced: nothing is lost.
    let mut link = scene.upstream.welcome(false);
    assert_eq!(link.connect.client_id, client_id);
    let again = link.take();
    assert_eq!((again.text().as_str(), again.dup), ("a", false));
}

#[test]
fn bytes_are_counted_in_both_directions_and_under_a_new_name() {
    let mut scene = Scene::new(Version::V5, &json!({"bidirectional": true}));
    let mut link = scene.upstream.accept();
    let connect = link.connect.encode().len() as u64;
    link.answer_connect(false, 0, &Vec::new());
    let subscribe = link.packet();
    let suback = crate::support::packets::suback(Version::V5, subscribe.id(), &[1]);
    link.wire.send(&suback);
    scene.say(&["0123456789"], 0);
    let publish = link.packet();
    let sent = |packet: &crate::support::packets::Packet| 2 + packet.body.len() as u64;
    let total = connect + sent(&subscribe) + sent(&publish);
    wait_until("all bytes are counted", || scene.shown("bytes_sent") == total);
    let received = 5 + suback.len() as u64;
    wait_until("all bytes are counted", || scene.shown("bytes_received") == received);
    assert_eq!(scene.metric("mqtt_broker_bytes_sent_total", &[]), total);
    assert_eq!(scene.metric("mqtt_broker_bytes_received_total", &[]), received);

    let renamed = scene.proxy.rest().put(&format!("/api/brokers/{}", scene.id), &json!({"name": "new"}));
    assert_eq!(renamed.status, 200, "{}", renamed.body);
    scene.say(&["more"], 0);
    let more = link.packet();
    wait_until("they go on being counted", || scene.shown("bytes_sent") == total + sent(&more));
    assert_eq!(scene.metric("mqtt_broker_bytes_sent_total", &[]), 0, "the old name is gone");
    let metric = scene.proxy.rest().metric("mqtt_broker_bytes_sent_total", &["broker=\"new\""]);
    assert_eq!(metric as u64, total + sent(&more));
}

#[test]
fn the_limits_of_a_real_broker_are_kept() {
    let broker =
        Mosquitto::start_with_setting("max_packet_size 300\nretain_available false\nmax_inflight_messages 3");
    let proxy = Proxy::with_brokers(&[("real", broker.port(), Version::V5)]);
    let mut mourner = mourner(&proxy);
    let mut listener = Device::connect(broker.address(), Version::V5, "listener");
    listener.subscribe("#", 2);
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    let long = "x".repeat(400);
    let texts = |text: &str, qos| Publish::new("some/longer/topic/for/an/alias", text).qos(qos);
    for number in 0..20 {
        device.publish(texts(&format!("{number}"), number % 3));
        device.publish(texts(&long, number % 3));
    }
    device.publish(texts("20", 1).retained());
    let got: Vec<String> = listener.receive_all(21).iter().map(Publish::text).collect();
    let wanted: Vec<String> = (0..=20).map(|number| number.to_string()).collect();
    let mut sorted = got.clone();
    sorted.sort_by_key(|text| text.parse::<u32>().expect("a number"));
    assert_eq!(sorted, wanted, "in this order: {got:?}");
    assert_eq!(mourner.receive_all(20).len(), 20);
    let id = proxy.rest().id_of("real");
    assert_eq!(proxy.rest().broker(&id)["retain_stripped"], 1);
    assert_eq!(proxy.rest().broker(&id)["reconnects"], 0, "the broker had no reason to end the connection");
}
