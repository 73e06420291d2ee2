//! What was seen of a run: written down by the supervisor, judged by `outcome.rs`. Holds no opinion.

use std::time::Duration;

use serde_json::value::RawValue;

use crate::channel::{ErrorKind, InnerLimit};
use crate::launch::End;
use crate::limits::{Bytes, Limits};
use crate::program::Language;
use crate::stop::Stop;

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
    /// Input files were in place and user code about to run.
    pub started: bool,
    /// Why the launcher could not start the runtime, in its words.
    pub launch_failure: Option<String>,
    pub reported: Reported,
    pub wall: Duration,
    pub cpu: Duration,
    /// Of its processes, about. What else the kernel charged to the run is not in it.
    pub peak_memory: Bytes,
    /// The kernel killed because the run's cgroup was full: what was charged to it then.
    pub out_of_memory: Option<Bytes>,
    pub peak_tasks: u64,
}

/// Why the daemon ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    WallTimeout {
        observed: Duration,
    },
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

/// The runner's fourth frame. A claim of untrusted code.
#[derive(Debug, Clone, Default)]
pub enum Reported {
    #[default]
    Nothing,
    Value(Box<RawValue>),
    Error {
        kind: ErrorKind,
        limit: Option<InnerLimit>,
    },
    /// Something that is not a frame, or a frame out of order.
    Garbage,
}
