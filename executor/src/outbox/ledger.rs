//! What waits for delivery, how much there may be of it, and what has to go when there is more.
//!
//! Results are added by the runs that end and by whoever finds them on disk; they leave when their delivery is over. The lock
//! is held for a look, never across an await.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sandbox::limits::Bytes;
use tokio::sync::watch;

/// No result waits longer than this.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug)]
pub(super) struct Ledger {
    state: Mutex<State>,
    waiting: watch::Sender<usize>,
    limit: Bytes,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<String, Waiting>,
    bytes: u64,
    /// As of the last look at the directory.
    set_aside: usize,
    set_aside_bytes: u64,
    let_go: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    size: u64,
    /// Order of arrival: the oldest has to go first.
    expires: Instant,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub pending: usize,
    /// How long the oldest of them has waited; `None` when none does.
    pub oldest: Option<Duration>,
    pub set_aside: usize,
    /// Since the daemon's start.
    pub let_go: u64,
}

/// What has to go for there to be room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// The oldest of what was set aside: the control plane has refused it already.
    SetAside,
    Pending(String),
}

impl Ledger {
    pub(super) fn new(limit: Bytes) -> Self {
        Self { state: Mutex::default(), waiting: watch::Sender::new(0), limit }
    }

    /// `since`: when it began to wait, by the wall clock, which may have jumped: it is never taken to be in the future, and
    /// what is too old by it is still tried once. From here on only this process's own clock counts.
    ///
    /// False: it is known already.
    pub(super) fn add(&self, execution_id: &str, size: u64, since: SystemTime) -> bool {
        let age = SystemTime::now().duration_since(since).unwrap_or_default();
        let expires = Instant::now() + LONGEST_WAIT.saturating_sub(age);
        let mut state = self.lock();
        if state.waiting.contains_key(execution_id) {
            return false;
        }
        state.waiting.insert(execution_id.to_owned(), Waiting { size, expires });
        state.bytes += size;
        self.waiting.send_replace(state.waiting.len());
        true
    }

    /// Its size is known now.
    pub(super) fn weigh(&self, execution_id: &str, size: u64) {
        let mut state = self.lock();
        let Some(waiting) = state.waiting.get_mut(execution_id) else { return };
        let before = std::mem::replace(&mut waiting.size, size);
        state.bytes = state.bytes - before + size;
    }

    pub(super) fn remove(&self, execution_id: &str) {
        let mut state = self.lock();
        if let Some(gone) = state.waiting.remove(execution_id) {
            state.bytes -= gone.size;
        }
        self.waiting.send_replace(state.waiting.len());
    }

    pub(super) fn count_let_go(&self) {
        self.lock().let_go += 1;
    }

    pub(super) fn count_set_aside(&self, execution_id: &str) {
        let mut state = self.lock();
        state.set_aside += 1;
        state.set_aside_bytes += state.waiting.get(execution_id).map_or(0, |waiting| waiting.size);
    }

    pub(super) fn note_set_aside(&self, count: usize, bytes: u64) {
        let mut state = self.lock();
        state.set_aside = count;
        state.set_aside_bytes = bytes;
    }

    pub(super) fn holds(&self, execution_id: &str) -> bool {
        self.lock().waiting.contains_key(execution_id)
    }

    pub(super) fn has_expired(&self, execution_id: &str) -> bool {
        self.lock().waiting.get(execution_id).is_none_or(|waiting| Instant::now() >= waiting.expires)
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.lock();
        let first = state.waiting.values().map(|waiting| waiting.expires).min();
        Counts {
            pending: state.waiting.len(),
            oldest: first.map(|expires| {
                LONGEST_WAIT.saturating_sub(expires.saturating_duration_since(Instant::now()))
            }),
            set_aside: state.set_aside,
            let_go: state.let_go,
        }
    }

    /// What has to go next, if there is too much. The newest result stays whatever its size.
    pub(super) fn excess(&self) -> Option<Excess> {
        let state = self.lock();
        if state.bytes + state.set_aside_bytes <= self.limit.0 {
            return None;
        }
        if state.set_aside > 0 {
            return Some(Excess::SetAside);
        }
        let oldest = state.waiting.iter().min_by_key(|(_, waiting)| waiting.expires);
        oldest.filter(|_| state.waiting.len() > 1).map(|(id, _)| Excess::Pending(id.clone()))
    }

    /// Waits until nothing waits.
    pub(super) async fn empty(&self) {
        let mut waiting = self.waiting.subscribe();
        // The sender is in `self`, so it cannot be gone.
        drop(waiting.wait_for(|count| *count == 0).await);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step leaves the numbers half changed, so a panic elsewhere has not spoilt them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_what_was_refused_before_what_waits() {
        let ledger = Ledger::new(Bytes(100));
        let now = SystemTime::now();
        assert!(ledger.add("exec_b", 60, now - Duration::from_secs(10)));
        assert!(ledger.add("exec_a", 40, now));
        assert_eq!(ledger.excess(), None);
        ledger.note_set_aside(1, 1);
        assert_eq!(ledger.excess(), Some(Excess::SetAside));
        ledger.note_set_aside(0, 0);
        assert!(ledger.add("exec_c", 1, now));
        assert_eq!(ledger.excess(), Some(Excess::Pending("exec_b".into())));
        ledger.remove("exec_b");
        assert_eq!(ledger.excess(), None);
    }

    #[test]
    fn one_result_stays_whatever_its_size() {
        let ledger = Ledger::new(Bytes(100));
        ledger.add("exec_a", 1000, SystemTime::now());
        assert_eq!(ledger.excess(), None);
    }

    #[test]
    fn the_same_execution_is_taken_once() {
        let ledger = Ledger::new(Bytes(100));
        assert!(ledger.add("exec_a", 10, SystemTime::now()));
        assert!(!ledger.add("exec_a", 10, SystemTime::now()));
        ledger.remove("exec_a");
        assert_eq!(ledger.counts(), Counts::default());
        assert!(!ledger.holds("exec_a"));
    }

    #[test]
    fn a_clock_that_jumped_neither_expires_a_result_early_nor_keeps_it_for_ever() {
        let ledger = Ledger::new(Bytes(100));
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        ledger.add("exec_future", 1, SystemTime::now() + year);
        assert!(!ledger.has_expired("exec_future"));
        ledger.add("exec_past", 1, SystemTime::now() - year);
        // It is in the ledger all the same: it is tried once, and only then let go.
        assert!(ledger.holds("exec_past") && ledger.has_expired("exec_past"));
    }
}
