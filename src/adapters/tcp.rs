//! MQTT over TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actors::connection::Connection;
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::handshake::Handshake;

/// How many connections may be without their CONNECT; more wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 4_096;

/// How long the listener rests when the process has no more files or memory for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// Where the address is not ours or the port is taken.
    pub async fn bind(address: SocketAddr) -> io::Result<Listener> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Listener { socket, address })
    }

    /// The address with the port that was really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections for ever.
    pub async fn run(self, handshake: Handshake, packet_bytes_max: usize) {
        let label = self.address.to_string();
        let accepted = handshake.metrics.connections.with_label_values(&[label.as_str()]);
        let active = handshake.metrics.active_connections.with_label_values(&[label.as_str()]);
        let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let mut exhausted_logged = false;
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
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
            match connection(socket, peer, packet_bytes_max, &active) {
                Ok(connection) => {
                    let handshake = handshake.clone();
                    actix::spawn(async move {
                        handshake.perform(connection).await;
                        drop(place);
                    });
                }
                Err(error) => log::debug!("{peer}: {error}"),
            }
        }
    }
}

fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    packet_bytes_max: usize,
    active: &IntGauge,
) -> io::Result<Connection> {
    // Without this, small packets wait for the acknowledgement of earlier ones.
    socket.set_nodelay(true)?;
    active.inc();
    let guard = ActiveConnection(active.clone());
    Ok(Connection::new(Box::new(socket), packet_bytes_max, peer.to_string(), Some(Box::new(guard))))
}

/// Counts an open connection until it is dropped.
struct ActiveConnection(IntGauge);

impl Drop for ActiveConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
