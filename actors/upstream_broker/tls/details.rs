//! What a TLS session turned out to be: for people who look why a broker cannot be reached, or whether it is safe.

use std::net::IpAddr;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::ssl::SslRef;
use openssl::x509::{GeneralNameRef, X509NameRef, X509Ref};

use crate::timestamp::format_rfc3339;

/// What both sides agreed upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsDetails {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher, in the standard's name.
    pub cipher: Option<String>,
    /// The protocol that the broker chose.
    pub alpn: Option<String>,
    /// The broker's certificate; none with a pre-shared key.
    pub peer_certificate: Option<CertificateDetails>,
    /// Whether the broker proved who it is, by its certificate or by a pre-shared key.
    pub verified: bool,
}

impl TlsDetails {
    /// What is known of a session, be it complete or not.
    pub fn of(ssl: &SslRef, verified: bool) -> TlsDetails {
        let cipher = ssl.current_cipher();
        TlsDetails {
            version: ssl.version_str(),
            cipher: cipher.map(|cipher| cipher.standard_name().unwrap_or(cipher.name()).to_owned()),
            alpn: ssl.selected_alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
            peer_certificate: ssl.peer_certificate().map(|certificate| CertificateDetails::of(&certificate)),
            verified,
        }
    }
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateDetails {
    /// Whose it is: `CN=broker, O=Company`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The host names and addresses that it is for.
    pub names: Vec<String>,
    /// From when on it is valid (RFC 3339).
    pub not_before: String,
    /// Until when it is valid (RFC 3339).
    pub not_after: String,
    /// [`CertificateDetails::not_after`] in seconds since the Unix epoch.
    pub not_after_secs: i64,
    /// SHA-256 of the certificate, as pairs of hexadecimal digits with colons.
    pub fingerprint_sha256: String,
}

impl CertificateDetails {
    /// Reads it off.
    pub fn of(certificate: &X509Ref) -> CertificateDetails {
        let names = certificate.subject_alt_names();
        let digest = certificate.digest(MessageDigest::sha256());
        let digest: Vec<String> =
            digest.iter().flat_map(|digest| digest.iter()).map(|byte| format!("{byte:02X}")).collect();
        CertificateDetails {
            subject: distinguished_name(certificate.subject_name()),
            issuer: distinguished_name(certificate.issuer_name()),
            names: names.iter().flatten().filter_map(alternative_name).collect(),
            not_before: time(certificate.not_before()),
            not_after: time(certificate.not_after()),
            not_after_secs: unix_secs(certificate.not_after()).unwrap_or(i64::MAX),
            fingerprint_sha256: digest.join(":"),
        }
    }
}

/// The parts of a name in their order, as `CN=broker, O=Company`.
fn distinguished_name(name: &X509NameRef) -> String {
    let parts = name.entries().map(|entry| {
        let nid = entry.object().nid();
        let kind = if nid == Nid::UNDEF { entry.object().to_string() } else { short_name(nid) };
        let value = entry.data().to_string().unwrap_or_default();
        format!("{kind}={value}")
    });
    let text = parts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "(no name)".to_owned() } else { text }
}

fn short_name(nid: Nid) -> String {
    nid.short_name().unwrap_or("?").to_owned()
}

fn alternative_name(name: &GeneralNameRef) -> Option<String> {
    if let Some(host) = name.dnsname() {
        return Some(host.to_owned());
    }
    let bytes = name.ipaddress()?;
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| v6()).ok().map(|address| address.to_string())
}

/// As RFC 3339; a time that has no such form is shown as OpenSSL shows it.
fn time(time: &Asn1TimeRef) -> String {
    let micros = unix_secs(time).and_then(|secs| u64::try_from(secs).ok()?.checked_mul(1_000_000));
    micros.map_or_else(|| time.to_string(), format_rfc3339)
}

fn unix_secs(time: &Asn1TimeRef) -> Option<i64> {
    let since_epoch = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    Some(i64::from(since_epoch.days) * 86_400 + i64::from(since_epoch.secs))
}
