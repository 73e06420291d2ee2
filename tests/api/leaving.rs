//! Clients that leave. What they started goes on to its end; what they held is given back.

use std::fs;

use conformance::{Daemon, Settings};
use serde_json::json;

use crate::quiet::Quiet;
use crate::raw::{Conversation, post};

fn active(daemon: &Daemon) -> u64 {
    daemon.get("/health").json()["active_executions"].as_u64().unwrap()
}

fn queued(daemon: &Daemon) -> u64 {
    daemon.get("/health").json()["queued_executions"].as_u64().unwrap()
}

// LC-16
#[test]
fn a_client_that_leaves_before_its_request_is_whole_starts_nothing() {
    let daemon = Daemon::default_settings();
    let quiet = Quiet::from_now(&daemon);
    let whole = post(r#"{"code":"true","language":"shell"}"#);
    let body = whole.find("\r\n\r\n").unwrap() + 4;
    for end in [0, 1, 20, body - 2, body, body + 1, whole.len() - 1] {
        for _ in 0..20 {
            let mut conversation = Conversation::with(&daemon);
            conversation.say(&whole[..end]);
        }
    }
    daemon.eventually("no connection left", |daemon| {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
        let sockets = descriptors.filter(|entry| {
            let link = fs::read_link(entry.as_ref().unwrap().path()).unwrap_or_default();
            link.to_string_lossy().starts_with("socket:")
        });
        // The listener, the runtime's own pair, and the connections of this test's client.
        sockets.count() <= 8
    });
    quiet.still(&daemon);
}

// LC-16
#[test]
fn a_run_whose_caller_left_goes_on_to_its_end_and_frees_its_slot() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    let mut caller = Conversation::with(&daemon);
    let code = "touch started; while [ ! -e go ]; do sleep 0.02; done; echo ended > ended";
    caller.say(post(&json!({"code": code, "language": "shell", "execution_id": "exec_left"}).to_string()));
    daemon.eventually("the program runs", |daemon| daemon.workspace().join("started").exists());
    drop(caller);
    let mut waiting = Conversation::with(&daemon);
    waiting.say(post(r#"{"code":"echo too > too","language":"shell"}"#));
    daemon.eventually("a second one waits", |daemon| queued(daemon) == 1);
    // Nobody is left who wants either of them.
    drop(waiting);
    assert_eq!(active(&daemon), 1);
    fs::write(daemon.workspace().join("go"), "").unwrap();
    daemon.eventually("both ended", |daemon| {
        ["ended", "too"].iter().all(|file| daemon.workspace().join(file).exists()) && active(daemon) == 0
    });
    daemon
        .eventually("both are in the log", |daemon| daemon.log().matches("execution_completed").count() == 2);
    assert_eq!(daemon.run("shell", "echo free")["stdout"], "free\n");
    // Whoever comes back with the same request gets the result.
    let again =
        daemon.execute(&json!({"code": code, "language": "shell", "execution_id": "exec_left"})).result();
    assert_eq!(again["status"], "success");
    assert_eq!(daemon.log().matches("execution_started").count(), 3, "{}", daemon.log());
}

#[test]
fn a_client_that_does_not_read_its_large_answer_costs_only_its_connection() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    let mut deaf = Conversation::with(&daemon);
    let code = "head -c 8000000 /dev/zero | tr '\\0' x";
    deaf.say(post(&json!({"code": code, "language": "shell"}).to_string()));
    daemon.eventually("the run is over", |daemon| daemon.log().contains("execution_completed"));
    assert_eq!(daemon.run("shell", "echo free")["stdout"], "free\n");
    drop(deaf);
}
