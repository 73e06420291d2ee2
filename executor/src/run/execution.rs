//! One execution, as everybody but its own task sees it.
//!
//! ```text
//! Queued ──► Running ──► Done(record)
//!    └──────────┴──► Refused / Lost
//! ```
//!
//! The run's own task is the only one that moves it on ([`Execution::become_`]); everybody else looks, waits, or asks it to
//! stop. It can be waited for, looked up, followed and cancelled by as many as like, at the same time.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use sandbox::stop::{self, Stop, Stopped, Stopper};
use tokio::sync::watch;

use crate::admission::{Refused, queue};
use crate::job::Fingerprint;
use crate::outbox::Label;
use crate::run::progress::Progress;
use crate::run::record::RunRecord;
use crate::telemetry::trace::Trace;

/// Where a request came from, in the words that its callbacks repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub request_id: String,
    pub trace: Trace,
    pub accepted_at: Timestamp,
}

impl Origin {
    pub fn new(request_id: &str, trace: Trace) -> Self {
        Self { request_id: request_id.to_owned(), trace, accepted_at: Timestamp::now() }
    }
}

#[derive(Debug, Clone)]
pub enum State {
    Queued,
    Running,
    Done(Arc<RunRecord>),
    /// It waited, and then the daemon shut down.
    Refused(Refused),
    /// The task that ran it is gone: a bug of ours.
    Lost,
}

impl State {
    /// Is its end still to come?
    fn is_open(&self) -> bool {
        match self {
            Self::Queued | Self::Running => true,
            Self::Done(_) | Self::Refused(_) | Self::Lost => false,
        }
    }
}

#[derive(Debug)]
pub struct Execution {
    pub id: String,
    pub origin: Origin,
    pub progress: Progress,
    pub fingerprint: Fingerprint,
    /// Its place in the queue, once it has one.
    pub(super) seat: OnceLock<queue::Id>,
    stopper: Stopper,
    state: watch::Sender<State>,
    /// It is on disk, or will never be.
    journalled: watch::Sender<bool>,
    promised: AtomicBool,
}

impl Execution {
    pub(super) fn new(id: &str, fingerprint: &Fingerprint, origin: &Origin) -> (Arc<Self>, Stopped) {
        let (stopper, stopped) = stop::switch();
        let execution = Self {
            id: id.to_owned(),
            origin: origin.clone(),
            progress: Progress::new(),
            fingerprint: fingerprint.clone(),
            seat: OnceLock::new(),
            stopper,
            state: watch::Sender::new(State::Queued),
            journalled: watch::Sender::new(false),
            promised: AtomicBool::new(false),
        };
        (Arc::new(execution), stopped)
    }

    /// For messages about it.
    pub fn label(&self) -> Label {
        let Origin { request_id, trace, accepted_at } = &self.origin;
        Label::new(&self.id, *accepted_at, request_id, Some(trace.headers()), &self.fingerprint)
    }

    /// Its place in the queue, for as long as it waits there.
    pub fn seat(&self) -> Option<queue::Id> {
        self.seat.get().copied()
    }

    pub(super) fn become_(&self, state: State) {
        self.state.send_replace(state);
    }

    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Is its end still to come?
    pub fn is_open(&self) -> bool {
        self.state.borrow().is_open()
    }

    /// Asks it to end. The first reason counts.
    pub fn stop(&self, why: Stop) {
        self.stopper.stop(why);
    }

    /// Somebody is told that it will be done, and does not wait for it: from here on a shutdown ends it as a run that was, and
    /// does not refuse it as one that never began.
    pub(super) fn promise(&self) {
        self.promised.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_promised(&self) -> bool {
        self.promised.load(Ordering::Relaxed)
    }

    pub(super) fn note_journalled(&self) {
        self.journalled.send_replace(true);
    }

    /// Waits until a crash of the daemon cannot make it unheard of.
    pub async fn journalled(&self) {
        let mut journalled = self.journalled.subscribe();
        let mut state = self.state.subscribe();
        // Neither sender can be gone: both are in `self`.
        tokio::select! {
            _ = journalled.wait_for(|journalled| *journalled) => {}
            _ = state.wait_for(|state| !state.is_open()) => {}
        }
    }

    /// For those who follow it: told of every step.
    pub fn steps(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Waits until nothing about it will change any more.
    pub async fn over(&self) -> State {
        let mut state = self.state.subscribe();
        // The sender is in `self`, so it cannot be gone.
        state.wait_for(|state| !state.is_open()).await.map_or(State::Lost, |state| state.clone())
    }
}
