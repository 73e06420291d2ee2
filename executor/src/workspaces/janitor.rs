//! The one task that removes fresh workspaces. It owns the queue of what is due; nobody else removes anything.
//!
//! ```text
//!   leftovers of an earlier daemon: removed beside everything else
//!   waiting for the next due ──► removing it (on a blocking thread) ──► waiting …
//!        └──────── stop ────────────────┴──► all of .fresh is removed, until the time is up ──► ended
//! ```
//!
//! A removal that fails is logged once, as `cleanup_failed`, and left to the next daemon's start: a new workspace never
//! has the name of an old one, so nobody meets what stayed. On stop the removals end at the deadline, wherever they are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use linux::tree::{RemoveError, Removed, remove_tree_while};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::directories::{Directories, FRESH, STALE};

/// A fresh workspace whose execution is over.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    // First, so that the queue is ordered by time.
    pub(super) at: Instant,
    /// Below `.fresh`.
    pub(super) name: String,
    pub(super) execution_id: String,
}

#[derive(Debug)]
#[must_use = "nothing is removed until run is called"]
pub struct Janitor {
    directories: Arc<Directories>,
    incoming: UnboundedReceiver<Due>,
    waiting: BinaryHeap<Reverse<Due>>,
    /// When removals in progress are to end; empty until the stop.
    deadline: Arc<OnceLock<Instant>>,
}

impl Janitor {
    pub(super) fn new(directories: Arc<Directories>, incoming: UnboundedReceiver<Due>) -> Self {
        Self { directories, incoming, waiting: BinaryHeap::new(), deadline: Arc::default() }
    }

    /// Removes what is due until `stop` completes, then all fresh workspaces, for `grace` at most.
    ///
    /// Stop it after the last execution has ended: it does not ask whether a fresh workspace is in use.
    pub async fn run(mut self, stop: impl Future<Output = ()>, grace: Duration) {
        let leftovers = self.remove_leftovers();
        {
            let mut stop = std::pin::pin!(stop);
            loop {
                let next = self.waiting.peek().map(|Reverse(due)| due.at);
                tokio::select! {
                    () = &mut stop => break,
                    Some(due) = self.incoming.recv() => self.waiting.push(Reverse(due)),
                    () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                        let Some(Reverse(due)) = self.waiting.pop() else { continue };
                        let mut removal = self.remove(&due);
                        tokio::select! {
                            ended = &mut removal => report(&due.name, Some(&due.execution_id), ended),
                            () = &mut stop => {
                                self.stop_after(grace);
                                report(&due.name, Some(&due.execution_id), removal.await);
                                break;
                            }
                        }
                    }
                }
            }
        }
        self.stop_after(grace);
        let all = self.spawn(|directories, go_on| {
            remove_tree_while(directories.sessions.as_fd(), OsStr::new(FRESH), go_on)
        });
        report(FRESH, None, all.await);
        if let Err(panic) = leftovers.await {
            tracing::warn!(error = %panic, "cleanup_failed");
        }
    }

    fn stop_after(&self, grace: Duration) {
        self.deadline.get_or_init(|| Instant::now() + grace);
    }

    fn remove(&self, due: &Due) -> JoinHandle<Result<Removed, RemoveError>> {
        let name = due.name.clone();
        self.spawn(move |directories, go_on| {
            remove_tree_while(directories.fresh.as_fd(), OsStr::new(&name), go_on)
        })
    }

    /// What earlier daemons left in their `.fresh`: however many they were, and however long it takes.
    fn remove_leftovers(&self) -> JoinHandle<()> {
        self.spawn(|directories, go_on| {
            let names = match stale_names(directories) {
                Ok(names) => names,
                Err(error) => return tracing::warn!(error = %error, "cleanup_failed"),
            };
            for name in names {
                let ended = remove_tree_while(directories.sessions.as_fd(), &name, go_on);
                report(&name.to_string_lossy(), None, Ok(ended));
            }
        })
    }

    /// On a blocking thread, with the question whether to go on.
    fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directories, &dyn Fn() -> bool) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let (directories, deadline) = (Arc::clone(&self.directories), Arc::clone(&self.deadline));
        spawn_blocking(move || {
            work(&directories, &|| deadline.get().is_none_or(|deadline| Instant::now() < *deadline))
        })
    }
}

fn stale_names(directories: &Directories) -> std::io::Result<Vec<OsString>> {
    // SESSIONS_PATH itself is the daemon's own; only what is inside the directories in it is hostile.
    let names =
        std::fs::read_dir(&directories.sessions_path)?.map(|entry| entry.map(|entry| entry.file_name()));
    names
        .filter(|name| name.as_ref().map_or(true, |name| name.as_bytes().starts_with(STALE.as_bytes())))
        .collect()
}

fn report(name: &str, execution_id: Option<&str>, ended: Result<Result<Removed, RemoveError>, JoinError>) {
    let error: &dyn Error = match &ended {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => error,
        Err(error) => error,
    };
    let cause = error.source().map(ToString::to_string);
    tracing::warn!(workspace = name, execution_id, error = %error, cause, "cleanup_failed");
}
