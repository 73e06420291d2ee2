//! The body of every refusal and failure of the API. The codes and what to do about each are in `docs/errors.md`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable, for machines: `Executor.ValidationError` and its siblings.
    pub error_code: String,
    /// What the code means, the same text every time.
    pub description: String,
    /// What was wrong this time, in one text; null where the code says it all.
    pub error_detail: Option<String>,
    /// What to do about it.
    pub solution: String,
    /// The same as the `X-Request-Id` of the answer.
    pub request_id: String,
    /// For `Executor.ValidationError` only: every problem of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<Vec<FieldProblem>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldProblem {
    /// `timeout`, `limits.memory_mb`, `files[2].path`; `body` for the request as a whole.
    pub field: String,
    /// A sentence that stands alone: it names the field, what it must be and what it was.
    pub message: String,
}
