//! TLS for devices, by OpenSSL. Handshakes are arithmetic of a millisecond each, so they have a thread of their own; the
//! finished session goes on where the listener is.

mod certificates;
mod failure;
mod material;
mod socket;

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use openssl::ssl::{Ssl, SslVersion};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_openssl::SslStream;

use self::certificates::Certificates;
use self::failure::Told;
use self::socket::Socket;
use super::refusal::Refusal;
use crate::settings::{SettingsError, TlsSettings};

/// What a TLS record of the type handshake begins with, and so every dialogue of TLS.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Makes TLS sessions of accepted connections.
#[derive(Clone)]
pub struct TlsAcceptor {
    thread: ArbiterHandle,
    /// Locked on that thread only.
    certificates: Arc<Mutex<Certificates>>,
    told: Arc<Told>,
    connect_timeout: Duration,
}

/// A connection that is secured.
pub struct Session {
    /// The bytes within.
    pub stream: SslStream<Socket>,
    /// `TLS 1.2` or `TLS 1.3`.
    pub version: &'static str,
}

/// A connection that could not be secured.
pub struct Failed {
    /// The socket, where something may still be on its way.
    pub socket: Option<TcpStream>,
    /// What is counted and logged.
    pub refusal: Refusal,
}

/// What goes from one thread to the other: a socket belongs to the thread where it is waited for.
type Handed = Result<(SslStream<Socket>, std::net::TcpStream), (Refusal, Option<std::net::TcpStream>)>;

/// Reads every file that the settings name, where devices can connect over TLS at all.
///
/// # Errors
/// The key of the setting, the file, and what is needed there.
pub fn check(settings: &TlsSettings) -> Result<(), SettingsError> {
    match settings.listen.is_empty() {
        true => Ok(()),
        false => material::read(settings).map(drop).map_err(SettingsError::one),
    }
}

impl TlsAcceptor {
    /// Reads the files and starts the thread; a handshake and all that follows up to CONNACK may take `connect_timeout`.
    ///
    /// # Errors
    /// As [`check`].
    pub fn start(settings: &TlsSettings, connect_timeout: Duration) -> Result<TlsAcceptor, String> {
        let certificates = Certificates::open(settings)?;
        Ok(TlsAcceptor {
            thread: Arbiter::new().handle(),
            certificates: Arc::new(Mutex::new(certificates)),
            told: Arc::default(),
            connect_timeout,
        })
    }

    /// Secures a connection, or says until the deadline why it cannot.
    ///
    /// # Errors
    /// Why there is no session.
    pub async fn accept(&self, socket: TcpStream, deadline: Instant) -> Result<Session, Failed> {
        let gone = |error: std::io::Error| Failed { socket: None, refusal: Refusal::gone(&error) };
        let socket = socket.into_std().map_err(gone)?;
        let (answer, handed) = oneshot::channel();
        let acceptor = self.clone();
        self.thread.spawn(async move {
            let handed = acceptor.perform(socket, deadline).await;
            // The listener is gone only when the process ends.
            let _ = answer.send(handed);
        });
        let stopped = || Failed { socket: None, refusal: Refusal::gone(&"the thread for TLS ended") };
        match handed.await.map_err(|_| stopped())? {
            Ok((mut stream, socket)) => {
                stream.get_mut().settle(TcpStream::from_std(socket).map_err(gone)?);
                // There is nothing below 1.2, and OpenSSL knows nothing above 1.3.
                let is_older = stream.ssl().version2() == Some(SslVersion::TLS1_2);
                let version = if is_older { "TLS 1.2" } else { "TLS 1.3" };
                Ok(Session { stream, version })
            }
            Err((refusal, socket)) => {
                let socket = socket.and_then(|socket| TcpStream::from_std(socket).ok());
                Err(Failed { socket, refusal })
            }
        }
    }

    /// The handshake, on the thread for it.
    async fn perform(&self, socket: std::net::TcpStream, deadline: Instant) -> Handed {
        let socket = TcpStream::from_std(socket).map_err(|error| (Refusal::gone(&error), None))?;
        match tokio::time::timeout_at(deadline, is_tls(&socket)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err((self.told.not_tls(), socket.into_std().ok())),
            Ok(Err(error)) => return Err((Refusal::gone(&error), socket.into_std().ok())),
            Err(_) => return Err((Refusal::late(self.connect_timeout), socket.into_std().ok())),
        }
        let ssl = {
            let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
            Ssl::new(certificates.context(std::time::Instant::now()))
        };
        let begun = ssl.and_then(|ssl| SslStream::new(ssl, Socket::of(socket)));
        let mut stream = begun.map_err(|error| (self.told.internal(&error), None))?;
        let accepted = tokio::time::timeout_at(deadline, Pin::new(&mut stream).accept()).await;
        let socket = stream.get_mut().leave().and_then(|socket| socket.into_std().ok());
        match (accepted, socket) {
            (Ok(Ok(())), Some(socket)) => Ok((stream, socket)),
            (Ok(Ok(())), None) => Err((Refusal::gone(&"the socket is gone"), None)),
            (Ok(Err(error)), socket) => Err((self.told.handshake(&error, stream.ssl()), socket)),
            (Err(_), socket) => Err((Refusal::late(self.connect_timeout), socket)),
        }
    }
}

/// Whether the first byte may be the beginning of TLS. Plain MQTT and HTTP get no answer that they could not read.
async fn is_tls(socket: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0];
    match socket.peek(&mut first).await? {
        0 => {
            Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "connection closed by the other side"))
        }
        _ => Ok(first[0] == HANDSHAKE_RECORD),
    }
}

#[cfg(test)]
mod tests;
