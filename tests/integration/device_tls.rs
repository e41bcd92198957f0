//! Devices over TLS: real clients in both versions of it, beside devices without; what is refused, and how; client
//! certificates, and certificates that change while the proxy runs.

mod certificates;
mod dialogues;
mod refusals;
mod settings;

use openssl::ssl::SslVersion;

use crate::support::certificates::{Authority, Issued, Wanted};
use crate::support::proxy::{Proxy, Setup};
use crate::support::tls::Client;

/// An authority, and a server's certificate of it.
fn certified() -> (Authority, Issued) {
    let authority = Authority::new("Authority of the test");
    let server = authority.issue("server", &Wanted::server());
    (authority, server)
}

/// A proxy that shows this certificate, on a port of the system's choice.
fn listening(server: &Issued) -> Setup {
    let path = |path: &std::path::Path| path.display().to_string();
    let setup = Setup::new().argument("--tls-listen").argument("127.0.0.1:0");
    setup
        .argument("--tls-cert")
        .argument(&path(&server.cert))
        .argument("--tls-key")
        .argument(&path(&server.key))
}

/// A proxy with a certificate, and a client that trusts it.
fn secured() -> (Authority, Proxy, Client) {
    let (authority, server) = certified();
    let proxy = listening(&server).start();
    let client = Client::trusting(&authority);
    (authority, proxy, client)
}

/// How many were refused for this reason.
fn refused(proxy: &Proxy, reason: &str) -> f64 {
    proxy.rest().metric("mqtt_connections_refused_total", &[&format!("reason=\"{reason}\"")])
}

/// The two versions that are spoken, as the log names them.
const VERSIONS: [(SslVersion, &str); 2] = [(SslVersion::TLS1_2, "TLS 1.2"), (SslVersion::TLS1_3, "TLS 1.3")];
