//! Why a TLS handshake with a device failed, in a few words. Thousands of devices may fail at once, so the log hears of one
//! now and then, and of each only at the level `debug`; all are counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::Level;
use openssl::error::ErrorStack;
use openssl::ssl::{self, SslRef};
use openssl::x509::X509VerifyResult;

use super::super::refusal::Refusal;

/// One failure in this time is logged at the level `info`.
const TOLD_INTERVAL: Duration = Duration::from_secs(60);

/// OpenSSL's `SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE`.
const NO_CERTIFICATE: i32 = 199;
/// OpenSSL's `SSL_R_UNEXPECTED_EOF_WHILE_READING`.
const UNEXPECTED_END: i32 = 294;
/// OpenSSL adds this to the number of an alert (RFC 8446 section 6) that the other side sent.
const ALERT: i32 = 1_000;

/// When the log was told of failures.
#[derive(Default)]
pub struct Told {
    not_tls: Seldom,
    handshake: Seldom,
}

/// When something happened last that is to happen now and then only.
#[derive(Default)]
struct Seldom(Mutex<Option<Instant>>);

impl Told {
    /// Somebody who does not speak TLS.
    pub fn not_tls(&self) -> Refusal {
        self.not_tls.refusal("not_tls", "no tls on the port for mqtt over tls".to_owned())
    }

    /// OpenSSL itself could not begin.
    pub fn internal(&self, error: &ErrorStack) -> Refusal {
        self.handshake.refusal("tls_handshake", format!("tls cannot begin: {error}"))
    }

    /// A handshake that began and failed.
    pub fn handshake(&self, error: &ssl::Error, ssl: &SslRef) -> Refusal {
        match cause(error, ssl) {
            Some(cause) => self.handshake.refusal("tls_handshake", format!("tls handshake: {cause}")),
            None => Refusal::gone(&"connection closed by the other side"),
        }
    }
}

impl Seldom {
    fn refusal(&self, label: &'static str, log: String) -> Refusal {
        let level = if self.is_due(Instant::now()) { Level::Info } else { Level::Debug };
        Refusal::silent(label, log).logged(level)
    }

    /// Whether the log is told at the level `info` now.
    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= TOLD_INTERVAL);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// What went wrong; `None` where the other side only went away.
fn cause(error: &ssl::Error, ssl: &SslRef) -> Option<String> {
    let errors = error.ssl_error().map(ErrorStack::errors).unwrap_or_default();
    let first = errors.first()?;
    let verified = ssl.verify_result();
    if verified != X509VerifyResult::OK {
        return Some(format!("the client's certificate is not accepted: {}", verified.error_string()));
    }
    match first.reason_code() {
        UNEXPECTED_END => None,
        NO_CERTIFICATE => Some("the client presents no certificate (server.tls_client_ca_path)".to_owned()),
        code => {
            let reason = first.reason().unwrap_or("not understood");
            let by_client = code >= ALERT;
            Some(if by_client { format!("the client ended it: {reason}") } else { reason.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_hears_of_one_failure_in_a_while() {
        let told = Seldom::default();
        let start = Instant::now();
        assert!(told.is_due(start));
        assert!(!told.is_due(start + TOLD_INTERVAL / 2));
        assert!(told.is_due(start + TOLD_INTERVAL));
        assert!(!told.is_due(start + TOLD_INTERVAL));
    }
}
