//! The record of the execution that a request names, and the workspace it ran in.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::artifacts::download::Unavailable;
use crate::http::problem::Refusal;
use crate::run::Parts;
use crate::run::execution::State;
use crate::run::record::RunRecord;
use crate::telemetry::events;
use crate::workspaces::WorkspaceError;

/// # Errors
/// 404 for an execution that is unknown, or forgotten, or has not ended: it has no artifacts yet.
pub(super) fn finished(parts: &Parts, id: &str) -> Result<Arc<RunRecord>, Refusal> {
    match parts.registry.find(id).map(|execution| execution.state()) {
        Some(State::Done(record)) => Ok(record),
        Some(State::Queued | State::Running) => Err(Refusal::NoArtifact {
            why: format!("{id} is not over yet: its artifacts are known when it is"),
        }),
        Some(State::Refused(_) | State::Lost) | None => {
            let forgotten_at = parts.registry.forgotten_at(id);
            Err(Refusal::NoExecution { id: id.to_owned(), forgotten_at })
        }
    }
}

/// # Errors
/// 410 when it is not there any more; 500, with a line in the log, when the host does not let us have it.
pub(super) fn workspace(parts: &Parts, record: &RunRecord) -> Result<OwnedFd, Refusal> {
    let id = &record.execution_id;
    let gone = || Refusal::Gone { why: format!("the workspace of {id} has been removed") };
    let path = record.workspace.as_ref().ok_or_else(gone)?;
    parts.workspaces.reopen(&record.place, path).map_err(|error| match error {
        WorkspaceError::Gone { .. } | WorkspaceError::Replaced { .. } => gone(),
        error @ (WorkspaceError::Missing { .. }
        | WorkspaceError::NotADirectory { .. }
        | WorkspaceError::ReadOnly { .. }
        | WorkspaceError::NotWritable { .. }
        | WorkspaceError::Unusable { .. }
        | WorkspaceError::SessionsUnusable { .. }
        | WorkspaceError::SessionsTaken { .. }
        | WorkspaceError::Nested { .. }
        | WorkspaceError::SessionName { .. }
        | WorkspaceError::NotMade { .. }
        | WorkspaceError::NotOpened { .. }
        | WorkspaceError::Closed { .. }) => failed(id, &error),
    })
}

/// `path`: as the manifest has it.
pub(super) fn unavailable(execution_id: &str, path: &str, error: Unavailable) -> Refusal {
    match error {
        Unavailable::Changed | Unavailable::Denied => {
            let path: String = path.chars().take(100).collect();
            Refusal::Gone { why: format!("{path:?} of {execution_id}: {error}") }
        }
        Unavailable::Failed { ref source } => failed(execution_id, source),
    }
}

fn failed(execution_id: &str, error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(execution_id, error, "{}", events::DOWNLOAD_FAILED);
    Refusal::Internal
}
