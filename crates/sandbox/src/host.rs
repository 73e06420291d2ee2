//! What this host can do, as far as sandboxes are built from it. Filled in once, at start, by `probe.rs`.

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use linux::spawn::Spawner;

use crate::bwrap::obstacle::Obstacle;
use crate::cgroup::{Cgroups, Unavailable};
use crate::fork_server::ForkServers;
use crate::limits::Bytes;
use crate::program::Language;
use crate::runtimes::Runtime;
use crate::seccomp::Filters;
use crate::standby::Standbys;

/// How `/proc` looks inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcView {
    /// Its own: only the sandbox's processes.
    Private,
    /// The container's, read-only: other processes' names are visible, their memory and environment are not.
    Shared,
}

/// Who forbids new user namespaces inside, besides the system call filter, which always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserNamespaces {
    /// The kernel: their number is limited to none.
    Disabled,
    LeftToSeccomp,
}

/// Who holds a run to its memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKeeper {
    /// The kernel, in a cgroup of the run's own: everything is charged to it.
    Cgroup(CgroupVersion),
    /// This daemon, looking again and again. What it cannot see must not be had.
    Watcher,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    V1,
    V2,
}

/// What is in force for every sandbox of this daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    pub proc: ProcView,
    pub user_namespaces: UserNamespaces,
    pub memory: MemoryKeeper,
    /// bubblewrap can bind what a descriptor names.
    pub binds_descriptors: bool,
}

/// How a directory beside `/usr` is given to the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    Link(PathBuf),
    Directory,
}

/// What plans are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// What the caller may send at most.
    pub largest_job: Bytes,
    pub layout: Vec<(PathBuf, Layout)>,
    pub capabilities: Capabilities,
    pub filters: Filters,
}

/// A language that has been seen to work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    pub runtime: Runtime,
    pub version: String,
}

/// Everything about this host that sandboxes are built from. Made once, at start.
#[derive(Debug)]
pub struct Host {
    pub spawner: Spawner,
    pub bwrap: PathBuf,
    pub bwrap_version: String,
    /// As `uname -r` prints it.
    pub kernel: String,
    /// This very program, opened before root was given up: its path may be unreachable since.
    pub launcher: OwnedFd,
    pub facts: HostFacts,
    /// Where runs get cgroups; `None` where memory is watched instead.
    pub cgroups: Option<Cgroups>,
    pub languages: Vec<Installed>,
    pub standbys: Standbys,
    pub forks: ForkServers,
    /// What could not be had, and is not needed.
    pub shortfalls: Vec<Shortfall>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortfall {
    Obstacle(Obstacle),
    Cgroup(Unavailable),
    Language { language: Language, why: String },
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Obstacle(obstacle) => obstacle.fmt(f),
            Self::Cgroup(why) => write!(
                f,
                "the kernel does not hold the memory of runs: {why}; this daemon watches it instead"
            ),
            Self::Language { language, why } => write!(f, "{} is not available: {why}", language.name()),
        }
    }
}

impl Host {
    /// Why no sandbox can be built any more, where that can be seen without building one.
    ///
    /// A file that was removed, or replaced by another under its name, can still be held but no longer be mounted.
    pub fn trouble(&self) -> Option<String> {
        let launcher = std::fs::File::from(self.launcher.try_clone().ok()?);
        let removed = launcher.metadata().is_ok_and(|file| file.nlink() == 0);
        removed.then(|| "the executor's program was replaced or removed; restart the executor".to_owned())
    }

    pub fn language(&self, language: Language) -> Option<&Installed> {
        self.languages.iter().find(|installed| installed.runtime.language == language)
    }
}

/// Does `/proc` tell of this process's own pid namespace? Processes are found in it and signalled by their numbers there: of
/// another namespace, these would be somebody else.
pub(crate) fn proc_is_ours() -> bool {
    let this = std::process::id().to_string();
    std::fs::read_link("/proc/self").is_ok_and(|own| own.as_os_str() == this.as_str())
}
