//! What goes over TLS is what goes without it: every QoS, large messages, sessions that last.

use std::process::Command;

use openssl::ssl::SslVersion;

use super::{VERSIONS, certified, listening, secured};
use crate::support::certificates::Authority;
use crate::support::device::Device;
use crate::support::packets::{Connect, Properties, Publish, Value, property};
use crate::support::peers::{mosquitto_pub, mosquitto_sub};
use crate::support::process::run;
use crate::support::tls::Client;
use crate::support::{Version, numbered, wait_until};

#[test]
fn mosquitto_clients_publish_and_subscribe_over_tls_at_every_qos() {
    let (authority, proxy, _) = secured();
    let ca = authority.path().display().to_string();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    for (version, name) in VERSIONS {
        let protocol = if version == SslVersion::TLS1_2 { "TLSv1.2" } else { "TLSv1.3" };
        // The option --tls-version says the lowest version only; OpenSSL's own settings say the highest one too.
        let settings = home.path().join(protocol);
        let text = format!(
            "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = one\n[one]\n\
             MinProtocol = {protocol}\nMaxProtocol = {protocol}\n"
        );
        std::fs::write(&settings, text).expect("the settings can be written");
        let subscriber =
            mosquitto_sub(proxy.tls(), &["--cafile", &ca, "-t", &format!("{protocol}/#"), "-q", "2"]);
        for qos in ["0", "1", "2"] {
            let mut command = Command::new("mosquitto_pub");
            command.args(["-h", "127.0.0.1", "-p", &proxy.tls().port().to_string(), "--cafile", &ca]);
            command.args(["-i", protocol, "-t", &format!("{protocol}/{qos}"), "-m", "over tls", "-q", qos]);
            let done = run("mosquitto_pub", command.env("OPENSSL_CONF", &settings));
            assert_eq!(done.code, Some(0), "{}", done.output);
            let line = format!("{protocol}/{qos} {qos} 0 over tls\n");
            wait_until(&line, || subscriber.output().contains(&line));
        }
        let connected = format!(", MQTT 3.1.1, {name}\n");
        let of_client = format!("client {protocol}: connected from 127.0.0.1:");
        wait_until("the log names the version", || {
            let log = proxy.log();
            log.split_inclusive('\n').any(|line| line.contains(&of_client) && line.ends_with(&connected))
        });
    }
}

in_both_versions! {
    fn devices_with_and_without_tls_talk_to_each_other(version: Version) {
        let (authority, proxy, _) = secured();
        for (tls, name) in VERSIONS {
            let wire = Client::trusting(&authority).speaking(tls).wire(proxy.tls());
            let mut secured = Device::connect_over(wire, &Connect::new(version, "secured"));
            let mut plain = Device::connect(proxy.mqtt(), version, "plain");
            secured.subscribe("to/secured", 2);
            plain.subscribe("to/plain", 2);
            for qos in [0, 1, 2] {
                let texts = numbered(name, 200);
                secured.publish_all(texts.iter().map(|text| Publish::new("to/plain", text).qos(qos)));
                plain.publish_all(texts.iter().map(|text| Publish::new("to/secured", text).qos(qos)));
                for device in [&mut secured, &mut plain] {
                    let came = device.receive_all(texts.len());
                    assert!(came.iter().all(|message| message.qos == qos));
                    assert_eq!(came.iter().map(Publish::text).collect::<Vec<_>>(), texts);
                }
            }
            secured.disconnect();
            plain.disconnect();
        }
    }

    fn a_message_of_a_mebibyte_passes_both_ways(version: Version) {
        let (_authority, proxy, client) = secured();
        let payload: Vec<u8> = (0..1024 * 1024_u32).map(|place| (place % 251) as u8).collect();
        let mut secured = Device::connect_over(client.wire(proxy.tls()), &Connect::new(version, "secured"));
        let mut plain = Device::connect(proxy.mqtt(), version, "plain");
        secured.subscribe("large", 1);
        plain.subscribe("large", 1);
        for sender in 0..2 {
            let message = Publish { payload: payload.clone(), ..Publish::new("large", "").qos(1) };
            [&mut secured, &mut plain][sender].publish(message);
            for device in [&mut secured, &mut plain] {
                assert!(device.receive().payload == payload, "other bytes came");
            }
        }
    }

    fn a_session_outlasts_the_death_of_the_proxy(version: Version) {
        let (authority, server) = certified();
        let mut proxy = listening(&server).start();
        let client = Client::trusting(&authority);
        let mut connect = Connect { clean: false, ..Connect::new(version, "lasting") };
        if version.is_v5() {
            connect.properties = Properties::from([(property::SESSION_EXPIRY, Value::Four(3_600))]);
        }
        let mut device = Device::connect_over(client.wire(proxy.tls()), &connect);
        assert!(!device.connack.session_present);
        device.subscribe("news/#", 1);
        device.cut();
        let mut publisher = Device::connect_over(client.wire(proxy.tls()), &Connect::new(version, "publisher"));
        let texts = numbered("news", 50);
        publisher.publish_all(texts.iter().map(|text| Publish::new("news/all", text).qos(1)));
        proxy.kill_and_restart();
        publisher.wait_closed();
        let mut device = Device::connect_over(client.wire(proxy.tls()), &connect);
        assert!(device.connack.session_present);
        let came = device.receive_all(texts.len());
        assert_eq!(came.iter().map(Publish::text).collect::<Vec<_>>(), texts);
    }
}

#[test]
fn a_device_that_reads_late_gets_everything_in_order() {
    let (authority, server) = certified();
    let room = "[limits]\nqueued_messages_max = 10000\nqueued_bytes_max = 67108864";
    let proxy = listening(&server).settings(room).start();
    let client = Client::trusting(&authority);
    let mut reader = Device::connect_over(client.wire(proxy.tls()), &Connect::new(Version::V5, "reader"));
    reader.subscribe("late", 1);
    // More than the sockets between take, so that writes break off anywhere in a record.
    let texts: Vec<String> = numbered("late", 3_000).iter().map(|text| text.repeat(800)).collect();
    let mut publisher = Device::connect(proxy.mqtt(), Version::V5, "publisher");
    publisher.publish_all(texts.iter().map(|text| Publish::new("late", text).qos(1)));
    let came = reader.receive_all(texts.len());
    assert!(came.iter().map(Publish::text).eq(texts), "something is missing or out of order");
}

#[test]
fn a_client_is_one_whichever_way_it_comes_and_is_told_goodbye_over_tls() {
    let (_authority, mut proxy, client) = secured();
    let connect = Connect::new(Version::V5, "device");
    let mut first = Device::connect_over(client.wire(proxy.tls()), &connect);
    let mut second = Device::connect_with(proxy.mqtt(), &connect);
    assert_eq!(first.disconnect_reason(), 0x8E, "session taken over");
    let mut third = Device::connect_over(client.wire(proxy.tls()), &connect);
    assert_eq!(second.disconnect_reason(), 0x8E, "session taken over");
    third.ping();
    proxy.terminate();
    assert_eq!(third.disconnect_reason(), 0x8B, "server shutting down");
    assert!(proxy.wait().success());
}

#[test]
fn mqtt_is_the_protocol_for_those_who_ask_by_alpn() {
    let (authority, proxy, client) = secured();
    let chosen = |client: &Client| {
        let stream = client.connect(proxy.tls());
        stream.ssl().selected_alpn_protocol().map(|chosen| String::from_utf8_lossy(chosen).into_owned())
    };
    assert_eq!(chosen(&client), None);
    let trusting = || Client::trusting(&authority);
    assert_eq!(chosen(&trusting().offering("mqtt")).as_deref(), Some("mqtt"));
    assert_eq!(chosen(&trusting().offering("http/1.1").offering("mqtt")).as_deref(), Some("mqtt"));
    let other = trusting().offering("other");
    assert_eq!(chosen(&other), None);
    let mut device = Device::connect_over(other.wire(proxy.tls()), &Connect::new(Version::V5, "other"));
    device.ping();
}

#[test]
fn quotas_of_connections_count_both_ports() {
    let (authority, server) = certified();
    let proxy = listening(&server).settings("limits.connections_per_address_max = 1").start();
    let client = Client::trusting(&authority);
    let connect = Connect::new(Version::V5, "second");
    let plain = Device::connect(proxy.mqtt(), Version::V5, "first");
    let refused = Device::try_connect_over(client.wire(proxy.tls()), &connect);
    assert_eq!(refused.connack.code, 0x97, "quota exceeded");
    plain.disconnect();
    wait_until("the place of the first one is free", || {
        let connected = Device::try_connect_over(client.wire(proxy.tls()), &connect);
        connected.connack.code == 0
    });
    let active = |address: std::net::SocketAddr| {
        proxy.rest().metric("mqtt_active_connections", &[&format!("listener=\"{address}\"")])
    };
    wait_until("nobody is connected any more", || active(proxy.tls()) == 0.0 && active(proxy.mqtt()) == 0.0);
    let total = |address: std::net::SocketAddr| {
        proxy.rest().metric("mqtt_connections_total", &[&format!("listener=\"{address}\"")])
    };
    assert_eq!(total(proxy.mqtt()), 1.0);
    assert!(total(proxy.tls()) >= 2.0);
}

#[test]
fn mosquitto_publishes_over_tls_to_a_subscriber_without() {
    let (authority, proxy, _) = secured();
    let subscriber = mosquitto_sub(proxy.mqtt(), &["-V", "5", "-t", "a", "-q", "1"]);
    let ca = authority.path().display().to_string();
    let done = mosquitto_pub(proxy.tls(), &["--cafile", &ca, "-V", "5", "-t", "a", "-m", "b", "-q", "1"]);
    assert_eq!(done.code, Some(0), "{}", done.output);
    wait_until("the message arrives", || subscriber.output().contains("a 1 0 b\n"));
    // One that does not know the authority does not trust the proxy, and sends nothing.
    let stranger = Authority::new("Another authority");
    let ca = stranger.path().display().to_string();
    let done = mosquitto_pub(proxy.tls(), &["--cafile", &ca, "-t", "a", "-m", "never", "-q", "1"]);
    assert_ne!(done.code, Some(0), "{}", done.output);
    wait_until("the refusal is counted", || super::refused(&proxy, "tls_handshake") == 1.0);
    wait_until("the log says why", || proxy.log().contains("tls handshake: the client ended it: "));
    assert!(!subscriber.output().contains("never"));
}
