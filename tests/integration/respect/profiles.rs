//! Services whose limits are known: what a 3.1.1 connection to them cannot be told.

use super::*;

#[test]
fn what_aws_iot_core_takes_goes_out_and_the_rest_becomes_dead_letters() {
    let fields = json!({"profile": "aws_iot", "use_tls": false, "keep_alive_secs": 5, "bidirectional": true});
    let mut scene = Scene::new(Version::V4, &fields);
    let mut link = scene.upstream.accept();
    assert_eq!((link.connect.keep_alive, link.connect.bridge), (30, false));
    link.answer_connect(false, 0, &Vec::new());
    assert_eq!(link.grant(), [("#".to_owned(), 1)]);
    scene.device.publish(Publish::new("a/b/c/d/e/f/g/h/i", "too deep").qos(1));
    scene.device.publish(Publish::new("a", "x".repeat(128 * 1024 + 1)).qos(1));
    scene.device.publish(Publish::new("a/b/c/d/e/f/g/h", "good").qos(2));
    let good = link.take();
    assert_eq!((good.text().as_str(), good.qos), ("good", 1));
    let letters = scene.mourner.receive_all(2);
    assert_eq!(letters[0].topic, "$SYS/broker/dead/up%2F1/a/b/c/d/e/f/g/h/i");
    assert_eq!(reason(&letters[0]), "reason=topic broker=up/1");
    assert_eq!(reason(&letters[1]), "reason=too_large broker=up/1");
    scene.proxy.rest().wait_caught_up(&scene.id);
    assert_eq!(scene.shown("dropped"), json!({"topic": 1, "too_large": 1}));
    assert_eq!((scene.shown("dead_letters"), scene.shown("downgraded")), (json!(2), json!(1)));
}

#[test]
fn a_service_has_so_many_messages_in_flight_at_most() {
    let mut scene = Scene::new(Version::V4, &json!({"profile": "aws_iot", "use_tls": false}));
    let mut link = scene.upstream.welcome(false);
    let texts: Vec<String> = (0..120).map(|number| number.to_string()).collect();
    scene.say(&texts.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    let first = link.publishes(100);
    link.expect_silence();
    first.iter().for_each(|message| link.ack(crate::support::packets::kind::PUBACK, message.id));
    assert_eq!(link.publishes(20).last().map(Publish::text), Some("119".to_owned()));
}

#[test]
fn azure_event_grid_gets_long_messages_without_retain() {
    let fields = json!({"profile": "azure_event_grid", "use_tls": false, "keep_alive_secs": 0});
    let mut scene = Scene::new(Version::V4, &fields);
    let mut link = scene.upstream.accept();
    assert_eq!(link.connect.keep_alive, 1_160);
    link.answer_connect(false, 0, &Vec::new());
    scene.device.publish(Publish::new("t", "short").qos(1).retained());
    scene.device.publish(Publish::new("t", "x".repeat(64 * 1024 + 1)).qos(1).retained());
    assert!(link.take().retain);
    assert!(!link.take().retain);
    scene.proxy.rest().wait_caught_up(&scene.id);
    assert_eq!(scene.shown("retain_stripped"), 1);
}

#[test]
fn a_profile_means_tls_and_its_port() {
    let proxy = Proxy::start();
    for profile in ["aws_iot", "azure_event_grid", "hivemq_cloud"] {
        let broker = json!({"name": profile, "address": "127.0.0.1", "profile": profile, "enabled": false});
        let id = proxy.rest().add(&broker);
        let shown = proxy.rest().broker(&id);
        assert_eq!((&shown["use_tls"], &shown["port"]), (&json!(true), &json!(8883)));
        assert_eq!(shown["profile"], profile);
    }
}
