//! A real broker that takes the proxy for an ordinary client: on the way to mosquitto the bridge bit is lost.

use std::io::{Read, Write, copy};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::support::mosquitto::Mosquitto;

/// The broker, and the way to it.
pub struct Echoing {
    broker: Mosquitto,
    /// Where the proxy connects.
    pub port: u16,
}

impl Echoing {
    /// Starts both. The threads end with their connections, and the last one with the tests.
    pub fn start() -> Echoing {
        let broker = Mosquitto::start();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let to = broker.address();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                thread::spawn(move || relay(client, to));
            }
        });
        Echoing { broker, port }
    }

    /// Where its own clients connect.
    pub fn address(&self) -> SocketAddr {
        self.broker.address()
    }
}

/// Passes bytes on in both directions; of the first ones, those of CONNECT, it changes the Protocol Level.
fn relay(mut client: TcpStream, to: SocketAddr) {
    let Ok(mut broker) = TcpStream::connect(to) else { return };
    let mut first = [0; 1024];
    let Ok(count) = client.read(&mut first) else { return };
    let name =
        first.windows(4).position(|bytes| bytes == b"MQTT").expect("CONNECT comes first, in one piece");
    assert_eq!(first[name + 4], 0x84, "the proxy asks as a bridge");
    first[name + 4] = 0x04;
    if broker.write_all(&first[..count]).is_err() {
        return;
    }
    let (mut from_client, mut to_broker) =
        (client.try_clone().expect("a socket"), broker.try_clone().expect("a socket"));
    thread::spawn(move || {
        let _ = copy(&mut from_client, &mut to_broker);
        let _ = to_broker.shutdown(Shutdown::Both);
    });
    let _ = copy(&mut broker, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}
