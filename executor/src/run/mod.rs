//! Executions: what one is, the road it takes, and who knows about it.
//!
//! | file | what it does |
//! |---|---|
//! | `pipeline.rs` | the road of one execution, on one screen |
//! | `registry.rs` | which executions there are, and how each ends |
//! | `record.rs` | what is known of a finished one |
//! | `markers.rs` | a value that was returned by printing it |

mod markers;
mod pipeline;
pub mod record;
pub mod registry;

use std::collections::BTreeSet;
use std::sync::Arc;

use sandbox::host::Host;
use tracing::Instrument;

use crate::admission::{Admission, Refused};
use crate::job::Job;
use crate::telemetry::{events, spans};
use crate::workspaces::Workspaces;
use registry::{Entered, Execution, Registry, State};

/// What a run needs of the daemon. One for all runs.
#[derive(Debug)]
pub struct Parts {
    pub host: Host,
    pub workspaces: Workspaces,
    pub admission: Admission,
    pub registry: Registry,
}

/// Why there is no execution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{id} was used for another request; these fields differ: {}", fields.iter().cloned().collect::<Vec<_>>().join(", "))]
    Duplicate { id: String, fields: BTreeSet<String> },
}

/// Starts an execution, or finds the one that this request has started before.
pub fn submit(parts: &Arc<Parts>, job: Job, request_id: &str) -> Result<Arc<Execution>, SubmitError> {
    let id = job.program.execution_id.clone();
    let (execution, stopped) = match parts.registry.enter(&id, &job.fingerprint) {
        Entered::New(execution, stopped) => (execution, stopped),
        Entered::Known(execution) => return Ok(execution),
        Entered::Conflict(fields) => return Err(SubmitError::Duplicate { id, fields }),
    };
    let waiting = parts.admission.submit(job.place.clone()).inspect_err(|refused| {
        parts.registry.forget(&id);
        // Somebody may have attached to it in between.
        execution.become_(State::Refused(*refused));
    })?;

    let span = spans::execution(&id, request_id);
    let ending = Ending { parts: Arc::clone(parts), execution: Arc::clone(&execution) };
    let run = async move {
        let on_start = || ending.execution.become_(State::Running);
        let ended = pipeline::road(&ending.parts, job, waiting, stopped, on_start).await;
        ending.with(ended);
    };
    tokio::spawn(run.instrument(span));
    Ok(execution)
}

/// Sees to it that an execution ends in its callers' eyes, whatever becomes of its task.
struct Ending {
    parts: Arc<Parts>,
    execution: Arc<Execution>,
}

impl Ending {
    fn with(self, ended: Result<record::RunRecord, Refused>) {
        let registry = &self.parts.registry;
        match ended {
            Ok(record) => {
                record.log();
                registry.remember(&record);
                self.execution.become_(State::Done(Arc::new(record)));
            }
            Err(refused) => {
                registry.forget(&self.execution.id);
                tracing::info!(reason = %refused, "{}", events::EXECUTION_REFUSED);
                self.execution.become_(State::Refused(refused));
            }
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.execution.is_open() {
            self.parts.registry.forget(&self.execution.id);
            self.execution.become_(State::Lost);
        }
    }
}
