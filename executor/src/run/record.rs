//! Everything that is known about a finished run. Written once, when the run is over, and never changed after that.
//!
//! Answers, callbacks and lookups are views of it; the wire form is made in `outlet`, and nothing of the wire is here.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use sandbox::capture::Captured;
use sandbox::host::Capabilities;
use sandbox::outcome::{self, Outcome, Status};
use sandbox::program::Language;
use sandbox::usage::Usage;
use serde_json::value::RawValue;

use crate::artifacts::ArtifactRecord;
use crate::job::{Job, Place};

#[derive(Debug, Clone)]
pub struct RunRecord {
    pub execution_id: String,
    pub place: Place,
    /// Where it ran, for who wants to open that directory again; `None` when it got none.
    pub workspace: Option<PathBuf>,
    pub language: Language,
    pub outcome: Outcome,
    pub stdout: Captured,
    pub stderr: Captured,
    /// Raw JSON text; `None` when the program returned nothing.
    pub return_value: Option<Box<RawValue>>,
    /// Wall clock of the user's program.
    pub execution_time: Duration,
    pub usage: Usage,
    /// `None` when it got no sandbox.
    pub sandbox: Option<Sandbox>,
    /// Why we could not run it, for the log. `None` when we could, whatever the program did.
    pub failure: Option<Failure>,
    pub phases: Phases,
    /// Sorted by path.
    pub artifacts: Vec<ArtifactRecord>,
    pub artifacts_truncated: bool,
    /// What held it, or would have.
    pub capabilities: Capabilities,
    pub callback: Callback,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
}

impl RunRecord {
    /// Of a job that has done nothing yet.
    pub(crate) fn of(job: &Job, capabilities: Capabilities, now: Timestamp) -> Self {
        Self {
            execution_id: job.program.execution_id.clone(),
            place: job.place.clone(),
            workspace: None,
            language: job.program.language,
            outcome: outcome::sandbox_error("the execution has not ended".into()),
            stdout: Captured::default(),
            stderr: Captured::default(),
            return_value: None,
            execution_time: Duration::ZERO,
            usage: Usage::default(),
            sandbox: None,
            failure: None,
            phases: Phases::default(),
            artifacts: Vec::new(),
            artifacts_truncated: false,
            capabilities,
            callback: Callback::Off,
            started_at: now,
            finished_at: now,
        }
    }

    /// What the program wrote and returned, as far as it is kept.
    pub fn output_bytes(&self) -> usize {
        let value = self.return_value.as_ref().map_or(0, |value| value.get().len());
        self.stdout.text.len() + self.stderr.text.len() + value
    }

    /// What ended the run from outside is not in the program's own words: it is added to stderr, where people look.
    pub(super) fn explain(&mut self) {
        let ended_by_us = match self.outcome.status {
            Status::Timeout | Status::Error | Status::Cancelled => true,
            Status::Success | Status::Failed => false,
        };
        if let (true, Some(detail)) = (ended_by_us, &self.outcome.detail) {
            let stderr = &mut self.stderr.text;
            if !stderr.is_empty() && !stderr.ends_with('\n') {
                stderr.push('\n');
            }
            stderr.push_str(&format!("sandbox-executor: {}\n", detail.message));
        }
    }
}

/// Where the time went. A phase that was not reached took no time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phases {
    pub queue: Duration,
    pub prepare: Duration,
    pub start: Duration,
    pub run: Duration,
    pub collect: Duration,
    /// Of its result, before it is answered. Not in the answer, which is what is written.
    pub journal: Duration,
}

/// What kept a program from being run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub stage: &'static str,
    pub error: String,
}

/// Where its sandbox came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sandbox {
    /// It waited in the pool.
    Warm,
    /// It was made for this run.
    Cold,
}

impl Sandbox {
    /// The word on the wire, in logs and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}

/// Whether the control plane will hear of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callback {
    /// There is no control plane.
    Off,
    /// The result is on disk.
    Journalled,
    /// It could not be written, and waits in memory.
    NotDurable,
}

impl Callback {
    /// The word on the wire and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Journalled => "journalled",
            Self::NotDurable => "not_durable",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactKind {
    Artifact,
    Log,
    Output,
}

/// Compared with the workspace as it was before this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Created,
    Modified,
    Unchanged,
}
