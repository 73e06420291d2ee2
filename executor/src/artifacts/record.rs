//! One file of the manifest, as the rest of the daemon sees it. It names no wire format and holds no open file.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sandbox::limits::Bytes;

pub use super::walk::Identity;
// What kinds and changes there are belongs to the record of a run; which one a file is, is decided here.
pub use crate::run::record::{ArtifactKind, Change};

/// A regular file in the workspace after a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRecord {
    /// Relative to the workspace. Where the name is not UTF-8, each undecodable sequence is U+FFFD: such a file is
    /// listed like any other, but cannot be asked for by this path.
    pub path: String,
    /// Holes included.
    pub size: Bytes,
    /// Guessed from the extension, never from the content; `application/octet-stream` where nothing is known.
    pub mime_type: String,
    pub kind: ArtifactKind,
    /// `Modified` also where only permissions, owner or links changed: the clock that a program cannot set does not tell
    /// these apart from new content.
    pub change: Change,
    /// `None`: the file could not be read, or reading it would have exceeded the budget for hashing: of an answer, or of all
    /// that is hashed after one.
    pub sha256: Option<[u8; 32]>,
    /// When the inode was made, where the file system knows (statx(2), `stx_btime`), otherwise when it last changed
    /// (ctime). Never the mtime: that one is the program's to choose.
    pub created_at: Timestamp,
    /// Its name where that is not UTF-8. `None`: `path` is its name.
    pub exact_path: Option<PathBuf>,
    /// What the walk saw, to tell later whether a file without a digest is still the same one.
    pub identity: Identity,
}

impl ArtifactRecord {
    /// Whether a caller that asks for this path means this file.
    pub fn is_named(&self, path: &str) -> bool {
        self.exact_path.is_none() && self.path == path
    }

    /// Where it lies below the workspace.
    pub fn place(&self) -> &Path {
        self.exact_path.as_deref().unwrap_or(Path::new(&self.path))
    }
}
