//! `GET /executions/{id}`: what is known, what was forgotten and since when, and what never was.

use conformance::{Daemon, Settings};
use serde_json::json;

use crate::asking::{at, cancel, finished, look, shell, submit, until_running};

/// Every way to ask about an execution.
fn ask(daemon: &Daemon, path: &str) -> Vec<(u16, String)> {
    let ask = |method, path: &str| {
        let answer = daemon.request(method, path, &[], Vec::new());
        if answer.status == 404 {
            assert_eq!(answer.error_code(), "Executor.NotFound", "{method} {path}");
        }
        (answer.status, answer.json()["error_detail"].as_str().unwrap_or_default().to_owned())
    };
    vec![ask("GET", path), ask("DELETE", path), ask("GET", &format!("{path}/events"))]
}

#[test]
fn the_fourth_that_finishes_makes_three_and_whoever_asks_for_the_first_is_told_since_when() {
    let daemon = Settings::new().set("RETAINED_EXECUTIONS", 3).start();
    for id in ["exec_1", "exec_2", "exec_3"] {
        daemon.execute(&shell(id, &format!("echo {id}"))).result();
    }
    assert_eq!(look(&daemon, "exec_1")["result"]["stdout"], "exec_1\n");
    daemon.execute(&shell("exec_4", "echo exec_4")).result();
    for id in ["exec_2", "exec_3", "exec_4"] {
        assert_eq!(look(&daemon, id)["result"]["stdout"], format!("{id}\n"));
    }
    let asked = ask(&daemon, &at("exec_1"));
    daemon.execute(&shell("exec_5", "true")).result();
    // To the second.
    let accepted = |id: &str| look(&daemon, id)["accepted_at"].as_str().unwrap()[..19].to_owned();
    let (before, after) = (accepted("exec_4"), accepted("exec_5"));
    for (status, detail) in asked {
        assert_eq!(status, 404);
        assert!(detail.contains("exec_1") && detail.contains("forgotten"), "{detail}");
        let when = detail.split_whitespace().find(|word| word.starts_with("20") && word.contains('T'));
        let when = &when.unwrap_or_else(|| panic!("no time in {detail:?}"))[..19];
        assert!(*before <= *when && *when <= *after, "{detail}: not from {before} to {after}");
    }
}

#[test]
fn the_id_of_a_forgotten_one_is_free_for_another_request_and_leads_to_that() {
    let daemon = Settings::new().set("RETAINED_EXECUTIONS", 1).start();
    daemon.execute(&shell("exec_mine", "echo first")).result();
    assert_eq!(daemon.execute(&shell("exec_mine", "echo second")).status, 409);
    daemon.execute(&shell("exec_other", "true")).result();
    assert_eq!(daemon.get(&at("exec_mine")).status, 404);
    assert_eq!(daemon.execute(&shell("exec_mine", "echo second")).result()["stdout"], "second\n");
    assert_eq!(look(&daemon, "exec_mine")["result"]["stdout"], "second\n");
}

#[test]
fn those_that_wait_or_run_are_never_forgotten() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).set("RETAINED_EXECUTIONS", 1).start();
    submit(&daemon, &shell("exec_long", "sleep 1000"));
    until_running(&daemon, "exec_long");
    for number in 0..5 {
        daemon.execute(&shell(&format!("exec_{number}"), "true")).result();
    }
    assert_eq!(look(&daemon, "exec_long")["state"], "running");
    assert_eq!(cancel(&daemon, "exec_long").status, 202);
    assert_eq!(finished(&daemon, "exec_long")["status"], "cancelled");
}

#[test]
fn what_never_was_is_not_there_and_is_not_said_to_have_been_forgotten() {
    let daemon = Daemon::default_settings();
    let long = "x".repeat(5000);
    for id in ["exec_unknown", "unknown", "exec_", "%65xec_unknown", "..%2f..%2fhealth", "exec_%00", &long] {
        for (status, detail) in ask(&daemon, &at(id)) {
            assert_eq!(status, 404, "{id}");
            assert!(!detail.contains("forgotten") && detail.len() < 500, "{id}: {detail}");
        }
    }
    for path in ["/executions", "/executions/", "/executions//events", "/executions/exec_a/nothing"] {
        assert_eq!(daemon.get(path).status, 404, "{path}");
    }
}

#[test]
fn an_id_is_the_same_however_its_address_is_written() {
    let daemon = Daemon::default_settings();
    daemon.execute(&shell("exec_plain-1", "true")).result();
    assert_eq!(look(&daemon, "exec_plain%2D1")["execution_id"], "exec_plain-1");
    assert_eq!(daemon.get("/executions/EXEC_plain-1").status, 404);
    let seen = look(&daemon, "exec_plain-1?x=y");
    assert_eq!((&seen["state"], seen.get("progress")), (&json!("finished"), None));
}

#[test]
fn an_id_that_is_no_text_is_refused_like_any_other_that_is_not_there() {
    let daemon = Daemon::default_settings();
    for (status, _) in ask(&daemon, &at("exec_%ff")) {
        assert_eq!(status, 404);
    }
}
