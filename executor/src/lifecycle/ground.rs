//! The first steps of the process: what only root can do, and then being root no longer, for good.
//!
//! Root keeps power over `/proc/sys` and is not bound by process limits, so the daemon never serves as root. It is called
//! before any thread exists and cannot be undone.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use linux::identity::{self, Identity};
use sandbox::cgroup::{self, Claim, Unavailable};
use sandbox::probe;

use crate::config::{Config, Origin};

/// What is left of having been root.
#[derive(Debug)]
pub struct Ground {
    /// This program, which becomes the launcher inside. Its path may be out of reach from now on.
    pub launcher: OwnedFd,
    /// Where runs may have cgroups.
    pub cgroups: Result<Claim, Unavailable>,
}

#[derive(Debug, thiserror::Error)]
pub enum GroundError {
    #[error(
        "cannot open this program to start it inside sandboxes: {0}; /proc must be mounted in this container"
    )]
    Launcher(#[source] io::Error),
    #[error(
        "started as root, but without the capabilities that becoming user {} takes ({}): start it as that user, docker run --user {}:{}",
        to.uid, lacking.join(", "), to.uid, to.gid
    )]
    RootInNameOnly { to: Identity, lacking: Vec<&'static str> },
    #[error("cannot prepare {} for user {}: {source}; create it, owned by {}, or choose another", path.display(), owner.uid, owner.uid)]
    Directory { path: PathBuf, owner: Identity, source: io::Error },
    #[error("cannot become user {}: {source}; start the daemon as that user, or set EXECUTOR_RUN_AS", to.uid)]
    Become { to: Identity, source: io::Error },
    #[error("cannot hide this process's memory from others: {0}")]
    Hide(#[source] io::Error),
}

impl Ground {
    /// For a second try at what takes it.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { launcher: self.launcher.try_clone()?, cgroups: self.cgroups.clone() })
    }
}

/// Makes the daemon's directories its own and gives up root.
pub fn settle(config: &Config) -> Result<Ground, GroundError> {
    let launcher = probe::open_launcher().map_err(GroundError::Launcher)?;
    let owner = if identity::is_root() {
        Identity { uid: config.run_as.uid, gid: config.run_as.gid }
    } else {
        identity::current()
    };
    if identity::is_root() {
        // Where that cannot be told, becoming another tells.
        let lacking = identity::lacks_of_root().unwrap_or_default();
        if !lacking.is_empty() {
            return Err(GroundError::RootInNameOnly { to: owner, lacking });
        }
    }
    let cgroups = cgroup::claim(owner);
    if identity::is_root() {
        // A workspace that somebody chose and that is not there is a mistake of theirs: found and named later.
        let make_workspace = match config.workspace_origin {
            Origin::Default => Some(&config.workspace_path),
            Origin::Explicit => None,
        };
        for path in [Some(&config.sessions_path), make_workspace].into_iter().flatten() {
            make(path).map_err(|source| GroundError::Directory { path: path.clone(), owner, source })?;
        }
        for path in [&config.workspace_path, &config.sessions_path] {
            give(path, owner).map_err(|source| GroundError::Directory {
                path: path.clone(),
                owner,
                source,
            })?;
        }
        // Runs go on without it, and the outbox, which tries again as that user, says what is wrong.
        make(&config.results_dir).and_then(|()| give(&config.results_dir, owner)).ok();
        identity::become_for_good(owner).map_err(|source| GroundError::Become { to: owner, source })?;
    }
    identity::hide_memory().map_err(GroundError::Hide)?;
    Ok(Ground { launcher, cgroups })
}

fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(0o700).create(path)
}

fn give(path: &Path, owner: Identity) -> io::Result<()> {
    match identity::give(path, owner) {
        // Missing or read-only: what is wrong with it is said better where it is opened.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem) => {
            Ok(())
        }
        given => given,
    }
}
