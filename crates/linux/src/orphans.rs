//! The duty of process 1: in its pid namespace every process whose parent has ended becomes its child, and stays a zombie until
//! it is reaped (pid_namespaces(7)). Processes that others start in the daemon's container end up here.
//!
//! ```text
//!            ┌──────────────── SIGCHLD ◄───────────────┐
//!            ▼                                         │ none
//! start ──► look at the first child that has ended ────┤
//!            ▲ ▲                │                      │ it has an owner
//!            │ └── reaped ◄─────┘ it has none          │
//!            └─────── SIGCHLD, or a moment later ◄─────┘
//! ```
//!
//! One task owns all this and never ends. It takes nobody's child: see `children.rs`.
//!
//! The kernel shows children that have ended only from the first on (waitid(2)), so one that has an owner hides those behind
//! it. Its owner, who was woken by the same death, is about to reap it; until then it is looked at again and again.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::children::{Forks, ended};

/// How long an orphan may stay behind a child that its owner has not reaped yet.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Whether orphans come to this process. (They also do if it asked for them, prctl(2), `PR_SET_CHILD_SUBREAPER`.)
pub fn is_process_one() -> bool {
    std::process::id() == 1
}

/// The orphans that come to this process.
#[derive(Debug)]
pub struct Orphans {
    deaths: Signal,
}

/// What the first child that has ended is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    None,
    Reaped,
    HasOwner,
}

impl Orphans {
    /// From here on no death goes unnoticed. Needs the tokio runtime.
    ///
    /// # Errors
    /// When the signal cannot be listened for.
    pub fn adopt() -> io::Result<Self> {
        Ok(Self { deaths: signal(SignalKind::child())? })
    }

    /// Reaps every orphan that has ended, or ever does.
    pub async fn reap(mut self) -> Infallible {
        loop {
            match reap_first() {
                // Signals that are pending together are one: only looking tells how many have ended.
                First::Reaped => tokio::task::yield_now().await,
                First::None => drop(self.deaths.recv().await),
                First::HasOwner => drop(tokio::time::timeout(LOOK_AGAIN, self.deaths.recv()).await),
            }
        }
    }
}

/// Looks at the first child that has ended, and reaps it if it has no owner.
fn reap_first() -> First {
    let forks = Forks::hold();
    match ended(libc::P_ALL, 0, libc::WNOWAIT) {
        None => First::None,
        Some(pid) if forks.has_owner(pid) => First::HasOwner,
        Some(pid) => {
            // Whether it is gone or somebody else was faster: look again.
            ended(libc::P_PID, pid, 0);
            First::Reaped
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::children::Child;
    use crate::pidfd::WaitStatus;

    #[test]
    fn a_child_that_ends_while_it_is_being_started_is_not_taken_for_an_orphan() {
        let over = AtomicBool::new(false);
        let ended = thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    reap_first();
                    thread::yield_now();
                }
            });
            let child = Child::start(|| {
                #[expect(clippy::disallowed_methods, reason = "a start of its own, to stop in the middle of")]
                let child = Command::new("/bin/sh").args(["-c", "exit 7"]).spawn()?;
                // Time for it to end, and for the mistake to be made.
                thread::sleep(Duration::from_millis(100));
                Ok(child.id())
            });
            let ended = child.and_then(Child::reap);
            over.store(true, Ordering::Relaxed);
            ended
        });
        assert_eq!(ended.unwrap().0, WaitStatus::Exited(7));
    }
}
