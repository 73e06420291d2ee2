//! Words for starting executions, looking them up and ending them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use conformance::{Answer, Daemon, INTERNAL_TOKEN};
use control_plane_mock::{Call, Kind, Mock, Options};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Runs in the container's own workspace until the file `go` appears there.
pub(crate) const UNTIL_GO: &str = "touch started; while [ ! -e go ]; do sleep 0.02; done";

/// A shell script in a workspace of its own.
pub(crate) fn shell(execution_id: &str, code: &str) -> Value {
    json!({ "language": "shell", "code": code, "execution_id": execution_id, "workspace": "fresh" })
}

/// A Python script in a workspace of its own.
pub(crate) fn python(execution_id: &str, code: &str) -> Value {
    json!({ "language": "python", "mode": "script", "code": code, "execution_id": execution_id, "workspace": "fresh" })
}

/// A shell script in the container's own workspace.
pub(crate) fn in_place(execution_id: &str, code: &str) -> Value {
    json!({ "language": "shell", "code": code, "execution_id": execution_id })
}

/// `POST /execute` with these headers besides.
pub(crate) fn execute_with(daemon: &Daemon, headers: &[(&str, &str)], request: &Value) -> Answer {
    let headers = [&[JSON], headers].concat();
    daemon.request("POST", "/execute", &headers, request.to_string().into_bytes())
}

/// Prefers not to wait, whatever comes of it.
pub(crate) fn submit_any(daemon: &Daemon, request: &Value) -> Answer {
    execute_with(daemon, &[("prefer", "respond-async")], request)
}

/// Prefers not to wait, and need not.
pub(crate) fn submit(daemon: &Daemon, request: &Value) -> Value {
    let answer = submit_any(daemon, request);
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()
}

pub(crate) fn at(execution_id: &str) -> String {
    format!("/executions/{execution_id}")
}

/// `GET /executions/{id}`.
pub(crate) fn look(daemon: &Daemon, execution_id: &str) -> Value {
    let answer = daemon.get(&at(execution_id));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Waits until it is in this state, and returns what it then looks like.
pub(crate) fn until(daemon: &Daemon, execution_id: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Value::Null;
    daemon.eventually(&format!("{execution_id} as wanted"), |daemon| {
        seen = look(daemon, execution_id);
        holds(&seen)
    });
    seen
}

/// Waits until its program runs.
pub(crate) fn until_running(daemon: &Daemon, execution_id: &str) -> Value {
    until(daemon, execution_id, |seen| seen["progress"]["phase"] == "run")
}

/// Waits until its program has said something.
pub(crate) fn until_it_says(daemon: &Daemon, execution_id: &str) -> Value {
    until(daemon, execution_id, |seen| seen["progress"]["stdout_bytes"].as_u64().is_some_and(|said| said > 0))
}

/// Waits for its end and returns the result.
pub(crate) fn finished(daemon: &Daemon, execution_id: &str) -> Value {
    until(daemon, execution_id, |seen| seen["state"] == "finished")["result"].clone()
}

/// Waits until what runs in the container's workspace has said so.
pub(crate) fn until_started(daemon: &Daemon) {
    daemon.eventually("the program runs", |daemon| daemon.workspace().join("started").exists());
}

/// Lets [`UNTIL_GO`] end.
pub(crate) fn go(daemon: &Daemon) {
    fs::write(daemon.workspace().join("go"), "").unwrap();
}

/// `DELETE /executions/{id}`.
pub(crate) fn cancel(daemon: &Daemon, execution_id: &str) -> Answer {
    daemon.request("DELETE", &at(execution_id), &[], Vec::new())
}

/// It was ended from outside, before its end.
pub(crate) fn is_cancelled(result: &Value) {
    assert_eq!(
        (&result["status"], &result["cause"], &result["exit_code"]),
        (&json!("cancelled"), &json!("cancelled"), &json!(-1)),
        "{result}"
    );
}

/// Sends a request and does not wait: whoever drops this leaves. `headers`: each ending in CRLF.
#[must_use]
pub(crate) fn begin(daemon: &Daemon, headers: &str, request: &Value) -> TcpStream {
    let body = request.to_string();
    let head = "POST /execute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let mut stream = daemon.connect();
    write!(stream, "{head}{headers}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    stream
}

/// The answer on a connection: its status and its body.
pub(crate) fn hear(stream: TcpStream) -> (u16, Value) {
    let mut source = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let begins = head.len();
        assert_ne!(source.read_line(&mut head).unwrap(), 0, "the connection ended within {head:?}");
        if let Some(value) = head[begins..].to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    source.read_exact(&mut body).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_slice(&body).unwrap())
}

/// `queued_executions`, as `/health` has it.
pub(crate) fn queued(daemon: &Daemon) -> u64 {
    daemon.get("/health").json()["queued_executions"].as_u64().unwrap()
}

/// Bytes of memory that the daemon itself holds (`VmRSS` of proc_pid_status(5)).
pub(crate) fn resident(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// The next of a sequence that only looks random, below `limit`.
pub(crate) fn random(state: &mut u64, limit: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % limit
}

/// A control plane that wants the token which daemons under test have.
pub(crate) fn mock() -> Mock {
    Mock::start(Options { token: Some(INTERNAL_TOKEN.to_owned()), ..Options::default() }).unwrap()
}

/// Every call about the result of this execution so far.
pub(crate) fn attempts(mock: &Mock, execution_id: &str) -> Vec<Call> {
    let of_it = |call: &Call| call.kind == Kind::Result && call.execution_id.as_deref() == Some(execution_id);
    mock.calls().into_iter().filter(of_it).collect()
}

/// Waits until the result of this execution is accepted.
pub(crate) fn accepted(mock: &Mock, execution_id: &str) -> Value {
    let wanted = |call: &&Call| {
        call.kind == Kind::Result && call.accepted && call.execution_id.as_deref() == Some(execution_id)
    };
    let found = mock.wait_for(Duration::from_secs(60), |calls| calls.iter().find(wanted).cloned());
    let found = found.unwrap_or_else(|| panic!("{execution_id} was not reported: {:#?}", mock.calls()));
    (*found.body).clone()
}

/// Once the daemon has ended: each of these was accepted once, and nothing broke the document or the rules.
pub(crate) fn reported_once(mock: &Mock, daemon: Daemon, execution_ids: &[&str]) {
    drop(daemon);
    for id in execution_ids {
        let accepted = attempts(mock, id).iter().filter(|call| call.accepted).count();
        assert_eq!(accepted, 1, "{id}: {:#?}", attempts(mock, id));
    }
    assert_eq!(mock.violations(), Vec::<String>::new());
}
