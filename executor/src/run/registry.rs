//! The executions this daemon knows: those under way, the last ones that are over, and when the others were forgotten.
//!
//! An id stands for one request: the same request attaches to it, another one is told so. Finished ones are bounded in number
//! and in what they said; the oldest go first, and their ids are kept a while longer, so that whoever asks late learns that he
//! is late. The lock is held for a look, never across an await.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sandbox::limits::Bytes;
use sandbox::stop::{Stop, Stopped};

use crate::job::Fingerprint;
use crate::run::execution::{Execution, Origin};
use crate::run::record::RunRecord;

/// How many forgotten executions are known to have been there.
const TOMBSTONES: usize = 10_000;

/// What an id turned out to be.
#[derive(Debug)]
pub enum Entered {
    New(Arc<Execution>, Stopped),
    /// The same request again.
    Known(Arc<Execution>),
    /// The id was used for something else; the fields that differ.
    Conflict(BTreeSet<String>),
}

/// How much of finished executions is kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub executions: NonZeroUsize,
    pub bytes: Bytes,
}

impl Default for Retention {
    fn default() -> Self {
        Self { executions: NonZeroUsize::MIN.saturating_add(999), bytes: Bytes::mib(32) }
    }
}

#[derive(Debug)]
pub struct Registry {
    inner: Mutex<Inner>,
    retention: Retention,
}

#[derive(Debug, Default)]
struct Inner {
    executions: HashMap<String, Arc<Execution>>,
    /// Finished ones, oldest first, with what they cost.
    finished: VecDeque<(String, u64)>,
    bytes: u64,
    /// Hashes of ids and when each was forgotten, oldest first: ten thousand ids would be two megabytes.
    forgotten: VecDeque<(u64, Timestamp)>,
    hashes: RandomState,
}

impl Registry {
    pub fn new(retention: Retention) -> Self {
        Self { inner: Mutex::default(), retention }
    }

    pub fn enter(&self, id: &str, fingerprint: &Fingerprint, origin: &Origin) -> Entered {
        let mut inner = self.lock();
        if let Some(known) = inner.executions.get(id) {
            let differing = known.fingerprint.differing(fingerprint);
            return if differing.is_empty() {
                Entered::Known(Arc::clone(known))
            } else {
                Entered::Conflict(differing)
            };
        }
        let (execution, stopped) = Execution::new(id, fingerprint, origin);
        inner.executions.insert(id.to_owned(), Arc::clone(&execution));
        Entered::New(execution, stopped)
    }

    /// The execution with this id, as long as it is remembered.
    pub fn find(&self, id: &str) -> Option<Arc<Execution>> {
        self.lock().executions.get(id).cloned()
    }

    /// When an execution that is over was forgotten, if that was not too long ago.
    pub fn forgotten_at(&self, id: &str) -> Option<Timestamp> {
        self.lock().forgotten_at(id)
    }

    /// It never became a run; its id is free again.
    pub fn forget(&self, id: &str) {
        self.lock().executions.remove(id);
    }

    /// It is over and may be asked for, until there are too many. `kept`: bytes that are kept beside the record.
    pub fn remember(&self, record: &RunRecord, kept: u64) {
        let now = Timestamp::now();
        let mut inner = self.lock();
        let bytes = record.output_bytes() as u64 + kept;
        inner.finished.push_back((record.execution_id.clone(), bytes));
        inner.bytes += bytes;
        // The newest stays whatever it costs: its caller is only now reading it.
        while inner.finished.len() > 1
            && (inner.finished.len() > self.retention.executions.get()
                || inner.bytes > self.retention.bytes.0)
        {
            if let Some((id, bytes)) = inner.finished.pop_front() {
                inner.bytes -= bytes;
                inner.executions.remove(&id);
                inner.bury(&id, now);
            }
        }
    }

    /// Waits until every execution is over.
    pub async fn all_over(&self) {
        let executions: Vec<_> = self.lock().executions.values().cloned().collect();
        for execution in executions {
            execution.over().await;
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

impl Inner {
    fn forgotten_at(&self, id: &str) -> Option<Timestamp> {
        let hash = self.hashes.hash_one(id);
        // An id that was used again was forgotten again.
        self.forgotten.iter().rev().find(|(of, _)| *of == hash).map(|(_, when)| *when)
    }

    fn bury(&mut self, id: &str, now: Timestamp) {
        if self.forgotten.len() == TOMBSTONES {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back((self.hashes.hash_one(id), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::trace::{Spans, Trace};

    fn fingerprint(code: u8) -> Fingerprint {
        Fingerprint(vec![("code".into(), [code; 32]), ("language".into(), [0; 32])])
    }

    fn origin() -> Origin {
        Origin::new("request", Trace::begin(Spans::Unexported))
    }

    #[test]
    fn the_same_request_attaches_and_another_one_is_told_what_differs() {
        let registry = Registry::new(Retention::default());
        assert!(matches!(registry.enter("exec_a", &fingerprint(1), &origin()), Entered::New(..)));
        assert!(matches!(registry.enter("exec_a", &fingerprint(1), &origin()), Entered::Known(_)));
        match registry.enter("exec_a", &fingerprint(2), &origin()) {
            Entered::Conflict(fields) => assert_eq!(fields.into_iter().collect::<Vec<_>>(), ["code"]),
            other @ (Entered::New(..) | Entered::Known(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn so_many_forgotten_ids_are_known_to_have_been_there() {
        let mut inner = Inner::default();
        let [first, again] = [1, 2].map(|second| Timestamp::from_second(second).unwrap());
        for id in ["exec_0", "exec_1"] {
            inner.bury(id, first);
        }
        inner.bury("exec_1", again);
        assert_eq!(
            ["exec_0", "exec_1", "exec_2"].map(|id| inner.forgotten_at(id)),
            [Some(first), Some(again), None]
        );
        for number in 2..TOMBSTONES {
            inner.bury(&format!("exec_{number}"), again);
        }
        assert_eq!([inner.forgotten_at("exec_0"), inner.forgotten_at("exec_1")], [None, Some(again)]);
        assert_eq!(inner.forgotten.len(), TOMBSTONES);
    }

    #[test]
    fn an_id_that_never_ran_is_free_again() {
        let registry = Registry::new(Retention::default());
        assert!(matches!(registry.enter("exec_a", &fingerprint(1), &origin()), Entered::New(..)));
        registry.forget("exec_a");
        assert!(registry.find("exec_a").is_none() && registry.forgotten_at("exec_a").is_none());
        assert!(matches!(registry.enter("exec_a", &fingerprint(2), &origin()), Entered::New(..)));
    }
}
