//! The workspace after the run: compare, choose what is listed, hash it, say what was left out.
//!
//! Never fails: what goes wrong with one file is said about that file. Invariant: each regular file that was seen and is
//! listed is listed once, and no unchanged file takes a place that a changed one needed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use jiff::Timestamp;
use linux::tree;
use sandbox::limits::Bytes;

use super::bounds::{Bounds, Cut};
use super::classify;
use super::hash::{Hashing, Unhashed};
use super::record::{ArtifactRecord, Change};
use super::snapshot::Snapshot;
use super::walk::{Found, Skip, walk};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Sorted by path, bytewise.
    pub artifacts: Vec<ArtifactRecord>,
    /// There are, or may be, files that are not listed (hidden ones never are, and do not count here).
    pub truncated: bool,
    pub notes: Notes,
}

/// What the manifest does not show, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes {
    /// Files seen and not listed, because more were seen than are listed.
    pub unlisted: u64,
    /// Entries that are not files of the manifest's.
    pub skipped: BTreeMap<Skip, u64>,
    /// Listed files without a digest.
    pub unhashed: BTreeMap<Unhashed, u64>,
    /// Listed files whose name is not UTF-8, and is therefore not their name exactly.
    pub undecodable_names: u64,
    /// Which bounds kept the walk after the run from seeing everything.
    pub cuts: BTreeSet<Cut>,
    /// The same for the walk before it: `change` of files it missed was judged by the clock.
    pub snapshot_cuts: BTreeSet<Cut>,
}

/// Of a workspace in which there was nothing and is nothing, which is told by one look, quick enough for any thread.
pub fn of_nothing(dir: BorrowedFd<'_>, before: &Snapshot) -> Option<Manifest> {
    (before.is_of_nothing() && tree::is_empty(dir).unwrap_or(false)).then(|| Manifest {
        artifacts: Vec::new(),
        truncated: false,
        notes: Notes::default(),
    })
}

/// Blocks for at most `bounds.walk_time` and `bounds.hash_time` together (and a system call each).
pub fn collect(dir: BorrowedFd<'_>, before: &Snapshot, bounds: &Bounds) -> Manifest {
    let sighting = walk(dir, bounds);
    let mut notes = Notes {
        skipped: sighting.skipped,
        cuts: sighting.cuts,
        snapshot_cuts: before.cuts().clone(),
        ..Notes::default()
    };
    let mut judged: Vec<(Change, Found)> =
        sighting.files.into_iter().map(|found| (before.judge(&found), found)).collect();
    // By place, then by path: so that which files are listed, and which are hashed first, does not depend on the order
    // in which the file system happens to name them.
    judged.sort_unstable_by(|(change, found), (other_change, other)| {
        let paths = || found.path.as_os_str().as_bytes().cmp(other.path.as_os_str().as_bytes());
        place(*change).cmp(&place(*other_change)).then_with(paths)
    });
    notes.unlisted = judged.len().saturating_sub(bounds.listed) as u64;
    judged.truncate(bounds.listed);

    let mut hashing = Hashing::new(dir, bounds);
    let mut artifacts: Vec<ArtifactRecord> =
        judged.iter().map(|(change, found)| record(*change, found, &mut hashing, &mut notes)).collect();
    artifacts.sort_by(|one, other| one.path.cmp(&other.path));
    Manifest {
        artifacts,
        truncated: notes.unlisted > 0
            || !notes.cuts.is_empty()
            || notes.skipped.contains_key(&Skip::Unreadable),
        notes,
    }
}

/// What the run made or changed takes the places first.
fn place(change: Change) -> u8 {
    match change {
        Change::Created | Change::Modified => 0,
        Change::Unchanged => 1,
    }
}

fn record(change: Change, found: &Found, hashing: &mut Hashing<'_>, notes: &mut Notes) -> ArtifactRecord {
    let path = found.path.to_string_lossy();
    let exact_path = found.path.to_str().is_none().then(|| found.path.clone());
    notes.undecodable_names += u64::from(exact_path.is_some());
    let sha256 = match hashing.digest(found) {
        Ok(digest) => Some(digest),
        Err(why) => {
            *notes.unhashed.entry(why).or_default() += 1;
            None
        }
    };
    ArtifactRecord {
        path: path.into_owned(),
        size: Bytes(found.identity.size),
        mime_type: classify::mime_type(&found.path),
        kind: classify::kind(&found.path),
        change,
        sha256,
        created_at: created_at(found),
        exact_path,
        identity: found.identity,
    }
}

/// Times that a timestamp cannot hold (a damaged inode) become the nearest it can.
fn created_at(found: &Found) -> Timestamp {
    let born = found.born.and_then(|born| Timestamp::try_from(born).ok());
    born.unwrap_or_else(|| {
        let (seconds, nanoseconds) = found.identity.changed;
        let nanoseconds = i32::try_from(nanoseconds).unwrap_or(0);
        let nearest = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::new(seconds, nanoseconds).unwrap_or(nearest)
    })
}
