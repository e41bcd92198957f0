//! A Network Connection: bytes to Control Packets and back. The port that every transport plugs into, and the
//! only place where live bytes become packets.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use mqtt::codec::{self, DecodeLimits};
use mqtt::packet::Packet;
use mqtt::{DecodeError, EncodeError, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::limits;
use crate::metrics::Traffic;
use crate::receiving_budget::{Receiving, ReceivingBudget};

/// An ordered, lossless stream of bytes: TCP, TLS, WebSocket.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Why a connection is over.
#[derive(Debug)]
pub enum ConnectionError {
    /// The other side closed it.
    Closed,
    /// The network failed.
    Io(io::Error),
    /// The other side sent what is not MQTT.
    Decode(DecodeError),
    /// It brings more of an unfinished packet than all connections together have memory for.
    TooMuchUnfinished,
}

impl std::fmt::Display for ConnectionError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConnectionError::Closed => formatter.write_str("connection closed by the other side"),
            ConnectionError::Io(error) => error.fmt(formatter),
            ConnectionError::Decode(error) => error.fmt(formatter),
            ConnectionError::TooMuchUnfinished => {
                formatter.write_str("an unfinished packet, and no memory for more of it")
            }
        }
    }
}

impl std::error::Error for ConnectionError {}

thread_local! {
    /// Where reads land first. Shared by all connections of a thread, so that an idle one holds no buffer.
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; limits::READ_BYTES].into_boxed_slice());
}

/// One connection with its buffers.
pub struct Connection {
    transport: Box<dyn Transport>,
    version: ProtocolVersion,
    decode_limits: DecodeLimits,
    /// An incomplete packet.
    input: BytesMut,
    /// Complete packets are left in there.
    is_cut: bool,
    /// What `input` takes of the memory for all connections; `None` where nobody counts.
    receiving: Option<Receiving>,
    /// Encoded packets that are not written yet.
    output: BytesMut,
    /// A fault behind packets that were handed out before it.
    fault: Option<DecodeError>,
    peer: String,
    /// What protects the transport, for logs.
    security: Option<&'static str>,
    /// Where bytes and packets are counted, once for each read and write.
    traffic: Option<Arc<Traffic>>,
    /// Packets that were encoded and are not counted yet.
    encoded_packets: u64,
    /// Dropped with the connection; the listener's count goes down then.
    _guard: Option<Box<dyn Send>>,
}

impl Connection {
    /// A connection over `transport` that accepts packets of at most `packet_bytes_max` bytes. `peer` names the
    /// other side in logs; `guard` is dropped with the connection.
    pub fn new(
        transport: Box<dyn Transport>,
        packet_bytes_max: usize,
        peer: String,
        guard: Option<Box<dyn Send>>,
    ) -> Connection {
        Connection {
            transport,
            version: ProtocolVersion::default(),
            decode_limits: DecodeLimits { packet_bytes_max, control_bytes_max: usize::MAX },
            input: BytesMut::new(),
            is_cut: false,
            receiving: None,
            output: BytesMut::new(),
            fault: None,
            peer,
            security: None,
            traffic: None,
            encoded_packets: 0,
            _guard: guard,
        }
    }

    /// For a connection of a client: other packets than PUBLISH are short, and what is unfinished counts.
    pub fn of_client(mut self, budget: &Arc<ReceivingBudget>) -> Connection {
        self.decode_limits.control_bytes_max = limits::CONTROL_PACKET_BYTES_MAX;
        self.receiving = Some(budget.part());
        self
    }

    /// For a transport that is protected by this: `TLS 1.3`.
    pub fn secured_by(mut self, security: &'static str) -> Connection {
        self.security = Some(security);
        self
    }

    /// Counts from here on what comes and goes.
    pub fn count_in(&mut self, traffic: Arc<Traffic>) {
        self.traffic = Some(traffic);
    }

    /// The version that both sides speak, known from CONNECT on.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Sets what CONNECT agreed upon.
    pub fn set_version(&mut self, version: ProtocolVersion) {
        self.version = version;
    }

    /// The other side, for logs.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// What protects the transport, for logs; `None` where nothing does.
    pub fn security(&self) -> Option<&'static str> {
        self.security
    }

    /// Where packets are encoded that go out with the next [`Connection::poll_flush`]; see [`Connection::encoded`].
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// So many packets were encoded into [`Connection::output`].
    pub fn encoded(&mut self, packets: u64) {
        self.encoded_packets += packets;
    }

    /// How many bytes wait to be written.
    pub fn unsent_bytes(&self) -> usize {
        self.output.len()
    }

    /// Encodes a packet behind those that wait.
    ///
    /// # Errors
    /// Where the packet cannot be put on the wire; nothing is sent of it.
    pub fn queue(&mut self, packet: &Packet) -> Result<(), EncodeError> {
        codec::encode(packet, self.version, &mut self.output)?;
        self.encoded_packets += 1;
        Ok(())
    }

    fn count_received(&self, bytes: usize, packets: usize) {
        if let Some(traffic) = &self.traffic {
            traffic.bytes_received.inc_by(bytes as u64);
            if let Some(counts) = &traffic.packets {
                counts.received.inc_by(packets as u64);
            }
        }
    }

    /// Reads once and appends the packets that are complete now, which may be none. Of very many it appends some, and the
    /// rest the next times, when it does not read.
    pub fn poll_receive(
        &mut self,
        task: &mut Context<'_>,
        packets: &mut Vec<Packet>,
    ) -> Poll<Result<(), ConnectionError>> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Err(ConnectionError::Decode(fault)));
        }
        if self.is_cut {
            return self.decode_received(0, packets);
        }
        let Connection { transport, input, .. } = self;
        let read = READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let poll = Pin::new(transport).poll_read(task, &mut buffer);
            input.extend_from_slice(buffer.filled());
            poll.map_ok(|()| buffer.filled().len())
        });
        let read_bytes = match ready!(read) {
            Ok(0) => return Poll::Ready(Err(ConnectionError::Closed)),
            Ok(bytes) => bytes,
            Err(error) => return Poll::Ready(Err(ConnectionError::Io(error))),
        };
        self.decode_received(read_bytes, packets)
    }

    /// Decodes what is there, `read_bytes` of it new.
    fn decode_received(
        &mut self,
        read_bytes: usize,
        packets: &mut Vec<Packet>,
    ) -> Poll<Result<(), ConnectionError>> {
        let before = packets.len();
        let decoded = self.decode_some(packets);
        self.count_received(read_bytes, packets.len() - before);
        match decoded {
            Ok(()) if self.count_unfinished() => Poll::Ready(Ok(())),
            Ok(()) => Poll::Ready(Err(ConnectionError::TooMuchUnfinished)),
            Err(fault) if packets.len() == before => Poll::Ready(Err(ConnectionError::Decode(fault))),
            Err(fault) => {
                self.fault = Some(fault);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// What was read and is not decoded yet: for a look at how a dialogue opens, before its version is known.
    pub fn received(&self) -> &[u8] {
        &self.input
    }

    /// The longest packet that is accepted, in bytes.
    pub fn packet_bytes_max(&self) -> usize {
        self.decode_limits.packet_bytes_max
    }

    /// Waits for more bytes behind those of [`Connection::received`].
    ///
    /// # Errors
    /// Where the connection ends.
    pub async fn receive_more(&mut self) -> Result<(), ConnectionError> {
        match self.transport.read_buf(&mut self.input).await {
            Ok(0) => Err(ConnectionError::Closed),
            Ok(bytes) => {
                self.count_received(bytes, 0);
                Ok(())
            }
            Err(error) => Err(ConnectionError::Io(error)),
        }
    }

    /// Waits for exactly one packet; what follows it stays for later. For the opening of a dialogue, where the
    /// first packet decides how the next one is read.
    ///
    /// # Errors
    /// Where the connection ends or the bytes are no packet.
    pub async fn receive_one(&mut self) -> Result<Packet, ConnectionError> {
        loop {
            let decoded = codec::decode(&mut self.input, self.version, &self.decode_limits);
            if let Some(packet) = decoded.map_err(ConnectionError::Decode)? {
                self.count_received(0, 1);
                return Ok(packet);
            }
            if !self.count_unfinished() {
                return Err(ConnectionError::TooMuchUnfinished);
            }
            self.receive_more().await?;
        }
    }

    /// Packets that came with those that [`Connection::receive_one`] gave out. A fault behind them is for the next
    /// [`Connection::poll_receive`].
    pub fn take_received(&mut self, packets: &mut Vec<Packet>) {
        let before = packets.len();
        let decoded = self.decode_some(packets);
        self.count_received(0, packets.len() - before);
        self.fault = decoded.err();
    }

    /// Decodes what is complete, if not too much at once.
    fn decode_some(&mut self, packets: &mut Vec<Packet>) -> Result<(), DecodeError> {
        let (version, count_max) = (self.version, limits::PACKETS_PER_READ_MAX);
        let decoded = codec::decode_some(&mut self.input, version, &self.decode_limits, packets, count_max);
        if self.input.is_empty() {
            // The packets share the bytes: the next read gets memory of its own.
            self.input = BytesMut::new();
        }
        self.is_cut = decoded?;
        Ok(())
    }

    /// Says how much of an unfinished packet is there; `false` where that is too much. Then it is let go at once, so that
    /// the others have the room.
    fn count_unfinished(&mut self) -> bool {
        let bytes = self.input.len();
        let fits = self.receiving.as_mut().is_none_or(|receiving| receiving.set(bytes));
        if !fits {
            (self.input, self.receiving) = (BytesMut::new(), None);
        }
        fits
    }

    /// Writes what waits, as far as the transport takes it.
    pub fn poll_flush(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let packets = std::mem::take(&mut self.encoded_packets);
        if packets > 0
            && let Some(counts) = self.traffic.as_ref().and_then(|traffic| traffic.packets.as_ref())
        {
            counts.sent.inc_by(packets);
        }
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.transport).poll_write(task, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if let Some(traffic) = &self.traffic {
                traffic.bytes_sent.inc_by(written as u64);
            }
            self.output.advance(written);
        }
        if self.output.capacity() > limits::IDLE_OUTPUT_BYTES {
            self.output = BytesMut::new();
        }
        Pin::new(&mut self.transport).poll_flush(task)
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// Where the network fails.
    pub async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|task| self.poll_flush(task)).await
    }

    /// Ends the connection so that the last packets arrive: writes what waits, closes our half, and reads what
    /// the other side still sends, since closing with unread bytes would make TCP throw ours away.
    pub async fn close(mut self) {
        // What it has of a packet is of no use any more.
        (self.input, self.receiving) = (BytesMut::new(), None);
        let goodbye = async {
            self.flush().await?;
            self.transport.shutdown().await?;
            let mut ignored = vec![0; 4096];
            for _ in 0..limits::LINGER_READS {
                if self.transport.read(&mut ignored).await? == 0 {
                    break;
                }
            }
            io::Result::Ok(())
        };
        if let Ok(Err(error)) = tokio::time::timeout(limits::LINGER, goodbye).await {
            log::debug!("{}: {error} while closing", self.peer);
        }
    }

    /// How long [`Connection::close`] may take.
    pub const CLOSE_DEADLINE: Duration = limits::LINGER;
}
