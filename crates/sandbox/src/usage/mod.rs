//! What a run uses, seen from outside: CPU time, memory, processes.
//!
//! ```text
//! sampler ── walks the processes ──────────► Sample, at most what is held (cheap)
//!    │                                          │ near the limit
//!    ├── process.rs  what one process holds     ▼
//!    └── beside.rs   what none of them maps ──► Sample, weighed: what is held (slow)
//! pace ── when to look again
//! measured ── all samples of a run, and what they come to
//! ```
//!
//! Invariant: a program cannot make itself look smaller. What may not be looked at is taken for as large as it can be.

mod beside;
mod measured;
pub(crate) mod pace;
mod process;
mod sampler;

use std::time::Duration;

pub use measured::Measured;
pub use sampler::{FirstChild, Resting, Sample, Sampler};

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
    /// The most that the kernel charged to the run's cgroup.
    Cgroup,
    /// The largest resident set of any one process (wait4(2)): more than any sample showed.
    Rusage,
    /// The largest sample of all processes together.
    Poller,
    #[default]
    NotMeasured,
}
