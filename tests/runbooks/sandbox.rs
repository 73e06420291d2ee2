//! Sandbox errors.

use std::fs;
use std::process::Command;

use conformance::{Daemon, Settings, can, is_root};
use serde_json::json;

use crate::alert::Alert;

/// Bubblewrap is there again for the daemon when this is dropped.
pub(crate) struct Hidden<'a>(&'a Daemon);

pub(crate) fn hide_bubblewrap(daemon: &Daemon) -> Hidden<'_> {
    in_mounts_of(daemon, &["mount", "--bind", "/dev/null", "/usr/bin/bwrap"]);
    Hidden(daemon)
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        in_mounts_of(self.0, &["umount", "/usr/bin/bwrap"]);
    }
}

/// Runs a tool where the daemon sees its effect and nobody else does.
fn in_mounts_of(daemon: &Daemon, arguments: &[&str]) {
    let pid = daemon.pid().to_string();
    #[expect(clippy::disallowed_methods, reason = "the test's own child, not the daemon's")]
    let mut nsenter = Command::new("/usr/bin/nsenter");
    let status = nsenter.args(["--target", &pid, "--mount"]).args(arguments).status().unwrap();
    assert!(status.success(), "{arguments:?}");
}

const ERRORS: &str = "sandbox_executor_executions_total{cause=\"sandbox_error\"}";

#[test]
fn a_workspace_that_was_removed_is_seen_and_over_when_it_is_back() {
    let alert = Alert::named("ExecutorSandboxErrors");
    let daemon = Daemon::default_settings();
    let moved = daemon.home().join("moved");
    let request = json!({ "language": "shell", "code": "true" });
    assert_eq!(daemon.execute(&request).result()["status"], "success");
    assert_eq!(alert.sees(&daemon, ERRORS), 0.0);
    fs::rename(daemon.workspace(), &moved).unwrap();
    let result = daemon.execute(&request).result();
    assert_eq!(
        (&result["status"], &result["cause"]),
        (&json!("error"), &json!("sandbox_error")),
        "{result:#}"
    );
    assert_eq!(alert.sees(&daemon, ERRORS), 1.0);
    alert.is_logged(&daemon, "execution_failed");
    let told = &daemon.events("execution_failed")[0];
    assert!(told["stage"] == "workspace" && told["error"].is_string(), "{told}");
    assert!(alert.health(&daemon, "reason").is_string());
    assert_eq!(daemon.get("/health/ready").status, 503);
    fs::rename(&moved, daemon.workspace()).unwrap();
    assert_eq!(daemon.execute(&request).result()["status"], "success");
    assert_eq!((alert.sees(&daemon, ERRORS), daemon.get("/health/ready").status), (1.0, 200));
}

#[test]
fn a_machine_that_cannot_build_a_sandbox_any_more_is_seen() {
    if !can(is_root(), "only root can hide bubblewrap from a daemon") {
        return;
    }
    let alert = Alert::named("ExecutorSandboxErrors");
    let daemon = Settings::new().without_cgroups().start();
    let hidden = hide_bubblewrap(&daemon);
    // Two were begun before.
    daemon.eventually("runs fail", |daemon| {
        daemon.run("shell", "true");
        alert.sees(daemon, ERRORS) > 0.0
    });
    alert.is_logged(&daemon, "execution_failed");
    drop(hidden);
    assert_eq!(daemon.run("shell", "true")["status"], "success");
}
