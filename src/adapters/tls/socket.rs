//! A TCP socket below a TLS session that can move to another thread: a tokio socket wakes the thread that it was made on,
//! so the session lets go of it there and takes a new one here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The socket, if it is not on its way.
pub struct Socket(Option<TcpStream>);

impl Socket {
    /// One that is there.
    pub fn of(socket: TcpStream) -> Socket {
        Socket(Some(socket))
    }

    /// Takes it out; reads and writes fail until [`Socket::settle`].
    pub fn leave(&mut self) -> Option<TcpStream> {
        self.0.take()
    }

    /// Puts it in.
    pub fn settle(&mut self, socket: TcpStream) {
        self.0 = Some(socket);
    }

    fn there(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.0.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.there()?.poll_read(task, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.there()?.poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.there()?.poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.there()?.poll_shutdown(task)
    }
}
