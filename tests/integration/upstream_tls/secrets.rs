//! Secrets that stand elsewhere: in environment variables and files, looked up at each connect.

use serde_json::json;

use super::{Secured, assert_failure, server};
use crate::support::certificates::{Authority, Wanted};
use crate::support::mosquitto::Mosquitto;
use crate::support::proxy::Setup;
use crate::support::rest::local_broker;
use crate::support::{Version, wait_until};

#[test]
fn user_name_and_password_come_from_the_environment_and_from_a_file() {
    let mut upstream = Mosquitto::start_with_user("gateway", "open sesame");
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let file = home.path().join("password");
    std::fs::write(&file, "open sesame\n").expect("a file can be written");
    let mut proxy = Setup::new()
        .environment("UPSTREAM_USER", "gateway")
        .environment("UPSTREAM_PASSWORD", "open sesame")
        .environment("MQTT_PROXY_SECRET", "seals what is stored")
        .start();
    let from_file = format!("file:{}", file.display());
    let login = |name: &str, password: &str| {
        let mut broker = local_broker(name, upstream.port(), Version::V5);
        broker["username"] = json!("env:UPSTREAM_USER");
        broker["password"] = json!(password);
        broker
    };
    let rest = proxy.rest();
    let ids = [("by variable", "env:UPSTREAM_PASSWORD"), ("by file", &from_file)].map(|(name, password)| {
        let id = rest.add(&login(name, password));
        rest.wait_connected(&id);
        let shown = rest.broker(&id);
        assert_eq!((&shown["password"], &shown["username"]), (&json!(password), &json!("env:UPSTREAM_USER")));
        id
    });
    for (password, words) in [
        ("env:NO_SUCH_VARIABLE", "password: environment variable NO_SUCH_VARIABLE is not set"),
        ("file:/nowhere/secret", "password: file /nowhere/secret cannot be read"),
        ("env:MQTT_PROXY_SECRET", "seals stored secrets"),
    ] {
        let broker = login("missing", password);
        assert_failure(&proxy, &broker, "configuration", Some("secret_missing"), &[words]);
    }
    let stored = std::fs::read_to_string(proxy.data().join("brokers.json")).expect("brokers are stored");
    assert!(stored.contains("env:UPSTREAM_PASSWORD") && !stored.contains("open sesame"), "{stored}");
    assert!(!proxy.log().contains("open sesame"), "no secret in the log");

    // What the file says at the next connect counts.
    std::fs::write(&file, "another\n").expect("a file can be written");
    upstream.stop();
    upstream.resume_process();
    wait_until("the new password is refused", || {
        proxy.rest().broker(&ids[1])["last_error_cause"] == "refused"
    });
    proxy.rest().wait_connected(&ids[0]);
    std::fs::write(&file, "open sesame").expect("a file can be written");
    proxy.stop_and_restart();
    for id in &ids {
        proxy.rest().wait_connected(id);
    }
}

#[test]
fn keys_and_certificates_come_from_elsewhere_too() {
    let (authority, certificate) = server();
    let devices = Authority::new("Device Authority");
    let ours = devices.issue("ours", &Wanted::client("gateway"));
    let upstream = Secured::demanding(&certificate, &devices, false);
    let keys = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::write(keys.path().join("keys"), "gateway:c0ffee00\n").expect("a file can be written");
    let shared = Secured::with(&format!("psk_hint x\npsk_file {}", keys.path().join("keys").display()));
    let proxy = Setup::new()
        .environment("AUTHORITY", &authority.pem())
        .environment("KEY_PASSWORD", "open it")
        .environment("SHARED_KEY", "c0ffee00\n")
        .start();
    let encrypted = ours.encrypted_key("open it");
    let broker = upstream.broker(
        "elsewhere",
        Version::V5,
        &json!({
            "use_tls": true, "ca_cert_pem": "env:AUTHORITY", "client_cert_pem": format!("file:{}", ours.cert.display()),
            "client_key_pem": format!("file:{}", encrypted.display()), "client_key_password": "env:KEY_PASSWORD",
        }),
    );
    let id = proxy.rest().add(&broker);
    proxy.rest().wait_connected(&id);
    let by_key = json!({"use_tls": true, "tls_psk_identity": "gateway", "tls_psk": "env:SHARED_KEY"});
    let id = proxy.rest().add(&shared.broker("shared", Version::V5, &by_key));
    proxy.rest().wait_connected(&id);
}
