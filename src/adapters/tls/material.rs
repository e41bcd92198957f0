//! What devices are shown and asked for in TLS: certificate, key, authorities and versions, read from the files that the
//! settings name. Whatever is wrong there is told with the key of the setting and the file.

use std::path::Path;

use actors::broker::TlsVersion;
use actors::secret_source::read_file;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    AlpnError, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod, SslOptions, SslSessionCacheMode,
    SslVerifyMode, SslVersion, select_next_proto,
};
use openssl::stack::Stack;
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;

use crate::settings::TlsSettings;

const CERT: &str = "server.tls_cert_path";
const KEY: &str = "server.tls_key_path";
const CLIENT_CA: &str = "server.tls_client_ca_path";

/// The one protocol, as ALPN has it on the wire: behind its length.
const ALPN_MQTT: &[u8] = b"\x04mqtt";

/// Sessions are taken up again only by servers of the same name.
const SESSION_CONTEXT: &[u8] = b"mqtt-proxy";

/// What a handshake needs, and the certificate that it shows.
pub struct Material {
    /// With everything that the files hold.
    pub context: SslContext,
    /// The certificate itself, without its chain.
    pub certificate: X509,
}

/// Reads the files.
///
/// # Errors
/// One line with the key of the setting, the file and what is needed.
pub fn read(settings: &TlsSettings) -> Result<Material, String> {
    // Without old versions and weak ciphers.
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(internal)?;
    let version = match settings.min_version {
        TlsVersion::V1_2 => SslVersion::TLS1_2,
        TlsVersion::V1_3 => SslVersion::TLS1_3,
    };
    builder.set_min_proto_version(Some(version)).map_err(internal)?;
    builder.set_options(SslOptions::NO_RENEGOTIATION);
    // Tickets are enough to take a session up again, and cost no memory here.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_session_id_context(SESSION_CONTEXT).map_err(internal)?;
    // Who offers other protocols only learns that none was chosen, and may go on.
    builder.set_alpn_select_callback(|_, offered| {
        select_next_proto(ALPN_MQTT, offered).filter(|chosen| chosen == b"mqtt").ok_or(AlpnError::NOACK)
    });
    let certificate = show_identity(&mut builder, settings)?;
    if let Some(path) = &settings.client_ca_path {
        ask_for_certificates(&mut builder, path)?;
    }
    Ok(Material { context: builder.build().into_context(), certificate })
}

fn show_identity(builder: &mut SslAcceptorBuilder, settings: &TlsSettings) -> Result<X509, String> {
    let (cert_path, key_path) = (&settings.cert_path, &settings.key_path);
    let mut chain = certificates(CERT, cert_path)?.into_iter();
    let certificate = chain.next().ok_or_else(|| no_certificate(CERT, cert_path))?;
    let refused = |error: ErrorStack| {
        format!("{CERT}: file {}: the certificate cannot be used: {}", cert_path.display(), reason(&error))
    };
    builder.set_certificate(&certificate).map_err(refused)?;
    for issuer in chain {
        builder.add_extra_chain_cert(issuer).map_err(refused)?;
    }
    let key = private_key(key_path)?;
    builder.set_private_key(&key).and_then(|()| builder.check_private_key()).map_err(|_| {
        format!(
            "{KEY}: file {}: the key does not fit the certificate in {CERT}, file {}; it must be the key that the \
             certificate was made for",
            key_path.display(),
            cert_path.display()
        )
    })?;
    Ok(certificate)
}

/// A client must show a certificate that one of these authorities has signed.
fn ask_for_certificates(builder: &mut SslAcceptorBuilder, path: &Path) -> Result<(), String> {
    let mut store = X509StoreBuilder::new().map_err(internal)?;
    let mut names = Stack::new().map_err(internal)?;
    for authority in certificates(CLIENT_CA, path)? {
        let name = authority.subject_name().to_owned().map_err(internal)?;
        names.push(name).map_err(internal)?;
        store.add_cert(authority).map_err(internal)?;
    }
    // An authority below another one is enough.
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN).map_err(internal)?;
    builder.set_verify_cert_store(store.build()).map_err(internal)?;
    builder.set_client_ca_list(names);
    builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    Ok(())
}

/// The certificates of a file, of which there is at least one.
fn certificates(setting: &str, path: &Path) -> Result<Vec<X509>, String> {
    let pem = content(setting, path)?;
    let found = X509::stack_from_pem(&pem).map_err(|error| {
        format!("{setting}: file {}: a certificate in PEM is broken: {}", path.display(), reason(&error))
    })?;
    if found.is_empty() { Err(no_certificate(setting, path)) } else { Ok(found) }
}

fn no_certificate(setting: &str, path: &Path) -> String {
    format!("{setting}: file {}: it must have a certificate in PEM, and has none", path.display())
}

fn private_key(path: &Path) -> Result<PKey<Private>, String> {
    let pem = content(KEY, path)?;
    let mut is_encrypted = false;
    let key = PKey::private_key_from_pem_callback(&pem, |_| {
        is_encrypted = true;
        Ok(0)
    });
    key.map_err(|error| match is_encrypted {
        true => format!("{KEY}: file {}: the key has a password; it must have none", path.display()),
        false => format!(
            "{KEY}: file {}: it must have a private key in PEM, and has none that can be read ({})",
            path.display(),
            reason(&error)
        ),
    })
}

fn content(setting: &str, path: &Path) -> Result<Vec<u8>, String> {
    read_file(&path.to_string_lossy()).map_err(|problem| format!("{setting}: {problem}"))
}

/// The first of OpenSSL's reasons, without its numbers and source lines.
fn reason(error: &ErrorStack) -> &'static str {
    error.errors().first().and_then(openssl::error::Error::reason).unwrap_or("it cannot be read")
}

fn internal(error: ErrorStack) -> String {
    format!("server.tls_listen: TLS cannot begin: {error}")
}
