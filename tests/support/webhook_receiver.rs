//! A web server that takes what is posted to it, and answers what the test wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use serde_json::Value;

use super::wait_for;

/// The server, until the process ends.
pub struct Webhook {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// How many requests are still refused.
    refusals: AtomicUsize,
    is_mute: AtomicBool,
    posts: Mutex<Vec<Post>>,
    refused: Mutex<Vec<Post>>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Post {
    /// Request line and header lines.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Post {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }

    /// What happened, as `alert state broker`.
    pub fn event(&self) -> String {
        let json = self.json();
        let text = |name: &str| json[name].as_str().expect("a text").to_owned();
        format!("{} {} {}", text("alert"), text("state"), text("broker"))
    }

    /// Whether the signature is that of the body under this secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = PKey::hmac(secret.as_bytes()).expect("a key");
        let mut signer = Signer::new(MessageDigest::sha256(), &key).expect("a signer");
        let code = signer.sign_oneshot_to_vec(self.body.as_bytes()).expect("a code");
        let wanted: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        self.header("X-Signature-256") == Some(&format!("sha256={wanted}"))
    }
}

impl Webhook {
    /// Listens, and refuses the first so many requests with 503.
    pub fn refusing(refusals: usize) -> Webhook {
        Webhook::listen(refusals, None)
    }

    fn listen(refusals: usize, acceptor: Option<Arc<SslAcceptor>>) -> Webhook {
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { refusals: refusals.into(), ..Shared::default() });
        let server = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (server, acceptor) = (server.clone(), acceptor.clone());
                std::thread::spawn(move || match acceptor {
                    None => server.serve(stream),
                    // Who does not trust us says nothing more.
                    Some(acceptor) => drop(acceptor.accept(stream).map(|stream| server.serve(stream))),
                });
            }
        });
        Webhook { address, scheme, shared }
    }

    /// Speaks TLS with a certificate for 127.0.0.1 of its own making, which is written to this file.
    pub fn secured(certificate_file: &Path) -> Webhook {
        let (certificate, key) = identity();
        std::fs::write(certificate_file, certificate.to_pem().expect("PEM")).expect("it can be written");
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("an acceptor");
        acceptor.set_certificate(&certificate).expect("its certificate");
        acceptor.set_private_key(&key).expect("its key");
        Webhook::listen(0, Some(Arc::new(acceptor.build())))
    }

    /// Takes requests from now on, and never answers.
    pub fn fall_silent(&self) {
        self.shared.is_mute.store(true, Ordering::Relaxed);
    }

    /// Where to post to.
    pub fn url(&self) -> String {
        format!("{}://{}/hook?from=proxy", self.scheme, self.address)
    }

    /// What was taken so far.
    pub fn posts(&self) -> Vec<Post> {
        self.shared.posts.lock().expect("nobody panicked").clone()
    }

    /// What was refused so far.
    pub fn refused(&self) -> Vec<Post> {
        self.shared.refused.lock().expect("nobody panicked").clone()
    }

    /// What was taken so far, as [`Post::event`] says it.
    pub fn events(&self) -> Vec<String> {
        self.posts().iter().map(Post::event).collect()
    }

    /// Waits until so many were taken.
    pub fn wait_count(&self, count: usize) -> Vec<Post> {
        wait_for(&format!("the webhook got {count}"), || {
            let posts = self.posts();
            (posts.len() >= count).then_some(posts)
        })
    }
}

impl Shared {
    /// One connection, request by request.
    fn serve(&self, stream: impl Read + Write) {
        let mut reader = BufReader::new(stream);
        while let Some(post) = read(&mut reader) {
            if self.is_mute.load(Ordering::Relaxed) {
                continue;
            }
            let left = self.refusals.load(Ordering::Relaxed);
            let (list, status) = match left {
                0 => (&self.posts, "204 No Content"),
                _ => {
                    self.refusals.store(left - 1, Ordering::Relaxed);
                    (&self.refused, "503 Service Unavailable")
                }
            };
            list.lock().expect("nobody panicked").push(post);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// A certificate for 127.0.0.1 that signs itself, and its key.
fn identity() -> (X509, PKey<Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a known curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let mut name = X509NameBuilder::new().expect("a name");
    name.append_entry_by_text("CN", "webhook").expect("a name");
    let name = name.build();
    let mut builder = X509::builder().expect("a builder");
    builder.set_version(2).expect("version 3");
    builder.set_subject_name(&name).expect("a name");
    builder.set_issuer_name(&name).expect("a name");
    builder.set_pubkey(&key).expect("a key");
    builder.set_not_before(&Asn1Time::days_from_now(0).expect("a day")).expect("a day");
    builder.set_not_after(&Asn1Time::days_from_now(1).expect("a day")).expect("a day");
    let authority = BasicConstraints::new().critical().ca().build().expect("an extension");
    builder.append_extension(authority).expect("an extension");
    let names = SubjectAlternativeName::new().ip("127.0.0.1").build(&builder.x509v3_context(None, None));
    builder.append_extension(names.expect("an extension")).expect("an extension");
    builder.sign(&key, MessageDigest::sha256()).expect("a signature");
    (builder.build(), key)
}

fn read(reader: &mut impl BufRead) -> Option<Post> {
    let mut head = String::new();
    loop {
        let before = head.len();
        reader.read_line(&mut head).ok().filter(|count| *count > 0)?;
        if &head[before..] == "\r\n" {
            break;
        }
    }
    let post = Post { head, body: String::new() };
    let length = post.header("Content-Length")?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Post { body: String::from_utf8(body).ok()?, ..post })
}
