//! SHA-256 of the files that are listed, within a budget of time and bytes.
//!
//! Plain reads of at most the size that was seen, never a mapping: a file that shrinks under a mapping kills the reader, one
//! that grows under an unbounded read never ends. A digest is only given for exactly the file that the walk saw.

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Instant;

use linux::tree::{OpenError, open_beneath};
use sha2::{Digest, Sha256};

use super::bounds::Bounds;
use super::walk::{Found, Identity};

/// Why a listed file has no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unhashed {
    /// It would have exceeded the budget of bytes, or of time.
    OverBudget,
    /// The daemon may not read it, or the kernel failed to.
    Unreadable,
    /// It is not what the walk saw: somebody else changes the workspace.
    Changed,
    /// The host withholds `openat2`, without which nothing in a workspace is opened.
    Unsupported,
}

pub(super) type Sha256Digest = [u8; 32];

const CHUNK: usize = 128 * 1024;

pub(super) struct Hashing<'a> {
    dir: BorrowedFd<'a>,
    deadline: Instant,
    bytes_left: u64,
    buffer: Vec<u8>,
    /// Digests of inodes with several names: hashing 1,000 names of one large file is hashing it once.
    linked: HashMap<(u64, u64), Sha256Digest>,
}

impl<'a> Hashing<'a> {
    pub(super) fn new(dir: BorrowedFd<'a>, bounds: &Bounds) -> Self {
        Self {
            dir,
            deadline: Instant::now() + bounds.hash_time,
            bytes_left: bounds.hash_bytes,
            buffer: vec![0; CHUNK],
            linked: HashMap::new(),
        }
    }

    pub(super) fn digest(&mut self, found: &Found) -> Result<Sha256Digest, Unhashed> {
        let inode = (found.identity.device, found.identity.inode);
        if let Some(digest) = self.linked.get(&inode) {
            return Ok(*digest);
        }
        let digest = self.within_budget(&found.path, &found.identity)?;
        if found.links > 1 {
            self.linked.insert(inode, digest);
        }
        Ok(digest)
    }

    /// Of the file at `path`, if it is that one.
    pub(super) fn within_budget(
        &mut self,
        path: &Path,
        identity: &Identity,
    ) -> Result<Sha256Digest, Unhashed> {
        self.bytes_left = self.bytes_left.checked_sub(identity.size).ok_or(Unhashed::OverBudget)?;
        self.read(path, identity)
    }

    fn read(&mut self, path: &Path, identity: &Identity) -> Result<Sha256Digest, Unhashed> {
        let file = open_beneath(self.dir, path).map_err(|error| match error {
            OpenError::Unsupported { .. } => Unhashed::Unsupported,
            OpenError::Missing { .. } | OpenError::Outside { .. } | OpenError::NotRegular { .. } => {
                Unhashed::Changed
            }
            OpenError::Denied { .. } | OpenError::Failed { .. } => Unhashed::Unreadable,
        })?;
        if !file.metadata().is_ok_and(|metadata| Identity::of(&metadata) == *identity) {
            return Err(Unhashed::Changed);
        }
        let mut content = file.take(identity.size);
        let mut hasher = Sha256::new();
        let mut read = 0;
        while read < identity.size {
            if Instant::now() >= self.deadline {
                return Err(Unhashed::OverBudget);
            }
            match content.read(&mut self.buffer) {
                Ok(0) => return Err(Unhashed::Changed),
                Ok(count) => {
                    hasher.update(&self.buffer[..count]);
                    read += count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Unhashed::Unreadable),
            }
        }
        Ok(hasher.finalize().into())
    }
}
