//! What may come in first on the one port: both versions of MQTT that are spoken, older and newer ones, and what is
//! no MQTT at all.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{refusal, wait_until};
use crate::support::packets::{Connack, Connect, frame, put_text};
use crate::support::proxy::{Proxy, Setup};
use crate::support::wire::Wire;
use crate::support::{DEADLINE, Version};

/// Everything that comes back before the connection is closed, as bytes.
fn answer(proxy: &Proxy, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(proxy.mqtt()).expect("the proxy listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    stream.write_all(bytes).expect("the proxy reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the proxy closes the connection in order");
    answer
}

fn refused(proxy: &Proxy, reason: &str) -> f64 {
    proxy.rest().metric("mqtt_connections_refused_total", &[&format!("reason=\"{reason}\"")])
}

/// CONNECT as far as its Client Identifier, with this Protocol Name and level.
fn connect(name: &str, level: u8) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, name);
    body.extend_from_slice(&[level, 2, 0, 60]);
    if level == 5 {
        body.push(0);
    }
    put_text(&mut body, "device");
    frame(0x10, &body)
}

const OLD_REFUSAL: [u8; 4] = [0x20, 2, 0, 1];

#[test]
fn mqtt_3_1_is_refused_in_its_own_words() {
    let proxy = Proxy::start();
    assert_eq!(answer(&proxy, &connect("MQIsdp", 3)), OLD_REFUSAL);
    assert_eq!(refused(&proxy, "mqtt_3_1"), 1.0);
    wait_until("the log names the version", || proxy.log().contains("MQTT 3.1 is not spoken here"));
}

#[test]
fn other_protocols_and_versions_are_refused_in_words_that_they_may_read() {
    let proxy = Proxy::start();
    for level in [3, 0, 0x83, 0x85] {
        assert_eq!(answer(&proxy, &connect("MQTT", level)), OLD_REFUSAL, "{level}");
    }
    for (name, level) in [("MQTX", 4), ("mqtt", 5), ("X", 4), ("", 4)] {
        assert_eq!(
            answer(&proxy, &connect(name, level)),
            Vec::<u8>::new(),
            "{name:?} {level}: who knows what it reads"
        );
    }
    for level in [6, 9, 127] {
        let packets = refusal(proxy.mqtt(), &connect("MQTT", level));
        assert_eq!(packets.len(), 1, "{packets:?}");
        assert_eq!(Connack::decode(&packets[0], Version::V5).code, 0x84);
    }
    assert_eq!(refused(&proxy, "unsupported_version"), 11.0);
}

#[test]
fn tls_on_the_plain_port_is_told_so_with_an_alert() {
    let proxy = Proxy::start();
    let hello = [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03][..], &[7; 501]].concat();
    assert_eq!(answer(&proxy, &hello), [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46]);
    assert_eq!(refused(&proxy, "tls"), 1.0);
    wait_until("the log says it", || proxy.log().contains("tls on a plain mqtt port"));
}

#[test]
fn http_on_the_mqtt_port_is_answered_in_http() {
    let proxy = Proxy::start();
    let requests = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /status HTTP/1.1\r\n\r\n",
        "POST /api HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for request in requests {
        let text = String::from_utf8(answer(&proxy, request.as_bytes())).expect("text");
        assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("MQTT"), "{text}");
    }
    assert_eq!(refused(&proxy, "http"), 4.0);
    wait_until("the log says it", || proxy.log().contains("http on an mqtt port"));
}

#[test]
fn anything_else_first_is_closed_without_a_word() {
    let proxy = Proxy::start();
    for bytes in [
        &[0xC0, 0][..],
        &[0x30, 3, 0, 1, b'a'],
        &[0, 0],
        b"SSH-2.0-OpenSSH",
        b"G\x02\0\x01",
        &[0xF0, 0],
        &[0xE0, 0],
    ] {
        assert_eq!(answer(&proxy, bytes), Vec::<u8>::new(), "{bytes:?}");
    }
    assert_eq!(refused(&proxy, "not_connect"), 7.0);
}

in_both_versions! {
    fn a_connect_may_come_in_any_pieces(version: Version) {
        let proxy = Proxy::start();
        let bytes = Connect::new(version, "device").encode();
        for cut in 1..bytes.len() {
            let mut wire = Wire::open(proxy.mqtt());
            wire.send(&bytes[..cut]);
            std::thread::yield_now();
            wire.send(&bytes[cut..]);
            assert_eq!(Connack::decode(&wire.packet(), version).code, 0, "cut at {cut}");
        }
    }
}

#[test]
fn who_begins_and_does_not_go_on_is_closed_in_time() {
    let proxy = Setup::new().settings("[server]\nconnect_timeout_secs = 1").start();
    let beginnings: [&[u8]; 5] = [b"G", b"PRI", &[0x16], &[0x10, 0x80], &[0x10, 20, 0, 4, b'M']];
    let waiting = beginnings.map(|bytes| {
        let mut wire = Wire::open(proxy.mqtt());
        wire.send(bytes);
        wire
    });
    for mut wire in waiting {
        wire.expect_close();
    }
    assert_eq!(refused(&proxy, "timeout"), 5.0);
}
