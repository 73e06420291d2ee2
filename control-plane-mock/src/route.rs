//! Which operation of the document a path is.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Result,
    Heartbeat,
    Ready,
    Exited,
    /// No operation of the document.
    Other,
}

impl Kind {
    /// The word of logs and of JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::Heartbeat => "heartbeat",
            Self::Ready => "ready",
            Self::Exited => "exited",
            Self::Other => "other",
        }
    }

    /// The inverse of [`Kind::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Result, Self::Heartbeat, Self::Ready, Self::Exited, Self::Other]
            .into_iter()
            .find(|kind| kind.word() == word)
    }

    /// The path in the document.
    pub(crate) fn template(self) -> Option<&'static str> {
        match self {
            Self::Result => Some("/internal/executions/{execution_id}/result"),
            Self::Heartbeat => Some("/internal/executions/{execution_id}/heartbeat"),
            Self::Ready => Some("/internal/containers/ready"),
            Self::Exited => Some("/internal/containers/exited"),
            Self::Other => None,
        }
    }
}

/// The operation and the execution that `path` names.
pub(crate) fn operation(prefix: &str, path: &str) -> (Kind, Option<String>) {
    let nothing = (Kind::Other, None);
    let Some(path) = path.strip_prefix(prefix) else { return nothing };
    match path {
        "/internal/containers/ready" => return (Kind::Ready, None),
        "/internal/containers/exited" => return (Kind::Exited, None),
        _ => {}
    }
    let Some((id, call)) = path.strip_prefix("/internal/executions/").and_then(|path| path.split_once('/'))
    else {
        return nothing;
    };
    match call {
        "result" => (Kind::Result, Some(id.to_owned())),
        "heartbeat" => (Kind::Heartbeat, Some(id.to_owned())),
        _ => nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_an_operation_only_below_the_prefix() {
        let result = (Kind::Result, Some("exec_1".to_owned()));
        assert_eq!(operation("", "/internal/executions/exec_1/result"), result);
        assert_eq!(operation("/api/v1", "/api/v1/internal/executions/exec_1/result"), result);
        for (prefix, path) in [
            ("/api/v1", "/internal/executions/exec_1/result"),
            ("", "//internal/executions/exec_1/result"),
            ("", "/internal/executions/exec_1/result/"),
            ("", "/internal/executions/exec_1"),
            ("", "/internal/containers/ready/"),
        ] {
            assert_eq!(operation(prefix, path), (Kind::Other, None), "{prefix} {path}");
        }
    }

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        for kind in [Kind::Result, Kind::Heartbeat, Kind::Ready, Kind::Exited, Kind::Other] {
            assert_eq!(Kind::from_word(kind.word()), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.word()));
        }
    }
}
