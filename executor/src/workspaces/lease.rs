//! The promise that a fresh workspace is removed: made before anybody can use it, kept whatever becomes of the run.
//!
//! Owned by the execution. Its end, also by a panic or a cancelled task, puts the workspace into the janitor's queue.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::janitor::Due;

/// Whether an execution left anything that somebody may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Artifacts,
    Nothing,
}

#[derive(Debug)]
pub(super) struct Lease {
    execution_id: String,
    name: String,
    keep_for: Duration,
    janitor: UnboundedSender<Due>,
}

impl Lease {
    pub(super) fn new(
        execution_id: &str,
        name: String,
        retention: Duration,
        janitor: UnboundedSender<Due>,
    ) -> Self {
        Self { execution_id: execution_id.to_owned(), name, keep_for: retention, janitor }
    }

    /// The directory has another name from here on, and belongs to this execution.
    pub(super) fn pass_to(&mut self, execution_id: &str, name: String) {
        self.execution_id = execution_id.to_owned();
        self.name = name;
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn end(mut self, left: Left) {
        match left {
            Left::Artifacts => {}
            Left::Nothing => self.keep_for = Duration::ZERO,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let due = Due {
            at: Instant::now() + self.keep_for,
            name: std::mem::take(&mut self.name),
            execution_id: std::mem::take(&mut self.execution_id),
        };
        if let Err(refused) = self.janitor.send(due) {
            // The janitor has stopped and removed all fresh workspaces; what it missed, the next daemon removes.
            tracing::debug!(execution_id = refused.0.execution_id, "workspace_left_to_the_next_daemon");
        }
    }
}
