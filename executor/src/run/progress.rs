//! Where a run is at this moment, for those who watch it: heartbeats, and the journal of runs that may die with the daemon.
//!
//! The run's own task says which phase it is in and what can be read of its sandbox; everybody else looks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sandbox::capture::Captured;
use sandbox::limits::Bytes;
use sandbox::live::Live;
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Queue,
    Prepare,
    Run,
    Collect,
}

#[derive(Debug)]
pub struct Progress {
    accepted: Instant,
    now: Mutex<Now>,
    live: watch::Sender<bool>,
}

#[derive(Debug)]
enum Now {
    /// No program yet.
    Before(Phase),
    Running {
        since: Instant,
        live: Live,
    },
    /// Its last numbers, and what it said, for those who still follow.
    After {
        last: Numbers,
        live: Option<Live>,
    },
}

/// Numbers of one moment. What is not known yet is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub phase: Phase,
    /// Since the request was accepted.
    pub elapsed: Duration,
    pub cpu: Duration,
    pub memory: Bytes,
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
}

/// The same, with what the program has said so far.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Since the program was started.
    pub running: Duration,
    pub cpu: Duration,
    pub memory: Bytes,
    /// stdout, stderr.
    pub streams: [Captured; 2],
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            accepted: Instant::now(),
            now: Mutex::new(Now::Before(Phase::Queue)),
            live: watch::Sender::new(false),
        }
    }

    pub(super) fn prepares(&self) {
        *self.lock() = Now::Before(Phase::Prepare);
    }

    /// The program runs; from now on there is something to see.
    pub(super) fn runs(&self, live: Live) {
        *self.lock() = Now::Running { since: Instant::now(), live };
        self.live.send_replace(true);
    }

    /// The program is over.
    pub(super) fn collects(&self) {
        let last = Numbers { phase: Phase::Collect, ..self.numbers() };
        let live = self.live();
        *self.lock() = Now::After { last, live };
    }

    pub fn numbers(&self) -> Numbers {
        let nothing = |phase| Numbers {
            phase,
            elapsed: self.accepted.elapsed(),
            cpu: Duration::ZERO,
            memory: Bytes(0),
            stdout_bytes: 0,
            stderr_bytes: 0,
        };
        match &*self.lock() {
            Now::Before(phase) => nothing(*phase),
            Now::Running { live, .. } => Numbers {
                cpu: live.cpu(),
                memory: live.memory(),
                stdout_bytes: live.stdout_bytes(),
                stderr_bytes: live.stderr_bytes(),
                ..nothing(Phase::Run)
            },
            Now::After { last, .. } => Numbers { elapsed: self.accepted.elapsed(), ..*last },
        }
    }

    /// With at most `limit` bytes of each stream. `None`: no program runs.
    pub fn snapshot(&self, limit: Bytes) -> Option<Snapshot> {
        let (since, live) = match &*self.lock() {
            Now::Running { since, live } => (*since, live.clone()),
            Now::Before(_) | Now::After { .. } => return None,
        };
        Some(Snapshot {
            running: since.elapsed(),
            cpu: live.cpu(),
            memory: live.memory(),
            streams: live.streams(limit),
        })
    }

    /// Waits until a program runs, or for ever.
    pub async fn started(&self) {
        let mut live = self.live.subscribe();
        // The sender is in `self`, so it cannot be gone.
        live.wait_for(|runs| *runs).await.map(drop).unwrap_or(());
    }

    /// What it says and has said. `None`: no program has been started.
    pub fn live(&self) -> Option<Live> {
        match &*self.lock() {
            Now::Before(_) => None,
            Now::Running { live, .. } => Some(live.clone()),
            Now::After { live, .. } => live.clone(),
        }
    }

    /// Memory that is kept for those who follow late.
    pub fn kept_bytes(&self) -> u64 {
        self.live().map_or(0, |live| live.kept_bytes())
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
