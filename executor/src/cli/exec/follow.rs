//! An execution on a daemon, followed to its end, however often the connection breaks.
//!
//! ```text
//!          ┌──── its fate is unknown ─────┐        ┌──── broke ─────┐
//!          ▼                              │        ▼                │
//!   POST /execute ──► accepted, events ───┴──► GET …/events, behind the last one ──► finished
//!          └──► refused                                 └──► it is not known there: lost
//! ```
//! The id is ours from the beginning, so a request that is sent again attaches to the run that the first one began, and nothing runs
//! twice. Once the daemon has accepted it, it is only followed: a daemon that does not know it any more is not asked to run it again.

use std::time::Duration;

use axum::body::Bytes;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use protocol::{ExecuteResponse, OutputEvent};
use sandbox::live::Stream;
use serde::de::DeserializeOwned;

use super::daemon::{Answer, CallError, Daemon, Events};
use super::sse::Event;
use super::words::clean;
use crate::cli::live::missed;
use crate::cli::printer::{Print, Sender};

/// In a row, without a single event between them: about half a minute.
const ATTEMPTS: usize = 10;

#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// The daemon has never heard of it, or has refused it.
    #[error("{0}")]
    NotBegun(#[source] CallError),
    #[error("{execution_id} was accepted, and its end is not known: {source}")]
    Lost { execution_id: String, source: CallError },
    #[error("{execution_id} could not be cancelled, and may still run: {source}")]
    NotCancelled { execution_id: String, source: CallError },
    /// Our reader is gone. Why, the printer knows.
    #[error("nobody reads")]
    Unread,
}

/// What is asked of the daemon.
pub(super) struct Question {
    pub(super) execution_id: String,
    /// The whole request, the same for every attempt.
    pub(super) body: Bytes,
}

/// Its end, and how much of its output was shown by then.
pub(super) struct Finished {
    pub(super) response: ExecuteResponse,
    pub(super) seen: Seen,
}

/// Where each stream was read to, in bytes of the program. Never less than was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) stdout: u64,
    pub(super) stderr: u64,
}

/// `printer`: `None` shows nothing before the end.
pub(super) async fn follow(
    daemon: &Daemon,
    question: &Question,
    printer: Option<&Sender>,
) -> Result<Finished, FollowError> {
    let mut reader = Reader { printer, seen: Seen::default(), last_event_id: String::new() };
    let (mut accepted, mut reached) = (false, false);
    let mut delays = schedule();
    loop {
        let answer = if accepted {
            daemon.resume(&question.execution_id, &reader.last_event_id).await
        } else {
            daemon.begin(question.body.clone()).await
        };
        let before = reader.last_event_id.clone();
        let error = match answer {
            Ok(Answer::Result(response)) => return Ok(Finished { response: *response, seen: reader.seen }),
            Ok(Answer::Nothing) => CallError::Nonsense { reason: "it says that there is no more".to_owned() },
            Ok(Answer::Events(mut events)) => {
                accepted = true;
                match reader.read(&mut events).await {
                    Ok(response) => return Ok(Finished { response: *response, seen: reader.seen }),
                    Err(ReadError::Unread) => return Err(FollowError::Unread),
                    Err(ReadError::Call(error)) => error,
                }
            }
            Err(error) => error,
        };
        if reader.last_event_id != before {
            delays = schedule();
        }
        // A proxy may stand in for a daemon that is being started again.
        let passing = error.may_pass() || accepted && error.status().is_some_and(|status| status >= 500);
        let nobody_there = !reached && matches!(error, CallError::Connect { .. });
        reached = true;
        match delays.next() {
            Some(delay) if passing && !nobody_there => tokio::time::sleep(delay).await,
            _ if accepted => {
                let execution_id = question.execution_id.clone();
                return Err(FollowError::Lost { execution_id, source: error });
            }
            _ => return Err(FollowError::NotBegun(error)),
        }
    }
}

pub(super) fn schedule() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_factor(2.0)
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(ATTEMPTS)
        .with_jitter()
        .build()
}

struct Reader<'a> {
    printer: Option<&'a Sender>,
    seen: Seen,
    last_event_id: String,
}

enum ReadError {
    Call(CallError),
    Unread,
}

impl Reader<'_> {
    /// To `finished`.
    async fn read(&mut self, events: &mut Events) -> Result<Box<ExecuteResponse>, ReadError> {
        loop {
            let event = events.next().await.map_err(ReadError::Call)?;
            let Some(event) = event else {
                let reason = "it ended before the execution did".to_owned();
                return Err(ReadError::Call(CallError::Broken { reason }));
            };
            match event.name.as_str() {
                "finished" => return data(&event).map_err(ReadError::Call),
                "stdout" => self.output(Stream::Stdout, &event).await?,
                "stderr" => self.output(Stream::Stderr, &event).await?,
                // `started` needs no answer, and later daemons may say more.
                _ => {}
            }
            self.last_event_id = event.id;
        }
    }

    async fn output(&mut self, stream: Stream, event: &Event) -> Result<(), ReadError> {
        let Some(printer) = self.printer else { return Ok(()) };
        let OutputEvent { offset, text, missed_bytes } = data(event).map_err(ReadError::Call)?;
        let seen = match stream {
            Stream::Stdout => &mut self.seen.stdout,
            Stream::Stderr => &mut self.seen.stderr,
        };
        // A byte that is no text is replaced by three that are, so this is never too little.
        *seen = offset.saturating_add(text.len() as u64);
        if missed_bytes > 0 {
            let note = Print::Note(missed(missed_bytes, stream));
            printer.print(note).await.map_err(|_stopped| ReadError::Unread)?;
        }
        let output = Print::Output { stream, text };
        printer.print(output).await.map_err(|_stopped| ReadError::Unread)
    }
}

fn data<T: DeserializeOwned>(event: &Event) -> Result<T, CallError> {
    let reason = |error| format!("the event {:?}: {error}", clean(&event.name));
    serde_json::from_str(&event.data).map_err(|error| CallError::Nonsense { reason: reason(error) })
}
