//! What a daemon costs the machine at one moment, as `/proc` tells.

use std::fs;

use crate::processes::{self, Process};

/// What is allowed to stay behind after everything that a test did.
const GROWTH: u64 = 32 << 20;

/// What must be the same before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Living and dead ones that nobody waited for.
    children: Vec<Process>,
    descriptors: usize,
    mounts: usize,
    /// Bytes.
    resident: u64,
}

impl Footprint {
    pub(crate) fn of(pid: u32) -> Self {
        let proc = |file: &str| format!("/proc/{pid}/{file}");
        Self {
            children: processes::below(pid),
            descriptors: fs::read_dir(proc("fd")).map_or(0, Iterator::count),
            mounts: fs::read_to_string(proc("mountinfo")).unwrap_or_default().lines().count(),
            resident: resident(&fs::read_to_string(proc("status")).unwrap_or_default()),
        }
    }

    /// What of this is more than `baseline` had. `remembered` bytes of results may be kept on purpose.
    pub(crate) fn beyond(&self, baseline: &Self, remembered: u64) -> Option<String> {
        let zombies = self.children.iter().filter(|child| child.state == 'Z').count();
        let wrong = [
            (self.children.is_empty(), format!("{zombies} zombies among {:?}", self.children)),
            (self.mounts == baseline.mounts, format!("{} mounts, not {}", self.mounts, baseline.mounts)),
            // The client keeps a connection or two: those descriptors are not the daemon's doing.
            (
                self.descriptors <= baseline.descriptors + 4,
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

/// `VmRSS:      8340 kB`
fn resident(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
