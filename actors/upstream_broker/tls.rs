//! TLS towards upstream brokers, by OpenSSL.

use std::path::PathBuf;
use std::pin::Pin;

use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::broker::TlsOptions;

/// Wraps a connected socket in TLS and proves the other side's identity, unless the options say not to.
///
/// # Errors
/// The text says what failed: the file, the certificate or the handshake.
pub async fn connect(
    options: &TlsOptions,
    host: &str,
    socket: TcpStream,
) -> Result<SslStream<TcpStream>, String> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|error| error.to_string())?;
    match &options.ca_cert_path {
        Some(path) => {
            builder.set_ca_file(path).map_err(|error| format!("ca_cert_path {}: {error}", path.display()))?;
        }
        None if !options.insecure_skip_verify => trust_system(&mut builder),
        None => {}
    }
    if options.insecure_skip_verify {
        builder.set_verify(SslVerifyMode::NONE);
    }
    let mut configuration = builder.build().configure().map_err(|error| error.to_string())?;
    configuration.set_verify_hostname(!options.insecure_skip_verify);
    let ssl = configuration.into_ssl(host).map_err(|error| error.to_string())?;
    let mut stream = SslStream::new(ssl, socket).map_err(|error| error.to_string())?;
    match Pin::new(&mut stream).connect().await {
        Ok(()) => Ok(stream),
        Err(error) => {
            let verified = stream.ssl().verify_result();
            match verified.as_raw() {
                0 => Err(error.to_string()),
                _ => Err(format!("certificate of {host}: {}", verified.error_string())),
            }
        }
    }
}

/// Trusts whom the system trusts: an OpenSSL that was built with the proxy does not know where that is written.
fn trust_system(builder: &mut SslConnectorBuilder) {
    let found = openssl_probe::probe();
    let directory = found.cert_dir.first().map(PathBuf::as_path);
    if let Err(error) = builder.load_verify_locations(found.cert_file.as_deref(), directory) {
        log::warn!("the system's certificates cannot be read: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use openssl::asn1::Asn1Time;
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::{PKey, Private};
    use openssl::ssl::{Ssl, SslAcceptor};
    use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
    use openssl::x509::{X509, X509NameBuilder};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A certificate with its key.
    struct Identity {
        certificate: X509,
        key: PKey<Private>,
    }

    /// Makes a certificate for a DNS name, signed by `issuer` or by itself as a CA.
    fn identity(name: &str, issuer: Option<&Identity>) -> Identity {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder
            .set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name()))
            .unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        match issuer {
            None => {
                builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap()
            }
            Some(issuer) => {
                let context = builder.x509v3_context(Some(&issuer.certificate), None);
                let names = SubjectAlternativeName::new().dns(name).build(&context).unwrap();
                builder.append_extension(names).unwrap();
            }
        }
        builder.sign(issuer.map_or(&key, |issuer| &issuer.key), MessageDigest::sha256()).unwrap();
        Identity { certificate: builder.build(), key }
    }

    /// Writes a certificate where `ca_cert_path` can name it.
    fn pem_file(name: &str, identity: &Identity) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mqtt-proxy-test-{name}-{}.pem", uuid::Uuid::new_v4()));
        std::fs::write(&path, identity.certificate.to_pem().unwrap()).unwrap();
        path
    }

    /// Connects to a server with this identity that echoes four bytes; answers with the echo or the failure.
    async fn dialogue(server: &Identity, options: &TlsOptions, host: &str) -> Result<[u8; 4], String> {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_private_key(&server.key).unwrap();
        acceptor.set_certificate(&server.certificate).unwrap();
        let ssl = Ssl::new(acceptor.build().context()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = SslStream::new(ssl, socket).unwrap();
            let mut bytes = [0; 4];
            // A client that does not trust us ends the dialogue here.
            if Pin::new(&mut stream).accept().await.is_ok() && stream.read_exact(&mut bytes).await.is_ok() {
                stream.write_all(&bytes).await.unwrap();
            }
        };
        let ask = async {
            let mut stream = connect(options, host, TcpStream::connect(address).await.unwrap()).await?;
            stream.write_all(b"ping").await.map_err(|error| error.to_string())?;
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.map_err(|error| error.to_string())?;
            Ok(bytes)
        };
        tokio::join!(echo, ask).1
    }

    fn trusting(ca_cert_path: Option<&Path>) -> TlsOptions {
        TlsOptions { insecure_skip_verify: false, ca_cert_path: ca_cert_path.map(Path::to_owned) }
    }

    #[tokio::test]
    async fn only_the_right_name_from_a_trusted_authority_is_accepted() {
        let authority = identity("Test Authority", None);
        let server = identity("broker.test", Some(&authority));
        let (ours, others) = (pem_file("ours", &authority), pem_file("others", &identity("Another", None)));

        assert_eq!(dialogue(&server, &trusting(Some(&ours)), "broker.test").await, Ok(*b"ping"));

        let wrong_name = dialogue(&server, &trusting(Some(&ours)), "other.test").await.unwrap_err();
        assert!(wrong_name.contains("hostname mismatch"), "{wrong_name}");
        let unknown = dialogue(&server, &trusting(Some(&others)), "broker.test").await.unwrap_err();
        assert!(unknown.contains("unable to get local issuer"), "{unknown}");
        let system = dialogue(&server, &trusting(None), "broker.test").await.unwrap_err();
        assert!(system.contains("certificate of broker.test"), "{system}");

        let careless = TlsOptions { insecure_skip_verify: true, ca_cert_path: None };
        assert_eq!(dialogue(&server, &careless, "other.test").await, Ok(*b"ping"));
        for path in [ours, others] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[tokio::test]
    async fn a_missing_authority_file_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let options = trusting(Some(Path::new("/nowhere/ca.pem")));
        let failure = connect(&options, "broker.test", socket).await.unwrap_err();
        assert!(failure.contains("/nowhere/ca.pem"), "{failure}");
    }
}
