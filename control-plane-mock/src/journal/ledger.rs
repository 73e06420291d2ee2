//! What is known about messages and executions, whether or not their calls are still in the journal.
//!
//! A message is what has one `Idempotency-Key`. It is accepted once, at one call, and never again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::{Call, ExecutionView, Kind};

#[derive(Debug, Default)]
pub(super) struct Ledger {
    messages: HashMap<String, Message>,
    executions: BTreeMap<String, Execution>,
}

#[derive(Debug)]
struct Message {
    number: u64,
    path: String,
    body_sha256: String,
    accepted: bool,
}

#[derive(Debug, Default)]
struct Execution {
    view: ExecutionView,
    /// The call at which its first result arrived.
    result_arrived: Option<u64>,
    result_key: Option<String>,
}

/// What an earlier message has to say about a call.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    /// That are no reason to refuse it.
    pub(super) problems: Vec<String>,
    /// That are.
    pub(super) refusal: Option<String>,
}

impl Ledger {
    /// Takes note of the head of a request. What is wrong when it comes too late.
    pub(super) fn arrive(&mut self, number: u64, kind: Kind, execution_id: Option<&str>) -> Option<String> {
        let id = execution_id?;
        let execution = self.executions.entry(id.to_owned()).or_default();
        match kind {
            Kind::Result => {
                execution.view.attempts += 1;
                execution.result_arrived.get_or_insert(number);
                None
            }
            Kind::Heartbeat => {
                execution.view.heartbeats += 1;
                let result = execution.result_arrived?;
                Some(format!("a heartbeat came after the result of {id}, which arrived as call {result}"))
            }
            Kind::Ready | Kind::Exited | Kind::Other => None,
        }
    }

    /// Takes note of the body of a call.
    pub(super) fn receive(&mut self, call: &Call) -> Conflicts {
        let mut conflicts = Conflicts::default();
        if let Some(id) = &call.execution_id {
            let execution = self.executions.entry(id.clone()).or_default();
            match call.kind {
                Kind::Heartbeat => {
                    execution.view.last_progress = call.body.get("progress").cloned();
                }
                Kind::Result => {
                    if execution.view.result.is_none() && !call.body.is_null() {
                        execution.view.result = Some(Arc::clone(&call.body));
                    }
                    let key = call.idempotency_key.as_ref();
                    let first = execution.result_key.get_or_insert_with(|| key.cloned().unwrap_or_default());
                    if key.is_some_and(|key| key != first) {
                        conflicts.problems.push(format!(
                            "a second result for {id}, with another Idempotency-Key than {first}"
                        ));
                    }
                }
                Kind::Ready | Kind::Exited | Kind::Other => {}
            }
        }
        if let Some(key) = call.idempotency_key.clone() {
            self.message(key, call, &mut conflicts);
        }
        conflicts
    }

    fn message(&mut self, key: String, call: &Call, conflicts: &mut Conflicts) {
        let Some(first) = self.messages.get(&key) else {
            let (path, body_sha256) = (call.path.clone(), call.body_sha256.clone());
            self.messages.insert(key, Message { number: call.number, path, body_sha256, accepted: false });
            return;
        };
        let what = match (first.path == call.path, first.body_sha256 == call.body_sha256) {
            (false, _) => "path",
            (true, false) => "body",
            (true, true) => {
                if call.kind == Kind::Heartbeat {
                    conflicts.problems.push(format!("the heartbeat of call {} was sent again", first.number));
                }
                return;
            }
        };
        let sentence = format!("the Idempotency-Key {key} had another {what} in call {}", first.number);
        conflicts.refusal = Some(sentence);
    }

    /// Whether the message of this key was accepted.
    pub(super) fn accepted_before(&self, key: Option<&str>) -> bool {
        key.and_then(|key| self.messages.get(key)).is_some_and(|message| message.accepted)
    }

    pub(super) fn has_accepted_result(&self, execution_id: Option<&str>) -> bool {
        execution_id.and_then(|id| self.executions.get(id)).is_some_and(|execution| execution.view.accepted)
    }

    pub(super) fn accept(&mut self, call: &Call) {
        if let Some(message) = call.idempotency_key.as_ref().and_then(|key| self.messages.get_mut(key)) {
            message.accepted = true;
        }
        let execution = call.execution_id.as_ref().and_then(|id| self.executions.get_mut(id));
        if let Some(execution) = execution.filter(|_| call.kind == Kind::Result) {
            execution.view.accepted = true;
        }
    }

    pub(super) fn view(&self, id: &str) -> Option<ExecutionView> {
        self.executions.get(id).map(|execution| execution.view.clone())
    }

    pub(super) fn views(&self) -> BTreeMap<String, ExecutionView> {
        self.executions.iter().map(|(id, execution)| (id.clone(), execution.view.clone())).collect()
    }
}
