//! A call as one readable line.
//!
//! It must never hold what a program wrote or returned, nor anything of a header: only words and numbers that the document
//! knows, and what was wrong.

use control_plane_mock::{Call, How, Kind};
use serde_json::Value;

/// `09:30:05.125  result exec_1  success/exit, exit code 0, 1034 bytes  → 200, accepted`.
pub(crate) fn line(call: &Call) -> String {
    let time = call.arrived.to_string();
    let time = time.split_once('T').map_or(time.as_str(), |(_, time)| time.get(..12).unwrap_or(time));
    let who = match call.kind {
        Kind::Other => printable(&format!("{} {}", call.method, call.path)),
        Kind::Result | Kind::Heartbeat => {
            let id = call.execution_id.as_deref().unwrap_or_default();
            format!("{} {}", call.kind.word(), printable(id))
        }
        Kind::Ready | Kind::Exited => call.kind.word().to_owned(),
    };
    let mut line = format!("{time}  {who}  {}  → {}", said(call), answered(call));
    for problem in &call.problems {
        line.push_str("  ! ");
        line.push_str(&printable(problem));
    }
    line
}

fn said(call: &Call) -> String {
    let body = &*call.body;
    let progress = &body["progress"];
    match call.kind {
        Kind::Result => format!(
            "{}/{}, exit code {}, {} bytes",
            word(&body["status"]),
            word(&body["cause"]),
            word(&body["exit_code"]),
            call.body_len
        ),
        Kind::Heartbeat => format!(
            "{}, {} ms, cpu {} ms, memory {} bytes",
            word(&progress["phase"]),
            word(&progress["elapsed_ms"]),
            word(&progress["cpu_time_ms"]),
            word(&progress["memory_bytes"])
        ),
        Kind::Ready => format!(
            "{}, port {}, version {}, isolation {}",
            word(&body["container_id"]),
            word(&body["executor_port"]),
            word(&body["version"]),
            word(&body["isolation"]["tier"])
        ),
        Kind::Exited => format!(
            "{}, {}, exit code {}",
            word(&body["container_id"]),
            word(&body["exit_reason"]),
            word(&body["exit_code"])
        ),
        Kind::Other => format!("{} bytes", call.body_len),
    }
}

/// A word or a number of the message, or `?` where it has none.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => "?".to_owned(),
    }
}

/// What a message says cannot move a cursor, and not fill the screen.
fn printable(text: &str) -> String {
    let clean = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    text.chars().take(300).map(clean).collect()
}

fn answered(call: &Call) -> String {
    let status = call.answer.status.map_or_else(|| "no whole answer".to_owned(), |status| status.to_string());
    let mut text = match call.answer.how {
        How::Plain => status,
        How::Scripted(word) => format!("{status} (script: {word})"),
        How::Waiting => "waits for its time".to_owned(),
        How::Held => "is held; POST /step lets it go on".to_owned(),
        How::Abandoned => "left before it was answered".to_owned(),
    };
    if call.accepted {
        text.push_str(", accepted");
    }
    if call.duplicate {
        text.push_str(", duplicate");
    }
    text
}
