//! Daemons that die, and what the next one says for them: everything once, and nothing that was said already.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use conformance::{Daemon, Settings, processes};
use control_plane_mock::{Action, Call, Kind, Mock, Rule};
use serde_json::json;

use crate::support::{
    PATIENCE, accepted, accepted_in_the_end, attempts, begin, call, daemon, holds, mock, names,
    nothing_wrong, script, tool, waiting,
};

const JSON: (&str, &str) = ("content-type", "application/json");
const FOR_EVER: &str = "sleep 1000";

/// Waits until the control plane has heard that this run has come so far.
fn reached(mock: &Mock, execution_id: &str, phase: &str) {
    call(mock, |call| {
        call.kind == Kind::Heartbeat
            && call.execution_id.as_deref() == Some(execution_id)
            && (phase.is_empty() || call.body["progress"]["phase"] == phase)
    });
}

/// Starts a run that never ends by itself, and waits until it has said something that is on disk.
fn says(daemon: &Daemon, execution_id: &str) -> TcpStream {
    // The code does not hold what it prints.
    let code = format!("echo said-so\"-far\"; echo and-\"err\" >&2; {FOR_EVER}");
    let caller = begin(daemon, &script(execution_id, &code));
    holds(daemon, &format!("{execution_id}.running"), "said-so-far");
    caller
}

fn is_crashed(call: &Call) {
    let body = &*call.body;
    assert_eq!((&body["status"], &body["cause"]), (&json!("crashed"), &json!("daemon_shutdown")), "{body}");
    assert_eq!((&body["exit_code"], &body["return_value"]), (&json!(-1), &json!(null)), "{body}");
    assert!(body["stderr"].as_str().unwrap().contains("sandbox-executor: "), "{body}");
}

#[test]
fn a_run_that_dies_with_the_daemon_is_reported_once_with_what_it_said() {
    let mock = mock();
    let daemon = daemon(&mock);
    let _caller = says(&daemon, "exec_dies");
    let next = daemon.kill().restart();
    let heard = accepted(&mock, "exec_dies");
    is_crashed(&heard);
    assert_eq!(heard.body["stdout"], "said-so-far\n");
    assert!(heard.body["stderr"].as_str().unwrap().starts_with("and-err\n"), "{}", heard.body);
    assert!(heard.body["execution_time"].as_f64().unwrap() > 0.0, "{}", heard.body);
    // Of the daemon that it died with, which was like this one.
    let held = next.run("shell", "true")["isolation"].clone();
    assert!(held.is_object() && heard.body["isolation"] == held, "{held}: {}", heard.body);
    assert!(heard.idempotency_key.unwrap().starts_with("exec_dies-"));
    let taken_over = &next.events("outbox_taken_over")[0];
    assert_eq!((&taken_over["pending"], &taken_over["crashed"]), (&json!(1), &json!(1)), "{taken_over}");
    next.eventually("nothing is left on disk", |daemon| names(&daemon.results()).is_empty());
    accepted_in_the_end(&mock, next, &["exec_dies"]);
    assert_eq!(attempts(&mock, "exec_dies").len(), 1);
    nothing_wrong(&mock);
}

#[test]
fn the_request_id_and_the_trace_of_a_run_survive_the_daemon() {
    let mock = mock();
    mock.refuse_connections();
    let daemon = Settings::new().calling(&mock).start();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [JSON, ("x-request-id", "request-42"), ("traceparent", parent), ("tracestate", "rojo=1")];
    daemon.request("POST", "/execute", &headers, script("exec_traced", "true").to_string().into());
    let next = daemon.kill().restart();
    mock.accept_connections();
    let heard = accepted(&mock, "exec_traced");
    assert_eq!((&*heard.headers["x-request-id"], &*heard.headers["traceparent"]), ("request-42", parent));
    assert_eq!(heard.headers["tracestate"], "rojo=1");
    next.eventually("said so", |next| !next.events("callback_delivered").is_empty());
    let delivered = next.events("callback_delivered");
    assert_eq!(delivered[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c", "{delivered:?}");
    accepted_in_the_end(&mock, next, &["exec_traced"]);
    nothing_wrong(&mock);
}

// CP-06
#[test]
fn results_that_wait_are_delivered_by_the_next_daemon_under_the_same_keys() {
    let mock = mock();
    let daemon = daemon(&mock);
    let ids = ["exec_1", "exec_2", "exec_3", "exec_4", "exec_5"];
    let failure = Action::Status { code: 503, headers: Default::default(), body: String::new() };
    mock.script(Rule::new(failure).of_kind(Kind::Result));
    for id in ids {
        daemon.execute(&script(id, &format!("echo {id}"))).result();
        call(&mock, |call| call.kind == Kind::Result && call.execution_id.as_deref() == Some(id));
    }
    mock.refuse_connections();
    let remains = daemon.kill();
    assert_eq!(names(&remains.results()), ids.map(|id| format!("{id}.json")));
    mock.clear_script();
    let next = remains.restart();
    next.eventually("all wait again", |daemon| waiting(daemon, "pending") == 5);
    mock.accept_connections();
    for id in ids {
        let heard = accepted(&mock, id);
        assert_eq!(heard.body["stdout"], format!("{id}\n"));
        let first = &attempts(&mock, id)[0];
        assert_eq!(first.idempotency_key, heard.idempotency_key);
        assert_eq!(first.body_sha256, heard.body_sha256);
    }
    accepted_in_the_end(&mock, next, &ids);
    nothing_wrong(&mock);
}

// CP-06
#[test]
fn a_hundred_results_survive_an_outage_and_two_restarts() {
    let mock = mock();
    let first = daemon(&mock);
    mock.refuse_connections();
    let ids: Vec<String> = (0..100).map(|number| format!("exec_{number:03}")).collect();
    for id in &ids {
        first.execute(&script(id, "true")).result();
    }
    let second = first.kill().restart();
    assert_eq!(waiting(&second, "pending"), 100);
    mock.accept_connections();
    // Somewhere in the middle of it.
    accepted(&mock, &ids[50]);
    let third = second.kill().restart();
    ids.iter().for_each(|id| drop(accepted(&mock, id)));
    third.eventually("nothing is left on disk", |daemon| names(&daemon.results()).is_empty());
    accepted_in_the_end(&mock, third, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    nothing_wrong(&mock);
}

#[test]
fn a_result_that_a_caller_was_told_survives_a_daemon_that_dies_right_after() {
    let mock = mock();
    let daemon = daemon(&mock);
    mock.script(Rule::new(Action::Hold).of_kind(Kind::Result));
    let answer = daemon.execute(&script("exec_told", "echo told")).result();
    let remains = daemon.kill();
    assert_eq!(answer["callback"], "journalled");
    // That it ran may still be written beside it.
    assert!(remains.results().join("exec_told.json").exists());
    mock.clear_script();
    let next = remains.restart();
    assert_eq!(*accepted(&mock, "exec_told").body, answer);
    accepted_in_the_end(&mock, next, &["exec_told"]);
    nothing_wrong(&mock);
}

// CP-07
#[test]
fn a_daemon_that_dies_before_it_hears_that_a_result_was_accepted_says_the_same_again() {
    let mock = mock();
    let daemon = daemon(&mock);
    mock.script(Rule::new(Action::AcceptThenClose).of_kind(Kind::Result).times(1));
    daemon.execute(&script("exec_unheard", "echo hello")).result();
    accepted(&mock, "exec_unheard");
    let next = daemon.kill().restart();
    let wanted = |calls: &[Call]| calls.iter().find(|call| call.duplicate).cloned();
    let again = mock.wait_for(PATIENCE, wanted).unwrap();
    let first = &attempts(&mock, "exec_unheard")[0];
    assert_eq!((&again.idempotency_key, &again.body_sha256), (&first.idempotency_key, &first.body_sha256));
    next.eventually("409 is as good", |daemon| names(&daemon.results()).is_empty());
    accepted_in_the_end(&mock, next, &["exec_unheard"]);
    nothing_wrong(&mock);
}

#[test]
fn a_daemon_that_is_killed_twice_reports_a_crash_once() {
    let mock = mock();
    let first = daemon(&mock);
    let _caller = says(&first, "exec_dies");
    mock.refuse_connections();
    let second = first.kill().restart();
    assert_eq!(waiting(&second, "pending"), 1);
    let third = second.kill().restart();
    assert_eq!(waiting(&third, "pending"), 1);
    mock.accept_connections();
    let heard = accepted(&mock, "exec_dies");
    is_crashed(&heard);
    assert_eq!(heard.body["stdout"], "said-so-far\n");
    accepted_in_the_end(&mock, third, &["exec_dies"]);
    nothing_wrong(&mock);
}

#[test]
fn a_daemon_with_nothing_to_take_over_says_nothing_about_earlier_runs() {
    let mock = mock();
    let first = daemon(&mock);
    first.execute(&script("exec_done", "true")).result();
    accepted(&mock, "exec_done");
    first.eventually("nothing is left on disk", |daemon| names(&daemon.results()).is_empty());
    let remains = first.kill();
    mock.forget();
    let next = remains.restart();
    call(&mock, |call| call.kind == Kind::Ready);
    assert_eq!(waiting(&next, "pending"), 0);
    assert!(next.events("outbox_taken_over").is_empty());
    assert!(mock.calls().iter().all(|call| call.kind == Kind::Ready), "{:#?}", mock.calls());
    drop(next);
    assert!(attempts(&mock, "exec_done").is_empty());
    nothing_wrong(&mock);
}

#[test]
fn what_was_half_written_is_removed() {
    let mock = mock();
    let remains = daemon(&mock).kill();
    let results = remains.results();
    for name in ["exec_half.json.tmp", "exec_half.running.tmp"] {
        fs::write(results.join(name), "{\"version\":1,\"run\"").unwrap();
    }
    let next = remains.restart();
    assert_eq!(names(&results), [""; 0]);
    drop(next);
    assert!(attempts(&mock, "exec_half").is_empty());
    nothing_wrong(&mock);
}

#[test]
fn a_run_whose_file_is_torn_is_still_reported() {
    let mock = mock();
    let remains = daemon(&mock).kill();
    fs::write(remains.results().join("exec_torn.running"), "{\"version\":1,\"run\"").unwrap();
    fs::write(remains.results().join("exec_empty.running"), "").unwrap();
    let next = remains.restart();
    for id in ["exec_torn", "exec_empty"] {
        is_crashed(&accepted(&mock, id));
    }
    accepted_in_the_end(&mock, next, &["exec_torn", "exec_empty"]);
    nothing_wrong(&mock);
}

#[test]
fn a_run_that_still_waits_for_its_turn_is_reported_too() {
    let mock = mock();
    let daemon = Settings::new().calling(&mock).set("EXECUTOR_CONCURRENCY", 1).start();
    let _first = says(&daemon, "exec_runs");
    let _second = begin(&daemon, &script("exec_queues", "echo never"));
    reached(&mock, "exec_queues", "queue");
    daemon.eventually("it is on disk", |daemon| daemon.results().join("exec_queues.running").exists());
    let next = daemon.kill().restart();
    is_crashed(&accepted(&mock, "exec_runs"));
    let queued = accepted(&mock, "exec_queues");
    is_crashed(&queued);
    assert_eq!(queued.body["stdout"], "");
    accepted_in_the_end(&mock, next, &["exec_runs", "exec_queues"]);
    nothing_wrong(&mock);
}

#[test]
fn whenever_the_daemon_dies_every_run_is_reported_once() {
    let mock = mock();
    let daemon = Settings::new().calling(&mock).set("EXECUTOR_CONCURRENCY", 3).start();
    let ids: Vec<String> = (0..8).map(|number| format!("exec_{number}")).collect();
    let mut callers = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        callers.push(begin(&daemon, &script(id, &format!("sleep 0.{number}; echo done"))));
    }
    // Until each is on disk or beyond, nobody was promised anything.
    let known = |results: &Path, id: &String| {
        ["running", "json"].iter().any(|end| results.join(format!("{id}.{end}")).exists())
            || !attempts(&mock, id).is_empty()
    };
    daemon.eventually("all are accepted", |daemon| ids.iter().all(|id| known(&daemon.results(), id)));
    let third = |calls: &[Call]| {
        calls.iter().filter(|call| call.kind == Kind::Result && call.accepted).nth(2).map(drop)
    };
    mock.wait_for(PATIENCE, third).unwrap();
    let next = daemon.kill().restart();
    for id in &ids {
        let heard = accepted(&mock, id);
        assert!(heard.body["status"] == "crashed" || heard.body["stdout"] == "done\n", "{}", heard.body);
    }
    accepted_in_the_end(&mock, next, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    nothing_wrong(&mock);
}

#[test]
fn an_execution_whose_result_still_waits_is_not_run_again_by_the_next_daemon() {
    let mock = mock();
    let first = daemon(&mock);
    mock.refuse_connections();
    let request = script("exec_again", "echo hello");
    let answer = first.execute(&request).result();
    let next = first.kill().restart();
    assert_eq!(next.execute(&request).result(), answer);
    let refused = next.execute(&script("exec_again", "echo something else"));
    assert_eq!((refused.status, &*refused.error_code()), (409, "Executor.DuplicateExecution"));
    assert!(refused.text().contains("code"), "{}", refused.text());
    assert_eq!(next.run("shell", "echo others run")["stdout"], "others run\n");
    mock.accept_connections();
    assert_eq!(*accepted(&mock, "exec_again").body, answer);
    accepted_in_the_end(&mock, next, &["exec_again"]);
    nothing_wrong(&mock);
}

/// A result that waits on the disk of a dead daemon, and a file time that says something else.
fn with_time_of(mock: &Mock, time: &str) -> conformance::Remains {
    let first = daemon(mock);
    mock.refuse_connections();
    first.execute(&script("exec_clock", "echo kept")).result();
    let remains = first.kill();
    tool("touch", &["--date", time, remains.results().join("exec_clock.json").to_str().unwrap()]);
    remains
}

#[test]
fn a_result_that_looks_too_old_or_from_the_future_is_delivered_all_the_same() {
    for time in ["2 days ago", "1970-01-01", "now + 2 days", "2100-01-01"] {
        let mock = mock();
        let remains = with_time_of(&mock, time);
        mock.accept_connections();
        let next = remains.restart();
        assert_eq!(accepted(&mock, "exec_clock").body["stdout"], "kept\n", "{time}");
        accepted_in_the_end(&mock, next, &["exec_clock"]);
        nothing_wrong(&mock);
    }
}

#[test]
fn a_result_that_nobody_took_for_a_day_is_let_go_after_one_more_attempt() {
    let mock = mock();
    let remains = with_time_of(&mock, "25 hours ago");
    let next = remains.restart();
    next.eventually("it is let go", |daemon| !daemon.events("callback_let_go").is_empty());
    let gone = &next.events("callback_let_go")[0];
    assert_eq!((&gone["execution_id"], &gone["level"]), (&json!("exec_clock"), &json!("error")), "{gone}");
    assert!(gone["reason"].as_str().unwrap().contains("24 hours"), "{gone}");
    next.eventually("it is counted", |daemon| waiting(daemon, "let_go") == 1);
    assert_eq!((waiting(&next, "pending"), names(&next.results())), (0, vec![]));
    mock.accept_connections();
    call(&mock, |call| call.kind == Kind::Ready && call.number > 1);
    drop(next);
    assert!(attempts(&mock, "exec_clock").is_empty());
    nothing_wrong(&mock);
}

#[test]
fn a_result_from_the_future_is_not_let_go() {
    let mock = mock();
    let remains = with_time_of(&mock, "now + 2 years");
    let next = remains.restart();
    next.eventually("an attempt has failed", |daemon| {
        daemon.events("callback_deferred").iter().any(|event| event["execution_id"] == "exec_clock")
    });
    assert_eq!((waiting(&next, "pending"), waiting(&next, "let_go")), (1, 0));
    mock.accept_connections();
    accepted(&mock, "exec_clock");
    accepted_in_the_end(&mock, next, &["exec_clock"]);
    nothing_wrong(&mock);
}

// LC-07
#[test]
fn no_process_outlives_a_daemon_that_is_killed() {
    let mock = mock();
    let daemon = daemon(&mock);
    let marker = format!("survivor-{}-{}", std::process::id(), daemon.pid());
    let mut request =
        script("exec_stubborn", "trap '' HUP INT TERM; nohup sleep 1000 & setsid sleep 1000 & sleep 1000");
    request["env_vars"] = json!({ "MARKER": marker });
    let _caller = begin(&daemon, &request);
    reached(&mock, "exec_stubborn", "");
    daemon.eventually("all of it runs", |_| processes::mentioning(&marker).len() >= 4);
    let next = daemon.kill().restart();
    next.eventually("nothing survives", |_| processes::mentioning(&marker).is_empty());
    is_crashed(&accepted(&mock, "exec_stubborn"));
    accepted_in_the_end(&mock, next, &["exec_stubborn"]);
    nothing_wrong(&mock);
}

#[test]
fn a_daemon_that_finds_results_is_ready_before_they_are_delivered() {
    let mock = mock();
    let first = daemon(&mock);
    mock.script(Rule::new(Action::Stall { seconds: 3.0 }).of_kind(Kind::Result).times(2));
    first.execute(&script("exec_waits", "true")).result();
    let next = first.kill().restart();
    // `restart` waits for it; so does this, which runs something and is answered.
    assert_eq!(next.run("shell", "echo serves")["stdout"], "serves\n");
    assert!(attempts(&mock, "exec_waits").iter().all(|call| !call.accepted));
    call(&mock, |call| call.kind == Kind::Ready && call.number > 1);
    accepted(&mock, "exec_waits");
    accepted_in_the_end(&mock, next, &["exec_waits"]);
    nothing_wrong(&mock);
}

#[test]
fn a_file_that_cannot_be_read_keeps_no_other_run_from_being_reported() {
    let mock = mock();
    let daemon = Settings::new().calling(&mock).set("EXECUTOR_CONCURRENCY", 4).start();
    let ids = ["exec_1", "exec_2", "exec_3", "exec_4"];
    let _callers = ids.map(|id| says(&daemon, id));
    let remains = daemon.kill();
    // In whatever order the directory lists them, one comes before the last of those.
    let unreadable = ["exec_a", "exec_b", "exec_c", "exec_d", "exec_e", "exec_f"];
    for id in unreadable {
        let file = remains.results().join(format!("{id}.running"));
        fs::write(&file, "not yours").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let next = remains.restart();
    let said = |log: &str| unreadable.iter().any(|id| log.contains(id));
    next.eventually("all are reported", |_| {
        ids.iter().all(|id| attempts(&mock, id).iter().any(|call| call.accepted))
    });
    ids.iter().for_each(|id| is_crashed(&accepted(&mock, id)));
    assert!(said(&next.log()), "nobody is told of the file: {}", next.log());
    accepted_in_the_end(&mock, next, &ids);
    nothing_wrong(&mock);
}
