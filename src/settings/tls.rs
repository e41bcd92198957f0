//! `[server] tls_*`: where devices connect over TLS, and what both sides have to show there. Files are not opened here.

use std::net::SocketAddr;
use std::path::PathBuf;

use actors::broker::TlsVersion;

use super::raw::RawServer;

/// What `server.tls_min_version` may be.
pub(super) const VERSIONS: [&str; 2] = [TlsVersion::V1_2.as_str(), TlsVersion::V1_3.as_str()];

/// TLS for devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Where devices connect over TLS; empty: nowhere.
    pub listen: Vec<SocketAddr>,
    /// The PEM file with the certificate and its chain; not empty where there is an address.
    pub cert_path: PathBuf,
    /// The PEM file with the key of the certificate; not empty where there is an address.
    pub key_path: PathBuf,
    /// The PEM file with the authorities one of which must have signed a device's certificate; `None` asks for none.
    pub client_ca_path: Option<PathBuf>,
    /// The lowest version that is accepted.
    pub min_version: TlsVersion,
}

impl TlsSettings {
    pub(super) fn of(server: &RawServer) -> TlsSettings {
        TlsSettings {
            listen: server.tls_listen.clone(),
            cert_path: PathBuf::from(&server.tls_cert_path),
            key_path: PathBuf::from(&server.tls_key_path),
            client_ca_path: Some(&server.tls_client_ca_path)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            // Its layer was checked already.
            min_version: TlsVersion::parse(&server.tls_min_version).unwrap_or_default(),
        }
    }

    /// What does not fit together, with the addresses for plain MQTT beside.
    pub(super) fn problems(&self, plain: &[SocketAddr]) -> Vec<String> {
        let Some(first) = self.listen.first() else { return Vec::new() };
        let twice = self.listen.iter().filter(|address| address.port() != 0 && plain.contains(address));
        let mut problems: Vec<String> = twice
            .map(|address| {
                format!(
                    "server.tls_listen: {address} is in server.listen too; each must have a port of its own"
                )
            })
            .collect();
        let needed = [
            ("tls_cert_path", &self.cert_path, "the certificate, and its chain behind it"),
            ("tls_key_path", &self.key_path, "the key of the certificate"),
        ];
        for (key, _, content) in needed.into_iter().filter(|(_, path, _)| path.as_os_str().is_empty()) {
            problems.push(format!(
                "server.{key} is '' and server.tls_listen has {first}; it must be the path of a PEM file with {content}"
            ));
        }
        problems
    }
}
