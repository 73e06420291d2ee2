//! `on_disconnect`: what becomes of a run when the caller that waits for it leaves.

use std::thread;
use std::time::{Duration, Instant};

use conformance::{Daemon, Settings, processes};
use serde_json::{Value, json};

use crate::asking::{
    UNTIL_GO, begin, cancel, finished, go, hear, in_place, is_cancelled, look, queued, shell, submit,
    until_it_says, until_started,
};
use crate::stream::Stream;

fn with(on_disconnect: &str, mut request: Value) -> Value {
    request["on_disconnect"] = json!(on_disconnect);
    request
}

/// Waits until it is over, at most so long.
fn over_within(daemon: &Daemon, id: &str, patience: Duration) -> Value {
    let left = Instant::now();
    let result = finished(daemon, id);
    assert!(left.elapsed() < patience, "it was over only {:?} after its caller had left", left.elapsed());
    result
}

// LC-16
#[test]
fn a_run_whose_caller_leaves_is_cancelled_where_that_was_asked_for() {
    let daemon = Daemon::default_settings();
    let mut request =
        with("cancel", in_place("exec_left", "echo partial; touch started; sleep 1000 & sleep 1000"));
    let marker = format!("left-{}-{}", std::process::id(), daemon.pid());
    request["env_vars"] = json!({ "MARKER": marker });
    let caller = begin(&daemon, "", &request);
    until_started(&daemon);
    until_it_says(&daemon, "exec_left");
    drop(caller);
    let result = over_within(&daemon, "exec_left", Duration::from_secs(5));
    is_cancelled(&result);
    assert_eq!(result["stdout"], "partial\n");
    assert!(processes::mentioning(&marker).is_empty());
}

#[test]
fn one_that_waits_is_cancelled_too_and_never_runs() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    submit(&daemon, &in_place("exec_hog", UNTIL_GO));
    until_started(&daemon);
    let caller = begin(&daemon, "", &with("cancel", in_place("exec_waits", "touch never")));
    daemon.eventually("it waits", |daemon| queued(daemon) == 1);
    drop(caller);
    is_cancelled(&over_within(&daemon, "exec_waits", Duration::from_secs(5)));
    assert_eq!(queued(&daemon), 0);
    go(&daemon);
    finished(&daemon, "exec_hog");
    assert!(!daemon.workspace().join("never").exists());
}

#[test]
fn a_run_that_talks_is_cancelled_when_the_caller_that_follows_it_leaves() {
    let daemon = Daemon::default_settings();
    let code = "while true; do echo talking; sleep 0.05; done";
    let mut stream = Stream::from_start(&daemon, &with("cancel", shell("exec_talks", code)));
    while stream.next().unwrap().name != "stdout" {}
    drop(stream);
    let result = over_within(&daemon, "exec_talks", Duration::from_secs(5));
    is_cancelled(&result);
    assert!(result["stdout"].as_str().unwrap().starts_with("talking\n"), "{result}");
}

#[test]
fn a_run_that_is_silent_is_cancelled_when_the_caller_that_follows_it_leaves() {
    let daemon = Daemon::default_settings();
    let mut stream = Stream::from_start(&daemon, &with("cancel", shell("exec_silent", "sleep 1000")));
    assert_eq!(stream.next().unwrap().name, "started");
    drop(stream);
    is_cancelled(&over_within(&daemon, "exec_silent", Duration::from_secs(5)));
}

#[test]
fn one_that_waits_is_cancelled_when_the_caller_that_follows_it_leaves() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    submit(&daemon, &in_place("exec_hog", UNTIL_GO));
    until_started(&daemon);
    let stream = Stream::from_start(&daemon, &with("cancel", in_place("exec_waits", "touch never")));
    assert_eq!(queued(&daemon), 1);
    drop(stream);
    is_cancelled(&over_within(&daemon, "exec_waits", Duration::from_secs(5)));
    go(&daemon);
    finished(&daemon, "exec_hog");
    assert!(!daemon.workspace().join("never").exists());
}

/// What happens to a run that its caller leaves and that then has all it needs to end by itself.
fn goes_on(daemon: &Daemon, id: &str) {
    // The daemon has noticed, whatever it makes of it, once it has served somebody else a few times.
    for _ in 0..20 {
        assert_eq!(look(daemon, id)["state"], "running");
        thread::sleep(Duration::from_millis(10));
    }
    go(daemon);
    let result = finished(daemon, id);
    assert_eq!(
        (&result["status"], &result["stdout"]),
        (&json!("success"), &json!("to the end\n")),
        "{result}"
    );
}

#[test]
fn a_run_goes_on_without_its_caller_where_nothing_else_was_asked_for() {
    for on_disconnect in [Value::Null, json!("continue")] {
        let daemon = Daemon::default_settings();
        let mut request = in_place("exec_left", &format!("{UNTIL_GO}; echo to the end"));
        if !on_disconnect.is_null() {
            request["on_disconnect"] = on_disconnect;
        }
        let caller = begin(&daemon, "", &request);
        let stream = Stream::from_start(&daemon, &request);
        until_started(&daemon);
        drop(caller);
        drop(stream);
        goes_on(&daemon, "exec_left");
    }
}

#[test]
fn a_caller_that_never_waited_cannot_leave() {
    let daemon = Daemon::default_settings();
    let request = with("cancel", in_place("exec_left", &format!("{UNTIL_GO}; echo to the end")));
    let (status, _) = hear(begin(&daemon, "Prefer: respond-async\r\n", &request));
    assert_eq!(status, 202);
    until_started(&daemon);
    goes_on(&daemon, "exec_left");
}

#[test]
fn somebody_who_only_looks_on_may_leave() {
    let daemon = Daemon::default_settings();
    let request = with("cancel", in_place("exec_watched", &format!("{UNTIL_GO}; echo to the end")));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| daemon.execute(&request).result());
        until_started(&daemon);
        let mut stream = Stream::of(&daemon, "exec_watched");
        assert_eq!(stream.next().unwrap().name, "started");
        drop(stream);
        goes_on(&daemon, "exec_watched");
        assert_eq!(waiting.join().unwrap()["stdout"], "to the end\n");
    });
}

#[test]
fn a_caller_that_leaves_when_it_has_its_answer_changes_nothing() {
    let daemon = Daemon::default_settings();
    let request = with("cancel", shell("exec_done", "echo done"));
    let (status, result) = hear(begin(&daemon, "Connection: close\r\n", &request));
    assert_eq!((status, &result["status"]), (200, &json!("success")));
    drop(Stream::from_start(&daemon, &request));
    assert_eq!(cancel(&daemon, "exec_done").json()["result"], result);
    assert_eq!(look(&daemon, "exec_done")["result"], result);
}

#[test]
fn anything_but_the_two_words_is_refused_by_name() {
    let daemon = Daemon::default_settings();
    for value in
        [json!("stop"), json!("Cancel"), json!(""), json!(true), json!(1), json!(["cancel"]), json!({})]
    {
        let mut request = shell("exec_bad", "true");
        request["on_disconnect"] = value;
        let answer = daemon.execute(&request);
        assert_eq!((answer.status, &*answer.error_code()), (400, "Executor.ValidationError"), "{request}");
        let problems = answer.json()["problems"].clone();
        assert_eq!(problems[0]["field"], "on_disconnect", "{problems}");
        let message = problems[0]["message"].as_str().unwrap();
        let told = if request["on_disconnect"].is_string() { "cancel" } else { "must be a string" };
        assert!(message.contains(told), "{problems}");
    }
    let mut request = shell("exec_null", "true");
    request["on_disconnect"] = Value::Null;
    assert_eq!(daemon.execute(&request).status, 200);
}
