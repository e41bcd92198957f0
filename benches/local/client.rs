//! One client's opening dialogue over a blocking socket: CONNECT, SUBSCRIBE, PINGREQ, DISCONNECT.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire;

const KEEP_ALIVE_SECS: u16 = 600;
/// An answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Client {
    stream: TcpStream,
    version: u8,
}

impl Client {
    pub fn connect(port: u16, client_id: &str, version: u8) -> Result<Client, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let open = || -> std::io::Result<TcpStream> {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(&wire::connect(client_id, version, KEEP_ALIVE_SECS))?;
            Ok(stream)
        };
        let stream = open().map_err(|error| format!("{client_id} cannot connect: {error}"))?;
        let mut client = Client { stream, version };
        let (first, body) = client.read_packet()?;
        wire::read_connack(&wire::Frame { first, body: &body, bytes: 0 }, version)?;
        Ok(client)
    }

    pub fn subscribe(&mut self, filter: &str, qos: u8) -> Result<(), String> {
        let mut body = vec![0, 1];
        if self.version == 5 {
            body.push(0);
        }
        body.extend_from_slice(&(filter.len() as u16).to_be_bytes());
        body.extend_from_slice(filter.as_bytes());
        body.push(qos);
        // Filters are short here: the remaining length fits one byte.
        let mut packet = vec![wire::SUBSCRIBE, body.len() as u8];
        packet.extend_from_slice(&body);
        self.write(&packet)?;
        match self.read_packet()? {
            (wire::SUBACK, body) if body.last() == Some(&qos) => Ok(()),
            (first, body) => Err(format!("SUBSCRIBE was answered with {first:#04x} {body:?}")),
        }
    }

    pub fn ping(&mut self) -> Result<(), String> {
        self.write(&[wire::PINGREQ, 0])?;
        match self.read_packet()? {
            (wire::PINGRESP, _) => Ok(()),
            (first, _) => Err(format!("PINGREQ was answered with {first:#04x}")),
        }
    }

    pub fn disconnect(mut self) -> Result<(), String> {
        self.write(&[wire::DISCONNECT, 0])
    }

    /// The socket alone, for a tokio runtime.
    pub fn into_nonblocking(self) -> Result<TcpStream, String> {
        self.stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        Ok(self.stream)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| error.to_string())
    }

    /// Reads byte by byte up to the length, so that nothing of the next packet is taken.
    fn read_packet(&mut self) -> Result<(u8, Vec<u8>), String> {
        let mut read = || -> std::io::Result<(u8, Vec<u8>)> {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head)?;
            let mut length = usize::from(head[1] & 0x7F);
            let mut last = head[1];
            let mut shift = 7;
            while last & 0x80 != 0 {
                let mut next = [0];
                self.stream.read_exact(&mut next)?;
                last = next[0];
                length |= usize::from(last & 0x7F) << shift;
                shift += 7;
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
            Ok((head[0], body))
        };
        read().map_err(|error| format!("reading an answer: {error}"))
    }
}
