//! Reads a body, bounded three ways: its size, the time it may take, and what all bodies hold together.
//!
//! A small body is simply read: the number of connections bounds those. One that outgrows [`SMALL`] first reserves all
//! it may become, so that two bodies never wait for each other half read. The reservation lasts until the [`Received`] is
//! dropped; whoever takes it parses it and lets it go.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes as Chunk};
use axum::extract::Request;
use http_body_util::BodyExt;
use sandbox::limits::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::content;
use crate::http::problem::Refusal;
use crate::intake::Problem;

/// Up to here a body needs no reservation. With 4,096 connections that is 256 MiB at the very worst.
const SMALL: u64 = 64 * 1024;

/// How long a caller stays away who found the budget spent.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The memory for bodies larger than [`SMALL`], all requests together. Cheap to clone: all clones are the same.
#[derive(Debug, Clone)]
pub struct Budget {
    /// One permit per KiB.
    kibibytes: Arc<Semaphore>,
    total: u32,
}

impl Budget {
    /// A budget smaller than the largest body lets one such body in at a time.
    pub fn new(total: Bytes) -> Self {
        let total = kibibytes(total.0).max(1);
        Self { kibibytes: Arc::new(Semaphore::new(total as usize)), total }
    }

    async fn reserve(&self, bytes: u64) -> OwnedSemaphorePermit {
        let kibibytes = kibibytes(bytes).min(self.total);
        let semaphore = Arc::clone(&self.kibibytes);
        semaphore.acquire_many_owned(kibibytes).await.expect("this semaphore is never closed")
    }
}

/// Rounded up, and 2 TiB at most: far beyond any budget.
fn kibibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(u32::MAX / 2)
}

/// A whole body, and the memory reserved for it.
#[derive(Debug)]
pub struct Received {
    bytes: Vec<u8>,
    _reserved: Option<OwnedSemaphorePermit>,
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the body of a request that should carry JSON. `patience`: from now until its last byte.
///
/// # Errors
/// In this order: not JSON (415), declared too large (413), and while reading too large (413), too slow (408), too many
/// large ones at once (503), broken off (400). The first two are found before anything is read, so a client that
/// waits for `100 Continue` sends nothing in vain.
pub async fn read_body(
    request: Request,
    limit: Bytes,
    patience: Duration,
    budget: &Budget,
) -> Result<Received, Refusal> {
    content::check_kind(request.headers())?;
    let declared = content::check_length(request.headers(), limit)?;
    let deadline = Instant::now() + patience;
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    let mut reserved = None;
    while let Some(chunk) = next(&mut body, deadline, patience).await? {
        let length = bytes.len() as u64 + chunk.len() as u64;
        if length > limit.0 {
            return Err(Refusal::PayloadTooLarge { limit });
        }
        if length > SMALL && reserved.is_none() {
            let whole = declared.unwrap_or(limit.0);
            let reservation = timeout_at(deadline, budget.reserve(whole)).await;
            reserved = Some(reservation.or(Err(Refusal::QueueFull { retry_after: RETRY_AFTER }))?);
            if declared.is_some() {
                // Known, bounded and reserved: one allocation instead of many. A chunked body grows as it comes.
                bytes.reserve_exact(usize::try_from(whole).unwrap_or_default().saturating_sub(bytes.len()));
            }
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Received { bytes, _reserved: reserved })
}

/// The next piece; `None` at the end. Trailers are skipped.
async fn next(body: &mut Body, deadline: Instant, patience: Duration) -> Result<Option<Chunk>, Refusal> {
    loop {
        let frame =
            timeout_at(deadline, body.frame()).await.or(Err(Refusal::RequestTimeout { limit: patience }))?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(broken(&error)),
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    return Ok(Some(chunk));
                }
            }
        }
    }
}

/// The client went away, which nobody is left to read, or its framing is wrong.
fn broken(error: &axum::Error) -> Refusal {
    let message = format!("the body broke off or its framing is wrong ({error}); send the request again");
    Refusal::Validation(vec![Problem { field: "body".to_owned(), message }])
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
