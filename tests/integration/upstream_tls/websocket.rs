//! MQTT over WebSocket, with and without TLS below it.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::json;

use super::{Secured, assert_failure, merged, server, tls_lines};
use crate::support::device::Device;
use crate::support::packets::Publish;
use crate::support::peers::Peer;
use crate::support::proxy::{Proxy, Setup};
use crate::support::{Version, assert_same, numbered, wait_until};

/// mosquitto keeps to its address only in this way.
const WEBSOCKETS: &str = "protocol websockets\nsocket_domain ipv4";

in_both_versions! {
    fn messages_pass_over_websocket_in_both_directions(version: Version) {
        let upstream = Secured::with(WEBSOCKETS);
        both_directions(&upstream, version, &json!({"transport": "ws"}));
    }

    fn messages_pass_over_websocket_and_tls_in_both_directions(version: Version) {
        let (authority, certificate) = server();
        let upstream = Secured::with(&format!("{WEBSOCKETS}\n{}", tls_lines(&certificate)));
        let secure = json!({"transport": "ws", "use_tls": true, "ca_cert_path": authority.path()});
        both_directions(&upstream, version, &secure);
    }
}

fn both_directions(upstream: &Secured, version: Version, more: &serde_json::Value) {
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let both_ways = json!({"bidirectional": true, "subscription_topics": ["down/#"], "topics": ["up/#"]});
    let id = rest.add(&upstream.broker("web", version, &merged(&both_ways, more)));
    rest.wait_connected(&id);

    let at_broker = Peer::subscriber(upstream.mosquitto.address(), Version::V4, "at-broker", "up/#", 2);
    let wanted = numbered("up", 500);
    let mut device = Device::connect(proxy.mqtt(), version, "device");
    let large = "x".repeat(1_500_000);
    for qos in 0..3 {
        device.publish_all(wanted.iter().map(|text| Publish::new("up/x", text).qos(qos)));
        device.say("up/x", &large, qos.max(1));
        let end = format!("end {qos}");
        device.say("up/x", &end, qos);
        let arrived = at_broker.texts_before(&end);
        let newest = &arrived[arrived.len() - wanted.len() - 1..];
        assert_same(&newest[..wanted.len()], &wanted, "at the broker");
        assert!(newest[wanted.len()] == large, "the large message arrives whole");
    }

    let mut local = Device::connect(proxy.mqtt(), version, "local");
    local.subscribe("down/#", 2);
    let mut author = Device::connect(upstream.mosquitto.address(), Version::V4, "author");
    wait_until("the proxy is subscribed there", || {
        author.say("down/x", "probe", 1);
        local.inbox_after_ping().contains(&"probe".to_owned())
    });
    let wanted = numbered("down", 500);
    author.say("down/x", "begin", 1);
    // mosquitto 2.0.11 stops in the middle of longer ones over WebSocket, whoever the client is.
    let large = "x".repeat(100_000);
    for qos in 1..3 {
        for few in wanted.chunks(20) {
            author.publish_all(few.iter().map(|text| Publish::new("down/x", text).qos(qos)));
        }
        author.say("down/x", &large, qos);
        author.say("down/x", "end", qos);
        let arrived = local.texts_before("end");
        let newest = &arrived[arrived.len() - wanted.len() - 1..];
        assert_same(&newest[..wanted.len()], &wanted, "at the local subscriber");
        assert!(newest[wanted.len()] == large, "the large message arrives whole");
    }
    let shown = rest.broker(&id);
    assert_eq!((&shown["reconnects"], &shown["last_error"]), (&json!(0), &json!(null)));
    assert_eq!(shown["tls"].is_null(), more["use_tls"].is_null());
}

#[test]
fn a_broker_over_websocket_comes_back_after_an_outage() {
    let mut upstream = Secured::with(WEBSOCKETS);
    let url = format!("ws://127.0.0.1:{}/mqtt?name=web", upstream.port);
    let proxy = Setup::new().upstream(&url).start();
    let rest = proxy.rest();
    let id = rest.id_of("web");
    rest.wait_connected(&id);
    upstream.mosquitto.kill();
    wait_until("the loss is seen", || rest.broker(&id)["state"] != "connected");
    Device::connect(proxy.mqtt(), Version::V5, "device").say("tls/early", "early", 1);
    upstream.mosquitto.resume_process();
    rest.wait_connected(&id);
    rest.wait_caught_up(&id);
    upstream.gets_messages(&proxy, "later");
    assert!(rest.broker(&id)["reconnects"].as_u64() >= Some(1));
}

#[test]
fn what_is_no_websocket_is_explained() {
    let proxy = Proxy::start();
    // An HTTP server that knows nothing of the path.
    let web = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = web.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok_and(|bytes| bytes > 0) {
                // Who asked may be gone.
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    let web = json!({
        "name": "http", "address": "127.0.0.1", "port": port, "transport": "ws", "ws_path": "/not/there",
    });
    assert_failure(&proxy, &web, "websocket", None, &["/not/there (ws_path): HTTP 404 Not Found"]);
    let plain = Secured::with("");
    let plain = plain.broker("plain", Version::V5, &json!({"transport": "ws"}));
    assert_failure(&proxy, &plain, "websocket", None, &["answer to WebSocket at path /mqtt (ws_path)"]);
}
