//! What `check` and `serve` say of settings for TLS that cannot work.

use super::certified;
use crate::support::certificates::{Authority, Wanted};
use crate::support::process::run;
use crate::support::proxy::command;

/// Both commands end with code 2 and these words.
fn assert_refused(arguments: &[&str], words: &[&str]) {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    for verb in ["check", "serve"] {
        let mut command = command(home.path());
        command.args([verb, "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--data", "data"]);
        let done = run("mqtt-proxy", command.args(["--tls-listen", "127.0.0.1:0"]).args(arguments));
        assert_eq!(done.code, Some(2), "{verb}: {}", done.output);
        for word in words {
            assert!(done.output.contains(word), "{verb}: {word:?} is missing: {}", done.output);
        }
        assert_eq!(done.output.lines().count(), 1, "{verb}: {}", done.output);
    }
}

#[test]
fn files_that_do_not_fit_are_told_before_anything_starts() {
    let (authority, server) = certified();
    let other = authority.issue("other", &Wanted::server());
    let text = |path: &std::path::Path| path.display().to_string();
    let (cert, key, others) = (text(&server.cert), text(&server.key), text(&other.key));
    let encrypted = text(&server.encrypted_key("open it"));
    assert_refused(
        &["--tls-cert", &cert],
        &["server.tls_key_path is ''", "server.tls_listen has 127.0.0.1:0"],
    );
    assert_refused(
        &["--tls-cert", "/nowhere/cert.pem", "--tls-key", &key],
        &["server.tls_cert_path: file /nowhere/cert.pem cannot be read: No such file or directory"],
    );
    assert_refused(
        &["--tls-cert", &cert, "--tls-key", &others],
        &[
            &format!("server.tls_key_path: file {others}: the key does not fit the certificate"),
            &format!("server.tls_cert_path, file {cert}"),
        ],
    );
    assert_refused(
        &["--tls-cert", &cert, "--tls-key", &encrypted],
        &[&format!("server.tls_key_path: file {encrypted}: the key has a password; it must have none")],
    );
}

#[test]
fn good_settings_are_shown_by_check_and_the_chain_goes_along() {
    let (_authority, server) = certified();
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let mut check = command(home.path());
    check.env("MQTT_PROXY__SERVER__TLS_LISTEN", "127.0.0.1:0,[::1]:0");
    check.env("MQTT_PROXY__SERVER__TLS_CERT_PATH", &server.cert);
    check.env("MQTT_PROXY__SERVER__TLS_KEY_PATH", &server.key);
    let done = run("mqtt-proxy check", check.args(["check", "--data", "data"]));
    assert_eq!(done.code, Some(0), "{}", done.output);
    for line in [
        "tls_listen = [\"127.0.0.1:0\", \"[::1]:0\"]",
        &format!("tls_cert_path = \"{}\"", server.cert.display()),
        "tls_client_ca_path = \"\"",
        "tls_min_version = \"1.2\"",
    ] {
        assert!(done.output.contains(line), "{line:?} is missing:\n{}", done.output);
    }

    // A file with a chain: whoever trusts the root needs nothing else.
    let root = Authority::new("Root");
    let between = root.authority("Between");
    let below = between.issue("below", &Wanted::server());
    let chain = below.cert.with_extension("chain");
    std::fs::write(&chain, below.cert_pem() + &between.pem()).expect("a file can be written");
    let chained = below.with_cert(chain);
    let proxy = super::listening(&chained).start();
    assert_eq!(crate::support::tls::Client::trusting(&root).name_shown(proxy.tls()), "localhost");
}
