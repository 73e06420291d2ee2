//! What can be done to a call instead of the plain answer.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// In JSON: the word alone (`"reset"`), or the word with its settings (`{"stall": {"seconds": 40}}`).
///
/// The whole request is read first, whatever the action. "Accepted" is what [`Call::accepted`](crate::Call::accepted) says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// 200, also for what would otherwise be refused or a duplicate.
    Accept,
    /// This answer. With a 2xx or 409 the message is accepted.
    Status {
        code: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: String,
    },
    /// 409, as if the message had been accepted before; it counts as accepted.
    Duplicate,
    /// Not accepted.
    Redirect { code: u16, location: String },
    /// Nothing is answered; the connection is closed after so many seconds, or when the other side closes it. Not accepted.
    Stall { seconds: f64 },
    /// RST instead of an answer. Not accepted.
    Reset,
    /// The connection is closed instead of an answer. Not accepted.
    CloseBeforeAnswer,
    /// The head of a 200 and less of the body than it promises, then the connection is closed. Not accepted.
    CloseMidAnswer,
    /// Accepted, and the connection is closed instead of an answer.
    AcceptThenClose,
    /// Accepted; the answer comes in drips.
    Slow { bytes_per_second: u32 },
    /// These bytes instead of an answer, then the connection is closed.
    Raw {
        #[serde(rename = "base64", serialize_with = "to_base64", deserialize_with = "from_base64")]
        bytes: Vec<u8>,
        /// Whether a daemon that keeps to the document takes these bytes for a success.
        #[serde(default)]
        accepted: bool,
    },
    /// Accepted; a 200 with a body of so many bytes.
    Huge { bytes: u64 },
    /// Waits for [`Mock::step`](crate::Mock::step), and is then answered as if no rule had matched.
    Hold,
}

impl Action {
    /// The word of JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Status { .. } => "status",
            Self::Duplicate => "duplicate",
            Self::Redirect { .. } => "redirect",
            Self::Stall { .. } => "stall",
            Self::Reset => "reset",
            Self::CloseBeforeAnswer => "close_before_answer",
            Self::CloseMidAnswer => "close_mid_answer",
            Self::AcceptThenClose => "accept_then_close",
            Self::Slow { .. } => "slow",
            Self::Raw { .. } => "raw",
            Self::Huge { .. } => "huge",
            Self::Hold => "hold",
        }
    }

    /// Of the whole answer that it sends, if it sends one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Accept | Self::Slow { .. } | Self::Huge { .. } => Some(200),
            Self::Status { code, .. } | Self::Redirect { code, .. } => Some(*code),
            Self::Duplicate => Some(409),
            Self::Stall { .. }
            | Self::Reset
            | Self::CloseBeforeAnswer
            | Self::CloseMidAnswer
            | Self::AcceptThenClose
            | Self::Raw { .. }
            | Self::Hold => None,
        }
    }

    /// Whether a daemon that keeps to the document takes what this sends for a success.
    pub(crate) fn succeeds(&self) -> bool {
        match self {
            Self::Accept
            | Self::Duplicate
            | Self::AcceptThenClose
            | Self::Slow { .. }
            | Self::Huge { .. } => true,
            Self::Status { code, .. } => is_success(*code),
            Self::Raw { accepted, .. } => *accepted,
            Self::Redirect { .. }
            | Self::Stall { .. }
            | Self::Reset
            | Self::CloseBeforeAnswer
            | Self::CloseMidAnswer
            | Self::Hold => false,
        }
    }
}

/// The answers after which a daemon never sends a message again.
pub(crate) fn is_success(status: u16) -> bool {
    (200..300).contains(&status) || status == 409
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(|error| D::Error::custom(format!("base64: {error}")))
}
