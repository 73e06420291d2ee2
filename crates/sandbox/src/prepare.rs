//! Building a sandbox, up to the moment before user code.
//!
//! ```text
//! bubblewrap waits ── arguments ── namespaces, mounts ── launcher ── runtime boots ── `ready`  ══ Prepared
//!  (`standby.rs`)       │                 │                 │             │                          ▲
//!        └──────────────┴──── PrepareError {stage} ─────────┴─────────────┘                          │
//!                                    everything killed and reaped              a copy of a fork server, where one
//!                                                                              serves the language (`fork_server/`)
//! ```
//!
//! Nothing of a job but its limits is known here: a [`Prepared`] can be made before anybody asks for it.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tokio::time::error::Elapsed;

use crate::bwrap::obstacle::Obstacle;
use crate::bwrap::{status, stderr};
use crate::cage::Cage;
use crate::capture::Capture;
use crate::channel::{self, Report};
use crate::host::Host;
use crate::launch::{Start, Verdict};
use crate::limits::{Bytes, Limits};
use crate::news::News;
use crate::paths::WORKSPACE_PATH;
use crate::plan::{self, SandboxPlan};
use crate::runtimes::Runtime;
use crate::standby::Standby;
use crate::usage::{FirstChild, Measured, Sampler};
use crate::wires::Wires;

/// Booting takes milliseconds; on a machine that is stuck this is when we say so.
pub(crate) const BOOT_DEADLINE: Duration = Duration::from_secs(30);

/// A sandbox whose runtime has booted and waits for its one job. Dropping it destroys the sandbox.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) cage: Cage,
    pub(crate) sampler: Sampler,
    pub(crate) before: Measured,
    pub(crate) wires: Wires,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    /// Of both streams.
    pub(crate) news: News,
    pub(crate) limits: Limits,
}

impl Prepared {
    /// It still waits for its job.
    pub fn is_alive(&self) -> bool {
        self.cage.is_alive()
    }

    /// Made of a copy of a fork server, rather than built by bubblewrap.
    pub fn is_forked(&self) -> bool {
        self.cage.is_forked()
    }

    /// Those it has while it waits, the runtime last.
    pub(crate) fn processes(&self) -> &[u32] {
        self.sampler.at_boot()
    }

    /// What it holds while it waits, about: what it shares with others counts as its own.
    pub fn held(&mut self) -> Bytes {
        self.sampler.look(Bytes(u64::MAX)).memory
    }

    /// For a job that may take so long. What it has used while it waited is not the job's.
    #[must_use]
    pub fn for_job(mut self, wall: Duration) -> Self {
        self.limits.wall = wall;
        self.before = Measured::starting_at(self.sampler.booted());
        self
    }

    /// Ends it unused, and waits for the end.
    pub async fn destroy(self) {
        self.cage.destroy().await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Spawn,
    Namespaces,
    Cgroup,
    Launcher,
    Boot,
}

impl Stage {
    /// For logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Namespaces => "namespaces",
            Self::Cgroup => "cgroup",
            Self::Launcher => "launcher",
            Self::Boot => "boot",
        }
    }
}

/// Our failure, or the host's; never the program's.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare a sandbox: {what}")]
pub struct PrepareError {
    pub stage: Stage,
    /// For the operator: it may name paths of the host.
    pub what: String,
    /// What stood in the way, where it is a thing we know.
    pub obstacle: Option<Obstacle>,
}

impl PrepareError {
    pub(crate) fn new(stage: Stage, what: String) -> Self {
        Self { stage, what, obstacle: None }
    }

    pub(crate) fn io(stage: Stage, what: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::new(stage, format!("{what}: {source}"))
    }

    /// For the caller: what to do, and nothing of the host.
    pub fn told_outside(&self) -> String {
        match self.obstacle {
            Some(obstacle) => format!("the sandbox could not be built: {obstacle}"),
            None => {
                format!(
                    "the sandbox could not be built (stage: {}); the executor's log says why",
                    self.stage.name()
                )
            }
        }
    }
}

/// Boots `runtime` in a new sandbox over `workspace`.
///
/// What a fork server makes is held by the same plan. One that fails to is replaced, and this sandbox built by bubblewrap.
pub async fn prepare(
    host: &Host,
    runtime: &Runtime,
    limits: &Limits,
    workspace: &OwnedFd,
) -> Result<Prepared, PrepareError> {
    if let Some(forked) = host.fork(runtime, limits, workspace).await {
        return Ok(forked);
    }
    let plan = plan::plan(&host.facts, runtime, limits);
    let start = Start::Runtime {
        language: runtime.language,
        interpreter: runtime.interpreter.clone(),
        arguments: runtime.arguments(),
    };
    boot(host, &plan, start, limits, workspace).await
}

pub(crate) async fn boot(
    host: &Host,
    plan: &SandboxPlan,
    start: Start,
    limits: &Limits,
    workspace: &OwnedFd,
) -> Result<Prepared, PrepareError> {
    finish(host.begun(plan).await?, plan, start, limits, Some(workspace)).await
}

/// Has what was begun built, and booted.
pub(crate) async fn finish(
    standby: Standby,
    plan: &SandboxPlan,
    start: Start,
    limits: &Limits,
    workspace: Option<&OwnedFd>,
) -> Result<Prepared, PrepareError> {
    let Standby { mut cage, mut wires, outputs, unwritten } = standby;
    let news = News::new();
    let stdout = Capture::start(outputs.stdout, limits.output, news.clone())
        .map_err(PrepareError::io(Stage::Spawn, "stdout"))?;
    let stderr = Capture::start(outputs.stderr, limits.output, news.clone())
        .map_err(PrepareError::io(Stage::Spawn, "stderr"))?;

    let booted = tokio::time::timeout(BOOT_DEADLINE, async {
        match unwritten.write(plan, start, workspace).await {
            // It has ended, and said why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(PrepareError::io(Stage::Spawn, "cannot say what it is to be"))?,
        }
        // While it is being built: nothing of the caller's runs yet.
        cage.limit(limits, &plan.rlimits)
            .map_err(PrepareError::io(Stage::Cgroup, "cannot limit its cgroup"))?;
        let init = wait_for_init(&mut cage, &mut wires).await?;
        wait_for_ready(&mut wires, init, workspace).await?;
        Ok(init)
    })
    .await;
    let booted = booted.map(|booted| booted.map(|init| Sampler::new(init, FirstChild::Launcher)));
    conclude(booted, Booting { cage, wires, stdout, stderr, news }, limits).await
}

/// A sandbox on its way to be [`Prepared`].
pub(crate) struct Booting {
    pub(crate) cage: Cage,
    pub(crate) wires: Wires,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    pub(crate) news: News,
}

/// What became of a boot. One that failed is ended, and says why.
pub(crate) async fn conclude(
    booted: Result<Result<Sampler, NotReady>, Elapsed>,
    booting: Booting,
    limits: &Limits,
) -> Result<Prepared, PrepareError> {
    let Booting { cage, wires, stdout, stderr, news } = booting;
    match booted {
        Ok(Ok(sampler)) => {
            stdout.mark_start();
            stderr.mark_start();
            let before = Measured::starting_at(sampler.booted());
            let limits = limits.clone();
            Ok(Prepared { cage, sampler, before, wires, stdout, stderr, news, limits })
        }
        Ok(Err(NotReady::At(stage))) => Err(explain(stage, cage, wires, stderr).await),
        Ok(Err(NotReady::Because(error))) => {
            cage.destroy().await;
            Err(error)
        }
        Err(_elapsed) => {
            cage.destroy().await;
            let what = format!("it was not ready after {} s", BOOT_DEADLINE.as_secs());
            Err(PrepareError::new(Stage::Boot, what))
        }
    }
}

/// Why a boot did not come to its end.
pub(crate) enum NotReady {
    /// How far it came: bubblewrap or the launcher said why.
    At(Stage),
    Because(PrepareError),
}

impl From<PrepareError> for NotReady {
    fn from(error: PrepareError) -> Self {
        Self::Because(error)
    }
}

/// bubblewrap was told the workspace's path, and a path can come to mean something else: is it what was meant?
fn is_mounted(workspace: &OwnedFd, init: u32) -> io::Result<bool> {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let meant = File::from(workspace.try_clone()?).metadata()?;
    let mounted = fs::metadata(format!("/proc/{init}/root{WORKSPACE_PATH}"))?;
    Ok(identity(meant) == identity(mounted))
}

/// bubblewrap says who it is.
async fn wait_for_init(cage: &mut Cage, wires: &mut Wires) -> Result<u32, NotReady> {
    let said = match &mut wires.bwrap_status {
        Some(bwrap_status) => status::next(bwrap_status).await,
        None => Ok(None),
    };
    let Ok(Some(status::Status::Child(init))) = said else {
        return Err(NotReady::At(Stage::Namespaces));
    };
    cage.adopt_init(init).map_err(|_gone| NotReady::At(Stage::Namespaces))?;
    Ok(init)
}

/// Follows the boot to its end, in the sandbox of this init.
pub(crate) async fn wait_for_ready(
    wires: &mut Wires,
    init: u32,
    workspace: Option<&OwnedFd>,
) -> Result<(), NotReady> {
    match channel::read_report(&mut wires.report).await {
        Ok(Some(Report::Ready)) => {}
        Ok(
            Some(Report::Started | Report::Result { .. } | Report::Error { .. } | Report::Exit { .. }) | None,
        )
        | Err(_) => {
            return Err(NotReady::At(Stage::Boot));
        }
    }
    let Some(workspace) = workspace else { return Ok(()) };
    if is_mounted(workspace, init).map_err(|_gone| NotReady::At(Stage::Boot))? {
        return Ok(());
    }
    let what = "another directory was put in the workspace's place while it was mounted".to_owned();
    Err(PrepareError::new(Stage::Namespaces, what).into())
}

/// Turns a boot that failed into a sentence: the launcher knows, or bubblewrap's stderr does.
async fn explain(stage: Stage, cage: Cage, mut wires: Wires, stderr: Capture) -> PrepareError {
    cage.destroy().await;
    let said = stderr.finish().await.text;
    if let Some(Verdict::Failed { stage, error }) = wires.verdicts.last().await {
        return PrepareError::new(
            Stage::Launcher,
            format!("the launcher could not apply the {stage} ({error})"),
        );
    }
    let obstacle = stderr::find(&said);
    let what = match (stage, obstacle) {
        (Stage::Boot, None) => format!("the interpreter did not boot; it said: {}", said.trim()),
        (Stage::Spawn | Stage::Namespaces | Stage::Cgroup | Stage::Launcher | Stage::Boot, _) => {
            stderr::explain(&said).to_string()
        }
    };
    PrepareError { stage, what, obstacle }
}
