//! A process named by a descriptor: it cannot turn into another process the way a number can.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::children::ended;

/// Readable once the process has ended.
#[derive(Debug)]
pub struct PidFd(AsyncFd<OwnedFd>);

/// What the kernel counted for a child and all descendants it had waited for (getrusage(2), `wait4`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChildUsage {
    pub cpu: Duration,
    /// Blocks of 512 bytes that reached the block layer.
    pub blocks_read: u64,
    pub blocks_written: u64,
    /// The largest resident set of any one process, bytes. A fresh child starts with its parent's figure.
    pub max_resident: u64,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitStatus {
    Exited(i32),
    Signaled(i32),
}

/// What a child was seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A signal stopped it, every thread of it: none is in a system call any more.
    Stopped,
    Ended(WaitStatus),
}

impl PidFd {
    /// Needs the tokio runtime, which will watch the descriptor.
    ///
    /// # Errors
    /// `ESRCH` when there is no such process (any more).
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two integers and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0u32) };
        let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us; pidfds are close-on-exec from birth.
        Self::watch(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// One that somebody else opened and sent. Needs the tokio runtime.
    ///
    /// # Errors
    /// When it is no such descriptor.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let number = number_behind(&fd)?;
        if number.is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no process"));
        }
        Self::watch(fd)
    }

    fn watch(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: an OwnedFd stays open and the same until it is dropped, and it is dropped with the AsyncFd.
        let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Self(watched.map_err(io::Error::from)?))
    }

    /// The process's number in this pid namespace.
    ///
    /// # Errors
    /// `NotFound` when it has ended and was reaped.
    pub fn pid(&self) -> io::Result<u32> {
        let number = number_behind(self.0.get_ref())?;
        number.and_then(|number| u32::try_from(number).ok()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Waits until the process has ended. It may still have to be reaped.
    pub async fn ended(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Whether the process has ended, as the kernel sees it now. It may still have to be reaped.
    pub fn has_ended(&self) -> bool {
        let mut watched = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: the one entry is ours and lives for the call, which does not wait.
        unsafe { libc::poll(&raw mut watched, 1, 0) == 1 }
    }

    /// SIGKILL. A process that has already ended is what was wanted, not an error.
    pub fn kill(&self) -> io::Result<()> {
        self.send(libc::SIGKILL)
    }

    /// SIGCONT: has it go on, if it was stopped. As [`kill`](Self::kill).
    pub fn go_on(&self) -> io::Result<()> {
        self.send(libc::SIGCONT)
    }

    fn send(&self, signal: libc::c_int) -> io::Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open for as long as `self` lives; a null siginfo means "as kill(2) would".
        let result =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal, no_info, 0u32) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
    }

    /// Reaps the process if it has ended and is a child of this one (it may have become one when its parent ended).
    pub fn reap_if_ours(&self) {
        if let Ok(fd) = libc::id_t::try_from(self.0.as_raw_fd()) {
            ended(libc::P_PIDFD, fd, 0);
        }
    }
}

/// What the kernel says of a descriptor for a process: its number here, -1 once it was reaped (proc(5), fdinfo).
fn number_behind(fd: &OwnedFd) -> io::Result<Option<i64>> {
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let number = told.lines().find_map(|line| line.strip_prefix("Pid:"));
    Ok(number.and_then(|number| number.trim().parse().ok()))
}

/// Waits for a child and reaps it. A child that came from a [`Spawner`](crate::spawn::Spawner) is reaped by
/// [`Child::reap`](crate::children::Child::reap).
///
/// # Errors
/// `ECHILD` when `pid` is not an unreaped child of this process.
pub fn reap(pid: u32) -> io::Result<(WaitStatus, ChildUsage)> {
    loop {
        if let (Change::Ended(status), usage) = wait(pid, 0)? {
            return Ok((status, usage));
        }
    }
}

/// Waits until a child has stopped, or ended and is reaped then.
///
/// # Errors
/// As [`reap`].
pub fn next_change(pid: u32) -> io::Result<(Change, ChildUsage)> {
    wait(pid, libc::WUNTRACED)
}

fn wait(pid: u32, options: libc::c_int) -> io::Result<(Change, ChildUsage)> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: all-zero is a valid rusage, a struct of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live, writable locals of the right type.
        let result = unsafe { libc::wait4(pid, &mut status, options, &mut usage) };
        if result == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let change = if libc::WIFSTOPPED(status) {
        Change::Stopped
    } else if libc::WIFSIGNALED(status) {
        Change::Ended(WaitStatus::Signaled(libc::WTERMSIG(status)))
    } else {
        Change::Ended(WaitStatus::Exited(libc::WEXITSTATUS(status)))
    };
    Ok((change, ChildUsage::from(&usage)))
}

impl From<&libc::rusage> for ChildUsage {
    fn from(usage: &libc::rusage) -> Self {
        let positive = |value: i64| u64::try_from(value).unwrap_or(0);
        let time = |value: libc::timeval| {
            Duration::from_secs(positive(value.tv_sec)) + Duration::from_micros(positive(value.tv_usec))
        };
        Self {
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            blocks_read: positive(usage.ru_inblock),
            blocks_written: positive(usage.ru_oublock),
            max_resident: positive(usage.ru_maxrss).saturating_mul(1024),
        }
    }
}
