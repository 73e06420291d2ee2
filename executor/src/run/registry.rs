//! The executions this daemon knows: those under way, and the last ones that are over.
//!
//! ```text
//! enter ──► Queued ──► Running ──► Done(record) ──► forgotten, oldest first, when there are too many
//!              └──────────┴──► Refused / Lost ──► forgotten at once
//! ```
//!
//! The run's own task is the only one that moves an execution on ([`Execution::become_`]); everybody else looks
//! ([`Execution::over`]) or asks it to stop. An id stands for one request: the same request attaches to it, another one is
//! told so. The lock is held for a look, never across an await.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandbox::limits::Bytes;
use sandbox::stop::{self, Stop, Stopped, Stopper};
use tokio::sync::watch;

use crate::admission::Refused;
use crate::job::Fingerprint;
use crate::run::record::RunRecord;

/// How many finished executions are remembered, and how much of their output.
const REMEMBERED: usize = 1000;
const REMEMBERED_BYTES: Bytes = Bytes::mib(32);

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

/// One execution, as everybody but its own task sees it.
#[derive(Debug)]
pub struct Execution {
    pub id: String,
    fingerprint: Fingerprint,
    stopper: Stopper,
    state: watch::Sender<State>,
}

impl Execution {
    pub(super) fn become_(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Is its end still to come?
    pub(super) fn is_open(&self) -> bool {
        match *self.state.borrow() {
            State::Queued | State::Running => true,
            State::Done(_) | State::Refused(_) | State::Lost => false,
        }
    }

    /// Asks it to end. The first reason counts.
    pub fn stop(&self, why: Stop) {
        self.stopper.stop(why);
    }

    /// Waits until nothing about it will change any more.
    pub async fn over(&self) -> State {
        let mut state = self.state.subscribe();
        let over = |state: &State| match state {
            State::Queued | State::Running => false,
            State::Done(_) | State::Refused(_) | State::Lost => true,
        };
        // The sender is in `self`, so it cannot be gone.
        state.wait_for(over).await.map_or(State::Lost, |state| state.clone())
    }
}

/// What an id turned out to be.
#[derive(Debug)]
pub enum Entered {
    New(Arc<Execution>, Stopped),
    /// The same request again.
    Known(Arc<Execution>),
    /// The id was used for something else; the fields that differ.
    Conflict(BTreeSet<String>),
}

#[derive(Debug, Default)]
pub struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    executions: HashMap<String, Arc<Execution>>,
    /// Finished ones, oldest first, with what they cost.
    finished: VecDeque<(String, u64)>,
    bytes: u64,
}

impl Registry {
    pub fn enter(&self, id: &str, fingerprint: &Fingerprint) -> Entered {
        let mut inner = self.lock();
        if let Some(known) = inner.executions.get(id) {
            let differing = differing(&known.fingerprint, fingerprint);
            return if differing.is_empty() {
                Entered::Known(Arc::clone(known))
            } else {
                Entered::Conflict(differing)
            };
        }
        let (stopper, stopped) = stop::switch();
        let execution = Arc::new(Execution {
            id: id.to_owned(),
            fingerprint: fingerprint.clone(),
            stopper,
            state: watch::Sender::new(State::Queued),
        });
        inner.executions.insert(id.to_owned(), Arc::clone(&execution));
        Entered::New(execution, stopped)
    }

    /// It never became a run; its id is free again.
    pub fn forget(&self, id: &str) {
        self.lock().executions.remove(id);
    }

    /// It is over and may be asked for, until there are too many.
    pub fn remember(&self, record: &RunRecord) {
        let mut inner = self.lock();
        let bytes = record.output_bytes() as u64;
        inner.finished.push_back((record.execution_id.clone(), bytes));
        inner.bytes += bytes;
        // The newest stays whatever it costs: its caller is only now reading it.
        while inner.finished.len() > 1
            && (inner.finished.len() > REMEMBERED || inner.bytes > REMEMBERED_BYTES.0)
        {
            if let Some((id, bytes)) = inner.finished.pop_front() {
                inner.bytes -= bytes;
                inner.executions.remove(&id);
            }
        }
    }

    /// Asks every execution that is not over to end.
    pub fn stop_all(&self, why: Stop) {
        for execution in self.lock().executions.values() {
            execution.stop(why);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No step leaves the maps half changed, so a panic elsewhere has not spoilt them.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn differing(one: &Fingerprint, other: &Fingerprint) -> BTreeSet<String> {
    let one: BTreeSet<_> = one.0.iter().collect();
    let other: BTreeSet<_> = other.0.iter().collect();
    one.symmetric_difference(&other).map(|(field, _)| field.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(code: u8) -> Fingerprint {
        Fingerprint(vec![("code".into(), [code; 32]), ("language".into(), [0; 32])])
    }

    #[test]
    fn the_same_request_attaches_and_another_one_is_told_what_differs() {
        let registry = Registry::default();
        assert!(matches!(registry.enter("exec_a", &fingerprint(1)), Entered::New(..)));
        assert!(matches!(registry.enter("exec_a", &fingerprint(1)), Entered::Known(_)));
        match registry.enter("exec_a", &fingerprint(2)) {
            Entered::Conflict(fields) => assert_eq!(fields.into_iter().collect::<Vec<_>>(), ["code"]),
            other @ (Entered::New(..) | Entered::Known(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_id_that_never_ran_is_free_again() {
        let registry = Registry::default();
        assert!(matches!(registry.enter("exec_a", &fingerprint(1)), Entered::New(..)));
        registry.forget("exec_a");
        assert!(matches!(registry.enter("exec_a", &fingerprint(2)), Entered::New(..)));
    }
}
