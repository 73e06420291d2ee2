//! Building a sandbox, up to the moment before user code.
//!
//! ```text
//! bubblewrap waits ── arguments ── namespaces, mounts ── launcher ── runtime boots ── `ready`  ══ Prepared
//!  (`standby.rs`)       │                 │                 │             │
//!        └──────────────┴──── PrepareError {stage} ─────────┴─────────────┘     everything killed and reaped
//! ```
//!
//! Nothing of a job but its limits is known here: a [`Prepared`] can be made before anybody asks for it.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

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
use crate::usage::{Measured, Sampler};
use crate::wires::{Wires, read_verdict};

/// Booting takes milliseconds; on a machine that is stuck this is when we say so.
const BOOT_DEADLINE: Duration = Duration::from_secs(30);

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
pub async fn prepare(
    host: &Host,
    runtime: &Runtime,
    limits: &Limits,
    workspace: &OwnedFd,
) -> Result<Prepared, PrepareError> {
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
    let Standby { mut cage, mut wires, outputs, unwritten } = host.begun(plan).await?;
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
        let init = wait_for_ready(&mut cage, &mut wires).await?;
        if is_mounted(workspace, init).map_err(|_gone| NotReady::At(Stage::Boot))? {
            Ok(init)
        } else {
            let what = "another directory was put in the workspace's place while it was mounted".to_owned();
            Err(PrepareError::new(Stage::Namespaces, what).into())
        }
    })
    .await;
    match booted {
        Ok(Ok(init)) => {
            stdout.mark_start();
            stderr.mark_start();
            let sampler = Sampler::new(init);
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
enum NotReady {
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

/// Follows the boot.
async fn wait_for_ready(cage: &mut Cage, wires: &mut Wires) -> Result<u32, NotReady> {
    let Ok(Some(status::Status::Child(init))) = status::next(&mut wires.bwrap_status).await else {
        return Err(NotReady::At(Stage::Namespaces));
    };
    cage.adopt_init(init).map_err(|_gone| NotReady::At(Stage::Namespaces))?;
    match channel::read_report(&mut wires.report).await {
        Ok(Some(Report::Ready)) => Ok(init),
        Ok(Some(Report::Started | Report::Result { .. } | Report::Error { .. }) | None) | Err(_) => {
            Err(NotReady::At(Stage::Boot))
        }
    }
}

/// Turns a boot that failed into a sentence: the launcher knows, or bubblewrap's stderr does.
async fn explain(stage: Stage, cage: Cage, mut wires: Wires, stderr: Capture) -> PrepareError {
    cage.destroy().await;
    let said = stderr.finish().await.text;
    if let Some(Verdict::Failed { stage, error }) = read_verdict(&mut wires.verdict).await {
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
