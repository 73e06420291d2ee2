//! What the daemon posts to the control plane. `openapi/control-plane-callbacks.yaml` is the promise.
//!
//! A result is an [`ExecuteResponse`](crate::ExecuteResponse), or a [`CompactResult`] for control planes of the first
//! generation.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Cause, CauseDetail, IsolationState, Metrics, RunIsolation};

/// `POST /internal/executions/{id}/heartbeat`: the run is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// RFC 3339, UTC.
    pub timestamp: String,
    pub progress: Progress,
}

/// Where a run is now. What is not known yet is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub phase: Phase,
    /// Since the request was accepted.
    pub elapsed_ms: u64,
    /// Of all processes of the run.
    pub cpu_time_ms: u64,
    /// Now, not the peak.
    pub memory_bytes: u64,
    /// What the program has written, kept or not.
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
}

/// Words of `phases_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Queue,
    Prepare,
    Run,
    Collect,
}

/// `POST /internal/containers/ready`: the daemon answers on its port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerReady {
    pub container_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    pub executor_port: u16,
    /// RFC 3339, UTC.
    pub ready_at: String,
    pub version: String,
    pub isolation: IsolationState,
}

/// `POST /internal/containers/exited`: the last thing a daemon says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerExited {
    pub container_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    pub executor_port: u16,
    pub exit_code: u8,
    pub exit_reason: ExitReason,
    /// RFC 3339, UTC.
    pub exited_at: String,
}

/// `sigkill` and `oom_killed` are for whoever watches the container: a process that is killed so says nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    Normal,
    Sigterm,
    Sigkill,
    OomKilled,
    Error,
}

/// A result as control planes of the first generation read it: four words of status, artifacts as paths.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CompactResult {
    pub execution_id: String,
    pub status: CompactStatus,
    pub stdout: String,
    pub stdout_truncated: bool,
    pub stdout_bytes_total: u64,
    pub stderr: String,
    pub stderr_truncated: bool,
    pub stderr_bytes_total: u64,
    pub exit_code: i32,
    /// Seconds.
    pub execution_time: f64,
    pub return_value: Box<RawValue>,
    /// Still tells an error and a cancelled run from a failed one.
    pub cause: Cause,
    pub cause_detail: Option<CauseDetail>,
    pub metrics: Metrics,
    /// Sorted.
    pub artifacts: Vec<String>,
    pub artifacts_truncated: bool,
    pub isolation: Option<RunIsolation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompactStatus {
    Success,
    Failed,
    Timeout,
    Crashed,
}
