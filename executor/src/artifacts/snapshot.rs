//! The workspace before the run, and the judgement what a run did to a file. Holds no content and no open file.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::bounds::{Bounds, Cut};
use super::record::Change;
use super::walk::{Found, Identity, Skip, walk};

/// The kernel stamps files with a clock that may lag the real one by a tick (10 ms at 100 Hz).
const CLOCK_LAG: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Snapshot {
    files: HashMap<PathBuf, Identity>,
    cuts: BTreeSet<Cut>,
    /// Every file was seen, so one that is not in `files` did not exist.
    complete: bool,
    taken_at: SystemTime,
}

impl Snapshot {
    /// Looks at the workspace. Blocks for at most `bounds.walk_time` (and one system call).
    pub fn take(dir: BorrowedFd<'_>, bounds: &Bounds) -> Self {
        let sighting = walk(dir, bounds);
        Self {
            complete: sighting.cuts.is_empty() && !sighting.skipped.contains_key(&Skip::Unreadable),
            cuts: sighting.cuts,
            files: sighting.files.into_iter().map(|found| (found.path, found.identity)).collect(),
            taken_at: SystemTime::now(),
        }
    }

    /// Of a workspace that was just made: nothing needs to be looked at.
    pub fn of_nothing() -> Self {
        Self { files: HashMap::new(), cuts: BTreeSet::new(), complete: true, taken_at: SystemTime::now() }
    }

    /// There was nothing, as far as was looked, and all was looked at.
    pub(super) fn is_of_nothing(&self) -> bool {
        self.complete && self.files.is_empty()
    }

    /// Which bounds kept it from seeing everything.
    pub fn cuts(&self) -> &BTreeSet<Cut> {
        &self.cuts
    }

    pub(super) fn judge(&self, found: &Found) -> Change {
        match self.files.get(&found.path) {
            Some(before) if *before == found.identity => Change::Unchanged,
            Some(_) => Change::Modified,
            None if self.complete => Change::Created,
            None => self.judge_by_clock(found),
        }
    }

    /// For a file that the snapshot may have missed. The ctime is the kernel's, so it tells whether the file changed since.
    fn judge_by_clock(&self, found: &Found) -> Change {
        let before_the_run = |time: SystemTime| time + CLOCK_LAG < self.taken_at;
        match found.born {
            _ if before_the_run(changed_at(found)) => Change::Unchanged,
            Some(born) if before_the_run(born) => Change::Modified,
            Some(_) | None => Change::Created,
        }
    }
}

/// A time that does not fit counts as now: the file is then reported rather than hidden.
fn changed_at(found: &Found) -> SystemTime {
    let (seconds, nanoseconds) = found.identity.changed;
    u64::try_from(seconds)
        .ok()
        .zip(u32::try_from(nanoseconds).ok())
        .and_then(|(seconds, nanoseconds)| UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds)))
        .unwrap_or_else(SystemTime::now)
}
