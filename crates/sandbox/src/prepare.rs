//! Building a sandbox, up to the moment before user code.
//!
//! ```text
//! spawn bubblewrap ── child-pid ── namespaces, mounts ── launcher ── runtime boots ── `ready`  ══ Prepared
//!        │                │                 │                │             │
//!        └────────────────┴───────── PrepareError {stage} ───┴─────────────┘     everything killed and reaped
//! ```
//!
//! Nothing of a job is known here: a [`Prepared`] can be made before anybody asks for it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::bwrap::stderr::Obstacle;
use crate::bwrap::{status, stderr};
use crate::cage::Cage;
use crate::capture::Capture;
use crate::channel::{self, Report};
use crate::host::Host;
use crate::launch::{Start, Verdict};
use crate::limits::Limits;
use crate::plan::{self, SandboxPlan};
use crate::runtimes::Runtime;
use crate::usage::{Measured, Sampler};
use crate::wires::{self, Wires, read_verdict};

/// Booting takes milliseconds; on a machine that is stuck this is when we say so.
const BOOT_DEADLINE: Duration = Duration::from_secs(30);

/// The highest there is (proc(5)).
const OOM_SCORE: &str = "1000";

/// A sandbox whose runtime has booted and waits for its one job. Dropping it destroys the sandbox.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) cage: Cage,
    pub(crate) sampler: Sampler,
    pub(crate) before: Measured,
    pub(crate) wires: Wires,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    pub(crate) limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Spawn,
    Namespaces,
    Launcher,
    Boot,
}

impl Stage {
    /// For logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Namespaces => "namespaces",
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
    fn new(stage: Stage, what: String) -> Self {
        Self { stage, what, obstacle: None }
    }

    fn io(stage: Stage, what: &str) -> impl FnOnce(io::Error) -> Self {
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
    let (spawn, wires, stdout, stderr) = wires::lay(host, plan, start, workspace)
        .map_err(PrepareError::io(Stage::Spawn, "cannot make its pipes"))?;
    let stdout = Capture::start(stdout, limits.output).map_err(PrepareError::io(Stage::Spawn, "stdout"))?;
    let stderr = Capture::start(stderr, limits.output).map_err(PrepareError::io(Stage::Spawn, "stderr"))?;

    let (answer, spawned) = oneshot::channel();
    host.spawner.spawn(spawn, move |pid| drop(answer.send(pid)));
    let pid = spawned
        .await
        .unwrap_or_else(|_gone| Err(io::Error::other("the spawner thread is gone")))
        .map_err(PrepareError::io(Stage::Spawn, &format!("cannot start {}", host.bwrap.display())))?;
    let mut cage = Cage::adopt(pid).map_err(PrepareError::io(Stage::Spawn, "cannot watch bubblewrap"))?;
    let mut wires = wires;

    let booted = tokio::time::timeout(BOOT_DEADLINE, wait_for_ready(&mut cage, &mut wires)).await;
    match booted {
        Ok(Ok(init)) => {
            stdout.mark_start();
            stderr.mark_start();
            let sampler = Sampler::new(init);
            let before = Measured::starting_at(sampler.booted());
            let limits = limits.clone();
            Ok(Prepared { cage, sampler, before, wires, stdout, stderr, limits })
        }
        Ok(Err(stage)) => Err(explain(stage, cage, wires, stderr).await),
        Err(_elapsed) => {
            cage.destroy().await;
            Err(PrepareError::new(
                Stage::Boot,
                format!("it was not ready after {} s", BOOT_DEADLINE.as_secs()),
            ))
        }
    }
}

/// Follows the boot. On failure: how far it came.
async fn wait_for_ready(cage: &mut Cage, wires: &mut Wires) -> Result<u32, Stage> {
    let Ok(Some(status::Status::Child(init))) = status::next(&mut wires.bwrap_status).await else {
        return Err(Stage::Namespaces);
    };
    cage.adopt_init(init).map_err(|_gone| Stage::Namespaces)?;
    // When memory runs out in the container, a sandbox dies before the daemon does. Set from outside, because inside `/proc`
    // may be read-only, and while bubblewrap waits at its gate: whatever it starts after that inherits it.
    std::fs::write(format!("/proc/{init}/oom_score_adj"), OOM_SCORE).map_err(|_gone| Stage::Namespaces)?;
    drop(wires.gate.take());
    match channel::read_report(&mut wires.report).await {
        Ok(Some(Report::Ready)) => Ok(init),
        Ok(Some(Report::Started | Report::Result { .. } | Report::Error { .. }) | None) | Err(_) => {
            Err(Stage::Boot)
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
        (Stage::Spawn | Stage::Namespaces | Stage::Launcher | Stage::Boot, _) => {
            stderr::explain(&said).to_string()
        }
    };
    PrepareError { stage, what, obstacle }
}
