//! A rule: which calls, how often, what then.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::Action;
use crate::Kind;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Everything that is given must fit; nothing given fits every callback.
    #[serde(default)]
    pub matches: Matches,
    /// How many calls it is for; without it for all. A rule that is used up is passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// 0 to 1; a call that is not drawn goes on to the next rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// The same seed draws the same sequence.
    #[serde(default)]
    pub seed: u64,
    /// Milliseconds between the end of the request and the action.
    #[serde(default)]
    pub after_ms: u64,
    pub action: Action,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matches {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// The whole path, with the prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Why a rule can never be carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadRule {
    #[error("probability must be a number from 0 to 1, not {probability}")]
    Probability { probability: f64 },
    #[error("code must be from 200 to 599, not {code}: HTTP has no other final answers")]
    Code { code: u16 },
    #[error("code of a redirect must be from 300 to 399, not {code}")]
    RedirectCode { code: u16 },
    #[error("headers: {name:?} with the value {value:?} cannot be sent in HTTP")]
    Header { name: String, value: String },
    #[error("seconds must be a number from 0 to 1000000, not {seconds}")]
    Seconds { seconds: f64 },
    #[error("bytes_per_second must be at least 1; use stall to send nothing")]
    Rate,
}

impl Rule {
    /// For every callback.
    pub fn new(action: Action) -> Self {
        Self { matches: Matches::default(), times: None, probability: None, seed: 0, after_ms: 0, action }
    }

    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.matches.kind = Some(kind);
        self
    }

    #[must_use]
    pub fn of_execution(mut self, execution_id: &str) -> Self {
        self.matches.execution_id = Some(execution_id.to_owned());
        self
    }

    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    #[must_use]
    pub fn with_probability(mut self, probability: f64, seed: u64) -> Self {
        (self.probability, self.seed) = (Some(probability), seed);
        self
    }

    /// Whole milliseconds; at most about 584 million years.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.after_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self
    }

    pub(crate) fn check(&self) -> Result<(), BadRule> {
        if let Some(probability) = self.probability.filter(|number| !(0.0..=1.0).contains(number)) {
            return Err(BadRule::Probability { probability });
        }
        match &self.action {
            Action::Status { code, .. } if !(200..=599).contains(code) => Err(BadRule::Code { code: *code }),
            Action::Status { headers, .. } => {
                headers.iter().try_for_each(|(name, value)| sendable(name, value))
            }
            Action::Redirect { code, .. } if !(300..=399).contains(code) => {
                Err(BadRule::RedirectCode { code: *code })
            }
            Action::Redirect { location, .. } => sendable("location", location),
            Action::Stall { seconds } if !(0.0..=1e6).contains(seconds) => {
                Err(BadRule::Seconds { seconds: *seconds })
            }
            Action::Slow { bytes_per_second: 0 } => Err(BadRule::Rate),
            Action::Accept
            | Action::Duplicate
            | Action::Stall { .. }
            | Action::Reset
            | Action::CloseBeforeAnswer
            | Action::CloseMidAnswer
            | Action::AcceptThenClose
            | Action::Slow { .. }
            | Action::Raw { .. }
            | Action::Huge { .. }
            | Action::Hold => Ok(()),
        }
    }
}

fn sendable(name: &str, value: &str) -> Result<(), BadRule> {
    if HeaderName::try_from(name).is_ok() && HeaderValue::try_from(value).is_ok() {
        return Ok(());
    }
    Err(BadRule::Header { name: name.to_owned(), value: value.to_owned() })
}
