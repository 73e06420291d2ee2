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
//!
//! One end is not waited for. Freeing a program's memory takes the kernel 0.5 to 4 ms, and a runner that has done all else says so
//! and stops itself ([`Report::Exit`]). Where the launcher has seen every thread of it stop, and we have seen that there is no
//! other process, nothing in the sandbox runs any more, and the run is over. Its end is whoever's who asked
//! ([`Finished::remains`]), and so is another look at it before anybody relies on that: a program can have the kernel continue it. Any
//! other sandbox whose runner says so is killed, and waited for.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use linux::pidfd::PidFd;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::bwrap::status;
use crate::cage::{Account, Remains};
use crate::capture::Captured;
use crate::channel::{self, JobFrame, MAX_RESULT_BYTES, Report};
use crate::facts::{ExitFacts, Kill, Reported};
use crate::launch::{End, Spent, Verdict};
use crate::limits::{Bytes, Limits};
use crate::live::Live;
use crate::prepare::Prepared;
use crate::program::Program;
use crate::stop::Stopped;
use crate::usage::Usage;
use crate::watch::Watch;
use crate::wires::Verdicts;

/// The launcher tells of a stop at once. Whoever has stopped more often than it tells waits for that in vain.
const STOP_TOLD: Duration = Duration::from_millis(100);

/// A run that is over.
#[derive(Debug)]
pub struct Finished {
    pub facts: ExitFacts,
    pub stdout: Captured,
    pub stderr: Captured,
    pub usage: Usage,
    /// From the job handed over to user code.
    pub start_took: Duration,
    /// The program is not dead, but rests. What it left can be relied on for as long as [it does](Remains::rests).
    pub remains: Option<Remains>,
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
    // Most jobs are taken at once: nobody need be woken for them.
    let mut handing = Box::pin(hand_over(wires.job, wires.stdin, program, limits.clone()));
    if !std::future::poll_fn(|context| Poll::Ready(handing.as_mut().poll(context).is_ready())).await {
        helpers.spawn(handing);
    }
    let answered = Arc::new(Notify::new());
    let (says_exit, mut exit_said) = oneshot::channel();
    let report = tokio::spawn(listen(wires.report, Arc::clone(&answered), says_exit));
    let mut verdicts = wires.verdicts;
    let mut last = None;
    let has_bwrap = wires.bwrap_status.is_some();
    let exit_code = tokio::spawn(async move {
        match status::next(&mut wires.bwrap_status?).await {
            Ok(Some(status::Status::Exited(code))) => Some((code, Instant::now())),
            Ok(Some(status::Status::Child(_)) | None) | Err(_) => None,
        }
    });

    let program = sampler.at_boot().last().copied();
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
    let (mut killed, mut left) = (None, None);
    tokio::select! {
        _over = cage.over() => {}
        stopped = stopped_for_good(program, &mut exit_said, &mut verdicts, &mut last) => left = Some(stopped),
        kill = watch.until_something_is_wrong() => {
            // Memory was just looked at, and looking again would take as long as the program needs for more.
            if !matches!(kill, Kill::Memory { .. }) {
                watch.observe();
            }
            killed = Some(kill);
        }
    }
    let mut at_rest = left.and_then(|_| watch.sampler.at_rest());
    while let (Some((code, spent)), Some(resting)) = (left, at_rest)
        && !resting.is_accounted_for(spent.cpu())
    {
        // It has stopped before, and that was told first.
        match tokio::time::timeout(STOP_TOLD, verdicts.next()).await {
            Ok(Some(Verdict::Stopped(later))) => left = Some((code, later)),
            Ok(Some(Verdict::Ended { .. } | Verdict::Failed { .. }) | None) | Err(_) => at_rest = None,
        }
    }
    if left.is_some() && at_rest.is_none() {
        watch.observe();
    }
    let mut measured = watch.measured;
    let (Account { usage: sandbox, charged }, remains) = if let Some(resting) = at_rest {
        (Account { usage: None, charged: cage.charged() }, Some(cage.leave(resting)))
    } else {
        if (killed.is_some() || left.is_some())
            && let Err(error) = cage.kill()
        {
            tracing::error!(%error, "cleanup_failed");
        }
        (cage.reap().await.unwrap_or_default(), None)
    };
    let is_at_rest = remains.is_some();
    (measured.sandbox, measured.charged) = (sandbox.unwrap_or_default(), charged);
    let ended = Instant::now();
    helpers.abort_all();
    // Every writer is dead, or has said its last: these all end at once.
    let Heard { reported, started } = report.await.unwrap_or_default();
    let exit_code = if left.is_some() { None } else { exit_code.await.ok().flatten() };
    let verdict = match left {
        Some((code, spent)) => Some(Verdict::Ended { end: End::Exited(code.into()), spent }),
        None if last.is_some() => last,
        None => verdicts.last().await,
    };
    let (end, launch_failure) = match verdict {
        Some(Verdict::Ended { end, spent }) => {
            measured.runtime = Some((spent.cpu(), Bytes(spent.max_resident)));
            if sandbox.is_none() {
                (measured.sandbox.blocks_read, measured.sandbox.blocks_written) =
                    (spent.blocks_read, spent.blocks_written);
            }
            (Some(end), None)
        }
        Some(Verdict::Failed { stage, error }) => (None, Some(format!("{stage}: {error}"))),
        Some(Verdict::Stopped(_)) | None => (None, None),
    };
    // A flood that outran the watch is a flood all the same.
    let flood = [stdout.progress().flood(), stderr.progress().flood()].into_iter().flatten().max();
    let killed = killed.or(flood.map(|observed| Kill::Output { observed }));
    let usage = measured.usage();
    let ended = exit_code.map_or(ended, |(_, when)| when.min(ended));
    let has_started = started.is_some();
    // On a busy machine both may be read late, and the start after the end: then all the time counts as the program's.
    let started = started.filter(|started| *started < ended).unwrap_or(began);
    Finished {
        facts: ExitFacts {
            language,
            killed,
            exit_code: exit_code
                .map(|(code, _)| code)
                .or(end.filter(|_| !has_bwrap || left.is_some()).map(End::folded)),
            end,
            started: has_started,
            launch_failure,
            reported,
            wall: ended.saturating_duration_since(started),
            cpu: usage.cpu_time,
            peak_memory: measured.held().0.min(charged.map_or(Bytes(u64::MAX), |charged| charged.peak)),
            out_of_memory: charged.filter(|charged| charged.out_of_memory).map(|charged| charged.peak),
            peak_tasks: measured.peak.tasks,
            limits,
        },
        stdout: if is_at_rest { stdout.drain().await } else { stdout.finish().await },
        stderr: if is_at_rest { stderr.drain().await } else { stderr.finish().await },
        usage,
        start_took: started - began,
        remains,
    }
}

/// Ends when the runner has said that only its end is left, and all of its process has stopped: with the exit status, and what it has
/// used. An earlier stop passes for it: whoever looks at the sandbox sees that.
///
/// Other news of the launcher is left in `last`.
async fn stopped_for_good(
    program: Option<u32>,
    exit_said: &mut oneshot::Receiver<Option<u8>>,
    verdicts: &mut Verdicts,
    last: &mut Option<Verdict>,
) -> (u8, Spent) {
    let said = exit_said.await;
    if let Ok(Some(code)) = said {
        match verdicts.next().await {
            Some(Verdict::Stopped(spent)) => return (code, spent),
            other => *last = other,
        }
    } else if said == Ok(None) {
        // Its runner may have said it to nobody. It can end like any other program.
        loop {
            match verdicts.next().await {
                Some(Verdict::Stopped(_)) => {
                    if let Some(Ok(program)) = program.map(PidFd::open) {
                        program.go_on().ok();
                    }
                }
                other => break *last = other,
            }
        }
    }
    std::future::pending().await
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
        may_rest: true,
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
async fn listen(
    mut from: pipe::Receiver,
    answered: Arc<Notify>,
    says_exit: oneshot::Sender<Option<u8>>,
) -> Heard {
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
            (Ok(Some(Report::Exit { code })), _) if heard.started.is_some() => {
                answered.notify_one();
                // The run may be over for another reason.
                says_exit.send(Some(code)).ok();
                return heard;
            }
            // What comes after the first answer does not count, and does not spoil it.
            (_, Reported::Value(_) | Reported::Error { .. }) => {
                says_exit.send(None).ok();
                return heard;
            }
            (Ok(Some(_)) | Err(_), Reported::Nothing | Reported::Garbage) => {
                says_exit.send(None).ok();
                return Heard { reported: Reported::Garbage, ..heard };
            }
        };
        answered.notify_one();
    }
}
