//! The cgroup of one run.
//!
//! While the daemon lives it holds a lock on each of its leaves; one without a lock was left by a daemon that is dead.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use linux::spawn::Detour;

use super::Controller;
use super::places::Place;
use super::removal;
use crate::host::CgroupVersion;
use crate::limits::Bytes;

/// The sandbox around the program: its init and launcher, their page tables and stacks, the mounts. Measured at 2 MiB.
const OUR_MEMORY: Bytes = Bytes::mib(4);

/// bubblewrap itself, which waits outside for the sandbox to end.
const OUR_TASKS: u64 = 1;

/// Beside the daemon's 100, in version 2 where they are neighbours: its answers and heartbeats come first.
const WEIGHT: &str = "25";

/// Of the name of every leaf.
pub(super) const PREFIX: &str = "run-";

#[derive(Debug)]
pub(crate) struct Leaf {
    version: CgroupVersion,
    places: Vec<Place>,
    memory: Bytes,
    locks: Vec<File>,
}

/// What the kernel has counted for a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Charged {
    /// At most so far: memory of processes, tmpfs, page cache and what the kernel itself holds for them.
    pub(crate) peak: Bytes,
    /// It killed because the run's limit was reached. Counters alone do not say that: they also count whom it killed because
    /// the whole machine, or the container, had no memory left.
    pub(crate) out_of_memory: bool,
}

impl Leaf {
    pub(super) fn make(version: CgroupVersion, parents: &[Place], name: &str) -> io::Result<Self> {
        let places = Vec::with_capacity(parents.len());
        let mut leaf = Self { version, places, memory: Bytes(u64::MAX), locks: Vec::new() };
        for parent in parents {
            let place = parent.below(name);
            fs::create_dir(&place.directory)?;
            // From here on dropping the leaf removes it.
            leaf.places.push(place.clone());
            leaf.locks.push(locked(&place.directory)?);
        }
        Ok(leaf)
    }

    /// Sets what everything in it may use together: the run's own, and the sandbox around it on top.
    pub(crate) fn limit(&mut self, memory: Bytes, tasks: u64) -> io::Result<()> {
        self.memory = Bytes(memory.0 + OUR_MEMORY.0);
        let memory = self.memory.0.to_string();
        match self.version {
            CgroupVersion::V1 => {
                self.write(Controller::Memory, "memory.limit_in_bytes", &memory)?;
                // Memory and swap together; not there where the kernel does not count swap.
                if self.file(Controller::Memory, "memory.memsw.limit_in_bytes")?.exists() {
                    self.write(Controller::Memory, "memory.memsw.limit_in_bytes", &memory)?;
                }
            }
            CgroupVersion::V2 => {
                self.write(Controller::Memory, "memory.max", &memory)?;
                self.write(Controller::Memory, "memory.oom.group", "1")?;
                if self.file(Controller::Memory, "memory.swap.max")?.exists() {
                    self.write(Controller::Memory, "memory.swap.max", "0")?;
                }
            }
        }
        if self.has(Controller::Pids) {
            self.write(Controller::Pids, "pids.max", &(tasks + OUR_TASKS).to_string())?;
        }
        match self.version {
            CgroupVersion::V2 if self.has(Controller::Cpu) => {
                self.write(Controller::Cpu, "cpu.weight", WEIGHT)
            }
            // All runs weigh the same, and together as much as the daemon.
            CgroupVersion::V1 | CgroupVersion::V2 => Ok(()),
        }
    }

    /// The way of a thread through it, from below `parents` and back; `None` where only whole processes can be moved.
    pub(super) fn detour(&self, parents: &[Place]) -> Option<Detour> {
        let open = |places: &[Place]| {
            let tasks = places.iter().map(|place| place.directory.join("tasks"));
            tasks.map(|tasks| File::options().write(true).open(tasks).ok()).collect::<Option<Vec<_>>>()
        };
        match self.version {
            CgroupVersion::V1 => Some(Detour { enter: open(&self.places)?, leave: open(parents)? }),
            CgroupVersion::V2 => None,
        }
    }

    /// Moves a process in, which must not have children yet.
    pub(crate) fn join(&self, pid: u32) -> io::Result<()> {
        self.places
            .iter()
            .try_for_each(|place| fs::write(place.directory.join("cgroup.procs"), pid.to_string()))
    }

    /// SIGKILL for everything in it, where the kernel can (version 2, Linux 5.14).
    pub(crate) fn kill(&self) {
        if self.version == CgroupVersion::V2 {
            self.places.iter().for_each(|place| kill(&place.directory));
        }
    }

    /// What was counted so far. A counter that this kernel lacks reads as zero.
    pub(crate) fn charged(&self) -> Charged {
        let (peak, events) = match self.version {
            CgroupVersion::V1 => ("memory.max_usage_in_bytes", "memory.oom_control"),
            CgroupVersion::V2 => ("memory.peak", "memory.events"),
        };
        let peak = Bytes(self.read(peak).trim().parse().unwrap_or(0));
        let killed = count(&self.read(events), "oom_kill") > 0;
        Charged { peak, out_of_memory: killed && peak.0 >= self.memory.0 / 10 * 9 }
    }

    fn has(&self, controller: Controller) -> bool {
        self.directory(controller).is_some()
    }

    fn directory(&self, controller: Controller) -> Option<&Path> {
        let place = self.places.iter().find(|place| place.controllers.contains(&controller))?;
        Some(&place.directory)
    }

    fn file(&self, controller: Controller, name: &str) -> io::Result<PathBuf> {
        let missing = || io::Error::other(format!("no cgroup for {}", controller.name()));
        self.directory(controller).map(|directory| directory.join(name)).ok_or_else(missing)
    }

    fn write(&self, controller: Controller, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.file(controller, name)?, value)
    }

    /// Of the memory controller.
    fn read(&self, name: &str) -> String {
        self.file(Controller::Memory, name).and_then(fs::read_to_string).unwrap_or_default()
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        self.places.drain(..).for_each(|place| removal::begin(place.directory));
    }
}

/// Not needed: a run's processes also end with the first one of their pid namespace. So where it cannot be, it is not.
fn kill(directory: &Path) {
    fs::write(directory.join("cgroup.kill"), "1").ok();
}

/// While the lock is held nobody else removes the directory.
fn locked(directory: &Path) -> io::Result<File> {
    lock(File::open(directory)?, directory)
}

fn lock(opened: File, directory: &Path) -> io::Result<File> {
    opened.try_lock()?;
    // Whoever had the lock before may have removed it.
    fs::metadata(directory)?;
    Ok(opened)
}

/// Removes the leaves that nobody holds any more. One that is not empty stays: its processes are being ended.
pub(super) fn sweep(place: &Place) -> io::Result<()> {
    for entry in fs::read_dir(&place.directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            if_nobodys(&entry.path(), |directory| {
                kill(directory);
                removal::remove(directory).ok();
            });
        }
    }
    Ok(())
}

/// The lock is held meanwhile: another daemon may be about to take it.
fn if_nobodys(directory: &Path, then: impl FnOnce(&Path)) {
    if let Ok(_lock) = locked(directory) {
        then(directory);
    }
}

/// `oom_kill 3`
fn count(events: &str, name: &str) -> u64 {
    let line = events.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To lock a cgroup and to remove it is to lock and to remove a directory.
    fn leaf() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let leaf = place.path().join(PREFIX);
        fs::create_dir(&leaf).unwrap();
        (place, leaf)
    }

    #[test]
    fn while_one_is_being_removed_nobody_else_can_take_it() {
        let (_place, leaf) = leaf();
        let mut seen = None;
        if_nobodys(&leaf, |leaf| seen = locked(leaf).err().map(|error| error.kind()));
        assert_eq!(seen, Some(io::ErrorKind::WouldBlock));
        let taken = locked(&leaf).unwrap();
        if_nobodys(&leaf, |_| panic!("it is somebody's"));
        drop(taken);
    }

    #[test]
    fn one_that_was_removed_after_it_was_opened_is_not_taken() {
        let (_place, leaf) = leaf();
        let opened = File::open(&leaf).unwrap();
        fs::remove_dir(&leaf).unwrap();
        assert_eq!(lock(opened, &leaf).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
