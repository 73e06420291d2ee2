//! Who the daemon is: dropping root for good, and hiding its memory.

use std::io;
use std::path::Path;

use nix::unistd::{Gid, Uid, chown, getgid, getuid, setgroups, setresgid, setresuid};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
}

pub fn current() -> Identity {
    Identity {
        uid: getuid().as_raw(),
        gid: getgid().as_raw(),
    }
}

pub fn is_root() -> bool {
    getuid().is_root() || Uid::effective().is_root()
}

/// Becomes `identity` for good: real, effective and saved ids, and no supplementary groups. The kernel drops all capabilities
/// with the last root id (capabilities(7)).
///
/// Only the calling thread's credentials are certain to change with the raw system calls; glibc changes all threads'. It is
/// called before any other thread exists all the same.
pub fn become_for_good(identity: Identity) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("the kernel let this process become root again"));
    }
    Ok(())
}

/// Gives a directory (not what is in it) to `identity`.
pub fn give(path: &Path, identity: Identity) -> io::Result<()> {
    Ok(chown(
        path,
        Some(Uid::from_raw(identity.uid)),
        Some(Gid::from_raw(identity.gid)),
    )?)
}

/// Nobody of the same user may read this process's memory or environment through /proc, nor trace it; no core is written.
pub fn hide_memory() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// Files made by this process get no more permissions than `mask` leaves.
pub fn set_umask(mask: u32) {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
}

/// Holds back every signal that can be held back, for a process that must outlive a `kill -TERM -1` of its neighbours.
pub fn block_signals() -> io::Result<()> {
    Ok(nix::sys::signal::SigSet::all().thread_block()?)
}
