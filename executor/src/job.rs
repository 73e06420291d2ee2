//! A checked request: what the daemon has agreed to run.
//!
//! A [`Job`] cannot be wrong: it is only built by `intake` (from a request) and by the command line (from a file).

use sandbox::{limits::Limits, program::Program};

/// Where the program runs. Executions in the same place run one after another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// The container's own workspace, `WORKSPACE_PATH`.
    Container,
    /// A workspace that its session's executions share.
    Session(String),
    /// A new, empty one; nobody else ever sees it.
    Fresh,
}

impl Place {
    /// The kind of place, for logs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Session(_) => "session",
            Self::Fresh => "fresh",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Job {
    pub program: Program,
    pub place: Place,
    pub limits: Limits,
    pub fingerprint: Fingerprint,
}

/// Tells whether two requests with the same id ask for the same thing: a digest per field, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(pub Vec<(String, [u8; 32])>);
