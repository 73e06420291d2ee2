//! What a daemon holds of the machine, read from `/proc`: memory, processor time, descriptors, mounts, processes.
//!
//! Reading only. What the kernel does not let us look at is absent, never zero.

use std::{fs, time::Duration};

/// One process, or several together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// In bytes.
    pub(crate) resident: u64,
    /// In bytes, shared pages counted by share; absent where the kernel does not let us look.
    pub(crate) proportional: Option<u64>,
}

impl Memory {
    pub(crate) fn of(processes: &[u32]) -> Self {
        let mut sum = Self { resident: 0, proportional: Some(0) };
        for pid in processes {
            let status = read(*pid, "status");
            sum.resident += kibibytes(&status, "VmRSS:").unwrap_or(0) * 1024;
            let own = kibibytes(&read(*pid, "smaps_rollup"), "Pss:");
            sum.proportional = sum.proportional.zip(own).map(|(sum, own)| sum + own * 1024);
        }
        sum
    }
}

/// What must not grow with the number of runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// Of the daemon's own process.
    pub(crate) memory: Memory,
    /// Of the daemon's own process.
    pub(crate) descriptors: Option<usize>,
    /// In the daemon's mount namespace.
    pub(crate) mounts: usize,
    /// The daemon and all below it.
    pub(crate) processes: usize,
}

impl Held {
    pub(crate) fn by(pid: u32) -> Self {
        Self {
            memory: Memory::of(&[pid]),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count),
            mounts: read(pid, "mountinfo").lines().count(),
            processes: with_descendants(pid).len(),
        }
    }
}

/// The process, and all below it.
pub(crate) fn with_descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(children(parent));
        at += 1;
    }
    found
}

pub(crate) fn children(pid: u32) -> Vec<u32> {
    tasks(pid, "children")
        .iter()
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// Processor time of all their threads, in the kernel's nanoseconds: ticks of 10 ms would say nothing of an idle daemon.
pub(crate) fn on_cpu(processes: &[u32]) -> Duration {
    let nanoseconds = processes.iter().flat_map(|pid| tasks(*pid, "schedstat"));
    nanoseconds
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

fn tasks(pid: u32, file: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join(file)).ok()).collect()
}

/// Empty for a process that is gone, or that does not let us look.
fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_something_and_a_number_without_a_process_nothing() {
        let own = Held::by(std::process::id());
        assert!(own.memory.resident > 0 && own.mounts > 0 && own.processes > 0, "{own:?}");
        let nobody = Held::by(u32::MAX);
        assert_eq!((nobody.memory.resident, nobody.memory.proportional, nobody.descriptors), (0, None, None));
    }

    #[test]
    fn a_busy_thread_is_seen_on_the_processor() {
        let own = [std::process::id()];
        let before = on_cpu(&own);
        let until = std::time::Instant::now() + Duration::from_millis(50);
        while std::time::Instant::now() < until {}
        assert!(on_cpu(&own) > before);
    }
}
