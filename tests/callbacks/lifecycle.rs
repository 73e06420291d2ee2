//! The container's own calls: `ready` when the daemon can be asked, `exited` as the last that is heard of it, and what becomes of
//! its runs in between. Ends are promised within 2 s of the signal; half a second more is for the machine that runs the tests.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use std::{collections::BTreeSet, fs};

use conformance::{Daemon, INTERNAL_TOKEN, Settings, can, daemon as directories};
use control_plane_mock::{Action, Call, Kind, Mock, Rule};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    PATIENCE, accepted, arrived_after, attempts, call, calls_of, daemon, mock, names, nothing_wrong, script,
    script_in_place,
};

/// From the signal to the end.
const END: Duration = Duration::from_millis(2_500);

const FOR_EVER: &str = "echo partial; touch started; sleep 1000";

fn until_started(daemon: &Daemon) {
    daemon.eventually("the program runs", |daemon| daemon.workspace().join("started").exists());
}

fn ready(mock: &Mock) -> Call {
    call(mock, |call| call.kind == Kind::Ready && call.accepted)
}

/// The last call of all, and the only one of its kind.
fn exited(mock: &Mock) -> Call {
    call(mock, |call| call.kind == Kind::Exited);
    assert_eq!(calls_of(mock, Kind::Exited).len(), 1);
    let last = mock.calls().pop().unwrap();
    assert_eq!(last.kind, Kind::Exited, "{last:?}");
    last
}

/// `GET /health` of whoever listens there, as a control plane would ask: status line and body.
fn health(port: u64) -> (String, Value) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: daemon\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap())
}

fn status(code: u16) -> Action {
    Action::Status { code, headers: Default::default(), body: String::new() }
}

/// A results directory that outlives its daemons.
struct Kept(TempDir);

impl Kept {
    fn new() -> Self {
        Self(directories::home())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("results")
    }

    /// With this as `RESULTS_DIR`, and `ready` behind it.
    fn start(&self, settings: Settings, mock: &Mock) -> Daemon {
        let daemon = settings.set("RESULTS_DIR", self.dir().display()).calling(mock).start();
        daemon
            .eventually("it has said that it is ready", |daemon| !daemon.events("ready_reported").is_empty());
        daemon
    }
}

#[test]
fn ready_comes_within_two_seconds_when_the_port_answers_and_says_who_this_is() {
    let mock = mock();
    mock.script(Rule::new(Action::Hold).of_kind(Kind::Ready).times(1));
    let spawned = SystemTime::now();
    let (mut daemon, (line, health)) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let ready = call(&mock, |call| call.kind == Kind::Ready);
            health(ready.body["executor_port"].as_u64().unwrap())
        });
        let settings = Settings::new().set("POD_NAME", "pod-7").set("SESSION_ID", "session-9");
        (settings.calling(&mock).start(), asking.join().unwrap())
    });
    assert_eq!(line, "HTTP/1.1 200 OK");
    assert_eq!(health["status"], "healthy");
    assert!(mock.step());
    let ready = ready(&mock);
    assert!(arrived_after(&ready, spawned) < Duration::from_secs(2), "{:?}", arrived_after(&ready, spawned));
    assert_eq!(ready.body["executor_port"], daemon.address().port());
    for (field, wanted) in [
        ("container_id", json!("conformance")),
        ("pod_name", json!("pod-7")),
        ("session_id", json!("session-9")),
        ("version", health["version"].clone()),
        ("isolation", health["isolation"].clone()),
    ] {
        assert_eq!(ready.body[field], wanted, "{field}");
    }
    daemon.signal("TERM");
    daemon.wait();
    let exited = exited(&mock);
    for field in ["container_id", "pod_name", "session_id", "executor_port"] {
        assert_eq!(exited.body[field], ready.body[field], "{field}");
    }
    assert_eq!(calls_of(&mock, Kind::Ready).len(), 1);
    nothing_wrong(&mock);
}

#[test]
fn a_daemon_without_pod_and_session_does_not_speak_of_them() {
    let mock = mock();
    let mut daemon = daemon(&mock);
    daemon.signal("TERM");
    daemon.wait();
    for said in [ready(&mock), exited(&mock)] {
        let fields: BTreeSet<&String> = said.body.as_object().unwrap().keys().collect();
        assert!(
            !fields.iter().any(|field| ["pod_name", "session_id"].contains(&field.as_str())),
            "{fields:?}"
        );
    }
    nothing_wrong(&mock);
}

#[test]
fn ready_is_repeated_until_a_control_plane_that_was_away_has_it_and_then_never_again() {
    let mock = mock();
    mock.refuse_connections();
    let daemon = Settings::new().calling(&mock).start();
    daemon.eventually("it tries", |daemon| daemon.events("ready_deferred").len() >= 2);
    let deferred = daemon.events("ready_deferred");
    assert!(deferred[0]["error"].as_str().unwrap().contains("Connection refused"), "{deferred:?}");
    // It serves meanwhile.
    assert_eq!(daemon.run("shell", "echo early")["stdout"], "early\n");
    mock.accept_connections();
    let accepted = ready(&mock);
    // More than the longest pause that there was.
    let again = mock.wait_for(Duration::from_secs(9), |calls| {
        calls.iter().find(|call| call.kind == Kind::Ready && call.number > accepted.number).cloned()
    });
    assert!(again.is_none(), "{again:?}");
    nothing_wrong(&mock);
}

#[test]
fn ready_is_repeated_after_any_refusal() {
    let mock = mock();
    mock.script(Rule::new(status(404)).of_kind(Kind::Ready).times(1));
    mock.script(Rule::new(status(500)).of_kind(Kind::Ready).times(1));
    let daemon = Settings::new().calling(&mock).start();
    ready(&mock);
    let attempts = calls_of(&mock, Kind::Ready);
    let answers: Vec<_> = attempts.iter().map(|call| call.answer.status).collect();
    assert_eq!(answers, [Some(404), Some(500), Some(200)]);
    let messages: BTreeSet<_> =
        attempts.iter().map(|call| (call.idempotency_key.clone(), call.body_sha256.clone())).collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    daemon.eventually("it knows", |daemon| !daemon.events("ready_reported").is_empty());
    assert_eq!(daemon.events("ready_reported")[0]["attempts"], 3);
    nothing_wrong(&mock);
}

#[test]
fn a_signal_ends_it_with_exited_as_the_last_word() {
    for (signal, code, reason) in [("TERM", 143, "sigterm"), ("INT", 130, "normal")] {
        let mock = mock();
        let mut daemon = daemon(&mock);
        daemon.execute(&script("exec_before", "echo before")).result();
        let asked = (Instant::now(), SystemTime::now());
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(code), "{}", daemon.log());
        assert!(asked.0.elapsed() < END, "{:?}", asked.0.elapsed());
        let exited = exited(&mock);
        assert!(arrived_after(&exited, asked.1) < Duration::from_secs(2));
        assert_eq!((&exited.body["exit_code"], &exited.body["exit_reason"]), (&json!(code), &json!(reason)));
        assert_eq!(attempts(&mock, "exec_before").len(), 1);
        nothing_wrong(&mock);
    }
}

#[test]
fn exited_is_said_once_whatever_is_answered_and_whether_ready_was_heard_or_not() {
    let mock = mock();
    mock.script(Rule::new(Action::Hold).of_kind(Kind::Ready));
    mock.script(Rule::new(status(500)).of_kind(Kind::Exited));
    let mut daemon = Settings::new().calling(&mock).start();
    call(&mock, |call| call.kind == Kind::Ready);
    let asked = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
    assert!(asked.elapsed() < END, "{:?}", asked.elapsed());
    exited(&mock);
    assert_eq!(daemon.events("exit_unreported")[0]["error"], "the control plane answered 500");
    nothing_wrong(&mock);
}

// LC-09
#[test]
fn a_run_under_way_is_reported_crashed_before_exited_and_its_caller_is_told() {
    let mock = mock();
    let mut daemon = daemon(&mock);
    let asked = thread::scope(|scope| {
        let caller = scope.spawn(|| daemon.execute(&script_in_place("exec_cut", FOR_EVER)).result());
        until_started(&daemon);
        let asked = (Instant::now(), SystemTime::now());
        daemon.signal("TERM");
        let told = caller.join().unwrap();
        assert_eq!((&told["status"], &told["cause"]), (&json!("error"), &json!("daemon_shutdown")), "{told}");
        asked
    });
    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
    assert!(asked.0.elapsed() < END, "{:?}", asked.0.elapsed());
    let exited = exited(&mock);
    assert!(arrived_after(&exited, asked.1) < Duration::from_secs(2));
    let reports = attempts(&mock, "exec_cut");
    assert!(reports.len() == 1 && reports[0].accepted && reports[0].number < exited.number, "{reports:?}");
    let report = &reports[0].body;
    assert_eq!((&report["status"], &report["cause"]), (&json!("crashed"), &json!("daemon_shutdown")));
    assert_eq!(report["stdout"], "partial\n");
    nothing_wrong(&mock);
}

#[test]
fn a_heartbeat_that_is_held_up_does_not_cost_a_run_its_last_word() {
    let mock = mock();
    mock.script(Rule::new(Action::Stall { seconds: 60.0 }).of_kind(Kind::Heartbeat));
    let mut daemon = daemon(&mock);
    thread::scope(|scope| {
        let caller = scope.spawn(|| daemon.execute(&script_in_place("exec_beating", FOR_EVER)).result());
        until_started(&daemon);
        call(&mock, |call| call.kind == Kind::Heartbeat);
        daemon.signal("TERM");
        assert_eq!(caller.join().unwrap()["cause"], "daemon_shutdown");
    });
    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
    let reports = attempts(&mock, "exec_beating");
    assert!(reports.len() == 1 && reports[0].accepted, "{reports:?}\n{}", daemon.log());
    assert!(reports[0].number < exited(&mock).number);
    nothing_wrong(&mock);
}

/// Ends a daemon in the middle of a run while the control plane is like this, and starts the next one when it is well again.
fn ends_in_time_and_the_next_one_delivers(spoil: impl FnOnce(&Mock)) {
    let mock = mock();
    let kept = Kept::new();
    let mut daemon = kept.start(Settings::new(), &mock);
    let asked = thread::scope(|scope| {
        let caller = scope.spawn(|| daemon.execute(&script_in_place("exec_late", FOR_EVER)).result());
        until_started(&daemon);
        spoil(&mock);
        let asked = Instant::now();
        daemon.signal("TERM");
        assert_eq!(caller.join().unwrap()["cause"], "daemon_shutdown");
        asked
    });
    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
    assert!(asked.elapsed() < END, "{:?}\n{}", asked.elapsed(), daemon.log());
    assert!(attempts(&mock, "exec_late").iter().all(|call| !call.accepted));
    assert_eq!(names(&kept.dir()).iter().filter(|name| *name == "exec_late.json").count(), 1);

    mock.clear_script();
    mock.accept_connections();
    let next = kept.start(Settings::new(), &mock);
    let heard = accepted(&mock, "exec_late");
    assert_eq!((&heard.body["status"], &heard.body["cause"]), (&json!("crashed"), &json!("daemon_shutdown")));
    assert_eq!(heard.body["stdout"], "partial\n");
    next.eventually("nothing is left to deliver", |_| !kept.dir().join("exec_late.json").exists());
    drop(next);
    let accepted = attempts(&mock, "exec_late").into_iter().filter(|call| call.accepted);
    assert_eq!(accepted.count(), 1);
    nothing_wrong(&mock);
}

#[test]
fn a_control_plane_that_stalls_results_does_not_keep_a_daemon_that_ends() {
    ends_in_time_and_the_next_one_delivers(|mock| {
        mock.script(Rule::new(Action::Stall { seconds: 60.0 }).of_kind(Kind::Result));
    });
}

// LC-09
#[test]
fn a_control_plane_that_stalls_everything_does_not_keep_a_daemon_that_ends() {
    ends_in_time_and_the_next_one_delivers(|mock| {
        mock.script(Rule::new(Action::Stall { seconds: 60.0 }));
    });
}

#[test]
fn a_control_plane_that_is_away_does_not_keep_a_daemon_that_ends() {
    ends_in_time_and_the_next_one_delivers(Mock::refuse_connections);
}

#[test]
fn within_the_grace_period_a_run_is_drained_and_reported_as_it_ended() {
    let mock = mock();
    let settings = Settings::new().set("SHUTDOWN_GRACE_SECONDS", 10).calling(&mock);
    let mut daemon = settings.start();
    ready(&mock);
    thread::scope(|scope| {
        let code = "touch started; sleep 2; echo finished";
        let caller = scope.spawn(|| daemon.execute(&script_in_place("exec_drained", code)).result());
        until_started(&daemon);
        daemon.signal("TERM");
        assert_eq!(caller.join().unwrap()["stdout"], "finished\n");
    });
    let over = Instant::now();
    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
    assert!(over.elapsed() < END, "{:?}", over.elapsed());
    let reports = attempts(&mock, "exec_drained");
    assert!(reports.len() == 1 && reports[0].accepted && reports[0].number < exited(&mock).number);
    assert_eq!(
        (&reports[0].body["status"], &reports[0].body["stdout"]),
        (&json!("success"), &json!("finished\n"))
    );
    nothing_wrong(&mock);
}

#[test]
fn a_second_signal_ends_it_at_once_and_the_next_daemon_reports_the_run() {
    let mock = mock();
    let kept = Kept::new();
    let mut daemon = kept.start(Settings::new().set("SHUTDOWN_GRACE_SECONDS", 600), &mock);
    let caller = crate::support::begin(&daemon, &script_in_place("exec_twice", FOR_EVER));
    until_started(&daemon);
    daemon.signal("TERM");
    daemon.eventually("draining", |daemon| daemon.log().contains("\"draining\""));
    let asked = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    drop(caller);
    assert_eq!(attempts(&mock, "exec_twice").len(), 0);
    drop(kept.start(Settings::new(), &mock));
    let reports = attempts(&mock, "exec_twice");
    assert!(reports.len() == 1 && reports[0].accepted, "{reports:?}");
    assert_eq!(reports[0].body["status"], "crashed");
    nothing_wrong(&mock);
}

/// Starts the binary where it cannot serve, and waits for its end.
fn fails_to_start(mock: &Mock, home: &Path, name: &str, value: &str) -> Output {
    let mut command = conformance::settings::command();
    command.env_clear().env("PATH", "/usr/bin:/bin").env("CONTAINER_ID", "conformance");
    for (name, dir) in
        [("WORKSPACE_PATH", "workspace"), ("SESSIONS_PATH", "sessions"), ("RESULTS_DIR", "results")]
    {
        fs::create_dir(home.join(dir)).unwrap();
        command.env(name, home.join(dir));
    }
    command.env("EXECUTOR_HOST", "127.0.0.1").env("EXECUTOR_PORT", "0");
    command.env("CONTROL_PLANE_URL", mock.url()).env("INTERNAL_API_TOKEN", INTERNAL_TOKEN).env(name, value);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn a_daemon_that_cannot_serve_says_that_it_has_exited_with_an_error() {
    let mock = mock();
    let home = directories::home();
    let ended = fails_to_start(&mock, home.path(), "WORKSPACE_PATH", "/nowhere/to/be/found");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("the workspace /nowhere/to/be/found does not exist"), "{said}");
    let exited = exited(&mock);
    assert_eq!((&exited.body["exit_code"], &exited.body["exit_reason"]), (&json!(1), &json!("error")));
    assert_eq!(mock.calls().len(), 1, "{:?}", mock.calls());
    nothing_wrong(&mock);
}

#[test]
fn a_port_that_is_taken_ends_it_with_a_sentence_and_it_never_calls_itself_ready() {
    let mock = mock();
    let home = directories::home();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = fails_to_start(&mock, home.path(), "EXECUTOR_PORT", &port);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let sentences: Vec<&str> = said.lines().filter(|line| line.starts_with("sandbox-executor: ")).collect();
    assert!(sentences.len() == 1 && sentences[0].contains(&port), "{said}");
    assert_eq!(calls_of(&mock, Kind::Ready).len(), 0);
    nothing_wrong(&mock);
}

/// Connections of the daemon that nobody made to it.
fn connections_out(daemon: &Daemon) -> usize {
    let fds = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let targets = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let sockets: BTreeSet<String> = targets
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    // `sl local_address rem_address st … inode …`, addresses as `0100007F:1F90` (proc(5)).
    let own = format!(":{:04X}", daemon.address().port());
    let of_it = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        sockets.contains(fields[9]) && !fields[1].ends_with(&own)
    };
    ["tcp", "tcp6"]
        .map(|table| fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default())
        .iter()
        .map(|table| table.lines().skip(1).filter(of_it).count())
        .sum()
}

#[test]
fn without_a_control_plane_nothing_is_posted_and_nothing_kept() {
    if !can(linux::identity::is_root(), "looking at the daemon's descriptors takes root") {
        return;
    }
    let daemon = Settings::new().set("INTERNAL_API_TOKEN", INTERNAL_TOKEN).start();
    thread::scope(|scope| {
        let code = "touch started; while [ ! -e go ]; do sleep 0.02; done";
        let caller = scope.spawn(|| daemon.execute(&script_in_place("exec_alone", code)).result());
        until_started(&daemon);
        assert_eq!(connections_out(&daemon), 0);
        assert_eq!(names(&daemon.results()), Vec::<String>::new());
        fs::write(daemon.workspace().join("go"), "").unwrap();
        assert_eq!(caller.join().unwrap()["callback"], "off");
    });
    assert_eq!(names(&daemon.results()), Vec::<String>::new());
    // The control: with one, the same look finds a connection.
    let mock = mock();
    let other = crate::support::daemon(&mock);
    other.execute(&script("exec_told", "echo told")).result();
    accepted(&mock, "exec_told");
    assert!(connections_out(&other) > 0);
}

#[test]
fn a_request_that_waits_when_the_daemon_ends_is_refused_and_has_no_result() {
    let mock = mock();
    let kept = Kept::new();
    let mut daemon = kept.start(Settings::new().set("EXECUTOR_CONCURRENCY", 1), &mock);
    thread::scope(|scope| {
        let first = scope.spawn(|| daemon.execute(&script_in_place("exec_first", FOR_EVER)).result());
        until_started(&daemon);
        let second = scope.spawn(|| daemon.execute(&script_in_place("exec_waits", "touch never")));
        daemon.eventually("one waits", |daemon| daemon.get("/health").json()["queued_executions"] == 1);
        daemon.signal("TERM");
        let refused = second.join().unwrap();
        assert_eq!((refused.status, refused.error_code().as_str()), (503, "Executor.ShuttingDown"));
        assert_eq!(first.join().unwrap()["cause"], "daemon_shutdown");
    });
    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
    exited(&mock);
    assert!(!daemon.workspace().join("never").exists());
    assert_eq!(attempts(&mock, "exec_first").len(), 1);
    assert_eq!(attempts(&mock, "exec_waits").len(), 0);
    let left: Vec<String> = names(&kept.dir()).into_iter().filter(|name| name.contains("exec_")).collect();
    assert_eq!(left, Vec::<String>::new());
    nothing_wrong(&mock);
}
