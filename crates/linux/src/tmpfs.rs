//! How full a tmpfs is, whatever lies in it: files that were unlinked and are still open count, and so do empty ones.

use std::io;
use std::path::Path;

use nix::sys::stat::{major, minor, stat};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

/// What one tmpfs holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tmpfs {
    /// Of file content.
    pub bytes: u64,
    /// Files, directories and links, its root included.
    pub inodes: u64,
    /// Device number, as `/proc/PID/maps` shows it of a mapping.
    pub device: (u64, u64),
}

/// Looks at the tmpfs that is mounted at `path`.
///
/// # Errors
/// `EINVAL` when it is another kind of file system.
pub fn look(path: &Path) -> io::Result<Tmpfs> {
    let full = statfs(path)?;
    if full.filesystem_type() != TMPFS_MAGIC {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let device = stat(path)?.st_dev;
    let block = u64::try_from(full.block_size()).map_err(io::Error::other)?;
    Ok(Tmpfs {
        bytes: full.blocks().saturating_sub(full.blocks_free()) * block,
        inodes: full.files().saturating_sub(full.files_free()),
        device: (major(device), minor(device)),
    })
}
