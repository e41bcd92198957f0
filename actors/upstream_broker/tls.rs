//! TLS towards upstream brokers, by OpenSSL.

use std::pin::Pin;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
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
    if let Some(path) = &options.ca_cert_path {
        builder.set_ca_file(path).map_err(|error| format!("ca_cert_path {}: {error}", path.display()))?;
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
