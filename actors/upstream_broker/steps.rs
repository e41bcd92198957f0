//! What each step on the way to a broker brought, for the log, the API and whoever tries a definition out.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mqtt::packet::ConnAck;

use super::tls::TlsDetails;

/// The steps in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reading certificates, keys and secrets.
    Configuration,
    /// The name look-up.
    Dns,
    /// The TCP connection.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// The upgrade to WebSocket.
    WebSocket,
    /// CONNECT and its answer.
    ConnAck,
}

impl Step {
    /// The step as the API names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::Configuration => "configuration",
            Step::Dns => "dns",
            Step::Tcp => "tcp",
            Step::Tls => "tls",
            Step::WebSocket => "websocket",
            Step::ConnAck => "connack",
        }
    }

    /// What is missing where the step does not end in time.
    pub const fn awaited(self) -> &'static str {
        match self {
            Step::Configuration => "certificates, keys and secrets",
            Step::Dns => "answer to the name look-up",
            Step::Tcp => "TCP connection",
            Step::Tls => "end of the TLS handshake",
            Step::WebSocket => "answer to the WebSocket upgrade",
            Step::ConnAck => "CONNACK",
        }
    }
}

/// What a step brought, and how long it took.
#[derive(Clone, Debug)]
pub struct Timed<T> {
    /// What it brought.
    pub value: T,
    /// How long it took.
    pub took: Duration,
}

/// What was reached on the way to a broker. What is `None` was not reached, or is no part of this way.
#[derive(Debug)]
pub struct Steps {
    /// The step that is under way, or failed, or was the last.
    pub current: Step,
    began: Instant,
    /// The addresses of the name.
    pub dns: Option<Timed<Vec<IpAddr>>>,
    /// The address that accepted.
    pub tcp: Option<Timed<std::net::SocketAddr>>,
    /// The TLS session; also what is known of one that failed.
    pub tls: Option<Timed<TlsDetails>>,
    /// The path of the upgrade.
    pub websocket: Option<Timed<String>>,
    /// The answer to CONNECT, be it yes or no.
    pub connack: Option<Timed<ConnAck>>,
}

impl Steps {
    /// Nothing is reached yet.
    pub fn new() -> Steps {
        Steps {
            current: Step::Configuration,
            began: Instant::now(),
            dns: None,
            tcp: None,
            tls: None,
            websocket: None,
            connack: None,
        }
    }

    /// A step begins.
    pub fn begin(&mut self, step: Step) {
        (self.current, self.began) = (step, Instant::now());
    }

    /// What the current step brought, with its time.
    pub fn timed<T>(&self, value: T) -> Option<Timed<T>> {
        Some(Timed { value, took: self.began.elapsed() })
    }
}

impl Default for Steps {
    fn default() -> Steps {
        Steps::new()
    }
}
