//! Sandboxes begun before anybody asked: bubblewrap runs, is in the cgroup of the run it will be, and waits for its arguments.
//!
//! ```text
//! a cgroup ── bubblewrap in it ════════ Standby ── limits, arguments ──► it builds the sandbox (`prepare.rs`)
//!                                         └───── dropped ──► killed, reaped, its cgroup removed
//! ```
//!
//! Nothing of a run is known to it: neither language nor workspace nor limits. It is used once. What is saved is starting
//! bubblewrap and, with version 2 of cgroups, moving it: the kernel first waits for everybody who may be forking, 13 to 16 ms
//! where nobody was moved shortly before (`cgroup_threadgroup_rwsem`, Linux 6.18). A sandbox that nobody stood by for is
//! begun when it is needed, the same way.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use linux::children::Child;
use linux::spawn::Spawn;
use tokio::sync::{Notify, oneshot};

use crate::cage::Cage;
use crate::cgroup::Cgroups;
use crate::host::Host;
use crate::plan::SandboxPlan;
use crate::prepare::{PrepareError, Stage};
use crate::wires::{self, Needs, Outputs, Unwritten, Wires};

/// How many wait. One is enough for who asks one at a time, and a second for while it is replaced.
const WAITING: usize = 2;

/// After one could not be begun.
const AGAIN: Duration = Duration::from_secs(1);

/// When memory runs out in the container, a sandbox dies before the daemon does. The highest there is (proc(5)).
const OOM_SCORE: &str = "1000";

/// The kernel lets a new program's parent go on a moment before the program's files in `/proc` are its user's (execve, of a
/// process whose memory was hidden). On a machine that is stuck this is when we say so.
const EXECUTED: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Standby {
    pub(crate) cage: Cage,
    pub(crate) wires: Wires,
    pub(crate) outputs: Outputs,
    pub(crate) unwritten: Unwritten,
}

/// Those that wait, oldest first.
#[derive(Debug, Default)]
pub struct Standbys {
    waiting: Mutex<VecDeque<Standby>>,
    taken: Notify,
}

impl Standbys {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Standby>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that still waits and can hold such a plan.
    fn take(&self, plan: &SandboxPlan) -> Option<Standby> {
        let mut waiting = self.waiting();
        let taken = std::iter::from_fn(|| waiting.pop_front())
            .find(|standby| standby.cage.is_alive() && standby.unwritten.meets(Needs::of(plan)));
        self.taken.notify_one();
        taken
    }
}

impl Host {
    /// Has as many begun as shall wait. Whoever owns their making calls this, and then [`stand_by`](Self::stand_by). What
    /// fails is not said: a run that meets the same says so.
    pub async fn fill_standbys(&self) -> Result<(), PrepareError> {
        let files = self.languages.iter().map(|installed| self.plan_for(&installed.runtime).files()).max();
        let needs = Needs { files: files.unwrap_or_default(), launchers: 1 };
        while self.standbys.waiting().len() < WAITING {
            let standby = begin(self, needs).await?;
            self.standbys.waiting().push_back(standby);
        }
        Ok(())
    }

    /// Replaces each that is taken, for as long as it is polled.
    pub async fn stand_by(&self) {
        loop {
            let taken = self.standbys.taken.notified();
            if self.fill_standbys().await.is_ok() {
                taken.await;
            } else {
                tokio::time::timeout(AGAIN, taken).await.ok();
            }
        }
    }

    /// Ends those that wait: no run will come, and nobody makes any.
    pub async fn stand_down(&self) {
        let waiting = std::mem::take(&mut *self.standbys.waiting());
        for standby in waiting {
            standby.cage.destroy().await;
        }
    }

    /// One that waited, or one begun now.
    pub(crate) async fn begun(&self, plan: &SandboxPlan) -> Result<Standby, PrepareError> {
        match self.standbys.take(plan) {
            Some(standby) => Ok(standby),
            None => begin(self, Needs::of(plan)).await,
        }
    }
}

async fn begin(host: &Host, needs: Needs) -> Result<Standby, PrepareError> {
    let (mut spawn, unwritten, wires, outputs) = laid(host, needs)?;
    let leaf = host.cgroups.as_ref().map(Cgroups::leaf).transpose();
    let leaf = leaf.map_err(PrepareError::io(Stage::Cgroup, "cannot make a cgroup for it"))?;
    spawn.detour = host.cgroups.as_ref().zip(leaf.as_ref()).and_then(|(cgroups, leaf)| cgroups.detour(leaf));
    let born_inside = spawn.detour.is_some();
    let (mut cage, pid) = start(host, spawn).await?;
    match leaf {
        Some(leaf) if born_inside => cage.keep(leaf),
        // While it waits for its arguments: whatever it starts after that is in it, too.
        Some(leaf) => {
            let joined = tokio::task::spawn_blocking(move || cage.confine(leaf).map(|()| cage));
            let joined = joined.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
            cage = joined.map_err(PrepareError::io(Stage::Cgroup, "cannot move it into its cgroup"))?;
        }
        None => {}
    }
    die_first(&cage, pid).await.map_err(PrepareError::io(Stage::Spawn, "cannot set its OOM score"))?;
    Ok(Standby { cage, wires, outputs, unwritten })
}

/// One that serves the daemon and runs no user code: it is in the daemon's own cgroup, and dies as late as the daemon.
/// It inherits `also`.
pub(crate) async fn begin_server(host: &Host, needs: Needs, also: OwnedFd) -> Result<Standby, PrepareError> {
    let (mut spawn, unwritten, wires, outputs) = laid(host, needs)?;
    spawn.inherit.push(also);
    let (cage, _pid) = start(host, spawn).await?;
    Ok(Standby { cage, wires, outputs, unwritten })
}

fn laid(host: &Host, needs: Needs) -> Result<(Spawn, Unwritten, Wires, Outputs), PrepareError> {
    wires::lay(host, needs).map_err(PrepareError::io(Stage::Spawn, "cannot make its pipes"))
}

async fn start(host: &Host, spawn: Spawn) -> Result<(Cage, u32), PrepareError> {
    let (answer, spawned) = oneshot::channel::<io::Result<Child>>();
    host.spawner.spawn(spawn, move |child| drop(answer.send(child)));
    let child = spawned
        .await
        .unwrap_or_else(|_gone| Err(io::Error::other("the spawner thread is gone")))
        .map_err(PrepareError::io(Stage::Spawn, &format!("cannot start {}", host.bwrap.display())))?;
    let pid = child.pid();
    let cage = Cage::adopt(child).map_err(PrepareError::io(Stage::Spawn, "cannot watch bubblewrap"))?;
    Ok((cage, pid))
}

/// Everything in the sandbox inherits the score. Set from outside, because inside `/proc` may be read-only.
async fn die_first(cage: &Cage, bwrap: u32) -> io::Result<()> {
    let deadline = Instant::now() + EXECUTED;
    loop {
        match std::fs::write(format!("/proc/{bwrap}/oom_score_adj"), OOM_SCORE) {
            // Who takes it says why.
            Err(_gone) if !cage.is_alive() => return Ok(()),
            Err(_) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            written => return written,
        }
    }
}
