//! Who is not let in on the port for TLS, and that nobody else suffers from it.

use std::io::{Read, Write};
use std::net::TcpStream;

use openssl::ssl::SslVersion;

use super::{VERSIONS, certified, listening, refused, secured};
use crate::support::certificates::{Authority, Wanted};
use crate::support::device::Device;
use crate::support::packets::Connect;
use crate::support::peers::mosquitto_pub;
use crate::support::tls::Client;
use crate::support::wire::Wire;
use crate::support::{Version, wait_until};

/// Connects as far as the first byte of CONNACK; with TLS 1.3 a client learns only then whether its certificate will do.
pub fn enter(client: &Client, address: std::net::SocketAddr) -> Result<(), String> {
    let mut stream = client.try_connect(address)?;
    let _ = stream.write_all(&Connect::new(Version::V5, "entering").encode());
    let mut first = [0];
    match stream.read(&mut first).map_err(|error| error.to_string())? {
        0 => Err("closed".to_owned()),
        _ => {
            assert_eq!(first[0], 0x20, "CONNACK");
            Ok(())
        }
    }
}

#[test]
fn old_versions_of_tls_are_refused() {
    let (authority, server) = certified();
    let old = || Client::trusting(&authority).speaking(SslVersion::TLS1_1);
    let proxy = listening(&server).start();
    for (version, _) in VERSIONS {
        enter(&Client::trusting(&authority).speaking(version), proxy.tls()).expect("it is spoken");
    }
    let error = enter(&old(), proxy.tls()).expect_err("TLS 1.1 is too old");
    assert!(error.contains("alert protocol version"), "{error}");
    wait_until("it is counted", || refused(&proxy, "tls_handshake") == 1.0);

    let proxy = listening(&server).environment("MQTT_PROXY__SERVER__TLS_MIN_VERSION", "1.3").start();
    enter(&Client::trusting(&authority).speaking(SslVersion::TLS1_3), proxy.tls()).expect("it is spoken");
    for client in [old(), Client::trusting(&authority).speaking(SslVersion::TLS1_2)] {
        let error = enter(&client, proxy.tls()).expect_err("only TLS 1.3 is spoken");
        assert!(error.contains("alert protocol version"), "{error}");
    }
    wait_until("the log says it", || proxy.log().contains("tls handshake: unsupported protocol"));
    wait_until("both are counted", || refused(&proxy, "tls_handshake") == 2.0);
}

#[test]
fn with_an_authority_for_clients_only_those_with_its_certificate_are_let_in() {
    let (authority, server) = certified();
    let clients = Authority::new("Authority of the clients");
    let known = clients.issue("known", &Wanted::client("admin"));
    let expired = clients.issue("expired", &Wanted::client("admin").expired());
    let stranger = authority.issue("stranger", &Wanted::client("admin"));
    let proxy = listening(&server)
        .environment("MQTT_PROXY__SERVER__TLS_CLIENT_CA_PATH", &clients.path().display().to_string())
        .start();
    for (version, _) in VERSIONS {
        let client = || Client::trusting(&authority).speaking(version);
        enter(&client().presenting(&known), proxy.tls()).expect("it is let in");
        enter(&client(), proxy.tls()).expect_err("it shows no certificate");
        enter(&client().presenting(&stranger), proxy.tls()).expect_err("another authority signed it");
        enter(&client().presenting(&expired), proxy.tls()).expect_err("it is expired");
    }
    wait_until("they are counted", || refused(&proxy, "tls_handshake") == 6.0);
    let told = "the client presents no certificate (server.tls_client_ca_path)";
    wait_until("the log says what is missing", || proxy.log().contains(told));
    // A device without TLS has another port, and needs none.
    Device::connect(proxy.mqtt(), Version::V5, "plain").ping();

    let path = |path: &std::path::Path| path.display().to_string();
    let (ca, cert, key) = (path(&authority.path()), path(&known.cert), path(&known.key));
    let publish = ["--cafile", &ca, "-t", "a", "-m", "b", "-q", "1"];
    let done = mosquitto_pub(proxy.tls(), &publish);
    assert_ne!(done.code, Some(0), "{}", done.output);
    let done = mosquitto_pub(proxy.tls(), &[&publish[..], &["--cert", &cert, "--key", &key]].concat());
    assert_eq!(done.code, Some(0), "{}", done.output);
}

#[test]
fn a_certificate_is_no_user_name() {
    let (authority, server) = certified();
    let known = authority.issue("known", &Wanted::client("admin"));
    let proxy = listening(&server)
        .environment("MQTT_PROXY__SERVER__TLS_CLIENT_CA_PATH", &authority.path().display().to_string())
        .settings("[auth]\nrequire_auth = true\nusername = 'admin'\npassword = 'secret'")
        .start();
    let client = Client::trusting(&authority).presenting(&known);
    let mut connect = Connect::new(Version::V5, "device");
    assert_eq!(Device::try_connect_over(client.wire(proxy.tls()), &connect).connack.code, 0x86);
    connect.username = Some("admin".to_owned());
    connect.password = Some(b"secret".to_vec());
    Device::connect_over(client.wire(proxy.tls()), &connect).ping();
}

#[test]
fn what_is_no_tls_is_closed_and_nobody_else_notices() {
    let (_authority, proxy, client) = secured();
    let mut device = Device::connect_over(client.wire(proxy.tls()), &Connect::new(Version::V5, "device"));
    for bytes in [&Connect::new(Version::V4, "plain").encode()[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 64]] {
        let mut wire = Wire::open(proxy.tls());
        wire.send(bytes);
        wire.expect_close();
    }
    wait_until("they are counted", || refused(&proxy, "not_tls") == 3.0);
    wait_until("the log says it", || proxy.log().contains("no tls on the port for mqtt over tls"));
    assert_eq!(
        proxy.log().matches("no tls on the port for mqtt over tls").count(),
        1,
        "one of many is enough:\n{}",
        proxy.log()
    );
    let mut broken = TcpStream::connect(proxy.tls()).expect("the proxy listens");
    broken.write_all(&[[0x16, 3, 1, 0, 5].as_slice(), &[9; 5]].concat()).expect("the proxy reads");
    let mut alert = Vec::new();
    broken.read_to_end(&mut alert).expect("the proxy closes the connection in order");
    assert_eq!(alert.first(), Some(&0x15), "an alert of TLS: {alert:?}");
    wait_until("it is counted", || refused(&proxy, "tls_handshake") == 1.0);
    device.ping();
}

#[test]
fn who_says_nothing_or_half_of_it_is_closed_in_time_and_holds_up_nobody() {
    let (authority, server) = certified();
    let proxy = listening(&server).settings("server.connect_timeout_secs = 4").start();
    let client = Client::trusting(&authority);
    let mut silent = Wire::open(proxy.tls());
    let mut half = Wire::open(proxy.tls());
    half.send(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]);
    let mut without_connect = client.wire(proxy.tls());
    // They are still there, and others come and go.
    let mut device = Device::connect_over(client.wire(proxy.tls()), &Connect::new(Version::V5, "device"));
    device.ping();
    silent.expect_close();
    half.expect_close();
    without_connect.expect_close();
    device.ping();
    assert_eq!(refused(&proxy, "timeout"), 3.0);
    wait_until("the log says it", || proxy.log().matches("not connected within 4 s").count() == 3);
    // Who goes away by itself is no news.
    drop(TcpStream::connect(proxy.tls()).expect("the proxy listens"));
    wait_until("it is counted", || refused(&proxy, "closed") == 1.0);
}
