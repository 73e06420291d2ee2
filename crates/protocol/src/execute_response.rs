//! `POST /execute`, the answer: what happened, why, what came out and what it cost.
//!
//! Every field is always present, so that a reader never has to tell "absent" from "nothing".

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Artifact, Metrics, RunIsolation};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecuteResponse {
    pub execution_id: String,
    pub status: Status,
    /// Head and tail when there was more than is kept; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    pub stdout_truncated: bool,
    /// What the program wrote, kept or not.
    pub stdout_bytes_total: u64,
    pub stderr: String,
    pub stderr_truncated: bool,
    pub stderr_bytes_total: u64,
    /// -1 where the program did not decide it; 128+n for death by signal n.
    pub exit_code: i32,
    /// Wall clock of the user's program, in seconds.
    pub execution_time: f64,
    /// Raw JSON text, so that falsy values and long numbers survive; the text `null` when there is none.
    pub return_value: Box<RawValue>,
    pub cause: Cause,
    /// Null where there is nothing to add to `cause`.
    pub cause_detail: Option<CauseDetail>,
    pub metrics: Metrics,
    /// Sorted by path.
    pub artifacts: Vec<Artifact>,
    pub artifacts_truncated: bool,
    /// Null where that is not known: the result was stored by a version that did not say it, or was lost with its daemon.
    pub isolation: Option<RunIsolation>,
    /// Whether the control plane will hear of this.
    pub callback: Callback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Callback {
    /// There is no control plane.
    Off,
    /// It is on disk and is delivered, whatever becomes of the daemon.
    Journalled,
    /// It could not be written to disk. It is delivered as long as the daemon lives.
    NotDurable,
}

/// `cancelled` and `crashed` only appear in callbacks and lookups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Success,
    Failed,
    Timeout,
    Error,
    Cancelled,
    Crashed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Exit,
    Exception,
    Signal,
    WallTimeout,
    CpuLimit,
    MemoryLimit,
    ProcessLimit,
    FileLimit,
    OutputLimit,
    Cancelled,
    DaemonShutdown,
    SandboxError,
}

/// `limit` and `observed` are in the unit of the limit's own field: seconds, MiB, bytes or a count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CauseDetail {
    pub limit: Option<f64>,
    pub observed: Option<f64>,
    /// One sentence: what happened, and what to do.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_have_the_names_of_the_contract() {
        assert_eq!(serde_json::to_string(&Cause::WallTimeout).unwrap(), "\"wall_timeout\"");
        assert_eq!(serde_json::to_string(&Cause::DaemonShutdown).unwrap(), "\"daemon_shutdown\"");
    }
}
