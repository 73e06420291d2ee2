//! What the run means: the one place where facts become a judgement. Pure, total, and tested as a table.
//!
//! The order of the questions is the policy: what the daemon did comes first, then what the kernel did, then what the
//! program did, and only then what the program says of itself.

use crate::channel::{ErrorKind, InnerLimit};
use crate::facts::{ExitFacts, Kill, Reported};
use crate::launch::End;
use crate::program::Language;
use crate::stop::Stop;

/// `status` of a finished run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Success,
    Failed,
    Timeout,
    Error,
    Cancelled,
}

impl Status {
    /// As the wire and the logs call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why the run ended as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Exit,
    Exception,
    Signal,
    WallTimeout,
    CpuLimit,
    MemoryLimit,
    ProcessLimit,
    FileLimit,
    OutputLimit,
    Cancelled,
    DaemonShutdown,
    SandboxError,
}

impl Cause {
    /// As the wire and the logs call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Exception => "exception",
            Self::Signal => "signal",
            Self::WallTimeout => "wall_timeout",
            Self::CpuLimit => "cpu_limit",
            Self::MemoryLimit => "memory_limit",
            Self::ProcessLimit => "process_limit",
            Self::FileLimit => "file_limit",
            Self::OutputLimit => "output_limit",
            Self::Cancelled => "cancelled",
            Self::DaemonShutdown => "daemon_shutdown",
            Self::SandboxError => "sandbox_error",
        }
    }
}

/// The limit and what was observed, both in the unit of the limit's own field (seconds, MiB, bytes or a count).
#[derive(Debug, Clone, PartialEq)]
pub struct CauseDetail {
    pub limit: Option<f64>,
    pub observed: Option<f64>,
    /// One sentence: what happened, and what to do.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub status: Status,
    /// -1 where the program did not decide it.
    pub exit_code: i32,
    pub cause: Cause,
    pub detail: Option<CauseDetail>,
}

/// The program's own exit status where the daemon, not the program, ended the run.
const NOT_THE_PROGRAMS: i32 = -1;

/// A program that fails with this share of its memory in use (percent) failed because of it: its last request was refused.
const MEMORY_FULL: u64 = 95;

const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;
const SIGKILL: i32 = 9;

pub fn judge(facts: &ExitFacts) -> Outcome {
    if let Some(outcome) = facts.killed.and_then(|kill| judge_kill(facts, kill)) {
        return outcome;
    }
    if let Some(charged) = facts.out_of_memory {
        return memory_limit(facts, charged.as_mib());
    }
    if let Some(failure) = &facts.launch_failure {
        return sandbox_error(format!("the program could not be started ({failure})"));
    }
    let silent = matches!(facts.reported, Reported::Nothing | Reported::Garbage);
    if !facts.started && silent {
        return sandbox_error("the language's runtime ended before it ran the program; try again".into());
    }
    let Some(end) = how_it_ended(facts) else {
        return sandbox_error("the sandbox ended without saying how; try again".into());
    };
    let failed = match (end, &facts.reported) {
        (End::Exited(0), Reported::Nothing | Reported::Value(_) | Reported::Garbage) => None,
        (End::Exited(0), Reported::Error { .. }) => Some(1),
        (End::Exited(code), _) => Some(code),
        (End::Signaled(signal), _) => Some(128 + signal),
    };
    match failed {
        None => Outcome { status: Status::Success, exit_code: 0, cause: Cause::Exit, detail: None },
        Some(code) => limit_behind(facts, end).unwrap_or_else(|| own_failure(facts, end, code)),
    }
}

/// The outcome of a run that could not be: our fault or the host's, told in a sentence.
pub fn sandbox_error(message: String) -> Outcome {
    stopped(Status::Error, Cause::SandboxError, None, message)
}

/// The outcome of a run that was stopped before its program was handed over.
pub fn never_ran(stop: Stop) -> Outcome {
    match stop {
        Stop::Cancelled => {
            stopped(Status::Cancelled, Cause::Cancelled, None, "the execution was cancelled".into())
        }
        Stop::DaemonShutdown => {
            let message = "the executor was shut down; send the execution again, to another one".into();
            stopped(Status::Error, Cause::DaemonShutdown, None, message)
        }
    }
}

fn judge_kill(facts: &ExitFacts, kill: Kill) -> Option<Outcome> {
    let limits = &facts.limits;
    Some(match kill {
        // The result was there before; the run is judged by it.
        Kill::Leftovers => return judge_leftovers(facts),
        Kill::WallTimeout { observed } => {
            let limit = limits.wall.as_secs_f64();
            let message = format!(
                "the program ran into its timeout of {limit} s and was killed; raise `timeout` if it needs longer"
            );
            stopped(Status::Timeout, Cause::WallTimeout, Some((limit, observed.as_secs_f64())), message)
        }
        Kill::Cpu { observed } => cpu_limit(facts, observed.as_secs_f64()),
        Kill::Memory { observed } => memory_limit(facts, observed.as_mib()),
        Kill::Output { observed } => {
            let limit = limits.output.0;
            let message = format!(
                "the program wrote {observed} bytes to one stream, far beyond the {limit} that are kept, and was killed; \
                 write large results to a file"
            );
            stopped(Status::Error, Cause::OutputLimit, Some((limit as f64, observed as f64)), message)
        }
        Kill::Stopped(stop) => never_ran(stop),
    })
}

/// Killed after its answer: what was answered stands.
fn judge_leftovers(facts: &ExitFacts) -> Option<Outcome> {
    match facts.reported {
        Reported::Error { .. } => {
            let end = End::Exited(1);
            Some(limit_behind(facts, end).unwrap_or_else(|| own_failure(facts, end, 1)))
        }
        Reported::Value(_) | Reported::Nothing | Reported::Garbage => {
            Some(Outcome { status: Status::Success, exit_code: 0, cause: Cause::Exit, detail: None })
        }
    }
}

/// The launcher can tell exit from signal, but speaks from inside: believed where bubblewrap's word agrees.
fn how_it_ended(facts: &ExitFacts) -> Option<End> {
    let code = facts.exit_code?;
    facts.end.filter(|end| end.folded() == code).or(Some(match code {
        129..=192 => End::Signaled(code - 128),
        _ => End::Exited(code),
    }))
}

/// A limit that made the program fail, as far as it can be known.
fn limit_behind(facts: &ExitFacts, end: End) -> Option<Outcome> {
    let signal = match (end, facts.language) {
        (End::Signaled(signal), _) => Some(signal),
        // bash ends like its last command did.
        (End::Exited(code @ 129..), Language::Shell) => Some(code - 128),
        (End::Exited(_), _) => None,
    };
    let cpu_used_up = facts.limits.cpu.is_some_and(|limit| facts.cpu >= limit);
    match signal {
        // Both can also be sent by the program itself.
        Some(SIGXCPU | SIGKILL) if cpu_used_up => return Some(cpu_limit(facts, facts.cpu.as_secs_f64())),
        Some(SIGXFSZ) => return Some(file_limit(facts)),
        Some(_) | None => {}
    }
    if let Reported::Error { limit: Some(limit), .. } = facts.reported {
        return Some(match limit {
            InnerLimit::Memory => memory_limit(facts, facts.peak_memory.as_mib()),
            InnerLimit::Processes => process_limit(facts),
            InnerLimit::FileSize => file_limit(facts),
        });
    }
    if facts.peak_memory.0.saturating_mul(100) >= facts.limits.memory.0.saturating_mul(MEMORY_FULL) {
        return Some(memory_limit(facts, facts.peak_memory.as_mib()));
    }
    (programs_tasks(facts) >= facts.limits.processes.into()).then(|| process_limit(facts))
}

fn own_failure(facts: &ExitFacts, end: End, exit_code: i32) -> Outcome {
    let (cause, message) = match (end, &facts.reported) {
        (End::Signaled(signal), _) => (Cause::Signal, format!("the program died by signal {signal}")),
        (End::Exited(_), Reported::Error { kind, .. }) => {
            let message = match kind {
                ErrorKind::Exception => {
                    "the program raised an exception or did not compile; stderr has the traceback"
                }
                ErrorKind::NoHandler => {
                    "the program defines no handler that can be called; stderr says what to define"
                }
                ErrorKind::Result => "what the handler returned is not JSON; stderr says where",
                ErrorKind::Input => "an input file could not be written; stderr says which",
            };
            (Cause::Exception, message.to_owned())
        }
        (End::Exited(code), Reported::Nothing | Reported::Value(_) | Reported::Garbage) => {
            (Cause::Exit, format!("the program exited with {code}"))
        }
    };
    let detail = Some(CauseDetail { limit: None, observed: None, message });
    Outcome { status: Status::Failed, exit_code, cause, detail }
}

fn stopped(status: Status, cause: Cause, numbers: Option<(f64, f64)>, message: String) -> Outcome {
    let (limit, observed) = numbers.unzip();
    Outcome {
        status,
        exit_code: NOT_THE_PROGRAMS,
        cause,
        detail: Some(CauseDetail { limit, observed, message }),
    }
}

fn cpu_limit(facts: &ExitFacts, observed: f64) -> Outcome {
    let limit = facts.limits.cpu.map_or(observed, |limit| limit.as_secs_f64());
    let message = format!(
        "the program used {observed:.2} s of CPU time, its limit is {limit} s; raise `limits.cpu_seconds`"
    );
    stopped(Status::Error, Cause::CpuLimit, Some((limit, observed)), message)
}

fn memory_limit(facts: &ExitFacts, observed: u64) -> Outcome {
    let limit = facts.limits.memory.as_mib();
    let message = format!(
        "the program needed more memory than its limit of {limit} MiB (it held {observed} MiB); raise `limits.memory_mb` or \
         use less"
    );
    stopped(Status::Error, Cause::MemoryLimit, Some((limit as f64, observed as f64)), message)
}

/// The most processes and threads that samples saw, without the interpreter's own.
fn programs_tasks(facts: &ExitFacts) -> u64 {
    facts.peak_tasks.saturating_sub(crate::runtimes::own_threads(facts.language))
}

fn process_limit(facts: &ExitFacts) -> Outcome {
    let limit = facts.limits.processes;
    // The kernel refuses only at the limit, and a program that ends at once may never be sampled there.
    let observed = programs_tasks(facts).max(limit.into());
    let message = format!(
        "the program needed more than its {limit} processes and threads; raise `limits.max_processes`"
    );
    stopped(Status::Error, Cause::ProcessLimit, Some((limit.into(), observed as f64)), message)
}

fn file_limit(facts: &ExitFacts) -> Outcome {
    let limit = facts.limits.file_size.as_mib() as f64;
    let message =
        format!("the program wrote to a file beyond its limit of {limit} MiB; raise `limits.max_file_mb`");
    stopped(Status::Error, Cause::FileLimit, Some((limit, limit)), message)
}

#[cfg(test)]
mod tests;
