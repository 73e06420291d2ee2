//! Queue full.

use std::fs;

use conformance::Settings;
use serde_json::{Value, json};

use crate::alert::Alert;

const REFUSED: &str = "sandbox_executor_refusals_total{error_code=\"Executor.QueueFull\"}";
const ACTIVE: &str = "sandbox_executor_active_executions";
const QUEUED: &str = "sandbox_executor_queued_executions";

/// In the container's workspace, until the file `go` is there.
fn until_go() -> Value {
    json!({ "language": "shell", "code": "while [ ! -e go ]; do sleep 0.02; done", "timeout": 50 })
}

#[test]
fn a_full_queue_is_seen_and_is_over_when_its_work_is_done() {
    let alert = Alert::named("ExecutorQueueFull");
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).set("EXECUTOR_QUEUE", 1).start();
    assert_eq!(alert.sees(&daemon, REFUSED), 0.0);
    let request = until_go();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| daemon.execute(&request).status);
        daemon.eventually("it runs", |daemon| alert.also(daemon, ACTIVE) == 1.0);
        let second = scope.spawn(|| daemon.execute(&request).status);
        daemon.eventually("it waits", |daemon| {
            alert.also(daemon, QUEUED) == alert.also(daemon, "sandbox_executor_queue_size")
        });
        let refused = daemon.execute(&request);
        assert_eq!(
            (refused.status, refused.json()["error_code"].as_str()),
            (503, Some("Executor.QueueFull"))
        );
        assert!(refused.header("retry-after").is_some());
        assert_eq!(alert.sees(&daemon, REFUSED), 1.0);
        alert.is_logged(&daemon, "execution_refused");
        assert_eq!(alert.health(&daemon, "queued_executions"), 1);
        assert_eq!(alert.also(&daemon, ACTIVE), alert.also(&daemon, "sandbox_executor_concurrency"));
        fs::write(daemon.workspace().join("go"), "").unwrap();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (200, 200));
    });
    assert_eq!(daemon.execute(&request).status, 200);
    assert_eq!((alert.sees(&daemon, REFUSED), alert.also(&daemon, QUEUED)), (1.0, 0.0));
}

#[test]
fn one_workspace_fills_the_queue_with_slots_free_and_another_one_helps() {
    let alert = Alert::named("ExecutorQueueFull");
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 4).set("EXECUTOR_QUEUE", 1).start();
    let request = until_go();
    std::thread::scope(|scope| {
        let callers = [(), ()].map(|()| {
            let caller = scope.spawn(|| daemon.execute(&request).status);
            daemon.eventually("it came", |daemon| {
                alert.also(daemon, ACTIVE) + alert.also(daemon, QUEUED) > 0.0
            });
            caller
        });
        daemon.eventually("one waits", |daemon| alert.also(daemon, QUEUED) == 1.0);
        assert_eq!(daemon.execute(&request).status, 503);
        assert!(alert.also(&daemon, ACTIVE) < alert.also(&daemon, "sandbox_executor_concurrency"));
        // What the page says to do then.
        assert!(alert.sees(&daemon, REFUSED) > 0.0);
        let elsewhere = json!({ "language": "shell", "code": "true", "workspace": "fresh" });
        assert_eq!(daemon.execute(&elsewhere).status, 200);
        fs::write(daemon.workspace().join("go"), "").unwrap();
        assert_eq!(callers.map(|caller| caller.join().unwrap()), [200, 200]);
    });
}
