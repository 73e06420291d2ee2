//! The road of one execution: admitted, prepared, run, judged, collected, recorded.
//!
//! Read [`road`] from top to bottom. Each step either goes on or ends the run with a record that says why; whatever was
//! taken (a slot, a workspace, a sandbox) is given back by its owner's drop on every path. The run is a task of its own: the
//! caller that asked for it may leave, the run goes on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sandbox::facts::Reported;
use sandbox::outcome::{self, Outcome};
use sandbox::prepare::{self, PrepareError};
use sandbox::stop::Stopped;
use sandbox::supervise::Finished;

use crate::admission::{Refused, Ticket, Waiting};
use crate::artifacts::{self, Bounds, Manifest, Snapshot};
use crate::job::{Job, Place};
use crate::run::record::{Phases, RunRecord};
use crate::run::{Parts, markers};
use crate::telemetry::events;
use crate::workspaces::{Left, WorkspaceError};

/// Runs a job that was let in.
///
/// # Errors
/// It waited in the queue, and then the daemon shut down: nothing was run.
pub(super) async fn road(
    parts: &Parts,
    job: Job,
    waiting: Waiting,
    mut stopped: Stopped,
    on_start: impl FnOnce(),
) -> Result<RunRecord, Refused> {
    let mut draft = Draft::new(&job);

    // 3. admit: wait for a slot, or for somebody who no longer wants it.
    let ticket: Ticket = tokio::select! {
        admitted = waiting.admitted() => admitted?,
        Some(stop) = stopped.wanted() => return Ok(draft.ended(outcome::never_ran(stop))),
    };
    draft.phases.queue = draft.lap();
    on_start();

    // 4, 5. plan and prepare. The workspace is looked at meanwhile: no user code runs yet.
    let workspace = match parts.workspaces.checkout(&job.place, &job.program.execution_id) {
        Ok(workspace) => workspace,
        Err(error) => return Ok(draft.not_started(Stage::Workspace(error))),
    };
    let Some(installed) = parts.host.language(job.program.language) else {
        return Ok(draft.not_started(Stage::LanguageMissing));
    };
    let (before, prepared) = tokio::join!(
        snapshot(&job.place, workspace.dir.try_clone()),
        prepare::prepare(&parts.host, &installed.runtime, &job.limits, &workspace.dir),
    );
    draft.phases.prepare = draft.lap();
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return Ok(draft.not_started(Stage::Prepare(error))),
    };

    // 6, 7. start, and judge what was seen.
    tracing::info!(
        language = job.program.language.name(),
        place = job.place.kind(),
        "{}",
        events::EXECUTION_STARTED
    );
    let finished = match prepared.start(job.program, stopped).finish().await {
        Ok(finished) => finished,
        Err(bug) => return Ok(draft.not_started(Stage::Supervisor(bug))),
    };
    draft.phases.start = finished.start_took;
    draft.phases.run = finished.facts.wall;
    let outcome = outcome::judge(&finished.facts);

    // 8. collect, now that nobody writes any more.
    let manifest = collect(workspace.dir.try_clone(), before).await;
    draft.phases.collect = draft.lap().saturating_sub(draft.phases.start + draft.phases.run);
    let empty = manifest.as_ref().is_some_and(|manifest| manifest.artifacts.is_empty());
    workspace.release(if empty { Left::Nothing } else { Left::Artifacts });
    drop(ticket);

    // 9. record.
    Ok(draft.finished(outcome, finished, manifest))
}

/// A workspace that was just made is empty; any other is walked, which blocks.
async fn snapshot(place: &Place, dir: io::Result<OwnedFd>) -> Snapshot {
    match (place, dir) {
        (Place::Container | Place::Session(_), Ok(dir)) => {
            let take = move || Snapshot::take(dir.as_fd(), &Bounds::default());
            tokio::task::spawn_blocking(take).await.unwrap_or_else(|_panicked| Snapshot::of_nothing())
        }
        (Place::Fresh, _) | (Place::Container | Place::Session(_), Err(_)) => Snapshot::of_nothing(),
    }
}

async fn collect(dir: io::Result<OwnedFd>, before: Snapshot) -> Option<Manifest> {
    let dir = dir.ok()?;
    let collect = move || artifacts::collect(dir.as_fd(), &before, &Bounds::default());
    tokio::task::spawn_blocking(collect).await.ok()
}

/// Why the program was never started, or its end never seen.
enum Stage {
    Workspace(WorkspaceError),
    LanguageMissing,
    Prepare(PrepareError),
    Supervisor(tokio::task::JoinError),
}

/// A record in the making.
struct Draft {
    record: RunRecord,
    phases: Phases,
    since: Instant,
}

impl Draft {
    fn new(job: &Job) -> Self {
        Self {
            record: RunRecord::of(job, Timestamp::now()),
            phases: Phases::default(),
            since: Instant::now(),
        }
    }

    /// Time since the last lap.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.since, now))
    }

    fn ended(mut self, outcome: Outcome) -> RunRecord {
        self.record.phases = self.phases;
        self.record.finished_at = Timestamp::now();
        self.record.outcome = outcome;
        self.record.explain();
        self.record
    }

    /// The whole reason is the operator's; the caller is told what it means, and nothing of the host.
    fn not_started(self, stage: Stage) -> RunRecord {
        let untold = "the executor could not run the program; its log says why";
        let (stage, error, told) = match stage {
            Stage::Workspace(error) => {
                let whose = match &self.record.place {
                    Place::Session(id) => format!(" of session {id}"),
                    Place::Container | Place::Fresh => String::new(),
                };
                let told = format!("the workspace{whose} cannot be used; the executor's log says why");
                ("workspace", error.to_string(), told)
            }
            Stage::LanguageMissing => ("language", String::new(), "the language is not installed".to_owned()),
            Stage::Prepare(error) => (error.stage.name(), error.to_string(), error.told_outside()),
            Stage::Supervisor(error) => ("supervise", error.to_string(), untold.to_owned()),
        };
        tracing::error!(stage, error, "{}", events::EXECUTION_FAILED);
        self.ended(outcome::sandbox_error(told))
    }

    fn finished(mut self, outcome: Outcome, finished: Finished, manifest: Option<Manifest>) -> RunRecord {
        let record = &mut self.record;
        record.stdout = finished.stdout;
        record.stderr = finished.stderr;
        record.usage = finished.usage;
        record.execution_time = finished.facts.wall;
        record.return_value = match finished.facts.reported {
            Reported::Value(value) if value.get() != "null" => Some(value),
            Reported::Value(_) | Reported::Nothing | Reported::Error { .. } | Reported::Garbage => {
                markers::take(&mut record.stdout.text)
            }
        };
        // A manifest that could not be made lists nothing and says that this is not all.
        record.artifacts_truncated = manifest.as_ref().is_none_or(|manifest| manifest.truncated);
        record.artifacts = manifest.map(|manifest| manifest.artifacts).unwrap_or_default();
        self.ended(outcome)
    }
}
