//! Certificates for tests of TLS: an authority of the test's own, and whatever it is to sign, good or bad, as PEM files
//! in a directory that goes with the test.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use tempfile::TempDir;

const DAY_SECS: i64 = 24 * 3_600;

/// Who signs certificates.
pub struct Authority {
    home: TempDir,
    cert: X509,
    key: PKey<Private>,
}

/// What a certificate is to say. Without more words it holds since yesterday and for a month.
pub struct Wanted {
    common_name: String,
    names: Vec<String>,
    addresses: Vec<String>,
    days: (i64, i64),
    is_server: bool,
}

/// A certificate with its key.
pub struct Issued {
    /// The certificate as a PEM file.
    pub cert: PathBuf,
    /// Its key as a PEM file, not encrypted.
    pub key: PathBuf,
    private: PKey<Private>,
}

impl Wanted {
    /// The certificate of a server that is reached as `localhost` and 127.0.0.1.
    pub fn server() -> Wanted {
        Wanted {
            common_name: "localhost".to_owned(),
            names: vec!["localhost".to_owned()],
            addresses: vec!["127.0.0.1".to_owned()],
            days: (-1, 30),
            is_server: true,
        }
    }

    /// The certificate of a server that is reached by this name only.
    pub fn server_named(name: &str) -> Wanted {
        let (common_name, names) = (name.to_owned(), vec![name.to_owned()]);
        Wanted { common_name, names, addresses: Vec::new(), ..Wanted::server() }
    }

    /// The certificate of a client.
    pub fn client(common_name: &str) -> Wanted {
        Wanted {
            common_name: common_name.to_owned(),
            names: Vec::new(),
            addresses: Vec::new(),
            is_server: false,
            ..Wanted::server()
        }
    }

    /// It has this common name.
    pub fn called(mut self, common_name: &str) -> Wanted {
        self.common_name = common_name.to_owned();
        self
    }

    /// It ended yesterday.
    pub fn expired(mut self) -> Wanted {
        self.days = (-30, -1);
        self
    }

    /// It begins tomorrow.
    pub fn not_yet_valid(mut self) -> Wanted {
        self.days = (1, 30);
        self
    }
}

impl Authority {
    /// A new authority with a key of its own.
    pub fn new(name: &str) -> Authority {
        Authority::below(None, name)
    }

    /// Another one whose certificate this one signs.
    pub fn authority(&self, name: &str) -> Authority {
        Authority::below(Some(self), name)
    }

    fn below(issuer: Option<&Authority>, name: &str) -> Authority {
        let key = new_key();
        let mut builder = begin(name, &key, (-30, 365));
        let subject = text_name(name);
        let issuer_name = issuer.map_or(&*subject, |issuer| issuer.cert.subject_name());
        builder.set_issuer_name(issuer_name).expect("a name can be set");
        let constraints = BasicConstraints::new().critical().ca().build().expect("an extension");
        builder.append_extension(constraints).expect("an extension can be added");
        let usage = KeyUsage::new().critical().key_cert_sign().crl_sign().build().expect("an extension");
        builder.append_extension(usage).expect("an extension can be added");
        let signer = issuer.map_or(&key, |issuer| &issuer.key);
        builder.sign(signer, MessageDigest::sha256()).expect("the certificate can be signed");
        let cert = builder.build();
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        let authority = Authority { home, cert, key };
        std::fs::write(authority.path(), authority.pem()).expect("a certificate can be written");
        authority
    }

    /// Its own certificate as a PEM file.
    pub fn path(&self) -> PathBuf {
        self.home.path().join("authority.pem")
    }

    /// Its own certificate as PEM text.
    pub fn pem(&self) -> String {
        text(self.cert.to_pem().expect("a certificate is PEM"))
    }

    /// Signs a certificate; `name` names its files.
    pub fn issue(&self, name: &str, wanted: &Wanted) -> Issued {
        let private = new_key();
        let mut builder = begin(&wanted.common_name, &private, wanted.days);
        builder.set_issuer_name(self.cert.subject_name()).expect("a name can be set");
        let mut usage = ExtendedKeyUsage::new();
        let usage = if wanted.is_server { usage.server_auth() } else { usage.client_auth() };
        builder.append_extension(usage.build().expect("an extension")).expect("an extension can be added");
        if !wanted.names.is_empty() || !wanted.addresses.is_empty() {
            let mut names = SubjectAlternativeName::new();
            wanted.names.iter().for_each(|name| {
                names.dns(name);
            });
            wanted.addresses.iter().for_each(|address| {
                names.ip(address);
            });
            let names = names.build(&builder.x509v3_context(Some(&self.cert), None)).expect("names");
            builder.append_extension(names).expect("an extension can be added");
        }
        builder.sign(&self.key, MessageDigest::sha256()).expect("the certificate can be signed");
        let cert = self.write(&format!("{name}.pem"), &builder.build().to_pem().expect("PEM"));
        let pem = private.private_key_to_pem_pkcs8().expect("a key is PEM");
        let key = self.write(&format!("{name}.key"), &pem);
        Issued { cert, key, private }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, bytes).expect("a PEM file can be written");
        path
    }
}

impl Issued {
    /// The certificate of one with the key of another.
    pub fn pair(certificate: &Issued, key: &Issued) -> Issued {
        Issued { cert: certificate.cert.clone(), key: key.key.clone(), private: key.private.clone() }
    }

    /// The same with its certificate in this file.
    pub fn with_cert(self, cert: PathBuf) -> Issued {
        Issued { cert, ..self }
    }

    /// The certificate as PEM text.
    pub fn cert_pem(&self) -> String {
        read(&self.cert)
    }

    /// The key as PEM text, not encrypted.
    pub fn key_pem(&self) -> String {
        read(&self.key)
    }

    /// The key as a PEM file that this password opens.
    pub fn encrypted_key(&self, password: &str) -> PathBuf {
        let pem =
            self.private.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), password.as_bytes());
        let path = self.key.with_extension("encrypted.key");
        std::fs::write(&path, pem.expect("a key can be encrypted")).expect("a PEM file can be written");
        path
    }

    /// Puts this certificate and its key at the place of another one's, as a renewal does.
    pub fn replace(&self, old: &Issued) {
        for (from, to) in [(&self.key, &old.key), (&self.cert, &old.cert)] {
            let new = to.with_extension("new");
            std::fs::copy(from, &new).expect("a PEM file can be copied");
            std::fs::rename(&new, to).expect("a PEM file can be replaced");
        }
    }
}

fn new_key() -> PKey<Private> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("OpenSSL knows P-256");
    PKey::from_ec_key(EcKey::generate(&curve).expect("a key can be made")).expect("an EC key is a key")
}

/// A certificate with everything that does not depend on who signs it.
fn begin(common_name: &str, key: &PKey<Private>, days: (i64, i64)) -> X509Builder {
    let mut builder = X509::builder().expect("a certificate can be begun");
    builder.set_version(2).expect("version 3 is known");
    let mut serial = BigNum::new().expect("a number");
    serial.rand(120, MsbOption::MAYBE_ZERO, false).expect("a random number");
    builder.set_serial_number(&serial.to_asn1_integer().expect("a number")).expect("a number can be set");
    builder.set_subject_name(&text_name(common_name)).expect("a name can be set");
    builder.set_pubkey(key).expect("a key can be set");
    let at = |days: i64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
        let now = i64::try_from(now).expect("it is before the year 292277026596");
        Asn1Time::from_unix(now + days * DAY_SECS).expect("a time")
    };
    builder.set_not_before(&at(days.0)).expect("a time can be set");
    builder.set_not_after(&at(days.1)).expect("a time can be set");
    builder
}

fn text_name(common_name: &str) -> openssl::x509::X509Name {
    let mut name: X509NameBuilder = X509NameBuilder::new().expect("a name can be begun");
    name.append_entry_by_nid(Nid::COMMONNAME, common_name).expect("a name can be set");
    name.build()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("PEM is text")
}
