//! Words for the tests of this folder.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use conformance::{Daemon, INTERNAL_TOKEN, Settings};
use control_plane_mock::{Call, Kind, Mock, Options};
use serde_json::{Value, json};

/// Longer than the longest pause between two attempts, with a machine that compiles meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A control plane that wants the token which daemons under test have.
pub(crate) fn mock() -> Mock {
    Mock::start(Options { token: Some(INTERNAL_TOKEN.to_owned()), ..Options::default() }).unwrap()
}

/// A daemon that calls it back, and has said that it is ready.
pub(crate) fn daemon(mock: &Mock) -> Daemon {
    let daemon = Settings::new().calling(mock).start();
    call(mock, |call| call.kind == Kind::Ready);
    daemon
}

/// Waits for a call. Panics with the whole journal when it does not come.
pub(crate) fn call(mock: &Mock, wanted: impl Fn(&Call) -> bool) -> Call {
    let found = mock.wait_for(PATIENCE, |calls| calls.iter().find(|call| wanted(call)).cloned());
    found.unwrap_or_else(|| panic!("no such call; there were: {:#?}", mock.calls()))
}

/// Waits until the result of this execution is accepted.
pub(crate) fn accepted(mock: &Mock, execution_id: &str) -> Call {
    call(mock, |call| {
        call.kind == Kind::Result && call.accepted && call.execution_id.as_deref() == Some(execution_id)
    })
}

/// Every call about the result of this execution so far.
pub(crate) fn attempts(mock: &Mock, execution_id: &str) -> Vec<Call> {
    let of_it = |call: &Call| call.kind == Kind::Result && call.execution_id.as_deref() == Some(execution_id);
    mock.calls().into_iter().filter(of_it).collect()
}

/// A request for a shell script with this id, in a workspace of its own.
pub(crate) fn script(execution_id: &str, code: &str) -> Value {
    json!({ "language": "shell", "code": code, "execution_id": execution_id, "workspace": "fresh" })
}

/// Nothing was said that breaks the document or the rules.
pub(crate) fn nothing_wrong(mock: &Mock) {
    assert_eq!(mock.violations(), Vec::<String>::new());
}

/// Sends a request and does not wait for its end: whoever drops this leaves, and the run goes on.
#[must_use]
pub(crate) fn begin(daemon: &Daemon, request: &Value) -> TcpStream {
    let body = request.to_string();
    let head = "POST /execute HTTP/1.1\r\nHost: daemon\r\nContent-Type: application/json\r\nContent-Length: ";
    let mut stream = daemon.connect();
    write!(stream, "{head}{}\r\n\r\n{body}", body.len()).unwrap();
    stream
}

/// The names in a directory, sorted; none when it is not there.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until a file of the results directory holds this text.
pub(crate) fn holds(daemon: &Daemon, file: &str, text: &str) {
    daemon.eventually(&format!("{file} holds {text:?}"), |daemon| {
        // The file is replaced now and then: it may be missing for a moment.
        fs::read_to_string(daemon.results().join(file)).is_ok_and(|content| content.contains(text))
    });
}

/// `pending`, `set_aside` or `let_go`, as `/health` has it.
pub(crate) fn waiting(daemon: &Daemon, what: &str) -> u64 {
    daemon.get("/health").json()["outbox"][what].as_u64().unwrap()
}

/// Everything that the control plane ever accepted about this execution, once the daemon has ended: what still waited was
/// tried once more on the way.
pub(crate) fn accepted_in_the_end(mock: &Mock, daemon: Daemon, execution_ids: &[&str]) {
    drop(daemon);
    for id in execution_ids {
        let accepted = attempts(mock, id).iter().filter(|call| call.accepted).count();
        assert_eq!(accepted, 1, "{id}: {:#?}", attempts(mock, id));
    }
}

/// Runs a tool of the system.
#[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
pub(crate) fn tool(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Every heartbeat of this execution so far.
pub(crate) fn heartbeats(mock: &Mock, execution_id: &str) -> Vec<Call> {
    let of_it =
        |call: &Call| call.kind == Kind::Heartbeat && call.execution_id.as_deref() == Some(execution_id);
    mock.calls().into_iter().filter(of_it).collect()
}

/// Every call of this kind so far.
pub(crate) fn calls_of(mock: &Mock, kind: Kind) -> Vec<Call> {
    mock.calls().into_iter().filter(|call| call.kind == kind).collect()
}

/// How long after this moment its request arrived.
pub(crate) fn arrived_after(call: &Call, moment: SystemTime) -> Duration {
    SystemTime::from(call.arrived).duration_since(moment).unwrap_or_default()
}

/// A daemon that calls this address back, wherever it leads.
pub(crate) fn calling(url: &str) -> Settings {
    Settings::new().set("CONTROL_PLANE_URL", url).set("INTERNAL_API_TOKEN", INTERNAL_TOKEN)
}

/// A request for a shell script with this id, in the container's own workspace.
pub(crate) fn script_in_place(execution_id: &str, code: &str) -> Value {
    json!({ "language": "shell", "code": code, "execution_id": execution_id })
}
