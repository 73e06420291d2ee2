//! What `/metrics` counts: every end, every refusal, once each, and where the time, the memory and the bytes went.

use std::collections::BTreeMap;

use conformance::metrics::Samples;
use conformance::{Daemon, Settings};
use control_plane_mock::{Action, Kind, Mock, Options, Rule};
use serde_json::{Value, json};

/// What grew between two looks, and by how much.
fn grown(before: &Samples, after: &Samples) -> BTreeMap<String, f64> {
    let grown = after.iter().map(|(series, now)| (series.clone(), now - before[series]));
    grown.filter(|(series, by)| *by != 0.0 && !series.starts_with("process_")).collect()
}

fn request(language: &str, code: &str, more: &Value) -> Value {
    let mut request = json!({ "language": language, "code": code, "workspace": "fresh" });
    request.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    request
}

#[test]
fn every_end_is_counted_once_under_its_language_status_and_cause() {
    let daemon = Daemon::default_settings();
    let few = json!({ "limits": { "max_output_bytes": 1024 } });
    let small = json!({ "limits": { "memory_mb": 64 }, "mode": "script" });
    let ends = [
        ("shell", "true", Value::Null, "success", "exit"),
        ("shell", "exit 3", Value::Null, "failed", "exit"),
        ("shell", "kill -SEGV $$", Value::Null, "failed", "signal"),
        ("python", "def handler(event): raise ValueError", Value::Null, "failed", "exception"),
        (
            "javascript",
            "exports.handler = () => { while (true) {} }",
            json!({ "timeout": 1 }),
            "timeout",
            "wall_timeout",
        ),
        ("shell", "yes", few, "error", "output_limit"),
        (
            "python",
            "held = []\nwhile True: held.append(bytearray(b'x') * (4 << 20))",
            small,
            "error",
            "memory_limit",
        ),
    ];
    for (language, code, more, status, cause) in ends {
        let before = daemon.metrics();
        let result = daemon.execute(&request(language, code, &more)).result();
        assert_eq!((&result["status"], &result["cause"]), (&json!(status), &json!(cause)), "{result:#}");
        let after = daemon.metrics();
        let grown = grown(&before, &after);
        let ended: Vec<_> = grown
            .iter()
            .filter(|(series, _)| series.starts_with("sandbox_executor_executions_total"))
            .collect();
        let series = format!(
            "sandbox_executor_executions_total{{language=\"{language}\",status=\"{status}\",cause=\"{cause}\"}}"
        );
        assert_eq!(ended, [(&series, &1.0)]);
        for histogram in
            ["execution_duration_seconds", "execution_cpu_seconds", "execution_peak_memory_bytes"]
        {
            let count = format!("sandbox_executor_{histogram}_count{{language=\"{language}\"}}");
            assert_eq!(grown.get(&count), Some(&1.0), "{count} in {grown:#?}");
        }
        assert_eq!(before.len(), after.len(), "a series was added");
    }
}

#[test]
fn the_time_of_a_run_is_told_by_phase_and_the_phases_make_up_the_whole() {
    let mock = Mock::start(Options::default()).unwrap();
    let daemon = Settings::new().calling(&mock).start();
    let before = daemon.metrics();
    let result = daemon.execute(&request("shell", "sleep 0.3", &Value::Null)).result();
    let grown = grown(&before, &daemon.metrics());
    let mut sum = 0.0;
    for phase in ["queue", "prepare", "start", "run", "collect", "journal"] {
        let part = |part: &str| {
            grown[&format!("sandbox_executor_phase_duration_seconds_{part}{{phase=\"{phase}\"}}")]
        };
        assert_eq!(part("count"), 1.0, "{phase}");
        if let Some(told) = result["metrics"]["phases_ms"][phase].as_f64() {
            assert!((part("sum") * 1e3 - told).abs() < 0.01, "{phase}: {} and {told}", part("sum"));
        }
        sum += part("sum");
    }
    let whole = grown["sandbox_executor_execution_duration_seconds_sum{language=\"shell\"}"];
    assert!(whole >= sum && whole < sum + 0.5, "{whole} {sum}");
    assert!(
        !grown.contains_key(
            "sandbox_executor_execution_duration_seconds_bucket{le=\"0.25\",language=\"shell\"}"
        )
    );
    assert_eq!(
        grown["sandbox_executor_execution_duration_seconds_bucket{le=\"10.0\",language=\"shell\"}"],
        1.0
    );
}

#[test]
fn what_was_never_reached_is_no_example_of_how_long_it_takes() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 1).start();
    let before = daemon.metrics();
    let waits = request("shell", "true", &json!({ "execution_id": "exec_waits" }));
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| daemon.execute(&request("shell", "sleep 1", &Value::Null)).result());
        daemon.eventually("it runs", |daemon| daemon.metric("sandbox_executor_active_executions") == 1.0);
        let queued = scope.spawn(|| daemon.execute(&waits).result());
        daemon.eventually("it waits", |daemon| daemon.metric("sandbox_executor_queued_executions") == 1.0);
        assert_eq!(daemon.request("DELETE", "/executions/exec_waits", &[], vec![]).status, 202);
        assert_eq!(queued.join().unwrap()["cause"], "cancelled");
        assert_eq!(busy.join().unwrap()["status"], "success");
    });
    let grown = grown(&before, &daemon.metrics());
    let count = |name: &str| grown.get(&format!("sandbox_executor_{name}")).copied().unwrap_or_default();
    assert_eq!(count("execution_duration_seconds_count{language=\"shell\"}"), 2.0);
    for name in ["execution_cpu_seconds", "execution_peak_memory_bytes"] {
        assert_eq!(count(&format!("{name}_count{{language=\"shell\"}}")), 1.0, "{name}");
    }
    assert_eq!(count("phase_duration_seconds_count{phase=\"run\"}"), 1.0);
    // Nobody is called back, so nothing is written down.
    assert_eq!(count("phase_duration_seconds_count{phase=\"journal\"}"), 0.0);
}

#[test]
fn bytes_files_and_memory_are_those_of_the_result() {
    let daemon = Daemon::default_settings();
    let before = daemon.metrics();
    let code = "import sys\nx = bytearray(b'x') * (40 << 20)\nprint('a' * 999)\nprint('b' * 1999, file=sys.stderr)\n\
                open('one', 'w').write('1' * 100)\nopen('two', 'w').write('2' * 200)";
    let result = daemon.execute(&request("python", code, &json!({ "mode": "script" }))).result();
    assert_eq!(result["status"], "success", "{result:#}");
    let grown = grown(&before, &daemon.metrics());
    for (series, by) in [
        ("output_bytes_total{stream=\"stdout\"}", 1000.0),
        ("output_bytes_total{stream=\"stderr\"}", 2000.0),
        ("artifacts_total{change=\"created\"}", 2.0),
        ("artifact_bytes_total{change=\"created\"}", 300.0),
        ("sandboxes_total{language=\"python\",sandbox=\"cold\"}", 1.0),
    ] {
        assert_eq!(grown.get(&format!("sandbox_executor_{series}")), Some(&by), "{series} in {grown:#?}");
    }
    let peak = grown["sandbox_executor_execution_peak_memory_bytes_sum{language=\"python\"}"];
    assert!(
        (peak / 1_048_576.0 - result["metrics"]["peak_memory_mb"].as_f64().unwrap()).abs() < 0.02,
        "{peak}"
    );
    let cpu = grown["sandbox_executor_execution_cpu_seconds_sum{language=\"python\"}"];
    assert!((cpu * 1e3 - result["metrics"]["cpu_time_ms"].as_f64().unwrap()).abs() < 0.01, "{cpu}");
    assert!(!grown.contains_key("sandbox_executor_output_truncations_total{stream=\"stdout\"}"));
    daemon.execute(&request("shell", "yes | head -c 11000000", &Value::Null));
    assert_eq!(daemon.metric("sandbox_executor_output_truncations_total{stream=\"stdout\"}"), 1.0);
}

#[test]
fn every_refusal_is_counted_under_the_code_of_its_answer() {
    let daemon = Settings::new().with_api_token("canary-of-the-api").set("MAX_REQUEST_BYTES", 2000).start();
    let body = request("shell", "true", &json!({ "execution_id": "exec_once" }));
    assert_eq!(daemon.execute(&body).status, 200);
    let before = daemon.metrics();
    let refused = [
        (daemon.execute(&json!({ "language": "shell" })), "ValidationError"),
        (
            daemon.execute(&request("shell", "false", &json!({ "execution_id": "exec_once" }))),
            "DuplicateExecution",
        ),
        (daemon.post("/execute", "text/plain", b"{}".to_vec()), "UnsupportedMediaType"),
        (daemon.execute(&request("shell", &"x".repeat(3000), &Value::Null)), "PayloadTooLarge"),
        (daemon.request("POST", "/execute", &[], b"{}".to_vec()), "Unauthorized"),
        (daemon.get("/nowhere"), "NotFound"),
        (daemon.post("/health", "application/json", vec![]), "MethodNotAllowed"),
    ];
    let expected: BTreeMap<String, f64> = refused
        .iter()
        .map(|(answer, code)| {
            assert_eq!(answer.json()["error_code"], format!("Executor.{code}"));
            (format!("sandbox_executor_refusals_total{{error_code=\"Executor.{code}\"}}"), 1.0)
        })
        .collect();
    let mut grown = grown(&before, &daemon.metrics());
    grown.retain(|series, _| series.starts_with("sandbox_executor_refusals"));
    assert_eq!(grown, expected);
}

#[test]
fn calls_to_the_control_plane_are_counted_by_what_was_said_and_what_came_back() {
    let mock = Mock::start(Options::default()).unwrap();
    let answer = |code| Action::Status { code, headers: Default::default(), body: String::new() };
    mock.script(Rule::new(answer(503)).of_kind(Kind::Ready).times(1));
    mock.script(Rule::new(answer(500)).of_kind(Kind::Result).of_execution("exec_later").times(1));
    mock.script(Rule::new(answer(404)).of_kind(Kind::Result).of_execution("exec_never"));
    mock.script(Rule::new(answer(404)).of_kind(Kind::Heartbeat).of_execution("exec_never"));
    let daemon = Settings::new().calling(&mock).start();
    for id in ["exec_later", "exec_never"] {
        // Longer than its first heartbeat takes.
        daemon.execute(&request("shell", "sleep 0.5", &json!({ "execution_id": id })));
    }
    let series = |kind: &str, result: &str| {
        format!("sandbox_executor_callbacks_total{{kind=\"{kind}\",result=\"{result}\"}}")
    };
    let expected = [
        (series("ready", "deferred"), 1.0),
        (series("ready", "accepted"), 1.0),
        (series("result", "deferred"), 1.0),
        (series("result", "accepted"), 1.0),
        (series("result", "refused"), 1.0),
        (series("heartbeat", "accepted"), 1.0),
        (series("heartbeat", "refused"), 1.0),
        ("sandbox_executor_heartbeats_missed_total".to_owned(), 1.0),
        ("sandbox_executor_outbox_set_aside".to_owned(), 1.0),
    ];
    daemon.eventually("all are counted", |daemon| {
        let samples = daemon.metrics();
        expected.iter().all(|(series, count)| samples[series] == *count)
    });
    let calls = |samples: &Samples| -> f64 {
        samples.iter().filter(|(series, _)| series.contains("callbacks_total")).map(|(_, count)| count).sum()
    };
    assert_eq!(calls(&daemon.metrics()), 7.0);
}
