//! Who runs, who waits and who is refused.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use conformance::processes::{self, Process};
use conformance::{Daemon, Settings};
use serde_json::{Value, json};

/// Runs in the container's own workspace until the file `go` appears there.
const UNTIL_GO: &str = "touch started; while [ ! -e go ]; do sleep 0.02; done";

fn shell(code: &str) -> Value {
    json!({"language": "shell", "code": code})
}

fn health(daemon: &Daemon, field: &str) -> u64 {
    daemon.get("/health").json()[field].as_u64().unwrap()
}

fn until_queued(daemon: &Daemon, count: u64) {
    daemon.eventually("they wait", |daemon| health(daemon, "queued_executions") == count);
}

/// When a program began and ended, in nanoseconds, as it printed them itself.
fn span(result: &Value) -> (u64, u64) {
    let stdout = result["stdout"].as_str().unwrap();
    let mut numbers = stdout.split_whitespace().map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

const TIMED: &str = "date +%s%N; sleep 0.3; date +%s%N";

fn spans(daemon: &Daemon, requests: &[Value]) -> Vec<(u64, u64)> {
    thread::scope(|scope| {
        let runs: Vec<_> =
            requests.iter().map(|request| scope.spawn(|| span(&daemon.execute(request).result()))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

#[test]
fn executions_in_one_workspace_run_one_after_another() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 8).start();
    let session = json!({"language": "shell", "code": TIMED, "session_id": "s"});
    for request in [shell(TIMED), session] {
        let mut spans = spans(&daemon, &vec![request; 4]);
        spans.sort_unstable();
        assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{spans:?}");
    }
}

#[test]
fn executions_in_different_workspaces_run_side_by_side() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 4).start();
    let code = "date +%s%N; sleep 1; date +%s%N";
    let spans = spans(
        &daemon,
        &[
            json!({"language": "shell", "code": code, "session_id": "one"}),
            json!({"language": "shell", "code": code, "session_id": "two"}),
            json!({"language": "shell", "code": code, "workspace": "fresh"}),
            shell(code),
        ],
    );
    let last_start = spans.iter().map(|span| span.0).max().unwrap();
    let first_end = spans.iter().map(|span| span.1).min().unwrap();
    assert!(last_start < first_end, "{spans:?}");
}

// LC-15
#[test]
fn a_full_queue_refuses_with_retry_after_and_serves_those_who_wait_in_order() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).set("EXECUTOR_QUEUE", 3).start();
    thread::scope(|scope| {
        let daemon = &daemon;
        let hog = scope.spawn(|| daemon.execute(&shell(UNTIL_GO)));
        daemon.eventually("the first runs", |daemon| daemon.workspace().join("started").exists());
        let waiting: Vec<_> = (0..3)
            .map(|number| {
                let run = scope.spawn(move || daemon.execute(&shell(&format!("echo {number} >> order"))));
                until_queued(daemon, number + 1);
                run
            })
            .collect();
        // Neither another workspace nor a new one jumps the queue.
        for request in [shell("true"), json!({"language": "shell", "code": "true", "workspace": "fresh"})] {
            let refused = daemon.execute(&request);
            assert_eq!((refused.status, &*refused.error_code()), (503, "Executor.QueueFull"));
            let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=30).contains(&seconds), "{seconds}");
            for field in ["description", "solution", "request_id"] {
                assert!(refused.json()[field].is_string());
            }
        }
        fs::write(daemon.workspace().join("go"), "").unwrap();
        assert_eq!(hog.join().unwrap().result()["status"], "success");
        waiting.into_iter().for_each(|run| assert_eq!(run.join().unwrap().result()["status"], "success"));
    });
    assert_eq!(fs::read_to_string(daemon.workspace().join("order")).unwrap(), "0\n1\n2\n");
}

#[test]
fn without_a_queue_whoever_cannot_run_at_once_is_refused() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).set("EXECUTOR_QUEUE", 0).start();
    thread::scope(|scope| {
        let hog = scope.spawn(|| daemon.execute(&shell(UNTIL_GO)));
        daemon.eventually("the first runs", |daemon| daemon.workspace().join("started").exists());
        // A slot is free, but its workspace is not.
        assert_eq!(daemon.execute(&shell("true")).error_code(), "Executor.QueueFull");
        assert_eq!(daemon.run("shell", "echo free")["stdout"], "free\n");
        fs::write(daemon.workspace().join("go"), "").unwrap();
        assert_eq!(hog.join().unwrap().result()["status"], "success");
    });
    assert_eq!(daemon.execute(&shell("echo free")).result()["stdout"], "free\n");
}

// LC-15
#[test]
fn fifty_at_once_never_exceed_the_concurrency_and_all_are_served() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 4).set("EXECUTOR_QUEUE", 50).start();
    let done = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let is_child = |pid: u32, below: &[Process]| {
                below.iter().any(|process| process.pid == pid && process.parent == daemon.pid())
            };
            let (mut most, mut before) = (0, BTreeSet::new());
            while !done.load(Ordering::SeqCst) {
                let below = processes::below(daemon.pid());
                // Those that are built: each has its first process.
                let parents = below.iter().map(|process| process.parent);
                let now: BTreeSet<_> = parents.filter(|parent| is_child(*parent, &below)).collect();
                // A look takes a while; who is there in two of them was there together.
                most = most.max(now.intersection(&before).count());
                before = now;
                thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let runs: Vec<_> = (0..50).map(|_| scope.spawn(|| daemon.run("shell", "sleep 0.1"))).collect();
        let statuses: Vec<_> = runs.into_iter().map(|run| run.join().unwrap()["status"].clone()).collect();
        done.store(true, Ordering::SeqCst);
        assert!(statuses.iter().all(|status| status == "success"), "{statuses:?}");
        watching.join().unwrap()
    });
    assert!((2..=4).contains(&most), "{most} sandboxes at once");
}

#[test]
fn health_counts_those_who_run_and_those_who_wait() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    thread::scope(|scope| {
        let hog = scope.spawn(|| daemon.execute(&shell(UNTIL_GO)));
        daemon.eventually("the first runs", |daemon| daemon.workspace().join("started").exists());
        let other = scope.spawn(|| daemon.run("shell", "true"));
        until_queued(&daemon, 1);
        assert_eq!(health(&daemon, "active_executions"), 1);
        fs::write(daemon.workspace().join("go"), "").unwrap();
        let waited = other.join().unwrap();
        assert!(waited["metrics"]["phases_ms"]["queue"].as_f64().unwrap() > 0.0, "{waited}");
        hog.join().unwrap();
    });
    assert_eq!((health(&daemon, "active_executions"), health(&daemon, "queued_executions")), (0, 0));
}
