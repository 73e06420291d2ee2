//! Looking at, and clearing away, a directory tree that hostile code has filled.
//!
//! Everything here starts at a directory descriptor that was opened once and goes down from it one checked step at a time:
//! a symbolic link is never followed, a mount is never crossed, and nothing but a regular file is ever opened for reading.
//! It must never take a path that leads through the tree by name from `/`, and never recurse or hold a descriptor per
//! level: the tree may be 100,000 directories deep.
//!
//! Invariant: whatever the tree contains, no call here reads or changes anything outside it. It rests on `openat2`
//! (Linux 5.6). Where a kernel or a seccomp filter withholds it there is no fallback: [`OpenError::Unsupported`].

mod open;
mod remove;
#[cfg(test)]
mod tests;

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

pub use open::{OpenError, open_beneath, open_dir_beneath};
pub use remove::{RemoveError, Removed, empty_dir, remove_tree, remove_tree_while};

/// Opens a directory to work beneath it later (`O_PATH`): it stays the same directory if its name is given to another.
///
/// The last part of the path must not be a symbolic link; the parts before it are trusted, they are the operator's.
pub fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    Ok(nix::fcntl::open(path, DIRECTORY, Mode::empty())?)
}

/// Tells whether two descriptors, or a descriptor and what a path now leads to, are the same directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirIdentity {
    device: u64,
    inode: u64,
}

pub fn identity(dir: BorrowedFd<'_>) -> io::Result<DirIdentity> {
    let stat = nix::sys::stat::fstat(dir)?;
    Ok(DirIdentity { device: stat.st_dev, inode: stat.st_ino })
}

/// Whether the directory still has a place in its file system: it was not removed.
pub fn is_linked(dir: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(nix::sys::stat::fstat(dir)?.st_nlink > 0)
}

/// Whether nothing is in the directory. Reads no more than its first few names.
pub fn is_empty(dir: BorrowedFd<'_>) -> io::Result<bool> {
    for entry in list(dir)?.iter().take(3) {
        if !is_dot(entry?.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the directory `name` in `parent` with mode 0700. `AlreadyExists` is the caller's to judge.
pub fn make_dir_beneath(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    require_single_name(name)?;
    Ok(nix::sys::stat::mkdirat(parent, name, Mode::S_IRWXU)?)
}

/// Gives the owner back what a program may have taken away with `chmod`: entering, listing and changing a directory.
///
/// Nothing happens when the owner has all three. Only the owner of the directory (or root) can do this.
pub fn restore_owner_access(dir: BorrowedFd<'_>) -> io::Result<()> {
    let mode = nix::sys::stat::fstat(dir)?.st_mode & 0o7777;
    if mode & 0o700 == 0o700 {
        return Ok(());
    }
    // An O_PATH descriptor cannot be given to fchmod; its name in /proc leads to the very same directory.
    std::fs::set_permissions(own_name(dir), std::fs::Permissions::from_mode(mode | 0o700))
}

/// Proves that files can be made in `dir`, by making and removing the empty file `name`.
///
/// # Errors
/// Whatever the kernel says to either: `ReadOnlyFilesystem`, `PermissionDenied`, `StorageFull`, or `AlreadyExists`.
pub fn probe_writable(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    require_single_name(name)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    drop(nix::fcntl::openat(dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    Ok(nix::unistd::unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?)
}

/// Renames within one directory; both names are single names. An empty directory at `to` is replaced, nothing else is.
pub fn rename_within(dir: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> io::Result<()> {
    require_single_name(from)?;
    require_single_name(to)?;
    Ok(nix::fcntl::renameat(dir, from, dir, to)?)
}

/// Names a directory and grants nothing; a symbolic link in its place is refused.
const DIRECTORY: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A descriptor's name in `/proc`: a link the kernel resolves to the open object itself, not by any path.
fn own_name(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// The same directory, opened for reading: an `O_PATH` descriptor can name a directory but neither list nor flush it.
pub fn readable(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open::resolve(directory, ".", flags)?)
}

/// A listing with a descriptor of its own.
pub(crate) fn list(directory: BorrowedFd<'_>) -> io::Result<Dir> {
    Ok(Dir::from_fd(readable(directory)?)?)
}

/// A listing names the directory itself and its parent too.
pub(crate) fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// The `*at` calls resolve slashes and `..` in what they are given; a single name is what keeps them in their directory.
pub(crate) fn require_single_name(name: &OsStr) -> io::Result<()> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(()),
        _ => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not the name of one file")))
        }
    }
}
