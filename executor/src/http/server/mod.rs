//! The accept loop: which connections there are, how long they may be slow, and how they end.
//!
//! ```text
//! serve ── accepts while there is a free slot ──► one task per connection (connection.rs)
//!   └ stop(deadline): listener closed, idle connections closed, running answers finished ──► what is left is dropped
//! ```
//! The task that calls [`serve`] owns the listener and every connection. Nothing here can hold memory, descriptors or
//! time without a bound, whatever a client does. Dropping a connection drops the answer being made for it, and nothing
//! else: runs are tasks of their own.

mod bind;
mod connection;
mod stream;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use crate::telemetry::events;
use crate::telemetry::throttle::Throttle;
use stream::Goodbyes;

pub use bind::{BindError, bind};

/// How much a connection may take. One for all connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Connections at once. The next one waits in the kernel's backlog.
    pub max_connections: usize,
    /// From the first moment of a connection, and from the end of each answer, to the end of the next request's
    /// headers: hyper has one timer for both, so this is also how long a kept-alive connection may be idle.
    pub header_timeout: Duration,
    /// The request line and all headers, in bytes; beyond that 431.
    pub max_header_bytes: usize,
    /// How many headers; beyond that 431.
    pub max_headers: usize,
    /// How long a client may leave an answer unread before the connection is dropped.
    pub stall_timeout: Duration,
    /// How long a connection that we close may take to notice, so that the client gets to read the last answer.
    pub linger: Duration,
}

impl Rules {
    /// The rules of the daemon, with a quarter of this process's descriptors for connections: the rest is for the pipes,
    /// sockets and files of runs.
    pub fn for_this_process() -> Self {
        Self { max_connections: connections_for(&limits_of_this_process()), ..Self::default() }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            max_connections: MOST_CONNECTIONS,
            header_timeout: Duration::from_secs(10),
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            stall_timeout: Duration::from_secs(60),
            linger: Duration::from_secs(1),
        }
    }
}

const MOST_CONNECTIONS: usize = 4_096;
const FEWEST_CONNECTIONS: usize = 32;

fn limits_of_this_process() -> String {
    // Without /proc the count is unknown and the fewest connections are right.
    std::fs::read_to_string("/proc/self/limits").unwrap_or_default()
}

/// `limits`: the text of `/proc/self/limits` (proc_pid_limits(5)); the soft limit is the one in force.
fn connections_for(limits: &str) -> usize {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files = match line.and_then(|line| line.split_whitespace().next()) {
        Some("unlimited") => usize::MAX,
        Some(number) => number.parse().unwrap_or_default(),
        None => 0,
    };
    (files / 4).clamp(FEWEST_CONNECTIONS, MOST_CONNECTIONS)
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections whose answer was not finished at the deadline.
    pub dropped: usize,
}

/// Serves until `stop` gives the moment by which running answers must be finished.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    rules: Rules,
    stop: impl Future<Output = Instant>,
) -> Drained {
    let slots = Arc::new(Semaphore::new(rules.max_connections));
    let trouble = Throttle::new(Duration::from_secs(10));
    let (stopping, _) = watch::channel(());
    let goodbyes = Goodbyes::default();
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    let deadline = loop {
        tokio::select! {
            deadline = &mut stop => break deadline,
            Some(ended) = connections.join_next() => report(ended),
            (stream, slot) = next(|cx| listener.poll_accept(cx), &slots, &trouble) => {
                let (router, rules, goodbyes) = (router.clone(), rules.clone(), goodbyes.clone());
                connections.spawn(connection::converse(stream, slot, router, rules, goodbyes, stopping.subscribe()));
            }
        }
    };
    // In this order: a connection accepted after the others were told would never be told.
    drop(listener);
    stopping.send_replace(());
    drain(connections, &goodbyes, deadline).await
}

async fn drain(mut connections: JoinSet<()>, goodbyes: &Goodbyes, deadline: Instant) -> Drained {
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    let dropped = match timeout_at(deadline, all).await {
        Ok(()) => 0,
        // Whoever has its answer and keeps the connection has lost nothing.
        Err(_deadline_passed) => connections.len().saturating_sub(goodbyes.count()),
    };
    if dropped > 0 {
        tracing::warn!(count = dropped, "{}", events::CONNECTIONS_DROPPED);
    }
    connections.shutdown().await;
    Drained { dropped }
}

/// A connection and the slot it holds. May be dropped at any time without losing either.
async fn next<S>(
    accept: impl Fn(&mut Context<'_>) -> Poll<io::Result<(S, SocketAddr)>>,
    slots: &Arc<Semaphore>,
    trouble: &Throttle,
) -> (S, OwnedSemaphorePermit) {
    let slot = Arc::clone(slots).acquire_owned().await.expect("this semaphore is never closed");
    loop {
        match poll_fn(&accept).await {
            Ok((stream, _peer)) => return (stream, slot),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if let Some(suppressed) = trouble.pass(std::time::Instant::now()) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        suppressed,
                        "{}",
                        events::ACCEPT_FAILED
                    );
                }
                // The connection stays in the backlog and accept would fail again at once (EMFILE, ENFILE, ENOBUFS).
                sleep(PAUSE).await;
            }
        }
    }
}

const PAUSE: Duration = Duration::from_millis(200);

/// The client went away before it was accepted (accept(2)): the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(error = &error as &dyn std::error::Error, "{}", events::CONNECTION_PANICKED);
    }
}

#[cfg(test)]
mod tests;
