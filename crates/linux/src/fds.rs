//! Descriptors: pipes, sealed memory files, and who inherits them.
//!
//! Everything made here is close-on-exec. A descriptor becomes inheritable in one place only, `spawn.rs`, for the moment of
//! one fork.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A pipe, reading end first.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// Asks for a larger pipe buffer. Only speed depends on it, so a refusal (the user's share is used up) is not an error.
pub fn widen_pipe(pipe: impl AsFd, bytes: i32) {
    if let Err(errno) = fcntl(pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(bytes)) {
        debug_assert!(matches!(errno, nix::Error::EPERM | nix::Error::EBUSY), "F_SETPIPE_SZ: {errno}");
    }
}

/// What is in a pipe now, or as much of it as the buffer holds. Does not wait.
pub fn read_now(pipe: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let most = unread(&pipe)?.min(buffer.len());
    if most == 0 { Ok(0) } else { Ok(nix::unistd::read(pipe, &mut buffer[..most])?) }
}

/// How many bytes wait in a pipe.
pub fn unread(pipe: impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, to a live local of that type; the descriptor is open for as long as it is borrowed.
    let result = unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        usize::try_from(bytes).map_err(io::Error::other)
    }
}

pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

pub(crate) fn set_inheritable(fd: BorrowedFd<'_>, inheritable: bool) -> io::Result<()> {
    let flag = if inheritable { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(fd, FcntlArg::F_SETFD(flag))?;
    Ok(())
}

/// A file without a name that is written once: whoever has a [`reader`](Self::reader) sees what it is filled with.
#[derive(Debug)]
pub struct Blank(File);

impl Blank {
    pub fn new(name: &str) -> io::Result<Self> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        Ok(Self(File::from(fd)))
    }

    /// A description of its own, at offset zero: two readers of one description would move each other's offset.
    pub fn reader(&self) -> io::Result<OwnedFd> {
        Ok(File::open(format!("/proc/self/fd/{}", self.0.as_raw_fd()))?.into())
    }

    /// Nobody can change it afterwards.
    pub fn fill(mut self, content: &[u8]) -> io::Result<()> {
        self.0.write_all(content)?;
        let seals =
            SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
        fcntl(&self.0, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(())
    }
}

/// `O_PATH` on a file or directory: names it for later, grants nothing.
pub fn open_path(path: &std::path::Path) -> io::Result<OwnedFd> {
    Ok(nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?)
}

/// Closes every descriptor above stderr but those in `keep`. Only for a process that owns no other descriptor yet: the
/// launcher, as its first act.
pub fn close_all_except(keep: &[RawFd]) -> io::Result<()> {
    let mut keep = keep.to_vec();
    keep.sort_unstable();
    let mut first = 3;
    for kept in keep {
        close_range(first, kept - 1)?;
        first = kept + 1;
    }
    close_range(first, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: close_range takes no pointers. That nothing in this process still uses these descriptors is the promise of
    // `close_all_except`'s caller.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes over the descriptor that was inherited under this number.
///
/// # Errors
/// `EBADF` when there is none.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrow lives for this one fcntl call, which checks the number and fails with EBADF if it is not open.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(inherited, FcntlArg::F_GETFD)?;
    // SAFETY: it is open, and inherited numbers are adopted once, by the launcher that was told them on its command line.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    set_inheritable(owned.as_fd(), false)?;
    Ok(owned)
}
