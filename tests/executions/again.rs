//! One id stands for one request, however often it is sent and however its callers want to be answered.

use std::fs;
use std::thread;

use conformance::{Daemon, Settings};
use serde_json::json;

use crate::asking::{
    at, cancel, execute_with, finished, go, in_place, is_cancelled, look, shell, submit, submit_any,
    until_started,
};
use crate::stream::Stream;

const ONCE: &str = "echo run >> runs; touch started; echo out; echo err >&2; while [ ! -e go ]; do sleep 0.02; done; date +%s%N";

#[test]
fn callers_of_every_kind_attach_to_one_run_and_all_get_the_same_result() {
    let daemon = Daemon::default_settings();
    let request = in_place("exec_same", ONCE);
    let results = thread::scope(|scope| {
        let mut callers = Vec::new();
        for round in 0..4 {
            callers.push(scope.spawn(|| daemon.execute(&request).result()));
            callers.push(scope.spawn(|| {
                let seen = submit(&daemon, &request);
                assert_eq!(seen["execution_id"], "exec_same");
                finished(&daemon, "exec_same")
            }));
            callers.push(scope.spawn(|| {
                let story = Stream::from_start(&daemon, &request).story();
                story.is_whole();
                story.finished.unwrap()
            }));
            if round == 1 {
                // Half of them come when it runs already.
                until_started(&daemon);
                callers.push(scope.spawn(|| {
                    let story = Stream::of(&daemon, "exec_same").story();
                    story.is_whole();
                    story.finished.unwrap()
                }));
            }
        }
        daemon.eventually("all have asked", |daemon| daemon.log().contains("execution_started"));
        go(&daemon);
        callers.into_iter().map(|caller| caller.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(results[0]["status"], "success");
    assert!(results.iter().all(|result| *result == results[0]), "{results:#?}");
    // Whoever comes later gets it too.
    assert_eq!(daemon.execute(&request).result(), results[0]);
    assert_eq!(*Stream::from_start(&daemon, &request).story().result(), results[0]);
    assert_eq!(look(&daemon, "exec_same")["result"], results[0]);
    assert_eq!(fs::read_to_string(daemon.workspace().join("runs")).unwrap(), "run\n");
}

#[test]
fn another_request_with_the_id_is_told_what_differs_while_the_first_waits_runs_and_is_over() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    let first = in_place("exec_mine", ONCE);
    let mut other = first.clone();
    other["code"] = json!("echo other");
    other["stdin"] = json!("x");
    let conflicts = |state: &str| {
        for headers in [&[][..], &[("prefer", "respond-async")], &[("accept", "text/event-stream")]]
            as [&[(&str, &str)]; 3]
        {
            let answer = execute_with(&daemon, headers, &other);
            assert_eq!(
                (answer.status, &*answer.error_code()),
                (409, "Executor.DuplicateExecution"),
                "{state} {headers:?}"
            );
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let detail = answer.json()["error_detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("exec_mine") && detail.ends_with(": code, stdin"), "{detail}");
        }
    };
    submit(&daemon, &shell("exec_hog", "sleep 1000"));
    submit(&daemon, &first);
    assert_eq!(look(&daemon, "exec_mine")["state"], "queued");
    conflicts("it waits");
    cancel(&daemon, "exec_hog");
    until_started(&daemon);
    conflicts("it runs");
    go(&daemon);
    assert_eq!(finished(&daemon, "exec_mine")["status"], "success");
    conflicts("it is over");
    assert_eq!(daemon.execute(&first).result()["status"], "success");
    assert_eq!(fs::read_to_string(daemon.workspace().join("runs")).unwrap(), "run\n");
}

#[test]
fn one_that_was_cancelled_is_not_run_again_either() {
    let daemon = Daemon::default_settings();
    let request = in_place("exec_cancelled", ONCE);
    submit(&daemon, &request);
    until_started(&daemon);
    assert_eq!(cancel(&daemon, "exec_cancelled").status, 202);
    let result = finished(&daemon, "exec_cancelled");
    is_cancelled(&result);
    assert_eq!(daemon.execute(&request).result(), result);
    assert_eq!(*Stream::from_start(&daemon, &request).story().result(), result);
    assert_eq!(fs::read_to_string(daemon.workspace().join("runs")).unwrap(), "run\n");
}

#[test]
fn many_who_do_not_wait_and_come_at_once_start_one_run() {
    let daemon = Daemon::default_settings();
    for round in 0..10 {
        let id = format!("exec_{round}");
        let request = in_place(&id, &format!("echo {round} >> runs"));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(submit_any(&daemon, &request).header("location"), Some(&*at(&id))));
            }
        });
        assert_eq!(finished(&daemon, &id)["status"], "success");
    }
    let runs = fs::read_to_string(daemon.workspace().join("runs")).unwrap();
    assert_eq!(runs, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
}
