//! `Prefer: respond-async`: accepted at once, done whoever stays, and never lost after the 202.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use conformance::{Answer, Daemon, Settings};
use serde_json::{Value, json};

use crate::asking::{
    UNTIL_GO, accepted, at, attempts, begin, execute_with, finished, go, hear, in_place, look, mock, python,
    queued, reported_once, shell, submit, submit_any, until, until_it_says, until_running, until_started,
};

fn is_accepted(answer: &Answer, execution_id: &str) {
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("location"), Some(at(execution_id).as_str()));
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    let body = answer.json();
    assert_eq!(body["execution_id"], execution_id);
    assert!(["queued", "running"].contains(&body["state"].as_str().unwrap()), "{body}");
    assert!(body.get("result").is_none(), "{body}");
}

#[test]
fn a_caller_that_prefers_not_to_wait_is_told_where_to_look() {
    let daemon = Daemon::default_settings();
    for (number, preferences) in [
        &["respond-async"][..],
        &["Respond-Async"],
        &["wait=10, respond-async"],
        &["foo=bar", "respond-async"],
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("exec_{number}");
        let headers: Vec<_> = preferences.iter().map(|preference| ("prefer", *preference)).collect();
        is_accepted(&execute_with(&daemon, &headers, &shell(&id, "sleep 0.3; echo done")), &id);
        assert_eq!(finished(&daemon, &id)["stdout"], "done\n");
    }
    for other in ["wait=10", "return=minimal", "respond-asynchronously", ""] {
        let answer =
            execute_with(&daemon, &[("prefer", other)], &json!({"language": "shell", "code": "echo waited"}));
        assert_eq!(answer.result()["stdout"], "waited\n", "{other}");
        assert_eq!((answer.header("location"), answer.header("preference-applied")), (None, None));
    }
}

#[test]
fn an_id_that_was_made_for_it_is_in_the_answer_and_leads_to_it() {
    let daemon = Daemon::default_settings();
    let answer =
        submit_any(&daemon, &json!({"language": "shell", "code": "echo mine", "workspace": "fresh"}));
    let id = answer.json()["execution_id"].as_str().unwrap().to_owned();
    is_accepted(&answer, &id);
    assert_eq!(finished(&daemon, &id)["stdout"], "mine\n");
}

#[test]
fn what_is_looked_up_in_the_end_is_what_a_synchronous_caller_gets() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).start();
    let value = "def handler(event):\n    open('left', 'w').write('x')\n    return {'sum': sum(event['of'])}";
    for (request, status) in [
        (shell("exec_success", "echo out; echo err >&2"), "success"),
        (shell("exec_failed", "echo partial; exit 3"), "failed"),
        (python("exec_exception", "raise ValueError('no')"), "failed"),
        (
            json!({"language": "shell", "code": "echo partial; sleep 60", "timeout": 1, "execution_id": "exec_timeout", "workspace": "fresh"}),
            "timeout",
        ),
        (
            json!({"language": "python", "code": value, "event": {"of": [1, 2]}, "execution_id": "exec_value", "workspace": "fresh"}),
            "success",
        ),
    ] {
        let id = request["execution_id"].as_str().unwrap();
        submit(&daemon, &request);
        let looked_up = finished(&daemon, id);
        assert_eq!(looked_up["status"], status, "{looked_up}");
        assert_eq!(daemon.execute(&request).result(), looked_up);
        let started = daemon.events("execution_started");
        assert_eq!(started.iter().filter(|line| line["execution_id"] == id).count(), 1, "{started:?}");
    }
    assert_eq!(finished(&daemon, "exec_value")["return_value"], json!({"sum": 3}));
    assert_eq!(finished(&daemon, "exec_value")["artifacts"][0]["path"], "left");
}

#[test]
fn one_that_waits_knows_how_many_are_in_front_of_it_and_moves_up() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    submit(&daemon, &in_place("exec_hog", UNTIL_GO));
    until_started(&daemon);
    let ids = ["exec_a", "exec_b", "exec_c"];
    for (position, id) in ids.iter().enumerate() {
        let seen = submit(&daemon, &in_place(id, &format!("echo {id} >> order")));
        assert_eq!((&seen["state"], &seen["position"]), (&json!("queued"), &json!(position)), "{seen}");
    }
    for (position, id) in ids.iter().enumerate() {
        let seen = look(&daemon, id);
        assert_eq!((&seen["state"], &seen["position"]), (&json!("queued"), &json!(position)), "{seen}");
        assert_eq!((&seen["progress"]["phase"], seen.get("result")), (&json!("queue"), None), "{seen}");
    }
    assert_eq!(look(&daemon, "exec_hog").get("position"), None);
    assert_eq!(daemon.request("DELETE", &at("exec_a"), &[], vec![]).status, 202);
    until(&daemon, "exec_b", |seen| seen["position"] == 0);
    assert_eq!(look(&daemon, "exec_c")["position"], 1);
    go(&daemon);
    for id in ["exec_hog", "exec_b", "exec_c"] {
        assert_eq!(finished(&daemon, id)["status"], "success");
        assert_eq!(look(&daemon, id).get("position"), None);
    }
    assert_eq!(fs::read_to_string(daemon.workspace().join("order")).unwrap(), "exec_b\nexec_c\n");
}

/// Holds 64 MiB, burns CPU and says a hundred bytes and seven, on and on.
const BUSY: &str = "import sys, time
held = bytearray(b'x') * (64 << 20)
while True:
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    sys.stdout.write('x' * 100)
    sys.stdout.flush()
    sys.stderr.write('y' * 7)
    sys.stderr.flush()
";

#[test]
fn one_that_runs_shows_where_it_is_and_numbers_that_grow() {
    let daemon = Daemon::default_settings();
    submit(&daemon, &python("exec_busy", BUSY));
    let number =
        |seen: &Value, field: &str| seen["progress"][field].as_u64().unwrap_or_else(|| panic!("{seen}"));
    let first = until(&daemon, "exec_busy", |seen| {
        number(seen, "stdout_bytes") > 0 && number(seen, "memory_bytes") >= 60 << 20
    });
    assert_eq!((&first["state"], &first["progress"]["phase"]), (&json!("running"), &json!("run")), "{first}");
    assert!(first.get("result").is_none() && first.get("position").is_none(), "{first}");
    let fields = ["elapsed_ms", "cpu_time_ms", "stdout_bytes", "stderr_bytes"];
    let mut before = first.clone();
    for _ in 0..3 {
        before = until(&daemon, "exec_busy", |seen| {
            assert!(
                fields.iter().all(|field| number(seen, field) >= number(&before, field)),
                "{seen} after {before}"
            );
            fields.iter().all(|field| number(seen, field) > number(&before, field))
        });
    }
    assert_eq!(before["accepted_at"], first["accepted_at"]);
    daemon.request("DELETE", &at("exec_busy"), &[], vec![]);
    let result = finished(&daemon, "exec_busy");
    assert!(result["stdout_bytes_total"].as_u64().unwrap() >= number(&before, "stdout_bytes"), "{result}");
    assert!(look(&daemon, "exec_busy").get("progress").is_none());
}

#[test]
fn it_goes_on_when_its_caller_has_left() {
    let daemon = Daemon::default_settings();
    let caller = begin(&daemon, "Prefer: respond-async\r\n", &in_place("exec_left", UNTIL_GO));
    let (status, _) = hear(caller);
    assert_eq!(status, 202);
    until_started(&daemon);
    assert_eq!(look(&daemon, "exec_left")["state"], "running");
    go(&daemon);
    assert_eq!(finished(&daemon, "exec_left")["status"], "success");
}

#[test]
fn a_full_queue_refuses_whoever_asks_and_however() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).set("EXECUTOR_QUEUE", 1).start();
    submit(&daemon, &in_place("exec_hog", UNTIL_GO));
    until_started(&daemon);
    submit(&daemon, &shell("exec_waits", "true"));
    for headers in
        [&[][..], &[("prefer", "respond-async")], &[("accept", "text/event-stream")]] as [&[(&str, &str)]; 3]
    {
        let refused = execute_with(&daemon, headers, &shell("exec_refused", "true"));
        assert_eq!((refused.status, &*refused.error_code()), (503, "Executor.QueueFull"), "{headers:?}");
        assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        assert_eq!((refused.header("location"), refused.header("preference-applied")), (None, None));
        assert_eq!(daemon.get(&at("exec_refused")).status, 404);
    }
    // Whoever is in the queue already attaches, for which there is always room.
    assert_eq!(submit_any(&daemon, &shell("exec_waits", "true")).status, 202);
    go(&daemon);
    assert_eq!(finished(&daemon, "exec_waits")["status"], "success");
}

#[test]
fn a_request_that_cannot_be_run_is_refused_at_once_however_it_is_asked() {
    let daemon = Daemon::default_settings();
    for headers in [[("prefer", "respond-async")], [("accept", "text/event-stream")]] {
        let answer =
            execute_with(&daemon, &headers, &json!({"language": "shell", "execution_id": "exec_bad"}));
        assert_eq!((answer.status, &*answer.error_code()), (400, "Executor.ValidationError"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(daemon.get(&at("exec_bad")).status, 404);
    }
}

#[test]
fn whoever_does_not_want_to_wait_for_one_that_waits_already_is_answered_at_once() {
    for control_plane in [None, Some(mock())] {
        let mut settings = Settings::new().set("EXECUTOR_CONCURRENCY", 1);
        if let Some(mock) = &control_plane {
            settings = settings.calling(mock);
        }
        let daemon = settings.start();
        let request = shell("exec_waits", "echo waited");
        thread::scope(|scope| {
            submit(&daemon, &in_place("exec_hog", UNTIL_GO));
            until_started(&daemon);
            let waiting = scope.spawn(|| daemon.execute(&request));
            daemon.eventually("it waits", |daemon| queued(daemon) == 1);
            let caller = begin(&daemon, "Prefer: respond-async\r\n", &request);
            let answered = scope.spawn(|| hear(caller));
            let with_whom = if control_plane.is_some() { "with" } else { "without" };
            let deadline = Instant::now() + Duration::from_secs(5);
            while !answered.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
            let in_time = answered.is_finished();
            go(&daemon);
            assert_eq!(waiting.join().unwrap().result()["stdout"], "waited\n");
            let (status, seen) = answered.join().unwrap();
            assert!(in_time, "{with_whom} a control plane, the 202 came only when the run had begun");
            assert_eq!((status, &seen["state"]), (202, &json!("queued")));
        });
    }
}

#[test]
fn what_was_promised_is_reported_once_by_the_next_daemon_when_this_one_dies_right_after() {
    let mock = mock();
    let settings = || Settings::new().set("EXECUTOR_CONCURRENCY", 1).calling(&mock);
    let mut daemon = settings().start();
    let mut all = Vec::new();
    for round in 0..3 {
        // Whatever else happens to it, the first runs and the others wait.
        let ids: Vec<String> = (0..3).map(|number| format!("exec_{round}_{number}")).collect();
        for id in &ids {
            let caller = begin(&daemon, "Prefer: respond-async\r\n", &shell(id, "sleep 1000"));
            assert_eq!(hear(caller).0, 202);
        }
        daemon = daemon.kill().restart();
        all.extend(ids);
    }
    for id in &all {
        let heard = accepted(&mock, id);
        assert_eq!(
            (&heard["status"], &heard["cause"], &heard["exit_code"]),
            (&json!("crashed"), &json!("daemon_shutdown"), &json!(-1)),
            "{heard}"
        );
    }
    reported_once(&mock, daemon, &all.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_shutdown_reports_what_was_promised_and_waits_and_refuses_what_was_not() {
    let mock = mock();
    let mut daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).calling(&mock).start();
    submit(&daemon, &shell("exec_runs", "echo partial; sleep 1000"));
    until_it_says(&daemon, "exec_runs");
    submit(&daemon, &shell("exec_promised", "echo never"));
    let refused = begin(&daemon, "", &shell("exec_refused", "echo never"));
    daemon.eventually("both wait", |daemon| queued(daemon) == 2);
    // It is promised to somebody, so whoever waits for it gets its end and not a refusal.
    let attached = begin(&daemon, "", &shell("exec_promised", "echo never"));
    daemon.signal("TERM");
    let (status, body) = hear(refused);
    assert_eq!((status, &body["error_code"]), (503, &json!("Executor.ShuttingDown")), "{body}");
    // It may have come too late to attach.
    let (status, body) = hear(attached);
    assert!(
        (status == 200 && body["cause"] == "daemon_shutdown")
            || body["error_code"] == "Executor.ShuttingDown",
        "{status} {body}"
    );
    assert_eq!(daemon.wait().code(), Some(143), "{}", daemon.log());
    for (id, stdout) in [("exec_runs", "partial\n"), ("exec_promised", "")] {
        let heard = accepted(&mock, id);
        assert_eq!(
            (&heard["status"], &heard["cause"], &heard["stdout"]),
            (&json!("crashed"), &json!("daemon_shutdown"), &json!(stdout)),
            "{heard}"
        );
    }
    assert!(attempts(&mock, "exec_refused").is_empty(), "{:#?}", attempts(&mock, "exec_refused"));
    reported_once(&mock, daemon, &["exec_runs", "exec_promised"]);
}

#[test]
fn whoever_asks_again_for_a_finished_one_without_waiting_has_its_result_too() {
    let daemon = Daemon::default_settings();
    let request = shell("exec_done", "echo done");
    let result = daemon.execute(&request).result();
    let answer = submit_any(&daemon, &request);
    assert!([200, 202].contains(&answer.status), "{}", answer.text());
    let body = answer.json();
    assert!(body == result || body["result"] == result, "{body}");
    until_running_is_over(&daemon);
}

/// Nothing was started a second time.
fn until_running_is_over(daemon: &Daemon) {
    assert_eq!(daemon.log().matches("execution_started").count(), 1, "{}", daemon.log());
    // The control: one that does run is seen.
    submit(daemon, &shell("exec_control", "sleep 0.5"));
    until_running(daemon, "exec_control");
    assert_eq!(finished(daemon, "exec_control")["status"], "success");
    assert_eq!(daemon.log().matches("execution_started").count(), 2, "{}", daemon.log());
}
