//! What a daemon is when nothing runs: taken twice, so that what the time between has left shows.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use conformance::{Daemon, leaves, processes};
use serde_json::Value;

use crate::client::{Client, script};
use crate::report::Section;
use crate::{Soak, leftovers};

/// Threads for blocking work end when they had nothing to do for ten seconds, and their stacks with them.
const REST: Duration = Duration::from_secs(12);

const GROWTH_MIB: f64 = 2.0;

const PATIENCE: Duration = Duration::from_secs(45);

/// So many small runs put everything else out of the daemon's memory of finished ones.
pub(super) const REMEMBERED: usize = 200;

#[derive(Debug)]
pub(super) struct Still {
    /// MiB
    resident: f64,
    descriptors: usize,
    processes: Vec<String>,
    mounts: usize,
    cgroups: usize,
    files: usize,
}

impl Still {
    /// Waits until the last run has left nothing, then looks.
    pub(super) fn of(soak: &Soak, daemon: &Daemon, name: &str) -> Self {
        let client = Client::new(daemon.address());
        client.execute_all(soak, 4, REMEMBERED + 10, |n| script(&format!("exec_{name}_{n}"), "echo still"));
        drop(client);
        let idle = || {
            let health: Value = daemon.get("/health").json();
            health["active_executions"] == 0
                && health["queued_executions"] == 0
                && health["outbox"]["pending"] == 0
                && processes::below(daemon.pid()).is_empty()
        };
        soak.eventually(PATIENCE, idle);
        daemon.wait_for_pool();
        let until = Instant::now() + REST;
        let mut resident = f64::MAX;
        while Instant::now() < until && !soak.is_over() {
            std::thread::sleep(Duration::from_millis(250));
            resident = resident.min(leftovers::resident_kib(daemon.pid()) as f64 / 1024.0);
        }
        daemon.wait_for_pool();
        let pid = daemon.pid();
        Self {
            resident,
            descriptors: descriptors(pid),
            processes: processes::below(pid).into_iter().map(|process| format!("{process:?}")).collect(),
            mounts: fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default().lines().count(),
            cgroups: leaves(pid).len(),
            files: files(daemon.home()),
        }
    }

    /// `self`: before.
    pub(super) fn compare(&self, after: &Self, soak: &Soak, section: &mut Section) {
        let grown = after.resident - self.resident;
        let measured = format!("{grown:+.2} MiB, from {:.1} MiB", self.resident);
        // Within seconds a daemon has not yet had everything that it needs once.
        if soak.quick {
            section.told("memory grown after the first part", measured);
        } else {
            let required = format!("≤ {GROWTH_MIB} MiB");
            section.must("memory grown after the first part", required, measured, grown <= GROWTH_MIB);
        }
        section.exactly("descriptors, without connections", self.descriptors, after.descriptors);
        section.none("processes left", &after.processes);
        section.exactly("mounts", self.mounts, after.mounts);
        section.exactly("cgroups of runs", self.cgroups, after.cgroups);
        section.exactly("files", self.files, after.files);
    }
}

/// Connections to the control plane and from callers are kept or not, as it happens.
fn descriptors(pid: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| !target.to_string_lossy().starts_with("socket:")).count()
}

fn files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            Ok(_) | Err(_) => 1,
        })
        .sum()
}
