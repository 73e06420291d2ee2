//! Outbox growing, and control plane refuses: a control plane that is away, one that says no, and a disk that does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::{Duration, SystemTime};

use conformance::{Daemon, INTERNAL_TOKEN, Settings, is_root, settings};
use control_plane_mock::{Action, Kind, Mock, Options, Rule};
use serde_json::{Value, json};

use crate::alert::Alert;

const OLDEST: &str = "sandbox_executor_outbox_oldest_seconds";
const PENDING: &str = "sandbox_executor_outbox_pending";
const SET_ASIDE: &str = "sandbox_executor_outbox_set_aside";
const LET_GO: &str = "sandbox_executor_outbox_let_go_total";
const NOT_DURABLE: &str = "sandbox_executor_results_not_durable_total";
const RESULTS: &str = "sandbox_executor_callbacks_total{kind=\"result\"}";

fn mock() -> Mock {
    Mock::start(Options { token: Some(INTERNAL_TOKEN.to_owned()), ..Options::default() }).unwrap()
}

fn run(daemon: &Daemon, id: &str, code: &str) -> Value {
    let request = json!({ "language": "shell", "code": code, "execution_id": id, "workspace": "fresh" });
    let result = daemon.execute(&request).result();
    assert_eq!(result["status"], "success", "{result:#}");
    result
}

fn answers(mock: &Mock, code: u16) {
    let action = Action::Status { code, headers: Default::default(), body: String::new() };
    mock.script(Rule::new(action).of_kind(Kind::Result));
}

fn calls(daemon: &Daemon, result: &str) -> f64 {
    daemon.metric(&format!("sandbox_executor_callbacks_total{{kind=\"result\",result=\"{result}\"}}"))
}

#[test]
fn a_control_plane_that_is_away_is_seen_and_over_when_it_is_back() {
    let alert = Alert::named("ExecutorOutboxGrowing");
    let mock = mock();
    let daemon = Settings::new().calling(&mock).start();
    daemon.eventually("it is ready", |daemon| !daemon.events("ready_reported").is_empty());
    assert_eq!((alert.sees(&daemon, OLDEST), alert.also(&daemon, PENDING)), (0.0, 0.0));
    mock.refuse_connections();
    run(&daemon, "exec_waits", "true");
    assert_eq!((alert.also(&daemon, PENDING), alert.health(&daemon, "outbox.pending")), (1.0, json!(1)));
    let first = alert.sees(&daemon, OLDEST);
    daemon.eventually("it gets older", |daemon| alert.sees(daemon, OLDEST) > first + 1.0);
    alert.is_logged(&daemon, "callback_deferred");
    alert.is_logged(&daemon, "heartbeat_missed");
    assert!(calls(&daemon, "unanswered") > 0.0 && calls(&daemon, "accepted") == 0.0);
    // Its age is not forgotten with the daemon.
    let remains = daemon.kill();
    let file = fs::File::options().write(true).open(remains.results().join("exec_waits.json")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(7_200)).unwrap();
    let next = remains.restart();
    assert!(alert.sees(&next, OLDEST) > 7_199.0, "{}", alert.sees(&next, OLDEST));
    mock.accept_connections();
    next.eventually("it is over", |daemon| {
        alert.also(daemon, PENDING) == 0.0 && alert.sees(daemon, OLDEST) == 0.0
    });
    alert.is_logged(&next, "callback_delivered");
}

#[test]
fn a_control_plane_that_fails_is_told_from_one_that_is_away() {
    let alert = Alert::named("ExecutorOutboxGrowing");
    let mock = mock();
    let daemon = Settings::new().calling(&mock).start();
    answers(&mock, 503);
    run(&daemon, "exec_later", "true");
    daemon.eventually("it is tried again", |daemon| calls(daemon, "deferred") >= 2.0);
    assert_eq!((calls(&daemon, "unanswered"), calls(&daemon, "accepted")), (0.0, 0.0));
    assert!(alert.also(&daemon, RESULTS) >= 2.0);
    mock.clear_script();
    daemon.eventually("it is over", |daemon| alert.also(daemon, PENDING) == 0.0);
    assert_eq!(calls(&daemon, "accepted"), 1.0);
}

#[test]
fn results_that_are_given_up_are_seen() {
    let alert = Alert::named("ExecutorResultsLost");
    let mock = mock();
    let daemon = Settings::new().calling(&mock).set("RESULTS_MAX_MB", 1).start();
    daemon.eventually("it is ready", |daemon| !daemon.events("ready_reported").is_empty());
    mock.refuse_connections();
    for id in ["exec_first", "exec_second"] {
        run(&daemon, id, "head -c 700000 /dev/zero | tr '\\0' x");
    }
    daemon.eventually("one is given up", |daemon| alert.sees(daemon, LET_GO) == 1.0);
    alert.is_logged(&daemon, "callback_let_go");
    mock.accept_connections();
    daemon.eventually("the other is delivered", |daemon| alert.also(daemon, PENDING) == 0.0);
}

#[test]
fn a_directory_that_cannot_be_written_to_is_seen_and_over_when_it_can() {
    let alert = Alert::named("ExecutorResultsNotDurable");
    let mock = mock();
    let daemon = Settings::new().calling(&mock).start();
    let results = daemon.results();
    let forbid = |forbidden: bool| {
        if is_root() {
            let owner = if forbidden { 0 } else { 1000 };
            chown(&results, Some(owner), Some(owner)).unwrap();
        }
        let mode = if forbidden { 0o555 } else { 0o700 };
        fs::set_permissions(&results, fs::Permissions::from_mode(mode)).unwrap();
    };
    assert_eq!(run(&daemon, "exec_before", "true")["callback"], "journalled");
    forbid(true);
    let result = run(&daemon, "exec_during", "true");
    forbid(false);
    assert_eq!((result["callback"].as_str(), alert.sees(&daemon, NOT_DURABLE)), (Some("not_durable"), 1.0));
    alert.is_logged(&daemon, "journal_failed");
    assert_eq!(run(&daemon, "exec_after", "true")["callback"], "journalled");
    assert_eq!(alert.sees(&daemon, NOT_DURABLE), 1.0);
    daemon.eventually("all are delivered", |daemon| alert.also(daemon, PENDING) == 0.0);
}

#[test]
fn a_control_plane_that_refuses_is_seen_and_over_when_it_is_mended_and_asked_again() {
    let alert = Alert::named("ExecutorControlPlaneRefuses");
    let mock = mock();
    let daemon = Settings::new().calling(&mock).start();
    assert_eq!(alert.sees(&daemon, SET_ASIDE), 0.0);
    answers(&mock, 413);
    run(&daemon, "exec_large", "true");
    daemon.eventually("it is set aside", |daemon| alert.sees(daemon, SET_ASIDE) == 1.0);
    assert_eq!(
        alert.also(&daemon, "sandbox_executor_callbacks_total{kind=\"result\",result=\"refused\"}"),
        1.0
    );
    alert.is_logged(&daemon, "callback_set_aside");
    assert_eq!(daemon.events("callback_set_aside")[0]["http_status"], 413);
    assert_eq!(alert.health(&daemon, "outbox.set_aside"), 1);
    mock.clear_script();
    let mut retry = settings::command();
    retry.env_clear().env("RESULTS_DIR", daemon.results()).args(["outbox", "retry", "--all"]);
    assert!(retry.output().unwrap().status.success());
    daemon.eventually("it is over", |daemon| {
        alert.sees(daemon, SET_ASIDE) == 0.0 && calls(daemon, "accepted") == 1.0
    });
}
