//! `sandbox-executor outbox`: what a person sees of what waits, and how what was refused is tried again, beside a running
//! daemon and without one.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use conformance::daemon::home;
use conformance::{Daemon, INTERNAL_TOKEN, settings};
use control_plane_mock::{Action, Call, Kind, Mock, Rule};
use serde_json::{Value, json};

use crate::support::{
    accepted, accepted_in_the_end, attempts, begin, call, daemon, holds, mock, names, nothing_wrong, script,
    waiting,
};

/// How one command ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    fn json(&self) -> Value {
        assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// One sentence on stderr, as this program's, and nothing on stdout.
    fn complaint(&self, code: i32) -> &str {
        assert_eq!((self.code, &*self.stdout), (Some(code), ""), "{self:?}");
        self.stderr.strip_prefix("sandbox-executor: ").unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// `sandbox-executor outbox …`, with nothing but the directory in its environment.
fn outbox(results: &Path, arguments: &[&str]) -> Said {
    let mut command = settings::command();
    command.env_clear().env("RESULTS_DIR", results).arg("outbox").args(arguments);
    let ended = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: ended.status.code(), stdout: text(ended.stdout), stderr: text(ended.stderr) }
}

fn refuse(mock: &Mock, execution_id: &str, code: u16) {
    let refusal = Action::Status { code, headers: Default::default(), body: String::new() };
    mock.script(Rule::new(refusal).of_execution(execution_id).of_kind(Kind::Result).times(1));
}

/// Waits until what was put back is accepted, and asks the daemon for its health meanwhile: the daemon looks every 10 s, and
/// closes a connection that was idle for so long, which a request at that very moment would meet.
fn redelivered(mock: &Mock, daemon: &Daemon, execution_id: &str) -> Call {
    daemon.eventually("it is delivered", |daemon| {
        waiting(daemon, "pending");
        attempts(mock, execution_id).iter().any(|call| call.accepted)
    });
    accepted(mock, execution_id)
}

/// Runs something that the control plane does not want, until it is set aside.
fn set_aside(mock: &Mock, daemon: &Daemon, execution_id: &str) {
    refuse(mock, execution_id, 413);
    daemon.execute(&script(execution_id, "echo kept")).result();
    daemon.eventually("it is set aside", |daemon| {
        let aside = names(&daemon.results().join("set-aside"));
        aside.iter().any(|file| file.starts_with(execution_id))
    });
}

#[test]
fn an_empty_outbox_says_so() {
    let mock = mock();
    let daemon = daemon(&mock);
    let results = daemon.results();
    let said = outbox(&results, &["list"]);
    assert_eq!((said.code, &*said.stderr), (Some(0), ""));
    assert_eq!(said.stdout, format!("nothing waits in {}\n", results.display()));
    assert_eq!(outbox(&results, &["list", "--json"]).json(), json!([]));
    assert_eq!(names(&results), [""; 0], "looking leaves nothing behind");
    nothing_wrong(&mock);
}

#[test]
fn the_list_shows_what_runs_what_waits_and_what_was_set_aside_and_why() {
    let mock = mock();
    let daemon = daemon(&mock);
    let results = daemon.results();
    set_aside(&mock, &daemon, "exec_aside");
    mock.script(Rule::new(Action::Reset).of_execution("exec_waits").of_kind(Kind::Result));
    daemon.execute(&script("exec_waits", "true")).result();
    let _caller = begin(&daemon, &script("exec_runs", "sleep 1000"));
    daemon.eventually("all are there", |_| {
        names(&results) == ["exec_runs.running", "exec_waits.json", "set-aside"]
    });

    let list = outbox(&results, &["list", "--json"]).json();
    let state = |id: &str| {
        let line = list.as_array().unwrap().iter().find(|line| line["execution_id"] == id).unwrap();
        assert!(
            line["size"].as_u64().unwrap() > 100 && line["age_seconds"].as_u64().unwrap() < 600,
            "{line}"
        );
        line["state"].clone()
    };
    assert_eq!(list.as_array().unwrap().len(), 3, "{list}");
    assert_eq!(state("exec_aside"), "set aside: http-413");
    assert_eq!(state("exec_waits"), "pending");
    assert_eq!(state("exec_runs"), "running");

    let said = outbox(&results, &["list"]);
    assert_eq!(said.code, Some(0));
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{}", said.stdout);
    for (id, state) in
        [("exec_aside", "set aside: http-413"), ("exec_waits", "pending"), ("exec_runs", "running")]
    {
        let line = lines.iter().find(|line| line.starts_with(id)).unwrap();
        assert!(line.contains(state), "{line}");
    }
    // Looking changes nothing: the daemon goes on as it was.
    mock.clear_script();
    accepted(&mock, "exec_waits");
    let mut daemon = daemon;
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(143));
    nothing_wrong(&mock);
}

#[test]
fn the_list_of_a_dead_daemon_shows_what_the_next_one_will_deliver() {
    let mock = mock();
    let first = daemon(&mock);
    mock.refuse_connections();
    first.execute(&script("exec_waits", "true")).result();
    first.eventually("an attempt has failed", |daemon| !daemon.events("callback_deferred").is_empty());
    let remains = first.kill();
    let list = outbox(&remains.results(), &["list", "--json"]).json();
    assert_eq!((&list[0]["execution_id"], &list[0]["state"]), (&json!("exec_waits"), &json!("pending")));
    mock.accept_connections();
    let next = remains.restart();
    accepted(&mock, "exec_waits");
    accepted_in_the_end(&mock, next, &["exec_waits"]);
    nothing_wrong(&mock);
}

#[test]
fn show_prints_the_run_and_its_result() {
    let mock = mock();
    let daemon = daemon(&mock);
    let results = daemon.results();
    set_aside(&mock, &daemon, "exec_aside");
    mock.script(Rule::new(Action::Reset).of_execution("exec_waits").of_kind(Kind::Result));
    let answer = daemon.execute(&script("exec_waits", "echo waits")).result();
    let _caller = begin(&daemon, &script("exec_runs", "echo said-so\"-far\"; sleep 1000"));
    holds(&daemon, "exec_runs.running", "said-so-far");

    let waits = outbox(&results, &["show", "exec_waits"]).json();
    assert_eq!(waits["result"], answer);
    assert_eq!(waits["run"]["execution_id"], "exec_waits");
    let key = waits["run"]["idempotency_key"].as_str().unwrap();
    assert_eq!(attempts(&mock, "exec_waits")[0].idempotency_key.as_deref(), Some(key));
    let aside = outbox(&results, &["show", "exec_aside"]).json();
    assert_eq!(aside["result"]["stdout"], "kept\n");
    let runs = outbox(&results, &["show", "exec_runs"]).json();
    assert_eq!(
        (&runs["result"]["status"], &runs["result"]["stdout"]),
        (&json!("crashed"), &json!("said-so-far\n"))
    );

    assert!(outbox(&results, &["show", "exec_unknown"]).complaint(1).contains("nothing of exec_unknown"));
    let mut daemon = daemon;
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(143));
    nothing_wrong(&mock);
}

#[test]
fn an_id_that_is_none_is_refused_in_one_sentence() {
    let home = home();
    for bad in ["exec_", "../../etc/passwd", "exec_a/../b", "exec_a.json", "EXEC_a", "", "exec_a\nb"] {
        for command in ["show", "retry"] {
            let said = outbox(home.path(), &[command, bad]);
            let complaint = said.complaint(1);
            assert!(complaint.contains("is no execution id") && complaint.lines().count() == 1, "{said:?}");
        }
    }
    assert_eq!(names(home.path()), [""; 0]);
}

#[test]
fn what_was_refused_is_delivered_after_a_retry() {
    let mock = mock();
    let daemon = daemon(&mock);
    let results = daemon.results();
    set_aside(&mock, &daemon, "exec_one");
    set_aside(&mock, &daemon, "exec_other");
    let said = outbox(&results, &["retry", "exec_one"]);
    let asked = Instant::now();
    assert_eq!((said.code, &*said.stderr), (Some(0), ""), "{said:?}");
    assert!(said.stdout.contains("exec_one waits again") && said.stdout.contains("1 put back"), "{said:?}");
    let heard = redelivered(&mock, &daemon, "exec_one");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    let calls = attempts(&mock, "exec_one");
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (&calls[0].idempotency_key, &calls[0].body_sha256),
        (&heard.idempotency_key, &heard.body_sha256)
    );
    daemon.eventually("it is gone", |_| names(&results) == ["set-aside"]);
    daemon.eventually("the other is left", |daemon| waiting(daemon, "set_aside") == 1);
    assert_eq!(attempts(&mock, "exec_other").len(), 1);
    // It is not there a second time.
    assert!(
        outbox(&results, &["retry", "exec_one"]).complaint(1).contains("nothing of exec_one was set aside")
    );
    accepted_in_the_end(&mock, daemon, &["exec_one"]);
    nothing_wrong(&mock);
}

#[test]
fn what_is_refused_again_is_set_aside_again() {
    let mock = mock();
    let first = daemon(&mock);
    set_aside(&mock, &first, "exec_twice");
    let remains = first.kill();
    // Without a daemon, too: the next one finds it when it starts.
    assert_eq!(outbox(&remains.results(), &["retry", "exec_twice"]).code, Some(0));
    assert_eq!(names(&remains.results().join("set-aside")), [""; 0]);
    refuse(&mock, "exec_twice", 422);
    let next = remains.restart();
    next.eventually("it is refused again", |daemon| !daemon.events("callback_set_aside").is_empty());
    let list = outbox(&next.results(), &["list", "--json"]).json();
    assert_eq!(
        (&list[0]["state"], list.as_array().unwrap().len()),
        (&json!("set aside: http-422"), 1),
        "{list}"
    );
    drop(next);
    assert_eq!(attempts(&mock, "exec_twice").len(), 2);
    nothing_wrong(&mock);
}

#[test]
fn retry_all_puts_back_what_was_refused_and_leaves_what_is_damaged() {
    let mock = mock();
    let first = daemon(&mock);
    let ids = ["exec_1", "exec_2", "exec_3"];
    ids.iter().for_each(|id| set_aside(&mock, &first, id));
    let remains = first.kill();
    let results = remains.results();
    fs::write(results.join("exec_garbage.json"), "garbage").unwrap();
    let next = remains.restart();
    next.eventually("one is damaged", |daemon| !daemon.events("callback_set_aside").is_empty());
    next.eventually("all are set aside", |_| names(&results.join("set-aside")).len() == 4);

    let complaint = outbox(&results, &["retry", "exec_garbage"]);
    assert!(complaint.complaint(1).contains("damaged"), "{complaint:?}");
    let shown = outbox(&results, &["show", "exec_garbage"]);
    assert!(shown.complaint(1).contains("is not what this daemon writes"), "{shown:?}");
    let said = outbox(&results, &["retry", "--all"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.contains("3 put back") && !said.stdout.contains("exec_garbage"), "{said:?}");
    for id in ids {
        assert_eq!(redelivered(&mock, &next, id).body["stdout"], "kept\n");
    }
    let list = outbox(&results, &["list", "--json"]).json();
    let damaged = (&list[0]["execution_id"], &list[0]["state"]);
    assert_eq!(damaged, (&json!("exec_garbage"), &json!("set aside: damaged")), "{list}");
    accepted_in_the_end(&mock, next, &ids);
    assert!(attempts(&mock, "exec_garbage").is_empty());
    nothing_wrong(&mock);
}

#[test]
fn a_retry_never_replaces_a_newer_result_of_the_same_execution() {
    let mock = mock();
    let first = daemon(&mock);
    set_aside(&mock, &first, "exec_same");
    // The next daemon does not know the id any more: it may be used again.
    let next = first.kill().restart();
    call(&mock, |call| call.kind == Kind::Ready && call.number > 1);
    mock.refuse_connections();
    next.execute(&script("exec_same", "echo newer")).result();
    next.eventually("an attempt has failed", |daemon| !daemon.events("callback_deferred").is_empty());
    let results = next.results();
    let said = outbox(&results, &["retry", "exec_same"]);
    assert!(said.complaint(1).contains("cannot put exec_same back"), "{said:?}");
    assert_eq!(outbox(&results, &["show", "exec_same"]).json()["result"]["stdout"], "newer\n");
    assert_eq!(outbox(&results, &["list", "--json"]).json().as_array().unwrap().len(), 2);
    drop(next);
    nothing_wrong(&mock);
}

#[test]
fn a_retry_takes_nothing_from_a_run_of_the_same_execution_that_is_under_way() {
    let mock = mock();
    let first = daemon(&mock);
    set_aside(&mock, &first, "exec_same");
    let next = first.kill().restart();
    let _caller = begin(&next, &script("exec_same", "echo said-so\"-far\"; sleep 1000"));
    holds(&next, "exec_same.running", "said-so-far");
    // It may be refused while the newer one runs, or work: then the older result is delivered.
    if outbox(&next.results(), &["retry", "exec_same"]).code == Some(0) {
        redelivered(&mock, &next, "exec_same");
        next.eventually("its file is gone", |daemon| !daemon.results().join("exec_same.json").exists());
    }
    assert!(next.results().join("exec_same.running").exists(), "{}", next.log());
    let last = next.kill().restart();
    let of_it = |call: &Call| call.kind == Kind::Result && call.body["status"] == "crashed";
    assert_eq!(call(&mock, of_it).body["stdout"], "said-so-far\n");
    drop(last);
    // Results and heartbeats of two runs under one id break rules of the document, which is what happened here.
    assert!(mock.violations().iter().all(|violation| violation.contains("of exec_same")));
}

#[test]
fn a_wrong_command_line_exits_with_64() {
    let home = home();
    let wrong: [&[&str]; 9] = [
        &[],
        &["forget"],
        &["list", "--wrong"],
        &["list", "exec_a"],
        &["show"],
        &["retry"],
        &["retry", "exec_a", "--all"],
        &["show", "exec_a", "exec_b"],
        &["list", "--internal-api-token", "secret"],
    ];
    for arguments in wrong {
        let said = outbox(home.path(), arguments);
        assert_eq!((said.code, &*said.stdout), (Some(64), ""), "{arguments:?}: {said:?}");
        assert!(!said.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_directory_that_is_missing_is_named_and_not_made() {
    let home = home();
    let missing = home.path().join("missing");
    for arguments in [&["list"] as &[&str], &["show", "exec_a"], &["retry", "exec_a"], &["retry", "--all"]] {
        let said = outbox(&missing, arguments);
        let complaint = said.complaint(1);
        assert!(complaint.contains("--results-dir"), "{said:?}");
        assert!(complaint.contains(missing.to_str().unwrap()), "{said:?}");
    }
    assert!(!missing.exists());
    // The flag is worth more than the variable.
    let said = outbox(&missing, &["list", "--results-dir", home.path().to_str().unwrap()]);
    assert_eq!((said.code, said.stdout.starts_with("nothing waits in ")), (Some(0), true), "{said:?}");
}

#[test]
fn no_secret_of_the_environment_is_printed() {
    let mock = mock();
    let daemon = daemon(&mock);
    let results = daemon.results();
    set_aside(&mock, &daemon, "exec_aside");
    let all: [&[&str]; 7] = [
        &["list"],
        &["list", "--json"],
        &["show", "exec_aside"],
        &["show", "exec_unknown"],
        &["list", "--help"],
        &["retry", "--wrong"],
        &["retry", "--all"],
    ];
    for arguments in all {
        let mut command = settings::command();
        command.env_clear().env("RESULTS_DIR", &results).env("LOG_LEVEL", "debug");
        command.env("CONTROL_PLANE_URL", mock.url()).env("INTERNAL_API_TOKEN", INTERNAL_TOKEN);
        command.env("EXECUTOR_API_TOKEN", INTERNAL_TOKEN);
        let ended = command.arg("outbox").args(arguments).output().unwrap();
        let said = [ended.stdout, ended.stderr].concat();
        assert!(!said.is_empty(), "{arguments:?}");
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains(INTERNAL_TOKEN), "{arguments:?}: {said}");
    }
    redelivered(&mock, &daemon, "exec_aside");
    nothing_wrong(&mock);
}
