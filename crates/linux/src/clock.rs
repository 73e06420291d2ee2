//! The CPU clock of another process.

use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// CPU time of a whole process, all its threads, to the nanosecond (clock_getcpuclockid(3)).
///
/// # Errors
/// `ESRCH` when it has ended.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?);
    let clock = ClockId::pid_cpu_clock_id(pid)?;
    Ok(Duration::from(clock_gettime(clock)?))
}
