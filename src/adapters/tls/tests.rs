//! What files may hold, what is said of others, and when they are read again.

use std::path::{Path, PathBuf};
use std::time::Instant;

use actors::broker::TlsVersion;
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::{X509, X509NameBuilder};

use super::*;

/// A certificate that signs itself, with its key; both as PEM.
fn identity(name: &str) -> (String, PKey<Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (String::from_utf8(builder.build().to_pem().unwrap()).unwrap(), key)
}

fn pem(key: &PKey<Private>) -> String {
    String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}

/// Settings that name files in a directory of their own.
struct Home {
    directory: tempfile::TempDir,
    settings: TlsSettings,
}

impl Home {
    fn new() -> Home {
        let directory = tempfile::tempdir().unwrap();
        let settings = TlsSettings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            cert_path: directory.path().join("cert.pem"),
            key_path: directory.path().join("key.pem"),
            client_ca_path: None,
            min_version: TlsVersion::V1_2,
        };
        Home { directory, settings }
    }

    fn with(name: &str) -> Home {
        let home = Home::new();
        home.put(name);
        home
    }

    /// Certificate and key of this name, as new files.
    fn put(&self, name: &str) {
        let (certificate, key) = identity(name);
        write(&self.settings.cert_path, &certificate);
        write(&self.settings.key_path, &pem(&key));
    }

    /// The problem, without the directory in its text.
    fn problem(&self) -> String {
        let error = check(&self.settings).expect_err("something is wrong").to_string();
        error.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

/// A new file in the place of an old one, so that it cannot be taken for the same within one tick of the clock.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[test]
fn good_files_are_good_and_nobody_opens_those_that_are_not_needed() {
    let mut home = Home::with("good");
    assert!(check(&home.settings).is_ok());
    let (authority, _) = identity("authority");
    let path = home.directory.path().join("ca.pem");
    write(&path, &format!("{authority}{}", identity("another").0));
    home.settings.client_ca_path = Some(path);
    assert!(check(&home.settings).is_ok());
    // A chain, and the key in the same file.
    let (certificate, key) = identity("both");
    write(&home.settings.cert_path, &format!("{}{certificate}{authority}", pem(&key)));
    home.settings.key_path = home.settings.cert_path.clone();
    assert!(check(&home.settings).is_ok());
    let nowhere = TlsSettings { listen: Vec::new(), cert_path: PathBuf::from("/nowhere"), ..home.settings };
    assert!(check(&nowhere).is_ok());
}

#[test]
fn what_is_wrong_is_told_with_its_setting_and_file() {
    let home = Home::new();
    let missing = "cannot be read: No such file or directory (os error 2)";
    assert_eq!(home.problem(), format!("server.tls_cert_path: file cert.pem {missing}"));
    let (certificate, key) = identity("good");
    write(&home.settings.cert_path, "no certificate\n");
    assert_eq!(
        home.problem(),
        "server.tls_cert_path: file cert.pem: it must have a certificate in PEM, and has none"
    );
    write(&home.settings.cert_path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let broken = "server.tls_cert_path: file cert.pem: a certificate in PEM is broken: ";
    assert!(home.problem().starts_with(broken), "{}", home.problem());

    write(&home.settings.cert_path, &certificate);
    assert_eq!(home.problem(), format!("server.tls_key_path: file key.pem {missing}"));
    write(&home.settings.key_path, &certificate);
    let no_key = "server.tls_key_path: file key.pem: it must have a private key in PEM, and has none that can be read (";
    assert!(home.problem().starts_with(no_key), "{}", home.problem());
    let encrypted = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"open it").unwrap();
    write(&home.settings.key_path, &String::from_utf8(encrypted).unwrap());
    assert_eq!(
        home.problem(),
        "server.tls_key_path: file key.pem: the key has a password; it must have none"
    );
    write(&home.settings.key_path, &pem(&identity("other").1));
    assert_eq!(
        home.problem(),
        "server.tls_key_path: file key.pem: the key does not fit the certificate in server.tls_cert_path, file \
         cert.pem; it must be the key that the certificate was made for"
    );
}

#[test]
fn a_bad_authority_of_clients_is_told_too() {
    let mut home = Home::with("good");
    home.settings.client_ca_path = Some(home.directory.path().join("ca.pem"));
    let problem = home.problem();
    assert!(problem.starts_with("server.tls_client_ca_path: file ca.pem cannot be read: "), "{problem}");
    write(&home.directory.path().join("ca.pem"), "");
    assert_eq!(
        home.problem(),
        "server.tls_client_ca_path: file ca.pem: it must have a certificate in PEM, and has none"
    );
}

#[test]
fn files_are_read_again_when_they_change_and_no_more_than_once_a_second() {
    let home = Home::with("first");
    let mut certificates = Certificates::open(&home.settings).unwrap();
    let mut now = Instant::now();
    let mut look = |millis| {
        now += Duration::from_millis(millis);
        certificates.context(now);
        certificates.common_name()
    };
    assert_eq!(look(2_000), "first");
    home.put("second");
    assert_eq!(look(999), "first", "it was looked at just now");
    assert_eq!(look(1), "second");
    let (certificate, key) = identity("third");
    write(&home.settings.cert_path, &certificate);
    for _ in 0..3 {
        assert_eq!(look(1_000), "second", "the key does not fit yet");
    }
    write(&home.settings.key_path, &pem(&key));
    assert_eq!(look(1_000), "third");
    std::fs::remove_file(&home.settings.key_path).unwrap();
    assert_eq!(look(1_000), "third");
    home.put("fourth");
    assert_eq!(look(1_000), "fourth");
}
