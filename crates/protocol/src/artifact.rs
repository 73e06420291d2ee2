//! `artifacts` of an answer: the files that the workspace holds after the run.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Relative to the workspace.
    pub path: String,
    /// Bytes.
    pub size: u64,
    pub mime_type: String,
    #[serde(rename = "type")]
    pub kind: ArtifactType,
    pub change: Change,
    /// Lower-case hexadecimal, 64 digits; null where the file could not be read, or reading it would have taken too long.
    pub sha256: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactType {
    Artifact,
    Log,
    Output,
}

/// Compared with the workspace as it was before this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Created,
    Modified,
    Unchanged,
}
