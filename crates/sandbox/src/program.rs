//! What is handed to a prepared sandbox: the program, and everything it is given.
//!
//! A [`Program`] can only be wrong in ways that the program's author sees (a syntax error, a missing handler): sizes,
//! names and paths were checked where it was built.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Python,
    Javascript,
    Shell,
}

impl Language {
    pub const ALL: [Self; 3] = [Self::Python, Self::Javascript, Self::Shell];

    /// The name on the wire, in logs and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::Shell => "shell",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.name() == name)
    }
}

/// How the code is run. `Auto` is JavaScript's default: call `handler` when there is one, otherwise it was a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Handler,
    Script,
    Auto,
}

/// A file written into the workspace, from inside the sandbox, before the program starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Relative, without `..`, empty parts or NUL.
    pub path: String,
    pub content: String,
    pub encoding: Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    Utf8,
    Base64,
}

#[derive(Debug, Clone)]
pub struct Program {
    pub execution_id: String,
    pub language: Language,
    pub mode: Mode,
    pub code: String,
    /// The event as the caller wrote it: no number and no depth is lost on the way.
    pub event: Box<RawValue>,
    pub stdin: String,
    pub env: BTreeMap<String, String>,
    pub files: Vec<InputFile>,
}
