//! One connection, from its first byte to its end. HTTP/1 only.

use std::pin::pin;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Rules;
use super::stream::{Goodbyes, Patient};

/// Holds `slot` until the connection is over. When `stopping` changes, the answer in progress is the last one.
pub(super) async fn converse(
    stream: TcpStream,
    slot: OwnedSemaphorePermit,
    router: Router,
    rules: Rules,
    goodbyes: Goodbyes,
    mut stopping: watch::Receiver<()>,
) {
    // An answer is written whole, and small: waiting to fill a packet (Nagle) would only add latency. A client that is
    // already gone makes this fail, and the first read says so again.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let io = TokioIo::new(Patient::new(stream, rules.stall_timeout, rules.linger, goodbyes));
    let connection = http1::Builder::new()
        // Without a timer hyper would ignore the header timeout.
        .timer(TokioTimer::new())
        .header_read_timeout(rules.header_timeout)
        .max_headers(rules.max_headers)
        .max_header_size(rules.max_header_bytes)
        // What one connection may buffer of a body that nobody reads yet.
        .max_buf_size(rules.max_header_bytes.max(64 * 1024) * 2)
        .serve_connection(io, TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // How a connection ends is the client's affair: resets, timeouts and bad requests are all in a day's work, already
    // answered where they can be, and far too easy to cause to be worth a line in the log.
    tokio::select! {
        _ended = connection.as_mut() => {}
        _stop = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
    drop(slot);
}
