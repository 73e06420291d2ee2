//! The processes of one sandbox, from the daemon's side: the init of its pid namespace, and bubblewrap outside.
//!
//! ```text
//! Adopted (bubblewrap runs) ── adopt_init ──► Whole (init known) ── kill / by itself ──► Over (init gone) ── reaped
//!                     forked (no bubblewrap) ──►┘
//! ```
//!
//! Killing init kills every process of the sandbox, in the kernel, whatever they do. bubblewrap ends when init has, and is
//! this daemon's child, so it must be reaped; where a fork server made the sandbox, init is that server's child, and it reaps.
//! Dropping a cage at any point kills it and leaves the reaping to a task.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use linux::children::Child;
use linux::pidfd::{ChildUsage, PidFd};

use crate::cgroup::{Charged, Leaf};
use crate::fork_server::ForkServer;
use crate::limits::Limits;
use crate::runtimes::Rlimits;
use crate::usage::Resting;

/// The kernel takes milliseconds to end a pid namespace; longer means a process stuck in a device or file system.
const DEATH_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Cage {
    bwrap: Option<Bwrap>,
    /// Who made it instead: its end is the sandbox's, too.
    server: Option<Arc<ForkServer>>,
    init: Option<PidFd>,
    /// Removed when everything above is over.
    leaf: Option<Leaf>,
}

/// What the kernel says of a sandbox that is over.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    /// `None` where no bubblewrap counted it.
    pub(crate) usage: Option<ChildUsage>,
    /// `None` where the run had no cgroup.
    pub(crate) charged: Option<Charged>,
}

/// A sandbox whose program has stopped for good: all that is to be done is to free what it holds. Dropping it does that, too.
#[derive(Debug)]
pub struct Remains {
    cage: Cage,
    resting: Resting,
}

impl Remains {
    /// Nothing in it has run since it was seen at rest.
    pub fn rests(&self) -> bool {
        self.resting.is_true()
    }

    /// Kills it, and waits until the kernel is done with it.
    pub async fn end(self) {
        self.cage.destroy().await;
    }
}

#[derive(Debug)]
struct Bwrap {
    child: Child,
    fd: PidFd,
}

impl Cage {
    pub(crate) fn adopt(child: Child) -> io::Result<Self> {
        let fd = PidFd::open(child.pid())?;
        Ok(Self { bwrap: Some(Bwrap { child, fd }), server: None, init: None, leaf: None })
    }

    /// One that a fork server made.
    pub(crate) fn forked(server: Arc<ForkServer>, init: PidFd) -> Self {
        Self { bwrap: None, server: Some(server), init: Some(init), leaf: None }
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.server.is_some()
    }

    /// Takes over the cgroup that its first process is in.
    pub(crate) fn keep(&mut self, leaf: Leaf) {
        self.leaf = Some(leaf);
    }

    /// Moves bubblewrap, which has no children yet, into a cgroup. The kernel may take its time: this blocks.
    pub(crate) fn confine(&mut self, leaf: Leaf) -> io::Result<()> {
        let leaf = self.leaf.insert(leaf);
        self.bwrap.as_ref().map_or(Ok(()), |bwrap| leaf.join(bwrap.child.pid()))
    }

    /// Sets what the run may use, where the kernel holds it to that.
    pub(crate) fn limit(&mut self, limits: &Limits, rlimits: &Rlimits) -> io::Result<()> {
        self.leaf.as_mut().map_or(Ok(()), |leaf| leaf.limit(limits.memory, rlimits.processes))
    }

    /// Neither bubblewrap nor the fork server that made it, nor the sandbox's init, where it is known, has ended.
    pub(crate) fn is_alive(&self) -> bool {
        self.bwrap.as_ref().is_none_or(|bwrap| !bwrap.fd.has_ended())
            && self.server.as_ref().is_none_or(|server| server.is_alive())
            && self.init.as_ref().is_none_or(|init| !init.has_ended())
    }

    /// What the kernel has counted so far, where it counts.
    pub(crate) fn charged(&self) -> Option<Charged> {
        self.leaf.as_ref().map(Leaf::charged)
    }

    /// Takes hold of the sandbox's init.
    ///
    /// # Errors
    /// When it has ended already. The number comes from bubblewrap, its parent; that the process we got hold of is still its
    /// child shows that the number was not given to another one in between.
    pub(crate) fn adopt_init(&mut self, pid: u32) -> io::Result<()> {
        let fd = PidFd::open(pid)?;
        let stat = procfs::process::Process::new(i32::try_from(pid).map_err(io::Error::other)?)
            .and_then(|process| process.stat())
            .map_err(io::Error::other)?;
        let parent = self.bwrap.as_ref().map(|bwrap| i64::from(bwrap.child.pid()));
        if parent != Some(i64::from(stat.ppid)) {
            return Err(io::Error::other("the sandbox's first process is gone"));
        }
        self.init = Some(fd);
        Ok(())
    }

    /// Ends when every process of the sandbox is dead.
    pub async fn over(&self) -> io::Result<()> {
        match &self.init {
            Some(init) => init.ended().await,
            None => Ok(()),
        }
    }

    /// SIGKILL for everything inside, at once.
    pub fn kill(&self) -> io::Result<()> {
        if let Some(leaf) = &self.leaf {
            leaf.kill();
        }
        match (&self.init, &self.bwrap) {
            (Some(init), _) => init.kill(),
            (None, Some(bwrap)) => bwrap.fd.kill(),
            (None, None) => Ok(()),
        }
    }

    /// Waits for the end and reaps. What everything in it used, or `None` if it could not be learnt.
    pub(crate) async fn reap(mut self) -> Option<Account> {
        let waited = tokio::time::timeout(DEATH_DEADLINE, async {
            self.over().await?;
            match &self.bwrap {
                Some(bwrap) => bwrap.fd.ended().await,
                None => Ok(()),
            }
        });
        match waited.await {
            Ok(Ok(())) => {
                // Where this daemon is process 1, the sandbox's init became its child when its parent ended before it.
                if let Some(init) = self.init.take() {
                    init.reap_if_ours();
                }
                let charged = self.charged();
                let reaped = self.bwrap.take().map(|bwrap| bwrap.child.reap()).transpose().ok()?;
                Some(Account { usage: reaped.map(|(_, usage)| usage), charged })
            }
            Ok(Err(_)) | Err(_) => {
                tracing::error!(error = "processes of a sandbox did not end", "cleanup_failed");
                None
            }
        }
    }

    /// Leaves its end to whoever has time for it.
    pub(crate) fn leave(self, resting: Resting) -> Remains {
        Remains { cage: self, resting }
    }

    /// Kills and reaps.
    pub async fn destroy(self) {
        if let Err(error) = self.kill() {
            tracing::error!(%error, "cleanup_failed");
        }
        self.reap().await;
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let (bwrap, init) = (self.bwrap.take(), self.init.take());
        if bwrap.is_none() && init.is_none() {
            return;
        }
        let (server, leaf) = (self.server.take(), self.leaf.take());
        let killed = init.as_ref().map_or(Ok(()), PidFd::kill);
        let killed = killed.and(bwrap.as_ref().map_or(Ok(()), |bwrap| bwrap.fd.kill()));
        if let Err(error) = killed {
            tracing::error!(%error, "cleanup_failed");
        }
        // Outside a runtime (the daemon is exiting) nobody is left to collect it, and nobody needs to.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Some(bwrap) = bwrap
                    && bwrap.fd.ended().await.is_ok()
                {
                    drop(bwrap.child.reap());
                }
                if let Some(init) = init
                    && init.ended().await.is_ok()
                {
                    init.reap_if_ours();
                }
                drop((leaf, server));
            });
        }
    }
}
