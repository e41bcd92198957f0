//! JSON shapes of a connection to a broker: its TLS session, what failed, and what somebody should know about it.

use actors::Broker;
use actors::messages::UpstreamSnapshot;
use actors::timestamp::unix_micros;
use actors::upstream_broker::{CertificateDetails, TlsDetails};
use serde::Serialize;

/// How long before its end a certificate is warned about.
const EXPIRY_WARNING_SECS: i64 = 14 * 24 * 3_600;

/// What a broker's JSON says of its connection.
#[derive(Serialize)]
pub struct ConnectionJson {
    last_error_cause: Option<&'static str>,
    last_error_detail: Option<&'static str>,
    tls: Option<TlsJson>,
    warnings: Vec<String>,
}

impl ConnectionJson {
    /// The fields of [`ConnectionJson`], which nobody can set.
    pub const FIELDS: &[&str] = &["last_error_cause", "last_error_detail", "tls", "warnings"];

    /// The connection of a broker, as far as the Router knows it.
    pub fn new(broker: &Broker, live: Option<&UpstreamSnapshot>) -> ConnectionJson {
        let details = live.and_then(|live| live.tls.as_deref());
        ConnectionJson {
            last_error_cause: live.and_then(|live| live.last_error_cause),
            last_error_detail: live.and_then(|live| live.last_error_detail),
            tls: details.map(TlsJson::new),
            warnings: warnings(broker, details),
        }
    }

    /// Something that whoever changed the broker should know.
    pub fn warn(&mut self, warning: Option<String>) {
        self.warnings.extend(warning);
    }
}

/// What somebody should know about a broker's connection although it works.
pub fn warnings(broker: &Broker, details: Option<&TlsDetails>) -> Vec<String> {
    let mut warnings = Vec::new();
    if broker.tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify) {
        let text = "insecure_skip_verify: the broker's certificate is not verified, so anyone on the way \
                    can read and change messages";
        warnings.push(text.to_owned());
    }
    let now_secs = i64::try_from(unix_micros() / 1_000_000).unwrap_or(i64::MAX);
    if let Some(certificate) = details.and_then(|details| details.peer_certificate.as_ref())
        && certificate.not_after_secs.saturating_sub(now_secs) < EXPIRY_WARNING_SECS
    {
        let has_ended = certificate.not_after_secs <= now_secs;
        let verb = if has_ended { "expired" } else { "expires" };
        warnings.push(format!("the broker's certificate {verb} at {}", certificate.not_after));
    }
    warnings
}

/// A TLS session.
#[derive(Serialize)]
pub struct TlsJson {
    version: &'static str,
    cipher: Option<String>,
    alpn: Option<String>,
    peer_certificate: Option<CertificateJson>,
    verified: bool,
}

#[derive(Serialize)]
struct CertificateJson {
    subject: String,
    issuer: String,
    names: Vec<String>,
    not_before: String,
    not_after: String,
    fingerprint_sha256: String,
}

impl TlsJson {
    /// The session, be it complete or not.
    pub fn new(details: &TlsDetails) -> TlsJson {
        TlsJson {
            version: details.version,
            cipher: details.cipher.clone(),
            alpn: details.alpn.clone(),
            peer_certificate: details.peer_certificate.as_ref().map(CertificateJson::new),
            verified: details.verified,
        }
    }
}

impl CertificateJson {
    fn new(certificate: &CertificateDetails) -> CertificateJson {
        CertificateJson {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            names: certificate.names.clone(),
            not_before: certificate.not_before.clone(),
            not_after: certificate.not_after.clone(),
            fingerprint_sha256: certificate.fingerprint_sha256.clone(),
        }
    }
}
