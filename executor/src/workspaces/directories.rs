//! The directories themselves: checked and opened once, at start, and gone down from by descriptor ever after.
//!
//! Nothing here knows how long a directory is kept. While the daemon lives it holds a lock on `SESSIONS_PATH`: whoever starts there
//! removes what it takes for the leftovers of an earlier daemon. Invariant: what is handed out lies where it was when the daemon
//! started; a path that leads elsewhere by now is an error, not a new workspace.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use linux::tree;

use super::WorkspaceError;

/// Where fresh workspaces lie, below `SESSIONS_PATH`. No session id starts with a dot.
pub(super) const FRESH: &str = ".fresh";
/// What `.fresh` is renamed to by the next daemon, with something random after it.
pub(super) const STALE: &str = ".stale-";

#[derive(Debug)]
pub(super) struct Directories {
    pub(super) workspace_path: PathBuf,
    workspace: OwnedFd,
    pub(super) sessions_path: PathBuf,
    pub(super) sessions: OwnedFd,
    pub(super) fresh: OwnedFd,
    /// On `SESSIONS_PATH`.
    _lock: File,
}

impl Directories {
    pub(super) fn open(workspace_path: &Path, sessions_path: &Path) -> Result<Self, WorkspaceError> {
        let (workspace_path, workspace) = open_workspace(workspace_path)?;
        let unusable = |source| WorkspaceError::SessionsUnusable { path: sessions_path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(sessions_path).map_err(unusable)?;
        let sessions_path = sessions_path.canonicalize().map_err(unusable)?;
        if sessions_path.starts_with(&workspace_path) || workspace_path.starts_with(&sessions_path) {
            return Err(WorkspaceError::Nested { workspace: workspace_path, sessions: sessions_path });
        }
        let sessions = tree::open_dir(&sessions_path).map_err(unusable)?;
        tree::restore_owner_access(sessions.as_fd()).map_err(unusable)?;
        let lock = File::from(tree::readable(sessions.as_fd()).map_err(unusable)?);
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(WorkspaceError::SessionsTaken { path: sessions_path });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let fresh = renew_fresh(sessions.as_fd()).map_err(unusable)?;
        Ok(Self { workspace_path, workspace, sessions_path, sessions, fresh, _lock: lock })
    }

    /// The directory that was opened at start, as long as its path still leads to it.
    pub(super) fn container(&self) -> Result<OwnedFd, WorkspaceError> {
        let path = &self.workspace_path;
        let unusable = |source| WorkspaceError::Unusable { path: path.clone(), source };
        let replaced = || WorkspaceError::Replaced { path: path.clone() };
        let now = match tree::open_dir(path) {
            Ok(now) => now,
            Err(error) if is_not_a_directory(&error) => return Err(replaced()),
            Err(error) => return Err(unusable(error)),
        };
        let opened = tree::identity(self.workspace.as_fd()).map_err(unusable)?;
        if tree::identity(now.as_fd()).map_err(unusable)? != opened {
            return Err(replaced());
        }
        self.workspace.try_clone().map_err(unusable)
    }

    /// Made where it is missing.
    pub(super) fn session(&self, id: &str) -> Result<(OwnedFd, PathBuf), WorkspaceError> {
        let path = self.session_path(id)?;
        match tree::make_dir_beneath(self.sessions.as_fd(), OsStr::new(id)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(WorkspaceError::NotMade { path, source }),
        }
        Ok((open_beneath(self.sessions.as_fd(), id, &path)?, path))
    }

    pub(super) fn known_session(&self, id: &str) -> Result<(OwnedFd, PathBuf), WorkspaceError> {
        let path = self.session_path(id)?;
        Ok((open_beneath(self.sessions.as_fd(), id, &path)?, path))
    }

    fn session_path(&self, id: &str) -> Result<PathBuf, WorkspaceError> {
        if id.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            Ok(self.sessions_path.join(id))
        } else {
            Err(WorkspaceError::SessionName { name: id.to_owned() })
        }
    }
}

pub(super) fn open_beneath(
    parent: BorrowedFd<'_>,
    name: &str,
    path: &Path,
) -> Result<OwnedFd, WorkspaceError> {
    tree::open_dir_beneath(parent, Path::new(name))
        .map_err(|source| WorkspaceError::NotOpened { path: path.to_owned(), source })
}

/// Symbolic links in the path are the operator's, and are resolved once, here.
fn open_workspace(path: &Path) -> Result<(PathBuf, OwnedFd), WorkspaceError> {
    let judge = |source: io::Error| WorkspaceError::of_workspace(path, source);
    let real = path.canonicalize().map_err(judge)?;
    let dir = tree::open_dir(&real).map_err(judge)?;
    // A program of an earlier daemon may have closed it. Whether that worked is for the probe to tell.
    let restored = tree::restore_owner_access(dir.as_fd());
    let probe = random_name().map_err(judge)?;
    tree::probe_writable(dir.as_fd(), OsStr::new(&format!(".sandbox-executor-{probe}")))
        .map_err(|source| judge(restored.err().unwrap_or(source)))?;
    Ok((real, dir))
}

/// An empty `.fresh`. One of an earlier daemon is renamed, so that removing it never meets what is made from now on.
fn renew_fresh(sessions: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let stale = format!("{STALE}{}", random_name()?);
    match tree::rename_within(sessions, OsStr::new(FRESH), OsStr::new(&stale)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    tree::make_dir_beneath(sessions, OsStr::new(FRESH))?;
    tree::open_dir_beneath(sessions, Path::new(FRESH)).map_err(io::Error::other)
}

/// Nobody can guess it, and nobody else has it.
pub(crate) fn random_name() -> io::Result<String> {
    let number = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("{number:016x}"))
}

fn is_not_a_directory(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
