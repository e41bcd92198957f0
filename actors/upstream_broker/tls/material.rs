//! What TLS needs to begin: certificates, keys and choices, read anew for each connect. Everything here may wait for a
//! disk or derive a key from a password, so it runs on a thread for that.

use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVersion};
use openssl::x509::X509;
use openssl::x509::verify::X509VerifyFlags;

use super::failure::{TlsFailure, TlsFault};
use crate::broker::{KeySource, PemSource, Psk, Secret, TlsOptions, TlsVersion};
use crate::secret_source;

/// The key exchanges that a pre-shared key allows up to TLS 1.2, the ones with forward secrecy first.
const PSK_CIPHERS: &str = "ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES256-GCM-SHA384:DHE-PSK-AES128-GCM-SHA256:\
                           DHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES256-CBC-SHA384:ECDHE-PSK-AES128-CBC-SHA256:\
                           PSK-AES256-GCM-SHA384:PSK-AES128-GCM-SHA256:PSK-CHACHA20-POLY1305:\
                           PSK-AES256-CBC-SHA384:PSK-AES128-CBC-SHA256";

/// The key of a pre-shared key is at most this long (OpenSSL's `PSK_MAX_PSK_LEN`).
const PSK_BYTES_MAX: usize = 512;

/// A connector with everything that the options name.
///
/// # Errors
/// What cannot be read or does not fit; the text names the field.
pub fn connector(options: &TlsOptions) -> Result<SslConnectorBuilder, TlsFailure> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(internal)?;
    let version = match options.min_version {
        TlsVersion::V1_2 => SslVersion::TLS1_2,
        TlsVersion::V1_3 => SslVersion::TLS1_3,
    };
    builder.set_min_proto_version(Some(version)).map_err(internal)?;
    match &options.ca_cert {
        Some(source) => trust_only(&mut builder, source)?,
        None if !options.insecure_skip_verify => trust_system(&mut builder),
        None => {}
    }
    present_identity(&mut builder, options)?;
    if !options.alpn.is_empty() {
        builder.set_alpn_protos(&alpn_wire(&options.alpn)?).map_err(internal)?;
    }
    if let Some(psk) = &options.psk {
        share_key(&mut builder, psk)?;
    }
    Ok(builder)
}

/// Trusts the certificates of this source, be they authorities, intermediate ones or the broker's own.
fn trust_only(builder: &mut SslConnectorBuilder, source: &PemSource) -> Result<(), TlsFailure> {
    let place = Place::of(source, "ca_cert_path", "ca_cert_pem");
    let store = builder.cert_store_mut();
    for certificate in certificates(&place, &place.read()?)? {
        store.add_cert(certificate).map_err(|error| place.bad_pem(&error))?;
    }
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN).map_err(internal)
}

/// Trusts whom the system trusts: an OpenSSL that was built with the proxy does not know where that is written.
fn trust_system(builder: &mut SslConnectorBuilder) {
    let found = openssl_probe::probe();
    let directory = found.cert_dir.first().map(PathBuf::as_path);
    if let Err(error) = builder.load_verify_locations(found.cert_file.as_deref(), directory) {
        log::warn!("the system's certificates cannot be read: {error}");
    }
}

/// The certificate that we show a broker that asks for one, with its chain and its key.
fn present_identity(builder: &mut SslConnectorBuilder, options: &TlsOptions) -> Result<(), TlsFailure> {
    let Some(source) = &options.client_cert else { return Ok(()) };
    let place = Place::of(source, "client_cert_path", "client_cert_pem");
    let pem = place.read()?;
    let mut chain = certificates(&place, &pem)?.into_iter();
    if let Some(leaf) = chain.next() {
        builder.set_certificate(&leaf).map_err(|error| place.bad_pem(&error))?;
    }
    for issuer in chain {
        builder.add_extra_chain_cert(issuer).map_err(|error| place.bad_pem(&error))?;
    }
    // A file often holds both.
    let key_place = options.client_key.as_ref().map_or(place, Place::of_key);
    let key_pem = if options.client_key.is_some() { key_place.read()? } else { pem };
    let key = private_key(&key_place, &key_pem, options.client_key_password.as_ref())?;
    let fits = builder.set_private_key(&key).and_then(|()| builder.check_private_key());
    fits.map_err(|_| {
        let text = format!("{}: the key does not fit the certificate", key_place.name());
        TlsFailure::new(TlsFault::KeyMismatch, text)
    })
}

fn private_key(
    place: &Place<'_>,
    pem: &[u8],
    password: Option<&Secret>,
) -> Result<PKey<Private>, TlsFailure> {
    let password = match password {
        Some(text) => Some(resolved("client_key_password", text.reveal())?),
        None => None,
    };
    let mut asked = false;
    let key = PKey::private_key_from_pem_callback(pem, |buffer| {
        asked = true;
        let password = password.as_ref().map_or(&[][..], |password| password.reveal().as_bytes());
        let length = password.len().min(buffer.len());
        buffer[..length].copy_from_slice(&password[..length]);
        Ok(length)
    });
    key.map_err(|error| match (asked, &password) {
        (true, None) => {
            let text = format!("{}: the key is encrypted, and there is no client_key_password", place.name());
            TlsFailure::new(TlsFault::KeyUnreadable, text)
        }
        (true, Some(_)) => {
            let text = format!("{}: client_key_password does not open the key", place.name());
            TlsFailure::new(TlsFault::KeyUnreadable, text)
        }
        (false, _) => {
            let text = format!("{}: no private key in PEM there ({})", place.name(), reason(&error));
            TlsFailure::new(TlsFault::KeyUnreadable, text)
        }
    })
}

/// The protocols as TLS writes them: each behind its length.
fn alpn_wire(protocols: &[String]) -> Result<Vec<u8>, TlsFailure> {
    let mut wire = Vec::new();
    for protocol in protocols {
        let length = u8::try_from(protocol.len()).ok().filter(|length| *length > 0);
        let length = length.ok_or_else(|| {
            TlsFailure::new(TlsFault::Setting, format!("tls_alpn: {protocol:?} does not have 1 to 255 bytes"))
        })?;
        wire.push(length);
        wire.extend_from_slice(protocol.as_bytes());
    }
    Ok(wire)
}

/// Proves with a pre-shared key who both sides are.
fn share_key(builder: &mut SslConnectorBuilder, psk: &Psk) -> Result<(), TlsFailure> {
    let wrong = |text: &str| TlsFailure::new(TlsFault::Setting, text);
    let key = resolved("tls_psk", psk.key.reveal())?;
    let key = from_hex(key.reveal().trim()).filter(|key| !key.is_empty() && key.len() <= PSK_BYTES_MAX);
    let key = key.ok_or_else(|| wrong("tls_psk: must be 1 to 512 bytes as hexadecimal digits"))?;
    let mut identity = psk.identity.clone().into_bytes();
    if identity.contains(&0) {
        return Err(wrong("tls_psk_identity: must not contain NUL"));
    }
    identity.push(0);
    builder.set_cipher_list(PSK_CIPHERS).map_err(internal)?;
    builder.set_psk_client_callback(move |_, _, identity_room, key_room| {
        // Nothing written means no key, and the handshake says so.
        let (Some(identity_room), Some(key_room)) =
            (identity_room.get_mut(..identity.len()), key_room.get_mut(..key.len()))
        else {
            return Ok(0);
        };
        identity_room.copy_from_slice(&identity);
        key_room.copy_from_slice(&key);
        Ok(key.len())
    });
    Ok(())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Where a certificate or key stands.
enum Place<'a> {
    File(&'static str, &'a Path),
    Text(&'static str, &'a str),
}

impl<'a> Place<'a> {
    fn of(source: &'a PemSource, path_field: &'static str, pem_field: &'static str) -> Place<'a> {
        match source {
            PemSource::Path(path) => Place::File(path_field, path),
            PemSource::Inline(text) => Place::Text(pem_field, text),
        }
    }

    fn of_key(source: &'a KeySource) -> Place<'a> {
        match source {
            KeySource::Path(path) => Place::File("client_key_path", path),
            KeySource::Inline(text) => Place::Text("client_key_pem", text.reveal()),
        }
    }

    /// The field, and the file where it names one.
    fn name(&self) -> String {
        match self {
            Place::File(field, path) => format!("{field} {}", path.display()),
            Place::Text(field, _) => (*field).to_owned(),
        }
    }

    fn read(&self) -> Result<Vec<u8>, TlsFailure> {
        match self {
            Place::File(field, path) => secret_source::read_file(&path.to_string_lossy())
                .map_err(|problem| TlsFailure::new(TlsFault::FileUnreadable, format!("{field}: {problem}"))),
            Place::Text(field, text) => Ok(resolved(field, text)?.reveal().as_bytes().to_vec()),
        }
    }

    fn bad_pem(&self, error: &ErrorStack) -> TlsFailure {
        let text = format!("{}: no certificate in PEM there ({})", self.name(), reason(error));
        TlsFailure::new(TlsFault::CertificateUnreadable, text)
    }
}

/// The certificates of a PEM text, of which there is at least one.
fn certificates(place: &Place<'_>, pem: &[u8]) -> Result<Vec<X509>, TlsFailure> {
    let found = X509::stack_from_pem(pem).map_err(|error| place.bad_pem(&error))?;
    if found.is_empty() {
        let text = format!("{}: no certificate in PEM there", place.name());
        return Err(TlsFailure::new(TlsFault::CertificateUnreadable, text));
    }
    Ok(found)
}

fn resolved(field: &str, text: &str) -> Result<Secret, TlsFailure> {
    secret_source::resolve(field, text).map_err(|text| TlsFailure::new(TlsFault::SecretMissing, text))
}

/// The first of OpenSSL's reasons, without its numbers and source lines.
fn reason(error: &ErrorStack) -> &'static str {
    error.errors().first().and_then(openssl::error::Error::reason).unwrap_or("it cannot be read")
}

/// What OpenSSL itself could not do.
fn internal(error: ErrorStack) -> TlsFailure {
    TlsFailure::new(TlsFault::Handshake, format!("TLS cannot begin: {error}"))
}
