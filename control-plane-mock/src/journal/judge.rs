//! A request against the document and the rules that need no memory: what is wrong with it, and what a control plane that
//! insists on them would answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, PROXY_AUTHORIZATION};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Arrival;
use crate::{Answer, Call, How, Kind, document};

/// What the journal keeps of a body byte by byte.
const LONGEST_KEPT: usize = 1 << 20;

/// Deeper than any `return_value` of a daemon; the mock's threads have the stack for it.
const DEEPEST: usize = 4_000;

/// A call that is not in the journal yet.
pub(super) struct Judged {
    pub(super) call: Call,
    pub(super) refusal: Option<Refusal>,
}

/// The plain answer to a call that breaks a rule.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) status: u16,
    pub(super) sentence: String,
}

pub(super) fn judge(arrival: Arrival, body: Result<Bytes, String>) -> Judged {
    let mut notes = Notes::default();
    if !arrival.authorized {
        notes.refuse(401, "the bearer token is missing or not the one that is expected".to_owned());
    }
    if arrival.kind == Kind::Other {
        notes.refuse(404, "no operation of the document has this path".to_owned());
    } else if arrival.method != "POST" {
        notes.refuse(405, format!("the method is {}, not POST", arrival.method));
    }
    if let Some(problem) =
        arrival.execution_id.as_deref().and_then(|id| document::path_problem(arrival.kind, id))
    {
        notes.refuse(400, problem);
    }
    for problem in document::header_problems(arrival.kind, &arrival.headers) {
        notes.refuse(400, problem);
    }
    let (bytes, json) = read(&arrival, body, &mut notes);
    if let Some(late) = arrival.late {
        notes.problems.push(late);
    }
    let call = Call {
        number: arrival.number,
        arrived: arrival.arrived,
        arrived_after: arrival.arrived_after,
        kind: arrival.kind,
        method: arrival.method,
        path: arrival.path,
        execution_id: arrival.execution_id,
        idempotency_key: text(&arrival.headers, "idempotency-key"),
        authorized: arrival.authorized,
        headers: headers(&arrival.headers),
        body: Arc::new(json),
        body_len: bytes.len(),
        body_sha256: Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        body_bytes: if bytes.len() <= LONGEST_KEPT { bytes } else { Bytes::new() },
        problems: notes.problems,
        answer: Answer { how: How::Waiting, status: None },
        accepted: false,
        duplicate: false,
    };
    Judged { call, refusal: notes.refusal }
}

#[derive(Default)]
struct Notes {
    problems: Vec<String>,
    /// The first: it is answered.
    refusal: Option<Refusal>,
}

impl Notes {
    fn refuse(&mut self, status: u16, sentence: String) {
        self.problems.push(sentence.clone());
        self.refusal.get_or_insert(Refusal { status, sentence });
    }
}

fn read(arrival: &Arrival, body: Result<Bytes, String>, notes: &mut Notes) -> (Bytes, Value) {
    let nothing = (Bytes::new(), Value::Null);
    let bytes = match body {
        Ok(bytes) => bytes,
        Err(problem) => {
            notes.refuse(400, problem);
            return nothing;
        }
    };
    if arrival.kind == Kind::Other {
        return (bytes, Value::Null);
    }
    let media = text(&arrival.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    if !media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        notes.refuse(415, format!("Content-Type is {media:?}, not application/json"));
    }
    match parse(&bytes) {
        Ok(json) => {
            for problem in document::body_problems(arrival.kind, &json) {
                notes.refuse(422, problem);
            }
            if arrival.kind == Kind::Result
                && json["execution_id"].as_str() != arrival.execution_id.as_deref()
            {
                notes.refuse(422, "execution_id of the body is not that of the path".to_owned());
            }
            (bytes, json)
        }
        Err(problem) => {
            notes.refuse(422, format!("the body is not JSON: {problem}"));
            (bytes, Value::Null)
        }
    }
}

/// Values may be nested deeper than `serde_json` allows by itself.
fn parse(bytes: &[u8]) -> Result<Value, String> {
    if depth(bytes) > DEEPEST {
        return Err(format!("it is nested deeper than {DEEPEST} levels, which the mock does not read"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    deserializer.disable_recursion_limit();
    let value = Value::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// Of brackets outside strings.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Without secrets.
fn headers(all: &HeaderMap) -> BTreeMap<String, String> {
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in
        all.iter().filter(|(name, _)| ![AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name))
    {
        let value = String::from_utf8_lossy(value.as_bytes());
        kept.entry(name.as_str().to_owned())
            .and_modify(|values| values.push_str(&format!(", {value}")))
            .or_insert_with(|| value.into_owned());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_are_no_nesting() {
        assert_eq!(depth(br#"{"a": ["[[[", "\"[", 1], "b": {}}"#), 2);
        assert_eq!(depth(b"1"), 0);
    }

    #[test]
    fn a_value_nested_a_thousand_levels_deep_is_read() {
        let text = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        assert!(parse(text.as_bytes()).unwrap().is_array());
        assert!(parse(&vec![b'['; 1 << 20]).unwrap_err().contains("deeper"));
    }
}
