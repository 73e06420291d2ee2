//! Log lines: one event each, whatever a caller sends, and never what a program is made of or says.

use conformance::{Daemon, Settings};
use serde_json::{Value, json};

const EVENTS: &str = include_str!("../../docs/log-events.md");

fn lines(daemon: &Daemon) -> Vec<Value> {
    let parsed = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    daemon.log().lines().map(parsed).collect()
}

// LG-03
#[test]
fn nothing_of_a_program_is_ever_logged() {
    let daemon = Settings::new()
        .set("LOG_LEVEL", "trace")
        .set("CONTROL_PLANE_URL", "http://127.0.0.1:9")
        .set("INTERNAL_API_TOKEN", "canary-token")
        .set("RUST_BACKTRACE", "full")
        .set("RUST_LOG", "trace")
        .start();
    let request = json!({
        "language": "python",
        "code": "import os, sys\ndef handler(event):\n    # canary-code\n    print('canary-' + 'stdout', event, os.environ['V'])\n    \
                 print('canary-' + 'stderr', file=sys.stderr)\n    raise ValueError('canary-' + 'exception')",
        "event": "canary-event",
        "stdin": "canary-stdin",
        "env_vars": {"V": "canary-environment"},
        "files": [{"path": "canary-path", "content": "canary-content"}],
    });
    let result = daemon.execute(&request).result();
    assert_eq!(result["status"], "failed");
    assert!(result["stdout"].as_str().unwrap().contains("canary-stdout"), "{result}");
    for body in [
        json!({"canary-field": "canary-value"}),
        json!({"code": "canary-code", "language": "canary-language"}),
    ] {
        assert_eq!(daemon.execute(&body).status, 400);
    }
    assert_eq!(daemon.get("/canary-route").status, 404);
    let log = daemon.log();
    assert!(log.contains("execution_completed") && log.contains("execution_refused"));
    assert!(!log.contains("canary-"), "{log}");
    // Neither does anybody see it in the command line or environment that others may read.
    let own = std::fs::read(format!("/proc/{}/cmdline", daemon.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&own).contains("canary-"));
}

// LG-02
#[test]
fn one_event_is_one_line_of_json_whatever_a_caller_sends() {
    let daemon = Daemon::default_settings();
    let json = ("content-type", "application/json");
    let forged = r#"x","level":"error","event":"forged"#;
    let body = json!({"language": "shell", "code": "printf '\\n{\"level\":\"error\"}\\n' >&2; touch \"$(printf 'a\\nb')\"",
        "execution_id": "exec_forged", "workspace": "fresh"});
    let answer =
        daemon.request("POST", "/execute", &[json, ("x-request-id", forged)], body.to_string().into());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let refused = json!({"language": "\n{\"event\":\"forged\"}\n\u{1b}[31m", "code": "x"}).to_string();
    let answer = daemon.request("POST", "/execute", &[json, ("x-request-id", forged)], refused.into());
    assert_eq!(answer.status, 400);
    for line in lines(&daemon) {
        for field in ["timestamp", "level", "event", "container_id"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
        let event = line["event"].as_str().unwrap();
        assert!(EVENTS.contains(&format!("| `{event}` |")), "not documented: {line}");
        assert!(line.to_string().len() < 8_192);
    }
    let lines = lines(&daemon);
    assert!(lines.iter().all(|line| line["event"] != "forged" && line["level"] != "error"));
    assert!(lines.iter().any(|line| line["request_id"] == forged));
}
