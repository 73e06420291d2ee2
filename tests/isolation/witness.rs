//! Somebody else who counts: a memory cgroup around the daemon, made by the test, without any limit.
//!
//! Everything that the daemon and its sandboxes take from then on is charged to it by the kernel, which misses nothing. The
//! sandboxes that the daemon has begun ahead of their run are moved, too. The daemon must not hold runs in cgroups itself: what
//! it made would be elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use conformance::Daemon;
use conformance::processes::waiting;

use crate::support::canary;

#[derive(Debug)]
pub(crate) struct Witness {
    cgroup: PathBuf,
    parent: PathBuf,
    peak: &'static str,
}

impl Witness {
    /// `None` where no memory cgroup can be made.
    pub(crate) fn around(daemon: &Daemon) -> Option<Self> {
        let hierarchies = [
            (Path::new("/sys/fs/cgroup/memory"), "memory.max_usage_in_bytes"),
            (Path::new("/sys/fs/cgroup"), "memory.peak"),
        ];
        for (parent, peak) in hierarchies {
            let cgroup = parent.join(canary("memory"));
            if parent.join("cgroup.procs").exists() && fs::create_dir(&cgroup).is_ok() {
                let witness = Self { cgroup, parent: parent.to_owned(), peak };
                if witness.cgroup.join(peak).exists() {
                    witness.surround(daemon);
                    return Some(witness);
                }
            }
        }
        None
    }

    /// The daemon first: what it begins later is born here.
    fn surround(&self, daemon: &Daemon) {
        let take = |pid: u32| fs::write(self.cgroup.join("cgroup.procs"), pid.to_string()).unwrap();
        take(daemon.pid());
        daemon.wait_for_pool();
        waiting(daemon.pid()).into_iter().for_each(take);
    }

    /// The most that was charged so far, in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        let text = fs::read_to_string(self.cgroup.join(self.peak)).unwrap();
        text.trim().parse::<u64>().unwrap() >> 20
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.cgroup).is_err() && self.cgroup.exists() && Instant::now() < deadline {
            let left = fs::read_to_string(self.cgroup.join("cgroup.procs")).unwrap_or_default();
            for pid in left.lines() {
                // It may have ended meanwhile.
                fs::write(self.parent.join("cgroup.procs"), pid).ok();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
