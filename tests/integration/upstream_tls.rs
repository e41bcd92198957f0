//! The way to real brokers that want more than TCP: TLS with certificates or a shared key, WebSocket, secrets from
//! elsewhere; and `POST /api/brokers/test`, which tries the way out.

mod certificates;
mod connection_test;
mod secrets;
mod websocket;

use std::net::TcpStream;

use serde_json::{Value as Json, json};

use crate::support::certificates::{Authority, Issued, Wanted};
use crate::support::device::Device;
use crate::support::mosquitto::{Mosquitto, reserve_port};
use crate::support::peers::Peer;
use crate::support::proxy::Proxy;
use crate::support::{Version, assert_same, numbered, wait_for, wait_until};

/// A mosquitto with a plain listener, for whoever looks at what arrives, and one with more.
struct Secured {
    mosquitto: Mosquitto,
    port: u16,
}

impl Secured {
    /// The second listener has these lines.
    fn with(lines: &str) -> Secured {
        let port = reserve_port();
        Secured::listening(Mosquitto::start_with_setting(&second_listener(port, lines)), port)
    }

    /// The same with TLS 1.2 at most.
    fn with_old_tls(lines: &str) -> Secured {
        let port = reserve_port();
        Secured::listening(Mosquitto::start_with_old_tls(&second_listener(port, lines)), port)
    }

    /// The second listener opens after the first one.
    fn listening(mosquitto: Mosquitto, port: u16) -> Secured {
        wait_until("the second listener is there", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Secured { mosquitto, port }
    }

    /// TLS with this certificate, and these lines more.
    fn with_tls(server: &Issued, lines: &str) -> Secured {
        Secured::with(&format!("{}\n{lines}", tls_lines(server)))
    }

    /// TLS that lets in only whom `clients` signed a certificate for.
    fn demanding(server: &Issued, clients: &Authority, is_old: bool) -> Secured {
        let cafile = clients.path();
        let lines = format!("{}\ncafile {}\nrequire_certificate true", tls_lines(server), cafile.display());
        if is_old { Secured::with_old_tls(&lines) } else { Secured::with(&lines) }
    }

    /// The JSON of a broker there; the fields of `more` are added.
    fn broker(&self, name: &str, version: Version, more: &Json) -> Json {
        merged(
            &json!({"name": name, "address": "127.0.0.1", "port": self.port, "version": version.name()}),
            more,
        )
    }

    /// Publishes at the proxy and waits until it is all there.
    fn gets_messages(&self, proxy: &Proxy, context: &str) {
        let subscriber = Peer::subscriber(self.mosquitto.address(), Version::V4, "at-broker", "tls/#", 1);
        let wanted = numbered(context, 50);
        let mut device = Device::connect(proxy.mqtt(), Version::V4, "device");
        for text in &wanted {
            device.say("tls/x", text, 1);
        }
        device.say("tls/x", "end", 1);
        assert_same(&subscriber.texts_before("end"), &wanted, context);
    }
}

fn second_listener(port: u16, lines: &str) -> String {
    format!("user root\nlistener {port} 127.0.0.1\n{lines}")
}

fn tls_lines(server: &Issued) -> String {
    format!("certfile {}\nkeyfile {}", server.cert.display(), server.key.display())
}

/// The fields of both objects.
fn merged(one: &Json, other: &Json) -> Json {
    let mut all = one.as_object().expect("an object").clone();
    all.extend(other.as_object().expect("an object").clone());
    Json::Object(all)
}

/// Adds a broker that cannot be reached, and says what is shown of that, once it is: cause, detail and text.
fn failure_of(proxy: &Proxy, broker: &Json) -> (String, Option<String>, String) {
    let rest = proxy.rest();
    let id = rest.add(broker);
    let shown = wait_for("the failure is shown", || {
        let shown = rest.broker(&id);
        assert_ne!(shown["state"], "connected", "{shown}");
        shown["last_error_cause"].is_string().then_some(shown)
    });
    rest.delete(&format!("/api/brokers/{id}"));
    let text = |field: &str| shown[field].as_str().map(str::to_owned);
    let error = text("last_error").expect("a cause has its text");
    (text("last_error_cause").expect("it is there"), text("last_error_detail"), error)
}

/// Fails where another failure is shown, or where one of the words is missing.
fn assert_failure(proxy: &Proxy, broker: &Json, cause: &str, detail: Option<&str>, words: &[&str]) {
    let (shown_cause, shown_detail, text) = failure_of(proxy, broker);
    assert_eq!((&*shown_cause, shown_detail.as_deref()), (cause, detail), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
    wait_until("the log has it too", || proxy.log().contains(&text));
}

/// An authority, and a server's certificate of it.
fn server() -> (Authority, Issued) {
    let authority = Authority::new("Test Authority");
    let server = authority.issue("server", &Wanted::server());
    (authority, server)
}
