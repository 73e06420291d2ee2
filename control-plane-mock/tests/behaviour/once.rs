//! A message is accepted once, and what comes after something final is noticed.

use std::io::Write;

use control_plane_mock::{Action, Kind, Rule};
use serde_json::json;

use crate::client::{PATIENCE, Request, all};
use crate::messages::{heartbeat, mock, ready, result, result_body};

#[test]
fn the_same_message_again_is_a_duplicate_and_no_violation() {
    let mock = mock();
    for status in [200, 409, 409] {
        assert_eq!(result("exec_1").answer(&mock).status, status);
    }
    let seen: Vec<_> = mock.calls().iter().map(|call| (call.accepted, call.duplicate)).collect();
    assert_eq!(seen, [(true, false), (false, true), (false, true)]);
    assert_eq!(mock.violations(), Vec::<String>::new());
    let view = &mock.executions()["exec_1"];
    assert_eq!((view.attempts, view.accepted, view.heartbeats), (3, true, 0));
    assert_eq!(**view.result.as_ref().unwrap(), result_body("exec_1"));
}

#[test]
fn a_message_is_accepted_at_the_first_success_and_not_at_failures_before() {
    let mock = mock();
    mock.script(Rule::new(Action::Reset).times(1));
    mock.script(Rule::new(Action::Status { code: 500, headers: [].into(), body: String::new() }).times(1));
    mock.script(Rule::new(Action::AcceptThenClose).times(1));
    mock.script(Rule::new(Action::AcceptThenClose).times(1));
    for _ in 0..5 {
        // What comes back, if anything, is not the point here.
        result("exec_1").exchange(&mock).ok();
    }
    let seen: Vec<_> = mock.calls().iter().map(|call| (call.accepted, call.duplicate)).collect();
    assert_eq!(seen, [(false, false), (false, false), (true, false), (false, true), (false, true)]);
}

#[test]
fn a_key_with_another_body_or_path_is_a_violation() {
    let mock = mock();
    assert_eq!(result("exec_1").answer(&mock).status, 200);
    let mut body = result_body("exec_1");
    body["stdout"] = json!("more");
    let path = "/internal/executions/exec_1/result";
    assert_eq!(Request::callback(path, "result-exec_1", &body).answer(&mock).status, 422);
    assert!(mock.violations()[0].contains("another body in call 1"), "{:?}", mock.violations());
    let ready = ready().without("Idempotency-Key").header("Idempotency-Key", "result-exec_1");
    assert_eq!(ready.answer(&mock).status, 422);
    assert!(mock.violations()[1].contains("another path in call 1"), "{:?}", mock.violations());
}

#[test]
fn a_second_result_under_another_key_is_a_violation_and_not_accepted() {
    let mock = mock();
    let path = "/internal/executions/exec_1/result";
    let under = |key| Request::callback(path, key, &result_body("exec_1")).answer(&mock).status;
    assert_eq!((under("one"), under("two")), (200, 409));
    let seen: Vec<_> = mock.calls().iter().map(|call| (call.accepted, call.duplicate)).collect();
    assert_eq!(seen, [(true, false), (false, false)]);
    assert_eq!(mock.violations().len(), 1);
    assert!(mock.violations()[0].contains("second result"), "{:?}", mock.violations());
}

#[test]
fn a_heartbeat_after_the_result_is_a_violation_of_that_execution_only() {
    let mock = mock();
    mock.script(Rule::new(Action::Reset).of_kind(Kind::Result).times(1));
    heartbeat("exec_1", 1).answer(&mock);
    // Not accepted, but said.
    result("exec_1").exchange(&mock).unwrap_err();
    heartbeat("exec_2", 1).answer(&mock);
    assert_eq!(mock.violations(), Vec::<String>::new());
    assert_eq!(heartbeat("exec_1", 2).answer(&mock).status, 200);
    assert_eq!(mock.violations().len(), 1);
    assert!(mock.violations()[0].contains("after the result of exec_1, which arrived as call 2"));
}

#[test]
fn the_order_is_that_of_heads_and_not_of_bodies() {
    let mock = mock();
    let bytes = heartbeat("exec_1", 1).bytes();
    let (first, rest) = bytes.split_at(bytes.len() - 5);
    let mut stream = std::net::TcpStream::connect(mock.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(first).unwrap();
    // The head has certainly arrived when the mock knows of the execution.
    while !mock.executions().contains_key("exec_1") {
        std::thread::yield_now();
    }
    assert_eq!(result("exec_1").answer(&mock).status, 200);
    stream.write_all(rest).unwrap();
    all(stream).unwrap();
    let kinds: Vec<_> = mock.calls().iter().map(|call| (call.number, call.kind)).collect();
    assert_eq!(kinds, [(1, Kind::Heartbeat), (2, Kind::Result)]);
    assert_eq!(mock.violations(), Vec::<String>::new());
}

#[test]
fn a_heartbeat_that_is_sent_again_is_a_violation() {
    let mock = mock();
    heartbeat("exec_1", 1).answer(&mock);
    assert_eq!(heartbeat("exec_1", 1).answer(&mock).status, 409);
    assert!(mock.violations()[0].contains("sent again"), "{:?}", mock.violations());
    let view = &mock.executions()["exec_1"];
    assert_eq!((view.heartbeats, &view.last_progress.as_ref().unwrap()["phase"]), (2, &json!("run")));
}

#[test]
fn a_big_body_is_known_by_its_digest() {
    let mock = mock();
    let mut body = result_body("exec_1");
    body["stdout"] = json!("x".repeat(5 << 20));
    let request = |body: &[u8]| result("exec_1").body(body);
    assert_eq!(request(body.to_string().as_bytes()).answer(&mock).status, 200);
    assert_eq!(request(body.to_string().as_bytes()).answer(&mock).status, 409);
    body["stdout"] = json!(format!("{}y", "x".repeat((5 << 20) - 1)));
    assert_eq!(request(body.to_string().as_bytes()).answer(&mock).status, 422);
    let calls = mock.calls();
    assert!(calls[0].body_bytes.is_empty() && calls[0].body_len > 5 << 20);
    assert_eq!(calls[0].body["stdout"].as_str().unwrap().len(), 5 << 20);
    assert_eq!(calls[0].body_sha256, calls[1].body_sha256);
    assert_ne!(calls[0].body_sha256, calls[2].body_sha256);
}

#[test]
fn a_deep_value_is_read_and_one_without_end_does_no_harm() {
    let mock = mock();
    let nested = |id: &str, levels: usize| {
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let text = result_body(id).to_string().replace("{\"sum\":6}", &deep);
        result(id).body(text.as_bytes()).answer(&mock).status
    };
    assert_eq!((nested("exec_1", 1_000), nested("exec_2", 3_900)), (200, 200));
    assert_eq!(mock.violations(), Vec::<String>::new());
    assert_eq!(nested("exec_3", 1_000_000), 422);
    assert!(mock.violations()[0].contains("nested deeper"), "{:?}", mock.violations());
    assert!(Request::new("GET", "/journal").answer(&mock).status == 200);
}
