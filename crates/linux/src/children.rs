//! Which children of this process somebody waits for.
//!
//! ```text
//! fork ──► Child (owned) ── reap ──► gone
//!                 └──────── drop ──► nobody's: an orphan, for `orphans.rs` where that runs
//! ```
//!
//! A process can have children it never started: orphans that it inherits. Whoever reaps those must not take the exit status
//! of a child that has an owner. So every child that is started here is entered in a list of this process.
//!
//! Invariant: whoever holds [`Forks`] sees every owned child in the list. Owners never need it: they only take themselves off
//! the list, after they have reaped. A number can be given to the next child before its last owner has done so; therefore it
//! is counted, and owned until the last of them is gone.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::pidfd::{self, ChildUsage, WaitStatus};

static FORKS: Mutex<()> = Mutex::new(());
static OWNERS: Mutex<BTreeMap<u32, usize>> = Mutex::new(BTreeMap::new());

/// A child that was started and not reaped yet. Dropping it gives the process up, alive or not; it does not end it.
#[derive(Debug)]
pub struct Child {
    pid: u32,
}

impl Child {
    /// Enters what `fork` starts before anybody can take it for an orphan. A child that `fork` itself waits for, because it
    /// could not be executed, is as safe.
    pub(crate) fn start(fork: impl FnOnce() -> io::Result<u32>) -> io::Result<Self> {
        let _no_reaper_looks = Forks::hold();
        let pid = fork()?;
        *owners().entry(pid).or_default() += 1;
        Ok(Self { pid })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end, which blocks, and reaps it.
    pub fn reap(self) -> io::Result<(WaitStatus, ChildUsage)> {
        pidfd::reap(self.pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let mut owners = owners();
        if let Some(count) = owners.get_mut(&self.pid) {
            *count -= 1;
            if *count == 0 {
                owners.remove(&self.pid);
            }
        }
    }
}

/// While it is held no child is started.
#[derive(Debug)]
pub(crate) struct Forks {
    _held: MutexGuard<'static, ()>,
}

impl Forks {
    pub(crate) fn hold() -> Self {
        Self { _held: FORKS.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Whether somebody waits for this child, or has only just ceased to.
    pub(crate) fn has_owner(&self, pid: u32) -> bool {
        owners().contains_key(&pid)
    }
}

/// Every change to it is one call that does not panic.
fn owners() -> MutexGuard<'static, BTreeMap<u32, usize>> {
    OWNERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child that has ended, if there is one; which ones count say `which` and `id` (waitid(2)). It is reaped, unless `options`
/// say otherwise.
pub(crate) fn ended(which: libc::idtype_t, id: libc::id_t, options: libc::c_int) -> Option<u32> {
    // SAFETY: all-zero is a valid siginfo_t, a struct of integers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live, writable local of the right type.
    let result = unsafe { libc::waitid(which, id, &mut info, libc::WEXITED | libc::WNOHANG | options) };
    // It only fails where there is no such child, ended or not (ECHILD).
    if result == -1 {
        return None;
    }
    // SAFETY: waitid has filled in the fields of a SIGCHLD; where nobody has ended the pid is zero (waitid(2)).
    let pid = unsafe { info.si_pid() };
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}
