//! Pieces as the body of an answer.
//!
//! ```text
//!   Resting(pieces) ── polled ──► Making(on a blocking thread) ── a piece ──► Resting …
//!                                        ├── no more ──► Over
//!                                        └── failed ───► Over, and the connection is broken off
//! ```
//!
//! The next piece is made when the last one has been taken over by the connection: a reader who is slow keeps one piece in
//! memory and no thread. Dropping the body drops its file, and what it holds, with the piece that is being made.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tracing::Span;

use crate::artifacts::download::{Pieces, Unavailable};
use crate::telemetry::events;

pub(super) struct Download<P> {
    state: State<P>,
    execution_id: String,
    /// `None`: not known beforehand.
    left: Option<u64>,
    /// Of the request, which is over before its answer is.
    span: Span,
    _held: Option<OwnedSemaphorePermit>,
}

enum State<P> {
    Resting(P),
    Making(JoinHandle<Made<P>>),
    Over,
}

/// The next piece, and what makes the one after it.
type Made<P> = (P, Result<Option<Vec<u8>>, Unavailable>);

/// What was sent is not the whole. The log says why; the connection's end says it to the client.
#[derive(Debug, thiserror::Error)]
#[error("the answer was broken off")]
pub(super) struct BrokenOff;

impl<P: Pieces> Download<P> {
    /// `length`: of all pieces together, in bytes. `held` is given back when the body is dropped.
    pub(super) fn new(
        pieces: P,
        length: Option<u64>,
        execution_id: &str,
        held: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            state: State::Resting(pieces),
            execution_id: execution_id.to_owned(),
            left: length,
            span: Span::current(),
            _held: held,
        }
    }

    fn broken_off(&self, why: &Result<Unavailable, JoinError>) -> BrokenOff {
        let _request = self.span.enter();
        let execution_id = self.execution_id.as_str();
        match why {
            Ok(Unavailable::Failed { source }) => {
                tracing::error!(execution_id, error = %source, "{}", events::DOWNLOAD_FAILED);
            }
            Ok(error @ (Unavailable::Changed | Unavailable::Denied)) => {
                tracing::warn!(execution_id, %error, "{}", events::DOWNLOAD_BROKEN_OFF);
            }
            Err(error) => tracing::error!(execution_id, %error, "{}", events::DOWNLOAD_FAILED),
        }
        BrokenOff
    }
}

impl<P: Pieces> Body for Download<P> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Resting(mut pieces) => {
                    let make = move || {
                        let next = pieces.next();
                        (pieces, next)
                    };
                    self.state = State::Making(spawn_blocking(make));
                }
                State::Making(mut making) => {
                    let Poll::Ready(made) = Pin::new(&mut making).poll(cx) else {
                        self.state = State::Making(making);
                        return Poll::Pending;
                    };
                    match made {
                        Ok((_, Ok(None))) => return Poll::Ready(None),
                        Ok((pieces, Ok(Some(piece)))) => {
                            self.state = State::Resting(pieces);
                            // An empty piece would end a body that is sent in chunks.
                            if !piece.is_empty() {
                                self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
                                return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
                            }
                        }
                        Ok((_, Err(error))) => return Poll::Ready(Some(Err(self.broken_off(&Ok(error))))),
                        Err(error) => return Poll::Ready(Some(Err(self.broken_off(&Err(error))))),
                    }
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
