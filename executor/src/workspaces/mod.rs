//! The directories that runs may use: the container's own, one per session, and new ones that are used once.
//!
//! ```text
//!   WORKSPACE_PATH/                    Container   made by the operator, opened once, never removed
//!   SESSIONS_PATH/<session id>/        Session     made by its first execution, never removed here
//!   SESSIONS_PATH/.fresh/<id>-<…>/     Fresh       made for one execution, removed by the janitor
//!   SESSIONS_PATH/.stale-<…>/          what an earlier daemon left in .fresh, removed by the janitor
//!
//!   a fresh one:   checkout ──► in use ──► released, nothing left ───────────────► removed
//!                                 ├──────► released, artifacts left ──► kept ────► removed after the retention
//!                                 └──────► dropped without a word ────► kept ────► removed after the retention
//!                                              (stop: all of them, at once)
//! ```
//!
//! [`Workspaces`] hands directories out and keeps nothing about who uses them; that two executions do not use one at the
//! same time is admission's business. The [`Janitor`] is one task that owns the queue of what is to be removed; it ends
//! when it is told to stop, after removing all fresh ones. One daemon per `SESSIONS_PATH`.
//!
//! Session ids start with a letter or digit, so no session is ever called `.fresh`. Nothing here writes into a workspace,
//! except for the probe at start, before anything hostile ran; all work goes through descriptors opened at start.

mod directories;
mod error;
mod janitor;
mod lease;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use linux::tree::{self, OpenError};
use tokio::sync::mpsc;

use crate::job::Place;
use directories::{Directories, FRESH, open_beneath};
use lease::Lease;

pub(crate) use directories::random_name;
pub use error::WorkspaceError;
pub use janitor::Janitor;
pub use lease::Left;

/// The first part of the name of a fresh workspace that has no execution yet. No execution is called so.
const WAITING: &str = ".waiting";

/// Hands out workspaces. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workspaces {
    directories: Arc<Directories>,
    retention: Duration,
    janitor: mpsc::UnboundedSender<janitor::Due>,
}

/// A directory for one execution. A fresh one is kept for the retention after this is dropped, or see
/// [`Workspace::release`].
#[derive(Debug)]
pub struct Workspace {
    /// `O_PATH`.
    pub dir: OwnedFd,
    pub path: PathBuf,
    pub place: Place,
    lease: Option<Lease>,
}

impl Workspace {
    /// Says that the execution is over, and whether anybody may want what it left.
    pub fn release(self, left: Left) {
        if let Some(lease) = self.lease {
            lease.end(left);
        }
    }
}

impl Workspaces {
    /// Checks the container's workspace, makes what is missing of the sessions' directory, and sets aside what an earlier
    /// daemon left. Spawn the janitor's `run`; until then nothing is removed.
    pub fn open(
        workspace_path: &Path,
        sessions_path: &Path,
        retention: Duration,
    ) -> Result<(Self, Janitor), WorkspaceError> {
        let directories = Arc::new(Directories::open(workspace_path, sessions_path)?);
        let (sender, due) = mpsc::unbounded_channel();
        let janitor = Janitor::new(Arc::clone(&directories), due);
        Ok((Self { directories, retention, janitor: sender }, janitor))
    }

    /// The directory for one execution, made where it is missing, open to its owner also where an earlier execution
    /// closed it. Takes a few system calls and waits for nobody.
    pub fn checkout(&self, place: &Place, execution_id: &str) -> Result<Workspace, WorkspaceError> {
        let (dir, path, lease) = match place {
            Place::Container => {
                (self.directories.container()?, self.directories.workspace_path.clone(), None)
            }
            Place::Session(id) => {
                let (dir, path) = self.directories.session(id)?;
                (dir, path, None)
            }
            Place::Fresh => {
                let (name, path) = self.fresh_name(execution_id)?;
                tree::make_dir_beneath(self.directories.fresh.as_fd(), OsStr::new(&name))
                    .map_err(|source| WorkspaceError::NotMade { path: path.clone(), source })?;
                // From here on it is removed on every path.
                let lease = Lease::new(execution_id, name.clone(), self.retention, self.janitor.clone());
                (open_beneath(self.directories.fresh.as_fd(), &name, &path)?, path, Some(lease))
            }
        };
        tree::restore_owner_access(dir.as_fd())
            .map_err(|source| WorkspaceError::Closed { path: path.clone(), source })?;
        Ok(Workspace { dir, path, place: place.clone(), lease })
    }

    /// Every workspace is one of these directories, or below one: real paths.
    pub fn roots(&self) -> Vec<PathBuf> {
        vec![self.directories.workspace_path.clone(), self.directories.sessions_path.clone()]
    }

    /// A directory for a sandbox that shall wait over it. Makes none for a session, and opens none to its owner: an execution
    /// that has closed it may be running.
    pub fn lay_ready(&self, place: &Place) -> Result<Workspace, WorkspaceError> {
        let (dir, path) = match place {
            Place::Container => (self.directories.container()?, self.directories.workspace_path.clone()),
            Place::Session(id) => self.directories.known_session(id)?,
            Place::Fresh => return self.checkout(place, WAITING),
        };
        Ok(Workspace { dir, path, place: place.clone(), lease: None })
    }

    /// What was [laid ready](Self::lay_ready), for this execution. Fails where a checkout would, and where that would be
    /// another directory by now.
    pub fn hand_over(&self, ready: Workspace, execution_id: &str) -> Result<Workspace, WorkspaceError> {
        let Workspace { dir, path, place, lease } = ready;
        let Some(mut lease) = lease else {
            let checked_out = self.checkout(&place, execution_id)?;
            let identity = |dir: &OwnedFd| {
                tree::identity(dir.as_fd())
                    .map_err(|source| WorkspaceError::Unusable { path: path.clone(), source })
            };
            return if identity(&dir)? == identity(&checked_out.dir)? {
                Ok(checked_out)
            } else {
                Err(WorkspaceError::Replaced { path })
            };
        };
        let (name, path) = self.fresh_name(execution_id)?;
        tree::rename_within(self.directories.fresh.as_fd(), OsStr::new(lease.name()), OsStr::new(&name))
            .map_err(|source| WorkspaceError::NotMade { path: path.clone(), source })?;
        lease.pass_to(execution_id, name);
        Ok(Workspace { dir, path, place, lease: Some(lease) })
    }

    fn fresh_name(&self, execution_id: &str) -> Result<(String, PathBuf), WorkspaceError> {
        let random = random_name().map_err(|source| self.not_made(source))?;
        let name = format!("{execution_id}-{random}");
        let path = self.directories.sessions_path.join(FRESH).join(&name);
        Ok((name, path))
    }

    /// The directory of an earlier execution, to read its artifacts. Makes nothing.
    ///
    /// `path` is what its [`Workspace`] had. [`WorkspaceError::Gone`] when it has been removed.
    pub fn reopen(&self, place: &Place, path: &Path) -> Result<OwnedFd, WorkspaceError> {
        let parent = match place {
            Place::Container => return self.directories.container(),
            Place::Session(_) => self.directories.sessions.as_fd(),
            Place::Fresh => self.directories.fresh.as_fd(),
        };
        let gone = || WorkspaceError::Gone { path: path.to_owned() };
        let name = path.file_name().ok_or_else(gone)?;
        tree::open_dir_beneath(parent, Path::new(name)).map_err(|error| match error {
            OpenError::Missing { .. } | OpenError::NotRegular { .. } | OpenError::Outside { .. } => gone(),
            error @ (OpenError::Denied { .. } | OpenError::Unsupported { .. } | OpenError::Failed { .. }) => {
                WorkspaceError::NotOpened { path: path.to_owned(), source: error }
            }
        })
    }

    /// Why runs would find no workspace here now.
    pub fn trouble(&self) -> Option<String> {
        self.directories.container().err().map(|error| error.to_string())
    }

    fn not_made(&self, source: io::Error) -> WorkspaceError {
        WorkspaceError::NotMade { path: self.directories.sessions_path.join(FRESH), source }
    }
}
