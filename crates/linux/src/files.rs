//! Whole files in one directory, which may contain anything else as well: links, FIFOs, devices, other people's files.
//!
//! Every call starts at a directory descriptor ([`open_dir`](crate::tree::open_dir) is enough) and takes single names. Nothing
//! here follows a symbolic link, waits for the other end of a FIFO, opens a device, or reads more than it was allowed to.
//!
//! Invariant: when a call has returned, the file it was to write is whole or not there ([`create`] only makes one). Where also a crash in the middle must
//! leave no part of it, [`write_replacing`] is the one to use:
//!
//! ```text
//!             write            flush (Sync::Disk)       rename                flush the directory (Sync::Disk)
//! (nothing) ────────► temporary ───────────► temporary ────────► name, whole ─────────────► name, after a crash too
//!     ▲                  │                      │     │
//!     └────── removed ───┴──────────────────────┴─────┘ failed
//! ```

#[cfg(test)]
mod tests;

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::tree::{self, OpenError, open_beneath, require_single_name};

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("there is no such file")]
    Missing,
    #[error("it is not a regular file (a link, a directory, a FIFO or a device); only those are read")]
    NotRegular,
    #[error("it is too large: {size} bytes")]
    TooLarge { size: u64 },
    #[error("it cannot be read")]
    Failed { source: io::Error },
}

/// How long what was written lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// As long as the kernel runs: it survives the daemon, not a power failure.
    PageCache,
    /// Also after a crash of the machine. Waits for the disk (fsync(2)).
    Disk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Regular,
    /// A link, a directory, a FIFO, a device, a socket.
    Other,
}

/// What a directory has under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: OsString,
    /// Bytes. Means something for a regular file only.
    pub size: u64,
    pub modified: SystemTime,
    pub kind: Kind,
}

/// Reads a regular file of at most `at_most` bytes, whole.
pub fn read_regular(dir: BorrowedFd<'_>, name: &OsStr, at_most: u64) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Failed { source };
    require_single_name(name).map_err(failed)?;
    let file = open_beneath(dir, Path::new(name)).map_err(ReadError::from)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > at_most {
        return Err(ReadError::TooLarge { size });
    }
    // Whoever writes to it meanwhile makes it neither longer than allowed nor a reason to read for ever.
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    file.take(at_most.saturating_add(1)).read_to_end(&mut content).map_err(failed)?;
    match content.len() as u64 {
        size if size > at_most => Err(ReadError::TooLarge { size }),
        _ => Ok(content),
    }
}

/// Makes the file `name`, mode 0600, with this content. If it cannot be written to its end it is removed again.
///
/// # Errors
/// `AlreadyExists`, whatever it is that has the name; otherwise what the kernel says.
pub fn write_new(dir: BorrowedFd<'_>, name: &OsStr, content: &[u8]) -> io::Result<()> {
    create_with(dir, name, content).map(drop)
}

/// Makes the empty file `name`, mode 0600, for a caller that writes it bit by bit and removes it when that fails.
///
/// # Errors
/// `AlreadyExists`, whatever it is that has the name; otherwise what the kernel says.
pub fn create(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<File> {
    require_single_name(name)?;
    let flags = OFlag::O_WRONLY
        | OFlag::O_CREAT
        | OFlag::O_EXCL
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_CLOEXEC;
    Ok(File::from(openat(dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?))
}

/// Gives `name` this content at once: whoever reads it sees the old or the new one, whole. It is written under `temporary`
/// first; what a crash left there is replaced.
///
/// # Errors
/// What the kernel says: `IsADirectory` when one is in the way of either name. Nothing of ours is left under `temporary`, and
/// `name` is what it was. Only when the very last step failed, flushing the directory, does it have the new content already.
pub fn write_replacing(
    dir: BorrowedFd<'_>,
    temporary: &OsStr,
    name: &OsStr,
    content: &[u8],
    sync: Sync,
) -> io::Result<()> {
    require_single_name(name)?;
    if temporary == name {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file cannot be its own temporary file"));
    }
    remove(dir, temporary)?;
    let file = create_with(dir, temporary, content)?;
    let flushed = match sync {
        Sync::PageCache => Ok(()),
        Sync::Disk => file.sync_all(),
    };
    flushed
        .and_then(|()| rename(dir, temporary, dir, name))
        .map_err(|error| and_removed(dir, temporary, error))?;
    match sync {
        Sync::PageCache => Ok(()),
        Sync::Disk => Ok(nix::unistd::fsync(tree::readable(dir)?)?),
    }
}

/// Renames from one directory to another, or within one. A file that has the name `to` already is replaced.
pub fn rename(from_dir: BorrowedFd<'_>, from: &OsStr, to_dir: BorrowedFd<'_>, to: &OsStr) -> io::Result<()> {
    require_single_name(from)?;
    require_single_name(to)?;
    Ok(renameat(from_dir, from, to_dir, to)?)
}

/// Renames within one directory, and replaces nothing.
///
/// # Errors
/// `AlreadyExists`, whatever it is that has the name `to`; otherwise what the kernel says (`InvalidInput` where the file system
/// cannot do this).
pub fn rename_to_new(dir: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> io::Result<()> {
    require_single_name(from)?;
    require_single_name(to)?;
    let (from, to) = (CString::new(from.as_bytes())?, CString::new(to.as_bytes())?);
    let dir = dir.as_raw_fd();
    // nix has it for glibc only.
    // SAFETY: both names are strings that end with a NUL and outlive the call; the descriptor is borrowed for as long.
    let returned = unsafe {
        libc::syscall(libc::SYS_renameat2, dir, from.as_ptr(), dir, to.as_ptr(), libc::RENAME_NOREPLACE)
    };
    match returned {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Removes anything but a directory; a link as the link it is. `false`: there was nothing.
pub fn remove(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    require_single_name(name)?;
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Everything in the directory, in no order. What vanishes meanwhile is left out.
pub fn list(dir: BorrowedFd<'_>) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in tree::list(dir)?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if tree::is_dot(name) {
            continue;
        }
        match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => entries.push(Entry::new(OsStr::from_bytes(name.to_bytes()), &stat)),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(entries)
}

fn create_with(dir: BorrowedFd<'_>, name: &OsStr, content: &[u8]) -> io::Result<File> {
    let mut file = create(dir, name)?;
    match file.write_all(content) {
        Ok(()) => Ok(file),
        Err(error) => Err(and_removed(dir, name, error)),
    }
}

/// Clears away a file of ours after `error`, and says so if not even that was possible.
fn and_removed(dir: BorrowedFd<'_>, name: &OsStr, error: io::Error) -> io::Error {
    match remove(dir, name) {
        Ok(_) => error,
        Err(left) => {
            io::Error::new(error.kind(), format!("{error}; and {name:?} was left behind, unfinished: {left}"))
        }
    }
}

impl Entry {
    fn new(name: &OsStr, stat: &FileStat) -> Self {
        let regular = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
        let kind = if regular { Kind::Regular } else { Kind::Other };
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Self { name: name.to_owned(), size, modified: modified(stat), kind }
    }
}

/// A file system may claim a time before 1970; that is as old as it gets.
fn modified(stat: &FileStat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos)).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl From<OpenError> for ReadError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Missing { .. } => Self::Missing,
            OpenError::NotRegular { .. } => Self::NotRegular,
            OpenError::Failed { source, .. } => Self::Failed { source },
            OpenError::Denied { .. } => {
                Self::Failed { source: io::Error::new(io::ErrorKind::PermissionDenied, error) }
            }
            OpenError::Unsupported { .. } => {
                Self::Failed { source: io::Error::new(io::ErrorKind::Unsupported, error) }
            }
            // A single name leads out of its directory only where something is mounted on it.
            OpenError::Outside { .. } => Self::NotRegular,
        }
    }
}
