//! What is wrong with a request, collected until all of it has been looked at.
//!
//! A request can hold millions of mistakes; the answer must stay small and cheap. So only the first [`KEPT`] problems
//! are put into words, and the others are counted.

/// Enough for any request that a person or a program wrote by mistake.
pub(super) const KEPT: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `timeout`, `limits.memory_mb`, `files[2].path`; `body` for the request as a whole.
    pub field: String,
    /// A sentence that stands alone: it names the field, what it must be and what it was.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Problems {
    kept: Vec<Problem>,
    untold: usize,
}

impl Problems {
    /// `describe` is only called when the problem will be told.
    pub(super) fn report(&mut self, describe: impl FnOnce() -> Problem) {
        if self.kept.len() < KEPT {
            self.kept.push(describe());
        } else {
            self.untold += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn into_vec(mut self) -> Vec<Problem> {
        if self.untold > 0 {
            let message = format!("and {} more problems", self.untold);
            self.kept.push(Problem::new("body", message));
        }
        self.kept
    }
}
