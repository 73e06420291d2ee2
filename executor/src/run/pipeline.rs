//! The road of one execution: admitted, prepared, run, judged, collected, recorded, journalled.
//!
//! Read [`Road`] from top to bottom. Each step either goes on or ends the run with a record that says why; whatever was
//! taken (a slot, a workspace, a sandbox) is given back by its owner's drop on every path. The run is a task of its own: the
//! caller that asked for it may leave, the run goes on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sandbox::facts::Reported;
use sandbox::host::Capabilities;
use sandbox::outcome::{self, Outcome};
use sandbox::prepare::{self, PrepareError};
use sandbox::stop::{Stop, Stopped};
use sandbox::supervise::Finished;

use crate::admission::{Refused, Ticket, Waiting};
use crate::artifacts::{self, Bounds, Manifest, Snapshot};
use crate::job::{Job, Place};
use crate::lifecycle::heartbeat::Beating;
use crate::outbox::{Pledge, Quiet};
use crate::pool::Taken;
use crate::run::execution::{Execution, State};
use crate::run::record::{Failure, Phases, RunRecord, Sandbox};
use crate::run::{Parts, markers};
use crate::telemetry::events;
use crate::workspaces::{Left, WorkspaceError};

/// One execution on its way.
pub(super) struct Road<'a> {
    pub(super) parts: &'a Parts,
    pub(super) execution: &'a Arc<Execution>,
}

impl Road<'_> {
    /// Runs a job that was let in. Its record is in the journal when this is over.
    ///
    /// # Errors
    /// It waited in the queue, and then the daemon shut down: nothing was run.
    pub(super) async fn travel(
        self,
        job: Job,
        waiting: Waiting,
        stopped: Stopped,
        mut pledge: Pledge,
        beating: Option<Beating>,
    ) -> Result<RunRecord, Refused> {
        if self.execution.is_promised() {
            pledge.written().await;
            self.execution.note_journalled();
        }
        match self.until_over(job, waiting, stopped, &mut pledge).await {
            Ok(mut record) => {
                // 10. journal.
                pledge.keep(&mut record, silence(beating)).await;
                Ok(record)
            }
            Err(refused) => {
                pledge.withdraw().await;
                Err(refused)
            }
        }
    }

    async fn until_over(
        &self,
        job: Job,
        waiting: Waiting,
        mut stopped: Stopped,
        pledge: &mut Pledge,
    ) -> Result<RunRecord, Refused> {
        let mut draft = Draft::new(&job, self.parts.host.facts.capabilities);

        // 3. admit: wait for a slot, or for somebody who no longer wants it.
        let mut admitted = pin!(waiting.admitted());
        let mut journalled = false;
        let ticket: Ticket = loop {
            tokio::select! {
                admitted = &mut admitted => match admitted {
                    Ok(ticket) => break ticket,
                    // Somebody was told that it will be done: it ends like a run, and the control plane hears of it.
                    Err(_) if self.execution.is_promised() => {
                        return Ok(draft.ended(outcome::never_ran(Stop::DaemonShutdown)));
                    }
                    Err(refused) => return Err(refused),
                },
                Some(stop) = stopped.wanted() => return Ok(draft.ended(outcome::never_ran(stop))),
                () = pledge.written(), if !journalled => {
                    journalled = true;
                    self.execution.note_journalled();
                }
            }
        };
        draft.phases.queue = draft.lap();
        self.execution.become_(State::Running);

        // 4, 5. plan and prepare. The workspace is looked at meanwhile: no user code runs yet.
        self.execution.progress.prepares();
        let (workspace, waited) = match self.parts.pool.take(self.parts, &job) {
            Some(Taken { prepared, workspace }) => (workspace, Some(prepared)),
            None => match self.parts.workspaces.checkout(&job.place, &job.program.execution_id) {
                Ok(workspace) => (workspace, None),
                Err(error) => return Ok(draft.not_started(Stage::Workspace(error))),
            },
        };
        draft.record.workspace = Some(workspace.path.clone());
        let Some(installed) = self.parts.host.language(job.program.language) else {
            return Ok(draft.not_started(Stage::LanguageMissing));
        };
        let sandbox = if waited.is_some() { Sandbox::Warm } else { Sandbox::Cold };
        let (before, prepared) = tokio::join!(snapshot(&job.place, workspace.dir.try_clone()), async {
            match waited {
                Some(prepared) => Ok(prepared),
                None => {
                    prepare::prepare(&self.parts.host, &installed.runtime, &job.limits, &workspace.dir).await
                }
            }
        });
        draft.phases.prepare = draft.lap();
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(draft.not_started(Stage::Prepare(error))),
        };
        draft.record.sandbox = Some(sandbox);

        // Half a sandbox is nobody's to take down, so whoever wants this one to end has waited for it.
        if let Some(stop) = stopped.already() {
            drop(prepared);
            return Ok(draft.ended(outcome::never_ran(stop)));
        }

        // 6, 7. start, and judge what was seen.
        tracing::info!(
            language = job.program.language.name(),
            place = job.place.kind(),
            "{}",
            events::EXECUTION_STARTED
        );
        pledge.written().await;
        self.execution.note_journalled();
        let running = prepared.start(job.program, stopped);
        self.execution.progress.runs(running.live());
        let finished = tokio::select! {
            finished = running.finish() => finished,
            never = pledge.follow(&self.execution.progress) => match never {},
        };
        self.execution.progress.collects();
        let mut finished = match finished {
            Ok(finished) => finished,
            Err(bug) => return Ok(draft.not_started(Stage::Supervisor(bug))),
        };
        draft.phases.start = finished.start_took;
        draft.phases.run = finished.facts.wall;
        let outcome = outcome::judge(&finished.facts);

        // 8. collect, now that nobody writes any more.
        let before = Arc::new(before);
        let mut manifest = collect(workspace.dir.try_clone(), &before).await;
        if let Some(remains) = finished.remains.take_if(|remains| !remains.rests()) {
            remains.end().await;
            manifest = collect(workspace.dir.try_clone(), &before).await;
        }
        draft.phases.collect = draft.lap().saturating_sub(draft.phases.start + draft.phases.run);
        let empty = manifest.as_ref().is_some_and(|manifest| manifest.artifacts.is_empty());
        let end = move || {
            workspace.release(if empty { Left::Nothing } else { Left::Artifacts });
            drop(ticket);
        };
        match finished.remains.take() {
            // What it holds is this run's until it is freed, so the next run waits for that. The answer does not, and comes first.
            Some(remains) => {
                let execution = Arc::clone(self.execution);
                tokio::spawn(async move {
                    execution.over().await;
                    remains.end().await;
                    end();
                });
            }
            None => end(),
        }

        // 9. record.
        Ok(draft.finished(outcome, finished, manifest))
    }
}

/// Ends when the control plane hears no more heartbeats of this run.
fn silence(beating: Option<Beating>) -> Quiet {
    Box::pin(async move {
        if let Some(beating) = beating {
            beating.silent().await;
        }
    })
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

async fn collect(dir: io::Result<OwnedFd>, before: &Arc<Snapshot>) -> Option<Manifest> {
    let (dir, before) = (dir.ok()?, Arc::clone(before));
    if let Some(manifest) = artifacts::of_nothing(dir.as_fd(), &before) {
        return Some(manifest);
    }
    let collect = move || artifacts::collect(dir.as_fd(), &before, &Bounds::before_the_answer());
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
    fn new(job: &Job, capabilities: Capabilities) -> Self {
        Self {
            record: RunRecord::of(job, capabilities, Timestamp::now()),
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
    fn not_started(mut self, stage: Stage) -> RunRecord {
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
        self.record.failure = Some(Failure { stage, error });
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
