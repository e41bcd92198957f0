//! TLS as a device speaks it, by OpenSSL on a blocking socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use openssl::ssl::{self, SslConnector, SslMethod, SslStream, SslVersion};
use openssl::x509::X509;

use super::DEADLINE;
use super::certificates::{Authority, Issued};
use super::wire::Wire;

/// OpenSSL's `SSL_R_UNEXPECTED_EOF_WHILE_READING`: an end without a word, as when a process is killed.
const UNEXPECTED_END: i32 = 294;

/// The bytes of a dialogue.
pub enum Stream {
    /// Over TCP.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<SslStream<TcpStream>>),
}

impl Stream {
    /// What is below.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref(),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Stream {
        Stream::Plain(socket)
    }
}

impl From<SslStream<TcpStream>> for Stream {
    fn from(stream: SslStream<TcpStream>) -> Stream {
        Stream::Tls(Box::new(stream))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = match self {
            Stream::Plain(socket) => return socket.read(buffer),
            Stream::Tls(stream) => stream,
        };
        stream.read(buffer).or_else(|error| {
            let tls = error.get_ref().and_then(|error| error.downcast_ref::<ssl::Error>());
            let codes = tls.and_then(|error| error.ssl_error()).map(|stack| stack.errors());
            let is_end = codes.is_some_and(|codes| codes.iter().any(|it| it.reason_code() == UNEXPECTED_END));
            if is_end { Ok(0) } else { Err(error) }
        })
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// How a device speaks TLS.
pub struct Client {
    ca: PathBuf,
    identity: Option<(PathBuf, PathBuf)>,
    version: Option<SslVersion>,
    alpn: Vec<u8>,
}

impl Client {
    /// One that trusts this authority.
    pub fn trusting(authority: &Authority) -> Client {
        Client { ca: authority.path(), identity: None, version: None, alpn: Vec::new() }
    }

    /// It presents this certificate.
    pub fn presenting(mut self, issued: &Issued) -> Client {
        self.identity = Some((issued.cert.clone(), issued.key.clone()));
        self
    }

    /// It speaks this version only.
    pub fn speaking(mut self, version: SslVersion) -> Client {
        self.version = Some(version);
        self
    }

    /// It offers this protocol.
    pub fn offering(mut self, protocol: &str) -> Client {
        self.alpn.push(u8::try_from(protocol.len()).expect("a short name"));
        self.alpn.extend_from_slice(protocol.as_bytes());
        self
    }

    /// Goes through the handshake, or says why that failed.
    pub fn try_connect(&self, address: SocketAddr) -> Result<SslStream<TcpStream>, String> {
        let socket = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("OpenSSL works");
        builder.set_ca_file(&self.ca).expect("the authority can be read");
        builder.set_min_proto_version(self.version).expect("a version");
        builder.set_max_proto_version(self.version).expect("a version");
        if self.version == Some(SslVersion::TLS1_1) {
            // OpenSSL would not even begin.
            builder.set_cipher_list("ALL:@SECLEVEL=0").expect("ciphers");
        }
        if let Some((cert, key)) = &self.identity {
            builder.set_certificate_chain_file(cert).expect("the certificate can be read");
            builder.set_private_key_file(key, ssl::SslFiletype::PEM).expect("the key can be read");
        }
        if !self.alpn.is_empty() {
            builder.set_alpn_protos(&self.alpn).expect("protocols");
        }
        builder.build().connect("localhost", socket).map_err(|error| error.to_string())
    }

    /// Goes through the handshake.
    pub fn connect(&self, address: SocketAddr) -> SslStream<TcpStream> {
        self.try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// A dialogue over TLS.
    pub fn wire(&self, address: SocketAddr) -> Wire {
        Wire::over(self.connect(address))
    }

    /// The common name of the certificate that the other side shows.
    pub fn name_shown(&self, address: SocketAddr) -> String {
        let certificate = self.connect(address).ssl().peer_certificate().expect("a server shows one");
        common_name(&certificate)
    }
}

fn common_name(certificate: &X509) -> String {
    let name = certificate.subject_name().entries().next().expect("it has a name");
    name.data().to_string().expect("names are text")
}
