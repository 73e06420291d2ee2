//! The languages: which interpreter, which runner program boots inside, and what its limits mean to the kernel.
//!
//! A language is one row of the tables here and one folder with its runner. The runner of Python and of JavaScript is
//! written in the language itself; bash cannot speak the protocol, so its runner is Rust and lives in the launcher.

pub mod shell;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use linux::rlimits::Rlimit;
use serde::{Deserialize, Serialize};

use crate::limits::{Bytes, Limits};
use crate::paths::RUNNER_DIR;
use crate::program::Language;

/// Where interpreters are looked for, in the order of the sandbox's own PATH.
const BIN_DIRS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// An interpreter of this container and how it is booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    pub language: Language,
    pub interpreter: PathBuf,
    pub runner: Option<Runner>,
}

/// A program of ours that the interpreter runs first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    pub name: &'static str,
    pub content: Arc<[u8]>,
}

impl Runner {
    pub fn path(&self) -> String {
        format!("{RUNNER_DIR}/{}", self.name)
    }
}

impl Runtime {
    /// The language's interpreter, if this container has one that the sandbox will see too.
    pub fn find(language: Language) -> Option<Self> {
        let name = match language {
            Language::Python => "python3",
            Language::Javascript => "node",
            Language::Shell => "bash",
        };
        let interpreter =
            BIN_DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| is_visible(path))?;
        Some(Self::with_interpreter(language, interpreter))
    }

    pub fn with_interpreter(language: Language, interpreter: PathBuf) -> Self {
        let runner = |name, text: &str| Some(Runner { name, content: text.as_bytes().into() });
        let runner = match language {
            Language::Python => runner("runner.py", include_str!("python/runner.py")),
            Language::Javascript => runner("runner.cjs", include_str!("javascript/runner.cjs")),
            Language::Shell => None,
        };
        Self { language, interpreter, runner }
    }

    /// What the interpreter is started with, before the numbers of the two descriptors.
    pub fn arguments(&self) -> Vec<String> {
        let flags: &[&str] = match self.language {
            // Isolated: no PYTHON* variables, no user site, nothing from the workspace on the path; no .pyc written.
            Language::Python => &["-I", "-B"],
            // No heap limit here, although V8 sizes its heap by the machine's memory: with any V8 flag set, node rejects its
            // own code cache and boots 6 ms later (docs/performance.md). The run's memory is held from outside.
            Language::Javascript | Language::Shell => &[],
        };
        flags.iter().map(|flag| (*flag).to_owned()).chain(self.runner.as_ref().map(Runner::path)).collect()
    }

    /// The same runtime with its runner compiled ahead, which takes a fifth off Python's boot. `compiled` is what
    /// [`COMPILE_PYTHON_RUNNER`] returned, in a sandbox of this very interpreter.
    #[must_use]
    pub fn with_compiled_runner(mut self, compiled: Vec<u8>) -> Self {
        self.runner = Some(Runner { name: "runner.pyc", content: compiled.into() });
        self
    }

    /// Environment that only this language gets.
    pub fn env(&self) -> &'static [(&'static str, &'static str)] {
        match self.language {
            // Where npm -g, and Debian's node-* packages, put modules.
            Language::Javascript => &[(
                "NODE_PATH",
                "/usr/local/lib/node_modules:/usr/lib/node_modules:/usr/share/nodejs:/usr/lib/nodejs",
            )],
            Language::Python | Language::Shell => &[],
        }
    }
}

/// The program of a fork server for Python. It imports the runner, which lies beside it.
pub(crate) const FORK_SERVER: &str = include_str!("python/fork_server.py");

/// Of the file that an interpreter is, as far as it tells one from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(u64, u64, i64, i64);

impl Stamp {
    pub fn of(interpreter: &Path) -> io::Result<Self> {
        let file = fs::metadata(interpreter)?;
        Ok(Self(file.dev(), file.ino(), file.ctime(), file.ctime_nsec()))
    }
}

/// A Python program that returns the interpreter's version and its runner as base64 of a `.pyc`.
pub const COMPILE_PYTHON_RUNNER: &str = "\
import base64, platform, py_compile
def handler(event):
    py_compile.compile('/sbx/runner.py', '/tmp/runner.pyc', doraise=True)
    with open('/tmp/runner.pyc', 'rb') as compiled:
        return [platform.python_version(), base64.b64encode(compiled.read()).decode()]
";

/// The sandbox has `/usr` (and `/bin`, which is in it or beside it) and nothing else: an interpreter that is a link into
/// somebody's home would not be found there.
fn is_visible(path: &Path) -> bool {
    std::fs::canonicalize(path)
        .is_ok_and(|real| real.is_file() && ["/usr", "/bin"].iter().any(|dir| real.starts_with(dir)))
}

/// Threads of the interpreter itself, which do not count against the program's budget.
pub fn own_threads(language: Language) -> u64 {
    match language {
        Language::Javascript => NODE_THREADS,
        Language::Python | Language::Shell => 0,
    }
}

/// What the launcher sets on itself before it starts the runtime, in the kernel's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimits {
    pub data: u64,
    pub cpu_seconds: Option<u64>,
    pub file_size: u64,
    pub open_files: u64,
    pub processes: u64,
}

/// The sandbox's init and the launcher count as processes, too.
const OUR_PROCESSES: u64 = 2;

/// node starts with seven threads (measured on node 20), and four of libuv come with the first file or name it looks up. The
/// first is the program; the others are the runtime's.
const NODE_THREADS: u64 = 10;

/// Private writable memory that is node's own: 47 MiB at boot (measured on node 20), and 8 MiB of stack for each thread of
/// libuv that comes later.
const NODE_DATA: Bytes = Bytes::mib(128);

impl Rlimits {
    /// These are the hard stop of a single process. What the run holds as a whole is watched from outside (`usage.rs`).
    ///
    /// Address space is not among them, because it is not memory: glibc reserves 64 MiB of it for each thread's heap, Go
    /// 600 MiB at its start, and V8 10 GiB for each WebAssembly memory, of which `fetch` has one.
    pub fn new(language: Language, limits: &Limits) -> Self {
        let is_node = match language {
            Language::Javascript => true,
            Language::Python | Language::Shell => false,
        };
        Self {
            data: limits.memory.0 + if is_node { NODE_DATA.0 } else { 0 },
            // A backstop, per process and boot included: the watcher outside counts exactly and comes first.
            cpu_seconds: limits.cpu.map(|cpu| cpu.as_secs() + 2),
            file_size: limits.file_size.0,
            open_files: limits.open_files.into(),
            processes: u64::from(limits.processes) + OUR_PROCESSES + own_threads(language),
        }
    }

    /// Every limit that a program is held to, those that are the same for all included, with a name for who has to say that it
    /// cannot be set.
    pub(crate) fn all(&self) -> Vec<(&'static str, Rlimit)> {
        let mut all = vec![
            ("limit of core files", Rlimit::Core(1)),
            ("limit of the stack", Rlimit::Stack(8 << 20)),
            ("limit of locked memory", Rlimit::LockedMemory(64 << 10)),
            ("limit of pending signals", Rlimit::PendingSignals(4096)),
            ("limit of message queues", Rlimit::MessageQueues(800 << 10)),
            ("limit of file size", Rlimit::FileSize(self.file_size)),
            ("limit of open files", Rlimit::OpenFiles(self.open_files)),
            ("limit of data", Rlimit::Data(self.data)),
        ];
        all.extend(self.cpu_seconds.map(|seconds| ("limit of CPU time", Rlimit::CpuSeconds(seconds))));
        all.push(("limit of processes", Rlimit::Processes(self.processes)));
        all
    }
}
