//! Fork servers: interpreters that have booted once, and make each sandbox of a copy of themselves.
//!
//! ```text
//!            start            self test in a copy            fork          fork …
//!  nothing ───────► Starting ─────────────────────► Serving ──────► copy   copy       worn, or in doubt
//!     ▲                │ a step failed                 │                                   │
//!     └── said so ◄────┘                               └──── replaced by the next ◄────────┘
//!                                                            (lives on until its last copy is over)
//! ```
//!
//! A server is in a sandbox of its own and never runs user code; a copy has seven namespaces of its own, and is held by the same plan
//! as a sandbox that bubblewrap builds (`plan.rs`). That it is has been seen: the self test runs in a copy before any job does.
//! Where there is no server, or it fails, bubblewrap builds the sandbox: a server is faster, and nothing else.
//!
//! One task keeps a server serving ([`Host::keep_forking`]). Invariant: what a server has learnt of one job it can't pass on to the
//! next, because it learns nothing (`runtimes/python/fork_server.py`).

mod plan;
mod server;

use std::borrow::Cow;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::host::{Host, ProcView};
use crate::limits::Limits;
use crate::prepare::Prepared;
use crate::program::Language;
use crate::runtimes::{FORK_SERVER, Runtime, Stamp};
use crate::wires::path_of;
pub use plan::Order;
pub(crate) use server::ForkServer;

/// After so many copies a server is replaced: they share the layout of their memory and the seed of their hashes.
const COPIES: usize = 1000;

/// The pauses between attempts to start one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a fork server is made for.
#[derive(Debug, Clone)]
pub struct Forking {
    /// The directories that hold workspaces: real paths.
    pub roots: Vec<PathBuf>,
    /// Modules that every sandbox of it has imported already.
    pub preload: Vec<String>,
    /// What the interpreter runs.
    pub program: Cow<'static, str>,
    /// What becomes of the order of each copy: nothing, but in tests.
    pub amend: fn(&mut Order),
}

impl Forking {
    pub fn new(roots: Vec<PathBuf>, preload: Vec<String>) -> Self {
        Self { roots, preload, program: FORK_SERVER.into(), amend: |_order| {} }
    }
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum NoServer {
    #[error("Python is not available")]
    NoPython,
    #[error("/proc is shared, and a sandbox in a sandbox needs one of its own")]
    SharedProc,
    #[error("{0}")]
    Failed(String),
    #[error("a copy does not hold what it must: {}", .0.join("; "))]
    SelfTest(Vec<String>),
}

/// The servers of a host: one, for Python, or none.
#[derive(Debug, Default)]
pub struct ForkServers {
    serving: Mutex<Option<Arc<ForkServer>>>,
    /// Somebody saw that a server has to be started.
    wanted: Notify,
}

impl ForkServers {
    /// Never held across an await.
    fn serving(&self) -> MutexGuard<'_, Option<Arc<ForkServer>>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One serves now.
    pub fn is_serving(&self) -> bool {
        self.serving().is_some()
    }

    /// Nobody asks it again. It ends with its last copy.
    fn retire(&self, server: &Arc<ForkServer>, why: &dyn fmt::Display) {
        let mut serving = self.serving();
        if serving.as_ref().is_some_and(|current| Arc::ptr_eq(current, server)) {
            *serving = None;
            tracing::warn!(reason = %why, "fork_server_retired");
        }
        self.wanted.notify_one();
    }
}

impl Host {
    /// Starts the first server. Whoever got one calls [`keep_forking`](Self::keep_forking) then.
    pub async fn begin_forking(&self, forking: &Forking) -> Result<(), NoServer> {
        let server = self.start_server(forking).await?;
        *self.forks.serving() = Some(Arc::new(server));
        Ok(())
    }

    /// Replaces the server when it is worn or was retired, for as long as it is polled.
    pub async fn keep_forking(&self, forking: &Forking) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.forks.wanted.notified().await;
            while self.forks.serving().as_ref().is_none_or(|server| server.copies() >= COPIES) {
                match self.start_server(forking).await {
                    Ok(server) => {
                        *self.forks.serving() = Some(Arc::new(server));
                        pause = FIRST_PAUSE;
                        // However often one fails, starting them takes little of a CPU.
                        tokio::time::sleep(FIRST_PAUSE).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "fork_server_unavailable");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        }
    }

    /// Ends the server, and with it every sandbox that it made. Nobody may be keeping it.
    pub async fn stop_forking(&self) {
        let server = self.forks.serving().take();
        if let Some(server) = server.and_then(Arc::into_inner) {
            server.end().await;
        }
    }

    /// A sandbox made of a copy; `None` where bubblewrap has to build it.
    pub(crate) async fn fork(
        &self,
        runtime: &Runtime,
        limits: &Limits,
        workspace: &OwnedFd,
    ) -> Option<Prepared> {
        let server = self.forks.serving().clone().filter(|_| runtime.language == Language::Python)?;
        if limits.memory < server.least_memory() {
            return None;
        }
        if !server.is_alive() {
            self.forks.retire(&server, &"it has ended");
            return None;
        }
        if !Stamp::of(&runtime.interpreter).is_ok_and(|now| now == *server.stamp()) {
            self.forks.retire(&server, &"the interpreter was replaced");
            return None;
        }
        let order = server.order(self, runtime, limits, &path_of(workspace).ok()?, &[])?;
        let forked = server.fork(self, &order, limits, workspace, None).await;
        if server.copies() >= COPIES {
            self.forks.wanted.notify_one();
        }
        match forked {
            Ok(prepared) => Some(prepared),
            Err(error) => {
                self.forks.retire(&server, &error);
                None
            }
        }
    }

    async fn start_server(&self, forking: &Forking) -> Result<ForkServer, NoServer> {
        let python = &self.language(Language::Python).ok_or(NoServer::NoPython)?.runtime;
        if self.facts.capabilities.proc == ProcView::Shared {
            return Err(NoServer::SharedProc);
        }
        let server = ForkServer::start(self, python, forking).await;
        let server = Arc::new(server.map_err(|error| NoServer::Failed(error.to_string()))?);
        let broken =
            server.self_test(self, python).await.map_err(|error| NoServer::Failed(error.to_string()))?;
        if !broken.is_empty() {
            return Err(NoServer::SelfTest(broken));
        }
        Arc::into_inner(server).ok_or_else(|| NoServer::Failed("the self test's copy is not over".to_owned()))
    }
}
