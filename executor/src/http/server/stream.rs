//! A TCP stream with two kinds of patience that hyper lacks.
//!
//! Writing: a client that stops reading makes a write wait for ever; after `stall` it fails instead. Closing: a socket
//! closed with unread input is reset, and the reset can destroy an answer the client has not read yet, such as a 413
//! sent while the body still comes in (RFC 9112, 9.6). So the write side is closed first, and what still comes in is
//! thrown away until the client closes too, for `linger` at most.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

pub(super) struct Patient {
    stream: TcpStream,
    stall: Duration,
    linger: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs from the moment the write side is closed.
    lingering: Option<Pin<Box<Sleep>>>,
    goodbyes: Goodbyes,
}

/// How many connections have nothing more to say, and only wait for their clients to close. All clones are one.
#[derive(Clone, Default)]
pub(super) struct Goodbyes(Arc<AtomicUsize>);

impl Goodbyes {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        if self.lingering.is_some() {
            self.goodbyes.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Patient {
    pub(super) fn new(stream: TcpStream, stall: Duration, linger: Duration, goodbyes: Goodbyes) -> Self {
        Self { stream, stall, linger, stalled: None, lingering: None, goodbyes }
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.stream)
    }

    /// `written`: how the write went. A write that waits starts the clock, one that gets on stops it.
    fn patiently(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let clock = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(clock.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading its answer")))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, into)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream().poll_write(cx, bytes);
        self.patiently(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream().poll_write_vectored(cx, parts);
        self.patiently(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(self.stream().poll_shutdown(cx))?;
            self.lingering = Some(Box::pin(sleep(self.linger)));
            self.goodbyes.0.fetch_add(1, Ordering::Relaxed);
        }
        let mut scratch = [0; 8 * 1024];
        loop {
            if self.lingering.as_mut().is_some_and(|clock| clock.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(Ok(()));
            }
            let mut thrown_away = ReadBuf::new(&mut scratch);
            match ready!(self.stream().poll_read(cx, &mut thrown_away)) {
                Ok(()) if !thrown_away.filled().is_empty() => {}
                // The client has closed, or is gone: either way it will not read any more.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
