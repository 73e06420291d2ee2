//! Log lines: one event each, whatever a caller sends, and never what a program is made of or says.

use std::collections::BTreeSet;

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

/// The fields of an event, as its row of the documentation lists them.
fn documented(event: &str) -> BTreeSet<&'static str> {
    let row = EVENTS.lines().find(|line| line.starts_with(&format!("| `{event}` |"))).unwrap();
    row.split('|').nth(3).unwrap().split(',').map(|field| field.trim().trim_matches('`')).collect()
}

#[test]
fn a_run_that_is_over_is_one_line_that_says_what_its_answer_says() {
    let daemon = Settings::new().set("MAX_OUTPUT_BYTES", 2_000).start();
    let code = "printf 'x%.0s' $(seq 5000); echo canary >&2; echo 1 > a; echo 2 > b; exit 3";
    let request =
        json!({"language": "shell", "code": code, "workspace": "fresh", "limits": {"memory_mb": 100}});
    let result = daemon.execute(&request).result();
    daemon.eventually("it is said", |daemon| !daemon.events("execution_completed").is_empty());
    let [line] = &daemon.events("execution_completed")[..] else { panic!("{}", daemon.log()) };
    let metrics = &result["metrics"];
    for (field, expected) in [
        ("language", &json!("shell")),
        ("place", &json!("fresh")),
        ("sandbox", &metrics["sandbox"]),
        ("status", &result["status"]),
        ("cause", &result["cause"]),
        ("exit_code", &json!(3)),
        ("duration_ms", &metrics["duration_ms"]),
        ("cpu_time_ms", &metrics["cpu_time_ms"]),
        ("peak_memory_mb", &metrics["peak_memory_mb"]),
        ("io_read_bytes", &metrics["io_read_bytes"]),
        ("io_write_bytes", &metrics["io_write_bytes"]),
        ("queue_ms", &metrics["phases_ms"]["queue"]),
        ("prepare_ms", &metrics["phases_ms"]["prepare"]),
        ("start_ms", &metrics["phases_ms"]["start"]),
        ("collect_ms", &metrics["phases_ms"]["collect"]),
        ("stdout_bytes", &json!(5_000)),
        ("stdout_truncated", &json!(true)),
        ("stderr_bytes", &json!(7)),
        ("stderr_truncated", &json!(false)),
        ("artifacts", &json!(2)),
        ("artifacts_truncated", &json!(false)),
        ("callback", &json!("off")),
    ] {
        // A whole number is one, whether it is written with a point or not.
        let same = &line[field] == expected
            || line[field].as_f64().is_some_and(|number| Some(number) == expected.as_f64());
        assert!(same, "{field} is not {expected}: {line}");
    }
    assert!(line["journal_ms"].is_number() && !line.to_string().contains("canary"), "{line}");
    let ids = ["timestamp", "level", "event", "container_id", "execution_id", "request_id", "trace_id"];
    let fields: BTreeSet<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let known: BTreeSet<_> = documented("execution_completed").into_iter().chain(ids).collect();
    let left_out = known.difference(&fields).copied().collect::<Vec<_>>();
    // No limit was hit.
    assert_eq!((left_out, fields.is_subset(&known)), (vec!["limit", "observed"], true), "{line}");
}

#[test]
fn a_run_that_could_not_be_is_one_line_too_and_says_where_and_why() {
    let daemon = Daemon::default_settings();
    std::fs::write(daemon.home().join("sessions/file"), "not a directory").unwrap();
    let request = json!({"language": "shell", "code": "true", "session_id": "file"});
    assert_eq!(daemon.execute(&request).result()["cause"], "sandbox_error");
    daemon.eventually("it is said", |daemon| !daemon.events("execution_failed").is_empty());
    let [line] = &daemon.events("execution_failed")[..] else { panic!("{}", daemon.log()) };
    assert!(daemon.events("execution_completed").is_empty(), "{}", daemon.log());
    assert_eq!(
        (&line["level"], &line["stage"], &line["status"]),
        (&json!("error"), &json!("workspace"), &json!("error"))
    );
    assert!(line["error"].as_str().unwrap().contains("file") && line["sandbox"].is_null(), "{line}");
}
