//! What has arrived, what is known from it, and what is to be done next. All state of the mock but its sockets.
//!
//! One mutex, held for the time of a look or a change and never across an await. Every change wakes those who wait.
//! The invariant: of all calls with one `Idempotency-Key` at most one is `accepted`.
//!
//! ```text
//! arrive (head read) → receive (body read) ┬→ Delay → perform ┬→ React: decided
//!                                          └→ Hold ──────────→┘
//! ```

mod archive;
mod judge;
mod ledger;
mod state;

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::body::Bytes;
use jiff::Timestamp;

pub(crate) use state::{Next, Pending, Verdict};

use crate::options::Printer;
use crate::rules::BadRule;
use crate::{Call, ExecutionView, Kind, Rule};
use state::State;

pub(crate) struct Journal {
    started: Instant,
    prefix: String,
    print: Option<Printer>,
    state: Mutex<State>,
    changed: Condvar,
}

/// A request whose head has arrived.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) number: u64,
    pub(crate) arrived: Timestamp,
    pub(crate) arrived_after: Duration,
    pub(crate) kind: Kind,
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) execution_id: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) authorized: bool,
    /// It came after something that must be last.
    pub(crate) late: Option<String>,
}

impl Journal {
    pub(crate) fn new(prefix: String, token: Option<String>, print: Option<Printer>) -> Self {
        let state = Mutex::new(State::new(token));
        Self { started: Instant::now(), prefix, print, state, changed: Condvar::new() }
    }

    /// A panic of somebody's `look` leaves nothing half done, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the call its number: the order of arrival is that of the heads.
    pub(crate) fn arrive(&self, method: &str, path: &str, headers: HeaderMap) -> Arrival {
        let bare = path.split_once('?').map_or(path, |(bare, _query)| bare);
        let (kind, execution_id) = crate::route::operation(&self.prefix, bare);
        let (method, path) = (method.to_owned(), path.to_owned());
        let mut state = self.lock();
        let (number, late, authorized) = state.arrive(kind, execution_id.as_deref(), &headers);
        let (arrived, arrived_after) = (Timestamp::now(), self.started.elapsed());
        Arrival {
            number,
            arrived,
            arrived_after,
            kind,
            method,
            path,
            execution_id,
            headers,
            authorized,
            late,
        }
    }

    /// Judges the call and writes it down. `body` is what could be read, or why it could not be.
    pub(crate) fn receive(&self, arrival: Arrival, body: Result<Bytes, String>) -> Next {
        let judged = judge::judge(arrival, body);
        self.change(|state| state.receive(judged))
    }

    /// Goes on with a call that had to wait.
    pub(crate) fn perform(&self, pending: Pending) -> Next {
        self.change(|state| {
            let number = pending.number;
            (state.perform(pending), Some(number))
        })
    }

    /// The other side left while the call waited.
    pub(crate) fn abandon(&self, number: u64) {
        self.change(|state| ((), state.abandon(number).then_some(number)));
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> (T, Option<u64>)) -> T {
        let mut state = self.lock();
        let (result, changed) = change(&mut state);
        let call = changed.filter(|_| self.print.is_some()).and_then(|number| state.call(number).cloned());
        drop(state);
        self.changed.notify_all();
        if let (Some(print), Some(call)) = (&self.print, call) {
            print(&call);
        }
        result
    }

    pub(crate) fn wait_for<T>(
        &self,
        patience: Duration,
        mut look: impl FnMut(&[Call]) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(state.calls()) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&[Call]) -> T) -> T {
        look(self.lock().calls())
    }

    pub(crate) fn executions(&self) -> BTreeMap<String, ExecutionView> {
        self.lock().executions()
    }

    pub(crate) fn execution(&self, id: &str) -> Option<ExecutionView> {
        self.lock().execution(id)
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations().to_vec()
    }

    /// What cannot be put down to a call.
    pub(crate) fn violation(&self, text: String) {
        self.change(|state| (state.violation(text), None));
    }

    pub(crate) fn forget(&self) {
        self.change(|state| (state.forget(), None));
    }

    /// All or none.
    pub(crate) fn script(&self, rules: Vec<Rule>) -> Result<(), BadRule> {
        self.lock().script(rules)
    }

    pub(crate) fn clear_script(&self) {
        self.lock().clear_script();
    }

    pub(crate) fn script_lines(&self) -> serde_json::Value {
        serde_json::to_value(self.lock().script_lines()).expect("a rule is JSON")
    }

    pub(crate) fn set_token(&self, token: Option<String>) {
        self.lock().set_token(token);
    }

    pub(crate) fn step(&self) -> bool {
        self.lock().step()
    }
}
