//! What a daemon costs the machine at one moment, as `/proc` tells.

use std::fs;
use std::path::{Path, PathBuf};

use crate::processes::{self, Process};

/// What is allowed to stay behind after everything that a test did.
const GROWTH: u64 = 32 << 20;

/// Threads for blocking work, which the runtime ends when they had nothing to do for ten seconds.
const SPARE_THREADS: usize = 32;

/// What must be the same before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Living and dead ones that nobody waited for.
    children: Vec<Process>,
    threads: usize,
    descriptors: usize,
    mounts: usize,
    /// The cgroups of runs, which the daemon keeps locked, and files that were to be renamed.
    leftovers: Vec<PathBuf>,
    /// Bytes.
    resident: u64,
}

impl Footprint {
    pub(crate) fn of(pid: u32, results: &Path) -> Self {
        let proc = |file: &str| format!("/proc/{pid}/{file}");
        let mut leftovers = leaves(pid);
        leftovers.extend(half_written(results));
        Self {
            children: processes::below(pid),
            threads: fs::read_dir(proc("task")).map_or(0, Iterator::count),
            leftovers,
            descriptors: fs::read_dir(proc("fd")).map_or(0, Iterator::count),
            mounts: mounts(&fs::read_to_string(proc("mountinfo")).unwrap_or_default()),
            resident: resident(&fs::read_to_string(proc("status")).unwrap_or_default()),
        }
    }

    /// What of this is more than `baseline` had. `remembered` bytes of results and so many connections may be kept on purpose.
    pub(crate) fn beyond(&self, baseline: &Self, remembered: u64, connections: usize) -> Option<String> {
        let zombies = self.children.iter().filter(|child| child.state == 'Z').count();
        let wrong = [
            (self.children.is_empty(), format!("{zombies} zombies among {:?}", self.children)),
            (self.leftovers.is_empty(), format!("{:?}", self.leftovers)),
            (
                self.threads <= baseline.threads + SPARE_THREADS,
                format!("{} threads, not {}", self.threads, baseline.threads),
            ),
            (self.mounts == baseline.mounts, format!("{} mounts, not {}", self.mounts, baseline.mounts)),
            // The client keeps a connection or two: those descriptors are not the daemon's doing.
            (
                self.descriptors <= baseline.descriptors + 4 + connections,
                format!("{} descriptors, not {}", self.descriptors, baseline.descriptors),
            ),
            (
                self.resident <= baseline.resident + GROWTH + remembered,
                format!(
                    "{} bytes resident, was {}, {remembered} of results",
                    self.resident, baseline.resident
                ),
            ),
        ];
        let wrong: Vec<_> = wrong.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what).collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

/// The cgroups that some run of this daemon has now, without those of sandboxes that wait for one.
pub fn leaves(pid: u32) -> Vec<PathBuf> {
    let is_leaf = |target: &PathBuf| {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        target.starts_with("/sys/fs/cgroup") && name.starts_with("run-") && !waits(pid, target)
    };
    processes::descriptors(pid).filter(is_leaf).collect()
}

fn waits(daemon: u32, leaf: &Path) -> bool {
    let procs = fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default();
    let pids: Vec<u32> = procs.lines().filter_map(|pid| pid.parse().ok()).collect();
    !pids.is_empty() && processes::wait(daemon, &pids)
}

/// Containers that others start and end on this machine meanwhile show here, too.
fn mounts(mountinfo: &str) -> usize {
    mountinfo.lines().filter(|mount| !mount.contains("/docker/")).count()
}

fn half_written(results: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(results).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "tmp")).collect()
}

/// `VmRSS:      8340 kB`
fn resident(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
