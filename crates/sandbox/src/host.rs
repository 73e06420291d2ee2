//! What this host can do, as far as sandboxes are built from it. Filled in once, at start, by `probe.rs`.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use linux::spawn::Spawner;

use crate::bwrap::stderr::Obstacle;
use crate::limits::Bytes;
use crate::program::Language;
use crate::runtimes::Runtime;

/// How `/proc` looks inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcView {
    /// Its own: only the sandbox's processes.
    Private,
    /// The container's, read-only: other processes' names are visible, their memory and environment are not.
    Shared,
}

/// Who forbids new user namespaces inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserNamespaces {
    Disabled,
    LeftToSeccomp,
}

/// What is in force for every sandbox of this daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    pub proc: ProcView,
    pub user_namespaces: UserNamespaces,
    /// bubblewrap can bind a directory by descriptor.
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
    pub languages: Vec<Installed>,
    /// What could not be had, and is not needed.
    pub shortfalls: Vec<Shortfall>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortfall {
    Obstacle(Obstacle),
    Language { language: Language, why: String },
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Obstacle(obstacle) => obstacle.fmt(f),
            Self::Language { language, why } => write!(f, "{} is not available: {why}", language.name()),
        }
    }
}

impl Host {
    pub fn language(&self, language: Language) -> Option<&Installed> {
        self.languages.iter().find(|installed| installed.runtime.language == language)
    }
}
