//! Sandboxes that outlived a daemon: found and ended by the next one.
//!
//! bubblewrap's child waits for its parent before it does anything, and ties its life to it only after that. A daemon that is
//! killed in between takes the parent with it and leaves the child waiting for ever, as nobody's. Where the daemon is process 1
//! of its container the kernel ends it all the same; elsewhere this does.
//!
//! Only what cannot be anything else is ended: a process of this user, the first of its pid namespace, started as we start
//! bubblewrap, whose parent is not bubblewrap any more.

use std::path::Path;

use linux::pidfd::PidFd;
use procfs::process::{Process, all_processes};

use crate::paths::LAUNCHER_PATH;

/// How many there were. Never fails: what cannot be looked at is not ours.
pub(crate) fn end(bwrap: &Path) -> usize {
    let Ok(processes) = all_processes() else { return 0 };
    processes.flatten().filter(|process| end_if_stray(process, bwrap)).count()
}

fn end_if_stray(process: &Process, bwrap: &Path) -> bool {
    let stray = || is_stray(process, bwrap).unwrap_or(false);
    let Ok(pid) = u32::try_from(process.pid) else { return false };
    // Looked at again once it is held: the number could have been given to another process in between.
    stray() && PidFd::open(pid).is_ok_and(|held| stray() && held.kill().is_ok())
}

fn is_stray(process: &Process, bwrap: &Path) -> procfs::ProcResult<bool> {
    let status = process.status()?;
    let ours = status.euid == linux::identity::current().uid;
    let first_of_its_namespace =
        status.nspid.as_ref().is_some_and(|pids| pids.len() > 1 && pids.last() == Some(&1));
    if !ours || !first_of_its_namespace {
        return Ok(false);
    }
    let command = process.cmdline()?;
    let as_we_start_it = command.first().is_some_and(|program| Path::new(program) == bwrap)
        && command.iter().any(|argument| argument == LAUNCHER_PATH);
    // The parent of a sandbox's first process is bubblewrap, as long as it lives.
    let parent = Process::new(status.ppid)?.stat()?.comm;
    Ok(as_we_start_it && Some(parent.as_str()) != bwrap.file_name().and_then(|name| name.to_str()))
}
