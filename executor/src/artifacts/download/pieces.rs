//! Content in pieces, for a reader who may be slow: between two pieces no thread waits for it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::check::{Sha256Digest, Unavailable};

/// Bytes of a file that are read at once.
pub(super) const PIECE: usize = 128 * 1024;

/// Content that is made as it is asked for.
pub trait Pieces: Send + Unpin + 'static {
    /// The next piece, which may be empty; `None` when everything has been given. Blocks.
    ///
    /// # Errors
    /// There will be no more, and what was given is not the whole: the reader must be told.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Unavailable>;
}

/// A part of an open file. Its last piece is only given when all of it together has the digest it should have.
#[derive(Debug)]
pub struct Section {
    file: File,
    left: Range<u64>,
    hasher: Sha256,
    expected: Sha256Digest,
}

impl Section {
    /// `expected`: the digest of these bytes.
    pub(super) fn new(file: File, bytes: Range<u64>, expected: Sha256Digest) -> Self {
        Self { file, left: bytes, hasher: Sha256::new(), expected }
    }
}

impl Pieces for Section {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Unavailable> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let count = usize::try_from(self.left.end - self.left.start).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; count];
        self.file.read_exact_at(&mut piece, self.left.start).map_err(|source| {
            let shorter = source.kind() == io::ErrorKind::UnexpectedEof;
            if shorter { Unavailable::Changed } else { Unavailable::Failed { source } }
        })?;
        self.hasher.update(&piece);
        self.left.start += count as u64;
        if self.left.is_empty() && self.hasher.clone().finalize()[..] != self.expected {
            return Err(Unavailable::Changed);
        }
        Ok(Some(piece))
    }
}
