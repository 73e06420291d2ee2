//! Executions: what one is, the road it takes, and who knows about it.
//!
//! | file | what it does |
//! |---|---|
//! | `pipeline.rs` | the road of one execution, on one screen |
//! | `execution.rs` | one execution, as others see it |
//! | `registry.rs` | which executions there are, and which there were |
//! | `progress.rs` | where a run is at this moment |
//! | `record.rs` | what is known of a finished one |
//! | `line.rs` | what a finished one leaves in the log |
//! | `markers.rs` | a value that was returned by printing it |

pub mod execution;
mod line;
pub mod markers;
mod pipeline;
pub mod progress;
pub mod record;
pub mod registry;

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::Arc;

use sandbox::host::Host;
use tokio::sync::Notify;
use tracing::Instrument;

use crate::admission::{Admission, Refused};
use crate::artifacts::{self, Late};
use crate::job::Job;
use crate::lifecycle::heartbeat::Heartbeats;
use crate::outbox::{Entry, Outbox};
use crate::pool::Pool;
use crate::telemetry::export::Exporter;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{events, spans};
use crate::workspaces::Workspaces;
use execution::{Execution, Origin, State};
use registry::{Entered, Registry};

/// What a run needs of the daemon. One for all runs.
#[derive(Debug)]
pub struct Parts {
    pub host: Host,
    pub workspaces: Workspaces,
    pub pool: Pool,
    pub admission: Admission,
    pub registry: Registry,
    pub outbox: Outbox,
    /// `None`: there is no control plane.
    pub heartbeats: Option<Heartbeats>,
    pub metrics: Metrics,
    /// Hashing after answers.
    pub late: Late,
    pub traceparent: TraceParent,
    pub exporter: Exporter,
    /// Told of every run that is over.
    pub ended: Notify,
}

/// Whether a program is told the trace of its run, as `TRACEPARENT` among its variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceParent {
    Told,
    Withheld,
}

/// Why there is no execution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{id} was used for another request; these fields differ: {}", fields.iter().cloned().collect::<Vec<_>>().join(", "))]
    Duplicate { id: String, fields: BTreeSet<String> },
    #[error("{id} was used before, and its result still waits for the control plane; use another id")]
    Undelivered { id: String },
}

/// What a request came to.
#[derive(Debug)]
pub enum Submitted {
    /// It runs, or has run, in this daemon.
    Execution(Arc<Execution>),
    /// It ran in an earlier one, or too long ago to be remembered, and its result still waits for the control plane.
    Stored(Box<Entry>),
}

/// What the caller wants to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Over,
    /// That a crash of the daemon cannot make it unheard of. It is done then, whoever stays.
    Accepted,
}

/// Starts an execution, or finds the one that this request has started before.
pub async fn submit(
    parts: &Arc<Parts>,
    job: Job,
    origin: &Origin,
    until: Until,
) -> Result<Submitted, SubmitError> {
    let id = job.program.execution_id.clone();
    if parts.registry.find(&id).is_none()
        && let Some(stored) = stored(parts, &job).await?
    {
        return Ok(Submitted::Stored(stored));
    }
    let execution = begin(parts, job, origin, until)?;
    if until == Until::Accepted {
        execution.journalled().await;
    }
    Ok(Submitted::Execution(execution))
}

/// A result of this very request that the control plane does not have yet.
async fn stored(parts: &Parts, job: &Job) -> Result<Option<Box<Entry>>, SubmitError> {
    let id = &job.program.execution_id;
    if !parts.outbox.holds(id) {
        return Ok(None);
    }
    let Some(entry) = parts.outbox.stored(id).await else {
        // It may have been delivered just now; then it is as good as forgotten.
        let held = parts.outbox.holds(id);
        return if held { Err(SubmitError::Undelivered { id: id.clone() }) } else { Ok(None) };
    };
    let fields = entry.run.differing(&job.fingerprint);
    if fields.is_empty() {
        Ok(Some(Box::new(entry)))
    } else {
        Err(SubmitError::Duplicate { id: id.clone(), fields })
    }
}

fn begin(
    parts: &Arc<Parts>,
    mut job: Job,
    origin: &Origin,
    until: Until,
) -> Result<Arc<Execution>, SubmitError> {
    let id = job.program.execution_id.clone();
    if parts.traceparent == TraceParent::Told {
        // A request that sets it itself knows better.
        let variable = job.program.env.entry("TRACEPARENT".to_owned());
        variable.or_insert_with(|| origin.trace.headers().traceparent);
    }
    let (execution, stopped) = match parts.registry.enter(&id, &job.fingerprint, origin) {
        Entered::New(execution, stopped) => (execution, stopped),
        Entered::Known(execution) => {
            if until == Until::Accepted {
                execution.promise();
            }
            return Ok(execution);
        }
        Entered::Conflict(fields) => return Err(SubmitError::Duplicate { id, fields }),
    };
    if until == Until::Accepted {
        execution.promise();
    }
    let waiting = parts.admission.submit(job.place.clone()).inspect_err(|refused| {
        parts.registry.forget(&id);
        // Somebody may have attached to it in between.
        execution.become_(State::Refused(*refused));
    })?;
    // It is new, so nobody else has set it.
    execution.seat.set(waiting.id()).ok();

    let span = spans::execution(&id, &origin.request_id, Some(&origin.trace.id()));
    let pledge = parts.outbox.begin(execution.label(), parts.host.facts.capabilities);
    let beating = parts.heartbeats.as_ref().map(|heartbeats| heartbeats.begin(Arc::clone(&execution)));
    let ending = Ending { parts: Arc::clone(parts), execution: Arc::clone(&execution) };
    let run = async move {
        let road = pipeline::Road { parts: &ending.parts, execution: &ending.execution };
        let ended = road.travel(job, waiting, stopped, pledge, beating).await;
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
                line::say(&record);
                let Self { parts, execution } = &self;
                let total = execution.progress.numbers().elapsed;
                parts.metrics.count_execution(
                    &record,
                    total,
                    execution.origin.trace.recorded_id().as_deref(),
                );
                self.parts.exporter.tell(&self.execution.origin, &record);
                registry.remember(&record, self.execution.progress.kept_bytes());
                let record = Arc::new(record);
                self.execution.become_(State::Done(Arc::clone(&record)));
                if record.artifacts.iter().any(|artifact| artifact.sha256.is_none()) {
                    tokio::spawn(complete(Arc::clone(&self.parts), Arc::clone(&self.execution), record));
                }
            }
            Err(refused) => {
                registry.forget(&self.execution.id);
                tracing::info!(reason = %refused, "{}", events::EXECUTION_REFUSED);
                self.execution.become_(State::Refused(refused));
            }
        }
    }
}

/// Adds the digests that the answer did not wait for: whoever looks the execution up later has them.
async fn complete(parts: Arc<Parts>, execution: Arc<Execution>, record: Arc<record::RunRecord>) {
    let Some(path) = &record.workspace else { return };
    let Ok(dir) = parts.workspaces.reopen(&record.place, path) else { return };
    let answered = Arc::clone(&record);
    let hash = move || artifacts::hash_late(dir.as_fd(), &answered.artifacts, &artifacts::Bounds::default());
    if let Some(Some(artifacts)) = parts.late.take_turn(hash).await {
        let completed = record::RunRecord { artifacts, ..record::RunRecord::clone(&record) };
        execution.become_(State::Done(Arc::new(completed)));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.parts.ended.notify_one();
        if self.execution.is_open() {
            self.parts.registry.forget(&self.execution.id);
            self.execution.become_(State::Lost);
        }
    }
}
