//! What is in force is said with every result, in the words of `/health`, however the run ended.

use conformance::{Daemon, Settings, can};
use serde_json::{Value, json};

use crate::program::{Program, is_root};

/// What a result must say: of `/health` these four.
fn of_health(daemon: &Daemon) -> Value {
    let isolation = daemon.get("/health").json()["isolation"].clone();
    ["tier", "seccomp", "cgroup", "memory"]
        .map(|name| (name.to_owned(), isolation[name].clone()))
        .into_iter()
        .collect()
}

#[test]
fn every_result_says_what_held_it_however_it_ended() {
    let daemon = Daemon::default_settings();
    let expected = of_health(&daemon);
    for (status, code, more) in [
        ("success", "true", json!({})),
        ("failed", "exit 3", json!({})),
        ("failed", "kill -9 $$", json!({})),
        ("timeout", "sleep 60", json!({ "timeout": 1 })),
        ("error", "head -c 3000000 /dev/zero > big", json!({ "limits": { "max_file_mb": 1 } })),
    ] {
        let mut request = json!({ "language": "shell", "code": code, "workspace": "fresh" });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let result = daemon.execute(&request).result();
        assert_eq!(result["status"], status, "{result}");
        assert_eq!(result["isolation"], expected, "{code}: {result}");
        let id = result["execution_id"].as_str().unwrap();
        let looked_up = daemon.get(&format!("/executions/{id}")).json();
        assert_eq!(looked_up["result"]["isolation"], expected, "{looked_up}");
    }
}

#[test]
fn a_result_that_no_sandbox_made_says_what_would_have_held_it() {
    let daemon = Daemon::default_settings();
    let expected = of_health(&daemon);
    let session = daemon.home().join("sessions").join("taken");
    std::fs::write(&session, "").unwrap();
    let result =
        daemon.execute(&json!({ "language": "shell", "code": "true", "session_id": "taken" })).result();
    std::fs::remove_file(&session).unwrap();
    assert_eq!((&result["status"], &result["cause"]), (&json!("error"), &json!("sandbox_error")), "{result}");
    assert_eq!(result["isolation"], expected, "{result}");
}

#[test]
fn behind_a_masked_proc_results_say_so() {
    if !can(is_root(), "mounting takes root") {
        return;
    }
    let daemon = Settings::new().behind_masked_proc().start();
    assert_eq!(daemon.run("shell", "true")["isolation"], of_health(&daemon));
    assert_eq!(of_health(&daemon)["tier"], "shared-proc");
}

#[test]
fn run_says_it_too() {
    let daemon = Daemon::default_settings();
    let program = Program::new(&["run", "--json"]);
    let path = program.file("a.sh", "exit 3");
    let ended = program.arguments(&[&path]).run();
    let result: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["isolation"], of_health(&daemon), "{result}");
}
