//! Short ways to ask for a run and to say what must have come of it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use conformance::{Daemon, Settings};
use serde_json::{Value, json};

/// Each is a connection, which the client keeps open: no more than the harness takes for granted.
const SIDE_BY_SIDE: usize = 4;

/// A daemon that runs as many programs side by side as a test asks for.
pub(crate) fn wide() -> Daemon {
    Settings::new().set("EXECUTOR_CONCURRENCY", 16).set("EXECUTOR_QUEUE", 200).start()
}

/// Runs code in a workspace of its own (unless `more` names a session), with further fields of the request.
pub(crate) fn run(daemon: &Daemon, language: &str, code: &str, more: &Value) -> Value {
    let mut request = json!({ "language": language, "code": code });
    if more["session_id"].is_null() {
        request["workspace"] = "fresh".into();
    }
    for (name, value) in more.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    daemon.execute(&request).result()
}

/// Runs several programs side by side; the results come in the order of the programs.
pub(crate) fn run_all(daemon: &Daemon, programs: &[(&str, &str, Value)]) -> Vec<Value> {
    let next = AtomicUsize::new(0);
    let results = programs.iter().map(|_| OnceLock::new()).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(programs.len()) {
            scope.spawn(|| {
                while let Some((result, (language, code, more))) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    results.get(index).zip(programs.get(index))
                } {
                    result.set(run(daemon, language, code, more)).unwrap();
                }
            });
        }
    });
    results.into_iter().map(|result| result.into_inner().unwrap()).collect()
}

/// Panics with the whole result, long texts cut.
#[track_caller]
pub(crate) fn assert_end(result: &Value, status: &str, exit_code: i64, cause: &str) {
    let expected = (&json!(status), &json!(exit_code), &json!(cause));
    assert_eq!((&result["status"], &result["exit_code"], &result["cause"]), expected, "{}", shown(result));
}

/// A limit was hit: its cause, the limit that was asked for, and an observation that reaches at least `share` of it.
#[track_caller]
pub(crate) fn assert_limit(result: &Value, cause: &str, limit: f64, share: f64) {
    assert_end(result, "error", -1, cause);
    let detail = &result["cause_detail"];
    let observed = detail["observed"].as_f64().unwrap_or(-1.0);
    assert!(detail["limit"] == json!(limit) && observed >= limit * share, "{}", shown(result));
    let message = detail["message"].as_str().unwrap();
    assert!(!message.is_empty() && result["stderr"].as_str().unwrap().contains(message), "{}", shown(result));
}

#[track_caller]
pub(crate) fn assert_says(result: &Value, stream: &str, needles: &[&str]) {
    let text = result[stream].as_str().unwrap();
    for needle in needles {
        assert!(text.contains(needle), "no {needle:?} in {}", shown(result));
    }
}

/// For messages: with the long texts cut.
pub(crate) fn shown(result: &Value) -> String {
    let mut short = result.clone();
    for (_, value) in short.as_object_mut().into_iter().flatten() {
        if let Some(text) = value.as_str().filter(|text| text.len() > 2000) {
            *value = format!("{}… ({} bytes)", &text[..text.floor_char_boundary(1000)], text.len()).into();
        }
    }
    format!("{short:#}")
}
