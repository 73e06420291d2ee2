//! Opening what lies beneath a directory, whatever the tree does to prevent or misdirect it.
//!
//! A file is first only named (`O_PATH`), then its type is checked, and only a regular file is opened for reading, through
//! the descriptor that was checked. So a FIFO never blocks, and the driver of a device node is never reached.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::{DIRECTORY, own_name};

/// Why a path beneath a directory was not opened. Whoever answers a caller can tell these apart.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("there is nothing at {path:?}")]
    Missing { path: PathBuf },
    #[error(
        "{path:?} leads out of its directory, through a symbolic link or onto another mount; name a file inside"
    )]
    Outside { path: PathBuf },
    #[error("{path:?} is not a regular file; only those are read")]
    NotRegular { path: PathBuf },
    #[error("{path:?} may not be read: its permissions exclude the daemon")]
    Denied { path: PathBuf },
    #[error(
        "cannot open {path:?} safely: openat2 is not available (Linux before 5.6, or a seccomp filter withholds it); \
         allow the system call openat2"
    )]
    Unsupported { path: PathBuf },
    #[error("cannot open {path:?}")]
    Failed { path: PathBuf, source: io::Error },
}

/// Opens a regular file beneath `dir` for reading.
///
/// `path` is relative. `..` is followed as long as it stays inside; a symbolic link anywhere in it is refused, also one
/// that stays inside. The descriptor is non-blocking (which means nothing for a regular file) and close-on-exec.
pub fn open_beneath(dir: BorrowedFd<'_>, path: &Path) -> Result<File, OpenError> {
    let named = resolve(dir, path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .map_err(|errno| judge(path, errno))?;
    let kind = fstat(&named).map_err(|errno| judge(path, errno))?.st_mode & SFlag::S_IFMT.bits();
    if kind != SFlag::S_IFREG.bits() {
        return Err(OpenError::NotRegular { path: path.to_owned() });
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    match nix::fcntl::open(own_name(&named).as_str(), flags, Mode::empty()) {
        Ok(opened) => Ok(File::from(opened)),
        // The file is in our hands: what is missing is /proc.
        Err(errno @ Errno::ENOENT) => Err(OpenError::Failed { path: path.to_owned(), source: errno.into() }),
        Err(errno) => Err(judge(path, errno)),
    }
}

/// Opens a directory beneath `dir` to work beneath that (`O_PATH`), under the same rules.
pub fn open_dir_beneath(dir: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, OpenError> {
    resolve(dir, path, DIRECTORY).map_err(|errno| judge(path, errno))
}

pub(super) fn resolve<P: ?Sized + nix::NixPath>(
    dir: BorrowedFd<'_>,
    path: &P,
    flags: OFlag,
) -> Result<OwnedFd, Errno> {
    let beneath = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(dir, path, OpenHow::new().flags(flags).resolve(beneath))
}

/// openat2(2), ERRORS. EINVAL is a NUL inside the path; with O_NOFOLLOW a final link is named, and then not regular.
fn judge(path: &Path, errno: Errno) -> OpenError {
    let path = path.to_owned();
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::EINVAL => OpenError::Missing { path },
        Errno::EXDEV | Errno::ELOOP => OpenError::Outside { path },
        Errno::EACCES => OpenError::Denied { path },
        Errno::ENOSYS => OpenError::Unsupported { path },
        errno => OpenError::Failed { path, source: errno.into() },
    }
}
