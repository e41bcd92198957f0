//! The example client over the proxy and over mosquitto. Its source is a module here, so that the test runs what stands
//! in the tree, whichever targets cargo was asked to build.

#[path = "../../examples/client.rs"]
#[allow(dead_code, reason = "its main is for the example itself")]
mod client;

use std::net::{SocketAddr, TcpListener};

use crate::support::Version;
use crate::support::mosquitto::Mosquitto;
use crate::support::packets::{Connack, Connect};
use crate::support::proxy::Proxy;
use crate::support::wire::Wire;

/// Runs it with these arguments: what it printed, and how it ended.
fn run(arguments: &[&str]) -> (String, Result<(), String>) {
    let mut printed = Vec::new();
    let arguments = arguments.iter().map(|argument| (*argument).to_owned());
    let result = client::run(arguments, &mut printed).map_err(|error| error.to_string());
    (String::from_utf8(printed).expect("it prints text"), result)
}

fn converses_with(address: SocketAddr, version: Version) {
    let (printed, result) = run(&[&address.to_string(), version.name()]);
    assert_eq!(result, Ok(()), "{printed}");
    let lines: Vec<&str> = printed.lines().collect();
    let granted = "subscribed: granted QoS 2 (0x02)";
    assert_eq!(lines[..2], ["connected, session present: false", granted], "{printed}");
    assert_eq!(lines.last(), Some(&"disconnected"), "{printed}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("published: success")).count(), 6, "{printed}");
    for qos in 0..3 {
        let sign = format!("message on example/{}/{qos} at QoS {qos}: ", std::process::id());
        let texts: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(&sign)).collect();
        assert_eq!(texts, ["hello 1", "hello 2", "hello 3"], "{printed}");
    }
    assert_eq!(lines.len(), 3 + 6 + 9, "{printed}");
}

in_both_versions! {
    fn the_example_converses_with_the_proxy(version: Version) {
        let proxy = Proxy::start();
        converses_with(proxy.mqtt(), version);
    }

    fn the_example_converses_with_mosquitto(version: Version) {
        let broker = Mosquitto::start();
        converses_with(broker.address(), version);
    }

    fn the_example_says_why_it_was_refused(version: Version) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let server = std::thread::spawn(move || {
            let mut wire = Wire::over(listener.accept().expect("it connects").0);
            assert!(Connect::decode(&wire.packet()).clean);
            let code = if version.is_v5() { 0x87 } else { 5 };
            wire.send(&Connack { session_present: false, code, properties: Vec::new() }.encode(version));
            wire.expect_close();
        });
        let (_, result) = run(&[&address.to_string(), version.name()]);
        assert_eq!(result, Err("the connection ended: Refused, not authorized (0x87)".to_owned()));
        server.join().expect("the server saw what it should");
    }
}

#[test]
fn wrong_arguments_are_told() {
    let usage = Err("usage: client ADDRESS:PORT [3.1.1|5]".to_owned());
    assert_eq!(run(&[]).1, usage);
    assert_eq!(run(&["127.0.0.1:1", "4"]).1, usage);
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = nobody.expect("a port is free").to_string();
    let (_, result) = run(&[&nobody]);
    assert!(result.is_err_and(|error| error.starts_with(&nobody)), "it says who did not answer");
}
