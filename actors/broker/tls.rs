//! How a connection to an upstream broker is secured: values only, the work is done at each connect.

use std::path::PathBuf;

use super::Secret;

/// How the connection to an upstream broker is secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Accept any certificate, whoever signed it and whatever name it carries.
    pub insecure_skip_verify: bool,
    /// The certificates to trust instead of the system's.
    pub ca_cert: Option<PemSource>,
    /// Our own certificate, with those between it and its authority.
    pub client_cert: Option<PemSource>,
    /// The key of our own certificate.
    pub client_key: Option<KeySource>,
    /// What the key is encrypted with.
    pub client_key_password: Option<Secret>,
    /// The name that is asked for (SNI) and that the certificate must carry; `None` means the address.
    pub server_name: Option<String>,
    /// Application protocols to offer (ALPN), the preferred one first.
    pub alpn: Vec<String>,
    /// The lowest version that is spoken.
    pub min_version: TlsVersion,
    /// A key that both sides know already, in the place of certificates.
    pub psk: Option<Psk>,
}

/// Where PEM text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PemSource {
    /// In this file, which is read at each connect.
    Path(PathBuf),
    /// Here.
    Inline(String),
}

/// Where a private key in PEM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In this file, which is read at each connect.
    Path(PathBuf),
    /// Here.
    Inline(Secret),
}

/// A pre-shared key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Psk {
    /// Which key it is, for the other side.
    pub identity: String,
    /// The key in hexadecimal digits.
    pub key: Secret,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2.
    #[default]
    V1_2,
    /// 1.3.
    V1_3,
}

impl TlsVersion {
    /// The version as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            TlsVersion::V1_2 => "1.2",
            TlsVersion::V1_3 => "1.3",
        }
    }

    /// The version that users write like this.
    pub fn parse(text: &str) -> Option<TlsVersion> {
        [TlsVersion::V1_2, TlsVersion::V1_3].into_iter().find(|version| version.as_str() == text)
    }
}
