//! `GET /executions/{id}`, and the events of `GET /executions/{id}/events`.

use serde::{Deserialize, Serialize};

use crate::{ExecuteResponse, Progress};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Execution {
    pub execution_id: String,
    pub state: ExecutionState,
    /// RFC 3339, UTC.
    pub accepted_at: String,
    /// How many wait in front of it; only while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Only until it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<ExecuteResponse>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionState {
    Queued,
    Running,
    Finished,
}

/// Data of the event `started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedEvent {
    pub execution_id: String,
}

/// Data of the events `stdout` and `stderr`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputEvent {
    /// Where `text` begins in the stream, in the bytes that the program wrote.
    pub offset: u64,
    pub text: String,
    /// Bytes before `offset` that this reader came too late for.
    pub missed_bytes: u64,
}
