//! `POST /execute`, the question: what to run and what it may use.
//!
//! Optional fields are left out when they are `None`, so that a value written here and read back is the same request.
//! The daemon also takes `null` for an optional field as "left out"; only for `event` is `null` a value.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecuteRequest {
    /// 1 byte to 1 MiB.
    pub code: String,
    pub language: Language,
    /// Seconds, 1 to 3600; 30 when left out. Fractions are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// `^exec_[A-Za-z0-9_-]{1,64}$`; generated when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// `^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`; the container's own workspace when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceKind>,
    /// `continue` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,
    /// Raw JSON text: no number and no depth is lost on the way. `Some` of the text `null` is an event that is null.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "written")]
    pub event: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_vars: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<InputFile>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RequestLimits>,
}

impl ExecuteRequest {
    /// A request for `code` with every default.
    pub fn new(language: Language, code: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            language,
            timeout: None,
            execution_id: None,
            session_id: None,
            workspace: None,
            on_disconnect: None,
            event: None,
            stdin: None,
            mode: None,
            env_vars: None,
            files: None,
            limits: None,
        }
    }
}

/// serde reads `null` into an `Option` as `None`; here it is the event `null`.
fn written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Python,
    Javascript,
    Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Handler,
    Script,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkspaceKind {
    Persistent,
    Fresh,
}

/// What becomes of the run when the caller that waits for it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// It goes on.
    Continue,
    /// It is cancelled.
    Cancel,
}

/// A file that is written into the workspace before the program starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFile {
    /// Relative to the workspace, without `.`, `..` or empty parts.
    pub path: String,
    pub content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    Utf8,
    Base64,
}

/// Each may lower the daemon's ceiling for this run, never raise it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLimits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// CPU time of all processes together, in seconds. Fractions are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_processes: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_open_files: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_file_mb: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_null_is_not_an_absent_event() {
        let null: ExecuteRequest =
            serde_json::from_str(r#"{"code":"x","language":"python","event":null}"#).unwrap();
        assert_eq!(null.event.unwrap().get(), "null");
        let absent: ExecuteRequest = serde_json::from_str(r#"{"code":"x","language":"python"}"#).unwrap();
        assert!(absent.event.is_none());
    }

    #[test]
    fn absent_fields_are_not_written() {
        let written = serde_json::to_string(&ExecuteRequest::new(Language::Shell, "true")).unwrap();
        assert_eq!(written, r#"{"code":"true","language":"shell"}"#);
    }

    #[test]
    fn an_event_keeps_digits_that_a_float_would_lose() {
        let text = r#"{"code":"x","language":"python","event":{"n":12345678901234567890123,"e":1e400}}"#;
        let request: ExecuteRequest = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
    }
}
