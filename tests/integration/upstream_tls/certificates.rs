//! TLS with certificates of both sides, with a shared key, and with everything that can be wrong about them.

use serde_json::json;

use super::{Secured, assert_failure, merged, server, tls_lines};
use crate::support::certificates::{Authority, Issued, Wanted};
use crate::support::proxy::{Proxy, Setup};
use crate::support::{SILENCE, Version, wait_until};

in_both_versions! {
    fn a_broker_with_a_certificate_gets_messages_and_shows_its_session(version: Version) {
        let (authority, certificate) = server();
        let upstream = Secured::with_tls(&certificate, "");
        let proxy = Proxy::start();
        let rest = proxy.rest();
        let tls = json!({"use_tls": true, "ca_cert_path": authority.path()});
        let id = rest.add(&upstream.broker("secure", version, &tls));
        rest.wait_connected(&id);
        upstream.gets_messages(&proxy, "m");

        let shown = rest.broker(&id);
        assert_eq!((&shown["last_error_cause"], &shown["warnings"]), (&json!(null), &json!([])), "{shown}");
        let session = &shown["tls"];
        assert_eq!((&session["verified"], &session["version"]), (&json!(true), &json!("TLSv1.3")));
        let peer = &session["peer_certificate"];
        assert_eq!((&peer["subject"], &peer["issuer"]), (&json!("CN=localhost"), &json!("CN=Test Authority")));
        assert_eq!(peer["names"], json!(["localhost", "127.0.0.1"]));
        let inline = json!({"use_tls": true, "ca_cert_pem": authority.pem()});
        let id = rest.add(&upstream.broker("inline", version, &inline));
        rest.wait_connected(&id);
    }

    fn a_broker_that_wants_a_certificate_gets_ours(version: Version) {
        let (authority, certificate) = server();
        let devices = Authority::new("Device Authority");
        let ours = devices.issue("ours", &Wanted::client("gateway"));
        for is_old in [false, true] {
            let upstream = Secured::demanding(&certificate, &devices, is_old);
            let proxy = Proxy::start();
            let rest = proxy.rest();
            let trust = json!({"use_tls": true, "ca_cert_pem": authority.pem()});
            let showing = |more| upstream.broker("mutual", version, &merged(&trust, &more));
            let id = rest.add(&showing(json!({
                "client_cert_path": ours.cert, "client_key_path": ours.encrypted_key("open it"),
                "client_key_password": "open it",
            })));
            rest.wait_connected(&id);
            upstream.gets_messages(&proxy, "m");
            let shown = rest.broker(&id);
            assert_eq!(shown["has_client_key_password"], json!(true));
            assert!(shown.get("client_key_password").is_none(), "{shown}");
            rest.delete(&format!("/api/brokers/{id}"));

            let id = rest.add(&showing(json!({
                "client_cert_pem": ours.cert_pem(), "client_key_pem": ours.key_pem(),
            })));
            rest.wait_connected(&id);
            rest.delete(&format!("/api/brokers/{id}"));

            let (cause, detail) = ("client_certificate", Some("client_certificate_required"));
            assert_failure(&proxy, &showing(json!({})), cause, detail, &["client_cert_path"]);
            let another = Authority::new("Another");
            let stranger = another.issue("stranger", &Wanted::client("gateway"));
            let shown = showing(json!({"client_cert_path": stranger.cert, "client_key_path": stranger.key}));
            assert_failure(&proxy, &shown, cause, Some("client_certificate_refused"), &["unknown_ca"]);
            let old = devices.issue("old", &Wanted::client("gateway").expired());
            let shown = showing(json!({"client_cert_path": old.cert, "client_key_path": old.key}));
            assert_failure(&proxy, &shown, cause, Some("client_certificate_refused"), &["certificate_expired"]);
            let mixed = Issued::pair(&ours, &stranger);
            let shown = showing(json!({"client_cert_path": mixed.cert, "client_key_path": mixed.key}));
            let words = ["client_key_path", "does not fit the certificate"];
            assert_failure(&proxy, &shown, "configuration", Some("key_mismatch"), &words);
            let locked = ours.encrypted_key("another");
            let shown = showing(json!({
                "client_cert_path": ours.cert, "client_key_path": locked, "client_key_password": "open it",
            }));
            let words = [locked.to_str().expect("UTF-8"), "client_key_password does not open"];
            assert_failure(&proxy, &shown, "configuration", Some("key_unreadable"), &words);
        }
    }
}

#[test]
fn a_bad_certificate_of_the_broker_is_explained() {
    let (authority, good) = server();
    let proxy = Proxy::start();
    let issue = |name: &str, wanted: Wanted| Secured::with_tls(&authority.issue(name, &wanted), "");
    let expired = issue("expired", Wanted::server().expired());
    let early = issue("early", Wanted::server().not_yet_valid());
    let elsewhere = issue("elsewhere", Wanted::server_named("elsewhere.test"));
    let good = Secured::with_tls(&good, "");
    let tls = json!({"use_tls": true, "ca_cert_pem": authority.pem()});
    let other_tls = json!({"use_tls": true, "ca_cert_pem": Authority::new("Another").pem()});
    let system = json!({"use_tls": true});
    for (upstream, fields, detail, words) in [
        (&expired, &tls, "expired", "CN=localhost expired at 20"),
        (&early, &tls, "not_yet_valid", "is not valid before 20"),
        (&elsewhere, &tls, "name_mismatch", "elsewhere.test; tls_server_name"),
        (&good, &other_tls, "unknown_ca", "CN=Test Authority"),
        (&good, &system, "unknown_ca", "certificate of 127.0.0.1"),
    ] {
        let broker = upstream.broker("bad", Version::V5, fields);
        assert_failure(&proxy, &broker, "certificate", Some(detail), &[words]);
    }
    let named = json!({"use_tls": true, "ca_cert_pem": authority.pem(), "tls_server_name": "elsewhere.test"});
    let id = proxy.rest().add(&elsewhere.broker("named", Version::V5, &named));
    proxy.rest().wait_connected(&id);
    assert!(proxy.rest().metric("broker_failures_total", &["cause=\"certificate\""]) >= 0.0);
}

#[test]
fn what_else_fails_with_tls_is_explained() {
    let (authority, certificate) = server();
    let proxy = Proxy::start();
    let old = Secured::with_old_tls(&tls_lines(&certificate));
    let plain = Secured::with("");
    let trust = json!({"use_tls": true, "ca_cert_pem": authority.pem()});
    let with = |more| merged(&trust, &more);
    let newest = old.broker("newest", Version::V5, &with(json!({"tls_min_version": "1.3"})));
    assert_failure(&proxy, &newest, "tls", Some("no_common_version"), &["tls_min_version"]);
    let alpn = old.broker("alpn", Version::V5, &with(json!({"tls_alpn": ["x-amzn-mqtt-ca"]})));
    assert_failure(&proxy, &alpn, "tls", Some("alpn_refused"), &["tls_alpn [x-amzn-mqtt-ca]"]);
    // mosquitto says nothing to what is not MQTT, be it ClientHello or not.
    let spoken = plain.broker("plain", Version::V5, &trust);
    assert_failure(
        &proxy,
        &spoken,
        "tls",
        Some("closed"),
        &["closed the connection during the TLS handshake"],
    );
    let missing = json!({"use_tls": true, "ca_cert_path": "/nowhere/ca.pem"});
    let missing = old.broker("missing", Version::V5, &missing);
    let words = ["ca_cert_path: file /nowhere/ca.pem cannot be read"];
    assert_failure(&proxy, &missing, "configuration", Some("file_unreadable"), &words);
    let fine = old.broker("fine", Version::V5, &with(json!({"tls_min_version": "1.2"})));
    let id = proxy.rest().add(&fine);
    proxy.rest().wait_connected(&id);
    assert_eq!(proxy.rest().broker(&id)["tls"]["version"], "TLSv1.2");
}

#[test]
fn a_user_is_let_in_by_password_over_tls() {
    let (authority, certificate) = server();
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let passwords = home.path().join("passwords");
    let mut command = std::process::Command::new("mosquitto_passwd");
    let done = command.args(["-b", "-c"]).arg(&passwords).args(["gateway", "right"]).status();
    assert!(done.expect("mosquitto_passwd is there").success());
    let lines = format!("password_file {}\nallow_anonymous false", passwords.display());
    let upstream = Secured::with_tls(&certificate, &lines);
    let login = |password: &str| {
        let fields = json!({
            "use_tls": true, "ca_cert_pem": authority.pem(), "username": "gateway", "password": password,
        });
        upstream.broker("login", Version::V5, &fields)
    };
    assert_failure(&proxy, &login("wrong"), "refused", None, &["not authorized"]);
    let id = rest.add(&login("right"));
    rest.wait_connected(&id);
}

#[test]
fn a_certificate_that_nobody_looks_at_leaves_a_warning() {
    let nobody = Authority::new("Nobody");
    let certificate = nobody.issue("server", &Wanted::server().expired());
    let upstream = Secured::with_tls(&certificate, "");
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let id = rest.add(&upstream.broker(
        "careless",
        Version::V5,
        &json!({"use_tls": true, "insecure_skip_verify": true}),
    ));
    rest.wait_connected(&id);
    upstream.gets_messages(&proxy, "m");
    let shown = rest.broker(&id);
    assert_eq!(shown["tls"]["verified"], json!(false));
    let warnings: Vec<&str> =
        shown["warnings"].as_array().expect("a list").iter().filter_map(|text| text.as_str()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].starts_with("insecure_skip_verify: ") && warnings[1].contains("certificate expired at")
    );
    let of_all = rest.status()["warnings"].as_array().expect("a list").clone();
    assert!(of_all.iter().any(|text| text.as_str().is_some_and(|text| text.contains("careless: insecure"))));
    assert!(proxy.log().contains("broker careless: its certificate is not verified"));
    rest.put(&format!("/api/brokers/{id}"), &json!({"insecure_skip_verify": false}));
    wait_until("the certificate is looked at", || rest.broker(&id)["last_error_cause"] == "certificate");
    let left = rest.broker(&id)["warnings"].to_string();
    assert!(!left.contains("insecure_skip_verify"), "{left}");
}

#[test]
fn a_shared_key_lets_us_in() {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let keys = home.path().join("keys");
    std::fs::write(&keys, "gateway:c0ffee00c0ffee00\n").expect("a file can be written");
    let lines = format!("psk_hint broker\npsk_file {}", keys.display());
    for (upstream, version) in
        [(Secured::with(&lines), "TLSv1.3"), (Secured::with_old_tls(&lines), "TLSv1.2")]
    {
        let proxy = Proxy::start();
        let rest = proxy.rest();
        let knowing = |identity: &str, key: &str| {
            let fields = json!({"use_tls": true, "tls_psk_identity": identity, "tls_psk": key});
            upstream.broker("shared", Version::V5, &fields)
        };
        let id = rest.add(&knowing("gateway", "C0FFEE00c0ffee00"));
        rest.wait_connected(&id);
        upstream.gets_messages(&proxy, "m");
        let shown = rest.broker(&id);
        assert_eq!((&shown["tls"]["version"], &shown["tls"]["verified"]), (&json!(version), &json!(true)));
        assert_eq!((&shown["has_tls_psk"], shown.get("tls_psk")), (&json!(true), None));
        rest.delete(&format!("/api/brokers/{id}"));
        assert_failure(&proxy, &knowing("gateway", "c0ffee01"), "tls", Some("psk_refused"), &["tls_psk"]);
        assert_failure(&proxy, &knowing("stranger", "c0ffee00"), "tls", Some("psk_refused"), &[]);
        assert!(!proxy.log().to_lowercase().contains("c0ffee"), "no key in the log");
    }
}

#[test]
fn a_certificate_that_is_exchanged_on_disk_is_used_at_the_next_connect() {
    let (authority, certificate) = server();
    let devices = Authority::new("Device Authority");
    let another = Authority::new("Another");
    let ours = another.issue("ours", &Wanted::client("gateway"));
    let mut upstream = Secured::demanding(&certificate, &devices, false);
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let id = rest.add(&upstream.broker(
        "renewed",
        Version::V5,
        &json!({
            "use_tls": true, "ca_cert_path": authority.path(), "client_cert_path": ours.cert,
            "client_key_path": ours.key,
        }),
    ));
    wait_until("the wrong certificate is refused", || {
        rest.broker(&id)["last_error_cause"] == "client_certificate"
    });
    devices.issue("renewed", &Wanted::client("gateway")).replace(&ours);
    rest.wait_connected(&id);
    upstream.gets_messages(&proxy, "first");

    // A file that is broken now harms nobody who is connected.
    let pem = authority.pem();
    std::fs::write(authority.path(), "nothing").expect("a file can be written");
    std::thread::sleep(SILENCE);
    upstream.gets_messages(&proxy, "second");
    assert_eq!(rest.broker(&id)["reconnects"], 0);
    upstream.mosquitto.stop();
    upstream.mosquitto.resume_process();
    wait_until("the broken file is named", || rest.broker(&id)["last_error_cause"] == "configuration");
    std::fs::write(authority.path(), pem).expect("a file can be written");
    rest.wait_connected(&id);
    upstream.gets_messages(&proxy, "third");
}

#[test]
fn a_broker_over_tls_can_stand_on_the_command_line() {
    let (authority, certificate) = server();
    let upstream = Secured::with_tls(&certificate, "");
    let url = format!(
        "mqtts://127.0.0.1:{}?name=line&ca_cert_path={}&tls_min_version=1.3",
        upstream.port,
        authority.path().display()
    );
    let proxy = Setup::new().upstream(&url).start();
    let id = proxy.rest().id_of("line");
    proxy.rest().wait_connected(&id);
    upstream.gets_messages(&proxy, "m");
}
