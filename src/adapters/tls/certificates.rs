//! The certificate that is in use, and the look whether its files have changed: whoever renews certificates need not
//! restart anything, and a mistake leaves the old certificate in use.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use actors::upstream_broker::CertificateDetails;
use openssl::ssl::SslContextRef;
use openssl::x509::X509;

use super::material::{self, Material};
use crate::settings::TlsSettings;

/// The files are looked at no more often than this.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What tells a file from what it was before: device, inode, size, and seconds and nanoseconds of the last change. `None`
/// where there is none.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Certificate and key, as they were read last.
pub struct Certificates {
    settings: TlsSettings,
    material: Material,
    in_use: Vec<Stamp>,
    /// Files that could not be used.
    bad: Option<Bad>,
    looked_at: Instant,
}

struct Bad {
    stamps: Vec<Stamp>,
    is_told: bool,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// One line with the key of the setting, the file and what is needed.
    pub fn open(settings: &TlsSettings) -> Result<Certificates, String> {
        let in_use = stamps(settings);
        let material = material::read(settings)?;
        tell(&material.certificate);
        let looked_at = Instant::now();
        Ok(Certificates { settings: settings.clone(), material, in_use, bad: None, looked_at })
    }

    /// What a handshake needs now.
    pub fn context(&mut self, now: Instant) -> &SslContextRef {
        if now.saturating_duration_since(self.looked_at) >= LOOK_INTERVAL {
            self.looked_at = now;
            self.look();
        }
        &self.material.context
    }

    fn look(&mut self) {
        // What is written behind this look is seen by the next one.
        let stamps = stamps(&self.settings);
        if stamps == self.in_use {
            self.bad = None;
            return;
        }
        let again = self.bad.as_ref().filter(|bad| bad.stamps == stamps);
        if again.is_some_and(|bad| bad.is_told) {
            return;
        }
        match material::read(&self.settings) {
            Ok(material) => {
                tell(&material.certificate);
                (self.material, self.in_use, self.bad) = (material, stamps, None);
            }
            // The files may be written one after the other: they have until the next look to fit.
            Err(problem) => {
                let is_told = again.is_some();
                if is_told {
                    log::warn!("tls: the certificate in use stays: {problem}");
                }
                self.bad = Some(Bad { stamps, is_told });
            }
        }
    }
}

fn stamps(settings: &TlsSettings) -> Vec<Stamp> {
    let paths = [Some(&settings.cert_path), Some(&settings.key_path), settings.client_ca_path.as_ref()];
    let stamp = |path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
    };
    paths.into_iter().flatten().map(stamp).collect()
}

/// Says which certificate is in use from now on.
fn tell(certificate: &X509) {
    let details = CertificateDetails::of(certificate);
    let (subject, until) = (&details.subject, &details.not_after);
    let now = jiff::Timestamp::now().as_second();
    if details.not_after_secs < now {
        log::warn!("tls: the certificate of {subject} expired at {until}");
    } else {
        log::info!("tls: certificate of {subject}, valid until {until}");
    }
}

#[cfg(test)]
impl Certificates {
    /// The common name of the certificate that is in use.
    pub fn common_name(&self) -> String {
        CertificateDetails::of(&self.material.certificate).subject.trim_start_matches("CN=").to_owned()
    }
}
