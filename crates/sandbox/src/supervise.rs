//! Running a program: one task per run, from the job handed over to the last process dead.
//!
//! ```text
//!            job ──►            started            result
//! Prepared ────────► Handed over ─────► Running ─────────► Finishing (grace) ──┐
//!                        │                 │ deadline, limit, stop             │ leftovers
//!                        │                 ▼                                   ▼
//!                        └──────────────► Killed ──────────────────────────► Over ──► Finished
//!                                                    init's pidfd is readable
//! ```
//!
//! The task owns the sandbox and only records what it sees. It judges nothing: `outcome.rs` does. The run is over when the
//! sandbox's init is dead, never when a pipe reaches its end: background children hold pipes open. Once it is over, every
//! writer is dead, and what is still in the pipes is read to the end.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::bwrap::status;
use crate::cage::Account;
use crate::capture::Captured;
use crate::channel::{self, JobFrame, MAX_RESULT_BYTES, Report};
use crate::facts::{ExitFacts, Kill, Reported};
use crate::launch::Verdict;
use crate::limits::{Bytes, Limits};
use crate::live::Live;
use crate::prepare::Prepared;
use crate::program::Program;
use crate::stop::Stopped;
use crate::usage::Usage;
use crate::watch::Watch;
use crate::wires::read_verdict;

/// A run that is over.
#[derive(Debug)]
pub struct Finished {
    pub facts: ExitFacts,
    pub stdout: Captured,
    pub stderr: Captured,
    pub usage: Usage,
    /// From the job handed over to user code.
    pub start_took: Duration,
}

/// A run under way. Dropping it does not end the run; its [`Stopper`](crate::stop::Stopper) does.
#[derive(Debug)]
pub struct Running {
    task: JoinHandle<Finished>,
    live: Live,
}

impl Running {
    /// What can be seen of the run from now on.
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When the supervising task itself failed; the sandbox is dead then too, because the task owned it.
    pub async fn finish(self) -> Result<Finished, tokio::task::JoinError> {
        self.task.await
    }
}

impl Prepared {
    /// Hands the program over. User code runs from here on, and the wall clock with it.
    pub fn start(self, program: Program, stopped: Stopped) -> Running {
        let news = self.news.clone();
        let streams = [Arc::clone(self.stdout.progress()), Arc::clone(self.stderr.progress())];
        let live = Live::of(streams, news.clone());
        let seen = live.clone();
        let task = tokio::spawn(async move {
            let finished = supervise(self, program, stopped, seen).await;
            news.tell();
            finished
        });
        Running { task, live }
    }
}

async fn supervise(prepared: Prepared, program: Program, stopped: Stopped, live: Live) -> Finished {
    let Prepared { cage, sampler, wires, stdout, stderr, news: _, limits, before } = prepared;
    let began = Instant::now();
    let language = program.language;
    let mut helpers = tokio::task::JoinSet::new();
    helpers.spawn(hand_over(wires.job, wires.stdin, program, limits.clone()));
    let answered = Arc::new(Notify::new());
    let report = tokio::spawn(listen(wires.report, Arc::clone(&answered)));
    let mut bwrap_status = wires.bwrap_status;
    let exit_code = tokio::spawn(async move {
        match status::next(&mut bwrap_status).await {
            Ok(Some(status::Status::Exited(code))) => Some((code, Instant::now())),
            Ok(Some(status::Status::Child(_)) | None) | Err(_) => None,
        }
    });

    let mut watch = Watch {
        limits: &limits,
        sampler,
        cage: &cage,
        measured: before,
        room: limits.memory,
        streams: [stdout.progress().clone(), stderr.progress().clone()],
        live,
        began,
        answer: answered,
        answered_at: None,
        stopped,
    };
    let killed = tokio::select! {
        _over = cage.over() => None,
        kill = watch.until_something_is_wrong() => {
            // Memory was just looked at, and looking again would take as long as the program needs for more.
            if !matches!(kill, Kill::Memory { .. }) {
                watch.observe();
            }
            if let Err(error) = cage.kill() {
                tracing::error!(%error, "cleanup_failed");
            }
            Some(kill)
        }
    };
    let mut measured = watch.measured;

    let Account { usage: sandbox, charged } = cage.reap().await.unwrap_or_default();
    (measured.sandbox, measured.charged) = (sandbox, charged);
    let ended = Instant::now();
    helpers.abort_all();
    // Every writer is dead: these all end at once.
    let Heard { reported, started } = report.await.unwrap_or_default();
    let exit_code = exit_code.await.ok().flatten();
    let mut verdict = wires.verdict;
    let (end, launch_failure) = match read_verdict(&mut verdict).await {
        Some(Verdict::Ended { end, cpu_us, max_resident }) => {
            measured.runtime = Some((Duration::from_micros(cpu_us), Bytes(max_resident)));
            (Some(end), None)
        }
        Some(Verdict::Failed { stage, error }) => (None, Some(format!("{stage}: {error}"))),
        None => (None, None),
    };
    // A flood that outran the watch is a flood all the same.
    let flood = [stdout.progress().flood(), stderr.progress().flood()].into_iter().flatten().max();
    let killed = killed.or(flood.map(|observed| Kill::Output { observed }));
    let usage = measured.usage();
    let ended = exit_code.map_or(ended, |(_, when)| when.min(ended));
    Finished {
        facts: ExitFacts {
            language,
            killed,
            exit_code: exit_code.map(|(code, _)| code),
            end,
            started: started.is_some(),
            launch_failure,
            reported,
            wall: ended.saturating_duration_since(started.unwrap_or(began)),
            cpu: usage.cpu_time,
            peak_memory: measured.held().0.min(charged.map_or(Bytes(u64::MAX), |charged| charged.peak)),
            out_of_memory: charged.filter(|charged| charged.out_of_memory).map(|charged| charged.peak),
            peak_tasks: measured.peak.tasks,
            limits,
        },
        stdout: stdout.finish().await,
        stderr: stderr.finish().await,
        usage,
        start_took: started.map_or(Duration::ZERO, |started| started - began),
    }
}

/// Writes the job and the standard input, each as fast as the other end reads. A reader that leaves early is its own affair.
async fn hand_over(mut job: pipe::Sender, mut stdin: pipe::Sender, program: Program, limits: Limits) {
    let deadline = SystemTime::now() + limits.wall;
    let since_epoch = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let frame = channel::encode(&JobFrame {
        execution_id: &program.execution_id,
        mode: program.mode,
        code: &program.code,
        event: &program.event,
        env: &program.env,
        files: &program.files,
        deadline_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        timeout_ms: limits.wall.as_secs_f64() * 1000.0,
        max_result_bytes: MAX_RESULT_BYTES,
        memory_bytes: limits.memory.0,
    });
    let handed = async {
        job.write_all(&frame?).await?;
        drop(job);
        std::io::Result::Ok(())
    };
    let fed = async {
        stdin.write_all(program.stdin.as_bytes()).await?;
        drop(stdin);
        std::io::Result::Ok(())
    };
    if let (Err(error), _) | (Ok(()), Err(error)) = tokio::join!(handed, fed) {
        tracing::debug!(%error, "the program did not read everything it was given");
    }
}

/// What a runner has said when it is over.
#[derive(Debug, Default)]
struct Heard {
    reported: Reported,
    started: Option<Instant>,
}

/// Reads the runner's reports in their legal order. Ends when no process holds the other end, or on the first wrong byte;
/// the reading end is closed then, and a flood has nowhere to go.
async fn listen(mut from: pipe::Receiver, answered: Arc<Notify>) -> Heard {
    let mut heard = Heard::default();
    loop {
        heard.reported = match (channel::read_report(&mut from).await, &heard.reported) {
            (Ok(None), _) => return heard,
            (Ok(Some(Report::Started)), Reported::Nothing) if heard.started.is_none() => {
                heard.started = Some(Instant::now());
                continue;
            }
            (Ok(Some(Report::Result { value })), Reported::Nothing) if heard.started.is_some() => {
                Reported::Value(value)
            }
            // It may come before user code: an input file that could not be written.
            (Ok(Some(Report::Error { kind, limit })), Reported::Nothing) => Reported::Error { kind, limit },
            // What comes after the first answer does not count, and does not spoil it.
            (_, Reported::Value(_) | Reported::Error { .. }) => return heard,
            (Ok(Some(_)) | Err(_), Reported::Nothing | Reported::Garbage) => {
                return Heard { reported: Reported::Garbage, ..heard };
            }
        };
        answered.notify_one();
    }
}
