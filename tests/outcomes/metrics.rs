//! What was measured: there in every kind of end, and the program's alone.

use serde_json::{Value, json};

use crate::ask::{assert_end, run, run_all, shown, wide};

fn metric(result: &Value, name: &str) -> f64 {
    result["metrics"][name].as_f64().unwrap()
}

/// What holds of every run that has begun.
#[track_caller]
fn assert_plausible(result: &Value) {
    let duration = metric(result, "duration_ms");
    let seconds = result["execution_time"].as_f64().unwrap();
    assert!((duration / 1000.0 - seconds).abs() < 0.001 && duration > 0.0, "{}", shown(result));
    let phases = result["metrics"]["phases_ms"].as_object().unwrap();
    let names: Vec<_> = phases.keys().map(String::as_str).collect();
    assert_eq!(names, ["collect", "prepare", "queue", "run", "start"]);
    assert!(phases.values().all(|phase| phase.as_f64().unwrap() >= 0.0), "{}", shown(result));
    assert!((phases["run"].as_f64().unwrap() - duration).abs() < 1.0, "{}", shown(result));
    assert!(phases["prepare"].as_f64().unwrap() > 0.0, "{}", shown(result));
    let peak = metric(result, "peak_memory_mb");
    assert!((0.1..2048.0).contains(&peak), "{}", shown(result));
    assert_ne!(result["metrics"]["cpu_source"], "not_measured");
    assert_ne!(result["metrics"]["memory_source"], "not_measured");
}

const BURN: &str = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\n";

#[test]
fn cpu_time_of_a_busy_loop_is_measured_in_every_kind_of_end() {
    let daemon = wide();
    let script = |more: Value| {
        let mut more = more;
        more["mode"] = "script".into();
        more
    };
    let ends = [
        ("", script(json!({})), "success"),
        ("raise ValueError", script(json!({})), "failed"),
        ("import os; os.kill(os.getpid(), 11)", script(json!({})), "failed"),
        ("time.sleep(60)", script(json!({ "timeout": 3 })), "timeout"),
        ("x = bytearray(1 << 40)", script(json!({})), "error"),
        ("while True: print('x' * 4096)", script(json!({ "limits": { "max_output_bytes": 1024 } })), "error"),
    ];
    let programs: Vec<_> = ends.iter().map(|(end, more, _)| (format!("{BURN}{end}"), more.clone())).collect();
    let programs: Vec<_> =
        programs.iter().map(|(code, more)| ("python", code.as_str(), more.clone())).collect();
    for (result, (_, _, status)) in run_all(&daemon, &programs).iter().zip(ends) {
        assert_eq!(result["status"], status, "{}", shown(result));
        assert_plausible(result);
        let cpu = metric(result, "cpu_time_ms");
        assert!((380.0..800.0).contains(&cpu), "{}", shown(result));
        assert!(metric(result, "duration_ms") >= 380.0);
    }
}

#[test]
fn children_count_whether_or_not_they_are_waited_for() {
    let daemon = wide();
    let burn =
        "python3 -c 'import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass'";
    for code in [burn.to_owned(), format!("{burn} & wait"), format!("({burn} & ) ; sleep 3")] {
        let result = run(&daemon, "shell", &code, &Value::Null);
        assert_end(&result, "success", 0, "exit");
        assert!(metric(&result, "cpu_time_ms") >= 380.0, "{code} {}", shown(&result));
    }
}

#[test]
fn memory_that_a_program_touches_is_its_peak() {
    let daemon = wide();
    let results = run_all(
        &daemon,
        &[
            ("python", "def handler(event): return len(bytearray(b'x') * (100 << 20))", Value::Null),
            ("javascript", "exports.handler = () => Buffer.alloc(100 << 20, 1).length", Value::Null),
            ("shell", "python3 -c 'bytearray(b\"x\") * (100 << 20)'", Value::Null),
            (
                "python",
                "import time\ndef handler(event):\n  x = bytearray(b'x') * (100 << 20)\n  del x\n  time.sleep(0.3)\n  raise ValueError",
                Value::Null,
            ),
            (
                "python",
                "import time\ndef handler(event):\n  x = bytearray(b'x') * (100 << 20)\n  time.sleep(60)",
                json!({ "timeout": 1 }),
            ),
        ],
    );
    for result in &results {
        assert_plausible(result);
        let peak = metric(result, "peak_memory_mb");
        assert!((100.0..220.0).contains(&peak), "{}", shown(result));
    }
    let small = daemon.run("python", "def handler(event): return 1");
    assert!(metric(&small, "peak_memory_mb") < 50.0, "{}", shown(&small));
}

#[test]
fn the_interpreters_boot_is_not_the_programs_time() {
    let daemon = wide();
    // The quickest of several: a busy machine adds, it never takes away.
    let quickest = |language: &str, code: &str, name: &str| {
        let measured = (0..7).map(|_| {
            let result = daemon.run(language, code);
            assert_plausible(&result);
            metric(&result, name)
        });
        measured.fold(f64::INFINITY, f64::min)
    };
    for (language, code, boot) in [
        ("python", "def handler(event): return 1", 8.0),
        ("javascript", "exports.handler = () => 1", 20.0),
        ("shell", "true", 8.0),
    ] {
        let cpu = quickest(language, code, "cpu_time_ms");
        assert!(cpu < boot, "{language}: {cpu} ms");
    }
}

#[test]
fn sleeping_takes_time_but_no_cpu() {
    let daemon = wide();
    let result = daemon.run("python", "import time\ndef handler(event): time.sleep(0.5)");
    assert_plausible(&result);
    assert!(
        metric(&result, "duration_ms") >= 500.0 && metric(&result, "cpu_time_ms") < 100.0,
        "{}",
        shown(&result)
    );
}

#[test]
fn waiting_for_the_workspace_is_queue_time_and_not_the_programs() {
    let daemon = wide();
    let more = || json!({ "session_id": "one" });
    let results = run_all(&daemon, &[("shell", "sleep 0.5", more()), ("shell", "sleep 0.5", more())]);
    let queued = results
        .iter()
        .map(|result| result["metrics"]["phases_ms"]["queue"].as_f64().unwrap())
        .fold(0.0, f64::max);
    assert!(queued >= 400.0, "{queued}");
    for result in &results {
        assert!((500.0..900.0).contains(&metric(result, "duration_ms")), "{}", shown(result));
    }
}
