//! Is this still the file that the manifest lists? Answered by reading it, through the descriptor it is then sent from.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::BorrowedFd;

use linux::tree::{OpenError, open_beneath};
use sha2::{Digest, Sha256};

use super::pieces::{PIECE, Section};
use crate::artifacts::record::{ArtifactRecord, Identity};

pub type Sha256Digest = [u8; 32];

/// Why a listed file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Other content, another kind of file, or nothing at all.
    #[error("it is not what the execution left there any more")]
    Changed,
    #[error("its permissions, or those of a directory above it, exclude the daemon")]
    Denied,
    /// The host's fault, not the program's.
    #[error("it cannot be read")]
    Failed { source: io::Error },
}

/// What to do with the content, which is read in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Takes as much memory as the file is large. What is sent is then what was hashed, whatever becomes of the file.
    InMemory,
    /// It is read a second time when it is sent, and hashed a second time.
    Open,
}

/// A file that is as it was listed.
#[derive(Debug)]
pub struct Checked {
    pub sha256: Sha256Digest,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    /// All of it.
    InMemory(Vec<u8>),
    /// The section that was asked for.
    Open(Section),
}

/// Reads the whole file and compares. `section`: the bytes that will be sent, within the size that is listed.
///
/// A file with a digest must have it still. One without (it was too large to hash, say) must be the same inode with the
/// same size and ctime, before and after it is read: a program cannot set those back.
pub fn check(
    dir: BorrowedFd<'_>,
    listed: &ArtifactRecord,
    section: Range<u64>,
    keep: Keep,
) -> Result<Checked, Unavailable> {
    let file = open(dir, listed)?;
    let size = listed.size.0;
    let mut kept = match keep {
        Keep::InMemory => Some(Vec::with_capacity(usize::try_from(size).unwrap_or(0))),
        Keep::Open => None,
    };
    let (sha256, of_section) = digests(&file, size, &section, kept.as_mut())?;
    match listed.sha256 {
        Some(expected) if sha256 == expected => {}
        Some(_) => return Err(Unavailable::Changed),
        None => must_be_identical(&file, listed)?,
    }
    let content = match kept {
        Some(bytes) => Content::InMemory(bytes),
        None => Content::Open(Section::new(file, section, of_section)),
    };
    Ok(Checked { sha256, content })
}

/// The file at the listed place, if it is a regular one of the listed size.
pub(super) fn open(dir: BorrowedFd<'_>, listed: &ArtifactRecord) -> Result<File, Unavailable> {
    let file = open_beneath(dir, listed.place())?;
    let size = file.metadata().map_err(|source| Unavailable::Failed { source })?.len();
    if size != listed.size.0 {
        return Err(Unavailable::Changed);
    }
    if listed.sha256.is_none() {
        must_be_identical(&file, listed)?;
    }
    Ok(file)
}

fn must_be_identical(file: &File, listed: &ArtifactRecord) -> Result<(), Unavailable> {
    let metadata = file.metadata().map_err(|source| Unavailable::Failed { source })?;
    if Identity::of(&metadata) == listed.identity { Ok(()) } else { Err(Unavailable::Changed) }
}

/// Of the first `size` bytes, and of the section of them.
fn digests(
    mut file: &File,
    size: u64,
    section: &Range<u64>,
    mut kept: Option<&mut Vec<u8>>,
) -> Result<(Sha256Digest, Sha256Digest), Unavailable> {
    let (mut whole, mut part) = (Sha256::new(), Sha256::new());
    let part_is_whole = *section == (0..size);
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < size {
        let most = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
        let count = match file.read(&mut buffer[..most]) {
            // It has become shorter.
            Ok(0) => return Err(Unavailable::Changed),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Unavailable::Failed { source }),
        };
        let read = &buffer[..count];
        whole.update(read);
        if !part_is_whole {
            part.update(&read[overlap(at, count, section)]);
        }
        if let Some(kept) = kept.as_deref_mut() {
            kept.extend_from_slice(read);
        }
        at += count as u64;
    }
    let whole: Sha256Digest = whole.finalize().into();
    let part = if part_is_whole { whole } else { part.finalize().into() };
    Ok((whole, part))
}

/// Which of `count` bytes that lie at `at` belong to the section.
fn overlap(at: u64, count: usize, section: &Range<u64>) -> Range<usize> {
    let within = |position: u64| usize::try_from(position.saturating_sub(at)).unwrap_or(count).min(count);
    let (start, end) = (within(section.start), within(section.end));
    start..end.max(start)
}

impl From<OpenError> for Unavailable {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Missing { .. } | OpenError::Outside { .. } | OpenError::NotRegular { .. } => {
                Self::Changed
            }
            OpenError::Denied { .. } => Self::Denied,
            error @ (OpenError::Unsupported { .. } | OpenError::Failed { .. }) => {
                Self::Failed { source: io::Error::other(error) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_shares_with_a_section_what_lies_in_both() {
        for (at, count, section, shared) in [
            (0, 10, 0..10, 0..10),
            (0, 10, 3..5, 3..5),
            (10, 10, 3..15, 0..5),
            (10, 10, 15..40, 5..10),
            (10, 10, 0..100, 0..10),
            (10, 10, 0..10, 0..0),
            (10, 10, 20..30, 10..10),
            (0, 10, 0..0, 0..0),
        ] {
            assert_eq!(overlap(at, count, &section), shared, "{at} {count} {section:?}");
        }
    }
}
