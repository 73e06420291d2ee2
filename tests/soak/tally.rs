//! What the control plane heard about results, counted from its journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control_plane_mock::{Call, How, Kind, Mock};
use serde_json::Value;

use crate::plane::look;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Calls about results.
    pub(crate) calls: usize,
    /// Of them, how often each thing was done that is no plain answer.
    pub(crate) spoilt: BTreeMap<String, usize>,
    /// The results that were accepted, by execution: there should be one of each.
    pub(crate) accepted: BTreeMap<String, Vec<Arc<Value>>>,
    /// Executions with a result under more than one `Idempotency-Key`, accepted or not.
    pub(crate) keyed_twice: Vec<String>,
    /// Keys under which another body came later.
    pub(crate) changed: Vec<String>,
    /// Keys that came again after a whole answer with 2xx or 409.
    pub(crate) stubborn: Vec<String>,
    /// How often a key came again after it was accepted.
    pub(crate) duplicates: usize,
    /// Of the most often sent result.
    pub(crate) most_attempts: usize,
}

impl Tally {
    pub(crate) fn of(mock: &Mock) -> Self {
        look(mock, Self::count)
    }

    fn count(calls: &[Call]) -> Self {
        let mut tally = Self::default();
        let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut attempts: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.kind == Kind::Result) {
            tally.calls += 1;
            let id = call.execution_id.as_deref().unwrap_or_default();
            let key = call.idempotency_key.as_deref().unwrap_or_default();
            keys.entry(id).or_default().insert(key);
            attempts.entry(key).or_default().push(call);
            if call.accepted {
                tally.accepted.entry(id.to_owned()).or_default().push(Arc::clone(&call.body));
            }
            tally.duplicates += usize::from(call.duplicate);
            if let How::Scripted(word) = call.answer.how {
                let status = call.answer.status.map(|status| format!(" {status}")).unwrap_or_default();
                *tally.spoilt.entry(format!("{word}{status}")).or_default() += 1;
            }
        }
        let twice = keys.into_iter().filter(|(_, keys)| keys.len() > 1);
        tally.keyed_twice = twice.map(|(id, keys)| format!("{id} as {keys:?}")).collect();
        for (key, attempts) in attempts {
            tally.most_attempts = tally.most_attempts.max(attempts.len());
            if attempts.iter().any(|call| call.body_sha256 != attempts[0].body_sha256) {
                tally.changed.push(key.to_owned());
            }
            let last = attempts.len() - 1;
            if attempts[..last].iter().any(|call| is_final(call)) {
                tally.stubborn.push(key.to_owned());
            }
        }
        tally
    }

    pub(crate) fn spoilt_calls(&self) -> usize {
        self.spoilt.values().sum()
    }

    /// `reset 12, status 500 7`
    pub(crate) fn spoilt_words(&self) -> String {
        let words: Vec<_> = self.spoilt.iter().map(|(how, count)| format!("{how}: {count}")).collect();
        words.join(", ")
    }

    /// Of these executions, those with exactly one accepted result.
    pub(crate) fn accepted_once<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> usize {
        ids.into_iter().filter(|id| self.accepted.get(*id).is_some_and(|results| results.len() == 1)).count()
    }

    /// Where the control plane heard something else than the caller.
    pub(crate) fn contradicted<'a>(
        &self,
        answers: impl IntoIterator<Item = (&'a String, &'a Value)>,
    ) -> Vec<String> {
        let mut contradicted = Vec::new();
        for (id, answer) in answers {
            for heard in self.accepted.get(id).into_iter().flatten() {
                if **heard != *answer {
                    contradicted
                        .push(format!("the caller of {id} heard {answer}, the control plane {heard}"));
                }
            }
        }
        contradicted
    }

    /// Of these executions, those that were reported as anything but crashed.
    pub(crate) fn not_crashed(&self, ids: &BTreeSet<String>) -> Vec<String> {
        let mut otherwise = Vec::new();
        for id in ids {
            for heard in self.accepted.get(id).into_iter().flatten() {
                if heard["status"] != "crashed" {
                    otherwise.push(format!("{id}: {heard}"));
                }
            }
        }
        otherwise
    }
}

/// After this a daemon never sends it again.
fn is_final(call: &Call) -> bool {
    call.answer.status.is_some_and(|status| (200..300).contains(&status) || status == 409)
}
