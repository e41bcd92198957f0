//! MQTT over WebSocket (MQTT 5.0 section 6) towards upstream brokers: the upgrade, and a stream of bytes over binary
//! frames, so that everything above sees an ordinary transport.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::{Request, generate_key};
use tokio_tungstenite::tungstenite::http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

use crate::limits;

/// The subprotocol of MQTT `[MQTT-6.0.0-3]`.
const SUBPROTOCOL: &str = "mqtt";

/// Where the upgrade is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Whom the request is for: the name that the broker's certificate is for, where there is one.
    pub host: &'a str,
    /// The TCP port.
    pub port: u16,
    /// Whether TLS is below.
    pub is_secure: bool,
    /// The path, with its query if it has one.
    pub path: &'a str,
}

impl Target<'_> {
    /// The `Host` header: without the port where that is the usual one (RFC 6455 section 4.1).
    fn host_header(&self) -> String {
        let is_v6 = self.host.parse::<std::net::Ipv6Addr>().is_ok();
        let host = if is_v6 { format!("[{}]", self.host) } else { self.host.to_owned() };
        let usual = if self.is_secure { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    fn request(&self) -> Result<Request, String> {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        let host = self.host_header();
        Request::get(format!("{scheme}://{host}{}", self.path))
            .header(HOST, host)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, generate_key())
            .header(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
            .body(())
            .map_err(|error| format!("ws_path {}: {error}", self.path))
    }
}

/// MQTT's bytes in binary frames.
pub struct WebSocket<S> {
    frames: WebSocketStream<S>,
    /// What is left of a frame.
    received: Bytes,
    /// What came behind bytes that were handed out before it.
    failure: Option<io::Error>,
    /// The bytes of a frame that is not written as a whole yet.
    unwritten: usize,
}

/// Asks for the upgrade. A frame may hold at most `frame_bytes_max` bytes.
///
/// # Errors
/// The text says what the other side answered instead.
pub async fn upgrade<S>(
    target: &Target<'_>,
    stream: S,
    frame_bytes_max: usize,
) -> Result<WebSocket<S>, io::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = target.request().map_err(io::Error::other)?;
    let config = WebSocketConfig::default()
        .max_frame_size(Some(frame_bytes_max))
        .max_message_size(Some(frame_bytes_max))
        .read_buffer_size(limits::WEBSOCKET_READ_BYTES);
    let upgraded = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    match upgraded {
        Ok((frames, _)) => Ok(WebSocket { frames, received: Bytes::new(), failure: None, unwritten: 0 }),
        // TLS below may have something to say.
        Err(Error::Io(error)) => Err(error),
        Err(error) => Err(io::Error::other(refusal(&error, target.path))),
    }
}

fn refusal(error: &Error, path: &str) -> String {
    match error {
        Error::Http(response) => {
            format!("the broker refuses WebSocket at path {path} (ws_path): HTTP {}", response.status())
        }
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol)) => {
            format!("the other side does not speak the subprotocol {SUBPROTOCOL} at path {path} (ws_path)")
        }
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            format!(
                "the broker closed the connection instead of an answer to WebSocket at path {path} (ws_path)"
            )
        }
        error => format!("WebSocket: {error}"),
    }
}

/// The errors of a connection that is up, as those of any other transport.
fn as_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::NotConnected.into(),
        error => io::Error::new(io::ErrorKind::InvalidData, format!("WebSocket: {error}")),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The next binary frame; an empty one at the end. Pings are answered below, when the stream is polled again.
    fn poll_frame(&mut self, task: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            match ready!(Pin::new(&mut self.frames).poll_next(task)) {
                Some(Ok(Message::Binary(bytes))) if !bytes.is_empty() => return Poll::Ready(Ok(bytes)),
                Some(Ok(Message::Text(_))) => {
                    let text = "WebSocket: a text frame, where MQTT has binary ones only";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Some(Ok(_)) => {}
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => {
                    return Poll::Ready(Ok(Bytes::new()));
                }
                // Closed without the words of WebSocket: the end all the same.
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                    return Poll::Ready(Ok(Bytes::new()));
                }
                Some(Err(error)) => return Poll::Ready(Err(as_io(error))),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        if self.received.is_empty() {
            self.received = ready!(self.poll_frame(task))?;
        }
        // As many frames as fit and are there: a broker may send one for each packet.
        loop {
            let length = self.received.len().min(buffer.remaining());
            buffer.put_slice(&self.received[..length]);
            self.received.advance(length);
            if buffer.remaining() == 0 || length == 0 {
                return Poll::Ready(Ok(()));
            }
            match self.poll_frame(task) {
                Poll::Ready(Ok(bytes)) => self.received = bytes,
                Poll::Pending => return Poll::Ready(Ok(())),
                Poll::Ready(Err(failure)) => {
                    self.failure = Some(failure);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    /// One frame for what one call brings. It counts as written when all of it is, so that nothing is left behind that
    /// nobody flushes: until then the bytes must come again, as they do from a connection's output.
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.unwritten == 0 {
            ready!(Pin::new(&mut self.frames).poll_ready(task)).map_err(as_io)?;
            let length = bytes.len().min(limits::WEBSOCKET_FRAME_BYTES);
            let frame = Message::Binary(Bytes::copy_from_slice(&bytes[..length]));
            Pin::new(&mut self.frames).start_send(frame).map_err(as_io)?;
            self.unwritten = length;
        }
        ready!(Pin::new(&mut self.frames).poll_flush(task)).map_err(as_io)?;
        Poll::Ready(Ok(std::mem::take(&mut self.unwritten)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_flush(task).map_err(as_io)
    }

    /// Says the closing words of WebSocket.
    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_close(task).map_err(as_io)
    }
}

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the answer to an upgrade has this form")]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request as Asked, Response};
    use tokio_tungstenite::tungstenite::http::StatusCode;

    use super::*;

    const TARGET: Target<'_> =
        Target { host: "broker.test", port: 8080, is_secure: false, path: "/mqtt?x=1" };

    type Answer = Result<Response, ErrorResponse>;

    /// The other side's end of a connection, once it has answered the upgrade like this.
    async fn serve(
        stream: DuplexStream,
        answer: impl FnOnce(&Asked, Response) -> Answer + Unpin,
    ) -> Option<WebSocketStream<DuplexStream>> {
        tokio_tungstenite::accept_hdr_async(stream, answer).await.ok()
    }

    fn speaks_mqtt(asked: &Asked, mut response: Response) -> Answer {
        assert_eq!(asked.headers()[SEC_WEBSOCKET_PROTOCOL], "mqtt");
        assert_eq!(asked.headers()[HOST], "broker.test:8080");
        assert_eq!(asked.uri().path_and_query().unwrap().as_str(), "/mqtt?x=1");
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, "mqtt".parse().unwrap());
        Ok(response)
    }

    /// Both ends over a pipe that holds so many bytes.
    async fn pair(room: usize) -> (WebSocket<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (ours, theirs) = duplex(room);
        let (ours, theirs) = tokio::join!(upgrade(&TARGET, ours, 1_000_000), serve(theirs, speaks_mqtt));
        (ours.unwrap(), theirs.unwrap())
    }

    #[test]
    fn the_host_header_leaves_out_the_usual_port() {
        for (host, port, is_secure, header) in [
            ("broker.test", 80, false, "broker.test"),
            ("broker.test", 443, true, "broker.test"),
            ("broker.test", 443, false, "broker.test:443"),
            ("broker.test", 8083, true, "broker.test:8083"),
            ("::1", 80, false, "[::1]"),
            ("::1", 9001, false, "[::1]:9001"),
            ("127.0.0.1", 9001, false, "127.0.0.1:9001"),
        ] {
            let target = Target { host, port, is_secure, path: "/mqtt" };
            assert_eq!(target.host_header(), header);
            assert!(target.request().is_ok(), "{target:?}");
        }
        let bad = Target { path: "/with space", ..TARGET };
        assert!(bad.request().unwrap_err().starts_with("ws_path /with space: "));
    }

    #[tokio::test]
    async fn what_is_no_upgrade_is_said() {
        let missing = |_: &Asked, _: Response| {
            let mut response = ErrorResponse::new(None);
            *response.status_mut() = StatusCode::NOT_FOUND;
            Err(response)
        };
        let (ours, theirs) = duplex(4096);
        let (told, _) = tokio::join!(upgrade(&TARGET, ours, 1_000), serve(theirs, missing));
        let text = told.err().unwrap().to_string();
        assert!(text.contains("path /mqtt?x=1 (ws_path): HTTP 404 Not Found"), "{text}");

        let silent = |_: &Asked, response: Response| Ok(response);
        let (ours, theirs) = duplex(4096);
        let (told, _) = tokio::join!(upgrade(&TARGET, ours, 1_000), serve(theirs, silent));
        let text = told.err().unwrap().to_string();
        assert!(text.contains("does not speak the subprotocol mqtt"), "{text}");

        let (ours, theirs) = duplex(4096);
        drop(theirs);
        assert!(upgrade(&TARGET, ours, 1_000).await.is_err(), "a closed connection is no upgrade");
    }

    #[tokio::test]
    async fn pings_are_answered_and_text_is_refused() {
        let (mut ours, mut theirs) = pair(4096).await;
        let serve = async move {
            theirs.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
            let answer = theirs.next().await.unwrap().unwrap();
            assert_eq!(answer, Message::Pong(Bytes::from_static(b"there?")));
            theirs.send(Message::Binary(Bytes::new())).await.unwrap();
            theirs.send(Message::Binary(Bytes::from_static(b"ab"))).await.unwrap();
            theirs.send(Message::Text("no MQTT".into())).await.unwrap();
            theirs
        };
        let read = async {
            let mut bytes = [0; 2];
            ours.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"ab");
            ours.read_exact(&mut bytes).await.unwrap_err()
        };
        let (_theirs, error) = tokio::join!(serve, read);
        assert!(error.to_string().contains("a text frame"), "{error}");
    }

    #[tokio::test]
    async fn both_sides_can_close() {
        let (mut ours, mut theirs) = pair(4096).await;
        let serve = async move {
            theirs.send(Message::Binary(Bytes::from_static(b"bye"))).await.unwrap();
            theirs.close(None).await.unwrap();
            while theirs.next().await.is_some_and(|message| message.is_ok()) {}
        };
        let mut rest = Vec::new();
        let (_, read) = tokio::join!(serve, ours.read_to_end(&mut rest));
        assert!(read.is_ok() && rest == b"bye", "{read:?}");

        let (mut ours, mut theirs) = pair(4096).await;
        ours.shutdown().await.unwrap();
        assert!(matches!(theirs.next().await, Some(Ok(Message::Close(_)))));

        let (mut ours, theirs) = pair(4096).await;
        drop(theirs);
        assert_eq!(ours.read(&mut [0; 8]).await.unwrap(), 0, "closed without a word is the end, too");
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_ends_the_connection() {
        let (mut ours, mut theirs) = pair(2_000_000).await;
        theirs.send(Message::Binary(vec![0; 1_000_001].into())).await.unwrap();
        let error = ours.read(&mut [0; 8]).await.unwrap_err();
        assert!(error.to_string().contains("WebSocket: "), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However they are cut into frames and however little the way between holds, the bytes arrive in order, and
        /// nothing waits in between once `write_all` is done.
        #[test]
        fn bytes_arrive_as_they_were_sent(
            // The other side takes a handshake in smaller pieces for an attack.
            room in 16_usize..300,
            up in proptest::collection::vec(0_usize..700, 0..8),
            down in proptest::collection::vec(0_usize..700, 0..8),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let bytes = |sizes: &[usize]| -> Vec<u8> {
                (0..sizes.iter().sum::<usize>()).map(|place| (place % 251) as u8).collect()
            };
            let (sent_up, sent_down) = (bytes(&up), bytes(&down));
            let (arrived_up, arrived_down) = runtime.block_on(async {
                let (ours, theirs) = pair(room).await;
                let (mut reader, mut writer) = tokio::io::split(ours);
                let (mut their_sink, mut their_stream) = theirs.split();
                let mut wait_up = Vec::new();
                let write_up = async {
                    let mut rest = &sent_up[..];
                    for size in &up {
                        let (now, later) = rest.split_at(*size);
                        writer.write_all(now).await.unwrap();
                        rest = later;
                    }
                };
                let read_up = async {
                    while wait_up.len() < sent_up.len() {
                        let message = their_stream.next().await.unwrap().unwrap();
                        assert!(message.is_binary());
                        wait_up.extend_from_slice(&message.into_data());
                    }
                };
                let write_down = async {
                    let mut rest = &sent_down[..];
                    for size in &down {
                        let (now, later) = rest.split_at(*size);
                        their_sink.send(Message::Binary(now.to_vec().into())).await.unwrap();
                        rest = later;
                    }
                };
                let mut wait_down = vec![0; sent_down.len()];
                let read_down = async { reader.read_exact(&mut wait_down).await.unwrap(); };
                tokio::join!(write_up, read_up, write_down, read_down);
                (wait_up, wait_down)
            });
            prop_assert_eq!(arrived_up, bytes(&up));
            prop_assert_eq!(arrived_down, bytes(&down));
        }
    }
}
