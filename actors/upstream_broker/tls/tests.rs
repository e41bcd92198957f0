//! TLS dialogues with a server of OpenSSL's own, on a real socket: what is accepted, and what is said of the rest.

use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    AlpnError, Ssl, SslAcceptor, SslContextBuilder, SslMethod, SslVersion, select_next_proto,
};
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::broker::{KeySource, PemSource, Psk, Secret, TlsVersion};

/// A certificate with its key.
struct Identity {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate that is valid from and to so many days from now.
fn dated(name: &str, issuer: Option<&Identity>, is_authority: bool, days: (i64, i64)) -> Identity {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_slice(uuid::Uuid::new_v4().as_bytes()).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name())).unwrap();
    builder.set_pubkey(&key).unwrap();
    let now = i64::try_from(crate::timestamp::unix_micros() / 1_000_000).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(now + days.0 * 86_400).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(now + days.1 * 86_400).unwrap()).unwrap();
    if is_authority {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    } else {
        let context = builder.x509v3_context(issuer.map(|issuer| &*issuer.certificate), None);
        let names = SubjectAlternativeName::new().dns(name).ip("127.0.0.1").build(&context).unwrap();
        builder.append_extension(names).unwrap();
    }
    builder.sign(issuer.map_or(&key, |issuer| &issuer.key), MessageDigest::sha256()).unwrap();
    Identity { certificate: builder.build(), key }
}

fn authority(name: &str) -> Identity {
    dated(name, None, true, (-1, 1))
}

fn identity(name: &str, issuer: &Identity) -> Identity {
    dated(name, Some(issuer), false, (-1, 1))
}

impl Identity {
    fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap()
    }

    fn key_pem(&self) -> String {
        String::from_utf8(self.key.private_key_to_pem_pkcs8().unwrap()).unwrap()
    }
}

/// A directory that is gone with the value.
struct Home(PathBuf);

impl Home {
    fn new() -> Home {
        let path = std::env::temp_dir().join(format!("mqtt-proxy-tls-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Home(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// What a dialogue came to: the echo and the session, or the failure.
type Told = Result<TlsDetails, TlsFailure>;

/// Connects to a server that echoes four bytes and is set up like this.
async fn dialogue(set_up: impl FnOnce(&mut SslContextBuilder), options: &TlsOptions, host: &str) -> Told {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    set_up(&mut acceptor);
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
        let prepared = prepare(options).await?;
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut stream, details) =
            connect(&prepared, options, host, socket).await.map_err(|(failure, _)| failure)?;
        let mut bytes = [0; 4];
        let late = |error: std::io::Error| {
            after_handshake(&error, options).unwrap_or_else(|| panic!("{error} is no alert"))
        };
        // What the other side has to say can be read, even where writing fails already.
        let _ = stream.write_all(b"ping").await;
        stream.read_exact(&mut bytes).await.map_err(late)?;
        assert_eq!(&bytes, b"ping");
        Ok(details)
    };
    tokio::select! {
        told = ask => told,
        // The client's last words come after the server's.
        () = async { echo.await; std::future::pending().await } => unreachable!("that never ends"),
    }
}

/// A server with this certificate.
fn with(server: &Identity) -> impl FnOnce(&mut SslContextBuilder) {
    |context| {
        context.set_private_key(&server.key).unwrap();
        context.set_certificate(&server.certificate).unwrap();
    }
}

/// A server that lets in only whom this authority knows, with this version of TLS.
fn demanding<'a>(
    server: &'a Identity,
    clients: &'a Identity,
    version: SslVersion,
) -> impl FnOnce(&mut SslContextBuilder) + 'a {
    move |context| {
        with(server)(context);
        context.cert_store_mut().add_cert(clients.certificate.clone()).unwrap();
        context.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        context.set_max_proto_version(Some(version)).unwrap();
    }
}

fn trusting(authority: &Identity) -> TlsOptions {
    TlsOptions { ca_cert: Some(PemSource::Inline(authority.pem())), ..TlsOptions::default() }
}

/// Fails where the fault is another one, or where a word is missing.
fn assert_fault(told: Told, fault: TlsFault, words: &[&str]) {
    let failure = told.expect_err("it must fail");
    assert_eq!(failure.fault, fault, "{}", failure.text);
    for word in words {
        assert!(failure.text.contains(word), "{word:?} is missing: {}", failure.text);
    }
}

#[tokio::test]
async fn only_the_right_name_from_a_trusted_authority_is_accepted() {
    let ours = authority("Test Authority");
    let server = identity("broker.test", &ours);
    let trust = trusting(&ours);
    for host in ["broker.test", "broker.test.", "127.0.0.1"] {
        let details = dialogue(with(&server), &trust, host).await.unwrap();
        assert!(details.verified && details.version == "TLSv1.3", "{details:?}");
        let certificate = details.peer_certificate.unwrap();
        assert_eq!((&*certificate.subject, &*certificate.issuer), ("CN=broker.test", "CN=Test Authority"));
        assert_eq!(certificate.names, ["broker.test", "127.0.0.1"]);
        assert!(crate::timestamp::parse_rfc3339(&certificate.not_after).is_some(), "{certificate:?}");
        assert!(certificate.not_before < certificate.not_after);
        assert_eq!(certificate.fingerprint_sha256.len(), 32 * 3 - 1);
    }
    let wrong = dialogue(with(&server), &trust, "other.test").await;
    assert_fault(wrong, TlsFault::NameMismatch, &["other.test", "broker.test, 127.0.0.1", "tls_server_name"]);
    let wrong = dialogue(with(&server), &trust, "127.0.0.2").await;
    assert_fault(wrong, TlsFault::NameMismatch, &["127.0.0.2", "IP address mismatch"]);
    let named = TlsOptions { server_name: Some("broker.test".to_owned()), ..trust };
    assert!(dialogue(with(&server), &named, "127.0.0.2").await.is_ok());

    let unknown = dialogue(with(&server), &trusting(&authority("Another")), "broker.test").await;
    assert_fault(unknown, TlsFault::UnknownAuthority, &["certificate of broker.test", "CN=Test Authority"]);
    let system = dialogue(with(&server), &TlsOptions::default(), "broker.test").await;
    assert_fault(system, TlsFault::UnknownAuthority, &["certificate of broker.test"]);

    let careless = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
    let details = dialogue(with(&server), &careless, "other.test").await.unwrap();
    assert!(!details.verified && details.peer_certificate.is_some());
}

#[tokio::test]
async fn certificates_before_and_after_their_time_are_told_apart() {
    let ours = authority("Test Authority");
    let expired = dated("broker.test", Some(&ours), false, (-9, -2));
    let told = dialogue(with(&expired), &trusting(&ours), "broker.test").await;
    assert_fault(told, TlsFault::Expired, &["CN=broker.test expired at 20"]);
    let early = dated("broker.test", Some(&ours), false, (2, 9));
    let told = dialogue(with(&early), &trusting(&ours), "broker.test").await;
    assert_fault(told, TlsFault::NotYetValid, &["CN=broker.test is not valid before 20"]);
}

#[tokio::test]
async fn a_certificate_that_is_named_is_trusted_whoever_signed_it() {
    let self_signed = dated("broker.test", None, false, (-1, 1));
    let told = dialogue(with(&self_signed), &TlsOptions::default(), "broker.test").await;
    assert_fault(told, TlsFault::SelfSigned, &["signed by itself"]);
    assert!(dialogue(with(&self_signed), &trusting(&self_signed), "broker.test").await.is_ok());

    let root = authority("Root");
    let between = dated("Between", Some(&root), true, (-1, 1));
    let server = identity("broker.test", &between);
    assert!(dialogue(with(&server), &trusting(&between), "broker.test").await.is_ok());
    assert!(dialogue(with(&server), &trusting(&server), "broker.test").await.is_ok(), "the broker's own");
    let told = dialogue(with(&server), &trusting(&root), "broker.test").await;
    assert_fault(told, TlsFault::UnknownAuthority, &["CN=Between"]);
    // With the certificate between them in its hand, the server can prove that the root means it too.
    let whole = |context: &mut SslContextBuilder| {
        with(&server)(context);
        context.add_extra_chain_cert(between.certificate.clone()).unwrap();
    };
    assert!(dialogue(whole, &trusting(&root), "broker.test").await.is_ok());
    let both = PemSource::Inline(format!("{}{}", authority("Another").pem(), root.pem()));
    let both = TlsOptions { ca_cert: Some(both), ..TlsOptions::default() };
    assert!(dialogue(whole, &both, "broker.test").await.is_ok(), "any of several is enough");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_wanted() {
    let ours = authority("Test Authority");
    let (server, client) = (identity("broker.test", &ours), identity("client", &ours));
    let between = dated("Between", Some(&ours), true, (-1, 1));
    let below = identity("client", &between);
    let stranger = identity("client", &authority("Another"));
    let showing = |cert: String, key: String| TlsOptions {
        client_cert: Some(PemSource::Inline(cert)),
        client_key: Some(KeySource::Inline(Secret::new(key))),
        ..trusting(&ours)
    };
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let server = || demanding(&server, &ours, version);
        let known = showing(client.pem(), client.key_pem());
        assert!(dialogue(server(), &known, "broker.test").await.is_ok());
        let chain = showing(below.pem() + &between.pem(), below.key_pem());
        assert!(dialogue(server(), &chain, "broker.test").await.is_ok(), "with the one between");
        let in_one =
            TlsOptions { client_key: None, ..showing(client.key_pem() + &client.pem(), String::new()) };
        assert!(dialogue(server(), &in_one, "broker.test").await.is_ok(), "both in one text");

        let none = dialogue(server(), &trusting(&ours), "broker.test").await;
        assert_fault(none, TlsFault::ClientCertificateRequired, &["client_cert_path"]);
        let unknown = showing(stranger.pem(), stranger.key_pem());
        let told = dialogue(server(), &unknown, "broker.test").await;
        assert_fault(told, TlsFault::ClientCertificateRefused, &["unknown_ca"]);
    }
    let told = dialogue(with(&server), &showing(client.pem(), stranger.key_pem()), "broker.test").await;
    assert_fault(told, TlsFault::KeyMismatch, &["client_key_pem: the key does not fit the certificate"]);
}

#[tokio::test]
async fn an_encrypted_key_needs_its_password() {
    let ours = authority("Test Authority");
    let (server, client) = (identity("broker.test", &ours), identity("client", &ours));
    let pem = client.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"open it").unwrap();
    let home = Home::new();
    let key = home.file("client.key", &String::from_utf8(pem).unwrap());
    let password = home.file("password", "open it\n");
    let with_password = |password: Option<&str>| TlsOptions {
        client_cert: Some(PemSource::Path(home.file("client.pem", &client.pem()))),
        client_key: Some(KeySource::Path(key.clone())),
        client_key_password: password.map(Secret::new),
        ..trusting(&ours)
    };
    let server = || demanding(&server, &ours, SslVersion::TLS1_3);
    let path = key.to_str().unwrap();
    for good in ["open it", &format!("file:{}", password.display())] {
        assert!(dialogue(server(), &with_password(Some(good)), "broker.test").await.is_ok());
    }
    let told = dialogue(server(), &with_password(None), "broker.test").await;
    assert_fault(told, TlsFault::KeyUnreadable, &[path, "there is no client_key_password"]);
    let told = dialogue(server(), &with_password(Some("wrong")), "broker.test").await;
    assert_fault(told, TlsFault::KeyUnreadable, &[path, "does not open the key"]);
    let told = dialogue(server(), &with_password(Some("env:NO_SUCH_VARIABLE_2")), "broker.test").await;
    assert_fault(
        told,
        TlsFault::SecretMissing,
        &["client_key_password: environment variable NO_SUCH_VARIABLE_2"],
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let home = Home::new();
    let empty = home.file("empty.pem", "nothing\n");
    let nowhere = Path::new("/nowhere/ca.pem").to_owned();
    let ca = |source| TlsOptions { ca_cert: Some(source), ..TlsOptions::default() };
    let client = |source| TlsOptions { client_cert: Some(source), ..TlsOptions::default() };
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let ours = authority("Test Authority");
    for (options, fault, words) in [
        (
            ca(PemSource::Path(nowhere.clone())),
            TlsFault::FileUnreadable,
            "ca_cert_path: file /nowhere/ca.pem",
        ),
        (ca(PemSource::Path(empty.clone())), TlsFault::CertificateUnreadable, "empty.pem: no certificate"),
        (ca(PemSource::Path(home.0.clone())), TlsFault::FileUnreadable, "not a regular file"),
        (
            ca(PemSource::Inline(broken.to_owned())),
            TlsFault::CertificateUnreadable,
            "ca_cert_pem: no certificate",
        ),
        (
            ca(PemSource::Inline("env:NO_SUCH_CA".to_owned())),
            TlsFault::SecretMissing,
            "NO_SUCH_CA is not set",
        ),
        (
            client(PemSource::Path(nowhere)),
            TlsFault::FileUnreadable,
            "client_cert_path: file /nowhere/ca.pem",
        ),
        (client(PemSource::Path(empty)), TlsFault::CertificateUnreadable, "client_cert_path"),
        (client(PemSource::Inline(ours.pem())), TlsFault::KeyUnreadable, "client_cert_pem: no private key"),
    ] {
        let failure = prepare(&options).await.err().expect("it must fail");
        assert_eq!(failure.fault, fault, "{}", failure.text);
        assert!(failure.text.contains(words), "{words:?} is missing: {}", failure.text);
        assert_eq!(fault.cause().as_str(), "configuration");
    }
}

#[tokio::test]
async fn a_protocol_that_the_broker_does_not_take_up_is_a_failure() {
    let ours = authority("Test Authority");
    let server = identity("broker.test", &ours);
    let offering = |protocols: &[&str]| TlsOptions {
        alpn: protocols.iter().map(|protocol| (*protocol).to_owned()).collect(),
        ..trusting(&ours)
    };
    let choosing = |or_else: AlpnError| {
        let server = &server;
        move |context: &mut SslContextBuilder| {
            with(server)(context);
            context.set_alpn_select_callback(move |_, offered| {
                select_next_proto(b"\x04mqtt\x0ex-amzn-mqtt-ca", offered).ok_or(or_else)
            });
        }
    };
    let alert = AlpnError::ALERT_FATAL;
    let details = dialogue(choosing(alert), &offering(&["x-amzn-mqtt-ca"]), "broker.test").await.unwrap();
    assert_eq!(details.alpn.as_deref(), Some("x-amzn-mqtt-ca"));
    let details = dialogue(choosing(alert), &offering(&["other", "mqtt"]), "broker.test").await.unwrap();
    assert_eq!(details.alpn.as_deref(), Some("mqtt"));
    let told = dialogue(choosing(alert), &offering(&["h2", "http/1.1"]), "broker.test").await;
    assert_fault(told, TlsFault::Alpn, &["tls_alpn [h2, http/1.1]", "no_application_protocol"]);
    let told = dialogue(choosing(AlpnError::NOACK), &offering(&["h2"]), "broker.test").await;
    assert_fault(told, TlsFault::Alpn, &["chose none of tls_alpn [h2]"]);
    assert!(dialogue(choosing(alert), &offering(&[]), "broker.test").await.is_ok());
    let failure = prepare(&offering(&[""])).await.err().unwrap();
    assert!(failure.fault == TlsFault::Setting && failure.text.starts_with("tls_alpn: "), "{failure:?}");
}

#[tokio::test]
async fn versions_below_the_lowest_one_are_not_spoken() {
    let ours = authority("Test Authority");
    let server = identity("broker.test", &ours);
    let up_to = |version: SslVersion| {
        let server = &server;
        move |context: &mut SslContextBuilder| {
            with(server)(context);
            context.set_security_level(0);
            context.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
            context.set_max_proto_version(Some(version)).unwrap();
        }
    };
    let from = |min_version| TlsOptions { min_version, ..trusting(&ours) };
    let details = dialogue(up_to(SslVersion::TLS1_2), &from(TlsVersion::V1_2), "broker.test").await.unwrap();
    assert_eq!(details.version, "TLSv1.2");
    assert!(details.cipher.unwrap().starts_with("TLS_ECDHE_"));
    let told = dialogue(up_to(SslVersion::TLS1_2), &from(TlsVersion::V1_3), "broker.test").await;
    assert_fault(told, TlsFault::Version, &["no TLS 1.3 (tls_min_version)"]);
    let told = dialogue(up_to(SslVersion::TLS1_1), &from(TlsVersion::V1_2), "broker.test").await;
    assert_fault(told, TlsFault::Version, &["no TLS 1.2"]);
}

#[tokio::test]
async fn a_pre_shared_key_needs_no_certificate() {
    let sharing = |version: SslVersion| {
        move |context: &mut SslContextBuilder| {
            context.set_cipher_list("PSK").unwrap();
            context.set_max_proto_version(Some(version)).unwrap();
            context.set_psk_server_callback(|_, identity, room| {
                room[..4].copy_from_slice(&[0xCA, 0xFE, 0x00, 0x01]);
                Ok(if identity == Some(b"gateway") { 4 } else { 0 })
            });
        }
    };
    let knowing = |identity: &str, key: &str| TlsOptions {
        psk: Some(Psk { identity: identity.to_owned(), key: Secret::new(key) }),
        ..TlsOptions::default()
    };
    for (version, name) in [(SslVersion::TLS1_2, "TLSv1.2"), (SslVersion::TLS1_3, "TLSv1.3")] {
        let details = dialogue(sharing(version), &knowing("gateway", "cafe0001"), "any.test").await.unwrap();
        assert_eq!((details.version, details.verified, &details.peer_certificate), (name, true, &None));
        let told = dialogue(sharing(version), &knowing("gateway", "CAFE0002"), "any.test").await;
        assert_fault(told, TlsFault::Psk, &["tls_psk"]);
        let told = dialogue(sharing(version), &knowing("stranger", "cafe0001"), "any.test").await;
        assert_fault(told, TlsFault::Psk, &[]);
    }
    for bad in ["", "abc", "xy", "caf\u{e9}", &"00".repeat(513)] {
        let failure = prepare(&knowing("gateway", bad)).await.err().unwrap();
        assert!(failure.fault == TlsFault::Setting && failure.text.starts_with("tls_psk: "), "{failure:?}");
        assert!(bad.is_empty() || !failure.text.contains(bad), "the key is no part of the text: {failure:?}");
    }
}

#[tokio::test]
async fn a_port_without_tls_is_recognised() {
    // CONNACK of MQTT 3.1.1, an HTTP error, and no word at all.
    for (answer, fault) in [
        (&b"\x20\x02\x00\x01"[..], TlsFault::NotTls),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", TlsFault::NotTls),
        (b"", TlsFault::Closed),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut hello = vec![0; 4096];
            assert!(socket.read(&mut hello).await.unwrap() > 0);
            // Padded, so that OpenSSL has a whole header to look at.
            socket.write_all(&[answer, &[0; 8][..answer.len().min(8)]].concat()).await.unwrap();
        };
        let options = TlsOptions::default();
        let ask = async {
            let prepared = prepare(&options).await.map_err(|failure| (failure, None))?;
            let socket = TcpStream::connect(address).await.unwrap();
            connect(&prepared, &options, "broker.test", socket).await.map(|_| ())
        };
        let (_, told) = tokio::join!(serve, ask);
        let (failure, _) = told.unwrap_err();
        assert_eq!(failure.fault, fault, "{}", failure.text);
    }
}

#[test]
fn every_word_for_machines_stands_for_one_fault() {
    let all = [
        TlsFault::FileUnreadable,
        TlsFault::SecretMissing,
        TlsFault::CertificateUnreadable,
        TlsFault::KeyUnreadable,
        TlsFault::KeyMismatch,
        TlsFault::Setting,
        TlsFault::NameMismatch,
        TlsFault::Expired,
        TlsFault::NotYetValid,
        TlsFault::UnknownAuthority,
        TlsFault::SelfSigned,
        TlsFault::Certificate,
        TlsFault::ClientCertificateRequired,
        TlsFault::ClientCertificateRefused,
        TlsFault::Version,
        TlsFault::Cipher,
        TlsFault::Alpn,
        TlsFault::Psk,
        TlsFault::NotTls,
        TlsFault::Closed,
        TlsFault::Handshake,
    ];
    let words: std::collections::BTreeSet<_> = all.iter().map(|fault| fault.as_str()).collect();
    assert_eq!(words.len(), all.len());
}
