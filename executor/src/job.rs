//! A checked request: what the daemon has agreed to run.
//!
//! A [`Job`] cannot be wrong: it is only built by `intake` (from a request) and by the command line (from a file).

use std::collections::BTreeSet;

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
    pub on_disconnect: OnDisconnect,
    pub fingerprint: Fingerprint,
}

/// What becomes of the run when the caller that waits for it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisconnect {
    Continue,
    Cancel,
}

/// Tells whether two requests with the same id ask for the same thing: a digest per field, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint(pub Vec<(String, [u8; 32])>);

impl Fingerprint {
    /// The fields in which two requests differ.
    pub fn differing(&self, other: &Self) -> BTreeSet<String> {
        let one: BTreeSet<_> = self.0.iter().collect();
        let other: BTreeSet<_> = other.0.iter().collect();
        one.symmetric_difference(&other).map(|(field, _)| field.clone()).collect()
    }
}
