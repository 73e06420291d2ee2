//! What the journal says about a callback, and what all callbacks of an execution come to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::Kind;

/// It is in the journal from the moment when its request was read to the end and judged.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// In the order in which the heads of the requests arrived, from 1.
    pub number: u64,
    /// When the head of the request arrived.
    pub arrived: Timestamp,
    /// The same, on the monotonic clock, since the mock was started.
    #[serde(rename = "arrived_after_ms", serialize_with = "milliseconds")]
    pub arrived_after: Duration,
    pub kind: Kind,
    pub method: String,
    /// With the prefix and the query.
    pub path: String,
    pub execution_id: Option<String>,
    pub idempotency_key: Option<String>,
    /// The token was right, or none is wanted.
    pub authorized: bool,
    /// All but those with secrets; names in lower case, values of repeated ones joined with commas.
    pub headers: BTreeMap<String, String>,
    /// Null where it was no JSON, and once the journal has let it go.
    pub body: Arc<Value>,
    /// As sent. Empty beyond 1 MiB, and once the journal has let it go.
    #[serde(skip)]
    pub body_bytes: Bytes,
    /// Always known.
    pub body_len: usize,
    /// Always known, in hexadecimal.
    pub body_sha256: String,
    /// How it broke the document or the rules; see [`Mock::violations`](crate::Mock::violations).
    pub problems: Vec<String>,
    pub answer: Answer,
    /// The first of its `Idempotency-Key` that was answered so that a daemon never sends it again (2xx or 409), whether
    /// that answer was then cut off on purpose or not.
    pub accepted: bool,
    /// An earlier call with its `Idempotency-Key` was accepted.
    pub duplicate: bool,
}

/// What was done to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Answer {
    pub how: How,
    /// None where no status line is sent, or it is not followed by a whole answer.
    pub status: Option<u16>,
}

/// In JSON one word: that of the action, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A rule delays it; its action comes later.
    Waiting,
    /// It waits for [`Mock::step`](crate::Mock::step).
    Held,
    /// The connection ended while it waited.
    Abandoned,
    /// No rule matched, or it was held.
    Plain,
    /// The word of the action.
    Scripted(&'static str),
}

impl fmt::Display for How {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Abandoned => "abandoned",
            Self::Plain => "plain",
            Self::Scripted(word) => word,
        })
    }
}

impl Serialize for How {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Not bounded by the journal's bounds: it is kept until everything is forgotten.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ExecutionView {
    pub heartbeats: u64,
    /// Of the last heartbeat.
    pub last_progress: Option<Value>,
    /// How often a result arrived, whatever was answered.
    pub attempts: u64,
    /// The first that arrived whole.
    pub result: Option<Arc<Value>>,
    pub accepted: bool,
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1e3)
}
