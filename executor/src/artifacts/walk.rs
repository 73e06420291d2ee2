//! One look at a workspace: which regular files there are, by `stat` alone. Opens directories, never a file.
//!
//! Hidden is what has a component that starts with a dot *below* the workspace; where the workspace itself lies does not
//! matter. Hidden directories are not entered, but their own entry counts towards the bounds like any other.
//!
//! The walk goes by path below `/proc/self/fd/<dir>`. That is safe because nobody else is in the workspace: the directory
//! entries that were checked are the ones that are entered. It holds one descriptor per level of depth, so that no listing
//! is ever read ahead into memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{FileType, Metadata};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use walkdir::{DirEntry, WalkDir};

use super::bounds::{Bounds, Cut};

/// Tells whether a file is still the same one with the same content. A program can set its mtime; it cannot set its ctime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// ctime: seconds and nanoseconds.
    pub(super) changed: (i64, i64),
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A regular file.
#[derive(Debug)]
pub(super) struct Found {
    /// Relative to the workspace.
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    /// How many names the inode has, wherever they are.
    pub(super) links: u64,
    /// Birth time, where the file system knows it.
    pub(super) born: Option<SystemTime>,
}

/// Why an entry is not among the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    SymbolicLink,
    /// A FIFO, a socket or a device node.
    Special,
    /// A directory that may not be listed, or an entry that may not be looked at.
    Unreadable,
}

#[derive(Debug, Default)]
pub(super) struct Sighting {
    pub(super) files: Vec<Found>,
    pub(super) skipped: BTreeMap<Skip, u64>,
    pub(super) cuts: BTreeSet<Cut>,
}

pub(super) fn walk(dir: BorrowedFd<'_>, bounds: &Bounds) -> Sighting {
    let root = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    let mut sighting = Sighting::default();
    let Ok(device) = std::fs::metadata(&root).map(|metadata| metadata.dev()) else {
        sighting.skip(Skip::Unreadable);
        return sighting;
    };
    let deadline = Instant::now() + bounds.walk_time;
    let mut path_bytes = 0;
    let mut entries = WalkDir::new(&root)
        .min_depth(1)
        .max_depth(bounds.depth + 1)
        .max_open(bounds.depth + 2)
        .follow_links(false)
        .same_file_system(true)
        .into_iter();
    let mut seen = 0;
    while let Some(entry) = entries.next() {
        seen += 1;
        if seen > bounds.entries {
            sighting.cuts.insert(Cut::Entries);
            break;
        }
        if Instant::now() >= deadline {
            sighting.cuts.insert(Cut::Time);
            break;
        }
        let Ok(entry) = entry else {
            sighting.skip(Skip::Unreadable);
            continue;
        };
        let kind = entry.file_type();
        if is_hidden(&entry) {
            if kind.is_dir() && is_entered(&entry, device) {
                entries.skip_current_dir();
            }
            continue;
        }
        if kind.is_dir() {
            // The deepest directories are only seen, not entered: they were opened for nothing, and may be empty.
            if entry.depth() > bounds.depth {
                sighting.cuts.insert(Cut::Depth);
            }
            continue;
        }
        if !kind.is_file() {
            sighting.skip(kind_of_skip(kind));
            continue;
        }
        let Some(found) = look_at(&entry, &root) else {
            sighting.skip(Skip::Unreadable);
            continue;
        };
        path_bytes += found.path.as_os_str().len();
        if path_bytes > bounds.path_bytes {
            sighting.cuts.insert(Cut::PathBytes);
            break;
        }
        sighting.files.push(found);
    }
    sighting
}

impl Sighting {
    fn skip(&mut self, why: Skip) {
        *self.skipped.entry(why).or_default() += 1;
    }
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_bytes().starts_with(b".")
}

/// Whether `skip_current_dir` would skip this directory. For one on another file system, which walkdir does not enter,
/// it would skip the rest of the directory that contains it.
fn is_entered(entry: &DirEntry, device: u64) -> bool {
    entry.metadata().is_ok_and(|metadata| metadata.dev() == device)
}

fn look_at(entry: &DirEntry, root: &Path) -> Option<Found> {
    let metadata = entry.metadata().ok()?;
    let path = entry.path().strip_prefix(root).ok()?.to_owned();
    // The listing's type and the file's own agree, unless the listing was wrong.
    metadata.is_file().then(|| Found {
        path,
        identity: Identity::of(&metadata),
        links: metadata.nlink(),
        born: metadata.created().ok(),
    })
}

fn kind_of_skip(kind: FileType) -> Skip {
    if kind.is_symlink() { Skip::SymbolicLink } else { Skip::Special }
}
