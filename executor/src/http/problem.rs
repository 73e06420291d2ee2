//! Refusals and failures of the API as HTTP answers: the only place that knows status codes.
//!
//! [`CODES`] is the one table of codes; `docs/errors.md` shows it and a test compares the two. An answer says what
//! happened, why this time, and what to do. It never holds a stack, a path of the daemon's own files or a secret.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use protocol::{ErrorBody, FieldProblem};
use sandbox::limits::Bytes;

use crate::intake;

/// One error code: always the same status and the same words.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    pub name: &'static str,
    pub status: StatusCode,
    pub description: &'static str,
    pub solution: &'static str,
    /// Whether the same request can succeed later.
    pub retry: Retry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not without changing the request.
    Never,
    /// The fault was not the request's; it may pass.
    Later,
    /// After the seconds of the `Retry-After` header.
    AfterHeader,
}

pub const VALIDATION: Code = Code {
    name: "Executor.ValidationError",
    status: StatusCode::BAD_REQUEST,
    description: "The request is not one that can be run.",
    solution: "Correct every field named in `problems` and send the request again.",
    retry: Retry::Never,
};
pub const UNAUTHORIZED: Code = Code {
    name: "Executor.Unauthorized",
    status: StatusCode::UNAUTHORIZED,
    description: "The bearer token is missing or is not the one this daemon expects.",
    solution: "Send `Authorization: Bearer` with the value of EXECUTOR_API_TOKEN.",
    retry: Retry::Never,
};
pub const NOT_FOUND: Code = Code {
    name: "Executor.NotFound",
    status: StatusCode::NOT_FOUND,
    description: "There is nothing at this address.",
    solution: "Check the address, and the execution_id in it, against GET /openapi.yaml.",
    retry: Retry::Never,
};
pub const METHOD_NOT_ALLOWED: Code = Code {
    name: "Executor.MethodNotAllowed",
    status: StatusCode::METHOD_NOT_ALLOWED,
    description: "This address does not take this method.",
    solution: "Use a method of the Allow header.",
    retry: Retry::Never,
};
pub const REQUEST_TIMEOUT: Code = Code {
    name: "Executor.RequestTimeout",
    status: StatusCode::REQUEST_TIMEOUT,
    description: "The request did not arrive in time; nothing was run.",
    solution: "Send the whole request without pausing; send it again.",
    retry: Retry::Later,
};
pub const DUPLICATE_EXECUTION: Code = Code {
    name: "Executor.DuplicateExecution",
    status: StatusCode::CONFLICT,
    description: "This execution_id belongs to another request.",
    solution: "Use a new execution_id, or repeat the first request unchanged to get its result.",
    retry: Retry::Never,
};
pub const GONE: Code = Code {
    name: "Executor.Gone",
    status: StatusCode::GONE,
    description: "What the execution left can no longer be had as it was listed.",
    solution: "Run it again, and fetch its artifacts before its workspace is used again or ARTIFACT_RETENTION_SECONDS are over.",
    retry: Retry::Never,
};
pub const PAYLOAD_TOO_LARGE: Code = Code {
    name: "Executor.PayloadTooLarge",
    status: StatusCode::PAYLOAD_TOO_LARGE,
    description: "The request body is larger than this daemon takes.",
    solution: "Send less, or raise MAX_REQUEST_BYTES.",
    retry: Retry::Never,
};
pub const UNSUPPORTED_MEDIA_TYPE: Code = Code {
    name: "Executor.UnsupportedMediaType",
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    description: "The request body is not declared as plain JSON.",
    solution: "Send `Content-Type: application/json`, UTF-8, without Content-Encoding.",
    retry: Retry::Never,
};
pub const RANGE_NOT_SATISFIABLE: Code = Code {
    name: "Executor.RangeNotSatisfiable",
    status: StatusCode::RANGE_NOT_SATISFIABLE,
    description: "The range begins after the end of the file.",
    solution: "Ask for bytes within the size that Content-Range names.",
    retry: Retry::Never,
};
pub const INTERNAL: Code = Code {
    name: "Executor.InternalError",
    status: StatusCode::INTERNAL_SERVER_ERROR,
    description: "The daemon failed; it is not the request's fault.",
    solution: "Send it again; if it stays, look for the request_id in the daemon's log.",
    retry: Retry::Later,
};
pub const QUEUE_FULL: Code = Code {
    name: "Executor.QueueFull",
    status: StatusCode::SERVICE_UNAVAILABLE,
    description: "As many executions are waiting as may wait; nothing was run.",
    solution: "Send it again after Retry-After, or raise EXECUTOR_QUEUE or EXECUTOR_CONCURRENCY.",
    retry: Retry::AfterHeader,
};
pub const SHUTTING_DOWN: Code = Code {
    name: "Executor.ShuttingDown",
    status: StatusCode::SERVICE_UNAVAILABLE,
    description: "The daemon is stopping and takes no more work; nothing was run.",
    solution: "Send it to another daemon, or again after Retry-After.",
    retry: Retry::AfterHeader,
};

/// In the order of `docs/errors.md`.
pub const CODES: [&Code; 13] = [
    &VALIDATION,
    &UNAUTHORIZED,
    &NOT_FOUND,
    &METHOD_NOT_ALLOWED,
    &REQUEST_TIMEOUT,
    &DUPLICATE_EXECUTION,
    &GONE,
    &PAYLOAD_TOO_LARGE,
    &UNSUPPORTED_MEDIA_TYPE,
    &RANGE_NOT_SATISFIABLE,
    &INTERNAL,
    &QUEUE_FULL,
    &SHUTTING_DOWN,
];

/// Why a request gets an error instead of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Validation(Vec<intake::Problem>),
    Unauthorized,
    NotFound {
        path: String,
    },
    /// `why`: a sentence about the execution, or its artifact, that is not there.
    NoArtifact {
        why: String,
    },
    /// `why`: a sentence about what has become of it.
    Gone {
        why: String,
    },
    /// `size`: of the file that the range was for.
    RangeNotSatisfiable {
        size: Bytes,
    },
    /// `allow` is the value of the `Allow` header: `GET, HEAD`.
    MethodNotAllowed {
        method: String,
        allow: &'static str,
    },
    /// `limit`: how long the whole request may take to arrive.
    RequestTimeout {
        limit: Duration,
    },
    /// `fields`: which of them differ from the first request with this id.
    DuplicateExecution {
        id: String,
        fields: BTreeSet<String>,
    },
    /// `forgotten_at`: it was known until then.
    NoExecution {
        id: String,
        forgotten_at: Option<Timestamp>,
    },
    /// It ran in an earlier life of this daemon, or longer ago than is remembered.
    Undelivered {
        id: String,
    },
    PayloadTooLarge {
        limit: Bytes,
    },
    /// `got`: the `Content-Type` or `Content-Encoding` of the request, `None` when there was no type.
    UnsupportedMediaType {
        got: Option<String>,
    },
    /// What went wrong is in the log, under the request's id, and not in the answer.
    Internal,
    QueueFull {
        retry_after: Duration,
    },
    ShuttingDown {
        retry_after: Duration,
    },
}

impl Refusal {
    pub fn code(&self) -> &'static Code {
        match self {
            Self::Validation(_) => &VALIDATION,
            Self::Unauthorized => &UNAUTHORIZED,
            Self::NotFound { .. } | Self::NoExecution { .. } | Self::NoArtifact { .. } => &NOT_FOUND,
            Self::Gone { .. } => &GONE,
            Self::RangeNotSatisfiable { .. } => &RANGE_NOT_SATISFIABLE,
            Self::MethodNotAllowed { .. } => &METHOD_NOT_ALLOWED,
            Self::RequestTimeout { .. } => &REQUEST_TIMEOUT,
            Self::DuplicateExecution { .. } | Self::Undelivered { .. } => &DUPLICATE_EXECUTION,
            Self::PayloadTooLarge { .. } => &PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType { .. } => &UNSUPPORTED_MEDIA_TYPE,
            Self::Internal => &INTERNAL,
            Self::QueueFull { .. } => &QUEUE_FULL,
            Self::ShuttingDown { .. } => &SHUTTING_DOWN,
        }
    }

    /// What was wrong this time.
    fn detail(&self) -> Option<String> {
        match self {
            Self::Validation(problems) => {
                let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
                Some(messages.join("; "))
            }
            Self::NotFound { path } => Some(format!("no such address: {}", shortened(path))),
            Self::NoArtifact { why } | Self::Gone { why } => Some(why.clone()),
            Self::RangeNotSatisfiable { size } => Some(format!("the file has {} bytes", size.0)),
            Self::MethodNotAllowed { method, allow } => {
                Some(format!("{} is not one of {allow}", shortened(method)))
            }
            Self::RequestTimeout { limit } => {
                Some(format!("the body did not end within {} seconds", limit.as_secs_f64()))
            }
            Self::DuplicateExecution { id, fields } => {
                let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                Some(format!(
                    "{id} was first used with another body; these fields differ: {}",
                    fields.join(", ")
                ))
            }
            Self::NoExecution { id, forgotten_at: Some(when) } => Some(format!(
                "{id} is over and was forgotten at {when}; RETAINED_EXECUTIONS and RETAINED_MB say how much is kept"
            )),
            Self::NoExecution { id, forgotten_at: None } => {
                Some(format!("there is no execution {}", shortened(id)))
            }
            Self::Undelivered { id } => {
                Some(format!("{id} has run before, and its result still waits for the control plane"))
            }
            Self::PayloadTooLarge { limit } => Some(format!("the limit is {} bytes", limit.0)),
            Self::UnsupportedMediaType { got: Some(got) } => Some(format!("got {}", shortened(got))),
            Self::UnsupportedMediaType { got: None } => Some("the request has no Content-Type".to_owned()),
            Self::Unauthorized | Self::Internal | Self::QueueFull { .. } | Self::ShuttingDown { .. } => None,
        }
    }

    fn problems(&self) -> Option<Vec<FieldProblem>> {
        let Self::Validation(problems) = self else {
            return None;
        };
        let wire = |problem: &intake::Problem| FieldProblem {
            field: problem.field.clone(),
            message: problem.message.clone(),
        };
        Some(problems.iter().map(wire).collect())
    }

    /// The headers that belong to the refusal itself; `X-Request-Id` is on every answer and not set here.
    fn header(&self) -> Option<(header::HeaderName, HeaderValue)> {
        match self {
            Self::Unauthorized => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::MethodNotAllowed { allow, .. } => Some((header::ALLOW, HeaderValue::from_static(allow))),
            Self::QueueFull { retry_after } | Self::ShuttingDown { retry_after } => {
                Some((header::RETRY_AFTER, whole_seconds(*retry_after)))
            }
            // RFC 9110: the server is about to close a connection on which half a request is still under way.
            Self::RequestTimeout { .. } | Self::PayloadTooLarge { .. } => {
                Some((header::CONNECTION, HeaderValue::from_static("close")))
            }
            // RFC 9110, 14.4: how large it is, for the next try.
            Self::RangeNotSatisfiable { size } => {
                let range = HeaderValue::try_from(format!("bytes */{}", size.0));
                range.ok().map(|range| (header::CONTENT_RANGE, range))
            }
            Self::Validation(_)
            | Self::NotFound { .. }
            | Self::NoArtifact { .. }
            | Self::Gone { .. }
            | Self::DuplicateExecution { .. }
            | Self::NoExecution { .. }
            | Self::Undelivered { .. }
            | Self::UnsupportedMediaType { .. }
            | Self::Internal => None,
        }
    }

    pub fn into_response(self, request_id: &str) -> Response {
        let code = self.code();
        let body = ErrorBody {
            error_code: code.name.to_owned(),
            description: code.description.to_owned(),
            error_detail: self.detail(),
            solution: code.solution.to_owned(),
            request_id: request_id.to_owned(),
            problems: self.problems(),
        };
        let mut response = (code.status, Json(body)).into_response();
        // For whoever counts.
        response.extensions_mut().insert(code);
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// `Retry-After` counts whole seconds; 0 would ask for a busy loop.
fn whole_seconds(duration: Duration) -> HeaderValue {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    HeaderValue::from(seconds.max(1))
}

/// What the caller sent is repeated, but not at length.
fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
