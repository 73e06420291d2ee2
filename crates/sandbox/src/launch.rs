//! The launcher: the first program inside, and the parent of the runtime. The same binary as the daemon, under another name.
//!
//! Three things can only be done from inside. Limits: `RLIMIT_NPROC` counts per user namespace, so it has to be set in the
//! new one; bubblewrap has no option for any. The exact way the program ended: bubblewrap reports death by signal n and
//! `exit(128 + n)` alike. The program's own CPU time and memory, without those of the sandbox around it.
//!
//! ```text
//! order (a file) ── limits ── runtime started ── waits ── verdict (STATUS_FD) ── exits as the runtime did
//! ```
//!
//! It runs no user code, blocks every signal and cannot be read by its neighbours. What it says still comes from inside a
//! sandbox: it explains what the daemon has observed, and never replaces it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use linux::pidfd::{Change, ChildUsage, WaitStatus};
use linux::{fds, identity, pidfd, rlimits, spawn};
use serde::{Deserialize, Deserializer, Serialize};

use crate::paths::LAUNCHER_PATH;
use crate::program::Language;
use crate::runtimes::{Rlimits, shell};
use crate::self_test;

/// A program may stop itself, and a child of it have it go on, as often as it likes. The daemon hears of so many.
const MOST_STOPS: usize = 100;

/// Sandboxed programs yield to the daemon: its heartbeats and answers come first.
const NICE: i32 = 10;

/// What the launcher is to do: its only argument is the number of a descriptor that has this as JSON. Nothing in it is secret.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub start: Start,
    /// `None`: it is held by those it was started with, or is to hold itself.
    pub rlimits: Option<Rlimits>,
    pub job_fd: RawFd,
    pub report_fd: RawFd,
    pub status_fd: RawFd,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Start {
    Runtime {
        language: Language,
        interpreter: PathBuf,
        arguments: Vec<String>,
    },
    /// A runtime that runs nobody's code, but makes sandboxes of copies of itself: see `fork_server`. What holds a program it does
    /// to the copies.
    ForkServer {
        interpreter: PathBuf,
        arguments: Vec<String>,
        control_fd: RawFd,
    },
    /// Look around instead: see `self_test.rs`.
    SelfTest,
}

impl Start {
    /// A descriptor that it needs besides those of every sandbox.
    fn own_fd(&self) -> Option<RawFd> {
        match self {
            Self::ForkServer { control_fd, .. } => Some(*control_fd),
            Self::Runtime { .. } | Self::SelfTest => None,
        }
    }
}

/// What the launcher writes to its status descriptor: how it ended, once, and before that when it stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Verdict {
    /// A signal has stopped the runtime, all of it.
    Stopped(Spent),
    /// The runtime ended by itself, or was killed from inside.
    Ended { end: End, spent: Spent },
    /// It was never started.
    Failed {
        stage: String,
        #[serde(deserialize_with = "in_words")]
        error: String,
    },
}

/// Where a copy builds itself it has no words, but the error's number.
fn in_words<'de, D: Deserializer<'de>>(error: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Words(String),
        Errno(i32),
    }
    Ok(match Told::deserialize(error)? {
        Told::Words(words) => words,
        Told::Errno(errno) => io::Error::from_raw_os_error(errno).to_string(),
    })
}

/// What the runtime used, with all that it waited for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Spent {
    pub cpu_us: u64,
    pub max_resident: u64,
    /// Of everything that was waited for, where no bubblewrap counts it.
    pub blocks_read: u64,
    pub blocks_written: u64,
}

impl Spent {
    pub const fn cpu(&self) -> Duration {
        Duration::from_micros(self.cpu_us)
    }
}

impl From<ChildUsage> for Spent {
    fn from(usage: ChildUsage) -> Self {
        Self {
            cpu_us: u64::try_from(usage.cpu.as_micros()).unwrap_or(u64::MAX),
            max_resident: usage.max_resident,
            blocks_read: usage.blocks_read,
            blocks_written: usage.blocks_written,
        }
    }
}

impl Verdict {
    fn exited(code: i32) -> Self {
        Self::Ended { end: End::Exited(code), spent: Spent::default() }
    }

    fn tell(&self, to: &mut File) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        to.write_all(&line)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Exited(i32),
    Signaled(i32),
}

impl End {
    /// As an exit status, where a signal n is 128 + n.
    pub const fn folded(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

/// Is this process the launcher rather than the daemon?
pub fn is_launcher() -> bool {
    std::env::args_os().next().is_some_and(|name| name == LAUNCHER_PATH)
}

/// The launcher's `main`.
pub fn main() -> ExitCode {
    match read_order() {
        Ok(order) => {
            let status_fd = order.status_fd;
            let keep: Vec<RawFd> =
                [order.job_fd, order.report_fd, status_fd].into_iter().chain(order.start.own_fd()).collect();
            let code = fds::close_all_except(&keep)
                .and_then(|()| fds::adopt(status_fd).map(File::from))
                .map(|status| supervise(order, status));
            code.unwrap_or(ExitCode::FAILURE)
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn read_order() -> io::Result<Order> {
    let number = std::env::args().nth(1).and_then(|number| number.parse::<RawFd>().ok());
    let order = fds::adopt(number.ok_or(io::ErrorKind::InvalidInput)?)?;
    Ok(serde_json::from_reader(BufReader::new(File::from(order)))?)
}

fn supervise(order: Order, mut status: File) -> ExitCode {
    let verdict = run(order, &mut status).unwrap_or_else(|Failure { stage, error }| Verdict::Failed {
        stage: stage.to_owned(),
        error: error.to_string(),
    });
    // The daemon may be gone; then nobody is left to be told.
    match (verdict.tell(&mut status), verdict) {
        (Ok(()), Verdict::Ended { end, .. }) => ExitCode::from(end.folded().to_le_bytes()[0]),
        (_, Verdict::Stopped(_) | Verdict::Failed { .. }) | (Err(_), _) => ExitCode::FAILURE,
    }
}

struct Failure {
    stage: &'static str,
    error: io::Error,
}

fn at(stage: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure { stage, error }
}

fn run(order: Order, status: &mut File) -> Result<Verdict, Failure> {
    rlimits::set_nice(NICE).map_err(at("nice"))?;
    identity::set_umask(0o022);
    if let Some(rlimits) = &order.rlimits {
        set_limits(rlimits)?;
    }
    identity::hide_memory().map_err(at("hide memory"))?;
    identity::block_signals().map_err(at("block signals"))?;
    let job = fds::adopt(order.job_fd).map_err(at("job descriptor"))?;
    let report = fds::adopt(order.report_fd).map_err(at("report descriptor"))?;

    let runtime = match order.start {
        Start::SelfTest => {
            self_test::report(job, report).map_err(at("self test"))?;
            return Ok(Verdict::exited(0));
        }
        Start::Runtime { language: Language::Shell, interpreter, .. } => {
            let mut report = File::from(report);
            match shell::receive(job, &mut report).map_err(at("receive the job"))? {
                shell::Script::Ready { arguments, env } => {
                    drop(report);
                    spawn::spawn_runtime(&interpreter, &arguments, &[], Some(env))
                        .map_err(at("start the interpreter"))?
                }
                shell::Script::Refused => {
                    return Ok(Verdict::exited(1));
                }
            }
        }
        Start::Runtime { language: Language::Python | Language::Javascript, interpreter, arguments } => {
            boot(&interpreter, arguments, [job, report])?
        }
        Start::ForkServer { interpreter, arguments, control_fd } => {
            drop(job);
            let control = fds::adopt(control_fd).map_err(at("control descriptor"))?;
            boot(&interpreter, arguments, [control, report])?
        }
    };
    for _stop in 0..MOST_STOPS {
        match pidfd::next_change(runtime).map_err(at("wait"))? {
            // Whoever is gone need not hear it.
            (Change::Stopped, usage) => drop(Verdict::Stopped(usage.into()).tell(status)),
            (Change::Ended(end), usage) => return Ok(ended(end, usage)),
        }
    }
    let (end, usage) = pidfd::reap(runtime).map_err(at("wait"))?;
    Ok(ended(end, usage))
}

fn ended(end: WaitStatus, usage: ChildUsage) -> Verdict {
    let end = match end {
        WaitStatus::Exited(code) => End::Exited(code),
        WaitStatus::Signaled(signal) => End::Signaled(signal),
    };
    Verdict::Ended { end, spent: usage.into() }
}

/// The runtime is told the numbers of the two descriptors it gets.
fn boot(interpreter: &Path, arguments: Vec<String>, inherited: [OwnedFd; 2]) -> Result<u32, Failure> {
    let numbers = inherited.each_ref().map(spawn::number);
    let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).chain(numbers).collect();
    spawn::spawn_runtime(interpreter, &arguments, &inherited, None).map_err(at("start the interpreter"))
}

fn set_limits(limits: &Rlimits) -> Result<(), Failure> {
    limits.all().into_iter().try_for_each(|(name, limit)| rlimits::set(limit).map_err(at(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_words_wherever_it_was_met() {
        let told = |error: &str| {
            let line = format!(r#"{{"Failed":{{"stage":"/tmp","error":{error}}}}}"#);
            match serde_json::from_str(&line) {
                Ok(Verdict::Failed { stage, error }) if stage == "/tmp" => error,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(told(r#""no such user""#), "no such user");
        assert_eq!(told("13"), "Permission denied (os error 13)");
    }
}
