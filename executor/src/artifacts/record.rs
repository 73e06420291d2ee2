//! One file of the manifest, as the rest of the daemon sees it. It names no wire format and holds no open file.

use jiff::Timestamp;
use sandbox::limits::Bytes;

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
    /// `None`: the file could not be read, or reading it would have exceeded the budget for hashing.
    pub sha256: Option<[u8; 32]>,
    /// When the inode was made, where the file system knows (statx(2), `stx_btime`), otherwise when it last changed
    /// (ctime). Never the mtime: that one is the program's to choose.
    pub created_at: Timestamp,
}
