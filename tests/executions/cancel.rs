//! `DELETE /executions/{id}`: ends what waits or runs, in whatever phase, once, and everybody is told the same.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use conformance::{Daemon, Settings};
use serde_json::{Value, json};

use crate::asking::{
    UNTIL_GO, accepted, at, attempts, cancel, finished, go, in_place, is_cancelled, look, mock, python,
    queued, random, reported_once, shell, submit, until, until_it_says, until_running, until_started,
};
use crate::processes::none_is_left;
use crate::stream::Stream;

#[test]
fn whoever_waits_for_a_run_that_is_cancelled_gets_what_it_did_so_far() {
    let daemon = Daemon::default_settings();
    let request = shell("exec_cancelled", "echo file > left; echo err >&2; echo partial; sleep 1000");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| daemon.execute(&request).result());
        daemon.eventually("it is known", |daemon| daemon.get(&at("exec_cancelled")).status == 200);
        until_it_says(&daemon, "exec_cancelled");
        let asked = Instant::now();
        let answer = cancel(&daemon, "exec_cancelled");
        assert_eq!((answer.status, &answer.json()["execution_id"]), (202, &json!("exec_cancelled")));
        let result = waiting.join().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        is_cancelled(&result);
        assert_eq!(result["stdout"], "partial\n");
        assert!(result["stderr"].as_str().unwrap().starts_with("err\n"), "{result}");
        assert!(result["cause_detail"]["message"].is_string(), "{result}");
        let artifact = &result["artifacts"][0];
        assert_eq!((&artifact["path"], &artifact["size"]), (&json!("left"), &json!(5)), "{result}");
        assert_eq!(look(&daemon, "exec_cancelled")["result"], result);
    });
}

#[test]
fn every_caller_of_a_cancelled_run_is_told_the_same() {
    let daemon = Daemon::default_settings();
    let request = shell("exec_shared", "echo partial; sleep 1000");
    thread::scope(|scope| {
        submit(&daemon, &request);
        until_it_says(&daemon, "exec_shared");
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| daemon.execute(&request).result())).collect();
        let followers: Vec<_> = (0..4).map(|_| Stream::from_start(&daemon, &request)).collect();
        cancel(&daemon, "exec_shared");
        let result = finished(&daemon, "exec_shared");
        is_cancelled(&result);
        waiting.into_iter().for_each(|caller| assert_eq!(caller.join().unwrap(), result));
        followers.into_iter().for_each(|stream| assert_eq!(*stream.story().result(), result));
    });
}

#[test]
fn one_that_waits_never_runs_and_gives_its_place_to_those_behind() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).set("EXECUTOR_QUEUE", 2).start();
    submit(&daemon, &in_place("exec_hog", UNTIL_GO));
    until_started(&daemon);
    let unwanted = in_place("exec_unwanted", "echo unwanted >> ran");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| daemon.execute(&unwanted).result());
        daemon.eventually("it waits", |daemon| queued(daemon) == 1);
        submit(&daemon, &in_place("exec_next", "echo next >> ran"));
        assert_eq!(cancel(&daemon, "exec_unwanted").status, 202);
        let result = waiting.join().unwrap();
        is_cancelled(&result);
        assert_eq!((&result["stdout"], &result["execution_time"]), (&json!(""), &json!(0.0)), "{result}");
        assert_eq!(finished(&daemon, "exec_unwanted"), result);
    });
    until(&daemon, "exec_next", |seen| seen["position"] == 0);
    assert_eq!(queued(&daemon), 1);
    // There is room again.
    submit(&daemon, &in_place("exec_last", "echo last >> ran"));
    go(&daemon);
    assert_eq!(finished(&daemon, "exec_last")["status"], "success");
    assert_eq!(std::fs::read_to_string(daemon.workspace().join("ran")).unwrap(), "next\nlast\n");
}

#[test]
fn its_slot_and_its_workspace_are_free_for_the_next_one() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    submit(&daemon, &in_place("exec_first", "echo mine > mine; touch started; sleep 1000"));
    until_started(&daemon);
    submit(&daemon, &in_place("exec_second", "cat mine"));
    assert_eq!(look(&daemon, "exec_second")["state"], "queued");
    assert_eq!(cancel(&daemon, "exec_first").status, 202);
    assert_eq!(finished(&daemon, "exec_second")["stdout"], "mine\n");
}

#[test]
fn cancelling_twice_or_after_the_end_changes_nothing() {
    let daemon = Daemon::default_settings();
    submit(&daemon, &shell("exec_cancelled", "sleep 1000"));
    until_running(&daemon, "exec_cancelled");
    let statuses: Vec<u16> = thread::scope(|scope| {
        let asking: Vec<_> =
            (0..8).map(|_| scope.spawn(|| cancel(&daemon, "exec_cancelled").status)).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(
        statuses.contains(&202) && statuses.iter().all(|status| [200, 202].contains(status)),
        "{statuses:?}"
    );
    let result = finished(&daemon, "exec_cancelled");
    is_cancelled(&result);
    let done = daemon.execute(&shell("exec_done", "echo done")).result();
    for (id, result) in [("exec_cancelled", &result), ("exec_done", &done)] {
        for _ in 0..2 {
            let answer = cancel(&daemon, id);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!((&answer.json()["state"], &answer.json()["result"]), (&json!("finished"), result));
        }
        assert_eq!(look(&daemon, id)["result"], *result);
    }
    let unknown = cancel(&daemon, "exec_unknown");
    assert_eq!((unknown.status, &*unknown.error_code()), (404, "Executor.NotFound"));
}

// LC-05
#[test]
fn whenever_it_is_cancelled_it_ends_once_as_cancelled_or_as_it_would_have() {
    let mock = mock();
    let daemon =
        Settings::new().set("EXECUTOR_CONCURRENCY", 2).set("EXECUTOR_QUEUE", 60).calling(&mock).start();
    let ids: Vec<String> = (0..50).map(|number| format!("exec_{number:02}")).collect();
    thread::scope(|scope| {
        for share in 0..3_usize {
            let (daemon, ids) = (&daemon, &ids);
            scope.spawn(move || {
                let mut state = share as u64 + 1;
                for number in (share..50).step_by(3) {
                    let id = &ids[number];
                    let request = match number % 5 {
                        0 => shell(id, "true"),
                        1 => shell(id, "sleep 1000"),
                        2 => python(id, "print('hello')"),
                        3 => python(id, "import time\ntime.sleep(1000)"),
                        _ => in_place(id, "sleep 1000 & sleep 1000"),
                    };
                    submit(daemon, &request);
                    // By chance: whatever phase it is in then is one to be cancelled in.
                    thread::sleep(Duration::from_micros(random(&mut state, 40_000)));
                    let status = cancel(daemon, id).status;
                    assert!([200, 202].contains(&status), "{id}: {status}");
                }
            });
        }
    });
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    for (number, id) in ids.iter().enumerate() {
        let result = finished(&daemon, id);
        let status = result["status"].as_str().unwrap().to_owned();
        let by_itself = number % 5 == 0 || number % 5 == 2;
        assert!(status == "cancelled" || (by_itself && status == "success"), "{id}: {result}");
        assert_eq!(accepted(&mock, id), result);
        *endings.entry(status).or_default() += 1;
    }
    eprintln!("{endings:?}");
    assert_eq!(daemon.log().matches("execution_completed").count(), 50, "{}", daemon.log());
    assert!(
        daemon.events("execution_failed").is_empty() && daemon.events("cleanup_failed").is_empty(),
        "{}",
        daemon.log()
    );
    reported_once(&mock, daemon, &ids.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn the_control_plane_hears_that_a_run_was_cancelled_whether_it_ran_or_waited() {
    let mock = mock();
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).calling(&mock).start();
    submit(&daemon, &shell("exec_runs", "echo partial; sleep 1000"));
    until_it_says(&daemon, "exec_runs");
    submit(&daemon, &shell("exec_waits", "echo never"));
    for id in ["exec_waits", "exec_runs"] {
        assert_eq!(cancel(&daemon, id).status, 202);
    }
    for (id, stdout) in [("exec_runs", "partial\n"), ("exec_waits", "")] {
        let heard = accepted(&mock, id);
        is_cancelled(&heard);
        assert_eq!((&heard["stdout"], &heard), (&json!(stdout), &finished(&daemon, id)));
    }
    reported_once(&mock, daemon, &["exec_runs", "exec_waits"]);
}

#[test]
fn a_control_plane_of_the_first_generation_hears_failed_with_the_cause() {
    let mock = mock();
    let daemon = Settings::new().calling(&mock).set("CALLBACK_FORMAT", "compact").start();
    submit(&daemon, &shell("exec_cancelled", "sleep 1000"));
    until_running(&daemon, "exec_cancelled");
    cancel(&daemon, "exec_cancelled");
    let heard = accepted(&mock, "exec_cancelled");
    assert_eq!((&heard["status"], &heard["cause"]), (&json!("failed"), &json!("cancelled")), "{heard}");
    is_cancelled(&finished(&daemon, "exec_cancelled"));
    // The document is that of the full form, so only the count is of interest here.
    drop(daemon);
    assert_eq!(attempts(&mock, "exec_cancelled").iter().filter(|call| call.accepted).count(), 1);
}

#[test]
fn one_that_was_cancelled_and_whose_daemon_then_dies_is_reported_once_as_it_ended() {
    let mock = mock();
    let daemon = Settings::new().calling(&mock).start();
    submit(&daemon, &shell("exec_cancelled", "sleep 1000"));
    until_running(&daemon, "exec_cancelled");
    mock.refuse_connections();
    cancel(&daemon, "exec_cancelled");
    let result = finished(&daemon, "exec_cancelled");
    let next = daemon.kill().restart();
    assert_eq!(look(&next, "exec_cancelled")["result"], result);
    mock.accept_connections();
    let heard: Value = accepted(&mock, "exec_cancelled");
    is_cancelled(&heard);
    assert_eq!(heard, result);
    reported_once(&mock, next, &["exec_cancelled"]);
}

// LC-05
#[test]
fn one_that_is_cancelled_while_its_sandbox_starts_leaves_no_process_behind() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 16).start();
    // Sandboxes are started one after another: of so many at once, most wait for that when they are cancelled.
    thread::scope(|scope| {
        for share in 0..16 {
            let daemon = &daemon;
            scope.spawn(move || {
                for number in 0..10 {
                    let id = format!("exec_{share}_{number}");
                    submit(daemon, &shell(&id, "sleep 1000"));
                    assert_eq!(cancel(daemon, &id).status, 202);
                    is_cancelled(&finished(daemon, &id));
                }
            });
        }
    });
    none_is_left(daemon.home(), Some(daemon.pid()));
    // Those that are dead and that nobody waited for, the harness looks for.
    daemon.settle();
}
