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
    Identity { uid: getuid().as_raw(), gid: getgid().as_raw() }
}

pub fn is_root() -> bool {
    getuid().is_root() || Uid::effective().is_root()
}

/// The capabilities that giving directories away and becoming another user take, by their names in capabilities(7).
const OF_ROOT: [(&str, u32); 4] =
    [("CAP_CHOWN", 0), ("CAP_DAC_OVERRIDE", 1), ("CAP_SETGID", 6), ("CAP_SETUID", 7)];

/// Root may be root in name only: `docker run --user 0 --cap-drop ALL`. What this process lacks to do what only root can, and to
/// stop being root.
pub fn lacks_of_root() -> io::Result<Vec<&'static str>> {
    lacks_in("/proc/self/status")
}

fn lacks_in(status: &str) -> io::Result<Vec<&'static str>> {
    let status = std::fs::read_to_string(status)?;
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = held.and_then(|held| u64::from_str_radix(held.trim(), 16).ok());
    let held = held.ok_or_else(|| io::Error::other("/proc/self/status does not tell the capabilities"))?;
    Ok(OF_ROOT.into_iter().filter(|(_, bit)| held & (1 << bit) == 0).map(|(name, _)| name).collect())
}

/// The highest capability that this kernel knows.
pub fn last_capability() -> io::Result<u32> {
    let number = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")?;
    number.trim().parse().map_err(io::Error::other)
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

/// Runs `work` in a thread of its own that is `identity`, while the rest of the process stays who it is. For tests: file
/// permissions do not bind root, and tests about them must not depend on who runs them.
///
/// The kernel keeps credentials per thread, and the raw system calls change only the caller's (glibc's functions change all
/// threads'). The thread never changes back: it ends. It is no protection against hostile code, which could take over
/// another thread. Where the process is not root already, `work` runs as who it is.
///
/// # Errors
/// The kernel did not allow the change; `work` has not run. A panic in `work` goes on in the caller.
pub fn in_a_thread_as<T: Send>(identity: Identity, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| {
            if is_root() {
                become_in_this_thread(identity)?;
            }
            Ok(work())
        });
        ended.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn become_in_this_thread(Identity { uid, gid }: Identity) -> io::Result<()> {
    let none = std::ptr::null::<libc::gid_t>();
    // SAFETY: setgroups(2) reads as many ids as it is told there are: none.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, none) })?;
    // SAFETY: setresgid(2) takes three numbers, and touches no memory.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: setresuid(2), likewise.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

fn check(returned: libc::c_long) -> io::Result<()> {
    match returned {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives a directory (not what is in it) to `identity`.
pub fn give(path: &Path, identity: Identity) -> io::Result<()> {
    Ok(chown(path, Some(Uid::from_raw(identity.uid)), Some(Gid::from_raw(identity.gid)))?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_somebody_else_while_the_others_stay_who_they_are() {
        let before = current();
        let ordinary = Identity { uid: 1000, gid: 1000 };
        let inside = in_a_thread_as(ordinary, current).unwrap();
        assert_eq!(inside, if before.uid == 0 { ordinary } else { before });
        assert_eq!(current(), before);
    }

    #[test]
    fn root_lacks_nothing_of_root_and_an_ordinary_user_everything() {
        let ordinary = Identity { uid: 1000, gid: 1000 };
        let lacks = in_a_thread_as(ordinary, || {
            // `/proc/self` is the first thread's, `/proc/thread-self` this one's.
            lacks_in("/proc/thread-self/status")
        });
        assert_eq!(lacks.unwrap().unwrap(), OF_ROOT.map(|(name, _)| name));
        if is_root() {
            assert_eq!(lacks_of_root().unwrap(), Vec::<&str>::new());
        }
    }

    #[test]
    #[should_panic(expected = "in there")]
    fn a_panic_in_such_a_thread_is_the_callers() {
        in_a_thread_as(current(), || panic!("in there")).unwrap();
    }
}
