//! The one place in the benchmark where a process description begins.
//!
//! The daemon may start processes only through its sandbox thread; the benchmark is the outside observer and starts the
//! daemon and bare bubblewrap itself.

use std::{
    ffi::OsStr,
    os::unix::{fs::MetadataExt, process::CommandExt},
    process::Command,
};

/// The identity that the daemon takes when root starts it, and therefore the one the bare side gets too.
const SANDBOX_USER: u32 = 1000;

#[expect(
    clippy::disallowed_methods,
    reason = "the benchmark compares the daemon with processes that it starts itself, from outside"
)]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// The same, as an ordinary user: the daemon drops root, so a bare run that kept it would be another piece of work.
pub(crate) fn unprivileged_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = command(program);
    if running_as_root() {
        command.uid(SANDBOX_USER).gid(SANDBOX_USER);
    }
    command
}

/// Gives a directory to the user that [`unprivileged_command`] runs as.
pub(crate) fn hand_over(path: &std::path::Path) -> std::io::Result<()> {
    if running_as_root() {
        std::os::unix::fs::chown(path, Some(SANDBOX_USER), Some(SANDBOX_USER))?;
    }
    Ok(())
}

pub(crate) fn running_as_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
