//! `metrics` of an answer: what the run cost, and how that was measured.
//!
//! Numbers of the user's program only: interpreter boot and the daemon's own time show in `phases_ms` and nowhere else.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Wall clock of the user's program, in milliseconds, with fractions.
    pub duration_ms: f64,
    /// Of all its processes together, in milliseconds, with fractions.
    pub cpu_time_ms: f64,
    /// MiB, with fractions.
    pub peak_memory_mb: f64,
    pub io_read_bytes: u64,
    pub io_write_bytes: u64,
    pub memory_source: MemorySource,
    pub cpu_source: CpuSource,
    /// Whether its sandbox had been prepared before the request came; null when it got none, or when that died with the daemon.
    pub sandbox: Option<Sandbox>,
    pub phases_ms: PhasesMs,
}

/// Where a run's sandbox came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sandbox {
    /// It waited in the pool, its runtime booted.
    Warm,
    /// It was made for this run.
    Cold,
}

/// Where the time went, in milliseconds, with fractions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhasesMs {
    /// Waiting for a slot and for the workspace.
    pub queue: f64,
    /// Building the sandbox and booting the language runtime.
    pub prepare: f64,
    /// Handing over the program, until the user's code runs.
    pub start: f64,
    /// The user's code: `duration_ms` again.
    pub run: f64,
    /// Ending the sandbox and listing artifacts.
    pub collect: f64,
}

/// How `peak_memory_mb` was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemorySource {
    /// The kernel's own high-water mark of the run's cgroup.
    Cgroup,
    /// The largest sum over all processes that a periodic look found: a short peak between two looks is missed.
    Poller,
    /// The largest single process, as the kernel reports it at the end.
    Rusage,
    /// There was nothing to measure: the program never ran.
    NotMeasured,
}

/// How `cpu_time_ms` was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuSource {
    /// The run's cgroup: every process, ended or not.
    Cgroup,
    /// The last periodic look at all processes.
    Poller,
    /// What the kernel reports for ended and awaited processes.
    Rusage,
    /// There was nothing to measure: the program never ran.
    NotMeasured,
}
