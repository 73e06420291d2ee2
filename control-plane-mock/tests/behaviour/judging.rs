//! What breaks the document or a rule is found, named and refused.

use control_plane_mock::{Action, Kind, Mock, Options, Rule};
use serde_json::{Value, json};

use crate::client::Request;
use crate::messages::{exited, heartbeat, mock, ready, result, result_body};

/// Answered with this status, and this is the only violation.
fn refused(request: &Request, status: u16, problem: &str) {
    let mock = mock();
    let answer = request.answer(&mock);
    assert_eq!(answer.status, status, "{problem}: {answer:?}");
    let violations = mock.violations();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].starts_with("call 1, ") && violations[0].contains(problem), "{violations:?}");
    let call = mock.calls().remove(0);
    assert!(violations[0].ends_with(&call.problems[0]));
    assert!(!call.accepted);
}

/// A result whose body was changed.
fn changed(change: impl FnOnce(&mut Value)) -> Request {
    let mut body = result_body("exec_1");
    change(&mut body);
    Request::callback("/internal/executions/exec_1/result", "key", &body)
}

#[test]
fn messages_that_keep_to_the_document_are_accepted_without_a_word() {
    let mock = mock();
    for request in [ready(), heartbeat("exec_1", 1), heartbeat("exec_1", 2), result("exec_1"), exited()] {
        assert_eq!(request.answer(&mock).status, 200);
    }
    assert_eq!(mock.violations(), Vec::<String>::new());
    let calls = mock.calls();
    let kinds = [Kind::Ready, Kind::Heartbeat, Kind::Heartbeat, Kind::Result, Kind::Exited];
    assert_eq!(calls.iter().map(|call| call.kind).collect::<Vec<_>>(), kinds);
    assert_eq!(calls.iter().map(|call| call.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(calls.iter().all(|call| call.accepted && call.authorized && call.problems.is_empty()));
    assert!(calls.is_sorted_by_key(|call| call.arrived_after));
    assert_eq!(calls[3].body_bytes, result_body("exec_1").to_string().into_bytes());
    assert_eq!(calls[3].body_len, calls[3].body_bytes.len());
}

#[test]
fn a_compact_result_is_a_result() {
    let mock = mock();
    let text = include_str!("../../../openapi/callback-examples/CompactResult.memory-limit.json");
    let body: Value = serde_json::from_str(text).unwrap();
    let path = format!("/internal/executions/{}/result", body["execution_id"].as_str().unwrap());
    assert_eq!(Request::callback(&path, "key", &body).answer(&mock).status, 200);
    assert_eq!(mock.violations(), Vec::<String>::new());
}

#[test]
fn a_body_that_is_not_of_the_document_is_refused_with_the_place() {
    refused(&changed(|body| body["status"] = json!("done")), 422, "body/status");
    refused(&changed(|body| body["surprise"] = json!(1)), 422, "surprise");
    refused(
        &changed(|body| body["metrics"]["phases_ms"]["run"] = json!("fast")),
        422,
        "body/metrics/phases_ms/run",
    );
    refused(&changed(|body| body["artifacts"][0]["created_at"] = json!("yesterday")), 422, "created_at");
    refused(&changed(|body| body["execution_id"] = json!("exec_2")), 422, "not that of the path");
    refused(&result("exec_1").body(b"{\"execution_id\":"), 422, "not JSON");
    refused(&ready().body(&exited().bytes()), 422, "not JSON");
}

#[test]
fn a_timestamp_that_is_not_utc_is_refused() {
    let mut body: Value =
        serde_json::from_str(include_str!("../../../openapi/callback-examples/Heartbeat.queued.json"))
            .unwrap();
    body["timestamp"] = json!("2026-01-15T10:30:00+01:00");
    let path = "/internal/executions/exec_1/heartbeat";
    refused(&Request::callback(path, "key", &body), 422, "body/timestamp");
}

#[test]
fn what_is_around_the_body_is_judged_too() {
    refused(&result("exec_1").without("Idempotency-Key"), 400, "Idempotency-Key is missing");
    refused(&result("exec_1").header("Idempotency-Key", "other"), 400, "more than once");
    refused(
        &ready().without("Idempotency-Key").header("Idempotency-Key", &"k".repeat(257)),
        400,
        "Idempotency-Key",
    );
    refused(&ready().header("traceparent", "00-xyz"), 400, "traceparent");
    refused(&ready().header("X-Request-Id", "two words"), 400, "X-Request-Id");
    refused(&ready().without("Content-Type"), 415, "Content-Type");
    refused(&ready().without("Content-Type").header("Content-Type", "text/plain"), 415, "text/plain");
    refused(&Request::new("POST", "/internal/executions/exec_1/progress"), 404, "no operation");
    refused(&Request::new("POST", "/"), 404, "no operation");
    let body = result_body("exec_1 2");
    let path = "/internal/executions/exec%201/heartbeat";
    let call = mock();
    assert_eq!(Request::callback(path, "key", &body).answer(&call).status, 400);
    assert!(call.violations()[0].contains("execution_id of the path"), "{:?}", call.violations());
}

#[test]
fn another_method_is_refused_and_still_judged() {
    let mock = mock();
    let answer = Request::new("GET", "/internal/containers/ready").answer(&mock);
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("allow: post"), "{}", answer.head);
    assert!(mock.violations()[0].contains("not POST"));
}

#[test]
fn a_media_type_may_have_a_parameter_and_headers_are_kept_without_secrets() {
    let mock = mock();
    let request = ready()
        .without("Content-Type")
        .header("Content-Type", "application/json; charset=utf-8")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("X-Request-Id", "request-1")
        .header("Authorization", "Bearer nobody-looks");
    assert_eq!(request.answer(&mock).status, 200);
    let call = mock.calls().remove(0);
    assert_eq!(call.headers["x-request-id"], "request-1");
    assert_eq!(call.idempotency_key.as_deref(), Some("ready-1"));
    assert!(call.headers.contains_key("traceparent"));
    assert!(!format!("{call:?}").contains("nobody-looks"));
}

#[test]
fn only_exactly_the_token_is_let_in_and_it_can_be_exchanged() {
    let options = Options { token: Some("first".to_owned()), ..Options::default() };
    let mock = Mock::start(options).unwrap();
    // A call that is not let in must not use up the script.
    mock.script(Rule::new(Action::Status { code: 503, headers: [].into(), body: String::new() }).times(1));
    let with = |value: &str| result("exec_1").header("Authorization", value).answer(&mock);
    assert_eq!(result("exec_1").answer(&mock).status, 401);
    for wrong in
        ["Bearer", "Bearer ", "bearer first", "Bearer first2", "Bearer  first", "first", "Basic first"]
    {
        let answer = with(wrong);
        assert_eq!(answer.status, 401, "{wrong}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
    }
    assert_eq!(with("Bearer first").status, 503);
    assert_eq!(with("Bearer first").status, 200);
    mock.set_token(Some("second".to_owned()));
    assert_eq!(with("Bearer first").status, 401);
    assert_eq!(with("Bearer second").status, 409);
    mock.set_token(None);
    assert_eq!(result("exec_1").answer(&mock).status, 409);
    let unauthorized = mock.calls().iter().filter(|call| !call.authorized).count();
    assert_eq!((unauthorized, mock.violations().len()), (9, 9));
    assert!(mock.violations().iter().all(|violation| violation.contains("token")));
    assert!(!format!("{:?}", mock.calls()).contains("second"));
}

#[test]
fn a_prefix_is_part_of_every_path() {
    let options = Options { prefix: "/api/v1".to_owned(), ..Options::default() };
    let mock = Mock::start(options).unwrap();
    let body = result_body("exec_1");
    let path = "/api/v1/internal/executions/exec_1/result";
    assert_eq!(Request::callback(path, "key", &body).answer(&mock).status, 200);
    assert_eq!(result("exec_2").answer(&mock).status, 404);
    assert_eq!(mock.violations().len(), 1);
}

#[test]
fn what_is_not_http_is_a_violation() {
    use std::io::Write;
    let mock = mock();
    let mut stream = std::net::TcpStream::connect(mock.address()).unwrap();
    stream.write_all(b"\x16\x03\x01 this is TLS\r\n\r\n").unwrap();
    crate::client::all(stream).unwrap();
    // It is noted when the connection has ended, which this side sees first.
    let deadline = std::time::Instant::now() + crate::client::PATIENCE;
    while mock.violations().is_empty() && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(mock.violations()[0].contains("something else than HTTP"), "{:?}", mock.violations());
}

#[test]
fn a_body_that_ends_early_is_a_violation() {
    use std::io::Write;
    let mock = mock();
    let bytes = result("exec_1").bytes();
    let mut stream = std::net::TcpStream::connect(mock.address()).unwrap();
    stream.write_all(&bytes[..bytes.len() - 10]).unwrap();
    drop(stream);
    let problems =
        mock.wait_for(crate::client::PATIENCE, |calls| calls.first().map(|call| call.problems.clone()));
    assert!(problems.unwrap()[0].contains("body"));
}
