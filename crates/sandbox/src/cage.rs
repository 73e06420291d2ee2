//! The processes of one sandbox, from the daemon's side: bubblewrap outside, and the init of the pid namespace inside.
//!
//! ```text
//! Adopted (bubblewrap runs) ── adopt_init ──► Whole (init known) ── kill / by itself ──► Over (init gone) ── reaped
//! ```
//!
//! Killing init kills every process of the sandbox, in the kernel, whatever they do. bubblewrap ends when init has, and is
//! this daemon's child, so it must be reaped. Dropping a cage at any point kills it and leaves the reaping to a task.

use std::io;
use std::time::Duration;

use linux::pidfd::{self, ChildUsage, PidFd};
/// The kernel takes milliseconds to end a pid namespace; longer means a process stuck in a device or file system.
const DEATH_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Cage {
    bwrap: Option<Bwrap>,
    init: Option<Init>,
}

#[derive(Debug)]
struct Init {
    pid: u32,
    fd: PidFd,
}

#[derive(Debug)]
struct Bwrap {
    pid: u32,
    fd: PidFd,
}

impl Cage {
    pub(crate) fn adopt(pid: u32) -> io::Result<Self> {
        Ok(Self { bwrap: Some(Bwrap { pid, fd: PidFd::open(pid)? }), init: None })
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
        let parent = self.bwrap.as_ref().map(|bwrap| i64::from(bwrap.pid));
        if parent != Some(i64::from(stat.ppid)) {
            return Err(io::Error::other("the sandbox's first process is gone"));
        }
        self.init = Some(Init { pid, fd });
        Ok(())
    }

    /// Ends when every process of the sandbox is dead.
    pub async fn over(&self) -> io::Result<()> {
        match &self.init {
            Some(init) => init.fd.ended().await,
            None => Ok(()),
        }
    }

    /// SIGKILL for everything inside, at once.
    pub fn kill(&self) -> io::Result<()> {
        match (&self.init, &self.bwrap) {
            (Some(init), _) => init.fd.kill(),
            (None, Some(bwrap)) => bwrap.fd.kill(),
            (None, None) => Ok(()),
        }
    }

    /// Waits for the end and reaps. What everything in it used, or `None` if it could not be learnt.
    pub async fn reap(mut self) -> Option<ChildUsage> {
        let waited = tokio::time::timeout(DEATH_DEADLINE, async {
            self.over().await?;
            match &self.bwrap {
                Some(bwrap) => bwrap.fd.ended().await,
                None => Ok(()),
            }
        });
        match waited.await {
            Ok(Ok(())) => {
                let bwrap = self.bwrap.take()?;
                // Where this daemon is process 1, the sandbox's init became its child when bubblewrap ended before it.
                if let Some(init) = self.init.take() {
                    pidfd::reap_if_ours(init.pid);
                }
                pidfd::reap(bwrap.pid).ok().map(|(_, usage)| usage)
            }
            Ok(Err(_)) | Err(_) => {
                tracing::error!(error = "processes of a sandbox did not end", "cleanup_failed");
                None
            }
        }
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
        let Some(bwrap) = self.bwrap.take() else { return };
        let init = self.init.take();
        let killed = init.as_ref().map_or(Ok(()), |init| init.fd.kill()).and(bwrap.fd.kill());
        if let Err(error) = killed {
            tracing::error!(%error, "cleanup_failed");
        }
        // Outside a runtime (the daemon is exiting) nobody is left to collect it, and nobody needs to.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if bwrap.fd.ended().await.is_ok() {
                    drop(pidfd::reap(bwrap.pid));
                }
                if let Some(init) = init
                    && init.fd.ended().await.is_ok()
                {
                    pidfd::reap_if_ours(init.pid);
                }
            });
        }
    }
}
