//! What is behind the journal's lock, and the decision about each call.
//!
//! No await, no input or output: every function here is a step that nobody sees half of.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use tokio::sync::oneshot;

use super::archive::Archive;
use super::judge::{Judged, Refusal};
use super::ledger::Ledger;
use crate::rules::{Action, BadRule, Script, ScriptLine, Subject, is_success};
use crate::{Answer, Call, ExecutionView, How, Kind, Rule};

/// Beyond that nobody reads them.
const MOST_VIOLATIONS: usize = 10_000;

#[derive(Debug)]
pub(super) struct State {
    last: u64,
    token: Option<String>,
    archive: Archive,
    ledger: Ledger,
    violations: Vec<String>,
    script: Script,
    /// Oldest first.
    held: VecDeque<oneshot::Sender<()>>,
}

/// What becomes of a call now.
#[derive(Debug)]
pub(crate) enum Next {
    React(Verdict),
    Delay(Duration, Pending),
    Hold(oneshot::Receiver<()>, Pending),
}

/// A call that is not decided.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) number: u64,
    refusal: Option<Refusal>,
    action: Option<Action>,
}

/// The decision. It is in the journal already.
#[derive(Debug)]
pub(crate) enum Verdict {
    Plain { status: u16, sentence: String },
    Scripted(Action),
}

impl Pending {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl State {
    pub(super) fn new(token: Option<String>) -> Self {
        Self {
            last: 0,
            token,
            archive: Archive::default(),
            ledger: Ledger::default(),
            violations: Vec::new(),
            script: Script::default(),
            held: VecDeque::new(),
        }
    }

    /// Its number, what is wrong with its time, and whether its token is right.
    pub(super) fn arrive(
        &mut self,
        kind: Kind,
        execution_id: Option<&str>,
        headers: &HeaderMap,
    ) -> (u64, Option<String>, bool) {
        self.last += 1;
        let late = self.ledger.arrive(self.last, kind, execution_id);
        let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let wanted = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let authorized = wanted.is_none() || given == wanted.as_ref().map(String::as_bytes);
        (self.last, late, authorized)
    }

    /// What is next, and the number of the call if there is something new to print.
    pub(super) fn receive(&mut self, judged: Judged) -> (Next, Option<u64>) {
        let Judged { mut call, mut refusal } = judged;
        let conflicts = self.ledger.receive(&call);
        call.problems.extend(conflicts.problems);
        if let Some(sentence) = conflicts.refusal {
            call.problems.push(sentence.clone());
            refusal.get_or_insert(Refusal { status: 422, sentence });
        }
        for problem in &call.problems {
            let execution = call.execution_id.as_ref().map(|id| format!(" of {id}")).unwrap_or_default();
            let text = format!("call {}, {}{execution}: {problem}", call.number, call.kind.word());
            note(&mut self.violations, text);
        }
        // Whoever has no token does not get as far as the script.
        let subject =
            Subject { kind: call.kind, execution_id: call.execution_id.as_deref(), path: &call.path };
        let scripted = if call.authorized { self.script.next(subject) } else { None };
        let (action, after_ms) = scripted.map_or((None, 0), |(action, after_ms)| (Some(action), after_ms));
        let pending = Pending { number: call.number, refusal, action };
        let number = call.number;
        self.archive.insert(call);
        if after_ms > 0 {
            return (Next::Delay(Duration::from_millis(after_ms), pending), Some(number));
        }
        (self.perform(pending), Some(number))
    }

    pub(super) fn perform(&mut self, mut pending: Pending) -> Next {
        if pending.action == Some(Action::Hold) {
            pending.action = None;
            let (sender, receiver) = oneshot::channel();
            self.held.push_back(sender);
            if let Some(call) = self.archive.get_mut(pending.number) {
                call.answer.how = How::Held;
            }
            return Next::Hold(receiver, pending);
        }
        Next::React(self.decide(pending))
    }

    fn decide(&mut self, pending: Pending) -> Verdict {
        let Some(call) = self.archive.get_mut(pending.number) else {
            return Verdict::Plain { status: 503, sentence: "the call was forgotten meanwhile".to_owned() };
        };
        let before = self.ledger.accepted_before(call.idempotency_key.as_deref());
        let answered =
            call.kind == Kind::Result && self.ledger.has_accepted_result(call.execution_id.as_deref());
        call.duplicate = before;
        let (how, status, success, verdict) = match pending.action {
            Some(action) => {
                let how = How::Scripted(action.word());
                (how, action.status(), action.succeeds(), Verdict::Scripted(action))
            }
            None => {
                let (status, sentence) = plain(pending.refusal, before, answered);
                (
                    How::Plain,
                    Some(status),
                    is_success(status) && !answered,
                    Verdict::Plain { status, sentence },
                )
            }
        };
        call.answer = Answer { how, status };
        call.accepted = success && !before;
        if call.accepted {
            self.ledger.accept(call);
        }
        verdict
    }

    /// Whether it was still undecided.
    pub(super) fn abandon(&mut self, number: u64) -> bool {
        let call = self.archive.get_mut(number);
        let waiting = call.filter(|call| matches!(call.answer.how, How::Waiting | How::Held));
        waiting.map(|call| call.answer.how = How::Abandoned).is_some()
    }

    pub(super) fn calls(&self) -> &[Call] {
        self.archive.calls()
    }

    pub(super) fn call(&self, number: u64) -> Option<&Call> {
        self.archive.get(number)
    }

    pub(super) fn executions(&self) -> BTreeMap<String, ExecutionView> {
        self.ledger.views()
    }

    pub(super) fn execution(&self, id: &str) -> Option<ExecutionView> {
        self.ledger.view(id)
    }

    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn violation(&mut self, text: String) {
        note(&mut self.violations, text);
    }

    /// Everything that arrived, and every key; not the script, the token or the count of calls.
    pub(super) fn forget(&mut self) {
        self.archive = Archive::default();
        self.ledger = Ledger::default();
        self.violations.clear();
    }

    pub(super) fn script(&mut self, rules: Vec<Rule>) -> Result<(), BadRule> {
        rules.iter().try_for_each(Rule::check)?;
        rules.into_iter().for_each(|rule| self.script.add(rule));
        Ok(())
    }

    pub(super) fn clear_script(&mut self) {
        self.script.clear();
    }

    pub(super) fn script_lines(&self) -> &[ScriptLine] {
        self.script.lines()
    }

    pub(super) fn set_token(&mut self, token: Option<String>) {
        self.token = token;
    }

    /// Lets the oldest held call go on that somebody still waits for.
    pub(super) fn step(&mut self) -> bool {
        std::iter::from_fn(|| self.held.pop_front()).any(|held| held.send(()).is_ok())
    }
}

fn plain(refusal: Option<Refusal>, before: bool, answered: bool) -> (u16, String) {
    match refusal {
        Some(refusal) => (refusal.status, refusal.sentence),
        None if before => (409, "a message with this Idempotency-Key was accepted before".to_owned()),
        None if answered => (409, "another result of this execution was accepted before".to_owned()),
        None => (200, String::new()),
    }
}

fn note(violations: &mut Vec<String>, text: String) {
    if violations.len() < MOST_VIOLATIONS {
        violations.push(text);
    }
}
