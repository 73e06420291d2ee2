//! Calls to the control plane: what was said, and what came back. Clones are the same.

use std::fmt;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Labels;

/// What is said to the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ready,
    Heartbeat,
    Result,
    Exited,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Ready, Self::Heartbeat, Self::Result, Self::Exited];

    const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Heartbeat => "heartbeat",
            Self::Result => "result",
            Self::Exited => "exited",
        }
    }
}

/// How one call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// The control plane has it.
    Accepted,
    /// It may be said again.
    Deferred,
    /// The control plane does not want it.
    Refused,
    /// There was no complete answer.
    Unanswered,
}

impl CallResult {
    const ALL: [Self; 4] = [Self::Accepted, Self::Deferred, Self::Refused, Self::Unanswered];

    const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

#[derive(Clone)]
pub struct Calls {
    all: Family<Labels<2>, Counter>,
    heartbeats_missed: Counter,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Default for Calls {
    fn default() -> Self {
        let calls = Self { all: Family::default(), heartbeats_missed: Counter::default() };
        for kind in Kind::ALL {
            for result in CallResult::ALL {
                drop(calls.all.get_or_create(&labels(kind, result)));
            }
        }
        calls
    }
}

impl Calls {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Calls to the control plane, each attempt: what was said, and what came back";
        registry.register("callbacks", help, self.all.clone());
        let help = "Heartbeats that did not arrive, whatever the reason";
        registry.register("heartbeats_missed", help, self.heartbeats_missed.clone());
    }

    pub fn count(&self, kind: Kind, result: CallResult) {
        self.all.get_or_create(&labels(kind, result)).inc();
    }

    pub fn count_missed_heartbeat(&self) {
        self.heartbeats_missed.inc();
    }
}

fn labels(kind: Kind, result: CallResult) -> Labels<2> {
    [("kind", kind.name()), ("result", result.name())]
}
