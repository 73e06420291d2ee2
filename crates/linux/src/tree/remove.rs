//! Removing a tree of any depth and width, with four descriptors and no recursion.
//!
//! Every directory is emptied while it lies directly in the tree's top. What it contains is unlinked, except for
//! directories that are not empty: those are *hoisted*, renamed into the top under the next number, and come up in turn.
//!
//! ```text
//!   top/a/b/c/…   empty a: b cannot be removed, hoist it      top/hoisted-0/c/…     (a is now empty: removed)
//!                 empty hoisted-0: c cannot be removed, hoist  top/hoisted-1/…       (hoisted-0: removed)   and so on
//! ```
//!
//! Invariant: each directory is hoisted at most once and each pass over the top removes something or is the last, so it
//! ends. The numbers waiting are a range, not a list: memory does not grow with the tree. A name of ours that the tree
//! already uses costs one more number; what had that name was to be removed anyway.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Type;
use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::open::resolve;
use super::{DIRECTORY, is_dot, list, require_single_name, restore_owner_access};

/// What a removal did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Files and directories that are gone.
    pub entries: u64,
}

/// A tree that is not gone. The rest of it is: one entry that stays does not protect the others.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("{left} entries could not be removed, {removed} were")]
    Left { removed: u64, left: u64, source: io::Error },
    #[error("the removal was stopped after {removed} entries; the rest is still there")]
    Stopped { removed: u64 },
    #[error("cannot remove the tree safely: openat2 is not available; allow the system call openat2")]
    Unsupported,
}

/// Removes `name` from `parent`, with everything in it if it is a directory. What is not there counts as removed.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Removed, RemoveError> {
    remove_tree_while(parent, name, &|| true)
}

/// The same, asking before every entry whether to go on.
pub fn remove_tree_while(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    go_on: &dyn Fn() -> bool,
) -> Result<Removed, RemoveError> {
    let nothing_removed = |source| RemoveError::Left { removed: 0, left: 1, source };
    require_single_name(name).map_err(nothing_removed)?;
    let top = match resolve(parent, name, DIRECTORY) {
        Ok(top) => top,
        Err(Errno::ENOENT) => return Ok(Removed::default()),
        Err(Errno::ENOSYS) => return Err(RemoveError::Unsupported),
        // Not a directory; a symbolic link is one of those, and is removed as the link it is.
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)
                .map_err(|errno| nothing_removed(errno.into()))?;
            return Ok(Removed { entries: 1 });
        }
        Err(errno) => return Err(nothing_removed(errno.into())),
    };
    let removed = Removal::of(top.as_fd(), go_on).run()?;
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => Ok(Removed { entries: removed.entries + 1 }),
        Err(errno) => Err(RemoveError::Left { removed: removed.entries, left: 1, source: errno.into() }),
    }
}

/// Removes everything in `dir` and keeps `dir` itself, readable and writable for its owner.
pub fn empty_dir(dir: BorrowedFd<'_>) -> Result<Removed, RemoveError> {
    Removal::of(dir, &|| true).run()
}

/// What stops one pass early.
enum Halt {
    Asked,
    Unsupported,
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    go_on: &'a dyn Fn() -> bool,
    removed: u64,
    /// Directories were moved to the top under the numbers below this one…
    hoisted: u64,
    /// …and those below this one have been dealt with.
    handled: u64,
    /// Of the present pass: whether anything became less, what stayed, and why the first of it did.
    progress: bool,
    left: u64,
    first_error: Option<io::Error>,
}

impl<'a> Removal<'a> {
    fn of(top: BorrowedFd<'a>, go_on: &'a dyn Fn() -> bool) -> Self {
        Self { top, go_on, removed: 0, hoisted: 0, handled: 0, progress: false, left: 0, first_error: None }
    }

    fn run(mut self) -> Result<Removed, RemoveError> {
        // Passes, because a directory that changes while it is read may skip entries (readdir(3)), and because what
        // stayed must be counted once, in a pass that changed nothing.
        loop {
            (self.progress, self.left, self.first_error) = (false, 0, None);
            match self.pass() {
                Ok(()) => {}
                Err(Halt::Asked) => {
                    return Err(RemoveError::Stopped { removed: self.removed });
                }
                Err(Halt::Unsupported) => return Err(RemoveError::Unsupported),
            }
            if !self.progress {
                break;
            }
        }
        match self.first_error {
            None => Ok(Removed { entries: self.removed }),
            Some(source) => Err(RemoveError::Left { removed: self.removed, left: self.left, source }),
        }
    }

    /// Everything in the top, and everything that was hoisted into it meanwhile.
    fn pass(&mut self) -> Result<(), Halt> {
        let mut stream = match restore_owner_access(self.top).and_then(|()| list(self.top)) {
            Ok(stream) => stream,
            Err(error) => return self.stays(error),
        };
        for entry in stream.iter() {
            match entry {
                Ok(entry) => self.remove_from_top(entry.file_name(), entry.file_type())?,
                Err(errno) => return self.stays(errno.into()),
            }
            while self.handled < self.hoisted {
                let name = hoisted_name(self.handled);
                self.handled += 1;
                self.remove_from_top(&name, Some(Type::Directory))?;
            }
        }
        Ok(())
    }

    fn remove_from_top(&mut self, name: &CStr, kind: Option<Type>) -> Result<(), Halt> {
        if is_dot(name) {
            return Ok(());
        }
        if self.removes(self.top, name, kind)? {
            return Ok(());
        }
        let directory = match resolve(self.top, name, DIRECTORY) {
            Ok(directory) => directory,
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return self.stays(errno.into()),
        };
        // The reason why something inside stays says more than "directory not empty" does: it is noted first.
        self.empty_into_top(&directory)?;
        match unlinkat(self.top, name, UnlinkatFlags::RemoveDir) {
            Ok(()) => self.went(),
            Err(errno) => self.stays(errno.into()),
        }
    }

    /// Empties a directory that lies in the top: unlinks what it can, hoists what it cannot.
    fn empty_into_top(&mut self, directory: &OwnedFd) -> Result<(), Halt> {
        let mut stream = match restore_owner_access(directory.as_fd()).and_then(|()| list(directory.as_fd()))
        {
            Ok(stream) => stream,
            Err(error) => return self.note(error),
        };
        for entry in stream.iter() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => return self.note(errno.into()),
            };
            let name = entry.file_name();
            if !is_dot(name) && !self.removes(directory.as_fd(), name, entry.file_type())? {
                self.hoist(directory.as_fd(), name)?;
            }
        }
        Ok(())
    }

    /// Tries the one call that removes an entry. `false`: it is a directory with something in it.
    fn removes(&mut self, parent: BorrowedFd<'_>, name: &CStr, kind: Option<Type>) -> Result<bool, Halt> {
        if !(self.go_on)() {
            return Err(Halt::Asked);
        }
        if kind != Some(Type::Directory) {
            match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) => return self.went().map(|()| true),
                Err(Errno::ENOENT) => return Ok(true),
                // The listing did not know the type. Linux says EISDIR, POSIX says EPERM.
                Err(Errno::EISDIR | Errno::EPERM) if kind.is_none() => {}
                Err(errno) => return self.stays(errno.into()).map(|()| true),
            }
        }
        match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
            Ok(()) => self.went().map(|()| true),
            Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
            // One of our numbers turned out to be a file of the tree's: the listing of the top will come to it.
            Err(Errno::ENOTDIR) => Ok(true),
            Err(errno) => self.stays(errno.into()).map(|()| true),
        }
    }

    fn hoist(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Halt> {
        let mut opened_up = false;
        loop {
            let number = self.hoisted;
            match renameat(parent, name, self.top, hoisted_name(number).as_c_str()) {
                Ok(()) => {
                    self.hoisted += 1;
                    self.progress = true;
                    return Ok(());
                }
                Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => self.hoisted += 1,
                // Moving a directory rewrites its `..`, so it must be writable itself (rename(2), EACCES).
                Err(Errno::EACCES) if !opened_up => {
                    opened_up = true;
                    let directory = match resolve(parent, name, DIRECTORY) {
                        Ok(directory) => directory,
                        Err(errno) => return self.stays(errno.into()),
                    };
                    if let Err(error) = restore_owner_access(directory.as_fd()) {
                        return self.stays(error);
                    }
                }
                // Also EMLINK and ENOSPC: the next pass finds the top emptier and tries again.
                Err(errno) => return self.stays(errno.into()),
            }
        }
    }

    fn went(&mut self) -> Result<(), Halt> {
        self.removed += 1;
        self.progress = true;
        Ok(())
    }

    fn stays(&mut self, error: io::Error) -> Result<(), Halt> {
        self.left += 1;
        self.note(error)
    }

    fn note(&mut self, error: io::Error) -> Result<(), Halt> {
        if error.raw_os_error() == Some(Errno::ENOSYS as i32) {
            return Err(Halt::Unsupported);
        }
        self.first_error.get_or_insert(error);
        Ok(())
    }
}

fn hoisted_name(number: u64) -> CString {
    CString::new(format!("hoisted-{number}")).expect("digits contain no NUL")
}
