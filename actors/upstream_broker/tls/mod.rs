//! TLS towards upstream brokers, by OpenSSL: what it takes is read anew for each connect, and what fails is said in
//! words that name the file, the certificate or the side that is to blame.

mod details;
mod failure;
mod material;

use std::pin::Pin;

use openssl::ssl::{SslConnector, SslVerifyMode};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::broker::TlsOptions;

pub use details::{CertificateDetails, TlsDetails};
use failure::Rejection;
pub use failure::{TlsFailure, TlsFault, after_handshake};

/// What a connect needs, read from files and checked.
pub struct Prepared {
    connector: SslConnector,
    rejection: Rejection,
}

/// A TLS session, or why there is none with what is known of the other side all the same.
pub type Outcome = Result<(SslStream<TcpStream>, TlsDetails), (TlsFailure, Option<TlsDetails>)>;

/// Reads certificates and keys, on a thread that may wait for them.
///
/// # Errors
/// What cannot be read or does not fit.
pub async fn prepare(options: &TlsOptions) -> Result<Prepared, TlsFailure> {
    let (options, rejection) = (options.clone(), Rejection::default());
    let noted = rejection.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut builder = material::connector(&options)?;
        match options.insecure_skip_verify {
            true => builder.set_verify(SslVerifyMode::NONE),
            false => builder.set_verify_callback(SslVerifyMode::PEER, move |accepted, context| {
                if !accepted {
                    noted.note(context);
                }
                accepted
            }),
        }
        Ok(builder.build())
    });
    let failed = |error| TlsFailure::new(TlsFault::Handshake, format!("TLS cannot begin: {error}"));
    Ok(Prepared { connector: reading.await.map_err(failed)??, rejection })
}

/// Wraps a connected socket in TLS and proves the other side's identity, unless the options say not to. `address` is
/// the name to expect where the options name no other one.
///
/// # Errors
/// The text says what failed: the certificate, the handshake, or what the other side does not accept of ours.
pub async fn connect(prepared: &Prepared, options: &TlsOptions, address: &str, socket: TcpStream) -> Outcome {
    // A dot at the end means the same name; SNI and certificates have none.
    let host = options.server_name.as_deref().unwrap_or(address).trim_end_matches('.');
    let begin = || {
        let mut configuration = prepared.connector.configure()?;
        configuration.set_verify_hostname(!options.insecure_skip_verify);
        SslStream::new(configuration.into_ssl(host)?, socket)
    };
    let mut stream = begin().map_err(|error: openssl::error::ErrorStack| {
        (TlsFailure::new(TlsFault::Setting, format!("TLS cannot begin with {host}: {error}")), None)
    })?;
    let connected = Pin::new(&mut stream).connect().await;
    let ssl = stream.ssl();
    // A pre-shared key is a proof in itself.
    let by_key = options.psk.is_some() && ssl.peer_certificate().is_none();
    let verified = connected.is_ok() && (by_key || !options.insecure_skip_verify);
    let mut details = TlsDetails::of(ssl, verified);
    let failure = match connected {
        Ok(()) if !options.alpn.is_empty() && details.alpn.is_none() => failure::alpn_not_chosen(options),
        Ok(()) => return Ok((stream, details)),
        Err(error) => match prepared.rejection.found() {
            Some(rejected) => {
                let failure = failure::of_certificate(&rejected, host);
                details.peer_certificate = details.peer_certificate.or(rejected.peer);
                failure
            }
            None => failure::of_handshake(&error, ssl, options),
        },
    };
    Err((failure, Some(details)))
}

#[cfg(test)]
mod tests;
