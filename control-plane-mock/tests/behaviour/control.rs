//! The control routes: what the library knows, over HTTP.

use control_plane_mock::{Mock, Options};
use serde_json::{Value, json};

use crate::client::{PATIENCE, Request, all};
use crate::messages::{heartbeat, mock, ready, result, result_body};

fn get(mock: &Mock, path: &str) -> Value {
    let answer = Request::new("GET", path).answer(mock);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

fn refused(mock: &Mock, request: &Request, status: u16, sentence: &str) {
    let answer = request.answer(mock);
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.error().contains(sentence), "{}", answer.error());
}

fn script(mock: &Mock, rules: &Value) -> Value {
    let answer = Request::new("POST", "/script").body(rules.to_string().as_bytes()).answer(mock);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn the_journal_can_be_asked_for_a_part_and_emptied() {
    let mock = mock();
    for request in [ready(), heartbeat("exec_1", 1), result("exec_1"), result("exec_2")] {
        request.answer(&mock);
    }
    let numbers = |query: &str| {
        let journal = get(&mock, &format!("/journal{query}"));
        journal.as_array().unwrap().iter().map(|call| call["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(""), [1, 2, 3, 4]);
    assert_eq!(numbers("?kind=result"), [3, 4]);
    assert_eq!(numbers("?execution_id=exec_1"), [2, 3]);
    assert_eq!(numbers("?kind=result&execution_id=exec_2&after=3"), [4]);
    assert_eq!(numbers("?after=4"), Vec::<u64>::new());
    let call = &get(&mock, "/journal?after=2")[0];
    assert_eq!(call["kind"], "result");
    assert_eq!(call["body"], result_body("exec_1"));
    assert_eq!(call["answer"], json!({ "how": "plain", "status": 200 }));
    assert_eq!(call["idempotency_key"], "result-exec_1");
    assert!(call["arrived_after_ms"].as_f64().unwrap() > 0.0);
    refused(&mock, &Request::new("GET", "/journal?kind=results"), 400, "not results");
    refused(&mock, &Request::new("GET", "/journal?after=x"), 400, "not x");
    refused(&mock, &Request::new("GET", "/journal?since=1"), 400, "since is not one of");

    assert_eq!(Request::new("DELETE", "/journal").answer(&mock).status, 200);
    assert_eq!((numbers(""), mock.calls().len(), mock.executions().len()), (vec![], 0, 0));
    // Keys are forgotten, numbers go on.
    assert_eq!(result("exec_1").answer(&mock).status, 200);
    assert_eq!(numbers(""), [5]);
}

#[test]
fn an_execution_can_be_asked_for() {
    let mock = mock();
    heartbeat("exec_1", 1).answer(&mock);
    let view = get(&mock, "/executions/exec_1");
    assert_eq!((&view["heartbeats"], &view["result"]), (&json!(1), &Value::Null));
    assert_eq!(view["last_progress"]["phase"], "run");
    result("exec_1").answer(&mock);
    let view = get(&mock, "/executions/exec_1");
    assert_eq!((&view["attempts"], &view["accepted"]), (&json!(1), &json!(true)));
    assert_eq!(view["result"], result_body("exec_1"));
    assert_eq!(get(&mock, "/executions")["exec_1"], view);
    refused(
        &mock,
        &Request::new("GET", "/executions/exec_2"),
        404,
        "nothing has arrived for an execution exec_2",
    );
}

#[test]
fn the_script_can_be_read_written_and_cleared() {
    let mock = mock();
    script(
        &mock,
        &json!({ "matches": { "kind": "result" }, "times": 1, "action": { "status": { "code": 503 } } }),
    );
    script(&mock, &json!([{ "action": "duplicate", "times": 1 }, { "action": "accept", "after_ms": 1 }]));
    assert_eq!([503, 409, 200], [(); 3].map(|()| result("exec_1").answer(&mock).status));
    let lines = get(&mock, "/script");
    assert_eq!(lines.as_array().unwrap().iter().map(|line| &line["fired"]).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(lines[2]["action"], "accept");
    assert_eq!(Request::new("DELETE", "/script").answer(&mock).status, 200);
    assert_eq!(get(&mock, "/script"), json!([]));

    let post = |body: &str| Request::new("POST", "/script").body(body.as_bytes());
    refused(&mock, &post("{\"action\": \"explode\"}"), 400, "explode");
    refused(
        &mock,
        &post("[{\"action\": \"reset\"}, {\"action\": \"reset\", \"probability\": 2}]"),
        400,
        "not 2",
    );
    refused(&mock, &post(""), 400, "not a rule");
    assert_eq!(get(&mock, "/script"), json!([]), "all or none");
}

#[test]
fn a_held_call_is_stepped_over_http() {
    let mock = mock();
    refused(&mock, &Request::new("POST", "/step"), 404, "no call is held");
    script(&mock, &json!({ "action": "hold" }));
    let stream = result("exec_1").send(mock.address());
    mock.wait_for(PATIENCE, |calls| calls.first().map(|_| ())).expect("the call");
    assert_eq!(get(&mock, "/journal")[0]["answer"]["how"], "held");
    assert_eq!(Request::new("POST", "/step").answer(&mock).status, 200);
    assert!(all(stream).unwrap().starts_with(b"HTTP/1.1 200"));
}

#[test]
fn control_needs_no_token_is_not_in_the_journal_and_not_sabotaged() {
    let options = Options { token: Some("secret".to_owned()), ..Options::default() };
    let mock = Mock::start(options).unwrap();
    script(&mock, &json!({ "action": "reset" }));
    assert_eq!(get(&mock, "/health"), json!({ "status": "healthy" }));
    assert_eq!(get(&mock, "/violations"), json!([]));
    refused(&mock, &Request::new("PUT", "/script"), 405, "/script has no PUT");
    assert!(mock.calls().is_empty());
    result("exec_1").answer(&mock);
    assert_eq!(get(&mock, "/violations").as_array().unwrap().len(), 1);
}
