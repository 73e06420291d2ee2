//! All artifacts of one execution as a tar file, compressed with zstd: byte for byte the same for the same files.
//!
//! Entries are sorted by path, each is a regular file of mode 0644 that belongs to nobody in particular (0:0, no names) and
//! to no time (mtime 0). Format: ustar; a path that is too long for it, or not ASCII, is in a pax record (POSIX.1-2008).
//! One zstd frame with a checksum, made by one thread at a fixed level from pieces of fixed size.
//!
//! Each file is opened when its turn comes, and held open until it has been written. Invariant: no listed file is left out;
//! if one turns out to have changed, the archive ends without its last piece, which no decoder takes for complete.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::vec;

use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};
use zstd::stream::write::Encoder;

use super::check::{self, Sha256Digest, Unavailable};
use super::pieces::{Pieces, Section};
use crate::artifacts::record::ArtifactRecord;

/// zstd's own default. A different one makes different bytes: see [`Listing::identity`].
const LEVEL: i32 = 3;
const FORMAT: &str = "artifacts.tar.zst, ustar and pax, zstd level 3";

/// Bytes of content that are worked into one piece at most, so that no call takes long.
const STEP: usize = 4 * 1024 * 1024;
/// A piece that has grown to this is given away.
const FULL: usize = 64 * 1024;

const BLOCK: u64 = 512;

/// What goes into an archive, each file with the digest it was found to have.
#[derive(Debug, Default)]
pub struct Listing {
    files: Vec<(ArtifactRecord, Sha256Digest)>,
}

impl Listing {
    /// In any order.
    pub fn add(&mut self, listed: ArtifactRecord, sha256: Sha256Digest) {
        self.files.push((listed, sha256));
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The same for the same files under the same names, and for nothing else; other software makes another one.
    pub fn identity(&mut self) -> Sha256Digest {
        self.sort();
        let mut hasher = Sha256::new();
        hasher.update(format!("{FORMAT}, {}\n", zstd::zstd_safe::version_number()));
        for (listed, sha256) in &self.files {
            let path = listed.place().as_os_str().as_bytes();
            hasher.update((path.len() as u64).to_be_bytes());
            hasher.update(path);
            hasher.update(sha256);
        }
        hasher.finalize().into()
    }

    fn sort(&mut self) {
        let path = |listed: &ArtifactRecord| listed.place().as_os_str().as_bytes().to_owned();
        self.files.sort_by_cached_key(|(listed, _)| path(listed));
    }
}

/// An archive in the making.
pub struct Archive {
    /// Where the files lie. Not looked at when there are none.
    dir: Option<OwnedFd>,
    coming: vec::IntoIter<(ArtifactRecord, Sha256Digest)>,
    /// The file that is being written, and its size.
    current: Option<(Section, u64)>,
    /// `None` when the end has been written.
    tar: Option<Builder<Encoder<'static, Vec<u8>>>>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("coming", &self.coming.len()).finish_non_exhaustive()
    }
}

impl Archive {
    /// Reads nothing yet.
    pub fn new(dir: Option<OwnedFd>, mut listing: Listing) -> io::Result<Self> {
        listing.sort();
        let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self { dir, coming: listing.files.into_iter(), current: None, tar: Some(Builder::new(encoder)) })
    }
}

impl Pieces for Archive {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Unavailable> {
        let failed = |source| Unavailable::Failed { source };
        let Some(mut tar) = self.tar.take() else {
            return Ok(None);
        };
        let mut worked = 0;
        while worked < STEP && tar.get_ref().get_ref().len() < FULL {
            if let Some((section, size)) = &mut self.current {
                match section.next()? {
                    Some(piece) => {
                        worked += piece.len();
                        tar.get_mut().write_all(&piece).map_err(failed)?;
                    }
                    None => {
                        tar.get_mut().write_all(padding(*size)).map_err(failed)?;
                        self.current = None;
                    }
                }
            } else if let Some((listed, sha256)) = self.coming.next() {
                let dir = self.dir.as_ref().ok_or(Unavailable::Changed)?;
                let file = check::open(dir.as_fd(), &listed)?;
                let size = listed.size.0;
                write_header(&mut tar, listed.place(), size).map_err(failed)?;
                self.current = Some((Section::new(file, 0..size, sha256), size));
                worked += BLOCK as usize;
            } else {
                // Two empty blocks and the end of the frame; what was ready before comes with it.
                let last = tar.into_inner().and_then(Encoder::finish).map_err(failed)?;
                return Ok(Some(last));
            }
        }
        let piece = std::mem::take(tar.get_mut().get_mut());
        self.tar = Some(tar);
        Ok(Some(piece))
    }
}

fn write_header(tar: &mut Builder<impl Write>, path: &Path, size: u64) -> io::Result<()> {
    let name = path.as_os_str().as_bytes();
    let mut header = blank(size);
    if !name.is_ascii() || header.set_path(path).is_err() {
        tar.append_pax_extensions([("path", name)])?;
        header = blank(size);
        header.set_path("named-by-pax-record")?;
    }
    header.set_cksum();
    tar.get_mut().write_all(header.as_bytes())
}

fn blank(size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// What follows a file, up to a whole block.
fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
    &ZEROS[..((BLOCK - size % BLOCK) % BLOCK) as usize]
}
