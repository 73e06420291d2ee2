//! `GET /health`, `/health/live` and `/health/ready`: whether the daemon works, and how well it can isolate here.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub status: HealthStatus,
    /// Why not, with what to do; left out when healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub version: String,
    pub uptime_seconds: f64,
    pub active_executions: u64,
    pub queued_executions: u64,
    pub isolation: IsolationState,
    /// Left out when there is no control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox: Option<OutboxState>,
}

/// Results that the control plane does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxState {
    /// They are being delivered.
    pub pending: u64,
    /// Refused, or damaged: kept for a person.
    pub set_aside: u64,
    /// Since the daemon's start: too old, or no room.
    pub let_go: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    Healthy,
    Unhealthy,
}

/// What is applied to every run on this host, as probed and not as hoped for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationState {
    pub tier: IsolationTier,
    /// User namespaces can be made.
    pub userns: bool,
    /// The system call filter. This version starts nothing without it.
    pub seccomp: SeccompState,
    pub proc: ProcMount,
    /// Besides the system call filter, the kernel forbids user namespaces inside.
    pub disable_userns: bool,
    pub cgroup: CgroupVersion,
    pub memory: MemoryWatch,
    /// Null when bubblewrap could not be asked.
    pub bwrap_version: Option<String>,
}

/// What held one run: of [`IsolationState`] that by which the value of its result is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIsolation {
    pub tier: IsolationTier,
    pub seccomp: SeccompState,
    pub cgroup: CgroupVersion,
    pub memory: MemoryWatch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IsolationTier {
    /// Everything, with a process table of its own.
    Full,
    /// The host forbids a fresh `/proc`: the container's is shown, read-only.
    SharedProc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeccompState {
    Off,
    On,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcMount {
    Private,
    Shared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupVersion {
    None,
    V1,
    V2,
}

/// What holds a run to its memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryWatch {
    Cgroup,
    Poller,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    pub status: LiveStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveStatus {
    Live,
    Stuck,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub status: ReadyStatus,
    /// Why not; left out when ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadyStatus {
    Ready,
    NotReady,
}
