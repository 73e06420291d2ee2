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
use sandbox::fork_server::Forking;
use sandbox::host::Host;
use sandbox::probe::ProbeError;
use sandbox::program::Language;
use sandbox::stop::Stop;
use sandbox::tier::BelowMinimum;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::admission::Admission;
use crate::artifacts::Late;
use crate::config::Config;
use crate::control_plane::{Client, ClientError};
use crate::http::api::Api;
use crate::http::problem::CODES;
use crate::http::router::router;
use crate::http::server::{BindError, Rules, serve};
use crate::lifecycle::announce::Announcer;
use crate::lifecycle::ground::Ground;
use crate::lifecycle::heartbeat::Heartbeats;
use crate::lifecycle::pause::give_memory_back;
use crate::lifecycle::port;
use crate::lifecycle::signals::Ended;
use crate::outbox::journal::JournalError;
use crate::outbox::{Deliveries, Outbox};
use crate::outlet;
use crate::pool::Pool;
use crate::run::Parts;
use crate::run::registry::Registry;
use crate::telemetry::events;
use crate::telemetry::export::{ExportError, Exporter};
use crate::telemetry::metrics::{Metrics, Setting};
use crate::workspaces::{Janitor, WorkspaceError, Workspaces};

/// From the moment the last run is told to end: within so long it has ended and its result is on disk,
const RUNS_END: Duration = Duration::from_millis(800);
/// results have been sent,
const RESULTS_SENT: Duration = Duration::from_millis(1_200);
/// callers have their answers, fresh workspaces are removed,
const ANSWERS_SENT: Duration = Duration::from_millis(1_400);
/// and the control plane knows. What is not done by then is not done: two seconds were promised.
const EXIT_REPORTED: Duration = Duration::from_millis(1_900);

/// A daemon that is ready to serve.
#[derive(Debug)]
pub struct App {
    api: Arc<Api>,
    listener: TcpListener,
    tasks: Tasks,
    announcer: Option<Announcer>,
    /// How Python sandboxes are forked, where they are.
    forking: Option<Forking>,
}

/// What works in the background as long as the daemon lives.
#[derive(Debug)]
pub struct Tasks {
    janitor: Janitor,
    deliveries: Deliveries,
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
    Isolation(#[from] BelowMinimum),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    ControlPlane(#[from] ClientError),
    #[error(transparent)]
    Collector(#[from] ExportError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Everything that runs need, without a server. Without a client nobody is called back.
pub async fn open_parts(
    config: &Config,
    ground: Ground,
    client: Option<&Client>,
) -> Result<(Arc<Parts>, Tasks), StartError> {
    let (outbox, deliveries) = Outbox::open(config, client).await?;
    let heartbeats = match client {
        Some(client) => Some(Heartbeats::start(client.apart()?).map_err(StartError::Thread)?),
        None => None,
    };
    let (workspaces, janitor) =
        Workspaces::open(&config.workspace_path, &config.sessions_path, config.artifact_retention)?;
    let spawner = Spawner::start().map_err(StartError::Thread)?;
    let probed_over = workspaces.checkout(&crate::job::Place::Container, "probe")?;
    let host =
        Host::probe(spawner, ground.launcher, &probed_over.dir, config.max_request, ground.cgroups).await?;
    host.hold_to(config.isolation_minimum)?;
    let admission = Admission::new(config.concurrency, config.queue);
    let calls = client.map(|client| client.calls().clone()).unwrap_or_default();
    let metrics = Metrics::new(&setting(config, &host), &calls);
    let registry = Registry::new(config.retention);
    let exporter = Exporter::start(config)?;
    let traceparent = config.traceparent;
    let pool = Pool::new(&config.pool, &config.ceilings);
    let parts = Parts {
        host,
        workspaces,
        pool,
        admission,
        registry,
        outbox,
        heartbeats,
        metrics,
        late: Late::default(),
        traceparent,
        exporter,
        ended: Notify::new(),
    };
    Ok((Arc::new(parts), Tasks { janitor, deliveries }))
}

/// What metrics say of what does not change.
fn setting(config: &Config, host: &Host) -> Setting {
    let installed = |language| usize::from(host.language(language).is_some());
    Setting {
        isolation: outlet::isolation(host),
        concurrency: config.concurrency.get(),
        queue: config.queue,
        pool: Language::ALL
            .map(|language| (language, config.pool.of(language) * installed(language)))
            .to_vec(),
        error_codes: CODES.map(|code| code.name).to_vec(),
    }
}

impl App {
    /// Tries what the host can do. Whoever connects to the listener meanwhile waits for the answer.
    pub async fn open(
        config: Config,
        ground: Ground,
        listener: TcpListener,
        client: Option<&Client>,
        announcer: Option<Announcer>,
    ) -> Result<Self, StartError> {
        let (parts, tasks) = open_parts(&config, ground, client).await?;
        // It tries again when it serves.
        parts.host.fill_standbys().await.ok();
        let forking = match &config.preload {
            Some(modules) => begin_forking(&parts, modules.clone()).await,
            None => None,
        };
        parts.pool.fill_first(&parts).await;
        Ok(Self { api: Arc::new(Api::new(config, parts)), listener, tasks, announcer, forking })
    }

    pub fn host(&self) -> &Host {
        &self.api.parts.host
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then drains: nobody new is let in, runs get `SHUTDOWN_GRACE_SECONDS`, then they are ended and
    /// their callers and the control plane told.
    pub async fn serve(self, stop: impl Future<Output = Ended>) -> Ended {
        let Tasks { janitor, deliveries } = self.tasks;
        let forking = self.forking;
        let (swept, sweep) = tokio::sync::oneshot::channel::<()>();
        let janitor = tokio::spawn(janitor.run(async { drop(sweep.await) }, ANSWERS_SENT));
        let deliveries = tokio::spawn(deliveries.run());
        let announcing =
            tokio::spawn(announce(Arc::clone(&self.api), self.announcer.clone(), self.listener.local_addr()));
        let parts = Arc::clone(&self.api.parts);
        let preparing = tokio::spawn(async move {
            let keep_forking = async {
                if let Some(forking) = &forking {
                    parts.host.keep_forking(forking).await;
                }
            };
            let keep_full = parts.pool.keep_full(&parts);
            tokio::join!(parts.host.stand_by(), keep_forking, keep_full, give_memory_back(&parts.ended));
        });
        let api = Arc::clone(&self.api);
        let mut end = None;
        let drain = async {
            let ended = stop.await;
            announcing.abort();
            let closing = drain(&api, ended).await;
            preparing.abort();
            // Only when it is over is nobody adding to what is ended now.
            preparing.await.ok();
            api.parts.pool.empty().await;
            api.parts.host.stand_down().await;
            api.parts.host.stop_forking().await;
            end = Some((ended, closing));
            closing + ANSWERS_SENT
        };
        let exporter = self.api.parts.exporter.clone();
        serve(self.listener, router(self.api), Rules::for_this_process(), drain).await;
        drop(swept);
        let (ended, closing) = end.unwrap_or((Ended::Terminated, Instant::now()));
        let patience = (closing + EXIT_REPORTED).saturating_duration_since(Instant::now());
        let announced = async {
            if let Some(announcer) = &self.announcer {
                announcer.exited(ended.exit_code(), ended.reason(), patience).await;
            }
        };
        tokio::join!(announced, exporter.end(patience));
        deliveries.abort();
        if let Err(error) = janitor.await {
            tracing::error!(%error, "{}", events::CLEANUP_FAILED);
        }
        ended
    }
}

/// Has Python sandboxes forked, where the host allows it; else it is said, once.
async fn begin_forking(parts: &Parts, modules: Vec<String>) -> Option<Forking> {
    let forking = Forking::new(parts.workspaces.roots(), modules);
    match parts.host.begin_forking(&forking).await {
        Ok(()) => Some(forking),
        Err(error) => {
            tracing::warn!(%error, "{}", events::FORK_SERVER_UNAVAILABLE);
            None
        }
    }
}

/// Tells the control plane that this container is ready, once that is so.
async fn announce(api: Arc<Api>, announcer: Option<Announcer>, address: io::Result<SocketAddr>) {
    if let (Some(announcer), Ok(address)) = (announcer, address) {
        port::answers(address).await;
        announcer.ready(outlet::isolation(&api.parts.host)).await;
    }
}

/// Ends when no run is left, or when the runs that are left have been given up, and their results have been sent, as far as
/// the time allows. Gives the moment when the last run was told to end.
async fn drain(api: &Api, why: Ended) -> Instant {
    let Parts { admission, registry, outbox, .. } = &*api.parts;
    api.announce_draining();
    admission.close();
    // Said once it is true.
    let reason = why.name();
    tracing::info!(from = "serving", to = "draining", reason, "{}", events::LIFECYCLE_CHANGED);
    let gone = tokio::time::timeout(api.config.shutdown_grace, registry.all_over()).await.is_ok();
    let closing = Instant::now();
    if !gone {
        registry.stop_all(Stop::DaemonShutdown);
        // Killing takes milliseconds, listing what a run left can take longer.
        if tokio::time::timeout_at(closing + RUNS_END, registry.all_over()).await.is_err() {
            tracing::warn!(count = admission.active(), "{}", events::RUNS_ABANDONED);
        }
    }
    // What is left of their sandboxes takes milliseconds to go.
    tokio::time::timeout_at(closing + RUNS_END, admission.idle()).await.ok();
    outbox.flush(closing + RESULTS_SENT).await;
    closing
}
