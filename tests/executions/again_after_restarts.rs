//! Results that the control plane does not have yet outlive the daemon, and so does what they were asked with.

use std::fs;

use conformance::{Daemon, Settings};
use control_plane_mock::{Action, Kind, Mock, Rule};
use serde_json::{Value, json};

use crate::asking::{
    accepted, at, attempts, cancel, execute_with, finished, in_place, look, mock, reported_once, submit,
    submit_any, until_it_says,
};
use crate::stream::Stream;

fn request(execution_id: &str) -> Value {
    in_place(execution_id, "echo run >> runs; echo out; echo err >&2; date +%s%N")
}

fn runs(daemon: &Daemon) -> usize {
    fs::read_to_string(daemon.workspace().join("runs")).unwrap_or_default().lines().count()
}

/// A daemon that follows one which ran this and died before it could report it. The control plane is away.
fn after_a_crash(mock: &Mock, request: &Value) -> (Daemon, Value) {
    let first = Settings::new().calling(mock).start();
    mock.refuse_connections();
    let result = first.execute(request).result();
    assert_eq!(result["callback"], "journalled");
    (first.kill().restart(), result)
}

/// Waits until the control plane has it and the daemon knows that.
fn until_delivered(mock: &Mock, daemon: &Daemon, execution_id: &str) -> Value {
    mock.accept_connections();
    let heard = accepted(mock, execution_id);
    daemon.eventually("it is no longer on disk", |daemon| {
        fs::read_dir(daemon.results())
            .unwrap()
            .all(|file| !file.unwrap().file_name().to_str().unwrap().starts_with(execution_id))
    });
    heard
}

#[test]
fn the_same_request_gets_the_stored_result_from_the_next_daemon_until_it_is_delivered() {
    let mock = mock();
    let request = request("exec_stored");
    let (next, result) = after_a_crash(&mock, &request);
    for _ in 0..2 {
        assert_eq!(next.execute(&request).result(), result);
        let seen = look(&next, "exec_stored");
        assert_eq!((&seen["state"], &seen["result"]), (&json!("finished"), &result));
        assert!(seen.get("progress").is_none() && seen.get("position").is_none(), "{seen}");
    }
    // The order of fields is no difference.
    let reordered = format!(
        r#"{{"language":"shell","stdin":null,"execution_id":"exec_stored","code":{}}}"#,
        request["code"]
    );
    let again = next.post("/execute", "application/json", reordered.into());
    assert_eq!(again.result(), result);
    assert_eq!(runs(&next), 1);

    assert_eq!(until_delivered(&mock, &next, "exec_stored"), result);
    assert_eq!(mock.violations(), Vec::<String>::new());
    // What follows is another execution, and the mock would take it for a second result of the first.
    mock.forget();
    next.eventually("it is forgotten", |daemon| daemon.get(&at("exec_stored")).status == 404);
    let mut other = request.clone();
    other["timeout"] = json!(7);
    let second = next.execute(&other).result();
    assert_eq!((&second["status"], runs(&next)), (&json!("success"), 2));
    assert_ne!(second["stdout"], result["stdout"]);
    assert_eq!(accepted(&mock, "exec_stored"), second);
    reported_once(&mock, next, &["exec_stored"]);
}

#[test]
fn another_request_is_told_by_the_next_daemon_what_differs() {
    let mock = mock();
    let request = request("exec_stored");
    let (next, result) = after_a_crash(&mock, &request);
    let mut other = request.clone();
    other["code"] = json!("echo other >> runs");
    other["timeout"] = json!(5);
    for headers in
        [&[][..], &[("prefer", "respond-async")], &[("accept", "text/event-stream")]] as [&[(&str, &str)]; 3]
    {
        let answer = execute_with(&next, headers, &other);
        assert_eq!((answer.status, &*answer.error_code()), (409, "Executor.DuplicateExecution"));
        let detail = answer.json()["error_detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("exec_stored") && detail.ends_with(": code, timeout"), "{detail}");
    }
    assert_eq!(runs(&next), 1);
    assert_eq!(until_delivered(&mock, &next, "exec_stored"), result);
    reported_once(&mock, next, &["exec_stored"]);
}

#[test]
fn a_stored_result_can_be_followed_and_cannot_be_cancelled() {
    let mock = mock();
    let (next, result) = after_a_crash(&mock, &request("exec_stored"));
    for stream in
        [Stream::of(&next, "exec_stored"), Stream::behind(&next, "exec_stored", "1-2-0")].map(Stream::story)
    {
        assert_eq!(*stream.result(), result);
    }
    let headers = [("last-event-id", "finished")];
    assert_eq!(next.request("GET", &format!("{}/events", at("exec_stored")), &headers, vec![]).status, 204);
    let answer = cancel(&next, "exec_stored");
    assert_eq!((answer.status, &answer.json()["result"]), (200, &result));
    assert_eq!(until_delivered(&mock, &next, "exec_stored"), result);
    reported_once(&mock, next, &["exec_stored"]);
}

#[test]
fn whoever_does_not_want_to_wait_for_a_stored_result_has_it_at_once() {
    let mock = mock();
    let request = request("exec_stored");
    let (next, result) = after_a_crash(&mock, &request);
    let answer = submit_any(&next, &request);
    let body = answer.json();
    assert!([200, 202].contains(&answer.status), "{}", answer.text());
    assert!(body == result || body["result"] == result, "{body}");
    assert_eq!(runs(&next), 1);
    until_delivered(&mock, &next, "exec_stored");
    reported_once(&mock, next, &["exec_stored"]);
}

#[test]
fn whoever_wants_events_of_a_stored_result_gets_events() {
    let mock = mock();
    let request = request("exec_stored");
    let (next, result) = after_a_crash(&mock, &request);
    assert_eq!(*Stream::from_start(&next, &request).story().result(), result);
    assert_eq!(runs(&next), 1);
    until_delivered(&mock, &next, "exec_stored");
    reported_once(&mock, next, &["exec_stored"]);
}

#[test]
fn one_that_died_with_its_daemon_is_shown_as_crashed_and_is_not_run_again() {
    let mock = mock();
    let first = Settings::new().calling(&mock).start();
    mock.refuse_connections();
    let request = in_place("exec_died", "echo run >> runs; echo partial; sleep 1000");
    submit(&first, &request);
    until_it_says(&first, "exec_died");
    first.eventually("what it said is on disk", |daemon| {
        fs::read_to_string(daemon.results().join("exec_died.running"))
            .is_ok_and(|text| text.contains("partial\\n"))
    });
    let next = first.kill().restart();
    let result = finished(&next, "exec_died");
    assert_eq!(
        (&result["status"], &result["cause"], &result["stdout"]),
        (&json!("crashed"), &json!("daemon_shutdown"), &json!("partial\n"))
    );
    assert_eq!(next.execute(&request).result(), result);
    assert_eq!(runs(&next), 1);
    assert_eq!(until_delivered(&mock, &next, "exec_died"), result);
    reported_once(&mock, next, &["exec_died"]);
}

#[test]
fn a_control_plane_that_is_told_less_does_not_make_the_stored_result_less() {
    let mock = mock();
    let request = request("exec_compact");
    let first = Settings::new().calling(&mock).set("CALLBACK_FORMAT", "compact").start();
    mock.refuse_connections();
    let result = first.execute(&request).result();
    let next = first.kill().restart();
    assert_eq!(next.execute(&request).result(), result);
    assert_eq!(look(&next, "exec_compact")["result"], result);
    let heard = until_delivered(&mock, &next, "exec_compact");
    assert_eq!(heard["stdout"], result["stdout"]);
}

#[test]
fn in_the_daemon_that_ran_it_a_delivered_result_stays_until_it_is_forgotten() {
    let mock = mock();
    let daemon = Settings::new().calling(&mock).start();
    let request = request("exec_kept");
    let result = daemon.execute(&request).result();
    until_delivered(&mock, &daemon, "exec_kept");
    assert_eq!(daemon.execute(&request).result(), result);
    assert_eq!(runs(&daemon), 1);
    reported_once(&mock, daemon, &["exec_kept"]);
}

#[test]
fn one_that_was_forgotten_in_memory_is_found_on_disk_as_long_as_the_control_plane_does_not_have_it() {
    let mock = mock();
    let failure = Action::Status { code: 503, headers: Default::default(), body: String::new() };
    mock.script(Rule::new(failure).of_kind(Kind::Result).of_execution("exec_first"));
    let daemon = Settings::new().calling(&mock).set("RETAINED_EXECUTIONS", 1).start();
    let request = request("exec_first");
    let result = daemon.execute(&request).result();
    daemon.execute(&in_place("exec_second", "true")).result();
    // By now it is beyond the bound.
    accepted(&mock, "exec_second");
    assert!(attempts(&mock, "exec_first").iter().all(|call| !call.accepted));
    assert_eq!(look(&daemon, "exec_first")["result"], result);
    assert_eq!(daemon.execute(&request).result(), result);
    assert_eq!(runs(&daemon), 1);
    mock.clear_script();
    accepted(&mock, "exec_first");
    daemon.eventually("it is forgotten", |daemon| daemon.get(&at("exec_first")).status == 404);
    let detail = daemon.get(&at("exec_first")).json()["error_detail"].clone();
    assert!(detail.as_str().unwrap().contains("forgotten"), "{detail}");
    reported_once(&mock, daemon, &["exec_first", "exec_second"]);
}
