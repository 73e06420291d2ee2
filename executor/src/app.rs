//! Wiring: the only file that knows every part. It reads as the list of what a daemon needs, in the order in which one thing
//! needs another.
//!
//! ```text
//! Ground (still root) ── open ──► App (bound, probed) ── serve ──► Draining ──► exit code
//! ```

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use linux::spawn::Spawner;
use sandbox::host::Host;
use sandbox::limits::Bytes;
use sandbox::probe::ProbeError;
use sandbox::stop::Stop;
use tokio::net::TcpListener;

use crate::admission::Admission;
use crate::config::Config;
use crate::http::guard::{Budget, Gate};
use crate::http::router::router;
use crate::http::server::{self, BindError, Rules, serve};
use crate::lifecycle::ground::Ground;
use crate::run::Parts;
use crate::run::registry::Registry;
use crate::telemetry::events;
use crate::workspaces::{Janitor, WorkspaceError, Workspaces};

/// Bodies being read at once, all callers together.
const BODY_BUDGET: Bytes = Bytes::mib(256);

/// After the last run has ended: for answers to reach their callers, and fresh workspaces to be removed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What handlers see.
#[derive(Debug)]
pub struct App {
    pub config: Config,
    pub parts: Arc<Parts>,
    pub gate: Gate,
    pub bodies: Budget,
    pub started: Instant,
    draining: AtomicBool,
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
    pub async fn open(
        config: Config,
        ground: Ground,
    ) -> Result<(Arc<Self>, TcpListener, Janitor), StartError> {
        let listener = server::bind(config.host, config.port)?;
        let (parts, janitor) = open_parts(&config, ground).await?;
        let app = Self {
            gate: Gate::new(config.api_token.as_ref()),
            bodies: Budget::new(BODY_BUDGET),
            started: Instant::now(),
            draining: AtomicBool::new(false),
            parts,
            config,
        };
        Ok((Arc::new(app), listener, janitor))
    }

    /// Serves until `stop`, then drains: nobody new is let in, runs get `SHUTDOWN_GRACE_SECONDS`, then they are ended and
    /// their callers told.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        janitor: Janitor,
        stop: impl Future<Output = ()>,
    ) {
        let (swept, sweep) = tokio::sync::oneshot::channel::<()>();
        let janitor = tokio::spawn(janitor.run(async { drop(sweep.await) }, LAST_WORDS));
        let drain = {
            let app = Arc::clone(&self);
            async move {
                stop.await;
                app.drain().await;
                tokio::time::Instant::now() + LAST_WORDS
            }
        };
        serve(listener, router(Arc::clone(&self)), Rules::for_this_process(), drain).await;
        drop(swept);
        if let Err(error) = janitor.await {
            tracing::error!(%error, "{}", events::CLEANUP_FAILED);
        }
    }

    async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        let admission = &self.parts.admission;
        admission.close();
        let idle = tokio::time::timeout(self.config.shutdown_grace, admission.idle());
        if idle.await.is_err() {
            self.parts.registry.stop_all(Stop::DaemonShutdown);
        }
    }

    /// Why this daemon should get no work now.
    pub fn trouble(&self) -> Option<String> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("the executor is shutting down".to_owned());
        }
        self.parts.workspaces.trouble()
    }
}
