//! `CALLBACK_FORMAT=compact`: four words of status and artifacts as paths, for control planes of the first generation.

use conformance::{Daemon, Settings};
use control_plane_mock::{Action, Call, Kind, Mock, Rule};
use serde_json::{Value, json};

use crate::support::{
    accepted, accepted_in_the_end, attempts, begin, call, holds, mock, nothing_wrong, script,
};

fn daemon(mock: &Mock) -> Daemon {
    let daemon = Settings::new().calling(mock).set("CALLBACK_FORMAT", "compact").start();
    call(mock, |call| call.kind == Kind::Ready);
    daemon
}

/// What every compact result is, whatever happened.
fn is_compact(call: &Call) {
    let body = call.body.as_object().unwrap();
    assert!(!body.contains_key("callback"), "{body:?}");
    for field in [
        "execution_id",
        "stdout",
        "stderr",
        "exit_code",
        "execution_time",
        "return_value",
        "cause",
        "metrics",
    ] {
        assert!(body.contains_key(field), "{field}: {body:?}");
    }
    let paths = body["artifacts"].as_array().unwrap();
    assert!(paths.iter().all(Value::is_string), "{paths:?}");
}

#[test]
fn compact_results_know_four_words_and_still_say_the_cause() {
    let mock = mock();
    let daemon = daemon(&mock);
    let cases = [
        ("exec_success", "true", json!({}), "success", "success", "exit"),
        ("exec_failed", "exit 3", json!({}), "failed", "failed", "exit"),
        ("exec_signal", "kill -9 $$", json!({}), "failed", "failed", "signal"),
        ("exec_timeout", "sleep 60", json!({ "timeout": 1 }), "timeout", "timeout", "wall_timeout"),
        (
            "exec_error",
            "head -c 3000000 /dev/zero > big",
            json!({ "limits": { "max_file_mb": 1 } }),
            "error",
            "failed",
            "file_limit",
        ),
    ];
    for (id, code, more, status, told, cause) in cases {
        let mut request = script(id, code);
        for (name, value) in more.as_object().unwrap() {
            request[name] = value.clone();
        }
        let answer = daemon.execute(&request).result();
        // The caller's answer is what it always is.
        assert_eq!(
            (&answer["status"], &answer["callback"]),
            (&json!(status), &json!("journalled")),
            "{answer}"
        );
        let heard = accepted(&mock, id);
        is_compact(&heard);
        assert_eq!((&heard.body["status"], &heard.body["cause"]), (&json!(told), &json!(cause)), "{id}");
        for field in [
            "stdout",
            "stderr",
            "exit_code",
            "return_value",
            "cause_detail",
            "metrics",
            "execution_time",
            "isolation",
        ] {
            assert_eq!(heard.body[field], answer[field], "{id}: {field}");
        }
    }
    nothing_wrong(&mock);
}

#[test]
fn compact_artifacts_are_paths_in_the_order_of_the_full_ones() {
    let mock = mock();
    let daemon = daemon(&mock);
    let code =
        "mkdir -p out deep/er; echo a > b.txt; echo b > out/a.csv; echo c > deep/er/c.log; echo d > 'ä b'";
    let answer = daemon.execute(&script("exec_files", code)).result();
    let heard = accepted(&mock, "exec_files");
    is_compact(&heard);
    let paths: Vec<&Value> =
        answer["artifacts"].as_array().unwrap().iter().map(|artifact| &artifact["path"]).collect();
    assert_eq!(paths.len(), 4, "{answer}");
    assert_eq!(heard.body["artifacts"], json!(paths));
    assert_eq!(heard.body["artifacts_truncated"], json!(false));
    nothing_wrong(&mock);
}

#[test]
fn a_return_value_is_not_changed_by_being_compact() {
    let mock = mock();
    let daemon = daemon(&mock);
    let code =
        "def handler(event):\n    return {'z': 12345678901234567890123, 'a': 1.10, 'n': None, 'd': event}";
    let request = json!({
        "language": "python", "code": code, "execution_id": "exec_value", "workspace": "fresh", "event": {"b": 1, "a": 2},
    });
    let answer = daemon.execute(&request);
    let heard = accepted(&mock, "exec_value");
    is_compact(&heard);
    // As text: a parser could lose digits on both sides.
    let value = "\"return_value\":{\"z\":12345678901234567890123,";
    assert!(answer.text().contains(value), "{}", answer.text());
    let bytes = String::from_utf8_lossy(&heard.body_bytes);
    assert!(bytes.contains(value), "{bytes}");
    nothing_wrong(&mock);
}

// CP-07
#[test]
fn a_compact_result_is_the_same_in_every_attempt_and_after_a_restart() {
    let mock = mock();
    let first = daemon(&mock);
    let failure = Action::Status { code: 500, headers: Default::default(), body: String::new() };
    mock.script(Rule::new(failure).of_kind(Kind::Result));
    first.execute(&script("exec_again", "echo hello; echo a > a.txt")).result();
    call(&mock, |call| call.kind == Kind::Result);
    let remains = first.kill();
    mock.clear_script();
    let next = remains.restart();
    is_compact(&accepted(&mock, "exec_again"));
    let calls = attempts(&mock, "exec_again");
    assert!(calls.len() >= 2);
    assert!(calls.iter().all(|call| call.body_sha256 == calls[0].body_sha256));
    assert!(calls.iter().all(|call| call.idempotency_key == calls[0].idempotency_key));
    accepted_in_the_end(&mock, next, &["exec_again"]);
    nothing_wrong(&mock);
}

#[test]
fn what_waits_is_sent_in_the_format_of_the_daemon_that_sends_it() {
    let mock = mock();
    mock.refuse_connections();
    let full = Settings::new().calling(&mock).start();
    full.execute(&script("exec_upgraded", "echo hello")).result();
    let next = full.kill().restart_with(Settings::new().calling(&mock).set("CALLBACK_FORMAT", "compact"));
    mock.accept_connections();
    is_compact(&accepted(&mock, "exec_upgraded"));
    accepted_in_the_end(&mock, next, &["exec_upgraded"]);
    nothing_wrong(&mock);
}

#[test]
fn a_run_that_died_with_the_daemon_is_crashed_in_compact_too() {
    let mock = mock();
    let first = daemon(&mock);
    let _caller = begin(&first, &script("exec_dies", "echo said-so\"-far\"; sleep 1000"));
    holds(&first, "exec_dies.running", "said-so-far");
    let mut next = first.kill().restart();
    let heard = accepted(&mock, "exec_dies");
    is_compact(&heard);
    assert_eq!((&heard.body["status"], &heard.body["cause"]), (&json!("crashed"), &json!("daemon_shutdown")));
    assert_eq!(heard.body["stdout"], "said-so-far\n");
    let held = next.run("shell", "true")["isolation"].clone();
    assert!(held.is_object(), "{held}");
    assert_eq!(heard.body["isolation"], held);
    // And when the daemon ends in peace.
    let _caller = begin(&next, &script("exec_ended", "echo said-so\"-far\"; sleep 1000"));
    holds(&next, "exec_ended.running", "said-so-far");
    next.signal("TERM");
    assert_eq!(next.wait().code(), Some(143));
    let heard = accepted(&mock, "exec_ended");
    is_compact(&heard);
    assert_eq!(heard.body["isolation"], held);
    assert_eq!((&heard.body["status"], &heard.body["cause"]), (&json!("crashed"), &json!("daemon_shutdown")));
    nothing_wrong(&mock);
}
