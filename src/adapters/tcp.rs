//! MQTT over TCP, with TLS between them or without.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::Quota;
use actors::connection::{Connection, Transport};
use actors::receiving_budget::ReceivingBudget;
use actors::token_bucket::TokenBucket;
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admission::{Admission, Admitted, Place};
use super::handshake::Handshake;
use super::tls::{Failed, Session, TlsAcceptor};

/// How many connections may be without their CONNECT; more wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 4_096;

/// How many connections may wait in the kernel's queue, where `net.core.somaxconn` allows as many. Devices come back all at
/// once after an outage; those beyond try again only a second later.
const BACKLOG: u32 = 4_096;

/// How long the listener rests when the process has no more files or memory for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What connections may use before there is a session to say so.
#[derive(Clone)]
pub struct ConnectionLimits {
    /// The longest packet.
    pub packet_bytes_max: usize,
    /// What all connections together may spend on unfinished packets.
    pub receiving: Arc<ReceivingBudget>,
    /// How many connections an address may have.
    pub admission: Arc<Admission>,
    /// How many connections a listener accepts in a second; 0 is no bound.
    pub accepts_per_second_max: u32,
}

/// A bound listener.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

/// A connection that was accepted, before anything was read from it.
struct Arrival {
    socket: TcpStream,
    peer: SocketAddr,
    /// What speaks against it from the start.
    exceeded: Option<Quota>,
    /// It has one of the [`HANDSHAKES_MAX`] places.
    place: OwnedSemaphorePermit,
    guard: Guard,
}

/// What is given back when a connection ends.
type Guard = (ActiveConnection, Place);

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// Where the address is not ours or the port is taken.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A new start need not wait for connections of the last run to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let socket = socket.listen(BACKLOG)?;
        let address = socket.local_addr()?;
        Ok(Listener { socket, address, tls: None })
    }

    /// The same for connections that are secured first.
    pub fn with_tls(self, tls: TlsAcceptor) -> Listener {
        Listener { tls: Some(tls), ..self }
    }

    /// What is spoken there, for logs.
    pub fn protocol(&self) -> &'static str {
        if self.tls.is_some() { "mqtt over tls" } else { "mqtt" }
    }

    /// The address with the port that was really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections for ever.
    pub async fn run(self, handshake: Handshake, limits: ConnectionLimits) {
        let label = self.address.to_string();
        let accepted = handshake.metrics.connections.with_label_values(&[label.as_str()]);
        let active = handshake.metrics.active_connections.with_label_values(&[label.as_str()]);
        let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let mut exhausted_logged = false;
        let mut pace = Pace::new(limits.accepts_per_second_max);
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            // Those that are not due stay in the kernel's queue.
            pace.wait(&label, &handshake).await;
            let (socket, peer) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !exhausted_logged {
                        log::error!(
                            "{label}: cannot accept connections: {error} (file limit? see ulimit -n)"
                        );
                        exhausted_logged = true;
                    }
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    continue;
                }
            };
            exhausted_logged = false;
            accepted.inc();
            let (place_of_address, exceeded) = match limits.admission.enter(peer.ip()) {
                Admitted::Yes(place) => (place, None),
                Admitted::Refused { place, is_first } => {
                    handshake.metrics.exceeded(Quota::ConnectionsPerAddress);
                    if is_first {
                        let quota = Quota::ConnectionsPerAddress.name();
                        log::warn!("{}: quota {quota}: more are refused until some are closed", peer.ip());
                    }
                    (place, Some(Quota::ConnectionsPerAddress))
                }
                Admitted::Closed => {
                    handshake.metrics.exceeded(Quota::ConnectionsPerAddress);
                    continue;
                }
            };
            // Without this, small packets wait for the acknowledgement of earlier ones.
            if let Err(error) = socket.set_nodelay(true) {
                log::debug!("{peer}: {error}");
                continue;
            }
            let guard = (ActiveConnection::new(&active), place_of_address);
            self.take_in(Arrival { socket, peer, exceeded, place, guard }, &handshake, &limits);
        }
    }

    /// Starts the handshake of a connection, or the two of them.
    fn take_in(&self, arrival: Arrival, handshake: &Handshake, limits: &ConnectionLimits) {
        let Arrival { socket, peer, exceeded, place, guard } = arrival;
        let deadline = Instant::now() + handshake.connect_timeout;
        let handshake = handshake.clone();
        let Some(tls) = &self.tls else {
            let connection = limits.connection(Box::new(socket), peer, guard);
            actix::spawn(async move {
                handshake.perform(connection, exceeded, deadline.into()).await;
                drop(place);
            });
            return;
        };
        let (tls, limits) = (tls.clone(), limits.clone());
        actix::spawn(async move {
            match tls.accept(socket, deadline.into()).await {
                Ok(Session { stream, version }) => {
                    let connection = limits.connection(Box::new(stream), peer, guard).secured_by(version);
                    handshake.perform(connection, exceeded, deadline.into()).await;
                }
                Err(Failed { socket, refusal }) => {
                    let transport: Box<dyn Transport> = match socket {
                        Some(socket) => Box::new(socket),
                        None => Box::new(tokio::io::empty()),
                    };
                    handshake.refuse(limits.connection(transport, peer, guard), refusal).await;
                }
            }
            drop(place);
        });
    }
}

impl ConnectionLimits {
    fn connection(&self, transport: Box<dyn Transport>, peer: SocketAddr, guard: Guard) -> Connection {
        let connection =
            Connection::new(transport, self.packet_bytes_max, peer.to_string(), Some(Box::new(guard)));
        connection.of_client(&self.receiving)
    }
}

/// Lets so many connections in a second.
struct Pace {
    bucket: Option<TokenBucket>,
    /// Whether the last one had to wait.
    is_slow: bool,
}

impl Pace {
    fn new(per_second: u32) -> Pace {
        Pace { bucket: TokenBucket::new(per_second, Instant::now()), is_slow: false }
    }

    /// Done when another connection may be accepted.
    async fn wait(&mut self, label: &str, handshake: &Handshake) {
        let Some(bucket) = &mut self.bucket else { return };
        let Err(due_at) = bucket.take(Instant::now()) else {
            self.is_slow = false;
            return;
        };
        handshake.metrics.exceeded(Quota::Accepts);
        if !std::mem::replace(&mut self.is_slow, true) {
            log::warn!("{label}: quota {}: new connections wait", Quota::Accepts.name());
        }
        tokio::time::sleep_until(due_at.into()).await;
        // The timer never fires early, so there is one now.
        let _ = bucket.take(Instant::now());
    }
}

/// Counts an open connection until it is dropped.
struct ActiveConnection(IntGauge);

impl ActiveConnection {
    fn new(active: &IntGauge) -> ActiveConnection {
        active.inc();
        ActiveConnection(active.clone())
    }
}

impl Drop for ActiveConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
