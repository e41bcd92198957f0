//! Why there is no TLS session, in words that say who has to do what, and as one word for machines.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use openssl::ssl::{self, ErrorCode, SslRef};
use openssl::x509::{X509StoreContextRef, X509VerifyResult};

use super::details::CertificateDetails;
use crate::broker::{TlsOptions, TlsVersion};
use crate::upstream_broker::connect::Cause;

/// What exactly is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// A file cannot be read.
    FileUnreadable,
    /// An environment variable or file with a secret is not there.
    SecretMissing,
    /// A text or file has no certificate.
    CertificateUnreadable,
    /// A text or file has no private key, or the password does not open it.
    KeyUnreadable,
    /// The private key belongs to another certificate.
    KeyMismatch,
    /// A value cannot be used.
    Setting,
    /// The broker's certificate is for other names.
    NameMismatch,
    /// The broker's certificate, or one above it, has expired.
    Expired,
    /// The broker's certificate, or one above it, is not valid yet.
    NotYetValid,
    /// Nobody whom we trust signed the broker's certificate.
    UnknownAuthority,
    /// The broker's certificate is signed by itself, and we do not trust it.
    SelfSigned,
    /// The broker's certificate is not accepted for another reason.
    Certificate,
    /// The broker wants a certificate, and we have none.
    ClientCertificateRequired,
    /// The broker does not accept our certificate.
    ClientCertificateRefused,
    /// No version of TLS that both sides accept.
    Version,
    /// No cipher that both sides accept.
    Cipher,
    /// The broker accepts none of our protocols.
    Alpn,
    /// The broker does not accept our pre-shared key.
    Psk,
    /// The other side does not speak TLS there.
    NotTls,
    /// The other side closed the connection instead of an answer.
    Closed,
    /// Anything else.
    Handshake,
}

impl TlsFault {
    /// One word for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            TlsFault::FileUnreadable => "file_unreadable",
            TlsFault::SecretMissing => "secret_missing",
            TlsFault::CertificateUnreadable => "certificate_unreadable",
            TlsFault::KeyUnreadable => "key_unreadable",
            TlsFault::KeyMismatch => "key_mismatch",
            TlsFault::Setting => "setting",
            TlsFault::NameMismatch => "name_mismatch",
            TlsFault::Expired => "expired",
            TlsFault::NotYetValid => "not_yet_valid",
            TlsFault::UnknownAuthority => "unknown_ca",
            TlsFault::SelfSigned => "self_signed",
            TlsFault::Certificate => "certificate",
            TlsFault::ClientCertificateRequired => "client_certificate_required",
            TlsFault::ClientCertificateRefused => "client_certificate_refused",
            TlsFault::Version => "no_common_version",
            TlsFault::Cipher => "no_common_cipher",
            TlsFault::Alpn => "alpn_refused",
            TlsFault::Psk => "psk_refused",
            TlsFault::NotTls => "not_tls",
            TlsFault::Closed => "closed",
            TlsFault::Handshake => "handshake",
        }
    }

    /// Which step failed, or whose doing it is.
    pub const fn cause(self) -> Cause {
        match self {
            TlsFault::FileUnreadable
            | TlsFault::SecretMissing
            | TlsFault::CertificateUnreadable
            | TlsFault::KeyUnreadable
            | TlsFault::KeyMismatch
            | TlsFault::Setting => Cause::Configuration,
            TlsFault::NameMismatch
            | TlsFault::Expired
            | TlsFault::NotYetValid
            | TlsFault::UnknownAuthority
            | TlsFault::SelfSigned
            | TlsFault::Certificate => Cause::Certificate,
            TlsFault::ClientCertificateRequired | TlsFault::ClientCertificateRefused => {
                Cause::ClientCertificate
            }
            TlsFault::Version
            | TlsFault::Cipher
            | TlsFault::Alpn
            | TlsFault::Psk
            | TlsFault::NotTls
            | TlsFault::Closed
            | TlsFault::Handshake => Cause::Tls,
        }
    }
}

/// What failed.
#[derive(Debug)]
pub struct TlsFailure {
    /// For machines.
    pub fault: TlsFault,
    /// For people.
    pub text: String,
}

impl TlsFailure {
    /// A failure with its words.
    pub fn new(fault: TlsFault, text: impl Into<String>) -> TlsFailure {
        TlsFailure { fault, text: text.into() }
    }
}

/// The certificate that was not accepted, and why: OpenSSL forgets it when the handshake fails.
#[derive(Clone, Default)]
pub struct Rejection(Arc<Mutex<Option<Rejected>>>);

/// See [`Rejection`].
#[derive(Clone)]
pub struct Rejected {
    reason: X509VerifyResult,
    /// The certificate that is wrong: the broker's own or one above it.
    certificate: Option<CertificateDetails>,
    /// The broker's own.
    pub peer: Option<CertificateDetails>,
}

impl Rejection {
    /// Keeps what a verification found; the first thing that is wrong decides.
    pub fn note(&self, context: &X509StoreContextRef) {
        let peer = context.chain().and_then(|chain| chain.get(0));
        let rejected = Rejected {
            reason: context.error(),
            certificate: context.current_cert().map(CertificateDetails::of),
            peer: peer.map(CertificateDetails::of),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(rejected);
    }

    /// What was found.
    pub fn found(&self) -> Option<Rejected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The words for a certificate of `host` that is not accepted.
pub fn of_certificate(rejected: &Rejected, host: &str) -> TlsFailure {
    let Rejected { reason, certificate, .. } = rejected;
    let of = |pick: fn(&CertificateDetails) -> &str| certificate.as_ref().map_or("unknown", pick).to_owned();
    let (subject, issuer) = (of(|details| &details.subject), of(|details| &details.issuer));
    let said = reason.error_string();
    // The numbers are OpenSSL's X509_V_ERR_*.
    let (fault, text) = match reason.as_raw() {
        62 | 64 => {
            let names = certificate.as_ref().map(|details| details.names.join(", "));
            let names =
                names.filter(|names| !names.is_empty()).unwrap_or_else(|| format!("none but {subject}"));
            let advice = "tls_server_name can say which name to expect";
            (TlsFault::NameMismatch, format!("it has other names ({said}): {names}; {advice}"))
        }
        10 => (TlsFault::Expired, format!("{subject} expired at {}", of(|details| &details.not_after))),
        9 => {
            let from = of(|details| &details.not_before);
            (TlsFault::NotYetValid, format!("{subject} is not valid before {from}"))
        }
        18 => (TlsFault::SelfSigned, format!("it is signed by itself ({said}): {subject}")),
        19 => {
            (TlsFault::UnknownAuthority, format!("{subject} is not among the trusted authorities ({said})"))
        }
        2 | 20 | 21 => (
            TlsFault::UnknownAuthority,
            format!("its issuer {issuer} is not among the trusted ones ({said})"),
        ),
        _ => (TlsFault::Certificate, format!("{subject}: {said}")),
    };
    TlsFailure::new(fault, format!("certificate of {host}: {text}"))
}

/// The words for a handshake that failed for any other reason.
pub fn of_handshake(error: &ssl::Error, ssl: &SslRef, options: &TlsOptions) -> TlsFailure {
    let codes: Vec<i32> = match error.ssl_error() {
        Some(stack) => stack.errors().iter().map(openssl::error::Error::reason_code).collect(),
        None => Vec::new(),
    };
    // Once a cipher is chosen, what the broker does not like is our certificate, or that there is none: up to TLS 1.2 it
    // may say "handshake failure" for that too.
    let has_agreed = ssl.current_cipher().is_some();
    if let Some(failure) = codes.iter().find_map(|code| of_alert(*code, has_agreed, options)) {
        return failure;
    }
    let has = |wanted: &[i32]| codes.iter().any(|code| wanted.contains(code));
    // The numbers are OpenSSL's SSL_R_*; all of them stand for one error.
    let (fault, text) = if has(&[258, 266, 191, 396]) {
        (TlsFault::Version, version_text(options).to_owned())
    } else if has(&[267, 155, 156, 198]) {
        let text = "the answer is not TLS; does the broker speak plain MQTT on this port?";
        (TlsFault::NotTls, text.to_owned())
    } else if has(&[223, 224]) {
        (TlsFault::Psk, "the broker wants a pre-shared key".to_owned())
    } else if has(&[294]) || (codes.is_empty() && error.code() == ErrorCode::SYSCALL) {
        let reason = error.io_error().map_or_else(String::new, |error| format!(" ({error})"));
        (TlsFault::Closed, format!("the broker closed the connection during the TLS handshake{reason}"))
    } else {
        let said = error.ssl_error().and_then(|stack| stack.errors().first()?.reason());
        let said = said.map_or_else(|| error.to_string(), str::to_owned);
        (TlsFault::Handshake, format!("TLS handshake: {said}"))
    };
    TlsFailure::new(fault, text)
}

/// What a broker meant that broke off after the handshake was complete for us: in TLS 1.3 it looks at our certificate
/// only then. `None` where it was no alert of TLS.
pub fn after_handshake(error: &io::Error, options: &TlsOptions) -> Option<TlsFailure> {
    let error = error.get_ref()?.downcast_ref::<ssl::Error>()?;
    let codes = error.ssl_error()?.errors().iter().map(openssl::error::Error::reason_code);
    codes.into_iter().find_map(|code| of_alert(code, true, options))
}

/// An alert of the other side (RFC 8446 section 6); OpenSSL adds 1000 to its number.
fn of_alert(code: i32, has_agreed: bool, options: &TlsOptions) -> Option<TlsFailure> {
    let alert = code.checked_sub(1_000).filter(|alert| (0..256).contains(alert))?;
    let shows_certificate = options.client_cert.is_some();
    let name = alert_name(alert);
    let (fault, text) = match alert {
        20 | 47 | 51 | 115 if options.psk.is_some() => (
            TlsFault::Psk,
            format!("the broker does not accept identity or key (tls_psk_identity, tls_psk): {name}"),
        ),
        40 if options.psk.is_some() => {
            (TlsFault::Psk, format!("the broker does not accept the pre-shared key or its ciphers: {name}"))
        }
        116 => required(name),
        40 if has_agreed && !shows_certificate => required(name),
        40..=49 | 51 if has_agreed && shows_certificate => {
            let text = format!("the broker does not accept our certificate (client_cert_path): {name}");
            (TlsFault::ClientCertificateRefused, text)
        }
        40 | 71 => (TlsFault::Cipher, format!("the broker accepts none of our ciphers: {name}")),
        70 => (TlsFault::Version, format!("{}: {name}", version_text(options))),
        112 => {
            let text =
                format!("the broker does not know the name that it is asked for (tls_server_name): {name}");
            (TlsFault::NameMismatch, text)
        }
        120 => {
            (TlsFault::Alpn, format!("the broker accepts none of tls_alpn {}: {name}", listed(&options.alpn)))
        }
        _ => (TlsFault::Handshake, format!("the broker broke off TLS: {name}")),
    };
    Some(TlsFailure::new(fault, text))
}

fn required(name: &str) -> (TlsFault, String) {
    let text = format!("the broker wants a certificate of ours (client_cert_path, client_key_path): {name}");
    (TlsFault::ClientCertificateRequired, text)
}

/// The failure of a broker that does not take up any of the protocols.
pub fn alpn_not_chosen(options: &TlsOptions) -> TlsFailure {
    let offered = listed(&options.alpn);
    let text =
        format!("the broker chose none of tls_alpn {offered}; leave tls_alpn out where it is not needed");
    TlsFailure::new(TlsFault::Alpn, text)
}

fn listed(protocols: &[String]) -> String {
    format!("[{}]", protocols.join(", "))
}

fn version_text(options: &TlsOptions) -> &'static str {
    match options.min_version {
        TlsVersion::V1_2 => "the broker speaks no TLS 1.2 or later",
        TlsVersion::V1_3 => "the broker speaks no TLS 1.3 (tls_min_version)",
    }
}

/// As the standard writes it.
fn alert_name(alert: i32) -> &'static str {
    match alert {
        20 => "bad_record_mac",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "an alert without a name",
    }
}
