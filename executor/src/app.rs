//! Wiring: the only file that knows every part. It reads as the list of what a daemon needs, in the order in which one thing
//! needs another.
//!
//! ```text
//! Ground (still root) ── open ──► App (bound, probed) ── serve ──► Draining ──► exit code
//! ```

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use linux::spawn::Spawner;
use sandbox::host::Host;
use sandbox::probe::ProbeError;
use sandbox::stop::Stop;
use tokio::net::TcpListener;

use crate::admission::Admission;
use crate::config::Config;
use crate::http::api::Api;
use crate::http::router::router;
use crate::http::server::{self, BindError, Rules, serve};
use crate::lifecycle::ground::Ground;
use crate::run::Parts;
use crate::run::registry::Registry;
use crate::telemetry::events;
use crate::workspaces::{Janitor, WorkspaceError, Workspaces};

/// After the last run has ended: for answers to reach their callers, and fresh workspaces to be removed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A daemon that is ready to serve.
#[derive(Debug)]
pub struct App {
    api: Arc<Api>,
    listener: TcpListener,
    janitor: Janitor,
}

/// Why the daemon does not start. One sentence, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    #[error(transparent)]
    Host(#[from] ProbeError),
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// Everything that runs need, without a server.
pub async fn open_parts(config: &Config, ground: Ground) -> Result<(Arc<Parts>, Janitor), StartError> {
    let (workspaces, janitor) =
        Workspaces::open(&config.workspace_path, &config.sessions_path, config.artifact_retention)?;
    let spawner = Spawner::start().map_err(StartError::Thread)?;
    let probed_over = workspaces.checkout(&crate::job::Place::Container, "probe")?;
    let host = Host::probe(spawner, ground.launcher, &probed_over.dir, config.max_request).await?;
    let admission = Admission::new(config.concurrency, config.queue);
    let parts = Parts { host, workspaces, admission, registry: Registry::default() };
    Ok((Arc::new(parts), janitor))
}

impl App {
    /// Binds, then tries what the host can do. Whoever connects meanwhile waits for the answer.
    pub async fn open(config: Config, ground: Ground) -> Result<Self, StartError> {
        let listener = server::bind(config.host, config.port)?;
        let (parts, janitor) = open_parts(&config, ground).await?;
        Ok(Self { api: Arc::new(Api::new(config, parts)), listener, janitor })
    }

    pub fn host(&self) -> &Host {
        &self.api.parts.host
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then drains: nobody new is let in, runs get `SHUTDOWN_GRACE_SECONDS`, then they are ended and
    /// their callers told.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let (swept, sweep) = tokio::sync::oneshot::channel::<()>();
        let janitor = tokio::spawn(self.janitor.run(async { drop(sweep.await) }, LAST_WORDS));
        let api = Arc::clone(&self.api);
        let drain = async move {
            stop.await;
            drain(&api).await;
            tokio::time::Instant::now() + LAST_WORDS
        };
        serve(self.listener, router(self.api), Rules::for_this_process(), drain).await;
        drop(swept);
        if let Err(error) = janitor.await {
            tracing::error!(%error, "{}", events::CLEANUP_FAILED);
        }
    }
}

/// Ends when no run is left, or when the runs that are left have been given up.
async fn drain(api: &Api) {
    let Parts { admission, registry, .. } = &*api.parts;
    api.announce_draining();
    admission.close();
    if tokio::time::timeout(api.config.shutdown_grace, admission.idle()).await.is_err() {
        registry.stop_all(Stop::DaemonShutdown);
        // Killing takes milliseconds, listing what a run left can take longer.
        if tokio::time::timeout(LAST_WORDS, admission.idle()).await.is_err() {
            tracing::warn!(count = admission.active(), "{}", events::RUNS_ABANDONED);
        }
    }
}
