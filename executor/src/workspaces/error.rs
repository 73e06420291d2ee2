//! Why there is no workspace. All of these are the host's or the operator's to mend, none the program's.

use std::io;
use std::path::{Path, PathBuf};

use linux::tree::OpenError;

#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    #[error("the workspace {} does not exist: mount or create it, or set WORKSPACE_PATH", path.display())]
    Missing { path: PathBuf },
    #[error("the workspace {} is not a directory: set WORKSPACE_PATH to one", path.display())]
    NotADirectory { path: PathBuf },
    #[error("the workspace {} is read-only: mount it writable, or set WORKSPACE_PATH", path.display())]
    ReadOnly { path: PathBuf },
    #[error(
        "the workspace {} is not writable for the daemon's user: change its owner to EXECUTOR_RUN_AS, or set WORKSPACE_PATH",
        path.display()
    )]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("the workspace {} cannot be used: check its file system, or set WORKSPACE_PATH", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error(
        "the workspace {} is no longer the directory it was when the daemon started: restart the daemon to use the new one",
        path.display()
    )]
    Replaced { path: PathBuf },

    #[error(
        "the directory {} for sessions cannot be made or used: make it writable for EXECUTOR_RUN_AS, or set SESSIONS_PATH",
        path.display()
    )]
    SessionsUnusable { path: PathBuf, source: io::Error },
    #[error("SESSIONS_PATH is {}, which another executor is using; give each a directory of its own", path.display())]
    SessionsTaken { path: PathBuf },
    #[error(
        "the workspace {} and the sessions in {} lie inside one another, so executions could see each other's files: \
         set WORKSPACE_PATH and SESSIONS_PATH apart",
        workspace.display(), sessions.display()
    )]
    Nested { workspace: PathBuf, sessions: PathBuf },

    #[error("{name:?} cannot name a session's directory: a session id starts with a letter or a digit")]
    SessionName { name: String },
    #[error("cannot make the workspace {}: check space and permissions of SESSIONS_PATH", path.display())]
    NotMade { path: PathBuf, source: io::Error },
    #[error("cannot open the workspace {}: it must be a plain directory that belongs to the daemon's user", path.display())]
    NotOpened { path: PathBuf, source: OpenError },
    #[error("the workspace {} is closed to its owner and cannot be opened up: check who owns it", path.display())]
    Closed { path: PathBuf, source: io::Error },
    #[error("the workspace {} has been removed: artifacts are kept for ARTIFACT_RETENTION_SECONDS", path.display())]
    Gone { path: PathBuf },
}

impl WorkspaceError {
    /// What the kernel said about the container's workspace at start, as what the operator has to do.
    pub(super) fn of_workspace(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing { path }
        } else if source.kind() == io::ErrorKind::NotADirectory {
            Self::NotADirectory { path }
        } else if source.kind() == io::ErrorKind::ReadOnlyFilesystem {
            Self::ReadOnly { path }
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            Self::NotWritable { path, source }
        } else {
            Self::Unusable { path, source }
        }
    }
}
