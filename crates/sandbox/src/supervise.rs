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

use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::bwrap::status;
use crate::capture::{Captured, Progress};
use crate::channel::{self, ErrorKind, InnerLimit, JobFrame, MAX_RESULT_BYTES, Report};
use crate::launch::{End, Verdict};
use crate::limits::{Bytes, Limits};
use crate::prepare::Prepared;
use crate::program::{Language, Program};
use crate::usage::{Measured, Sampler, Usage};
use crate::wires::read_verdict;

/// What a handler leaves running after its result (exit hooks, threads) gets this long to end by itself.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// Everything that was seen of a run. `outcome::judge` says what it means.
#[derive(Debug, Clone)]
pub struct ExitFacts {
    pub language: Language,
    pub limits: Limits,
    /// `None`: it ended by itself.
    pub killed: Option<Kill>,
    /// bubblewrap's word, which only exists if the program was executed: its exit status, 128 + n for signal n.
    pub exit_code: Option<i32>,
    /// The launcher's word, which can tell exit from signal.
    pub end: Option<End>,
    pub started: bool,
    pub reported: Reported,
    pub wall: Duration,
    pub cpu: Duration,
    pub peak_memory: Bytes,
    pub peak_tasks: u64,
}

/// Why the daemon ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    WallTimeout,
    Cpu {
        observed: Duration,
    },
    Memory {
        observed: Bytes,
    },
    Output {
        observed: u64,
    },
    /// Nothing was wrong: it had given its result and did not go.
    Leftovers,
    Stopped(Stop),
}

/// Who wanted it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Cancelled,
    DaemonShutdown,
}

/// The runner's fourth frame. A claim of untrusted code.
#[derive(Debug, Clone)]
pub enum Reported {
    Nothing,
    Value(Box<RawValue>),
    Error {
        kind: ErrorKind,
        limit: Option<InnerLimit>,
    },
    /// Something that is not a frame, or a frame out of order.
    Garbage,
}

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

/// A run under way. Dropping it does not end the run; its [`Stopper`] does.
#[derive(Debug)]
pub struct Running {
    task: JoinHandle<Finished>,
}

/// Ends a run from elsewhere, whether it has begun or not.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<Option<Stop>>);

/// The other end of a [`Stopper`].
#[derive(Debug, Clone)]
pub struct Stopped(watch::Receiver<Option<Stop>>);

/// Made before the run, so that it can be stopped at any time.
pub fn stop_switch() -> (Stopper, Stopped) {
    let (stop, stopped) = watch::channel(None);
    (Stopper(stop), Stopped(stopped))
}

impl Stopped {
    /// Ends when somebody wants the run to end; `None` when nobody can any more.
    pub async fn wanted(&mut self) -> Option<Stop> {
        self.0
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| *reason)
    }
}

impl Stopper {
    /// The first reason counts; later ones change nothing.
    pub fn stop(&self, why: Stop) {
        self.0.send_if_modified(|reason| {
            let first = reason.is_none();
            reason.get_or_insert(why);
            first
        });
    }
}

impl Running {
    /// Waits for the end.
    ///
    /// # Errors
    /// When the supervising task itself failed; the sandbox is dead then too, because the task owned it.
    pub async fn finish(self) -> Result<Finished, tokio::task::JoinError> {
        self.task.await
    }
}

impl Prepared {
    /// How long it took to prepare.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Hands the program over. User code runs from here on, and the wall clock with it.
    pub fn start(self, program: Program, stopped: Stopped) -> Running {
        Running {
            task: tokio::spawn(supervise(self, program, stopped)),
        }
    }
}

async fn supervise(prepared: Prepared, program: Program, stopped: Stopped) -> Finished {
    let Prepared {
        cage,
        sampler,
        wires,
        stdout,
        stderr,
        limits,
        before,
        ..
    } = prepared;
    let began = Instant::now();
    let language = program.language;
    let mut helpers = tokio::task::JoinSet::new();
    helpers.spawn(hand_over(wires.job, wires.stdin, program, limits.clone()));
    let (events, seen) = mpsc::unbounded_channel();
    let report = tokio::spawn(listen(wires.report, events));
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
        measured: before,
        streams: [stdout.progress().clone(), stderr.progress().clone()],
        began,
        started: None,
        answered: None,
        seen,
        stopped,
    };
    let killed = tokio::select! {
        _over = cage.over() => None,
        kill = watch.until_something_is_wrong() => {
            watch.observe();
            if let Err(error) = cage.kill() {
                tracing::error!(%error, "cleanup_failed");
            }
            Some(kill)
        }
    };
    let (started, mut measured) = (watch.started, watch.measured);

    measured.sandbox = cage.reap().await.unwrap_or_default();
    let ended = Instant::now();
    helpers.abort_all();
    // Every writer is dead: these all end at once.
    let reported = report.await.unwrap_or(Reported::Garbage);
    let exit_code = exit_code.await.ok().flatten();
    let mut verdict = wires.verdict;
    let end = match read_verdict(&mut verdict).await {
        Some(Verdict::Ended {
            end,
            cpu_us,
            max_resident,
        }) => {
            measured.runtime = Some((Duration::from_micros(cpu_us), Bytes(max_resident)));
            Some(end)
        }
        Some(Verdict::Failed { .. }) | None => None,
    };
    let usage = measured.usage();
    let ended = exit_code.map_or(ended, |(_, when)| when.min(ended));
    Finished {
        facts: ExitFacts {
            language,
            killed,
            exit_code: exit_code.map(|(code, _)| code),
            end,
            started: started.is_some(),
            reported,
            wall: ended.saturating_duration_since(started.unwrap_or(began)),
            cpu: usage.cpu_time,
            peak_memory: usage.peak_memory,
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
    let since_epoch = deadline
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
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

#[derive(Debug, Clone, Copy)]
enum Event {
    Started,
    Answered,
}

/// Reads the runner's reports in their legal order. Ends when no process holds the other end, or on the first wrong byte;
/// the reading end is closed then, and a flood has nowhere to go.
async fn listen(mut from: pipe::Receiver, events: mpsc::UnboundedSender<Event>) -> Reported {
    // An error frame may come before user code: an input file that could not be written.
    let mut reported = Reported::Nothing;
    let mut started = false;
    loop {
        reported = match (channel::read_report(&mut from).await, &reported) {
            (Ok(None), _) => return reported,
            (Ok(Some(Report::Started)), Reported::Nothing) if !started => {
                started = true;
                events.send(Event::Started).ok();
                continue;
            }
            (Ok(Some(Report::Result { value })), Reported::Nothing) if started => Reported::Value(value),
            (Ok(Some(Report::Error { kind, limit })), Reported::Nothing) => Reported::Error { kind, limit },
            // What comes after the first answer does not count, and does not spoil it.
            (_, Reported::Value(_) | Reported::Error { .. }) => return reported,
            (Ok(Some(_)) | Err(_), Reported::Nothing | Reported::Garbage) => return Reported::Garbage,
        };
        events.send(Event::Answered).ok();
    }
}

/// What is watched while a program runs.
struct Watch<'a> {
    limits: &'a Limits,
    sampler: Sampler,
    measured: Measured,
    streams: [Arc<Progress>; 2],
    began: Instant,
    started: Option<Instant>,
    answered: Option<Instant>,
    seen: mpsc::UnboundedReceiver<Event>,
    stopped: Stopped,
}

impl Watch<'_> {
    async fn until_something_is_wrong(&mut self) -> Kill {
        let mut next_sample = self.began + FIRST_SAMPLE;
        loop {
            let [stdout, stderr] = &self.streams;
            let deadline = self.began + self.limits.wall;
            let leave_by = self
                .answered
                .map_or(deadline, |answered| deadline.min(answered + LEFTOVER_GRACE));
            let turn = tokio::select! {
                // Requests and the clock come before samples: a busy sampler must not delay a deadline.
                biased;
                Some(stop) = self.stopped.wanted() => return Kill::Stopped(stop),
                () = tokio::time::sleep_until(leave_by.into()) => {
                    return if self.answered.is_some() { Kill::Leftovers } else { Kill::WallTimeout };
                }
                () = stdout.flooded() => return Kill::Output { observed: stdout.bytes() },
                () = stderr.flooded() => return Kill::Output { observed: stderr.bytes() },
                Some(event) = self.seen.recv() => Some(event),
                () = tokio::time::sleep_until(next_sample.into()) => None,
            };
            match turn {
                Some(Event::Started) => self.started = Some(Instant::now()),
                Some(Event::Answered) => {
                    self.answered = Some(Instant::now());
                    self.observe();
                }
                None => {
                    let began = Instant::now();
                    if let Some(kill) = self.observe() {
                        return kill;
                    }
                    // Weighing many large processes takes milliseconds: at most a fifth of a CPU goes into it.
                    next_sample = Instant::now() + self.pause().max(began.elapsed() * 4);
                }
            }
        }
    }

    /// Takes a sample, and says whether it shows a limit crossed.
    fn observe(&mut self) -> Option<Kill> {
        let sample = self.sampler.weighed(self.sampler.sample(), self.limits.memory);
        self.measured.observe(sample);
        if sample.memory > self.limits.memory {
            return Some(Kill::Memory { observed: sample.memory });
        }
        let cpu = self.measured.sampled_cpu();
        self.limits
            .cpu
            .filter(|limit| cpu > *limit)
            .map(|_| Kill::Cpu { observed: cpu })
    }

    /// Often at first, because most runs are short; often near a limit, because that is where it matters; else rarely.
    fn pause(&self) -> Duration {
        let age = self.began.elapsed();
        let share = self.measured.peak.memory.0.saturating_mul(100) / self.limits.memory.0.max(1);
        let by_memory = match share {
            80.. => Duration::from_millis(5),
            50..80 => Duration::from_millis(20),
            _ => Duration::from_millis(100),
        };
        let by_cpu = self.limits.cpu.map_or(by_memory, |limit| {
            limit.saturating_sub(self.measured.sampled_cpu()) / 4
        });
        by_memory.min(age).min(by_cpu).max(FIRST_SAMPLE)
    }
}

/// A program that ends earlier is measured by its parent alone.
const FIRST_SAMPLE: Duration = Duration::from_millis(5);
