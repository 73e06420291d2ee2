//! What a run uses, seen from outside: CPU time, memory, processes.
//!
//! A sandbox's processes are the descendants of its init, wherever they were re-parented to. The sampler walks them in
//! `/proc`; a process that ends during the walk is simply not counted. Numbers of the sandbox itself (init, launcher, the
//! interpreter's boot) are measured once, before user code runs, and taken off.

use std::time::Duration;

use linux::clock::cpu_time;
use linux::pidfd::ChildUsage;
use procfs::process::Process;
use procfs::{ProcError, ProcResult};

use crate::limits::Bytes;

/// What one run used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    pub cpu_time: Duration,
    pub cpu_source: CpuSource,
    pub peak_memory: Bytes,
    pub memory_source: MemorySource,
    /// Bytes that reached a block device. Reads from the page cache and writes to tmpfs do not.
    pub io_read: Bytes,
    pub io_write: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CpuSource {
    /// The kernel's account of the program and all it waited for, taken when it ended (wait4(2)).
    Rusage,
    /// The last sample before the sandbox was killed.
    Poller,
    #[default]
    NotMeasured,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemorySource {
    /// The largest resident set of any one process (wait4(2)): more than any sample showed.
    Rusage,
    /// The largest sample of all processes together.
    Poller,
    #[default]
    NotMeasured,
}

/// The sandbox at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Of every process of the sandbox, ours included, living and waited for.
    pub cpu: Duration,
    /// Of the program's living processes.
    pub program_cpu: Duration,
    /// Of the program's processes, about: private pages that a fork still shares are in it more than once, mappings that
    /// processes share are in it once.
    pub memory: Bytes,
    /// Of the program's processes, at most: every page as often as it is mapped.
    pub memory_at_most: Bytes,
    /// Processes and threads of the program.
    pub tasks: u64,
}

/// Walks one sandbox.
#[derive(Debug, Clone, Copy)]
pub struct Sampler {
    init: u32,
    /// Kernel ticks per second, for the times of processes that were waited for.
    ticks: u64,
    page: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The sandbox's init, and its first child, the launcher.
    Ours,
    Programs,
}

/// One process during a walk.
struct Seen {
    process: Process,
    whose: Whose,
    cpu: Duration,
    threads: u64,
    /// Pages.
    private: u64,
    shared: u64,
}

impl Sampler {
    pub fn new(init: u32) -> Self {
        Self { init, ticks: procfs::ticks_per_second(), page: procfs::page_size() }
    }

    /// Never fails: a sandbox that is gone uses nothing.
    pub fn sample(&self) -> Sample {
        let mut sample = Sample::default();
        let (mut private, mut shared, mut resident) = (0, 0, 0);
        for seen in self.walk() {
            sample.cpu += seen.cpu;
            match seen.whose {
                Whose::Ours => {}
                Whose::Programs => {
                    sample.program_cpu += seen.cpu;
                    sample.tasks += seen.threads;
                    private += seen.private;
                    shared = shared.max(seen.shared);
                    resident += seen.private + seen.shared;
                }
            }
        }
        sample.memory = Bytes((private + shared) * self.page);
        sample.memory_at_most = Bytes(resident * self.page);
        sample
    }

    /// Init, launcher and runtime, of a sandbox in which nothing else has happened yet. A shell's runtime starts later.
    pub fn at_boot(&self) -> Vec<u32> {
        let first_child = |pid: &u32| children(*pid).into_iter().next();
        std::iter::successors(Some(self.init), first_child).take(3).collect()
    }

    /// CPU time so far, of such a sandbox. Cheaper than a sample: this is on the way of every answer.
    pub fn booted(&self) -> Sample {
        let spent: Vec<Duration> =
            self.at_boot().into_iter().map(|pid| cpu_time(pid).unwrap_or_default()).collect();
        let program_cpu = spent.get(2).copied().unwrap_or_default();
        Sample { cpu: spent.iter().sum(), program_cpu, ..Sample::default() }
    }

    /// The same sample with the memory that the program really holds, where it may matter to a run with this limit: the
    /// kernel's proportional sizes, which count each page once but are slow to get.
    pub fn weighed(&self, sample: Sample, limit: Bytes) -> Sample {
        if sample.memory_at_most.0 <= limit.0 / 4 * 3 {
            return sample;
        }
        let mut memory = self.weigh();
        if memory > limit {
            // A process that ends meanwhile leaves its share of a page to others, which may then be counted again.
            memory = memory.min(self.weigh());
        }
        Sample { memory, ..sample }
    }

    fn weigh(&self) -> Bytes {
        let walk = self.walk();
        let programs = walk.iter().filter(|seen| seen.whose == Whose::Programs);
        let sizes = programs.map(|seen| match proportional_size(&seen.process) {
            Ok(size) => size,
            // Hiding must not make a process smaller.
            Err(ProcError::PermissionDenied(_)) => (seen.private + seen.shared) * self.page,
            // It has ended.
            Err(_) => 0,
        });
        Bytes(sizes.sum())
    }

    fn walk(&self) -> Vec<Seen> {
        let mut walked = Vec::new();
        let mut pending = vec![(self.init, Whose::Ours)];
        while let Some((pid, whose)) = pending.pop() {
            let Some((seen, children)) = self.look_at(pid, whose) else {
                continue;
            };
            // The launcher was the first child of init, and pids of one boot only grow until they wrap.
            let launcher = (pid == self.init).then(|| children.iter().min().copied()).flatten();
            pending.extend(children.into_iter().map(|child| {
                let whose = if Some(child) == launcher { Whose::Ours } else { Whose::Programs };
                (child, whose)
            }));
            walked.push(seen);
        }
        walked
    }

    fn look_at(&self, pid: u32, whose: Whose) -> Option<(Seen, Vec<u32>)> {
        let process = Process::new(i32::try_from(pid).ok()?).ok()?;
        let stat = process.stat().ok()?;
        let memory = process.statm().ok()?;
        let children =
            process.tasks().ok()?.filter_map(|task| task.ok()?.children().ok()).flatten().collect();
        let waited_for = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0) * 1000 / self.ticks;
        let seen = Seen {
            whose,
            cpu: cpu_time(pid).unwrap_or_default() + Duration::from_millis(waited_for),
            threads: u64::try_from(stat.num_threads).unwrap_or(0),
            private: memory.resident.saturating_sub(memory.shared),
            shared: memory.shared,
            process,
        };
        Some((seen, children))
    }
}

/// Of a process with one thread.
fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn proportional_size(process: &Process) -> ProcResult<u64> {
    let rollup = process.smaps_rollup()?;
    let map = rollup.memory_map_rollup.into_iter().next();
    Ok(map.and_then(|map| map.extension.map.get("Pss").copied()).unwrap_or_default())
}

/// Everything that was measured of a run, and its sum.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    /// When user code began.
    pub before: Sample,
    /// The largest memory and the last CPU time of all samples since.
    pub peak: Sample,
    /// The launcher's account of the runtime: CPU time and the largest resident set, boot included.
    pub runtime: Option<(Duration, Bytes)>,
    /// CPU time of the runtime alone when user code began.
    pub runtime_before: Duration,
    /// bubblewrap's account of everything.
    pub sandbox: ChildUsage,
}

impl Measured {
    pub fn starting_at(before: Sample) -> Self {
        Self { before, runtime_before: before.program_cpu, ..Self::default() }
    }

    pub fn observe(&mut self, sample: Sample) {
        self.peak.cpu = self.peak.cpu.max(sample.cpu);
        self.peak.memory = self.peak.memory.max(sample.memory);
        self.peak.tasks = self.peak.tasks.max(sample.tasks);
    }

    /// CPU time the program has used, as far as samples show.
    pub fn sampled_cpu(&self) -> Duration {
        self.peak.cpu.saturating_sub(self.before.cpu)
    }

    pub fn usage(&self) -> Usage {
        let sampled_cpu = self.sampled_cpu();
        let (cpu, cpu_source) = match self.runtime {
            Some((cpu, _)) => (sampled_cpu.max(cpu.saturating_sub(self.runtime_before)), CpuSource::Rusage),
            None => (sampled_cpu, CpuSource::Poller),
        };
        let (peak_memory, memory_source) = match self.runtime {
            Some((_, resident)) if resident > self.peak.memory => (resident, MemorySource::Rusage),
            Some(_) | None => (self.peak.memory, MemorySource::Poller),
        };
        Usage {
            cpu_time: cpu,
            cpu_source,
            peak_memory,
            memory_source,
            io_read: Bytes(self.sandbox.blocks_read * 512),
            io_write: Bytes(self.sandbox.blocks_written * 512),
        }
    }
}
