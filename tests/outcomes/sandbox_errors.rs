//! What is not the program's fault: there is no sandbox to run it in.

use std::fs;
use std::os::unix::fs::symlink;

use std::process::Command;

use conformance::{Daemon, Settings, can, is_root};
use serde_json::{Value, json};

use crate::ask::{assert_end, run, shown, wide};

#[track_caller]
fn assert_sandbox_error(result: &Value, needle: &str) {
    assert_end(result, "error", -1, "sandbox_error");
    let message = result["cause_detail"]["message"].as_str().unwrap();
    assert!(message.contains(needle), "{}", shown(result));
    assert!(result["stderr"].as_str().unwrap().contains(message), "{}", shown(result));
    assert_eq!(
        (&result["stdout"], &result["artifacts"], &result["execution_time"]),
        (&json!(""), &json!([]), &json!(0.0))
    );
}

// AR-06, LG-05
#[test]
fn a_session_that_is_a_link_elsewhere_is_refused_and_what_it_leads_to_is_untouched() {
    let daemon = wide();
    let target = daemon.home().join("elsewhere");
    fs::create_dir(&target).unwrap();
    symlink(&target, daemon.home().join("sessions/linked")).unwrap();
    fs::write(daemon.home().join("sessions/file"), "not a directory").unwrap();
    for session in ["linked", "file"] {
        let result = run(&daemon, "shell", "echo x > x", &json!({ "session_id": session }));
        assert_sandbox_error(&result, &format!("session {session}"));
        // Where it lies is the operator's to know, not the caller's.
        let path = daemon.home().join("sessions").join(session).display().to_string();
        assert!(!result.to_string().contains(&path), "{}", shown(&result));
        daemon.eventually("the log names it", |daemon| daemon.log().contains(&path));
    }
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    // The neighbour works.
    let result = run(&daemon, "shell", "echo x > x", &json!({ "session_id": "other" }));
    assert_end(&result, "success", 0, "exit");
}

// AR-06
#[test]
fn a_workspace_that_was_replaced_is_refused() {
    let daemon = wide();
    let moved = daemon.home().join("moved");
    fs::rename(daemon.workspace(), &moved).unwrap();
    symlink("/tmp", daemon.workspace()).unwrap();
    let request = json!({ "language": "shell", "code": "echo x > x" });
    assert_sandbox_error(&daemon.execute(&request).result(), "workspace");
    fs::remove_file(daemon.workspace()).unwrap();
    assert_sandbox_error(&daemon.execute(&request).result(), "workspace");
    fs::rename(&moved, daemon.workspace()).unwrap();
    assert_end(&daemon.execute(&request).result(), "success", 0, "exit");
}

/// Runs a tool where the daemon sees its effect and nobody else does.
fn in_mounts_of(daemon: &Daemon, arguments: &[&str]) {
    let pid = daemon.pid().to_string();
    #[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
    let mut nsenter = Command::new("/usr/bin/nsenter");
    let status = nsenter.args(["--target", &pid, "--mount"]).args(arguments).status().unwrap();
    assert!(status.success(), "{arguments:?}");
}

// RC-04
#[test]
fn a_bubblewrap_that_cannot_be_executed_any_more_is_no_run_that_said_nothing() {
    if !can(is_root(), "only root can hide bubblewrap from a daemon") {
        return;
    }
    // In mounts of its own.
    let daemon = Settings::new().without_cgroups().start();
    assert_eq!(daemon.run("python", "def handler(event): return 7")["return_value"], 7);
    in_mounts_of(&daemon, &["mount", "--bind", "/dev/null", "/usr/bin/bwrap"]);
    // Two were begun before.
    for _ in 0..2 {
        assert_end(&run(&daemon, "shell", "true", &Value::Null), "success", 0, "exit");
    }
    for (language, code) in
        [("python", "def handler(event): return 7"), ("javascript", "0"), ("shell", "true")]
    {
        let result = run(&daemon, language, code, &Value::Null);
        assert_end(&result, "error", -1, "sandbox_error");
        assert_eq!(result["return_value"], Value::Null, "{}", shown(&result));
    }
    in_mounts_of(&daemon, &["umount", "/usr/bin/bwrap"]);
    assert_eq!(daemon.run("python", "def handler(event): return 7")["return_value"], 7);
}
