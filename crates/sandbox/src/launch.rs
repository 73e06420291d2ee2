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
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;

use linux::pidfd::WaitStatus;
use linux::rlimits::Rlimit;
use linux::{fds, identity, pidfd, rlimits, spawn};
use serde::{Deserialize, Serialize};

use crate::paths::LAUNCHER_PATH;
use crate::program::Language;
use crate::runtimes::{Rlimits, shell};
use crate::self_test;

/// Sandboxed programs yield to the daemon: its heartbeats and answers come first.
const NICE: i32 = 10;

/// What the launcher is to do: its only argument is the number of a descriptor that has this as JSON. Nothing in it is secret.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub start: Start,
    pub rlimits: Rlimits,
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
    /// Look around instead: see `self_test.rs`.
    SelfTest,
}

/// What the launcher writes to its status descriptor, once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Verdict {
    /// The runtime ended by itself, or was killed from inside.
    Ended { end: End, cpu_us: u64, max_resident: u64 },
    /// It was never started.
    Failed { stage: String, error: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Exited(i32),
    Signaled(i32),
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
            let code = fds::close_all_except(&[order.job_fd, order.report_fd, status_fd])
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
    let verdict = run(order).unwrap_or_else(|Failure { stage, error }| Verdict::Failed {
        stage: stage.to_owned(),
        error: error.to_string(),
    });
    // The daemon may be gone; then nobody is left to be told.
    let told =
        serde_json::to_vec(&verdict).map_err(io::Error::other).and_then(|line| status.write_all(&line));
    match (verdict, told) {
        (Verdict::Ended { end: End::Exited(code), .. }, Ok(())) => ExitCode::from(code.to_le_bytes()[0]),
        (Verdict::Ended { end: End::Signaled(signal), .. }, Ok(())) => {
            ExitCode::from((128 + signal).to_le_bytes()[0])
        }
        (Verdict::Failed { .. }, _) | (_, Err(_)) => ExitCode::FAILURE,
    }
}

struct Failure {
    stage: &'static str,
    error: io::Error,
}

fn at(stage: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure { stage, error }
}

fn run(order: Order) -> Result<Verdict, Failure> {
    rlimits::set_nice(NICE).map_err(at("nice"))?;
    identity::set_umask(0o022);
    set_limits(&order.rlimits)?;
    identity::hide_memory().map_err(at("hide memory"))?;
    identity::block_signals().map_err(at("block signals"))?;
    let job = fds::adopt(order.job_fd).map_err(at("job descriptor"))?;
    let report = fds::adopt(order.report_fd).map_err(at("report descriptor"))?;

    let runtime = match order.start {
        Start::SelfTest => {
            self_test::report(job, report).map_err(at("self test"))?;
            return Ok(Verdict::Ended { end: End::Exited(0), cpu_us: 0, max_resident: 0 });
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
                    return Ok(Verdict::Ended { end: End::Exited(1), cpu_us: 0, max_resident: 0 });
                }
            }
        }
        Start::Runtime { language: Language::Python | Language::Javascript, interpreter, arguments } => {
            let numbers = [&job, &report].map(spawn::number);
            let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).chain(numbers).collect();
            spawn::spawn_runtime(&interpreter, &arguments, &[job, report], None)
                .map_err(at("start the interpreter"))?
        }
    };
    let (status, usage) = pidfd::reap(runtime).map_err(at("wait"))?;
    Ok(Verdict::Ended {
        end: match status {
            WaitStatus::Exited(code) => End::Exited(code),
            WaitStatus::Signaled(signal) => End::Signaled(signal),
        },
        cpu_us: u64::try_from(usage.cpu.as_micros()).unwrap_or(u64::MAX),
        max_resident: usage.max_resident,
    })
}

fn set_limits(limits: &Rlimits) -> Result<(), Failure> {
    let set = |stage, limit| rlimits::set(limit).map_err(at(stage));
    set("limit of core files", Rlimit::Core(1))?;
    set("limit of the stack", Rlimit::Stack(8 << 20))?;
    set("limit of locked memory", Rlimit::LockedMemory(64 << 10))?;
    set("limit of pending signals", Rlimit::PendingSignals(4096))?;
    set("limit of message queues", Rlimit::MessageQueues(800 << 10))?;
    set("limit of file size", Rlimit::FileSize(limits.file_size))?;
    set("limit of open files", Rlimit::OpenFiles(limits.open_files))?;
    set("limit of data", Rlimit::Data(limits.data))?;
    if let Some(seconds) = limits.cpu_seconds {
        set("limit of CPU time", Rlimit::CpuSeconds(seconds))?;
    }
    set("limit of processes", Rlimit::Processes(limits.processes))
}
