//! A reader for targets that read from a pipe.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

/// Bytes as a pipe gives them: not more than some bytes at a time.
pub(crate) struct Pieces<'data> {
    pub(crate) rest: &'data [u8],
    pub(crate) piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.rest.len().min(self.piece).min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.as_mut().consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for Pieces<'_> {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        Poll::Ready(Ok(&this.rest[..this.rest.len().min(this.piece)]))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        self.rest = &self.rest[count..];
    }
}
