//! How much of a workspace is looked at. No bound here depends on what the workspace contains.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Directories below the workspace that are entered, one inside the other.
    pub depth: usize,
    /// Directory entries looked at, hidden ones and directories included.
    pub entries: u64,
    /// Bytes of all relative paths kept: 100,000 paths can be 400 MB.
    pub path_bytes: usize,
    /// Wall clock of one walk.
    pub walk_time: Duration,
    /// Files named in the manifest.
    pub listed: usize,
    /// Wall clock of hashing.
    pub hash_time: Duration,
    /// Bytes hashed, holes included: they are read, as zeros.
    pub hash_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            depth: 64,
            entries: 100_000,
            path_bytes: 32 * 1024 * 1024,
            walk_time: Duration::from_secs(2),
            listed: 1_000,
            hash_time: Duration::from_secs(5),
            hash_bytes: 2 * 1024 * 1024 * 1024,
        }
    }
}

impl Bounds {
    /// While somebody waits for the answer: what is more than this is hashed after it (`late.rs`). About 20 ms.
    pub fn before_the_answer() -> Self {
        Self { hash_bytes: 16 * 1024 * 1024, ..Self::default() }
    }
}

/// Which bound kept a walk from seeing everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    Depth,
    Entries,
    PathBytes,
    Time,
}
