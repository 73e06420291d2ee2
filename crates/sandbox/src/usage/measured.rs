//! Everything that was measured of a run, and what it comes to.

use std::time::Duration;

use linux::pidfd::ChildUsage;

use super::{CpuSource, MemorySource, Sample, Usage};
use crate::cgroup::Charged;
use crate::limits::Bytes;

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
    /// The cgroup's, where there is one.
    pub(crate) charged: Option<Charged>,
}

impl Measured {
    pub fn starting_at(before: Sample) -> Self {
        Self { before, runtime_before: before.program_cpu, ..Self::default() }
    }

    pub fn observe(&mut self, sample: Sample) {
        self.peak.cpu = self.peak.cpu.max(sample.cpu);
        self.peak.memory = self.peak.memory.max(sample.memory);
        self.peak.files_left_out = self.peak.files_left_out.max(sample.files_left_out);
        self.peak.tasks = self.peak.tasks.max(sample.tasks);
    }

    /// CPU time the program has used, as far as samples show.
    pub fn sampled_cpu(&self) -> Duration {
        self.peak.cpu.saturating_sub(self.before.cpu)
    }

    /// What its processes held at most, as far as it was seen.
    pub fn held(&self) -> (Bytes, MemorySource) {
        // The kernel's resident set has files in it that do not count.
        let resident = |all: Bytes| Bytes(all.0.saturating_sub(self.peak.files_left_out.0));
        match self.runtime.map(|(_, all)| resident(all)) {
            Some(resident) if resident > self.peak.memory => (resident, MemorySource::Rusage),
            Some(_) | None => (self.peak.memory, MemorySource::Poller),
        }
    }

    pub fn usage(&self) -> Usage {
        let sampled_cpu = self.sampled_cpu();
        let (cpu, cpu_source) = match self.runtime {
            Some((cpu, _)) => (sampled_cpu.max(cpu.saturating_sub(self.runtime_before)), CpuSource::Rusage),
            None => (sampled_cpu, CpuSource::Poller),
        };
        let (peak_memory, memory_source) =
            self.charged.map_or_else(|| self.held(), |charged| (charged.peak, MemorySource::Cgroup));
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
