//! What is kept of a result that the control plane does not have yet, and how it is written.
//!
//! One JSON object per file. The result in it is the whole answer that a caller got, as text, so that every attempt sends the
//! same bytes; the form for control planes of the first generation is made from it on the way out. A file may have been
//! damaged or put there by somebody: [`Entry::parse`] believes nothing but what it has checked.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use protocol::ExecuteResponse;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::CallbackFormat;
use crate::job::Fingerprint;
use crate::outlet;
use crate::telemetry::trace::TraceHeaders;

/// The layout of these files. One that a later version wrote is left for that version.
const VERSION: u32 = 1;

/// Behind the key of a run that died. No id and no time has this character.
pub(super) const CRASHED: &str = "~crashed";

/// A run, as every message about it names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    pub execution_id: String,
    /// Names this one run: an execution that is asked for again after it was forgotten is another.
    pub idempotency_key: String,
    pub accepted_at: Timestamp,
    pub request_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    /// Of the request, to tell the same one from another with its id: digests in hexadecimal.
    #[serde(default)]
    fingerprint: BTreeMap<String, String>,
}

impl Label {
    pub fn new(
        execution_id: &str,
        accepted_at: Timestamp,
        request_id: &str,
        trace: Option<TraceHeaders>,
        fingerprint: &Fingerprint,
    ) -> Self {
        let (traceparent, tracestate) =
            trace.map_or((None, None), |trace| (Some(trace.traceparent), trace.tracestate));
        Self {
            execution_id: execution_id.to_owned(),
            idempotency_key: format!("{execution_id}-{}", accepted_at.as_millisecond()),
            accepted_at,
            request_id: request_id.to_owned(),
            traceparent,
            tracestate,
            fingerprint: hexadecimal(fingerprint),
        }
    }

    /// What is sent with every message about it.
    pub fn trace(&self) -> Option<TraceHeaders> {
        let traceparent = self.traceparent.clone()?;
        Some(TraceHeaders { traceparent, tracestate: self.tracestate.clone() })
    }

    /// The fields in which another request with this id differs.
    pub fn differing(&self, other: &Fingerprint) -> BTreeSet<String> {
        let other = hexadecimal(other);
        let fields = self.fingerprint.keys().chain(other.keys());
        fields.filter(|field| self.fingerprint.get(*field) != other.get(*field)).cloned().collect()
    }
}

/// As [`Label::new`] and [`Entry::crashed`] write it.
fn is_key_of(execution_id: &str, key: &str) -> bool {
    let of_run = key.strip_suffix(CRASHED).unwrap_or(key).strip_prefix(execution_id);
    let accepted_at = of_run.and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
    (1..=20).contains(&accepted_at.len()) && accepted_at.bytes().all(|byte| byte.is_ascii_digit())
}

fn hexadecimal(fingerprint: &Fingerprint) -> BTreeMap<String, String> {
    let digests = fingerprint.0.iter();
    digests.map(|(field, digest)| (field.clone(), outlet::hexadecimal(digest))).collect()
}

/// One file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    version: u32,
    // Nested, not flattened: flattening goes through a form in which the result would no longer be its own text.
    pub run: Label,
    /// A `protocol::ExecuteResponse`.
    pub result: Box<RawValue>,
}

/// Why a file is no entry. Each continues "the file ...".
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error("is not what this daemon writes: {0}")]
    Garbage(#[from] serde_json::Error),
    #[error("holds the result of {0}, not of the execution that its name says")]
    Misnamed(String),
    #[error("has layout {0}; this version of the daemon writes and reads {VERSION}")]
    Version(u32),
}

impl Entry {
    pub fn new(run: Label, result: &ExecuteResponse) -> serde_json::Result<Self> {
        Ok(Self { version: VERSION, run, result: serde_json::value::to_raw_value(result)? })
    }

    /// The run as it is reported should the daemon die now. Its key is another: the result that the daemon did not live to
    /// write may have been said under the first.
    pub fn crashed(run: &Label, result: &ExecuteResponse) -> serde_json::Result<Self> {
        let idempotency_key = format!("{}{CRASHED}", run.idempotency_key);
        Self::new(Label { idempotency_key, ..run.clone() }, result)
    }

    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    pub fn parse(execution_id: &str, bytes: &[u8]) -> Result<Self, EntryError> {
        let entry: Self = serde_json::from_slice(bytes)?;
        if entry.version != VERSION {
            return Err(EntryError::Version(entry.version));
        }
        let result: ExecuteResponse = serde_json::from_str(entry.result.get())?;
        for id in [&entry.run.execution_id, &result.execution_id] {
            if id != execution_id {
                return Err(EntryError::Misnamed(id.clone()));
            }
        }
        // It becomes the name of a file, from which the execution is told again.
        if !is_key_of(execution_id, &entry.run.idempotency_key) {
            let wrong = "an idempotency key that is not of this execution";
            return Err(EntryError::Garbage(serde::de::Error::custom(wrong)));
        }
        // They stand in headers.
        let sane = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if sane(&entry.run.request_id) && entry.run.trace().is_none_or(|trace| trace.are_sane()) {
            Ok(entry)
        } else {
            Err(EntryError::Garbage(serde::de::Error::custom("a header value that cannot be sent")))
        }
    }

    /// What is posted. The same bytes every time.
    pub fn body(&self, format: CallbackFormat) -> serde_json::Result<Vec<u8>> {
        match format {
            CallbackFormat::Full => Ok(self.result.get().as_bytes().to_vec()),
            CallbackFormat::Compact => {
                serde_json::to_vec(&outlet::compact(serde_json::from_str(self.result.get())?))
            }
        }
    }
}
