//! What can go wrong while measuring. Each sentence says what happened, why, and what to do where that is not obvious.

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("cannot {doing}: {source}")]
    System { doing: String, source: io::Error },
    #[error("cannot find {what}; {fix}")]
    Missing { what: String, fix: &'static str },
    #[error("the daemon did not answer /health within {seconds} s; the end of its log:\n{log}")]
    NotReady { seconds: u64, log: String },
    #[error("the daemon's answer is not HTTP the benchmark understands: {why}")]
    Protocol { why: String },
    #[error("the daemon answered {status} where 200 was expected: {body}")]
    Refused { status: u16, body: String },
    #[error("{who} did not do the work of `{workload}`: {why}")]
    WrongWork { who: &'static str, workload: &'static str, why: String },
    #[error("the answer lacks the number {field}: {answer}")]
    NoNumber { field: &'static str, answer: String },
    #[error("cannot write the report {}: {source}", path.display())]
    Report { path: PathBuf, source: io::Error },
    #[error("cannot draw {}: {why}", path.display())]
    Chart { path: PathBuf, why: String },
}

pub(crate) type Result<T> = std::result::Result<T, BenchError>;

/// `map_err(doing("start bubblewrap"))`: names the activity an operating-system error interrupted.
pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
    let doing = what.into();
    move |source| BenchError::System { doing, source }
}
